"""Equality of states and arcs, as OpenFst sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine, to_pynini

from wfst_entropy import Fsa, FsaError, RaggedTensor, equal


def changed(rng, fsa):
    """The FSA with something changed that OpenFst sees, or with nothing changed."""
    arcs, scores, outputs = fsa.arcs.clone(), fsa.scores.clone(), fsa.aux_labels.clone()
    inner = torch.nonzero(fsa.labels >= 0).flatten().tolist()
    kind = rng.choice(["nothing", "score", "little", "label", "output"]) if inner else "nothing"
    if inner:
        arc = int(rng.choice(inner))
        arcs[arc, 2] += kind == "label"
        outputs[arc] += kind == "output"
        scores[arc] += {"score": 0.5, "little": 1e-5}.get(kind, 0)
    return Fsa.from_arcs(arcs, scores, fsa.num_states, aux_labels=outputs)


def test_openfst_agrees():
    pynini = pytest.importorskip("pynini")
    rng, answers = np.random.default_rng(0), []
    for _ in range(100):
        a = random_machine(rng, transducer=True)
        b = changed(rng, a)
        theirs = pynini.equal(to_pynini(a), to_pynini(b))
        assert equal(a, b) == theirs
        answers.append(theirs)
    assert 20 < sum(answers) < 80


def test_what_counts():
    fsa = Fsa.from_str("0 1 5 0.5\n1 2 -1 0\n2", acceptor=True)
    assert equal(fsa, fsa.clone().set_attribute_("origin", "toy"))
    assert not equal(fsa, Fsa.from_fsas([fsa]))
    assert equal(Fsa.from_fsas([fsa]), Fsa.from_fsas([fsa]))
    assert not equal(fsa, fsa.clone().set_attribute_("aux_labels", fsa.labels))
    assert equal(fsa, fsa.to(torch.float64))
    lists = [
        fsa.clone().set_attribute_("aux_labels", RaggedTensor.from_lists(x, torch.int32))
        for x in ([[1, 2], []], [[1], [2]])
    ]
    assert equal(lists[0], lists[0].clone()) and not equal(*lists)
    impossible = fsa.with_scores(torch.full((2,), -torch.inf))
    assert equal(impossible, impossible) and not equal(impossible, fsa)
    with pytest.raises(FsaError, match="b: must be an Fsa, got str"):
        equal(fsa, "fsa")
