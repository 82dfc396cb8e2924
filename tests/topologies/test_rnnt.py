"""Transducer graphs: all alignments by brute force, composition of schemata, invariants, errors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.algorithms import compose, connect, invert, isomorphic, num_paths, top_sort
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedTensor
from wfst_entropy.topologies import rnnt_graph, rnnt_grid_lattice, rnnt_lattice

TYPES = ("regular", "modified", "constrained")


def alignments(labels, num_frames, rnnt_type, ranges=None):
    """All arcs (t, u, symbol) of each alignment, straight from the definitions."""
    total = len(labels)
    found = []
    order = itertools.product((0, 1), repeat=num_frames + total * (rnnt_type != "modified"))
    for moves in order:
        t = u = 0
        path, label_before = [], False
        for is_label in moves:
            if is_label and (u == total or t == num_frames):
                break
            if t == num_frames or (ranges and u not in ranges[t]):
                break
            path.append((t, u, labels[u] if is_label else 0))
            if rnnt_type == "modified":
                t, u = t + 1, u + is_label
            elif is_label and label_before and rnnt_type == "constrained":
                break
            else:
                t, u = t + (1 - is_label), u + is_label
            label_before = bool(is_label)
        else:
            if (t, u) == (num_frames, total):
                found.append(tuple(path))
    return sorted(found)


def paths(fsa):
    """All arcs (t, u, symbol) of each path, without the one into the final state."""
    rows = list(zip(fsa.arcs.tolist(), fsa.frame_idx.tolist(), fsa.label_idx.tolist()))
    found = []

    def walk(state, path):
        for (src, dst, label), t, u in rows:
            if src == state:
                if label == -1:
                    found.append(path)
                else:
                    walk(dst, (*path, (t, u, label)))

    if fsa.num_states:
        walk(0, ())
    return sorted(found)


transcripts = st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=3)


@settings(max_examples=15, deadline=None)
@given(transcripts, st.data(), st.sampled_from(TYPES), st.booleans())
def test_paths_are_the_alignments(symbols, data, rnnt_type, pruned):
    frames = [data.draw(st.integers(0, 4)) for _ in symbols]
    ranges = None
    if pruned:
        size = data.draw(st.integers(1, 3))
        begins = [[data.draw(st.integers(0, 2)) for _ in range(4)] for _ in symbols]
        ranges = torch.tensor(begins)[:, :, None] + torch.arange(size)
    graphs = rnnt_graph(symbols, frames, rnnt_type, ranges)
    assert len(graphs) == len(symbols)
    for n, graph in enumerate(graphs):
        kept = ranges[n].tolist() if pruned else None
        wanted = alignments(symbols[n], frames[n], rnnt_type, kept)
        assert paths(graph) == wanted
        assert bool(graph.num_states) == bool(wanted)
    assert graphs.properties.top_sorted and graphs.properties.acyclic
    assert connect(graphs).num_states == graphs.num_states
    if pruned:
        inner = graphs.labels >= 0
        n, t = graphs.arc_to_fsa()[inner], graphs.frame_idx[inner].long()
        u = ranges[n, t, graphs.range_idx[inner].long()]
        assert u.tolist() == graphs.label_idx[inner].tolist()


def test_counts_are_the_known_ones():
    regular, modified, constrained = (rnnt_graph([[1, 2, 3]], [4], kind) for kind in TYPES)
    # 20 alignments and 25 arcs: the operation counts of the entropy-semiring paper's grid, less
    # the last column's labels; here one more arc, into the final state, and the final blank forced
    assert num_paths(regular).item() == math.comb(6, 3)
    assert regular.num_arcs == 4 * 3 + 3 * 4 + 1 + 1
    assert num_paths(modified).item() == num_paths(constrained).item() == math.comb(4, 3)


def test_equals_the_composition_of_a_frame_and_a_unit_schema():
    labels, num_frames, blank = [2, 1, 2], 3, 9
    unit = [(u, u, blank, 0) for u in range(4)] + [(u, u + 1, x, x) for u, x in enumerate(labels)]
    temporal = [(t, t, c, c) for t in range(num_frames) for c in (1, 2)]
    temporal += [(t, t + 1, blank, blank) for t in range(num_frames)]

    def fst(rows, final):
        rows = sorted([*rows, (final - 1, final, -1, -1)])
        aux = torch.tensor([row[3] for row in rows], dtype=torch.int32)
        return Fsa.from_arcs([row[:3] for row in rows], aux_labels=aux)

    # k2's composition matches the outputs of the first with the inputs of the second
    grid = compose(fst(temporal, num_frames + 1), fst(unit, 4), treat_epsilons_specially=False)
    renamed = grid.arcs.clone()
    renamed[:, 2] = torch.where(grid.labels == blank, 0, grid.labels)
    composed = top_sort(Fsa(grid.shape, renamed))
    graph = rnnt_graph([labels], [num_frames])[0]
    assert isomorphic(Fsa(graph.shape, graph.arcs), composed)


def test_ragged_symbols_and_other_integers_are_the_same():
    symbols = [[1, 2], [], [3]]
    wanted = rnnt_graph(symbols, [3, 2, 1])
    ragged = RaggedTensor.from_lists(symbols, torch.int32)
    other = rnnt_graph(ragged, torch.tensor([3, 2, 1], dtype=torch.int32))
    assert torch.equal(wanted.arcs, other.arcs)
    assert torch.equal(wanted.label_idx, other.label_idx)
    assert rnnt_graph([], []).num_fsas == 0


def test_invert_and_stacking_keep_the_attributes():
    graph = rnnt_graph([[1], [2, 3]], [2, 2])
    stacked = Fsa.from_fsas([graph[1], graph[0]])
    assert stacked.frame_idx.tolist() == [*graph[1].frame_idx, *graph[0].frame_idx]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scores_are_those_of_the_nodes(dtype):
    torch.manual_seed(0)
    symbols, frames = [[1, 2], [3]], [3, 2]
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64).to(dtype)
    graph = rnnt_graph(symbols, frames, "constrained")
    lattice = rnnt_lattice(graph, logits)
    log_probs = logits.to(lattice.scores.dtype).log_softmax(3)
    plain = rnnt_lattice(graph, log_probs, fused_log_softmax=False)
    assert lattice.scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(lattice.scores, plain.scores)
    rows = zip(
        graph.arc_to_fsa().tolist(), graph.frame_idx.tolist(), graph.label_idx.tolist(),
        graph.labels.tolist(), strict=True,
    )  # fmt: skip
    wanted = [log_probs[n, t, u, c] if c >= 0 else 0.0 for n, t, u, c in rows]
    assert plain.scores.tolist() == [float(x) for x in wanted]
    assert graph.scores.eq(0).all()


def test_pruned_logits_are_read_at_the_place_in_the_range():
    torch.manual_seed(0)
    ranges = torch.tensor([[[0, 1], [1, 2], [1, 2]]])
    graph = rnnt_graph([[2, 1]], [3], ranges=ranges)
    full = torch.randn(1, 3, 3, 4)
    pruned = full.gather(2, ranges[..., None].expand(-1, -1, -1, 4))
    whole = rnnt_lattice(rnnt_graph([[2, 1]], [3]), full)
    wanted = {
        (t, u, c): score
        for t, u, c, score in zip(
            whole.frame_idx.tolist(), whole.label_idx.tolist(), whole.labels.tolist(),
            whole.scores.tolist(),
        )
    }  # fmt: skip
    lattice = rnnt_lattice(graph, pruned)
    rows = zip(lattice.frame_idx.tolist(), lattice.label_idx.tolist(), lattice.labels.tolist())
    assert lattice.scores.tolist() == [wanted[row] for row in rows]


def test_masks_are_no_mass_and_bad_scores_are_named():
    graph = rnnt_graph([[1]], [2])
    blank, label = torch.zeros(1, 2, 2), torch.full((1, 2, 1), -1e30)
    label[0, 0, 0] = -1.0
    assert rnnt_grid_lattice(graph, blank, label).scores.tolist().count(-math.inf) == 1
    blank[0, 0, 1] = math.nan
    with pytest.raises(FsaValueError, match="utterance 0, frame 0, after 1 labels, symbol 0 is na"):
        rnnt_grid_lattice(graph, blank, label)
    # what no arc reads may be anything
    label = torch.cat([label, torch.full((1, 2, 1), math.nan)], 2)
    rnnt_grid_lattice(graph, torch.zeros(1, 2, 2), label)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rnnt_graph([[1]], [2], "monotonic"), "rnnt_type: must be one of 'regular'"),
        (lambda: rnnt_graph([[0]], [2]), "symbols: utterance 0, position 0"),
        (lambda: rnnt_graph([[1]], [2, 3]), r"num_frames: must have shape \(1,\)"),
        (lambda: rnnt_graph([[1]], [2**40]), "num_frames: the grids have 2.2e"),
        (lambda: rnnt_graph([[1]], [-1]), r"num_frames\[0\] = -1"),
        (lambda: rnnt_graph([[1]], [2], ranges=torch.zeros(1, 1, 1).long()), "ranges: must have 2"),
        (lambda: rnnt_graph([[1]], [1], ranges=torch.tensor([[[0, 2]]])), "utterance 0, frame 0"),
        (lambda: rnnt_graph([[1]], [1], ranges=torch.tensor([[[-1, 0]]])), "from at least 0"),
        (lambda: rnnt_graph([[1]], [1], ranges=torch.tensor([[0, 2]])), r"must be \(N, T, S\)"),
        (
            lambda: rnnt_lattice(rnnt_graph([[1]], [2]), torch.zeros(1, 1, 2, 2)),
            "a node with frame 1",
        ),
        (
            lambda: rnnt_lattice(rnnt_graph([[7]], [2]), torch.zeros(1, 2, 2, 2)),
            "has the symbol 7",
        ),
        (
            lambda: rnnt_lattice(rnnt_graph([[1]], [2]), torch.zeros(2, 2, 2, 2)),
            "must be of 1 utterances",
        ),
        (
            lambda: rnnt_lattice(rnnt_graph([[1]], [2]), torch.zeros(1, 2, 2)),
            r"logits: must be \(N, T, U \+ 1, C\)",
        ),
        (
            lambda: rnnt_grid_lattice(
                rnnt_graph([[1]], [2]), torch.zeros(1, 2, 2), torch.zeros(1, 2, 4)
            ),
            "label_scores: must have shape",
        ),
        (
            lambda: rnnt_grid_lattice(
                rnnt_graph([[1]], [1], ranges=torch.tensor([[[0, 1]]])),
                torch.zeros(1, 1, 1),
                torch.zeros(1, 1, 1),
            ),
            "the place in the range",
        ),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(FsaValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rnnt_graph([[1]], [2.0]), "num_frames: must be integers"),
        (lambda: rnnt_graph([[1]], [2], ranges=torch.zeros(1, 2, 1)), "ranges: must be an integer"),
        (lambda: rnnt_lattice(rnnt_graph([[1]], [2]), torch.zeros(1, 2, 2, 2).long()), "logits"),
        (
            lambda: rnnt_lattice(invert(Fsa.from_str("0 1 -1 -1 0\n1")), torch.zeros(1, 2, 2, 2)),
            "graph: must be an Fsa from rnnt_graph",
        ),
    ],
)
def test_wrong_types_are_named(call, message):
    with pytest.raises(FsaTypeError, match=message):
        call()
