"""Composition with a CTC topology that is never built."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError

_TOPOLOGIES = {"standard": 0, "modified": 1, "compact": 2}


@overload
def ctc_compose(
    graph: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def ctc_compose(
    graph: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor]: ...
def ctc_compose(
    graph: Fsa,
    vocab_size: int,
    topology: str = "standard",
    *,
    inner_labels: str | None = None,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor]:
    """`compose(ctc_topo(vocab_size - 1), graph)` in time and memory that follow `graph` alone.

    A state of the result stands for a state of the graph and the token that was read last, or
    blank; only those that some path reaches are made, and no arc of `ctc_topo`, which has
    `vocab_size ** 2` of them.  The token read last is remembered across epsilons of the graph.  As
    in `compose`, blanks and repetitions come before those epsilons, so that every path of the graph
    has one path for each frame labelling (in the standard topology), and totals are right in the
    log semiring too.

    Topologies: `"standard"`, where two equal tokens need a blank between them; `"modified"`, as
    `ctc_topo(modified=True)`; `"compact"`, which has the paths of the modified one with fewer arcs:
    the state that repeats a token is left over an epsilon.

    Args:
      graph: one FSA or a vector, with tokens 1 ... `vocab_size - 1` as labels and 0 as epsilon.
      vocab_size: the number of symbols that a frame can emit, blank included.
      topology: which one.
      inner_labels: a name under which to keep the tokens, as an int32 attribute (0 where an arc
        puts out none), as `compose` keeps matched labels.
      ret_arc_map: whether to return, too, the arc of `graph` that each new arc stands for: int64
        `(num_new_arcs,)`, -1 for blanks and repetitions.
      max_states, max_arcs: limits of the result, over all FSAs.

    Returns:
      A connected graph that reads frames: label 0 is blank and consumes a frame, as tokens do; arcs
      that consume none have the label `vocab_size`.  `aux_labels` are the graph's, or the tokens
      where it has none.  Scores and other attributes follow the arcs of the graph.

    Raises:
      FsaTypeError: no Fsa.
      FsaValueError: a label outside 0 ... `vocab_size - 1`, or an unknown topology.
      FsaRuntimeError: the result outgrows a limit.

    Source: Graves et al. 2006, section 3.1; the compact form: Laptev, Majumdar and Ginsburg 2022,
    "CTC variations through new WFST topologies", section 3.

    >>> graph = Fsa.from_str("0 1 1 7 0.5\\n1 2 0 0 0.25\\n2 3 -1 -1 0\\n3")
    >>> print(ctc_compose(graph, 2))
    0 0 0 0 0
    0 1 1 7 0.5
    1 2 0 0 0
    1 1 1 0 0
    1 3 2 0 0.25
    2 2 0 0 0
    2 4 2 0 0.25
    3 5 -1 -1 0
    4 5 -1 -1 0
    5
    """
    _check(graph, vocab_size, topology)
    result = _surgery.run(
        "ctc_compose",
        graph,
        parameters=(_TOPOLOGIES[topology], vocab_size),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    (arc_map,) = result.maps
    composed = _surgery.rebuild(graph, result, arc_map)
    if "aux_labels" not in graph.attributes:
        composed.set_attribute_("aux_labels", _tokens(graph, composed, arc_map))
    if inner_labels is not None:
        composed.set_attribute_(inner_labels, _tokens(graph, composed, arc_map))
    return (composed, arc_map.to(graph.device)) if ret_arc_map else composed


def _tokens(graph: Fsa, composed: Fsa, arc_map: Tensor) -> Tensor:
    tokens = _surgery.select_scores(graph.labels, arc_map.to(graph.device))
    return tokens.masked_fill(composed.labels == -1, -1)


def _check(graph: Fsa, vocab_size: int, topology: str) -> None:
    if not isinstance(graph, Fsa):
        raise FsaTypeError(f"ctc_compose: needs an Fsa, got {type(graph).__name__}.")
    if topology not in _TOPOLOGIES:
        raise FsaValueError(f"topology: must be one of {', '.join(_TOPOLOGIES)}, got {topology!r}.")
    if not 2 <= vocab_size < 2**31:
        raise FsaValueError(
            f"vocab_size: must be at least 2, blank and one token, and below 2**31; got "
            f"{vocab_size}."
        )
    labels = graph.labels
    wrong = torch.nonzero((labels >= vocab_size) | (labels < -1))
    if wrong.numel():
        arc = int(wrong[0])
        raise FsaValueError(
            f"ctc_compose: arc {arc} has the label {int(labels[arc])}, but tokens are 1 ... "
            f"{vocab_size - 1} (vocab_size={vocab_size}) and 0 is epsilon. Disambiguation symbols "
            "must be made epsilons first, as compile_lg does; a language model over tokens needs "
            "back-off arcs with label 0."
        )
