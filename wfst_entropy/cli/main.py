"""Entry point of the command `wfst-entropy`."""

from __future__ import annotations

import typer

from wfst_entropy.cli import (
    graph_compile,
    graph_convert,
    graph_inspection,
    graph_topologies,
    lang,
    lattice,
    lm,
)
from wfst_entropy.cli.decode import decode
from wfst_entropy.cli.env import env
from wfst_entropy.cli.graph_files import ENDINGS
from wfst_entropy.cli.graph_operations import add_verbs
from wfst_entropy.cli.score import compare, score
from wfst_entropy.cli.transcribe import transcribe

app = typer.Typer(
    name="wfst-entropy",
    help="Speech recognition with weighted finite-state graphs and the entropy of alignments.",
    epilog=f"Graph files by the end of their names. {' '.join(ENDINGS.split())}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(env)
app.command()(score)
app.command()(compare)
for verb in (
    graph_inspection.info,
    graph_inspection.draw,
    graph_inspection.paths,
    graph_inspection.check,
    graph_inspection.diff,
    graph_inspection.explain,
):
    app.command(rich_help_panel="Looking into graphs")(verb)
app.command("compile", rich_help_panel="Formats")(graph_convert.compile_)
app.command("print", rich_help_panel="Formats")(graph_convert.print_)
app.command("convert", rich_help_panel="Formats")(graph_convert.convert)
add_verbs(app)
graph = typer.Typer(
    name="graph", help="Topologies and decoding graphs.", no_args_is_help=True, add_completion=False
)
graph.command()(graph_compile.ctc)
graph.command()(graph_compile.lg)
graph.command()(graph_compile.hlg)
graph.command()(graph_topologies.rnnt)
graph.command()(graph_topologies.levenshtein)
graph.command()(graph_topologies.context)
app.add_typer(graph)
app.add_typer(lang.app)
app.add_typer(lattice.app)
app.add_typer(lm.app)
app.command("decode", rich_help_panel="Decoding")(decode)
app.command("transcribe", rich_help_panel="Decoding")(transcribe)
app.command("frame-scores", rich_help_panel="Decoding")(graph_topologies.frame_scores)
