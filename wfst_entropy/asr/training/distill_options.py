"""What a student is told about its teacher."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from wfst_entropy.asr.options import OptionError, flag_name, option

DistillKind = Literal["conditional", "raw"]

_SCALES = (
    "label_loss_scale",
    "hard_distill_loss_scale",
    "state_distill_loss_scale",
    "seq_distill_loss_scale",
    "fullsum_distill_loss_scale",
)


@dataclasses.dataclass
class DistillOptions:
    r"""The teacher, and the scales of the terms that draw a student to it.

    With y the transcript and :math:`\hat y` the teacher's pseudo-label, each head of the student
    (CTC, transducer) has the loss

    .. math::
        \lambda_{label} NLL(y) + \lambda_{hard} NLL(\hat y) + \lambda_{state} KL_{state}
        + \lambda_{seq} KL_{seq} + \lambda_{fullsum} (\log P_T(y) - \log P_S(y))^2 .

    The last three are those of the transcript, or of the pseudo-label where there is no transcript
    or its scale is 0.

    Raises:
      OptionError: when a value is out of range, or needs another one that is not given.

    >>> DistillOptions().needs_teacher
    False
    >>> DistillOptions(seq_distill_loss_scale=0.01)
    Traceback (most recent call last):
    ...
    wfst_entropy.asr.options.OptionError: seq_distill_loss_scale: compares the student with a
    teacher; give the folder of the teacher's run as --teacher-exp-dir
    """

    teacher_exp_dir: Path | None = option(
        None, "Folder of the teacher's run; its architecture is read from its config.yaml."
    )
    teacher_epoch: int = option(0, "The teacher is epoch-(this).pt; 0 takes the last there is.")
    teacher_avg: int = option(1, "How many epochs of the teacher to average.")
    hard_distill_loss_scale: float = option(
        0.0, "Scale of the NLL of the teacher's transcripts, which --pseudo-labels holds."
    )
    state_distill_loss_scale: float = option(
        0.0,
        "Scale of KL(teacher || student) of the symbols, summed over the frames (CTC) or nodes "
        "(transducer).",
    )
    seq_distill_loss_scale: float = option(
        0.0, "Scale of KL(teacher || student) of the alignments of the transcript."
    )
    fullsum_distill_loss_scale: float = option(
        0.0, "Scale of the squared difference of the two log-likelihoods of the transcript."
    )
    seq_distill_kind: DistillKind = option(
        "conditional",
        "Alignments weighted by their probability given the transcript, or raw, as the paper "
        "prints it: by their probability, which is next to 0 until the teacher fits.",
    )
    distill_temperature: float = option(
        1.0,
        "Divides the logits of both models in the state and seq terms, which are multiplied by "
        "its square.",
    )
    label_loss_scale: float = option(
        1.0, "Scale of the NLL of the transcripts; 0: only the teacher's labels count."
    )
    pseudo_labels: Path | None = option(
        None, "File of the teacher's transcripts, made by pseudo_label.py."
    )

    def __post_init__(self) -> None:
        for name in _SCALES:
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise OptionError(f"{name}: needs 0 or more, got {getattr(self, name)}")
        for name, smallest in (("teacher_epoch", 0), ("teacher_avg", 1)):
            if getattr(self, name) < smallest:
                raise OptionError(f"{name}: needs at least {smallest}, got {getattr(self, name)}")
        if not 0.0 < self.distill_temperature < float("inf"):
            raise OptionError(
                f"distill_temperature: needs a number above 0, got {self.distill_temperature}"
            )
        self._check_teacher()
        self._check_pseudo_labels()

    def _check_teacher(self) -> None:
        wanted = [name for name in _SCALES[2:] if getattr(self, name) > 0]
        if wanted and self.teacher_exp_dir is None:
            raise OptionError(
                f"{wanted[0]}: compares the student with a teacher; give the folder of the "
                "teacher's run as --teacher-exp-dir"
            )
        if self.teacher_exp_dir is not None and not wanted:
            flags = ", ".join(flag_name(name) for name in _SCALES[2:])
            raise OptionError(
                f"teacher_exp_dir: nothing is learnt from the teacher in {self.teacher_exp_dir}; "
                f"set one of {flags} above 0 (pseudo-labels alone need no --teacher-exp-dir)"
            )
        if (
            self.seq_distill_loss_scale > 0
            and self.seq_distill_kind == "raw"
            and self.distill_temperature != 1.0
        ):
            raise OptionError(
                f"distill_temperature: {self.distill_temperature:g} changes how likely the teacher "
                "finds the transcript, by which the raw divergence is weighted; use 1, or "
                "--seq-distill-kind conditional"
            )

    def _check_pseudo_labels(self) -> None:
        if self.pseudo_labels is None and self.hard_distill_loss_scale > 0:
            raise OptionError(
                "hard_distill_loss_scale: needs the teacher's transcripts; make them with "
                "pseudo_label.py and give the file as --pseudo-labels"
            )
        if self.pseudo_labels is None and self.label_loss_scale == 0:
            raise OptionError(
                "label_loss_scale: 0 leaves the transcripts out; give the teacher's instead as "
                "--pseudo-labels (pseudo_label.py makes them)"
            )
        if self.pseudo_labels is not None and not self.distils:
            raise OptionError(
                f"pseudo_labels: nothing is learnt from {self.pseudo_labels}; set "
                "--hard-distill-loss-scale above 0, 1 for the plain NLL"
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher itself is needed, not only its transcripts."""
        return any(getattr(self, name) > 0 for name in _SCALES[2:])

    @property
    def distils(self) -> bool:
        """Whether there is any term beside the NLL of the transcripts.

        >>> DistillOptions().distils
        False
        """
        return any(getattr(self, name) > 0 for name in _SCALES[1:])
