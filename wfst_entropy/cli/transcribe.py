"""`wfst-entropy transcribe`: a stream of audio to words, while it comes."""

from __future__ import annotations

import json as json_module
import shutil
import statistics
import sys
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

    from wfst_entropy.asr.streaming.audio_pieces import Piece
    from wfst_entropy.asr.streaming.live import LiveResult, LiveTranscription

_ENDPOINT = "Endpoints"
_STATUS_OF_CTRL_C = 130


def transcribe(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="Audio (wav, flac...), or - for 16-bit PCM (little-endian, one channel) from "
            "standard input.",
        ),
    ],
    exp_dir: Annotated[
        Path,
        typer.Option(help="Folder of a training run with --causal true.", rich_help_panel=MODEL),
    ],
    epoch: Epoch = 0,
    iteration: Iteration = 0,
    avg: Avg = 1,
    use_averaged_model: UseAveragedModel = True,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            help="Encoder frames decoded at a time. Default: the model's.", rich_help_panel=MODEL
        ),
    ] = None,
    left_context_frames: Annotated[
        int | None,
        typer.Option(
            help="Encoder frames before them that it attends to. Default: the model's.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    lang_dir: Annotated[
        Path | None,
        typer.Option(
            help="tokens.txt, and the graphs LG.pt, HLG.pt. Default: the run's.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    decoding_method: Annotated[
        str,
        typer.Option(
            help="greedy_search, modified_beam_search, fast_beam_search, fast_beam_search_LG, "
            "ctc-greedy-search, ctc-prefix-beam-search, 1best. Default: greedy.",
            rich_help_panel=SEARCH,
        ),
    ] = "",
    beam_size: Annotated[
        int | None, typer.Option(help="Hypotheses kept.", rich_help_panel=SEARCH)
    ] = None,
    hlg_scale: Annotated[
        float | None,
        typer.Option(help="Of HLG's scores. Default: as tuned.", rich_help_panel=SEARCH),
    ] = None,
    ngram_lm_scale: Annotated[
        float | None,
        typer.Option(help="Of an n-gram, or LG. Default: as tuned.", rich_help_panel=SEARCH),
    ] = None,
    context_file: ContextFile = None,
    context_score: Annotated[
        float, typer.Option(help="Boost of each token.", rich_help_panel=SEARCH)
    ] = 2.0,
    sample_rate: Annotated[
        int | None,
        typer.Option(help="Of standard input, Hz. Default: 16000.", min=1000, max=768000),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Read a file at the pace of speech.")
    ] = False,
    endpoint: Annotated[
        bool,
        typer.Option(
            "--endpoint", help="End utterances by these rules.", rich_help_panel=_ENDPOINT
        ),
    ] = False,
    rule1_min_trailing_silence: Annotated[
        float, typer.Option(help="Seconds of silence.", rich_help_panel=_ENDPOINT)
    ] = 2.4,
    rule2_min_trailing_silence: Annotated[
        float, typer.Option(help="Seconds of silence after words.", rich_help_panel=_ENDPOINT)
    ] = 1.2,
    rule3_min_utterance_length: Annotated[
        float, typer.Option(help="Seconds of an utterance.", rich_help_panel=_ENDPOINT)
    ] = 20.0,
    times: Annotated[
        bool,
        typer.Option("--times", help="A line per final word.", rich_help_panel=OUTPUT),
    ] = False,
    json: Json = False,
) -> None:
    """Print the words of a stream of audio, while it comes.

    Lines are `partial time latency words...` and `final time latency words...`, tabs between:
    seconds after the beginning of the audio at which the line is printed, and how long after the
    end of the last word, as the model heard it. With --times a line `word start end partial-latency
    final-latency word` follows for each word that is final. Without --realtime a file comes as fast
    as it is read, and a word waits for the audio of its chunk and for the computer. Ctrl-C ends the
    audio: its last words are printed, and the status is 130; a second one ends it all.

    For whole files, with confidences, alternatives or lattices, there is `wfst-entropy decode`.
    """
    with reported("transcribe"):
        pieces = _pieces(source, sample_rate, realtime)
        _need_packages()
        from wfst_entropy.asr.search.search_options import SearchOptions
        from wfst_entropy.asr.streaming.ctrl_c import until_ctrl_c
        from wfst_entropy.asr.streaming.endpoint import EndpointOptions
        from wfst_entropy.asr.streaming.live import LiveTranscription
        from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
        from wfst_entropy.asr.streaming.streaming_run import load_streaming_run

        options = StreamDecodeOptions(
            exp_dir=exp_dir,
            epoch=epoch,
            iter=iteration,
            avg=avg,
            use_averaged_model=use_averaged_model,
            decoding_method=decoding_method,
            chunk_size=chunk_size,
            left_context_frames=left_context_frames,
        )
        search = SearchOptions(
            beam_size=beam_size,
            hlg_scale=hlg_scale,
            ngram_lm_scale=ngram_lm_scale,
            context_file=context_file,
            context_score=context_score,
        )
        rules = EndpointOptions(
            rule1_min_trailing_silence, rule2_min_trailing_silence, rule3_min_utterance_length
        )
        run = load_streaming_run(
            options,
            search,
            lang_dir=lang_dir,
            endpoint=rules if endpoint else None,
            dither_silence=True,
        )
        live = LiveTranscription(run.recognizer, realtime=realtime)
        with until_ctrl_c(pieces) as audio:
            _print_results(live, audio, times, json)
    if live.interrupted:
        raise typer.Exit(_STATUS_OF_CTRL_C)


def _need_packages() -> None:
    try:
        import wfst_entropy.asr.streaming.streaming_run  # noqa: F401
    except ImportError as error:
        typer.echo(
            f"wfst-entropy transcribe: needs {error.name}: pip install 'wfst-entropy[recipes]'",
            err=True,
        )
        raise typer.Exit(1) from error


def _pieces(source: str, sample_rate: int | None, realtime: bool) -> Iterator[Piece]:
    """The audio; what is wrong with the source is told before a model is loaded."""
    from wfst_entropy.asr.streaming.audio_pieces import file_pieces, pcm_pieces
    from wfst_entropy.asr.transcribe.inputs import MATRIX_ENDINGS, open_audio

    if source != "-":
        if sample_rate is not None:
            raise typer.BadParameter("--sample-rate: a file tells its own; it is for -")
        if Path(source).suffix in MATRIX_ENDINGS:
            raise typer.BadParameter(f"{source}: no audio; there is wfst-entropy decode for it")
        with open_audio(Path(source)):
            return file_pieces(Path(source))
    if realtime:
        raise typer.BadParameter("--realtime: standard input has its own pace; it is for files")
    if sys.stdin is None:
        raise typer.BadParameter("-: there is no standard input; pipe audio into it")
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "-: standard input is a terminal; pipe audio into it, such as "
            "arecord -q -t raw -f S16_LE -c 1 -r 16000 | wfst-entropy transcribe -"
        )
    return pcm_pieces(sys.stdin.buffer, 16000 if sample_rate is None else sample_rate)


def _print_results(
    live: LiveTranscription, pieces: Iterator[Piece], times: bool, json: bool
) -> None:
    found: list[LiveResult] = []
    # a process without standard output has None there
    replaces = sys.stdout is not None and sys.stdout.isatty() and not json
    for told in live.results(pieces):
        if json:
            typer.echo(json_module.dumps(told.as_dict(), ensure_ascii=False, allow_nan=False))
        else:
            _print_line(told, replaces)
        if told.result.is_final:
            found.append(told)
            if told.result.problem:
                typer.echo(f"wfst-entropy transcribe: {told.result.problem}", err=True)
            for line in _word_lines(told) if times and not json else ():
                typer.echo(line)
    typer.echo(f"wfst-entropy transcribe: {_summary(live, found)}", err=True)


def _print_line(told: LiveResult, replaces: bool) -> None:
    """A partial result takes the place of the one before, where there is a terminal."""
    result = told.result
    latency = None
    if result.words:  # a partial result may take back its only word
        latency = told.final_latency(-1) if result.is_final else told.partial_latency(-1)
    kind = "final" if result.is_final else "partial"
    line = f"{kind}\t{told.time:.2f}\t{_number(latency)}\t{result.text}"
    if not replaces:
        typer.echo(line)
        return
    width = shutil.get_terminal_size().columns - 1
    line = line.replace("\t", "  ")
    if not result.is_final and len(line) > width:
        line = "..." + line[3 - width :]
    typer.echo(f"\r\x1b[K{line}", nl=result.is_final)


def _word_lines(told: LiveResult) -> Iterator[str]:
    for place, word in enumerate(told.result.words):
        latencies = told.partial_latency(place), told.final_latency(place)
        fields = [_number(value) for value in (word.start, word.end, *latencies)]
        yield "\t".join(["word", *fields, word.word])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _summary(live: LiveTranscription, found: list[LiveResult]) -> str:
    places = [(told, place) for told in found for place in range(len(told.result.words))]
    audio = live.stream.duration
    if not audio:
        return "no audio"
    text = f"{len(places)} words in {audio:.1f} s of audio, {live.seconds:.2f} s of computing"
    partial = [told.partial_latency(place) for told, place in places]
    final = [told.final_latency(place) for told, place in places]
    for name, values in (("partial", partial), ("final", final)):
        known = [value for value in values if value is not None]
        if known:
            text += f"; median {name} latency {statistics.median(known):.2f} s"
    return text
