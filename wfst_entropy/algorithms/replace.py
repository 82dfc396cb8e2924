"""FSAs in the place of arcs: grammars with rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaTypeError, FsaValueError


@overload
def replace_fsa(
    src: Fsa,
    index: Fsa,
    symbol_begin_range: int = 1,
    ret_arc_map: Literal[False] = False,
    *,
    max_states: int = ...,
    max_arcs: int = ...,
) -> Fsa: ...
@overload
def replace_fsa(
    src: Fsa,
    index: Fsa,
    symbol_begin_range: int = 1,
    *,
    ret_arc_map: Literal[True],
    max_states: int = ...,
    max_arcs: int = ...,
) -> tuple[Fsa, Tensor, Tensor]: ...
def replace_fsa(
    src: Fsa,
    index: Fsa,
    symbol_begin_range: int = 1,
    ret_arc_map: bool = False,
    *,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    """Puts FSA `i` of `src` in the place of every arc of `index` with label `begin + i`.

    The arc becomes an epsilon arc, with its score and attributes, to a copy of the start state of
    the FSA put in; that one's final state becomes the destination of the arc, and arcs into it have
    label 0. An arc whose FSA is empty goes. Labels within `src` are not looked at; `replace` looks
    at them.

    Args:
      src: a vector of FSAs to put in.
      index: an FSA or a vector of them.
      symbol_begin_range: the label that stands for the first FSA of `src`, at least 1.
      ret_arc_map: whether to return, too, the arc of `index` and that of `src` which each new arc
        is (-1 for none): two int64 tensors `(num_new_arcs,)`.
      max_states: the largest number of states of the result.
      max_arcs: likewise of arcs.

    Returns:
      As many FSAs as `index` has. Attributes of both follow their arcs.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: `symbol_begin_range` is below 1 or too large; dtypes or devices differ.
      FsaRuntimeError: the result outgrows the limits.

    Source: k2, the operation of the same name.

    >>> digits = Fsa.from_fsas([Fsa.from_str("0 1 7 0.5\\n1 2 -1 0\\n2", acceptor=True)])
    >>> index = Fsa.from_str("0 1 100 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> print(replace_fsa(digits, index, 100))
    0 1 0 1
    1 2 7 0.5
    2 3 0 0
    3 4 -1 0
    4
    """
    for name, fsa in (("src", src), ("index", index)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
    end = symbol_begin_range + src.num_fsas
    if symbol_begin_range < 1 or end > 2**31:
        raise FsaValueError(
            f"symbol_begin_range: labels {symbol_begin_range} to {end - 1} would stand for the "
            "FSAs of src; needed are labels from 1 to 2**31 - 1."
        )
    labels = torch.arange(symbol_begin_range, end, dtype=torch.int32)
    replaced, index_map, src_map = _put_in(index, src, labels, max_states, max_arcs)
    return (replaced, index_map, src_map) if ret_arc_map else replaced


def replace(
    root: Fsa,
    rules: Mapping[int, Fsa],
    *,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa:
    """Expands a grammar: arcs with the label of a rule become that rule's FSA, and so on within it.

    Weights multiply along: the strings are those that the grammar derives. Rules are expanded once
    each, then copied wherever they are called, as in `replace_fsa`.

    Args:
      root: an FSA or a vector of them.
      rules: the FSA of each label (nonterminal) that stands for one. All have the same attributes.
      max_states: the largest number of states of each expanded FSA.
      max_arcs: likewise of arcs.

    Raises:
      CyclicFsaError: a rule calls itself, over others perhaps; names them.
      FsaTypeError: something is no Fsa, or a rule is a vector.
      FsaValueError: a nonterminal below 1, or attributes, dtypes or devices that differ.
      FsaRuntimeError: the result outgrows the limits.

    Source: OpenFst, the operation of the same name (which looks at output labels).

    >>> noun = Fsa.from_str("0 1 7 0.5\\n1 2 -1 0\\n2", acceptor=True)
    >>> phrase = Fsa.from_str("0 1 3 0\\n1 2 100 1\\n2 3 -1 0\\n3", acceptor=True)
    >>> root = Fsa.from_str("0 1 101 0\\n1 2 -1 0\\n2", acceptor=True)
    >>> replace(root, {100: noun, 101: phrase}).labels.tolist()
    [0, 3, 0, 7, 0, 0, -1]
    """
    _check_rules(root, rules)
    expanded: dict[int, Fsa] = {}
    for label in _callees_first(root, rules):
        expanded[label] = _expand(rules[label], rules, expanded, max_states, max_arcs)
    return _expand(root, rules, expanded, max_states, max_arcs)


def _expand(
    fsa: Fsa,
    rules: Mapping[int, Fsa],
    expanded: Mapping[int, Fsa],
    max_states: int,
    max_arcs: int,
) -> Fsa:
    called = _called(fsa, rules)
    if not called:
        return fsa
    src = Fsa.from_fsas([expanded[label] for label in called])
    return _put_in(fsa, src, torch.tensor(called, dtype=torch.int32), max_states, max_arcs)[0]


def _put_in(
    index: Fsa, src: Fsa, labels: Tensor, max_states: int, max_arcs: int
) -> tuple[Fsa, Tensor, Tensor]:
    if index.scores.dtype != src.scores.dtype or index.device != src.device:
        raise FsaValueError(
            f"replace: scores are {index.scores.dtype} on {index.device} in one FSA, "
            f"{src.scores.dtype} on {src.device} in another; convert one with .to(...)."
        )
    result = _surgery.run(
        "replace",
        index,
        src,
        parameters=(labels.data_ptr(),),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    index_map, src_map = result.maps
    replaced = _surgery.rebuild_binary(index, src, result, index_map, src_map, like=index)
    return replaced, index_map.to(index.device), src_map.to(index.device)


def _called(fsa: Fsa, rules: Mapping[int, Fsa]) -> list[int]:
    return [label for label in torch.unique(fsa.labels).tolist() if label in rules]


def _check_rules(root: Fsa, rules: Mapping[int, Fsa]) -> None:
    for name, fsa in [("root", root), *((f"rules[{k}]", v) for k, v in rules.items())]:
        if not isinstance(fsa, Fsa) or (fsa is not root and fsa.num_axes != 2):
            came = "a vector of FSAs" if isinstance(fsa, Fsa) else type(fsa).__name__
            raise FsaTypeError(f"{name}: must be one Fsa, got {came}.")
    for label in rules:
        if not isinstance(label, int) or not 1 <= label < 2**31:
            raise FsaValueError(
                f"rules: a nonterminal must be a label from 1 to 2**31 - 1, got {label!r}."
            )


def _callees_first(root: Fsa, rules: Mapping[int, Fsa]) -> list[int]:
    """The labels of the rules that `root` needs, each after those that it calls itself."""
    order: list[int] = []
    done: set[int] = set()
    # Depth first, without recursion: `path` are the rules being expanded.
    path: list[int] = []
    waiting = [_called(root, rules)]
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            if path:
                order.append(path.pop())
                done.add(order[-1])
            continue
        label = waiting[-1].pop()
        if label in path:
            cycle = [*path[path.index(label) :], label]
            raise CyclicFsaError(
                f"rules: the rule for label {label} calls itself: "
                f"{' -> '.join(map(str, cycle))}; its expansion would never end. Intersect a "
                "recursive grammar with a finite one, or limit the depth."
            )
        if label not in done:
            path.append(label)
            waiting.append(_called(rules[label], rules))
    return order
