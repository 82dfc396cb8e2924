"""k2's graphs that are built from labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import wfst_entropy.algorithms as algorithms
import wfst_entropy.fsa as core
import wfst_entropy.topologies as topologies
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.ragged import RaggedTensor, core_ragged
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

Device = torch.device | str | None
Symbols = Sequence[Sequence[int]] | RaggedTensor


def _core(symbols: Symbols) -> Sequence[Sequence[int]] | core.RaggedTensor:
    return core_ragged(symbols) if isinstance(symbols, RaggedTensor) else symbols


def linear_fsa(labels: Sequence[int] | Symbols, device: Device = None) -> Fsa:
    """The acceptor of one label sequence, or a vector of those of several.

    Example:
      >>> linear_fsa([5, 7]).arcs
      [ [ 0 1 5 0 ] [ 1 2 7 0 ] [ 2 3 -1 0 ] [ ] ]
      >>> linear_fsa(RaggedTensor([[5], []])).shape
      (2, None, None)
    """
    rows = core_ragged(labels) if isinstance(labels, RaggedTensor) else labels
    return Fsa.from_core(topologies.linear_fsa(rows, device))


def linear_fst(
    labels: Sequence[int] | Sequence[Sequence[int]],
    aux_labels: Sequence[int] | Sequence[Sequence[int]],
) -> Fsa:
    """The transducer of two equally long sequences, or a vector of those of several pairs."""
    return Fsa.from_core(topologies.linear_fst(labels, aux_labels))


def linear_fsa_with_self_loops(fsas: Fsa) -> Fsa:
    """Linear FSAs without epsilons, then with an epsilon loop on every state but the final one.

    Scores and attributes are dropped, as in k2.
    """
    return Fsa.from_core(topologies.linear_fsa_with_self_loops(fsas.bare()))


def linear_fst_with_self_loops(fsts: Fsa) -> Fsa:
    """`linear_fsa_with_self_loops` that keeps scores, and `aux_labels`, which become ragged."""
    if not hasattr(fsts, "aux_labels"):
        raise FsaTypeError("fsts: has no aux_labels; see k2.linear_fsa_with_self_loops.")
    graph = fsts.bare()
    aux_labels = fsts.aux_labels
    is_ragged = isinstance(aux_labels, RaggedTensor)
    graph.set_attribute_("aux_labels", core_ragged(aux_labels) if is_ragged else aux_labels)
    return Fsa.from_core(topologies.linear_fst_with_self_loops(graph))


def ctc_graph(symbols: Symbols, modified: bool = False, device: Device = None) -> Fsa:
    """CTC training graphs of transcripts; see `wfst_entropy.ctc_graph`.

    Example:
      >>> ctc_graph([[1, 2]]).num_arcs
      12
    """
    return Fsa.from_core(topologies.ctc_graph(_core(symbols), modified, device))


def ctc_topo(max_token: int, modified: bool = False, device: Device = None) -> Fsa:
    """The CTC topology over tokens 1 to `max_token`; see `wfst_entropy.ctc_topo`."""
    return Fsa.from_core(topologies.ctc_topo(max_token, modified, device))


def trivial_graph(max_token: int, device: Device = None) -> Fsa:
    """One state with a loop for each token from 1 to `max_token`, and the final state.

    Example:
      >>> trivial_graph(2).arcs
      [ [ 0 0 1 0 0 0 2 0 0 1 -1 0 ] [ ] ]
    """
    if max_token < 1:
        raise FsaValueError(f"max_token: must be at least 1, got {max_token}.")
    label = torch.arange(1, max_token + 2, dtype=torch.int32, device=device)
    is_final = label > max_token
    label = label.masked_fill(is_final, -1)
    arcs = torch.stack([torch.zeros_like(label), is_final.to(torch.int32), label], dim=1)
    return Fsa.from_core(core.Fsa.from_arcs(arcs, num_states=2, aux_labels=label.clone()))


def levenshtein_graph(
    symbols: Symbols, ins_del_score: float = -0.501, device: Device = None
) -> Fsa:
    """The graphs of the ways to edit each sequence; see `wfst_entropy.levenshtein_graph`."""
    ans = Fsa.from_core(topologies.levenshtein_graph(_core(symbols), ins_del_score, device))
    return ans.rename_tensor_attribute_("ins_del_score_offset", OFFSET)


OFFSET = "__ins_del_score_offset_internal_attr_"
"""k2's name for what `levenshtein_alignment` takes from the scores."""


def random_fsa(
    acyclic: bool = True, max_symbol: int = 50, min_num_arcs: int = 0, max_num_arcs: int = 1000
) -> Fsa:
    """A random FSA; see `wfst_entropy.random_fsa`."""
    return Fsa.from_core(algorithms.random_fsa(acyclic, max_symbol, min_num_arcs, max_num_arcs))


def random_fsa_vec(
    min_num_fsas: int = 1,
    max_num_fsas: int = 1000,
    acyclic: bool = True,
    max_symbol: int = 50,
    min_num_arcs: int = 0,
    max_num_arcs: int = 1000,
) -> Fsa:
    """A vector of random FSAs; see `wfst_entropy.random_fsa_vec`."""
    return Fsa.from_core(
        algorithms.random_fsa_vec(
            min_num_fsas, max_num_fsas, acyclic, max_symbol, min_num_arcs, max_num_arcs
        )
    )
