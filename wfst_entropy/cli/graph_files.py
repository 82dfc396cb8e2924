"""Graphs from files and into files, in the format that the name's end tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from wfst_entropy.fsa import Fsa, SymbolTable

ENDINGS = """
.fst: OpenFst's binary form; .fst.txt: OpenFst's text; .pt: torch.save, of this package or k2; .lat:
Kaldi lattices in text; all others: k2's text, or OpenFst's with --openfst; -: text on standard
input or output.
"""


@dataclass(frozen=True)
class TextForm:
    """How text files are written: which format, how many labels, and which symbols."""

    openfst: bool = False
    acceptor: bool | None = None
    isymbols: SymbolTable | None = None
    osymbols: SymbolTable | None = None


@contextmanager
def reported(verb: str) -> Iterator[None]:
    """Errors of the library and of the disk become one line on standard error, and status 1."""
    from wfst_entropy.fsa import FsaError

    try:
        yield
    except BrokenPipeError:
        raise  # `| head` has seen enough; click ends quietly
    except MemoryError as error:
        typer.echo(f"wfst-entropy {verb}: not enough memory; try --max-states", err=True)
        raise typer.Exit(1) from error
    except (FsaError, OSError) as error:
        typer.echo(f"wfst-entropy {verb}: {error}", err=True)
        raise typer.Exit(1) from error


def read_graph(name: str, form: TextForm) -> Fsa:
    """Reads one graph, or a vector; `name` is a path or - for standard input.

    Raises:
      FsaError: with the name of the file; OSError: it cannot be read.
    """
    with _named(name):
        return _READERS[_kind(name, form)](name, form)


def write_graph(fsa: Fsa, name: str, form: TextForm) -> None:
    """Writes a graph; `name` is a path or - for standard output.

    Raises:
      FsaError, OSError: as reading.
    """
    with _named(name):
        _WRITERS[_kind(name, form)](fsa, name, form)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Messages that do not begin with the file's name get it."""
    from wfst_entropy.fsa import FsaError, FsaFormatError

    try:
        yield
    except FsaError as error:
        if str(error).startswith(name):
            raise
        raise FsaFormatError(f"{name}: {error}") from error


def read_symbols(path: Path | None) -> SymbolTable | None:
    """The symbol table in a file, if there is one."""
    from wfst_entropy.fsa import SymbolTable

    return None if path is None else SymbolTable.from_file(path)


_KINDS = {".fst.txt": "openfst", ".fst": "binary", ".pt": "torch", ".lat": "kaldi"}


def _kind(name: str, form: TextForm) -> str:
    for ending, kind in _KINDS.items():
        if name.endswith(ending):
            return kind
    return "openfst" if form.openfst else "k2"


def _read_text(name: str, form: TextForm) -> Fsa:
    from wfst_entropy.fsa import Fsa, FsaFormatError

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise FsaFormatError(
            f"is not text: {error}; files that OpenFst compiled end in .fst, torch's in .pt."
        ) from error
    return Fsa.from_str(
        text,
        form.acceptor,
        openfst=_kind(name, form) == "openfst",
        isymbols=form.isymbols,
        osymbols=form.osymbols,
    )


def _write_text(fsa: Fsa, name: str, form: TextForm) -> None:
    from wfst_entropy.fsa.atomic_file import replacing

    openfst = _kind(name, form) == "openfst"
    text = fsa.to_str(openfst=openfst, isymbols=form.isymbols, osymbols=form.osymbols) + "\n"
    if name == "-":
        typer.echo(text, nl=False)
        return
    with replacing(Path(name)) as file:
        file.write(text.encode())


def _read_binary(name: str, form: TextForm) -> Fsa:
    from wfst_entropy.fsa.openfst import from_openfst_file

    return from_openfst_file(name, form.acceptor)


def _write_binary(fsa: Fsa, name: str, form: TextForm) -> None:
    from wfst_entropy.fsa.openfst import to_openfst_file

    to_openfst_file(fsa, name)


def _read_torch(name: str, form: TextForm) -> Fsa:
    from wfst_entropy.fsa import load_fsa

    return load_fsa(name)


def _write_torch(fsa: Fsa, name: str, form: TextForm) -> None:
    from wfst_entropy.fsa import save_fsa

    save_fsa(fsa, name)


def _read_kaldi(name: str, form: TextForm) -> Fsa:
    from wfst_entropy.fsa import Fsa
    from wfst_entropy.fsa.kaldi_lattice import read_kaldi_lattices

    lattices = [lattice for _, lattice in read_kaldi_lattices(name)]
    return lattices[0] if len(lattices) == 1 else Fsa.from_fsas(lattices)


def _write_kaldi(fsa: Fsa, name: str, form: TextForm) -> None:
    from wfst_entropy.fsa.kaldi_lattice import write_kaldi_lattices

    lattices = [fsa] if fsa.num_axes == 2 else list(fsa)
    write_kaldi_lattices(((str(i), lattice) for i, lattice in enumerate(lattices)), name)


_READERS = {
    "k2": _read_text,
    "openfst": _read_text,
    "binary": _read_binary,
    "torch": _read_torch,
    "kaldi": _read_kaldi,
}
_WRITERS = {
    "k2": _write_text,
    "openfst": _write_text,
    "binary": _write_binary,
    "torch": _write_torch,
    "kaldi": _write_kaldi,
}
