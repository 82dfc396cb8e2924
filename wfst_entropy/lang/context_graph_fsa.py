"""Contextual biasing as graphs: the phrases as an acceptor, and lattices composed with it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from wfst_entropy.algorithms.phi_compose import phi_compose
from wfst_entropy.algorithms.top_sort import top_sort
from wfst_entropy.fsa import Fsa, FsaValueError, RaggedTensor
from wfst_entropy.lang.context_graph import ROOT, ContextGraph

_MAX_ARCS = 2**28


def context_graph_to_fsa(
    graph: ContextGraph, labels: Iterable[int], *, backoff_label: int | None = None
) -> Fsa:
    r"""An acceptor of all strings over `labels`, weighted by the boosts that they collect.

    A string's score is that of `ContextGraph`, `finalize` included.  There are two forms:

    * explicit (`backoff_label=None`): deterministic; each state has an arc for each label, so
      there are (states reached) x (labels) arcs.  Exact in every semiring.
    * with back-off arcs: each state has arcs for the tokens that continue its phrases, and a
      fail arc; state 0 has an arc for each label.  Compose it with `phi_compose`, which takes a
      fail arc only where nothing else goes on.  Taken as an epsilon it may come too early, which
      loses boosts: then the *best* path of each string is exact, if no boost is negative.

    Args:
      graph: the phrases.
      labels: all labels that strings may have, from 1 on.  Phrases with others are left out.
      backoff_label: label of the fail arcs, such as 0, or the id of `#0`.

    Returns:
      An acceptor `[state][arc]`, float32 scores in nats.

    Raises:
      FsaValueError: a label is below 1, `backoff_label` is among the labels or negative, or there
        would be more than 2**28 arcs.

    Example:
      >>> graph = ContextGraph(2.0).build([[1, 2]])
      >>> print(context_graph_to_fsa(graph, [1, 2, 3], backoff_label=0))
      0 1 1 2
      0 0 2 0
      0 0 3 0
      0 3 -1 0
      1 0 0 -2
      1 2 2 2
      1 3 -1 -2
      2 0 0 0
      2 3 -1 0
      3
    """
    known = set(labels)
    alphabet = sorted(known)
    if alphabet and alphabet[0] < 1:
        raise FsaValueError(f"labels: must be 1 at least, got {alphabet[0]}.")
    if backoff_label is not None and (backoff_label < 0 or backoff_label in alphabet):
        raise FsaValueError(f"backoff_label: must not be negative or a label, got {backoff_label}.")
    states = _reached(graph, known)
    if len(states) * (len(alphabet) + 1) > _MAX_ARCS and backoff_label is None:
        raise FsaValueError(
            f"labels: {len(states)} states with {len(alphabet)} arcs each are more than 2**28 arcs;"
            " give backoff_label, or fewer labels."
        )
    arcs: list[tuple[int, int, int]] = []
    scores: list[float] = []
    for state, number in states.items():
        if backoff_label is None or state == ROOT:
            steps = [(label, *graph.forward_one_step(state, label)) for label in alphabet]
        else:
            lost = graph.finalize(state)[0] - graph.finalize(graph.fail_state(state))[0]
            steps = [(backoff_label, lost, graph.fail_state(state))]
            onward = [label for label in graph.continuations(state) if label in known]
            steps += [(label, *graph.forward_one_step(state, label)) for label in onward]
        arcs += [(number, states[following], label) for label, _, following in steps]
        arcs.append((number, len(states), -1))
        scores += [gain for _, gain, _ in steps]
        scores.append(graph.finalize(state)[0])
    return Fsa.from_arcs(
        torch.tensor(arcs), torch.tensor(scores, dtype=torch.float32), len(states) + 1
    )


def _reached(graph: ContextGraph, known: set[int]) -> dict[int, int]:
    """The states whose strings are over the labels `known`, numbered breadth first."""
    order = [ROOT]
    for state in order:
        onward = [label for label in graph.continuations(state) if label in known]
        order += [graph.forward_one_step(state, label)[1] for label in onward]
    return {state: number for number, state in enumerate(order)}


def bias_lattice(lattice: Fsa, graph: ContextGraph) -> Fsa:
    r"""Adds the boosts of phrases of words to the paths of lattices.

    The lattice composed with `context_graph_to_fsa` under failure semantics (`phi_compose`): every
    path stays, and scores what its words collect on top, so that the best path, n-best lists,
    posteriors and entropies of the result are all biased.  A phrase that the search has pruned does
    not come back: search with a wide `output_beam`.

    Args:
      lattice: one or a vector, acyclic; words in `aux_labels`, a tensor or ragged.
      graph: phrases of word ids.

    Returns:
      Top-sorted, with all attributes of the lattice and `context_scores`, in the scores' dtype and
      nats: what each arc got on top.  If the lattice has `lm_scores`, they include it.

    Raises:
      FsaValueError: the lattice has no `aux_labels`.
      CyclicFsaError: the lattice has a cycle.

    Example:
      >>> lattice = Fsa.from_str("0 1 5 1 0.5\n0 1 6 2 0\n1 2 -1 -1 0\n2", num_aux_labels=1)
      >>> biased = bias_lattice(lattice, ContextGraph(2.0).build([[2]]))
      >>> biased.aux_labels.tolist(), biased.scores.tolist()
      ([1, 2, -1, -1], [0.5, 2.0, 0.0, 0.0])
    """
    words = lattice.attributes.get("aux_labels")
    if words is None:
        raise FsaValueError("lattice: needs aux_labels, the words; it has none.")
    values = words.values if isinstance(words, RaggedTensor) else words
    occurring = [word for word in values.unique().tolist() if word > 0]
    boosts = context_graph_to_fsa(graph, occurring, backoff_label=0).to(lattice.device)
    biased, arc_map, _ = phi_compose(lattice, boosts, phi_label=0, ret_arc_maps=True)
    added = (biased.scores - lattice.scores[arc_map]).detach()
    biased.set_attribute_("context_scores", added)
    if "lm_scores" in lattice.attributes:
        biased.set_attribute_("lm_scores", biased.lm_scores + added)
    return top_sort(biased)
