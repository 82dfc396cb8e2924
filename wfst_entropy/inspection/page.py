"""A page for a browser to pan, zoom and search a picture, with nothing loaded from elsewhere."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files

from wfst_entropy.inspection.sketch import Sketch


def to_page(part: Sketch, svg: str) -> str:
    """The HTML text: the template `page.html` with the picture and the figures of its arcs.

    Args:
      part: what the picture shows.
      svg: the picture.

    >>> part = Sketch([0], [(True, False, False)], [], [], [], [], None, None)
    >>> "<html" in to_page(part, "<svg/>")
    True
    """
    arcs = [
        {
            "number": part.numbers[i],
            "source": part.states[source],
            "destination": part.states[destination],
            "label": label,
            "text": part.texts[i],
            "score": _json_number(part.scores[i]),
            "posterior": None if part.posteriors is None else part.posteriors[i],
        }
        for i, (source, destination, label) in enumerate(part.arcs)
    ]
    data = {
        "arcs": arcs,
        "starts": [s for s, (is_start, _, _) in zip(part.states, part.ends) if is_start],
        "finals": [s for s, (_, is_final, _) in zip(part.states, part.ends) if is_final],
    }
    template = files("wfst_entropy.inspection").joinpath("page.html").read_text("utf-8")
    # In a script, only "</" can end it: it is written so that it does not.
    written = json.dumps(data, ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\!--")
    for mark, text in (("TITLE", escape(part.title or "Graph")), ("DATA", written), ("SVG", svg)):
        template = template.replace(f"<!--{mark}-->", text)
    return template


def _json_number(value: float) -> float | str:
    """JSON has no infinities and no NaN."""
    return value if value - value == 0 else str(value)
