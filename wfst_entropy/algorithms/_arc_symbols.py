"""One number for all that the integer attributes of an arc say."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedTensor


def arc_symbols(fsa: Fsa) -> Tensor:
    """An id for the integer and ragged attributes of each arc: int64 `(num_arcs,)` on the CPU.

    Equal ids, equal attributes.  The id is 0 where they say nothing: every integer is the filler
    (or -1 on an arc into the final state), every list empty.
    """
    symbols = torch.zeros(fsa.num_arcs, dtype=torch.int64)
    final = fsa.labels.cpu() == -1
    for name, value in fsa.attributes.items():
        if isinstance(value, RaggedTensor):
            ids = _list_ids(value)
        elif isinstance(value, Tensor) and not value.is_floating_point() and value.dim() == 1:
            value = value.cpu()
            nothing = (value == fsa.get_filler(name)) | (final & (value == -1))
            ids = _ids(value.to(torch.int64)) + 1
            ids[nothing] = 0
        else:
            continue
        nothing = (symbols == 0) & (ids == 0)
        # Both are below the number of arcs, so the pair fits into an int64.
        symbols = _ids(symbols * (fsa.num_arcs + 2) + ids) + 1
        symbols[nothing] = 0
    return symbols


def _ids(values: Tensor) -> Tensor:
    """Numbers from 0, equal where the values are."""
    return torch.unique(values, return_inverse=True)[1]


def _list_ids(lists: RaggedTensor) -> Tensor:
    """A number for each list, equal where the lists are, 0 for the empty one."""
    known: dict[tuple[float, ...], int] = {(): 0}
    flat = lists
    while flat.num_axes > 2:
        flat = flat.remove_axis(1)
    return torch.tensor(
        [known.setdefault(tuple(row), len(known)) for row in flat.tolist()], dtype=torch.int64
    )
