"""Vectors of FSAs from FSAs, and FSAs from vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.index_ops import index_select
from wfst_entropy.compat.k2.propagation import fsa_from_unary_function_tensor
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.compat.k2.ragged import cat as cat_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import RaggedShape
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def create_fsa_vec(fsas: Sequence[Fsa]) -> Fsa:
    """Stacks single FSAs into a vector; differentiable.

    Per-arc attributes are concatenated, and every FSA must have the same of them; other attributes
    are those of the first FSA that has them, and must be equal in all that do.

    Raises:
      FsaTypeError: one of them is a vector.
      FsaValueError: no FSA at all, or attributes that do not fit.

    Example:
      >>> fsa = Fsa.from_str("0 1 -1 0.5\\n1")
      >>> create_fsa_vec([fsa, fsa]).shape
      (2, None, None)
    """
    _check_axes(fsas, 2, "create_fsa_vec")
    names = list(dict(fsas[0].named_tensor_attr()))
    for i, fsa in enumerate(fsas):
        missing = set(names) ^ set(dict(fsa.named_tensor_attr()))
        if missing:
            raise FsaValueError(
                f"create_fsa_vec: fsas[0] and fsas[{i}] must have the same attributes; only one of "
                f"them has {sorted(missing)}."
            )
    return _stack(fsas, names, check_others=True)


def cat(srcs: Sequence[Fsa]) -> Fsa:
    """Puts vectors of FSAs one after the other; differentiable.

    Per-arc attributes that all have are kept; other attributes are those of the first that has
    them.

    Raises:
      FsaTypeError: one of them is not a vector.
      FsaValueError: no vector at all.
    """
    _check_axes(srcs, 3, "cat")
    common = set.intersection(*(set(dict(src.named_tensor_attr())) for src in srcs))
    names = [name for name, _ in srcs[0].named_tensor_attr() if name in common]
    return _stack(srcs, names, check_others=False)


def _check_axes(fsas: Sequence[Fsa], need: int, function: str) -> None:
    if not fsas:
        raise FsaValueError(f"{function}: needs at least one Fsa.")
    for i, fsa in enumerate(fsas):
        if fsa.arcs.num_axes() != need:
            kind = "a single FSA" if need == 2 else "a vector of FSAs"
            raise FsaTypeError(f"{function}: item {i} must be {kind}; its shape is {fsa.shape}.")


def _stack(fsas: Sequence[Fsa], names: Sequence[str], check_others: bool) -> Fsa:
    shape = RaggedShape.cat([fsa.arcs.vector_shape() for fsa in fsas])
    ans = Fsa(RaggedArc(shape, torch.cat([fsa.arcs.values() for fsa in fsas])))
    for name in names:
        values: list[Any] = [getattr(fsa, name) for fsa in fsas]
        is_ragged = isinstance(values[0], RaggedTensor)
        setattr(ans, name, cat_ragged(values, axis=0) if is_ragged else torch.cat(values))
    for i, fsa in enumerate(fsas):
        for name, value in fsa.named_non_tensor_attr():
            there = ans._non_tensor_attr.setdefault(name, value)
            if check_others and there is not value and there != value:
                raise FsaValueError(
                    f"create_fsa_vec: attribute {name!r} must be equal in all FSAs that have it; "
                    f"fsas[{i}] has another value than those before."
                )
    return ans


def index_fsa(src: Fsa, indexes: Tensor) -> Fsa:
    """The FSAs with the numbers `indexes`, int32 `(n,)`, as a vector; differentiable.

    Example:
      >>> vec = create_fsa_vec([Fsa.from_str("0 1 -1 0.5\\n1"), Fsa.from_str("0 1 -1 2\\n1")])
      >>> index_fsa(vec, torch.tensor([1, 0, 1])).scores.tolist()
      [2.0, 0.5, 2.0]
    """
    _check_axes([src], 3, "index_fsa")
    shape, arc_map = src.arcs.core_shape().index(indexes.to(torch.int64))
    arcs = RaggedArc(shape, src.arcs.values()[arc_map])
    return fsa_from_unary_function_tensor(src, arcs, arc_map.to(torch.int32))


def compose_arc_maps(step1_arc_map: Tensor, step2_arc_map: Tensor) -> Tensor:
    """The arc map of two operations after each other: `step1[step2]`, -1 where either is.

    Raises:
      FsaTypeError: a map is not int32 `(n,)`.

    Example:
      >>> one, two = (torch.tensor(x, dtype=torch.int32) for x in ([5, -1, 7], [2, -1, 1, 0]))
      >>> compose_arc_maps(one, two).tolist()
      [7, -1, -1, 5]
    """
    for arc_map in (step1_arc_map, step2_arc_map):
        if arc_map.dtype != torch.int32 or arc_map.dim() != 1:
            raise FsaTypeError(
                f"arc map: must be int32 (n,), got {arc_map.dtype} {tuple(arc_map.shape)}."
            )
    return index_select(step1_arc_map, step2_arc_map, default_value=-1)
