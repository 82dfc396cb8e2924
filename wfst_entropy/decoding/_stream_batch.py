"""What searches of a transducer check and prepare before they read frames of several streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.transducer import Transducer

LARGEST = 2.0**26  # beyond this sums of scores lose their digits

# Scores of one join; beyond this a search asks for fewer streams rather than for the memory.
_MOST_SCORES = 2**30


class Beginning(NamedTuple):
    """A predictor before any label, `(1, J)` and `(1, ...)`, and the size of the vocabulary."""

    lm: Tensor
    state: list[Tensor]
    num_symbols: int


class StreamState(Protocol):
    """What each search keeps of a stream."""

    @property
    def search(self) -> object:
        """Which made it."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames that have been read."""
        ...


class StreamBatch(NamedTuple):
    """The streams of one call that have frames to read, those with the most frames first.

    Attributes:
      rows: the place of each in the call.
      lengths: its frames.
      am: for each frame `(n, J)`, projected encoder output.
    """

    rows: list[int]
    lengths: list[int]
    am: tuple[Tensor, ...]

    def num_active(self, frame: int) -> int:
        """How many streams have this frame; they are the first ones."""
        return sum(length > frame for length in self.lengths)


def beginning_of(transducer: Transducer) -> Beginning:
    """Asks a transducer for its start, and for the scores of one frame to see their number.

    Raises:
      DecodingError: their shapes are not those of the protocol.
    """
    with torch.inference_mode():
        lm, state = transducer.start(1)
        scores = transducer.join(torch.zeros_like(lm), lm)
    shapes = [tuple(x.shape[:1]) for x in (lm, scores, *state)]
    if lm.dim() != 2 or scores.dim() != 2 or any(rows != (1,) for rows in shapes):
        raise DecodingError(
            f"transducer: start(1) and join must give (1, J) and (1, C), and tensors with one row "
            f"as state, got {tuple(lm.shape)}, {tuple(scores.shape)} and rows {shapes[2:]}."
        )
    return Beginning(lm, state, scores.shape[1])


def stream_batch(
    transducer: Transducer,
    encoder_out: Tensor,
    lengths: Tensor,
    states: Sequence[StreamState],
    search: object,
) -> StreamBatch | None:
    """The streams that have frames, projected; None if no stream has any.

    Args:
      transducer: which projects.
      encoder_out: `(N, T, D)`.
      lengths: `(N,)`.
      states: N of this search.
      search: whose states they must be.

    Raises:
      DecodingError: shapes, lengths or states do not fit each other.
    """
    _check(encoder_out, lengths, states, search)
    sizes = lengths.tolist()
    rows = sorted((row for row in range(len(sizes)) if sizes[row] > 0), key=lambda row: -sizes[row])
    if not rows:
        return None
    longest = encoder_out[:, : sizes[rows[0]]]
    if rows != list(range(len(sizes))):
        longest = longest.index_select(0, torch.tensor(rows, device=longest.device))
    am = transducer.project_encoder(longest).unbind(1)
    return StreamBatch(rows, [sizes[row] for row in rows], am)


def _check(
    encoder_out: Tensor, lengths: Tensor, states: Sequence[StreamState], search: object
) -> None:
    if encoder_out.dim() != 3 or lengths.shape != encoder_out.shape[:1]:
        raise DecodingError(
            "encoder_out: must be (N, T, D), and lengths (N,), got "
            f"{tuple(encoder_out.shape)} and {tuple(lengths.shape)}."
        )
    if lengths.is_floating_point() or not encoder_out.is_floating_point():
        raise DecodingError(
            "encoder_out: must be floating-point and lengths integer, got "
            f"{encoder_out.dtype} and {lengths.dtype}."
        )
    for row, length in enumerate(lengths.tolist()):
        if not 0 <= length <= encoder_out.shape[1]:
            raise DecodingError(
                f"lengths: stream {row} has {length}, but encoder_out has {encoder_out.shape[1]} "
                "frames. Lengths count frames of the encoder, after subsampling."
            )
    if len(states) != len(lengths):
        raise DecodingError(
            f"states: needs one for each of {len(lengths)} rows of encoder_out, got {len(states)}."
        )
    check_states(states, search)


def check_states(states: Sequence[StreamState], search: object) -> None:
    """Raise unless all states are of one search.

    Raises:
      DecodingError: one is not.
    """
    for number, state in enumerate(states):
        if getattr(state, "search", None) is not search:
            raise DecodingError(
                f"states[{number}]: is of another search; take it from this one's start() or "
                "advance()."
            )


def adjusted(log_probs: Tensor, blank_penalty: float, temperature: float) -> Tensor:
    """Scores `(n, C)` with less for blank, and flatter; normalised again."""
    if blank_penalty == 0 and temperature == 1:
        return log_probs
    log_probs = log_probs.clone()
    log_probs[:, 0] -= blank_penalty
    return (log_probs / temperature).log_softmax(dim=1)


def check_adjustments(blank_penalty: float, temperature: float) -> None:
    """Raise where they are out of range.

    Raises:
      DecodingError: one is.
    """
    if not abs(blank_penalty) <= LARGEST:
        raise DecodingError(f"blank_penalty: must lie in -2**26..2**26, got {blank_penalty!r}.")
    if not 0 < temperature <= LARGEST:
        raise DecodingError(f"temperature: must be more than 0, got {temperature!r}.")


def check_join_size(num_hypotheses: int, num_symbols: int) -> None:
    """Raise where the scores of one frame would take gigabytes.

    Raises:
      DecodingError: they would.
    """
    if num_hypotheses * num_symbols > _MOST_SCORES:
        raise DecodingError(
            f"states: {num_hypotheses} hypotheses of all streams with {num_symbols} symbols each "
            "need more than 4 GB in one frame; search fewer streams at a time, or take a smaller "
            "beam_size."
        )


def raise_bad_score(stream: int, frame: int) -> None:
    """Raise for a frame whose scores mean nothing.

    Args:
      stream: its place in the call.
      frame: counted from the beginning of the stream.

    Raises:
      DecodingError: always.
    """
    raise DecodingError(
        f"encoder_out: the joiner gives NaN or more than 2**26 for stream {stream} at frame "
        f"{frame}. The model's output is broken: check its features and its weights."
    )
