"""What a training run may be told."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Literal

from wfst_entropy.asr.options import OptionError, option

EntropyKind = Literal["conditional", "raw", "per-frame", "per-label"]
RnntType = Literal["regular", "modified", "constrained"]


@dataclasses.dataclass
class TrainOptions:
    """Length, optimisation, loss and bookkeeping of a run; ``exp_dir/config.yaml`` keeps them.

    Raises:
      OptionError: when a value is out of range.

    >>> TrainOptions(num_epochs=3).exp_dir
    PosixPath('exp')
    """

    exp_dir: Path = option(Path("exp"), "Where checkpoints, logs and curves of the run go.")
    num_epochs: int = option(8, "Epochs to train; they count from 1.")
    start_epoch: int = option(
        1, "Above 1: start this epoch from epoch-(n-1).pt instead of the newest checkpoint."
    )
    start_batch: int = option(
        0, "Above 0: go on from checkpoint-(this).pt instead of the newest checkpoint."
    )
    resume: bool = option(
        True,
        "Go on from the newest checkpoint in exp-dir; false starts afresh and moves the old "
        "checkpoints to a folder previous-N.",
    )
    init_from: Path | None = option(
        None,
        "A checkpoint to start from: the parameters that fit this model are taken, and the log "
        "lists those that are not, such as the output for another vocabulary.",
    )
    save_every_n: int = option(1000, "Batches between two checkpoint-(batch).pt; 0 for none.")
    keep_last_k: int = option(3, "How many of the newest checkpoint-(batch).pt to keep.")
    average_period: int = option(20, "Batches between two updates of the running model average.")
    seed: int = option(42, "Everything random is a function of it, the epoch, batch and process.")

    optimizer: Literal["adamw", "scaled-adam"] = option(
        "adamw", "scaled-adam makes steps relative to each parameter's size; try --base-lr 0.02."
    )
    base_lr: float = option(0.002, "The highest learning rate.")
    lr_schedule: Literal["cosine", "inverse-sqrt", "eden"] = option(
        "cosine", "How the learning rate falls after the warm-up."
    )
    warm_up: int = option(200, "Batches over which the learning rate rises.")
    lr_batches: int = option(5000, "Batches after which the schedule eden falls.")
    lr_epochs: float = option(4.0, "Epochs after which the schedule eden falls.")
    weight_decay: float = option(0.01, "Decay of weights (adamw; not of biases and norms).")
    grad_clip: float = option(5.0, "Largest norm of the gradient of the per-frame loss.")
    max_bad_batches: int = option(
        10, "Stop after this many batches in a row with a loss or gradient that is not finite."
    )

    ctc_loss_scale: float = option(
        0.2,
        "Weight of the CTC loss beside a transducer's; 0: it is not computed, the CTC head stays "
        "as it is; without a transducer it has 1.",
    )
    prune_range: int = option(
        5, "Label positions in a frame's window of the transducer's lattice; 0: the whole lattice."
    )
    simple_loss_scale: float = option(
        0.5, "Weight of the loss whose alignments choose these windows, after the warm-up."
    )
    am_scale: float = option(0.0, "Share of the encoder alone in that loss's scores, in 0..1.")
    lm_scale: float = option(
        0.25, "Share of the label network alone in that loss's scores, in 0..1."
    )
    rnnt_warm_step: int = option(
        2000,
        "Batches over which the weight of that loss falls from 1, and the weight of the loss in "
        "windows rises from 0.1 to 1.",
    )
    rnnt_type: RnntType = option(
        "regular",
        "regular: any number of labels in a frame; modified: a label or a blank; constrained: at "
        "most one label, and then a blank.",
    )
    fastemit_lambda: float = option(
        0.0, "The gradient of the transducer's label arcs is multiplied by one plus this."
    )
    delay_penalty: float = option(
        0.0,
        "Added to a label's log-probability for each frame that it comes earlier; the "
        "transducer's NLL in the logs has it too.",
    )
    delay_penalty_warm_up: int = option(0, "Batches over which the delay penalty rises from 0.")

    entropy_loss_scale: float = option(
        0.0,
        "The loss of an utterance is NLL - scale * H with H the entropy of its alignments, for "
        "each head: a positive scale rewards entropy, a negative one penalises it.",
    )
    entropy_kind: EntropyKind = option(
        "conditional",
        "H: entropy of the alignments given the transcript in nats; raw: of their unnormalised "
        "weights; per-frame, per-label: the conditional one divided by either count.",
    )
    entropy_warm_up: int = option(0, "Batches over which the scale of the entropy rises from 0.")

    use_bf16: bool | None = option(
        None, "Compute in bfloat16; none: where the processor has instructions for it."
    )
    use_fp16: bool = option(
        False, "Compute in float16 with a scaled loss; for GPUs without bfloat16."
    )
    world_size: int = option(1, "Processes to start; leave at 1 under torchrun.")
    master_port: int = option(12354, "TCP port by which the processes find each other.")
    tensorboard: bool = option(True, "Write curves to exp_dir/tensorboard.")
    log_interval: int = option(50, "Batches between two log lines.")
    valid_interval: int = option(
        0, "Batches between two validations within an epoch; 0: only after each epoch."
    )

    def __post_init__(self) -> None:
        for name in ("num_epochs", "start_epoch", "world_size", "average_period", "log_interval"):
            _at_least(self, name, 1)
        if self.use_fp16 and self.use_bf16:
            raise OptionError("use_fp16: cannot be used together with use_bf16; choose one")
        for name in ("start_batch", "save_every_n", "warm_up", "valid_interval", "weight_decay"):
            _at_least(self, name, 0)
        for name in ("rnnt_warm_step", "entropy_warm_up", "delay_penalty_warm_up"):
            _at_least(self, name, 0)
        for name in ("ctc_loss_scale", "simple_loss_scale", "am_scale", "lm_scale"):
            _at_least(self, name, 0)
        if self.am_scale + self.lm_scale > 1:
            raise OptionError(
                "am_scale: with lm_scale it may not make more than 1, the whole of the scores; "
                f"got {self.am_scale} and {self.lm_scale}"
            )
        if self.prune_range < 0 or self.prune_range == 1:
            raise OptionError(
                f"prune_range: needs at least 2 positions, or 0 for all, got {self.prune_range}"
            )
        for name in ("keep_last_k", "max_bad_batches", "lr_batches"):
            _at_least(self, name, 1)
        for name in ("fastemit_lambda", "delay_penalty"):
            _at_least(self, name, 0)
        if not math.isfinite(self.entropy_loss_scale):
            raise OptionError(f"entropy_loss_scale: needs a number, got {self.entropy_loss_scale}")
        for name in ("base_lr", "lr_epochs", "grad_clip"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name}: needs a number above 0, got {getattr(self, name)}")
        if self.base_lr == math.inf:
            raise OptionError("base_lr: needs a number, got inf")
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed: needs a number from 0 to 2**63 - 1, got {self.seed}")


def _at_least(options: TrainOptions, name: str, smallest: int) -> None:
    if not smallest <= getattr(options, name) < math.inf:  # false for NaN too
        raise OptionError(f"{name}: needs at least {smallest}, got {getattr(options, name)}")
