"""Names of k2 that this package does not have under them: calling one says what to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from wfst_entropy.fsa.errors import FsaError


class NotHereError(FsaError, NotImplementedError, AttributeError):
    """A name of k2 that is not here; the message says what is, or that it is not there yet."""


_RNNT = "RNN-T losses are not here yet"
_PRUNED = (
    "decoding with a search beam is not here yet; k2.intersect_dense makes the exact lattice, and "
    "wfst_entropy.ctc_greedy_search decodes without a graph"
)
_STREAMS = "RNN-T decoding streams are not here yet"

FUNCTIONS = {
    "do_rnnt_pruning": _RNNT,
    "get_hat_logprobs_pruned": _RNNT,
    "get_rnnt_logprobs": _RNNT,
    "get_rnnt_logprobs_joint": _RNNT,
    "get_rnnt_logprobs_pruned": _RNNT,
    "get_rnnt_logprobs_smoothed": _RNNT,
    "get_rnnt_prune_ranges": _RNNT,
    "get_rnnt_prune_ranges_deprecated": _RNNT,
    "fix_for_boundary": _RNNT,
    "joint_mutual_information_recursion": _RNNT,
    "mutual_information_recursion": _RNNT,
    "rnnt_loss": _RNNT,
    "rnnt_loss_pruned": _RNNT,
    "rnnt_loss_simple": _RNNT,
    "rnnt_loss_smoothed": _RNNT,
    "pruned_ranges_to_lattice": _RNNT,
    "DecodeStateInfo": _PRUNED,
    "OnlineDenseIntersecter": _PRUNED,
    "get_lattice": _PRUNED,
    "intersect_dense_pruned": _PRUNED,
    "RnntDecodingConfig": _STREAMS,
    "RnntDecodingStream": _STREAMS,
    "RnntDecodingStreams": _STREAMS,
}
"""What one may import, as code does that never comes to call it, and what a call says."""

ATTRIBUTES = {
    "cmake_prefix_path": "there are no C++ headers to build against",
    "MutualInformationRecursion": _RNNT,
}
"""What cannot be imported either, and why."""


def absent(name: str) -> Callable[..., NoReturn]:
    """A function that says why `k2.<name>` is not here.

    Example:
      >>> absent("rnnt_loss")()
      Traceback (most recent call last):
      ...
      wfst_entropy.compat.k2.not_here.NotHereError: k2.rnnt_loss: RNN-T losses are not here yet.
    """

    def not_here(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotHereError(f"k2.{name}: {FUNCTIONS[name]}.")

    not_here.__name__ = not_here.__qualname__ = name
    not_here.__doc__ = f"Not here: {FUNCTIONS[name]}."
    return not_here
