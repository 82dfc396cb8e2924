"""Does an exported model say the same as the model it was made from?"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.table import Table
from torch import Tensor

from wfst_entropy.asr.data.tokenizer import Tokenizer
from wfst_entropy.asr.data.utterances import read_batch
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.search.method import SearchMethod
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError


class ExportedModel(Protocol):
    """What the check asks of an exported model."""

    @property
    def transducer(self) -> Transducer | None:
        """Its transducer, or None."""
        ...

    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder frames of whole utterances; streaming files read them chunk by chunk."""
        ...

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """Log-probabilities of encoder frames."""
        ...


@dataclasses.dataclass
class Candidate:
    """An exported model and how to search it, beside the search of the original.

    Args:
      name: Such as ``onnx streaming``.
      head: ``ctc`` or ``transducer``.
      model: The exported model.
      search: A search over its scores.
      reference: The same search over those of the original.
      files: Names and bytes.
      exact: Whether the same texts are expected, as not of weights of 8 bits.
    """

    name: str
    head: str
    model: ExportedModel
    search: SearchMethod
    reference: SearchMethod
    files: dict[str, int]
    exact: bool = True


@dataclasses.dataclass
class Parity:
    """What the check of one exported model found.

    Args:
      name: Such as ``onnx streaming``.
      head: ``ctc`` or ``transducer``.
      method: The search.
      files: Names and bytes.
      exact: Whether the same texts are expected.
      max_abs_difference: By output, over the real frames of all utterances.
      num_utterances: How many were decoded.
      different_texts: How many have another text.
      first_difference: The first of them: its cut, the number of the first other token in it, the
        token of the original and of the export.

    >>> Parity("onnx", "ctc", "ctc-greedy-search", {}).same_texts
    True
    """

    name: str
    head: str
    method: str
    files: dict[str, int]
    exact: bool = True
    max_abs_difference: dict[str, float] = dataclasses.field(default_factory=dict)
    num_utterances: int = 0
    different_texts: int = 0
    first_difference: dict[str, Any] | None = None

    @property
    def same_texts(self) -> bool:
        """Whether no text is another one."""
        return self.different_texts == 0

    def add_difference(self, output: str, difference: float) -> None:
        """Take a difference of an output into account."""
        before = self.max_abs_difference.get(output, 0.0)
        # once NaN, always NaN, which no comparison tells
        keep = math.isnan(before) or difference <= before
        self.max_abs_difference[output] = before if keep else difference


@torch.inference_mode()
def check_parity(
    model: AsrModel,
    candidates: Sequence[Candidate],
    batches: Iterable[dict[str, Any]],
    tokenizer: Tokenizer,
    on_batch: Callable[[int], None],
) -> list[Parity]:
    """Decode utterances with a model and with what was exported from it.

    Args:
      model: The original, on the CPU, in evaluation mode.
      candidates: The exported models.
      batches: Of lhotse's ``K2SpeechRecognitionDataset``.
      tokenizer: Of the model's vocabulary.
      on_batch: Told the number of utterances after each batch.

    Returns:
      One result per candidate.

    Raises:
      FsaError: when there is no utterance to compare.
    """
    found = [Parity(c.name, c.head, c.search.name, c.files, c.exact) for c in candidates]
    done = 0
    for batch in batches:
        utterances = read_batch(batch, tokenizer)
        features, num_frames = utterances.features, utterances.num_frames
        encoder_out, lengths = model.forward_encoder(features, num_frames)
        words: dict[str, list[str]] = {}
        for candidate, parity in zip(candidates, found, strict=True):
            scores = _scores(candidate.reference, model, encoder_out)
            if candidate.head not in words:
                words[candidate.head] = _texts(candidate.reference, scores, lengths)
            other_out, other_lengths = candidate.model.forward_encoder(features, num_frames)
            other = _scores(candidate.search, candidate.model, other_out)
            if not torch.equal(other_lengths, lengths):
                parity.add_difference("lengths", float((other_lengths - lengths).abs().max()))
                other_lengths = other_lengths.clamp(max=other.size(1))
            _compare_scores(parity, model, candidate.model, scores, other, lengths)
            texts = _texts(candidate.search, other, other_lengths)
            _compare_texts(parity, tokenizer, utterances.names, words[candidate.head], texts)
        done += len(utterances.names)
        on_batch(len(utterances.names))
    if not done:
        raise FsaError("check_on: the set has no utterance that can be read")
    return found


def _scores(search: SearchMethod, model: AsrModel | ExportedModel, encoder_out: Tensor) -> Tensor:
    return model.ctc_log_probs(encoder_out) if search.reads == "ctc_log_probs" else encoder_out


def _texts(search: SearchMethod, scores: Tensor, lengths: Tensor) -> list[str]:
    hypotheses = search.search(scores, lengths, [[] for _ in lengths])
    return [" ".join(hypothesis.words) for hypothesis in hypotheses]


def _compare_scores(
    parity: Parity,
    model: AsrModel,
    exported: ExportedModel,
    scores: Tensor,
    other: Tensor,
    lengths: Tensor,
) -> None:
    if parity.head == "ctc":
        parity.add_difference("log_probs", _largest(scores, other, lengths))
        return
    head, other_head = model.transducer, exported.transducer
    if head is None or other_head is None:
        raise FsaError(f"{parity.name}: has no transducer to compare")
    am, other_am = head.project_encoder(scores), other_head.project_encoder(other)
    parity.add_difference("encoder_out", _largest(am, other_am, lengths))
    (lm, state), (other_lm, other_state) = head.start(len(am)), other_head.start(len(am))
    # a walk along some labels, joined with some frames
    for frame in range(min(8, am.size(1), other_am.size(1))):
        parity.add_difference("decoder_out", float((lm - other_lm).abs().max()))
        log_probs = head.join(am[:, frame], lm)
        difference = log_probs - other_head.join(other_am[:, frame], other_lm)
        parity.add_difference("joiner_log_probs", float(difference[frame < lengths].abs().max()))
        tokens = 1 + log_probs[:, 1:].argmax(dim=1)
        lm, state = head.step(tokens, state)
        other_lm, other_state = other_head.step(tokens, other_state)


def _largest(x: Tensor, y: Tensor, lengths: Tensor) -> float:
    """The largest difference over the real frames."""
    rows = zip(x, y, lengths.tolist(), strict=True)
    return max(float((a[:n] - b[:n]).abs().max()) if n else 0.0 for a, b, n in rows)


def _compare_texts(
    parity: Parity,
    tokenizer: Tokenizer,
    names: Sequence[str],
    expected: Sequence[str],
    found: Sequence[str],
) -> None:
    for name, right, other in zip(names, expected, found, strict=True):
        parity.num_utterances += 1
        if right == other:
            continue
        parity.different_texts += 1
        if parity.first_difference is None:
            tokens, others = [*tokenizer.encode(right), -1], [*tokenizer.encode(other), -1]
            pairs = enumerate(zip(tokens, others))
            at = next(i for i, (token, another) in pairs if token != another)
            parity.first_difference = {
                "cut": name,
                "token": at,
                "expected": _symbol(tokenizer, tokens[at]),
                "found": _symbol(tokenizer, others[at]),
            }


def _symbol(tokenizer: Tokenizer, token: int) -> str:
    return "the end" if token < 0 else tokenizer.symbols[token]


def write_report(path: Path, found: dict[str, list[Parity]], about: dict[str, Any]) -> None:
    """Write what the check found, by test set, as JSON.

    Args:
      path: The file.
      found: What :func:`check_parity` returned for each set.
      about: The model and the versions.
    """
    sets = {name: [dataclasses.asdict(p) for p in parities] for name, parities in found.items()}
    with replacing(path) as file:
        file.write(json.dumps(about | {"sets": sets}, indent=2, ensure_ascii=False).encode())


def parity_table(name: str, found: Sequence[Parity]) -> Table:
    """What the check found on one test set, to be printed."""
    table = Table(title=f"PyTorch and exported models on {name}")
    for column in ("export", "MB", "largest difference", "other texts"):
        table.add_column(column)
    for parity in found:
        differences = parity.max_abs_difference.items()
        first = parity.first_difference
        texts = f"{parity.different_texts} of {parity.num_utterances}"
        if first is not None:
            texts += (
                f"\nfirst {first['cut']}:\ntoken {first['token']} is {first['found']!r}, not "
                f"{first['expected']!r}"
            )
        table.add_row(
            f"{parity.name}\n{parity.head}, {parity.method}",
            f"{sum(parity.files.values()) / 1e6:.1f}",
            "\n".join(f"{output} {value:.1e}" for output, value in differences),
            texts,
        )
    return table
