"""Transcripts as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from wfst_entropy.asr.transcribe.transcript import Transcript


def transcript_line(found: Transcript) -> str:
    """`utterance words...`, as the verb `score` reads it."""
    return f"{found.name} {found.text}".rstrip()


def word_lines(found: Transcript, times: bool, confidence: bool) -> Iterator[str]:
    """A line for each word: utterance, start and end, word, confidence; tabs between.

    Args:
      found: what to print; what a search does not tell is `-`.
      times: with start and end.
      confidence: with confidence.

    >>> from wfst_entropy.asr.transcribe.transcript import FoundWord
    >>> list(word_lines(Transcript("u", [FoundWord("HI", 0.5, 1.0)]), True, True))
    ['u\\t0.5\\t1\\tHI\\t-']
    """
    for word in found.words:
        fields = [found.name]
        if times:
            fields += [_number(word.start), _number(word.end)]
        fields.append(word.word)
        if confidence:
            fields.append(_number(word.confidence, ".4f"))
        yield "\t".join(fields)


def nbest_lines(found: Transcript) -> Iterator[str]:
    """A line for each alternative: utterance, rank, score, posterior, words; tabs between.

    >>> from wfst_entropy.asr.transcribe.transcript import Alternative
    >>> list(nbest_lines(Transcript("u", alternatives=[Alternative(["HI", "YOU"], -1.5, 0.75)])))
    ['u\\t1\\t-1.5000\\t0.7500\\tHI YOU']
    """
    for rank, each in enumerate(found.alternatives, start=1):
        text = " ".join(each.words)
        yield f"{found.name}\t{rank}\t{each.score:.4f}\t{each.posterior:.4f}\t{text}"


def json_line(found: Transcript, in_seconds: bool) -> str:
    """Everything, as one line of JSON; `time_unit` is seconds or frames."""
    content = found.as_dict() | {"time_unit": "seconds" if in_seconds else "frames"}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _number(value: float | None, form: str = ".10g") -> str:
    return "-" if value is None else f"{value:{form}}"
