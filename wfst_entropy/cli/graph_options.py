"""Arguments and options that the verbs on graphs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Graph = Annotated[str, typer.Argument(metavar="GRAPH", help="A graph file, or - for text input.")]
Graphs = Annotated[list[str], typer.Argument(metavar="GRAPH...", help="Graph files.")]
Left = Annotated[str, typer.Argument(metavar="A", help="The left graph file.")]
Right = Annotated[str, typer.Argument(metavar="B", help="The right graph file.")]
Output = Annotated[str, typer.Argument(metavar="OUT", help="The file to write; - for text output.")]
ISymbols = Annotated[
    Path | None, typer.Option("--isymbols", help="Symbol table of the (input) labels.")
]
OSymbols = Annotated[
    Path | None, typer.Option("--osymbols", help="Symbol table of the output labels.")
]
OpenFst = Annotated[
    bool, typer.Option("--openfst", help="Text that does not end in .fst.txt is OpenFst's too.")
]
Acceptor = Annotated[
    bool | None,
    typer.Option(
        "--acceptor/--transducer",
        help="Number of labels on a line of text; by default the first line tells.",
    ),
]
