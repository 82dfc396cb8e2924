"""What is drawn of a graph: some of its states and the arcs between them, with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, FsaValueError, RaggedTensor, SymbolTable
from wfst_entropy.inspection.reachability import reachable
from wfst_entropy.inspection.symbols import text_of


@dataclass(frozen=True)
class Sketch:
    """A part of a graph, as plain numbers and texts.

    Attributes:
      states: the number of each state in the graph, ascending; below, states are counted in this
        list.
      ends: for each state, whether it is the start, the final state, and whether arcs of it were
        left out.
      arcs: source, destination and label.
      numbers: the number of each arc in the graph.
      texts: what stands on each arc.
      scores: of each arc.
      posteriors: of each arc, 0 to 1; None where there are none.
      strengths: how dark and wide each arc is, 0 to 1; None for all the same.
      title: above the picture.
    """

    states: list[int]
    ends: list[tuple[bool, bool, bool]]
    arcs: list[tuple[int, int, int]]
    numbers: list[int]
    texts: list[str]
    scores: list[float]
    posteriors: list[float] | None
    strengths: list[float] | None
    title: str = ""


def sketch(
    fsa: Fsa,
    states: Tensor,
    tables: tuple[SymbolTable | None, SymbolTable | None],
    posteriors: Tensor | None = None,
    strengths: Tensor | None = None,
    title: str = "",
) -> Sketch:
    """Takes some states, int64 ascending, and all arcs between them, of one FSA.

    >>> fsa = Fsa.from_str("0 1 5 0\\n1 2 6 0\\n2 3 -1 0\\n3")
    >>> part = sketch(fsa, torch.tensor([1, 2]), (None, None))
    >>> part.arcs, part.texts, part.ends[1]
    ([(0, 1, 6)], ['6'], (False, False, True))
    """
    kept = torch.zeros(fsa.num_states, dtype=torch.bool)
    kept[states] = True
    place = torch.cumsum(kept, 0) - 1
    source, destination = fsa.src_states(), fsa.dst_states()
    inside = kept[source] & kept[destination]
    arcs = torch.nonzero(inside).flatten()
    cut = torch.zeros_like(kept)
    cut[source[~inside]] = True
    cut[destination[~inside]] = True
    ends = [place[source[arcs]].tolist(), place[destination[arcs]].tolist()]
    return Sketch(
        states.tolist(),
        [(s == 0, s == fsa.num_states - 1, bool(cut[s])) for s in states.tolist()],
        list(zip(*ends, fsa.labels[arcs].tolist())),
        arcs.tolist(),
        arc_texts(fsa, arcs, *tables),
        fsa.scores[arcs].tolist(),
        None if posteriors is None else posteriors[arcs].tolist(),
        None if strengths is None else strengths[arcs].tolist(),
        title,
    )


def arc_texts(
    fsa: Fsa,
    arcs: Tensor,
    labels_sym: SymbolTable | None = None,
    aux_labels_sym: SymbolTable | None = None,
) -> list[str]:
    """What stands on arcs: `label[:output][/score]`, with scores that are not 0.

    >>> fst = Fsa.from_str("0 1 5 0 -0.5\\n1 2 -1 -1 0\\n2")
    >>> arc_texts(fst, torch.tensor([0, 1]), SymbolTable([("a", 5)]))
    ['a:ε/-0.5', '']
    """
    labels = fsa.labels[arcs].tolist()
    outputs = _outputs(fsa, arcs, aux_labels_sym)
    scores = fsa.scores[arcs].tolist()
    texts = []
    for i, label in enumerate(labels):
        text = "" if label == -1 else text_of(label, labels_sym)
        if outputs is not None and not (label == -1 and outputs[i] in ("-1", "ε")):
            text += f":{outputs[i]}"
        if scores[i] != 0:
            text += f"/{scores[i]:.4g}"
        texts.append(text)
    return texts


def _outputs(fsa: Fsa, arcs: Tensor, table: SymbolTable | None) -> list[str] | None:
    value = fsa.attributes.get("aux_labels")
    if isinstance(value, RaggedTensor):
        rows = value.index(arcs).tolist()
        texts = [[text_of(label, table) for label in row if label > 0] for row in rows]
        return [" ".join(row) or "ε" for row in texts]
    if isinstance(value, Tensor):
        return [text_of(label, table if label > 0 else None) for label in value[arcs].tolist()]
    return None


def near(fsa: Fsa, places: Sequence[int], radius: int) -> Tensor:
    """The states at most `radius` arcs away from `places`, in either direction; ascending.

    >>> fsa = Fsa.from_str("0 1 5 0\\n1 2 6 0\\n2 3 7 0\\n3 4 -1 0\\n4")
    >>> near(fsa, [0], 2).tolist()
    [0, 1, 2]
    """
    source, destination = fsa.src_states(), fsa.dst_states()
    ways = torch.cat([source, destination]), torch.cat([destination, source])
    return torch.nonzero(reachable(places, *ways, fsa.num_states, radius)).flatten()


def places_of(
    fsa: Fsa, around: int | str, tables: tuple[SymbolTable | None, SymbolTable | None]
) -> list[int]:
    """The state `around`, or the states before and after arcs with the symbol `around`.

    Raises:
      FsaValueError: it is not in the graph.
    """
    if isinstance(around, int):
        if not 0 <= around < fsa.num_states:
            raise FsaValueError(
                f"around: state {around} is not in the graph, which has states 0 to "
                f"{fsa.num_states - 1}; for a label, give its symbol: around={str(around)!r}."
            )
        return [around]
    found = torch.zeros(fsa.num_arcs, dtype=torch.bool)
    aux = fsa.attributes.get("aux_labels")
    for values, table in ((fsa.labels, tables[0]), (aux, tables[1])):
        label = _label(around, table)
        if label is not None and isinstance(values, Tensor):
            found |= values == label
        elif label is not None and isinstance(values, RaggedTensor):
            found |= RaggedTensor(values.shape, (values.values == label).long()).sum() > 0
    if not bool(found.any()):
        raise FsaValueError(
            f"around: no arc has the label {around!r}; a symbol needs its table (labels_sym, "
            "aux_labels_sym), and a number is taken as the label itself."
        )
    return sorted({*fsa.src_states()[found].tolist(), *fsa.dst_states()[found].tolist()})


def _label(symbol: str, table: SymbolTable | None) -> int | None:
    label = table.get(symbol) if table is not None else None
    return int(symbol) if label is None and symbol.isdecimal() else label
