"""What is fuzzed: parsers, ragged operations, every exported algorithm and topology, losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from fuzz_values import call, fsas, one_fsa, ragged_shapes, ragged_tensors
from hypothesis import strategies as st

import wfst_entropy.algorithms
import wfst_entropy.fsa
import wfst_entropy.topologies
from wfst_entropy.algorithms import decode, encode
from wfst_entropy.fsa import DenseFsaVec, Fsa, FsaError, RaggedShape, RaggedTensor, SymbolTable
from wfst_entropy.losses import ctc_alignment, fsa_alignment, fsa_loss

Target = Callable[[st.DataObject], None]

# Exported, but with nothing to fuzz: what operations return.
PLAIN_RESULTS = {"EncodeTable", "ExpectedEditCounts", "FrameEntropy"}


def examine(result: Any) -> None:
    """Graphs must keep the invariants, print, and be differentiable; lists are looked into."""
    if isinstance(result, Fsa):
        again = Fsa(result.shape, result.arcs, result.scores, **dict(result.attributes))
        again[0].to_str() if again.num_axes == 3 and again.num_fsas else again.num_arcs
        if result.scores.requires_grad:
            result.scores.sum().backward(retain_graph=True)
    elif isinstance(result, RaggedTensor):
        RaggedTensor(result.shape, result.values)
        assert result.tolist() is not None
    elif isinstance(result, (tuple, list)):
        for part in result:
            examine(part)
    elif isinstance(result, torch.Tensor) and result.requires_grad:
        result.sum().backward(retain_graph=True)


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


# Text: half of the time anything over an alphabet of what parsers look at, else good text with
# characters changed, doubled or lost.
ALPHABET = "0123456789 -.+eEinfaNI\n\t#\\/[]x,<>\r\u00a0\u2028é\x00"


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[str]) -> str:
    if draw(st.booleans()):
        return draw(st.text(ALPHABET, max_size=60))
    text = list(draw(good))
    for _ in range(draw(st.integers(0, 4))):
        if not text:
            break
        at = draw(st.integers(0, len(text) - 1))
        change = draw(st.sampled_from(["drop", "double", "replace", "huge"]))
        if change == "drop":
            del text[at]
        elif change == "double":
            text.insert(at, text[at])
        elif change == "huge":
            text[at] = str(draw(st.sampled_from([2**31, -(2**31), 2**63, 10**400, "1e999"])))
        else:
            text[at] = draw(st.sampled_from(ALPHABET))
    return "".join(text)


@st.composite
def fsa_texts(draw: st.DrawFn) -> str:
    fsa = draw(fsas())
    if fsa.num_axes == 3:
        fsa = fsa[0] if fsa.num_fsas else draw(one_fsa())
    try:
        return fsa.to_str(openfst=draw(st.booleans()))
    except FsaError:
        return ""


def parse_fsa(data: st.DataObject) -> None:
    text = data.draw(damaged(fsa_texts()), label="text")
    options = {
        "acceptor": data.draw(st.sampled_from([None, True, False])),
        "num_aux_labels": data.draw(st.sampled_from([None, 0, 1, 2, -1])),
        "openfst": data.draw(st.booleans()),
    }
    try:
        fsa = Fsa.from_str(text, **options)
    except FsaError:
        return
    examine(fsa)
    assert Fsa.from_str(fsa.to_str()).num_arcs == fsa.num_arcs


def parse_symbols(data: st.DataObject) -> None:
    good = st.lists(st.tuples(st.text("abéß #", max_size=3), st.integers(-1, 9)), max_size=5)
    lines = good.map(lambda rows: "".join(f"{s} {i}\n" for s, i in rows))
    try:
        table = SymbolTable.from_str(data.draw(damaged(lines), label="text"))
    except FsaError:
        return
    assert SymbolTable.from_str(table.to_str()).symbols == table.symbols


def parse_ragged(data: st.DataObject) -> None:
    text = data.draw(damaged(ragged_tensors().map(str)), label="text")
    for parse in (RaggedTensor.from_str, RaggedShape.from_str):
        try:
            parse(text)
        except FsaError:
            continue


def restore_fsa(data: st.DataObject) -> None:
    """A dictionary with one part replaced."""
    values = data.draw(fsas()).as_dict()
    key = data.draw(st.sampled_from(sorted(values)), label="key")
    values[key] = data.draw(
        st.sampled_from([None, "x", -1, torch.zeros(3), torch.tensor([0, 5, 2]), [], {}]),
        label="value",
    )
    try:
        examine(Fsa.from_dict(values))
    except FsaError:
        return


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


def ctc(data: st.DataObject) -> None:
    n, t, c = 2, data.draw(st.integers(0, 5)), 4
    scores = torch.randn(n, t, c).requires_grad_()
    length = st.sampled_from([0, 1, 2, 5, -1, 2**40])
    label = st.sampled_from([1, 2, 3, 0, 4, -1])
    u = data.draw(st.integers(0, 3), label="U")
    targets = data.draw(st.lists(label, min_size=n * u, max_size=n * u), label="targets")
    lengths = [data.draw(st.lists(length, min_size=n, max_size=n)) for _ in range(2)]
    try:
        out = ctc_alignment(scores, torch.tensor(targets, dtype=torch.int64).view(n, u), *lengths)
    except FsaError:
        return
    examine(out)


def encoded(data: st.DataObject) -> None:
    """`decode` takes what another `encode` made, too."""
    one, other = (data.draw(fsas()) for _ in range(2))
    try:
        _, table = encode(one, labels=data.draw(st.booleans()), scores=data.draw(st.booleans()))
        examine(decode(data.draw(st.sampled_from([other, encode(one)[0]])), table))
    except FsaError:
        return


def _exported() -> Iterator[tuple[str, Target]]:
    for room in (wfst_entropy.algorithms, wfst_entropy.topologies, wfst_entropy.fsa):
        short = room.__name__.rsplit(".", 1)[1]
        for name in room.__all__:
            thing = getattr(room, name)
            if name == "decode" or name in PLAIN_RESULTS or not inspect.isfunction(thing):
                continue
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
    "text of graphs": parse_fsa,
    "text of symbol tables": parse_symbols,
    "text of ragged tensors": parse_ragged,
    "Fsa.from_dict": restore_fsa,
    "Fsa.from_arcs": make_fsa,
    "RaggedShape()": make_ragged,
    "DenseFsaVec()": make_dense,
    "algorithms.decode": encoded,
    "losses.ctc_alignment": ctc,
    "losses.fsa_alignment": by_signature(fsa_alignment),
    "losses.fsa_loss": by_signature(fsa_loss),
    **dict(_exported()),
    **dict(_methods(RaggedTensor, ragged_tensors(), {"to", "requires_grad_"})),
    **dict(_methods(RaggedShape, ragged_shapes(), {"to", "nest"})),
}
