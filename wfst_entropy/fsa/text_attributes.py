"""Which attributes of an Fsa its text form carries: tensors to lists of labels and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wfst_entropy.fsa.arc_attributes import aux_name
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged import RaggedTensor
from wfst_entropy.fsa.text_format import FsaText

if TYPE_CHECKING:
    from wfst_entropy.fsa.fsa import Fsa


def num_labels(
    acceptor: bool | None, num_aux_labels: int | None, names: Sequence[str] | None
) -> int | None:
    """The number of extra labels, from the arguments of `Fsa.from_str`; None if none tells.

    Raises:
      FsaValueError: two of them disagree.
    """
    told = {
        "acceptor": None if acceptor is None else int(not acceptor),
        "num_aux_labels": num_aux_labels,
        "aux_label_names": None if names is None else len(names),
    }
    numbers = {number for number in told.values() if number is not None}
    if len(numbers) > 1 or any(number < 0 for number in numbers):
        raise FsaValueError(
            f"acceptor, num_aux_labels, aux_label_names: give one of them; they tell {told} extra "
            "labels."
        )
    return numbers.pop() if numbers else None


def attributes_of(
    text: FsaText, aux_label_names: Sequence[str] | None, ragged_label_names: Sequence[str]
) -> dict[str, Any]:
    """The int32 attributes that a text form gives: tensors and ragged tensors by name."""
    if aux_label_names is None:
        aux_label_names = [aux_name(i) for i in range(len(text.aux_labels))]
    attributes: dict[str, Any] = {
        name: torch.tensor(column, dtype=torch.int32)
        for name, column in zip(aux_label_names, text.aux_labels)
    }
    for name, lists in zip(ragged_label_names, text.ragged_labels):
        attributes[name] = RaggedTensor.from_lists(lists, torch.int32)
    return attributes


def text_of(
    fsa: Fsa, aux_label_names: Sequence[str] | None, ragged_label_names: Sequence[str] | None
) -> FsaText:
    """The text form of one FSA with these attributes, by default `aux_labels`, `aux_labels2` ...

    Raises:
      FsaTypeError: this is a vector, or an attribute is not one integer, or list of them, per arc.
      FsaAttributeError: there is no such attribute.
    """
    if fsa.num_axes != 2:
        raise FsaTypeError("to_str: this is a vector of FSAs; write one at a time: fsa[i].")
    names: list[str] = []
    while aux_name(len(names)) in fsa.attributes:
        names.append(aux_name(len(names)))
    if aux_label_names is None:
        aux_label_names = [x for x in names if isinstance(fsa.attributes[x], Tensor)]
    if ragged_label_names is None:
        ragged_label_names = [x for x in names if isinstance(fsa.attributes[x], RaggedTensor)]
    return FsaText(
        fsa.arcs.tolist(),
        fsa.scores.tolist(),
        [_integers(fsa, name, Tensor) for name in aux_label_names],
        fsa.num_states,
        [_integers(fsa, name, RaggedTensor) for name in ragged_label_names],
    )


def _integers(fsa: Fsa, name: str, kind: type[Tensor] | type[RaggedTensor]) -> list[Any]:
    value = getattr(fsa, name)
    values = value.values if isinstance(value, RaggedTensor) else value
    axes = value.num_axes - 1 if isinstance(value, RaggedTensor) else getattr(value, "dim", int)()
    if not isinstance(value, kind) or values.is_floating_point() or axes != 1:
        what = "list of integers" if kind is RaggedTensor else "integer"
        raise FsaTypeError(f"attribute {name!r}: to be written, needs one {what} per arc.")
    numbers: list[Any] = value.tolist()
    return numbers
