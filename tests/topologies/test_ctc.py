"""CTC graphs: the reference graphs of k2, and all alignments by brute force."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedTensor
from wfst_entropy.topologies import ctc_graph, ctc_topo, min_num_frames

GOLDEN = Path(__file__).parents[1] / "golden" / "k2"
SMALL = [[], [1], [1, 1], [1, 2], [2, 2, 2], [1, 2, 1], [2, 1, 1]]


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def assert_is(fsa: Fsa, expected: dict) -> None:
    assert fsa.num_states == expected["num_states"]
    assert fsa.arcs.tolist() == expected["arcs"]
    assert fsa.aux_labels.tolist() == expected["aux_labels"]
    assert fsa.scores.tolist() == expected["scores"]
    assert fsa.aux_labels.dtype == torch.int32


@pytest.mark.parametrize(
    "case", golden("ctc_topo"), ids=lambda c: f"{c['max_token']}-{c['modified']}"
)
def test_ctc_topo_is_that_of_k2(case):
    assert_is(ctc_topo(case["max_token"], case["modified"]), case["out"])


@pytest.mark.parametrize(
    "case", golden("ctc_graph"), ids=lambda c: f"{c['symbols']}-{c['modified']}"
)
def test_ctc_graph_is_that_of_k2(case):
    graphs = ctc_graph(case["symbols"], case["modified"])
    assert len(graphs) == len(case["out"])
    for graph, expected in zip(graphs, case["out"], strict=True):
        assert_is(graph, expected)


def paths(fsa: Fsa, num_frames: int) -> Counter:
    """How often each (frame labels, output labels) is a path over `num_frames` frames."""
    leaving: dict[int, list[tuple[int, int, int]]] = {}
    for (src, dst, label), aux in zip(fsa.arcs.tolist(), fsa.aux_labels.tolist(), strict=True):
        leaving.setdefault(src, []).append((dst, label, aux))
    found: Counter = Counter()

    def walk(state, labels, outputs):
        for dst, label, aux in leaving.get(state, []):
            if label == -1:
                if len(labels) == num_frames:
                    found[labels, outputs] += 1
            elif len(labels) < num_frames:
                walk(dst, (*labels, label), (*outputs, aux) if aux else outputs)

    walk(0, (), ())
    return found


def collapse(labels):
    """Graves's B: repeated labels become one, then blanks go."""
    return [label for label, _ in itertools.groupby(labels) if label]


@pytest.mark.parametrize("symbols", SMALL, ids=str)
@pytest.mark.parametrize("num_frames", range(6))
def test_paths_are_the_ctc_alignments(symbols, num_frames):
    alignments = [
        labels for labels in itertools.product(range(3), repeat=num_frames)
        if collapse(labels) == symbols
    ]  # fmt: skip
    graph = ctc_graph([symbols])[0]
    assert paths(graph, num_frames) == Counter({(a, tuple(symbols)): 1 for a in alignments})
    assert bool(alignments) == (num_frames >= int(min_num_frames([symbols])))


def spread(symbols, num_frames):
    """Frame labels that hold each symbol for a frame or more, with blanks anywhere between."""
    if not symbols:
        yield (0,) * num_frames
        return
    for blanks in range(num_frames):
        for held in range(1, num_frames - blanks + 1):
            for rest in spread(symbols[1:], num_frames - blanks - held):
                yield (0,) * blanks + (symbols[0],) * held + rest


@pytest.mark.parametrize("symbols", SMALL, ids=str)
@pytest.mark.parametrize("num_frames", range(6))
def test_modified_paths_are_all_ways_to_spread_the_symbols(symbols, num_frames):
    expected = Counter((labels, tuple(symbols)) for labels in spread(symbols, num_frames))
    assert paths(ctc_graph([symbols], modified=True)[0], num_frames) == expected
    assert bool(expected) == (num_frames >= int(min_num_frames([symbols], modified=True)))


@pytest.mark.parametrize("modified", [False, True])
def test_topology_and_graph_agree(modified):
    topology = paths(ctc_topo(2, modified), 4)
    for symbols in SMALL:
        expected = Counter({p: n for p, n in topology.items() if p[1] == tuple(symbols)})
        assert paths(ctc_graph([symbols], modified)[0], 4) == expected


@given(st.lists(st.lists(st.integers(1, 4), max_size=6), max_size=5), st.booleans())
def test_a_batch_is_its_utterances_stacked(symbols, modified):
    graphs = ctc_graph(symbols, modified)
    stacked = Fsa.from_fsas([ctc_graph([one], modified)[0] for one in symbols])
    assert graphs.shape == stacked.shape
    assert torch.equal(graphs.arcs, stacked.arcs)
    if symbols:
        assert torch.equal(graphs.aux_labels, stacked.aux_labels)
        each = torch.cat([min_num_frames([one], modified) for one in symbols])
        assert torch.equal(min_num_frames(symbols, modified), each)
    assert graphs.num_states == sum(2 * len(one) + 2 for one in symbols)


def test_inputs_of_other_kinds():
    expected = ctc_graph([[3, 3], [], [1]])
    ragged = RaggedTensor.from_lists([[3, 3], [], [1]])
    assert torch.equal(ctc_graph(ragged).arcs, expected.arcs)
    assert min_num_frames(ragged).tolist() == [3, 0, 1]
    tensors = [torch.tensor([3, 3]), torch.tensor([], dtype=torch.int64), torch.tensor([1])]
    assert torch.equal(ctc_graph(tensors).arcs, expected.arcs)
    assert ctc_graph([]).num_fsas == 0
    assert ctc_graph([[], []]).properties.connected


def test_properties_of_the_graphs():
    graph = ctc_graph([[1, 2, 2], [3]])
    assert graph.properties.connected and graph.properties.deterministic
    assert not graph.properties.acyclic
    assert ctc_topo(4).properties.deterministic and ctc_topo(4, True).properties.connected
    assert not ctc_topo(4, True).properties.deterministic


@pytest.mark.parametrize("function", [ctc_graph, min_num_frames])
def test_symbols_must_be_positive_integers(function):
    for bad in (0, -1):
        with pytest.raises(
            FsaValueError,
            match=rf"symbols: utterance 1, position 2: must be from 1 .*0 is the blank, got {bad}",
        ):
            function([[1], [1, 2, bad]])
    with pytest.raises(FsaTypeError, match=r"symbols: must be lists of integers, one list per utt"):
        function([1, 2])
    with pytest.raises(FsaTypeError, match=r"symbols: must be lists of integers"):
        function([["a"]])


def test_max_token():
    with pytest.raises(FsaValueError, match=r"max_token: must be at least 1.* got 0"):
        ctc_topo(0)
    with pytest.raises(
        FsaValueError, match=r"60000 takes 3600180002 arcs.*ctc_graph.*modified=True"
    ):
        ctc_topo(60_000)
