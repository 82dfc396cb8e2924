"""Every public loss in one form, for the laws that all of them obey (test_all_losses.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy import losses
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms import intersect_dense
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.topologies import (
    ctc_graph,
    ctc_topo,
    mmi_denominator,
    mmi_numerator,
    token_ngram,
)

NUM_SYMBOLS = 4


class Labels(NamedTuple):
    """Transcripts and lengths of a batch."""

    targets: Tensor  # (N, U)
    frames: list[int]
    counts: list[int]

    def one(self, n: int) -> Labels:
        """Utterance n alone, without padding."""
        return Labels(self.targets[n : n + 1, : self.counts[n]], [self.frames[n]], [self.counts[n]])

    def some(self, utterances: list[int]) -> Labels:
        """These utterances, padded as before."""
        frames, counts = ([x[n] for n in utterances] for x in (self.frames, self.counts))
        return Labels(self.targets[utterances], frames, counts)

    def lists(self) -> list[list[int]]:
        return [y[:u].tolist() for y, u in zip(self.targets, self.counts, strict=True)]


# No label follows itself, which ASG does not allow. What stands beyond the lengths is never read.
LABELS = Labels(torch.tensor([[1, 2], [3, -9], [-9, -9]]), [5, 4, 3], [2, 1, 0])

Function = Callable[[list[Tensor], Labels, str], Tensor]


class Loss(NamedTuple):
    """A loss as a function of its dense scores, its labels and the reduction."""

    name: str
    function: Function
    inputs: tuple[str, ...] = ("frames",)  # what the axes of its scores are
    per: str = "label"  # what "mean" divides by
    surrogate: bool = False  # whether its gradient is not, by definition, the one of its value
    mixes_batch: bool = False  # whether utterances depend on each other by definition

    def random_inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shapes = {"frames": (3, 5), "nodes": (3, 5, 3), "labels": (3, 3), "hypotheses": (3,)}
        return [
            torch.randn(*shapes[axes], NUM_SYMBOLS, generator=generator, dtype=torch.float64)
            .to(dtype)
            .requires_grad_()
            for axes in self.inputs
        ]

    def one(self, inputs: list[Tensor], n: int, labels: Labels = LABELS) -> list[Tensor]:
        """The scores of utterance n alone, without padding."""
        frames, width = labels.frames[n], labels.counts[n] + 1
        cut = {
            "frames": lambda x: x[n : n + 1, :frames],
            "nodes": lambda x: x[n : n + 1, :frames, :width],
            "labels": lambda x: x[n : n + 1, :width],
            "hypotheses": lambda x: x[n : n + 1],
        }
        return [cut[axes](x) for axes, x in zip(self.inputs, inputs, strict=True)]

    def divisors(self, labels: Labels = LABELS) -> list[int]:
        counts = {"label": labels.counts, "frame": labels.frames, "utterance": [1] * 3}[self.per]
        return [max(1, count) for count in counts]


def plain(function: Callable[..., Tensor], **options: object) -> Function:
    """A loss with the arguments of ctc_loss, or of rnnt_loss."""
    return lambda x, y, reduction: function(
        *x, y.targets, y.frames, y.counts, reduction=reduction, **options
    )


def pruned(function: Callable[..., Tensor], **options: object) -> Function:
    """Two positions a frame: the first until half of the frames are over, then the last."""

    def call(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
        t = torch.arange(x[0].shape[1])
        begins = torch.tensor([max(0, u - 1) for u in y.counts])[:, None]
        late = t >= (torch.tensor(y.frames)[:, None] + 1) // 2
        ranges = (begins * late)[:, :, None] + torch.arange(2)
        index = ranges[..., None].expand(-1, -1, -1, NUM_SYMBOLS)
        logits = [scores.gather(2, index) for scores in x]
        return function(
            *logits, ranges, y.targets, y.frames, y.counts, reduction=reduction, **options
        )

    return call


@eager
def dense_of(scores: Tensor, y: Labels) -> DenseFsaVec:
    scores = scores if scores.dtype == torch.float64 else scores.float()  # it takes no halves
    return DenseFsaVec.from_lengths(scores, torch.tensor(y.frames))


@eager  # graphs are built outside of what is compiled
def graph_of(y: Labels) -> Fsa:
    return ctc_graph(y.lists())


@eager
def mmi_graphs(y: Labels) -> tuple[Fsa, Fsa]:
    lm = token_ngram([[1, 2], [3], [2, 1, 3]], NUM_SYMBOLS - 1)
    return mmi_numerator(y.lists(), lm), mmi_denominator(lm)


@eager
def lattices_of(scores: Tensor, y: Labels) -> Fsa:
    return intersect_dense(ctc_topo(NUM_SYMBOLS - 1), dense_of(scores, y))


def fsa(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    batch = (graph_of(y), dense_of(x[0], y), y.counts)
    return losses.fsa_loss(*batch, reduction, entropy_scale=0.3)


def fsa_kl(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    kl = losses.fsa_alignment_kl(
        graph_of(y), *(dense_of(scores, y) for scores in x), teacher_grad=True
    ).kl
    return losses.alignment.reduced(kl, torch.tensor(y.counts), reduction)


def lf_mmi(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    batch = (*mmi_graphs(y), dense_of(x[0], y), y.counts)
    return losses.lf_mmi_loss(*batch, reduction, entropy_scale=0.3)


def asg(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    transitions = torch.linspace(-1, 1, NUM_SYMBOLS**2, dtype=torch.float64)
    transitions = transitions.view(NUM_SYMBOLS, -1).to(dense_of(x[0], y).dtype)
    batch = (y.targets, y.frames, y.counts, transitions)
    options = {"entropy_scale": 0.3, "zero_infinity": True}  # nothing emits an empty transcript
    return losses.asg_loss(*x, *batch, reduction=reduction, **options)


def mwer(function: Callable[..., Tensor]) -> Function:
    def call(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
        risks = torch.arange(NUM_SYMBOLS, dtype=x[0].dtype).expand(len(x[0]), -1)
        return function(x[0], risks, reduction)

    return call


def lattice_mwer(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    return losses.lattice_mwer_loss(lattices_of(x[0], y), y.lists(), reduction=reduction)


def soft_frames(x: list[Tensor], y: Labels, reduction: str) -> Tensor:
    return losses.ctc_soft_distillation(*x, y.frames, reduction, temperature=2.0, teacher_grad=True)


def pruned_kl(*args: Tensor, reduction: str) -> Tensor:
    kl = losses.rnnt_pruned_alignment_kl(*args, teacher_grad=True).kl
    return losses.alignment.reduced(kl, torch.tensor(args[-1]), reduction)


TWO_FRAMES, TWO_NODES, AM_LM = ("frames",) * 2, ("nodes",) * 2, ("frames", "labels")
BOTH = {"teacher_grad": True}
ENTROPY = {"entropy_scale": 0.3}

TABLE = [
    Loss("ctc", plain(losses.ctc_loss)),
    Loss("ctc + entropy", plain(losses.ctc_loss, **ENTROPY)),
    Loss("ctc + raw entropy", plain(losses.ctc_loss, entropy_scale=3.0, kind="raw")),
    Loss("ctc + entropy per label", plain(losses.ctc_loss, **ENTROPY, kind="per_label")),
    Loss("ctc kl", plain(losses.ctc_distillation_loss, **BOTH), TWO_FRAMES),
    Loss("ctc raw kl", plain(losses.ctc_distillation_loss, **BOTH, kind="raw"), TWO_FRAMES),
    Loss(
        "ctc kl of logits",
        plain(losses.ctc_distillation_loss, fused_log_softmax=True, **BOTH, reverse=True),
        TWO_FRAMES,
    ),
    Loss("ctc soft", soft_frames, TWO_FRAMES, per="frame"),
    Loss(
        "ctc full sum",
        plain(losses.ctc_full_sum_distillation, **BOTH, fused_log_softmax=True),
        TWO_FRAMES,
    ),
    Loss(
        "cr-ctc",
        plain(losses.cr_ctc_loss, **ENTROPY, fused_log_softmax=True),
        TWO_FRAMES,
        surrogate=True,
    ),
    Loss(
        "cr-ctc of alignments",
        plain(losses.cr_ctc_loss, level="alignment"),
        TWO_FRAMES,
        surrogate=True,
    ),
    Loss("rnnt", plain(losses.rnnt_loss), ("nodes",)),
    Loss("rnnt + entropy", plain(losses.rnnt_loss, **ENTROPY), ("nodes",)),
    Loss(
        "rnnt of log-weights",
        plain(losses.rnnt_loss, **ENTROPY, fused_log_softmax=False),
        ("nodes",),
    ),
    Loss(
        "rnnt modified",
        plain(losses.rnnt_loss, **ENTROPY, rnnt_type="modified", delay_penalty=0.1),
        ("nodes",),
    ),
    Loss(
        "rnnt constrained", plain(losses.rnnt_loss, **ENTROPY, rnnt_type="constrained"), ("nodes",)
    ),
    Loss("rnnt kl", plain(losses.rnnt_distillation_loss, **BOTH), TWO_NODES),
    Loss("rnnt raw kl", plain(losses.rnnt_distillation_loss, **BOTH, kind="raw"), TWO_NODES),
    Loss("rnnt soft", plain(losses.rnnt_soft_distillation, **BOTH), TWO_NODES),
    Loss(
        "rnnt soft, collapsed",
        plain(losses.rnnt_soft_distillation, collapsed=True, **BOTH),
        TWO_NODES,
    ),
    Loss("rnnt full sum", plain(losses.rnnt_full_sum_distillation, **BOTH), TWO_NODES),
    Loss("rnnt simple", plain(losses.rnnt_loss_simple, **ENTROPY), AM_LM),
    Loss("rnnt smoothed", plain(losses.rnnt_loss_smoothed, **ENTROPY), AM_LM, mixes_batch=True),
    Loss("rnnt pruned", pruned(losses.rnnt_loss_pruned, **ENTROPY), ("nodes",)),
    Loss("rnnt pruned kl", pruned(pruned_kl), TWO_NODES),
    Loss("rnnt pruned soft", pruned(losses.rnnt_pruned_soft_distillation, **BOTH), TWO_NODES),
    Loss("fsa", fsa),
    Loss("fsa kl", fsa_kl, TWO_FRAMES),
    Loss("lf-mmi", lf_mmi),
    Loss("asg", asg),
    Loss("mwer", mwer(losses.mwer_loss), ("hypotheses",), per="utterance"),
    Loss("mwer of samples", mwer(losses.sampled_mwer_loss), ("hypotheses",), "utterance", True),
    Loss("mwer of lattices", lattice_mwer, per="utterance"),
]
