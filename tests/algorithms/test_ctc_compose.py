"""`ctc_compose` gives what `compose` gives with a topology that was built."""

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy import (
    Fsa,
    FsaError,
    compose,
    connect,
    ctc_compose,
    ctc_topo,
    isomorphic,
)

TOPOLOGIES = ("standard", "modified", "compact")


def compact_topo(vocab_size):
    """State i repeats token i; an epsilon (label `vocab_size`) leads back to state 0."""
    tokens, end = range(1, vocab_size), vocab_size
    rows = [(0, 0, 0, 0), *((0, i, i, i) for i in tokens), (0, end, -1, -1)]
    for i in tokens:
        rows += [(i, i, i, 0), (i, 0, vocab_size, 0)]
    table = torch.tensor(rows, dtype=torch.int32)
    return Fsa.from_arcs(table[:, :3], num_states=end + 1, aux_labels=table[:, 3].contiguous())


def explicit(graph, vocab_size, topology):
    if topology == "compact":
        topo = compact_topo(vocab_size)
    else:
        topo = ctc_topo(vocab_size - 1, modified=topology == "modified")
    topo = topo.with_scores(topo.scores.to(graph.scores.dtype))
    composed, topo_arcs, graph_arcs = compose(topo, graph, inner_labels="tokens", ret_arc_maps=True)
    arcs = composed.arcs.clone()
    arcs[topo_arcs < 0, 2] = vocab_size
    new = Fsa(composed.shape, arcs, composed.scores, aux_labels=composed.aux_labels)
    return new.set_attribute_("tokens", composed.tokens), graph_arcs


def graphs(seed, transducer=True, epsilon_rate=0.3):
    rng = np.random.default_rng(seed)
    return random_machine(
        rng, num_labels=3, num_arcs=18, epsilon_rate=epsilon_rate, transducer=transducer
    )


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_composition_with_a_built_topology(topology, seed):
    graph = graphs(seed, transducer=seed % 3 > 0)
    ours, arc_map = ctc_compose(graph, 4, topology, inner_labels="tokens", ret_arc_map=True)
    other, graph_arcs = explicit(graph, 4, topology)
    assert (ours.num_states, ours.num_arcs) == (other.num_states, other.num_arcs)
    assert isomorphic(ours, other)
    assert sorted(arc_map.tolist()) == sorted(graph_arcs.tolist())
    for name in ("tokens", "aux_labels"):
        assert sorted(zip(ours.labels.tolist(), ours.attributes[name].tolist())) == sorted(
            zip(other.labels.tolist(), other.attributes[name].tolist())
        )
    assert ours.properties.connected or not ours.num_states


def test_a_vector_is_taken_graph_by_graph():
    many = [graphs(seed) for seed in range(4)]
    dead_end = Fsa.from_str("0 1 1 1 0\n0 2 -1 -1 0\n2")
    empty = connect(Fsa.from_str("0 1 1 1 0\n1 1 1 1 0\n2"))
    many += [
        dead_end.with_scores(dead_end.scores.double()),
        empty.with_scores(empty.scores.double()),
    ]
    together = ctc_compose(Fsa.from_fsas(many), 4)
    for i, graph in enumerate(many):
        alone = ctc_compose(graph, 4)
        assert torch.equal(together[i].arcs, alone.arcs)
        assert torch.equal(together[i].scores, alone.scores)


def test_gradients_of_scores_go_to_the_arcs_of_the_graph():
    graph = graphs(1)
    scores = graph.scores.clone().requires_grad_()
    composed, arc_map = ctc_compose(graph.with_scores(scores), 4, ret_arc_map=True)
    assert composed.num_arcs > 20
    weights = torch.arange(composed.num_arcs, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((composed.scores * weights).sum(), scores)
    kept = arc_map >= 0
    assert torch.equal(
        gradient, torch.zeros_like(scores).index_add(0, arc_map[kept], weights[kept])
    )


def test_the_work_follows_the_graph_and_not_the_vocabulary():
    """With 2 ** 30 tokens: the topology would have 2 ** 60 arcs."""
    label = 2**30
    graph = Fsa.from_arcs([[0, 1, label], [1, 2, label - 1], [2, 3, -1]])
    assert ctc_compose(graph, 2**30 + 1).num_arcs == 12
    assert ctc_compose(graph, 2**30 + 1, "modified").num_arcs == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, "peaky"), "topology: must be one of standard, modified, compact, got 'peaky'"),
        ((1,), "vocab_size: must be at least 2"),
        ((3,), "arc 0 has the label 3, but tokens are 1 ... 2 .*compile_lg"),
    ],
)
def test_wrong_arguments(arguments, message):
    graph = Fsa.from_arcs([[0, 1, 3], [1, 2, -1]])
    with pytest.raises(FsaError, match=message):
        ctc_compose(graph, *arguments)


def test_limits():
    with pytest.raises(FsaError, match="max_states=3"):
        ctc_compose(Fsa.from_arcs([[0, 1, 3], [1, 2, -1]]), 4, max_states=3)
