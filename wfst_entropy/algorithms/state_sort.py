"""States in a given order."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@overload
def state_sort(fsa: Fsa, order: Tensor, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def state_sort(fsa: Fsa, order: Tensor, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def state_sort(fsa: Fsa, order: Tensor, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Numbers the states anew: state `s` becomes state `order[s]`.

    The arcs of a state keep their order.

    Args:
      fsa: an FSA or a vector of them.
      order: integers `(num_states,)`, a permutation; states are counted over the whole vector, and
        stay within their FSA.  The start state stays first, the final one last.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa, or `order` no tensor of integers.
      FsaValueError: `order` is not such a permutation; names the state.

    Source: OpenFst, the C++ operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0\\n0 2 6 0\\n1 3 -1 0\\n2 3 -1 1\\n3", acceptor=True)
    >>> print(state_sort(fsa, torch.tensor([0, 2, 1, 3])))
    0 2 5 0
    0 1 6 0
    1 3 -1 1
    2 3 -1 0
    3
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    new_number = _checked(fsa, order)
    shape = fsa._vector_shape()
    source = new_number[fsa.src_states()]
    first = shape.row_splits(1)[fsa.arc_to_fsa()]
    ends = torch.stack([source - first, new_number[fsa.dst_states()] - first], 1)
    arcs = torch.cat([ends.to(torch.int32), fsa.labels.unsqueeze(1)], 1)
    arc_map = source.argsort(stable=True)
    sizes = torch.bincount(source, minlength=fsa.num_states)
    new_shape = RaggedShape(shape.row_splits(1)).compose(RaggedShape.from_sizes(sizes))
    result = _surgery.Result(new_shape, arcs[arc_map], (arc_map,))
    ordered = _surgery.rebuild(fsa, result, arc_map)
    return (ordered, arc_map) if ret_arc_map else ordered


def _checked(fsa: Fsa, order: Tensor) -> Tensor:
    """`order` as int64 on the device of `fsa`."""
    if not isinstance(order, Tensor) or order.is_floating_point() or order.dtype == torch.bool:
        got = getattr(order, "dtype", type(order).__name__)
        raise FsaTypeError(f"order: must be a tensor of integers, got {got}.")
    if order.shape != (fsa.num_states,):
        raise FsaValueError(
            f"order: must have one number for each of {fsa.num_states} states, got the shape "
            f"{tuple(order.shape)}."
        )
    order = order.to(fsa.device, torch.int64)
    states = torch.arange(fsa.num_states, device=fsa.device)
    owner = fsa.state_to_fsa()
    outside = (order < 0) | (order >= fsa.num_states)
    inside = order.masked_fill(outside, 0)
    times = torch.bincount(inside, minlength=fsa.num_states)[inside]
    ends = torch.zeros_like(outside)
    for chosen in (fsa.start_states(), fsa.final_states()):
        ends[chosen[chosen >= 0]] = True
    checks = (
        (outside, f"a number below {fsa.num_states}"),
        (times > 1, "a number that no other state gets"),
        (owner[inside] != owner, "the number of a state of the same FSA"),
        (ends & (order != states), "its old number, as the start and the final state keep theirs"),
    )
    for wrong, needed in checks:
        if bool(wrong.any()):
            state = int(wrong.nonzero()[0])
            raise FsaValueError(
                f"order: state {state} becomes {int(order[state])}; needed is {needed}."
            )
    return order
