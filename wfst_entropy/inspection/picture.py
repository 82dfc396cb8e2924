"""A graph as circles, curves and texts with places, for every kind of file it is drawn into."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from wfst_entropy.inspection.layout import Box, Layout, Route, layout
from wfst_entropy.inspection.sketch import Sketch

FONT_SIZE = 12.0
LINE_HEIGHT = 15.0
MARGIN = 14.0
MAX_LINES = 6
"""Texts on one line between two states; more are counted."""

Point = tuple[float, float]
Command = tuple[str, tuple[Point, ...]]
"""One step of a curve as in SVG: ("M", (point,)), ("L", (point,)) or ("C", (p, q, end))."""


@dataclass(frozen=True)
class Text:
    """A line of text; `arc` is the number of the arc it stands on, -1 for none."""

    text: str
    x: float
    y: float  # of the base line
    anchor: str  # "middle" or "start"
    strength: float
    arc: int = -1


@dataclass(frozen=True)
class State:
    """The circle of a state."""

    number: int
    x: float
    y: float
    radius: float
    is_start: bool
    is_final: bool
    is_cut: bool  # not all of its arcs are in the picture


@dataclass(frozen=True)
class Edge:
    """The curve of all arcs from one state to another."""

    source: int
    destination: int
    arcs: tuple[int, ...]
    curve: tuple[Command, ...]
    arrow: tuple[Point, Point, Point]
    texts: tuple[Text, ...]
    strength: float  # 0 to 1: how dark and wide
    is_final: bool


@dataclass(frozen=True)
class Picture:
    """All of it; y grows downwards, the unit is a pixel."""

    width: float
    height: float
    title: str
    states: tuple[State, ...]
    edges: tuple[Edge, ...]
    is_weighted: bool  # whether strengths mean something


def make_picture(part: Sketch) -> Picture:
    """Finds places for all states and arcs of a sketch that has states."""
    groups: dict[tuple[int, int], list[int]] = {}
    for arc, (source, destination, _) in enumerate(part.arcs):
        groups.setdefault((source, destination), []).append(arc)
    strengths = part.strengths
    if strengths is not None:  # the strongest first, for they may not all be shown
        for arcs in groups.values():
            arcs.sort(key=lambda arc: -strengths[arc])
    lines = {pair: _lines(arcs, part.texts) for pair, arcs in groups.items()}
    names = [str(state) for state in part.states]
    radii = [max(13.0, text_width(name) / 2 + 4) for name in names]
    edges = [pair for pair in groups if pair[0] != pair[1]]
    placed = layout(
        len(names),
        edges,
        [_state_size(r, lines.get((s, s))) for s, r in enumerate(radii)],
        [_label_size(lines[pair]) for pair in edges],
        last=next((s for s, (_, is_final, _) in enumerate(part.ends) if is_final), None),
    )
    header = LINE_HEIGHT + 8 if part.title else 0.0
    for box in placed.boxes:
        box.x += MARGIN + 14  # room for the arrow into the start state
        box.y += MARGIN + header
    pen = _Pen(placed, radii, groups, lines, part)
    drawn = [pen.edge(route) for route in placed.routes]
    return Picture(
        max(placed.width + 2 * MARGIN + 14, text_width(part.title) + 2 * MARGIN),
        placed.height + 2 * MARGIN + header,
        part.title,
        tuple(
            State(number, box.x, box.y, radius, *ends)
            for number, box, radius, ends in zip(part.states, placed.boxes, radii, part.ends)
        ),
        tuple(drawn + [pen.loop(s) for s, t in groups if s == t]),
        strengths is not None,
    )


def text_width(text: str) -> float:
    """About how wide a text is; without knowing the font, on the large side.

    >>> text_width("ab") < text_width("日本")
    True
    """
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    narrow = sum(c in "iljtfrI.,:;'|!()[]/1 " for c in text)
    return FONT_SIZE * (0.6 * (len(text) - wide - narrow) + 0.4 * narrow + 1.05 * wide)


def _lines(arcs: Sequence[int], texts: Sequence[str]) -> list[tuple[str, int]]:
    """The lines of text of one edge, with their arcs; -1 for a line that counts the rest."""
    lines = [(texts[arc], arc) for arc in arcs if texts[arc]]
    if len(lines) > MAX_LINES:
        rest = len(lines) - MAX_LINES + 1
        lines = [*lines[: MAX_LINES - 1], (f"+ {rest} more", -1)]
    return lines


def _state_size(radius: float, loop: list[tuple[str, int]] | None) -> tuple[float, float, float]:
    if loop is None:
        return 2 * radius, radius, radius
    above = radius + _LOOP_HEIGHT + LINE_HEIGHT * len(loop)
    return max([2 * radius, *(text_width(text) for text, _ in loop)]), above, radius


def _label_size(lines: list[tuple[str, int]]) -> tuple[float, float, float]:
    if not lines:
        return 0.0, 3.0, 3.0
    return max(text_width(text) for text, _ in lines) + 6, LINE_HEIGHT * len(lines) + 2, 4.0


_LOOP_HEIGHT = 18.0
_ARROW = 8.0  # length
_OVERSHOOT = 16.0


class _Pen:
    """Draws edges of a layout."""

    def __init__(
        self,
        placed: Layout,
        radii: Sequence[float],
        groups: dict[tuple[int, int], list[int]],
        lines: dict[tuple[int, int], list[tuple[str, int]]],
        part: Sketch,
    ) -> None:
        self.boxes, self.radii, self.groups, self.lines = placed.boxes, radii, groups, lines
        self.part, self.strengths = part, part.strengths

    def edge(self, route: Route) -> Edge:
        """The curve through the boxes of a route, level where its text stands."""
        source, destination = self.boxes[route.source], self.boxes[route.destination]
        label = self.boxes[route.label]
        if route.turns:
            return self._turning(route, source, destination, label)
        way = 1.0 if source.x < destination.x else -1.0
        stops = [self.boxes[box] for box in route.boxes]
        start, _ = self._rim(source, self.radii[route.source], stops[0], way)
        end, angle = self._rim(destination, self.radii[route.destination], stops[-1], -way)
        tip = end
        end = (tip[0] + _ARROW * math.cos(angle), tip[1] + _ARROW * math.sin(angle))
        curve: list[Command] = [("M", (start,))]
        at = start
        for box in stops:
            into = (box.x - way * box.width / 2, box.y)
            curve.append(_level_curve(at, into))
            at = (box.x + way * box.width / 2, box.y)
            if box.width:
                curve.append(("L", (at,)))
        reach = 0.5 * abs(end[0] - at[0])
        near = (end[0] + reach * math.cos(angle), end[1] + reach * math.sin(angle))
        curve.append(("C", ((at[0] + way * reach, at[1]), near, end)))
        pair = (route.source, route.destination)
        bottom = label.y - 4.0
        return self._finish(pair, curve, tip, angle, label.x, bottom, "middle")

    def _turning(self, route: Route, source: Box, destination: Box, label: Box) -> Edge:
        """A curve that leaves to the right and comes back, its text beside the turn."""
        far = label.x - label.width / 2 + label.indent
        # Near the level of a state the line would have a corner: it turns beside its text or, where
        # that stands between the two states, about midway.
        upper, lower = sorted((source.y, destination.y))
        inset = 0.4 * (lower - upper) if upper < label.y < lower else 0.0
        bend = (far, min(max(label.y, upper + inset), lower - inset) if inset else label.y)
        start, _ = self._rim(source, self.radii[route.source], label, 1.0)
        tip, angle = self._rim(destination, self.radii[route.destination], label, 1.0)
        end = (tip[0] + _ARROW * math.cos(angle), tip[1] + _ARROW * math.sin(angle))
        reach = 0.6 * (far - end[0])
        near = (end[0] + reach * math.cos(angle), end[1] + reach * math.sin(angle))
        # Where both states are on one side of the turn, the line goes a little further before it
        # comes back, for else it would have a corner here, too.
        beyond = (end[1] + bend[1]) / 2
        if (end[1] - bend[1]) * (bend[1] - start[1]) <= 0:
            beyond = bend[1] + math.copysign(_OVERSHOOT, bend[1] - start[1])
        curve: list[Command] = [
            ("M", (start,)),
            ("C", ((far - 8, start[1]), (far, (start[1] + bend[1]) / 2), bend)),
            ("C", ((far, beyond), near, end)),
        ]
        pair = (route.source, route.destination)
        bottom = label.y + LINE_HEIGHT * len(self.lines[pair]) / 2 - 4.0
        return self._finish(pair, curve, tip, angle, far + 5, bottom, "start")

    def loop(self, state: int) -> Edge:
        """A loop above a state, with its text on top."""
        box, radius = self.boxes[state], self.radii[state]
        out, back = math.radians(-122), math.radians(-58)
        start = (box.x + radius * math.cos(out), box.y + radius * math.sin(out))
        tip = (box.x + radius * math.cos(back), box.y + radius * math.sin(back))
        end = (tip[0] + _ARROW * math.cos(back), tip[1] + _ARROW * math.sin(back))
        top = box.y - radius - _LOOP_HEIGHT
        curve: list[Command] = [
            ("M", (start,)),
            ("C", ((box.x - 16, top - 1), (box.x + 16, top - 1), end)),
        ]
        return self._finish((state, state), curve, tip, back, box.x, top + 1, "middle")

    def _finish(
        self,
        pair: tuple[int, int],
        curve: list[Command],
        tip: Point,
        angle: float,
        x: float,
        bottom: float,
        anchor: str,
    ) -> Edge:
        lines, arcs = self.lines[pair], self.groups[pair]
        top = bottom - LINE_HEIGHT * (len(lines) - 1)
        texts = [
            Text(text, x, top + LINE_HEIGHT * i, anchor, self._strength(arc), self._number(arc))
            for i, (text, arc) in enumerate(lines)
        ]
        strength = min(1.0, sum(map(self._strength, arcs)))
        head = _arrow_head(tip, angle, 3.2 + 1.6 * (strength if self.strengths else 0))
        return Edge(
            self.part.states[pair[0]],
            self.part.states[pair[1]],
            tuple(map(self._number, arcs)),
            tuple(curve),
            head,
            tuple(texts),
            strength,
            all(self.part.arcs[arc][2] == -1 for arc in arcs),
        )

    def _number(self, arc: int) -> int:
        return self.part.numbers[arc] if arc >= 0 else -1

    def _strength(self, arc: int) -> float:
        return 0.6 if self.strengths is None or arc < 0 else self.strengths[arc]

    @staticmethod
    def _rim(box: Box, radius: float, other: Box, way: float) -> tuple[Point, float]:
        """Where a line towards `other` meets the circle, and the angle at which it leaves."""
        edge = other.x - way * other.width / 2
        slope = math.atan2(other.y - box.y, max(abs(edge - box.x), 1.0))
        slope = max(-0.9, min(0.9, 0.7 * slope))
        angle = slope if way > 0 else math.pi - slope
        return (box.x + radius * math.cos(angle), box.y + radius * math.sin(angle)), angle


def _level_curve(a: Point, b: Point) -> Command:
    """From a to b, level at b and nearly so at a."""
    middle = (a[0] + b[0]) / 2
    return "C", ((middle, a[1]), (middle, b[1]), b)


def _arrow_head(tip: Point, angle: float, half_width: float) -> tuple[Point, Point, Point]:
    """A triangle that points to `tip`; `angle` is the direction from which it comes."""
    x, y = tip[0] + _ARROW * math.cos(angle), tip[1] + _ARROW * math.sin(angle)
    dx, dy = -half_width * math.sin(angle), half_width * math.cos(angle)
    return tip, (x + dx, y + dy), (x - dx, y - dy)
