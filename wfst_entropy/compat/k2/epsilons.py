"""k2's operations after which an arc stands for several: epsilon removal and determinization."""

from __future__ import annotations

from enum import Enum

import torch

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2 import arc_operations, fsa_properties
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.operations import add_epsilon_self_loops
from wfst_entropy.compat.k2.propagation import fsa_from_unary_function_ragged
from wfst_entropy.compat.k2.ragged import RaggedTensor, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc


def remove_epsilon(fsa: Fsa) -> Fsa:
    """Without epsilon arcs, and equal in the tropical semiring.

    int32 attributes such as `aux_labels` become ragged, without fillers.

    Example:
      >>> fsa = Fsa.from_str("0 1 0 7 0.1\\n1 2 5 8 0.2\\n2 3 -1 -1 0\\n3", acceptor=False)
      >>> removed = remove_epsilon(fsa)
      >>> removed.labels.tolist(), removed.aux_labels.tolist()
      ([5, -1], [[7, 8], []])
    """
    _ = fsa.properties
    arcs, arc_map = arc_operations.remove_epsilon(fsa.arcs)
    out = fsa_from_unary_function_ragged(fsa, arcs, arc_map, remove_filler=True)
    if isinstance(getattr(out, "aux_labels", None), RaggedTensor):
        out.aux_labels = out.aux_labels.remove_values_eq(0)
    return out


def remove_epsilon_iterative_tropical(fsa: Fsa) -> Fsa:
    """`remove_epsilon`, under the name that k2 had before."""
    return remove_epsilon(fsa)


def remove_epsilon_and_add_self_loops(fsa: Fsa, remove_filler: bool = True) -> Fsa:
    """`remove_epsilon`, then an epsilon loop on every state but the final one.

    Args:
      fsa: one FSA or a vector; one without epsilons only gets the loops.
      remove_filler: whether int32 attributes lose their fillers where they become ragged.
    """
    if fsa.properties & fsa_properties.EPSILON_FREE:
        return add_epsilon_self_loops(fsa)
    arcs, arc_map = arc_operations.remove_epsilon_and_add_self_loops(fsa.arcs)
    return fsa_from_unary_function_ragged(fsa, arcs, arc_map, remove_filler)


class DeterminizeWeightPushingType(Enum):
    """Where the scores of a determinized FSA go: early (pushed, in a semiring) or as they come."""

    kTropicalWeightPushing = "tropical"
    kLogWeightPushing = "log"
    kNoWeightPushing = "none"


def determinize(
    fsa: Fsa,
    weight_pushing_type: DeterminizeWeightPushingType = (
        DeterminizeWeightPushingType.kNoWeightPushing
    ),
) -> Fsa:
    """An FSA in which no state has two arcs with one label, equal in the tropical semiring.

    Args:
      fsa: one FSA or a vector, without epsilons: they are taken for a symbol like others.
      weight_pushing_type: where scores go.

    Returns:
      `fsa` itself if it is deterministic and arc-sorted.
    """
    if fsa.properties & fsa_properties.ARC_SORTED_AND_DETERMINISTIC:
        return fsa
    graph, arc_map = algorithms.determinize(
        fsa.bare(), weight_pushing=weight_pushing_type.value, ret_arc_map=True
    )
    lists = k2_ragged(arc_map.to(torch.int32))
    return fsa_from_unary_function_ragged(fsa, RaggedArc.of(graph), lists)
