"""What each frame emits, over all paths of a lattice."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms import get_arc_post
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


def frame_posteriors(lattice: Fsa, vocab_size: int) -> Tensor:
    r"""The probability of each label in each frame, over all paths of a lattice.

    .. math:: p_t(c) = \sum_{a \in \text{frame } t,\, \mathrm{label}(a) = c} \gamma(a)

    with the arc posteriors :math:`\gamma`; every path has one arc in each frame, so that they sum
    to 1.  Arcs that consume no frame do not count.

    Args:
      lattice: an acyclic FSA or vector with the attribute `frame_idx`, as searches give it.
      vocab_size: C, how many labels there are, blank (0) included.

    Returns:
      `(num_utterances, max_frames, C)` in the dtype of the scores, 0 beyond the frames of an
      utterance; differentiable.

    Raises:
      DecodingError: there is no `frame_idx`, or it is not that of a search.
      FsaValueError: a label is not below `vocab_size`.

    >>> lattice = Fsa.from_str("0 1 5 0\n0 1 6 0\n1 2 -1 0\n2", acceptor=True)
    >>> _ = lattice.set_attribute_("frame_idx", torch.tensor([0, 0, 1]))
    >>> frame_posteriors(lattice, 7)[0, 0, 5:]
    tensor([0.5000, 0.5000])
    """
    vector = lattice if lattice.num_axes == 3 else Fsa.from_fsas([lattice])
    emitting = emitting_arcs(vector)
    frames, labels = frames_of_arcs(vector)[emitting], vector.labels[emitting].long()
    if labels.numel() and int(labels.max()) >= vocab_size:
        raise FsaValueError(
            f"vocab_size: must be above the largest label {int(labels.max())}, got {vocab_size}."
        )
    num_frames = int(frames.max()) + 1 if frames.numel() else 0
    posterior = get_arc_post(vector, scores=vector.scores.double()).exp()[emitting]
    cell = (vector.arc_to_fsa()[emitting] * num_frames + frames) * vocab_size + labels
    flat = posterior.new_zeros(vector.num_fsas * num_frames * vocab_size)
    table = flat.index_add(0, cell, posterior).view(vector.num_fsas, num_frames, vocab_size)
    return table.to(lattice.scores.dtype)


def emitting_arcs(lattice: Fsa) -> Tensor:
    """Which arcs consume a frame, bool `(num_arcs,)`.

    An arc does if what follows it is in the next frame; `labels` alone do not tell, as a graph may
    have a label for arcs that do not.

    Args:
      lattice: a vector with the attribute `frame_idx`: on each arc the frame that it consumes, or
        else the next one.

    Raises:
      DecodingError: there is no such attribute, or arcs lead on to other frames.
    """
    frames = frames_of_arcs(lattice)
    of_state = torch.full((lattice.num_states,), -1, device=lattice.device)
    of_state[lattice.src_states()] = frames
    step = of_state[lattice.dst_states()] - frames
    inner = lattice.labels != -1
    same = of_state[lattice.src_states()] == frames
    on = inner & (of_state[lattice.dst_states()] >= 0)  # not into a dead end
    wrong = (~same | (on & (step != 0) & (step != 1))).nonzero()
    if wrong.numel():
        arc = int(wrong[0])
        raise DecodingError(
            f"lattice: arc {arc} {lattice.arcs[arc].tolist()} of FSA "
            f"{int(lattice.arc_to_fsa()[arc])} is in frame {int(frames[arc])}, but other arcs of "
            "its states are neither there nor in the next frame; frame_idx must be that of a "
            "search."
        )
    return inner & (step == 1)


def frames_of_arcs(lattice: Fsa) -> Tensor:
    """The attribute `frame_idx`, int64 `(num_arcs,)`.

    Raises:
      DecodingError: there is none, or one below 0.
    """
    frames = lattice.attributes.get("frame_idx")
    if not isinstance(frames, Tensor) or frames.is_floating_point() or frames.dim() != 1:
        have = ", ".join(lattice.attributes) or "none"
        raise DecodingError(
            "lattice: needs the integer attribute frame_idx, as searches give it; it has the "
            f"attributes {have}."
        )
    if frames.numel() and int(frames.min()) < 0:
        raise DecodingError(
            f"lattice: arc {int(frames.argmin())} has the frame_idx {int(frames.min())}; frames "
            "are counted from 0."
        )
    return frames.long()


class Emissions(NamedTuple):
    """The labels that frames emit with a probability above 0, ordered; all `(num_entries,)`.

    Attributes:
      cells: int64, utterance times the number of frames plus frame.
      labels: int64.
      probs: float64.
      num_frames: of the longest utterance.
    """

    cells: Tensor
    labels: Tensor
    probs: Tensor
    num_frames: int

    def entropy(self, num_utterances: int) -> Tensor:
        """Of the label that each frame emits, nats, float64 `(num_utterances, num_frames)`."""
        sums = self.probs.new_zeros(num_utterances * self.num_frames)
        sums.index_add_(0, self.cells, -torch.xlogy(self.probs, self.probs))
        return sums.clamp(min=0).view(num_utterances, self.num_frames)

    def prob(self, cells: Tensor, labels: Tensor) -> Tensor:
        """The probabilities of labels in frames where they occur."""
        width = _width(self.labels)
        return self.probs[
            torch.searchsorted(self.cells * width + self.labels, cells * width + labels)
        ]


def emissions(lattice: Fsa, emitting: Tensor, posterior: Tensor) -> Emissions:
    """`frame_posteriors` of a vector without the zeros.

    Args:
      emitting: `emitting_arcs(lattice)`.
      posterior: float64 `(num_arcs,)`, of each arc.
    """
    frames, labels = frames_of_arcs(lattice)[emitting], lattice.labels[emitting].long()
    num_frames = int(frames.max()) + 1 if frames.numel() else 0
    width = _width(labels)
    cells = lattice.arc_to_fsa()[emitting] * num_frames + frames
    entries, position = torch.unique(cells * width + labels, return_inverse=True)
    probs = posterior.new_zeros(len(entries)).index_add_(0, position, posterior[emitting])
    return Emissions(entries // width, entries % width, probs, num_frames)


def _width(labels: Tensor) -> int:
    """One more than the largest label."""
    return int(labels.max()) + 1 if labels.numel() else 1
