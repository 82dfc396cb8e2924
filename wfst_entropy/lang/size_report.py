"""How large graphs are, said before and after each heavy step."""

from __future__ import annotations

import torch

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError

# Beyond, a graph takes gigabytes: to be asked for by name.
MAX_STATES = 15_000_000
MAX_ARCS = 100_000_000


def size_of(fsa: Fsa) -> str:
    """The size of a graph in words.

    >>> size_of(Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2"))
    '3 states, 2 arcs, 0.0 MB'
    """
    tensors = [fsa.arcs, fsa.scores, *fsa.shape.all_row_splits()]
    tensors += [x for x in fsa.attributes.values() if isinstance(x, torch.Tensor)]
    size = sum(x.numel() * x.element_size() for x in tensors)
    return f"{fsa.num_states:,} states, {fsa.num_arcs:,} arcs, {size / 1e6:.1f} MB"


def check_size(name: str, fsa: Fsa, max_states: int, max_arcs: int) -> None:
    """Refuses a graph that is above a limit, before anything is made of it.

    Raises:
      FsaRuntimeError: with the size and the limits.
    """
    if fsa.num_states > max_states or fsa.num_arcs > max_arcs:
        raise FsaRuntimeError(
            f"{name} has {size_of(fsa)}, above max_states={max_states:,} or max_arcs={max_arcs:,}: "
            "prune the language model (wfst-entropy lm prune), or raise the limits."
        )
