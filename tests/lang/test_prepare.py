"""Lang directories: made, made again only when needed, and looked into."""

from __future__ import annotations

import logging
import os
from itertools import pairwise
from pathlib import Path

import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.algorithms import arc_sort, invert
from wfst_entropy.fsa import Fsa, FsaFormatError, FsaValueError, SymbolNotFoundError, save_fsa
from wfst_entropy.lang import (
    LangDir,
    LangSources,
    Lexicon,
    Silence,
    add_disambig_symbols,
    bpe_lexicon,
    char_lexicon,
    lexicon_to_fst,
    prepare_lang_dir,
    write_lang_dir,
)
from wfst_entropy.lang.spelling import segmentations

PHONES = "READ R EH D\nRED R EH D\nREAD R IY D\n!SIL SIL\n"
TEXTS = ["THE DAY AND THE NIGHT", "AND THERE WAS LIGHT", "THE LIGHT THE DAY"]


@pytest.fixture
def phones(tmp_path: Path) -> Path:
    (tmp_path / "dict.txt").write_text(PHONES)
    return tmp_path / "dict.txt"


@pytest.fixture(scope="module")
def bpe_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bpe") / "bpe.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=file,
            vocab_size=26,
            model_type="bpe",
            user_defined_symbols=["<blk>", "<sos/eos>"],
            unk_id=2,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    return path


def same(a: Fsa, b: Fsa) -> bool:
    tensors = ("arcs", "scores", "aux_labels")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)


def test_a_phone_lexicon(phones: Path, tmp_path: Path) -> None:
    sources = LangSources(lexicon=phones, silence=Silence("SIL", 0.2))
    lang = prepare_lang_dir(tmp_path / "lang_phone", sources)
    assert lang.tokens.symbols == ["<blk>", "D", "EH", "IY", "R", "SIL", "#0", "#1", "#2", "#3"]
    assert lang.words.symbols == ["<eps>", "!SIL", "READ", "RED", "#0", "<s>", "</s>"]
    assert (lang.vocab_size, lang.first_disambig, lang.word_disambig_id) == (6, 6, 4)
    assert (lang.token_type, lang.unknown_word_id) == ("phone", None)
    assert lang.lexicon == Lexicon.from_file(phones)
    assert lang.lexicon_disambig == add_disambig_symbols(lang.lexicon)[0]
    plain = lexicon_to_fst(lang.lexicon, lang.tokens, lang.words, silence="SIL", silence_prob=0.2)
    assert same(lang.L, plain)
    assert same(lang.Linv, arc_sort(invert(plain)))
    # #3 comes after an optional silence: !SIL is silence that is a word
    marked = lexicon_to_fst(
        lang.lexicon_disambig,
        lang.tokens,
        lang.words,
        silence="SIL",
        silence_prob=0.2,
        silence_disambig="#3",
        self_loop=True,
    )
    assert same(lang.L_disambig, marked)


def test_probabilities_and_markers(tmp_path: Path) -> None:
    (tmp_path / "lexiconp.txt").write_text("a 0.75 A\na 0.25 A B\nb 1 B\n")
    sources = LangSources(lexicon=tmp_path / "lexiconp.txt", position_markers=True)
    lang = prepare_lang_dir(tmp_path / "lang", sources)
    assert lang.lexicon.probs == (0.75, 0.25, 1.0)
    assert lang.lexicon_disambig.probs == lang.lexicon.probs
    assert lang.tokens.symbols == ["<blk>", "A_B", "A_S", "B_E", "B_S", "#0"]
    assert (lang.path / "lexicon.txt").read_text() == "a A_S\na A_B B_E\nb B_S\n"
    assert lang.texts_to_token_ids(["b a"]) == [[4, 2]]
    assert sorted(set(lang.L.scores.exp().tolist())) == [0.25, 0.75, 1.0]
    # without probabilities, the old files do not stay
    write_lang_dir(lang.path, Lexicon([("a", ["A_S"])]))
    assert not list(lang.path.glob("lexiconp*"))
    assert LangDir(lang.path).lexicon.probs is None


def test_the_tokens_of_a_model_keep_their_ids_and_words_are_added(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "lang_char"
    folder.mkdir()
    characters = ["<blk>", "<sos/eos>", "<unk>", "▁", *sorted({*"".join(TEXTS)} - {" "})]
    tokens = "".join(f"{t} {i}\n" for i, t in enumerate(characters))
    (folder / "tokens.txt").write_text(tokens)
    (folder / "transcript_words.txt").write_text("\n".join(TEXTS) + "\n")
    (tmp_path / "more").write_text("<s>\nTHIN\nCAFÉ\nTHE 5\n")
    with caplog.at_level(logging.WARNING):
        lang = prepare_lang_dir(folder, LangSources(words=(tmp_path / "more",)))
    assert "1 words cannot be written in" in caplog.text and "'CAFÉ'" in caplog.text
    assert (folder / "tokens.txt").read_text().startswith(tokens + f"#0 {len(characters)}\n")
    assert lang.token_type == "char"
    assert set(lang.lexicon.words) == {"<UNK>", "THIN", *" ".join(TEXTS).split()}
    assert lang.lexicon.pronunciations("THIN") == [("▁", "T", "H", "I", "N")]
    assert lang.lexicon.pronunciations("<UNK>") == [("▁", "<unk>")]
    assert lang.words["<UNK>"] == lang.unknown_word_id == 1
    without = prepare_lang_dir(folder)
    assert "THIN" not in without.lexicon


def test_a_bpe_model(bpe_model: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("<eps> 0\nTHE 1\nDAY 2\nDAZE 3\n#0 4\n")
    sources = LangSources(bpe_model=bpe_model, words=(tmp_path / "words.txt",))
    lang = prepare_lang_dir(tmp_path / "lang_bpe", sources)
    assert lang.token_type == "bpe" and lang.bpe_model == lang.path / "bpe.model"
    assert lang.vocab_size == 26
    model = sentencepiece.SentencePieceProcessor(model_file=str(bpe_model))
    assert lang.texts_to_token_ids(["THE DAY"]) == [model.encode("THE DAY")]
    assert set(lang.lexicon.words) == {"<UNK>", "THE", "DAY"}
    again = prepare_lang_dir(lang.path, sources, force=True)
    assert again.lexicon == lang.lexicon
    (lang.path / "tokens.txt").write_text("<blk> 0\nA 1\n")
    with pytest.raises(FsaFormatError, match=r"tokens.txt: its 2 tokens are not the 26 pieces"):
        prepare_lang_dir(lang.path, sources)


def test_segmentations_are_all_ways_to_write_a_word(bpe_model: Path) -> None:
    one = bpe_lexicon(["LIGHT", "DAZE"], bpe_model)
    assert one.words == ["LIGHT"]
    many = bpe_lexicon(["LIGHT"], bpe_model, num_segmentations=100)
    assert many[0] == one[0]
    assert len(set(many)) == len(many) > 1
    assert all("".join(tokens) == "▁LIGHT" for _, tokens in many)
    assert ("LIGHT", ("▁", "L", "I", "G", "H", "T")) in list(many)
    assert bpe_lexicon(["LIGHT"], bpe_model, num_segmentations=3)[:] == many[:3]


@settings(max_examples=10)
@given(st.text("AB", min_size=1, max_size=6), st.sets(st.text("AB", min_size=1, max_size=3)))
def test_segmentations_by_enumeration(text: str, pieces: set[str]) -> None:
    ways = []
    for cuts in range(2 ** (len(text) - 1)):
        places = [0, *(i + 1 for i in range(len(text) - 1) if cuts >> i & 1), len(text)]
        way = [text[i:j] for i, j in pairwise(places)]
        if pieces.issuperset(way):
            ways.append(way)
    ways.sort(key=lambda way: (len(way), [-len(piece) for piece in way]))
    assert segmentations(text, pieces, 3) == ways[:3]
    assert segmentations(text, pieces, 100) == ways


def test_characters_without_a_mark() -> None:
    assert list(char_lexicon(["你好", "好x"], tokens="你好", word_start="")) == [
        ("你好", ("你", "好"))
    ]
    assert list(char_lexicon(["a▁b", "a"])) == [("a", ("▁", "a"))]


def test_nothing_is_made_twice(phones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lang"
    sources = LangSources(lexicon=phones)

    def ages() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    prepare_lang_dir(folder, sources)
    first = ages()
    prepare_lang_dir(folder, sources)
    assert ages() == first
    # other options, a newer source, a damaged end, --force: made again; what is as before stays
    prepare_lang_dir(folder, LangSources(lexicon=phones, silence=Silence("SIL")))
    second = ages()
    assert all(second[name] > first[name] for name in ("L.pt", "L_disambig.pt", "Linv.pt"))
    assert second["lexicon.txt"] == first["lexicon.txt"]
    prepare_lang_dir(folder, sources)
    os.utime(phones, ns=(2**62, 2**62))
    third = ages()
    prepare_lang_dir(folder, sources)
    assert ages()["L.pt"] > third["L.pt"]
    os.utime(phones, ns=(0, 0))
    (folder / "Linv.pt").unlink()
    prepare_lang_dir(folder, sources)
    fourth = ages()
    prepare_lang_dir(folder, sources, force=True)
    assert ages()["L.pt"] > fourth["L.pt"]


def test_an_interrupted_run_is_begun_again(
    phones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lang"
    prepare_lang_dir(folder, LangSources(lexicon=phones))
    phones.write_text(PHONES + "DEER D IY R\n")
    with monkeypatch.context() as patch:
        patch.setattr("wfst_entropy.lang.lang_files.save_fsa", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare_lang_dir(folder, LangSources(lexicon=phones))
    lang = prepare_lang_dir(folder, LangSources(lexicon=phones))
    assert same(lang.L, lexicon_to_fst(lang.lexicon, lang.tokens, lang.words))
    assert "DEER" in lang.lexicon


def test_a_lexicon_in_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text(PHONES)
    lang = prepare_lang_dir(tmp_path)
    assert (tmp_path / "lexicon.txt").read_text() == PHONES
    assert lang.L.num_arcs == 11


def test_words_of_a_lexicon_that_are_kept(
    phones: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "words").write_text("RED\nBLUE\n")
    lang = prepare_lang_dir(
        tmp_path / "l", LangSources(lexicon=phones, words=(tmp_path / "words",))
    )
    assert lang.lexicon.words == ["RED", "!SIL"]
    assert "1 words have no entry in" in caplog.text and "'BLUE'" in caplog.text


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (LangSources(token_type="word"), r"token_type: must be one of phone, bpe, char"),
        (LangSources(token_type="char", num_segmentations=2), r"num_segmentations: does not go"),
        (
            LangSources(token_type="phone", position_markers=True),
            r"position_markers: needs lexicon",
        ),
        (LangSources(token_type="phone"), r"lexicon.txt: no such file; give --lexicon"),
        (LangSources(), r"has no words; give a list of them with --words"),
        (LangSources(words=(Path("absent"),)), r"absent: no such file"),
        (LangSources(token_type="bpe"), r"bpe.model: no such file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, sources: LangSources, message: str) -> None:
    with pytest.raises((FsaValueError, FsaFormatError), match=message):
        prepare_lang_dir(tmp_path, sources)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["A", "<blk>"], r"tokens: must begin with <blk>"),
        (["<blk>", "A", "#0"], r"tokens: must not have disambiguation symbols"),
        (["<blk>", "B"], r"the token 'A' is not in the table"),
    ],
)
def test_wrong_tokens_are_named(tmp_path: Path, tokens: list[str], message: str) -> None:
    with pytest.raises(FsaValueError, match=message):
        write_lang_dir(tmp_path / "lang", Lexicon([("a", "A")]), tokens)
    assert not (tmp_path / "lang").exists()


def test_graphs_are_read_when_they_are_asked_for(phones: Path, tmp_path: Path) -> None:
    lang = prepare_lang_dir(tmp_path / "lang", LangSources(lexicon=phones))
    for name, hint in (("LG", "graph lg"), ("HLG", "graph hlg")):
        with pytest.raises(FsaFormatError, match=rf"{name}\.pt: no such file; .*{hint}"):
            getattr(lang, name)
    with pytest.raises(
        FsaFormatError, match=r"G_3_gram\.pt: no such file; .*lm to-g LM\.arpa .*words\.txt"
    ):
        lang.G(3)
    grammar = Fsa.from_str("0 1 2 -0.5\n1 2 -1 0\n2")
    for name in ("G.pt", "G_3_gram.pt", "LG.pt", "HLG.pt"):
        save_fsa(grammar, lang.path / name)
    assert lang.G(3).to_str() == lang.G().to_str() == lang.LG.to_str() == grammar.to_str()
    assert lang.HLG is lang.HLG and lang.G(3) is lang.G(3)
    (lang.path / "L.pt").unlink()
    with pytest.raises(FsaFormatError, match=r"L\.pt: no such file; .*lang prepare"):
        _ = LangDir(lang.path).L


def test_words_that_are_not_there_are_named(phones: Path, tmp_path: Path) -> None:
    lang = prepare_lang_dir(tmp_path / "lang", LangSources(lexicon=phones))
    assert lang.oov_words(["READ THE RED", "THE BOOK"]) == ["THE", "BOOK"]
    with pytest.raises(SymbolNotFoundError, match=r"2 words are not in the lexicon: 'THE', 'BOOK'"):
        lang.texts_to_token_ids(["READ THE RED", "THE BOOK"])
    with pytest.raises(SymbolNotFoundError, match=r"1 words are not in words.txt: 'THE'"):
        lang.texts_to_word_ids(["READ THE RED"])
    assert lang.texts_to_word_ids(["READ THE", ""], unknown="!SIL") == [[2, 1], []]


def test_tokens_after_disambiguation_symbols_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<blk> 0\n#0 1\nA 2\n")
    with pytest.raises(FsaFormatError, match=r"tokens.txt: #0 has id 1, before the token 'A'"):
        _ = LangDir(tmp_path).vocab_size
