"""Contextual biasing: phrases that a search should prefer, as an Aho-Corasick automaton."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from wfst_entropy._native.prefix_search import ContextTables
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

ROOT = 0
_LARGEST = 2.0**26  # nats; no sum of such loses all its digits


class ContextGraph:
    r"""Boosts phrases of tokens (or of words), icefall's and sherpa's `ContextGraph`.

    Each phrase :math:`p` has a boost :math:`b_p` per token, so that saying it whole is worth
    :math:`b_p |p|` nats.  From the start to `finalize`, a token string :math:`x` collects

    .. math:: \mathrm{total}(x) = \sum_p b_p |p| \cdot \#\{t : p \text{ ends in } x \text{ at } t\},

    that is, every occurrence counts: overlapping ones, and phrases inside others, each on their
    own.  On the way a string gets credit in advance, so that a beam keeps it: :math:`b_p` for each
    token of the best phrase begun (only positive boosts).  When the match breaks off the credit is
    taken back, down to that of the longest beginning that still matches; when a phrase is complete
    its own score replaces the credit.  What a string collects never depends on other phrases.

    States are integers: beginnings of phrases, 0 the empty one.  A state's fail arc leads to its
    longest proper suffix that is a state too (Aho and Corasick 1975, "Efficient string matching").

    Args:
      context_score: the boost of phrases that have none of their own, nats per token.

    Raises:
      FsaValueError: `context_score` is beyond 2**26.

    Example:
      >>> graph = ContextGraph(context_score=2.0).build([[1, 2, 3], [2, 4]])
      >>> total, state = 0.0, 0
      >>> for token in [1, 2, 4]:    # begins the first phrase, says the second
      ...     score, state = graph.forward_one_step(state, token)
      ...     print(score)
      2.0
      2.0
      0.0
      >>> graph.finalize(state)
      (0.0, 0)
    """

    def __init__(self, context_score: float = 1.0) -> None:
        self.context_score = _boost("context_score", context_score)
        self._clear()

    def _clear(self) -> None:
        self._next: list[dict[int, int]] = [{}]
        self._fail = [ROOT]
        self._credit = [0.0]  # in advance, for what has been begun
        self._output = [0.0]  # of all phrases that end here

    def build(
        self, phrases: Iterable[Sequence[int]], scores: Sequence[float | None] | None = None
    ) -> ContextGraph:
        """Takes the phrases in place of any earlier ones.

        Args:
          phrases: token ids from 1 on, at least one each.  A phrase given twice counts once, with
            the larger boost.
          scores: the boost per token of each phrase, None for `context_score`.  Negative ones
            discourage.

        Returns:
          The graph itself.

        Raises:
          FsaValueError: an empty phrase, a token below 1, a boost beyond 2**26, or not as
            many scores as phrases.
          FsaTypeError: a token is no integer.
        """
        boosts = self._boosts([list(phrase) for phrase in phrases], scores)
        self._clear()
        own = [0.0]  # credit without that of suffixes
        for phrase, boost in boosts.items():
            state = ROOT
            for depth, token in enumerate(phrase, start=1):
                if token not in self._next[state]:
                    self._next[state][token] = len(self._next)
                    self._next.append({})
                    self._fail.append(ROOT)
                    self._output.append(0.0)
                    own.append(0.0)
                state = self._next[state][token]
                if depth < len(phrase):
                    own[state] = max(own[state], depth * boost)
            self._output[state] = boost * len(phrase)
        self._fill_fail_arcs(own)
        return self

    def _boosts(
        self, phrases: list[list[int]], scores: Sequence[float | None] | None
    ) -> dict[tuple[int, ...], float]:
        if scores is not None and len(scores) != len(phrases):
            raise FsaValueError(
                f"scores: needs one for each of the {len(phrases)} phrases, got {len(scores)}."
            )
        boosts: dict[tuple[int, ...], float] = {}
        for number, phrase in enumerate(phrases):
            for token in phrase:
                if isinstance(token, bool) or not isinstance(token, int):
                    raise FsaTypeError(f"phrases: phrase {number} has the token {token!r}.")
            if not phrase or min(phrase) < 1 or max(phrase) > 2**31 - 1:
                raise FsaValueError(
                    f"phrases: phrase {number} is {phrase}; it needs tokens, from 1 to 2**31 - 1."
                )
            score = None if scores is None else scores[number]
            boost = self.context_score if score is None else _boost(f"scores[{number}]", score)
            boosts[tuple(phrase)] = max(boost, boosts.get(tuple(phrase), -math.inf))
        return boosts

    def _fill_fail_arcs(self, own: list[float]) -> None:
        self._credit = own
        queue = [ROOT]
        for state in queue:  # breadth first: a state's suffixes are shorter, so they are done
            for token, child in self._next[state].items():
                queue.append(child)
                if state != ROOT:
                    self._fail[child] = self._goto(self._fail[state], token)
                fail = self._fail[child]
                self._credit[child] = max(own[child], self._credit[fail])
                self._output[child] += self._output[fail]

    def _goto(self, state: int, token: int) -> int:
        while state != ROOT and token not in self._next[state]:
            state = self._fail[state]
        return self._next[state].get(token, ROOT)

    @property
    def num_states(self) -> int:
        """The number of states; 1 without phrases."""
        return len(self._next)

    def forward_one_step(self, state: int, token: int) -> tuple[float, int]:
        """The score of a token after what led to `state`, nats, and the next state.

        Args:
          state: 0 at the start, then what the last call returned.
          token: any integer.

        Raises:
          FsaValueError: there is no such state.
        """
        self._check_state(state)
        following = self._goto(state, token)
        gain = self._credit[following] + self._output[following] - self._credit[state]
        return gain, following

    def finalize(self, state: int) -> tuple[float, int]:
        """What the end takes back of the credit for a phrase that was begun, and the state 0.

        Raises:
          FsaValueError: there is no such state.
        """
        self._check_state(state)
        return 0.0 - self._credit[state], ROOT

    def _check_state(self, state: int) -> None:
        if not 0 <= state < self.num_states:
            raise FsaValueError(f"state: must lie in 0..{self.num_states - 1}, got {state}.")

    def continuations(self, state: int) -> list[int]:
        """The tokens with which a phrase goes on after `state`, ascending.

        Raises:
          FsaValueError: there is no such state.
        """
        self._check_state(state)
        return sorted(self._next[state])

    def fail_state(self, state: int) -> int:
        """The state of the longest proper suffix; 0 for state 0.

        Raises:
          FsaValueError: there is no such state.
        """
        self._check_state(state)
        return self._fail[state]

    def tables(self) -> ContextTables:
        """The automaton as tensors, for searches in C++."""
        rows = [sorted(children.items()) for children in self._next]
        flat = [pair for row in rows for pair in row]
        sizes = torch.tensor([0] + [len(row) for row in rows])
        return ContextTables(
            splits=sizes.cumsum(0),
            tokens=torch.tensor([token for token, _ in flat], dtype=torch.int32),
            children=torch.tensor([child for _, child in flat], dtype=torch.int32),
            fail=torch.tensor(self._fail, dtype=torch.int32),
            credit=torch.tensor(self._credit, dtype=torch.float64),
            output=torch.tensor(self._output, dtype=torch.float64),
        )

    def __repr__(self) -> str:
        return f"ContextGraph(context_score={self.context_score}, num_states={self.num_states})"


def _boost(name: str, value: float) -> float:
    if not abs(value) <= _LARGEST:
        raise FsaValueError(f"{name}: must be nats between -2**26 and 2**26, got {value}.")
    return float(value)
