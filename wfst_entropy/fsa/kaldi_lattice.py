"""Kaldi's lattices in text form, one or an archive of them.

An archive holds, for each utterance, a line with its name, the lines of its lattice and a blank
line.  A lattice is an OpenFst text whose costs are pairs `graph,acoustic`; in the compact form the
arcs have words only, and costs are `graph,acoustic,transitions` with the transition-ids of the
whole arc, such as `7_7_8`.  A cost that is not there is 0.

As an `Fsa`: scores are negated sums of both costs, the attributes `graph_scores` and
`acoustic_scores` their parts.  In the plain form labels are transition-ids and `aux_labels` words;
in the compact form labels are words, and the ragged attribute `transition_ids` has the rest.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.fsa import Fsa
from wfst_entropy.fsa.ragged import RaggedTensor
from wfst_entropy.fsa.text_format import format_number

_Cost = tuple[float, float, list[int]]  # graph, acoustic, transition-ids


def read_kaldi_lattices(path: str | os.PathLike[str]) -> Iterator[tuple[str, Fsa]]:
    """Reads an archive of lattices in text form, one after the other.

    Args:
      path: what `lattice-copy ark:... ark,t:PATH` wrote, in UTF-8.

    Yields:
      The name of each utterance and its lattice.

    Raises:
      FsaFormatError: with file and line.
    """
    with Path(path).open(encoding="utf-8") as file:
        try:
            yield from _read(file, str(path))
        except UnicodeDecodeError as error:
            raise FsaFormatError(
                f"{path}: is not UTF-8 text: {error}; lattices of Kaldi's binary form become text "
                "by lattice-copy ark:FILE ark,t:FILE.lat"
            ) from error


def kaldi_lattices_from_str(text: str) -> Iterator[tuple[str, Fsa]]:
    """Reads an archive of lattices from a string; see `read_kaldi_lattices`.

    Example:
      >>> text = "utt-1\\n0 1 5 2.5,-4,7_7_8\\n1 0.5,0,9\\n\\n"
      >>> [(name, lattice)] = kaldi_lattices_from_str(text)
      >>> name, lattice.labels.tolist(), lattice.scores.tolist(), lattice.transition_ids
      ('utt-1', [5, -1], [1.5, -0.5], [[7, 7, 8], [9]])
    """
    return _read(text.split("\n"), "lattices")


def write_kaldi_lattices(lattices: Iterable[tuple[str, Fsa]], path: str | os.PathLike[str]) -> None:
    """Writes an archive of lattices in text form, whole or not at all.

    Args:
      lattices: names of utterances and their lattices, as `kaldi_lattice_to_str` takes them.
      path: the file.

    Raises:
      FsaTypeError, FsaValueError: as `kaldi_lattice_to_str`; or a name that is empty or has blanks.
      FileWriteError: the file cannot be written.
    """
    with replacing(Path(path)) as file:
        for name, lattice in lattices:
            if not name or name.split() != [name]:
                raise FsaValueError(f"utterance {name!r}: its name must be one word.")
            file.write(f"{name}\n{kaldi_lattice_to_str(lattice)}\n".encode())


def kaldi_lattice_to_str(lattice: Fsa) -> str:
    """The lines of one lattice, each with its end.

    Args:
      lattice: one FSA.  With the ragged attribute `transition_ids` it is written in the compact
        form, else in the plain one.  Without `graph_scores` and `acoustic_scores`, or where they
        do not sum to the scores, graph costs are what the acoustic costs leave of the scores.

    Raises:
      FsaTypeError: this is a vector, or an attribute is of another kind.

    Example:
      >>> print(kaldi_lattice_to_str(Fsa.from_str("0 1 5 50 0.5\\n1 2 -1 -1 0\\n2")), end="")
      0 1 5 50 -0.5,0
      1 0,0
    """
    if lattice.num_axes != 2:
        raise FsaTypeError("this is a vector of FSAs; write one lattice at a time: lattice[i].")
    lattice = lattice.detach().to("cpu")
    compact = "transition_ids" in lattice.attributes
    words = lattice.labels if compact else lattice.attributes.get("aux_labels", lattice.labels)
    acoustic = lattice.attributes.get("acoustic_scores", torch.zeros_like(lattice.scores))
    ids = lattice.attributes.get("transition_ids")
    for name, value in (("aux_labels", words), ("acoustic_scores", acoustic)):
        if not isinstance(value, Tensor) or value.dim() != 1:
            raise FsaTypeError(f"attribute {name!r}: must be a tensor with one number per arc.")
    if compact and (not isinstance(ids, RaggedTensor) or ids.num_axes != 2):
        raise FsaTypeError("attribute 'transition_ids': must be ragged, one list per arc.")
    lists = ids.tolist() if isinstance(ids, RaggedTensor) else [[]] * lattice.num_arcs
    graph = lattice.scores - acoustic
    if isinstance(told := lattice.attributes.get("graph_scores"), Tensor):
        graph = torch.where(told + acoustic == lattice.scores, told, graph)
    single = lattice.scores.dtype == torch.float32
    lines: list[str] = []
    final_states: set[int] = set()
    final, keeps_final = lattice.num_states - 1, False
    rows = zip(lattice.arcs.tolist(), words.tolist(), graph.tolist(), acoustic.tolist(), lists)
    for (src, dst, label), word, graph_score, acoustic_score, transitions in rows:
        costs = [format_number(0.0 - score, single) for score in (graph_score, acoustic_score)]
        if compact:
            costs.append("_".join(map(str, transitions)))
        cost = ",".join(costs)
        if label == -1 and src not in final_states and max(word, 0) == 0:
            final_states.add(src)
            lines.append(f"{src} {cost}\n")
            continue
        keeps_final = keeps_final or label == -1
        labels = [max(label, 0)] if compact else [max(label, 0), max(word, 0)]
        lines.append(" ".join(map(str, [src, dst, *labels, cost])) + "\n")
    comma = "," if compact else ""
    if keeps_final:
        lines.append(f"{final} 0,0{comma}\n")
    if lattice.num_states and (not lines or lines[0].split()[0] != "0"):
        # The first line names the start state; this one only says that it is not final.
        lines.insert(0, f"0 Infinity,Infinity{comma}\n")
    return "".join(lines)


class _Line:
    """One line of a lattice."""

    def __init__(self, source: str, number: int, fields: list[str]) -> None:
        self.source, self.number, self.fields = source, number, fields

    def error(self, problem: str) -> FsaFormatError:
        where = f"{self.source}: line {self.number}: {' '.join(self.fields)!r}"
        return FsaFormatError(f"{where}: {problem}.")

    def integer(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**31:
            raise self.error(f"states and labels are integers from 0 to {2**31 - 1}, got {text!r}")
        return int(text)

    def cost(self, text: str | None, compact: bool) -> _Cost:
        if text is None:
            return 0.0, 0.0, []
        parts = text.split(",")
        if len(parts) != (3 if compact else 2):
            form = "graph,acoustic,transitions" if compact else "graph,acoustic"
            raise self.error(f"the lines of this lattice have costs {form}, got {text!r}")
        try:
            graph, acoustic = float(parts[0]), float(parts[1])
        except ValueError:
            raise self.error(f"costs must be numbers, got {text!r}") from None
        if graph != graph or acoustic != acoustic:
            raise self.error("a cost must not be NaN")
        transitions = parts[2].split("_") if compact and parts[2] else []
        return graph, acoustic, [self.integer(x) for x in transitions]


def _read(lines: Iterable[str], source: str) -> Iterator[tuple[str, Fsa]]:
    name: str | None = None
    block: list[_Line] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if name is None:
            if len(fields) > 1:
                raise _Line(source, number, fields).error(
                    "needed a line with the name of an utterance alone, before its lattice"
                )
            name = fields[0] if fields else None
        elif fields:
            block.append(_Line(source, number, fields))
        else:
            yield name, _lattice(block)
            name, block = None, []
    if name is not None:
        yield name, _lattice(block)


def _is_compact(block: list[_Line]) -> bool:
    """Whether a lattice is in the compact form; a line without a cost may not tell."""
    for line in block:
        commas = line.fields[-1].count(",")
        if commas or len(line.fields) == 4:
            return commas == 2
    # Without any cost: a line of three fields is an arc with a word, or src dst and a label.
    return True


def _lattice(block: list[_Line]) -> Fsa:
    compact = _is_compact(block)
    num_labels = 1 if compact else 2
    arcs: list[tuple[int, int, list[int], _Cost]] = []
    finals: dict[int, _Cost] = {}
    for line in block:
        has_cost = "," in line.fields[-1]
        numbers = [line.integer(x) for x in (line.fields[:-1] if has_cost else line.fields)]
        cost = line.cost(line.fields[-1] if has_cost else None, compact)
        if len(numbers) == 1:
            if numbers[0] in finals:
                raise line.error(f"state {numbers[0]} has a final cost already")
            finals[numbers[0]] = cost
        elif len(numbers) == 2 + num_labels:
            arcs.append((numbers[0], numbers[1], numbers[2:], cost))
        else:
            need = "src dst word" if compact else "src dst transition-id word"
            raise line.error(f"an arc of this lattice has the fields {need} and a cost")
    if not block:
        return _fsa([], 0, compact)
    start = int(block[0].fields[0])
    states = {start, *finals, *(a[0] for a in arcs), *(a[1] for a in arcs)}
    order = {state: i for i, state in enumerate([start, *sorted(states - {start})])}
    renumbered = [(order[src], order[dst], labels, cost) for src, dst, labels, cost in arcs]
    for state, cost in finals.items():
        if cost[:2] == (math.inf, math.inf):  # Kaldi's way to say: not final
            continue
        renumbered.append((order[state], len(order), [-1] * num_labels, cost))
    renumbered.sort(key=lambda arc: arc[0])
    return _fsa(renumbered, len(order) + 1, compact)


def _fsa(arcs: list[tuple[int, int, list[int], _Cost]], num_states: int, compact: bool) -> Fsa:
    table = [[src, dst, labels[0]] for src, dst, labels, _ in arcs]
    # 0 - cost rather than -cost: no negative zeros.
    graph, acoustic = (0 - torch.tensor([arc[3][i] for arc in arcs]) for i in range(2))
    fsa = Fsa.from_arcs(table, graph + acoustic, num_states)
    fsa.set_attribute_("graph_scores", graph).set_attribute_("acoustic_scores", acoustic)
    if compact:
        ids = RaggedTensor.from_lists([arc[3][2] for arc in arcs], torch.int32)
        return fsa.set_attribute_("transition_ids", ids)
    words = torch.tensor([labels[1] for _, _, labels, _ in arcs], dtype=torch.int32)
    return fsa.set_attribute_("aux_labels", words)
