"""Connect: only states on successful paths, the same paths, scores and attributes."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, FsaError, connect, get_tot_scores

TEXT = """
0 1 1 0.5
0 2 2 0.25
0 4 3 1
1 1 4 -1
1 5 -1 0
3 5 -1 2
4 2 0 0
5
"""


def test_dead_and_unreached_states_go():
    fsa = Fsa.from_str(TEXT, acceptor=True).set_attribute_("tag", torch.arange(7))
    connected, arc_map = connect(fsa, ret_arc_map=True)
    assert connected.to_str().split("\n")[:3] == ["0 1 1 0.5", "1 1 4 -1", "1 2 -1 0"]
    assert arc_map.tolist() == connected.tag.tolist() == [0, 3, 4]
    assert connected.properties.connected


def test_gradients_follow_the_arc_map():
    text = "0 1 1 0.5\n0 2 2 0.25\n1 3 -1 0\n3"
    fsa = Fsa.from_str(text, acceptor=True)
    fsa.scores.requires_grad_(True)
    get_tot_scores(connect(fsa)).sum().backward()
    assert fsa.scores.grad.tolist() == [1.0, 0.0, 1.0]


def test_vector_is_each_alone_and_a_hopeless_fsa_becomes_empty():
    a, b = Fsa.from_str(TEXT, acceptor=True), Fsa.from_str("0 0 1 1\n1", acceptor=True)
    vector = connect(Fsa.from_fsas([a, b, a]))
    assert [f.num_states for f in vector] == [3, 0, 3]
    assert vector[2].to_str() == connect(a).to_str()
    assert connect(b).num_states == 0
    assert connect(Fsa.from_fsas([])).num_fsas == 0


def test_only_an_fsa_is_taken():
    with pytest.raises(FsaError, match="connect: needs an Fsa, got str"):
        connect("0 1 -1 0")
