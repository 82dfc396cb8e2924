"""Best paths against enumeration."""

from __future__ import annotations

import math

import pytest

from wfst_entropy import Fsa, SymbolTable, linear_fsa, paths
from wfst_entropy.fsa import CyclicFsaError, FsaTypeError, FsaValueError


def test_paths_scores_and_posteriors_of_a_lattice(lattice):
    found = paths(lattice)
    # By hand: two words first, then cat-sat or mat.
    scores = {
        ("the", "cat", "sat"): -0.85,
        ("the", "mat"): -2.1,
        ("<b>&\"'</script>", "cat", "sat"): -3.75,
        ("<b>&\"'</script>", "mat"): -5.0,
    }
    total = math.log(sum(map(math.exp, scores.values())))
    assert [path.text for path in found] == [" ".join(words) for words in scores]
    for path, score in zip(found, scores.values()):
        assert path.score == pytest.approx(score, abs=1e-6)
        assert path.posterior == pytest.approx(math.exp(score - total), abs=1e-6)
        assert float(lattice.scores[list(path.arcs)].sum()) == pytest.approx(score, abs=1e-6)
    assert sum(path.posterior for path in found) == pytest.approx(1.0, abs=1e-6)
    assert [path.text for path in paths(lattice, n=1)] == ["the cat sat"]


def test_a_string_can_be_asked_for_once():
    twice = Fsa.from_str("0 1 1 -1\n0 1 1 -2\n0 1 2 -3\n1 2 -1 0\n2", acceptor=True)
    assert [path.labels for path in paths(twice)] == [(1,), (1,), (2,)]
    assert [path.labels for path in paths(twice, unique=True)] == [(1,), (2,)]


def test_transducers_show_both_sides_without_epsilons():
    fst = Fsa.from_str("0 1 1 0 -1\n1 2 0 7 0\n2 3 -1 -1 0\n3")
    table = paths(fst, labels_sym=SymbolTable([("a", 1)]), aux_labels_sym=SymbolTable([("x", 7)]))
    assert (table[0].text, table[0].output_text, table[0].outputs) == ("a", "x", (7,))
    assert str(table).splitlines() == [
        "score  posterior  input  output",
        "   -1   1.000000  a      x",
    ]


def test_cycles_have_posteriors_where_their_sum_ends():
    half = Fsa.from_str(f"0 0 1 {math.log(0.5)}\n0 1 -1 {math.log(0.5)}\n1", acceptor=True)
    assert [path.posterior for path in paths(half, n=3)] == pytest.approx([0.5, 0.25, 0.125])
    one = Fsa.from_str("0 0 1 0\n0 1 -1 0\n1", acceptor=True)
    assert [path.posterior for path in paths(one, n=2)] == [None, None]
    with pytest.raises(CyclicFsaError):
        paths(Fsa.from_str("0 0 1 1\n0 1 -1 0\n1", acceptor=True))


def test_no_path_and_wrong_arguments(lattice):
    assert len(paths(Fsa.from_str(""))) == 0
    assert str(paths(Fsa.from_str("0 0 1 0\n1", acceptor=True))) == "score  posterior  input"
    assert "ε" in str(paths(linear_fsa([])))
    with pytest.raises(FsaTypeError, match=r"fsa\[i\]"):
        paths(Fsa.from_fsas([lattice]))
    with pytest.raises(FsaValueError, match="n"):
        paths(lattice, n=0)
