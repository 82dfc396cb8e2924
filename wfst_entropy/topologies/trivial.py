"""The graph that allows every sequence of tokens."""

from __future__ import annotations

import torch

from wfst_entropy.fsa import Fsa, FsaValueError


def trivial_graph(max_token: int, device: torch.device | str | None = None) -> Fsa:
    """One state with a loop for each token from 1 to `max_token`, and the final state.

    What a search has for a graph where there is no lexicon and no language model.  `aux_labels` are
    the tokens themselves; all scores are 0.  k2's graph of this name.

    Args:
      max_token: the largest token, at least 1.
      device: of the result; the CPU by default.

    Raises:
      FsaValueError: `max_token` is below 1.

    Example:
      >>> print(trivial_graph(2))
      0 0 1 1 0
      0 0 2 2 0
      0 1 -1 -1 0
      1
    """
    if max_token < 1:
        raise FsaValueError(f"max_token: must be at least 1, got {max_token}.")
    label = torch.arange(1, max_token + 2, dtype=torch.int32, device=device)
    is_final = label > max_token
    label = label.masked_fill(is_final, -1)
    arcs = torch.stack([torch.zeros_like(label), is_final.to(torch.int32), label], dim=1)
    return Fsa.from_arcs(arcs, num_states=2, aux_labels=label.clone())
