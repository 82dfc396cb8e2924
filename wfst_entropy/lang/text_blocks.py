"""Lines of large text files, plain or gzip, read in blocks and checked for what breaks silently."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from wfst_entropy.fsa import FsaFormatError

_BLOCK = 1 << 20
# A sentence or an n-gram is never so long: a longer line means that this is another kind of file.
MAX_LINE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


def line_blocks(filename: str | os.PathLike[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Reads a file a block of lines at a time, so that its size does not matter.

    A file that begins as gzip does is unpacked, whatever its name.  Lines are bytes without their
    end; their encoding is left to who knows which of them are text.

    Args:
      filename: the file.

    Yields:
      The number of the first line, from 1, and the lines of a block of about a megabyte.

    Raises:
      FsaFormatError: with file and line: no data, a byte order mark, lines that end in CR LF, a
        zero byte, a line above 1 MiB, or a damaged gzip file.
      OSError: it cannot be opened or read.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "text"
      >>> _ = path.write_text("a b\\nc")
      >>> list(line_blocks(path))
      [(1, [b'a b']), (2, [b'c'])]
    """
    path = Path(filename)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if packed else raw)
        try:
            yield from _blocks(stream, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FsaFormatError(
                f"{path}: the gzip data are damaged or cut short: {error}; copy or make it again"
            ) from error


def decoded(line: bytes, path: Path, number: int) -> str:
    """The text of a line.

    Raises:
      FsaFormatError: it is not UTF-8.

    >>> decoded(b"caf\\xe9", Path("t.txt"), 7)
    Traceback (most recent call last):
    wfst_entropy.fsa.errors.FsaFormatError: t.txt: line 7: is not UTF-8 text: byte 0xe9 at column 4;
    if it is Latin-1: iconv -f LATIN1 -t UTF-8 t.txt > mended
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FsaFormatError(
            f"{path}: line {number}: is not UTF-8 text: byte 0x{line[error.start]:02x} at column "
            f"{error.start + 1}; if it is Latin-1: iconv -f LATIN1 -t UTF-8 {path} > mended"
        ) from error


def _blocks(stream: IO[bytes], path: Path) -> Iterator[tuple[int, list[bytes]]]:
    number, rest, at_start = 1, b"", True
    while block := stream.read(_BLOCK):
        if at_start and block.startswith(_BOM):
            raise FsaFormatError(
                f"{path}: line 1: begins with a byte order mark (BOM); remove it: "
                f"sed -i '1s/^\\xEF\\xBB\\xBF//' {path}"
            )
        at_start = False
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        _check_bytes(block, rest, lines, path, number)
        if lines:
            yield number, lines
            number += len(lines)
    if at_start:
        raise FsaFormatError(f"{path}: line 1: the file is empty (0 bytes); make it again")
    if rest:
        yield number, [rest]


def _check_bytes(block: bytes, rest: bytes, lines: list[bytes], path: Path, number: int) -> None:
    if b"\0" in block:
        where = _first(b"\0", [*lines, rest], path, number)
        raise FsaFormatError(f"{where}: has a zero byte: this is binary data or UTF-16, not text")
    if b"\r" in block:
        where = _first(b"\r", [*lines, rest], path, number)
        raise FsaFormatError(
            f"{where}: has a carriage return (line ends of Windows, CR LF); remove them: "
            f"sed -i 's/\\r//g' {path}"
        )
    if len(block) + len(rest) > MAX_LINE_BYTES:
        for i, line in enumerate([*lines, rest]):
            if len(line) > MAX_LINE_BYTES:
                raise FsaFormatError(
                    f"{path}: line {number + i}: is longer than {MAX_LINE_BYTES:,} bytes; "
                    "this is no text with one sentence or n-gram on a line"
                )


def _first(byte: bytes, lines: list[bytes], path: Path, number: int) -> str:
    return f"{path}: line {number + next(i for i, line in enumerate(lines) if byte in line)}"
