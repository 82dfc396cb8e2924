"""Graphs searched by transducers, against all their paths one by one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transducer_paths import all_paths, numbered, paths_of_lattice, random_graph

from wfst_entropy.algorithms import connect, get_tot_scores, remove_epsilon, shortest_path
from wfst_entropy.decoding import (
    DecodingGraph,
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
)
from wfst_entropy.fsa import Fsa, FsaError, RaggedShape
from wfst_entropy.semirings import LogSemiring
from wfst_entropy.topologies import trivial_graph

C = 3
BACKOFF = """
0 1 1 -0.5
0 2 0 -1.0
1 0 2 -0.25
1 2 0 -2.0
1 3 -1 -0.125
2 1 1 -1.5
2 1 2 -1.25
2 3 -1 -0.75
3
"""


def emission(seed: int, stream: int, frame: int, context: Sequence[int]) -> Tensor:
    """Random log-probabilities that depend on everything a transducer's may."""
    draw = random.Random(f"{seed} {stream} {frame} {list(context)}")
    return torch.tensor([draw.gauss(0, 1) for _ in range(C)], dtype=torch.float64).log_softmax(0)


def rows_for(
    streams: RnntDecodingStreams, frames: Sequence[int], seed: int, numbers: Sequence[int]
) -> Tensor:
    """The log-probabilities of the next frame; `frames` is its number in each stream."""
    shape, contexts = streams.get_contexts()
    rows = [
        emission(seed, numbers[s], frames[s], context)
        for s, context in zip(shape.row_ids(1).tolist(), contexts.tolist())
    ]
    return torch.stack(rows) if rows else torch.zeros(0, C)


def searched(
    graphs: Sequence[Fsa | DecodingGraph],
    num_frames: int,
    *,
    seed: int = 0,
    history: int = 1,
    beam: float = math.inf,
    max_states: int = 10**6,
    max_contexts: int = 10**6,
) -> RnntDecodingStreams:
    config = RnntDecodingConfig(C, history, beam, max_states, max_contexts)
    streams = RnntDecodingStreams([RnntDecodingStream(graph) for graph in graphs], config)
    for t in range(num_frames):
        streams.advance(rows_for(streams, [t] * len(graphs), seed, range(len(graphs))))
    return streams


def assert_same_paths(graph: Fsa | DecodingGraph, history: int, seed: int, frames: int = 3) -> None:
    fsa = graph.fsa if isinstance(graph, DecodingGraph) else graph
    silent = graph.epsilon_label if isinstance(graph, DecodingGraph) else 0
    lattice = searched([graph], frames, seed=seed, history=history).format_output([frames], False)
    expected = all_paths(
        fsa, lambda t, context: emission(seed, 0, t, context), frames, history, silent
    )
    found = paths_of_lattice(lattice[0], C)
    assert found.keys() == expected.keys()
    assert [found[path] for path in expected] == pytest.approx(list(expected.values()), abs=1e-5)
    if expected:
        total = torch.tensor(list(expected.values()), dtype=torch.float64).logsumexp(0)
        assert get_tot_scores(lattice).item() == pytest.approx(float(total), abs=1e-5)
        best = shortest_path(lattice).scores.sum()
        assert float(best) == pytest.approx(max(expected.values()), abs=1e-5)


@pytest.mark.parametrize("history", [1, 2])
def test_the_lattice_has_all_paths_once(history: int):
    assert_same_paths(numbered(trivial_graph(C - 1)), history, seed=3)
    assert_same_paths(numbered(Fsa.from_str(BACKOFF, acceptor=True)), history, seed=4)
    for seed in range(6):
        assert_same_paths(numbered(random_graph(seed)), history, seed)


def test_a_decoding_graph_may_say_what_label_0_is():
    graph = numbered(
        Fsa.from_str("0 1 0 -1\n0 0 1 0\n0 1 2 0\n1 1 1 0\n1 2 -1 0\n2", acceptor=True)
    )
    assert_same_paths(DecodingGraph(graph), 1, seed=1)  # a blank that moves on
    assert_same_paths(DecodingGraph(graph, epsilon_label=0), 1, seed=1)
    assert_same_paths(DecodingGraph(graph, epsilon_label=2), 1, seed=1)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(0, 4))
def test_the_lattice_has_all_paths_of_random_graphs(seed: int, history: int, frames: int):
    assert_same_paths(numbered(random_graph(seed)), history, seed, frames)


def test_back_off_arcs_act_as_if_removed():
    """Also what is pruned is the same: the states between take no room in the beam."""
    for seed in (0, 1, 8, 10):
        graph = connect(random_graph(seed))
        both = [graph, remove_epsilon(graph)]
        for limits in ({}, {"beam": 2.0}, {"max_states": 2}, {"max_contexts": 2}):
            found = [searched([g], 4, seed=seed, history=2, **limits) for g in both]
            best = [shortest_path(f.format_output([4], False)).scores.sum().item() for f in found]
            assert best[0] == pytest.approx(best[1], abs=1e-5)
            contexts = [f.get_contexts()[1].tolist() for f in found]
            assert contexts[0] == contexts[1]
        both[1] = remove_epsilon(graph, LogSemiring())
        totals = [get_tot_scores(searched([g], 4).format_output([4], False)).item() for g in both]
        assert totals[0] == pytest.approx(totals[1], abs=1e-5)


def test_limits_hold_and_the_best_states_stay():
    graph = trivial_graph(C - 1)
    for t in range(1, 5):
        everything = searched([graph], t, history=2)
        _, contexts = everything.get_contexts()
        lattice = everything.format_output([t])[0]
        best_to = {0: 0.0}  # by state, in topological order
        for (src, dst, label), score in zip(lattice.arcs.tolist(), lattice.scores.tolist()):
            if label != -1:
                best_to[dst] = max(best_to.get(dst, -math.inf), best_to[src] + score)
        last = lattice.arcs[lattice.labels == -1][:, 0].tolist()
        scores = [best_to[state] for state in last]
        assert len(scores) == len(contexts)
        if t == 1:  # nothing was pruned before this frame
            order = sorted(range(len(scores)), key=lambda i: -scores[i])
            for most in (1, 2):
                for limit in ("max_states", "max_contexts"):
                    pruned = searched([graph], 1, history=2, **{limit: most})
                    kept = sorted(contexts[order[:most]].tolist())
                    assert pruned.get_contexts()[1].tolist() == kept
            beam = scores[order[0]] - scores[order[1]]
            for width, most in ((beam + 1e-3, 2), (beam - 1e-3, 1)):
                pruned = searched([graph], 1, history=2, beam=width)
                assert len(pruned.get_contexts()[1]) == most
        for limit in ("max_states", "max_contexts"):
            pruned = searched([graph], t, history=2, **{limit: 2})
            assert len(pruned.get_contexts()[1]) <= 2


def same(a: Fsa, b: Fsa) -> bool:
    return torch.equal(a.arcs, b.arcs) and torch.equal(a.scores, b.scores)


def test_streams_do_not_depend_on_each_other():
    graphs = [trivial_graph(2), random_graph(1).to(torch.float32), random_graph(2)]
    graphs = [Fsa.from_arcs(g.arcs, g.scores.float(), num_states=g.num_states) for g in graphs]
    limits = {"seed": 7, "beam": 4.0, "max_states": 3, "max_contexts": 2}
    together = searched(graphs, 6, **limits).format_output([6] * 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    assert same(searched(graphs, 6, **limits).format_output([6] * 3), together)
    torch.set_num_threads(threads)
    config = RnntDecodingConfig(C, 1, 4.0, 3, 2)
    for i, graph in enumerate(graphs):
        alone = RnntDecodingStreams([RnntDecodingStream(graph)], config)
        for t in range(6):
            alone.advance(rows_for(alone, [t], 7, [i]))
        assert same(alone.format_output([6])[0], together[i])


def test_streams_begin_and_go_on_whenever_they_want():
    graph, config = (
        DecodingGraph(random_graph(3), epsilon_label=0),
        RnntDecodingConfig(C, 2, 6, 4, 3),
    )
    first, second = RnntDecodingStream(graph), RnntDecodingStream(graph)
    both = RnntDecodingStreams([first], config)
    for t in range(2):
        both.advance(rows_for(both, [t], 5, [0]))
    assert first.num_frames == 0
    both.terminate_and_flush_to_streams()
    assert first.num_frames == 2
    both = RnntDecodingStreams([second, first], config)
    for t in range(3):
        both.advance(rows_for(both, [t, t + 2], 5, [1, 0]))
    both.terminate_and_flush_to_streams()
    lattices = both.format_output([3, 5])
    whole = searched([graph] * 2, 5, seed=5, history=2, beam=6, max_states=4, max_contexts=3)
    assert same(lattices[1], whole.format_output([5, 5])[0])
    assert same(lattices[0], whole.format_output([5, 3])[1])


def test_a_lattice_of_fewer_frames_is_that_of_a_stream_that_stopped():
    for graph in (trivial_graph(2), random_graph(5)):
        whole = searched([graph], 4, beam=3.0)
        for t in (0, 1, 3):
            for partial in (True, False):
                stopped = searched([graph], t, beam=3.0).format_output([t], partial)
                assert same(whole.format_output([t], partial), stopped)


def test_where_no_path_is_final_any_state_may_be():
    graph = Fsa.from_str("0 1 1 0\n1 2 2 0\n2 3 -1 0\n3", acceptor=True)
    streams = searched([graph], 1)
    lattice = streams.format_output([1])[0]
    assert lattice.labels.tolist() == [0, 1, -1, -1]
    assert lattice.partial.tolist() == [False, False, True, True]
    assert streams.format_output([1], allow_partial=False)[0].num_states == 0
    assert not searched([graph], 2).format_output([2], False)[0].partial.any()


def test_attributes_follow_and_a_stream_without_them_gets_fillers():
    words = trivial_graph(2)
    words.set_attribute_("colour", torch.tensor([5.0, 6.0, 7.0]))
    words.set_attribute_("colour_filler", -2.0)
    plain = Fsa.from_str("0 0 1 0\n0 1 -1 0\n1", acceptor=True)
    lattices = searched([words, plain], 1).format_output([1, 1])
    assert lattices[0].colour.tolist() == [-2, 5, 6, 7, 7, 7]
    assert lattices[0].aux_labels.tolist() == [0, 1, 2, -1, -1, -1]
    assert lattices[1].colour.tolist() == [-2] * 4
    assert lattices[1].aux_labels.tolist() == [0, 0, -1, -1]
    assert lattices[1].frame_idx.tolist() == [0, 0, 1, 1]
    assert torch.equal(lattices.lm_scores, torch.zeros(10))


def with_rows(graphs: list[Fsa], frames: int) -> tuple[RnntDecodingStreams, Tensor, RaggedShape]:
    """What `format_output` takes to be differentiable."""
    config = RnntDecodingConfig(C, 1, 5.0, 4, 3)
    streams = RnntDecodingStreams([RnntDecodingStream(graph) for graph in graphs], config)
    rows, sizes = [], []
    for t in range(frames):
        sizes.append(streams.get_contexts()[0].row_splits(1).diff())
        rows.append(rows_for(streams, [t] * len(graphs), 9, range(len(graphs))))
        streams.advance(rows[-1])
    of_frame = torch.full((frames,), len(graphs))
    return streams, torch.cat(rows), RaggedShape.from_sizes(of_frame, torch.cat(sizes))


def test_lattices_are_differentiable_in_log_probs_and_graphs():
    graphs = [random_graph(1), trivial_graph(2)]
    graphs[1] = Fsa.from_arcs(graphs[1].arcs, graphs[1].scores.double(), num_states=2)
    weights = [graph.scores.clone().requires_grad_() for graph in graphs]
    streams, log_probs, shape = with_rows(
        [graph.with_scores(w) for graph, w in zip(graphs, weights)], 3
    )
    plain = streams.format_output([3, 2])
    log_probs.requires_grad_()
    lattice = streams.format_output([3, 2], log_probs=log_probs, t2s2c_shape=shape)
    assert torch.equal(lattice.arcs, plain.arcs)
    assert torch.allclose(lattice.scores, plain.scores, atol=1e-6)

    def totals(rows: Tensor) -> Tensor:
        return get_tot_scores(streams.format_output([3, 2], log_probs=rows, t2s2c_shape=shape))

    assert torch.autograd.gradcheck(totals, log_probs, fast_mode=True)
    grads = torch.autograd.grad(get_tot_scores(lattice).sum(), [log_probs, *weights])
    frame, stream = shape.row_ids(1)[shape.row_ids(2)], shape.row_ids(2) % 2
    mass = torch.zeros(3, 2, dtype=torch.float64)
    mass.index_put_((frame, stream), grads[0].sum(1), accumulate=True)
    expected = torch.tensor([[1.0, 1], [1, 1], [1, 0]], dtype=torch.float64)
    assert torch.allclose(mass, expected)  # each frame that was read emits once
    assert all(float(grad.abs().sum()) > 0 for grad in grads[1:])


def started(config: RnntDecodingConfig | None = None) -> RnntDecodingStreams:
    return RnntDecodingStreams(
        [RnntDecodingStream(trivial_graph(2))], config or RnntDecodingConfig(C, 1, 5.0, 4, 3)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 1, 1.0, 1, 1), "vocab_size: must be an integer, at least 1, got 0"),
        ((3, 1, math.nan, 1, 1), "beam: must be at least 0 nats, got nan; math.inf keeps"),
        ((3, 1, None, 1, 1), "beam: must be a number, got None"),
        ((3, 1, 10**400, 1, 1), "beam: must be a number, got 1000"),
        ((2**31, 1, 1.0, 1, 1), "vocab_size: labels are 32-bit integers"),
        ((3, 1, 1.0, 0, 1), "max_states: must be an integer"),
        ((3, 1, 1.0, 1, 2.5), "max_contexts: must be an integer"),
        ((3, 40, 1.0, 1, 1), r"40 labels out of 3 .* smaller context_size"),
    ],
)
def test_settings_are_checked(values: tuple[int, int, float, int, int], message: str):
    with pytest.raises(FsaError, match=message):
        RnntDecodingConfig(*values)


def test_graphs_are_checked():
    for graph, message in (
        (Fsa.from_fsas([trivial_graph(1)] * 2), "one graph, got a vector of 2"),
        (Fsa.from_fsas([])[[]], "one graph, got a vector of 0"),
        (Fsa.from_str("", acceptor=True), "has no states"),
        (DecodingGraph(trivial_graph(1), topology="standard"), "CTC topology 'standard', but"),
        (Fsa.from_str("0 1 0 0\n1 0 0 0\n1 2 -1 0\n2", acceptor=True), "cycle of states 0 -> 1"),
        (trivial_graph(1).with_scores(torch.full((2,), math.nan)), "has score nan"),
        ("graph.fst", "needs an Fsa, got str"),
        (trivial_graph(1).set_attribute_("partial", torch.zeros(2)), "attribute 'partial', which"),
    ):
        with pytest.raises(FsaError, match=message):
            RnntDecodingStream(graph)
    config = RnntDecodingConfig(C, 1, 5.0, 4, 3)
    with pytest.raises(FsaError, match=r"arc \[0, 0, 3\] has label 3; .* lie in 1..2"):
        RnntDecodingStreams([RnntDecodingStream(trivial_graph(3))], config)


def test_streams_are_checked():
    config = RnntDecodingConfig(C, 1, 5.0, 4, 3)
    stream = RnntDecodingStream(trivial_graph(2))
    for streams, message in (
        ([], "at least one stream"),
        ([stream, stream], "has a stream twice"),
        ([trivial_graph(2)], "must be a RnntDecodingStream, got Fsa"),
    ):
        with pytest.raises(FsaError, match=message):
            RnntDecodingStreams(streams, config)
    going = RnntDecodingStreams([stream], config)
    going.advance(torch.zeros(1, C))
    going.terminate_and_flush_to_streams()
    going.terminate_and_flush_to_streams()
    with pytest.raises(FsaError, match="was terminated; make a new one"):
        going.get_contexts()
    with pytest.raises(FsaError, match=r"decoder_history_len = \(3, 1\), but config has \(3, 2\)"):
        RnntDecodingStreams([stream], RnntDecodingConfig(C, 2, 5.0, 4, 3))


def test_scores_are_checked_and_then_nothing_has_changed():
    streams = started()
    streams.advance(torch.zeros(1, C))
    bad = torch.zeros(3, C)
    bad[2, 1] = math.nan
    for scores, message in (
        (bad, r"log_probs\[2, 1\]: is nan, for stream 0 and context \[2\]; .* Check the model"),
        (torch.zeros(2, C), r"\(num_contexts, vocab_size\) = \(3, 3\), .* got \(2, 3\)"),
        (torch.zeros(3, C, dtype=torch.int64), "float32 or float64 tensor, got torch.int64"),
        (torch.full((3, C), math.inf), "is inf"),
    ):
        with pytest.raises(FsaError, match=message):
            streams.advance(scores)
    assert streams.format_output([1])[0].num_arcs == 6


def test_a_stream_whose_paths_lose_all_mass_stays_empty():
    streams = started()
    streams.advance(torch.full((1, C), -math.inf))
    shape, contexts = streams.get_contexts()
    assert shape.tot_sizes() == (1, 0)
    assert contexts.shape == (0, 1)
    streams.advance(torch.zeros(0, C))
    assert streams.format_output([2])[0].num_states == 0


def test_lattices_have_a_limit():
    streams = RnntDecodingStreams(
        [RnntDecodingStream(trivial_graph(2))], RnntDecodingConfig(C, 1, 5.0, 4, 3), max_arcs=5
    )
    streams.advance(torch.zeros(1, C))
    with pytest.raises(
        FsaError, match="outgrow max_arcs=5, with 7 states and 12 arcs so far; narr"
    ):
        streams.advance(torch.zeros(3, C))
    with pytest.raises(FsaError, match="earlier call of advance failed midway"):
        streams.get_contexts()


def test_what_is_asked_of_lattices_is_checked():
    streams, rows, shape = with_rows([trivial_graph(2)] * 2, 2)
    for frames, options, message in (
        ([2], {}, "one number for each of 2 streams, got 1"),
        ([3, 2], {}, r"num_frames\[0\]: must lie in 0..2"),
        ([1.5, 2], {}, r"num_frames\[0\]: must be an integer, got 1.5"),
        ([2, 2], {"log_probs": rows}, "give both, or neither"),
        ([2, 2], {"log_probs": rows[1:], "t2s2c_shape": shape}, r"log_probs: must be \(8, 3\)"),
        ([2, 2], {"log_probs": rows, "t2s2c_shape": shape.get_layer(1)}, "RaggedShape with the ax"),
    ):
        with pytest.raises(FsaError, match=message):
            streams.format_output(frames, **options)
    few = RaggedShape.from_sizes(torch.tensor([2]), torch.tensor([4, 4]))
    with pytest.raises(FsaError, match="at least 2 frames of 2 streams each, got 1 frames"):
        streams.format_output([2, 2], log_probs=rows, t2s2c_shape=few)
    other = RaggedShape.from_sizes(torch.tensor([2, 2]), torch.tensor([1, 5, 1, 1]))
    with pytest.raises(FsaError, match="fewer contexts for a stream and frame than"):
        streams.format_output([2, 2], log_probs=rows, t2s2c_shape=other)
