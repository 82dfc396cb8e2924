"""Errors about corpora, manifests, features and units."""

from __future__ import annotations

from wfst_entropy.fsa.errors import FsaError


class DataError(FsaError, ValueError):
    """A corpus, a manifest or a list of units cannot be used; the message names the file."""


class SynthesisError(FsaError, RuntimeError):
    """The speech synthesiser failed."""


class MissingDependencyError(FsaError, ImportError):
    """An optional package is not installed or does not load."""


def brief(error: BaseException) -> str:
    """Returns kind and first line of an error; lhotse adds whole manifests on further lines.

    >>> brief(OSError("no such file\\n[extra info] ..."))
    'OSError: no such file'
    """
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
