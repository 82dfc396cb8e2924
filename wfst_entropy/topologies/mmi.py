"""Numerator and denominator graphs of lattice-free MMI, under one token language model."""

from __future__ import annotations

from wfst_entropy.algorithms.compose import compose
from wfst_entropy.algorithms.intersect import intersect
from wfst_entropy.fsa import Fsa, FsaValueError
from wfst_entropy.topologies.ctc import ctc_graph, ctc_topo
from wfst_entropy.topologies.linear import Sequences, linear_fsa


def mmi_denominator(lm: Fsa, topo: Fsa | None = None) -> Fsa:
    """The graph of all token sequences, `topo` composed with `lm`: built once for a training.

    Args:
      lm: an acceptor of token sequences without epsilons, such as `token_ngram` makes; the weights
        of a model with back-off epsilons need `remove_epsilon` first.
      topo: the transducer from frame labels to tokens; `ctc_topo` of the largest token by default.

    Returns:
      `[state][arc]` with frame labels as `labels` (0 is blank) and tokens as `aux_labels`.

    Raises:
      FsaTypeError, FsaValueError: `lm` is no single acceptor without epsilons.

    Source: Povey et al. 2016, "Purely sequence-trained neural networks for ASR based on
    lattice-free MMI"; with a CTC topology, icefall and Hadian et al. 2018, "End-to-end speech
    recognition using lattice-free MMI".

    Example:
      >>> from wfst_entropy.topologies import token_ngram
      >>> mmi_denominator(token_ngram([[1, 2], [1]], max_token=2)).num_states
      6
    """
    largest = _check_lm(lm)
    return compose(ctc_topo(largest) if topo is None else topo, lm)


def mmi_numerator(symbols: Sequences, lm: Fsa, topo: Fsa | None = None) -> Fsa:
    """The graphs of given transcripts with the weights of `mmi_denominator`.

    Every path of a numerator is one of the denominator, with the same weight, where `topo` gives a
    frame labelling one path for each token sequence, as `ctc_topo` does.

    Args:
      symbols: the transcripts, labels `[utt][position]`, lists or a ragged tensor.
      lm: the language model of the denominator.
      topo: its topology.

    Returns:
      `[fsa][state][arc]`, attributes as `mmi_denominator`; a transcript that `lm` does not accept
      has an empty FSA.

    Raises:
      FsaTypeError, FsaValueError: as `mmi_denominator`, and for wrong symbols.

    Example:
      >>> from wfst_entropy.topologies import token_ngram
      >>> lm = token_ngram([[1, 2], [1]], max_token=2)
      >>> mmi_numerator([[1, 2], [2]], lm).num_fsas
      2
    """
    _check_lm(lm)
    if topo is None:
        return compose(ctc_graph(symbols, device=lm.device), lm)
    return compose(topo, intersect(linear_fsa(symbols, device=lm.device), lm))


def _check_lm(lm: Fsa) -> int:
    """Returns the largest token of a language model."""
    if not isinstance(lm, Fsa) or lm.num_fsas != 1:
        raise FsaValueError("lm: must be one Fsa that accepts token sequences.")
    if "aux_labels" in lm.attributes:
        raise FsaValueError(
            "lm: has aux_labels, but must be an acceptor of tokens; use project, or a lexicon's "
            "composition projected onto tokens."
        )
    for arc in (lm.labels == 0).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"lm: arc {arc} {lm.arcs[arc].tolist()} is an epsilon, which would be taken for a "
            "blank frame; use remove_epsilon first."
        )
    largest = int(lm.labels.max()) if lm.num_arcs else 0
    if largest < 1:
        raise FsaValueError("lm: accepts no tokens.")
    return largest
