"""Scores that move along the paths, by given amounts at the states."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def reweight(fsa: Fsa, potentials: Tensor, to_final: bool = False) -> Fsa:
    r"""Moves scores towards the start, or the final state; no path's total changes.

    With the potential :math:`v(s)` of a state, an arc from :math:`s` to :math:`t` gets
    :math:`w + v(t) - v(s)` or, `to_final`, :math:`v(s) + w - v(t)`.  The final state counts as if
    its potential were 0, and so does the start state where no arc enters it: what it takes from
    the arcs that leave it, it would have to give back.  Where arcs enter it, that is settled on the
    arcs into the final state instead (OpenFst adds a new start state for it).

    With the distances to the final state for potentials this is `push`.  States, arcs and
    attributes stay; the result is differentiable in the scores and in the potentials.

    Args:
      fsa: an FSA or a vector of them.
      potentials: floating point `(num_states,)`, in nats, over the whole vector.  Arcs from or to a
        state with -inf keep their scores: a state with that distance is on no successful path.
      to_final: the direction.

    Raises:
      FsaTypeError: `fsa` is no Fsa, or `potentials` no floating-point tensor.
      FsaValueError: another shape, or a potential that is NaN or +inf.

    Source: OpenFst, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0\n1 2 6 1\n1 2 7 3\n2 3 -1 2\n3", acceptor=True)
    >>> reweight(fsa, torch.tensor([0.0, 5.0, 2.0, 0.0])).scores.tolist()
    [5.0, -2.0, 0.0, 0.0]
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    _check(fsa, potentials)
    source, destination = fsa.src_states(), fsa.dst_states()
    finite = torch.isfinite(potentials)
    free = _keeping_nothing(fsa, destination)
    kept = torch.where(finite & ~free, potentials, torch.zeros_like(potentials))
    of_start = kept[fsa.start_states()[fsa.arc_to_fsa()]]
    of_start = torch.where(fsa.labels == -1, of_start, torch.zeros_like(of_start))
    change = kept[destination] - kept[source] + of_start
    moved = fsa.scores + (-change if to_final else change)
    touched = (finite | free)[source] & (finite | free)[destination]
    return fsa.with_scores(torch.where(touched, moved.to(fsa.scores.dtype), fsa.scores))


def _check(fsa: Fsa, potentials: Tensor) -> None:
    if not isinstance(potentials, Tensor) or not potentials.is_floating_point():
        got = getattr(potentials, "dtype", type(potentials).__name__)
        raise FsaTypeError(f"potentials: must be a floating-point tensor, got {got}.")
    if potentials.shape != (fsa.num_states,):
        raise FsaValueError(
            f"potentials: must have one number for each of {fsa.num_states} states, got the shape "
            f"{tuple(potentials.shape)}."
        )
    wrong = torch.nonzero(torch.isnan(potentials) | (potentials == torch.inf))
    if wrong.numel():
        state = int(wrong[0])
        raise FsaValueError(
            f"potentials: state {state} has {float(potentials[state])}; needed are finite numbers, "
            "or -inf for a state on no successful path."
        )


def _keeping_nothing(fsa: Fsa, destination: Tensor) -> Tensor:
    """The final states, and the start states that no arc enters: a mask `(num_states,)`."""
    mask = torch.zeros(fsa.num_states, dtype=torch.bool, device=fsa.device)
    mask[fsa.start_states()[fsa.start_states() >= 0]] = True
    mask[destination] = False
    mask[fsa.final_states()[fsa.final_states() >= 0]] = True
    return mask
