"""Decoding methods of one model beside each other: error rates, their difference, time, entropy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.report.report import read_summary
from wfst_entropy.asr.report.table import Table, format_number
from wfst_entropy.asr.search.methods import METHODS
from wfst_entropy.metrics.bootstrap import WerDifference, wer_difference
from wfst_entropy.metrics.wer import Recognition, read_recogs

# Others are compared with the first of these that was used.
_GREEDY = ("greedy_search", "ctc-greedy-search")
_SHORT = {
    "hlg_scale": "hlg",
    "ngram_lm_scale": "lm",
    "ilme_scale": "ilme",
    "lodr_scale": "lodr",
    "length_bonus": "bonus",
}


def methods_decoded(exp_dir: Path, suffix: str) -> dict[str, list[dict[str, Any]]]:
    """The summaries of each method that a model was decoded with, by name of the method.

    Args:
      exp_dir: the run.
      suffix: of the model, see `DecodeOptions.suffix`.

    Raises:
      OptionError: a summary cannot be read.
    """
    found = {}
    for method in METHODS:
        paths = sorted((exp_dir / method).glob(f"summary-*-{suffix}.json"))
        if paths:
            found[method] = [read_summary(path) for path in paths]
    return found


def method_tables(exp_dir: Path, suffix: str, test_sets: Sequence[str]) -> list[Table]:
    """All methods on the same test sets: their change against greedy search, and their searches.

    Args:
      exp_dir: the run.
      suffix: of the model.
      test_sets: those to tell of.

    Returns:
      Two tables for each test set; none where only one method has been used, or greedy search has
      not.

    Raises:
      OptionError: a summary cannot be read.
      ScoringError: a recogs file cannot be read, or belongs to another test set.
    """
    decoded = methods_decoded(exp_dir, suffix)
    baseline = next((name for name in _GREEDY if name in decoded), None)
    if len(decoded) < 2 or baseline is None:
        return []
    tables = []
    scored = {str(summary["test_set"]) for summary in decoded[baseline]}
    for test_set in sorted(scored.intersection(test_sets)):
        greedy = _recogs(exp_dir, baseline, test_set, suffix)
        errors, searches = [], []
        for method, summaries in decoded.items():
            for summary in (s for s in summaries if s["test_set"] == test_set):
                change = None
                if method != baseline:
                    results = _recogs(exp_dir, method, test_set, suffix)
                    change = wer_difference(greedy, results)
                errors.append([method, *_errors(summary, change)])
                searches.append([method, *_search(summary)])
        title = f"Methods on {test_set}: change of WER relative to {baseline}"
        columns = ["method", "WER %", "ins/del/sub", "change % (95 % interval)"]
        tables.append(Table(title, columns, errors))
        title = f"Searches on {test_set}: time by speech, entropies in nats, latency in ms"
        columns = ["method", "scales", "RTF", "H of paths", "H of words", "conf.", "lat."]
        tables.append(Table(title, columns, searches))
    return tables


def _recogs(exp_dir: Path, method: str, test_set: str, suffix: str) -> list[Recognition]:
    return read_recogs(exp_dir / method / f"recogs-{test_set}-{suffix}.txt")


def _errors(summary: dict[str, Any], change: WerDifference | None) -> list[str]:
    kinds = (summary["insertions"], summary["deletions"], summary["substitutions"])
    row = [f"{summary['wer']:.2f}", "/".join(map(str, kinds))]
    if change is None:
        return [*row, ""]
    interval = f"({change.relative_low:+.1f} to {change.relative_high:+.1f})"
    return [*row, f"{change.relative:+.1f} {interval}"]


def _search(summary: dict[str, Any]) -> list[str]:
    # summaries of the first versions have neither scales nor times
    scales = summary.get("scales", {})
    seconds = summary.get("seconds", {})
    return [
        ", ".join(f"{_SHORT.get(name, name)} {value:g}" for name, value in scales.items()),
        format_number(seconds.get("search_real_time_factor"), 4),
        format_number(summary.get("mean_lattice_entropy"), 2),
        format_number(summary.get("mean_word_entropy"), 3),
        format_number(summary.get("mean_confidence"), 3),
        format_number(summary["mean_emission_latency"], 0, 1000.0),
    ]
