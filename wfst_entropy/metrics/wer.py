"""Word error rate and the three result files that people compare between runs.

`recogs-*.txt` holds reference and hypothesis of every cut, `errs-*.txt` the errors in detail,
`wer-summary-*.txt` one line per decoding setting. Names, headings and order are icefall's, so
that its users' scripts and diffs keep working.
"""

from __future__ import annotations

import ast
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

logger = logging.getLogger(__name__)

# What stands for "nothing" while aligning. It cannot be a word, unlike the printed star.
_GAP = "\0"
_PRINTED_GAP = "*"


class ScoringError(FsaError, ValueError):
    """References and hypotheses cannot be scored as they are."""


class MissingAlignerError(FsaError, ImportError):
    """kaldialign is not installed."""


class Recognition(NamedTuple):
    """One recognised utterance: its cut id, reference words and hypothesis words."""

    cut_id: str
    ref: Sequence[str]
    hyp: Sequence[str]


def _kaldialign() -> ModuleType:
    try:
        import kaldialign
    except ImportError as error:
        raise MissingAlignerError(
            "kaldialign is needed to align reference and hypothesis words and cannot be imported "
            f"({error}). Install it with: pip install 'wfst-entropy[recipes]'"
        ) from error
    return kaldialign


def align_words(ref: Sequence[str], hyp: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Levenshtein alignment of two word sequences.

    Args:
      ref: reference words.
      hyp: hypothesis words.

    Returns:
      Pairs (reference word, hypothesis word); None on the left is an insertion, None on the
      right a deletion.

    Raises:
      MissingAlignerError: kaldialign is not installed.

    >>> align_words(["a", "b"], ["a", "c", "b"])
    [('a', 'a'), (None, 'c'), ('b', 'b')]
    """
    pairs = _kaldialign().align(list(ref), list(hyp), _GAP)
    return [(None if r == _GAP else r, None if h == _GAP else h) for r, h in pairs]


@dataclass
class ErrorStats:
    """Error counts of a test set.

    `WER = 100 (ins + del + sub) / num_ref_words`, in per cent.

    >>> stats = error_stats([Recognition("u1", ["a", "b"], ["a"])])
    >>> stats.wer, stats.summary()
    (50.0, '%WER 50.00% [1 / 2, 0 ins, 1 del, 0 sub ]')
    """

    substitutions: Counter[tuple[str, str]] = field(default_factory=Counter)
    deletions: Counter[str] = field(default_factory=Counter)
    insertions: Counter[str] = field(default_factory=Counter)
    # word -> [correct, substituted in ref, substituted in hyp, inserted, deleted]
    words: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 5))
    num_correct: int = 0
    num_ref_words: int = 0

    @property
    def num_sub(self) -> int:
        """Number of substituted words."""
        return self.substitutions.total()

    @property
    def num_del(self) -> int:
        """Number of deleted words."""
        return self.deletions.total()

    @property
    def num_ins(self) -> int:
        """Number of inserted words."""
        return self.insertions.total()

    @property
    def num_errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.num_ins + self.num_del + self.num_sub

    @property
    def wer(self) -> float:
        """Word error rate in per cent; without reference words 0 if all is silent, else inf."""
        if self.num_ref_words == 0:
            return float("inf") if self.num_errors else 0.0
        return 100.0 * self.num_errors / self.num_ref_words

    def summary(self) -> str:
        """The line that scripts look for: `%WER 21.60% [123 / 570, 10 ins, 20 del, 93 sub ]`."""
        return (
            f"%WER {self.wer:.2f}% [{self.num_errors} / {self.num_ref_words}, "
            f"{self.num_ins} ins, {self.num_del} del, {self.num_sub} sub ]"
        )

    def _add(self, ref_word: str | None, hyp_word: str | None) -> None:
        if ref_word is None:
            assert hyp_word is not None  # an aligner never pairs two gaps
            self.insertions[hyp_word] += 1
            self.words[hyp_word][3] += 1
        elif hyp_word is None:
            self.deletions[ref_word] += 1
            self.words[ref_word][4] += 1
        elif ref_word != hyp_word:
            self.substitutions[ref_word, hyp_word] += 1
            self.words[ref_word][1] += 1
            self.words[hyp_word][2] += 1
        else:
            self.num_correct += 1
            self.words[ref_word][0] += 1


def error_stats(results: Iterable[Recognition]) -> ErrorStats:
    """Count the word errors of a test set.

    Args:
      results: one entry per utterance; references and hypotheses may be empty.

    Returns:
      The counts, and the word error rate in per cent.

    >>> error_stats([Recognition("u1", [], [])]).wer
    0.0
    """
    stats = ErrorStats()
    for _, ref, hyp in results:
        stats.num_ref_words += len(ref)
        for ref_word, hyp_word in align_words(ref, hyp):
            stats._add(ref_word, hyp_word)
    return stats


def _details(ref: Sequence[str], hyp: Sequence[str]) -> str:
    """`a (b->c d) (e->*)`: neighbouring errors share one bracket."""
    parts = []
    for wrong, run in itertools.groupby(align_words(ref, hyp), key=lambda p: p[0] != p[1]):
        pairs = list(run)
        if not wrong:
            parts += [r for r, _ in pairs if r is not None]
            continue
        refs = " ".join(r for r, _ in pairs if r is not None) or _PRINTED_GAP
        hyps = " ".join(h for _, h in pairs if h is not None) or _PRINTED_GAP
        parts.append(f"({refs}->{hyps})")
    return " ".join(parts)


def format_transcripts(results: Iterable[Recognition]) -> str:
    r"""The text of a recogs file: a `ref=` and a `hyp=` line per cut.

    >>> print(format_transcripts([Recognition("u1", ["a"], [])]).expandtabs(1), end="")
    u1: ref=['a']
    u1: hyp=[]
    """
    lines = []
    for cut_id, ref, hyp in results:
        lines += [f"{cut_id}:\tref={list(ref)}\n", f"{cut_id}:\thyp={list(hyp)}\n"]
    return "".join(lines)


def read_recogs(path: Path | str) -> list[Recognition]:
    """Read a recogs file, one of the project's or of icefall's.

    Args:
      path: such as `recogs-test-clean-epoch-6-avg-2.txt`; other lines than `ref=` and `hyp=`
        (icefall writes time stamps too) are skipped.

    Returns:
      One entry per utterance, in the file's order.

    Raises:
      ScoringError: the file cannot be read, a line is not a list of words, or an utterance lacks
        one of its two lines; the message names file and line.
    """
    found: dict[str, dict[str, list[str]]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"{path}: cannot be read ({error}); decode again") from error
    for number, line in enumerate(lines, start=1):
        cut_id, separator, rest = line.partition(":\t")
        kind, equals, text = rest.partition("=")
        if not separator or not equals or kind not in ("ref", "hyp"):
            continue
        try:
            words = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ScoringError(f"{path}: line {number}: needed a list of words, got {text!r}")
        if kind in found.setdefault(cut_id, {}):
            raise ScoringError(f"{path}: line {number}: a second {kind}= of {cut_id!r}")
        found[cut_id][kind] = words
    lacking = [cut_id for cut_id, both in found.items() if len(both) < 2]
    if lacking:
        raise ScoringError(f"{path}: {lacking[0]!r} has not both a ref= and a hyp= line")
    return [Recognition(cut_id, both["ref"], both["hyp"]) for cut_id, both in found.items()]


def format_error_stats(results: Sequence[Recognition], stats: ErrorStats) -> str:
    """The text of an errs file, headings and order as in icefall.

    Args:
      results: the utterances that were counted.
      stats: their counts, from `error_stats`.
    """
    lines = [
        f"%WER = {stats.wer:.2f}",
        f"Errors: {stats.num_ins} insertions, {stats.num_del} deletions, "
        f"{stats.num_sub} substitutions, over {stats.num_ref_words} reference words "
        f"({stats.num_correct} correct)",
        "Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, "
        "DELETIONS:, INSERTIONS:, PER-WORD STATS:",
        "",
        "PER-UTT DETAILS: corr or (ref->hyp)  ",
    ]
    lines += [f"{cut_id}:\t{_details(ref, hyp)}" for cut_id, ref, hyp in results]

    lines += ["", "SUBSTITUTIONS: count ref -> hyp"]
    pairs = sorted(((n, pair) for pair, n in stats.substitutions.items()), reverse=True)
    lines += [f"{n}   {ref} -> {hyp}" for n, (ref, hyp) in pairs]
    for heading, counts in (
        ("DELETIONS: count ref", stats.deletions),
        ("INSERTIONS: count hyp", stats.insertions),
    ):
        lines += ["", heading]
        lines += [
            f"{n}   {w}" for n, w in sorted(((n, w) for w, n in counts.items()), reverse=True)
        ]

    lines += ["", "PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp"]
    by_errors = sorted(((sum(c[1:]), word, c) for word, c in stats.words.items()), reverse=True)
    for errors, word, (correct, ref_sub, hyp_sub, ins, dels) in by_errors:
        in_ref, in_hyp = correct + ref_sub + dels, correct + hyp_sub + ins
        lines.append(f"{word}   {correct} {errors} {in_ref} {in_hyp}")
    return "\n".join(lines) + "\n"


def format_wer_summary(wers: dict[str, float]) -> str:
    """The text of a wer-summary file: decoding settings and their WER, best first.

    >>> print(format_wer_summary({"beam_8": 7.0, "beam_20": 6.5}).expandtabs(1), end="")
    settings WER
    beam_20 6.50
    beam_8 7.00
    """
    rows = sorted(wers.items(), key=lambda item: item[1])
    return "settings\tWER\n" + "".join(f"{key}\t{wer:.2f}\n" for key, wer in rows)


def _write(path: Path, text: str) -> None:
    """Write a whole file or nothing: a reader never sees half of it."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_results(
    res_dir: Path | str,
    test_set: str,
    suffix: str,
    results: Sequence[Recognition],
    *,
    setting: str = "ctc-greedy-search",
) -> ErrorStats:
    """Score a test set and write its recogs, errs and wer-summary files.

    Args:
      res_dir: the folder, made when absent.
      test_set: its name, for example `test-clean`; part of the file names.
      suffix: the rest of the file names, for example `epoch-6-avg-2`.
      results: one entry per utterance.
      setting: name of the decoding setting in the summary.

    Returns:
      The error counts; the WER line is logged.

    Raises:
      ScoringError: there is nothing to score, or a cut id occurs twice.
      MissingAlignerError: kaldialign is not installed.
    """
    if not results:
        raise ScoringError(
            f"results of test set {test_set!r}: at least one utterance is needed, got none. "
            "Check that its cut set is not empty and that not every utterance failed."
        )
    twice = [cut_id for cut_id, n in Counter(r.cut_id for r in results).items() if n > 1]
    if twice:
        raise ScoringError(
            f"results of test set {test_set!r}: cut ids must be unique, but {twice[0]!r} "
            f"({len(twice)} id(s) in all) occurs more than once. Remove the duplicates."
        )
    stats = error_stats(results)
    directory = Path(res_dir)
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / f"recogs-{test_set}-{suffix}.txt", format_transcripts(results))
    _write(directory / f"errs-{test_set}-{suffix}.txt", format_error_stats(results, stats))
    _write(
        directory / f"wer-summary-{test_set}-{suffix}.txt", format_wer_summary({setting: stats.wer})
    )
    logger.info("[%s] %s", test_set, stats.summary())
    return stats


def read_transcripts(path: Path | str) -> dict[str, list[str]]:
    """Read a text file of lines `utterance-id word word ...`.

    Args:
      path: the file, UTF-8. A line with an id alone is an empty transcript; blank lines are
        skipped.

    Returns:
      Words by utterance id, in the file's order.

    Raises:
      ScoringError: the file cannot be read, or an id occurs twice; the message names file and line.
    """
    transcripts: dict[str, list[str]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"transcripts {path}: a UTF-8 text file is needed; {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        utt, *words = line.split()
        if utt in transcripts:
            raise ScoringError(
                f"transcripts {path}, line {number}: utterance {utt!r} occurs a second time; "
                "ids must be unique. Remove one of the lines."
            )
        transcripts[utt] = words
    return transcripts


def pair_transcripts(
    refs: dict[str, list[str]], hyps: dict[str, list[str]]
) -> tuple[list[Recognition], list[str]]:
    """Join references and hypotheses by utterance id.

    Args:
      refs: reference words by id.
      hyps: hypothesis words by id.

    Returns:
      One entry per reference, in its order, and the ids that have no hypothesis. Those count as
      recognised empty: an utterance that was skipped is not an utterance without errors.

    Raises:
      ScoringError: a hypothesis has no reference.

    >>> pair_transcripts({"u1": ["a"], "u2": ["b"]}, {"u2": ["b"]})[1]
    ['u1']
    """
    unknown = [utt for utt in hyps if utt not in refs]
    if unknown:
        raise ScoringError(
            f"hypotheses: {len(unknown)} utterance(s) have no reference, the first is "
            f"{unknown[0]!r}. Check that both files are of the same test set."
        )
    missing = [utt for utt in refs if utt not in hyps]
    return [Recognition(utt, ref, hyps.get(utt, [])) for utt, ref in refs.items()], missing
