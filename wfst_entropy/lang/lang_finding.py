"""What the checks of lexicons and lang directories find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.inspection import Severity

_SHOWN = 40  # characters of a symbol in a message


@dataclass(frozen=True)
class LangFinding:
    """One fact about a file of a lang directory.

    Attributes:
      severity: `Severity.ERROR` where graphs would be wrong or could not be made.
      file: its path.
      line: counted from 1; None where it is about the whole file.
      word: the word of the lexicon that it is about; empty where there is none.
      what: what is wrong.
      remedy: how to mend it.

    Example:
      >>> str(LangFinding(Severity.ERROR, "lexicon.txt", 3, "AB", "no tokens", "write them"))
      "lexicon.txt: line 3: word 'AB': no tokens; write them"
    """

    severity: Severity
    file: str
    line: int | None
    word: str
    what: str
    remedy: str

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        word = f"word {shown(self.word)}: " if self.word else ""
        return f"{self.file}: {line}{word}{self.what}; {self.remedy}"


def raise_first_error(findings: Iterable[LangFinding]) -> None:
    """Raises `FsaFormatError` for the error with the smallest line, and tells how many there are.

    >>> raise_first_error([LangFinding(Severity.WARNING, "a", 1, "", "odd", "look")])
    """
    errors = [finding for finding in findings if finding.severity == Severity.ERROR]
    if not errors:
        return
    more = "" if len(errors) == 1 else f" ({len(errors) - 1} more: see wfst-entropy lang check)"
    raise FsaFormatError(f"{min(errors, key=lambda error: error.line or 0)}{more}")


def named(symbols: Sequence[str], most: int = 5) -> str:
    """The first of several symbols, for a message.

    >>> named(["A", "B"]), named(["A", "B", "C"], 2)
    ("'A', 'B'", "'A', 'B', ...")
    """
    return ", ".join(map(shown, symbols[:most])) + (", ..." if len(symbols) > most else "")


def shown(symbol: str) -> str:
    """A symbol in quotes, shortened where it would fill a screen.

    >>> shown("A"), len(shown("A" * 10_000_000))
    ("'A'", 67)
    """
    if len(symbol) <= _SHOWN:
        return repr(symbol)
    return f"{symbol[:_SHOWN]!r}... ({len(symbol)} characters)"
