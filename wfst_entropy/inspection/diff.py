"""Where do two graphs differ?  The first string that they weigh differently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wfst_entropy.algorithms import (
    encode,
    expand_ragged_attributes,
    first_difference,
    project,
    relabel,
)
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedTensor, SymbolTable
from wfst_entropy.inspection.symbols import tables_of, text_of
from wfst_entropy.semirings import Semiring, TropicalSemiring

Side = Literal["input", "output", "pairs"]
_TROPICAL = TropicalSemiring()


@dataclass(frozen=True)
class Difference:
    """A string, and what two graphs give for it; `str()` of it is a sentence.

    Attributes:
      labels: its labels; of pairs, the inputs with their epsilons.
      outputs: of pairs, the outputs; else None.
      text: the labels as symbols, `input:output` of pairs.
      a_weight: nats; -inf if `a` does not accept it.
      b_weight: the same of `b`.
      names: what the graphs are called.
    """

    labels: tuple[int, ...]
    outputs: tuple[int, ...] | None
    text: str
    a_weight: float
    b_weight: float
    names: tuple[str, str]

    def __str__(self) -> str:
        said = []
        for name, weight in zip(self.names, (self.a_weight, self.b_weight)):
            accepts = weight != -math.inf
            said.append(f"{name} gives {weight:.6g}" if accepts else f"{name} does not accept it")
        return f"{self.text or 'the empty string'!r}: {said[0]}, {said[1]}"


def diff(
    a: Fsa,
    b: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    side: Side | None = None,
    delta: float = 1e-4,
    max_states: int = 1_000_000,
    labels_sym: SymbolTable | None = None,
    aux_labels_sym: SymbolTable | None = None,
    names: tuple[str, str] = ("a", "b"),
) -> Difference | None:
    """The shortest string, of those the first in the order of labels, that two graphs weigh apart.

    Exact: both graphs are determinised, so there is no answer where that does not end.

    Args:
      a: one FSA.
      b: another one.
      semiring: a string weighs as much as its best path in `TropicalSemiring()`, as the sum over
        its paths in `LogSemiring()`.
      side: strings of what: "input" labels, "output" labels, or "pairs" of both, where an epsilon
        in another place makes another string; by default pairs if both graphs are transducers.
      delta: the largest difference that counts as none, nats, relative to weights above 1.
      max_states: give up on a graph that has more when determinised; a cyclic one may have no end.
      labels_sym: symbols of the labels; by default the attribute of that name.
      aux_labels_sym: symbols of `aux_labels`; by default the attribute of that name.
      names: what to call the graphs.

    Returns:
      None if every string weighs the same in both.

    Raises:
      FsaTypeError: an operand is a vector.
      FsaValueError: another `side`, or semiring, or a score that is NaN or +inf.
      FsaRuntimeError: a graph cannot be determinised within `max_states`.
      CyclicFsaError: the weights of epsilon cycles do not converge.

    >>> a = Fsa.from_str("0 1 1 -1\\n1 2 2 0\\n2 3 -1 0\\n3")
    >>> b = Fsa.from_str("0 1 1 -1\\n1 2 2 0\\n1 2 3 0\\n2 3 -1 0\\n3")
    >>> print(diff(a, b, labels_sym=SymbolTable([("the", 1), ("cat", 2), ("hat", 3)])))
    'the hat': a does not accept it, b gives -1
    """
    for name, fsa in (("a", a), ("b", b)):
        if fsa.num_axes != 2:
            raise FsaTypeError(f"{name}: a vector of {fsa.num_fsas} FSAs; compare one: x[i].")
    if side is None:
        side = "pairs" if all("aux_labels" in x.attributes for x in (a, b)) else "input"
    if side not in ("input", "output", "pairs"):
        raise FsaValueError(f"side: must be 'input', 'output' or 'pairs', got {side!r}.")
    tables = tables_of(a, labels_sym, aux_labels_sym)
    if side == "pairs":
        (one, other), codes = _coded(a, b)
    else:
        one, other, codes = project(a, side), project(b, side), None
    found = first_difference(one, other, semiring, delta=delta, max_states=max_states)
    if found is None:
        return None
    labels, a_weight, b_weight = found
    if codes is None:
        table = tables[0] if side == "input" else tables[1] or tables[0]
        text = " ".join(text_of(label, table) for label in labels)
        return Difference(tuple(labels), None, text, a_weight, b_weight, names)
    pairs = [codes[label - 1] for label in labels]
    text = " ".join(f"{text_of(x, tables[0])}:{text_of(y, tables[1])}" for x, y in pairs)
    inputs, outputs = (tuple(pair[i] for pair in pairs) for i in (0, 1))
    return Difference(inputs, outputs, text, a_weight, b_weight, names)


def _coded(a: Fsa, b: Fsa) -> tuple[tuple[Fsa, Fsa], list[tuple[int, int]]]:
    """Acceptors of the pairs of labels, and the pair of each code."""
    bare = [_bare_transducer(fsa) for fsa in (a, b)]
    coded, table = encode(Fsa.from_fsas(bare))
    assert table.aux_labels is not None
    pairs = list(zip(table.labels.tolist(), table.aux_labels.tolist()))
    if (0, 0) in pairs:  # nothing read and nothing written is an epsilon again
        coded = relabel(coded, {pairs.index((0, 0)) + 1: 0})
    return (coded[0], coded[1]), pairs


def _bare_transducer(fsa: Fsa) -> Fsa:
    """The FSA with its output labels as its only attribute, none of them -1 but at the end."""
    if isinstance(fsa.attributes.get("aux_labels"), RaggedTensor):
        fsa = expand_ragged_attributes(fsa, ragged_attribute_names=["aux_labels"])
    aux = fsa.attributes.get("aux_labels")
    outputs = aux.to(torch.int32) if isinstance(aux, Tensor) else fsa.labels.clone()
    outputs = torch.where(fsa.labels == -1, -1, outputs.clamp(min=0)).to(torch.int32)
    return Fsa(fsa.shape, fsa.arcs, fsa.scores.detach().double(), aux_labels=outputs)
