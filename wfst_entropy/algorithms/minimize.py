"""The smallest deterministic FSA with the same weights."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._arc_symbols import arc_symbols
from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.algorithms.push import push
from wfst_entropy.algorithms.shortest_distance import shortest_distance
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import Semiring, TropicalSemiring

_TROPICAL = TropicalSemiring()


@overload
def minimize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    delta: float = 2**-13,
    ret_arc_map: Literal[False] = False,
) -> Fsa: ...
@overload
def minimize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    delta: float = 2**-13,
    ret_arc_map: Literal[True],
) -> tuple[Fsa, Tensor]: ...
def minimize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    delta: float = 2**-13,
    ret_arc_map: bool = False,
) -> Fsa | tuple[Fsa, Tensor]:
    """Merges the states of a deterministic FSA that weigh all strings alike.

    Scores are pushed towards the start, then states with the same future are merged, so that no
    deterministic FSA with the same weights has fewer states.  The result is connected, and its
    scores stay pushed.

    Label and integer attributes of an arc count together as its symbol, so a transducer keeps its
    outputs arc by arc (they are not moved to where more states could be merged, as OpenFst does).
    Of merged arcs the one with the smallest number remains, and it alone has float attributes and
    gets gradients.

    Args:
      fsa: an FSA or a vector of them, cyclic or not, in which no state has two arcs with one
        symbol.
      semiring: in which scores are pushed, `TropicalSemiring()` or `LogSemiring()`; take that of
        the operations to come.
      delta: pushed scores closer than about this, in nats, count as equal.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      CyclicFsaError: the weights of cycles do not converge; the message names one.
      FsaValueError: not deterministic (the message names the state and the arcs), or a score is NaN
        or +inf.
      FsaTypeError: not an Fsa, another semiring.

    Source: Mohri 1997, "Finite-state transducers in language and speech processing"; Valmari 2012,
    "Fast brief practical DFA minimization".

    >>> fsa = Fsa.from_str("0 1 1 0\\n0 2 2 0\\n1 3 3 2\\n2 3 3 5\\n3 4 -1 0\\n4", acceptor=True)
    >>> print(minimize(fsa))
    0 1 1 2
    0 1 2 5
    1 2 3 0
    2 3 -1 0
    3
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"minimize: needs an Fsa, got {type(fsa).__name__}.")
    if not delta > 0:
        raise FsaValueError(f"delta: must be a positive number of nats, got {delta!r}.")
    adds_logs(semiring, "minimize")
    pushed = _pushed(fsa.to(torch.float64), semiring)
    attributes = arc_symbols(fsa)
    # Labels are below 2**31 and ids at most the number of arcs: the pair fits into an int64.
    symbols = (fsa.labels.cpu().to(torch.int64) + 1) * (fsa.num_arcs + 1) + attributes
    parameters = (symbols.data_ptr(), float(delta))
    result = _surgery.run("minimize", pushed, scores=True, parameters=parameters)
    (arc_map,) = result.maps
    new = _surgery.rebuild(pushed, result, arc_map)
    new = push(new, semiring).to(fsa.scores.dtype)
    return (new, arc_map.to(fsa.device)) if ret_arc_map else new


def _pushed(fsa: Fsa, semiring: Semiring) -> Fsa:
    """As `push`, with the total always on the final arcs: so the start may be like other states."""
    distance = shortest_distance(fsa, semiring, reverse=True)
    reached = torch.isfinite(distance)
    kept = torch.where(reached, distance, torch.zeros_like(distance))
    source, destination = fsa.src_states(), fsa.dst_states()
    change = kept[destination] - kept[source]
    total = kept[fsa.start_states()[fsa.arc_to_fsa()]]
    change = change + torch.where(fsa.labels == -1, total, torch.zeros_like(total))
    useful = reached[source] & reached[destination]
    return fsa.with_scores(torch.where(useful, fsa.scores + change, fsa.scores))
