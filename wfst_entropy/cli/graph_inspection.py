"""`wfst-entropy info`, `draw`, `paths`, `check`, `diff`, `explain`: looking into graphs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import TextForm, read_graph, read_symbols, reported
from wfst_entropy.cli.graph_operations import semiring_of
from wfst_entropy.cli.graph_options import (
    Acceptor,
    Graph,
    Graphs,
    ISymbols,
    Left,
    OpenFst,
    OSymbols,
    Right,
)

if TYPE_CHECKING:
    from wfst_entropy.inspection import FsaInfo

Number = Annotated[
    int | None, typer.Option("--fsa", help="Which FSA of a vector; by default the only one.")
]


def info(graphs: Graphs, openfst: OpenFst = False, acceptor: Acceptor = None) -> None:
    """States, arcs, labels, cycles, degrees, scores, memory; of several graphs, a row for each."""
    with reported("info"):
        from wfst_entropy.inspection import info as info_of

        # One after the other, for graphs to decode with are large.
        found = {name: info_of(read_graph(name, TextForm(openfst, acceptor))) for name in graphs}
    if len(graphs) > 1:
        _print_table("graph", found)
        return
    (one,) = found.values()
    typer.echo(str(one))
    if one.fsas:
        _print_table("FSA", {str(number): fsa for number, fsa in enumerate(one.fsas)})


def _print_table(kind: str, rows: dict[str, FsaInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "states", "arcs", "labels", "epsilons", "cyclic states", "connected", "MB")
    table.columns[0].header, table.columns[0].overflow = kind, "fold"
    for name, one in rows.items():
        figures = (one.num_states, one.num_arcs, one.num_labels, one.num_epsilons)
        cells = [f"{figure:,}" for figure in (*figures, one.num_cyclic_states)]
        table.add_row(name, *cells, "yes" if one.connected else "no", f"{one.num_bytes / 1e6:.1f}")
    # In a log, there is no terminal that folds the names.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def draw(
    graph: Graph,
    out: Annotated[Path, typer.Argument(metavar="OUT", help=".svg, .png, .pdf, .dot or .html")],
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    color: Annotated[str, typer.Option(help="auto, posterior, score or none.")] = "auto",
    around: Annotated[
        str | None, typer.Option(help="Only near this state (a number) or symbol.")
    ] = None,
    radius: Annotated[int, typer.Option(help="With --around: how many arcs away.")] = 2,
    title: Annotated[str, typer.Option(help="Above the picture.")] = "",
    number: Number = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Draw a graph; .html is a page to pan, zoom and search, which needs no network."""
    with reported("draw"):
        from wfst_entropy.inspection import draw as draw_it

        fsa = read_graph(graph, TextForm(openfst, acceptor))
        place = int(around) if around is not None and around.isdecimal() else around
        draw_it(
            fsa if number is None else fsa[number],
            out,
            labels_sym=read_symbols(isymbols),
            aux_labels_sym=read_symbols(osymbols),
            color=color,
            around=place,
            radius=radius,
            title=title,
        )
    typer.echo(f"Wrote {out}")


def paths(
    graph: Graph,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 10,
    unique: Annotated[bool, typer.Option(help="Count every string once.")] = False,
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    number: Number = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Print the best paths with their scores and posteriors."""
    with reported("paths"):
        from wfst_entropy.inspection import paths as best

        fsa = read_graph(graph, TextForm(openfst, acceptor))
        found = best(
            fsa if number is None else fsa[number],
            n,
            unique=unique,
            labels_sym=read_symbols(isymbols),
            aux_labels_sym=read_symbols(osymbols),
        )
    typer.echo(str(found))


def check(
    graphs: Graphs,
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Print what is wrong or unusual; status 1 if there is an error among it."""
    failed = False
    for name in graphs:
        with reported("check"):
            from wfst_entropy.inspection import Severity
            from wfst_entropy.inspection import check as findings_of

            fsa = read_graph(name, TextForm(openfst, acceptor))
            findings = findings_of(fsa, read_symbols(isymbols), read_symbols(osymbols))
        where = f"{name}: " if len(graphs) > 1 else ""
        for finding in findings:
            typer.echo(f"{where}{finding}")
        if not findings:
            typer.echo(f"{where}nothing to complain about")
        failed |= bool(findings) and findings[0].severity is Severity.ERROR
    if failed:
        raise typer.Exit(1)


def diff(
    a: Left,
    b: Right,
    semiring: Annotated[
        str, typer.Option(help="log: sums over paths; tropical: best paths.")
    ] = "tropical",
    side: Annotated[
        str | None, typer.Option(help="input, output or pairs; by default what both have.")
    ] = None,
    delta: Annotated[float, typer.Option(help="The largest difference that is none.")] = 1e-4,
    max_states: Annotated[int, typer.Option(help="Give up beyond.")] = 1_000_000,
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Print the first string that two graphs weigh differently; status 1 if there is one."""
    with reported("diff"):
        from wfst_entropy.inspection import diff as difference_of

        left, right = (read_graph(name, TextForm(openfst, acceptor)) for name in (a, b))
        found = difference_of(
            left,
            right,
            semiring_of(semiring),
            side=side,  # type: ignore[arg-type]
            delta=delta,
            max_states=max_states,
            labels_sym=read_symbols(isymbols),
            aux_labels_sym=read_symbols(osymbols),
            names=(a, b),
        )
    typer.echo("equal: every string weighs the same" if found is None else str(found))
    if found is not None:
        raise typer.Exit(1)


def explain(
    a: Left,
    b: Right,
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    matched: Annotated[
        Path | None, typer.Option(help="Symbol table of A's outputs and B's inputs.")
    ] = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Say why the composition of A and B is empty; status 1 if something is wrong."""
    with reported("explain"):
        from wfst_entropy.inspection import explain as explain_pair

        left, right = (read_graph(name, TextForm(openfst, acceptor)) for name in (a, b))
        first, inner, last = map(read_symbols, (isymbols, matched, osymbols))
        is_transducer = "aux_labels" in left.attributes
        for fsa, name, table in (
            (left, "labels_sym", first if is_transducer else inner),
            (left, "aux_labels_sym", inner),
            (right, "labels_sym", inner),
            (right, "aux_labels_sym", last),
        ):
            if table is not None:
                fsa.set_attribute_(name, table)
        found = explain_pair(left, right, names=(a, b))
    typer.echo(str(found))
    if found.cause is not None:
        raise typer.Exit(1)
