"""`wfst-entropy lm train`, `prune`, `perplexity`, ...: n-gram language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import TextForm, reported, write_graph

if TYPE_CHECKING:
    from wfst_entropy.lang import NgramModel

app = typer.Typer(
    name="lm", help="N-gram language models.", no_args_is_help=True, add_completion=False
)

Text = Annotated[
    list[Path], typer.Argument(metavar="TEXT...", help="Text, one sentence a line; .gz too.")
]
Model = Annotated[Path, typer.Argument(metavar="LM", help="An ARPA file; .gz too.")]
Out = Annotated[Path, typer.Option("--lm", help="The ARPA file to write; .gz too.")]


@app.command()
def train(
    text: Text,
    lm: Out,
    order: Annotated[int, typer.Option(help="Length of the longest n-grams, 1 to 5.")] = 3,
    limit_vocab: Annotated[
        Path | None,
        typer.Option(help="Words: a line each, as words.txt or tokens.txt; others are <unk>."),
    ] = None,
    min_counts: Annotated[
        str, typer.Option(help="How often n-grams of length 1, 2... must occur, such as 1,1,2.")
    ] = "1",
    smoothing: Annotated[
        str, typer.Option(help="kneser-ney; absolute: for lm prune --history-lm.")
    ] = "kneser-ney",
    discount_fallback: Annotated[
        str | None,
        typer.Option(help="Where the text is too small for discounts: absolute or fixed."),
    ] = None,
    max_words: Annotated[
        int, typer.Option(help="Give up beyond; a word may take 200 bytes of memory.")
    ] = 100_000_000,
) -> None:
    """Estimate a model from text: interpolated modified Kneser-Ney."""
    from wfst_entropy.lang import estimate_ngram_model
    from wfst_entropy.lang.text_corpus import first_fields

    with reported("lm train"):
        model = estimate_ngram_model(
            text,
            order,
            vocabulary=None if limit_vocab is None else first_fields(limit_vocab),
            min_counts=_numbers(min_counts),
            smoothing=smoothing,  # type: ignore[arg-type]
            discount_fallback=discount_fallback,  # type: ignore[arg-type]
            max_words=max_words,
        )
        _write(model, lm)


@app.command()
def prune(
    model: Model,
    lm: Out,
    threshold: Annotated[
        float, typer.Option(help="Relative rise of perplexity by an n-gram; 1e-9 to 1e-6.")
    ] = 1e-8,
    history_lm: Annotated[
        Path | None,
        typer.Option(help="Probabilities of histories, by lm train --smoothing absolute."),
    ] = None,
) -> None:
    """Leave out n-grams that hardly matter: entropy pruning."""
    from wfst_entropy.lang import prune_ngram_model, read_arpa

    with reported("lm prune"):
        before = read_arpa(model)
        _tell_findings(before, model)
        histories = None if history_lm is None else read_arpa(history_lm)
        _write(prune_ngram_model(before, threshold, history_model=histories), lm, before)


@app.command()
def perplexity(
    model: Model,
    text: Text,
    oov: Annotated[int, typer.Option(help="Show so many of the commonest unknown words.")] = 0,
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Also the log-probability of each, in nats.")
    ] = False,
) -> None:
    """Perplexity, cross-entropy and unknown words of text."""
    from wfst_entropy import lang
    from wfst_entropy.lang.text_corpus import read_sentences

    with reported("lm perplexity"):
        read = lang.read_arpa(model)
        if sentences:
            scores = lang.score_words(read, text).sentence_log_probs().tolist()
            for score, words in zip(scores, read_sentences(text)):
                typer.echo(f"{score:.4f}\t{' '.join(words)}")
        typer.echo(str(lang.perplexity(read, text)))
        if oov:
            for word, count in lang.count_oov_words(text, read.word_ids).most_common(oov):
                typer.echo(f"{count}\t{word}")


@app.command()
def interpolate(
    models: Annotated[list[Path], typer.Argument(metavar="LM...", help="ARPA files; .gz too.")],
    lm: Out,
    weights: Annotated[
        str | None, typer.Option(help="One for each model, such as 0.8,0.2.")
    ] = None,
    tune: Annotated[
        Path | None, typer.Option(help="Held-out text on which the weights are found.")
    ] = None,
) -> None:
    """Make one model of several by a weighted sum."""
    from wfst_entropy import lang
    from wfst_entropy.fsa import FsaValueError

    with reported("lm interpolate"):
        if (weights is None) == (tune is None):
            raise FsaValueError("--weights, --tune: needed one of the two")
        read = [lang.read_arpa(path) for path in models]
        if tune is not None:
            shares = lang.tune_interpolation_weights(read, tune)
        else:
            shares = [_number(field) for field in (weights or "").split(",")]
        for path, share in zip(models, shares):
            typer.echo(f"{share:.4f} {path}")
        _write(lang.interpolate_ngram_models(read, shares), lm)


@app.command()
def check(
    model: Model,
    words: Annotated[
        Path | None, typer.Option(help="Compare with this words.txt or tokens.txt.")
    ] = None,
) -> None:
    """Read a model, tell its sizes and what is wrong with it; status 1 if something is."""
    from wfst_entropy.lang import check_ngram_model, compare_vocabularies, read_arpa

    with reported("lm check"):
        read = read_arpa(model)
        _tell_sizes(read)
        if words is not None:
            typer.echo(str(compare_vocabularies(model, words)))
        findings = check_ngram_model(read)
        for finding in findings:
            typer.echo(f"{model}: {finding}")
        if findings:
            raise typer.Exit(1)


@app.command("to-g")
def to_g(
    model: Model,
    words: Annotated[Path, typer.Argument(metavar="WORDS", help="words.txt, or tokens.txt.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The graph file, .pt or .fst.txt.")],
    backoff: Annotated[
        str, typer.Option(help="failure: back-off arcs have the label #0; epsilon: 0.")
    ] = "failure",
    max_order: Annotated[int | None, typer.Option(help="Leave out longer n-grams.")] = None,
) -> None:
    """Make the grammar G of a model."""
    from wfst_entropy.lang import arpa_to_g, write_g_text

    with reported("lm to-g"):
        grammar = arpa_to_g(model, words, backoff=backoff, max_order=max_order)  # type: ignore[arg-type]
        if out.endswith(".fst.txt"):
            write_g_text(grammar, out)
        else:
            write_graph(grammar, out, TextForm())
        typer.echo(f"Wrote {out}: {grammar.num_states} states, {grammar.num_arcs} arcs")


def _write(model: NgramModel, path: Path, before: NgramModel | None = None) -> None:
    from wfst_entropy.lang import write_arpa

    write_arpa(model, path)
    _tell_sizes(model, before)
    typer.echo(f"Wrote {path}")


def _tell_sizes(model: NgramModel, before: NgramModel | None = None) -> None:
    for order, number in enumerate(model.num_ngrams, start=1):
        was = f" of {before.num_ngrams[order - 1]}" if before else ""
        typer.echo(f"{order}-grams: {number}{was}")


def _tell_findings(model: NgramModel, path: Path) -> None:
    from wfst_entropy.lang import check_ngram_model

    for finding in check_ngram_model(model):
        typer.echo(f"{path}: {finding}", err=True)


def _numbers(text: str) -> list[int]:
    from wfst_entropy.fsa import FsaValueError

    try:
        return [int(field) for field in text.split(",")]
    except ValueError as error:
        raise FsaValueError(f"--min-counts: needed numbers such as 1,1,2, got {text!r}") from error


def _number(text: str) -> float:
    from wfst_entropy.fsa import FsaValueError

    try:
        return float(text)
    except ValueError as error:
        raise FsaValueError(f"--weights: needed numbers such as 0.8,0.2, got {text!r}") from error
