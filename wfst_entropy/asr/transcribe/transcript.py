"""What is found in one utterance: words with times and confidences, and the alternatives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from wfst_entropy.asr.word_pieces import spell_words, words_of_tokens
from wfst_entropy.fsa import Fsa


class FoundWord(NamedTuple):
    """A word; times in seconds or frames, None where a search does not tell; see `Transcript`."""

    word: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None


class Alternative(NamedTuple):
    """One of the best transcripts: its words, its score in nats, its posterior probability."""

    words: list[str]
    score: float
    posterior: float


@dataclasses.dataclass
class Transcript:
    """What a search found in one utterance.

    Attributes:
      name: of the utterance.
      words: of the best transcript.
      confidence: its posterior probability among all that the search kept; None if it keeps one.
      entropy: nats, of what the search kept: transcripts (prefix beam search), or the paths of a
        lattice, that is transcripts and alignments; None likewise.
      alternatives: different transcripts: by their posteriors (prefix beam search), or by their
        best paths (lattices).
      num_frames: of the frame scores.
      problem: what is wrong with it, or "".
      failed: there is no transcript.
      lattice: what the search kept, a vector of one; None where it keeps no lattice.
    """

    name: str
    words: list[FoundWord] = dataclasses.field(default_factory=list)
    confidence: float | None = None
    entropy: float | None = None
    alternatives: list[Alternative] = dataclasses.field(default_factory=list)
    num_frames: int = 0
    problem: str = ""
    failed: bool = False
    lattice: Fsa | None = None

    @property
    def text(self) -> str:
        """The words, blanks between them."""
        return " ".join(found.word for found in self.words)

    def in_seconds(self, frame_shift: float | None) -> Transcript:
        """The same with times in seconds, if the seconds between two frames are known."""
        if frame_shift is None:
            return self
        words = [
            word
            if word.start is None or word.end is None
            else word._replace(
                start=round(word.start * frame_shift, 4), end=round(word.end * frame_shift, 4)
            )
            for word in self.words
        ]
        return dataclasses.replace(self, words=words)

    def as_dict(self) -> dict[str, Any]:
        """For JSON.

        >>> found = Transcript("utt-1", [FoundWord("HI", 0, 4, 0.5)], confidence=0.5)
        >>> found.as_dict()["words"]
        [{'word': 'HI', 'start': 0, 'end': 4, 'confidence': 0.5}]
        """
        return {
            "name": self.name,
            "text": self.text,
            "words": [word._asdict() for word in self.words],
            "confidence": self.confidence,
            "entropy": self.entropy,
            "nbest": [
                {"text": " ".join(a.words), "score": a.score, "posterior": a.posterior}
                for a in self.alternatives
            ],
            "num_frames": self.num_frames,
            "problem": self.problem,
            "failed": self.failed,
        }


def words_of_hypothesis(
    pieces: Sequence[str],
    start_frames: Sequence[int],
    end_frames: Sequence[int],
    log_probs: Sequence[float],
) -> list[FoundWord]:
    """The words that tokens spell, in frames.

    Their confidences are geometric means over the frames of their tokens.

    Args:
      pieces: the tokens, in order of time.
      start_frames: the first frame of each token.
      end_frames: one beyond the last.
      log_probs: mean log-probability over these frames.

    >>> found = words_of_hypothesis(["▁A", "B", "▁C"], [0, 2, 5], [1, 3, 6], [0.0, 0.0, -0.7])
    >>> [(w.word, w.start, w.end, round(w.confidence, 2)) for w in found]
    [('AB', 0, 3, 1.0), ('C', 5, 6, 0.5)]
    """
    numbers = words_of_tokens(pieces)
    members: dict[int, list[int]] = {}
    for position, word in enumerate(numbers):
        if word is not None:
            members.setdefault(word, []).append(position)
    found = []
    for word, name in enumerate(spell_words(pieces, numbers)):
        tokens = members[word]
        sizes = [end_frames[i] - start_frames[i] for i in tokens]
        total = sum(log_probs[i] * size for i, size in zip(tokens, sizes, strict=True))
        mean = math.exp(total / sum(sizes))
        found.append(FoundWord(name, start_frames[tokens[0]], end_frames[tokens[-1]], mean))
    return found


def vote(best: Sequence[FoundWord], others: Sequence[tuple[list[FoundWord], float]]) -> list[float]:
    """For each word the probability of the hypotheses that have it at a time in common.

    Args:
      best: words with times.
      others: words and posterior of every hypothesis, that of `best` included.

    >>> hi, ho = FoundWord("HI", 0, 4), FoundWord("HO", 0, 4)
    >>> vote([hi], [([hi], 0.5), ([ho], 0.25), ([FoundWord("HI", 3, 5)], 0.125)])
    [0.625]
    """
    return [
        min(1.0, sum(p for words, p in others if any(_same(word, other) for other in words)))
        for word in best
    ]


def _same(a: FoundWord, b: FoundWord) -> bool:
    if a.start is None or a.end is None or b.start is None or b.end is None:
        return False
    return a.word == b.word and a.start < b.end and b.start < a.end


def merge_alternatives(found: Sequence[Alternative]) -> list[Alternative]:
    """Those with the same words as one, best first: posteriors add up, scores are log-added.

    >>> pairs = [Alternative(["A"], 0.0, 0.5), Alternative(["B"], 0.0, 0.25)]
    >>> [(a.words, a.posterior) for a in merge_alternatives([*pairs, pairs[1], pairs[1]])]
    [(['B'], 0.75), (['A'], 0.5)]
    """
    merged: dict[tuple[str, ...], Alternative] = {}
    for each in found:
        key = tuple(each.words)
        old = merged.get(key)
        if old is not None:
            top = max(each.score, old.score)
            score = top + math.log(math.exp(each.score - top) + math.exp(old.score - top))
            each = Alternative(each.words, score, each.posterior + old.posterior)
        merged[key] = each
    return sorted(merged.values(), key=lambda each: -each.posterior)


def entropy_of(alternatives: Sequence[Alternative]) -> float:
    """Of the posteriors, nats.

    >>> entropy_of([Alternative(["A"], 0.0, 1.0)])
    0.0
    """
    return 0.0 - sum(a.posterior * math.log(a.posterior) for a in alternatives if a.posterior > 0)
