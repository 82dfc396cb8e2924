"""k2's intersections and composition."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.compat.k2 import arc_operations, fsa_properties
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.operations import arc_sort, invert
from wfst_entropy.compat.k2.propagation import fsa_from_binary_function_tensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@overload
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    ret_arc_maps: Literal[False] = False,
) -> Fsa: ...
@overload
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    *,
    ret_arc_maps: Literal[True],
) -> tuple[Fsa, Tensor, Tensor]: ...
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    ret_arc_maps: bool = False,
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """Intersects FSA `i` of `b_fsas` with FSA `b_to_a_map[i]` of `a_fsas`, epsilon as a symbol.

    Args:
      a_fsas: a vector.
      b_fsas: a vector.
      b_to_a_map: int32 `(num_fsas of b_fsas,)`.
      sorted_match_a: says that `a_fsas` is arc-sorted, which is checked; nothing depends on it.
      ret_arc_maps: also return the int32 maps from new arcs to those of `a_fsas` and `b_fsas`.
    """
    arcs, a_map, b_map = arc_operations.intersect_device(
        a_fsas.arcs, a_fsas.properties, b_fsas.arcs, b_fsas.properties, b_to_a_map, True,
        sorted_match_a,
    )  # fmt: skip
    out = fsa_from_binary_function_tensor(a_fsas, b_fsas, arcs, a_map, b_map)
    return (out, a_map, b_map) if ret_arc_maps else out


@overload
def intersect(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    ret_arc_maps: Literal[False] = False,
) -> Fsa: ...
@overload
def intersect(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    *,
    ret_arc_maps: Literal[True],
) -> tuple[Fsa, Tensor, Tensor]: ...
def intersect(
    a_fsa: Fsa, b_fsa: Fsa, treat_epsilons_specially: bool = True, ret_arc_maps: bool = False
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """The strings that both accept.

    Where both have epsilons, a pair of paths is counted once for each order of their epsilons, as
    in k2; `wfst_entropy.intersect` counts it once.

    Args:
      a_fsa: one FSA or a vector.
      b_fsa: likewise; a single one goes with each FSA of a vector.
      treat_epsilons_specially: whether 0 is epsilon, or a symbol like others.
      ret_arc_maps: also return the int32 maps from new arcs to those of `a_fsa` and `b_fsa`.

    Raises:
      FsaValueError: an operand is not arc-sorted, which k2 asks for on the CPU.
    """
    for name, fsa in (("a_fsa", a_fsa), ("b_fsa", b_fsa)):
        _check_sorted(name, fsa)
    arcs, a_map, b_map = arc_operations.intersect(
        a_fsa.arcs, a_fsa.properties, b_fsa.arcs, b_fsa.properties, treat_epsilons_specially
    )
    out = fsa_from_binary_function_tensor(a_fsa, b_fsa, arcs, a_map, b_map)
    return (out, a_map, b_map) if ret_arc_maps else out


def _check_sorted(name: str, fsa: Fsa) -> None:
    if not fsa.properties & fsa_properties.ARC_SORTED:
        raise FsaValueError(f"{name}: must be arc-sorted; use k2.arc_sort({name}).")


def compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    inner_labels: str | None = None,
) -> Fsa:
    """Matches the `aux_labels` of `a_fsa` with the labels of `b_fsa`.

    Args:
      a_fsa: one FST or a vector; ragged `aux_labels` are expanded first.
      b_fsa: one FSA or FST, or a vector; arc-sorted.
      treat_epsilons_specially: as in `intersect`.
      inner_labels: the attribute that is to hold the labels that were matched.

    Raises:
      FsaTypeError: `a_fsa` has no `aux_labels`, or `inner_labels` is given for an acceptor.
      FsaValueError: `b_fsa` is not arc-sorted.

    Example:
      >>> a = Fsa.from_str("0 1 5 7 0.5\\n1 2 -1 -1 0\\n2", acceptor=False)
      >>> b = Fsa.from_str("0 1 7 9 0.25\\n1 2 -1 -1 0\\n2", acceptor=False)
      >>> c = compose(a, b, inner_labels="inner")
      >>> c.labels.tolist(), c.inner.tolist(), c.aux_labels.tolist(), c.scores.tolist()
      ([5, -1], [7, -1], [9, -1], [0.75, 0.0])
    """
    if not hasattr(a_fsa, "aux_labels"):
        raise FsaTypeError("a_fsa: has no aux_labels; intersect two acceptors by k2.intersect.")
    b_has_aux_labels = hasattr(b_fsa, "aux_labels")
    if inner_labels is not None and not b_has_aux_labels:
        raise FsaTypeError("inner_labels: b_fsa has no aux_labels, so they are the output labels.")
    _check_sorted("b_fsa", b_fsa)
    a_inverted = arc_sort(invert(a_fsa))
    a_inverted.rename_tensor_attribute_("aux_labels", "left_labels")
    ans = intersect(a_inverted, b_fsa, treat_epsilons_specially)
    if inner_labels is not None:
        ans.rename_tensor_attribute_("labels", inner_labels)
    if not b_has_aux_labels:
        ans.rename_tensor_attribute_("labels", "aux_labels")
    return ans.rename_tensor_attribute_("left_labels", "labels")
