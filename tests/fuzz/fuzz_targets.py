"""What is fuzzed: parsers, ragged operations, every exported algorithm and topology, losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from fuzz_decoding import SEARCHES
from fuzz_examine import examine
from fuzz_formats import READERS
from fuzz_losses import LOSSES
from fuzz_values import call, fsas, ragged_shapes, ragged_tensors
from hypothesis import strategies as st

import wfst_entropy.algorithms
import wfst_entropy.fsa
import wfst_entropy.inspection
import wfst_entropy.topologies
from wfst_entropy.algorithms import decode, encode
from wfst_entropy.fsa import DenseFsaVec, Fsa, FsaError, RaggedShape, RaggedTensor
from wfst_entropy.losses import fsa_alignment, fsa_loss

Target = Callable[[st.DataObject], None]

# Exported functions that have a target of their own, or write files.
ELSEWHERE = {
    "decode",
    "from_k2_dict",
    "from_kaldifst",
    "from_openfst_bytes",
    "from_openfst_file",
    "load_k2",
    "read_kaldi_lattices",
    "save_fsa",
    "save_k2",
    "to_kaldifst",
    "to_openfst_file",
    "write_kaldi_lattices",
}
ROOMS = (
    wfst_entropy.algorithms,
    wfst_entropy.topologies,
    wfst_entropy.inspection,
    wfst_entropy.fsa,
)


def by_signature(function: Callable[..., Any]) -> Target:
    def target(data: st.DataObject) -> None:
        result = call(data, function)
        try:
            examine(result)
        except FsaError as error:
            raise AssertionError(f"an invalid result: {error}") from error

    return target


def method(draw_self: st.SearchStrategy[Any], function: Callable[..., Any]) -> Target:
    def target(data: st.DataObject) -> None:
        examine(call(data, function, data.draw(draw_self, label="self")))

    return target


def make_ragged(data: st.DataObject) -> None:
    """Splits that are no splits."""
    numbers = st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**40]), max_size=4)
    layers = [torch.tensor(row) for row in data.draw(st.lists(numbers, max_size=3), label="splits")]
    try:
        RaggedShape(layers)
    except FsaError:
        return


def make_fsa(data: st.DataObject) -> None:
    """Arcs that are no arcs."""
    number = st.sampled_from([0, 1, 2, 3, -1, -2, 2**31 - 1, -(2**31), 2**40])
    arcs = data.draw(st.lists(st.tuples(number, number, number), max_size=5), label="arcs")
    try:
        examine(Fsa.from_arcs(arcs, num_states=data.draw(st.sampled_from([None, 0, 1, 2, 4, -1]))))
    except FsaError:
        return


def make_dense(data: st.DataObject) -> None:
    number = st.sampled_from([0, 1, 2, 3, -1, 2**40, 2**63 - 1, -(2**63)])
    rows = data.draw(st.lists(st.tuples(number, number, number), max_size=3), label="segments")
    segments = torch.tensor(rows, dtype=torch.int64).view(-1, 3)
    try:
        dense = DenseFsaVec(torch.zeros(2, 3, 4), segments, data.draw(number, label="truncate"))
    except FsaError:
        return
    for part in dense:
        assert part.shape[0] <= 3


def encoded(data: st.DataObject) -> None:
    """`decode` takes what another `encode` made, too."""
    one, other = (data.draw(fsas()) for _ in range(2))
    try:
        _, table = encode(one, labels=data.draw(st.booleans()), scores=data.draw(st.booleans()))
        examine(decode(data.draw(st.sampled_from([other, encode(one)[0]])), table))
    except FsaError:
        return


def _exported() -> Iterator[tuple[str, Target]]:
    for room in ROOMS:
        short = room.__name__.rsplit(".", 1)[1]
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isfunction(thing) and name not in ELSEWHERE:
                yield f"{short}.{name}", by_signature(thing)


def _methods(owner: type, draw_self: st.SearchStrategy[Any], leave: set[str]) -> Iterator[Any]:
    for name, thing in vars(owner).items():
        if name.startswith("_") or name in leave:
            continue
        if inspect.isfunction(thing):
            yield f"{owner.__name__}.{name}", method(draw_self, thing)
        elif isinstance(thing, (staticmethod, classmethod)) and name == "cat":
            yield f"{owner.__name__}.{name}", by_signature(getattr(owner, name))


TARGETS: dict[str, Target] = {
    **READERS,
    "Fsa.from_arcs": make_fsa,
    "RaggedShape()": make_ragged,
    "DenseFsaVec()": make_dense,
    "algorithms.decode": encoded,
    **LOSSES,
    **SEARCHES,
    "losses.fsa_alignment, anything": by_signature(fsa_alignment),
    "losses.fsa_loss, anything": by_signature(fsa_loss),
    **dict(_exported()),
    **dict(_methods(RaggedTensor, ragged_tensors(), {"to", "requires_grad_"})),
    **dict(_methods(RaggedShape, ragged_shapes(), {"to", "nest"})),
}
