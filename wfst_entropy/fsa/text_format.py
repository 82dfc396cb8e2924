"""The text formats of k2 and OpenFst: lines to lists and back, with line numbers in errors.

k2: lines `src dst label [aux_label ...] [score]`, label -1 on arcs into the final state, and a last
line with the number of the final state, which is the largest.

OpenFst: lines `src dst label [aux_label ...] [cost]` and, for each final state, `state [cost]`,
where a cost is a negated score.  Reading adds one new final state with an arc from each of
OpenFst's; state numbers are made dense, and the state of the first line, the start, becomes 0.

Blank lines are skipped.  States and labels are integers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from wfst_entropy.fsa.errors import FsaFormatError

_MAX_INT32 = 2**31 - 1


@dataclass
class FsaText:
    """The contents of a text form: arcs ordered by source state, scores in the positive sense."""

    arcs: list[list[int]]
    scores: list[float]
    aux_labels: list[list[int]]
    """One list per extra label, each with one entry per arc."""
    num_states: int


@dataclass
class _Arc:
    line: int
    src: int
    dst: int
    label: int
    aux_labels: list[int]
    score: float


class _Line:
    """One line of text, its number, and its fields."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text.strip()
        self.fields = self.text.split()

    def error(self, problem: str) -> FsaFormatError:
        return FsaFormatError(f"line {self.number}: {self.text!r}: {problem}.")

    def integer(self, i: int, name: str, lowest: int = 0) -> int:
        try:
            number = int(self.fields[i])
        except ValueError:
            raise self.error(f"{name} must be an integer, got {self.fields[i]!r}") from None
        if not lowest <= number <= _MAX_INT32:
            raise self.error(f"{name} must be from {lowest} to {_MAX_INT32}, got {number}")
        return number

    def number_at(self, i: int, name: str) -> float:
        try:
            number = float(self.fields[i])
        except ValueError:
            raise self.error(f"{name} must be a number, got {self.fields[i]!r}") from None
        if math.isnan(number):
            raise self.error(f"{name} must not be NaN")
        return number

    def arc(self, num_aux_labels: int, lowest_label: int, score_name: str) -> _Arc:
        """Reads `src dst label [aux_label ...] [score]`."""
        need = 3 + num_aux_labels
        if len(self.fields) not in (need, need + 1):
            raise self.error(
                f"an arc with {num_aux_labels} extra labels has {need} or {need + 1} fields "
                f"(src dst label{' aux_label' * num_aux_labels} [{score_name}]), got "
                f"{len(self.fields)}"
            )
        return _Arc(
            self.number,
            self.integer(0, "source state"),
            self.integer(1, "destination state"),
            self.integer(2, "label", lowest_label),
            [self.integer(3 + i, "aux_label", -_MAX_INT32) for i in range(num_aux_labels)],
            self.number_at(need, score_name) if len(self.fields) > need else 0.0,
        )


def parse_fsa(text: str, num_aux_labels: int | None, openfst: bool) -> FsaText:
    """Parses one FSA; see `Fsa.from_str`.

    Raises:
      FsaFormatError: with the number of the line.

    Example:
      >>> parse_fsa("0 1 5 0.5\\n1 2 -1 0\\n2", None, openfst=False).arcs
      [[0, 1, 5], [1, 2, -1]]
    """
    lines = [_Line(i, line) for i, line in enumerate(text.split("\n"), start=1)]
    lines = [line for line in lines if line.fields]
    if not lines:
        return FsaText([], [], [[] for _ in range(num_aux_labels or 0)], 0)
    if num_aux_labels is None:
        # An arc without a score would be read one field short, so k2's full form is required.
        longest_final = 2 if openfst else 1
        arc = next((line for line in lines if len(line.fields) > longest_final), None)
        num_aux_labels = 0 if arc is None else max(len(arc.fields) - 4, 0)
    if openfst:
        arcs, num_states = _parse_openfst(lines, num_aux_labels)
    else:
        arcs, num_states = _parse_k2(lines, num_aux_labels)
    arcs.sort(key=lambda arc: arc.src)  # stable: the order of the arcs of a state stays
    return FsaText(
        [[arc.src, arc.dst, arc.label] for arc in arcs],
        [arc.score for arc in arcs],
        [[arc.aux_labels[i] for arc in arcs] for i in range(num_aux_labels)],
        num_states,
    )


def _parse_k2(lines: list[_Line], num_aux_labels: int) -> tuple[list[_Arc], int]:
    last = lines[-1]
    if len(last.fields) != 1:
        raise last.error("the last line must be the number of the final state alone")
    final = last.integer(0, "final state")
    arcs = []
    for line in lines[:-1]:
        if len(line.fields) == 1:
            raise line.error(
                "a line with one number is the final state and must be the last line; OpenFst's "
                "format, with several final states, needs openfst=True"
            )
        arc = line.arc(num_aux_labels, lowest_label=-1, score_name="score")
        if arc.src >= final or arc.dst > final:
            raise line.error(
                f"the final state {final} (line {last.number}) must have the largest number and "
                "no arc leaving it"
            )
        if (arc.label == -1) != (arc.dst == final):
            raise line.error(
                f"label -1 belongs on arcs into the final state {final}, and only there"
            )
        arcs.append(arc)
    # A lone 0 is how an FSA without arcs is written: its only state would be start and final.
    return arcs, final + 1 if final else 0


def _parse_openfst(lines: list[_Line], num_aux_labels: int) -> tuple[list[_Arc], int]:
    arcs: list[_Arc] = []
    finals: dict[int, tuple[_Line, float]] = {}
    for line in lines:
        if len(line.fields) > 2:
            arcs.append(line.arc(num_aux_labels, lowest_label=0, score_name="cost"))
            continue
        state = line.integer(0, "final state")
        cost = line.number_at(1, "cost") if len(line.fields) == 2 else 0.0
        if state in finals:
            raise line.error(f"state {state} is already final by line {finals[state][0].number}")
        finals[state] = line, cost
    start = lines[0].integer(0, "start state")
    states = {start, *finals, *(arc.src for arc in arcs), *(arc.dst for arc in arcs)}
    order = [start, *sorted(states - {start})]
    number = {state: i for i, state in enumerate(order)}
    # 0.0 - cost rather than -cost: no negative zeros.
    new_arcs = [
        _Arc(a.line, number[a.src], number[a.dst], a.label, a.aux_labels, 0.0 - a.score)
        for a in arcs
    ]
    for state, (line, cost) in finals.items():
        if cost != math.inf:  # OpenFst's way to say: not final
            minus_ones = [-1] * num_aux_labels
            new_arcs.append(
                _Arc(line.number, number[state], len(order), -1, minus_ones, 0.0 - cost)
            )
    return new_arcs, len(order) + 1


def format_fsa(fsa: FsaText, openfst: bool, single_precision: bool = True) -> str:
    """Writes one FSA; see `Fsa.to_str`.

    Args:
      fsa: what to write.
      openfst: OpenFst's format, with costs and final states, instead of k2's.
      single_precision: write each score with the digits that give back the same float32, rather
        than the same float64.

    Raises:
      FsaFormatError: OpenFst's format cannot say it.

    Example:
      >>> print(format_fsa(FsaText([[0, 1, -1]], [0.1], [], 2), openfst=False))
      0 1 -1 0.1
      1
    """
    lines = []
    final_arcs: dict[int, int] = {}
    for i, (src, dst, label) in enumerate(fsa.arcs):
        aux_labels = [column[i] for column in fsa.aux_labels]
        score = _format_number(0.0 - fsa.scores[i] if openfst else fsa.scores[i], single_precision)
        if openfst and label == -1:
            _check_openfst_final(i, src, aux_labels, final_arcs)
            lines.append(f"{src} {score}")
        else:
            lines.append(" ".join(map(str, (src, dst, label, *aux_labels, score))))
    if openfst:
        if fsa.num_states and not (fsa.arcs and fsa.arcs[0][0] == 0):
            # The first line names the start state; this one only says that it is not final.
            lines.insert(0, "0 Infinity")
    elif fsa.num_states:
        lines.append(str(fsa.num_states - 1))
    return "\n".join(lines)


def _check_openfst_final(
    arc: int, src: int, aux_labels: list[int], final_arcs: dict[int, int]
) -> None:
    if src in final_arcs:
        raise FsaFormatError(
            f"arcs {final_arcs[src]} and {arc} both go from state {src} into the final state; in "
            "OpenFst's format a state has one final cost. Merge them first."
        )
    if any(label not in (-1, 0) for label in aux_labels):
        raise FsaFormatError(
            f"arc {arc}, from state {src} into the final state, has aux_labels {aux_labels}; "
            "OpenFst's format has no label on a final cost."
        )
    final_arcs[src] = arc


def _format_number(number: float, single_precision: bool) -> str:
    if number == 0 or math.isinf(number):
        return {0.0: "0", math.inf: "Infinity", -math.inf: "-Infinity"}[number]
    if single_precision:
        for digits in (6, 7, 8):
            text = f"{number:.{digits}g}"
            if struct.pack("f", float(text)) == struct.pack("f", number):
                return text
        return f"{number:.9g}"
    return repr(number).removesuffix(".0")
