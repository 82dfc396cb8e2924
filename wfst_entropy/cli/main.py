"""Entry point of the command `wfst-entropy`."""

from __future__ import annotations

import typer

from wfst_entropy.cli.env import env
from wfst_entropy.cli.score import score

app = typer.Typer(
    name="wfst-entropy",
    help="Speech recognition with weighted finite-state graphs and the entropy of alignments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(env)
app.command()(score)
