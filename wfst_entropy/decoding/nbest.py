"""N-best lists: the paths of a lattice that tell different words."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.algorithms import (
    get_tot_scores,
    n_shortest_paths,
    prune,
    random_paths,
    shortest_path,
)
from wfst_entropy.algorithms._pairing import Pairing
from wfst_entropy.algorithms.phi_compose import compose_pairs
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.lattice_scores import (
    acoustic_scores,
    check_scale,
    lm_scores_of,
    scaled_scores,
)
from wfst_entropy.decoding.one_best import words_of_paths
from wfst_entropy.decoding.word_arcs import word_arcs
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.topologies import linear_fsa


class Nbest:
    """Paths of lattices as linear FSAs, several or none for each utterance.

    Args:
      fsa: a vector of linear FSAs `[path][state][arc]`, with words as `aux_labels`.
      shape: `[utt][path]`, with as many paths as `fsa` has FSAs.

    Raises:
      FsaValueError: the two do not fit.

    >>> lattice = Fsa.from_fsas([Fsa.from_str('''
    ... 0 1 5 7 -1
    ... 0 1 6 7 -2
    ... 0 1 6 8 -3
    ... 1 2 -1 -1 0
    ... 2''')])
    >>> nbest = Nbest.from_lattice_exact(lattice, 3)
    >>> nbest.words(), nbest.total_scores()
    ([[7], [8]], [[-1.0, -3.0]])
    """

    def __init__(self, fsa: Fsa, shape: RaggedShape) -> None:
        if fsa.num_axes != 3 or shape.num_axes != 2 or fsa.num_fsas != shape.tot_size(1):
            raise FsaValueError(
                "Nbest: needs a vector of linear FSAs and a shape [utt][path] with one path for "
                f"each, got {fsa!r} and a shape of sizes {shape.tot_sizes()}."
            )
        self.fsa = fsa
        self.shape = shape

    def __repr__(self) -> str:
        return f"Nbest(num_utterances={self.shape.dim0}, num_paths={self.fsa.num_fsas})"

    @classmethod
    def from_lattice(
        cls,
        lattice: Fsa,
        num_paths: int,
        nbest_scale: float = 0.5,
        *,
        generator: torch.Generator | None = None,
    ) -> Nbest:
        """Draws paths and keeps, of those with the same words, the best; the best words first.

        Args:
          lattice: an acyclic FSA or vector with words as `aux_labels`, a tensor or ragged.
          num_paths: how many are drawn for each utterance.
          nbest_scale: scores are multiplied by it before; the smaller, the more different the
            paths.
          generator: see `random_paths`; without one the paths are spread evenly.

        Returns:
          As many paths as there are different word sequences among them; differentiable in the
          scores of the lattice.

        Raises:
          DecodingError: there are no `aux_labels`; FsaError: as `random_paths`, or `nbest_scale` is
            no finite number.
        """
        vector = _vector(lattice)
        check_scale("nbest_scale", nbest_scale)
        flat = vector.detach()
        flat = flat.with_scores(scaled_scores(flat.scores, nbest_scale))
        paths = random_paths(flat, num_paths, generator=generator)
        drawn = cls(linear_paths(vector, paths.remove_axis(0)), paths.shape.remove_axis(2))
        return drawn._choose(drawn._best_of_each_sequence())

    @classmethod
    def from_lattice_exact(cls, lattice: Fsa, n: int) -> Nbest:
        """The `n` word sequences whose best paths score most, each with that path; best first.

        Args:
          lattice: as in `from_lattice`; cycles without a positive score are fine.
          n: at least 1; there are fewer paths where there are fewer word sequences.

        Raises:
          DecodingError, FsaError: as `from_lattice` and `n_shortest_paths`.
        """
        vector = _vector(lattice)
        single = word_arcs(vector)
        acceptor = single.acceptor()
        lists = [_best_strings(acceptor, i, n) for i in range(len(acceptor))]
        found = RaggedTensor.cat(lists) if lists else n_shortest_paths(acceptor, n)
        arcs = RaggedTensor(found.shape, single.arc_map[found.values])
        # the rest of the chains that ragged words were
        kept = arcs.remove_axis(0).remove_values_eq(-1)
        return cls(linear_paths(vector, kept), found.shape.remove_axis(2))

    def words(self) -> RaggedTensor:
        """The words of each path, int32 `[path][word]`."""
        return words_of_paths(self.fsa)

    def total_scores(self) -> RaggedTensor:
        """The score of each path, `[utt][path]`; differentiable."""
        return self._sums(self.fsa.scores)

    def lm_scores(self) -> RaggedTensor:
        """The part of `total_scores` that came from the graph, by the attribute `lm_scores`.

        Raises:
          DecodingError: there is no such attribute.
        """
        return self._sums(lm_scores_of(self.fsa))

    def am_scores(self) -> RaggedTensor:
        """The part of `total_scores` that came from the frames; raises as `lm_scores`."""
        return self._sums(acoustic_scores(self.fsa))

    def intersect(self, lattice: Fsa) -> Nbest:
        """The best path of each word sequence in the lattice of its utterance.

        Args:
          lattice: a vector with one FSA for each utterance, with words as `aux_labels`.

        Returns:
          Paths of `lattice`; the empty FSA, which scores -inf, where it has no such words.
        """
        return Nbest(shortest_path(self._same_words(lattice)), self.shape)

    def sequence_scores(self, lattice: Fsa) -> RaggedTensor:
        r"""The weight of each word sequence in the lattice of its utterance, `[utt][path]`.

        :math:`\log \sum_\pi e^{w(\pi)}` over all paths with these words, however aligned;
        differentiable.
        """
        return RaggedTensor(self.shape, get_tot_scores(self._same_words(lattice)))

    def top_k(self, k: int) -> Nbest:
        """The best `k` paths of each utterance by `total_scores`, or all if there are fewer.

        Raises:
          FsaValueError: `k` is below 1.
        """
        if k < 1:
            raise FsaValueError(f"k: must be at least 1, got {k}.")
        ranked = self._ranked(self.total_scores().values)
        splits = self.shape.row_splits(1)
        rank = torch.arange(len(ranked), device=splits.device) - splits[self.shape.row_ids(1)]
        return self._choose(ranked[rank < k])

    def best(self, scores: Tensor | None = None) -> Fsa:
        """The best path of each utterance, `[utt][state][arc]`; the empty FSA where there is none.

        Args:
          scores: `(num_paths,)`, by which to choose; `total_scores` by default.

        Raises:
          FsaValueError: another number of scores.
        """
        if scores is not None and scores.shape != (self.fsa.num_fsas,):
            raise FsaValueError(
                f"scores: must be one for each of {self.fsa.num_fsas} paths, got the shape "
                f"{tuple(scores.shape)}."
            )
        ranked = self._ranked(self.total_scores().values if scores is None else scores)
        splits = self.shape.row_splits(1)
        there = splits[1:] > splits[:-1]
        chosen = self.fsa[ranked[splits[:-1][there]]]
        sizes = torch.zeros_like(splits[1:])
        sizes[there] = chosen.shape.row_splits(1).diff()
        shape = RaggedShape.from_sizes(sizes).compose(chosen.shape.get_layer(1))
        return chosen._like(shape, chosen.arcs, chosen.scores, dict(chosen.attributes))

    def _sums(self, values: Tensor) -> RaggedTensor:
        per_path = RaggedTensor(self.fsa.shape.remove_axis(1), values).sum()
        # the empty FSA is no path
        states = self.fsa.shape.row_splits(1).diff()
        return RaggedTensor(self.shape, per_path.masked_fill(states == 0, -torch.inf))

    def _ranked(self, scores: Tensor) -> Tensor:
        """Numbers of all paths, utterance by utterance, the best of each first."""
        best_first = scores.detach().argsort(descending=True, stable=True)
        return best_first[self.shape.row_ids(1)[best_first].argsort(stable=True)]

    def _choose(self, numbers: Tensor) -> Nbest:
        """Some paths, given in the order of their utterances."""
        counts = torch.bincount(self.shape.row_ids(1)[numbers], minlength=self.shape.dim0)
        return Nbest(self.fsa[numbers], RaggedShape.from_sizes(counts))

    def _best_of_each_sequence(self) -> Tensor:
        ranked = self._ranked(self.total_scores().values)
        words, utterances = self.words().tolist(), self.shape.row_ids(1).tolist()
        seen: set[tuple[int, ...]] = set()
        kept = []
        for path in ranked.tolist():
            key = (utterances[path], *words[path])
            if key not in seen:
                seen.add(key)
                kept.append(path)
        return torch.tensor(kept, dtype=torch.int64, device=ranked.device)

    def _same_words(self, lattice: Fsa) -> Fsa:
        """For each path the lattice of its utterance, with no other words than the path's."""
        vector = _vector(lattice)
        if vector.num_fsas != self.shape.dim0:
            raise DecodingError(
                f"lattice: must have one FSA for each of the {self.shape.dim0} utterances of the "
                f"list, got {vector.num_fsas}."
            )
        utterances = self.shape.row_ids(1).cpu()
        pairing = Pairing(utterances, torch.arange(utterances.numel()))
        sequences = linear_fsa(self.words()).to(vector.scores.dtype)
        # words are numbered from 1: no arc has the label of back-off arcs
        return compose_pairs(vector, sequences, pairing, phi_label=0)[0]


def _best_strings(acceptor: Fsa, utterance: int, n: int) -> RaggedTensor:
    """`n_shortest_paths(acceptor, n, unique=True)` of one FSA, `[1][path][arc]`.

    All paths as good as the best less a beam lie in what pruning to it leaves.  So if `n` strings
    that good are found there, they are the best ones; in large lattices that is far less work.
    """
    whole = acceptor[[utterance]]
    first_arc = int(acceptor.shape.row_splits(2)[acceptor.shape.row_splits(1)[utterance]])
    for beam in (1.0, 2.0, 4.0, 8.0):
        pruned, arc_map = prune(whole, beam, ret_arc_map=True)
        if 2 * pruned.num_arcs > whole.num_arcs:
            break
        found = n_shortest_paths(pruned, n, unique=True)
        scores = RaggedTensor(found.shape.remove_axis(0), pruned.scores[found.values]).sum()
        if len(scores) == n and bool(scores[-1] >= scores[0] - beam):
            return RaggedTensor(found.shape, first_arc + arc_map[found.values])
    found = n_shortest_paths(whole, n, unique=True)
    return RaggedTensor(found.shape, first_arc + found.values)


def _vector(lattice: Fsa) -> Fsa:
    return lattice if lattice.num_axes == 3 else Fsa.from_fsas([lattice])


def linear_paths(lattice: Fsa, paths: RaggedTensor) -> Fsa:
    """The FSA of each path, given as arcs of the lattice, `[path][arc]`; with their attributes.

    No arcs are no path, and become the empty FSA.
    """
    arcs = paths.values
    lengths = paths.shape.row_splits(1).diff()
    src = torch.arange(arcs.numel(), device=arcs.device)
    src = src - paths.shape.row_splits(1)[paths.shape.row_ids(1)]
    table = torch.stack([src, src + 1, lattice.labels[arcs]], dim=1).to(torch.int32)
    states = torch.where(lengths > 0, lengths + 1, 0)
    degrees = torch.ones(int(states.sum()), dtype=torch.int64, device=arcs.device)
    degrees[states.cumsum(0)[lengths > 0] - 1] = 0
    shape = RaggedShape.from_sizes(states, degrees)
    return lattice._like(shape, table, lattice.scores[arcs], lattice.select_attributes(arcs))
