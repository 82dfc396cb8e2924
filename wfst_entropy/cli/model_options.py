"""Options that the verbs share which recognise speech: which model, which phrases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = "Model"
SEARCH = "Search"
OUTPUT = "What is written"

Epoch = Annotated[
    int, typer.Option(help="Its epoch-(this).pt; 0: the last.", rich_help_panel=MODEL)
]
Iteration = Annotated[
    int, typer.Option("--iter", help="Or checkpoint-(this).pt.", rich_help_panel=MODEL)
]
Avg = Annotated[int, typer.Option(help="Epochs to average.", rich_help_panel=MODEL)]
UseAveragedModel = Annotated[
    bool, typer.Option(help="Average over batches.", rich_help_panel=MODEL)
]
ContextFile = Annotated[
    Path | None,
    typer.Option(
        help="Phrases to favour: `phrase` or `phrase :boost` on a line.",
        rich_help_panel=SEARCH,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="All of it, a line each.", rich_help_panel=OUTPUT)
]
