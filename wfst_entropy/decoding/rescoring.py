"""Rescoring: the language model of a lattice replaced by another one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import overload

import torch

from wfst_entropy.algorithms import get_tot_scores, phi_compose, prune, shortest_path, top_sort
from wfst_entropy.algorithms._surgery import MAX_STATES
from wfst_entropy.algorithms.phi_compose import BackOff, model_scores
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.lattice_scores import acoustic_scores, lm_scores_of, scaled_lattice
from wfst_entropy.decoding.nbest import Nbest
from wfst_entropy.decoding.one_best import one_best_decoding
from wfst_entropy.decoding.word_arcs import words_of_arcs
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError
from wfst_entropy.semirings import TropicalSemiring

logger = logging.getLogger(__name__)

_BEST = TropicalSemiring()

# A lattice that outgrows the limits with the new model is pruned to these beams, in nats, in turn.
_BEAMS = (16.0, 8.0, 4.0, 2.0)


def rescore_with_n_best_list(
    lattice: Fsa,
    G: Fsa,
    num_paths: int,
    lm_scale_list: Sequence[float],
    nbest_scale: float = 1.0,
    *,
    exact: bool = False,
    backoff: BackOff = "failure",
    phi_label: int | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Fsa]:
    r"""The best path of a list by acoustic scores and those of another language model.

    With a scale :math:`\lambda`, it is the path with the largest
    :math:`\mathrm{am} + \lambda \log P_G(\mathrm{words})`.

    Args:
      lattice: an acyclic vector with words as `aux_labels` and the attribute `lm_scores`.
      G: the model, one FSA or a vector of one; see `phi_compose`, which reads it.
      num_paths: how many paths are drawn for each utterance.
      lm_scale_list: the scales.
      nbest_scale: see `Nbest.from_lattice`.
      exact: whether to take the `num_paths` best word sequences instead of drawing paths.
      backoff, phi_label: see `phi_compose`.
      generator: see `random_paths`.

    Returns:
      For each scale, under a key such as `lm_scale_0.5`, a vector of linear FSAs whose `scores` are
      am + scale * lm and whose `lm_scores` are scale * lm.  Where `G` accepts no path of the list,
      the best path by the scores of the lattice, unscaled, with a warning in the log; the empty
      FSA for an empty lattice.

    Raises:
      DecodingError: the lattice lacks an attribute.
      FsaError: as `random_paths` and `phi_compose`.

    Source: icefall, the function of the same name; it divides acoustic scores by the scale, which
    ranks alike.

    >>> lattice = Fsa.from_fsas([Fsa.from_str("0 1 5 7 -1\n0 1 6 8 -2\n1 2 -1 -1 0\n2")])
    >>> _ = lattice.set_attribute_("lm_scores", torch.zeros(3))
    >>> G = Fsa.from_str("0 1 7 -4\n0 1 8 -1\n1 2 -1 0\n2", acceptor=True)
    >>> paths = rescore_with_n_best_list(lattice, G, 10, [0.1, 1.0])
    >>> {scale: path.aux_labels.tolist() for scale, path in paths.items()}
    {'lm_scale_0.1': [7, -1], 'lm_scale_1.0': [8, -1]}
    """
    lm_scores_of(lattice)  # refused before the work, not after
    if exact:
        nbest = Nbest.from_lattice_exact(lattice, num_paths)
    else:
        nbest = Nbest.from_lattice(lattice, num_paths, nbest_scale, generator=generator)
    rescored = shortest_path(_new_lm_scores(nbest.fsa, G, backoff, phi_label))
    first_pass = nbest.best()
    found = {}
    for scale in lm_scale_list:
        paths = Nbest(scaled_lattice(rescored, lm_scale=scale), nbest.shape).best()
        found[f"lm_scale_{scale}"] = _with_first_pass(paths, first_pass)
    return found


@overload
def rescore_with_whole_lattice(
    lattice: Fsa,
    G: Fsa,
    lm_scale_list: None = None,
    *,
    backoff: BackOff = "failure",
    phi_label: int | None = None,
    max_states: int = 2_000_000,
) -> Fsa: ...
@overload
def rescore_with_whole_lattice(
    lattice: Fsa,
    G: Fsa,
    lm_scale_list: Sequence[float],
    *,
    backoff: BackOff = "failure",
    phi_label: int | None = None,
    max_states: int = 2_000_000,
) -> dict[str, Fsa]: ...
def rescore_with_whole_lattice(
    lattice: Fsa,
    G: Fsa,
    lm_scale_list: Sequence[float] | None = None,
    *,
    backoff: BackOff = "failure",
    phi_label: int | None = None,
    max_states: int = 2_000_000,
) -> Fsa | dict[str, Fsa]:
    r"""Lattices whose language model is replaced by another, usually larger, one.

    A lattice whose composition with the model has more than `max_states` states is pruned, to 16
    nats and then to half of that and so on, until it fits.  An utterance of which the model accepts
    no path, or that does not fit even so, keeps its lattice as it was; the log has a warning.

    Args:
      lattice: a vector with words as `aux_labels` and the attribute `lm_scores`, which is taken
        from the scores.
      G: the model, one FSA or a vector of one, best arc-sorted once; see `phi_compose`, which reads
        it.  Epsilon self-loops, which k2 needs, do no harm.
      lm_scale_list: scales :math:`\lambda` for which to return best paths.
      backoff, phi_label: see `phi_compose`.
      max_states: the limit for each utterance.

    Returns:
      Without `lm_scale_list` the lattices, top-sorted, whose `scores` are am + lm and whose
      `lm_scores` are those of `G`; differentiable.  With it, for each scale, under a key such as
      `lm_scale_0.5`, the paths that are best by :math:`\mathrm{am} + \lambda\,\mathrm{lm}`.

    Raises:
      DecodingError: the lattice lacks an attribute.
      FsaError: as `phi_compose`, but not for the size; `max_states` below 1.

    Source: icefall, the function of the same name.

    >>> lattice = Fsa.from_fsas([Fsa.from_str("0 1 5 7 -1\n0 1 6 8 -2\n1 2 -1 -1 0\n2")])
    >>> _ = lattice.set_attribute_("lm_scores", torch.zeros(3))
    >>> G = Fsa.from_str("0 1 7 -4\n0 1 8 -1\n1 2 -1 0\n2", acceptor=True)
    >>> rescore_with_whole_lattice(lattice, G).scores.tolist()
    [-5.0, -3.0, 0.0]
    >>> paths = rescore_with_whole_lattice(lattice, G, [0.1, 1.0])
    >>> {scale: path.aux_labels.tolist() for scale, path in paths.items()}
    {'lm_scale_0.1': [7, -1], 'lm_scale_1.0': [8, -1]}
    """
    if max_states < 1:
        raise FsaValueError(f"max_states: must be at least 1, got {max_states}.")
    vector = lattice if lattice.num_axes == 3 else Fsa.from_fsas([lattice])
    words_of_arcs(vector)  # refused here: composition would take labels for words
    whole = _rescored(vector, G, backoff, phi_label, max_states)
    rescored = _with_first_pass(whole, vector)
    if not rescored.properties.top_sorted:
        rescored = top_sort(rescored)
    return rescored if lm_scale_list is None else one_best_decoding(rescored, lm_scale_list)


def _new_lm_scores(
    lattice: Fsa, G: Fsa, backoff: BackOff, phi_label: int | None, max_states: int = MAX_STATES
) -> Fsa:
    """A vector in which the scores of `G` stand in the place of `lm_scores`."""
    if G.num_fsas != 1:
        raise DecodingError(f"G: must be one language model, got a vector of {G.num_fsas} FSAs.")
    acoustic = lattice.with_scores(acoustic_scores(lattice))
    composed, _, b_map = phi_compose(
        acoustic, G, phi_label=phi_label, backoff=backoff, ret_arc_maps=True, max_states=max_states
    )
    return composed.set_attribute_("lm_scores", model_scores(G, b_map).to(lattice.scores.dtype))


def _rescored(
    lattice: Fsa, G: Fsa, backoff: BackOff, phi_label: int | None, max_states: int
) -> Fsa:
    """`_new_lm_scores` of all utterances, one by one where they are too large together."""
    try:
        return _new_lm_scores(lattice, G, backoff, phi_label, max_states * max(1, len(lattice)))
    except FsaRuntimeError:
        numbers = range(len(lattice))
        return Fsa.from_fsas(
            [_fitting(lattice[[i]], i, G, backoff, phi_label, max_states) for i in numbers]
        )


def _fitting(
    lattice: Fsa, utterance: int, G: Fsa, backoff: BackOff, phi_label: int | None, max_states: int
) -> Fsa:
    """One utterance rescored, pruned as far as needed; as it is if nothing helps."""
    for beam in (None, *_BEAMS):
        pruned = lattice if beam is None else prune(lattice, beam)
        try:
            rescored = _new_lm_scores(pruned, G, backoff, phi_label, max_states)
        except FsaRuntimeError as error:
            reason = error
            continue
        if beam is not None:
            logger.warning(
                "utterance %d: %s; pruned to %g nats (%d of %d arcs), it has %d states",
                *(utterance, reason, beam, pruned.num_arcs, lattice.num_arcs, rescored.num_states),
            )
        return rescored
    logger.warning(
        "utterance %d: %s; pruned to %g nats it does, too: its scores stay",
        *(utterance, reason, _BEAMS[-1]),
    )
    return lattice


def _with_first_pass(rescored: Fsa, first_pass: Fsa) -> Fsa:
    """Vectors; where nothing is left of an utterance, what the first pass had of it."""
    had, has = (get_tot_scores(x.detach(), _BEST) > -torch.inf for x in (first_pass, rescored))
    lost = (had & ~has).nonzero().flatten().tolist()
    if not lost:
        return rescored
    logger.warning("utterances %s: the language model accepts no path; their scores stay", lost)
    kept = [first_pass[i] if i in set(lost) else rescored[i] for i in range(len(rescored))]
    return Fsa.from_fsas(kept)
