"""Exported ONNX files as a model: the same methods, so that the same searches decode with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wfst_entropy.asr.export.chunk_by_chunk import encode_in_chunks
from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.export.onnx_files import OnnxFiles
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


class OnnxModel:
    """A CTC model or a transducer in ONNX files.

    It has the methods of :class:`wfst_entropy.asr.models.AsrModel`; with streaming files,
    :meth:`forward_encoder` reads utterances chunk by chunk.

    Args:
      files: Those of one head and form.
      num_threads: Threads of one operation.

    Attributes:
      metadata: What the encoder's file says of itself.
      transducer: The head of a transducer, None of a CTC model.

    Raises:
      ExportError: when onnxruntime is not installed, or a file is missing, damaged, or was not made
        by :func:`wfst_entropy.asr.export.export_onnx`.
    """

    def __init__(self, files: OnnxFiles, num_threads: int = 1) -> None:
        self._session = _Session(files.encoder, num_threads)
        self.metadata = self._session.metadata
        self.streaming = files.streaming
        self.subsampling_factor = self._session.number("subsampling_factor")
        self.vocab_size = self._session.number("vocab_size")
        self._feature_dim = self._session.number("feature_dim")
        self.transducer: OnnxTransducer | None = None
        if files.decoder is not None and files.joiner is not None:
            decoder = _Session(files.decoder, num_threads)
            self.transducer = OnnxTransducer(decoder, _Session(files.joiner, num_threads))

    @property
    def chunk_frames(self) -> int:
        """Feature frames in one chunk.

        Raises:
          ExportError: when the files are not streaming ones.
        """
        self._check_streaming()
        return self._session.number("T")

    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whole utterances ``(N, T, F)`` and ``(N,)`` to encoder frames and their numbers.

        Encoder frames of a transducer are projected to the joiner's size ``(N, T', J)``; those of a
        CTC model are log-probabilities ``(N, T', C)``.
        """
        self._check_features(features, lengths)
        if self.streaming:
            return encode_in_chunks(self, features, lengths)
        encoder_out, out_lengths = self._session.run(features, lengths)
        return encoder_out, out_lengths

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same as :meth:`forward_encoder`."""
        return self.forward_encoder(features, lengths)

    __call__ = forward

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """What :meth:`forward_encoder` of a CTC model returned; the file has the output in it.

        Raises:
          ExportError: when these are the files of a transducer.
        """
        if self.transducer is not None:
            raise ExportError(
                f"{self._session.path}: is the encoder of a transducer; load model-*.onnx for CTC"
            )
        return encoder_out

    def initial_states(self, batch_size: int, device: torch.device | str = "cpu") -> list[Tensor]:
        """What new streams carry; every tensor has the streams in its first dimension."""
        self._check_streaming()
        return [state.to(device) for state in self._session.zeros(batch_size, skip=2)]

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The next frames of streams, at most :attr:`chunk_frames`; a shorter row is the last.

        Returns:
          As :meth:`forward_encoder`, and the states to give to the next call.

        Raises:
          FsaValueError: the chunk is longer.
        """
        self._check_features(features, lengths)
        missing = self.chunk_frames - features.size(1)
        if missing < 0:
            raise FsaValueError(
                f"features: {self._session.path} reads chunks of {self.chunk_frames} frames, got "
                f"{features.size(1)}; give so many at a time"
            )
        # the file has chunks of one size; frames beyond lengths are not read
        features = F.pad(features, (0, 0, 0, missing))
        encoder_out, out_lengths, *states = self._session.run(features, lengths, *states)
        return encoder_out, out_lengths, states

    def to(self, device: torch.device | str) -> OnnxModel:
        """The model itself, which runs on the CPU.

        Raises:
          ExportError: for another device.
        """
        if torch.device(device).type != "cpu":
            raise ExportError(f"{self._session.path}: runs on the CPU only, asked for {device}")
        return self

    def eval(self) -> OnnxModel:
        """The model itself."""
        return self

    def _check_streaming(self) -> None:
        if not self.streaming:
            raise ExportError(
                f"{self._session.path}: reads whole utterances; load the file with -chunk- in its "
                "name for streams"
            )

    def _check_features(self, features: Tensor, lengths: Tensor) -> None:
        if features.dim() != 3 or features.size(2) != self._feature_dim or not features.size(1):
            raise FsaValueError(
                f"features: {self._session.path} needs (N, T, {self._feature_dim}) with at least "
                f"one frame, got {tuple(features.shape)}"
            )
        if lengths.shape != features.shape[:1]:
            raise FsaValueError(
                f"lengths: needs one number for each of the {features.size(0)} rows of features, "
                f"got shape {tuple(lengths.shape)}"
            )


class OnnxTransducer:
    """Predictor and joiner in ONNX files; see :class:`wfst_entropy.decoding.transducer.Transducer`.

    Args:
      decoder: The predictor's file.
      joiner: The joiner's.
    """

    def __init__(self, decoder: _Session, joiner: _Session) -> None:
        self._decoder = decoder
        self._joiner = joiner
        self.context_size = (
            decoder.number("context_size") if "context_size" in decoder.metadata else None
        )

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """The encoder frames themselves: the encoder's file has the projection in it."""
        return encoder_out

    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        """Projected predictor output ``(n, J)`` before any label, and its state."""
        if self.context_size is not None:
            last = torch.zeros(n, self.context_size, dtype=torch.int64)
            return self.contexts(last[:1]).expand(n, -1), [last]
        state = self._decoder.zeros(1, skip=1)
        lm, *state = self._decoder.run(torch.zeros(1, dtype=torch.int64), *state)
        return lm.expand(n, -1), [value.expand(n, *value.shape[1:]) for value in state]

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Projected predictor output ``(n, J)`` after the labels ``(n,)``, and its state."""
        if self.context_size is not None:
            last = torch.cat([state[0][:, 1:], tokens.unsqueeze(1)], dim=1)
            return self.contexts(last), [last]
        lm, *state = self._decoder.run(tokens, *state)
        return lm, state

    def contexts(self, tokens: Tensor) -> Tensor:
        """Projected predictor outputs ``(m, J)`` after the last labels ``(m, context_size)``.

        Raises:
          FsaTypeError: when the predictor depends on all labels.
        """
        if self.context_size is None:
            raise FsaTypeError(
                f"contexts: the predictor {self._decoder.path} depends on all labels; use start "
                "and step"
            )
        (lm,) = self._decoder.run(tokens)
        return lm

    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        """Log-probabilities of the next token ``(n, C)``, float32, of projected inputs."""
        (logits,) = self._joiner.run(*torch.broadcast_tensors(am, lm))
        return logits.log_softmax(dim=-1)

    def cpu(self) -> OnnxTransducer:
        """The head itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxTransducer:
        return self  # nothing of it ever changes


class _Session:
    """A file that runs on torch's tensors."""

    def __init__(self, path: Path, num_threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportError(
                f"onnxruntime is not installed ({error}); ONNX files need it: "
                "pip install 'wfst-entropy[export]'"
            ) from error
        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        try:
            content = path.read_bytes()
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime has exceptions of its own for each of its error codes, without a base class
        except Exception as error:
            cause = str(error).splitlines()[0]
            raise ExportError(f"{path}: cannot be read as an ONNX model ({cause})") from error
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def number(self, key: str) -> int:
        """An entry of the metadata."""
        try:
            return int(self.metadata[key])
        except (KeyError, ValueError) as error:
            raise ExportError(
                f"{self.path}: its metadata have no number {key!r}; make it with export.py"
            ) from error

    def run(self, *values: Tensor) -> list[Tensor]:
        if len(values) != len(self.inputs):
            raise FsaValueError(
                f"{self.path}: needs {len(self.inputs)} inputs ({', '.join(self.inputs)}), got "
                f"{len(values)}"
            )
        feeds = {
            name: value.contiguous().numpy()
            for name, value in zip(self.inputs, values, strict=True)
        }
        return [torch.from_numpy(value) for value in self._session.run(None, feeds)]

    def zeros(self, batch_size: int, skip: int) -> list[Tensor]:
        """Zeros for all inputs but the first ones."""
        types = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64}
        nodes: Sequence[Any] = self._session.get_inputs()[skip:]
        return [torch.zeros(batch_size, *node.shape[1:], dtype=types[node.type]) for node in nodes]
