"""Pictures of graphs: SVG, PDF, PNG, Graphviz text and interactive pages, from one call."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.algorithms import get_arc_post
from wfst_entropy.fsa import (
    EmptyGraphError,
    Fsa,
    FsaError,
    FsaTypeError,
    FsaValueError,
    SymbolTable,
)
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.inspection.dot import to_dot
from wfst_entropy.inspection.picture import Picture, make_picture
from wfst_entropy.inspection.sketch import Sketch, near, places_of, sketch
from wfst_entropy.inspection.svg import to_svg
from wfst_entropy.inspection.symbols import tables_of

MAX_STATES = 300
MAX_ARCS = 2000
_COLORS = ("auto", "posterior", "score", "none")


class Drawing:
    """A graph that is ready to be drawn; made by `draw`.  Notebooks show it as a picture.

    >>> drawing = draw(Fsa.from_str("0 1 5 0\\n1 2 -1 0\\n2"))
    >>> drawing.svg()[:4], drawing.dot()[:7]
    ('<svg', 'digraph')
    """

    def __init__(self, part: Sketch) -> None:
        self._part = part

    def picture(self) -> Picture:
        """Circles, curves and texts with their places."""
        return make_picture(self._part)

    def svg(self) -> str:
        """The picture as an SVG document."""
        return to_svg(self.picture())

    def dot(self) -> str:
        """The graph for the program `dot`, which then chooses the places."""
        return to_dot(self._part)

    def html(self) -> str:
        """A page to pan, zoom and search, with nothing outside it; works without a network."""
        from wfst_entropy.inspection.page import to_page

        untitled = make_picture(replace(self._part, title=""))  # the page has a bar for the title
        return to_page(self._part, to_svg(untitled))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file of the kind that its name ends in: .svg, .png, .pdf, .dot or .html.

        Raises:
          FsaValueError: the name ends in something else.
          FsaRuntimeError: .png and .pdf need matplotlib, which is not installed.
          FileWriteError: the disk refuses.
        """
        path = Path(path)
        kind = path.suffix.lower()
        text = {".svg": self.svg, ".dot": self.dot, ".gv": self.dot, ".html": self.html}.get(kind)
        if text is not None:
            data = text().encode()
        elif kind in (".png", ".pdf"):
            from wfst_entropy.inspection.raster import render

            data = render(self.picture(), kind[1:])
        else:
            raise FsaValueError(
                f"path: {str(path)!r} must end in .svg, .png, .pdf, .dot or .html, which says what "
                "to draw."
            )
        with replacing(path) as file:
            file.write(data)

    def _repr_svg_(self) -> str:
        return self.svg()


def _repr_svg_(fsa: Fsa) -> str | None:
    """What a notebook shows of an Fsa; None, and so its repr, where there is no one picture."""
    try:
        return draw(fsa).svg()
    except (FsaTypeError, FsaValueError, EmptyGraphError):  # a vector, too large, or empty
        return None


# `Fsa` itself knows nothing of pictures; importing this module teaches it.
Fsa._repr_svg_ = _repr_svg_  # type: ignore[attr-defined]


def draw(
    fsa: Fsa,
    path: str | os.PathLike[str] | None = None,
    *,
    labels_sym: SymbolTable | None = None,
    aux_labels_sym: SymbolTable | None = None,
    color: str = "auto",
    around: int | str | None = None,
    radius: int = 2,
    title: str = "",
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Drawing:
    """Draws one FSA from left to right, without needing Graphviz.

    Arcs between the same two states share one line, with their texts above it: `label`,
    `label:output`, and `/score` where scores are not all zero.  Arcs into the final state, whose
    label is -1, are dashed.

    Args:
      fsa: one FSA; of a vector, draw `fsa[i]`.
      path: a file to write: .svg, .png, .pdf, .dot or .html.
      labels_sym: symbols of the labels; by default the attribute of that name.
      aux_labels_sym: symbols of `aux_labels`; by default the attribute of that name.
      color: what makes an arc dark and wide: "posterior" (its share of the total of all paths),
        "score", "none", or "auto": the posterior where scores differ and the total is finite.
      around: draw only what is near a state (its number), or near the arcs with a label (its
        symbol).
      radius: how many arcs away from there.
      title: above the picture.
      max_states: refuse to draw more.
      max_arcs: refuse to draw more.

    Returns:
      A `Drawing` with `.svg()`, `.dot()`, `.html()` and `.save(path)`.

    Raises:
      FsaTypeError: `fsa` is a vector.
      FsaValueError: it is too large to be readable (the message says what to draw instead), or
        `around` is not in it.
      CyclicFsaError: `color="posterior"` of a graph whose total is not finite.

    >>> fsa = Fsa.from_str("0 1 1 -0.1\\n0 1 2 -2\\n1 2 -1 0\\n2")
    >>> "a/-0.1" in draw(fsa, labels_sym=SymbolTable([("a", 1), ("b", 2)])).svg()
    True
    """
    if fsa.num_axes != 2:
        raise FsaTypeError(f"fsa: a vector of {fsa.num_fsas} FSAs; draw one of them: draw(fsa[i]).")
    if color not in _COLORS:
        raise FsaValueError(f"color: must be one of {', '.join(_COLORS)}, got {color!r}.")
    fsa = fsa.detach().to("cpu")
    tables = tables_of(fsa, labels_sym, aux_labels_sym)
    posteriors = _posteriors(fsa, required=color == "posterior")
    strengths = _strengths(fsa, posteriors, color)
    states = torch.arange(fsa.num_states)
    if around is not None:
        states = near(fsa, places_of(fsa, around, tables), radius)
    part = sketch(fsa, states, tables, posteriors, strengths, title)
    _check_size(part, fsa, around, max_states, max_arcs)
    drawing = Drawing(part)
    if path is not None:
        drawing.save(path)
    return drawing


def _posteriors(fsa: Fsa, required: bool) -> Tensor | None:
    """The share of each arc in the total, 0 to 1; None where the total is not finite."""
    try:
        posteriors = get_arc_post(fsa).exp()
    except FsaError:  # cycles without an end to their sum, scores that are no numbers
        if required:
            raise
        return None
    return posteriors.nan_to_num(0.0).clamp(0.0, 1.0)


def _strengths(fsa: Fsa, posteriors: Tensor | None, color: str) -> Tensor | None:
    differ = bool((fsa.scores != fsa.scores[:1]).any())
    if color == "posterior" or (color == "auto" and differ):
        return posteriors
    if color == "score" and differ:
        finite = fsa.scores[fsa.scores.isfinite()]
        low, high = finite.min(), finite.max()
        return ((fsa.scores - low) / (high - low).clamp(min=1e-30)).nan_to_num(0.0).clamp(0.0, 1.0)
    return None


def _check_size(
    part: Sketch, fsa: Fsa, around: int | str | None, max_states: int, max_arcs: int
) -> None:
    if not part.states:
        raise EmptyGraphError("fsa: it has no states, so there is nothing to draw.")
    if len(part.states) <= max_states and len(part.arcs) <= max_arcs:
        return
    whole = f"{fsa.num_states} states and {fsa.num_arcs} arcs"
    if around is None:
        what, step = whole, "draw a part: around=a state or a symbol, radius=1"
    else:
        what = f"{len(part.states)} states and {len(part.arcs)} arcs near {around!r}"
        step = "take a smaller radius"
    raise FsaValueError(
        f"fsa: {what} are more than anybody can read (max_states={max_states}, "
        f"max_arcs={max_arcs}); {step}, or raise the limits."
    )
