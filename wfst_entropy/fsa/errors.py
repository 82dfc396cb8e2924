"""The family of errors raised by the whole package.

Every error is an `FsaError` and also one of Python's own types, so that both `except FsaError` and
`except ValueError` work.  A message names the argument, what was needed, what came, and the next
step.
"""

from __future__ import annotations


class FsaError(Exception):
    """Base of every error that this package raises on purpose."""


class FsaValueError(FsaError, ValueError):
    """An argument has the right type but a value, shape or dtype that cannot be used."""


class FsaTypeError(FsaError, TypeError):
    """An argument has the wrong type."""


class FsaFormatError(FsaError, ValueError):
    """A text, file or dict does not follow its format; the message carries the line or key."""


class FsaIndexError(FsaError, IndexError):
    """An index is outside a vector of FSAs or a ragged tensor."""


class FsaAttributeError(FsaError, AttributeError):
    """An attribute is unknown, or its name is taken by a member of `Fsa`."""


class SymbolNotFoundError(FsaError, KeyError):
    """A symbol or an id is not in a symbol table."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would put a whole sentence in quotes.
        return str(self.args[0]) if self.args else ""


class EmptyGraphError(FsaError, ValueError):
    """A graph accepts nothing where at least one path is needed."""


class CyclicFsaError(FsaError, ValueError):
    """An FSA has a cycle where an acyclic one is needed."""


class FsaRuntimeError(FsaError, RuntimeError):
    """A computation cannot go on, for a cause outside the arguments."""


class FileWriteError(FsaError, OSError):
    """A file cannot be written; the message names it, and what was there before still is."""
