"""k2's low-level module `_k2`, as far as code outside k2 uses it.

Its functions work on arcs and ragged tensors.  What k2 needs for its own derivatives is not here:
autograd goes through the functions themselves.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2 import fsa_properties, fsa_text
from wfst_entropy.compat.k2.arc_operations import (
    add_epsilon_self_loops,
    arc_sort,
    connect,
    expand_arcs,
    fsa_to_fsa_vec,
    get_fsa_vec_element,
    intersect,
    intersect_device,
    remove_epsilon,
    remove_epsilon_and_add_self_loops,
    remove_epsilon_self_loops,
    top_sort,
    union,
)
from wfst_entropy.compat.k2.epsilons import DeterminizeWeightPushingType
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.fsa_tensor import fix_final_labels, fsa_from_tensor, fsa_to_tensor
from wfst_entropy.compat.k2.index_ops import (
    index_add,
    index_and_sum,
    index_select,
    simple_ragged_index_select,
)
from wfst_entropy.compat.k2.ragged import RaggedShape, RaggedTensor
from wfst_entropy.compat.k2.ragged_arc import RaggedArc, as_float, as_int

__all__ = [
    "DeterminizeWeightPushingType",
    "RaggedArc",
    "RaggedShape",
    "RaggedTensor",
    "add_epsilon_self_loops",
    "arc_sort",
    "argmax_per_sublist",
    "as_float",
    "as_int",
    "connect",
    "expand_arcs",
    "fix_final_labels",
    "float_as_int",
    "fsa_from_str",
    "fsa_from_tensor",
    "fsa_properties_as_str",
    "fsa_to_fsa_vec",
    "fsa_to_str",
    "fsa_to_tensor",
    "get_arc_post_double",
    "get_arc_post_float",
    "get_backward_scores_double",
    "get_backward_scores_float",
    "get_forward_scores_double",
    "get_forward_scores_float",
    "get_fsa_basic_properties",
    "get_fsa_vec_basic_properties",
    "get_fsa_vec_element",
    "get_layer",
    "get_tot_scores_double",
    "get_tot_scores_float",
    "index_add",
    "index_and_sum",
    "index_select",
    "int_as_float",
    "intersect",
    "intersect_device",
    "is_accessible",
    "is_arc_sorted",
    "is_coaccessible",
    "max_per_sublist",
    "normalize_per_sublist",
    "pad_ragged",
    "remove_axis",
    "remove_epsilon",
    "remove_epsilon_and_add_self_loops",
    "remove_epsilon_self_loops",
    "simple_ragged_index_select",
    "sort_sublists",
    "sum_per_sublist",
    "top_sort",
    "union",
    "unique_sequences",
]

fsa_properties_as_str = fsa_properties.to_str
get_fsa_basic_properties = fsa_properties.get_properties
get_fsa_vec_basic_properties = fsa_properties.get_properties
is_accessible = fsa_properties.is_accessible
is_arc_sorted = fsa_properties.is_arc_sorted
is_coaccessible = fsa_properties.is_coaccessible


def float_as_int(f: float) -> int:
    """The bits of a float32 as an int32.

    Example:
      >>> float_as_int(1.0), int_as_float(float_as_int(1.0))
      (1065353216, 1.0)
    """
    return int(struct.unpack("i", struct.pack("f", f))[0])


def int_as_float(i: int) -> float:
    """The float32 whose bits an int32 is."""
    return float(struct.unpack("f", struct.pack("i", i))[0])


def fsa_from_str(
    s: str, num_aux_labels: int = 0, num_ragged_labels: int = 0, openfst: bool = False
) -> tuple[RaggedArc, Tensor | None, list[RaggedTensor]]:
    """Reads one FSA.

    Returns:
      The arcs, the extra labels as an int32 tensor `(num_aux_labels, num_arcs)` or None, and the
      ragged labels.
    """
    parsed = fsa_text.parse(s, num_aux_labels, num_ragged_labels, openfst)
    aux_labels = torch.stack(parsed.aux_labels) if num_aux_labels else None
    return parsed.arcs, aux_labels, parsed.ragged_labels


def fsa_to_str(
    fsa: RaggedArc,
    openfst: bool = False,
    extra_labels: Sequence[Tensor] = (),
    ragged_labels: Sequence[RaggedTensor] = (),
) -> str:
    """The text of one FSA with extra labels."""
    scores = fsa.column(3, torch.float32)
    return fsa_text.format_arcs(fsa, scores, extra_labels, ragged_labels, openfst)


def _scores(method: str, use_double: bool, fsas: RaggedArc, log_semiring: bool) -> Tensor:
    fsa = Fsa(fsas)
    return getattr(fsa, method)(use_double, log_semiring)


def get_forward_scores_double(
    fsas: RaggedArc,
    state_batches: RaggedTensor | None = None,
    entering_arc_batches: RaggedTensor | None = None,
    log_semiring: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Forward scores in float64, and in the tropical semiring the best arc entering each state.

    The batches, which k2 needs, are not used.
    """
    entering = None if log_semiring else Fsa(fsas)._get_entering_arcs(True)
    return _scores("get_forward_scores", True, fsas, log_semiring), entering


def get_forward_scores_float(
    fsas: RaggedArc,
    state_batches: RaggedTensor | None = None,
    entering_arc_batches: RaggedTensor | None = None,
    log_semiring: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """`get_forward_scores_double` in float32."""
    entering = None if log_semiring else Fsa(fsas)._get_entering_arcs(False)
    return _scores("get_forward_scores", False, fsas, log_semiring), entering


def get_backward_scores_double(
    fsas: RaggedArc,
    state_batches: RaggedTensor | None = None,
    leaving_arc_batches: RaggedTensor | None = None,
    log_semiring: bool = True,
) -> Tensor:
    """Backward scores in float64; the batches are not used."""
    return _scores("get_backward_scores", True, fsas, log_semiring)


def get_backward_scores_float(
    fsas: RaggedArc,
    state_batches: RaggedTensor | None = None,
    leaving_arc_batches: RaggedTensor | None = None,
    log_semiring: bool = True,
) -> Tensor:
    """Backward scores in float32; the batches are not used."""
    return _scores("get_backward_scores", False, fsas, log_semiring)


def _get_tot_scores(fsas: RaggedArc, forward_scores: Tensor) -> Tensor:
    finals = fsas.graph().final_states()
    total = forward_scores.new_full((finals.numel(),), -torch.inf)
    return total.index_put((finals >= 0,), forward_scores[finals[finals >= 0]])


def get_tot_scores_double(fsas: RaggedArc, forward_scores: Tensor) -> Tensor:
    """The forward scores of the final states, -inf for an FSA without states."""
    return _get_tot_scores(fsas, forward_scores.to(torch.float64))


def get_tot_scores_float(fsas: RaggedArc, forward_scores: Tensor) -> Tensor:
    """`get_tot_scores_double` in float32."""
    return _get_tot_scores(fsas, forward_scores.to(torch.float32))


def get_arc_post_double(fsas: RaggedArc, forward_scores: Tensor, backward_scores: Tensor) -> Tensor:
    """`forward + score + backward - total` of each arc, in float64."""
    graph = fsas.graph()
    total = _get_tot_scores(fsas, forward_scores)[graph.arc_to_fsa()]
    through = forward_scores[graph.src_states()] + backward_scores[graph.dst_states()]
    return (through + graph.scores - total).to(torch.float64)


def get_arc_post_float(fsas: RaggedArc, forward_scores: Tensor, backward_scores: Tensor) -> Tensor:
    """`get_arc_post_double` in float32."""
    return get_arc_post_double(fsas, forward_scores, backward_scores).to(torch.float32)


def max_per_sublist(src: RaggedTensor, initial_value: float) -> Tensor:
    """`src.max(initial_value)`."""
    return src.max(initial_value)


def argmax_per_sublist(src: RaggedTensor, initial_value: float) -> Tensor:
    """`src.argmax(initial_value)`."""
    return src.argmax(initial_value)


def sum_per_sublist(src: RaggedTensor, initial_value: float = 0) -> Tensor:
    """`src.sum(initial_value)`."""
    return src.sum(initial_value)


def normalize_per_sublist(src: RaggedTensor, use_log: bool) -> RaggedTensor:
    """`src.normalize(use_log)`."""
    return src.normalize(use_log)


def sort_sublists(
    in_out: RaggedTensor, descending: bool = False, need_new2old_indexes: bool = False
) -> Tensor | None:
    """`in_out.sort_(...)`."""
    return in_out.sort_(descending, need_new2old_indexes)


def unique_sequences(
    src: RaggedTensor, need_num_repeats: bool = True, need_new2old_indexes: bool = False
) -> tuple[RaggedTensor, RaggedTensor | None, Tensor | None]:
    """`src.unique(...)`."""
    return src.unique(need_num_repeats, need_new2old_indexes)


def pad_ragged(src: RaggedTensor, mode: Any, padding_value: float) -> Tensor:
    """`src.pad(mode, padding_value)`."""
    return src.pad(mode, padding_value)


def remove_axis(src: RaggedTensor | RaggedShape, axis: int) -> RaggedTensor | RaggedShape:
    """`src.remove_axis(axis)`."""
    return src.remove_axis(axis)


def get_layer(src: RaggedShape, layer: int) -> RaggedShape:
    """`src.get_layer(layer)`."""
    return src.get_layer(layer)
