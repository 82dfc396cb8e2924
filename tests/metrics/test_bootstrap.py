"""Bootstrap intervals of word error rates: against sampling by hand, and what they must not do."""

from __future__ import annotations

import random

import numpy as np
import pytest

from wfst_entropy.metrics.bootstrap import (
    ratio_interval,
    wer_difference,
    wer_difference_of_counts,
)
from wfst_entropy.metrics.wer import Recognition, ScoringError


def results(errors: list[int], words: list[int]) -> list[Recognition]:
    """Utterances with so many deleted words."""
    return [
        Recognition(f"u{i}", ["a"] * n, ["a"] * (n - e))
        for i, (e, n) in enumerate(zip(errors, words, strict=True))
    ]


@pytest.fixture
def systems():
    rng = random.Random(3)
    words = [rng.randint(2, 9) for _ in range(40)]
    before = [rng.randint(0, n // 2) for n in words]
    now = [max(0, e - rng.randint(0, 2)) for e in before]
    return before, now, words


def test_point_estimates_and_order_do_not_matter(systems):
    before, now, words = systems
    old, new = results(before, words), results(now, words)
    found = wer_difference(old, new, num_samples=2000)
    assert found.baseline_wer == pytest.approx(100 * sum(before) / sum(words))
    assert found.wer == pytest.approx(100 * sum(now) / sum(words))
    assert found.relative == pytest.approx(100 * (sum(now) - sum(before)) / sum(before))
    assert found.low < found.difference < found.high < 0
    assert wer_difference(old, new[::-1], num_samples=2000) == found
    assert wer_difference(old, new, num_samples=2000, seed=1) != found


def test_the_interval_is_that_of_samples_drawn_one_by_one(systems):
    before, now, words = systems
    rng = random.Random(0)
    drawn = []
    for _ in range(4000):
        rows = rng.choices(range(len(words)), k=len(words))
        change = sum(now[r] - before[r] for r in rows)
        drawn.append(100 * change / sum(words[r] for r in rows))
    drawn.sort()
    found = wer_difference(results(before, words), results(now, words), num_samples=4000)
    spread = drawn[-1] - drawn[0]
    assert found.low == pytest.approx(drawn[100], abs=spread / 20)
    assert found.high == pytest.approx(drawn[-101], abs=spread / 20)
    narrow = wer_difference(
        results(before, words), results(now, words), num_samples=4000, confidence=0.5
    )
    assert found.low < narrow.low < narrow.high < found.high


def test_exchanged_systems_mirror_the_difference(systems):
    before, now, words = systems
    old, new = results(before, words), results(now, words)
    there, back = wer_difference(old, new), wer_difference(new, old)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.1)
    same = wer_difference(old, old)
    assert (same.difference, same.low, same.high, same.relative) == (0, 0, 0, 0)


def test_a_baseline_without_errors():
    clean, one = results([0, 0, 0], [3, 3, 3]), results([0, 1, 0], [3, 3, 3])
    assert wer_difference(clean, clean).relative_high == 0
    worse = wer_difference(clean, one)
    assert worse.relative == worse.relative_high == float("inf") and worse.relative_low == 0


@pytest.mark.parametrize(
    ("other", "wording"),
    [
        ([Recognition("u0", ["a"], ["a"])], r"differ in 1 utterance\(s\), the first is 'u1'"),
        (
            [Recognition("u0", ["a"], ["a"]), Recognition("u1", ["b"], [])],
            "'u1' has two references: 'a' and 'b'",
        ),
        ([Recognition("u1", ["a"], ["a"])] * 2, "occurs twice"),
    ],
)
def test_two_test_sets_are_not_compared(other, wording):
    with pytest.raises(ScoringError, match=wording):
        wer_difference(results([0, 1], [1, 1]), other)


def test_arguments_out_of_range():
    one = results([0], [1])
    with pytest.raises(ScoringError, match="num_samples: needs at least 1, got 0"):
        wer_difference(one, one, num_samples=0)
    with pytest.raises(ScoringError, match="confidence: needs a number between 0 and 1, got 95"):
        wer_difference(one, one, confidence=95)
    with pytest.raises(ScoringError, match="no reference word"):
        wer_difference(results([0], [0]), results([0], [0]))


def test_counts_give_what_the_results_give():
    rng = np.random.default_rng(5)
    baseline, other, counts = [], [], []
    for number in range(30):
        ref = ["a"] * int(rng.integers(1, 6))
        hyps = [[rng.choice(["a", "b"]) for _ in ref] for _ in range(2)]
        baseline.append(Recognition(f"u{number}", ref, hyps[0]))
        other.append(Recognition(f"u{number}", ref, hyps[1]))
        counts.append((hyps[0].count("b"), hyps[1].count("b"), len(ref)))
    columns = list(zip(*counts, strict=True))
    wanted = wer_difference(baseline, other, num_samples=700)
    assert wer_difference_of_counts(*columns, num_samples=700) == wanted
    with pytest.raises(ScoringError, match="of 1, 2 and 1 utterances"):
        wer_difference_of_counts([1], [1, 2], [1])
    with pytest.raises(ScoringError, match="no reference word"):
        wer_difference_of_counts([1], [1], [0])


def test_interval_of_a_ratio():
    # two utterances with the ratios 0 and 1: a sample has 0, 1 or 2 of the second one
    assert ratio_interval([0.0, 1.0], [1.0, 1.0]) == (0.0, 1.0)
    low, high = ratio_interval([0.0, 1.0] * 200, [1.0] * 400)
    spread = 1.96 * 0.5 / 400**0.5
    assert low == pytest.approx(0.5 - spread, abs=0.01)
    assert high == pytest.approx(0.5 + spread, abs=0.01)
    # a sample without any word at all does not spoil the interval
    assert ratio_interval([0.5, 0.0], [1.0, 0.0]) == (0.5, 0.5)
    with pytest.raises(ScoringError, match="not known"):
        ratio_interval([1.0], [0.0])
    with pytest.raises(ScoringError, match="not known"):
        ratio_interval([1.0, 2.0], [1.0])
