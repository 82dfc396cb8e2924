"""Searches of a transducer as decoding methods: words, times, confidences, scales, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import METHODS, make_method, method_for, usable_methods
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.fsa import Fsa, save_fsa
from wfst_entropy.lang import LangDir

TOKENS = ["<blk>", "▁", "A", "B", "C"]


class Copying:
    """Frames are log-probabilities; the labels so far do not matter."""

    context_size = 1

    def project_encoder(self, encoder_out):
        return encoder_out

    def start(self, n):
        return torch.zeros(n, len(TOKENS)), []

    def step(self, tokens, state):
        return torch.zeros(len(tokens), len(TOKENS)), state

    def join(self, am, lm):
        return am + lm

    def contexts(self, tokens):
        return torch.zeros(len(tokens), len(TOKENS))


def frames(*rows):
    probs = torch.full((1, len(rows), len(TOKENS)), 1e-4)
    for t, row in enumerate(rows):
        for token, prob in row.items():
            probs[0, t, TOKENS.index(token)] = prob
    return probs.log().log_softmax(-1), torch.tensor([len(rows)])


# "AB AC" or so: the first B is a little likelier than C, the second C likelier than B.
UNSURE = frames(
    *({"▁": 1}, {"A": 1}, {"B": 0.55, "C": 0.45}, {"<blk>": 1}, {"▁": 1}, {"A": 1}),
    *({"B": 0.3, "C": 0.7}, {"<blk>": 1}),
)


@pytest.fixture(scope="module")
def lang_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    # after A the n-gram likes C best
    bigram = "0 0 1 -1\n0 0 2 -1\n0 0 3 -3\n0 0 4 -1\n0 1 -1 0\n1"
    save_fsa(Fsa.from_str(bigram, acceptor=True), folder / "2gram.pt")
    return LangDir(folder)


def setup(lang_dir=None, scales=None, **options):
    tokenizer = CharTokenizer(TOKENS)
    return SearchSetup(tokenizer, lang_dir, SearchOptions(**options), scales or {}, Copying())


@pytest.mark.parametrize("name", ["greedy_search", "modified_beam_search"])
def test_words_with_frames_and_confidences(name):
    method = make_method(name, setup())
    (found,) = method.search(*UNSURE, [[]])
    assert found.words == ["AB", "AC"] and found.problem == ""
    assert [(w.word, w.start, w.end) for w in found.times] == [("AB", 1, 2), ("AC", 5, 6)]
    assert [w.confidence for w in found.times] == pytest.approx([0.55, 0.7], abs=0.01)
    assert method.search_grid(*UNSURE, [{}]) == [[["AB", "AC"]]]


def test_a_beam_is_unsure_where_the_frames_are():
    (found,) = make_method("modified_beam_search", setup(beam_size=8)).search(*UNSURE, [[]])
    entropy = sum(-p * math.log(p) for q in (0.55, 0.7) for p in (q, 1 - q))
    assert found.word_entropy == pytest.approx(entropy, abs=0.05)


def test_phrases_and_an_ngram_change_what_is_found(lang_dir, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("AB\n")
    favoured = make_method("modified_beam_search", setup(context_file=phrases, context_score=3.0))
    assert favoured.search(*UNSURE, [[]])[0].words == ["AB", "AB"]
    with pytest.raises(OptionError, match=r"context_file: greedy_search favours no.*modified_beam"):
        make_method("greedy_search", setup(context_file=phrases))
    name = "modified_beam_search_lm_shallow_fusion"
    fused = make_method(name, setup(lang_dir, tokens_ngram=2))
    small, large = fused.search_grid(*UNSURE, [{"ngram_lm_scale": 0.0}, {"ngram_lm_scale": 1.0}])
    assert small == [["AB", "AC"]] and large == [["AC", "AC"]]
    scaled = make_method(name, setup(lang_dir, {"ngram_lm_scale": 1.0}, tokens_ngram=2))
    assert scaled.search(*UNSURE, [[]])[0].words == large[0]
    with pytest.raises(OptionError, match=r"5gram\.pt: no such file.*--stage 4"):
        make_method(name, setup(lang_dir))


def test_what_is_subtracted_and_a_blank_penalty_change_what_is_found(lang_dir):
    likes_b = "0 0 1 -1\n0 0 2 -1\n0 0 3 -1\n0 0 4 -3\n0 1 -1 0\n1"
    save_fsa(Fsa.from_str(likes_b, acceptor=True), lang_dir.path / "lodr_1gram.pt")
    name, options = "modified_beam_search_LODR", {"tokens_ngram": 2, "lodr_order": 1}
    method = make_method(name, setup(lang_dir, **options))
    scales = [{"ngram_lm_scale": 0.05, "lodr_scale": lodr} for lodr in (0.0, -0.5)]
    assert method.search_grid(*UNSURE, scales) == [[["AB", "AC"]], [["AC", "AC"]]]
    options["lodr_order"] = 2
    with pytest.raises(OptionError, match=r"lodr_2gram\.pt: no such file.*--stage 4"):
        make_method(name, setup(lang_dir, **options))
    pausing = frames({"A": 1}, {"<blk>": 0.6, "B": 0.4})
    for name in ("greedy_search", "modified_beam_search"):
        for penalty, words in ((0.0, ["A"]), (1.0, ["AB"])):
            method = make_method(name, setup(blank_penalty=penalty))
            assert method.search(*pausing, [[]])[0].words == words


def test_a_method_needs_its_head():
    both = usable_methods(use_ctc=True, use_transducer=True)
    assert set(both) == set(METHODS) and both[0] == method_for("", True, True) == "greedy_search"
    assert method_for("", True, False) == "ctc-greedy-search"
    assert method_for("modified-beam-search", False, True) == "modified_beam_search"
    with pytest.raises(OptionError, match=r"greedy_search needs a transducer head.*ctc-greedy-sea"):
        method_for("greedy_search", True, False)
    with pytest.raises(OptionError, match=r"1best needs a CTC head.*with greedy_search, modified"):
        method_for("1best", False, True)
    with pytest.raises(OptionError, match="needs a model that has a transducer head"):
        make_method("greedy_search", SearchSetup(CharTokenizer(TOKENS)))


def save_lg(folder):
    lines = [f"{token} {i}\n" for i, token in enumerate([*TOKENS, "#0"])]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "words.txt").write_text("<eps> 0\nAB 1\nAC 2\n#0 3\n")
    (folder / "lexicon.txt").write_text("AB ▁ A B\nAC ▁ A C\n", encoding="utf-8")
    graph = "0 1 1 0 0\n1 2 2 0 0\n2 3 3 1 -3\n2 3 4 2 -1\n3 1 1 0 0\n3 4 -1 -1 0\n4"  # likes AC
    save_fsa(Fsa.from_str(graph), folder / "LG.pt")


@pytest.mark.parametrize("name", [n for n in METHODS if n.startswith("fast_beam_search")])
def test_fast_beam_searches(name, tmp_path):
    save_lg(tmp_path)
    for scale, words in ((0.01, ["AB", "AC"]), (1.0, ["AC", "AC"])):
        if not METHODS[name].default_scales:
            words = ["AB", "AC"]
        method = make_method(
            name, setup(LangDir(tmp_path), {"ngram_lm_scale": scale, "ilme_scale": 0.0})
        )
        (found,) = method.search(*UNSURE, [["AB", "AC"]])
        assert found.words == words and found.problem == ""
        assert [(w.word, w.start, w.end) for w in found.times] == [(words[0], 1, 2), ("AC", 5, 6)]
        assert found.entropy > 0
        if METHODS[name].grid:
            scales = {"ngram_lm_scale": scale, "ilme_scale": 0.0}
            assert method.search_grid(*UNSURE, [scales]) == [[words]]


def test_a_lattice_that_was_searched_without_its_graph_cannot_be_scaled(tmp_path):
    save_lg(tmp_path)
    method = make_method(
        "fast_beam_search_nbest_LG", setup(LangDir(tmp_path), {"ngram_lm_scale": 0.0})
    )
    assert method.search(*UNSURE, [[]])[0].words == ["AB", "AC"]
    with pytest.raises(OptionError, match="searched with 0 cannot be scaled"):
        method.search_grid(*UNSURE, method.grid)


def test_confidences_are_shares_of_the_lattice_where_scores_are_no_probabilities(tmp_path):
    save_lg(tmp_path)
    scales = {"ngram_lm_scale": 0.01, "ilme_scale": 0.3}
    method = make_method("fast_beam_search_LG", setup(LangDir(tmp_path), scales))
    (found,) = method.search(*UNSURE, [[]])
    assert [w.confidence for w in found.times] == pytest.approx([0.55, 0.7], abs=0.02)
    assert found.word_entropy is not None and 0 < found.word_entropy <= found.entropy
    streams = method.stream_search(scales)
    states = streams.advance(*UNSURE, [streams.start()])
    (streamed,) = (method.hypothesis(result) for result in streams.results(states))
    assert streamed.words == found.words
    assert [w.confidence for w in streamed.times] == [None, None]
