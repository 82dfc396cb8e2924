"""Phrase boosts: what a string collects, by counting; the same as a graph, and from files."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.algorithms import intersect, n_shortest_paths, phi_compose, shortest_distance
from wfst_entropy.fsa import Fsa, FsaError, FsaFormatError, SymbolTable
from wfst_entropy.lang import (
    ContextGraph,
    bias_lattice,
    context_graph_from_file,
    context_graph_to_fsa,
    read_context_file,
    spell_by_lexicon,
    spell_by_words,
)
from wfst_entropy.semirings import LogSemiring, TropicalSemiring
from wfst_entropy.topologies import linear_fsa

TOKENS = st.integers(1, 3)
PHRASES = st.lists(st.lists(TOKENS, min_size=1, max_size=4), max_size=5)


def boosts_for(phrases, data, negative=True):
    values = [0.5, 1.0, 2.0, None] + ([-1.0] if negative else [])
    return [data.draw(st.sampled_from(values)) for _ in phrases]


def counted(phrases, boosts, context_score, string):
    """Every occurrence of every phrase, one by one."""
    best = {}
    for phrase, boost in zip(phrases, boosts, strict=True):
        value = context_score if boost is None else boost
        best[tuple(phrase)] = max(value, best.get(tuple(phrase), -math.inf))
    return sum(
        value * len(phrase)
        for phrase, value in best.items()
        for end in range(len(string) + 1)
        if tuple(string[max(0, end - len(phrase)) : end]) == phrase
    )


def collected(graph, string):
    total, state = 0.0, 0
    for token in string:
        score, state = graph.forward_one_step(state, token)
        total += score
    score, state = graph.finalize(state)
    assert state == 0
    return total + score


@settings(max_examples=25, deadline=None)
@given(st.data(), PHRASES, st.lists(st.integers(1, 4), max_size=12))
def test_a_string_collects_its_phrases(data, phrases, string):
    boosts = boosts_for(phrases, data)
    graph = ContextGraph(1.5).build(phrases, boosts)
    expected = counted(phrases, boosts, 1.5, string)
    assert collected(graph, string) == pytest.approx(expected, abs=1e-9)


def test_credit_comes_early_and_is_taken_back():
    graph = ContextGraph(3.0).build([[1, 2, 3], [2, 5, 6]])
    steps, state = [], 0
    for token in (1, 2, 5, 4):  # the first phrase breaks off, the second takes over, and breaks off
        score, state = graph.forward_one_step(state, token)
        steps.append(score)
    assert steps == [3.0, 3.0, 0.0, -6.0]
    score, state = graph.forward_one_step(0, 1)
    assert graph.finalize(state) == (-3.0, 0)
    # once a phrase is complete, nothing more is owed
    for token in (2, 3):
        score, state = graph.forward_one_step(state, token)
    assert graph.finalize(state) == (0.0, 0)


@settings(max_examples=12, deadline=None)
@given(st.data(), PHRASES)
def test_the_graph_scores_what_the_automaton_scores(data, phrases):
    boosts = boosts_for(phrases, data, negative=False)
    graph = ContextGraph(1.5).build(phrases, boosts)
    explicit = context_graph_to_fsa(graph, [1, 2, 3, 4])
    backoff = context_graph_to_fsa(graph, [1, 2, 3, 4], backoff_label=0)
    string = data.draw(st.lists(st.integers(1, 4), max_size=7))
    expected = collected(graph, string)
    line = linear_fsa(string)
    for both, semiring in (
        (intersect(line, explicit), LogSemiring()),
        (phi_compose(line, backoff, phi_label=0), LogSemiring()),
        (intersect(line, backoff), TropicalSemiring()),
    ):
        total = shortest_distance(both, semiring)
        assert float(total[-1]) == pytest.approx(expected, abs=1e-5)


def words_of(path_labels):
    return tuple(w for w in path_labels if w > 0)


def lattice_paths(lattice):
    """{words: score} of a lattice whose paths have different words."""
    (paths,) = n_shortest_paths(lattice, 1000).tolist()
    words = [words_of(lattice.aux_labels[arcs].tolist()) for arcs in paths]
    assert len(set(words)) == len(words)
    return {
        w: float(lattice.scores.detach()[arcs].sum()) for w, arcs in zip(words, paths, strict=True)
    }


def word_lattice():
    """Three steps, two words each; tokens are the words plus ten, an epsilon word between."""
    lines, state = [], 0
    for step in range(3):
        for word in (1, 2):
            lines.append(f"{state} {state + 1} {word + 10} {word} {0.1 * word * (step + 1)}")
        lines.append(f"{state + 1} {state + 2} 0 0 0")
        state += 2
    return Fsa.from_str("\n".join([*lines, f"{state} {state + 1} -1 -1 0.25", str(state + 1)]))


def test_a_biased_lattice_keeps_its_paths_and_adds_the_boosts():
    lattice = word_lattice()
    lattice.scores.requires_grad_()
    lattice.set_attribute_("frame_idx", torch.arange(lattice.num_arcs, dtype=torch.int32))
    lattice.set_attribute_("lm_scores", 0.5 * lattice.scores.detach())
    phrases = [[1, 2], [2], [2, 2, 7], [2, 1]]
    graph = ContextGraph(0.75).build(phrases, [None, 2.0, 9.0, None])
    biased = bias_lattice(lattice, graph)
    before, after = lattice_paths(lattice), lattice_paths(biased)
    assert before.keys() == after.keys() == set(itertools.product((1, 2), repeat=3))
    for words, score in before.items():
        assert after[words] == pytest.approx(score + collected(graph, words), abs=1e-5)
    source = biased.frame_idx.long()  # arcs know where they come from
    torch.testing.assert_close(biased.scores, lattice.scores[source] + biased.context_scores)
    torch.testing.assert_close(biased.lm_scores, lattice.lm_scores[source] + biased.context_scores)
    biased.scores.sum().backward()
    torch.testing.assert_close(
        lattice.scores.grad, torch.bincount(source, minlength=lattice.num_arcs).float()
    )


def test_vectors_of_lattices_are_biased_each():
    lattice = word_lattice()
    graph = ContextGraph(5.0).build([[2, 1]])
    both = bias_lattice(Fsa.from_fsas([lattice, lattice]), graph)
    alone = bias_lattice(lattice, graph)
    assert str(both[0]) == str(both[1]) == str(alone)


@pytest.mark.parametrize(
    ("phrases", "scores", "message"),
    [
        ([[1], []], None, r"phrase 1 is \[\]; it needs tokens"),
        ([[1, 0]], None, r"phrase 0 is \[1, 0\]; it needs tokens"),
        ([[1.5]], None, "phrase 0 has the token 1.5"),
        ([[1]], [math.nan], r"scores\[0\]: must be nats between -2\*\*26 and 2\*\*26, got nan"),
        ([[1]], [1.0, 2.0], "needs one for each of the 1 phrases, got 2"),
    ],
)
def test_errors_of_build(phrases, scores, message):
    with pytest.raises(FsaError, match=message):
        ContextGraph().build(phrases, scores)


def test_errors_of_states_and_labels():
    graph = ContextGraph().build([[1, 2]])
    for call in (graph.finalize, graph.fail_state, graph.continuations):
        with pytest.raises(FsaError, match=r"state: must lie in 0\.\.2, got 3"):
            call(3)
    with pytest.raises(FsaError, match="labels: must be 1 at least, got 0"):
        context_graph_to_fsa(graph, [0, 1])
    with pytest.raises(FsaError, match="backoff_label: must not be negative or a label, got 1"):
        context_graph_to_fsa(graph, [1, 2], backoff_label=1)
    with pytest.raises(FsaError, match="needs aux_labels"):
        bias_lattice(linear_fsa([1]), graph)


def test_a_file_of_phrases(tmp_path):
    path = tmp_path / "hotwords.txt"
    path.write_bytes("NEW YORK :2\n\n  RÖNTGEN  \nNEW YORK NEW :-1e-1\n".encode())
    assert [(p.text, p.boost, p.line) for p in read_context_file(path)] == [
        ("NEW YORK", 2.0, 1),
        ("RÖNTGEN", None, 3),
        ("NEW YORK NEW", -0.1, 4),
    ]
    words = SymbolTable([("<eps>", 0), ("NEW", 1), ("YORK", 2), ("RÖNTGEN", 3)])
    graph = context_graph_from_file(path, spell_by_words(words), context_score=1.25)
    assert collected(graph, [1, 2]) == 4.0
    assert collected(graph, [3]) == 1.25
    assert collected(graph, [1, 2, 1]) == pytest.approx(4.0 - 0.3)


def test_pronunciations_are_all_boosted():
    tokens = SymbolTable.from_str("<blk> 0\nAH 1\nEY 2\nB 3")
    lexicon = [("A", ["AH"]), ("A", ["EY"]), ("B", ["B"])]
    assert spell_by_lexicon(lexicon, tokens)("A A") == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert len(spell_by_lexicon(lexicon, tokens)("A A A A A A")) == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A\nB :x\n", r"hot\.txt: line 2: ':x': needed a number after the colon"),
        (b"A :nan\n", r"hot\.txt: line 1: ':nan': needed a number"),
        (b"A\n :1.5\n", r"hot\.txt: line 2: has a boost and no phrase"),
        (b"A\nM\xfcNCHEN\n", r"hot\.txt: line 2: is not UTF-8 text: byte 0xfc.*iconv"),
        (b"\xef\xbb\xbfA\n", r"hot\.txt: line 1: begins with a byte order mark.*sed"),
        (b"A\nA\0\n", r"hot\.txt: line 2: has a zero byte"),
        (b"A\r\nA\r\n", r"hot\.txt: line 1: has a carriage return.*sed"),
        (b"A\nA ZEBRA\n", r"hot\.txt: line 2: the word 'ZEBRA' is not in words\.txt"),
    ],
)
def test_bad_files_name_the_line(tmp_path, content, message):
    path = tmp_path / "hot.txt"
    path.write_bytes(content)
    spell = spell_by_words(SymbolTable([("<eps>", 0), ("A", 1)]))
    with pytest.raises(FsaFormatError, match=message):
        context_graph_from_file(path, spell)


def test_words_without_tokens_and_missing_files(tmp_path):
    path = tmp_path / "hot.txt"
    path.write_text("A\n")
    with pytest.raises(FsaFormatError, match="line 1: 'A' has no tokens"):
        context_graph_from_file(path, lambda text: [[]])
    with pytest.raises(FsaFormatError, match="line 1: the word 'A' is not in the lexicon"):
        context_graph_from_file(path, spell_by_lexicon([], SymbolTable()))
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        read_context_file(tmp_path / "gone.txt")
