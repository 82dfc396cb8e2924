"""A picture as SVG text."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from wfst_entropy.inspection.picture import FONT_SIZE, Command, Edge, Picture, Point, State

_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
_FAINT, _STRONG = (178, 190, 207), (18, 78, 166)
_PLAIN = (92, 106, 128)


def edge_color(strength: float, is_weighted: bool) -> str:
    """The colour of a line, `#rrggbb`.

    >>> edge_color(0.0, True), edge_color(1.0, True)
    ('#b2becf', '#124ea6')
    """
    if not is_weighted:
        return _hex(_PLAIN)
    mix = strength**0.6
    return _hex(tuple(round(a + (b - a) * mix) for a, b in zip(_FAINT, _STRONG)))


def text_color(strength: float, is_weighted: bool) -> str:
    """The colour of a text on a line, `#rrggbb`; never too faint to read."""
    if not is_weighted:
        return "#1f2733"
    mix = strength**0.5
    return _hex(tuple(round(a + (b - a) * mix) for a, b in zip((128, 138, 152), (16, 24, 38))))


def edge_width(strength: float, is_weighted: bool) -> float:
    """The width of a line in pixels."""
    return 1.0 + 2.6 * strength if is_weighted else 1.3


def to_svg(picture: Picture) -> str:
    """A complete SVG document without references to anything outside it.

    >>> to_svg(Picture(20, 10, "", (), (), False)).startswith("<svg ")
    True
    """
    width, height = _number(picture.width), _number(picture.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family={quoteattr(_FONT)} '
        f'font-size="{FONT_SIZE:g}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    if picture.title:
        parts.append(f"<title>{escape(picture.title)}</title>")
        parts.append(
            f'<text x="14" y="20" font-weight="bold" fill="#1f2733">{escape(picture.title)}</text>'
        )
    # Strong lines are drawn last, over faint ones; texts over all lines.
    edges = sorted(picture.edges, key=lambda edge: edge.strength)
    parts += [_edge(edge, picture.is_weighted) for edge in edges]
    parts += [_state(state) for state in picture.states]
    parts += [_texts(edge, picture.is_weighted) for edge in edges]
    return "\n".join([*(part for part in parts if part), "</svg>\n"])


def _edge(edge: Edge, is_weighted: bool) -> str:
    color = edge_color(edge.strength, is_weighted)
    dashes = ' stroke-dasharray="4 3"' if edge.is_final else ""
    arcs = " ".join(map(str, edge.arcs))
    return (
        f'<g class="edge" data-source="{edge.source}" data-destination="{edge.destination}" '
        f'data-arcs="{arcs}"><path d="{_path(edge.curve)}" fill="none" stroke="{color}" '
        f'stroke-width="{edge_width(edge.strength, is_weighted):.2g}"{dashes}/>'
        f'<polygon points="{_points(edge.arrow)}" fill="{color}"/></g>'
    )


def _texts(edge: Edge, is_weighted: bool) -> str:
    # The white rim keeps a text readable where a line passes behind it.
    return "".join(
        f'<text class="label" data-arc="{text.arc}" x="{_number(text.x)}" y="{_number(text.y)}" '
        f'text-anchor="{text.anchor}" fill="{text_color(text.strength, is_weighted)}" '
        f'stroke="#ffffff" stroke-width="3" paint-order="stroke">{escape(text.text)}</text>'
        for text in edge.texts
    )


def _state(state: State) -> str:
    x, y, radius = _number(state.x), _number(state.y), state.radius
    fill = "#e3f1e5" if state.is_final else "#e6eefb" if state.is_start else "#f6f8fb"
    dashes = ' stroke-dasharray="3 2"' if state.is_cut else ""
    circle = f'<circle cx="{x}" cy="{y}" fill="{fill}" stroke="#2b3a52"{dashes} stroke-width='
    parts = [f'<g class="state" data-state="{state.number}">']
    if state.is_start:
        left = state.x - radius
        parts.append(
            f'<path d="M{_number(left - 18)} {y}L{_number(left - 7)} {y}" stroke="#2b3a52" '
            f'stroke-width="1.6"/><polygon points="{_number(left)},{y} {_number(left - 8)},'
            f'{_number(state.y - 4)} {_number(left - 8)},{_number(state.y + 4)}" fill="#2b3a52"/>'
        )
    parts.append(f'{circle}"{1.8 if state.is_start else 1.2}" r="{radius:.4g}"/>')
    if state.is_final:
        parts.append(f'{circle}"1.2" r="{radius - 3:.4g}"/>')
    parts.append(
        f'<text x="{x}" y="{_number(state.y + 4)}" text-anchor="middle" fill="#1f2733">'
        f"{state.number}</text></g>"
    )
    return "".join(parts)


def _path(curve: tuple[Command, ...]) -> str:
    return "".join(
        name + " ".join(f"{_number(x)} {_number(y)}" for x, y in points) for name, points in curve
    )


def _points(points: tuple[Point, ...]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _hex(color: tuple[int, ...]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
