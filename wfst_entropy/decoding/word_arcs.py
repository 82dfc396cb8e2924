"""A lattice with at most one word on each arc."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.expand_ragged_attributes import expand_ragged_attributes
from wfst_entropy.algorithms.top_sort import top_sort
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa, RaggedTensor


class WordArcs(NamedTuple):
    """A lattice whose arcs with lists of words have become chains.

    Attributes:
      fsa: a vector without attributes; its labels are those of the lattice.
      words: int32 `(num_arcs,)`, 0 for none.
      arc_map: int64 `(num_arcs,)`, the arc of the lattice that each arc begins, -1 for the rest of
        a chain.
    """

    fsa: Fsa
    words: Tensor
    arc_map: Tensor

    def acceptor(self) -> Fsa:
        """The same with words as labels, and epsilons where there are none."""
        labels = torch.where(self.fsa.labels == -1, -1, self.words)
        arcs = torch.cat([self.fsa.arcs[:, :2], labels[:, None]], dim=1)
        return self.fsa._like(self.fsa.shape, arcs, self.fsa.scores, {})

    def top_sorted(self) -> WordArcs:
        """The same with arcs that all go to larger states.

        Raises:
          CyclicFsaError: it has a cycle.
        """
        if self.fsa.properties.top_sorted:
            return self
        fsa, order = top_sort(self.fsa, ret_arc_map=True)
        return WordArcs(fsa, self.words[order], self.arc_map[order])


def word_arcs(lattice: Fsa) -> WordArcs:
    """A lattice, one FSA or a vector, with at most one word on each arc; without gradient.

    Raises:
      DecodingError: it has no words, integers `aux_labels`.
    """
    words = words_of_arcs(lattice)
    plain = lattice.detach()
    if plain.num_axes == 2:
        plain = Fsa.from_fsas([plain])
    arc_map = torch.arange(plain.num_arcs, device=plain.device)
    if isinstance(words, RaggedTensor):
        only_words = plain._like(plain.shape, plain.arcs, plain.scores, {"aux_labels": words})
        plain, arc_map = expand_ragged_attributes(only_words, True, ["aux_labels"])
        words = plain.attributes["aux_labels"]
    fsa = plain._like(plain.shape, plain.arcs, plain.scores, {})
    return WordArcs(fsa, words.to(torch.int32).clamp(min=0), arc_map)


def words_of_arcs(lattice: Fsa) -> Tensor | RaggedTensor:
    """The words on the arcs: `aux_labels`, one integer or a list of them for each.

    Raises:
      DecodingError: it has none.
    """
    words = lattice.attributes.get("aux_labels")
    if not isinstance(words, (Tensor, RaggedTensor)) or words.dtype.is_floating_point:
        have = ", ".join(lattice.attributes) or "none"
        raise DecodingError(
            "lattice: needs words on its arcs, the integer attribute aux_labels; it has the "
            f"attributes {have}."
        )
    return words
