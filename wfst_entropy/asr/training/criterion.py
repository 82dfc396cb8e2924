"""The training loss: CTC on graphs, with the entropy of the alignments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from wfst_entropy.asr.training.train_options import EntropyKind
from wfst_entropy.fsa import DenseFsaVec
from wfst_entropy.fsa.errors import FsaError, FsaValueError
from wfst_entropy.losses.fsa import fsa_alignment
from wfst_entropy.topologies.ctc import ctc_graph, min_num_frames


class TokenEncoder(Protocol):
    """What turns a transcript into token ids."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a transcript."""
        ...


@dataclasses.dataclass
class Utterances:
    """One batch as the model and the loss need it.

    Args:
      features: ``(N, T, F)`` float32.
      num_frames: ``(N,)``, feature frames per utterance.
      tokens: Token ids per utterance.
      names: What to call the utterances in messages.
      excluded: Why an utterance takes no part in the loss, by its position in the batch.

    >>> Utterances(torch.zeros(1, 4, 80), torch.tensor([4]), [[1]], ["utt-1"]).excluded
    {}
    """

    features: Tensor
    num_frames: Tensor
    tokens: list[list[int]]
    names: list[str]
    excluded: dict[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class LossSums:
    """Sums over the utterances of a batch that have an alignment.

    Args:
      loss: Sum of NLL - scale * H, a scalar that carries the gradient.
      nll: Sum of the negative log-likelihoods, nats.
      entropy: Sum of the entropies H of the kind asked for.
      num_frames: Output frames of these utterances.
      num_utterances: How many these are.
      not_finite: Names of utterances whose loss is NaN or infinite.
      excluded: What was left out, and why: ``{name: reason}``.
      num_failed: Utterances that should have been in the batch but could not be read.

    >>> LossSums(torch.tensor(0.0), 0.0, 0.0, 0, 0, [], {}).not_finite
    []
    """

    loss: Tensor
    nll: float
    entropy: float
    num_frames: int
    num_utterances: int
    not_finite: list[str]
    excluded: dict[str, str]
    num_failed: int = 0


def read_batch(batch: dict[str, Any], tokenizer: TokenEncoder) -> Utterances:
    """Take the utterances out of a batch of lhotse's ``K2SpeechRecognitionDataset``.

    Args:
      batch: The dict with ``inputs`` and ``supervisions``, one supervision per cut.
      tokenizer: Turns transcripts into token ids. A transcript that it refuses with an
        :class:`FsaError` excludes its utterance, as do features that are not finite.

    Returns:
      The utterances, on the CPU.

    Raises:
      FsaValueError: when a cut has several supervisions.

    >>> class Letters:
    ...     def encode(self, text):
    ...         return [ord(letter) - 96 for letter in text]
    >>> supervisions = {"text": ["ab"], "num_frames": [7], "sequence_idx": [0], "cut": []}
    >>> batch = {"inputs": torch.zeros(1, 7, 80), "supervisions": supervisions}
    >>> read_batch(batch, Letters()).tokens
    [[1, 2]]
    """
    supervisions = batch["supervisions"]
    rows = [int(row) for row in supervisions["sequence_idx"]]
    names = [cut.id for cut in supervisions.get("cut", [])] or [f"row {row}" for row in rows]
    if len(set(rows)) != len(rows):
        twice = next(name for name, row in zip(names, rows) if rows.count(row) > 1)
        raise FsaValueError(
            f"batch: needs one supervision per cut, cut {twice} has several; "
            "cut the recordings with trim_to_supervisions() first"
        )
    tokens: list[list[int]] = []
    excluded: dict[int, str] = {}
    for i, text in enumerate(supervisions["text"]):
        try:
            tokens.append(list(tokenizer.encode(text)))
        except FsaError as error:
            tokens.append([])
            excluded[i] = f"its transcript cannot be written in tokens: {error}"
    num_frames = torch.as_tensor(supervisions["num_frames"], dtype=torch.int64)
    features = batch["inputs"][rows]
    for i in (~features.isfinite().flatten(1).all(dim=1)).nonzero().flatten().tolist():
        # left in, they would spoil the statistics of the other utterances
        features[i] = 0.0
        excluded[i] = "its features are not finite"
    return Utterances(features, num_frames, tokens, names, excluded)


def compute_loss(
    log_probs: Tensor,
    lengths: Tensor,
    utterances: Utterances,
    entropy_loss_scale: float = 0.0,
    entropy_kind: EntropyKind = "conditional",
) -> LossSums:
    r"""Sum of :math:`-\log p(y|x) - scale \cdot H` over the utterances of a batch.

    Each transcript becomes a CTC graph, whose alignments with the model's output are summed by the
    graph engine. An utterance too short for its labels has no alignment: it is excluded and named.

    Args:
      log_probs: Log-probabilities of tokens ``(N, T', C)``, float32.
      lengths: ``(N,)``, output frames per utterance.
      utterances: Transcripts and names of the batch.
      entropy_loss_scale: Weight of the entropy; positive rewards it, negative penalises it.
      entropy_kind: ``conditional``: entropy of the alignments given the transcript, nats; ``raw``:
        :math:`-\sum_\pi p(\pi) \log p(\pi)` over unnormalised alignments; ``per-frame`` and
        ``per-label``: the conditional one divided by either count.

    Returns:
      Sums for the batch. With a NaN in ``log_probs`` the loss is not computed; the utterances are
      named in ``not_finite``.

    >>> log_probs = torch.full((1, 3, 2), 0.5).log()
    >>> utterances = Utterances(torch.zeros(1, 12, 80), torch.tensor([12]), [[1]], ["utt-1"])
    >>> sums = compute_loss(log_probs, torch.tensor([3]), utterances)
    >>> round(sums.nll, 4), round(sums.entropy, 4)  # 6 alignments of probability 1/8
    (0.2877, 1.7918)
    """
    excluded = utterances.excluded | _too_short(utterances.tokens, lengths)
    names = utterances.names
    nan_rows = log_probs.detach().isnan().flatten(1).any(dim=1).tolist()
    not_finite = [name for name, is_nan in zip(names, nan_rows) if is_nan]
    if not_finite:
        return LossSums(log_probs.sum(), 0.0, 0.0, 0, 0, not_finite, {})
    used = [i for i in range(len(names)) if i not in excluded]
    reasons = {names[i]: reason for i, reason in excluded.items()}
    if not used:
        # zero, but with a gradient: other processes wait for this one's
        return LossSums(log_probs.sum() * 0.0, 0.0, 0.0, 0, 0, [], reasons)

    lengths = lengths[used]
    tokens = [utterances.tokens[i] for i in used]
    dense = DenseFsaVec.from_lengths(log_probs[used], lengths)
    alignment = fsa_alignment(
        ctc_graph(tokens, device=log_probs.device),
        dense,
        kind=entropy_kind.replace("-", "_"),
        target_lengths=[len(labels) for labels in tokens],
    )
    losses = alignment.nll - entropy_loss_scale * alignment.entropy
    finite = losses.detach().isfinite().tolist()
    return LossSums(
        loss=losses.sum(),
        nll=float(alignment.nll.detach().sum()),
        entropy=float(alignment.entropy.detach().sum()),
        num_frames=int(lengths.sum()),
        num_utterances=len(used),
        not_finite=[names[i] for i, ok in zip(used, finite) if not ok],
        excluded=reasons,
    )


def _too_short(tokens: Sequence[Sequence[int]], lengths: Tensor) -> dict[int, str]:
    needed = min_num_frames(tokens).tolist()
    return {
        i: f"{length} frames after subsampling, its {len(tokens[i])} tokens need {need}"
        for i, (length, need) in enumerate(zip(lengths.tolist(), needed))
        if length < need
    }
