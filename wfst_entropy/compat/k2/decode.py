"""k2's reading of decoded paths."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.paths import shortest_path
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError


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
