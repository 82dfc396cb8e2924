"""FSAs between this package and an installed k2."""

from __future__ import annotations

import importlib
from typing import Any

import torch

import wfst_entropy.fsa as core
from wfst_entropy.compat.k2.autograd_utils import phantom_set_scores_to
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.fsa_tensor import fsa_to_tensor
from wfst_entropy.compat.k2.ragged import RaggedTensor, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError


def installed_k2() -> Any:
    """The installed k2.

    Raises:
      FsaRuntimeError: there is none, it does not load beside this torch, or `import k2` means this
        package because of `install()`.
    """
    try:
        k2 = importlib.import_module("k2")
    except ImportError as error:
        raise FsaRuntimeError(
            f"to_k2, from_k2: need k2 itself, which does not load here: {error}. To work without "
            "it, use wfst_entropy.compat.k2 in its place."
        ) from error
    if k2.Fsa is Fsa:
        raise FsaRuntimeError(
            "to_k2, from_k2: `import k2` gives wfst_entropy.compat.k2 here, as install() made it; "
            "there is nothing to convert."
        )
    return k2


def to_k2(fsa: Fsa | core.Fsa) -> Any:
    """The same FSA as an object of the installed k2.

    A single FSA of `wfst_entropy.compat.k2` shares its arcs, and all share tensor attributes with
    the result; a vector's arcs are copied, as k2 reads those from one row of integers.

    Args:
      fsa: one of this package's two kinds; autograd of the scores goes on.

    Raises:
      FsaRuntimeError: k2 is not there; see `installed_k2`.
      FsaTypeError: something else than an Fsa.
    """
    k2 = installed_k2()
    if isinstance(fsa, core.Fsa):
        fsa = Fsa.from_core(fsa)
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"to_k2: needs an Fsa, got {type(fsa).__name__}.")
    is_single = fsa.arcs.num_axes() == 2
    ans = k2.Fsa(fsa.arcs.values() if is_single else fsa_to_tensor(fsa.arcs))
    for name, value in fsa.named_tensor_attr(include_scores=False):
        setattr(ans, name, _to_ragged(k2, value) if isinstance(value, RaggedTensor) else value)
    for name, other in fsa.named_non_tensor_attr():
        setattr(ans, name, other)
    if fsa.requires_grad:
        ans.scores = fsa.scores
    return ans


def _to_ragged(k2: Any, ragged: RaggedTensor) -> Any:
    shape = k2.ragged.create_ragged_shape2(row_splits=ragged.shape.row_splits(1))
    for axis in range(2, ragged.num_axes):
        inner = k2.ragged.create_ragged_shape2(row_splits=ragged.shape.row_splits(axis))
        shape = shape.compose(inner)
    return k2.RaggedTensor(shape, ragged.values)


def from_k2(fsa: Any) -> Fsa:
    """An FSA of the installed k2 as one of this package; arcs and tensor attributes are shared.

    `from_k2(fsa).core` is a `wfst_entropy.Fsa`.  Autograd of the scores goes on.

    Args:
      fsa: an object of the class `k2.Fsa`.

    Raises:
      FsaRuntimeError: k2 is not there; see `installed_k2`.
      FsaTypeError: it is no `k2.Fsa`.
    """
    k2 = installed_k2()
    if not isinstance(fsa, k2.Fsa):
        raise FsaTypeError(f"from_k2: needs a k2.Fsa, got {type(fsa).__name__}.")
    arcs = fsa.arcs
    splits = [arcs.row_splits(axis).to(torch.int64) for axis in range(1, arcs.num_axes())]
    ans = Fsa(RaggedArc(core.RaggedShape(*splits), arcs.values()))
    for name, value in fsa.named_tensor_attr(include_scores=False):
        setattr(ans, name, _from_ragged(value) if isinstance(value, k2.RaggedTensor) else value)
    for name, value in fsa.named_non_tensor_attr():
        setattr(ans, name, value)
    phantom_set_scores_to(ans, fsa.scores)
    return ans


def _from_ragged(ragged: Any) -> RaggedTensor:
    shape = ragged.shape
    splits = [shape.row_splits(axis).to(torch.int64) for axis in range(1, ragged.num_axes)]
    return k2_ragged(core.RaggedTensor(core.RaggedShape(*splits), ragged.values))
