"""The acceptor of one side of a transducer."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms.invert import invert
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

ProjectType = Literal["input", "output"]


@overload
def project(
    fsa: Fsa, project_type: ProjectType = "input", ret_arc_map: Literal[False] = False
) -> Fsa: ...
@overload
def project(
    fsa: Fsa, project_type: ProjectType = "input", *, ret_arc_map: Literal[True]
) -> tuple[Fsa, Tensor]: ...
def project(
    fsa: Fsa, project_type: ProjectType = "input", ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, Tensor]:
    r"""Keeps the input labels of a transducer, or makes its output labels the only ones.

    :math:`w(x) = \bigoplus_y w(x, y)`, or the same with the sides exchanged. Other attributes stay.

    Args:
      fsa: a transducer (with `aux_labels`) or a vector of them; of an acceptor both sides are the
        acceptor itself.
      project_type: "input" drops `aux_labels`; "output" makes them the labels (arcs with lists of
        them become chains, as in `invert`).
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for the
        further arcs of chains: int64 `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa, or `aux_labels` are not integers.
      FsaValueError: another `project_type`, or an output label that cannot be a label.

    Source: OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 5 50 0.5\n1 2 -1 -1 0\n2", num_aux_labels=1)
    >>> project(fst, "output").labels.tolist(), project(fst).labels.tolist()
    ([50, -1], [5, -1])
    """
    if project_type not in ("input", "output"):
        raise FsaValueError(f"project_type: must be 'input' or 'output', got {project_type!r}.")
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    arc_map = torch.arange(fsa.num_arcs, device=fsa.device)
    if project_type == "output" and "aux_labels" in fsa.attributes:
        fsa, arc_map = invert(fsa, ret_arc_map=True)
    dropped = ("aux_labels", "aux_labels_sym", "aux_labels_filler")
    attributes = {name: value for name, value in fsa.attributes.items() if name not in dropped}
    side = fsa._like(fsa.shape, fsa.arcs, fsa.scores, attributes)
    return (side, arc_map) if ret_arc_map else side
