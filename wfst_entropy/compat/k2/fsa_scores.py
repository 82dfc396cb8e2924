"""The score methods of k2's Fsa: thin wrappers of the recursions over acyclic graphs, cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2 import state_batches
from wfst_entropy.semirings import LogSemiring, Semiring, TropicalSemiring

if TYPE_CHECKING:
    from wfst_entropy import fsa as core
    from wfst_entropy.compat.k2.ragged import RaggedTensor
    from wfst_entropy.compat.k2.ragged_arc import RaggedArc


def _semiring(log_semiring: bool) -> Semiring:
    return LogSemiring() if log_semiring else TropicalSemiring()


def _name(what: str, use_double_scores: bool, log_semiring: bool) -> str:
    precision = "double" if use_double_scores else "float"
    return f"{what}_{precision}_{'log' if log_semiring else 'tropical'}"


class FsaScores:
    """What k2's Fsa says of its paths; every method takes k2's two flags.

    `use_double_scores` computes, and answers, in float64; `log_semiring` adds paths up by
    logsumexp rather than taking the best.  The public methods are differentiable in the scores,
    as often as wanted; those with an underscore are not, and remember their answer.
    """

    if TYPE_CHECKING:
        arcs: RaggedArc
        scores: Tensor
        _cache: dict[str, Any]

        def bare(self) -> core.Fsa:
            """The FSA without attributes."""

    def _graph(self, use_double_scores: bool) -> core.Fsa:
        graph = self.bare()
        return graph.to(torch.float64) if use_double_scores else graph

    def _remember(self, name: str, value: Tensor) -> Tensor:
        self._cache[name] = value.detach()
        return value

    def get_forward_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        """The total of the paths from the start to each state, `(num_states,)`.

        Raises:
          CyclicFsaError, FsaValueError: as `wfst_entropy.get_forward_scores`.
        """
        name = _name("forward_scores", use_double_scores, log_semiring)
        graph = self._graph(use_double_scores)
        forward = algorithms.get_forward_scores(graph, _semiring(log_semiring))
        return self._remember(name, forward)

    def get_backward_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        """The total of the paths from each state to the final one, `(num_states,)`."""
        name = _name("backward_scores", use_double_scores, log_semiring)
        graph = self._graph(use_double_scores)
        return self._remember(name, algorithms.get_backward_scores(graph, _semiring(log_semiring)))

    def get_tot_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        """The total of the paths of each FSA, `(num_fsas,)`; -inf where there is none.

        The gradient is the arc posteriors, or 1 on the arcs of a best path.

        Example:
          >>> from wfst_entropy.compat import k2
          >>> fsa = k2.Fsa.from_str("0 1 1 -1\\n0 1 2 -2\\n1 2 -1 -0.5\\n2").requires_grad_(True)
          >>> fsa.get_tot_scores(use_double_scores=False, log_semiring=False).backward()
          >>> fsa.grad
          tensor([1., 0., 1.])
        """
        forward = self.get_forward_scores(use_double_scores, log_semiring)
        finals = self._graph(use_double_scores).final_states()
        some = finals >= 0
        total = forward.new_full((finals.numel(),), -torch.inf)
        total = total.index_put((some,), forward[finals[some]])
        return self._remember(_name("tot_scores", use_double_scores, log_semiring), total)

    def get_arc_post(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        """The log posterior of each arc, `(num_arcs,)`: forward + score + backward - total.

        In the tropical semiring, how far the best path through the arc is behind the best of all.
        """
        name = _name("arc_post", use_double_scores, log_semiring)
        graph = self._graph(use_double_scores)
        return self._remember(name, algorithms.get_arc_post(graph, _semiring(log_semiring)))

    def _cached(self, what: str, use_double_scores: bool, log_semiring: bool) -> Tensor:
        name = _name(what, use_double_scores, log_semiring)
        if name not in self._cache:
            with torch.no_grad():
                getattr(self, f"get_{what}")(use_double_scores, log_semiring)
        return self._cache[name]

    def _get_forward_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        return self._cached("forward_scores", use_double_scores, log_semiring)

    def _get_backward_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        return self._cached("backward_scores", use_double_scores, log_semiring)

    def _get_tot_scores(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        return self._cached("tot_scores", use_double_scores, log_semiring)

    def _get_arc_post(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        return self._cached("arc_post", use_double_scores, log_semiring)

    def _get_arc_cdf(self, use_double_scores: bool, log_semiring: bool) -> Tensor:
        """The share of a state's mass on its arcs before each one, `(num_arcs,)`."""
        name = _name("arc_cdf", use_double_scores, log_semiring)
        if name not in self._cache:
            post = self._get_arc_post(use_double_scores, log_semiring)
            self._cache[name] = state_batches.arc_cdf(self.arcs, post)
        return self._cache[name]

    def _get_entering_arcs(self, use_double_scores: bool) -> Tensor:
        """The arc by which the best path enters each state, int32; -1 where none does."""
        name = "entering_arcs"
        if name not in self._cache:
            forward = self._get_forward_scores(use_double_scores, log_semiring=False)
            scores = self.scores.detach().to(forward.dtype)
            self._cache[name] = state_batches.entering_arcs(self.arcs, forward, scores)
        return self._cache[name]

    def _get_dest_states(self) -> Tensor:
        """The destination of each arc, counted over all FSAs, int32."""
        if "dest_states" not in self._cache:
            self._cache["dest_states"] = state_batches.dest_states(self.arcs)
        return self._cache["dest_states"]

    def _get_incoming_arcs(self) -> RaggedTensor:
        """The arcs entering each state, `[fsa][state][arc]`."""
        if "incoming_arcs" not in self._cache:
            self._cache["incoming_arcs"] = state_batches.incoming_arcs(self.arcs)
        return self._cache["incoming_arcs"]

    def _get_state_batches(self) -> RaggedTensor:
        """States that no arc connects, batch after batch, `[batch][fsa][state]`."""
        if "state_batches" not in self._cache:
            self._cache["state_batches"] = state_batches.state_batches(self.arcs)
        return self._cache["state_batches"]

    def _get_entering_arc_batches(self) -> RaggedTensor:
        """The arcs entering the states of each batch, `[batch][fsa][state][arc]`."""
        if "entering_arc_batches" not in self._cache:
            self._cache["entering_arc_batches"] = state_batches.arc_batches(
                self._get_state_batches(), self._get_incoming_arcs()
            )
        return self._cache["entering_arc_batches"]

    def _get_leaving_arc_batches(self) -> RaggedTensor:
        """The arcs leaving the states of each batch, `[batch][fsa][state][arc]`."""
        if "leaving_arc_batches" not in self._cache:
            self._cache["leaving_arc_batches"] = state_batches.arc_batches(
                self._get_state_batches(), state_batches.leaving_arcs(self.arcs)
            )
        return self._cache["leaving_arc_batches"]
