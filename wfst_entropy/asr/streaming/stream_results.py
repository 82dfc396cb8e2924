"""How fast a test set was decoded as streams, and how long words were waited for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance, TimeSpent
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.streaming.stream_test_set import StreamedTestSet
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.metrics.latency import (
    WordTime,
    final_latency,
    latency_percentiles,
    mean_symbol_delay,
    partial_latency,
    word_deviations,
)


class Comparison(NamedTuple):
    """Texts of streams against those of whole utterances.

    Attributes:
      num_utterances: that were compared.
      different: names of those whose text differs.
      first: the first of them, with both texts and the first word that differs; "" if none does.
    """

    num_utterances: int
    different: list[str]
    first: str


def compare_texts(
    streamed: Sequence[DecodedUtterance], simulated: Sequence[DecodedUtterance]
) -> Comparison:
    """Compares the texts of the utterances of one test set.

    Args:
      streamed: decoded as streams.
      simulated: decoded whole; one that is missing on either side differs.

    >>> a, b = DecodedUtterance("u", [], ["A", "B"]), DecodedUtterance("u", [], ["A"])
    >>> compare_texts([a], [b]).first
    "u: word 2 is 'B' of the stream, nothing of the whole utterance: 'A B' and 'A'"
    """
    texts = [{each.cut_id: each.hyp for each in side} for side in (streamed, simulated)]
    names = sorted(set(texts[0]) | set(texts[1]))
    different = [name for name in names if texts[0].get(name) != texts[1].get(name)]
    if not different:
        return Comparison(len(names), [], "")
    name = different[0]
    if any(name not in side for side in texts):
        where = "stream" if name in texts[0] else "whole utterance"
        return Comparison(len(names), different, f"{name}: decoded as a {where} only")
    ours, theirs = (side[name] for side in texts)
    place = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs))
    )
    word, other = (repr(x[place]) if place < len(x) else "nothing" for x in (ours, theirs))
    first = (
        f"{name}: word {place + 1} is {word} of the stream, {other} of the whole utterance: "
        f"{' '.join(ours)!r} and {' '.join(theirs)!r}"
    )
    return Comparison(len(names), different, first)


def latency_summary(result: StreamedTestSet, spent: TimeSpent, num_streams: int) -> dict[str, Any]:
    """Speed and latencies of a test set; seconds.

    `partial_latency` and `word_latency` are of the audio that had been heard when a partial result
    first showed the last word, or each word that is right, since its true end; `final_latency` that
    of the final result. `emission_latency` and the symbol delay are of the frames that emitted
    tokens, so without the wait for a chunk to be full. The time of computing comes on top: a round
    is the time in which all streams go on by a chunk.

    Args:
      result: of the test set.
      spent: by the recogniser.
      num_streams: how many were decoded at a time.
    """
    done = [each for each in result.decoded if not each.failed]
    shown = [[WordTime(w.word, w.first, w.first) for w in each.streamed] for each in done]
    true = [each.true_times for each in done]
    pairs = list(zip(true, shown, strict=True))
    delay = mean_symbol_delay(true, [each.emitted for each in done])
    return {
        "num_decode_streams": num_streams,
        "audio": result.audio,
        "seconds": result.seconds,
        "real_time_factor": result.seconds / result.audio if result.audio else None,
        "model_seconds": spent.model,
        "search_seconds": spent.search,
        "round": percentiles(result.rounds),
        "partial_latency": _summary(partial_latency(*pair) for pair in pairs),
        "emission_latency": _summary(
            partial_latency(each.true_times, each.emitted) for each in done
        ),
        "final_latency": _summary(
            final_latency(each.true_times, each.heard) for each in done if each.heard is not None
        ),
        "word_latency": percentiles([d.end for pair in pairs for d in word_deviations(*pair)]),
        "symbol_delay": None if delay is None else {"start": delay[0], "end": delay[1]},
    }


def _summary(latencies: Any) -> dict[str, float] | None:
    found = latency_percentiles(list(latencies))
    return found.as_dict() if found else None


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, percentiles and maximum; None of no values.

    >>> percentiles([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    if not values:
        return None
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return {
        "num": len(values),
        "mean": float(np.mean(values)),
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": max(values),
    }


def write_latencies(
    options: StreamDecodeOptions,
    test_set: str,
    summary: dict[str, Any],
    comparison: Comparison | None = None,
) -> None:
    """Writes `latency-{set}-{suffix}.json` below `options.res_dir`.

    Args:
      options: the run and its decoding.
      test_set: name of the set.
      summary: see `latency_summary`.
      comparison: with whole utterances, if that was asked for.
    """
    content = {
        "test_set": test_set,
        "decoding_method": options.decoding_method,
        "suffix": options.suffix,
        **summary,
        "check_simulated": None if comparison is None else comparison._asdict(),
    }
    with replacing(options.res_dir / f"latency-{test_set}-{options.suffix}.json") as file:
        file.write((json.dumps(content, indent=2) + "\n").encode("utf-8"))
