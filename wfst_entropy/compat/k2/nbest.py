"""k2's n-best lists: paths sampled from lattices, and their rescoring."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.compose import intersect_device
from wfst_entropy.compat.k2.decode import aux_labels_of
from wfst_entropy.compat.k2.epsilons import remove_epsilon
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.graphs import levenshtein_graph, linear_fsa
from wfst_entropy.compat.k2.index_ops import index_select
from wfst_entropy.compat.k2.operations import (
    add_epsilon_self_loops,
    arc_sort,
    connect,
    invert,
    top_sort,
)
from wfst_entropy.compat.k2.paths import random_paths, shortest_path
from wfst_entropy.compat.k2.ragged import RaggedShape, RaggedTensor, index, regular_ragged_shape
from wfst_entropy.compat.k2.stacking import index_fsa
from wfst_entropy.fsa.errors import EmptyGraphError, FsaValueError


class Nbest:
    """Linear FSAs, several for each utterance.

    Args:
      fsa: a vector of linear FSAs.
      shape: `[utt][path]`, with as many paths as `fsa` has FSAs.
      kept_path: the arcs of the lattice that each path is, `[path][arc]`, where there is one.
    """

    def __init__(self, fsa: Fsa, shape: RaggedShape, kept_path: RaggedTensor | None = None) -> None:
        if fsa.arcs.num_axes() != 3 or shape.num_axes != 2 or fsa.shape[0] != shape.tot_size(1):
            raise FsaValueError(
                f"Nbest: needs a vector of FSAs and a shape [utt][path] with one path for each, "
                f"got fsa.shape {fsa.shape} and {shape.tot_sizes()}."
            )
        self.fsa = fsa
        self.shape = shape
        self.kept_path = kept_path

    def __str__(self) -> str:
        return f"Nbest(num_seqs:{self.shape.dim0}, num_fsas:{self.fsa.shape[0]})"

    @staticmethod
    def from_lattice(
        lattice: Fsa, num_paths: int, use_double_scores: bool = True, nbest_scale: float = 0.5
    ) -> Nbest:
        """Samples paths, and keeps one for each sequence of `aux_labels`.

        Args:
          lattice: a vector; labels are tokens, `aux_labels`, a tensor or ragged, words.
          num_paths: how many to sample for each utterance.
          use_double_scores: whether to compute posteriors in float64.
          nbest_scale: scores are multiplied by it before sampling; the smaller, the more different
            the paths.

        Returns:
          Paths with `aux_labels` and scores of their arcs; differentiable in the lattice's scores.
        """
        scaled = lattice.detach()
        scaled.scores = lattice.scores.detach() * nbest_scale
        paths = random_paths(scaled, use_double_scores, num_paths)
        words = _along(lattice.aux_labels, paths).remove_values_leq(0)
        _, _, first = words.unique(need_new2old_indexes=True)
        assert first is not None
        kept, _ = paths.index(first, axis=1)
        path_shape = kept.shape.get_layer(0)
        kept = kept.remove_axis(0)
        fsa = linear_fsa(index(lattice.labels.contiguous(), kept).remove_values_eq(-1))
        fsa.aux_labels = _pick(lattice.aux_labels, kept.values)
        fsa.scores = index_select(lattice.scores, kept.values)
        return Nbest(fsa, path_shape, kept)

    def intersect(self, lats: Fsa) -> Nbest:
        """The best path of each FSA's intersection with the lattice of its utterance.

        Args:
          lats: a vector, one for each utterance, with tokens as labels.
        """
        best = shortest_path(
            intersect_device(
                arc_sort(lats), add_epsilon_self_loops(self.fsa), self.shape.row_ids(1), True
            ),
            use_double_scores=True,
        )
        return Nbest(remove_epsilon(best), self.shape)

    def total_scores(self) -> RaggedTensor:
        """The score of each path, float32 `[utt][path]`."""
        scores = self.fsa.get_tot_scores(use_double_scores=True, log_semiring=False)
        return RaggedTensor(self.shape, scores.float())

    def top_k(self, k: int) -> Nbest:
        """The best `k` paths of each utterance, best first; the last is repeated if need be.

        Raises:
          EmptyGraphError: an utterance has no path.
        """
        scores = self.total_scores()
        order = scores.sort_(descending=True, need_new2old_indexes=True)
        assert order is not None
        table = RaggedTensor(self.shape, order).pad("replicate", -1)
        if bool((table < 0).any()):
            utterance = int(torch.nonzero((table < 0).any(1))[0])
            raise EmptyGraphError(f"top_k: utterance {utterance} has no path to choose from.")
        if table.shape[1] < k:
            table = torch.cat([table, table[:, -1:].expand(-1, k - table.shape[1])], dim=1)
        fsas = index_fsa(self.fsa, table[:, :k].flatten().contiguous())
        return Nbest(fsas, regular_ragged_shape(self.shape.dim0, k))

    def build_levenshtein_graphs(self) -> Fsa:
        """`levenshtein_graph` of the `aux_labels` of each path."""
        return levenshtein_graph(aux_labels_of(self.fsa))


def _along(labels: Tensor | RaggedTensor, paths: RaggedTensor) -> RaggedTensor:
    """The labels of the arcs on paths, joined where an arc has several."""
    if isinstance(labels, Tensor):
        return index(labels, paths)
    found = labels.index(paths)
    return found.remove_axis(found.num_axes - 2)


def _pick(labels: Tensor | RaggedTensor, arcs: Tensor) -> Tensor | RaggedTensor:
    return index_select(labels, arcs) if isinstance(labels, Tensor) else labels.index(arcs)[0]


def whole_lattice_rescoring(lats: Fsa, G_with_epsilon_loops: Fsa) -> Fsa:
    """Replaces the language model scores of lattices by those of another model.

    Args:
      lats: a vector with the float attribute `lm_scores`, which is taken from the scores, and with
        words as `aux_labels`.  Unlike in k2 it stays as it is.
      G_with_epsilon_loops: a vector of one language model, arc-sorted, with epsilon self-loops.

    Raises:
      FsaValueError: there are no `lm_scores`, or `G_with_epsilon_loops` is no vector of one.
      FsaRuntimeError: the lattices outgrow memory; prune them by `prune_on_arc_post` first.
    """
    if not hasattr(lats, "lm_scores") or G_with_epsilon_loops.shape != (1, None, None):
        raise FsaValueError(
            "whole_lattice_rescoring: needs lats.lm_scores, and a vector of one language model; "
            f"its shape is {G_with_epsilon_loops.shape}."
        )
    acoustic = lats.clone()
    acoustic.scores = lats.scores - lats.lm_scores
    del acoustic.lm_scores
    words = invert(acoustic)
    to_model = torch.zeros(acoustic.arcs.dim0(), dtype=torch.int32, device=lats.device)
    rescored = intersect_device(G_with_epsilon_loops, words, to_model, sorted_match_a=True)
    return invert(top_sort(connect(rescored)))


def generate_nbest_list(lats: Fsa, num_paths: int) -> Nbest:
    """Linear FSAs of the different token sequences on sampled paths.

    Args:
      lats: a vector with the int32 attribute `phones` or `tokens`.
      num_paths: how many paths to sample for each utterance.
    """
    tokens = getattr(lats, "tokens", getattr(lats, "phones", None))
    if not isinstance(tokens, Tensor):
        raise FsaValueError("generate_nbest_list: lats needs an int32 attribute tokens or phones.")
    paths = random_paths(lats, use_double_scores=True, num_paths=num_paths)
    sequences, _, _ = index(tokens, paths).remove_values_leq(0).unique()
    return Nbest(linear_fsa(sequences.remove_axis(0)), sequences.shape.get_layer(0))
