"""`wfst-entropy graph rnnt|levenshtein|context`: graphs of given sequences; and `frame-scores`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import TextForm, read_symbols, reported, write_graph
from wfst_entropy.cli.graph_options import Output

if TYPE_CHECKING:
    from torch import Tensor

Sequence = Annotated[
    str, typer.Argument(metavar="SYMBOLS", help="Symbols of the table, or ids; spaces between.")
]
Tokens = Annotated[Path | None, typer.Option("--tokens", help="Symbol table; without it, ids.")]


def rnnt(
    symbols: Sequence,
    out: Output,
    frames: Annotated[int, typer.Option(help="Frames of the lattice.")],
    tokens: Tokens = None,
    rnnt_type: Annotated[
        str, typer.Option("--rnnt-type", help="regular, modified or constrained.")
    ] = "regular",
    prune_range: Annotated[
        int | None, typer.Option(help="Keep this many label positions in each frame.")
    ] = None,
) -> None:
    """The lattice of all RNN-T alignments of one transcript, whole or pruned along its diagonal."""
    with reported("graph rnnt"):
        from wfst_entropy.fsa import EmptyGraphError
        from wfst_entropy.topologies import rnnt_graph

        labels = _ids(symbols, tokens)
        ranges = None if prune_range is None else _diagonal(frames, len(labels), prune_range)
        graph = rnnt_graph([labels], [frames], rnnt_type, ranges)[0]
        if not graph.num_arcs:
            raise EmptyGraphError(
                f"no alignment of {len(labels)} labels with {frames} frames is left; give more "
                "--frames, a larger --prune-range, or another --rnnt-type."
            )
        write_graph(graph, out, TextForm())


def levenshtein(symbols: Sequence, out: Output, tokens: Tokens = None) -> None:
    """The graph of all ways to edit one sequence."""
    with reported("graph levenshtein"):
        from wfst_entropy.topologies import levenshtein_graph

        write_graph(levenshtein_graph([_ids(symbols, tokens)])[0], out, TextForm())


def context(
    phrases: Annotated[
        Path, typer.Argument(metavar="PHRASES", help="Lines `words of a phrase [:boost]`.")
    ],
    out: Output,
    words: Annotated[Path, typer.Option("--words", help="Symbol table of the words.")],
    context_score: Annotated[
        float, typer.Option(help="Nats per word, for phrases without a boost.")
    ] = 1.0,
) -> None:
    """The graph of phrases to boost, over words, with fail arcs (#0 where the table has it)."""
    with reported("graph context"):
        from wfst_entropy.fsa import SymbolTable
        from wfst_entropy.lang import (
            context_graph_from_file,
            context_graph_to_fsa,
            spell_by_words,
        )

        table = SymbolTable.from_file(words)
        special = {"<eps>", "#0", "<s>", "</s>"}
        labels = [number for symbol, number in table if symbol not in special]
        graph = context_graph_from_file(phrases, spell_by_words(table), context_score)
        backoff = table.get("#0") or 0
        write_graph(context_graph_to_fsa(graph, labels, backoff_label=backoff), out, TextForm())


def frame_scores(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words of the lexicon.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file .npy, float32 (T, C).")],
    lang_dir: Annotated[Path, typer.Option(help="With tokens.txt, words.txt and lexicon.txt.")],
    frames_per_token: Annotated[int, typer.Option(help="Frames of each token.")] = 2,
    strength: Annotated[float, typer.Option(help="How far a token stands out, in nats.")] = 4.0,
    noise: Annotated[float, typer.Option(help="Standard deviation, in nats.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 42,
) -> None:
    """Make up the log-probabilities of a CTC model that hears TEXT, to try a graph with."""
    with reported("frame-scores"):
        import numpy as np

        from wfst_entropy.fsa.atomic_file import replacing
        from wfst_entropy.inspection import planted_scores
        from wfst_entropy.lang import LangDir

        lang = LangDir(lang_dir)
        scores = planted_scores(
            lang.texts_to_token_ids([text])[0],
            lang.vocab_size,
            frames_per_token=frames_per_token,
            strength=strength,
            noise=noise,
            seed=seed,
        )
        with replacing(out) as file:
            np.save(file, scores.numpy())
    typer.echo(f"Wrote {out}: {scores.shape[0]} frames of {scores.shape[1]} symbols")


def _ids(symbols: str, path: Path | None) -> list[int]:
    """The ids of a sequence.

    Raises:
      FsaValueError: a symbol that the table has not, or without a table, no number.
    """
    from wfst_entropy.fsa import FsaValueError

    table = read_symbols(path)
    ids = []
    for position, symbol in enumerate(symbols.split()):
        found = int(symbol) if table is None and symbol.isdecimal() else None
        if table is not None and symbol in table:
            found = table[symbol]
        if found is None:
            where = f"{path} has no such symbol" if path else "ids are numbers; or give --tokens"
            raise FsaValueError(f"SYMBOLS: position {position} is {symbol!r}; {where}.")
        ids.append(found)
    return ids


def _diagonal(frames: int, num_labels: int, size: int) -> Tensor:
    """The `size` label positions of each frame that lie along the diagonal, `(1, frames, size)`."""
    import torch

    first = torch.linspace(0, max(num_labels + 1 - size, 0), max(frames, 0)).round().long()
    return (first[:, None] + torch.arange(max(size, 0)))[None]
