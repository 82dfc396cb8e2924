"""`wfst-entropy graph ctc|lg|hlg`: CTC topologies and decoding graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import TextForm, read_graph, reported, write_graph
from wfst_entropy.cli.graph_options import Output

if TYPE_CHECKING:
    from wfst_entropy.fsa import Fsa

Source = Annotated[
    Path,
    typer.Argument(
        metavar="LANG", help="A lang directory; or a graph file, with --vocab-size and OUT."
    ),
]
Out = Annotated[
    str | None, typer.Argument(metavar="[OUT]", help="The file to write, for a graph file.")
]
Topology = Annotated[str, typer.Option(help="standard, modified or compact.")]
VocabSize = Annotated[
    int | None, typer.Option(help="Symbols that a frame can emit, blank included.")
]
MaxStates = Annotated[int, typer.Option(help="Give up beyond.")]
MaxArcs = Annotated[int, typer.Option(help="Give up beyond.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also where everything is newer than its sources.")
]
Grammar = Annotated[
    Path | None,
    typer.Option(help="G.pt, or a language model (.arpa, .arpa.gz); by default LANG/G.pt."),
]
LexiconOnly = Annotated[
    bool, typer.Option("--lexicon-only", help="Any words in any order, without a grammar.")
]


def ctc(
    out: Output,
    vocab_size: VocabSize = None,
    lang_dir: Annotated[Path | None, typer.Option(help="With --text; or for its tokens.")] = None,
    text: Annotated[
        str | None, typer.Option(help="The training graph of a transcript, in words.")
    ] = None,
    topology: Annotated[str, typer.Option(help="standard or modified.")] = "standard",
) -> None:
    """The CTC topology, or the training graph of a transcript with a lang directory."""
    with reported("graph ctc"):
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.lang import CtcTrainingGraphCompiler, LangDir
        from wfst_entropy.topologies import ctc_topo

        if topology not in ("standard", "modified"):
            raise FsaValueError(f"--topology: must be standard or modified, got {topology!r}.")
        if text is None:
            size = LangDir(lang_dir).vocab_size if lang_dir is not None else vocab_size
            if size is None:
                raise FsaValueError("--vocab-size or --lang-dir: one of them is needed.")
            graph = ctc_topo(size - 1, modified=topology == "modified")
        elif lang_dir is None:
            raise FsaValueError("--text: needs --lang-dir, whose lexicon spells the words.")
        else:
            graph = CtcTrainingGraphCompiler(lang_dir, topology=topology).compile([text])[0]
        write_graph(graph, out, TextForm())


def lg(
    lang: Source,
    out: Out = None,
    grammar: Grammar = None,
    vocab_size: VocabSize = None,
    lexicon_only: LexiconOnly = False,
    max_states: MaxStates = 15_000_000,
    max_arcs: MaxArcs = 100_000_000,
    force: Force = False,
) -> None:
    """Lexicon and grammar in one graph, determinised and minimised: LANG/LG.pt.

    LANG may also be L_disambig as a file: then --grammar, --vocab-size and OUT are needed.
    """
    _show_progress()
    with reported("graph lg"):
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.lang import compile_lang_graphs, compile_lg

        if lang.is_dir():
            _no_file_options(out, vocab_size)
            if lexicon_only:
                raise FsaValueError("--lexicon-only: for a lang directory, see graph hlg: HL.pt.")
            compile_lang_graphs(
                lang, grammar, None, max_states=max_states, max_arcs=max_arcs, force=force
            )
            return
        target, size = _file_options(lang, out, vocab_size)
        if (grammar is None) != lexicon_only:
            raise FsaValueError("--grammar or --lexicon-only: one of them, with a graph file.")
        graph = compile_lg(
            _read(lang),
            None if grammar is None else _read(grammar),
            size,
            max_states=max_states,
            max_arcs=max_arcs,
        )
        write_graph(graph, target, TextForm())


def hlg(
    lang: Source,
    out: Out = None,
    grammar: Grammar = None,
    topology: Topology = "standard",
    vocab_size: VocabSize = None,
    lexicon_only: LexiconOnly = False,
    max_states: MaxStates = 15_000_000,
    max_arcs: MaxArcs = 100_000_000,
    force: Force = False,
) -> None:
    """The decoding graph: a CTC topology with LG (made first where it is not there): LANG/HLG.pt.

    With --lexicon-only LANG/HL.pt, of the lexicon alone. LANG may also be LG as a file: then
    --vocab-size and OUT are needed.
    """
    _show_progress()
    with reported("graph hlg"):
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.lang import compile_hlg, compile_lang_graphs

        if lang.is_dir():
            _no_file_options(out, vocab_size)
            compile_lang_graphs(
                lang,
                grammar,
                topology,
                lexicon_only=lexicon_only,
                max_states=max_states,
                max_arcs=max_arcs,
                force=force,
            )
            return
        target, size = _file_options(lang, out, vocab_size)
        if grammar is not None or lexicon_only:
            raise FsaValueError("--grammar, --lexicon-only: only with a lang directory.")
        graph = compile_hlg(
            _read(lang),
            size,
            topology,
            max_states=max_states,
            max_arcs=max_arcs,
        )
        write_graph(graph, target, TextForm())


def _show_progress() -> None:
    import logging

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)


def _read(path: Path) -> Fsa:
    return read_graph(str(path), TextForm(acceptor=False))


def _no_file_options(out: str | None, vocab_size: int | None) -> None:
    from wfst_entropy.fsa import FsaValueError

    if out is not None or vocab_size is not None:
        raise FsaValueError(
            "OUT, --vocab-size: only where LANG is a graph file; a lang directory has its own."
        )


def _file_options(lang: Path, out: str | None, vocab_size: int | None) -> tuple[str, int]:
    from wfst_entropy.fsa import FsaFormatError, FsaValueError

    if not lang.is_file():
        raise FsaFormatError(f"{lang}: neither a lang directory nor a graph file.")
    if out is None or vocab_size is None:
        raise FsaValueError(f"OUT and --vocab-size: needed, because {lang} is a graph file.")
    return out, vocab_size
