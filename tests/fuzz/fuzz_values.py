"""Arguments for anything that the package exports, drawn by hypothesis from names and types.

An operation is driven by its signature: each parameter gets what its annotation says (`BY_TYPE`),
or what its name says where the annotation is too wide (`BY_NAME`). A new operation needs a line
here only if it takes something new; `test_fuzz.py` tells.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import typing
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

import wfst_entropy.semirings as semirings
from wfst_entropy.fsa import (
    DenseFsaVec,
    Fsa,
    FsaError,
    RaggedShape,
    RaggedTensor,
    SymbolTable,
)

SCORES = [0.0, -0.5, 1.0, -3.0, 20.0, -math.inf, -1e30, 1e-40, -1e5]
STRANGE_SCORES = [*SCORES, math.inf, math.nan, 1e30]
LABELS = [0, 1, 2, 3, 5, 2**31 - 1]


@st.composite
def one_fsa(draw: st.DrawFn, max_states: int = 6) -> Fsa:
    """An FSA of up to six states with any structure that the invariants allow."""
    num_states = draw(st.sampled_from([0, *range(2, max_states + 1)]))
    if num_states == 0:
        return Fsa.from_arcs([], num_states=0)
    final = num_states - 1
    states, labels = (
        st.integers(0, num_states - 2),
        st.sampled_from(LABELS[: draw(st.integers(1, 6))]),
    )
    inner = st.tuples(states, states, labels)
    arcs = sorted(
        draw(st.lists(inner, max_size=12))
        + [(src, final, -1) for src in draw(st.lists(states, max_size=4))]
    )
    pool = STRANGE_SCORES if draw(st.integers(0, 9)) == 0 else SCORES
    scores = draw(st.lists(st.sampled_from(pool), min_size=len(arcs), max_size=len(arcs)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return Fsa.from_arcs(arcs, torch.tensor(scores, dtype=dtype), num_states)


@st.composite
def fsas(draw: st.DrawFn, max_states: int = 6) -> Fsa:
    """One FSA or a vector, with attributes of every kind."""
    fsa = draw(one_fsa(max_states))
    if draw(st.booleans()):
        more = [
            draw(one_fsa(max_states)).to(fsa.scores.dtype) for _ in range(draw(st.integers(0, 2)))
        ]
        fsa = Fsa.from_fsas([fsa, *more])
    n = fsa.num_arcs
    kind = draw(st.sampled_from(["none", "tensor", "ragged", "both"]))
    small = st.sampled_from([0, 1, 2, 3, -1])
    if kind in ("tensor", "both"):
        aux = draw(st.lists(small, min_size=n, max_size=n))
        fsa.set_attribute_("aux_labels", torch.tensor(aux, dtype=torch.int32))
        fsa.set_attribute_("phone_scores", torch.linspace(0, 1, n))
        fsa.set_attribute_("frame_idx", torch.arange(n, dtype=torch.int32))
    if kind in ("ragged", "both"):
        lists = draw(st.lists(st.lists(small, max_size=3), min_size=n, max_size=n))
        name = "aux_labels" if kind == "ragged" else "words"
        fsa.set_attribute_(name, RaggedTensor.from_lists(lists, dtype=torch.int32))
        fsa.set_attribute_("note", "text")
    return fsa.requires_grad_() if draw(st.booleans()) else fsa


@st.composite
def dense_scores(draw: st.DrawFn) -> DenseFsaVec:
    n, t, c = draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(st.integers(1, 7))
    pool = STRANGE_SCORES if draw(st.integers(0, 4)) == 0 else SCORES
    values = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=5))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    scores = torch.tensor(values, dtype=dtype).repeat(n * t * c)[: n * t * c].view(n, t, c)
    rows = st.tuples(st.integers(0, max(n - 1, 0)), st.integers(0, t), st.integers(0, t))
    segments = draw(st.lists(rows, max_size=4)) if n else []
    return DenseFsaVec(scores, torch.tensor(segments, dtype=torch.int64).view(-1, 3), t)


def sizes(total: int) -> st.SearchStrategy[list[int]]:
    """Sizes of `total` lists."""
    return st.lists(st.integers(0, 4), min_size=total, max_size=total)


@st.composite
def ragged_shapes(draw: st.DrawFn) -> RaggedShape:
    layers, count = [], draw(st.integers(0, 4))
    for _ in range(draw(st.integers(1, 3))):
        layer = draw(sizes(count))
        layers.append(torch.tensor(layer, dtype=torch.int64))
        count = sum(layer)
    return RaggedShape.from_sizes(*layers)


@st.composite
def ragged_tensors(draw: st.DrawFn) -> RaggedTensor:
    shape = draw(ragged_shapes())
    dtype = draw(st.sampled_from([torch.int32, torch.int64, torch.float32, torch.float64]))
    pool = STRANGE_SCORES if dtype.is_floating_point else [-1, 0, 1, 2, 7, -(2**31)]
    n = shape.numel()
    values = draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n))
    return RaggedTensor(shape, torch.tensor(values, dtype=dtype))


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Small tensors of any dtype and up to two axes; often enough valid indexes."""
    dtype = draw(st.sampled_from([torch.int32, torch.int64, torch.float32, torch.bool]))
    if dtype == torch.bool:
        pool: list[Any] = [True, False]
    else:
        pool = (
            [0.0, 1.0, -2.5, math.nan] if dtype.is_floating_point else [0, 1, 2, 3, -1, 2**31 - 1]
        )
    size = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
    n = math.prod(size)
    values = draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n))
    return torch.tensor(values, dtype=dtype).view(size)


def label_lists() -> st.SearchStrategy[Any]:
    label = st.sampled_from([1, 2, 3, 0, -1, 2**31 - 1, 2**31])
    return st.one_of(
        st.lists(label, max_size=4),
        st.lists(st.lists(label, max_size=4), max_size=3),
        ragged_tensors(),
    )


SEMIRINGS = st.sampled_from(
    [
        semirings.LogSemiring(),
        semirings.TropicalSemiring(),
        semirings.ConditionalEntropySemiring(),
        semirings.LogEntropySemiring(),
    ]
)
INTEGERS = st.sampled_from([0, 1, 2, 3, 5, -1, 40, 2**31, -(2**63)])
FLOATS = st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0, 1e-9, 1e30, math.inf, -math.inf, math.nan])
NAMES = st.sampled_from(["labels", "aux_labels", "words", "phone_scores", "note", "", "scores"])

BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "max_states": st.sampled_from([1000, 100, 3, 0, -1]),
    "max_arcs": st.sampled_from([1000, 100, 3, 0, -1]),
    "delta": st.sampled_from([2**-13, 1e-3, 0.0, -1.0, math.nan]),
    "kind": st.sampled_from(["conditional", "raw", "per_frame", "odd"]),
    "min_num_fsas": st.integers(-1, 3),
    "max_num_fsas": st.integers(-1, 5),
    "min_num_arcs": st.integers(-1, 10),
    "max_num_arcs": st.integers(-1, 40),
    "max_symbol": st.sampled_from([-1, 0, 1, 5, 50]),
    "max_token": st.sampled_from([-1, 0, 1, 5, 50]),
    "num_paths": st.sampled_from([-1, 0, 1, 3, 20]),
    "npath": st.sampled_from([-1, 0, 1, 20]),
    "sizes": st.sampled_from([-1, 0, 1, 2, 5]),
    "n": st.sampled_from([-1, 0, 1, 3, 20]),
    "path": st.none(),
    "k": st.sampled_from([-1, 0, 1, 3, 20]),
    "scores": st.none(),
    "root": fsas(),
    # sizes of random things: large ones are a request for as much memory
    **dict.fromkeys(["min_num_axes", "max_num_axes", "size1", "size2", "seed"], st.integers(-1, 4)),
    **dict.fromkeys(["min_num_elements", "max_num_elements"], st.integers(-1, 30)),
    "dim1": st.integers(-1, 9),
    "dim2": st.integers(-1, 9),
    "device": st.sampled_from([None, "cpu"]),
    "generator": st.none(),
    "sorted_match_a": st.booleans(),
}
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "Fsa": fsas(),
    "Fsa | Sequence[Fsa]": st.one_of(fsas(), st.lists(fsas(), max_size=3)),
    "DenseFsaVec": dense_scores(),
    "tuple[DenseFsaVec, ...]": st.lists(dense_scores(), min_size=1, max_size=3).map(tuple),
    "RaggedTensor": ragged_tensors(),
    "RaggedShape": ragged_shapes(),
    "Sequence[RaggedTensor]": st.lists(ragged_tensors(), max_size=3),
    "Sequence[RaggedShape]": st.lists(ragged_shapes(), max_size=3),
    "Tensor | RaggedTensor": st.one_of(tensors(), ragged_tensors()),
    "Tensor": tensors(),
    "bool": st.booleans(),
    "int": INTEGERS,
    "float": FLOATS,
    "str": NAMES,
    "SymbolTable": st.sampled_from([SymbolTable(), SymbolTable.from_str("<eps> 0\na 1\né 3\n")]),
    "tuple[str, str]": st.just(("a", "b")),
    "Iterable[tuple[str, Fsa]]": st.lists(st.tuples(NAMES, fsas()), max_size=2),
    "Semiring": SEMIRINGS,
    "Sequences": label_lists(),
    "Sequence[int] | Sequences": label_lists(),
    "Sequence[Sequence[int]] | RaggedTensor": label_lists(),
    "Sequence[Sequence[int]]": st.lists(st.lists(st.sampled_from([1, 2, 3, 0, -1]), max_size=4)),
    "Sequence[int]": st.lists(INTEGERS, max_size=4),
    "list[int]": st.lists(INTEGERS, max_size=4),
    "Sequence[str]": st.lists(NAMES, max_size=2),
    "Mapping[int, int]": st.dictionaries(INTEGERS, INTEGERS, max_size=3),
    "Mapping[int, Fsa]": st.dictionaries(st.sampled_from([1, 2, 3, 0, -1]), one_fsa(), max_size=2),
    "torch.dtype": st.sampled_from([torch.float32, torch.float64, torch.int32]),
}


def strategy_for(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What to draw for a parameter.

    Raises:
      KeyError: nobody has said what to draw for its type.
    """
    annotation = str(parameter.annotation).strip("'\"")
    if parameter.name in BY_NAME:
        return BY_NAME[parameter.name]
    if annotation in BY_TYPE:
        return BY_TYPE[annotation]
    if annotation.startswith("Literal["):
        return st.sampled_from([*ast.literal_eval(annotation[len("Literal") :]), "odd"])
    choices = typing.get_args(getattr(sys.modules[function.__module__], annotation, None))
    if choices and all(isinstance(choice, str) for choice in choices):
        return st.sampled_from([*choices, "odd"])
    parts = [part.strip() for part in annotation.split("|")]
    if len(parts) > 1:
        known = [BY_TYPE[part] for part in parts if part in BY_TYPE]
        for part in parts:
            choices = typing.get_args(getattr(sys.modules[function.__module__], part, None))
            if choices:
                known.append(st.sampled_from([*choices, "odd"]))
        if "None" in parts:
            known.append(st.none())
        if len(known) == len(parts):
            return st.one_of(*known)
    raise KeyError(f"{function.__name__}({parameter.name}: {annotation})")


def call(data: st.DataObject, function: Callable[..., Any], *first: Any) -> Any:
    """Calls a function with drawn arguments after the first ones.

    A parameter with a default is left at it half of the time. An `FsaError` is an answer, and so is
    a builtin error that the docstring's "Raises" names.
    """
    positional, named = list(first), {}
    parameters = list(inspect.signature(function).parameters.values())[len(first) :]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            kinds = strategy_for(function, parameter)
            positional += data.draw(st.lists(kinds, max_size=3), label=parameter.name)
            continue
        optional = parameter.default is not parameter.empty
        limits = parameter.name in ("max_states", "max_arcs")
        if optional and not limits and data.draw(st.booleans(), label=f"default {parameter.name}"):
            continue
        value = data.draw(strategy_for(function, parameter), label=parameter.name)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[parameter.name] = value
    try:
        return function(*positional, **named)
    except FsaError:
        return None
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raises = (function.__doc__ or "").partition("Raises:")[2]
        if re.search(rf"\b{type(error).__name__}\b", raises):
            return None
        raise
