"""Decoding methods on a lexicon of three words: models decide what frames leave open."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search import lattice_words
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import METHODS, make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.fsa import Fsa, save_fsa
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.lang import LangDir, compile_hlg

TOKENS = ["<blk>", "▁", "A", "B", "C"]
# Words AB 1, AC 2, B 3. The graph likes AC, the larger model AB; both forbid nothing.
LG = """
0 1 1 0 0
1 2 2 0 0
2 3 3 1 -3
2 3 4 2 -1
1 3 3 3 -2
3 1 1 0 0
3 4 -1 -1 0
4
"""
G4 = """
0 0 1 -1
0 0 2 -3
0 0 3 -2
0 1 -1 0
1
"""


@pytest.fixture(scope="module")
def lang_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    lines = [f"{token} {i}\n" for i, token in enumerate([*TOKENS, "#0"])]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "words.txt").write_text("<eps> 0\nAB 1\nAC 2\nB 3\n#0 4\n")
    (folder / "lexicon.txt").write_text("AB ▁ A B\nAC ▁ A C\nB ▁ B\n", encoding="utf-8")
    graph = Fsa.from_str(LG)
    save_fsa(graph, folder / "LG.pt")
    save_fsa(compile_hlg(graph, len(TOKENS)), folder / "HLG.pt")
    grammar = Fsa.from_str(G4, acceptor=True)
    save_fsa(grammar.set_attribute_("aux_labels", grammar.labels.clone()), folder / "G_4_gram.pt")
    bigram = Fsa.from_str("0 0 1 -1\n0 0 2 -1\n0 0 3 -3\n0 0 4 -1\n0 1 -1 0\n1", acceptor=True)
    save_fsa(bigram, folder / "2gram.pt")
    return folder


def setup(lang_dir, scales=None, **options):
    tokenizer = CharTokenizer(TOKENS)
    return SearchSetup(tokenizer, LangDir(lang_dir), SearchOptions(**options), scales or {})


def frames(*rows):
    """Log-probabilities of frames in which some tokens share nearly everything."""
    probs = torch.full((1, len(rows), len(TOKENS)), 1e-3)
    for t, row in enumerate(rows):
        for token, prob in row.items():
            probs[0, t, TOKENS.index(token)] = prob
    return probs.log().log_softmax(-1), torch.tensor([len(rows)])


GRAPH_METHODS = [
    name for name, made in METHODS.items() if made.grid and made.reads == "ctc_log_probs"
]

# "AB AC" or so, the first with a B that is a little likelier than C, the second the other way.
UNSURE = frames(
    *({"▁": 1}, {"A": 1}, {"B": 0.55, "C": 0.45}, {"<blk>": 1}, {"▁": 1}, {"A": 1}),
    *({"B": 0.3, "C": 0.7}, {"<blk>": 1}),
)


def words_of(name, lang_dir, scales=None, refs=((),), **options):
    method = make_method(name, setup(lang_dir, scales, **options))
    (hypothesis,) = method.search(*UNSURE, refs)
    return hypothesis.words


@pytest.mark.parametrize("topology", ["hlg", "standard"])
@pytest.mark.parametrize("method", ["1best", "nbest"])
def test_the_graph_decides_as_far_as_its_scale_goes(lang_dir, method, topology):
    graph = {"topology": topology}
    assert words_of(method, lang_dir, {"hlg_scale": 0.01}, **graph) == ["AB", "AC"]
    assert words_of(method, lang_dir, {"hlg_scale": 1.0}, **graph) == ["AC", "AC"]


@pytest.mark.parametrize("method", ["nbest-rescoring", "whole-lattice-rescoring"])
def test_the_larger_model_takes_the_place_of_the_graph(lang_dir, method):
    small = {"hlg_scale": 1.0, "ngram_lm_scale": 0.01}
    assert words_of(method, lang_dir, small) == ["AB", "AC"]
    assert words_of(method, lang_dir, small | {"ngram_lm_scale": 1.0}) == ["AB", "AB"]


def test_the_oracle_finds_what_is_in_the_list(lang_dir):
    for ref in (["AC", "AB"], ["AB", "AB"]):
        assert words_of("nbest-oracle", lang_dir, refs=[ref], output_beam=20.0) == ref


def test_prefix_search_with_and_without_its_model(lang_dir, tmp_path):
    name = "ctc-prefix-beam-search"
    assert words_of(name, lang_dir) == ["AB", "AC"]
    scales = {"ngram_lm_scale": 1.0}
    assert words_of(name, lang_dir, scales, tokens_ngram=2) == ["AC", "AC"]
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("AB\n")
    assert words_of(name, lang_dir, context_file=phrases, context_score=3.0) == ["AB", "AB"]


@pytest.mark.parametrize("method", GRAPH_METHODS)
def test_a_grid_finds_what_searches_one_by_one_find(lang_dir, method):
    options = {"search_beam": 100.0, "output_beam": 100.0, "tokens_ngram": 2, "nbest_scale": 0.1}
    searched = make_method(method, setup(lang_dir, **options))
    grid = searched.grid[:: len(searched.grid) - 1]  # the smallest and the largest scale
    found = searched.search_grid(*UNSURE, grid)
    assert found[0] != found[1]
    for scales, (words,) in zip(grid, found, strict=True):
        assert words == words_of(method, lang_dir, scales, **options)


def test_words_have_times_confidences_and_entropies(lang_dir):
    method = make_method("1best", setup(lang_dir, {"hlg_scale": 0.01}, output_beam=30.0))
    (hypothesis,) = method.search(*UNSURE, [[]])
    times = [(word.word, word.start, word.end) for word in hypothesis.times]
    assert times == [("AB", 1, 2), ("AC", 5, 6)]
    confidences = [word.confidence for word in hypothesis.times]
    assert confidences == pytest.approx([0.55, 0.7], abs=0.02)
    assert 0 < hypothesis.word_entropy < hypothesis.entropy
    assert hypothesis.problem == ""


def test_a_lattice_too_large_for_confidences_keeps_its_words(lang_dir, monkeypatch):
    method = make_method("1best", setup(lang_dir, {"hlg_scale": 0.01}, output_beam=30.0))
    (log_probs, lengths), real = UNSURE, lattice_words.confusion_network
    batch = (log_probs.expand(2, -1, -1), torch.cat([lengths, lengths - 4]), [[], []])
    expected = method.search(*batch)
    seen = []

    def limited(lattices, refs):
        seen.append(lattices.num_arcs)
        if lattices.num_arcs > seen[0] // 2:  # the longer one alone has more
            raise FsaRuntimeError("its tables outgrow")
        return real(lattices, refs)

    monkeypatch.setattr(lattice_words, "confusion_network", limited)
    found = method.search(*batch)
    assert len(seen) == 3 and [each.words for each in found] == [each.words for each in expected]
    assert [word.confidence for word in found[0].times] == [None, None]
    assert found[1] == expected[1] and found[1].times[0].confidence > 0


def test_a_sentence_cut_off_is_told(lang_dir):
    method = make_method("1best", setup(lang_dir))
    log_probs, lengths = UNSURE
    (cut_off,) = method.search(log_probs, lengths - 7, [[]])  # no word is so short
    assert "where a sentence may end" in cut_off.problem and cut_off.times == []


def test_what_is_missing_is_named_with_its_stage(tmp_path, lang_dir):
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    for method, stage in (("1best", 2), ("ctc-prefix-beam-search", 4)):
        with pytest.raises(OptionError, match=f"make it with prepare_lm.sh --stage {stage}"):
            make_method(method, setup(tmp_path, tokens_ngram=2))
    with pytest.raises(OptionError, match=r"G_7_gram\.pt: no such file.*--stage 1"):
        make_method("nbest-rescoring", setup(lang_dir, rescoring_order=7))
    with pytest.raises(OptionError, match="needs the lang directory"):
        make_method("1best", dataclasses.replace(setup(lang_dir), lang_dir=None))
    with pytest.raises(OptionError, match="hlg_scale: needs more than 0, got 0"):
        make_method("1best", setup(lang_dir, {"hlg_scale": 0.0}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("search_beam", 0.0), ("num_paths", 0), ("hlg_scale", -1.0), ("lodr_scale", 0.1)],
)
def test_options_out_of_range(field, value):
    with pytest.raises(OptionError, match=f"{field}: needs .* got {value}"):
        SearchOptions(**{field: value})
