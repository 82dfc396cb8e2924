"""Which utterances cannot be trained on, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from lhotse import MonoCut

from wfst_entropy.asr.data.manifest_files import Excluded
from wfst_entropy.fsa.errors import FsaError


def ctc_min_num_frames(labels: Sequence[int]) -> int:
    """The fewest frames that CTC needs: one per label, and a blank between equal neighbours.

    `topologies.ctc.min_num_frames` does this for batches. For one utterance at a time, and all of
    LibriSpeech, its tensors would take minutes.

    >>> ctc_min_num_frames([3, 3, 4])
    4
    """
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def why_unusable(
    cut: MonoCut,
    encode: Callable[[str], list[int]],
    *,
    subsampling_factor: int,
    min_duration: float,
    max_duration: float,
    min_num_frames: Callable[[Sequence[int]], int] = ctc_min_num_frames,
) -> str | None:
    """Returns why a cut cannot be trained on, None when it can.

    Args:
      cut: with features and one supervision.
      encode: writes a text in labels, raises `FsaError` for an unknown symbol.
      subsampling_factor: feature frames per output frame of the model.
      min_duration: seconds.
      max_duration: seconds.
      min_num_frames: the fewest output frames that a sequence of labels needs.
    """
    if len(cut.supervisions) != 1:
        return f"needs one supervision, has {len(cut.supervisions)}"
    text = cut.supervisions[0].text or ""
    if not text.strip():
        return "empty transcript"
    if not min_duration <= cut.duration <= max_duration:
        return f"lasts {cut.duration:.2f} s, outside {min_duration:g} to {max_duration:g} s"
    try:
        labels = encode(text)
    except FsaError as error:
        return str(error)
    num_frames = -(-round(cut.duration * 100) // subsampling_factor)
    needed = min_num_frames(labels)
    if num_frames < needed:
        return (
            f"too short: {num_frames} frames after subsampling by {subsampling_factor}, its "
            f"{len(labels)} labels need {needed}"
        )
    return None


def usable_cuts(
    cuts: Iterable[MonoCut],
    encode: Callable[[str], list[int]],
    on_excluded: Callable[[Excluded], None],
    **limits: Any,
) -> Iterator[MonoCut]:
    """Yields the cuts that can be trained on, and tells of the others.

    Args:
      cuts: read one by one.
      encode: as for `why_unusable`.
      on_excluded: called for each cut that is left out.
      **limits: as for `why_unusable`.
    """
    for cut in cuts:
        cause = why_unusable(cut, encode, **limits)
        if cause is None:
            yield cut
        else:
            on_excluded(Excluded(cut.id, cause, _file_of(cut)))


def _file_of(cut: MonoCut) -> str:
    return str(cut.recording.sources[0].source) if cut.has_recording else ""
