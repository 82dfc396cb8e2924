"""k2's tensor form of FSAs, and where label -1 must stand.

One FSA is an int32 tensor `(num_arcs, 4)`.  A vector is one row of integers: its number of FSAs,
0, the row splits of its states, those of its arcs, both per FSA, and then four integers per arc.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import RaggedShape
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.fsa.invariants import shape_of_arcs


def fsa_to_tensor(arcs: RaggedArc) -> Tensor:
    """The tensor form of one FSA or a vector; a copy.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> fsa = k2.Fsa.from_str("0 1 -1 0\\n1")
      >>> fsa_to_tensor(fsa.arcs)
      tensor([[ 0,  1, -1,  0]], dtype=torch.int32)
      >>> fsa_to_tensor(k2.create_fsa_vec([fsa, fsa]).arcs)
      tensor([ 2,  0,  0,  2,  4,  0,  1,  2,  0,  1, -1,  0,  0,  1, -1,  0],
             dtype=torch.int32)
    """
    values = arcs.values()
    if arcs.num_axes() == 2:
        return values.clone()
    states = arcs.row_splits(1)
    per_fsa = arcs.row_splits(2)[states.to(torch.int64)]
    return torch.cat([states.new_tensor([arcs.dim0(), 0]), states, per_fsa, values.flatten()])


def fsa_from_tensor(tensor: Tensor) -> RaggedArc:
    """The arcs that a tensor form stands for; `fsa_to_tensor` undone.

    The final state of a single FSA is where arcs with label -1 go; without any it is one after the
    largest state.

    Raises:
      FsaTypeError: not int32.
      FsaValueError: a wrong shape, sizes that do not add up, or sources out of order.
    """
    if not isinstance(tensor, Tensor) or tensor.dtype != torch.int32:
        raise FsaTypeError("arcs: must be an int32 tensor, of four columns or of one axis.")
    if tensor.dim() == 2 and tensor.shape[1] == 4:
        return RaggedArc(_shape_of_one(tensor), tensor)
    if tensor.dim() != 1 or tensor.numel() < 4:
        raise FsaValueError(
            f"arcs: must be (num_arcs, 4) for one FSA, or 1-D for a vector, got "
            f"{tuple(tensor.shape)}."
        )
    return _vector_from_tensor(tensor)


def _shape_of_one(table: Tensor) -> RaggedShape:
    if not table.shape[0]:
        return shape_of_arcs(table[:, :3], 0)
    if bool((table[1:, 0] < table[:-1, 0]).any()):
        raise FsaValueError("arcs: the sources of arcs (column 0) must be in ascending order.")
    finals = table[table[:, 2] == -1, 1]
    if bool((finals != finals[:1]).any()):
        raise FsaValueError(
            "arcs: arcs with label -1 must all go to the same state, the final one; they go to "
            f"{finals.unique().tolist()}."
        )
    num_states = int(finals[0]) + 1 if finals.numel() else int(table[:, :2].max()) + 2
    return shape_of_arcs(table[:, :3], num_states)


def _vector_from_tensor(row: Tensor) -> RaggedArc:
    num_fsas = int(row[0])
    begin = 2 + 2 * (num_fsas + 1)
    if num_fsas < 0 or row.numel() < begin or (row.numel() - begin) % 4:
        raise FsaValueError(
            f"arcs: {row.numel()} integers cannot be a vector of {num_fsas} FSAs: it takes 2, "
            "twice the number of FSAs and one, and 4 for each arc."
        )
    states = row[2 : 3 + num_fsas].to(torch.int64)
    per_fsa = row[3 + num_fsas : begin].to(torch.int64)
    table = row[begin:].view(-1, 4)
    fsa_sizes, arc_sizes = states.diff(), per_fsa.diff()
    sizes_fit = int(per_fsa[-1]) == table.shape[0] and int(states[0]) == int(per_fsa[0]) == 0
    if not sizes_fit or bool((fsa_sizes < 0).any()) or bool((arc_sizes < 0).any()):
        raise FsaValueError(
            f"arcs: the row splits {states.tolist()[:8]} and {per_fsa.tolist()[:8]} do not rise "
            f"from 0 to the number of arcs, {table.shape[0]}."
        )
    fsa = torch.repeat_interleave(arc_sizes)
    state = table[:, 0].to(torch.int64)
    if bool(((state < 0) | (state >= fsa_sizes[fsa])).any()):
        raise FsaValueError("arcs: the source of an arc is not a state of its FSA.")
    state = state + states[fsa]
    if bool((state[1:] < state[:-1]).any()):
        raise FsaValueError("arcs: the sources of arcs must be in ascending order in each FSA.")
    arc_counts = torch.bincount(state, minlength=int(states[-1]))
    return RaggedArc(RaggedShape(states, torch.cat([states[:1], arc_counts.cumsum(0)])), table)


def fix_final_labels(arcs: RaggedArc, labels: Tensor | None = None) -> None:
    """Puts -1 on arcs into the final state, and 0 in the place of -1 elsewhere, in place.

    Args:
      arcs: says which arcs go into the final state.
      labels: int32 `(num_arcs,)`; by default the labels of `arcs` themselves.

    Raises:
      FsaValueError: an arc into the final state has a label other than 0 and -1.
    """
    shape, values = arcs.vector_shape(), arcs.values()
    if labels is None:
        labels = values[:, 2]
    sizes = shape.row_splits(1).diff()
    final = values[:, 1] == (sizes - 1)[shape.row_ids(1)[shape.row_ids(2)]]
    wrong = torch.nonzero(final & (labels != 0) & (labels != -1))
    if wrong.numel():
        arc = int(wrong[0])
        raise FsaValueError(
            f"labels: arc {arc} {values[arc, :3].tolist()} goes into the final state, where only "
            f"-1 (or 0, which becomes -1) may stand; got {int(labels[arc])}."
        )
    labels[final] = -1
    labels[~final & (labels == -1)] = 0
