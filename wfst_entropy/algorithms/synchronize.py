"""Output labels moved next to the input labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pending_labels import Step, Transducer, explore
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError


@overload
def synchronize(
    fst: Fsa,
    *,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def synchronize(
    fst: Fsa,
    *,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor]: ...
def synchronize(
    fst: Fsa,
    *,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor]:
    """The same transducer with input and output labels of a path side by side.

    Along each path the first output label stands with the first input label, the second with the
    second, and so on; where one side has more labels, the rest comes at the end, opposite to
    epsilons.  Arcs at which a label waits for its partner become epsilon on both sides.  Paths
    correspond one to one and keep their scores, so the weight of every pair of strings stays, in
    any semiring.

    States are those of `fst` together with the labels that wait.  There may be exponentially many
    of them, and infinitely many where a cycle writes more or fewer labels than it reads.

    Args:
      fst: a transducer (with `aux_labels`) or a vector of them; where `aux_labels` is ragged, arcs
        are first made into chains, as in `invert`.
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for none:
        int64 `(num_new_arcs,)`.
      max_states, max_arcs: limits of the result.

    Returns:
      The transducer, connected.

    Raises:
      CyclicFsaError: a cycle as above; the message names it.
      FsaAttributeError: `fst` has no `aux_labels`.
      FsaRuntimeError: the result outgrows a limit.
      FsaTypeError: not an Fsa, or `aux_labels` that are no integers.

    Source: Mohri 2003, "Edit-distance of weighted automata"; OpenFst, the operation of the same
    name.

    >>> fst = Fsa.from_str("0 1 5 0 1\\n1 2 0 7 2\\n2 3 6 8 3\\n3 4 -1 -1 0\\n4", num_aux_labels=1)
    >>> print(synchronize(fst))
    0 1 0 0 1
    1 2 5 7 2
    2 3 6 8 3
    3 4 -1 -1 0
    4
    """
    old = Transducer(fst)
    growth = old.growth()
    cycle = old.growing_cycle(growth) or old.growing_cycle(-growth)
    if cycle is not None:
        raise CyclicFsaError(
            f"synchronize: {cycle}, where the score counts how many labels one side has more than "
            "the other. Each turn leaves more labels waiting, so no finite transducer is "
            "synchronized. Intersect with finite input first, or give the cycle as many labels on "
            "one side as on the other."
        )

    def leaving(key: Any) -> Iterator[Step]:
        state, read, written = key
        if state is None:  # only waiting labels are left
            yield _both(None, read, written, ())
            return
        for arc in old.leaving(state):
            if arc.label == -1:
                yield _both(None, read, written, (arc.number,))
                continue
            to_read, to_write = read + arc.reads, written + arc.writes
            if to_read and to_write:
                yield _both(arc.to, to_read, to_write, (arc.number,))
            else:
                yield Step((arc.to, to_read, to_write), 0, 0, (arc.number,))

    starts = [(s, (), ()) if s >= 0 else None for s in old.fsa.start_states().tolist()]
    result, outputs, sources = explore("synchronize", starts, leaving, max_states, max_arcs)
    numbers = torch.tensor([s[0] if s else -1 for s in sources], dtype=torch.int64)
    new = _surgery.rebuild(old.fsa, result, numbers)
    new.set_attribute_("aux_labels", outputs.to(new.device))
    if not ret_arc_map:
        return new
    numbers = numbers.to(new.device)
    return new, torch.where(numbers >= 0, old.arc_map[numbers.clamp(min=0)], -1)


def _both(
    state: int | None, read: tuple[int, ...], written: tuple[int, ...], sources: tuple[int, ...]
) -> Step:
    """The arc with the first labels that wait on each side, or that into the final state."""
    if not read and not written:
        return Step(None, -1, -1, sources)
    label, output = (labels[0] if labels else 0 for labels in (read, written))
    return Step((state, read[1:], written[1:]), label, output, sources)
