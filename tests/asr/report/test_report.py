"""The report: tables, choice of utterances, pictures, and what is said when a file is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import OptionError, save_config
from wfst_entropy.asr.report.plots import AlignmentPicture, plot_alignment, plot_training_curves
from wfst_entropy.asr.report.report import (
    entropy_table,
    read_decode_config,
    read_history,
    read_summaries,
    render_report,
    training_table,
    typical_utterances,
    wer_table,
    word_time_table,
)
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.decoding.alignment import forced_align
from wfst_entropy.metrics.latency import WordTime

SUFFIX = "epoch-2-avg-1-use-averaged-model"


def summary(test_set, **changes):
    return {
        "test_set": test_set,
        "suffix": SUFFIX,
        "wer": 21.5789,
        "num_ref_words": 570,
        "insertions": 10,
        "deletions": 20,
        "substitutions": 93,
        "num_utterances": 60,
        "not_loaded": {},
        "not_decoded": {"bad": "NaN"},
        "not_aligned": {},
        "alignment": None,
        "word_times": None,
        "mean_emission_latency": None,
    } | changes


def write_summary(options, content, suffix=SUFFIX):
    options.res_dir.mkdir(exist_ok=True)
    path = options.res_dir / f"summary-{content['test_set']}-{suffix}.json"
    path.write_text(json.dumps(content))


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5000


def test_tables():
    wer = wer_table([summary("test-clean")])
    assert wer.rows == [["test-clean", "21.58", "10", "20", "93", "570", "60", "1"]]
    means = {
        "entropy": 12.345,
        "entropy_per_frame": 0.1,
        "entropy_per_label": 0.25,
        "blank_fraction": 0.625,
        "peakiness": None,
    }
    entropy = entropy_table([summary("a", alignment=means), summary("b")])
    assert entropy.rows[0] == ["a", "12.35", "0.1000", "0.2500", "62.5", "-", "0"]
    assert entropy.rows[1] == ["b", "-", "-", "-", "-", "-", "0"]
    times = dict.fromkeys(
        ("mean_abs_start", "median_abs_start", "mean_abs_end", "median_abs_end"), 0.0404
    )
    row = word_time_table([summary("a", word_times={"num_words": 7} | times)]).rows[0]
    assert row == ["a", "7", "40", "40", "40", "40", "-"]


def test_summaries_of_the_last_decoding(tmp_path):
    options = DecodeOptions(exp_dir=tmp_path, decoding_method="ctc-greedy-search")
    with pytest.raises(OptionError, match=r"decode first: decode\.py --exp-dir"):
        read_summaries(options)
    write_summary(options, summary("test-other"))
    write_summary(options, summary("test-clean"))
    assert [s["test_set"] for s in read_summaries(options)] == ["test-clean", "test-other"]
    (options.res_dir / f"summary-test-clean-{SUFFIX}.json").write_text("{")
    with pytest.raises(OptionError, match="a summary cannot be read"):
        read_summaries(options)


def test_decode_config_follows_a_moved_run(tmp_path):
    options = DecodeOptions(exp_dir=tmp_path, decoding_method="ctc-greedy-search")
    options.res_dir.mkdir()
    decoded = DecodeOptions(exp_dir=Path("elsewhere"), epoch=2)
    save_config(options.res_dir / f"config-{SUFFIX}.yaml", decoded, DataOptions(max_duration=9.0))
    found, data = read_decode_config(options, SUFFIX)
    assert (found.exp_dir, found.epoch, data.max_duration) == (tmp_path, 2, 9.0)


def test_typical_utterances_go_from_sure_to_unsure(tmp_path):
    rows = [f"u{i}\t50\t{int(i != 3)}\t1\t{(i * 7) % 10 / 10}" for i in range(10)]
    path = tmp_path / f"entropy-test-{SUFFIX}.tsv"
    path.write_text("\n".join(["cut\tframes\tlabels\tentropy\tper_frame", *rows]) + "\n")
    names = typical_utterances(tmp_path, summary("test"), 3)
    entropies = [(int(name[1:]) * 7) % 10 for name in names]
    assert entropies == sorted(entropies) and len(set(names)) == 3
    everything = typical_utterances(tmp_path, summary("test"), 100)
    assert len(everything) == 9 and "u3" not in everything  # no label, nothing to see
    assert typical_utterances(tmp_path, summary("test"), 0) == []
    with pytest.raises(OptionError, match=r"entropy-dev-.*decode again"):
        typical_utterances(tmp_path, summary("dev"), 1)


def test_report_text(tmp_path):
    config = RunConfig(
        ModelOptions(encoder="lstm"), DataOptions(), TrainOptions(entropy_loss_scale=0.1, seed=7)
    )
    (tmp_path / "history.jsonl").write_text(
        '{"epoch": 1, "train_nll": 2.0, "valid_nll": 2.5, "seconds": 60, "step": 10}\n'
    )
    history = read_history(tmp_path)
    tables = [wer_table([summary("test-clean")]), training_table(config, history, 12345)]
    options = DecodeOptions(exp_dir=tmp_path, epoch=2, decoding_method="ctc-greedy-search")
    text = render_report(config, options, tables, {"bad": "NaN"}, [tmp_path / "a.png"])
    for words in (
        "| test-clean | 21.58 | 10 | 20 | 93 | 570 | 60 | 1 |",
        "| model | lstm, 12,345 parameters |",
        "| lowest validation NLL | 2.500, epoch 1 |",
        "- `bad`: NaN",
        "![a](a.png)",
        "train.py --encoder lstm --seed 7 --entropy-loss-scale 0.1\n",
        "--epoch 2 --decoding-method ctc-greedy-search\n",
        "Seed 7. not recorded.",
    ):
        assert words in text
    with pytest.raises(OptionError, match=r"history\.jsonl: cannot be read"):
        read_history(tmp_path / "none")


@pytest.mark.parametrize("words", [[], [WordTime("AB", 0.0, 0.3), WordTime("A", 0.4, 0.8)]])
def test_pictures(tmp_path, words):
    log_probs = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    (alignment,) = forced_align(
        log_probs, torch.tensor([[1, 2, 3, 2]]), torch.tensor([20]), torch.tensor([4])
    )
    picture = AlignmentPicture(
        "utt-1",
        torch.randn(80, 40),
        log_probs[0],
        alignment,
        ["<blk>", "▁", "A", "B"],
        words,
        0.01,
        4,
    )
    plot_alignment(picture, tmp_path / "alignment.png")
    assert is_png(tmp_path / "alignment.png")


def test_curves_with_gaps(tmp_path):
    history = [
        {"epoch": 1, "train_nll": 2.0, "valid_nll": float("nan")},
        {"epoch": 2, "train_nll": 1.0, "valid_nll": 1.5, "valid_entropy": 0.2},
    ]
    plot_training_curves(history, tmp_path / "new" / "curves.png")
    assert is_png(tmp_path / "new" / "curves.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curves.png"]


def test_a_training_curve_has_the_means_between_its_points(monkeypatch, tmp_path):
    drawn = {}

    def plot(axes, x, y, **style):
        drawn.setdefault(style["label"], []).append((list(x), list(y)))

    monkeypatch.setattr("matplotlib.axes.Axes.plot", plot)
    curve = [[2, 6.0, 3.0, 10.0], [4, 8.0, 4.0, 20.0], [4, 8.0, 4.0, 20.0]]
    plot_training_curves([{"epoch": 3, "curve": curve}], tmp_path / "curves.png")
    # epoch 3 lies between 2 and 3; NLL 6/10 and 2/10 per frame, entropy 3/10 and 1/10
    assert drawn["training"] == [([2.25, 2.75], [0.6, 0.2]), ([2.25, 2.75], [0.3, 0.1])]
