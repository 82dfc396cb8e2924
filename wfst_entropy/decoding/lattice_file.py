"""Lattices of several utterances in one file, with the names of the utterances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaFormatError, FsaValueError
from wfst_entropy.fsa.kaldi_lattice import read_kaldi_lattices
from wfst_entropy.fsa.torch_file import load_fsa, save_fsa

_NAMES = "utterances"


class Lattices(NamedTuple):
    """What a file of lattices holds.

    Attributes:
      names: of the utterances, each once.
      lattices: a vector `[utt][state][arc]`, an FSA for each name, with words as `aux_labels`.
    """

    names: list[str]
    lattices: Fsa


def write_lattices(path: str | os.PathLike[str], names: Sequence[str], lattices: Fsa) -> None:
    """Writes lattices, whole or not at all, so that `read_lattices` (and `load_fsa`) reads them.

    It is a file of `torch.save` with the vector as `Fsa.as_dict` has it, and the names as its
    attribute `utterances`.

    Args:
      path: should end in `.pt`.
      names: of the utterances, each once.
      lattices: a vector with an FSA for each name, empty ones too.

    Raises:
      FsaValueError: names and lattices do not fit, or a name comes twice.
      FsaTypeError: an attribute cannot be kept, see `Fsa.as_dict`.
      FileWriteError: the file cannot be written.

    >>> import tempfile
    >>> lattice = Fsa.from_str("0 1 5 7 0.5\\n1 2 -1 -1 0\\n2")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_lattices(f"{folder}/lattices.pt", ["utt-1"], Fsa.from_fsas([lattice]))
    ...     read_lattices(f"{folder}/lattices.pt").names
    ['utt-1']
    """
    if lattices.num_axes != 3 or len(lattices) != len(names):
        raise FsaValueError(
            f"lattices: must be a vector with an FSA for each of {len(names)} names, got "
            f"{lattices!r}."
        )
    _check_names(names)
    plain = lattices.detach().to("cpu")
    save_fsa(plain.set_attribute_(_NAMES, list(names)), path)


def read_lattices(path: str | os.PathLike[str]) -> Lattices:
    """Reads a file of `write_lattices`, or another file with lattices.

    Args:
      path: `.lat` is Kaldi's text form, whose graph costs become `lm_scores`, and where words of
        the compact form become `aux_labels`, too; all others are files of `torch.save`, of this
        package or k2.  A vector without names has the names `0`, `1`...

    Raises:
      FsaFormatError: with the file, and the line where it is text.
      FileNotFoundError: there is no such file.
    """
    if Path(path).suffix == ".lat":
        return _from_kaldi(path)
    lattices = load_fsa(path)
    if lattices.num_axes == 2:
        lattices = Fsa.from_fsas([lattices])
    names = lattices.attributes.get(_NAMES)
    if names is None:
        return Lattices([str(i) for i in range(len(lattices))], lattices)
    if not isinstance(names, (list, tuple)) or len(names) != len(lattices):
        raise FsaFormatError(
            f"{path}: its attribute {_NAMES!r} must be a list of {len(lattices)} names, got "
            f"{names!r:.80}."
        )
    try:
        _check_names(names)
    except FsaValueError as error:
        raise FsaFormatError(f"{path}: {error}") from error
    kept = {name: value for name, value in lattices.attributes.items() if name != _NAMES}
    return Lattices(
        list(names), lattices._like(lattices.shape, lattices.arcs, lattices.scores, kept)
    )


def _check_names(names: Sequence[str]) -> None:
    seen = set()
    for name in names:
        if not isinstance(name, str) or not name or name in seen:
            raise FsaValueError(f"names: each must be a string, not empty, once; got {name!r}.")
        seen.add(name)


def _from_kaldi(path: str | os.PathLike[str]) -> Lattices:
    names, lattices = [], []
    for name, lattice in read_kaldi_lattices(path):
        lattice.set_attribute_("lm_scores", lattice.graph_scores)
        if "aux_labels" not in lattice.attributes:
            lattice.set_attribute_("aux_labels", lattice.labels.clone())
        names.append(name)
        lattices.append(lattice)
    try:
        _check_names(names)
        return Lattices(names, Fsa.from_fsas(lattices))
    except FsaValueError as error:
        raise FsaFormatError(f"{path}: {error}") from error
