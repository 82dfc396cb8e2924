"""`wfst-entropy compile`, `print` and `convert`: graphs between text, binary and torch files."""

from __future__ import annotations

from wfst_entropy.cli.graph_files import (
    TextForm,
    read_graph,
    read_symbols,
    reported,
    write_graph,
)
from wfst_entropy.cli.graph_options import Acceptor, Graph, ISymbols, OpenFst, OSymbols, Output


def compile_(
    graph: Graph,
    out: Output,
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Read text, with symbols where tables are given, and write another format."""
    with reported("compile"):
        form = TextForm(openfst, acceptor, read_symbols(isymbols), read_symbols(osymbols))
        write_graph(read_graph(graph, form), out, TextForm(openfst, acceptor))


def print_(
    graph: Graph,
    out: Output = "-",
    isymbols: ISymbols = None,
    osymbols: OSymbols = None,
    openfst: OpenFst = False,
    acceptor: Acceptor = None,
) -> None:
    """Write text, with symbols where tables are given; of a vector, one graph after the other."""
    from wfst_entropy.fsa import Fsa

    with reported("print"):
        form = TextForm(openfst, acceptor, read_symbols(isymbols), read_symbols(osymbols))
        fsa = read_graph(graph, TextForm(openfst, acceptor))
        parts: list[Fsa] = [fsa] if fsa.num_axes == 2 else list(fsa)
        for part in parts:
            write_graph(part, out, form)


def convert(graph: Graph, out: Output, openfst: OpenFst = False, acceptor: Acceptor = None) -> None:
    """Write the same graph in another format."""
    with reported("convert"):
        # --openfst is about the input: the output's name tells its own format.
        write_graph(read_graph(graph, TextForm(openfst, acceptor)), out, TextForm())
