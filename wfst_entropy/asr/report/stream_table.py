"""What streams of a run found and how long it took, beside whole utterances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.report.method_table import methods_decoded
from wfst_entropy.asr.report.report import read_summary
from wfst_entropy.asr.report.table import Table, format_number
from wfst_entropy.metrics.wer import read_recogs

_CHUNK = re.compile(r"-chunk-(-?\d+)(-left-context-(-?\d+))?")


def stream_tables(exp_dir: Path, suffix: str, test_sets: Sequence[str]) -> list[Table]:
    """All methods that decoded the test sets as streams.

    "others" are utterances whose text is another than that of whole utterances. A word's latency
    ("P50", the median, and "P90") is how much is heard from its end until it is shown; at the end
    of an utterance, until its text is final.

    Args:
      exp_dir: the run.
      suffix: of the model, see `DecodeOptions.suffix`; streams with any chunk belong to it, unless
        it names one.
      test_sets: those to tell of.

    Returns:
      One table for each test set that was decoded as streams.

    Raises:
      OptionError: a summary cannot be read.
      ScoringError: a recogs file cannot be read.

    >>> stream_tables(Path("nowhere"), "epoch-3-avg-1", ["test"])
    []
    """
    columns = ["method", "chunk", "WER %", "others", "RTF", "P50", "P90", "P50 end", "P90 end"]
    tables = []
    for test_set in test_sets:
        rows = []
        for method in methods_decoded(exp_dir / "streaming", "*"):
            folder = exp_dir / "streaming" / method
            for path in sorted(folder.glob(f"latency-{test_set}-*.json")):
                latency = read_summary(path)
                if _same_model(str(latency["suffix"]), suffix):
                    rows.append([method, *_row(exp_dir, method, suffix, latency)])
        if rows:
            tables.append(
                Table(f"Streams on {test_set}: latencies in ms, percentiles", columns, rows)
            )
    return tables


def _same_model(streamed: str, suffix: str) -> bool:
    return streamed == suffix or _CHUNK.sub("", streamed) == suffix


def _row(exp_dir: Path, method: str, suffix: str, latency: dict[str, Any]) -> list[str]:
    folder, name = exp_dir / "streaming" / method, f"{latency['test_set']}-{latency['suffix']}"
    summary = read_summary(folder / f"summary-{name}.json")
    whole = exp_dir / method / f"recogs-{latency['test_set']}-{suffix}.txt"
    others = None
    if whole.is_file():
        texts = {found.cut_id: found.hyp for found in read_recogs(whole)}
        streamed = read_recogs(folder / f"recogs-{name}.txt")
        others = sum(texts.get(found.cut_id) != found.hyp for found in streamed)
    chunk = _CHUNK.search(str(latency["suffix"]))
    words, final = latency["word_latency"] or {}, latency["final_latency"] or {}
    return [
        "/".join(filter(None, (chunk[1], chunk[3]))) if chunk else "",
        f"{summary['wer']:.2f}",
        format_number(others, 0),
        format_number(latency["real_time_factor"], 3),
        *(format_number(of.get(p), 0, 1000.0) for of in (words, final) for p in ("p50", "p90")),
    ]
