"""An n-gram over tokens, an `Fsa`, as the tables that a prefix search reads."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy._native.prefix_search import NgramTables, has_cycle
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa

_LARGEST = 2.0**26  # as for frame scores


def ngram_tables(lm: Fsa, num_symbols: int, blank: int, backoff_label: int) -> NgramTables:
    """Takes a token n-gram apart; back-off arcs become failure arcs.

    Args:
      lm: labels are tokens, `backoff_label` or 0 on back-off arcs, -1 at the end of a sentence.
      num_symbols: of the frame scores, blank included.
      blank: which no arc may have, but for 0, which is back-off.
      backoff_label: such as the id of `#0`.

    Raises:
      DecodingError: no single FSA, empty, a label that is no token, two arcs of a state with one
        token (or two back-off arcs, or two final arcs), back-off in a cycle, a score that is NaN
        or more than 2**26.
    """
    if not isinstance(lm, Fsa) or lm.num_axes != 2 or lm.num_states == 0:
        what = repr(lm) if isinstance(lm, Fsa) else type(lm).__name__
        raise DecodingError(f"lm: needs one FSA with states, a token n-gram, got {what}.")
    arcs = lm.arcs.to("cpu").long()
    scores = lm.scores.detach().to("cpu", torch.float64)
    source, target, label = arcs.unbind(1)
    num_states = lm.num_states - 1  # without the final one
    is_final, is_backoff = label == -1, (label == 0) | (label == backoff_label)
    _refuse(~(scores <= _LARGEST), arcs, "whose score is NaN or more than 2**26")
    is_token = ~is_final & ~is_backoff
    beyond = is_token & ((label >= num_symbols) | (label == blank))
    _refuse(
        beyond,
        arcs,
        f"but the model has tokens 0..{num_symbols - 1}, blank {blank}, and back-off arcs are "
        f"labelled {backoff_label}; give an n-gram over tokens, or its backoff_label",
    )
    kind = torch.where(is_backoff, 0, label)
    order = torch.argsort(source * (num_symbols + 2) + kind, stable=True)
    same = (source[order][1:] == source[order][:-1]) & (kind[order][1:] == kind[order][:-1])
    twice = torch.zeros_like(is_final)
    twice[order[1:]] = same
    _refuse(twice, arcs, "and so has another arc of that state; determinize it first")

    backoff = torch.full((num_states,), -1, dtype=torch.int32)
    backoff[source[is_backoff]] = target[is_backoff].int()
    if has_cycle(backoff, -1):
        raise DecodingError("lm: its back-off arcs form a cycle; is 0 a back-off label in it?")
    backoff_scores = torch.zeros(num_states, dtype=torch.float64)
    backoff_scores[source[is_backoff]] = scores[is_backoff]
    final_scores = torch.full((num_states,), -torch.inf, dtype=torch.float64)
    final_scores[source[is_final]] = scores[is_final]
    kept = order[is_token[order]]
    sizes = torch.bincount(source[kept], minlength=num_states)
    token_scores = scores[kept]
    return NgramTables(
        splits=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        tokens=label[kept].int(),
        next=target[kept].int(),
        scores=token_scores,
        backoff=backoff,
        backoff_scores=backoff_scores,
        final_scores=final_scores,
        largest=_largest(token_scores, backoff, backoff_scores),
    )


def largest_scaled(tables: NgramTables, scale: float) -> float:
    """At least what any token scores after any history times a scale, which may be negative."""
    return _largest(scale * tables.scores, tables.backoff, scale * tables.backoff_scores)


def _largest(token_scores: Tensor, backoff: Tensor, backoff_scores: Tensor) -> float:
    """At least what any token scores after any history, zero at the least."""
    # A chain of back-off arcs gains no more than its arcs of positive score do.
    gains = backoff_scores.clamp(min=0)
    total, state = gains.clone(), backoff.long()
    while bool((state >= 0).any() & (gains > 0).any()):
        total += torch.where(state >= 0, gains[state.clamp(min=0)], 0)
        state = torch.where(state >= 0, backoff[state.clamp(min=0)].long(), -1)
    best = float(token_scores.max()) if token_scores.numel() else 0.0
    return max(0.0, best) + (float(total.max()) if total.numel() else 0.0)


def _refuse(wrong: Tensor, arcs: Tensor, why: str) -> None:
    for arc in wrong.nonzero().flatten().tolist()[:1]:
        source, target, label = arcs[arc].tolist()
        raise DecodingError(
            f"lm: arc {arc} from state {source} to {target} has label {label}, {why}."
        )
