"""Decoding graphs: LG from a lexicon and a grammar, HLG from LG and a CTC topology."""

from __future__ import annotations

import logging
from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import (
    arc_sort,
    compose,
    connect,
    ctc_compose,
    remove_epsilon_local,
)
from wfst_entropy.fsa import EmptyGraphError, Fsa, FsaTypeError, FsaValueError
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.inspection import explain
from wfst_entropy.lang.ambiguous_words import name_ambiguous_words
from wfst_entropy.lang.kaldifst_process import (
    DeterminizedFile,
    NotDeterminizableError,
    require_kaldifst,
)
from wfst_entropy.lang.size_report import MAX_ARCS, MAX_STATES, check_size, size_of

_log = logging.getLogger(__name__)
_SHOWN = 5
# What kaldifst takes per state and arc: benchmarks/lg.py.
_BYTES_PER_ITEM = 220


def compile_lg(
    l_disambig: Fsa,
    g: Fsa | None,
    vocab_size: int,
    *,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Fsa:
    """The transducer from token sequences to the word sequences of a language model.

    `L_disambig o G`, determinised and minimised (by kaldifst, in a process of its own); then
    disambiguation symbols and `#0` become epsilons, and those epsilons are removed that can go
    without making the graph larger.  The others stay, the back-off arcs of G above all: without
    them each history would need an arc for every word.

    Args:
      l_disambig: the lexicon with disambiguation symbols, as `lexicon_to_fst` makes it of
        `add_disambig_symbols` with `self_loop=True`: tokens to words.
      g: the grammar, `labels` words, with `#0` or epsilon (0) on back-off arcs.  None for the
        lexicon alone: any words in any order.
      vocab_size: the number of symbols that a frame can emit, blank included; labels of
        `l_disambig` from there on are disambiguation symbols.
      max_states, max_arcs: limits of every graph on the way.

    Returns:
      `[state][arc]`, connected and arc-sorted, float32; `labels` are tokens with 0 as epsilon
      (which consumes no frame), `aux_labels` words.  Scores are not differentiable.

    Raises:
      FsaTypeError: an operand is no single FSA, or L has no `aux_labels`.
      FsaValueError: G's back-off symbol does not pass through L.
      EmptyGraphError: no word sequence of G can be spelled; the message says which words L lacks.
      NotDeterminizableError: two words cannot be told apart; the message names them.
      FsaRuntimeError: a graph is above a limit, or kaldifst is not installed.

    Source: Mohri, Pereira and Riley 2002, "Weighted finite-state transducers in speech
    recognition", section 4.

    Example:
      >>> L = Fsa.from_str("0 0 3 9 0\\n0 1 1 1 0\\n0 0 2 2 0\\n0 2 -1 -1 0\\n1 0 2 0 0\\n2")
      >>> G = Fsa.from_str('''
      ...     0 1 1 1 -1
      ...     0 0 2 2 -2
      ...     0 2 -1 -1 -3
      ...     1 0 2 2 -0.5
      ...     1 0 9 0 -1.5
      ...     2
      ... ''')
      >>> print(compile_lg(L, G, vocab_size=3))
      0 1 1 1 -1
      0 0 2 2 -2
      0 3 -1 -1 -3
      1 2 2 0 0
      2 0 0 0 -1.5
      2 0 2 2 -0.5
      3
    """
    require_kaldifst("compile_lg")
    _check_operands(l_disambig, g)
    l_disambig = _bare(l_disambig)
    backoff = _backoff_words(l_disambig, vocab_size)
    if g is None:
        composed = _without_loop(l_disambig, vocab_size)
        _log.info("LG: the lexicon alone, L (%s)", size_of(composed))
    else:
        g = _with_backoff(_bare(g), l_disambig, backoff)
        composed = _compose(l_disambig, g, max_states, max_arcs)
    del g
    check_size("the graph to determinise", composed, max_states, max_arcs)
    expected = _BYTES_PER_ITEM * (composed.num_states + composed.num_arcs)
    _log.info(
        "determinise and minimise LG (%s), which takes about %.0f MB",
        size_of(composed), expected / 1e6,
    )  # fmt: skip
    with DeterminizedFile(composed) as file:
        del composed
        try:
            file.run(max_states)
        except NotDeterminizableError as error:
            raise _explained(error, l_disambig, vocab_size) from error
        lg = file.read()
    lg = _without_disambiguation(lg, vocab_size, backoff)
    _log.info("LG: %s", size_of(lg))
    return lg


@overload
def compile_hlg(
    lg: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: Literal[False] = False,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Fsa: ...
@overload
def compile_hlg(
    lg: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: Literal[True],
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> tuple[Fsa, Tensor]: ...
def compile_hlg(
    lg: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: bool = False,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor]:
    """The decoding graph: LG behind a CTC topology, which is composed without being built.

    Any graph over tokens can stand in the place of LG: a lexicon alone (`compile_lg` with
    `g=None`), a language model over tokens with epsilon (0) on its back-off arcs.

    Args:
      lg: tokens to words, 0 epsilon, as `compile_lg` makes it; one FSA or a vector.
      vocab_size: the number of symbols that a frame can emit, blank included.
      topology: `"standard"`, `"modified"` or `"compact"`; see `ctc_compose`.
      inner_labels: a name under which to keep the tokens, as an attribute.
      ret_arc_map: whether to return, too, the arc of LG that each arc stands for: int64
        `(num_arcs,)`, -1 for the topology's own.
      max_states, max_arcs: limits of the result.

    Returns:
      A graph that reads frames: label 0 is blank and consumes a frame, as tokens do; arcs that
      consume none (back-off, and the way back of the compact topology) have the label
      `vocab_size`.  `aux_labels` are words.  Scores are those of LG, and differentiable in them.

    Raises:
      FsaTypeError, FsaValueError: as `ctc_compose`.
      EmptyGraphError: LG accepts nothing.
      FsaRuntimeError: the result is above a limit.

    Example:
      >>> LG = Fsa.from_str("0 1 1 7 -1\\n1 2 -1 -1 -2\\n2")
      >>> print(compile_hlg(LG, vocab_size=2))
      0 0 0 0 0
      0 1 1 7 -1
      1 2 0 0 0
      1 1 1 0 0
      1 3 -1 -1 -2
      2 2 0 0 0
      2 3 -1 -1 -2
      3
    """
    if isinstance(lg, Fsa):
        _log.info("compose the %s CTC topology with LG (%s)", topology, size_of(lg))
    hlg, arc_map = ctc_compose(
        lg,
        vocab_size,
        topology,
        inner_labels=inner_labels,
        ret_arc_map=True,
        max_states=max_states,
        max_arcs=max_arcs,
    )
    if not hlg.num_arcs:
        raise EmptyGraphError(
            f"compile_hlg: LG ({size_of(lg)}) has no path to its final state, so HLG is empty. "
            "Make LG again; wfst-entropy info LG.pt counts its states on successful paths."
        )
    _log.info("HLG: %s", size_of(hlg))
    return (hlg, arc_map) if ret_arc_map else hlg


def _check_operands(l_disambig: Fsa, g: Fsa | None) -> None:
    for name, fsa in (("l_disambig", l_disambig), ("g", g)):
        if fsa is None and name == "g":
            continue
        if not isinstance(fsa, Fsa) or fsa.num_axes != 2:
            raise FsaTypeError(f"{name}: must be one FSA, got {fsa!r}.")
    outputs = l_disambig.attributes.get("aux_labels")
    if not isinstance(outputs, Tensor):
        raise FsaTypeError(
            "l_disambig: needs the attribute aux_labels, the words, one integer per arc."
        )


def _bare(fsa: Fsa) -> Fsa:
    """Without gradients and without what does not outlive determinisation, on the CPU."""
    kept = {n: x for n, x in fsa.attributes.items() if n.endswith("_sym") or n == "aux_labels"}
    return Fsa(fsa.shape, fsa.arcs, fsa.scores.detach(), **kept).to("cpu")


def _backoff_words(l_disambig: Fsa, vocab_size: int) -> Tensor:
    """What L writes under disambiguation symbols: the id of the word `#0`, or nothing."""
    words = l_disambig.aux_labels[(l_disambig.labels >= vocab_size) & (l_disambig.aux_labels > 0)]
    return torch.unique(words)


def _without_loop(l_disambig: Fsa, vocab_size: int) -> Fsa:
    """L without the loop for back-off arcs, which nothing takes where there is no grammar."""
    loop = (l_disambig.labels >= vocab_size) & (l_disambig.aux_labels > 0)
    final = l_disambig.num_states - 1
    kept = ~loop
    return connect(
        Fsa.from_arcs(
            l_disambig.arcs[kept],
            l_disambig.scores[kept],
            final + 1,
            aux_labels=l_disambig.aux_labels[kept],
        )
    )


def _with_backoff(g: Fsa, l_disambig: Fsa, backoff: Tensor) -> Fsa:
    """G with a symbol on its back-off arcs that passes through L."""
    labels = g.labels
    epsilons = labels == 0
    outputs = g.attributes.get("aux_labels", labels)
    symbols = torch.unique(labels[(labels > 0) & (outputs == 0)])
    lost = symbols[~torch.isin(symbols, backoff)]
    if lost.numel() or (bool(epsilons.any()) and not backoff.numel()):
        which = f"label {int(lost[0])}" if lost.numel() else "epsilon"
        raise FsaValueError(
            f"l_disambig: G has back-off arcs with {which}, for which L has no self-loop that "
            "reads #0 and writes it. Pass L_disambig, not L: lexicon_to_fst(..., self_loop=True), "
            f"and a G over the same words (L writes {_count(backoff)} such symbols)."
        )
    if bool(epsilons.any()):
        arcs = g.arcs.clone()
        arcs[:, 2].masked_fill_(epsilons, int(backoff[0]))
        kept = {**g.attributes, "aux_labels": outputs}
        g = Fsa(g.shape, arcs, g.scores, **kept)
    return g


def _count(values: Tensor) -> str:
    return str(values.numel()) if values.numel() else "no"


def _compose(l_disambig: Fsa, g: Fsa, max_states: int, max_arcs: int) -> Fsa:
    _log.info("compose L (%s) with G (%s)", size_of(l_disambig), size_of(g))
    missing = _missing_words(l_disambig, g)
    if missing:
        _log.warning("G has words that L cannot spell, whose arcs are lost: %s", missing)
    try:
        composed = compose(l_disambig, g, max_states=max_states, max_arcs=max_arcs)
    except FsaRuntimeError as error:
        raise FsaRuntimeError(
            f"{error} This was L o G; a smaller G helps: wfst-entropy lm prune."
        ) from error
    if not composed.num_arcs:
        reason = explain(l_disambig, g, names=("L", "G"))
        words = f" Words of G that L cannot spell: {missing}." if missing else ""
        raise EmptyGraphError(f"compile_lg: L o G is empty. {reason}{words}")
    return composed


def _missing_words(l_disambig: Fsa, g: Fsa) -> str:
    """Words that G reads and L does not write, in words for people; "" if there are none."""
    size = 1 + int(max(l_disambig.aux_labels.max(), g.labels.max(), torch.tensor(0)))
    used, written = (torch.zeros(size, dtype=torch.bool) for _ in range(2))
    used[g.labels[g.labels > 0].long()] = True
    written[l_disambig.aux_labels[l_disambig.aux_labels > 0].long()] = True
    missing = torch.nonzero(used & ~written).flatten().tolist()
    if not missing:
        return ""
    table = g.attributes.get("labels_sym", l_disambig.attributes.get("aux_labels_sym"))
    names = [str(table[w]) if table is not None and w in table else str(w) for w in missing]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _explained(
    error: NotDeterminizableError, l_disambig: Fsa, vocab_size: int
) -> NotDeterminizableError:
    words = name_ambiguous_words(l_disambig, vocab_size)
    if words is None:
        reason = (
            "L tells all its words apart, so it is G that weighs one word string on two paths "
            "which never meet: its back-off arcs need #0, and no state two arcs with one word."
        )
    else:
        reason = f"In L {words}: pass L_disambig, made of add_disambig_symbols(lexicon)."
    return NotDeterminizableError(f"compile_lg: {error}. {reason}")


def _without_disambiguation(lg: Fsa, vocab_size: int, backoff: Tensor) -> Fsa:
    arcs, words = lg.arcs.clone(), lg.aux_labels.clone()
    arcs[:, 2].masked_fill_(arcs[:, 2] >= vocab_size, 0)
    words[torch.isin(words, backoff.to(words.dtype))] = 0
    bare = Fsa(lg.shape, arcs, lg.scores, aux_labels=words)
    del lg, arcs, words
    return arc_sort(remove_epsilon_local(bare))
