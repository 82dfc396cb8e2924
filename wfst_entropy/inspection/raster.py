"""A picture as PNG or PDF, through matplotlib."""

from __future__ import annotations

import io

from wfst_entropy.fsa import FsaRuntimeError
from wfst_entropy.inspection.picture import FONT_SIZE, Picture
from wfst_entropy.inspection.svg import edge_color, edge_width, text_color

_INCH = 72.0  # pixels of the picture


def render(picture: Picture, kind: str) -> bytes:
    """The contents of a file.

    Args:
      picture: what to draw.
      kind: "png" or "pdf".

    Raises:
      FsaRuntimeError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FsaRuntimeError(
            f"a .{kind} file is drawn by matplotlib, which is not installed: pip install "
            "matplotlib; .svg, .dot and .html need nothing."
        ) from error
    figure = Figure(figsize=(picture.width / _INCH, picture.height / _INCH))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, picture.width)
    axes.set_ylim(picture.height, 0)
    axes.set_axis_off()
    _draw_edges(axes, picture)
    _draw_states(axes, picture)
    _draw_texts(axes, picture)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=2 * _INCH, facecolor="white")
    return file.getvalue()


def _draw_edges(axes, picture: Picture) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    codes = {"M": Path.MOVETO, "L": Path.LINETO, "C": Path.CURVE4}
    for edge in sorted(picture.edges, key=lambda edge: edge.strength):
        color = edge_color(edge.strength, picture.is_weighted)
        path = Path(
            [point for _, points in edge.curve for point in points],
            [codes[name] for name, points in edge.curve for _ in points],
        )
        width = edge_width(edge.strength, picture.is_weighted)
        style = (0, (4, 3)) if edge.is_final else "solid"
        axes.add_patch(PathPatch(path, fill=False, edgecolor=color, lw=width, linestyle=style))
        axes.add_patch(Polygon(edge.arrow, closed=True, facecolor=color, edgecolor="none"))


def _draw_states(axes, picture: Picture) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.patches import Circle, Polygon

    ink = "#2b3a52"
    for state in picture.states:
        fill = "#e3f1e5" if state.is_final else "#e6eefb" if state.is_start else "#f6f8fb"
        style = (0, (3, 2)) if state.is_cut else "solid"
        width = 1.8 if state.is_start else 1.2
        for radius in (state.radius, state.radius - 3) if state.is_final else (state.radius,):
            axes.add_patch(
                Circle((state.x, state.y), radius, fc=fill, ec=ink, lw=width, linestyle=style)
            )
        if state.is_start:
            left = state.x - state.radius
            axes.plot([left - 18, left - 7], [state.y, state.y], color=ink, lw=1.6)
            head = [(left, state.y), (left - 8, state.y - 4), (left - 8, state.y + 4)]
            axes.add_patch(Polygon(head, closed=True, facecolor=ink))
        axes.text(
            state.x, state.y, str(state.number), ha="center", va="center_baseline",
            fontsize=FONT_SIZE * 0.9, color="#1f2733",
        )  # fmt: skip


def _draw_texts(axes, picture: Picture) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=3, foreground="white")]
    for edge in picture.edges:
        for text in edge.texts:
            axes.text(
                text.x, text.y, text.text.replace("$", r"\$"), va="baseline",
                ha="center" if text.anchor == "middle" else "left", fontsize=FONT_SIZE * 0.9,
                color=text_color(text.strength, picture.is_weighted), path_effects=rim,
            )  # fmt: skip
    if picture.title:
        axes.text(14, 20, picture.title, weight="bold", fontsize=FONT_SIZE, color="#1f2733")
