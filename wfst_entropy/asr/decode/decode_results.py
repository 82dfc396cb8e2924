"""What decoding leaves behind: WER files, entropies, word times and a summary per test set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance, TimeSpent
from wfst_entropy.asr.search.method import Scales, setting_name
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.metrics.alignment_stats import summarise
from wfst_entropy.metrics.latency import WordTime, time_deviation
from wfst_entropy.metrics.wer import Recognition, write_results


def _write(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)


def entropy_table(decoded: Iterable[DecodedUtterance]) -> list[str]:
    """Lines of `entropy-*.tsv`: one for each utterance whose reference can be aligned.

    Entropies are in nats: `entropy` of the alignments of the reference, `lattice_entropy` of the
    paths that the search kept, `word_entropy` of their word sequences. `confidence` is the mean
    over the words that it found.
    """
    columns = ["cut", "frames", "labels", "entropy", "per_frame", "per_label", "blank_fraction"]
    lines = ["\t".join([*columns, "peakiness", "lattice_entropy", "word_entropy", "confidence"])]
    for utterance in decoded:
        s = utterance.stats
        if s is None:
            continue
        peakiness = "" if s.peakiness is None else f"{s.peakiness:.4f}"
        lines.append(
            f"{utterance.cut_id}\t{s.num_frames}\t{s.num_labels}\t{s.entropy:.6f}"
            f"\t{s.entropy_per_frame:.6f}\t{s.entropy_per_label:.6f}\t{s.blank_fraction:.4f}"
            f"\t{peakiness}\t{_digits(utterance.lattice_entropy)}"
            f"\t{_digits(utterance.word_entropy)}\t{_digits(mean_confidence([utterance]))}"
        )
    return lines


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def mean_confidence(decoded: Iterable[DecodedUtterance]) -> float | None:
    """The mean confidence of the words found; None where the method does not tell any."""
    return _mean(c for utterance in decoded for c in utterance.confidences)


def _times(words: Iterable[WordTime]) -> list[dict[str, Any]]:
    return [{"word": w.word, "start": round(w.start, 4), "end": round(w.end, 4)} for w in words]


def word_times_table(decoded: Iterable[DecodedUtterance]) -> list[str]:
    """Lines of `word-times-*.jsonl`: words of each cut as aligned, true and emitted, seconds.

    Those of a stream have `streamed` as well, see `StreamingWord`, and `heard`, the seconds of
    audio at the final result.
    """
    lines = []
    for utterance in decoded:
        aligned = _times(utterance.aligned)
        for entry, span in zip(aligned, utterance.spans, strict=True):
            entry |= {"score": round(span.score, 4), "entropy": round(span.entropy, 4)}
        true = _times(utterance.true_times)
        for d in utterance.deviations():
            true[d.position] |= {
                "start_deviation": round(d.start, 4),
                "end_deviation": round(d.end, 4),
            }
        emitted = _times(utterance.emitted)
        for entry, confidence in zip(emitted, utterance.confidences, strict=True):
            if confidence is not None:
                entry["confidence"] = round(confidence, 4)
        row: dict[str, Any] = {"cut": utterance.cut_id, "aligned": aligned, "true": true}
        row["emitted"] = emitted
        if utterance.heard is not None:
            row["streamed"] = [word.as_dict() for word in utterance.streamed]
            row["heard"] = round(utterance.heard, 4)
        lines.append(json.dumps(row, ensure_ascii=False))
    return lines


def write_test_set(
    options: DecodeOptions,
    test_set: str,
    decoded: Sequence[DecodedUtterance],
    not_loaded: dict[str, str],
    *,
    scales: Scales | None = None,
    spent: TimeSpent | None = None,
) -> dict[str, Any]:
    """Score a test set and write all its files below `options.res_dir`.

    Besides recogs, errs and wer-summary: `entropy-{set}-{suffix}.tsv`,
    `word-times-{set}-{suffix}.jsonl` and `summary-{set}-{suffix}.json`, which lists what could not
    be decoded or aligned.

    Args:
      options: the run and its decoding.
      test_set: name of the set.
      decoded: its utterances.
      not_loaded: `{name: cause}` of those whose features cannot be read; they are listed in the
        summary and not scored.
      scales: that the search had.
      spent: time that decoding took.

    Returns:
      The summary, as it is in the JSON file.
    """
    results = [Recognition(u.cut_id, u.ref, u.hyp) for u in decoded]
    scales = scales or {}
    setting = setting_name(options.decoding_method, scales)
    wer = write_results(options.res_dir, test_set, options.suffix, results, setting=setting)
    name = f"{test_set}-{options.suffix}"
    _write(options.res_dir / f"entropy-{name}.tsv", entropy_table(decoded))
    _write(options.res_dir / f"word-times-{name}.jsonl", word_times_table(decoded))
    alignment = summarise([u.stats for u in decoded if u.stats is not None])
    deviation = time_deviation([d for u in decoded for d in u.deviations()])
    latencies = [x for u in decoded for x in u.latencies()]
    summary = {
        "test_set": test_set,
        "decoding_method": options.decoding_method,
        "scales": dict(scales),
        "suffix": options.suffix,
        "wer": wer.wer,
        "num_ref_words": wer.num_ref_words,
        "insertions": wer.num_ins,
        "deletions": wer.num_del,
        "substitutions": wer.num_sub,
        "num_utterances": len(decoded),
        "not_loaded": not_loaded,
        "not_decoded": {u.cut_id: u.problem for u in decoded if u.failed},
        "not_aligned": {u.cut_id: u.problem for u in decoded if u.problem and not u.failed},
        "search_problems": {u.cut_id: u.search_problem for u in decoded if u.search_problem},
        "mean_lattice_entropy": _mean(u.lattice_entropy for u in decoded),
        "mean_word_entropy": _mean(u.word_entropy for u in decoded),
        "mean_confidence": mean_confidence(decoded),
        "seconds": (spent or TimeSpent()).as_dict(),
        "alignment": alignment.as_dict() if alignment else None,
        "word_times": deviation.as_dict() if deviation else None,
        "mean_emission_latency": _mean(latencies),
    }
    _write(options.res_dir / f"summary-{name}.json", [json.dumps(summary, indent=2)])
    return summary
