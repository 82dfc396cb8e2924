"""`wfst-entropy lattice info`, `draw`, `best`, `nbest`, `rescore`, `entropy`, `oracle`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from wfst_entropy.cli.graph_files import reported
from wfst_entropy.cli.lattice_words import WordNames

if TYPE_CHECKING:
    from wfst_entropy.algorithms.phi_compose import BackOff
    from wfst_entropy.decoding import BestPathResult
    from wfst_entropy.fsa import Fsa

app = typer.Typer(
    name="lattice",
    help="Lattices of utterances: what is in them, how sure they are, and other language models.",
    no_args_is_help=True,
    add_completion=False,
)
File = Annotated[
    Path, typer.Argument(metavar="LATTICES", help="A .pt file, or Kaldi's text form in .lat.")
]
Words = Annotated[Path | None, typer.Option("--words", help="words.txt; else words are numbers.")]
Lang = Annotated[
    Path | None, typer.Option("--lang-dir", help="Lang directory: its words and lexicon.")
]
Utterance = Annotated[str | None, typer.Option("--utt", help="Only this utterance.")]
LmScale = Annotated[
    float | None, typer.Option("--lm-scale", help="Scale of the scores of the graph, lm_scores.")
]
Silence = Annotated[
    str | None, typer.Option("--silence", help="The token of optional silence, such as SIL.")
]


def _read(file: Path, utterance: str | None = None, lm_scale: float | None = None) -> Any:
    """Names and lattices, scaled; of one utterance or all."""
    from wfst_entropy.decoding import Lattices, read_lattices, scaled_lattice
    from wfst_entropy.fsa import FsaValueError

    names, lattices = read_lattices(file)
    if utterance is not None:
        if utterance not in names:
            raise FsaValueError(
                f"--utt: {file} has no utterance {utterance!r}; it has {', '.join(names[:5])}"
                + (", ..." if len(names) > 5 else ".")
            )
        lattices, names = lattices[[names.index(utterance)]], [utterance]
    if lm_scale is not None:
        lattices = scaled_lattice(lattices, lm_scale=lm_scale)
    return Lattices(names, lattices)


def _row(*fields: object) -> None:
    told = (f"{x:.4f}" if isinstance(x, float) else str(x) for x in fields)
    typer.echo("\t".join(told))


@app.command()
def info(file: File) -> None:
    """Print frames, states, arcs, arcs per frame, best score and entropy of each utterance."""
    with reported("lattice info"):
        from wfst_entropy.algorithms import get_tot_scores, path_entropy
        from wfst_entropy.semirings import TropicalSemiring

        names, lattices = _read(file)
        best = get_tot_scores(lattices, TropicalSemiring()).tolist()
        entropies = path_entropy(lattices).tolist()
    _row("utterance", "frames", "states", "arcs", "arcs_per_frame", "best_score", "entropy")
    for name, lattice, score, entropy in zip(names, lattices, best, entropies):
        frames = _num_frames(lattice)
        density = lattice.num_arcs / frames if frames else 0.0
        _row(name, frames, lattice.num_states, lattice.num_arcs, density, score, entropy)


def _num_frames(lattice: Fsa) -> int:
    frames = lattice.attributes.get("frame_idx")
    return int(frames.max()) if frames is not None and len(frames) else 0


@app.command()
def draw(
    file: File,
    out: Annotated[Path, typer.Argument(metavar="OUT", help=".svg, .png, .pdf, .dot or .html")],
    utterance: Utterance = None,
    beam: Annotated[
        float | None, typer.Option(help="Only paths within so many nats of the best.")
    ] = None,
    words: Words = None,
    lang_dir: Lang = None,
) -> None:
    """Draw the lattice of one utterance, arcs coloured by their posteriors."""
    with reported("lattice draw"):
        from wfst_entropy.algorithms import prune
        from wfst_entropy.fsa import EmptyGraphError, FsaValueError
        from wfst_entropy.inspection import draw as draw_it

        names, lattices = _read(file, utterance)
        if len(names) != 1:
            raise FsaValueError(f"--utt: {file} has {len(names)} utterances; name one.")
        lattice = lattices[0] if beam is None else prune(lattices[0], beam)
        if lattice.num_states == 0:
            raise EmptyGraphError(f"{file}: the lattice of {names[0]} is empty.")
        known = WordNames.of(words, lang_dir)
        draw_it(
            lattice,
            out,
            labels_sym=known.tokens,
            aux_labels_sym=known.words,
            color="posterior",
            title=names[0],
        )
    typer.echo(f"Wrote {out}")


@app.command()
def best(
    file: File,
    words: Words = None,
    lang_dir: Lang = None,
    lm_scale: LmScale = None,
    mbr: Annotated[
        bool, typer.Option("--mbr", help="The words of least expected errors instead.")
    ] = False,
    ctm: Annotated[
        bool, typer.Option("--ctm", help="Lines: utterance 1 start duration word confidence.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="All that is known, a line of JSON each.")
    ] = False,
    frame_shift: Annotated[
        float, typer.Option(help="Seconds from one frame of the lattice to the next.")
    ] = 0.04,
    silence: Silence = None,
    utterance: Utterance = None,
) -> None:
    """Print the words of the best path; times need the lexicon of --lang-dir."""
    with reported("lattice best"):
        from wfst_entropy.decoding import best_path_results, get_aux_labels, mbr_decoding
        from wfst_entropy.decoding import one_best_decoding as one_best
        from wfst_entropy.fsa import FsaValueError

        if mbr + ctm + as_json > 1 or (ctm and lang_dir is None):
            raise FsaValueError("--mbr, --ctm, --json: one at most; --ctm needs --lang-dir.")
        names, lattices = _read(file, utterance, lm_scale)
        known = WordNames.of(words, lang_dir, silence)
        if not (ctm or as_json):
            told = (
                [network.reference for network in mbr_decoding(lattices)]
                if mbr
                else get_aux_labels(one_best(lattices))
            )
            for name, ids in zip(names, told):
                typer.echo(" ".join([name, *known.spell(ids)]))
            return
        results = best_path_results(
            lattices, known.pronunciations, frame_shift=frame_shift, silence=known.silence
        )
        for name, result in zip(names, results):
            lines = _ctm(name, result, known) if ctm else [_json(name, result, known)]
            for line in lines:
                typer.echo(line)


def _ctm(name: str, result: BestPathResult, known: WordNames) -> list[str]:
    lines = []
    for word in result.words:
        if word.start is None or word.end is None:
            continue  # its tokens cannot be told from the lexicon
        duration = word.end - word.start
        spelled = known.spell([word.word])[0]
        lines.append(f"{name} 1 {word.start:.3f} {duration:.3f} {spelled} {word.confidence:.4f}")
    return lines


def _json(name: str, result: BestPathResult, known: WordNames) -> str:
    record = {"utterance": name, **result._asdict()}
    if not result.valid:
        record["score"] = None  # JSON has no infinity
    record["words"] = [
        {**word._asdict(), "word": known.spell([word.word])[0]} for word in result.words
    ]
    record["tokens"] = [
        {**token._asdict(), "token": known.spell_token(token.token)} for token in result.tokens
    ]
    return json.dumps(record, ensure_ascii=False)


@app.command()
def nbest(
    file: File,
    n: Annotated[int, typer.Option("-n", help="How many word sequences.")] = 10,
    random: Annotated[
        bool, typer.Option("--random", help="Of n paths drawn, instead of the n best.")
    ] = False,
    nbest_scale: Annotated[
        float, typer.Option(help="With --random: scale of scores; smaller: more variety.")
    ] = 0.5,
    words: Words = None,
    lang_dir: Lang = None,
    lm_scale: LmScale = None,
    utterance: Utterance = None,
) -> None:
    """Print different word sequences: utterance, rank, score of the best path, posterior, words."""
    with reported("lattice nbest"):
        from wfst_entropy.algorithms import get_tot_scores
        from wfst_entropy.decoding import Nbest

        names, lattices = _read(file, utterance, lm_scale)
        known = WordNames.of(words, lang_dir)
        if random:
            found = Nbest.from_lattice(lattices, n, nbest_scale)
        else:
            found = Nbest.from_lattice_exact(lattices, n)
        rows = found.shape.row_ids(1)
        share = (found.sequence_scores(lattices).values - get_tot_scores(lattices)[rows]).exp()
        first = found.shape.row_splits(1).tolist()
        scores, sequences = found.total_scores().values.tolist(), found.words().tolist()
    _row("utterance", "rank", "score", "posterior", "words")
    for i, utt in enumerate(rows.tolist()):
        spelled = " ".join(known.spell(sequences[i]))
        _row(names[utt], i - first[utt] + 1, scores[i], float(share[i]), spelled)


@app.command()
def rescore(
    file: File,
    model: Annotated[Path, typer.Argument(metavar="G", help="The language model, such as G.pt.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .pt file to write.")],
    lm_scale: LmScale = None,
    backoff: Annotated[
        str, typer.Option(help="failure: back off only from words not there; epsilon: always.")
    ] = "failure",
    phi_label: Annotated[
        int | None, typer.Option(help="Label of back-off arcs; by default found in G.")
    ] = None,
    max_states: Annotated[
        int, typer.Option(help="Prune an utterance that has more, until it fits.")
    ] = 2_000_000,
) -> None:
    """Replace the language model of lattices by G."""
    with reported("lattice rescore"):
        from wfst_entropy.decoding import (
            rescore_with_whole_lattice,
            scaled_lattice,
            write_lattices,
        )
        from wfst_entropy.fsa import load_fsa

        names, lattices = _read(file)
        rescored = rescore_with_whole_lattice(
            lattices,
            load_fsa(model),
            backoff=cast("BackOff", backoff),
            phi_label=phi_label,
            max_states=max_states,
        )
        if lm_scale is not None:
            rescored = scaled_lattice(rescored, lm_scale=lm_scale)
        write_lattices(out, names, rescored)
    before, after = (f"{x.num_states} states, {x.num_arcs} arcs" for x in (lattices, rescored))
    typer.echo(f"{len(names)} utterances: {before} -> {after}\nWrote {out}")


@app.command()
def entropy(
    file: File,
    by_word: Annotated[
        bool, typer.Option("--by-word", help="A line for each word of the best paths.")
    ] = False,
    words: Words = None,
    lang_dir: Lang = None,
    lm_scale: LmScale = None,
    silence: Silence = None,
    utterance: Utterance = None,
) -> None:
    """Print entropies in nats: of all paths, of the words, and of their alignments.

    By word: confidence, entropy of the word in its place, and (with --lang-dir) of the alignment in
    its frames.
    """
    with reported("lattice entropy"):
        from wfst_entropy.decoding import best_path_results, lattice_entropy

        names, lattices = _read(file, utterance, lm_scale)
        known = WordNames.of(words, lang_dir, silence)
        if not by_word:
            found = [column.tolist() for column in lattice_entropy(lattices)]
            _row("utterance", "frames", "paths", "words", "alignments", "paths_per_frame")
            for name, lattice, of_paths, *parts in zip(names, lattices, *found):
                frames = _num_frames(lattice)
                _row(name, frames, of_paths, *parts, of_paths / frames if frames else 0.0)
            return
        results = best_path_results(lattices, known.pronunciations, silence=known.silence)
    _row("utterance", "word", "confidence", "word_entropy", "alignment_entropy", "frames")
    for name, result in zip(names, results):
        for word in result.words:
            (spelled,) = known.spell([word.word])
            span = "" if word.start_frame is None else f"{word.start_frame}-{word.end_frame}"
            local = "" if word.alignment_entropy is None else word.alignment_entropy
            _row(name, spelled, word.confidence, word.word_entropy, local, span)


@app.command()
def oracle(
    file: File,
    text: Annotated[
        Path, typer.Argument(metavar="TEXT", help="Lines: utterance, then its true words.")
    ],
    words: Words = None,
    lang_dir: Lang = None,
) -> None:
    """Print the fewest errors that a path of each lattice has, and the word error rate of these."""
    with reported("lattice oracle"):
        from wfst_entropy.decoding import get_aux_labels, lattice_oracle
        from wfst_entropy.fsa import FsaFormatError
        from wfst_entropy.metrics.wer import read_transcripts

        names, lattices = _read(file)
        known = WordNames.of(words, lang_dir)
        refs = read_transcripts(text)
        absent = [name for name in names if name not in refs]
        if absent:
            raise FsaFormatError(f"{text}: has no line for the utterance {absent[0]}.")
        found = lattice_oracle(lattices, [known.ids(refs[name]) for name in names])
        told = get_aux_labels(found.paths)
    _row("utterance", "errors", "ref_words", "words")
    for i, name in enumerate(names):
        _row(
            name, int(found.errors[i]), int(found.num_ref_words[i]), " ".join(known.spell(told[i]))
        )
    typer.echo(f"oracle WER {100 * found.wer:.2f} %")
