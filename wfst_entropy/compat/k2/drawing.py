"""k2's pictures of FSAs, which here need neither the package graphviz nor its programs."""

from __future__ import annotations

import os
from pathlib import Path

import wfst_entropy.inspection as inspection
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError


class Digraph:
    """A picture of an FSA, with what callers of k2 use of `graphviz.Digraph`.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> k2.to_dot(k2.linear_fsa([5])).source[:7]
      'digraph'
    """

    def __init__(self, drawing: inspection.Drawing) -> None:
        self._drawing = drawing

    @property
    def source(self) -> str:
        """The graph in the language of the program `dot`."""
        return self._drawing.dot()

    def render(
        self,
        filename: str | os.PathLike[str],
        directory: str | os.PathLike[str] | None = None,
        view: bool = False,
        cleanup: bool = False,
        format: str = "pdf",
    ) -> str:
        """Draws into the file `filename.format`, and beside it the source, as graphviz does.

        Args:
          filename: without its kind.
          directory: where; by default the current one.
          view: not possible here; open the file that is returned.
          cleanup: do not leave the source, `filename`, behind.
          format: svg, png, pdf, dot or html.

        Returns:
          The name of the picture.
        """
        if view:
            raise FsaTypeError("render: view=True is not possible; open the file it returns.")
        base = Path(directory or ".") / filename
        base.parent.mkdir(parents=True, exist_ok=True)
        if not cleanup:
            base.write_text(self.source)
        picture = base.with_name(f"{base.name}.{format}")
        self._drawing.save(picture)
        return str(picture)

    def save(self, filename: str | os.PathLike[str]) -> str:
        """Writes the source, or a picture if the name ends in .svg, .png, .pdf or .html."""
        path = Path(filename)
        if path.suffix in (".svg", ".png", ".pdf", ".html"):
            self._drawing.save(path)
        else:
            path.write_text(self.source)
        return str(path)

    def _repr_svg_(self) -> str:
        return self._drawing.svg()

    def __str__(self) -> str:
        return self.source


def to_dot(fsa: Fsa, title: str | None = None) -> Digraph:
    """A picture of one FSA, with the symbols in `labels_sym` and `aux_labels_sym` if it has them.

    Raises:
      FsaTypeError: this is a vector.
      FsaValueError: it is too large to be readable.
    """
    if fsa.arcs.num_axes() != 2:
        raise FsaTypeError("to_dot: this is a vector of FSAs; draw one of them: fsa[i].")
    return Digraph(inspection.draw(fsa.core, title=title or ""))


def draw(fsa: Fsa, filename: str | os.PathLike[str] | None, title: str | None = None) -> Digraph:
    """Draws one FSA into a file: .svg, .png, .pdf, .dot or .html; into none if it is None.

    Raises:
      FsaValueError: the name ends in something else.
    """
    picture = to_dot(fsa, title)
    if filename is not None:
        picture._drawing.save(Path(filename))
    return picture
