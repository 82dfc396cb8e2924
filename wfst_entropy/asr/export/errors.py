"""What can go wrong with exported models."""

from __future__ import annotations

from wfst_entropy.fsa.errors import FsaError


class ExportError(FsaError, RuntimeError):
    """A model cannot be exported, or an exported file cannot be used; the message names it."""
