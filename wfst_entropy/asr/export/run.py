"""Export the model of a run, and check what was written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.environment import environment
from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.export.export_options import ExportOptions
from wfst_entropy.asr.export.onnx_files import OnnxFiles, export_onnx, quantize
from wfst_entropy.asr.export.onnx_model import OnnxModel
from wfst_entropy.asr.export.parity import (
    Candidate,
    ExportedModel,
    Parity,
    check_parity,
    write_report,
)
from wfst_entropy.asr.export.program_model import ProgramModel
from wfst_entropy.asr.export.scripted_model import ScriptedModel
from wfst_entropy.asr.export.torch_program import export_programs
from wfst_entropy.asr.export.torchscript import export_torchscript
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.search.method import SearchMethod, SearchSetup
from wfst_entropy.asr.search.methods import METHODS, make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.training.checkpoint import load_model, save_checkpoint
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.lang import LangDir

logger = logging.getLogger(__name__)

_READS = {"ctc": "ctc_log_probs", "transducer": "encoder_out"}
_GREEDY = {"ctc": "ctc-greedy-search", "transducer": "greedy_search"}


@dataclasses.dataclass
class Exported:
    """What was written.

    Args:
      paths: All files.
      torchscript: The TorchScript file, or None.
      onnx: The ONNX files.
      int8: Those with weights of 8 bits.
      programs: Those of ``torch.export``.

    >>> Exported([]).onnx
    []
    """

    paths: list[Path]
    torchscript: Path | None = None
    onnx: list[OnnxFiles] = dataclasses.field(default_factory=list)
    int8: list[OnnxFiles] = dataclasses.field(default_factory=list)
    programs: list[Path] = dataclasses.field(default_factory=list)


def load_for_export(options: DecodeOptions) -> tuple[AsrModel, RunConfig]:
    """The model of a run, with the chunk that was asked for."""
    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
    )
    options.choose_chunks(model)
    return model, config


def export_model(
    model: AsrModel, config: RunConfig, options: DecodeOptions, export: ExportOptions
) -> Exported:
    """Write the files that were asked for.

    Args:
      model: Of :func:`load_for_export`.
      config: Likewise.
      options: Which model this is.
      export: Which files to write.

    Raises:
      FsaError: when a file cannot be written, or the model not be expressed.
      OptionError: when a causal model has a chunk or a left context without end; no file is
        written then, but for ``pretrained`` alone.
    """
    if model.encoder.causal and set(export.formats) - {"pretrained"}:
        # chunks and left contexts that no stream has are refused before anything is written
        model.initial_states(1, "cpu")
        logger.info("streaming files read %d feature frames at a time", model.chunk_frames)
    folder = export.export_dir or options.exp_dir
    folder.mkdir(parents=True, exist_ok=True)
    number = f"iter-{options.iter}" if options.iter > 0 else f"epoch-{options.epoch}"
    done = Exported([])
    if "pretrained" in export.formats:
        done.paths.append(folder / "pretrained.pt")
        save_checkpoint(done.paths[-1], {"model": model.state_dict()})
    if "jit" in export.formats:
        done.torchscript = folder / "jit_script.pt"
        export_torchscript(model, done.torchscript)
        done.paths.append(done.torchscript)
    if "onnx" in export.formats:
        suffix = f"{number}-avg-{options.avg}"
        done.onnx = export_onnx(model, config.model, folder, suffix, config.data.extractor)
        done.int8 = [quantize(files) for files in done.onnx] if export.int8 else []
        done.paths += [path for files in (*done.onnx, *done.int8) for path in files.paths]
    if "torch-export" in export.formats:
        done.programs, left_out = export_programs(model, folder)
        done.paths += done.programs
        for reason in left_out:
            logger.warning("%s", reason)
    return done


def check_export(
    model: AsrModel,
    exported: Exported,
    options: DecodeOptions,
    export: ExportOptions,
    data: DataOptions,
    search: SearchOptions,
    on_batch: Callable[[int], None] = lambda number: None,
) -> tuple[dict[str, list[Parity]], Path]:
    """Decode the test sets with the model and with what was exported, and write the report.

    Args:
      model: The original.
      exported: What :func:`export_model` wrote.
      options: Which model this is, and how to search.
      export: ``check_on``.
      data: Where the sets are.
      search: Beams and graphs of the search.
      on_batch: Told the number of utterances after each batch.

    Returns:
      What was found in each set, and the report's file.

    Raises:
      ExportError: the lang directory has other tokens than the model.
    """
    tokenizer = load_tokenizer(data.lang_dir)
    if tokenizer.vocab_size != model.vocab_size:
        raise ExportError(
            f"--lang-dir {data.lang_dir}: has {tokenizer.vocab_size} tokens, the model "
            f"{model.vocab_size}; give the lang directory that it was trained with"
        )
    module = AsrDataModule(data, model.subsampling_factor)
    if export.check_on == "dev":
        data = dataclasses.replace(data, test_parts=tuple(module.parts("dev")))
        module = AsrDataModule(data, model.subsampling_factor)
    setup = SearchSetup(tokenizer, LangDir(data.lang_dir), search, search.scales())
    candidates = _candidates(model, exported, options.decoding_method, setup)
    found = {
        name: check_parity(model, candidates, batches, tokenizer, on_batch)
        for name, batches in module.test_sets().items()
    }
    folder = export.export_dir or options.exp_dir
    path = folder / f"export-parity-{options.suffix}.json"
    about = {"exp_dir": str(options.exp_dir), "model": options.suffix, "environment": environment()}
    write_report(path, found, about)
    return found, path


def _candidates(
    model: AsrModel, exported: Exported, method: str, setup: SearchSetup
) -> list[Candidate]:
    """Every exported form of every head."""

    def candidate(
        name: str, head: str, other: ExportedModel, paths: list[Path], exact: bool = True
    ) -> Candidate:
        def search(transducer: Transducer | None) -> SearchMethod:
            chosen = _method_of(method, head)
            # the greedy search that stands for a method of the other head has none of its options
            options = setup.options if chosen == method else SearchOptions()
            own = dataclasses.replace(setup, options=options, transducer=transducer)
            return make_method(chosen, own)

        files = {path.name: path.stat().st_size for path in paths}
        searches = (search(other.transducer), search(model.transducer))
        return Candidate(name, head, other, *searches, files, exact)

    candidates = []
    parts = {"ctc": model.ctc_output, "transducer": model.transducer}
    heads = [head for head, part in parts.items() if part is not None]
    if exported.torchscript is not None:
        for streaming in (False, True) if model.encoder.causal else (False,):
            scripted = ScriptedModel(exported.torchscript, streaming)
            name = f"TorchScript{', chunk by chunk' if streaming else ''}"
            candidates += [candidate(name, h, scripted, [exported.torchscript]) for h in heads]
    for path in exported.programs:
        program = ProgramModel(path, model, streaming="-chunk-" in path.name)
        name = f"torch.export{', chunk by chunk' if program.streaming else ''}"
        candidates += [candidate(name, h, program, [path]) for h in heads]
    for kind, written in (("ONNX", exported.onnx), ("ONNX int8", exported.int8)):
        for files in written:
            name = f"{kind}{', chunk by chunk' if files.streaming else ''}"
            other = OnnxModel(files)
            exact = kind == "ONNX"
            candidates.append(candidate(name, files.head, other, files.paths, exact))
    return candidates


def _method_of(method: str, head: str) -> str:
    """The method that was asked for if it is for this head, or else the greedy search."""
    if method and METHODS[method].reads == _READS[head]:
        return method
    return _GREEDY[head]
