"""Lexicon files, whole and damaged: every fault has its file and line, and a remedy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.fsa import FsaFormatError, FsaValueError, SymbolNotFoundError, SymbolTable
from wfst_entropy.inspection import Severity
from wfst_entropy.lang import Lexicon, add_position_markers, check_lexicon

TOKENS = SymbolTable((s, i) for i, s in enumerate(["<blk>", "A", "B", "K", "SIL", "#0", "#1"]))
WORDS = SymbolTable((s, i) for i, s in enumerate(["<eps>", "<UNK>", "ab", "ka", "#0", "<s>"]))
GOOD = b"ab A B\nka K A\n"

# name: (file, content, line, what is told)
MALFORMED: dict[str, tuple[str, bytes, int, str]] = {
    "no bytes": ("lexicon.txt", b"", 1, "the file is empty"),
    "only empty lines": ("lexicon.txt", b"\n \n", 1, "the lexicon has no entry"),
    "truncated": ("lexicon.txt", GOOD + b"ab A", 3, "the last line has no end"),
    "CRLF": ("lexicon.txt", b"ab A B\nka K A\r\n", 2, "ends with CRLF, as do 1 lines"),
    "old Mac": ("lexicon.txt", b"ab A B\rka K A\n", 1, "holds the control character U+000D"),
    "BOM": ("lexicon.txt", b"\xef\xbb\xbf" + GOOD, 1, "begins with a byte order mark"),
    "UTF-16": ("lexicon.txt", GOOD.decode().encode("utf-16"), 1, "is UTF-16"),
    "Latin-1": ("lexicon.txt", GOOD + "é A\n".encode("latin1"), 3, "the byte 0xe9 is not UTF-8"),
    "cut in a letter": ("lexicon.txt", GOOD + "é".encode()[:1], 3, "the byte 0xc3 is not UTF-8"),
    "NUL": ("lexicon.txt", GOOD + b"a\0b A\n", 3, "holds a NUL byte"),
    "10 MB line": ("lexicon.txt", GOOD + b"x" * 10_000_000 + b"\n", 3, "10000000 characters long"),
    "10 MB of fields": ("lexicon.txt", b"ab" + b" A" * 5_000_000 + b"\n", 1, "10000002 characters"),
    "no tokens": ("lexicon.txt", b"ab A B\nka\n", 2, "word 'ka': has no tokens"),
    "two probabilities": (
        "lexiconp.txt",
        b"ab 1 A\nab 0.5 A\n",
        2,
        "line 1, with the probability 1",
    ),
    "blank": ("lexicon.txt", b"ab A <blk>\n", 1, "the token '<blk>' cannot be spoken"),
    "epsilon": ("lexicon.txt", b"ab <eps>\n", 1, "the token '<eps>' cannot be spoken"),
    "sentence start": ("lexicon.txt", b"ab <s>\n", 1, "the token '<s>' cannot be spoken"),
    "symbol": ("lexicon.txt", b"ab A #1\n", 1, "the token '#1' is a disambiguation symbol"),
    "unknown token": ("lexicon.txt", b"ab A C\n", 1, "the token 'C' is not in tokens.txt"),
    "probability": ("lexicon.txt", b"ab 0.5 A\n", 1, "call the file lexiconp.txt"),
    "word #0": ("lexicon.txt", GOOD + b"#0 A\n", 3, "word '#0': this name is reserved"),
    "word </s>": ("lexicon.txt", GOOD + b"</s> A\n", 3, "word '</s>': this name is reserved"),
    "unknown word": ("lexicon.txt", GOOD + b"ba A\n", 3, "word 'ba': is not in words.txt"),
    "zero": ("lexiconp.txt", b"ab 0.0 A\n", 1, "needed a probability in (0, 1] after the word"),
    "above one": ("lexiconp.txt", b"ab 1.5 A\n", 1, "got '1.5'"),
    "nan": ("lexiconp.txt", b"ab 1 A B\nab nan A\n", 2, "got 'nan'"),
    "underflow": ("lexiconp.txt", b"ab 1e-400 A\n", 1, "got '1e-400'"),
    "no probability": ("lexiconp.txt", b"ab A B\n", 1, "got 'A'"),
    "nothing after it": ("lexiconp.txt", b"ab 1.0\n", 1, "word 'ab': has no tokens"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_every_fault_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    file, content, line, what = MALFORMED[name]
    path = tmp_path / file
    path.write_bytes(content)
    begin = time.perf_counter()
    with pytest.raises(FsaFormatError) as error:
        Lexicon.from_file(path, tokens=TOKENS, words=WORDS)
    message = str(error.value)
    assert message.startswith(f"{path}: line {line}: ")
    assert what in message
    assert len(message) < 400  # nobody wants the 10 MB on a screen
    findings = check_lexicon(path, tokens=TOKENS, words=WORDS)
    assert any(f.line == line and what in str(f) and f.remedy for f in findings)
    assert time.perf_counter() - begin < 5
    assert path.read_bytes() == content


MARKED = b"x A_B A_I B_E\nsil SIL\ny B_S\n"


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (MARKED + b"z A_S B_S\n", 4, "token 1, 'A_S', should end in _B"),
        (MARKED + b"z A_B B_I\n", 4, "token 2, 'B_I', should end in _E"),
        (MARKED + b"z A_B\n", 4, "token 1, 'A_B', should end in _S"),
        (MARKED + b"z A B_E\n", 4, "token 1, 'A', should end in _B"),
    ],
)
def test_position_markers_must_fit(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(MARKED)
    assert check_lexicon(path) == []
    path.write_bytes(content)
    (finding,) = check_lexicon(path)
    assert (finding.severity, finding.line, finding.what) == (Severity.ERROR, line, what)


def test_a_good_lexicon_has_no_findings_and_odd_ones_have_warnings(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(GOOD)
    assert check_lexicon(path, tokens=TOKENS, words=WORDS, silence="SIL") == []
    path.write_text("ab A SIL B\n\n!SIL SIL\nhush SIL\nc\u00a0d A\n")
    findings = check_lexicon(path, silence="SIL")
    assert [(f.line, f.severity) for f in findings] == [(i, Severity.WARNING) for i in (1, 2, 4, 5)]
    assert "has the silence 'SIL' inside" in findings[0].what
    assert "U+00A0" in findings[3].what
    assert Lexicon.from_file(path).words == ["ab", "!SIL", "hush", "c\u00a0d"]
    (finding,) = check_lexicon(path, silence="HUSH", tokens=None)[:1]
    assert "is empty" in finding.what
    absent = check_lexicon(path, silence="HUSH", tokens=TOKENS)
    assert any("the silence 'HUSH' is not in tokens.txt" in finding.what for finding in absent)


@pytest.mark.parametrize("name", ["lexicon.txt", "lexiconp.txt"])
def test_entries_that_are_there_again_count_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path, prob = tmp_path / name, "0.5" if name == "lexiconp.txt" else ""
    path.write_text(f"ab\t{prob} A B\nka {prob} K\nab  {prob} A\tB \nka {prob} A\nka {prob} K\n")
    findings = check_lexicon(path)
    assert [(f.line, f.word, f.severity) for f in findings] == [
        (3, "ab", Severity.WARNING),
        (5, "ka", Severity.WARNING),
    ]
    assert [f.what[-6:] for f in findings] == ["line 1", "line 2"]
    lexicon = Lexicon.from_file(path)
    assert list(lexicon) == [("ab", ("A", "B")), ("ka", ("K",)), ("ka", ("A",))]
    assert lexicon.probs == ((0.5,) * 3 if prob else None)
    assert f"{path}: 2 entries are there again" in caplog.text


def test_words_without_a_pronunciation_are_named(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_bytes(b"ab A B\n")
    (finding,) = check_lexicon(path, words=WORDS)
    assert finding.severity == Severity.WARNING and "'ka'" in finding.what
    assert Lexicon.from_file(path, words=WORDS).words == ["ab"]


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "lexicon.txt", tmp_path):
        with pytest.raises(FsaFormatError, match="no such file"):
            check_lexicon(path)


def test_disambiguation_symbols_are_read_where_they_belong(tmp_path: Path) -> None:
    path = tmp_path / "lexicon_disambig.txt"
    path.write_text("ab A #1\nka #1\n")
    lexicon = Lexicon.from_file(path, tokens=TOKENS, disambiguated=True)
    assert lexicon[1] == ("ka", ("#1",))
    path.write_text("ab #1 A\n")
    with pytest.raises(FsaFormatError, match=r"line 1: word 'ab': the token '#1'"):
        Lexicon.from_file(path, tokens=TOKENS, disambiguated=True)


symbol = st.text(st.sampled_from("aA1.'é你▁#_<>\u200d\U0001f600"), min_size=1, max_size=3).filter(
    lambda s: s[0] not in "<#"
)


@settings(max_examples=5)
@given(
    st.lists(
        st.tuples(symbol, st.lists(symbol, min_size=1, max_size=3), st.floats(1e-300, 1)),
        min_size=1,
        unique_by=lambda entry: (entry[0], *entry[1]),
    ),
    st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, rows: list, with_probs: bool) -> None:
    probs = [p for _, _, p in rows] if with_probs else None
    lexicon = Lexicon([(word, tokens) for word, tokens, _ in rows], probs)
    path = tmp_path_factory.getbasetemp() / ("lexiconp.txt" if with_probs else "lexicon.txt")
    lexicon.to_file(path)
    assert Lexicon.from_file(path) == lexicon


@pytest.mark.parametrize(
    ("entries", "probs", "message"),
    [
        ([("a b", ["A"])], None, r"'a b' must be a string without blanks"),
        ([("", ["A"])], None, r"'' must be"),
        ([("a", ["A\n"])], None, r"'A\\n' must be"),
        ([("a", ["A"])], [0.0], r"probs: of 'a': must be in \(0, 1\], got 0.0"),
        ([("a", ["A"])], [float("nan")], r"got nan"),
        ([("a", ["A"])], [1.0, 1.0], r"probs: needed one for each of 1 entries, got 2"),
    ],
)
def test_wrong_entries_are_named(entries: list, probs: list | None, message: str) -> None:
    with pytest.raises(FsaValueError, match=message):
        Lexicon(entries, probs)


def test_it_is_a_read_only_list_of_pairs() -> None:
    lexicon = Lexicon([("b", "BA"), ("a", "A"), ("b", "B")])
    assert "b" in lexicon and "c" not in lexicon and ("a", ("A",)) not in lexicon
    assert lexicon[:2] == [("b", ("B", "A")), ("a", ("A",))]
    assert lexicon.words == ["b", "a"]
    assert dict(lexicon) == {"b": ("B",), "a": ("A",)}
    with pytest.raises(SymbolNotFoundError, match=r"the word 'c' is not in the lexicon of 2 words"):
        lexicon.pronunciations("c")
    with pytest.raises(FsaValueError, match=r"the word 'e' has an empty pronunciation"):
        Lexicon([("e", "")]).to_str()


def test_markers_are_those_of_the_check(tmp_path: Path) -> None:
    lexicon = Lexicon([("a", "A"), ("ab", "AB"), ("abak", "ABAK"), ("!SIL", ["SIL"])], [0.5] * 4)
    marked = add_position_markers(lexicon, keep=["SIL"])
    assert marked.pronunciations("abak") == [("A_B", "B_I", "A_I", "K_E")]
    assert marked.probs == lexicon.probs
    marked.to_file(tmp_path / "lexiconp.txt")
    assert check_lexicon(tmp_path / "lexiconp.txt") == []
