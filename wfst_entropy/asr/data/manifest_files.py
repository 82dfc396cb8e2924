"""Manifest files of lhotse and lists of left-out utterances: read line by line, written whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut
from lhotse.serialization import deserialize_item

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.fsa.atomic_file import replacing


@dataclass(frozen=True)
class Excluded:
    """An utterance that was left out."""

    id: str
    cause: str
    file: str


def is_newer(path: Path, sources: Iterable[Path]) -> bool:
    """Whether a file exists and is at least as new as all its sources."""
    if not path.is_file():
        return False
    made = path.stat().st_mtime_ns
    return all(made >= source.stat().st_mtime_ns for source in sources)


def read_manifest(
    path: Path | str, *, on_error: Callable[[Excluded], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yields (line number, lhotse object) from `.jsonl` or `.jsonl.gz`.

    Args:
      path: the manifest.
      on_error: called for a line that cannot be read; without it such a line is an error.

    Raises:
      DataError: the file is missing or damaged, with the line where that is known.
    """
    path = Path(path)
    number = 0
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            for number, line in enumerate(file, start=1):
                try:
                    item = deserialize_item(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
                    cause = f"the line is damaged: {type(error).__name__}: {error}"
                    if on_error is None:
                        raise DataError(
                            f"{path}:{number}: {cause}; delete the file and run the stage that "
                            "makes it again"
                        ) from error
                    on_error(Excluded("", cause, f"{path}:{number}"))
                    continue
                yield number, item
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: damaged after line {number}: {error}; delete the file and run the stage that "
            "makes it again"
        ) from error


def iter_cuts(path: Path | str) -> Iterator[MonoCut]:
    """Yields the cuts of a manifest, one by one.

    Raises:
      DataError: the file is missing or damaged, or holds something else than cuts.
    """
    for number, item in read_manifest(path):
        if not isinstance(item, MonoCut):
            raise DataError(f"{path}:{number}: needs a cut, got {type(item).__name__}")
        yield item


def read_cuts(path: Path | str) -> CutSet:
    """Reads a whole cut set into memory; raises as `iter_cuts`."""
    return CutSet.from_cuts(iter_cuts(path))


def write_jsonl(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Writes `.jsonl.gz`, in the place of the old file only when it is whole.

    The same items give the same bytes (no time stamp is stored).
    """
    with (
        replacing(path) as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=3, mtime=0) as file,
    ):
        for item in items:
            file.write((json.dumps(item, ensure_ascii=False) + "\n").encode("utf-8"))


def excluded_file(folder: Path, part: str) -> Path:
    """Returns the path of the list of utterances that were left out."""
    return folder / f"excluded_{part}.tsv"


def write_excluded(folder: Path, part: str, excluded: Sequence[Excluded]) -> None:
    """Writes `excluded_{part}.tsv`: id, cause, file; only the heading when there is none."""
    path = excluded_file(folder, part)
    rows = [("id", "cause", "file"), *((e.id, e.cause, e.file) for e in excluded)]
    lines = ["\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows]
    with replacing(path) as file:
        file.write("".join(lines).encode("utf-8"))


def count_excluded(folder: Path, part: str) -> int:
    """How many utterances the list names; 0 without a list."""
    path = excluded_file(folder, part)
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.is_file() else 0
