"""L and L_disambig say what the lexicon says: by enumerating strings."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_same_weights, pair_weights

from wfst_entropy.algorithms import arc_sort, compose, determinize, invert, num_paths
from wfst_entropy.algorithms import equivalent as equivalent_fsas
from wfst_entropy.fsa import Fsa, FsaValueError, SymbolTable
from wfst_entropy.lang import Lexicon, add_disambig_symbols, lexicon_to_fst
from wfst_entropy.topologies import linear_fsa

TOKENS = SymbolTable(
    (s, i) for i, s in enumerate(["<blk>", "A", "B", "SIL", "#0", "#1", "#2", "#3", "#4"])
)
WORDS = SymbolTable((s, i) for i, s in enumerate(["<eps>", "x", "y", "z", "#0"]))
LENGTH = 3  # of the strings that are compared

pronunciation = st.lists(st.sampled_from(["A", "B", "SIL"]), max_size=3)
entries = st.lists(st.tuples(st.sampled_from("xyz"), pronunciation), min_size=1, max_size=4)


@st.composite
def lexicons(draw: st.DrawFn) -> Lexicon:
    pairs = draw(entries)
    number = len(pairs)
    prob = st.floats(0.05, 1)
    probs = draw(st.none() | st.lists(prob, min_size=number, max_size=number))
    return Lexicon(pairs, probs)


def spoken(lexicon: Lexicon, q: float | None, loop: bool) -> dict[tuple, float]:
    """log P of (token ids, word ids) up to LENGTH each, by listing word sequences and silences."""
    probs = lexicon.probs or [1.0] * len(lexicon)
    items = [
        (tuple(TOKENS[t] for t in tokens), (WORDS[word],), prob, True)
        for (word, tokens), prob in zip(lexicon, probs)
    ]
    if loop:
        items.append(((TOKENS["#0"],), (WORDS["#0"],), 1.0, False))  # no silence after it
    totals: dict[tuple, float] = defaultdict(float)
    for number in range(LENGTH + 1):
        for chosen in itertools.product(items, repeat=number):
            for read, p in _with_silences(chosen, q):
                if len(read) <= LENGTH:
                    totals[read, tuple(w for item in chosen for w in item[1])] += p
    return {pair: math.log(p) for pair, p in totals.items()}


def _with_silences(chosen: tuple, q: float | None) -> Iterator[tuple[tuple[int, ...], float]]:
    sizes = [1 if q is None else 2] + [2 if q is not None and item[3] else 1 for item in chosen]
    for silent in itertools.product(*map(range, sizes)):
        read: tuple[int, ...] = ()
        p = 1.0
        for i, size in enumerate(sizes):
            if i > 0:
                read += chosen[i - 1][0]
                p *= chosen[i - 1][2]
            read += (TOKENS["SIL"],) * silent[i]
            if q is not None and size == 2:
                p *= q if silent[i] else 1 - q
        yield read, p


@settings(max_examples=8)
@given(lexicons(), st.sampled_from([None, 0.3]), st.booleans())
def test_it_reads_the_pronunciations_of_all_word_sequences(
    lexicon: Lexicon, q: float | None, loop: bool
) -> None:
    silence = {} if q is None else {"silence": "SIL", "silence_prob": q}
    graph = lexicon_to_fst(lexicon, TOKENS, WORDS, **silence, self_loop=loop)
    got = pair_weights(graph.to(torch.float64), LENGTH, num_labels=4)
    assert_same_weights(got, spoken(lexicon, q, loop), 1e-5)


@settings(max_examples=5)
@given(lexicons(), st.booleans())
def test_with_disambiguation_symbols_tokens_determine_the_words(
    lexicon: Lexicon, silence: bool
) -> None:
    marked, number = add_disambig_symbols(lexicon)
    options = {"silence": "SIL", "silence_disambig": f"#{number + 1}"} if silence else {}
    tokens = SymbolTable(
        (s, i) for i, s in enumerate(["<blk>", "A", "B", "SIL", *(f"#{k}" for k in range(6))])
    )
    graph = lexicon_to_fst(marked, tokens, WORDS, **options, self_loop=True)
    words_of = defaultdict(set)
    for read, written in pair_weights(graph, 2, num_labels=len(tokens) - 1):
        words_of[read].add(written)
    assert all(len(words) == 1 for words in words_of.values())
    # Without a cycle that reads nothing it can be determinised, whatever the lexicon.
    determinize(graph, max_states=2000)


@settings(max_examples=5)
@given(lexicons())
def test_with_a_language_model_it_can_be_determinised(lexicon: Lexicon) -> None:
    marked, _ = add_disambig_symbols(lexicon)
    graph = lexicon_to_fst(marked, TOKENS, WORDS, self_loop=True)
    # x, y and z after each other; from state 1, which has seen x, back-off (#0 is word 4) to 2
    grammar = Fsa.from_str(
        "0 1 1 -1\n0 2 4 -2\n1 1 2 -1\n1 2 4 -0.5\n2 1 1 -1\n2 2 2 -2\n2 2 3 -1\n2 3 -1 0\n3"
    )
    composed = compose(graph, arc_sort(grammar))
    determinized = determinize(composed, max_states=5000)
    assert determinized.properties.deterministic


@settings(max_examples=20)
@given(lexicons())
def test_no_pronunciation_begins_another(lexicon: Lexicon) -> None:
    marked, number = add_disambig_symbols(lexicon)
    prons = [tokens for _, tokens in marked]
    for a, b in itertools.permutations(prons, 2):
        assert b[: len(a)] != a
    used = [int(t[1:]) for p in prons for t in p if t.startswith("#")]
    assert max(used, default=0) == number
    assert [p[:-1] if p[-1:] and p[-1][0] == "#" else p for p in prons] == [
        tokens for _, tokens in lexicon
    ]
    assert marked.words == lexicon.words and marked.probs == lexicon.probs


def test_symbols_are_given_only_where_they_are_needed() -> None:
    lexicon = Lexicon([("x", "A"), ("y", "AB"), ("z", "B")])
    marked, number = add_disambig_symbols(lexicon)
    assert list(marked) == [("x", ("A", "#1")), ("y", ("A", "B")), ("z", ("B",))]
    assert number == 1
    with pytest.raises(FsaValueError, match=r"'x' has the disambiguation symbol '#1' already"):
        add_disambig_symbols(marked)


def test_a_transcript_has_the_paths_of_its_pronunciations() -> None:
    lexicon = Lexicon([("x", "AB"), ("x", "A"), ("y", "B")], [0.5, 0.25, 1.0])
    inverse = arc_sort(invert(lexicon_to_fst(lexicon, TOKENS, WORDS)))
    graph = compose(arc_sort(linear_fsa([1, 2, 1])), inverse)
    assert int(num_paths(graph)) == 4
    assert round(float(graph.scores.exp().amin()), 4) == 0.25


def test_entries_of_one_token_and_of_none_need_no_states() -> None:
    graph = lexicon_to_fst(Lexicon([("x", "A"), ("y", "")]), TOKENS, WORDS)
    expected = Fsa.from_str("0 0 1 1 0\n0 0 0 2 0\n0 1 -1 -1 0\n1", acceptor=False)
    assert graph.to_str() == expected.to_str()
    assert equivalent_fsas(graph, expected)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("x", "AC")], {}, r"the token 'C' is not in the table of tokens \(9 symbols\)"),
        ([("w", "A")], {}, r"the word 'w' is not in the table of words"),
        ([("x", ["<blk>"])], {}, r"the token '<blk>' has id 0 in tokens.txt, which is epsilon"),
        ([], {}, r"lexicon: has no entries"),
        ([("x", "A")], {"silence": "SIL", "silence_prob": 1.0}, r"silence_prob: must be in \(0, 1"),
        ([("x", "A")], {"silence": "HUSH"}, r"the token 'HUSH' is not in the table"),
        ([("x", "A")], {"silence_disambig": "#1"}, r"silence_disambig: needs silence"),
    ],
)
def test_wrong_arguments_are_named(pairs: list, options: dict, message: str) -> None:
    with pytest.raises(FsaValueError, match=message):
        lexicon_to_fst(Lexicon(pairs), TOKENS, WORDS, **options)
