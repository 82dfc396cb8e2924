"""Models as ONNX files, by the names that sherpa-onnx has for them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.export.parts import (
    Chunk,
    CtcOutput,
    PredictorContexts,
    PredictorStep,
    WholeUtterances,
    example_features,
    with_plain_operations,
)
from wfst_entropy.asr.models import AsrModel, ModelOptions, TransducerHead
from wfst_entropy.fsa.atomic_file import replacing

_OPSET = 17


@dataclasses.dataclass
class OnnxFiles:
    """The files of one form of one head.

    Args:
      head: ``ctc`` or ``transducer``.
      streaming: Whether the encoder reads chunks.
      encoder: Of a CTC model, the whole model.
      decoder: The predictor of a transducer.
      joiner: Its joiner.

    >>> OnnxFiles("ctc", False, Path("model.onnx")).paths
    [PosixPath('model.onnx')]
    """

    head: str
    streaming: bool
    encoder: Path
    decoder: Path | None = None
    joiner: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.encoder, self.decoder, self.joiner) if path is not None]


@torch.no_grad()
def export_onnx(
    model: AsrModel, options: ModelOptions, folder: Path, suffix: str, extractor: str = "lhotse"
) -> list[OnnxFiles]:
    """Write a model as ONNX files.

    A CTC head gives ``model-{suffix}.onnx``, a transducer ``encoder-``, ``decoder-`` and
    ``joiner-{suffix}.onnx``. Of a causal model there are also streaming files, with
    ``-chunk-C-left-L`` in their names: the encoder then reads one chunk, and has its states among
    its inputs and outputs. The number of streams is free, and offline the number of frames.

    Args:
      model: The model, on the CPU, in evaluation mode; streaming has the chunk that it has.
      options: Its options.
      folder: Where the files go.
      suffix: Such as ``epoch-3-avg-1``.
      extractor: What made the features that it was trained on, for the metadata.

    Returns:
      The files.

    Raises:
      ExportError: when onnx is not installed, or cannot express the model.
      OptionError: when the model is causal but its chunk or left context has no limit.
    """
    _onnx()
    plain = with_plain_operations(model).eval()
    common = _metadata(model, options, extractor)
    written = []
    for streaming in (False, True) if model.encoder.causal else (False,):
        end = suffix
        if streaming:
            encoder = model.encoder
            end += f"-chunk-{encoder.chunk_size}-left-{encoder.left_context_frames}"
        if plain.ctc_output is not None:
            path = folder / f"model-{end}.onnx"
            _export_encoder(
                plain, CtcOutput(plain.ctc_output), streaming, path, common, "log_probs"
            )
            written.append(OnnxFiles("ctc", streaming, path))
        if plain.transducer is not None:
            paths = [folder / f"{name}-{end}.onnx" for name in ("encoder", "decoder", "joiner")]
            projection = plain.transducer.joiner.encoder_proj
            _export_encoder(plain, projection, streaming, paths[0], common, "encoder_out")
            _export_predictor(plain.transducer, paths[1], common)
            _export_joiner(plain.transducer, paths[2], common)
            written.append(OnnxFiles("transducer", streaming, *paths))
    return written


def quantize(files: OnnxFiles) -> OnnxFiles:
    """Write ``*.int8.onnx`` beside files: weights of 8 bits, quantised when they are used.

    Args:
      files: Those of :func:`export_onnx`.

    Returns:
      The new files.

    Raises:
      ExportError: when onnxruntime is not installed.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise _missing("onnxruntime", error) from error
    smaller: dict[str, Any] = {}
    for name in ("encoder", "decoder", "joiner"):
        path = getattr(files, name)
        if path is None:
            continue
        smaller[name] = path.with_suffix(".int8.onnx")
        with replacing(smaller[name]) as file, _quiet_logs():
            quantize_dynamic(
                path,
                file.name,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
            )
    return dataclasses.replace(files, **smaller)


def _metadata(model: AsrModel, options: ModelOptions, extractor: str) -> dict[str, str]:
    return {
        "model_type": str(options.encoder),
        "version": "1",
        "model_author": "wfst-entropy",
        "vocab_size": str(model.vocab_size),
        "blank_id": "0",
        "subsampling_factor": str(model.subsampling_factor),
        "feature_dim": str(options.feature_dim),
        "feature_extractor": extractor,
        "sample_rate": "16000",
        "frame_shift_ms": "10",
        "frame_length_ms": "25",
        "normalize_samples": "1",  # samples lie in [-1, 1]
    }


def _export_encoder(
    model: AsrModel,
    output: nn.Module,
    streaming: bool,
    path: Path,
    common: dict[str, str],
    name: str,
) -> None:
    lengths = "log_probs_len" if name == "log_probs" else f"{name}_lens"
    axes = {"x": {0: "N"}, "x_lens": {0: "N"}, name: {0: "N"}, lengths: {0: "N"}}
    if not streaming:
        axes["x"][1], axes[name][1] = "T", "T_out"
        example = example_features(model, 24 * model.subsampling_factor)
        part: nn.Module = WholeUtterances(model, output)
        _export(part, example, ["x", "x_lens"], [name, lengths], axes, path, common)
        return
    states = model.initial_states(2, "cpu")
    before = [f"state_{i}" for i in range(len(states))]
    after = [f"new_{state}" for state in before]
    axes |= {state: {0: "N"} for state in (*before, *after)}
    chunk_frames = str(model.chunk_frames)
    chunk = {
        "T": chunk_frames,
        "decode_chunk_len": chunk_frames,
        "chunk_size": str(model.encoder.chunk_size),
        "left_context_len": str(model.encoder.left_context_frames),
    }
    _export(
        Chunk(model, output),
        (*example_features(model, model.chunk_frames), states),
        ["x", "x_lens", *before],
        [name, lengths, *after],
        axes,
        path,
        common | chunk,
    )


def _export_predictor(head: TransducerHead, path: Path, common: dict[str, str]) -> None:
    if head.context_size is not None:
        tokens = torch.zeros(2, head.context_size, dtype=torch.int64)
        _export(
            PredictorContexts(head),
            (tokens,),
            ["y"],
            ["decoder_out"],
            {"y": {0: "N"}, "decoder_out": {0: "N"}},
            path,
            common | {"context_size": str(head.context_size)},
        )
        return
    states, after = ["h", "c"], ["next_h", "next_c"]
    names = ["y", *states, "decoder_out", *after]
    _export(
        PredictorStep(head),
        (torch.tensor([1, 0]), head.start(2)[1]),
        ["y", *states],
        ["decoder_out", *after],
        {name: {0: "N"} for name in names},
        path,
        common,
    )


def _export_joiner(head: TransducerHead, path: Path, common: dict[str, str]) -> None:
    width = head.joiner.output.in_features
    names = ["encoder_out", "decoder_out"]
    _export(
        head.joiner.eval(),
        (torch.zeros(2, width), torch.zeros(2, width)),
        names,
        ["logit"],
        {name: {0: "N"} for name in (*names, "logit")},
        path,
        common | {"joiner_dim": str(width)},
    )


def _export(
    part: nn.Module,
    example: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
    path: Path,
    metadata: dict[str, str],
) -> None:
    onnx = _onnx()
    buffer = io.BytesIO()
    # The exporter by tracing: the one by torch.export fixes the number of frames of an LSTM.
    by_tracing: dict[str, Any] = {"dynamo": False} if _has_dynamo() else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                part,
                example,
                cast(Any, buffer),
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=_OPSET,
                **by_tracing,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = str(error).splitlines()[0]
        raise ExportError(f"{path}: ONNX cannot express this model: {cause}") from error
    content = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(content, metadata)
    with replacing(path) as file:
        file.write(content.SerializeToString())


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Without advice about a step that does not apply to these models."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _has_dynamo() -> bool:
    return "dynamo" in inspect.signature(torch.onnx.export).parameters


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise _missing("onnx", error) from error
    return onnx


def _missing(package: str, error: ImportError) -> ExportError:
    return ExportError(
        f"{package} is not installed ({error}); ONNX files need it: "
        "pip install 'wfst-entropy[export]'"
    )
