"""What `check` finds, and what it must not find."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, SymbolTable, check, ctc_graph, ctc_topo, linear_fsa
from wfst_entropy.inspection import Severity

WORDS = SymbolTable([("<eps>", 0), ("a", 1), ("b", 2)])


def kinds(fsa, *tables):
    return [finding.kind for finding in check(fsa, *tables)]


@pytest.mark.parametrize(
    "fsa", [linear_fsa([1, 2]), ctc_topo(2), ctc_graph([[1, 2, 2]]), linear_fsa([])]
)
def test_a_healthy_graph_is_not_accused(fsa):
    table = SymbolTable([("<blk>", 0), ("a", 1), ("b", 2)])
    assert [f for f in check(fsa, table, WORDS) if f.severity > Severity.NOTE] == []


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "empty", "no states"),
        ("0 1 1 0\n1 0 1 0\n2", "no successful path", "no arc into the final state"),
        ("0 0 1 0\n1 2 -1 0\n2", "no successful path", "1 of 3 states"),
        ("0 1 1 0\n0 3 -1 0\n2 3 -1 0\n3", "useless states", "state 1 (does not lead"),
        ("0 1 9 0\n1 2 -1 0\n2", "out of vocabulary", "9 on 1 arc"),
        ("0 1 0 0\n1 0 0 0\n1 2 -1 0\n2", "epsilon cycle", "state(s) 0, 1"),
        ("0 1 2 0\n0 1 1 0\n1 2 -1 0\n2", "unsorted arcs", "arc_sort"),
        ("0 2 1 0\n1 3 -1 0\n2 1 1 0\n3", "not top-sorted", "top_sort"),
    ],
)
def test_each_fault_has_its_finding(text, kind, words):
    findings = check(Fsa.from_str(text, acceptor=True), WORDS)
    assert [f.kind for f in findings] == [kind]
    assert words in findings[0].message


def test_scores_that_are_not_finite():
    fsa = linear_fsa([1, 2]).with_scores(torch.tensor([0.0, torch.nan, -torch.inf]))
    assert kinds(fsa) == ["invalid scores", "impossible arcs"]
    assert "arc 1 (nan)" in check(fsa)[0].message


def test_an_epsilon_symbol_that_is_not_0():
    table = SymbolTable([("a", 0), ("<eps>", 1), ("b", 2)])
    (finding,) = check(linear_fsa([1, 2]), table)
    assert finding.kind == "epsilon is not 0"
    assert "as id 1" in finding.message and "1 arc(s)" in finding.message


def test_overwritten_arcs_are_found():
    fsa = linear_fsa([1, 2])
    fsa.arcs[0, 1] = 7
    assert kinds(fsa) == ["invariants"]


def test_findings_name_their_fsa_and_come_worst_first():
    unsorted = Fsa.from_str("0 1 2 0\n0 1 1 0\n1 2 -1 0\n2")
    vector = Fsa.from_fsas([unsorted, Fsa.from_str("0 1 1 0\n1 0 1 0\n2")])
    found = check(vector)
    assert [(f.fsa, f.kind) for f in found] == [(1, "no successful path"), (0, "unsorted arcs")]
    assert str(found[0]).startswith("error: FSA 1: the final state")


def test_tables_of_the_fsa_are_used_and_outputs_too():
    fst = Fsa.from_str("0 1 1 8 0\n1 2 -1 -1 0\n2").set_attribute_("aux_labels_sym", WORDS)
    (finding,) = check(fst)
    assert "aux_label(s) are not in aux_labels_sym" in finding.message
