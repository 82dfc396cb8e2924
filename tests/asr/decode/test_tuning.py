"""Scales are chosen on development data, kept in a file, and never tuned on a test set."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from wfst_entropy.asr.decode.tuning import (
    Tuning,
    read_scales,
    refuse_test_sets,
    scales_file,
    tune,
    write_scales,
)
from wfst_entropy.asr.options import OptionError
from wfst_entropy.metrics.wer import Recognition

GRID = [{"hlg_scale": scale} for scale in (0.1, 0.5, 0.6, 1.0, 2.0)]


def tuning(*errors: int) -> Tuning:
    """One utterance of three words with so many errors for each scale."""
    results = [{"dev": [Recognition("u", ["a"] * 3, ["a"] * (3 - number))]} for number in errors]
    return Tuning(GRID, results)


@pytest.mark.parametrize(
    ("errors", "best"),
    [
        ((3, 2, 1, 2, 3), 0.6),
        ((0, 1, 1, 1, 1), 0.1),
        ((2, 0, 0, 0, 2), 0.6),
        ((1, 0, 1, 1, 0), 0.5),
    ],
)
def test_fewest_errors_and_the_middle_of_a_plateau(errors, best):
    found = tuning(*errors)
    assert found.grid[found.best()] == {"hlg_scale": best}


def test_scales_are_kept_with_all_that_was_tried(tmp_path):
    path = scales_file(tmp_path, "epoch-3-avg-1")
    assert read_scales(path) == {}
    best = write_scales(path, tuning(3, 2, 1, 2, 3), "1best")
    assert read_scales(path) == best == {"hlg_scale": 0.6}
    content = json.loads(path.read_text())
    assert content["tuned_on"] == ["dev"] and content["num_ref_words"] == 3
    assert content["grid"]["hlg_scale_0.1"] == pytest.approx(100.0)
    assert content["wer"] == pytest.approx(100 / 3)
    for damaged in ("{", "{}", '{"scales": [1]}', '{"scales": {"hlg_scale": "much"}}'):
        path.write_text(damaged)
        with pytest.raises(OptionError, match=r"has no usable scales .* tune again"):
            read_scales(path)


@pytest.mark.parametrize("parts", [["test-clean"], ["dev", "test-other"], ["mine"]])
def test_a_test_set_is_not_for_tuning(parts):
    with pytest.raises(OptionError, match="is for testing"):
        refuse_test_sets(parts, ["mine"])


def test_a_method_without_scales_is_not_tuned():
    decoder = SimpleNamespace(method=SimpleNamespace(name="ctc-greedy-search", grid=()))
    with pytest.raises(OptionError, match="ctc-greedy-search has no scales"):
        tune(decoder, {}, lambda number: None)  # type: ignore[arg-type]


def test_every_scale_decodes_every_utterance_once():
    class Method:
        name = "toy"
        grid = GRID

        def search_grid(self, log_probs, lengths, grid):
            return [
                [["a"] * round(length * scales["hlg_scale"]) for length in lengths.tolist()]
                for scales in grid
            ]

    cuts = [SimpleNamespace(id=name, supervisions=[]) for name in ("u", "v")]
    batch = {
        "inputs": torch.zeros(2, 4, 1),
        "supervisions": {
            "text": ["a a", "a a a a"],
            "sequence_idx": torch.arange(2),
            "num_frames": torch.tensor([2, 4]),
            "cut": cuts,
        },
    }
    tokenizer = SimpleNamespace(encode=lambda text: [1], vocab_size=2, blank_id=0)
    decoder = SimpleNamespace(
        method=Method(),
        tokenizer=tokenizer,
        scores=lambda utterances: (utterances.features, utterances.num_frames),
    )
    counted: list[int] = []
    found = tune(decoder, {"dev": [batch], "dev2": [batch, batch]}, counted.append)  # type: ignore[arg-type]
    assert counted == [2, 2, 2]
    assert [stats.num_ref_words for stats in found.errors()] == [18] * 5
    assert [stats.num_errors for stats in found.errors()] == [18, 9, 9, 0, 18]
    assert found.grid[found.best()] == {"hlg_scale": 1.0}
