"""The page of results, from records made up so that every figure is known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from wfst_entropy.asr.experiments.results_page import render_section, replace_section
from wfst_entropy.asr.experiments.results_plots import plot_entropy_curves, plot_reliability
from wfst_entropy.asr.experiments.results_tables import (
    accuracy_table,
    alignment_table,
    latency_table,
    run_table,
    streaming_table,
)
from wfst_entropy.asr.experiments.row_records import read_records
from wfst_entropy.asr.experiments.run_record import write_record
from wfst_entropy.asr.options import OptionError

RECIPE = Path(__file__).parents[3] / "recipes" / "librispeech"


def decoding(errors, words, latency, relative=None, utterances="ab12"):
    bins = [{"low": 0, "high": 1, "num_words": 9, "confidence": 0.8, "accuracy": 0.9}]
    found = {
        "stage": "greedy",
        "method": "greedy_search",
        "suffix": "epoch-1-chunk-16",
        "test_set": "test",
        "wer": 100 * sum(errors) / sum(words),
        "ins_del_sub": [0, 1, sum(errors) - 1],
        "utterances": utterances,
        "errors": errors,
        "ref_words": words,
        "latency": {"partial": {"p50": latency, "p90": 2 * latency}, "symbol_delay": [0.1, -0.05]},
        "calibration": {"ece": 0.1, "nce": None, "bins": bins},
    }
    return found if relative is None else {**found, "relative_latency": relative}


def record(row, place, seed, found, baseline=None):
    alignments = {"nll_per_frame": 0.5, "entropy": 6.0, "entropy_per_frame": 0.125}
    alignments |= {"entropy_per_label": 0.5, "width": 1.5, "frames_above": 1.0, "peak": 0.75}
    attempts = [{"wall_seconds": 90.0, "cpu_seconds": 60.0, "status": 0, "commit": "012345"}]
    train = {"stage": "train", "command": f"./train.py --seed {seed}", "attempts": attempts}
    return {
        "row": row,
        "place": place,
        "labels": {"model": row.upper()},
        "baseline": baseline,
        "seed": seed,
        "machine": None,
        "stages": [train],
        "training": {
            "epochs": [{"step": 8}],
            "curve": [[2, 1.0, 0.5], [6, 0.5, 0.25]],
            "seconds": 30.0,
        },
        "alignments": {
            "test": {
                "num_parameters": 2_500_000,
                "outputs": {"ctc": {**alignments, "blank_fraction": 0.4}},
            }
        },
        "decodings": [found],
    }


@pytest.fixture
def rows(tmp_path):
    words = [4] * 20
    for seed, extra in ((1, 0), (2, 20)):
        base = decoding([2] * 10 + [1] * 10, words, 0.2 + extra / 100)
        earlier = {"sums": [-0.4] * 20, "numbers": [4] * 20}
        better = decoding([1] * 10 + [0] * 10, words, 0.1, earlier)
        write_record(tmp_path / f"base-seed{seed}.json", record("base", 0, seed, base))
        write_record(tmp_path / f"ent-seed{seed}.json", record("ent", 1, seed, better, "base"))
    return read_records(tmp_path)


def test_accuracy(rows):
    base, entropy = accuracy_table(rows, "test").rows
    assert base[:2] == ["BASE", "`greedy_search`, chunk 16"]
    assert base[2].startswith("37.50 ± 0.00 (") and base[3:] == ["0 / 1 / 29", ""]
    # every utterance has one error fewer of its four words
    assert entropy[4] == "-25.00 (-25.00 to -25.00): fewer"


def test_alignments_and_latency(rows):
    base, _ = alignment_table(rows, "test").rows
    assert base[:4] == ["BASE", "ctc", "0.5000 ± 0.0000", "6.00 ± 0.00"]
    assert base[4:7] == ["0.1250 ± 0.0000", "0.500 ± 0.000", "1.50 ± 0.00"]
    assert base[7:] == ["1.00 ± 0.00", "0.750 ± 0.000", "40.0 ± 0.0"]
    base, entropy = latency_table(rows, "test").rows
    assert base[2:4] == ["+300 ± 141", "+600 ± 283"]
    assert base[4:7] == ["+100 ± 0", "-50 ± 0", ""]
    assert entropy[6] == "-100.0 (-100.0 to -100.0)"
    assert entropy[7:] == ["0.100 ± 0.000", "-"]


def test_streams(rows):
    assert streaming_table(rows, "test").rows == []
    for each in rows[0].records:
        latencies = {"p50": 0.25, "p90": 0.5}
        streaming = {"partial_latency": latencies, "final_latency": latencies}
        streaming |= {"word_latency": None, "real_time_factor": 0.02}
        each["decodings"][0]["streaming"] = streaming
    (row,) = streaming_table(rows, "test").rows
    assert row[2:] == [*["+250 ± 0", "+500 ± 0"] * 2, "-", "-", "0.020 ± 0.000"]


def test_runs(rows):
    assert run_table(rows).rows[0] == [
        *("base-seed1", "2.50 M", "1, 8", "0.5", "1.5", "1.0", "0", "`012345`")
    ]


def test_the_section_has_every_command_and_is_a_function_of_the_records(rows):
    section = render_section(rows, ["experiments/plots/a.svg"])
    assert section == render_section(rows, ["experiments/plots/a.svg"])
    assert section.count("./train.py --seed 1") == 2
    assert "2 rows, 2 seeds, mean ± standard deviation (1, 2)" in section
    assert "![a](experiments/plots/a.svg)" in section
    assert "Together 6.0 minutes of wall time and 4.0 of CPU time." in section


def test_other_utterances_cannot_be_compared(rows):
    rows[1].records[0]["decodings"][0]["utterances"] = "cd34"
    with pytest.raises(OptionError, match="ent and base: greedy of test are not of the same"):
        accuracy_table(rows, "test")


def test_markers():
    page = "by hand\n<!-- experiments a: begin -->old<!-- experiments a: end -->\nmore"
    once = replace_section(page, "a", "new")
    assert once.startswith("by hand\n") and once.endswith("\nmore") and "old" not in once
    assert replace_section(once, "a", "new") == once
    with pytest.raises(OptionError, match="needs one line '<!-- experiments b: begin -->'"):
        replace_section(page, "b", "new")


def test_no_record(tmp_path):
    with pytest.raises(OptionError, match="has no record"):
        read_records(tmp_path)


@pytest.mark.slow  # imports matplotlib
def test_plots_are_the_same_bytes_again(rows, tmp_path):
    pytest.importorskip("matplotlib")
    for draw in (plot_entropy_curves, plot_reliability):
        pictures = [tmp_path / f"{n}.svg" for n in range(2)]
        assert all(draw(rows, picture) for picture in pictures)
        assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.slow  # all intervals of all records
def test_the_committed_page_is_what_the_stored_records_say():
    spec = importlib.util.spec_from_file_location(
        "write_results", RECIPE / "experiments" / "write_results.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = (RECIPE / "RESULTS.md").read_text(encoding="utf-8")
    assert module.results_page(RECIPE) == committed
