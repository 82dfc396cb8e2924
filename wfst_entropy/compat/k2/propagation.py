"""How a new FSA takes attributes and scores from the ones it was made of: k2's rules.

The arcs of the new one, scores included, are there already; arc maps say where each came from.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2 import autograd_utils
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.index_ops import index_and_sum, index_select
from wfst_entropy.compat.k2.ragged import RaggedTensor, index
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa.errors import FsaAttributeError


def fsa_from_unary_function_tensor(src: Fsa, dest_arcs: RaggedArc, arc_map: Tensor) -> Fsa:
    """The Fsa whose arc `i` comes from arc `arc_map[i]` of `src`.

    Args:
      src: the operand.
      dest_arcs: the arcs of the result.
      arc_map: int32 `(num_new_arcs,)`; where it is -1, a tensor attribute gets its filler and a
        ragged one an empty list.
    """
    dest = Fsa(dest_arcs)
    select_attributes(src, dest, arc_map)
    autograd_utils.phantom_index_select_scores(dest, src.scores, arc_map)
    return dest


def select_attributes(src: Fsa, dest: Fsa, arc_map: Tensor) -> None:
    """Gives `dest` all attributes of `src` but the scores, by an int32 arc map."""
    for name, value in src.named_tensor_attr(include_scores=False):
        setattr(dest, name, _select(src, name, value, arc_map))
    _copy_others(src, dest)


def fsa_from_unary_function_ragged(
    src: Fsa, dest_arcs: RaggedArc, arc_map: RaggedTensor, remove_filler: bool = True
) -> Fsa:
    """The Fsa whose arc `i` stands for the arcs `arc_map[i]` of `src`.

    Float attributes add up, int32 ones become ragged, ragged ones are joined.

    Args:
      src: the operand.
      dest_arcs: the arcs of the result.
      arc_map: ragged int32 `[new arc][old arc]`.
      remove_filler: fillers, and -1 on arcs into the final state, are left out of int32 attributes.
    """
    dest = Fsa(dest_arcs)
    for name, value in src.named_tensor_attr(include_scores=False):
        if isinstance(value, RaggedTensor):
            new: Any = _join(value, arc_map)
        elif value.is_floating_point():
            new = index_and_sum(value, arc_map)
        else:
            new = _lists(src, name, value, arc_map, remove_filler)
        setattr(dest, name, new)
    _copy_others(src, dest)
    autograd_utils.phantom_index_and_sum_scores(dest, src.scores, arc_map)
    return dest


def fsa_from_binary_function_tensor(
    a_fsa: Fsa, b_fsa: Fsa, dest_arcs: RaggedArc, a_arc_map: Tensor, b_arc_map: Tensor
) -> Fsa:
    """The Fsa whose arc `i` comes from arcs `a_arc_map[i]` and `b_arc_map[i]`.

    Scores and float attributes of both add up; an attribute of one side follows its map.

    Args:
      a_fsa: the first operand.
      b_fsa: the second operand.
      dest_arcs: the arcs of the result.
      a_arc_map: int32 `(num_new_arcs,)`, -1 where there is no arc of `a_fsa`.
      b_arc_map: likewise for `b_fsa`.

    Raises:
      FsaAttributeError: both have an attribute of one name that is not of floats.
    """
    dest = Fsa(dest_arcs)
    attributes = dict(a_fsa.named_tensor_attr(include_scores=False))
    others = dict(b_fsa.named_tensor_attr(include_scores=False))
    for name, value in attributes.items():
        new = _select(a_fsa, name, value, a_arc_map)
        if name in others:
            other = others[name]
            if not (_is_float(value) and _is_float(other)):
                raise FsaAttributeError(
                    f"attribute {name!r}: both FSAs have it, and it is not of floats, which would "
                    "be added; delete or rename it in one of them."
                )
            new = new + _select(a_fsa, name, other, b_arc_map)
        setattr(dest, name, new)
    for name, value in others.items():
        if name not in attributes:
            setattr(dest, name, _select(b_fsa, name, value, b_arc_map))
    _copy_others(a_fsa, dest)
    _copy_others(b_fsa, dest, keep=True)
    scores = index_select(a_fsa.scores, a_arc_map) + index_select(b_fsa.scores, b_arc_map)
    autograd_utils.phantom_set_scores_to(dest, scores)
    return dest


def _is_float(value: Tensor | RaggedTensor) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _select(fsa: Fsa, name: str, value: Tensor | RaggedTensor, arc_map: Tensor) -> Any:
    if isinstance(value, RaggedTensor):
        return value.index(arc_map, axis=0, need_value_indexes=False)[0]
    return index_select(value, arc_map, default_value=fsa.get_filler(name))


def _join(value: RaggedTensor, arc_map: RaggedTensor) -> RaggedTensor:
    return value.index(arc_map).remove_axis(1)


def _lists(
    src: Fsa, name: str, value: Tensor, arc_map: RaggedTensor, remove_filler: bool
) -> RaggedTensor:
    if not remove_filler or value.dtype != torch.int32:
        return index(value, arc_map)
    filler = src.get_filler(name)
    if filler != -1:
        value = torch.where((src.labels == -1) & (value == -1), filler, value).to(torch.int32)
    return index(value, arc_map).remove_values_eq(filler)


def _copy_others(src: Fsa, dest: Fsa, keep: bool = False) -> None:
    present = dict(dest.named_non_tensor_attr()) if keep else {}
    for name, value in src.named_non_tensor_attr():
        if name not in present:
            setattr(dest, name, value)
