"""Difference: what one FSA accepts and another does not."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pairing import pair_up
from wfst_entropy.fsa import Fsa, FsaValueError


@overload
def difference(
    a_fsa: Fsa,
    b_fsa: Fsa,
    ret_arc_map: Literal[False] = False,
    *,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def difference(
    a_fsa: Fsa,
    b_fsa: Fsa,
    ret_arc_map: Literal[True],
    *,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor]: ...
def difference(
    a_fsa: Fsa,
    b_fsa: Fsa,
    ret_arc_map: bool = False,
    *,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor]:
    r"""The paths of `a_fsa` whose strings `b_fsa` does not accept, with their scores.

    :math:`w(x) = w_a(x)` if `b_fsa` has no successful path that reads :math:`x`, else nothing.
    OpenFst asks that `b_fsa` be deterministic and without epsilons; here it is made so on the way,
    as far as the strings of `a_fsa` need it, by the subset construction.  That can be exponential:
    the limits hold for it, too.

    Args:
      a_fsa, b_fsa: FSAs or vectors, `b_fsa` an acceptor whose scores are all 0.  Two vectors of one
        length are taken pair by pair; a single FSA, or a vector of one, goes with each of the other
        operand.
      ret_arc_map: whether to return, too, the arc of `a_fsa` that each new arc stands for: int64
        `(num_new_arcs,)`.
      connect: whether to keep only states that reach the final one.
      max_states, max_arcs: limits, before connecting and over all FSAs; `max_arcs` is also one for
        the sizes of the sets of states of `b_fsa`.

    Returns:
      A vector unless both operands are single FSAs, with the attributes of `a_fsa`.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: `b_fsa` has output labels or scores; vectors of different lengths, or on
        different devices.
      FsaRuntimeError: the result outgrows a limit.

    Source: OpenFst, the operation of the same name.

    >>> a = Fsa.from_str("0 1 1 0.5\n0 1 2 1\n1 2 -1 0\n2", acceptor=True)
    >>> b = Fsa.from_str("0 0 2 0\n0 1 -1 0\n1", acceptor=True)
    >>> print(difference(a, b))
    0 1 1 0.5
    1 2 -1 0
    2
    """
    pairing = pair_up("difference", a_fsa, b_fsa)
    if "aux_labels" in b_fsa.attributes:
        raise FsaValueError(
            "difference: b_fsa must be an acceptor, but it has aux_labels; use project(b_fsa) to "
            "keep one side."
        )
    weighted = b_fsa.scores.detach().nonzero()
    if weighted.numel():
        arc = int(weighted[0])
        raise FsaValueError(
            f"difference: the scores of b_fsa must be 0, for a string is taken out whole or not at "
            f"all; arc {arc} has {float(b_fsa.scores.detach()[arc])}. Use "
            "b_fsa.with_scores(torch.zeros_like(b_fsa.scores))."
        )
    result = _surgery.run(
        "difference",
        a_fsa,
        b_fsa,
        parameters=(*pairing.parameters(), connect),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    a_map = result.maps[0].to(a_fsa.device)
    shape = result.shape if 3 in (a_fsa.num_axes, b_fsa.num_axes) else result.shape.remove_axis(0)
    labels = result.arcs[:, 2].to(a_fsa.device)
    left = a_fsa._like(
        shape.to(a_fsa.device),
        result.arcs.to(a_fsa.device),
        _surgery.select_scores(a_fsa.scores, a_map),
        a_fsa.select_attributes(a_map, labels),
    )
    return (left, a_map) if ret_arc_map else left
