"""Is this lexicon what it should be?  Findings with line, word and remedy."""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern

from wfst_entropy.fsa import SymbolTable
from wfst_entropy.inspection import Severity
from wfst_entropy.lang.lang_finding import LangFinding, named, shown
from wfst_entropy.lang.position_markers import (
    MARKED,
    expected_markers,
    is_position_dependent,
    marker,
)
from wfst_entropy.lang.symbols import (
    RESERVED_TOKENS,
    RESERVED_WORDS,
    WORD_SPECIALS,
    is_disambiguation,
)
from wfst_entropy.lang.text_lines import read_text_lines

Pronunciation = tuple[str, ...]

# Only these separate fields: str.split() would also split at odd blanks.
_FIELDS = re.compile(r"[^ \t]+")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")
_SILENCE_WORDS = frozenset({"!SIL", "<SIL>", "SIL", "<sil>", "sil", "!sil"})


def check_lexicon(
    path: str | os.PathLike[str],
    *,
    tokens: SymbolTable | None = None,
    words: SymbolTable | None = None,
    probabilities: bool | None = None,
    disambiguated: bool = False,
    silence: str | None = None,
) -> list[LangFinding]:
    """Looks for what is wrong or unusual in a lexicon file, and changes nothing.

    Errors: text that is not clean UTF-8 lines (CRLF, byte order mark, NUL, ...), a word without
    tokens, a pronunciation of a word listed with two probabilities, tokens or words that are not in
    their table or mean something else (blank, epsilon, `#1`, `<s>`), probabilities outside (0, 1],
    and position markers (`_B _I _E _S`) that do not fit. Warnings: entries listed again, which
    count once, words of the table without a pronunciation, silence inside words, empty lines, odd
    blanks.

    Args:
      path: lines `word token token ...`; with probabilities `word probability token token ...`.
      tokens: the tokens that there are; by default any.
      words: the words that there are; by default any.
      probabilities: whether lines have them; by default, whether the file is called
        `lexiconp.txt` (or `lexiconp_disambig.txt`).
      disambiguated: whether pronunciations may end with `#1`, `#2`, ...
      silence: the token of optional silence.

    Returns:
      Findings by line; empty if all is well.

    Raises:
      FsaFormatError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "lexicon.txt"
      ...     _ = path.write_text("READ R EH D\\nREAD R EH D\\nA <blk>\\n")
      ...     for finding in check_lexicon(path):
      ...         print(finding.line, finding.word, finding.what)
      2 READ this pronunciation is already on line 1
      3 A the token '<blk>' cannot be spoken
    """
    return examine_lexicon(
        path,
        tokens=tokens,
        words=words,
        probabilities=probabilities,
        disambiguated=disambiguated,
        silence=silence,
    ).findings


@dataclass
class Examined:
    """A lexicon file as far as it could be read, and what was found."""

    file: str
    has_probabilities: bool
    entries: list[tuple[str, Pronunciation]] = field(default_factory=list)
    probs: array[float] = field(default_factory=lambda: array("d"))
    lines: list[int] = field(default_factory=list)
    num_repeated: int = 0  # entries that are there already, and were left out
    findings: list[LangFinding] = field(default_factory=list)

    def tell(
        self,
        line: int | None,
        word: str,
        what: str,
        remedy: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Notes a finding."""
        self.findings.append(LangFinding(severity, self.file, line, word, what, remedy))


def examine_lexicon(
    path: str | os.PathLike[str],
    *,
    tokens: SymbolTable | None = None,
    words: SymbolTable | None = None,
    probabilities: bool | None = None,
    disambiguated: bool = False,
    silence: str | None = None,
) -> Examined:
    """The entries of a lexicon file beside what `check_lexicon` says of it."""
    if probabilities is None:
        probabilities = Path(path).name.startswith("lexiconp")
    examined = Examined(str(path), probabilities)
    lines, examined.findings = read_text_lines(path)
    if lines:
        _parse(examined, lines)
        _check_words(examined, words)
        _check_tokens(examined, tokens, disambiguated)
        _leave_out_repeated(examined)
        _check_positions(examined)
        if silence is not None:
            _check_silence(examined, silence, tokens)
    examined.findings.sort(key=lambda finding: (finding.line or 0, -finding.severity))
    return examined


def _parse(examined: Examined, lines: list[str]) -> None:
    """Splits the lines; what has no word and tokens is told and left out."""
    fields_of = _FIELDS.findall
    first = 2 if examined.has_probabilities else 1
    empty = []
    for number, line in enumerate(lines, start=1):
        fields = fields_of(line)
        if not fields:
            empty.append(number)
            continue
        if examined.has_probabilities:
            text = fields[1] if len(fields) > 1 else ""
            # Not what float() reads: nan, inf, 1_0.
            if not _NUMBER.fullmatch(text) or not 0 < float(text) <= 1:
                what = f"needed a probability in (0, 1] after the word, got {shown(text)}"
                examined.tell(number, fields[0], what, "write 1.0 where it is unknown")
                continue
            examined.probs.append(float(text))
        if len(fields) <= first:
            if examined.has_probabilities:
                examined.probs.pop()
            examined.tell(number, fields[0], "has no tokens", "write them, or delete the line")
            continue
        # One object for each token: less memory, and comparisons that are quicker.
        examined.entries.append((fields[0], tuple(map(intern, fields[first:]))))
        examined.lines.append(number)
    if empty and not any(finding.line in empty[:1] for finding in examined.findings):
        what = f"is empty, as are {len(empty)} lines" if len(empty) > 1 else "is empty"
        examined.tell(empty[0], "", what, f"sed -i '/^$/d' {examined.file}", Severity.WARNING)
    if not examined.entries and all(f.severity < Severity.ERROR for f in examined.findings):
        examined.tell(1, "", "the lexicon has no entry", "make it again")


def _check_tokens(examined: Examined, table: Container[str] | None, disambiguated: bool) -> None:
    good: set[str] = set()
    for i, (word, tokens) in enumerate(examined.entries):
        if good.issuperset(tokens):
            continue
        if disambiguated and is_disambiguation(tokens[-1]):
            tokens = tokens[:-1]
        for token in tokens:
            if token in good:
                continue
            told = _token_fault(token, table)
            if told is None:
                good.add(token)
            else:
                examined.tell(examined.lines[i], word, *told)
                break


def _token_fault(token: str, table: Container[str] | None) -> tuple[str, str] | None:
    """What is wrong with a token and how to mend it."""
    if is_disambiguation(token):
        what = f"the token {shown(token)} is a disambiguation symbol"
        return what, "delete it: they are added when graphs are made, at the end only"
    if token in RESERVED_TOKENS:
        return f"the token {shown(token)} cannot be spoken", "delete it, or the line"
    if table is not None and token not in table:
        remedy = "correct it, or delete the line"
        if _NUMBER.fullmatch(token):
            remedy = "if it is a probability, call the file lexiconp.txt"
        return f"the token {shown(token)} is not in tokens.txt", remedy
    return None


def _check_words(examined: Examined, table: SymbolTable | None) -> None:
    for i, (word, _) in enumerate(examined.entries):
        if word[0] in "<#" and (word in RESERVED_WORDS or is_disambiguation(word)):
            what = "this name is reserved for graphs and language models"
            examined.tell(examined.lines[i], word, what, "call it otherwise")
        elif table is not None and word not in table:
            remedy = "add it there, or make the lang directory again"
            examined.tell(examined.lines[i], word, "is not in words.txt", remedy)
    if table is None or not examined.entries:
        return
    have = {word for word, _ in examined.entries}
    without = [
        word
        for word in table.symbols
        if word not in have and word not in WORD_SPECIALS and not is_disambiguation(word)
    ]
    if without:
        what = f"{len(without)} words of words.txt have no pronunciation: {named(without)}"
        examined.tell(None, "", what, "add theirs, or they are never recognised", Severity.WARNING)


def _leave_out_repeated(examined: Examined) -> None:
    """Published lexicons repeat entries, which is harmless; two probabilities need a decision."""
    first: dict[tuple[str, Pronunciation], int] = {}
    kept = []
    for i, entry in enumerate(examined.entries):
        earlier = first.setdefault(entry, i)
        if earlier == i:
            kept.append(i)
            continue
        what = f"this pronunciation is already on line {examined.lines[earlier]}"
        severity, remedy = Severity.WARNING, "it counts once; delete one of the two"
        if examined.has_probabilities and examined.probs[i] != examined.probs[earlier]:
            what += f", with the probability {examined.probs[earlier]:g}"
            severity, remedy = Severity.ERROR, "delete one of the two"
        examined.tell(examined.lines[i], entry[0], what, remedy, severity)
    examined.num_repeated = len(examined.entries) - len(kept)
    if examined.num_repeated:
        examined.entries = [examined.entries[i] for i in kept]
        examined.lines = [examined.lines[i] for i in kept]
        if examined.has_probabilities:
            examined.probs = array("d", [examined.probs[i] for i in kept])


def _check_positions(examined: Examined) -> None:
    if not is_position_dependent(examined.entries):
        return
    for (word, tokens), line in zip(examined.entries, examined.lines):
        spoken = [token for token in tokens if not is_disambiguation(token)]
        if len(spoken) == 1 and not marker(spoken[0]):
            continue  # silence and noise
        have, needed = [marker(token) for token in spoken], expected_markers(len(spoken))
        if have != needed:
            i = next(i for i, pair in enumerate(zip(have, needed)) if pair[0] != pair[1])
            what = f"token {i + 1}, {shown(spoken[i])}, should end in {needed[i]}"
            remedy = f"markers are {', '.join(MARKED)}; take them away and use --position-markers"
            examined.tell(line, word, what, remedy)


def _check_silence(examined: Examined, silence: str, table: SymbolTable | None) -> None:
    if table is not None and silence not in table:
        what = f"the silence {shown(silence)} is not in tokens.txt"
        examined.tell(None, "", what, "add it there, or give another --silence")
    alone = Counter(tokens for _, tokens in examined.entries)[(silence,)]
    for (word, tokens), line in zip(examined.entries, examined.lines):
        if silence not in tokens:
            continue
        if len(tokens) > 1:
            what = f"has the silence {shown(silence)} inside"
            remedy = "optional silence stands between words: delete it here"
            examined.tell(line, word, what, remedy, Severity.WARNING)
        elif word not in _SILENCE_WORDS and alone > 1:
            what = f"is nothing but the silence {shown(silence)}"
            examined.tell(line, word, what, "give it tokens of its own", Severity.WARNING)
