"""ARPA files: what is read, what is written, and what is refused, with file and line."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from wfst_entropy import SymbolTable, check_ngram_model, read_arpa, write_arpa
from wfst_entropy.fsa import FsaFormatError

TOY = """some header
\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-0.8\t</s>
-99\t<s>\t-0.3
-0.5\tcow\t-0.2
-0.6\tgrass\t-0.1
-1.2\t<unk>

\\2-grams:
-0.2\t<s> cow\t-0.25
-0.4\tcow grass\t-0.05
-0.3\tgrass </s>
-0.9\tcow cow

\\3-grams:
-0.05\tcow grass </s>
-0.15\t<s> cow grass

\\end\\
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "toy.arpa"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_every_ngram_whatever_its_order_in_the_file(tmp_path):
    model = read_arpa(write(tmp_path, TOY))
    assert model.num_ngrams == [5, 4, 2]
    found = {}
    for k, table in enumerate(model.tables, start=1):
        for ids, log_prob, backoff in zip(model.ngram_ids(k), table.log_prob, table.backoff):
            ngram = " ".join(model.words[i] for i in ids)
            found[ngram] = (log_prob / np.log(10), backoff / np.log(10))
    assert found.pop("<s>") == (-np.inf, pytest.approx(-0.3))
    told = {
        "</s>": (-0.8, 0), "cow": (-0.5, -0.2), "grass": (-0.6, -0.1), "<unk>": (-1.2, 0),
        "<s> cow": (-0.2, -0.25), "cow grass": (-0.4, -0.05), "grass </s>": (-0.3, 0),
        "cow cow": (-0.9, 0), "cow grass </s>": (-0.05, 0), "<s> cow grass": (-0.15, 0),
    }  # fmt: skip
    assert found == {ngram: pytest.approx(values) for ngram, values in told.items()}


@pytest.mark.parametrize(
    ("ngram", "log10"),
    [
        ("<s> cow grass", -0.15),
        ("cow grass grass", -0.05 - 0.1 - 0.6),  # no "cow grass grass", no "grass grass"
        ("<s> cow cow", -0.25 - 0.9),  # no "<s> cow cow", but "cow cow"
        ("cow cow grass", -0.4),  # "cow cow" has no weight
        ("grass cow grass", -0.4),  # no "grass cow": nothing to back off from
        ("<s> grass", -0.3 - 0.6),
        ("cow bull", -0.2 - 1.2),
    ],
)
def test_log_probs_back_off(tmp_path, ngram, log10):
    model = read_arpa(write(tmp_path, TOY))
    value = model.log_probs(model.ids([ngram.split()]))
    assert value / np.log(10) == pytest.approx(log10)


@pytest.mark.parametrize("name", ["again.arpa", "again.arpa.gz"])
def test_what_is_written_is_read_again(tmp_path, name):
    model = read_arpa(write(tmp_path, TOY))
    write_arpa(model, tmp_path / name)
    again = read_arpa(tmp_path / name)
    assert again.words == model.words
    for a, b in zip(model.tables, again.tables):
        for field in ("context", "word", "log_prob", "backoff"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), atol=1e-6)


def test_spaces_and_tabs_separate_alike(tmp_path):
    spaced = (
        TOY.replace("\t", "   ").replace("-0.8", " -0.8").replace("grass </s>\n", "grass </s> \n")
    )
    a, b = read_arpa(write(tmp_path, TOY)), read_arpa(write(tmp_path, spaced))
    assert all((x.log_prob == y.log_prob).all() for x, y in zip(a.tables, b.tables))


MALFORMED = {
    "empty": (b"", 1, "is empty"),
    "no data section": ("a text\nof two lines\n", 2, r"no \data\ line"),
    "binary": (b"\x7fELF\x02\x01\0\0" + bytes(range(256)), 1, "zero byte"),
    "byte order mark": (b"\xef\xbb\xbf" + TOY.encode(), 1, "byte order mark"),
    "CR LF": (TOY.replace("\n", "\r\n"), 1, "carriage return"),
    "not UTF-8": (TOY.encode().replace(b"cow", b"c\xf6w"), 10, "not UTF-8"),
    "a 10 MB line": (TOY.replace("\tcow grass </s>", "\tcow" * 2_500_000), 21, "longer than"),
    "cut inside a section": (TOY[: TOY.index("\\3-grams")], 19, r"within \2-grams:"),
    "cut before the end": (TOY.replace("\\end\\\n", ""), 23, r"without \end\ "[:-1]),
    "too few n-grams": (TOY.replace("ngram 2=4", "ngram 2=5"), 20, "after 4 2-grams"),
    "too many n-grams": (TOY.replace("ngram 2=4", "ngram 2=3"), 20, "after 4 2-grams"),
    "a section more": (TOY.replace("ngram 3=2\n", ""), 19, r"needed \end\ here"),
    "a section less": (TOY.replace("3=2", "3=2\nngram 4=1"), 25, r"needed \4-grams: here"),
    "sections out of order": (TOY.replace("\\2-grams", "\\3-grams"), 14, r"needed \2-grams:"),
    "garbage among the counts": (TOY.replace("ngram 2", "ngrom 2"), 4, "needed 'ngram 2=COUNT'"),
    "no counts": ("\\data\\\n\n\\1-grams:\n", 3, "has no line such as"),
    "a word twice": (TOY.replace("-0.6\tgrass", "-0.6\tcow"), 11, "'cow' is there twice"),
    "an n-gram twice": (TOY.replace("cow cow", "<s> cow"), 18, "on line 15 already"),
    "no context": (TOY.replace("<s> cow grass", "grass cow cow"), 22, "'grass cow' is not among"),
    "an unknown word": (TOY.replace("cow cow", "cow bull"), 18, "'bull' is not among"),
    "a positive log-probability": (TOY.replace("-0.4", "0.4"), 16, "must not be positive"),
    "not a number": (TOY.replace("-0.4", "nan"), 16, "'nan': needed a number"),
    "garbage for a number": (TOY.replace("-0.25", "-0.2S"), 15, "'-0.2S': needed a number"),
    "infinite back-off": (TOY.replace("-0.25", "inf"), 15, "needed a number"),
    "too many fields": (TOY.replace("cow cow", "cow cow x -1"), 18, "got 5 fields"),
    "no <s>": (TOY.replace("<s>", "<bos>"), 14, "no <s>"),
    "no </s>": (TOY.replace("</s>", "<eos>"), 14, "no </s>"),
    "text after the end": (TOY + "more\n", 25, r"text after \end\ "[:-1]),
    "a second model": (TOY + TOY[12:], 25, r"nothing may follow \end\ "[:-1]),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_with_file_and_line(tmp_path, case):
    text, line, message = MALFORMED[case]
    path = write(tmp_path, text)
    with pytest.raises(FsaFormatError) as error:
        read_arpa(path)
    assert str(error.value).startswith(f"{path}: line {line}: ")
    assert message in str(error.value)


def test_gzip_that_was_cut_is_refused(tmp_path):
    path = write(tmp_path, gzip.compress(TOY.encode())[:-20])
    with pytest.raises(FsaFormatError, match="cut short"):
        read_arpa(path)


def test_words_outside_the_word_table_are_refused(tmp_path):
    path = write(tmp_path, TOY)
    words = SymbolTable.from_str("<eps> 0\ncow 1\ngrass 2")
    assert read_arpa(path, words=words).order == 3
    with pytest.raises(FsaFormatError, match=r"toy.arpa: line 11: the word 'grass' is not in the"):
        read_arpa(path, words=SymbolTable.from_str("<eps> 0\ncow 1"))


def test_damaged_files_are_read_or_refused_with_their_line(tmp_path):
    generator, refused = random.Random(0), 0
    for _ in range(60):
        data = bytearray(TOY.encode())
        for _ in range(generator.randint(1, 4)):
            i = generator.randrange(len(data))
            if generator.random() < 0.5:
                data[i] = generator.randrange(256)
            else:
                data[i : i + generator.choice([0, 1, 30])] = generator.choice(
                    [b"\n", b" ", b"-99 ", b"</s> ", b"1e999 ", b"-inf ", b"\\end\\\n"]
                )
        path = write(tmp_path, bytes(data))
        try:
            check_ngram_model(read_arpa(path))
        except FsaFormatError as error:
            assert str(error).startswith(f"{path}: line ")
            refused += 1
    assert refused > 30
