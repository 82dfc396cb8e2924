"""Scales of the loss's terms that change over the first batches."""

from __future__ import annotations

from wfst_entropy.asr.training.train_options import TrainOptions


def ramp(step: int, length: int) -> float:
    """How much of a warm-up is over: 0 before the first batch, 1 after ``length`` batches.

    >>> [ramp(step, 4) for step in (0, 1, 4, 9)], ramp(0, 0)
    ([0.0, 0.25, 1.0, 1.0], 1.0)
    """
    return min(1.0, step / length) if length else 1.0


def entropy_scale(options: TrainOptions, step: int) -> float:
    r"""The weight of the entropy: ``entropy_loss_scale`` times :func:`ramp` of its warm-up.

    >>> entropy_scale(TrainOptions(entropy_loss_scale=0.2, entropy_warm_up=10), step=5)
    0.1
    """
    return options.entropy_loss_scale * ramp(step, options.entropy_warm_up)


def delay_penalty(options: TrainOptions, step: int) -> float:
    """The delay penalty: ``delay_penalty`` times :func:`ramp` of its warm-up.

    >>> delay_penalty(TrainOptions(delay_penalty=0.2, delay_penalty_warm_up=10), step=5)
    0.1
    """
    return options.delay_penalty * ramp(step, options.delay_penalty_warm_up)


def transducer_scales(options: TrainOptions, step: int) -> tuple[float, float]:
    r"""The weights of the simple and of the pruned loss.

    With ``r`` the :func:`ramp` of ``rnnt_warm_step`` and ``s`` the ``simple_loss_scale``:
    :math:`1 - r (1 - s)` and :math:`0.1 + 0.9 r`. The pruned loss is of little use before the
    simple one knows which windows to keep.

    Source: the recipes of icefall for pruned transducers (``zipformer/train.py``).

    >>> options = TrainOptions(rnnt_warm_step=100, simple_loss_scale=0.5)
    >>> [transducer_scales(options, step) for step in (0, 50, 100)]
    [(1.0, 0.1), (0.75, 0.55), (0.5, 1.0)]
    """
    done = ramp(step, options.rnnt_warm_step)
    return 1.0 - done * (1.0 - options.simple_loss_scale), 0.1 + 0.9 * done
