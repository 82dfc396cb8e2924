"""k2's operations that keep an FSA one arc to one arc: sorting, trimming, rational operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2 import arc_operations, fsa_properties
from wfst_entropy.compat.k2.autograd_utils import phantom_index_select_scores
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.fsa_tensor import fix_final_labels
from wfst_entropy.compat.k2.index_ops import index_select
from wfst_entropy.compat.k2.propagation import (
    fsa_from_binary_function_tensor,
    fsa_from_unary_function_tensor,
)
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa.errors import FsaTypeError


def identity_map(fsa: Fsa) -> Tensor:
    """The arc map of an operation that changed nothing, int32."""
    return torch.arange(fsa.num_arcs, dtype=torch.int32, device=fsa.device)


def _with_final_labels(fsa: Fsa) -> Fsa:
    """Puts -1 of `aux_labels` on the arcs into the final state, and nowhere else, in place."""
    aux_labels = getattr(fsa, "aux_labels", None)
    if isinstance(aux_labels, Tensor):
        fsa.aux_labels = aux_labels.clone()
        fix_final_labels(fsa.arcs, fsa.aux_labels)
    return fsa


def top_sort(fsa: Fsa) -> Fsa:
    """States in topological order, those not reachable left out; see `wfst_entropy.top_sort`."""
    _ = fsa.properties
    return fsa_from_unary_function_tensor(fsa, *arc_operations.top_sort(fsa.arcs))


def connect(fsa: Fsa) -> Fsa:
    """Only the states on successful paths; `fsa` itself if all of them are.

    Example:
      >>> fsa = Fsa.from_str("0 1 5 0\\n0 2 6 0\\n2 3 -1 0\\n3")
      >>> connect(fsa).arcs
      [ [ 0 1 6 0 ] [ 1 2 -1 0 ] [ ] ]
    """
    _ = fsa.properties
    arcs, arc_map = arc_operations.connect(fsa.arcs)
    states = arcs.num_axes() - 2
    same_states = arcs.tot_size(states) == fsa.arcs.tot_size(states)
    if same_states and arcs.num_elements() == fsa.num_arcs:
        return fsa
    return fsa_from_unary_function_tensor(fsa, arcs, arc_map)


@overload
def arc_sort(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def arc_sort(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def arc_sort(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Arcs of each state by label, then destination; `fsa` itself if they are.

    Args:
      fsa: one FSA or a vector.
      ret_arc_map: also return the int32 map from new arcs to old ones.
    """
    if fsa.properties & fsa_properties.ARC_SORTED:
        return (fsa, identity_map(fsa)) if ret_arc_map else fsa
    arcs, arc_map = arc_operations.arc_sort(fsa.arcs)
    out = fsa_from_unary_function_tensor(fsa, arcs, arc_map)
    return (out, arc_map) if ret_arc_map else out


@overload
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """An epsilon loop, score 0, on every state but the final one.

    Args:
      fsa: one FSA or a vector.
      ret_arc_map: also return the int32 map from new arcs to old ones, -1 for the loops.
    """
    _ = fsa.properties
    arcs, arc_map = arc_operations.add_epsilon_self_loops(fsa.arcs)
    out = fsa_from_unary_function_tensor(fsa, arcs, arc_map)
    return (out, arc_map) if ret_arc_map else out


def remove_epsilon_self_loops(fsa: Fsa) -> Fsa:
    """Without the epsilon arcs from a state to itself."""
    _ = fsa.properties
    return fsa_from_unary_function_tensor(fsa, *arc_operations.remove_epsilon_self_loops(fsa.arcs))


def union(fsas: Fsa) -> Fsa:
    """One FSA that accepts what any FSA of the vector accepts.

    Example:
      >>> vec = Fsa.from_fsas([Fsa.from_str(f"0 1 {x} 0\\n1 2 -1 0\\n2") for x in (5, 6)])
      >>> union(vec).labels.tolist()
      [0, 0, 5, -1, 6, -1]
    """
    if fsas.arcs.num_axes() != 3:
        raise FsaTypeError("union: needs a vector of FSAs; make one by k2.create_fsa_vec([...]).")
    return fsa_from_unary_function_tensor(fsas, *arc_operations.union(fsas.arcs))


def closure(fsa: Fsa) -> Fsa:
    """Any number of repetitions of one FSA.

    As in k2, prefixes of strings are accepted too where arcs enter the start state;
    `wfst_entropy.closure` adds a start state of its own there, and takes vectors.

    `aux_labels` of the arcs that went into the final state become 0 in the place of -1.

    Example:
      >>> closure(Fsa.from_str("0 1 5 0.5\\n1 2 -1 1\\n2")).arcs
      [ [ 0 1 5 0.5 0 2 -1 0 ] [ 1 0 0 1 ] [ ] ]
    """
    if fsa.arcs.num_axes() != 2:
        raise FsaTypeError("closure: needs a single FSA; take one of the vector: fsa[i].")
    _ = fsa.properties
    arcs, arc_map = arc_operations.closure(fsa.arcs)
    return _with_final_labels(fsa_from_unary_function_tensor(fsa, arcs, arc_map))


def reverse(fsa: Fsa) -> Fsa:
    """Every string read backwards; see `wfst_entropy.reverse`."""
    graph, arc_map = algorithms.reverse(fsa.bare(), ret_arc_map=True)
    arcs = RaggedArc.of(graph)
    return _with_final_labels(fsa_from_unary_function_tensor(fsa, arcs, arc_map.to(torch.int32)))


@overload
def replace_fsa(
    src: Fsa, index: Fsa, symbol_begin_range: int = 1, ret_arc_map: Literal[False] = False
) -> Fsa: ...
@overload
def replace_fsa(
    src: Fsa, index: Fsa, symbol_begin_range: int = 1, *, ret_arc_map: Literal[True]
) -> tuple[Fsa, Tensor, Tensor]: ...
def replace_fsa(
    src: Fsa, index: Fsa, symbol_begin_range: int = 1, ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """FSA `i` of `src` in the place of every arc of `index` with label `begin + i`.

    Args:
      src: a vector of FSAs.
      index: one FSA or a vector.
      symbol_begin_range: the label that stands for the first FSA of `src`.
      ret_arc_map: also return the int32 maps from new arcs to those of `index`, and of `src`.
    """
    graph, *maps = algorithms.replace_fsa(
        src.bare(), index.bare(), symbol_begin_range, ret_arc_map=True
    )
    index_map, src_map = (arc_map.to(torch.int32) for arc_map in maps)
    out = fsa_from_binary_function_tensor(src, index, RaggedArc.of(graph), src_map, index_map)
    return (out, index_map, src_map) if ret_arc_map else out


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
    """Ragged labels as tensors, an arc with several labels as a chain of arcs.

    Args:
      fsas: one FSA or a vector.
      ret_arc_map: also return the int32 map from new arcs to old ones, -1 within chains.
      ragged_attribute_names: which attributes; by default all that are ragged int32.

    Returns:
      `fsas` itself if there is nothing to expand.
    """
    attributes = dict(fsas.named_tensor_attr(include_scores=False))
    if ragged_attribute_names is None:
        names = [name for name, value in attributes.items() if isinstance(value, RaggedTensor)]
    else:
        names = list(ragged_attribute_names)
    lists = [attributes.get(name) for name in names]
    for name, value in zip(names, lists):
        if not isinstance(value, RaggedTensor) or value.dtype != torch.int32:
            raise FsaTypeError(f"expand_ragged_attributes: {name!r} must be ragged int32.")
    if not names:
        return (fsas, identity_map(fsas)) if ret_arc_map else fsas
    arcs, labels, arc_map = arc_operations.expand_arcs(fsas.arcs, lists)  # type: ignore[arg-type]
    dest = Fsa(arcs)
    for name, value in attributes.items():
        if name in names:
            setattr(dest, name, labels[names.index(name)])
        elif isinstance(value, RaggedTensor):
            setattr(dest, name, value.index(arc_map, axis=0, need_value_indexes=False)[0])
        else:
            setattr(dest, name, index_select(value, arc_map, fsas.get_filler(name)))
    for name, other in fsas.named_non_tensor_attr():
        setattr(dest, name, other)
    phantom_index_select_scores(dest, fsas.scores, arc_map)
    dest = _with_final_labels(dest)
    return (dest, arc_map) if ret_arc_map else dest


@overload
def invert(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def invert(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def invert(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Swaps `labels` and `aux_labels`; ragged `aux_labels` are expanded first.

    Args:
      fsa: one FST or a vector.
      ret_arc_map: also return the int32 map from new arcs to old ones, -1 within chains.
    """
    if isinstance(getattr(fsa, "aux_labels", None), RaggedTensor):
        out, arc_map = expand_ragged_attributes(fsa, True, ["aux_labels"])
        out.invert_()
    else:
        out, arc_map = fsa.invert(), identity_map(fsa)
    return (out, arc_map) if ret_arc_map else out
