"""Input and output labels change places."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms.expand_ragged_attributes import expand_aux_labels
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


@overload
def invert(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def invert(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def invert(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Swaps `labels` and `aux_labels`, and `labels_sym` and `aux_labels_sym` where they are.

    Where `aux_labels` is ragged, arcs with several output labels become chains, as
    `expand_ragged_attributes` makes them.

    Args:
      fsa: a transducer (with `aux_labels`) or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for the
        further arcs of chains: int64 `(num_new_arcs,)`.

    Raises:
      FsaAttributeError: `fsa` has no `aux_labels`.
      FsaTypeError: they are not integers.
      FsaValueError: an output label that cannot be an input label; names the arc.

    Source: k2 and OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 5 50 0.5\\n1 2 -1 -1 0\\n2", num_aux_labels=1)
    >>> print(invert(fst))
    0 1 50 5 0.5
    1 2 -1 -1 0
    2
    """
    linear, arc_map = expand_aux_labels(fsa)
    outputs = linear.aux_labels
    wrong = torch.nonzero((outputs < -1) | (outputs.to(torch.int64) >= 2**31))
    if wrong.numel():
        arc = int(wrong[0])
        raise FsaValueError(
            f"aux_labels: arc {arc} has {int(outputs[arc])}, which cannot be a label; needed are 0 "
            "(epsilon) to 2**31 - 1, and -1 on arcs into the final state."
        )
    arcs = linear.arcs.clone()
    arcs[:, 2] = outputs
    attributes: dict[str, Any] = dict(linear.attributes)
    attributes["aux_labels"] = linear.labels.clone()
    symbols = {name: attributes.pop(name, None) for name in ("labels_sym", "aux_labels_sym")}
    for name, other in (("labels_sym", "aux_labels_sym"), ("aux_labels_sym", "labels_sym")):
        if symbols[other] is not None:
            attributes[name] = symbols[other]
    inverted = linear._like(linear.shape, arcs, linear.scores, attributes)
    return (inverted, arc_map) if ret_arc_map else inverted
