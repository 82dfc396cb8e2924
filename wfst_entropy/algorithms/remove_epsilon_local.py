"""Removal of those epsilons that can go without making the graph larger."""

from __future__ import annotations

from typing import Literal, overload

import torch

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.compose import _output_labels
from wfst_entropy.fsa import Fsa, FsaTypeError, RaggedTensor


@overload
def remove_epsilon_local(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def remove_epsilon_local(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, RaggedTensor]: ...
def remove_epsilon_local(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, RaggedTensor]:
    """Joins epsilon arcs with their neighbours where the graph gets no more arcs by that.

    Two consecutive arcs become one, whose score is their sum, if at most one of them has a label
    and at most one an output, and if the state between has one arc leaving it, or one entering it
    and all that leave it can be joined.  What is left of the epsilons, such as the back-off arcs of
    a language model, would multiply arcs: `remove_epsilon` removes those too.  Every path keeps its
    labels, outputs and score, so the graph is the same in every semiring.

    Args:
      fsa: an FSA or a vector of them, with or without the attribute `aux_labels`.
      ret_arc_map: whether to return, too, the arcs that each new arc consists of.

    Returns:
      A connected graph; arcs with the score -inf are left out.  `aux_labels` stay one per arc,
      float attributes add up, other integer attributes become ragged, as in `remove_epsilon`.
      Scores are differentiable.  The arc map is a ragged int64 tensor of `num_new_arcs` lists.

    Raises:
      FsaTypeError: no Fsa, or ragged `aux_labels` (`expand_ragged_attributes` makes arcs of them).
      FsaValueError: a score is NaN or +inf.

    Source: the idea of Kaldi's program `fstrmepslocal`.

    >>> fsa = Fsa.from_str("0 1 7 0 1\\n1 2 0 9 2\\n1 2 0 8 3\\n2 3 -1 -1 0\\n3")
    >>> print(remove_epsilon_local(fsa))
    0 1 7 9 3
    0 1 7 8 4
    1 2 -1 -1 0
    2
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"remove_epsilon_local: needs an Fsa, got {type(fsa).__name__}.")
    outputs = _output_labels(fsa)
    result = _surgery.run("remove_epsilon_local", fsa, scores=True, aux_labels=(outputs,))
    arc_map = _surgery.ragged_map(*result.maps)
    new = _surgery.rebuild_ragged(fsa, result, arc_map)
    if outputs is not None:
        # Of the arcs in a list one at most has an output; -1 stands alone.
        values = outputs.cpu()[arc_map.values]
        joined = torch.zeros(arc_map.dim0, dtype=torch.int32)
        joined.index_add_(0, arc_map.shape.row_ids(1), values)
        new.set_attribute_("aux_labels", joined.to(fsa.device))
    return (new, arc_map.to(fsa.device)) if ret_arc_map else new
