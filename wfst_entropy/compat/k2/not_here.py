"""Names of k2 that this package does not have: asking for one says why."""

from __future__ import annotations

from wfst_entropy.fsa.errors import FsaError


class NotHereError(FsaError, NotImplementedError, AttributeError):
    """A name of k2 that is not here; the message says why."""


ATTRIBUTES = {
    "cmake_prefix_path": "there are no C++ headers to build against",
    "MutualInformationRecursion": "k2.mutual_information_recursion is what it was for",
}
"""What cannot be imported, and why."""
