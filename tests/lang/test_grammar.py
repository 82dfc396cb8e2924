"""The grammar G: its sentences have the model's probabilities, and it is arpa2fst's graph."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from wfst_entropy import (
    Fsa,
    SymbolTable,
    arc_sort,
    arpa_to_g,
    estimate_ngram_model,
    read_arpa,
    score_words,
    write_g_text,
)
from wfst_entropy.fsa import FsaValueError

TOY = """\\data\\
ngram 1=5
ngram 2=6
ngram 3=3

\\1-grams:
-0.8\t</s>
-99\t<s>\t-0.3
-0.5\tcow\t-0.2
-0.6\tgrass\t-0.1
-1.2\t<unk>\t-0.05

\\2-grams:
-0.2\t<s> cow\t-0.25
-0.4\tcow grass\t-0.05
-0.3\tgrass </s>
-0.9\tcow cow\t-0.35
-0.7\tgrass <unk>\t-0.15
-99\tgrass cow

\\3-grams:
-0.05\tcow grass </s>
-0.15\t<s> cow grass
-0.45\tcow grass <unk>

\\end\\
"""
WORDS = "<eps> 0\ncow 1\ngrass 2\n<UNK> 3\n#0 4\n<s> 5\n</s> 6"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.arpa"
    path.write_text(TOY)
    return path


def score(grammar: Fsa, labels: list[int], backoff: int) -> float:
    """The score of a sentence where a back-off arc is taken only if there is no arc for a word."""
    src, dst, label = grammar.arcs.unbind(1)
    arcs = {
        (s, lab): (d, x)
        for s, d, lab, x in zip(src.tolist(), dst.tolist(), label.tolist(), grammar.scores.tolist())
    }
    assert len(arcs) == grammar.num_arcs, "two arcs of a state with one label"
    state, total = 0, 0.0
    for word in [*labels, -1]:
        while (state, word) not in arcs:
            state, arc_score = arcs[state, backoff]
            total += arc_score
        state, arc_score = arcs[state, word]
        total += arc_score
    return total


@pytest.mark.parametrize("max_order", [None, 2, 1])
@pytest.mark.parametrize("backoff", ["failure", "epsilon"])
def test_sentences_have_the_probability_of_the_model(toy, backoff, max_order):
    words = SymbolTable.from_str(WORDS)
    model = read_arpa(toy).truncated(max_order or 3)
    grammar = arpa_to_g(toy, words, backoff=backoff, max_order=max_order)
    for sentence in (s for n in range(4) for s in itertools.product([1, 2, 3], repeat=n)):
        names = ["<s>", *(["cow", "grass", "<unk>"][i - 1] for i in sentence), "</s>"]
        told = sum(
            float(model.log_probs(model.ids([names[: i + 1]]))[0]) for i in range(1, len(names))
        )
        found = score(grammar, list(sentence), 4 if backoff == "failure" else 0)
        if told == -np.inf:
            assert found < -99 * np.log(10), names
        else:
            assert found == pytest.approx(told, abs=1e-4), names


def test_labels_and_order(toy):
    grammar = arpa_to_g(toy, SymbolTable.from_str(WORDS))
    src, _, label = grammar.arcs.to(torch.int64).unbind(1)
    key = src * 10 + torch.where(label < 0, 9, label)
    assert (key.diff() > 0).all()
    is_backoff = label == 4
    assert torch.equal(grammar.aux_labels[~is_backoff], label[~is_backoff].int())
    assert (grammar.aux_labels[is_backoff] == 0).all()
    epsilon = arpa_to_g(toy, SymbolTable.from_str(WORDS), backoff="epsilon")
    assert torch.equal(epsilon.arcs, arc_sort(epsilon).arcs)
    arcs = zip(*grammar.arcs.unbind(1), grammar.scores)
    as_epsilon = {(int(s), int(d), 0 if x == 4 else int(x), float(y)) for s, d, x, y in arcs}
    arcs = zip(*epsilon.arcs.unbind(1), epsilon.scores)
    assert as_epsilon == {(int(s), int(d), int(x), float(y)) for s, d, x, y in arcs}


def test_text_is_read_back(toy, tmp_path):
    grammar = arpa_to_g(toy, SymbolTable.from_str(WORDS))
    write_g_text(grammar, tmp_path / "G_3_gram.fst.txt")
    text = (tmp_path / "G_3_gram.fst.txt").read_text()
    again = Fsa.from_str(text, acceptor=False, openfst=True)
    assert again.num_states == grammar.num_states
    # Final weights stand on lines of their own, so that final arcs may change places.
    for fsa in (grammar, again):
        assert fsa.num_arcs == grammar.num_arcs
    a, b = arc_sort(grammar), arc_sort(again)
    assert torch.equal(a.arcs, b.arcs) and torch.equal(a.scores, b.scores)
    assert torch.equal(a.aux_labels, b.aux_labels)


def test_tokens_are_words_too(tmp_path):
    tokens = SymbolTable.from_str("<blk> 0\n▁a 1\nb 2\n#0 3")
    lm = estimate_ngram_model(
        [["▁a", "b"], ["▁a", "b", "b"]], 2, vocabulary=tokens.symbols, discount_fallback="absolute"
    )
    assert lm.words == ["<unk>", "<s>", "</s>", "b", "▁a"]
    grammar = arpa_to_g(lm, tokens)
    assert set(grammar.labels.tolist()) == {-1, 1, 2, 3}
    told = float(score_words(lm, [["▁a", "b"]]).sentence_log_probs()[0])
    assert score(grammar, [1, 2], 3) == pytest.approx(told, abs=1e-5)


def test_is_the_graph_of_arpa2fst(toy, tmp_path):
    kaldilm = pytest.importorskip("kaldilm")
    (tmp_path / "words.txt").write_text(WORDS.replace("<UNK>", "<unk>") + "\n")
    text = kaldilm.arpa2fst(
        input_arpa=str(toy), disambig_symbol="#0", read_symbol_table=str(tmp_path / "words.txt")
    )
    theirs = Fsa.from_str(text, acceptor=False, openfst=True)
    ours = arpa_to_g(toy, SymbolTable.from_str(WORDS))
    for sentence in (s for n in range(5) for s in itertools.product([1, 2, 3], repeat=n)):
        assert score(ours, list(sentence), 4) == pytest.approx(
            score(theirs, list(sentence), 4), abs=1e-3
        )
    # kaldilm keeps "<s> cow", "cow cow" and "grass <unk>", from which one can only back off.
    assert ours.num_states < theirs.num_states


def test_words_outside_the_table_are_left_out_or_refused(toy, caplog):
    words = SymbolTable.from_str("<eps> 0\ncow 1\n#0 2")
    grammar = arpa_to_g(toy, words)
    assert set(grammar.labels.tolist()) == {1, 2, -1}
    assert "1 of 5 words are not in the word table" in caplog.text
    with pytest.raises(FsaValueError, match="the first is 'grass'"):
        arpa_to_g(toy, words, unknown_words="error")


def test_a_table_without_a_word_of_the_model_is_refused(toy):
    with pytest.raises(FsaValueError, match=r"toy.arpa and the word table.*In upper case 2 words"):
        arpa_to_g(toy, SymbolTable.from_str("<eps> 0\nCOW 1\nGRASS 2\n#0 3"))


def test_choices_are_checked(toy):
    words = SymbolTable.from_str("<eps> 0\ncow 1")
    with pytest.raises(FsaValueError, match="add a line '#0 2' to words"):
        arpa_to_g(toy, words)
    with pytest.raises(FsaValueError, match="backoff: must be"):
        arpa_to_g(toy, words, backoff="phi")
    with pytest.raises(FsaValueError, match="max_order: must be at least 1"):
        arpa_to_g(toy, words, backoff="epsilon", max_order=0)
