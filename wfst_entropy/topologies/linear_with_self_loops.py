"""Graphs with one path, prepared for intersection that takes epsilon for an ordinary label."""

from __future__ import annotations

import torch

from wfst_entropy.algorithms import remove_epsilon_and_add_self_loops
from wfst_entropy.fsa import Fsa, FsaAttributeError, FsaTypeError, FsaValueError


def linear_fsa_with_self_loops(fsas: Fsa) -> Fsa:
    """Drops the epsilons of linear FSAs, and gives every state but the last an epsilon self-loop.

    Scores become zero, and attributes are left behind (`linear_fst_with_self_loops` keeps both).

    Args:
      fsas: an FSA with one path, or a vector of them, for example of `linear_fsa`.

    Raises:
      FsaTypeError: not an Fsa.
      FsaValueError: one is not linear; the message names it and the state.

    Source: k2, the operation of the same name.

    >>> from wfst_entropy.topologies import linear_fsa
    >>> print(linear_fsa_with_self_loops(linear_fsa([5, 0])))
    0 0 0 0
    0 1 5 0
    1 1 0 0
    1 2 -1 0
    2
    """
    _check_linear(fsas, "linear_fsa_with_self_loops")
    return remove_epsilon_and_add_self_loops(Fsa(fsas.shape, fsas.arcs))


def linear_fst_with_self_loops(fsts: Fsa) -> Fsa:
    """As `linear_fsa_with_self_loops` for transducers, with their scores and attributes.

    What stood on an arc with an epsilon label goes to the arc with the next label; `aux_labels`
    become ragged, because an arc may then have several or none.

    Args:
      fsts: a transducer with one path, or a vector of them, for example of `linear_fst`.

    Raises:
      FsaAttributeError: there are no `aux_labels`.
      FsaTypeError, FsaValueError: as `linear_fsa_with_self_loops`.

    Source: k2, the operation of the same name.

    >>> from wfst_entropy.topologies import linear_fst
    >>> fst = linear_fst_with_self_loops(linear_fst([0, 5], [40, 50]))
    >>> fst.labels.tolist(), fst.aux_labels.tolist()
    ([0, 5, 0, -1], [[], [40, 50], [], []])
    """
    _check_linear(fsts, "linear_fst_with_self_loops")
    if "aux_labels" not in fsts.attributes:
        raise FsaAttributeError(
            "fsts: needs the attribute aux_labels; use linear_fsa_with_self_loops for acceptors."
        )
    return remove_epsilon_and_add_self_loops(fsts)


def _check_linear(fsas: Fsa, operation: str) -> None:
    if not isinstance(fsas, Fsa):
        raise FsaTypeError(f"{operation}: needs an Fsa, got {type(fsas).__name__}.")
    fanout = torch.bincount(fsas.src_states(), minlength=fsas.num_states)
    final = fsas.final_states()
    fanout[final[final >= 0]] += 1
    wrong = (fanout != 1).nonzero().flatten().tolist()
    if not wrong:
        arcs = (fsas.arcs[:, 1] != fsas.arcs[:, 0] + 1).nonzero().flatten()
        wrong = fsas.src_states()[arcs].tolist()
    if wrong:
        fsa = int(fsas.state_to_fsa()[wrong[0]])
        state = wrong[0] - int(fsas.start_states()[fsa])
        raise FsaValueError(
            f"{operation}: FSA {fsa} is not linear: state {state} must have one arc, to state "
            f"{state + 1}. Use remove_epsilon_and_add_self_loops for other graphs."
        )
