"""Lists of labels on arcs become chains of arcs with one label each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.fsa.arc_attributes import is_aux_name
from wfst_entropy.fsa.errors import FsaAttributeError, FsaTypeError


@overload
def expand_ragged_attributes(
    fsas: Fsa,
    ret_arc_map: Literal[False] = False,
    ragged_attribute_names: Sequence[str] | None = None,
) -> Fsa: ...
@overload
def expand_ragged_attributes(
    fsas: Fsa,
    ret_arc_map: Literal[True],
    ragged_attribute_names: Sequence[str] | None = None,
) -> tuple[Fsa, Tensor]: ...
def expand_ragged_attributes(
    fsas: Fsa,
    ret_arc_map: bool = False,
    ragged_attribute_names: Sequence[str] | None = None,
) -> Fsa | tuple[Fsa, Tensor]:
    """Turns ragged integer attributes into plain ones, by making chains of arcs.

    An arc with `n` numbers becomes `n` arcs, the longest list deciding; the first has its label,
    score and other attributes, the others have label 0 and score 0. An arc into the final state
    becomes a chain whose last arc has label -1 and -1 in the expanded attributes (a -1 that ends
    its lists stands for that already).

    Args:
      fsas: an FSA or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc that each new arc begins, -1
        for the other arcs of the chains: int64 `(num_new_arcs,)`.
      ragged_attribute_names: which to expand; by default all ragged attributes of integers with
        two axes. Others stay ragged.

    Returns:
      `fsas` itself if there is nothing to expand.

    Raises:
      FsaAttributeError: there is no ragged attribute of that name.
      FsaTypeError: it has more axes, or no integers.
      FsaRuntimeError: the result outgrows 15 million states or 2**30 arcs.

    Source: k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n1 2 -1 1\\n2", acceptor=True)
    >>> _ = fsa.set_attribute_("aux_labels", RaggedTensor.from_lists([[7, 8], []]))
    >>> expanded, arc_map = expand_ragged_attributes(fsa, ret_arc_map=True)
    >>> print(expanded)
    0 1 5 7 0.5
    1 2 0 8 0
    2 3 -1 -1 1
    3
    >>> arc_map.tolist()
    [0, -1, 1]
    """
    if not isinstance(fsas, Fsa):
        raise FsaTypeError(f"fsas: must be an Fsa, got {type(fsas).__name__}.")
    names = _ragged_names(fsas, ragged_attribute_names)
    if not names:
        identity = torch.arange(fsas.num_arcs, device=fsas.device)
        return (fsas, identity) if ret_arc_map else fsas
    is_final = fsas.labels == -1
    sizes = [_sizes(fsas.attributes[name], is_final) for name in names]
    lengths = torch.stack(sizes).amax(0)
    lengths = torch.where(is_final, lengths + 1, lengths.clamp(min=1)).to("cpu").contiguous()
    result = _surgery.run("expand_arcs", fsas, parameters=(lengths.data_ptr(),))
    arc_map, origins, positions = (part.to(fsas.device) for part in result.maps)
    expanded = _surgery.rebuild(fsas, result, arc_map)
    for name, size in zip(names, sizes):
        numbers = _chained(fsas, name, size, origins, positions, expanded.labels)
        expanded.set_attribute_(name, numbers)
    return (expanded, arc_map) if ret_arc_map else expanded


def _ragged_names(fsas: Fsa, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return [name for name, value in fsas.attributes.items() if _is_expandable(value)]
    for name in names:
        value = fsas.attributes.get(name)
        if not isinstance(value, RaggedTensor):
            ragged = [k for k, v in fsas.attributes.items() if isinstance(v, RaggedTensor)]
            raise FsaAttributeError(
                f"ragged_attribute_names: the Fsa has no ragged attribute {name!r}; it has: "
                f"{', '.join(ragged) or 'none'}."
            )
        if not _is_expandable(value):
            raise FsaTypeError(
                f"ragged_attribute_names: {name!r} must have two axes and integers, got "
                f"{value.num_axes} axes of {value.dtype}."
            )
    return list(names)


def _is_expandable(value: object) -> bool:
    return (
        isinstance(value, RaggedTensor)
        and value.num_axes == 2
        and not value.dtype.is_floating_point
        and not value.dtype.is_complex
    )


def _sizes(lists: RaggedTensor, is_final: Tensor) -> Tensor:
    """How many numbers each arc has, not counting the -1 that ends the list of a final arc."""
    splits = lists.shape.row_splits(1)
    sizes = splits[1:] - splits[:-1]
    if not lists.numel():
        return sizes
    last = lists.values[(splits[1:] - 1).clamp(min=0)]
    return sizes - (is_final & (sizes > 0) & (last == -1)).to(sizes.dtype)


def _chained(
    fsas: Fsa, name: str, sizes: Tensor, origins: Tensor, positions: Tensor, labels: Tensor
) -> Tensor:
    """The number of `name` at each position of each chain."""
    lists = fsas.attributes[name]
    numbers = lists.values.new_full((origins.numel(),), fsas.get_filler(name))
    there = positions < sizes[origins]
    where = lists.shape.row_splits(1)[origins[there]] + positions[there]
    numbers[there] = lists.values[where]
    if is_aux_name(name):
        numbers[(numbers == -1) & (labels != -1)] = 0
    numbers[labels == -1] = -1
    return numbers


def expand_aux_labels(fsa: Fsa) -> tuple[Fsa, Tensor]:
    """The same transducer with a tensor of `aux_labels`: -1 on final arcs, and nowhere else.

    Returns:
      The transducer and the arc map of `expand_ragged_attributes`.

    Raises:
      FsaAttributeError: `fsa` has no `aux_labels`.
      FsaTypeError: they are not integers, one or a list per arc.
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    if "aux_labels" not in fsa.attributes:
        raise FsaAttributeError(
            "fsa: has no aux_labels, so it is an acceptor; needed is a transducer. Set them with "
            "fsa.set_attribute_('aux_labels', ...)."
        )
    aux_labels = fsa.aux_labels
    if isinstance(aux_labels, RaggedTensor):
        return expand_ragged_attributes(fsa, True, ["aux_labels"])
    plain = isinstance(aux_labels, Tensor) and aux_labels.dim() == 1
    if not plain or aux_labels.is_floating_point():
        raise FsaTypeError(
            "aux_labels: must be integers, one per arc or a ragged tensor with a list per arc."
        )
    is_final = fsa.labels == -1
    if bool((is_final & (aux_labels > 0)).any()):
        lists = RaggedTensor.from_lists([[label] for label in aux_labels.tolist()], torch.int32)
        fsa = fsa.clone().set_attribute_("aux_labels", lists)
        return expand_ragged_attributes(fsa, True, ["aux_labels"])
    aux_labels = torch.where(is_final, -1, torch.where(aux_labels == -1, 0, aux_labels))
    linear = fsa._like(fsa.shape, fsa.arcs, fsa.scores, dict(fsa.attributes))
    return linear.set_attribute_("aux_labels", aux_labels), torch.arange(
        fsa.num_arcs, device=fsa.device
    )
