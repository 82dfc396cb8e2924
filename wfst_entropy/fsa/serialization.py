"""An Fsa as plain values that `torch.save` and `torch.load(weights_only=True)` handle, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from wfst_entropy.fsa import arc_attributes
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.symbol_table import SymbolTable

if TYPE_CHECKING:
    from wfst_entropy.fsa.fsa import Fsa

_FORMAT = "wfst_entropy.Fsa"
_VERSION = 1
_FIELDS: dict[str, type] = {
    "row_splits": list,
    "arcs": Tensor,
    "scores": Tensor,
    "tensor_attributes": dict,
    "ragged_attributes": dict,
    "other_attributes": dict,
}


def state(fsa: Fsa) -> tuple[RaggedShape, Tensor, Tensor, dict[str, Any]]:
    """Shape, arcs, scores and attributes; the scores a leaf that keeps only `requires_grad`."""
    scores = fsa.scores.detach().requires_grad_(fsa.requires_grad)
    attributes = {name: arc_attributes.detach(value) for name, value in fsa.attributes.items()}
    return fsa.shape, fsa.arcs, scores, attributes


def to_dict(fsa: Fsa) -> dict[str, Any]:
    """See `Fsa.as_dict`."""
    shape, arcs, scores, attributes = state(fsa)
    tensors: dict[str, Tensor] = {}
    ragged: dict[str, dict[str, Any]] = {}
    tables: dict[str, str] = {}
    others: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, RaggedTensor):
            splits = value.shape.all_row_splits()
            ragged[name] = {"row_splits": splits, "values": value.values}
        elif isinstance(value, SymbolTable):
            tables[name] = value.to_str()
        else:
            _check_plain(name, value)
            others[name] = value
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "row_splits": shape.all_row_splits(),
        "arcs": arcs,
        "scores": scores,
        "tensor_attributes": tensors,
        "ragged_attributes": ragged,
        "symbol_tables": tables,
        "other_attributes": others,
    }


def from_dict(values: Mapping[str, Any]) -> tuple[RaggedShape, Tensor, Tensor, dict[str, Any]]:
    """Shape, arcs, scores and attributes, as the constructor of Fsa takes them."""
    if "format" not in values and "arcs" in values:
        raise FsaFormatError(
            "this is not a dict of wfst_entropy but, it seems, of k2: read it with "
            "wfst_entropy.from_k2_dict, or its file with wfst_entropy.load_k2."
        )
    # compared as text, since anything may stand there, a tensor too
    if [str(values.get(key)) for key in ("format", "version")] != [_FORMAT, str(_VERSION)]:
        raise FsaFormatError(
            f"this is not an Fsa: needed format {_FORMAT!r} version {_VERSION}, got format "
            f"{values.get('format')!r} version {values.get('version')!r}."
        )
    for key, kind in _FIELDS.items():
        if not isinstance(values.get(key), kind):
            raise FsaFormatError(
                f"key {key!r}: needed a {kind.__name__}, got {type(values.get(key)).__name__}."
            )
    attributes = {**values["tensor_attributes"], **values["other_attributes"]}
    for name, parts in values["ragged_attributes"].items():
        if not isinstance(parts, dict) or not {"row_splits", "values"} <= parts.keys():
            raise FsaFormatError(f"ragged attribute {name!r}: needs 'row_splits' and 'values'.")
        attributes[name] = RaggedTensor(RaggedShape(*parts["row_splits"]), parts["values"])
    tables = values.get("symbol_tables", {})  # which the first files did not have
    if not isinstance(tables, dict) or not all(isinstance(x, str) for x in tables.values()):
        raise FsaFormatError("key 'symbol_tables': needed a dict of strings.")
    for name, text in tables.items():
        attributes[name] = SymbolTable.from_str(text, source=f"symbol table {name!r}")
    return RaggedShape(*values["row_splits"]), values["arcs"], values["scores"], attributes


def _check_plain(name: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(name, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_plain(name, key)
            _check_plain(name, item)
    elif not isinstance(value, (str, bytes, bool, int, float, Tensor, type(None))):
        raise FsaTypeError(
            f"attribute {name!r}: holds a {type(value).__name__}; as_dict can keep tensors, "
            "symbol tables, numbers, strings, and lists, tuples and dicts of them."
        )
