"""Batched intersection by a map, under k2's name."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pairing import Pairing, check_operands
from wfst_entropy.algorithms.intersect import epsilon_mode, run_intersection
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError


@overload
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    ret_arc_maps: Literal[False] = False,
    *,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    *,
    ret_arc_maps: Literal[True],
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor, Tensor]: ...
def intersect_device(
    a_fsas: Fsa,
    b_fsas: Fsa,
    b_to_a_map: Tensor,
    sorted_match_a: bool = False,
    ret_arc_maps: bool = False,
    *,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """Intersects each FSA of `b_fsas` with the one of `a_fsas` that a map names.

    As `intersect(..., treat_epsilons_specially=False)`: epsilon is a label like others.  Tensors on
    a GPU are copied to the CPU and the result back (k2 works on the GPU).

    Args:
      a_fsas, b_fsas: vectors on one device.
      b_to_a_map: int32 or int64 `(b_fsas.num_fsas,)`, the number in `a_fsas` for each of `b_fsas`.
      sorted_match_a: k2's promise that `a_fsas` is arc-sorted, which is checked, as there; labels
        are looked up in order either way, so it changes nothing else.
      ret_arc_maps, connect, max_states, max_arcs: as in `intersect`.

    Returns:
      A vector as long as `b_fsas`; attributes as in `intersect`.

    Raises:
      FsaTypeError: operands that are no vectors, or a map of other numbers.
      FsaValueError: a map of the wrong shape or range, unsorted arcs in spite of `sorted_match_a`,
        or operands on two devices.
      FsaRuntimeError: the result outgrows a limit.

    >>> a = Fsa.from_fsas([Fsa.from_str("0 0 2 0.25\\n0 1 -1 0\\n1", acceptor=True)])
    >>> one = Fsa.from_str("0 1 2 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> none = Fsa.from_str("0 1 3 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> both = intersect_device(a, Fsa.from_fsas([one, none]), torch.tensor([0, 0]))
    >>> [fsa.scores.tolist() for fsa in both]
    [[1.25, 0.0], []]
    """
    check_operands("intersect_device", a_fsas, b_fsas)
    for name, fsas in (("a_fsas", a_fsas), ("b_fsas", b_fsas)):
        if fsas.num_axes != 3:
            raise FsaTypeError(
                f"intersect_device: {name} must be a vector, got a single FSA; make one by "
                "Fsa.from_fsas([fsa]), or use intersect."
            )
    if sorted_match_a and not a_fsas.properties.arc_sorted:
        raise FsaValueError(
            "intersect_device: sorted_match_a promises that a_fsas is arc-sorted, which it is not; "
            "leave it False (the result is the same), or use arc_sort."
        )
    numbers = _check_map(b_to_a_map, a_fsas.num_fsas, b_fsas.num_fsas)
    pairing = Pairing(numbers, torch.arange(numbers.numel()))
    epsilon = epsilon_mode("intersect_device", False, "sequence")
    result, a_map, b_map = run_intersection(
        "intersect_device", a_fsas, b_fsas, pairing, epsilon, connect, max_states, max_arcs
    )
    both = _surgery.rebuild_binary(a_fsas, b_fsas, result, a_map, b_map)
    return (both, a_map.to(a_fsas.device), b_map.to(a_fsas.device)) if ret_arc_maps else both


def _check_map(b_to_a_map: Tensor, num_a: int, num_b: int) -> Tensor:
    """The map as int64 on the CPU."""
    if not isinstance(b_to_a_map, Tensor) or b_to_a_map.dtype not in (torch.int32, torch.int64):
        got = b_to_a_map.dtype if isinstance(b_to_a_map, Tensor) else type(b_to_a_map).__name__
        raise FsaTypeError(f"b_to_a_map: must be a tensor of int32 or int64, got {got}.")
    if b_to_a_map.shape != (num_b,):
        raise FsaValueError(
            f"b_to_a_map: must have one number for each of the {num_b} FSAs of b_fsas, got shape "
            f"{tuple(b_to_a_map.shape)}."
        )
    numbers = b_to_a_map.to("cpu", torch.int64).contiguous()
    wrong = ((numbers < 0) | (numbers >= num_a)).nonzero()
    if wrong.numel():
        i = int(wrong[0])
        raise FsaValueError(
            f"b_to_a_map: entry {i} is {int(numbers[i])}, but a_fsas has {num_a} FSAs, numbered "
            "from 0."
        )
    return numbers
