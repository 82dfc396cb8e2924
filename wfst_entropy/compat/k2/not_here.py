"""Names of k2 that this package does not have under them: calling one says what to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from wfst_entropy.fsa.errors import FsaError


class NotHereError(FsaError, NotImplementedError, AttributeError):
    """A name of k2 that is not here; the message says what is, or that it is not there yet."""


_STREAMS = "RNN-T decoding streams are not here yet"

FUNCTIONS = {
    "RnntDecodingConfig": _STREAMS,
    "RnntDecodingStream": _STREAMS,
    "RnntDecodingStreams": _STREAMS,
}
"""What one may import, as code does that never comes to call it, and what a call says."""

ATTRIBUTES = {
    "cmake_prefix_path": "there are no C++ headers to build against",
    "MutualInformationRecursion": "k2.mutual_information_recursion is what it was for",
}
"""What cannot be imported either, and why."""


def absent(name: str) -> Callable[..., NoReturn]:
    """A function that says why `k2.<name>` is not here.

    Example:
      >>> absent("RnntDecodingStreams").__doc__
      'Not here: RNN-T decoding streams are not here yet.'
    """

    def not_here(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotHereError(f"k2.{name}: {FUNCTIONS[name]}.")

    not_here.__name__ = not_here.__qualname__ = name
    not_here.__doc__ = f"Not here: {FUNCTIONS[name]}."
    return not_here
