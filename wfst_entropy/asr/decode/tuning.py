"""Which scales suit a model: the fewest word errors on development data, never on a test set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wfst_entropy.asr.data.utterances import read_batch
from wfst_entropy.asr.decode.decoder import Decoder
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import Scales, setting_name
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.metrics.wer import ErrorStats, Recognition, error_stats


@dataclasses.dataclass
class Tuning:
    """What a grid of scales led to on development data.

    Attributes:
      grid: the scales that were tried.
      results: for each scales the utterances of each part, by part.
    """

    grid: list[Scales]
    results: list[dict[str, list[Recognition]]]

    def errors(self) -> list[ErrorStats]:
        """Of all parts together, for each scales."""
        return [error_stats(r for part in parts.values() for r in part) for parts in self.results]

    def best(self) -> int:
        """The number of the scales with the fewest errors.

        Of several that are equally good, the one nearest to their mean: it lies in the middle of a
        plateau rather than on its edge.
        """
        counts = [stats.num_errors for stats in self.errors()]
        tied = [i for i, count in enumerate(counts) if count == min(counts)]
        rows = [list(self.grid[i].values()) for i in tied]
        means = [sum(column) / len(tied) for column in zip(*rows, strict=True)]
        away = [sum((v - m) ** 2 for v, m in zip(row, means, strict=True)) for row in rows]
        return tied[away.index(min(away))]


def refuse_test_sets(parts: Iterable[str], test_parts: Iterable[str]) -> None:
    """Raise if scales would be tuned on what they are tested on.

    Args:
      parts: those to tune on.
      test_parts: those that are for testing.

    Raises:
      OptionError: a part is in both, or its name begins with "test".

    >>> refuse_test_sets(["dev-clean"], ["test-clean"])
    """
    wrong = [part for part in parts if part.startswith("test") or part in set(test_parts)]
    if wrong:
        raise OptionError(
            f"tune: {', '.join(wrong)} is for testing; error rates on it mean nothing once scales "
            "are tuned on it. Name development parts with --valid-parts"
        )


def tune(
    decoder: Decoder,
    parts: dict[str, Iterable[dict[str, Any]]],
    on_batch: Callable[[int], None],
) -> Tuning:
    """Decode development data with each scales of the method's grid.

    Args:
      decoder: the model and the method.
      parts: batches of each part.
      on_batch: told the number of utterances after each batch.

    Raises:
      OptionError: the method has nothing to tune.
    """
    method = decoder.method
    grid = method.grid
    if not grid:
        raise OptionError(f"tune: {method.name} has no scales; leave --tune out")
    results: list[dict[str, list[Recognition]]] = [{part: [] for part in parts} for _ in grid]
    for part, batches in parts.items():
        for batch in batches:
            utterances = read_batch(batch, decoder.tokenizer)
            scores, lengths = decoder.scores(utterances)
            refs = [text.split() for text in batch["supervisions"]["text"]]
            for found, words in zip(
                results, method.search_grid(scores, lengths, grid), strict=True
            ):
                found[part] += map(Recognition, utterances.names, refs, words)
            on_batch(len(refs))
    return Tuning(list(grid), results)


def scales_file(res_dir: Path, suffix: str) -> Path:
    """Where the scales of a model and a method are kept."""
    return res_dir / f"scales-{suffix}.json"


def write_scales(path: Path, tuning: Tuning, method: str) -> Scales:
    """Write the best scales with all that was tried; returns them."""
    best = tuning.best()
    errors = tuning.errors()
    content = {
        "scales": dict(tuning.grid[best]),
        "tuned_on": sorted(tuning.results[best]),
        "num_ref_words": errors[best].num_ref_words,
        "wer": errors[best].wer,
        "grid": {
            setting_name(method, scales): stats.wer
            for scales, stats in zip(tuning.grid, errors, strict=True)
        },
    }
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
    return tuning.grid[best]


def read_scales(path: Path) -> dict[str, float]:
    """The scales that were tuned, by name; empty where none were.

    Raises:
      OptionError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        scales = json.loads(path.read_text(encoding="utf-8"))["scales"]
        return {str(name): float(value) for name, value in scales.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{path}: has no usable scales ({error}); delete it and tune again with --tune true"
        ) from error
