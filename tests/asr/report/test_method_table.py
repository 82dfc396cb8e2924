"""Methods beside each other: differences are those of the recogs files, not of what is said."""

from __future__ import annotations

import pytest

from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decode_results import write_test_set
from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance, TimeSpent
from wfst_entropy.asr.report.method_table import method_tables
from wfst_entropy.asr.report.stream_table import stream_tables
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.streaming.stream_results import write_latencies
from wfst_entropy.metrics.wer import ScoringError


def decode(exp_dir, method, hypotheses, chunk_size=None, **details):
    options = DecodeOptions(exp_dir=exp_dir, epoch=3, decoding_method=method, chunk_size=chunk_size)
    decoded = [
        DecodedUtterance(f"u{i}", ref=["a", "b"], hyp=hyp.split())
        for i, hyp in enumerate(hypotheses)
    ]
    write_test_set(options, "test", decoded, {}, **details)
    return options


def test_methods_against_greedy_search(tmp_path):
    options = decode(tmp_path, "ctc-greedy-search", ["a", "a c", "a b", ""])
    assert method_tables(tmp_path, options.suffix, ["test"]) == []
    spent = TimeSpent(model=1.0, search=0.5, audio=10.0)
    decode(tmp_path, "1best", ["a b"] * 4, scales={"hlg_scale": 0.6}, spent=spent)
    decode(tmp_path, "nbest", ["b b"] * 4, scales={"hlg_scale": 0.6})
    errors, searches = method_tables(tmp_path, options.suffix, ["test", "other"])
    assert errors.title.startswith("Methods on test:")
    assert errors.rows[0] == ["ctc-greedy-search", "50.00", "0/3/1", ""]
    assert errors.rows[1] == ["1best", "0.00", "0/0/0", "-100.0 (-100.0 to -100.0)"]
    method, _, _, change = errors.rows[2]
    relative, low, _, high = change.replace("(", "").replace(")", "").split()
    assert method == "nbest" and relative == "+0.0" and float(low) < 0 < float(high)
    rows = {row[0]: row[1:] for row in searches.rows}
    assert rows["1best"] == ["hlg 0.6", "0.0500", "-", "-", "-", "-"]
    assert rows["nbest"] == ["hlg 0.6", "-", "-", "-", "-", "-"]


def test_results_of_another_test_set_are_not_compared(tmp_path):
    options = decode(tmp_path, "ctc-greedy-search", ["a", "a"])
    decode(tmp_path, "1best", ["a"])
    with pytest.raises(ScoringError, match=r"differ in 1 utterance\(s\), the first is 'u1'"):
        method_tables(tmp_path, options.suffix, ["test"])


def test_streams_beside_whole_utterances(tmp_path):
    whole = decode(tmp_path, "greedy_search", ["a b", "a c"])
    streams = StreamDecodeOptions(
        exp_dir=tmp_path, epoch=3, decoding_method="greedy_search", chunk_size=16
    )
    decoded = [DecodedUtterance(f"u{i}", ["a", "b"], ["a", "b"]) for i in range(2)]
    write_test_set(streams, "test", decoded, {})
    latency = {"real_time_factor": 0.05, "word_latency": {"p50": 0.3, "p90": 0.6}}
    write_latencies(streams, "test", latency | {"final_latency": None})
    (table,) = stream_tables(tmp_path, whole.suffix, ["test", "other"])
    row = ["greedy_search", "16", "0.00", "1", "0.050", "300", "600", "-", "-"]
    assert table.rows == [row]
    chunked = decode(tmp_path, "greedy_search", ["a b", "a b"], chunk_size=16)
    (table,) = stream_tables(tmp_path, chunked.suffix, ["test"])
    assert table.rows[0][3] == "0"
    other = decode(tmp_path, "greedy_search", ["a b", "a b"], chunk_size=32)
    assert stream_tables(tmp_path, other.suffix, ["test"]) == []
