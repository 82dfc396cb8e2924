"""Language models in ARPA files: read, checked and written."""

from __future__ import annotations

import gzip
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NoReturn, cast

import numpy as np

from wfst_entropy.fsa import FsaFormatError, SymbolTable
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.lang.ngram_model import UNKNOWN, Floats, Ids, NgramModel, NgramTable
from wfst_entropy.lang.symbols import BOS, EOS
from wfst_entropy.lang.text_blocks import decoded, line_blocks

LN10 = math.log(10)
# How the format says "never": there is no minus infinity in it.
_NEVER = -99.0
# Files are rounded: a log-probability of 0 may come as a little more.
_ROUNDING = 1e-5
_WRITTEN_AT_ONCE = 1 << 16


def read_arpa(filename: str | os.PathLike[str], *, words: SymbolTable | None = None) -> NgramModel:
    """Reads a back-off language model from an ARPA file, plain or gzip.

    The file is checked as it is read: sections and their counts, numbers, every word of an n-gram
    among the single words, every n-gram's context among the n-grams one shorter.  Whether
    probabilities sum to one is for `check_ngram_model`.  Log-probabilities of -99 and below mean
    impossible.  Text before the line with `\\data\\` is skipped.

    Args:
      filename: the file.
      words: if given, all words but `<s>`, `</s>` and `<unk>` must be in this table.

    Raises:
      FsaFormatError: with file and line: what `line_blocks` refuses, a section that is missing, out
        of order or cut short, counts that differ from those in `\\data\\`, a wrong number of
        fields, a number that is none, a positive log-probability, an n-gram twice, with an unknown
        word or without its context, no `<s>` or `</s>`, or text that is not UTF-8.
      OSError: the file cannot be opened or read.

    Source: the format of SRILM, described in its manual page ngram-format(5).

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "toy.arpa"
      >>> _ = path.write_text('''\\\\data\\\\
      ... ngram 1=3
      ... ngram 2=1
      ...
      ... \\\\1-grams:
      ... -99 <s> -0.3
      ... -0.30103 </s>
      ... -0.30103 cow
      ...
      ... \\\\2-grams:
      ... -0.1 <s> cow
      ...
      ... \\\\end\\\\
      ... ''')
      >>> read_arpa(path)
      NgramModel(order=2, ngrams=[3, 1])
    """
    reader = _Reader(Path(filename), words)
    for number, lines in line_blocks(filename):
        begin = 0
        for i in [i for i, line in enumerate(lines) if line[:1] == b"\\"]:
            reader.body(number + begin, lines[begin:i])
            reader.marker(number + i, lines[i].rstrip())
            begin = i + 1
        reader.body(number + begin, lines[begin:])
    return reader.finished()


class _Reader:
    """What has been read of a file, and where in it we are."""

    def __init__(self, path: Path, allowed: SymbolTable | None) -> None:
        self.path = path
        self.allowed = allowed
        self.section: int | None = None  # 0 is \data\, k the k-grams
        self.ended = False
        self.line = 0  # the last line that was read
        self.counts: list[int] = []
        self.id_of: dict[bytes, int] = {}
        self.words: list[str] = []
        self.tables: list[NgramTable] = []
        self.model: NgramModel | None = None
        self.parts: list[tuple[Ids, NgramTable]] = []  # of this section: line numbers, n-grams

    def fail(self, number: int, message: str) -> NoReturn:
        raise FsaFormatError(f"{self.path}: line {number}: {message}")

    def marker(self, number: int, line: bytes) -> None:
        """A line that begins with a backslash: one section ends, the next begins."""
        self.line = number
        name = line.decode("utf-8", "replace")
        if self.ended:
            self.fail(number, f"{name!r}: nothing may follow \\end\\")
        if self.section is None:
            expected = "\\data\\"
        elif self.section < max(1, len(self.counts)):
            expected = f"\\{self.section + 1}-grams:"
        else:
            expected = "\\end\\"
        if name != expected:
            self.fail(number, f"{name!r}: needed {expected} here")
        if self.section == 0 and not self.counts:
            self.fail(number, f"{name!r}: \\data\\ has no line such as 'ngram 1=5000'")
        if self.section:
            self.close_section(number, name)
        self.ended = expected == "\\end\\"
        self.section = 0 if self.section is None else self.section + 1

    def body(self, number: int, lines: list[bytes]) -> None:
        self.line = number + len(lines) - 1
        if self.section == 0:
            self.counts_of(number, lines)
        elif self.ended:
            for i, line in enumerate(lines):
                if line.strip():
                    self.fail(number + i, "text after \\end\\")
        elif self.section is not None:
            self.ngrams(number, lines)

    def counts_of(self, number: int, lines: list[bytes]) -> None:
        for i, line in enumerate(lines):
            if not line.strip():
                continue
            match = re.fullmatch(rb"ngram\s+(\d{1,2})\s*=\s*(\d{1,15})\s*", line)
            if match is None or int(match[1]) != len(self.counts) + 1:
                text = line[:60].decode("utf-8", "replace")
                self.fail(number + i, f"{text!r}: needed 'ngram {len(self.counts) + 1}=COUNT'")
            self.counts.append(int(match[2]))

    def ngrams(self, number: int, lines: list[bytes]) -> None:
        order = self.section or 0
        lines = _single_spaced(lines)
        widths = np.array([line.count(b" ") + 1 if line else 0 for line in lines], dtype=np.int64)
        wrong = (widths != 0) & (widths != order + 1) & (widths != order + 2)
        if wrong.any():
            i = int(wrong.argmax())
            self.fail(
                number + i,
                f"{_shown(lines[i])}: needed a number, {_words(order)} and perhaps a back-off "
                f"weight, got {widths[i]} fields",
            )
        for width in (order + 1, order + 2):
            chosen = np.flatnonzero(widths == width)
            if len(chosen):
                # One split for all, since a list for each n-gram would take most of the time.
                fields = b" ".join([lines[i] for i in chosen.tolist()]).split(b" ")
                self.add(order, number + chosen, [fields[i::width] for i in range(width)])

    def add(self, order: int, numbers: Ids, columns: list[list[bytes]]) -> None:
        log_prob = self.log_numbers(numbers, columns[0])
        if (log_prob > _ROUNDING * LN10).any():
            i = int(log_prob.argmax())
            self.fail(
                int(numbers[i]),
                f"log-probability {columns[0][i].decode()}: must not be positive",
            )
        if len(columns) == order + 2:
            backoff = self.log_numbers(numbers, columns[-1])
        else:
            backoff = np.zeros(len(numbers))
        if order == 1:
            self.add_words(numbers, columns[1])
            ids = np.arange(len(self.words) - len(numbers), len(self.words))[:, None]
        else:
            ids = self.ids(numbers, columns[1 : order + 1])
        context = self.contexts(numbers, ids)
        table = NgramTable(context, ids[:, -1], np.minimum(log_prob, 0), backoff)
        self.parts.append((numbers, table))

    def log_numbers(self, numbers: Ids, column: Sequence[bytes]) -> Floats:
        try:
            values = np.array(list(map(float, column)))
        except ValueError:
            values = np.array([_float_or_nan(field) for field in column])
        if not (values < math.inf).all():
            i = int((~(values < math.inf)).argmax())
            self.fail(int(numbers[i]), f"{_shown(column[i])}: needed a number (base-10 logarithm)")
        return np.where(values <= _NEVER, -math.inf, values * LN10)

    def add_words(self, numbers: Ids, column: Sequence[bytes]) -> None:
        for number, word in zip(numbers.tolist(), column):
            text = decoded(word, self.path, number)
            if word in self.id_of:
                self.fail(number, f"the word {text!r} is there twice")
            if (
                self.allowed is not None
                and text not in self.allowed
                and text not in (BOS, EOS, *UNKNOWN)
            ):
                self.fail(
                    number,
                    f"the word {text!r} is not in the word table of {len(self.allowed)} symbols",
                )
            self.id_of[word] = len(self.words)
            self.words.append(text)

    def ids(self, numbers: Ids, columns: Sequence[list[bytes]]) -> Ids:
        get = self.id_of.get
        ids = np.array([[get(word, -1) for word in column] for column in columns]).T
        if (ids < 0).any():
            i, j = np.argwhere(ids < 0)[0]
            text = decoded(columns[j][i], self.path, int(numbers[i]))
            self.fail(int(numbers[i]), f"the word {text!r} is not among the 1-grams")
        return ids

    def contexts(self, numbers: Ids, ids: Ids) -> Ids:
        if self.model is None:
            return np.zeros(len(ids), dtype=np.int64)
        context = self.model.lookup(ids[:, :-1])
        if (context < 0).any():
            i = int((context < 0).argmax())
            text = [self.words[w] for w in ids[i]]
            self.fail(
                int(numbers[i]),
                f"the n-gram {' '.join(text)!r} has no context: {' '.join(text[:-1])!r} is not "
                f"among the {len(text) - 1}-grams, so it has no back-off weight",
            )
        return context

    def close_section(self, number: int, name: str) -> None:
        """Checks the n-grams of a section that has ended and puts them in order."""
        order = self.section or 0
        found, told = sum(len(numbers) for numbers, _ in self.parts), self.counts[order - 1]
        if found != told:
            self.fail(
                number,
                f"{name!r} after {found} {order}-grams, but \\data\\ says {told}: the file was cut "
                "or edited; make it again",
            )
        for symbol in (BOS, EOS):
            if symbol.encode() not in self.id_of:
                self.fail(number, f"there is no {symbol} among the 1-grams")
        self.tables.append(self.table())
        self.model = NgramModel(self.words, self.tables)

    def table(self) -> NgramTable:
        numbers = np.concatenate([n for n, _ in self.parts] or [np.zeros(0, dtype=np.int64)])
        tables = [table for _, table in self.parts]
        self.parts = []
        empty = [np.zeros(0, dtype=np.int64)] * 2 + [np.zeros(0)] * 2
        columns = [
            np.concatenate([getattr(table, name) for table in tables] or [none])
            for name, none in zip(("context", "word", "log_prob", "backoff"), empty)
        ]
        keys = columns[0] * len(self.words) + columns[1]
        if (keys[1:] > keys[:-1]).all():
            return NgramTable(*columns)
        rank = keys.argsort(kind="stable")
        same = np.flatnonzero(keys[rank[1:]] == keys[rank[:-1]])
        if len(same):
            first, second = sorted(numbers[rank[same[0] : same[0] + 2]].tolist())
            self.fail(second, f"this n-gram is on line {first} already")
        return NgramTable(*(column[rank] for column in columns))

    def finished(self) -> NgramModel:
        if self.section is None:
            self.fail(self.line, "the file ends and had no \\data\\ line: is it an ARPA file?")
        if not self.ended or self.model is None:
            where = f"\\{self.section}-grams:" if self.section else "\\data\\"
            self.fail(
                self.line,
                f"the file ends within {where}, without \\end\\: it was cut; copy it again",
            )
        return self.model


def _single_spaced(lines: list[bytes]) -> list[bytes]:
    """The lines with one space between fields and none around them."""
    text = b"\n".join([b"", *lines, b""]).replace(b"\t", b" ")
    if b"  " in text or b" \n" in text or b"\n " in text:
        return [b" ".join(filter(None, line.split(b" "))) for line in text.split(b"\n")[1:-1]]
    return text.split(b"\n")[1:-1]


def _float_or_nan(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return math.nan


def _words(order: int) -> str:
    return "a word" if order == 1 else f"{order} words"


def _shown(field: bytes) -> str:
    return repr(field[:60].decode("utf-8", "replace"))


def write_arpa(model: NgramModel, filename: str | os.PathLike[str]) -> None:
    """Writes a model as an ARPA file, gzip if the name ends in `.gz`, whole or not at all.

    Logarithms are to base 10 with seven decimals, -99 where a model says never.

    Args:
      model: the model.
      filename: the file.

    Raises:
      FileWriteError: it cannot be written; what was there before still is.

    Example:
      >>> import tempfile
      >>> zeros = np.zeros(2, dtype=np.int64)
      >>> table = NgramTable(zeros, np.arange(2), np.array([-np.inf, 0.0]), np.zeros(2))
      >>> path = Path(tempfile.mkdtemp()) / "end.arpa"
      >>> write_arpa(NgramModel(["<s>", "</s>"], [table]), path)
      >>> print(path.read_text().replace("\t", " "))
      \\data\\
      ngram 1=2
      <BLANKLINE>
      \\1-grams:
      -99 <s>
      0.0000000 </s>
      <BLANKLINE>
      \\end\\
      <BLANKLINE>
    """
    path = Path(filename)
    with replacing(path) as file:
        if path.suffix == ".gz":
            # Without a time in its header the same model gives the same bytes.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                _write(model, cast("IO[bytes]", packed))
        else:
            _write(model, file)


def _write(model: NgramModel, file: IO[bytes]) -> None:
    counts = "".join(f"ngram {k}={n}\n" for k, n in enumerate(model.num_ngrams, start=1))
    file.write(f"\\data\\\n{counts}".encode())
    for k, table in enumerate(model.tables, start=1):
        file.write(f"\n\\{k}-grams:\n".encode())
        ids = model.ngram_ids(k)
        for begin in range(0, len(table), _WRITTEN_AT_ONCE):
            chosen = slice(begin, begin + _WRITTEN_AT_ONCE)
            columns = [[model.words[i] for i in column] for column in ids[chosen].T.tolist()]
            fields = [_log10(table.log_prob[chosen]), map(" ".join, zip(*columns))]
            if k < model.order:
                fields.append(_log10(table.backoff[chosen]))
            file.write("".join(f"{line}\n" for line in map("\t".join, zip(*fields))).encode())
    file.write(b"\n\\end\\\n")


def _log10(values: Floats) -> Iterable[str]:
    # Adding 0.0 turns a negative zero into zero.
    return [
        "-99" if value <= _NEVER else f"{value:.7f}" for value in (values / LN10 + 0.0).tolist()
    ]
