"""k2's lattices of log-probs, and its reading of decoded paths."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.autograd import intersect_dense_pruned
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.paths import shortest_path
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError


def get_lattice(
    log_prob: Tensor,
    log_prob_len: Tensor,
    decoding_graph: Fsa,
    search_beam: float = 20,
    output_beam: float = 8,
    min_active_states: int = 30,
    max_active_states: int = 10000,
    subsampling_factor: int = 1,
) -> Fsa:
    """The lattices of a batch of log-probs, by `intersect_dense_pruned`.

    Args:
      log_prob: `(N, T, C)`.
      log_prob_len: integers `(N,)`, frames of each utterance.
      decoding_graph: such as an HLG, or `ctc_topo`.
      search_beam: see `intersect_dense_pruned`, likewise the next three.
      output_beam: see there.
      min_active_states: see there.
      max_active_states: see there.
      subsampling_factor: of the model; lengths may be so much less one beyond `T`, and are cut.

    Raises:
      FsaTypeError, FsaValueError: see `DenseFsaVec` and `intersect_dense_pruned`.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> lengths = torch.tensor([2])
      >>> lattice = get_lattice(torch.zeros(1, 2, 2), lengths, k2.ctc_graph([[1]]))
      >>> lattice.get_tot_scores(use_double_scores=True, log_semiring=True).exp()
      tensor([3.0000], dtype=torch.float64)
    """
    numbers = torch.arange(log_prob.shape[0], dtype=torch.int32)
    lengths = log_prob_len.cpu().to(torch.int32)
    segments = torch.stack([numbers, torch.zeros_like(numbers), lengths], dim=1)
    dense = DenseFsaVec(log_prob, segments, allow_truncate=subsampling_factor - 1)
    return intersect_dense_pruned(
        decoding_graph, dense, search_beam, output_beam, min_active_states, max_active_states
    )


def aux_labels_of(best_paths: Fsa) -> RaggedTensor:
    """The `aux_labels` along linear FSAs, without 0 and -1, int32 `[fsa][label]`.

    Raises:
      FsaTypeError: this is not a vector with `aux_labels`.
    """
    aux_labels = getattr(best_paths, "aux_labels", None)
    if best_paths.arcs.num_axes() != 3 or not isinstance(aux_labels, (Tensor, RaggedTensor)):
        raise FsaTypeError("best_paths: needs a vector of FSAs with aux_labels.")
    shape = best_paths.arcs.shape()
    if isinstance(aux_labels, RaggedTensor):
        kept = aux_labels.remove_values_leq(0)
        shape = shape.compose(kept.shape).remove_axis(1).remove_axis(1)
        return RaggedTensor(shape, kept.values)
    return RaggedTensor(shape.remove_axis(1), aux_labels).remove_values_leq(0)


def get_aux_labels(best_paths: Fsa) -> list[list[int]]:
    """The `aux_labels` along linear FSAs, such as `shortest_path` gives, without 0 and -1.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> get_aux_labels(k2.linear_fst([[1, 2, 3]], [[7, 0, 8]]))
      [[7, 8]]
    """
    return aux_labels_of(best_paths).tolist()


def one_best_decoding(lattice: Fsa, use_double_scores: bool = True) -> Fsa:
    """The best path of each lattice; `shortest_path` under another name."""
    return shortest_path(lattice, use_double_scores)
