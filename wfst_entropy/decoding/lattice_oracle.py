"""How good the best choice among the paths of a lattice could be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.edit_counts import checked_references
from wfst_entropy.decoding.nbest import linear_paths
from wfst_entropy.decoding.word_arcs import word_arcs
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor


class LatticeOracle(NamedTuple):
    """The path of each lattice that has the fewest edits from its reference.

    Attributes:
      paths: a vector of linear FSAs; the empty one where a lattice has no path.
      errors, insertions, deletions, substitutions: int64 `(num_utterances,)`; without a path, all
        words of the reference are deletions.
      num_ref_words: int64 `(num_utterances,)`.
    """

    paths: Fsa
    errors: Tensor
    insertions: Tensor
    deletions: Tensor
    substitutions: Tensor
    num_ref_words: Tensor

    @property
    def wer(self) -> float:
        """Errors of all utterances by their words, NaN without any word."""
        words = int(self.num_ref_words.sum())
        return int(self.errors.sum()) / words if words else float("nan")


def lattice_oracle(
    lattice: Fsa,
    refs: Sequence[Sequence[int]] | RaggedTensor,
    *,
    max_states: int = _surgery.MAX_STATES,
) -> LatticeOracle:
    """Finds the path with the fewest edits from the reference, and of several that scores most.

    The word error rate that no rescoring of the lattice can go below.  Exact: the best path through
    the pairs of a state and a number of words read, in time of arcs times words.

    Args:
      lattice: an acyclic FSA or vector with words as `aux_labels`, a tensor or ragged.
      refs: the words of each reference, `[utt][word]`, integers above 0.
      max_states: bounds the memory of the table of one lattice, at 80 bytes per state (64 MB at
        least); a pair takes 24 bytes.

    Raises:
      DecodingError: the lattice has no words.
      FsaTypeError, FsaValueError: another number of references, or words in them below 1.
      CyclicFsaError: a lattice has a cycle.
      FsaRuntimeError: the table outgrows the limit.

    >>> lattice = Fsa.from_fsas([Fsa.from_str("0 1 5 7 -1\\n0 1 6 8 -2\\n1 2 -1 -1 0\\n2")])
    >>> oracle = lattice_oracle(lattice, [[8, 9]])
    >>> oracle.errors.tolist(), oracle.paths.aux_labels.tolist(), oracle.wer
    ([1], [8, -1], 0.5)
    """
    single = word_arcs(lattice).top_sorted()
    references = checked_references(single.fsa, refs)
    result = _surgery.run(
        "lattice_oracle",
        single.fsa,
        scores=True,
        aux_labels=[single.words],
        parameters=(references.shape.row_splits(1).data_ptr(), references.values.data_ptr()),
        max_states=max_states,
    )
    splits, arcs, counts = (part.to(lattice.device) for part in result.maps)
    chosen = RaggedTensor(RaggedShape(splits), single.arc_map[arcs]).remove_values_eq(-1)
    insertions, deletions, substitutions = counts.view(-1, 3).unbind(1)
    vector = lattice if lattice.num_axes == 3 else Fsa.from_fsas([lattice])
    return LatticeOracle(
        linear_paths(vector, chosen),
        insertions + deletions + substitutions,
        insertions,
        deletions,
        substitutions,
        references.shape.row_splits(1).diff().to(lattice.device),
    )
