from __future__ import annotations

from pathlib import Path

import pytest

from wfst_entropy.fsa import Fsa, save_k2
from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.inspection import Severity
from wfst_entropy.lang import LangDir, check_lang_dir, prepare_lang_dir


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokens.txt").write_text("<blk> 0\n<sos/eos> 1\n<unk> 2\nA 3\nB 4\n#0 5\n#1 6\n")
    (tmp_path / "words.txt").write_text("<eps> 0\nAB 1\nBA 2\n#0 3\n")
    (tmp_path / "lexicon.txt").write_text("AB A B\nBA B A\n\nBA B B A\n")
    return tmp_path


def test_it_reads_what_is_there(folder: Path) -> None:
    lang = LangDir(folder)
    assert lang.vocab_size == 5  # without the disambiguation symbols
    assert lang.tokens["B"] == 4
    assert lang.words[2] == "BA"
    assert list(lang.lexicon) == [("AB", ("A", "B")), ("BA", ("B", "A")), ("BA", ("B", "B", "A"))]
    assert lang.bpe_model is None
    assert lang.token_type == "char"


def test_it_changes_nothing(folder: Path) -> None:
    before = {p: p.read_bytes() for p in folder.iterdir()}
    lang = LangDir(folder)
    _ = lang.tokens, lang.words, lang.lexicon, lang.vocab_size
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_a_missing_folder_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(FsaFormatError, match=r"absent: no such lang directory; .*--stage 5"):
        LangDir(tmp_path / "absent")


def test_nobody_is_told_to_delete_what_is_no_lang_directory(tmp_path: Path) -> None:
    with pytest.raises(FsaFormatError, match=r"so .* is no lang directory; give one") as error:
        _ = LangDir(tmp_path).tokens
    assert "delete " not in str(error.value)


@pytest.mark.parametrize("name", ["tokens", "words", "lexicon"])
def test_a_missing_file_names_the_stage(folder: Path, name: str) -> None:
    (folder / f"{name}.txt").unlink()
    with pytest.raises(FsaFormatError, match=rf"{name}.txt: no such file[;,] .*--stage 5"):
        getattr(LangDir(folder), name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokens", "<blk> 0\nA one\n", r"tokens.txt: line 2: 'A one'.*integer"),
        ("tokens", "A 0\n<blk> 1\n", r"tokens.txt: <blk> must have id 0, it has 1"),
        ("tokens", "<blk> 0\nA 2\n", r"tokens.txt: ids must run from 0 to 1 .*, 1 is missing"),
        ("words", "AB 0\n", r"words.txt: <eps> must have id 0, it has None"),
        ("lexicon", "AB A B\nBA\n", r"lexicon.txt: line 2: word 'BA': has no tokens"),
        ("lexicon", "AB A B\nBC B C\n", r"lexicon.txt: line 2: word 'BC': is not in words"),
        ("lexicon", "\nAB A C\n", r"lexicon.txt: line 2: .*the token 'C' is not in tokens"),
        ("lexicon", "\n", r"lexicon.txt: line 1: .*no entry"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, name: str, text: str, message: str) -> None:
    (folder / f"{name}.txt").write_text(text)
    with pytest.raises(FsaFormatError, match=message):
        getattr(LangDir(folder), name)


def test_text_in_another_encoding_is_named(folder: Path) -> None:
    (folder / "lexicon.txt").write_bytes(b"\xff\xfeA B\n")
    with pytest.raises(FsaFormatError, match=r"lexicon.txt: line 1: is UTF-16"):
        _ = LangDir(folder).lexicon


def test_a_folder_of_icefall_with_phones_is_read(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<eps> 0\nAH 1\nSIL 2\n#0 3\n#1 4\n")
    (tmp_path / "words.txt").write_text("<eps> 0\n!SIL 1\nA 2\n#0 3\n<s> 4\n</s> 5\n")
    (tmp_path / "lexicon.txt").write_text("!SIL SIL\nA AH\n")
    lang = LangDir(tmp_path)
    loop = Fsa.from_str("0 0 1 2 0\n0 0 2 1 0\n0 1 -1 -1 0\n1", acceptor=False)
    save_k2(loop, tmp_path / "L.pt")
    assert (lang.token_type, lang.vocab_size, lang.word_disambig_id) == ("phone", 3, 3)
    assert lang.texts_to_token_ids(["A"]) == [[1]]
    assert lang.L.to_str() == loop.to_str()
    assert {f.severity for f in check_lang_dir(tmp_path)} == {Severity.WARNING}
    again = prepare_lang_dir(tmp_path)
    assert again.tokens.symbols == ["<eps>", "AH", "SIL", "#0"]
    assert check_lang_dir(tmp_path) == []
