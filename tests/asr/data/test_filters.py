from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lhotse import MonoCut, SupervisionSegment

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.filters import ctc_min_num_frames, usable_cuts, why_unusable
from wfst_entropy.asr.data.manifest_files import Excluded
from wfst_entropy.topologies import ctc


def encode(text: str) -> list[int]:
    if "?" in text:
        raise DataError("the symbol '?' is unknown")
    return [ord(c) - 64 for c in text if c != " "]


def cut(seconds: float, text: str | None, num: int = 1) -> MonoCut:
    supervisions = [SupervisionSegment(f"s{i}", "r", 0.0, seconds, text=text) for i in range(num)]
    return MonoCut(f"c{seconds}-{text}", 0.0, seconds, 0, supervisions=supervisions)


def why(one: MonoCut, factor: int = 4) -> str | None:
    return why_unusable(one, encode, subsampling_factor=factor, min_duration=0.1, max_duration=20.0)


@given(st.lists(st.integers(1, 3), max_size=8), st.integers(1, 20))
def test_the_bound_is_torchs(labels: list[int], num_frames: int) -> None:
    log_probs = torch.full((num_frames, 1, 4), 0.25).log()
    loss = torch.nn.functional.ctc_loss(
        log_probs,
        torch.tensor([labels], dtype=torch.long),
        torch.tensor([num_frames]),
        torch.tensor([len(labels)]),
        reduction="sum",
    )
    assert bool(loss.isfinite()) == (num_frames >= ctc_min_num_frames(labels))
    assert ctc_min_num_frames(labels) == int(ctc.min_num_frames([labels]))


def test_the_limit_is_exact() -> None:
    # "AAB" needs four frames after subsampling by 4: 13 to 16 feature frames
    assert why(cut(0.13, "AAB")) is None
    assert why(cut(0.12, "AAB")) == (
        "too short: 3 frames after subsampling by 4, its 3 labels need 4"
    )
    assert why(cut(0.12, "AAB"), factor=2) is None


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (cut(1.0, "AB"), None),
        (cut(1.0, ""), "empty transcript"),
        (cut(1.0, None), "empty transcript"),
        (cut(0.05, "A"), "lasts 0.05 s, outside 0.1 to 20 s"),
        (cut(30.0, "A"), "lasts 30.00 s, outside 0.1 to 20 s"),
        (cut(1.0, "A?"), "the symbol '?' is unknown"),
        (cut(1.0, "A", num=2), "needs one supervision, has 2"),
        (cut(1.0, "A", num=0), "needs one supervision, has 0"),
    ],
)
def test_each_cause_is_told(one: MonoCut, cause: str | None) -> None:
    assert why(one) == cause


def test_only_the_unusable_are_listed() -> None:
    cuts = [cut(1.0, "AB"), cut(2.0, ""), cut(3.0, "A?")]
    limits = {"subsampling_factor": 4, "min_duration": 0.1, "max_duration": 20.0}
    excluded: list[Excluded] = []
    assert list(usable_cuts(iter(cuts), encode, excluded.append, **limits)) == cuts[:1]
    assert [e.id for e in excluded] == ["c2.0-", "c3.0-A?"]
