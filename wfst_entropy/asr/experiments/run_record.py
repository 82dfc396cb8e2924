"""The record of a finished run: one JSON file that holds all that the page of results shows.

It keeps errors of each utterance rather than hypotheses, so that intervals can be computed from it
without the run's folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.experiments.stage_runner import STATE_FILE
from wfst_entropy.asr.experiments.table import ExperimentTable, Row
from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.metrics.calibration import calibration, correct_words
from wfst_entropy.metrics.entropy_curve import entropy_curve
from wfst_entropy.metrics.latency import (
    WordTime,
    latency_percentiles,
    mean_symbol_delay,
    partial_latency,
    word_deviations,
)
from wfst_entropy.metrics.wer import Recognition, error_stats, read_recogs

# word-times-*.jsonl has four digits of a confidence: 1 stands for all that rounds to it
_HALF_DIGIT = 0.00005


def collect(
    table: ExperimentTable,
    row: Row,
    seed: int,
    stages: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    baseline: Path | None = None,
) -> dict[str, Any]:
    """Gather what a finished run left in its folder.

    Args:
      table: of the run.
      row: of the run.
      seed: of the run.
      stages: what was run, from `StageRunner.run`.
      folder: of the run.
      baseline: folder of the finished run that this one is compared with.

    Returns:
      What `write_record` stores.

    Raises:
      OptionError: a file is missing or damaged.
    """
    decodings, alignments = [], {}
    for name, stage in stages.items():
        for file in stage["files"]:
            content = _read_json(folder / file)
            if Path(file).name.startswith("alignments-"):
                alignments[content["test_set"]] = content
            else:
                decodings.append(_decoding(name, folder / file, content, baseline))
    return {
        "table": table.name,
        "title": table.title,
        "row": row.name,
        "place": list(table.rows).index(row.name),
        "labels": row.labels,
        "baseline": row.baseline,
        "seed": seed,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": _machine(folder),
        "stages": [
            {"stage": name, "command": stage["command"], "attempts": stage["attempts"]}
            for name, stage in stages.items()
        ],
        "training": _training(folder),
        "alignments": alignments,
        "decodings": decodings,
    }


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Store a record, one line for each entry of it, so that two can be compared by eye."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for key, value in record.items():
        if isinstance(value, list) and value:
            items = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value)
            text = f"[\n  {items}\n ]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines.append(f" {json.dumps(key)}: {text}")
    with replacing(path) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
      OptionError: the file cannot be read.
    """
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); run the experiment again") from error
    return content


def _decoding(
    stage: str, summary_file: Path, summary: Mapping[str, Any], baseline: Path | None
) -> dict[str, Any]:
    """One test set decoded by one method: errors, latencies and calibration."""
    name = summary_file.stem.removeprefix("summary-")
    results = sorted(read_recogs(summary_file.with_name(f"recogs-{name}.txt")))
    words = _read_words(summary_file.with_name(f"word-times-{name}.jsonl"))
    entry = {
        "stage": stage,
        "method": summary["decoding_method"],
        "suffix": summary["suffix"],
        "scales": summary["scales"],
        "test_set": summary["test_set"],
        "wer": summary["wer"],
        "ins_del_sub": [summary[k] for k in ("insertions", "deletions", "substitutions")],
        "not_decoded": len(summary["not_decoded"]) + len(summary["not_loaded"]),
        "seconds": summary["seconds"],
        "utterances": utterances_digest([r.cut_id for r in results]),
        "errors": [error_stats([r]).num_errors for r in results],
        "ref_words": [len(r.ref) for r in results],
        "latency": _latency(words),
        "calibration": _calibration(results, words),
    }
    latency_file = summary_file.with_name(f"latency-{name}.json")
    if latency_file.exists():
        entry["streaming"] = _read_json(latency_file)
    if baseline is not None:
        before = _baseline_words(baseline, stage, summary["test_set"])
        entry["relative_latency"] = None if before is None else _relative_latency(before, words)
    return entry


def utterances_digest(names: Sequence[str]) -> str:
    """What tells test sets apart: a digest of the utterances' names, in their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _read_words(path: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Lines of `word-times-*.jsonl` by utterance."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); decode again") from error
    return {row["cut"]: row for row in rows}


def _word_times(words: Sequence[Mapping[str, Any]]) -> list[WordTime]:
    return [WordTime(w["word"], w["start"], w["end"]) for w in words]


def _latency(words: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Partial latency and symbol delay, seconds; None where true or emission times lack."""
    true = [_word_times(row["true"]) for row in words.values()]
    emitted = [_word_times(row["emitted"]) for row in words.values()]
    partial = latency_percentiles([partial_latency(*pair) for pair in zip(true, emitted)])
    delay = mean_symbol_delay(true, emitted)
    if partial is None or delay is None:
        return None
    return {"partial": partial.as_dict(), "symbol_delay": list(delay)}


def _calibration(
    results: Sequence[Recognition], words: Mapping[str, Mapping[str, Any]]
) -> dict[str, object] | None:
    """Of words with a confidence; None where the method tells none."""
    confidences, correct = [], []
    for result in results:
        known = [w.get("confidence") for w in words[result.cut_id]["emitted"]]
        if len(known) != len(result.hyp) or None in known:
            continue
        confidences += [min(max(c, _HALF_DIGIT), 1 - _HALF_DIGIT) for c in known]
        correct += correct_words(result.ref, result.hyp)
    found = calibration(confidences, correct)
    return found.as_dict() if found else None


def _baseline_words(folder: Path, stage: str, test_set: str) -> dict[str, Any] | None:
    """The words of another run's decoding by the same stage, None where it has no such stage."""
    entry = _read_json(folder / STATE_FILE).get(stage)
    for file in entry["files"] if entry else []:
        name = Path(file).stem.removeprefix("summary-")
        if name != Path(file).stem and _read_json(folder / file)["test_set"] == test_set:
            return _read_words((folder / file).with_name(f"word-times-{name}.jsonl"))
    return None


def _relative_latency(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Of each utterance: the sum of differences at starts and ends, seconds, and their number."""
    sums, numbers = [], []
    for cut in sorted(now):
        old, new = (_word_times(x[cut]["emitted"]) if cut in x else [] for x in (before, now))
        deviations = word_deviations(old, new)
        sums.append(round(sum(d.start + d.end for d in deviations), 4))
        numbers.append(2.0 * len(deviations))
    return {"sums": sums, "numbers": numbers}


def _training(folder: Path) -> dict[str, Any] | None:
    """Figures of the epochs, and the curve of likelihood and entropy, from `history.jsonl`."""
    path = folder / "history.jsonl"
    if not path.exists():
        return None
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    epochs = [{k: v for k, v in row.items() if k != "curve"} for row in rows]
    curve = [[round(x, 5) for x in point] for point in entropy_curve(rows)]
    seconds = round(sum(row["seconds"] for row in rows), 1)
    return {"epochs": epochs, "curve": curve, "seconds": seconds}


def _machine(folder: Path) -> dict[str, Any] | None:
    """Processor and versions, from the `env.json` of the training."""
    path = folder / "env.json"
    if not path.exists():
        return None
    env = _read_json(path)
    names = ("processor", "python", "torch", "wfst_entropy")
    return {name: env[name] for name in names} | {
        "cores": env["threads"]["cores"],
        "native": env["native"]["instruction_set"] if env["native"]["available"] else None,
    }
