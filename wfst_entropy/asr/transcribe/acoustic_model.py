"""From audio or features to frame scores, with the model of a run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import Reads
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.transcribe.inputs import SAMPLING_RATE, Matrix, Waveform
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.fsa.errors import FsaError


class AcousticModel:
    """The trained model of a run, with the features that it was trained on.

    Args:
      options: which model; its `decoding_method` does not matter.

    Attributes:
      lang_dir: the lang directory that it was trained with.
      frame_shift: seconds from one frame of the scores to the next.

    Raises:
      FsaError: there is no such run or checkpoint, or it is damaged.
    """

    def __init__(self, options: DecodeOptions) -> None:
        options = options.resolved()
        self._model, config = load_model(
            options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
        )
        self._extractor_name = config.data.extractor
        self._feature_dim = config.model.feature_dim
        self._trained_tokens = options.exp_dir / "tokens.txt"
        self.lang_dir: Path = config.data.lang_dir
        self.frame_shift = 0.01 * self._model.subsampling_factor

    def check_tokens(self, lang_dir: Path) -> None:
        """Refuses a lang directory that numbers tokens otherwise than the run.

        Raises:
          DataError: with the first difference.
        """
        trained, here = (
            path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            for path in (self._trained_tokens, lang_dir / "tokens.txt")
        )
        # graphs may have added disambiguation symbols at the end
        here = [line for line in here if not line.startswith("#")]
        if trained and here != [line for line in trained if not line.startswith("#")]:
            pairs = zip([*trained, "nothing"], [*here, "nothing"])
            before, now = next(pair for pair in pairs if pair[0] != pair[1])
            raise DataError(
                f"{lang_dir / 'tokens.txt'} has '{now}' where the model was trained with "
                f"'{before}'; give the lang directory of the model: --lang-dir"
            )

    @property
    def transducer(self) -> Transducer | None:
        """Its transducer head, if it has one."""
        return self._model.transducer

    def check_head(self, reads: Reads) -> None:
        """Refuses a search of an output that the model has not.

        Raises:
          OptionError: saying which it has.
        """
        if reads == "ctc_log_probs" and self._model.ctc_output is None:
            raise OptionError(
                "method: the model was trained without a CTC output; decode with its transducer, "
                "greedy_search or modified_beam_search"
            )

    @torch.inference_mode()
    def scores(self, content: Waveform | Matrix, reads: Reads) -> Tensor:
        """The model's output for audio or features `(T, F)`, float32.

        Args:
          content: of one utterance.
          reads: which: log-probabilities `(T', C)` of the CTC head, or the encoder's `(T', D)`.

        Raises:
          DataError: features are of another dimension, or not finite; FsaError: the model refuses
            them.
        """
        features = self._features(content)
        if features.shape[1] != self._feature_dim:
            raise DataError(
                f"features have dimension {features.shape[1]}, the model needs {self._feature_dim}"
            )
        if not bool(features.isfinite().all()):
            raise DataError("features have NaN or infinity; is the audio damaged?")
        if not len(features):
            size = self._model.vocab_size if reads == "ctc_log_probs" else 1
            return features.new_zeros(0, size)
        try:
            encoder_out, lengths = self._model.forward_encoder(
                features[None], torch.tensor([len(features)])
            )
        except RuntimeError as error:
            raise FsaError(f"the model cannot read {len(features)} frames: {error}") from error
        encoder_out = encoder_out[:, : int(lengths[0])]
        return (
            self._model.ctc_log_probs(encoder_out) if reads == "ctc_log_probs" else encoder_out
        )[0]

    def _features(self, content: Waveform | Matrix) -> Tensor:
        if isinstance(content, Matrix):
            return content.values
        from wfst_entropy.asr.data.fbank import make_extractor

        # less than a window of 25 ms has no frame
        if len(content.samples) < SAMPLING_RATE // 40:
            return torch.zeros(0, self._feature_dim)
        extractor = make_extractor(self._extractor_name, self._feature_dim)
        features = extractor.extract(content.samples.numpy(), SAMPLING_RATE)
        return torch.as_tensor(features, dtype=torch.float32)
