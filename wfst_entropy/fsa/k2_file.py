"""Graphs in k2's own form: what `torch.save(fsa.as_dict(), "HLG.pt")` writes with k2, and back.

The dict has `arcs`, int32: four columns source, destination, label, bits of the float32 score for
one FSA; for a vector one row of its number of FSAs, 0, the row splits of its states, those of its
arcs per FSA, and the four integers of each arc.  All other keys are attributes.  k2's ragged
tensors are instances of its own class, which is not needed here.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaFormatError, FsaValueError
from wfst_entropy.fsa.fsa import Fsa
from wfst_entropy.fsa.invariants import shape_of_arcs
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.symbol_table import SymbolTable
from wfst_entropy.fsa.text_format import MANY_STATES

# Bookkeeping of k2, which is worked out anew here.
_NOT_ATTRIBUTES = ("arcs", "properties", "labels_version", "scores", "labels")

# What the reader of damaged pickles stumbles over.
DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)


def load_k2(path: str | os.PathLike[str]) -> Fsa:
    """Reads a graph that k2 saved, such as icefall's `HLG.pt`; k2 need not be installed.

    Nothing in the file is executed (`torch.load(weights_only=True)`).

    Args:
      path: what `torch.save(fsa.as_dict(), path)` wrote.

    Returns:
      One FSA or a vector, on the CPU.

    Raises:
      FsaFormatError: the file holds something else.

    Example:
      >>> import tempfile
      >>> fsa = Fsa.from_str("0 1 5 [7 8] 0.5\\n1 2 -1 [] 0\\n2", ragged_label_names=["aux_labels"])
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_k2(fsa, f"{folder}/HLG.pt")
      ...     load_k2(f"{folder}/HLG.pt").aux_labels
      [[7, 8], []]
    """
    known = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(_STAND_INS)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        # torch's own message would advise to run whatever the file holds.
        problem = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
        raise FsaFormatError(
            f"{path}: is not a file of torch.save, or holds more than tensors, plain values and "
            f"k2's ragged tensors and symbol tables: {problem}"
        ) from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(known)
    if not isinstance(values, Mapping):
        raise FsaFormatError(
            f"{path}: needed the dict that k2's fsa.as_dict() gives, got a {type(values).__name__}."
        )
    return from_k2_dict(values)


def save_k2(fsa: Fsa, path: str | os.PathLike[str]) -> None:
    """Writes a graph so that `k2.Fsa.from_dict(torch.load(path))` reads it, whole or not at all.

    Scores become float32; autograd is not kept.

    Raises:
      FsaValueError: as `to_k2_dict`.
      FileWriteError: the file cannot be written.
    """
    values = to_k2_dict(fsa)
    with replacing(Path(path)) as file:
        torch.save(values, file, pickle_module=_PickleForK2("pickle_for_k2"))


def from_k2_dict(values: Mapping[str, Any]) -> Fsa:
    """The graph that a dict of k2's `fsa.as_dict()` stands for.

    Args:
      values: the dict; its ragged tensors may be k2's, those of `wfst_entropy.compat.k2`, or
        `RaggedTensor`.

    Raises:
      FsaFormatError: there is no `arcs`, or its numbers do not add up.
      FsaValueError: the arcs break a rule of FSAs.

    Example:
      >>> arcs = torch.tensor([[0, 1, -1, 0]], dtype=torch.int32)
      >>> from_k2_dict({"arcs": arcs, "aux_labels": torch.tensor([-1])})
      Fsa(num_states=2, num_arcs=1, aux_labels)
    """
    arcs = values.get("arcs")
    if not isinstance(arcs, Tensor) or arcs.dtype != torch.int32:
        raise FsaFormatError("key 'arcs': needed an int32 tensor, as k2's fsa.as_dict() gives it.")
    if arcs.dim() == 2 and arcs.shape[1] == 4:
        num_states = _num_states(arcs)
        _check_num_states(num_states, arcs.shape[0])
        shape = shape_of_arcs(arcs[:, :3], num_states)
    elif arcs.dim() == 1 and arcs.numel() >= 4:
        shape, arcs = _vector_parts(arcs)
    else:
        raise FsaFormatError(
            f"key 'arcs': must be (num_arcs, 4) for one FSA, or one row for a vector, got "
            f"{tuple(arcs.shape)}."
        )
    scores = arcs[:, 3].contiguous().view(torch.float32)
    fsa = Fsa(shape, arcs[:, :3], scores)
    for name, value in values.items():
        if name not in _NOT_ATTRIBUTES:
            fsa.set_attribute_(name, _from_k2(value))
    return fsa


def to_k2_dict(fsa: Fsa) -> dict[str, Any]:
    """A dict for k2's `Fsa.from_dict`; ragged attributes are for `save_k2` only.

    Ragged integers become int32, as k2 has no others.

    Raises:
      FsaValueError: a ragged value, or a size, does not fit int32.

    Example:
      >>> to_k2_dict(Fsa.from_str("0 1 5 1\\n1 2 -1 0\\n2"))["arcs"].tolist()
      [[0, 1, 5, 1065353216], [1, 2, -1, 0]]
    """
    bits = fsa.scores.detach().to(torch.float32).view(torch.int32)
    arcs = torch.cat([fsa.arcs, bits[:, None]], dim=1)
    if fsa.num_axes == 3:
        states = fsa.shape.row_splits(1)
        header = torch.cat([states.new_tensor([fsa.num_fsas, 0]), states])
        header = torch.cat([header, fsa.shape.row_splits(2)[states]])
        arcs = torch.cat([_int32(header), arcs.reshape(-1)])
    values: dict[str, Any] = {"arcs": arcs}
    for name, value in fsa.attributes.items():
        if isinstance(value, RaggedTensor):
            value = _K2Ragged.of(value)
        elif isinstance(value, SymbolTable):
            value = _K2Symbols.of(value)
        elif isinstance(value, Tensor):
            value = value.detach()
        values[name] = value
    return values


def _num_states(arcs: Tensor) -> int:
    """The final state is where arcs with label -1 go; without any it is after all others."""
    finals = arcs[arcs[:, 2] == -1, 1]
    if finals.numel():
        return int(finals.max()) + 1
    return int(arcs[:, :2].max()) + 2 if arcs.shape[0] else 0


def _vector_parts(row: Tensor) -> tuple[RaggedShape, Tensor]:
    num_fsas = int(row[0])
    begin = 2 + 2 * (num_fsas + 1)
    if num_fsas < 0 or row.numel() < begin or (row.numel() - begin) % 4:
        raise FsaFormatError(
            f"key 'arcs': {row.numel()} integers cannot be a vector of {num_fsas} FSAs: that takes "
            "2, twice one more than the number of FSAs, and 4 for each arc."
        )
    states = row[2 : 3 + num_fsas].to(torch.int64)
    per_fsa = row[3 + num_fsas : begin].to(torch.int64)
    arcs = row[begin:].reshape(-1, 4)
    try:
        fsa_shape, arc_shape = RaggedShape(states), RaggedShape(per_fsa)
        if arc_shape.numel() != arcs.shape[0]:
            raise FsaValueError(f"there are {arcs.shape[0]} arcs, not {arc_shape.numel()}.")
    except FsaValueError as error:
        raise FsaFormatError(f"key 'arcs': its row splits are wrong: {error}") from None
    fsa = arc_shape.row_ids(1)
    sources = arcs[:, 0].to(torch.int64)
    if bool(((sources < 0) | (sources >= states.diff()[fsa])).any()):
        raise FsaFormatError("key 'arcs': the source of an arc is not a state of its FSA.")
    _check_num_states(fsa_shape.numel(), arcs.shape[0])
    sizes = torch.bincount(sources + states[fsa], minlength=fsa_shape.numel())
    return fsa_shape.compose(RaggedShape.from_sizes(sizes)), arcs


def _check_num_states(num_states: int, num_arcs: int) -> None:
    if num_states > MANY_STATES and num_states > 100 * num_arcs:
        raise FsaFormatError(
            f"key 'arcs': says {num_states} states but has {num_arcs} arcs; is the file damaged?"
        )


def _from_k2(value: Any) -> Any:
    """An attribute of k2's as one of ours."""
    if isinstance(value, _K2Symbols):
        return SymbolTable((symbol, number) for number, symbol in sorted(value.table().items()))
    if isinstance(value, (Tensor, RaggedTensor)):
        return value
    if not isinstance(value, _K2Ragged) and type(value).__name__ != "RaggedTensor":
        return value
    # k2's own class, or that of wfst_entropy.compat.k2, or the stand-in for them.
    state = value.__getstate__()
    if len(state) < 3 or len(state) % 2 == 0 or not all(map(torch.is_tensor, state[::2])):
        raise FsaFormatError("a ragged tensor of k2's: its state is not row splits and values.")
    *splits, values = state[::2]
    return RaggedTensor(RaggedShape(*(s.to(torch.int64) for s in splits)), values)


def _int32(numbers: Tensor) -> Tensor:
    limits = torch.iinfo(torch.int32)
    if numbers.numel() and not limits.min <= int(numbers.min()) <= int(numbers.max()) <= limits.max:
        raise FsaValueError(
            f"k2 has int32 only: got numbers from {int(numbers.min())} to {int(numbers.max())}."
        )
    return numbers.to(torch.int32)


class _K2Ragged:
    """Stands for k2's ragged tensor in a file: its state, under the name of its class."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    @classmethod
    def of(cls, ragged: RaggedTensor) -> _K2Ragged:
        values = ragged.values.detach()
        parts: list[Any] = []
        for axis, splits in enumerate(ragged.shape.all_row_splits(), start=1):
            parts += [_int32(splits), f"row_ids{axis}"]
        new = cls()
        new.state = (*parts, values if values.is_floating_point() else _int32(values))
        return new

    def __getstate__(self) -> tuple[Any, ...]:
        return self.state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _K2Symbols:
    """Stands for k2's symbol table in a file."""

    @classmethod
    def of(cls, table: SymbolTable) -> _K2Symbols:
        symbols = {number: symbol for symbol, number in table}
        eps = symbols.setdefault(0, "<eps>")
        new = cls()
        new.__dict__.update(
            _id2sym=symbols,
            _sym2id={symbol: number for number, symbol in symbols.items()},
            _next_available_id=max(symbols) + 1,
            eps=eps,
        )
        return new

    def table(self) -> dict[int, str]:
        symbols = self.__dict__.get("_id2sym")
        if not isinstance(symbols, dict) or not all(isinstance(x, str) for x in symbols.values()):
            raise FsaFormatError("a symbol table of k2's: needs ids and symbols that are strings.")
        return symbols


class _K2RaggedInt(_K2Ragged):
    """Stands for the ragged tensor of k2's first versions, whose state has the same order."""


for _class, _module, _name in (
    (_K2Ragged, "_k2.ragged", "RaggedTensor"),
    (_K2RaggedInt, "_k2", "RaggedInt"),
    (_K2Symbols, "k2.symbol_table", "SymbolTable"),
):
    _class.__module__, _class.__name__, _class.__qualname__ = _module, _name, _name

_STAND_INS: list[Any] = [_K2Ragged, _K2RaggedInt, _K2Symbols]


# The pickler of the standard library in Python, because the one in C cannot be asked to write the
# name of a class that is not there.
_PythonPickler: Any = pickle._Pickler


class _PicklerForK2(_PythonPickler):
    def save_global(self, obj: Any, name: str | None = None) -> None:
        if obj in _STAND_INS:
            self.write(pickle.GLOBAL + f"{obj.__module__}\n{obj.__name__}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)


class _PickleForK2(ModuleType):
    """What `torch.save` takes for the module `pickle`."""

    Pickler = _PicklerForK2
    dump = staticmethod(pickle.dump)
