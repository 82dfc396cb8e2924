"""Lattices of graphs and frame scores from the arcs that a search kept: scores and attributes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms._surgery import select_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaValueError


class Structure(NamedTuple):
    """The states and arcs of lattices, without scores and attributes."""

    shape: RaggedShape  # [sequence][state][arc]
    arcs: Tensor  # int32 (num_arcs, 3)
    arc_map: Tensor  # int64 (num_arcs,), arcs of the graphs, -1 for none
    frames: Tensor  # int32 (num_arcs,), within the sequence
    positions: Tensor  # int64 (num_arcs,), of the frame score in (N, T, C), -1 for none


class FrameNames(NamedTuple):
    """The attributes that say where in time an arc is, None for those that are not wanted."""

    frame_idx: str | None
    seqframe_idx: str | None = None

    def check(self, a_fsas: Fsa) -> None:
        """Refuses names that attributes of the graph have.

        Raises:
            FsaValueError: with the name.
        """
        for name in self:
            if name is not None and name in a_fsas.attributes:
                raise FsaValueError(
                    f"a_fsas: has an attribute {name!r} already; pass another frame_idx_name or "
                    "seqframe_idx_name, or None"
                )


def build_lattice(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec,
    structure: Structure,
    names: FrameNames,
    first_rows: Tensor,
) -> Fsa:
    """The lattices: graph score plus frame score, differentiable in both, and the attributes.

    Args:
        a_fsas: the graphs.
        b_fsas: the sequences, one for each lattice.
        structure: from a search.
        names: of the attributes for frames.
        first_rows: int64 (S,), where the rows of each sequence begin, for `seqframe_idx`.
    """
    shape, arcs, arc_map, frames, positions = structure
    # by number in a flat tensor: the gradient is an index_add
    read = select_scores(b_fsas.scores.reshape(-1), positions)
    scores = select_scores(a_fsas.scores, arc_map) + read
    attributes = a_fsas.select_attributes(arc_map, arcs[:, 2])
    lattice = a_fsas._like(shape, arcs, scores, attributes)
    if names.frame_idx is not None:
        lattice.set_attribute_(names.frame_idx, frames)
    if names.seqframe_idx is not None:
        sequence = shape.row_ids(1)[shape.row_ids(2)]
        rows = (first_rows[sequence] + frames).to(torch.int32)
        lattice.set_attribute_(names.seqframe_idx, rows)
    return lattice
