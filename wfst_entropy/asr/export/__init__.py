"""Trained models as files for other programs: parameters, TorchScript, ONNX, torch.export."""

from __future__ import annotations

from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.export.export_options import ExportOptions
from wfst_entropy.asr.export.onnx_files import OnnxFiles, export_onnx, quantize
from wfst_entropy.asr.export.onnx_model import OnnxModel, OnnxTransducer
from wfst_entropy.asr.export.program_model import ProgramModel
from wfst_entropy.asr.export.scripted_model import ScriptedModel
from wfst_entropy.asr.export.torch_program import export_programs
from wfst_entropy.asr.export.torchscript import export_torchscript, load_torchscript

__all__ = [
    "ExportError",
    "ExportOptions",
    "OnnxFiles",
    "OnnxModel",
    "OnnxTransducer",
    "ProgramModel",
    "ScriptedModel",
    "export_onnx",
    "export_programs",
    "export_torchscript",
    "load_torchscript",
    "quantize",
]
