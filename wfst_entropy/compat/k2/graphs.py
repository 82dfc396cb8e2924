"""k2's graphs that are built from labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import wfst_entropy.fsa as core
import wfst_entropy.topologies as topologies
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.ragged import RaggedTensor, core_ragged
from wfst_entropy.compat.k2.stacking import create_fsa_vec
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
    """A loop for each token from 1 to `max_token`; see `wfst_entropy.trivial_graph`.

    Example:
      >>> trivial_graph(2).arcs
      [ [ 0 0 1 0 0 0 2 0 0 1 -1 0 ] [ ] ]
    """
    return Fsa.from_core(topologies.trivial_graph(max_token, device))


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
    """A random FSA with scores from 0 to 10, in which every state but the last has an arc.

    So an acyclic one always has a successful path, which `wfst_entropy.random_fsa` need not have;
    code that was written for k2's, and draws until there is one, comes to an end.

    Args:
      acyclic: whether every arc goes to a larger state.
      max_symbol: the largest label.
      min_num_arcs: the smallest number of arcs, at least 0; with none the FSA is empty.
      max_num_arcs: the largest.
    """
    if not 0 <= min_num_arcs <= max_num_arcs or max_symbol < 0:
        raise FsaValueError(
            f"random_fsa: needs 0 <= min_num_arcs <= max_num_arcs and max_symbol >= 0, got "
            f"{min_num_arcs}, {max_num_arcs} and {max_symbol}."
        )
    num_arcs = int(torch.randint(min_num_arcs, max_num_arcs + 1, ()))
    if num_arcs == 0:
        return Fsa.from_core(core.Fsa.from_arcs([], num_states=0))
    final = int(torch.randint(1, num_arcs + 1, ()))
    more = torch.randint(0, final, (num_arcs - final,))
    src = torch.cat([torch.arange(final), more]).sort().values
    first = src + 1 if acyclic else torch.zeros_like(src)
    dst = first + (torch.rand(num_arcs) * (final + 1 - first)).long().clamp(max=final)
    label = torch.randint(0, max_symbol + 1, (num_arcs,)).masked_fill(dst == final, -1)
    arcs = torch.stack([src, dst, label], dim=1)
    return Fsa.from_core(core.Fsa.from_arcs(arcs, torch.rand(num_arcs) * 10, final + 1))


def random_fsa_vec(
    min_num_fsas: int = 1,
    max_num_fsas: int = 1000,
    acyclic: bool = True,
    max_symbol: int = 50,
    min_num_arcs: int = 0,
    max_num_arcs: int = 1000,
) -> Fsa:
    """A vector of FSAs that `random_fsa` makes.

    Example:
      >>> random_fsa_vec(3, 3, min_num_arcs=1, max_num_arcs=9).shape
      (3, None, None)
    """
    if not 1 <= min_num_fsas <= max_num_fsas:
        raise FsaValueError(
            f"random_fsa_vec: needs 1 <= min_num_fsas <= max_num_fsas, got {min_num_fsas} and "
            f"{max_num_fsas}."
        )
    num_fsas = int(torch.randint(min_num_fsas, max_num_fsas + 1, ()))
    return create_fsa_vec(
        [random_fsa(acyclic, max_symbol, min_num_arcs, max_num_arcs) for _ in range(num_fsas)]
    )
