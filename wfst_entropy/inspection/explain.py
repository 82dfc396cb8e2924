"""Why is this composition empty?  The cause in words, and how far the two graphs go together."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wfst_entropy.fsa import Fsa, FsaTypeError, SymbolTable
from wfst_entropy.inspection.matching import (
    Side,
    common_labels,
    longest_prefix,
    needed_labels,
    side_of,
)
from wfst_entropy.inspection.symbols import EPSILON_SYMBOLS, described, text_of

_DISAMBIGUATION = re.compile(r"#[0-9]+")
_BLANK_SYMBOLS = frozenset({"<blk>", "<blank>", "<pad>", "[PAD]", "<b>", "<s>", "_", "-"})
_SHOWN = 5


class Cause(enum.Enum):
    """What is wrong with a pair of graphs."""

    EMPTY_GRAPH = "empty graph"
    UNREACHABLE_FINAL_STATE = "unreachable final state"
    DIFFERENT_SYMBOL_TABLES = "different symbol tables"
    OUT_OF_VOCABULARY = "label out of vocabulary"
    EPSILON_IS_A_SYMBOL = "epsilon treated as a symbol"
    OFFSET_BY_ONE = "offset by one"
    SWAPPED_LABELS = "swapped labels"
    MISSING_DISAMBIGUATION = "missing disambiguation symbol"
    MISSING_SYMBOL = "missing symbol"
    NO_COMMON_STRING = "no common string"
    UNSORTED_ARCS = "unsorted arcs"


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; `str()` of it is a paragraph for people.

    Attributes:
      cause: the likely cause, or None if nothing is wrong with the pair.
      message: what it is, where, and the next step.
      is_empty: whether the composition accepts nothing.
      prefix: where it is empty, the labels of the longest string that both graphs can begin.
      blocked: the labels that one graph has arcs with after it, and the other has none.
      notes: further observations, such as labels that only one graph has.
    """

    cause: Cause | None
    message: str
    is_empty: bool
    prefix: tuple[int, ...] = ()
    blocked: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        title = "nothing is wrong" if self.cause is None else self.cause.value
        return "\n".join([f"{title}: {self.message}", *(f"note: {note}" for note in self.notes)])


def explain(
    a: Fsa,
    b: Fsa,
    *,
    names: tuple[str, str] | None = None,
    treat_epsilons_specially: bool = True,
) -> Explanation:
    """Says why `compose(a, b)` is empty, or loses what it should keep.

    The outputs of `a` (`aux_labels`, or the labels of an acceptor) have to match the labels of `b`.
    Symbol tables, from the attributes `labels_sym` and `aux_labels_sym`, make it see more: which
    word is missing, that ids of two tables differ, that `#0` is a disambiguation symbol.  Repairs
    are tried (labels exchanged, shifted by one), and what makes the composition whole is the cause.

    Args:
      a: the left operand, one FSA.
      b: the right operand, one FSA.
      names: what to call them; by default their attribute `origin` (the command line puts the file
        name there), else "a" and "b".
      treat_epsilons_specially: as in `compose`, whether label 0 is epsilon.

    Raises:
      FsaTypeError: an operand is a vector.
      FsaRuntimeError: the composition is too large to look at.

    >>> lexicon = Fsa.from_str("0 1 11 1 0\\n1 0 12 0 0\\n0 2 -1 -1 0\\n2")
    >>> lexicon = lexicon.set_attribute_("aux_labels_sym", SymbolTable([("cat", 1), ("dog", 2)]))
    >>> grammar = Fsa.from_str("0 1 1 0\\n1 2 2 0\\n2 3 -1 0\\n3")
    >>> print(explain(lexicon, grammar, names=("L", "G")))
    missing symbol: no arc of L puts out 'dog' (id 2), which every path of G needs. The longest
    beginning that both accept is: cat.
    """
    for name, fsa in (("a", a), ("b", b)):
        if fsa.num_axes != 2:
            raise FsaTypeError(f"{name}: a vector of {fsa.num_fsas} FSAs; explain one pair: x[i].")
    if names is None:
        names = str(a.attributes.get("origin", "a")), str(b.attributes.get("origin", "b"))
    for name, fsa in zip(names, (a, b)):
        if not fsa.num_states:
            return Explanation(Cause.EMPTY_GRAPH, f"{name} has no states.", is_empty=True)
    left, right = side_of(a, names[0], outputs=True), side_of(b, names[1], outputs=False)
    for side in (left, right):
        if not bool(side.useful.any()):
            return _no_path(side)
    return _Diagnosis(left, right, treat_epsilons_specially).explanation()


def _no_path(side: Side) -> Explanation:
    final = side.fsa.num_states - 1
    if not side.fsa.num_arcs:
        return Explanation(Cause.EMPTY_GRAPH, f"{side.name} has no arcs.", is_empty=True)
    if bool((side.labels == -1).any()):
        reason = "the arcs into it leave states that cannot be reached from the start"
    else:
        reason = "no arc goes into it (label -1)"
    return Explanation(
        Cause.UNREACHABLE_FINAL_STATE,
        f"{side.name} has {side.fsa.num_states} states, but no path from the start to its final "
        f"state {final}: {reason}. See draw(..., around={final}).",
        is_empty=True,
    )


class _Diagnosis:
    """A pair of graphs that both accept something, and the questions to ask of it."""

    def __init__(self, a: Side, b: Side, epsilons: bool) -> None:
        self.a, self.b, self.epsilons = a, b, epsilons
        self.common = common_labels(a, b, epsilons)
        self.only_a, self.only_b = a.used() - b.used(), b.used() - a.used()

    def explanation(self) -> Explanation:
        """The first cause that fits; what tables prove comes before what repairs suggest."""
        is_empty = self.common is None
        prefix: tuple[int, ...] = ()
        blocked: tuple[int, ...] = ()
        end = ""
        if is_empty:
            found = longest_prefix(self.a, self.b, self.epsilons)
            prefix = tuple(found.labels)
            blocked = tuple(sorted(found.a_next ^ found.b_next))
            end = " " + self._prefix_text(found.labels, found.a_next, found.b_next)
        for question in (
            self._swapped, self._zero_is_a_symbol, self._epsilon_is_not_zero, self._vocabulary,
            self._tables, self._epsilons_off, self._shifted, self._missing,
        ):  # fmt: skip
            answer = question(blocked)
            if answer is not None:
                return Explanation(answer[0], answer[1] + end, is_empty, prefix, blocked)
        if is_empty:
            message = f"{self.a.name} and {self.b.name} have labels in common, but no whole string."
            return Explanation(Cause.NO_COMMON_STRING, message + end, True, prefix, blocked)
        return self._not_empty()

    def _not_empty(self) -> Explanation:
        notes = []
        if self.only_b:
            notes.append(
                f"no arc of {self.a.name} puts out {self._list(self.only_b, self.b.table)}; "
                f"paths of {self.b.name} with "
                f"{'it' if len(self.only_b) == 1 else 'them'} are lost."
            )
        if not (_is_sorted(self.a) or _is_sorted(self.b)):
            return Explanation(
                Cause.UNSORTED_ARCS,
                f"the composition is not empty here, but OpenFst and k2 need the arcs of one side "
                f"sorted, and neither those of {self.a.name} are by output label nor those of "
                f"{self.b.name} by input label. Sort {self.b.name} with arc_sort.",
                False,
                notes=tuple(notes),
            )
        return Explanation(None, "the composition is not empty.", False, notes=tuple(notes))

    # Each question gets the labels that block the longest prefix, and gives a cause with its
    # message, or None.

    def _swapped(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Does it fit once the inputs and outputs of one side change places?"""
        by_tables = self._swapped_by_tables()
        # A topology of many tokens takes whatever small numbers it is given, so that a composition
        # with the wrong side need not be empty; but most labels then have no partner.
        mostly_lost = 2 * len(self.only_b) > len(self.b.used())
        if by_tables is not None or not (self.common is None or mostly_lost):
            return by_tables
        for side, other in ((self.a, self.b), (self.b, self.a)):
            if side.other_labels is None:
                continue
            turned = side.swapped()
            pair = (turned, other) if side is self.a else (other, turned)
            common = common_labels(*pair, self.epsilons)
            # Chance lets a few labels pass; only the right repair lets all of one side through.
            whole = self.b.used() if side is self.a else turned.used()
            if common is not None and common == whole and not _unknown(turned):
                return self._swap_message(side)
        return None

    def _swapped_by_tables(self) -> tuple[Cause, str] | None:
        a, b = self.a, self.b
        if a.table is None or b.table is None or not _contradict(a.table, b.table):
            return None
        for side, other in ((a, b), (b, a)):
            far = side.other_table
            if far is not None and not _contradict(far, other.table):
                return self._swap_message(side)
        return None

    def _swap_message(self, side: Side) -> tuple[Cause, str]:
        place = "outputs" if side is self.a else "inputs"
        return Cause.SWAPPED_LABELS, (
            f"the {place} of {side.name} do not match, but its other labels do: labels and "
            f"aux_labels of {side.name} have changed places. Use invert({side.name})."
        )

    def _zero_is_a_symbol(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Is there a real symbol whose id is 0, which means epsilon or blank?"""
        for side in self._both():
            symbol = side.table.get(0) if side.table is not None else None
            if symbol is None or symbol in EPSILON_SYMBOLS | _BLANK_SYMBOLS:
                continue
            if bool((side.labels[side.useful] == 0).any()):
                blanks = sorted(s for s in _BLANK_SYMBOLS if side.table and s in side.table)
                blank = f" (the blank, {blanks[0]!r}, should have it)" if blanks else ""
                return Cause.OFFSET_BY_ONE, (
                    f"the symbol table of {side.name} gives id 0 to {symbol!r}, but label 0 is "
                    f"always epsilon{blank}: ids of symbols start at 1. Was the blank left out, or "
                    "put last, when ids were given?"
                )
        return None

    def _epsilon_is_not_zero(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Is a label in use that the table calls epsilon, but that is not 0?"""
        for side in self._both():
            for label in sorted(side.used()):
                symbol = side.table.get(label) if side.table is not None else None
                if symbol in EPSILON_SYMBOLS:
                    return Cause.EPSILON_IS_A_SYMBOL, (
                        f"{side.name} has arcs with {symbol!r} as id {label}, which has to match "
                        "like any symbol; only label 0 is epsilon. Give it id 0 in the symbol "
                        "table, or relabel."
                    )
        return None

    def _vocabulary(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Are there labels that their own table does not know?"""
        for side in self._both():
            unknown = _unknown(side)
            if not unknown or side.table is None:
                continue
            last = max(side.table.ids, default=0)
            if unknown == {last + 1} and min(side.used()) > 1 and not _unknown(side.shifted(-1)):
                return self._offset_message(side, 1)
            return Cause.OUT_OF_VOCABULARY, (
                f"{side.name} uses {self._list(unknown, None)}, which its symbol table does not "
                f"have; its ids end at {last}. Was {side.name} made with another table?"
            )
        return None

    def _tables(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Does a label that is in use mean two things?"""
        a, b = self.a.table, self.b.table
        if a is None or b is None:
            return None
        for label in sorted(self.a.used() | self.b.used()):
            mine, theirs = a.get(label), b.get(label)
            if mine is not None and theirs is not None and mine != theirs:
                return Cause.DIFFERENT_SYMBOL_TABLES, (
                    f"id {label} is {mine!r} in the outputs of {self.a.name}, but {theirs!r} in "
                    f"the inputs of {self.b.name}: they were made with different symbol tables. "
                    "Make both with one table, or relabel one."
                )
        return None

    def _epsilons_off(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Does it fit once label 0 is epsilon?"""
        if self.epsilons or self.common is not None:
            return None
        if common_labels(self.a, self.b, True) is None:
            return None
        return Cause.EPSILON_IS_A_SYMBOL, (
            "label 0 has to match like any symbol here; as epsilon it would not. Use "
            "treat_epsilons_specially=True."
        )

    def _shifted(self, _: Sequence[int]) -> tuple[Cause, str] | None:
        """Does it fit once all labels of one side are larger or smaller by one?"""
        mine = self.a.used()
        if self.a.table is not None and self.b.table is not None:
            return None  # no label is unknown and no symbol differs: the ids are right
        if self.common is not None and not self.only_b:
            return None
        for by in (1, -1):
            moved = self.b.shifted(-by)
            # What was 1 has become epsilon, 0, if all were made smaller.
            whole = mine - ({1} if by < 0 else set())
            if moved.used() != whole or len(self.b.used()) != len(whole):
                continue
            if common_labels(self.a, moved, self.epsilons) == moved.used():
                return self._offset_message(self.b, by)
        return None

    def _offset_message(self, side: Side, by: int) -> tuple[Cause, str]:
        way = "larger" if by > 0 else "smaller"
        return Cause.OFFSET_BY_ONE, (
            f"all labels of {side.name} are {way} by one than they should be. Is the blank (id 0) "
            "counted on one side only?"
        )

    def _missing(self, blocked: Sequence[int]) -> tuple[Cause, str] | None:
        """Are there labels that one side needs and the other has not?"""
        for side, other, missing in (
            (self.b, self.a, self.only_b), (self.a, self.b, self.only_a),
        ):  # fmt: skip
            needed = needed_labels(side, missing) if missing else []
            if not needed and self._should_write_all(side):
                needed = sorted(missing)
            if needed:
                return self._missing_message(side, other, needed)
        marks = [label for label in blocked if self._is_mark(label)]
        if marks:
            return Cause.MISSING_DISAMBIGUATION, (
                f"{described(marks[0], self._any_table())} is not taken where it stands; a "
                "disambiguation symbol that comes from the other side needs a self-loop at every "
                "state where it may come: use add_epsilon_self_loops, or disambiguate the lexicon."
            )
        return None

    def _should_write_all(self, side: Side) -> bool:
        """Whether `a` is a closure, as lexicons and topologies are, which misses labels of `b`.

        A lattice on the left need not have every word of a grammar; a lexicon should.
        """
        closed = self.a.other_labels is not None and not self.a.fsa.properties.acyclic
        return self.common is not None and closed and side is self.b

    def _missing_message(self, side: Side, other: Side, needed: Sequence[int]) -> tuple[Cause, str]:
        verb = "puts out" if other is self.a else "takes"
        table = side.table or other.table
        # Where a word and a disambiguation symbol are missing, the word is the news.
        words = [label for label in needed if not self._is_mark(label)]
        who = f"which every path of {side.name} needs"
        if self.common is not None:
            who = f"so all paths of {side.name} with it are lost"
        if words:
            return Cause.MISSING_SYMBOL, (
                f"no arc of {other.name} {verb} {self._list(words, table)}, {who}."
            )
        return Cause.MISSING_DISAMBIGUATION, (
            f"no arc of {other.name} {verb} {self._list(needed, table)}, {who}; a disambiguation "
            "symbol needs a self-loop at every state where it may come."
        )

    def _both(self) -> Iterator[Side]:
        return iter((self.a, self.b))

    def _any_table(self) -> SymbolTable | None:
        return self.b.table or self.a.table

    def _is_mark(self, label: int) -> bool:
        return _DISAMBIGUATION.fullmatch(text_of(label, self._any_table())) is not None

    def _list(self, labels: Sequence[int] | set[int], table: SymbolTable | None) -> str:
        ordered = list(labels) if isinstance(labels, list) else sorted(labels)
        shown = ", ".join(described(label, table) for label in ordered[:_SHOWN])
        more = len(ordered) - _SHOWN
        return shown + (f" and {more} more" if more > 0 else "")

    def _prefix_text(self, prefix: Sequence[int], a_next: set[int], b_next: set[int]) -> str:
        table = self._any_table()
        text = " ".join(text_of(label, table) for label in prefix[-20:])
        begin = "... " if len(prefix) > 20 else ""
        said = f"The longest beginning that both accept is: {begin}{text}." if prefix else (
            "There is no beginning that both accept."
        )  # fmt: skip
        if self.only_a or self.only_b:
            return said
        return (
            f"{said} After it {self.a.name} offers {self._offers(a_next)} and {self.b.name} "
            f"{self._offers(b_next)}."
        )

    def _offers(self, labels: set[int]) -> str:
        said = self._list(labels - {-1}, self._any_table())
        return ", ".join([said] * bool(said) + ["the end"] * (-1 in labels)) or "nothing"


def _is_sorted(side: Side) -> bool:
    """Whether the labels to be matched ascend among the arcs of each state."""
    inner = side.labels >= 0
    labels, states = side.labels[inner], side.fsa.src_states()[inner]
    return bool(((labels[1:] >= labels[:-1]) | (states[1:] != states[:-1])).all())


def _unknown(side: Side) -> set[int]:
    """The labels in use that their own table does not have."""
    if side.table is None:
        return set()
    return {label for label in side.used() if label not in side.table}


def _contradict(a: SymbolTable | None, b: SymbolTable | None) -> bool:
    """Whether tables mean different things: most ids that both have are of different symbols."""
    if a is None or b is None:
        return True
    shared = [number for number in a.ids if number > 0 and number in b]
    return sum(a[number] != b[number] for number in shared) * 2 > len(shared) or not shared
