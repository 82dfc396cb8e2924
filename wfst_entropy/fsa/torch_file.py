"""Graphs in files of `torch.save`, such as `L.pt` and `HLG.pt`: this package's own, or k2's."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError, FsaFormatError
from wfst_entropy.fsa.fsa import Fsa
from wfst_entropy.fsa.k2_file import DAMAGED, load_k2


def load_fsa(path: str | os.PathLike[str]) -> Fsa:
    """Reads what `save_fsa` wrote, `torch.save` of an `Fsa` or its `as_dict`, or a file of k2.

    Nothing in the file is executed (`torch.load(weights_only=True)`).

    Args:
      path: such as `data/lang_bpe_500/HLG.pt`.

    Returns:
      One FSA or a vector, on the CPU.

    Raises:
      FsaFormatError: the file holds something else.
      FileNotFoundError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_fsa(Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2"), f"{folder}/L.pt")
      ...     load_fsa(f"{folder}/L.pt")
      Fsa(num_states=3, num_arcs=2)
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED:
        return load_k2(path)  # k2's classes, or a message that says what is wrong
    if isinstance(loaded, Fsa):
        return loaded
    if not isinstance(loaded, dict) or "format" not in loaded:
        return load_k2(path)
    try:
        return Fsa.from_dict(loaded)
    except FsaError as error:
        raise FsaFormatError(f"{path}: {error}") from error


def save_fsa(fsa: Fsa, path: str | os.PathLike[str]) -> None:
    """Writes a graph, whole or not at all, so that `load_fsa` reads it; autograd is not kept.

    Raises:
      FsaTypeError: an attribute cannot be kept, see `Fsa.as_dict`.
      FileWriteError: the file cannot be written; what was there before still is.
    """
    values = fsa.as_dict()
    with replacing(Path(path)) as file:
        torch.save(values, file)
