"""Labels replaced by others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaAttributeError, FsaTypeError, FsaValueError


def relabel(
    fsa: Fsa,
    labels: Mapping[int, int] | None = None,
    aux_labels: Mapping[int, int] | None = None,
) -> Fsa:
    """Replaces labels; those that are not mentioned stay.

    Arcs keep their order, so sort them again (`arc_sort`) where that matters.

    Args:
      fsa: an FSA or a vector of them.
      labels: new input label by old one; 0 is epsilon, -1 cannot be mentioned.
      aux_labels: likewise of output labels, a tensor or lists.

    Raises:
      FsaAttributeError: `aux_labels` is given but `fsa` has none.
      FsaTypeError: `fsa` is no Fsa.
      FsaValueError: a label that is negative or too large.

    Source: OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 5 50 0.5\\n1 2 -1 -1 0\\n2", num_aux_labels=1)
    >>> new = relabel(fst, {5: 0}, {50: 51, 7: 8})
    >>> new.labels.tolist(), new.aux_labels.tolist()
    ([0, -1], [51, -1])
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    arcs, attributes = fsa.arcs, dict(fsa.attributes)
    if labels:
        arcs = arcs.clone()
        arcs[:, 2] = _looked_up(arcs[:, 2], labels, "labels")
    if aux_labels:
        old = attributes.get("aux_labels")
        if isinstance(old, RaggedTensor):
            new = _looked_up(old.values, aux_labels, "aux_labels")
            attributes["aux_labels"] = RaggedTensor(old.shape, new)
        elif isinstance(old, Tensor):
            attributes["aux_labels"] = _looked_up(old, aux_labels, "aux_labels")
        else:
            raise FsaAttributeError(
                "aux_labels: the Fsa has no aux_labels to replace; pass only `labels`."
            )
    return fsa._like(fsa.shape, arcs, fsa.scores, attributes)


def _looked_up(old: Tensor, table: Mapping[int, int], name: str) -> Tensor:
    for pair in table.items():
        if not all(isinstance(x, int) and 0 <= x < 2**31 for x in pair):
            raise FsaValueError(
                f"{name}: labels must be integers from 0 to 2**31 - 1, got {pair[0]!r}: {pair[1]!r}"
                " (-1, on arcs into the final state, cannot be replaced)."
            )
    pairs = torch.tensor(sorted(table.items()), dtype=torch.int64, device=old.device)
    keys, values = pairs[:, 0].contiguous(), pairs[:, 1]
    wide = old.to(torch.int64)
    place = torch.searchsorted(keys, wide.contiguous()).clamp(max=keys.numel() - 1)
    return torch.where(keys[place] == wide, values[place], wide).to(old.dtype)
