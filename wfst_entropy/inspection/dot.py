"""A graph as text for Graphviz."""

from __future__ import annotations

from wfst_entropy.inspection.sketch import Sketch
from wfst_entropy.inspection.svg import edge_color, edge_width, text_color


def to_dot(part: Sketch) -> str:
    """The input of the program `dot`, which chooses places itself.

    >>> import torch
    >>> from wfst_entropy.fsa import Fsa
    >>> from wfst_entropy.inspection.sketch import sketch
    >>> fsa = Fsa.from_str("0 1 5 0\\n1 2 -1 0\\n2")
    >>> print(to_dot(sketch(fsa, torch.arange(3), (None, None))).strip())
    digraph {
      rankdir=LR; node [shape=circle, fontname="Helvetica"]; edge [fontname="Helvetica"];
      0 [style="bold"];
      1 [];
      2 [shape=doublecircle];
      0 -> 1 [label="5"];
      1 -> 2 [label="", style=dashed];
    }
    """
    lines = [
        "digraph {",
        '  rankdir=LR; node [shape=circle, fontname="Helvetica"]; edge [fontname="Helvetica"];',
    ]
    if part.title:
        lines.append(f"  label={_quoted(part.title)}; labelloc=t;")
    for state, (is_start, is_final, is_cut) in zip(part.states, part.ends):
        look = ["bold"] * is_start + ["dashed"] * is_cut
        shape = ["shape=doublecircle"] * is_final
        shape += [f'style="{",".join(look)}"'] * bool(look)
        lines.append(f"  {state} [{', '.join(shape)}];")
    for arc, (source, destination, label) in enumerate(part.arcs):
        style = ", style=dashed" if label == -1 else ""
        if part.strengths is not None:
            strength = part.strengths[arc]
            style += (
                f', color="{edge_color(strength, True)}", fontcolor="{text_color(strength, True)}"'
                f", penwidth={edge_width(strength, True):.2g}"
            )
        ends = f"{part.states[source]} -> {part.states[destination]}"
        lines.append(f"  {ends} [label={_quoted(part.texts[arc])}{style}];")
    return "\n".join([*lines, "}\n"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
