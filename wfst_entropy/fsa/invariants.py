"""Checks of what every Fsa must fulfil, with messages that name the FSA and the arc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wfst_entropy.fsa import arc_attributes
from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor

if TYPE_CHECKING:
    from wfst_entropy.fsa.fsa import Fsa


def check_tensors(shape: RaggedShape, arcs: Tensor, scores: Tensor | None) -> None:
    """Checks types, dtypes and sizes.

    Raises:
      FsaTypeError: a wrong type or dtype.
      FsaValueError: a wrong number of axes or elements, or two devices.
    """
    if not isinstance(shape, RaggedShape):
        raise FsaTypeError(f"shape: must be a RaggedShape, got {type(shape).__name__}.")
    if shape.num_axes not in (2, 3):
        raise FsaValueError(
            f"shape: must have 2 axes [state][arc] or 3 [fsa][state][arc], got {shape.num_axes}."
        )
    if not isinstance(arcs, Tensor) or arcs.dtype != torch.int32:
        raise FsaTypeError(f"arcs: must be an int32 tensor (num_arcs, 3), got {_describe(arcs)}.")
    if arcs.shape != (shape.numel(), 3):
        raise FsaValueError(
            f"arcs: must have shape ({shape.numel()}, 3) to fit `shape`, got {tuple(arcs.shape)}."
        )
    if scores is None:
        return
    if not isinstance(scores, Tensor) or scores.dtype not in (torch.float32, torch.float64):
        raise FsaTypeError(f"scores: must be a float32 or float64 tensor, got {_describe(scores)}.")
    if scores.shape != (shape.numel(),):
        raise FsaValueError(
            f"scores: must have one score per arc, ({shape.numel()},), got {tuple(scores.shape)}."
        )
    if scores.device != arcs.device:
        raise FsaValueError(f"scores: on {scores.device}, but arcs are on {arcs.device}.")


def check_arcs(shape: RaggedShape, arcs: Tensor) -> None:
    """Checks the order of arcs, the range of states, and where label -1 stands.

    Raises:
      FsaValueError: naming the first FSA or arc that is wrong.
    """
    shape = shape.to(arcs.device)
    if shape.num_axes == 3:
        sizes = shape.row_splits(1)[1:] - shape.row_splits(1)[:-1]
    else:
        sizes = torch.tensor([shape.dim0], device=arcs.device)
    single = torch.nonzero(sizes == 1)
    if single.numel():
        raise FsaValueError(
            f"{_where(shape, int(single[0]))}: has 1 state; an FSA has a start and a final state, "
            "or no state at all."
        )
    if not arcs.shape[0]:
        return
    state = shape.row_ids(shape.num_axes - 1)
    fsa = shape.row_ids(1)[state] if shape.num_axes == 3 else torch.zeros_like(state)
    first = shape.row_splits(1)[fsa] if shape.num_axes == 3 else torch.zeros_like(state)
    src, dst, label = arcs.unbind(1)
    final = sizes[fsa] - 1
    rules = (
        (src == state - first, "its source must be the state that `shape` puts it in; are the "
         "arcs ordered by source?"),
        ((dst >= 0) & (dst <= final), "its destination must be a state of its FSA."),
        (src != final, "no arc may leave the final state, the last one."),
        ((label == -1) | (dst != final), "an arc into the final state must have label -1."),
        ((label != -1) | (dst == final), "label -1 is only for arcs into the final state."),
        (label >= -1, "a label must be -1 (into the final state), 0 (epsilon) or positive."),
    )  # fmt: skip
    for holds, rule in rules:
        if not bool(holds.all()):
            arc = int(torch.nonzero(~holds)[0])
            number = arc - int(shape.value_range(int(fsa[arc]))[0]) if shape.num_axes == 3 else arc
            raise FsaValueError(
                f"{_where(shape, int(fsa[arc]))}: arc {number} (source {int(src[arc])}, "
                f"destination {int(dst[arc])}, label {int(label[arc])}) of an FSA with "
                f"{int(final[arc]) + 1} states: {rule}"
            )


# States that no arc mentions take memory; more of them than this come from a wrong number.
_IDLE_STATES = 2**24


def shape_of_arcs(arcs: Tensor, num_states: int | None) -> RaggedShape:
    """The shape `[state][arc]` of one FSA whose arcs are ordered by source.

    Args:
      arcs: integers `(num_arcs, 3)`.
      num_states: by default one more than the largest state that an arc mentions.

    Raises:
      FsaTypeError: not integers, or not three columns.
      FsaValueError: a source that is not a state, or a number that does not fit int32.
    """
    if arcs.is_floating_point() or arcs.dim() != 2 or arcs.shape[1] != 3:
        raise FsaTypeError(
            "arcs: must be integers (num_arcs, 3) = source, destination, label, got "
            f"{_describe(arcs)}."
        )
    wide = arcs.to(torch.int64)
    for arc, column in torch.nonzero((wide >= 2**31) | (wide < -(2**31))).tolist()[:1]:
        raise FsaValueError(
            f"arcs: arc {arc}, column {column} is {int(wide[arc, column])}, which does not fit "
            "int32; states and labels must be smaller than 2**31."
        )
    if num_states is None:
        num_states = int(arcs[:, :2].max()) + 1 if arcs.shape[0] else 0
    if num_states < 0:
        raise FsaValueError(f"num_states: must not be negative, got {num_states}.")
    if num_states > 2 * arcs.shape[0] + _IDLE_STATES:
        raise FsaValueError(
            f"arcs: {num_states} states are wanted for {arcs.shape[0]} arcs, so that hardly one of "
            "them could be reached; is the number of a state wrong?"
        )
    sources = wide[:, 0]
    outside = torch.nonzero((sources < 0) | (sources >= num_states))
    if outside.numel():
        arc = int(outside[0])
        raise FsaValueError(
            f"arcs: arc {arc} {tuple(arcs[arc].tolist())} leaves a state outside 0 to "
            f"{num_states - 1}; num_states is {num_states}."
        )
    return RaggedShape.from_sizes(torch.bincount(sources, minlength=num_states))


def check_attribute(name: str, value: Any, num_arcs: int) -> None:
    """Checks that a tensor or ragged tensor has one entry per arc.

    Raises:
      FsaValueError: it has not.
    """
    if isinstance(value, Tensor):
        rows = value.shape[0] if value.dim() else None
    elif isinstance(value, RaggedTensor):
        rows = value.dim0
    else:
        return
    if rows != num_arcs:
        raise FsaValueError(
            f"attribute {name!r}: a tensor needs one entry per arc, {num_arcs}, got "
            f"{'a single number' if rows is None else rows}. Wrap it in a tuple to attach it to "
            "the whole FSA."
        )


def row_numbers(
    index: slice | Sequence[int] | Tensor, num_rows: int, device: torch.device
) -> Tensor | int:
    """The rows of a vector that an index means, int64 from 0 on; an int for a 0-D tensor.

    Raises:
      FsaIndexError: not integers, or outside the vector.
    """
    if isinstance(index, slice):
        index = list(range(num_rows))[index]
    numbers = torch.as_tensor(index, device=device)
    # An empty list makes a float tensor, which is fine; fractions and masks are not.
    fraction = numbers.is_floating_point() and numbers.numel() > 0
    if fraction or numbers.dtype == torch.bool or numbers.dim() > 1:
        raise FsaIndexError(f"fsa[{index}]: needs an integer, a slice or a list of integers.")
    if numbers.dim() == 0:
        return int(numbers)
    numbers = numbers.to(torch.int64)
    if bool(((numbers < -num_rows) | (numbers >= num_rows)).any()):
        raise FsaIndexError(f"fsa[{numbers.tolist()}]: the vector has {num_rows} FSAs.")
    return numbers % max(num_rows, 1)


def check_stackable(fsas: Sequence[Fsa]) -> None:
    """Checks that FSAs have the same attributes, dtypes and device.

    Raises:
      FsaValueError: naming the two FSAs and what differs.
    """
    first = fsas[0]
    for i, fsa in enumerate(fsas[1:], start=1):
        for what, a, b in (
            ("attributes", sorted(first.attributes), sorted(fsa.attributes)),
            ("scores of dtype", first.scores.dtype, fsa.scores.dtype),
            ("device", first.device, fsa.device),
        ):
            if a != b:
                raise FsaValueError(f"fsas: {what} differ: fsas[0] has {a}, fsas[{i}] has {b}.")
        for name, value in first.attributes.items():
            _check_same_kind(name, value, fsa.attributes[name], i)


def _check_same_kind(name: str, a: Any, b: Any, i: int) -> None:
    per_arc = isinstance(a, (Tensor, RaggedTensor))
    if per_arc:
        fits = type(a) is type(b) and a.dtype == b.dtype
        if isinstance(a, RaggedTensor):
            fits = fits and a.num_axes == b.num_axes
        else:
            fits = fits and a.shape[1:] == b.shape[1:]
    else:
        fits = arc_attributes.same(a, b)
    if not fits:
        need = "the same type, dtype and width" if per_arc else "one object, or equal values"
        raise FsaValueError(
            f"fsas: attribute {name!r} must be {need} in all; fsas[0] has {_describe(a)}, "
            f"fsas[{i}] has {_describe(b)}."
        )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor {tuple(value.shape)}"
    if isinstance(value, RaggedTensor):
        return f"a ragged {value.dtype} tensor with {value.num_axes} axes"
    return f"a {type(value).__name__}: {str(value)[:60]}"


def _where(shape: RaggedShape, fsa: int) -> str:
    return f"FSA {fsa} of {shape.dim0}" if shape.num_axes == 3 else "the FSA"
