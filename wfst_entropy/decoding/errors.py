"""The errors of decoding."""

from __future__ import annotations

from wfst_entropy.fsa.errors import FsaError


class DecodingError(FsaError, ValueError):
    """The scores of an utterance cannot be decoded, or do not fit what comes with them."""
