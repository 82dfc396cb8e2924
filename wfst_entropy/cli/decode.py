"""`wfst-entropy decode`: audio, features or frame scores to text."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfst_entropy.cli.graph_files import reported
from wfst_entropy.cli.model_options import (
    MODEL,
    OUTPUT,
    SEARCH,
    Avg,
    ContextFile,
    Epoch,
    Iteration,
    Json,
    UseAveragedModel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wfst_entropy.asr.transcribe.acoustic_model import AcousticModel
    from wfst_entropy.asr.transcribe.transcript import Transcript


class Topology(str, Enum):
    """What the graph is."""

    hlg = "hlg"
    standard = "standard"
    modified = "modified"


def decode(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Audio (wav, flac...); or .npy, .safetensors, .pt: matrices (T, C) of log-probs, "
            "with --exp-dir of features (T, F).",
        ),
    ],
    exp_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of a training run, for audio.", rich_help_panel=MODEL),
    ] = None,
    epoch: Epoch = 0,
    iteration: Iteration = 0,
    avg: Avg = 1,
    use_averaged_model: UseAveragedModel = True,
    lang_dir: Annotated[
        Path | None,
        typer.Option(help="tokens.txt, words.txt... Default: the run's.", rich_help_panel=MODEL),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="ctc-greedy-search, ctc-prefix-beam-search, 1best, whole-lattice-rescoring; of a "
            "transducer greedy_search, modified_beam_search. Default: 1best with a graph, else "
            "greedy, of the transducer if there is one.",
            rich_help_panel=SEARCH,
        ),
    ] = "",
    graph: Annotated[
        Path | None, typer.Option(help="HLG.pt, or LG.pt.", rich_help_panel=SEARCH)
    ] = None,
    topology: Annotated[
        Topology,
        typer.Option(help="Of an LG: the CTC topology it lacks.", rich_help_panel=SEARCH),
    ] = Topology.hlg,
    epsilon_label: Annotated[
        int | None,
        typer.Option(
            help="Label of an HLG's arcs that consume no frame. Default: the vocabulary's size.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    silence: Annotated[
        str | None,
        typer.Option(help="The token of optional silence, such as SIL.", rich_help_panel=SEARCH),
    ] = None,
    search_beam: Annotated[float, typer.Option(help="nats", rich_help_panel=SEARCH)] = 20.0,
    output_beam: Annotated[
        float, typer.Option(help="Of the lattice; nats.", rich_help_panel=SEARCH)
    ] = 8.0,
    min_active_states: Annotated[int, typer.Option(rich_help_panel=SEARCH)] = 30,
    max_active_states: Annotated[int, typer.Option(rich_help_panel=SEARCH)] = 10000,
    hlg_scale: Annotated[
        float, typer.Option(help="Of the graph's scores.", rich_help_panel=SEARCH)
    ] = 1.0,
    beam_size: Annotated[int, typer.Option(help="Hypotheses kept.", rich_help_panel=SEARCH)] = 16,
    lm: Annotated[
        Path | None,
        typer.Option(
            help="N-gram graph: over tokens (beam searches), over words (rescoring).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    ngram_lm_scale: Annotated[float, typer.Option(help="Of --lm.", rich_help_panel=SEARCH)] = 1.0,
    context_file: ContextFile = None,
    context_score: Annotated[
        float,
        typer.Option(help="Boost of each token (word, with a graph).", rich_help_panel=SEARCH),
    ] = 2.0,
    logits: Annotated[
        bool, typer.Option("--logits", help="Matrices are not normalised yet.")
    ] = False,
    frame_shift: Annotated[
        float | None,
        typer.Option(help="Seconds between frames of log-probs; else times are in frames."),
    ] = None,
    times: Annotated[
        bool, typer.Option("--times", help="A line per word.", rich_help_panel=OUTPUT)
    ] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="A line per word.", rich_help_panel=OUTPUT)
    ] = False,
    nbest: Annotated[int, typer.Option(help="So many alternatives.", rich_help_panel=OUTPUT)] = 0,
    lattice_out: Annotated[
        Path | None, typer.Option(help="A .pt for the lattices.", rich_help_panel=OUTPUT)
    ] = None,
    json: Json = False,
) -> None:
    """Print the text of audio files, or of what a model said about them.

    Lines are `utterance words...`, as `wfst-entropy score` reads them. With --times or --confidence
    there is a line `utterance start end word confidence` for each word, with --nbest a line
    `utterance rank score posterior words...` for each alternative, tabs between. An input that
    fails is reported, the others are decoded, and the status is 1.
    """
    with reported("decode"):
        from wfst_entropy.asr.transcribe.search_settings import SearchSettings
        from wfst_entropy.asr.transcribe.searches import make_search

        model = None
        if exp_dir is not None:
            model = _model(exp_dir, epoch, iteration, avg, use_averaged_model)
        settings = SearchSettings(
            lang_dir=_lang_dir(lang_dir, model),
            method=method,
            graph=graph,
            topology=topology.value,
            epsilon_label=epsilon_label,
            silence=silence,
            nbest=nbest,
            search_beam=search_beam,
            output_beam=output_beam,
            min_active_states=min_active_states,
            max_active_states=max_active_states,
            hlg_scale=hlg_scale,
            beam_size=beam_size,
            lm=lm,
            ngram_lm_scale=ngram_lm_scale,
            context_file=context_file,
            context_score=context_score,
            transducer=None if model is None else model.transducer,
        )
        if lattice_out is not None and not settings.uses_graph:
            raise typer.BadParameter(f"--lattice-out: {settings.method} keeps no lattice")
        if model is not None:
            model.check_tokens(settings.lang_dir)
        from wfst_entropy.asr.transcribe.run import transcribe

        in_seconds = model is not None or frame_shift is not None
        lattices: list[Transcript] = []
        failed = False
        search = make_search(settings)
        if model is not None:
            model.check_head(search.reads)
        for found in transcribe(inputs, search, model, logits=logits, frame_shift=frame_shift):
            _print_transcript(found, times, confidence, json, in_seconds)
            failed |= found.failed
            if lattice_out is not None and found.lattice is not None:
                lattices.append(found)
        if lattice_out is not None:
            _write_lattices(lattice_out, lattices)
    if failed:
        raise typer.Exit(1)


def _model(
    exp_dir: Path, epoch: int, iteration: int, avg: int, use_averaged_model: bool
) -> AcousticModel:
    try:
        from wfst_entropy.asr.decode.decode_options import DecodeOptions
        from wfst_entropy.asr.transcribe.acoustic_model import AcousticModel
    except ImportError as error:
        typer.echo(
            f"wfst-entropy decode: --exp-dir needs {error.name}: "
            "pip install 'wfst-entropy[recipes]'",
            err=True,
        )
        raise typer.Exit(1) from error
    return AcousticModel(
        DecodeOptions(
            exp_dir=exp_dir,
            epoch=epoch,
            iter=iteration,
            avg=avg,
            use_averaged_model=use_averaged_model,
        )
    )


def _lang_dir(given: Path | None, model: AcousticModel | None) -> Path:
    if given is not None:
        return given
    if model is None:
        raise typer.BadParameter("--lang-dir: needed, the folder with tokens.txt and words.txt")
    return model.lang_dir


def _print_transcript(
    found: Transcript, times: bool, confidence: bool, json: bool, in_seconds: bool
) -> None:
    if found.problem:
        about = found.problem if found.failed else f"{found.name}: {found.problem}"
        typer.echo(f"wfst-entropy decode: {about}", err=True)
    for line in _lines(found, times, confidence, json, in_seconds):
        typer.echo(line)


def _lines(
    found: Transcript, times: bool, confidence: bool, json: bool, in_seconds: bool
) -> Iterator[str]:
    from wfst_entropy.asr.transcribe import lines

    if json:
        yield lines.json_line(found, in_seconds)
        return
    if found.failed:
        return
    if times or confidence:
        yield from lines.word_lines(found, times, confidence)
    elif not found.alternatives:
        yield lines.transcript_line(found)
    yield from lines.nbest_lines(found)


def _write_lattices(path: Path, found: list[Transcript]) -> None:
    from wfst_entropy.decoding import write_lattices
    from wfst_entropy.fsa import Fsa, FsaError

    parts = [each.lattice[0] for each in found if each.lattice is not None]
    if not parts:
        raise FsaError(f"--lattice-out: no utterance was decoded, {path} is not written")
    write_lattices(path, [each.name for each in found], Fsa.from_fsas(parts))
    typer.echo(f"Wrote {path}, {len(parts)} lattices", err=True)
