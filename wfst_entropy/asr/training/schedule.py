"""The learning rate as a function of how far the training is."""

from __future__ import annotations

import math

from wfst_entropy.asr.training.train_options import TrainOptions


def learning_rate(options: TrainOptions, step: int, epochs: float) -> float:
    r"""The learning rate of a batch.

    With :math:`w = \min(1, s / s_0)` the warm-up, ``s`` counting batches from 1:

    - cosine: :math:`w \cdot (1 + \cos(\pi e / E)) / 2`, with a floor of 1/100;
    - inverse-sqrt: :math:`w \cdot \sqrt{s_0 / \max(s, s_0)}` (Vaswani et al. 2017, section 5.3);
    - eden: :math:`(1 + w)/2 \cdot ((s^2 + S^2) / S^2)^{-1/4} ((e^2 + E_0^2) / E_0^2)^{-1/4}`
      (Yao et al. 2023, arXiv 2310.11230, Eq. 7).

    Args:
      options: ``base_lr``, ``lr_schedule``, ``warm_up``, ``num_epochs``, ``lr_batches``,
        ``lr_epochs``.
      step: ``s``, this batch's number in the whole training, from 1.
      epochs: ``e``, epochs that are done, with a fraction.

    Returns:
      The learning rate.

    >>> options = TrainOptions(base_lr=1.0, warm_up=10, num_epochs=2)
    >>> [round(learning_rate(options, s, e), 3) for s, e in [(1, 0.0), (10, 0.0), (100, 1.0)]]
    [0.1, 1.0, 0.5]
    """
    warm = min(1.0, step / options.warm_up) if options.warm_up else 1.0
    if options.lr_schedule == "cosine":
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, epochs / options.num_epochs)))
        factor = warm * max(0.01, fall)
    elif options.lr_schedule == "inverse-sqrt":
        top = max(1, options.warm_up)
        factor = warm * math.sqrt(top / max(step, top))
    else:
        by_step = (1.0 + (step / options.lr_batches) ** 2) ** -0.25
        by_epoch = (1.0 + (epochs / options.lr_epochs) ** 2) ** -0.25
        factor = 0.5 * (1.0 + warm) * by_step * by_epoch
    return options.base_lr * factor
