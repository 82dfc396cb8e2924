"""The text formats of k2 and OpenFst: lines to lists and back, with line numbers in errors.

k2: lines `src dst label [aux_label ...] [ragged_label ...] [score]`, where a ragged label is a list
in brackets, `[7 8]`; label -1 on arcs into the final state; and a last line with the number of the
final state, which is the largest.

OpenFst: lines `src dst label [aux_label ...] [cost]` and, for each final state, `state [cost]`,
where a cost is a negated score.  Reading adds one new final state with an arc from each of
OpenFst's; state numbers are made dense, and the state of the first line, the start, becomes 0.
Writing keeps the final state, and arcs with epsilon into it, where a final cost cannot say what an
arc into the final state does: a second arc from the same state, or one with an extra label.

Blank lines are skipped.  States are integers; labels are too, or symbols where a table is given.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field, replace

from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.fsa.symbol_table import SymbolTable

_MAX_INT32 = 2**31 - 1
MANY_STATES = 1_000_000
"""Up to here, a file may have states without arcs; beyond, a hundred states need an arc."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_FIELD_OR_LIST = re.compile(r"\[[^\]]*\](?!\S)|\S+")


@dataclass
class FsaText:
    """The contents of a text form: arcs ordered by source state, scores in the positive sense."""

    arcs: list[list[int]]
    scores: list[float]
    aux_labels: list[list[int]]
    """One list per extra label, each with one entry per arc."""
    num_states: int
    ragged_labels: list[list[list[int]]] = field(default_factory=list)
    """One list per ragged label, each with one list per arc."""


@dataclass
class Layout:
    """What stands on the line of an arc."""

    num_aux_labels: int = 0
    num_ragged_labels: int = 0
    isymbols: SymbolTable | None = None
    """For labels; numbers if None."""
    osymbols: SymbolTable | None = None
    """For the first extra label, or the first ragged one if there are only those."""


@dataclass
class _Arc:
    line: int
    src: int
    dst: int
    label: int
    aux_labels: list[int]
    ragged_labels: list[list[int]]
    score: float


class _Line:
    """One line of text, its number, and its fields."""

    def __init__(self, number: int, text: str, lists: bool) -> None:
        self.number = number
        self.text = text.strip()
        self.fields = _FIELD_OR_LIST.findall(self.text) if lists else self.text.split()

    def error(self, problem: str) -> FsaFormatError:
        return FsaFormatError(f"line {self.number}: {self.text!r}: {problem}.")

    def integer(self, text: str, name: str, lowest: int = 0) -> int:
        # int() would also take 1_000, digits of other scripts, and numbers of any length.
        if not _INTEGER.fullmatch(text):
            raise self.error(f"{name} must be an integer, got {text[:40]!r}")
        number = int(text)
        if not lowest <= number <= _MAX_INT32:
            raise self.error(f"{name} must be from {lowest} to {_MAX_INT32}, got {number}")
        return number

    def symbol(self, text: str, name: str, lowest: int, symbols: SymbolTable | None) -> int:
        if symbols is None or (text == "-1" and lowest < 0):
            return self.integer(text, name, lowest)
        number = symbols.get(text)
        if number is None:
            raise self.error(f"{name} {text!r} is not in the symbol table of {len(symbols)}")
        return number

    def symbols(self, text: str, name: str, symbols: SymbolTable | None) -> list[int]:
        if not text.startswith("[") or not text.endswith("]"):
            raise self.error(f"{name} must be a list in brackets, got {text!r}")
        return [self.symbol(x, name, -_MAX_INT32, symbols) for x in text[1:-1].split()]

    def number_at(self, i: int, name: str) -> float:
        try:
            number = float(self.fields[i].replace("_", "?"))
        except ValueError:
            raise self.error(f"{name} must be a number, got {self.fields[i]!r}") from None
        if math.isnan(number):
            raise self.error(f"{name} must not be NaN")
        return number

    def arc(self, layout: Layout, lowest_label: int, score_name: str) -> _Arc:
        """Reads `src dst label [aux_label ...] [ragged_label ...] [score]`."""
        lists = 3 + layout.num_aux_labels
        need = lists + layout.num_ragged_labels
        fields = self.fields
        if len(fields) not in (need, need + 1):
            names = ["src dst label", *["aux_label"] * layout.num_aux_labels]
            names += [*["[ragged ...]"] * layout.num_ragged_labels, f"[{score_name}]"]
            hint = ""
            if not layout.num_ragged_labels and "[" in self.text:
                hint = "; a list in brackets needs ragged_label_names"
            raise self.error(
                f"an arc with {layout.num_aux_labels} extra labels has {need} or {need + 1} fields "
                f"({' '.join(names)}), got {len(fields)}{hint}"
            )
        tables = [layout.osymbols, *[None] * need]
        return _Arc(
            self.number,
            self.integer(fields[0], "source state"),
            self.integer(fields[1], "destination state"),
            self.symbol(fields[2], "label", lowest_label, layout.isymbols),
            [
                self.symbol(fields[i], "aux_label", -_MAX_INT32, tables[i - 3])
                for i in range(3, lists)
            ],
            [self.symbols(fields[i], "ragged label", tables[i - 3]) for i in range(lists, need)],
            self.number_at(need, score_name) if len(fields) > need else 0.0,
        )


def parse_fsa(
    text: str, num_aux_labels: int | None, openfst: bool, layout: Layout | None = None
) -> FsaText:
    """Parses one FSA; see `Fsa.from_str`.

    Args:
      text: the lines.
      num_aux_labels: number of extra labels; None to tell by the first arc.
      openfst: whether the text is OpenFst's.
      layout: what else is on the lines; its `num_aux_labels` is not looked at.

    Raises:
      FsaFormatError: with the number of the line.

    Example:
      >>> parse_fsa("0 1 5 0.5\\n1 2 -1 0\\n2", None, openfst=False).arcs
      [[0, 1, 5], [1, 2, -1]]
    """
    layout = replace(layout or Layout(), num_aux_labels=num_aux_labels or 0)
    lists = layout.num_ragged_labels > 0
    lines = [_Line(i, line, lists) for i, line in enumerate(text.split("\n"), start=1)]
    lines = [line for line in lines if line.fields]
    if not lines:
        empty: list[list[list[int]]] = [[] for _ in range(layout.num_ragged_labels)]
        return FsaText([], [], [[] for _ in range(layout.num_aux_labels)], 0, empty)
    if num_aux_labels is None:
        # An arc without a score would be read one field short, so k2's full form is required.
        longest_final = 2 if openfst else 1
        arc = next((line for line in lines if len(line.fields) > longest_final), None)
        full = 4 + layout.num_ragged_labels
        layout.num_aux_labels = 0 if arc is None else max(len(arc.fields) - full, 0)
    arcs, num_states = (_parse_openfst if openfst else _parse_k2)(lines, layout)
    arcs.sort(key=lambda arc: arc.src)  # stable: the order of the arcs of a state stays
    return FsaText(
        [[arc.src, arc.dst, arc.label] for arc in arcs],
        [arc.score for arc in arcs],
        [[arc.aux_labels[i] for arc in arcs] for i in range(layout.num_aux_labels)],
        num_states,
        [[arc.ragged_labels[i] for arc in arcs] for i in range(layout.num_ragged_labels)],
    )


def _parse_k2(lines: list[_Line], layout: Layout) -> tuple[list[_Arc], int]:
    last = lines[-1]
    if len(last.fields) != 1:
        raise last.error("the last line must be the number of the final state alone")
    final = last.integer(last.fields[0], "final state")
    arcs = []
    for line in lines[:-1]:
        if len(line.fields) == 1:
            raise line.error(
                "a line with one number is the final state and must be the last line; OpenFst's "
                "format, with several final states, needs openfst=True"
            )
        arc = line.arc(layout, lowest_label=-1, score_name="score")
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
    if final > MANY_STATES and final > 100 * len(arcs):
        raise last.error(
            f"an FSA of {final + 1} states but {len(arcs)} arcs would waste memory; number its "
            "states without such gaps"
        )
    # A lone 0 is how an FSA without arcs is written: its only state would be start and final.
    return arcs, final + 1 if final else 0


def _parse_openfst(lines: list[_Line], layout: Layout) -> tuple[list[_Arc], int]:
    arcs: list[_Arc] = []
    finals: dict[int, tuple[_Line, float]] = {}
    for line in lines:
        if len(line.fields) > 2:
            arcs.append(line.arc(layout, lowest_label=0, score_name="cost"))
            continue
        state = line.integer(line.fields[0], "final state")
        cost = line.number_at(1, "cost") if len(line.fields) == 2 else 0.0
        if state in finals:
            raise line.error(f"state {state} is already final by line {finals[state][0].number}")
        finals[state] = line, cost
    start = lines[0].integer(lines[0].fields[0], "start state")
    states = {start, *finals, *(arc.src for arc in arcs), *(arc.dst for arc in arcs)}
    order = [start, *sorted(states - {start})]
    number = {state: i for i, state in enumerate(order)}
    # 0.0 - cost rather than -cost: no negative zeros.
    for arc in arcs:
        arc.src, arc.dst, arc.score = number[arc.src], number[arc.dst], 0.0 - arc.score
    for state, (line, cost) in finals.items():
        if cost != math.inf:  # OpenFst's way to say: not final
            aux: list[int] = [-1] * layout.num_aux_labels
            lists: list[list[int]] = [[] for _ in range(layout.num_ragged_labels)]
            final = _Arc(line.number, number[state], len(order), -1, aux, lists, 0.0 - cost)
            arcs.append(final)
    return arcs, len(order) + 1


def format_fsa(
    fsa: FsaText,
    openfst: bool,
    single_precision: bool = True,
    isymbols: SymbolTable | None = None,
    osymbols: SymbolTable | None = None,
) -> str:
    """Writes one FSA; see `Fsa.to_str`.

    Args:
      fsa: what to write.
      openfst: OpenFst's format, with costs and final states, instead of k2's.
      single_precision: write each score with the digits that give back the same float32, rather
        than the same float64.
      isymbols, osymbols: as in `Layout`.

    Raises:
      FsaFormatError: a label is not in its table.

    Example:
      >>> print(format_fsa(FsaText([[0, 1, -1]], [0.1], [], 2), openfst=False))
      0 1 -1 0.1
      1
    """
    lines = []
    with_final_cost: set[int] = set()
    final = fsa.num_states - 1
    keeps_final = False
    for i, (src, dst, label) in enumerate(fsa.arcs):
        aux: list[int] = [column[i] for column in fsa.aux_labels]
        lists = [column[i] for column in fsa.ragged_labels]
        score = format_number(0.0 - fsa.scores[i] if openfst else fsa.scores[i], single_precision)
        if openfst and label == -1:
            aux = [max(x, 0) for x in aux]
            lists = [[x for x in numbers if x > 0] for numbers in lists]
            if src not in with_final_cost and not any(aux) and not any(lists):
                with_final_cost.add(src)
                lines.append(f"{src} {score}")
                continue
            label, keeps_final = 0, True
        table = osymbols  # of the first extra label
        values: list[int | list[int]] = [*aux, *lists]
        fields = [str(src), str(dst), _name(label, isymbols, i)]
        for value in values:
            fields.append(_name(value, table, i))
            table = None
        lines.append(" ".join([*fields, score]))
    if keeps_final:
        lines.append(f"{final} 0")
    if openfst:
        if fsa.num_states and not (fsa.arcs and fsa.arcs[0][0] == 0):
            # The first line names the start state; this one only says that it is not final.
            lines.insert(0, "0 Infinity")
    elif fsa.num_states:
        lines.append(str(final))
    return "\n".join(lines)


def _name(label: int | list[int], symbols: SymbolTable | None, arc: int) -> str:
    if isinstance(label, list):
        return f"[{' '.join(_name(x, symbols, arc) for x in label)}]"
    if symbols is None or label == -1:
        return str(label)
    symbol = symbols.get(label)
    if symbol is None:
        raise FsaFormatError(
            f"arc {arc}: label {label} is not in the symbol table of {len(symbols)} symbols; is it "
            "the table of the other side?"
        )
    return symbol


def format_number(number: float, single_precision: bool) -> str:
    """The shortest digits that give back the same float32, or else the same float64.

    Example:
      >>> format_number(0.1, True), format_number(0.1, False), format_number(2.0, True)
      ('0.1', '0.1', '2')
    """
    if number == 0 or math.isinf(number):
        return {0.0: "0", math.inf: "Infinity", -math.inf: "-Infinity"}[number]
    if single_precision:
        for digits in (6, 7, 8):
            text = f"{number:.{digits}g}"
            if struct.pack("f", float(text)) == struct.pack("f", number):
                return text
        return f"{number:.9g}"
    return repr(number).removesuffix(".0")
