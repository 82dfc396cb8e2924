"""OpenFst's binary files: vector and const FSTs over the arc types standard, log and log64.

A file is a header (magic number, FST type, arc type, version, flags, properties, start state,
numbers of states and arcs), symbol tables if there are any, and then either, for each state, its
final cost, number of arcs and arcs (`vector`), or a table of states and a table of arcs (`const`).
Costs are negated scores; a state is final if its final cost is not infinite.
"""

from __future__ import annotations

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wfst_entropy._native import openfst as native
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaFormatError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.fsa import Fsa
from wfst_entropy.fsa.ragged_shape import sizes_to_splits

_MAGIC = 2125659606
_SYMBOLS_MAGIC = 2125658996
_HAS_SYMBOLS = {1: "input", 2: "output"}
_ALIGNED = 4
_ALIGNMENT = 16
_EXPANDED_MUTABLE = 3
_WEIGHTS: dict[str, Any] = {"standard": np.float32, "log": np.float32, "log64": np.float64}


@dataclass
class FstTable:
    """An FST as OpenFst sees it, with any number of final states; all tensors on the CPU."""

    start: int
    sizes: Tensor
    """int64 `(num_states,)`: the number of arcs leaving each state."""
    arcs: Tensor
    """int32 `(num_arcs, 3)`: input label, output label, next state; ordered by source."""
    costs: Tensor
    """float `(num_arcs,)`."""
    final_costs: Tensor
    """float `(num_states,)`; infinite where a state is not final."""


def from_openfst_file(path: str | os.PathLike[str], acceptor: bool | None = None) -> Fsa:
    """Reads an FST from an OpenFst binary file.

    Args:
      path: the file.
      acceptor: True to look at input labels only, False to make output labels the attribute
        `aux_labels`; None for that where some arc's output label is not its input label.

    Returns:
      One FSA; scores are float32, or float64 of arc type log64.  A new final state takes an arc
      from each final one, and the start state becomes 0.  Symbol tables in the file are skipped.

    Raises:
      FsaFormatError: this is no such file, or a damaged one.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     to_openfst_file(Fsa.from_str("0 1 5 7 0.5\\n1 2 -1 -1 0\\n2"), f"{folder}/a.fst")
      ...     from_openfst_file(f"{folder}/a.fst").aux_labels.tolist()
      [7, -1]
    """
    return from_openfst_bytes(Path(path).read_bytes(), acceptor, source=str(path))


def from_openfst_bytes(data: bytes, acceptor: bool | None = None, source: str = "data") -> Fsa:
    """Reads an FST from the contents of an OpenFst binary file; see `from_openfst_file`."""
    return _fsa_of(_Reader(data, source).fst(), acceptor)


def to_openfst_file(fsa: Fsa, path: str | os.PathLike[str], arc_type: str = "standard") -> None:
    """Writes one FSA as an OpenFst binary file (a vector FST), whole or not at all.

    `aux_labels` become output labels; without them they are the input labels.

    Args:
      fsa: one FSA.
      path: the file.
      arc_type: `standard` (tropical semiring), `log`, or `log64` for float64 costs.

    Raises:
      FsaTypeError: this is a vector of FSAs, or `aux_labels` is not a tensor of integers.
      FsaValueError: another arc type.
      FileWriteError: the file cannot be written.
    """
    with replacing(Path(path)) as file:
        file.write(to_openfst_bytes(fsa, arc_type))


def to_openfst_bytes(fsa: Fsa, arc_type: str = "standard") -> bytes:
    """The contents of the file that `to_openfst_file` writes.

    Example:
      >>> data = to_openfst_bytes(Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2"), "log")
      >>> from_openfst_bytes(data).scores.tolist()
      [0.5, 0.0]
    """
    if arc_type not in _WEIGHTS:
        raise FsaValueError(f"arc_type: must be one of {', '.join(_WEIGHTS)}, got {arc_type!r}.")
    weight = np.dtype(_WEIGHTS[arc_type]).newbyteorder("<")
    fst = _table_of(fsa)
    names = b"".join(struct.pack("<i", len(x)) + x for x in (b"vector", arc_type.encode()))
    num_states, num_arcs = fst.sizes.numel(), fst.arcs.shape[0]
    header = struct.pack("<i", _MAGIC) + names + struct.pack(
        "<iiQqqq", 2, 0, _EXPANDED_MUTABLE, fst.start, num_states, num_arcs
    )  # fmt: skip
    # In units of four bytes: a final cost, two for the number of arcs, then the arcs.
    wide = weight.itemsize // 4
    per_state, per_arc = wide + 2, wide + 3
    body = np.zeros(per_state * num_states + per_arc * num_arcs, dtype="<i4")
    splits = sizes_to_splits(fst.sizes).numpy()
    heads = per_state * np.arange(num_states) + per_arc * splits[:-1]
    is_head = np.zeros(body.size, dtype=bool)
    is_head[(heads[:, None] + np.arange(per_state)).reshape(-1)] = True
    states = np.zeros(num_states, dtype=[("cost", weight), ("size", "<i8")])
    states["cost"], states["size"] = fst.final_costs.numpy(), fst.sizes.numpy()
    table = np.zeros(num_arcs, dtype=_arc_dtype(weight))
    table["ilabel"], table["olabel"], table["next"] = fst.arcs.numpy().T
    table["cost"] = fst.costs.numpy()
    body[is_head] = np.frombuffer(states.tobytes(), dtype="<i4")
    body[~is_head] = np.frombuffer(table.tobytes(), dtype="<i4")
    return header + body.tobytes()


def from_kaldifst(fst: Any, acceptor: bool | None = None) -> Fsa:
    """Converts an FST of the package kaldifst (or any object with `write(filename)`).

    Args:
      fst: a `kaldifst.StdVectorFst` or `StdConstFst`.
      acceptor: as in `from_openfst_file`.

    Raises:
      FsaFormatError: what it writes is not an FST of arc type standard, log or log64.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "fst")
        fst.write(path)
        return from_openfst_file(path, acceptor)


def to_kaldifst(fsa: Fsa) -> Any:
    """Converts one FSA to a `kaldifst.StdVectorFst`.

    Raises:
      FsaRuntimeError: kaldifst is not installed.
      FsaTypeError: as `to_openfst_file`.
    """
    try:
        import kaldifst
    except ImportError as error:
        raise FsaRuntimeError(
            "to_kaldifst: needs the package kaldifst, which is not installed: pip install "
            "kaldifst. to_openfst_file writes files for OpenFst without it."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "fst")
        to_openfst_file(fsa, path)
        return kaldifst.StdVectorFst.read(path)


def _arc_dtype(weight: np.dtype[Any], align: bool = False) -> np.dtype[Any]:
    fields = [("ilabel", "<i4"), ("olabel", "<i4"), ("cost", weight), ("next", "<i4")]
    return np.dtype(fields, align=align)


class _Reader:
    """Reads the contents of a file from its beginning on; every read is checked."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        self.position = 0

    def error(self, problem: str) -> FsaFormatError:
        return FsaFormatError(f"{self.source}: byte {self.position}: {problem}.")

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.position:
            raise self.error(
                f"needed {size} more bytes, but the file has {len(self.data)} in all; it is "
                "damaged, or not an OpenFst binary file"
            )
        self.position += size
        return self.data[self.position - size : self.position]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        return self.take(self.unpack("<i")[0]).decode("utf-8", "replace")

    def fst(self) -> FstTable:
        magic = self.unpack("<i")[0]
        if magic != _MAGIC:
            raise self.error(f"an OpenFst binary file begins with {_MAGIC}, this one with {magic}")
        fst_type, arc_type = self.text(), self.text()
        if fst_type not in ("vector", "const") or arc_type not in _WEIGHTS:
            raise self.error(
                f"this is a {fst_type!r} FST with arcs of type {arc_type!r}; needed vector or "
                f"const with {', '.join(_WEIGHTS)}; convert it by fstconvert or fstmap"
            )
        _, flags, _, start, num_states, num_arcs = self.unpack("<iiQqqq")
        for flag in _HAS_SYMBOLS:
            if flags & flag:
                self.skip_symbols()
        weight = np.dtype(_WEIGHTS[arc_type]).newbyteorder("<")
        if fst_type == "vector":
            fst = self.vector(start, num_states, weight)
        else:
            fst = self.const(start, num_states, num_arcs, weight, bool(flags & _ALIGNED))
        return self.checked(fst)

    def skip_symbols(self) -> None:
        magic = self.unpack("<i")[0]
        if magic != _SYMBOLS_MAGIC:
            raise self.error(f"a symbol table begins with {_SYMBOLS_MAGIC}, this one with {magic}")
        self.text()
        _, size = self.unpack("<qq")
        for _ in range(size):
            self.text()
            self.take(8)

    def vector(self, start: int, num_states: int, weight: np.dtype[Any]) -> FstTable:
        body = memoryview(self.data)[self.position :]
        wide = weight.itemsize // 4
        sizes = self.state_sizes(body, num_states, wide)
        # In units of four bytes: where each state begins, and the end of the last one.
        begins = (wide + 2) * np.arange(sizes.size + 1) + (wide + 3) * np.append(0, sizes.cumsum())
        heads, at = begins[:-1], int(begins[-1])
        words = np.frombuffer(body[: 4 * at], dtype="<i4")
        is_head = np.zeros(at, dtype=bool)
        for place in range(wide + 2):
            is_head[heads + place] = True
        states = np.frombuffer(words[is_head].tobytes(), dtype=[("cost", weight), ("size", "<i8")])
        arcs = np.frombuffer(words[~is_head].tobytes(), dtype=_arc_dtype(weight))
        return _table(start, sizes, arcs, states["cost"])

    def state_sizes(self, body: memoryview, num_states: int, wide: int) -> np.ndarray:
        """The number of arcs of each state, int64, checked against the size of the file."""
        found = native.state_sizes(body, num_states, wide)
        if found is not None:
            return found
        at = 0  # in units of four bytes
        sizes: list[int] = []
        # A file written to a pipe does not know its number of states, and says -1.
        while len(sizes) != num_states and (num_states >= 0 or 4 * at < len(body)):
            head, at = at, at + wide + 2
            if 4 * at > len(body):
                raise self.error(f"the file ends before state {len(sizes)} of {num_states}")
            size = struct.unpack_from("<q", body, 4 * (at - 2))[0]
            at += (wide + 3) * size
            if size < 0 or 4 * at > len(body):
                self.position += 4 * head
                raise self.error(f"state {len(sizes)} has {size} arcs, which do not fit the file")
            sizes.append(size)
        return np.array(sizes, dtype=np.int64)

    def const(
        self, start: int, num_states: int, num_arcs: int, weight: np.dtype[Any], aligned: bool
    ) -> FstTable:
        state = np.dtype([
            ("cost", weight), ("begin", "<u4"), ("size", "<u4"), ("ieps", "<u4"), ("oeps", "<u4"),
        ], align=True)  # fmt: skip
        # A const file holds arcs as they are in memory, with gaps.
        arc = _arc_dtype(weight, align=True)
        tables = []
        for dtype, count in ((state, num_states), (arc, num_arcs)):
            if aligned:
                self.take(-self.position % _ALIGNMENT)
            tables.append(np.frombuffer(self.take(dtype.itemsize * count), dtype=dtype))
        states, arcs = tables
        sizes = states["size"].astype(np.int64)
        if not np.array_equal(states["begin"], sizes.cumsum() - sizes) or sizes.sum() != num_arcs:
            raise self.error(f"the arcs of the states are not one after the other, {num_arcs} all")
        return _table(start, sizes, arcs, states["cost"])

    def checked(self, fst: FstTable) -> FstTable:
        num_states = fst.sizes.numel()
        if not -1 <= fst.start < num_states:
            raise self.error(f"the start state is {fst.start}, of {num_states} states")
        wrong = torch.nonzero((fst.arcs[:, 2] < 0) | (fst.arcs[:, 2] >= num_states))
        if wrong.numel():
            arc = int(wrong[0])
            raise self.error(
                f"arc {arc} goes to state {int(fst.arcs[arc, 2])}, of {num_states} states"
            )
        if bool((fst.arcs[:, :2] < 0).any()):
            raise self.error("an arc has a negative label")
        if bool(fst.costs.isnan().any()) or bool(fst.final_costs.isnan().any()):
            raise self.error("a cost is not a number")
        return fst


def _table(start: int, sizes: Any, arcs: Any, final_costs: Any) -> FstTable:
    columns = np.stack([arcs["ilabel"], arcs["olabel"], arcs["next"]], axis=1)
    native = final_costs.dtype.newbyteorder("=")
    return FstTable(
        start,
        torch.from_numpy(sizes),
        torch.from_numpy(columns.astype(np.int32)),
        torch.from_numpy(arcs["cost"].astype(native)),
        torch.from_numpy(final_costs.astype(native)),
    )


def _fsa_of(fst: FstTable, acceptor: bool | None) -> Fsa:
    num_states = fst.sizes.numel()
    if fst.start < 0:
        empty = Fsa.from_arcs([], fst.costs[:0])
        return empty if acceptor is not False else empty.set_attribute_("aux_labels", empty.labels)
    # State `start` becomes 0, and those before it move up by one.
    number = torch.arange(num_states) + (torch.arange(num_states) < fst.start)
    number[fst.start] = 0
    finals = torch.nonzero(fst.final_costs != torch.inf).flatten()
    src = torch.cat([torch.repeat_interleave(number, fst.sizes), number[finals]])
    order = torch.argsort(src, stable=True)
    minus_ones = torch.full_like(finals, -1)
    dst = torch.cat([number[fst.arcs[:, 2].long()], torch.full_like(finals, num_states)])
    labels, aux_labels = (torch.cat([fst.arcs[:, i].long(), minus_ones]) for i in range(2))
    # 0 - cost rather than -cost: no negative zeros.
    scores = 0 - torch.cat([fst.costs, fst.final_costs[finals]])
    if acceptor is None:
        acceptor = torch.equal(labels, aux_labels)
    arcs = torch.stack([src, dst, labels], dim=1)[order]
    fsa = Fsa.from_arcs(arcs, scores[order], num_states + 1)
    if not acceptor:
        fsa.set_attribute_("aux_labels", aux_labels[order].to(torch.int32))
    return fsa


def _table_of(fsa: Fsa) -> FstTable:
    if fsa.num_axes != 2:
        raise FsaTypeError("to_openfst: this is a vector of FSAs; write one at a time: fsa[i].")
    fsa = fsa.detach().to("cpu")
    aux = fsa.attributes.get("aux_labels", fsa.labels)
    if not isinstance(aux, Tensor) or aux.is_floating_point() or aux.dim() != 1:
        raise FsaTypeError(
            "aux_labels: must be one integer per arc; make ragged ones into chains of arcs first."
        )
    if not fsa.num_states:
        none = torch.zeros(0)
        return FstTable(-1, none.long(), fsa.arcs, none, none)
    src, dst, label = fsa.arcs.unbind(1)
    is_final = label == -1
    olabel = torch.where(is_final, aux.clamp(min=0), aux)
    # A final cost says the first plain arc into the final state; others keep the state.
    plain = torch.nonzero(is_final & (olabel == 0)).flatten()
    first = torch.ones_like(plain, dtype=torch.bool)
    first[1:] = src[plain[1:]] != src[plain[:-1]]
    plain = plain[first]
    kept = torch.ones_like(is_final)
    kept[plain] = False
    keeps_final = bool((kept & is_final).any())
    num_states = fsa.num_states if keeps_final else fsa.num_states - 1
    costs = 0 - fsa.scores
    final_costs = torch.full((num_states,), torch.inf, dtype=costs.dtype)
    final_costs[src[plain].long()] = costs[plain]
    if keeps_final:
        final_costs[-1] = 0
    arcs = torch.stack([label.clamp(min=0), olabel.to(torch.int32), dst], dim=1)[kept]
    sizes = torch.bincount(src[kept], minlength=num_states)
    return FstTable(0, sizes, arcs, costs[kept], final_costs)
