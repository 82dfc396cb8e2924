"""`wfst-entropy lang prepare`, `lang check`: lang directories, made and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import read_symbols, reported

if TYPE_CHECKING:
    from wfst_entropy.lang import LangFinding

app = typer.Typer(
    name="lang",
    help="Lexicons and lang directories.",
    no_args_is_help=True,
    add_completion=False,
)
Silence = Annotated[
    str | None, typer.Option("--silence", help="The token of optional silence, such as SIL.")
]


@app.command()
def prepare(
    lang_dir: Annotated[Path, typer.Argument(metavar="LANG_DIR", help="The folder to make.")],
    lexicon: Annotated[
        Path | None, typer.Option(help="lexicon.txt, or lexiconp.txt with probabilities.")
    ] = None,
    bpe_model: Annotated[
        Path | None, typer.Option(help="A sentencepiece model; by default the folder's.")
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(help="File with a word at the beginning of each line; again for more."),
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="tokens.txt of a model; by default the folder's, or new.")
    ] = None,
    token_type: Annotated[
        str | None, typer.Option(help="phone (any lexicon), bpe or char; by default what is there.")
    ] = None,
    silence: Silence = None,
    silence_prob: Annotated[float, typer.Option(help="Of a silence between two words.")] = 0.5,
    num_segmentations: Annotated[
        int, typer.Option(help="Ways to write a word in pieces, the fewest pieces first.")
    ] = 1,
    position_markers: Annotated[
        bool, typer.Option("--position-markers", help="Mark phones with _B, _I, _E, _S.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where everything is newer than its sources.")
    ] = False,
) -> None:
    """Make tokens.txt, words.txt, lexicons, L.pt, L_disambig.pt, Linv.pt.

    Words of LANG_DIR/transcript_words.txt and of --words are written in pieces or characters, or
    the lexicon tells how they are spoken. The tokens of a folder that was made for training keep
    their ids; disambiguation symbols follow them.
    """
    import logging

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    with reported("lang prepare"):
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.lang import LangSources, prepare_lang_dir
        from wfst_entropy.lang import Silence as SilenceOf

        if silence is None and silence_prob != SilenceOf.prob:
            raise FsaValueError("--silence-prob: needs --silence, its token.")
        sources = LangSources(
            token_type=token_type,
            lexicon=lexicon,
            bpe_model=bpe_model,
            words=tuple(words or ()),
            tokens=tokens,
            silence=None if silence is None else SilenceOf(silence, silence_prob),
            num_segmentations=num_segmentations,
            position_markers=position_markers,
        )
        lang = prepare_lang_dir(lang_dir, sources, force=force)
        counts = (
            f"{lang.vocab_size} tokens ({lang.token_type}), {len(lang.words)} words, "
            f"{len(lang.lexicon)} entries"
        )
    typer.echo(f"{lang_dir}: {counts}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A lang directory, or a lexicon.")],
    tokens: Annotated[
        Path | None, typer.Option(help="Of a lexicon alone: the tokens that there are.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="Of a lexicon alone: words.txt, the words that there are.")
    ] = None,
    silence: Silence = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Status 1 also where there are only warnings.")
    ] = False,
) -> None:
    """Tell everything that is wrong or unusual; status 1 if there are errors.

    Of a folder, its graphs are compared with its lexicon, and its tables with each other.
    """
    with reported("lang check"):
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.inspection import Severity
        from wfst_entropy.lang import check_lang_dir, check_lexicon

        if path.is_dir():
            for name, value in (("tokens", tokens), ("words", words), ("silence", silence)):
                if value is not None:
                    raise FsaValueError(f"--{name}: only for a lexicon alone, {path} has its own.")
            findings = check_lang_dir(path)
        else:
            findings = check_lexicon(
                path, tokens=read_symbols(tokens), words=read_symbols(words), silence=silence
            )
    if findings:
        _print_table(findings)
    number = {s: sum(f.severity == s for f in findings) for s in Severity}
    errors, warnings = number[Severity.ERROR], number[Severity.WARNING]
    typer.echo(f"{path}: {errors} errors, {warnings} warnings")
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _print_table(findings: list[LangFinding]) -> None:
    from rich.console import Console
    from rich.table import Table

    from wfst_entropy.lang.lang_finding import shown

    table = Table("severity", "file", "line", "word", "what", "how to mend it", show_lines=True)
    for finding in findings:
        line = "" if finding.line is None else str(finding.line)
        word = shown(finding.word) if finding.word else ""
        row = (finding.severity.name.lower(), Path(finding.file).name, line, word)
        table.add_row(*(_plain(cell) for cell in (*row, finding.what, finding.remedy)))
    Console(highlight=False).print(table)


def _plain(text: str) -> str:
    """A text whose brackets rich does not take for markup."""
    from rich.markup import escape

    return escape(text)
