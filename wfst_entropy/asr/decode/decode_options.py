"""Which model decodes, and by which method."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typing_extensions import Self

from wfst_entropy.asr.models import AsrModel, ModelOptions
from wfst_entropy.asr.options import OptionError, option
from wfst_entropy.asr.search.methods import METHODS, method_for, method_name
from wfst_entropy.asr.training.checkpoint import last_epoch


@dataclasses.dataclass
class DecodeOptions:
    """Which model decodes, and by which method.

    Raises:
      OptionError: when a value is out of range or a decoding method is unknown.

    >>> DecodeOptions(decoding_method="ctc_greedy_search").decoding_method
    'ctc-greedy-search'
    """

    exp_dir: Path = option(Path("exp"), "Folder of the run.")
    epoch: int = option(0, "Decode with epoch-(this).pt; 0 takes the last one that is there.")
    iter: int = option(0, "Above 0: decode with checkpoint-(this).pt instead of an epoch.")
    avg: int = option(1, "Epochs (or, with --iter, checkpoints) to average.")
    use_averaged_model: bool = option(
        True, "Average over all batches of these epochs, instead of over the ends of the epochs."
    )
    decoding_method: str = option(
        "",
        f"The search: {', '.join(METHODS)}. Empty: the greedy search of the model's transducer, or "
        "else of its CTC head.",
    )
    chunk_size: int | None = option(
        None,
        "Decode as a stream is: encoder frames in one chunk, -1 for the whole utterance; none: as "
        "the model has it.",
    )
    left_context_frames: int | None = option(
        None, "Encoder frames before its chunk that a frame attends to, -1 for all."
    )

    def __post_init__(self) -> None:
        if self.decoding_method:
            self.decoding_method = method_name(self.decoding_method)
        for name, smallest in (("epoch", 0), ("iter", 0), ("avg", 1)):
            if getattr(self, name) < smallest:
                raise OptionError(f"{name}: needs at least {smallest}, got {getattr(self, name)}")
        if self.epoch > 0 and self.iter > 0:
            raise OptionError(
                f"iter: --epoch {self.epoch} and --iter {self.iter} name two models; give one"
            )

    @property
    def res_dir(self) -> Path:
        """Where results go: `{exp_dir}/{decoding_method}`.

        Raises:
          OptionError: there is no method yet; see `for_model`.
        """
        if not self.decoding_method:
            raise OptionError(f"decoding_method: needs one of {', '.join(METHODS)}")
        return self.exp_dir / self.decoding_method

    @property
    def suffix(self) -> str:
        """The end of the names of result files, as icefall makes it.

        >>> DecodeOptions(epoch=6, avg=2).suffix
        'epoch-6-avg-2-use-averaged-model'
        """
        parts = [f"iter-{self.iter}" if self.iter > 0 else f"epoch-{self.epoch}"]
        parts.append(f"avg-{self.avg}")
        if self.chunk_size is not None:
            parts.append(f"chunk-{self.chunk_size}")
        if self.left_context_frames is not None:
            parts.append(f"left-context-{self.left_context_frames}")
        if self.use_averaged_model:
            parts.append("use-averaged-model")
        return "-".join(parts)

    def for_model(self, model: ModelOptions) -> Self:
        """The same options, with a method for the model's heads.

        Raises:
          OptionError: the method that was asked for reads a head that the model has not.

        >>> DecodeOptions().for_model(ModelOptions(use_transducer=True)).decoding_method
        'greedy_search'
        """
        method = method_for(self.decoding_method, model.use_ctc, model.use_transducer)
        return dataclasses.replace(self, decoding_method=method)

    def choose_chunks(self, model: AsrModel) -> None:
        """Let a causal model see chunks of the size that was asked for, if one was.

        Raises:
          OptionError: the model looks ahead, or the size is out of range.
        """
        given = (self.chunk_size, self.left_context_frames)
        if given != (None, None):
            own = (model.encoder.chunk_size, model.encoder.left_context_frames)
            chunk_size, left = (b if a is None else a for a, b in zip(given, own, strict=True))
            model.set_chunk(chunk_size, left)

    def resolved(self) -> Self:
        """The same options, with the number of the last epoch in place of 0.

        Raises:
          OptionError: the folder has no epochs.
        """
        if self.epoch > 0 or self.iter > 0:
            return self
        epoch = last_epoch(self.exp_dir)
        if epoch is None:
            raise OptionError(
                f"exp_dir: {self.exp_dir} has no epoch-N.pt; train first (run.sh), or give the "
                "folder of another run"
            )
        return dataclasses.replace(self, epoch=epoch)
