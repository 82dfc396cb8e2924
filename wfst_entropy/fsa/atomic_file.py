"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from wfst_entropy.fsa.errors import FileWriteError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """A file open for writing that takes the place of `path` when the block ends well.

    The data are on the disk before the name changes, so neither a crash nor a full disk leaves a
    damaged `path` behind.

    Args:
      path: The file to write.

    Yields:
      A temporary file in the same folder.

    Raises:
      FileWriteError: when the disk is full or refuses for another reason; `path` is as before.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with replacing(Path(folder) / "a") as file:
      ...         _ = file.write(b"whole")
      ...     (Path(folder) / "a").read_bytes()
      b'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FileWriteError(
            f"{path}: cannot be written: {error.strerror or error}; the files of {path.parent} are "
            "as before. Make room or permission, then start the same command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
