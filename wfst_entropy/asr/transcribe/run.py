"""Utterance by utterance: read, score, search; what fails harms no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.transcribe.inputs import Matrix, Waveform, read_utterances
from wfst_entropy.asr.transcribe.searches import FileSearch
from wfst_entropy.asr.transcribe.transcript import Transcript
from wfst_entropy.fsa.errors import FsaError

if TYPE_CHECKING:  # it imports lhotse, which frame scores do without
    from wfst_entropy.asr.transcribe.acoustic_model import AcousticModel

# How far the probabilities of a frame may be from one, in nats, before it is told.
_TOLERANCE = 0.01


def transcribe(
    paths: Sequence[Path],
    search: FileSearch,
    model: AcousticModel | None = None,
    *,
    logits: bool = False,
    frame_shift: float | None = None,
) -> Iterator[Transcript]:
    """Decodes files.

    Args:
      paths: audio, features or frame scores; see `read_utterances`.
      search: how.
      model: for audio and features; without one, matrices are frame scores.
      logits: whether frame scores are to be normalised.
      frame_shift: seconds from one frame of the scores to the next; without it (or a model) times
        are in frames.

    Yields:
      One transcript for each utterance, in order; `failed` ones have a `problem`.
    """
    seconds = frame_shift if model is None else model.frame_shift
    seen: set[str] = set()
    for utterance in read_utterances(paths):
        name = utterance.name
        if utterance.content is None:
            yield Transcript(name, problem=utterance.problem, failed=True)
            continue
        try:
            if name in seen:
                raise DataError("another input has this name; rename one of them")
            seen.add(name)
            scores, remark = _scores(utterance.content, search, model, logits)
            found = search.search(name, scores).in_seconds(seconds)
            found.problem = "; ".join(filter(None, (remark, found.problem)))
            yield found
        except (FsaError, OSError) as error:
            yield Transcript(name, problem=f"{name}: {error}", failed=True)


def _scores(
    content: Waveform | Matrix, search: FileSearch, model: AcousticModel | None, logits: bool
) -> tuple[Tensor, str]:
    """What a search reads of an utterance, and a remark about it.

    Raises:
      DataError: it is audio and there is no model, or the model cannot read it.
    """
    if model is not None:
        return model.scores(content, search.reads), ""
    if not isinstance(content, Matrix):
        raise DataError("audio needs a model: --exp-dir")
    if logits:
        return content.values.log_softmax(-1), ""
    totals = content.values.logsumexp(-1)
    wrong = (~(totals.abs() <= _TOLERANCE)).nonzero().flatten().tolist()  # NaN too
    if not wrong:
        return content.values, ""
    frame = wrong[0]
    return content.values, (
        f"scores of frame {frame} sum to exp({float(totals[frame]):.3g}) instead of 1; if they are "
        "not log-probabilities yet, --logits makes them so"
    )
