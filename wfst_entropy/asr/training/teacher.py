"""The teacher of a distillation: a trained model that is only asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.checkpoint import last_epoch, load_model
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.run_config import refuse_other_tokens
from wfst_entropy.losses.ctc import ctc_loss
from wfst_entropy.losses.rnnt import rnnt_loss
from wfst_entropy.losses.rnnt_prune import do_rnnt_pruning


class Teacher:
    """A trained model in evaluation mode, whose parameters no gradient reaches.

    It is no ``nn.Module``, so that whatever owns it neither trains, saves nor synchronises it.
    What it returns has no gradient, but may be kept for one: that is why it computes without
    gradients, and not in torch's inference mode.

    Args:
      model: The model; it is changed to evaluation mode.
      name: What to call it in messages, such as the folder of its run.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(encoder_dim=8, num_layers=1, vocab_size=5))
    >>> teacher = Teacher(model, "exp/teacher")
    >>> encoder_out, lengths = teacher.encode(torch.zeros(1, 12, 80), torch.tensor([12]))
    >>> teacher.ctc_log_probs(encoder_out).requires_grad, lengths
    (False, tensor([3]))
    """

    def __init__(self, model: AsrModel, name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name

    @property
    def heads(self) -> tuple[str, ...]:
        """Which of ``ctc`` and ``transducer`` it has."""
        found = {"ctc": self.model.ctc_output, "transducer": self.model.transducer}
        return tuple(name for name, head in found.items() if head is not None)

    @torch.no_grad()
    def encode(self, features: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder frames ``(N, T', D)``, and their number ``(N,)`` on the CPU.

        The model follows to the device of the features.
        """
        self.model.to(features.device)
        encoder_out, lengths = self.model.forward_encoder(features, num_frames)
        return encoder_out, lengths.cpu()

    @torch.no_grad()
    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """Log-probabilities of the CTC head ``(N, T', C)``, float32."""
        return self.model.ctc_log_probs(encoder_out)

    @torch.no_grad()
    def logits(self, encoder_out: Tensor, targets: Tensor, ranges: Tensor | None) -> Tensor:
        """Logits of the joiner ``(N, T', U + 1, C)``, or in windows ``(N, T', S, C)``, float32.

        Args:
          encoder_out: ``(N, T', D)``.
          targets: ``(N, U)``.
          ranges: ``(N, T', S)``, the label positions in the windows; None for all.
        """
        head = self.model.transducer
        assert head is not None  # the distiller looked
        am = head.joiner.encoder_proj(encoder_out)
        lm = head.joiner.decoder_proj(head.predictor(targets))
        if ranges is None:
            logits: Tensor = head.joiner(am.unsqueeze(2), lm.unsqueeze(1))
        else:
            logits = head.joiner(*do_rnnt_pruning(am, lm, ranges))
        return logits if logits.dtype == torch.float64 else logits.float()

    @torch.no_grad()
    def nll(
        self,
        head: str,
        encoder_out: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        rnnt_type: str = "regular",
    ) -> Tensor:
        """Negative log-likelihoods of label sequences ``(N,)``, nats, over the teacher's frames.

        A transducer is asked for one utterance at a time, whose whole lattice is no large tensor.

        Args:
          head: ``ctc`` or ``transducer``.
          encoder_out: ``(N, T', D)``.
          lengths: ``(N,)``, its frames.
          targets: ``(N, U)``.
          target_lengths: ``(N,)``, labels.
          rnnt_type: See `rnnt_loss`.
        """
        if head == "ctc":
            log_probs = self.ctc_log_probs(encoder_out)
            with torch.autocast(log_probs.device.type, enabled=False):
                return ctc_loss(log_probs, targets, lengths, target_lengths, reduction="none")
        each = []
        for n, (frames, labels) in enumerate(zip(lengths.tolist(), target_lengths.tolist())):
            row = targets[n : n + 1, :labels]
            logits = self.logits(encoder_out[n : n + 1, :frames], row, None)
            with torch.autocast(logits.device.type, enabled=False):
                lattice = (logits, row, [frames], [labels])
                each.append(rnnt_loss(*lattice, reduction="sum", rnnt_type=rnnt_type))
        return torch.stack(each)


def resolved(options: DistillOptions) -> DistillOptions:
    """The same options, with the number of the teacher's last epoch in place of 0.

    Raises:
      OptionError: when the folder has no epochs.

    >>> resolved(DistillOptions()).teacher_epoch
    0
    """
    if options.teacher_exp_dir is None or options.teacher_epoch > 0:
        return options
    epoch = last_epoch(options.teacher_exp_dir)
    if epoch is None:
        raise OptionError(
            f"teacher_exp_dir: {options.teacher_exp_dir} has no epoch-N.pt; train the teacher "
            "first, or give the folder of another run"
        )
    return dataclasses.replace(options, teacher_epoch=epoch)


def load_teacher(options: DistillOptions, lang_dir: Path) -> Teacher:
    """The averaged model of the teacher's run, as `decode.py` takes it.

    Args:
      options: ``teacher_exp_dir``, ``teacher_epoch``, ``teacher_avg``.
      lang_dir: The student's; both must have the same tokens.

    Raises:
      CheckpointError: when a checkpoint is missing or damaged.
      OptionError: when there is no run, or its tokens are others; with the first that differs.
    """
    folder = options.teacher_exp_dir
    assert folder is not None  # whoever calls this looked
    epoch = resolved(options).teacher_epoch
    model, config = load_model(folder, epoch, options.teacher_avg)
    if not (folder / "tokens.txt").is_file():
        raise OptionError(
            f"teacher_exp_dir: {folder / 'tokens.txt'} is missing, so nobody knows whether teacher "
            f"and student have the same tokens; copy it from {config.data.lang_dir}, with which "
            "the teacher was trained"
        )
    refuse_other_tokens(folder, lang_dir)
    return Teacher(model, str(folder))
