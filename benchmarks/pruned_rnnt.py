"""How long does a training step of pruned RNN-T take, and each of its stages?

    python benchmarks/pruned_rnnt.py [--sizes 8 200 50 500] [--repeats 15] [--peers k2] [--quick]

A step: the smoothed loss of am + lm with the posteriors of its arcs, ranges of 5 positions,
pruning, am + lm as the joiner, and the pruned loss with its lattice's entropy; forward, and
backward to am and lm. The yardstick is torch's ctc_loss, forward and backward, with twice the
utterances and two and a half times the frames. Stages are measured on their own, with a backward
pass where they have one; the step adds up their gradients besides.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measuring import Reference, Result, Row, Task, environment, parser, run, write_json
from peers import imported
from problems import Sizes, ctc_problem, transcripts
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.losses import (
    RnntArcPosteriors,
    do_rnnt_pruning,
    get_rnnt_prune_ranges,
    rnnt_loss_smoothed,
    rnnt_pruned_alignment,
)

SIZES = Sizes(8, 200, 50, 500)
TINY = Sizes(2, 12, 6, 9)
S_RANGE = 5
LM_SCALE, AM_SCALE = 0.25, 0.0  # those of k2's recipes


@dataclass(frozen=True)
class Networks:
    sizes: Sizes
    am: Tensor  # (N, T, V)
    lm: Tensor  # (N, U + 1, V)
    targets: Tensor
    frames: Tensor
    labels: Tensor

    def leaves(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        am, lm = (x.detach().to(dtype, copy=True).requires_grad_() for x in (self.am, self.lm))
        return am, lm


def networks(sizes: Sizes, seed: int, scale: float = 1.0) -> Networks:
    torch.manual_seed(seed)
    targets, frames, labels = transcripts(sizes)
    am = torch.randn(sizes.n, sizes.t, sizes.v) * scale
    return Networks(
        sizes, am, torch.randn(sizes.n, sizes.u + 1, sizes.v) * scale, targets, frames, labels
    )


def flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def smoothed(
    data: Networks, am: Tensor, lm: Tensor, am_scale: float = AM_SCALE
) -> tuple[Tensor, RnntArcPosteriors]:
    return rnnt_loss_smoothed(
        am,
        lm,
        data.targets,
        data.frames,
        data.labels,
        reduction="none",
        lm_only_scale=LM_SCALE,
        am_only_scale=am_scale,
        return_arc_posteriors=True,
    )


def forward(
    data: Networks, am: Tensor, lm: Tensor, am_scale: float = AM_SCALE
) -> tuple[Tensor, Tensor]:
    """The sum of both losses, and the entropy of the pruned lattice, per utterance."""
    simple, posteriors = smoothed(data, am, lm, am_scale)
    ranges = get_rnnt_prune_ranges(posteriors, data.frames, data.labels, S_RANGE)
    am_pruned, lm_pruned = do_rnnt_pruning(am, lm, ranges)
    pruned = rnnt_pruned_alignment(
        am_pruned + lm_pruned, ranges, data.targets, data.frames, data.labels
    )
    return simple + pruned.nll, pruned.entropy


def step(
    data: Networks,
    native: bool = True,
    dtype: torch.dtype = torch.float32,
    am_scale: float = AM_SCALE,
) -> Callable[[], Result]:
    leaves = data.leaves(dtype)

    def call() -> Result:
        with contextlib.nullcontext() if native else _native.disabled():
            loss, entropy = forward(data, *leaves, am_scale)
            gradients = torch.autograd.grad((loss - 0.1 * entropy).sum(), leaves)
        return Result(loss.detach(), entropy.detach(), flat(gradients))

    return call


def reference(data: Networks, key: str, dtype: torch.dtype) -> Reference:
    leaves = data.leaves(torch.float64)
    with _native.disabled():
        loss, entropy = forward(data, *leaves)
        d_loss = torch.autograd.grad(loss.sum(), leaves, retain_graph=True)
        d_entropy = torch.autograd.grad(entropy.sum(), leaves)
    return Reference(loss.detach(), entropy.detach(), flat(d_loss), flat(d_entropy))


def ctc(data: Networks) -> Callable[[], Result]:
    n, t, u, v = data.sizes
    problem = ctc_problem(Sizes(2 * n, 5 * t // 2, u, v), 0)
    leaf = problem.scores(torch.float32).transpose(0, 1).contiguous().requires_grad_()
    rest = (problem.targets, problem.frames, problem.labels)

    def call() -> Result:
        loss = torch.nn.functional.ctc_loss(leaf, *rest, reduction="sum")
        return Result(None, None, torch.autograd.grad(loss, leaf)[0])

    return call


def stage_smoothed(data: Networks) -> Callable[[], Result]:
    leaves = data.leaves()

    def call() -> Result:
        loss, _ = smoothed(data, *leaves)
        return Result(None, None, flat(torch.autograd.grad(loss.sum(), leaves)))

    return call


def stage_ranges(data: Networks) -> Callable[[], Result]:
    _, posteriors = smoothed(data, *data.leaves())

    def call() -> Result:
        ranges = get_rnnt_prune_ranges(posteriors, data.frames, data.labels, S_RANGE)
        return Result(None, None, ranges)

    return call


def stage_pruning(data: Networks) -> Callable[[], Result]:
    leaves = data.leaves()
    ranges = stage_ranges(data)().gradient
    grad = torch.randn(*ranges.shape, data.sizes.v)

    def call() -> Result:
        am_pruned, lm_pruned = do_rnnt_pruning(*leaves, ranges)
        logits = am_pruned + lm_pruned
        return Result(None, None, flat(torch.autograd.grad(logits, leaves, grad)))

    return call


def stage_pruned(data: Networks) -> Callable[[], Result]:
    ranges = stage_ranges(data)().gradient
    logits = sum(do_rnnt_pruning(data.am, data.lm, ranges)).requires_grad_()
    rest = (ranges, data.targets, data.frames, data.labels)

    def call() -> Result:
        out = rnnt_pruned_alignment(logits, *rest)
        return Result(
            None, None, torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), logits)[0]
        )

    return call


def peer_step(package: str, data: Networks) -> Callable[[], Result]:
    """The step without entropy by k2 or fast_rnnt."""
    peer = imported(package)
    leaves = data.leaves()
    zeros = torch.zeros_like(data.frames)
    boundary = torch.stack([zeros, zeros, data.labels, data.frames], 1)

    def call() -> Result:
        am, lm = leaves
        simple, grads = peer.rnnt_loss_smoothed(
            lm,
            am,
            data.targets,
            0,
            lm_only_scale=LM_SCALE,
            am_only_scale=AM_SCALE,
            boundary=boundary,
            reduction="none",
            return_grad=True,
        )
        ranges = peer.get_rnnt_prune_ranges(*grads, boundary, S_RANGE)
        am_pruned, lm_pruned = peer.do_rnnt_pruning(am, lm, ranges)
        pruned = peer.rnnt_loss_pruned(
            am_pruned + lm_pruned, data.targets, ranges, 0, boundary, reduction="none"
        )
        loss = simple + pruned
        return Result(loss.detach(), None, flat(torch.autograd.grad(loss.sum(), leaves)))

    return call


def rows() -> list[Row]:
    both = (1.0, -0.1)
    float64 = functools.partial(step, dtype=torch.float64)
    return [
        Row("torch ctc_loss, 2 B utterances of 2.5 T", ctc),
        Row("pruned step", step, both, "step"),
        Row("  smoothed loss with posteriors", stage_smoothed),
        Row("  ranges", stage_ranges),
        Row("  pruning, am + lm", stage_pruning),
        Row("  pruned loss with entropy", stage_pruned),
        Row("pruned step, am_only_scale 0.1", functools.partial(step, am_scale=0.1)),
        Row("pruned step, float64", float64, both, "step", torch.float64),
        Row("pruned step, torch engine", functools.partial(step, native=False), both, "step"),
        Row(
            "pruned step under k2's names",
            functools.partial(peer_step, "wfst_entropy.compat.k2"),
            reference="step",
        ),
    ] + [
        Row(
            f"{package}, nll alone",
            functools.partial(peer_step, package),
            reference="step",
            package=package,
        )
        for package in ("k2", "fast_rnnt")
    ]


def cells(data: Networks) -> int:
    return int((data.frames * (data.labels + 1)).sum())


TASK = Task("Pruned RNN-T, s_range 5", rows, networks, reference, cells)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, SIZES, 15).parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    sizes = TINY if options.quick else Sizes(*options.sizes)
    # Larger scores are not compared: among windows that keep all of the alignments but for a
    # rounding error, each precision takes another one.
    hard = {f"{sizes}": functools.partial(networks, sizes, 1)}
    write_json(options, run(TASK, options, TINY, hard))


if __name__ == "__main__":
    main()
