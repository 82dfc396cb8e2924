"""The best path of each lattice, and the words on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from torch import Tensor

from wfst_entropy.algorithms.shortest_path import shortest_path
from wfst_entropy.decoding.lattice_scores import scaled_lattice
from wfst_entropy.decoding.word_arcs import words_of_arcs
from wfst_entropy.fsa import Fsa, RaggedTensor


@overload
def one_best_decoding(lattice: Fsa, lm_scale_list: None = None) -> Fsa: ...
@overload
def one_best_decoding(lattice: Fsa, lm_scale_list: Sequence[float]) -> dict[str, Fsa]: ...
def one_best_decoding(
    lattice: Fsa, lm_scale_list: Sequence[float] | None = None
) -> Fsa | dict[str, Fsa]:
    r"""The best path of each lattice.

    Args:
      lattice: an FSA or a vector `[utt][state][arc]`.
      lm_scale_list: scales :math:`\lambda` of the attribute `lm_scores`, each of which gives paths
        that are best by :math:`\mathrm{am} + \lambda\,\mathrm{lm}` (see `scaled_lattice`).

    Returns:
      A vector of linear FSAs with the attributes of their arcs, the empty one where a lattice has
      no path; with `lm_scale_list` a dict of them, under the key `lm_scale_0.5` for 0.5.

    Raises:
      DecodingError: scales are given, but no `lm_scores`.
      CyclicFsaError, FsaTypeError, FsaValueError: as `shortest_path`.

    Source: icefall and k2, the operation of the same name.

    >>> lattice = Fsa.from_str("0 1 5 7 0.5\n0 1 6 8 1\n1 2 -1 -1 0\n2")
    >>> get_aux_labels(one_best_decoding(lattice))
    [[8]]
    """
    if lm_scale_list is None:
        return shortest_path(_vector(lattice))
    return {
        f"lm_scale_{scale}": shortest_path(scaled_lattice(_vector(lattice), lm_scale=scale))
        for scale in lm_scale_list
    }


def get_aux_labels(best_paths: Fsa) -> list[list[int]]:
    r"""The words along each linear FSA: `aux_labels`, a tensor or ragged, without 0 and -1.

    Args:
      best_paths: one linear FSA or a vector, such as `one_best_decoding` gives.

    Raises:
      DecodingError: there are no `aux_labels` of integers.

    Source: k2, the operation of the same name.

    >>> get_aux_labels(Fsa.from_str("0 1 5 7 0\n1 2 0 0 0\n2 3 6 8 0\n3 4 -1 -1 0\n4"))
    [[7, 8]]
    """
    found: list[list[int]] = words_of_paths(best_paths).tolist()
    return found


def words_of_paths(paths: Fsa) -> RaggedTensor:
    """The same, ragged `[path][word]`."""
    words = words_of_arcs(paths)
    shape = _vector(paths).shape.remove_axis(1)  # [path][arc]
    if isinstance(words, Tensor):
        return RaggedTensor(shape, words).remove_values_leq(0)
    kept = words.remove_values_leq(0)
    return RaggedTensor(shape.compose(kept.shape).remove_axis(1), kept.values)


def _vector(fsas: Fsa) -> Fsa:
    return fsas if fsas.num_axes == 3 else Fsa.from_fsas([fsas])
