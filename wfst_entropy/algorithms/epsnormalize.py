"""Epsilons moved to the end of every path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import torch

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pending_labels import Labels, OldArc, Step, Transducer, explore
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import CyclicFsaError


@overload
def epsnormalize(
    fst: Fsa,
    *,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def epsnormalize(
    fst: Fsa,
    *,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, RaggedTensor]: ...
def epsnormalize(
    fst: Fsa,
    *,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, RaggedTensor]:
    """The same transducer with the input epsilons of every path after its input labels.

    No state before the last input label is left over an epsilon, so a reader always knows where to
    go next; the outputs of the epsilons that were there are written later.  Paths correspond one to
    one and keep their scores, so the weight of every pair of strings stays, in any semiring.  For
    output epsilons instead, apply it between two calls of `invert`.

    States are those of `fst` together with the output that is still to be written.  There may be
    exponentially many, and infinitely many where a cycle writes more labels than it reads.

    Args:
      fst: a transducer (with `aux_labels`) or a vector of them; where `aux_labels` is ragged, arcs
        are first made into chains, as in `invert`.
      ret_arc_map: whether to return, too, the old arcs that each new one stands for, some epsilons
        and the arc after them: ragged int64, `num_new_arcs` lists.  Attributes follow it: floating-
        point ones add up, integers but `aux_labels` become lists.
      max_states, max_arcs: limits of the result.

    Returns:
      The transducer, connected, with a tensor of `aux_labels`.

    Raises:
      CyclicFsaError: a cycle as above, or one without any label; the message names it.
      FsaAttributeError: `fst` has no `aux_labels`; `remove_epsilon` is for acceptors.
      FsaRuntimeError: the result outgrows a limit.
      FsaTypeError: not an Fsa, or `aux_labels` that are no integers.

    Source: Mohri 2002, "Generic epsilon-removal and input epsilon-normalization algorithms for
    weighted transducers"; OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 0 7 1\\n1 2 5 8 2\\n2 3 -1 -1 0\\n3", num_aux_labels=1)
    >>> new, arc_map = epsnormalize(fst, ret_arc_map=True)
    >>> print(new)
    0 1 5 7 3
    1 2 0 8 0
    2 3 -1 -1 0
    3
    >>> arc_map
    [[0, 1], [2], []]
    """
    old = Transducer(fst)
    cycle = old.growing_cycle(old.growth())
    if cycle is not None:
        raise CyclicFsaError(
            f"epsnormalize: {cycle}, where the score counts how many labels it writes more than it "
            "reads. Each turn leaves more output to be written later, so no finite transducer has "
            "its epsilons at the end. Intersect with finite input first."
        )

    def leaving(key: Any) -> Iterator[Step]:
        state, pending = key
        if state is None:  # only output is left
            yield _write(pending, ())
            return
        for epsilons, written, arc in _next_arcs(old, state):
            sources = (*epsilons, arc.number)
            if arc.label == -1:
                yield _write(pending + written, sources)
            else:
                output = pending + written + arc.writes
                to, first = (arc.to, output[1:]), output[0] if output else 0
                yield Step(to, arc.label, first, sources)

    starts = [(s, ()) if s >= 0 else None for s in old.fsa.start_states().tolist()]
    result, outputs, sources = explore("epsnormalize", starts, leaving, max_states, max_arcs)
    flat = torch.tensor([arc for arcs in sources for arc in arcs], dtype=torch.int64)
    sizes = torch.tensor([len(arcs) for arcs in sources], dtype=torch.int64)
    arc_map = RaggedTensor(RaggedShape.from_sizes(sizes), flat).to(fst.device)
    new = _surgery.rebuild_ragged(old.fsa, result, arc_map)
    new.set_attribute_("aux_labels", outputs.to(new.device))
    if not ret_arc_map:
        return new
    origins = RaggedTensor(arc_map.shape, old.arc_map[arc_map.values])
    return new, origins.remove_values_eq(-1)


def _write(output: Labels, sources: tuple[int, ...]) -> Step:
    """The arc that writes the first label of `output`, or goes into the final state."""
    if not output:
        return Step(None, -1, -1, sources)
    return Step((None, output[1:]), 0, output[0], sources)


def _next_arcs(old: Transducer, state: int) -> Iterator[tuple[Labels, Labels, OldArc]]:
    """The arcs that come next after any input epsilons: those arcs, what they write, and the arc.

    Raises:
      CyclicFsaError: the epsilons come back to a state.
    """
    paths: list[tuple[tuple[int, ...], Labels, Labels]] = [((state,), (), ())]
    while paths:
        states, epsilons, written = paths.pop()
        for arc in old.leaving(states[-1]):
            if arc.label != 0:
                yield epsilons, written, arc
                continue
            if arc.to in states:
                walk = " -> ".join(map(str, (*states[states.index(arc.to) :], arc.to)))
                raise CyclicFsaError(
                    f"epsnormalize: the cycle of states {walk} (counted over the connected FSAs) "
                    "has no labels at all, so it can be passed any number of times. Sum it up "
                    "first: `encode` the labels, `relabel` the code of the two epsilons to 0, "
                    "`remove_epsilon`, and `decode`."
                )
            paths.append(((*states, arc.to), (*epsilons, arc.number), written + arc.writes))
