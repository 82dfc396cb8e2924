"""What to export, and on what to check it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from wfst_entropy.asr.options import option

ExportFormat = Literal["pretrained", "jit", "onnx", "torch-export"]


@dataclasses.dataclass
class ExportOptions:
    """Which files to write, and which texts to compare.

    >>> ExportOptions(int8=True).formats
    ('pretrained', 'jit', 'onnx')
    """

    export_dir: Path | None = option(
        None, "Where the files go; none: the folder of the run, as in icefall."
    )
    formats: tuple[ExportFormat, ...] = option(
        ("pretrained", "jit", "onnx"),
        "pretrained: parameters, usable as epoch-99.pt; jit: TorchScript; onnx; torch-export: "
        "torch.export's programs.",
    )
    int8: bool = option(False, "Also write ONNX files with weights of 8 bits.")
    check_on: Literal["test", "dev", "none"] = option(
        "test", "Decode these sets with PyTorch and with the exported files, and compare."
    )
