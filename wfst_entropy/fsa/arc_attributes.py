"""What happens to one attribute of an Fsa when its arcs are selected, stacked, moved or copied.

Tensors and ragged tensors have one entry per arc; any other object belongs to the whole FSA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.ragged_index import index_and_sum, index_select


def aux_name(i: int) -> str:
    """The name of extra label `i`: aux_labels, aux_labels2, aux_labels3, ... as in k2."""
    return "aux_labels" if i == 0 else f"aux_labels{i + 1}"


def is_aux_name(name: str) -> bool:
    """Whether `name` is that of an extra label."""
    number = name.removeprefix("aux_labels")
    return number != name and (number == "" or number.isdecimal())


def filler(attributes: Mapping[str, Any], name: str) -> float:
    """See `Fsa.get_filler`."""
    number = attributes.get(f"{name}_filler", 0)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise FsaValueError(
            f"attribute '{name}_filler': must be a number, the one that means nothing in {name!r}, "
            f"got {number!r}."
        )
    return number


def follow(
    attributes: Mapping[str, Any],
    name: str,
    arc_map: Tensor | RaggedTensor,
    labels: Tensor,
    new_labels: Tensor | None,
) -> Any:
    """The attribute `name` of new arcs; see `Fsa.select_attributes`."""
    value = attributes[name]
    if not isinstance(value, (Tensor, RaggedTensor)):
        return value
    if isinstance(arc_map, RaggedTensor):
        return join(name, value, arc_map, filler(attributes, name), labels)
    if new_labels is not None and is_aux_name(name):
        return select_final(value, arc_map, new_labels)
    return select(value, arc_map, filler(attributes, name))


def select(value: Any, arc_map: Tensor, filler: float = 0) -> Any:
    """The entries of the arcs `arc_map`; differentiable.

    Where `arc_map` is -1 a tensor gets `filler` and a ragged tensor an empty list.
    """
    if isinstance(value, RaggedTensor):
        return value.index(arc_map)
    if not isinstance(value, Tensor):
        return value
    return index_select(value, arc_map, filler)


def select_final(value: Any, arc_map: Tensor, labels: Tensor) -> Any:
    """An extra label (`aux_labels` ...) of the arcs `arc_map`, with k2's -1 on final arcs.

    Where `arc_map` is -1, the entry is -1 if the arc goes into the final state (its label is -1)
    and 0, epsilon, if not.  The -1 of an arc that went into the final state, and no longer does,
    becomes 0, or goes if it is in a list.
    """
    selected = select(value, arc_map)
    if isinstance(selected, RaggedTensor) and selected.num_axes == 2:
        row_ids = selected.shape.row_ids(1)
        kept = (selected.values != -1) | (labels[row_ids] == -1)
        sizes = torch.bincount(row_ids[kept], minlength=selected.dim0)
        return RaggedTensor(RaggedShape.from_sizes(sizes), selected.values[kept])
    if not isinstance(selected, Tensor) or selected.dim() != 1:
        return selected
    selected = torch.where((arc_map < 0) & (labels == -1), -1, selected)
    return torch.where((selected == -1) & (labels != -1), 0, selected).to(value.dtype)


def join(name: str, value: Any, arc_map: RaggedTensor, filler: float, labels: Tensor) -> Any:
    """The attribute of new arcs that each stand for a list of old ones; differentiable.

    Args:
      name: of the attribute, for messages.
      value: of the old arcs.
      arc_map: old arcs of each new one; -1 stands for nothing.
      filler: the integer that means "nothing here".
      labels: of the old arcs.

    Returns:
      Floating-point entries are summed; integers become lists without `filler`, and without -1 from
      arcs into the final state; lists are joined; another object is passed on.

    Raises:
      FsaValueError: an integer attribute with more than one number per arc.
    """
    if isinstance(value, RaggedTensor):
        return value.index(arc_map).remove_axis(1)
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point() or value.is_complex():
        return index_and_sum(value, arc_map)
    if value.dim() > 1:
        raise FsaValueError(
            f"attribute {name!r}: has shape {tuple(value.shape)}; where arcs are joined, an "
            "integer attribute must have one number per arc (it becomes a list). Split it into "
            "columns."
        )
    numbers = torch.where((labels == -1) & (value == -1), filler, value).to(value.dtype)
    numbers = select(numbers, arc_map.values, filler)
    return RaggedTensor(arc_map.shape, numbers).remove_values_eq(filler)


def cat(values: Sequence[Any]) -> Any:
    """The attribute of stacked FSAs; values that belong to whole FSAs are known to be the same."""
    if isinstance(values[0], Tensor):
        return torch.cat(list(values))
    return RaggedTensor.cat(values) if isinstance(values[0], RaggedTensor) else values[0]


def to(value: Any, device: torch.device | str) -> Any:
    """The attribute on `device`."""
    return value.to(device) if isinstance(value, (Tensor, RaggedTensor)) else value


def detach(value: Any) -> Any:
    """The attribute without autograd, sharing memory."""
    return value.detach() if isinstance(value, (Tensor, RaggedTensor)) else value


def clone(value: Any) -> Any:
    """A copy of a per-arc attribute; another object is passed on."""
    return value.clone() if isinstance(value, (Tensor, RaggedTensor)) else value


def same(a: Any, b: Any) -> bool:
    """Whether two values that belong to whole FSAs agree: one object, or equal plain values.

    Equality of arbitrary objects (tuples of tensors, arrays) need not be a truth value, so only
    numbers and strings are compared by value.
    """
    plain = (str, bytes, int, float, type(None))
    return a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b)
