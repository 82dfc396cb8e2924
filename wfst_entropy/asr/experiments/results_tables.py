"""The tables of the page of results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from wfst_entropy.asr.experiments.row_records import Record, RowRecords
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.report.table import Table
from wfst_entropy.metrics.bootstrap import ratio_interval, wer_difference_of_counts

_NOT_KNOWN = "-"
_STREAMS = "Streams: from the end of speech, or of a word, until it was shown"
_POINTS = ("50 %", "90 %")


def mean_and_deviation(
    values: Sequence[float | None], digits: int, scale: float = 1.0, sign: bool = False
) -> str:
    """A cell: the mean over seeds, with the standard deviation where there is more than one.

    >>> mean_and_deviation([1.0, 2.0], 1), mean_and_deviation([0.25], 0, 1000.0, sign=True)
    ('1.5 ± 0.7', '+250')
    """
    known = [value * scale for value in values if value is not None]
    if not known:
        return _NOT_KNOWN
    text = f"{statistics.fmean(known):{'+' if sign else ''}.{digits}f}"
    return text if len(known) == 1 else f"{text} ± {statistics.stdev(known):.{digits}f}"


def accuracy_table(rows: Sequence[RowRecords], test_set: str) -> Table:
    """Word error rates by all methods, and the change to the baseline with its interval."""
    by_name = {row.name: row for row in rows}
    cells = []
    for row in rows:
        stages = {d["stage"]: d["method"] for r in row.records for d in r["decodings"]}
        for stage, method in stages.items():
            found = row.decodings(stage, test_set)
            if not found:
                continue
            rates = [d["wer"] for d in found]
            low, high = _rate_interval(found)
            ins, dels, subs = (_mean(d["ins_del_sub"][i] for d in found) for i in range(3))
            cells.append(
                [
                    *_labels(row, rows),
                    f"`{method}`" + _chunk(found[0]),
                    f"{mean_and_deviation(rates, 2)} ({low:.2f} to {high:.2f})",
                    f"{ins:g} / {dels:g} / {subs:g}",
                    _change(row, by_name.get(row.baseline or ""), stage, test_set),
                ]
            )
    columns = [*_label_names(rows), "search", "WER % (95 % interval)", "ins / del / sub"]
    return Table("Word error rate", [*columns, "change to its baseline, points"], cells)


def _chunk(decoding: dict[str, Any]) -> str:
    """What the suffix of a decoding says about chunks."""
    words = decoding["suffix"].split("-")
    return f", chunk {words[words.index('chunk') + 1]}" if "chunk" in words else ""


def _mean(values: Any) -> float:
    return round(statistics.fmean(values), 1)


def _rate_interval(found: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The interval of a WER over utterances; seeds of an utterance are resampled together."""
    errors = _summed([d["errors"] for d in found])
    words = _summed([d["ref_words"] for d in found])
    low, high = ratio_interval(errors, words)
    return 100 * low, 100 * high


def _summed(columns: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) for values in zip(*columns, strict=True)]


def _change(row: RowRecords, baseline: RowRecords | None, stage: str, test_set: str) -> str:
    """The change of the WER to the baseline's over the seeds that both have."""
    if baseline is None:
        return ""
    pairs = _paired(row, baseline, stage, test_set)
    if not pairs:
        return _NOT_KNOWN
    old, new = zip(*pairs, strict=True)
    before, now, words = (
        [int(count) for count in _summed([d[name] for d in side])]
        for side, name in ((old, "errors"), (new, "errors"), (old, "ref_words"))
    )
    found = wer_difference_of_counts(before, now, words)
    verdict = "noise" if found.low <= 0 <= found.high else "fewer" if found.high < 0 else "more"
    return f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f}): {verdict}"


def _paired(
    row: RowRecords, baseline: RowRecords, stage: str, test_set: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Decodings of the baseline and of a row, of the same seeds and utterances."""
    seeds = {r["seed"] for r in row.records} & {r["seed"] for r in baseline.records}

    def of(which: RowRecords) -> list[dict[str, Any]]:
        return RowRecords([r for r in which.records if r["seed"] in seeds]).decodings(
            stage, test_set
        )

    if not seeds:
        return []
    pairs = list(zip(of(baseline), of(row), strict=False))
    for old, new in pairs:
        if old["utterances"] != new["utterances"]:
            raise OptionError(
                f"{row.name} and {baseline.name}: {stage} of {test_set} are not of the same "
                "utterances; run both on one corpus"
            )
    return pairs


def alignment_table(rows: Sequence[RowRecords], test_set: str) -> Table:
    """Entropy and peakiness of the alignments of the reference texts."""
    columns: list[tuple[str, Callable[[dict[str, Any]], float], int, float]] = [
        ("NLL per frame", lambda a: a["nll_per_frame"], 4, 1.0),
        ("H_c", lambda a: a["entropy"], 2, 1.0),
        ("H_c per frame", lambda a: a["entropy_per_frame"], 4, 1.0),
        ("H_c per label", lambda a: a["entropy_per_label"], 3, 1.0),
        ("width, frames", lambda a: a["width"], 2, 1.0),
        ("frames above 1/2", lambda a: a["frames_above"], 2, 1.0),
        ("peak", lambda a: a["peak"], 3, 1.0),
        ("blank frames %", lambda a: a["blank_fraction"], 1, 100.0),
    ]
    cells = []
    for row in rows:
        for output in ("ctc", "transducer"):
            found = row.alignments(test_set, output)
            if found:
                figures = [
                    mean_and_deviation([f(a) for a in found], d, s) for _, f, d, s in columns
                ]
                cells.append([*_labels(row, rows), output, *figures])
    names = [*_label_names(rows), "output", *(name for name, *_ in columns)]
    return Table("Alignments of the reference texts", names, cells)


def latency_table(rows: Sequence[RowRecords], test_set: str) -> Table:
    """When tokens come out, relative to the true times and to the baseline; calibration."""
    cells = []
    for row in rows:
        for stage in dict.fromkeys(d["stage"] for r in row.records for d in r["decodings"]):
            found = row.decodings(stage, test_set)
            if not found or not any(d["latency"] for d in found):
                continue
            latencies = [d["latency"] for d in found if d["latency"]]
            calibrations = [d["calibration"] for d in found if d["calibration"]]
            starts, ends = ([x["symbol_delay"][i] for x in latencies] for i in (0, 1))
            partial = [[x["partial"][p] for x in latencies] for p in ("p50", "p90")]
            cells.append(
                [
                    *_labels(row, rows),
                    f"`{found[0]['method']}`" + _chunk(found[0]),
                    *(
                        mean_and_deviation(v, 0, 1000.0, sign=True)
                        for v in (*partial, starts, ends)
                    ),
                    _relative_latency(found, row.baseline),
                    mean_and_deviation([c["ece"] for c in calibrations], 3),
                    mean_and_deviation([c["nce"] for c in calibrations], 2),
                ]
            )
    columns = [*_label_names(rows), "search", "PR50, ms", "PR90, ms", "delay of starts, ms"]
    columns += ["delay of ends, ms", "relative to its baseline, ms (95 % interval)", "ECE", "NCE"]
    return Table("Latency and calibration", columns, cells)


def streaming_table(rows: Sequence[RowRecords], test_set: str) -> Table:
    """When words were shown while audio came in, chunk by chunk."""
    cells = []
    for row in rows:
        for stage in dict.fromkeys(d["stage"] for r in row.records for d in r["decodings"]):
            known = [d for d in row.decodings(stage, test_set) if d.get("streaming")]
            if not known:
                continue
            streams = [d["streaming"] for d in known]
            figures = [
                mean_and_deviation(
                    [s[what][point] for s in streams if s[what]], 0, 1000.0, sign=True
                )
                for what in ("partial_latency", "final_latency", "word_latency")
                for point in ("p50", "p90")
            ]
            factors = [s["real_time_factor"] for s in streams]
            name = f"`{known[0]['method']}`" + _chunk(known[0])
            cells.append([*_labels(row, rows), name, *figures, mean_and_deviation(factors, 3)])
    columns = [f"{what} {point}, ms" for what in ("partial", "final", "words") for point in _POINTS]
    names = [*_label_names(rows), "search", *columns, "real-time factor"]
    return Table(_STREAMS, names, cells)


def _relative_latency(found: Sequence[dict[str, Any]], baseline: str | None) -> str:
    known = [d["relative_latency"] for d in found if d.get("relative_latency")]
    if baseline is None or not known:
        return ""
    sums, numbers = (_summed([d[name] for d in known]) for name in ("sums", "numbers"))
    if not sum(numbers):
        return _NOT_KNOWN
    low, high = ratio_interval(sums, numbers)
    mean = sum(sums) / sum(numbers)
    return f"{1000 * mean:+.1f} ({1000 * low:+.1f} to {1000 * high:+.1f})"


def run_table(rows: Sequence[RowRecords]) -> Table:
    """What each run took: time, size, and which code."""
    cells = []
    for row in rows:
        for record in row.records:
            stages = record["stages"]
            attempts = [a for stage in stages for a in stage["attempts"]]
            training = record["training"]["epochs"] if record["training"] else []
            parameters = next((a["num_parameters"] for a in record["alignments"].values()), None)
            cells.append(
                [
                    f"{record['row']}-seed{record['seed']}",
                    _NOT_KNOWN if parameters is None else f"{parameters / 1e6:.2f} M",
                    f"{len(training)}, {training[-1]['step'] if training else 0}",
                    _minutes(record["training"]["seconds"] if record["training"] else None),
                    _minutes(sum(a.get("wall_seconds", 0.0) for a in attempts)),
                    _minutes(sum(a.get("cpu_seconds", 0.0) for a in attempts)),
                    str(len(attempts) - len(stages)),
                    _commits(record),
                ]
            )
    columns = ["run", "parameters", "epochs, batches", "training, min", "wall, min", "CPU, min"]
    return Table("Runs", [*columns, "interruptions", "commit"], cells)


def total_line(rows: Sequence[RowRecords]) -> str:
    """What all runs of a table took together."""
    records = [record for row in rows for record in row.records]
    attempts = [a for r in records for stage in r["stages"] for a in stage["attempts"]]
    wall, cpu = (sum(a.get(k, 0.0) for a in attempts) for k in ("wall_seconds", "cpu_seconds"))
    return f"Together {_minutes(wall)} minutes of wall time and {_minutes(cpu)} of CPU time."


def _minutes(seconds: float | None) -> str:
    return _NOT_KNOWN if seconds is None else f"{seconds / 60:.1f}"


def _commits(record: Record) -> str:
    """Of the code that each stage was run with, without repetition."""
    attempts = [a for stage in record["stages"] for a in stage["attempts"]]
    found = dict.fromkeys(a["commit"] for a in attempts if a["commit"])
    return ", ".join(f"`{commit}`" for commit in found) or _NOT_KNOWN


def _label_names(rows: Sequence[RowRecords]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.first["labels"])) or ["row"]


def _labels(row: RowRecords, rows: Sequence[RowRecords]) -> list[str]:
    names = _label_names(rows)
    if names == ["row"]:
        return [row.name]
    return [row.first["labels"].get(name, "") for name in names]
