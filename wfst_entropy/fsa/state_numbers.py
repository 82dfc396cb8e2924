"""How many FSAs, states and arcs there are, and how they are counted over a vector."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.ragged import RaggedShape


class StateNumbers:
    """The part of `Fsa` that depends on its shape and the states of its arcs alone."""

    __slots__ = ()

    shape: RaggedShape
    arcs: Tensor

    @property
    def num_axes(self) -> int:
        """2 for one FSA, 3 for a vector."""
        return self.shape.num_axes

    @property
    def num_fsas(self) -> int:
        """Number of FSAs; 1 if this is not a vector."""
        return self.shape.dim0 if self.num_axes == 3 else 1

    @property
    def num_states(self) -> int:
        """Number of states, over all FSAs."""
        return self.shape.tot_size(self.num_axes - 2)

    @property
    def num_arcs(self) -> int:
        """Number of arcs, over all FSAs."""
        return self.shape.numel()

    def src_states(self) -> Tensor:
        """Source states counted over the whole vector: int64 `(num_arcs,)`."""
        return self.shape.row_ids(self.num_axes - 1)

    def dst_states(self) -> Tensor:
        """Destination states counted over the whole vector: int64 `(num_arcs,)`."""
        dst = self.arcs[:, 1].to(torch.int64)
        return dst if self.num_axes == 2 else dst + self.shape.row_splits(1)[self.arc_to_fsa()]

    def state_to_fsa(self) -> Tensor:
        """The FSA of each state: int64 `(num_states,)`."""
        if self.num_axes == 3:
            return self.shape.row_ids(1)
        return torch.zeros(self.num_states, dtype=torch.int64, device=self.arcs.device)

    def arc_to_fsa(self) -> Tensor:
        """The FSA of each arc: int64 `(num_arcs,)`."""
        return self.state_to_fsa()[self.src_states()]

    def start_states(self) -> Tensor:
        """Start states counted over the whole vector, int64 `(num_fsas,)`; -1 for an empty FSA."""
        splits = self._fsa_to_states()
        return torch.where(splits[1:] > splits[:-1], splits[:-1], -1)

    def final_states(self) -> Tensor:
        """Final states counted over the whole vector, int64 `(num_fsas,)`; -1 for an empty FSA."""
        splits = self._fsa_to_states()
        return torch.where(splits[1:] > splits[:-1], splits[1:] - 1, -1)

    def _fsa_to_states(self) -> Tensor:
        if self.num_axes == 3:
            return self.shape.row_splits(1)
        return torch.tensor([0, self.num_states], device=self.arcs.device)

    def _vector_shape(self) -> RaggedShape:
        if self.num_axes == 3:
            return self.shape
        return RaggedShape(self._fsa_to_states(), self.shape.row_splits(1))
