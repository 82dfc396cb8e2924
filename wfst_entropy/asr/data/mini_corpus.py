"""A small speech corpus in LibriSpeech's layout, spoken by a synthesiser from a list of clauses.

The corpus exists so that every recipe can run anywhere, in minutes and without a download; it is
read by the same scripts as the real LibriSpeech. Since a synthesiser speaks, the true time of every
word is known and kept beside the transcripts.

Layout (16 kHz, one channel, 16 bits)::

    LibriSpeech/
      SPEAKERS.TXT
      train-clean-5/ dev-clean-2/ test-clean-2/
        SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac
        SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt
        SPEAKER/CHAPTER/SPEAKER-CHAPTER.words.jsonl

A line of the last file is `{"id", "words", "start", "end", "event"}`, times in seconds from the
start of the file. The synthesiser runs some neighbouring function words together ("of the") and
reports one onset for the group: such words carry the same number in `event`, and the boundaries
between them are interpolated in proportion to their letters.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from wfst_entropy.asr.data.errors import DataError, SynthesisError
from wfst_entropy.asr.data.espeak import Espeak, SpeechEvent, find_library
from wfst_entropy.asr.data.processes import process_context
from wfst_entropy.fsa.atomic_file import replacing

SAMPLE_RATE = 16000
TRAIN, DEV, TEST = "train-clean-5", "dev-clean-2", "test-clean-2"
UTTERANCES_PER_CHAPTER = 100
# Changes when the same options would give other bytes, so that old corpora are made anew.
_VERSION = 1
_MARKER = ".completed"


@dataclass(frozen=True)
class Speaker:
    """A voice with its habits.

    Attributes:
      id: the number in file names.
      sex: "M" or "F".
      voice: name of the espeak-ng voice and variant.
      words_per_minute: speaking rate.
      pitch: 0 to 100, 50 is the voice's own.
      parts: the parts of the corpus it speaks in.
    """

    id: int
    sex: str
    voice: str
    words_per_minute: int
    pitch: int
    parts: tuple[str, ...]


# Sixteen voices train; eight of them return in dev and eight in test (with other sentences), and
# two more voices are heard in dev only and two in test only.
SPEAKERS = (
    Speaker(101, "M", "en-us", 150, 50, (TRAIN, DEV)),
    Speaker(102, "M", "en-us+m3", 165, 45, (TRAIN, TEST)),
    Speaker(103, "F", "en-us+f2", 155, 50, (TRAIN, DEV)),
    Speaker(104, "F", "en-us+f1", 145, 45, (TRAIN, TEST)),
    Speaker(105, "M", "en-us+Alex", 170, 40, (TRAIN, DEV)),
    Speaker(106, "M", "en-us+m1", 140, 55, (TRAIN, TEST)),
    Speaker(107, "M", "en", 160, 50, (TRAIN, DEV)),
    Speaker(108, "M", "en+m7", 150, 45, (TRAIN, TEST)),
    Speaker(109, "F", "en+f3", 145, 45, (TRAIN, DEV)),
    Speaker(110, "F", "en+f2", 170, 55, (TRAIN, TEST)),
    Speaker(111, "M", "en-gb-x-rp", 155, 40, (TRAIN, DEV)),
    Speaker(112, "F", "en-gb-x-rp+f4", 150, 50, (TRAIN, TEST)),
    Speaker(113, "M", "en-gb-x-rp+m4", 175, 50, (TRAIN, DEV)),
    Speaker(114, "M", "en-gb-scotland+m3", 150, 50, (TRAIN, TEST)),
    Speaker(115, "F", "en-gb-scotland+f2", 140, 50, (TRAIN, DEV)),
    Speaker(116, "M", "en-gb-x-gbclan+m2", 155, 55, (TRAIN, TEST)),
    Speaker(201, "M", "en+m3", 155, 50, (DEV,)),
    Speaker(202, "F", "en-us+f4", 150, 50, (DEV,)),
    Speaker(301, "M", "en-gb-x-rp+m3", 160, 55, (TEST,)),
    Speaker(302, "F", "en-us+f3", 150, 45, (TEST,)),
)
_PART_NUMBER = {TRAIN: 1, DEV: 2, TEST: 3}


@dataclass(frozen=True)
class MiniCorpusOptions:
    """What to make.

    Attributes:
      train_hours: hours of speech in the training part (exceeded by less than one utterance per
        speaker). When the clauses run out, further speakers repeat them.
      num_dev: number of utterances in the development part.
      num_test: number of utterances in the test part.
      seed: of the choice of sentences, pauses, loudness and noise.
    """

    train_hours: float = 3.0
    num_dev: int = 200
    num_test: int = 200
    seed: int = 0


@dataclass(frozen=True)
class _Job:
    """One speaker's share of one part; runs in a process of its own."""

    part: str
    speaker: Speaker
    clauses: tuple[str, ...]
    max_seconds: float
    seed: int
    folder: Path


def read_clauses(path: Path | str) -> list[str]:
    """Reads a list of clauses: one a line, capital letters and apostrophes, `#` starts a comment.

    Raises:
      FileNotFoundError: there is no such file.
      DataError: a clause has other characters or stands twice, or there is none.
    """
    seen: dict[str, int] = {}
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            clause = " ".join(line.split())
            if not clause or clause.startswith("#"):
                continue
            if set(clause) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' "):
                raise DataError(f"{path}:{number}: a clause may hold A-Z, ' and spaces: {clause!r}")
            if clause in seen:
                raise DataError(f"{path}:{number}: the clause of line {seen[clause]} again")
            seen[clause] = number
    if not seen:
        raise DataError(f"{path}: no clause in it")
    return list(seen)


def generate_mini_corpus(
    output_dir: Path | str,
    clauses_file: Path | str,
    options: MiniCorpusOptions | None = None,
    *,
    num_jobs: int = 2,
    on_progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Speaks the corpus into `output_dir/LibriSpeech`.

    A part that was made with the same options is kept, one made with other options is replaced.

    The same options and clauses give the same files, whatever the number of jobs. A part is made in
    a folder of another name and renamed when it is whole.

    Args:
      output_dir: where `LibriSpeech` is made.
      clauses_file: the sentences, see `read_clauses`.
      options: what to make.
      num_jobs: number of processes at work at a time.
      on_progress: called with (part, seconds of speech made since the last call), from threads.

    Returns:
      The folder `LibriSpeech`.

    Raises:
      FileExistsError: a part's folder exists and was not made by this function.
      DataError: an option is out of range, or there are too few clauses.
      SynthesisError: the synthesiser failed.
      MissingDependencyError: the wheel `espeakng-loader` is missing.
    """
    find_library()
    options = options or MiniCorpusOptions()
    clauses = read_clauses(clauses_file)
    shares = _split_clauses(clauses, options)
    root = Path(output_dir) / "LibriSpeech"
    root.mkdir(parents=True, exist_ok=True)
    recipe = _recipe(clauses, options)
    for part in (TEST, DEV, TRAIN):
        folder = root / part
        if _is_complete(folder, recipe):
            continue
        unfinished = root / f".{part}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        jobs = list(_jobs_of_part(part, shares[part], options, unfinished))
        _run_jobs(jobs, num_jobs, on_progress)
        (unfinished / _MARKER).write_text(recipe, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # a part made with other options
        unfinished.replace(folder)
    _write_speakers(root)
    return root


def _recipe(clauses: Sequence[str], options: MiniCorpusOptions) -> str:
    digest = hashlib.sha256("\n".join(clauses).encode()).hexdigest()
    return json.dumps({"version": _VERSION, **asdict(options), "clauses_sha256": digest}) + "\n"


def _is_complete(folder: Path, recipe: str) -> bool:
    if not folder.exists():
        return False
    marker = folder / _MARKER
    if not marker.is_file():
        raise FileExistsError(
            f"{folder} exists and was not made by the mini corpus generator (it has no file "
            f"{_MARKER}); move it away or give another output directory"
        )
    return marker.read_text(encoding="utf-8") == recipe


def _split_clauses(clauses: Sequence[str], options: MiniCorpusOptions) -> dict[str, list[str]]:
    """Divides the clauses among the parts, in random order; no clause is in two parts."""
    if options.train_hours <= 0:
        raise DataError(f"train_hours must be positive, got {options.train_hours}")
    if options.num_dev < 1 or options.num_test < 1:
        raise DataError(
            f"num_dev and num_test must be at least 1, got {options.num_dev}, {options.num_test}"
        )
    held_out = options.num_dev + options.num_test
    if held_out >= len(clauses):
        raise DataError(
            f"{len(clauses)} clauses leave none for training when num_dev + num_test is {held_out}"
        )
    order = list(clauses)
    random.Random(options.seed).shuffle(order)
    return {
        TEST: order[: options.num_test],
        DEV: order[options.num_test : held_out],
        TRAIN: order[held_out:],
    }


def _jobs_of_part(
    part: str, clauses: Sequence[str], options: MiniCorpusOptions, folder: Path
) -> Iterator[_Job]:
    speakers = [speaker for speaker in SPEAKERS if part in speaker.parts]
    n = len(speakers)
    shares = [tuple(clauses[index::n]) for index in range(n)]
    for index, speaker in enumerate(speakers):
        max_seconds = float("inf")
        share = shares[index]
        if part == TRAIN:
            max_seconds = options.train_hours * 3600 / n
            # The speaker's own clauses first, then the neighbours', and so round as long as needed.
            share = tuple(c for shift in range(n) for c in shares[(index + shift) % n])
        if share:
            yield _Job(part, speaker, share, max_seconds, options.seed, folder)


def _run_jobs(
    jobs: Sequence[_Job], num_jobs: int, on_progress: Callable[[str, float], None] | None
) -> None:
    """Runs every job in a fresh process, `num_jobs` at a time; the first failure stops the rest.

    A fresh process gives every speaker a synthesiser in its initial state, which makes the result
    independent of the number of processes and of their order.
    """
    context = process_context(__name__, "soundfile", "soxr")

    def supervise(job: _Job) -> None:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_job_main, args=(job, sender), daemon=True)  # type: ignore[attr-defined]
        process.start()
        sender.close()
        try:
            while (message := receiver.recv())[0] == "seconds":
                if on_progress is not None:
                    on_progress(job.part, message[1])
        except EOFError:
            process.join()
            message = ("error", f"its process ended with code {process.exitcode}")
        process.join()
        if message[0] == "error":
            raise SynthesisError(
                f"speaker {job.speaker.id} ({job.speaker.voice}) of {job.part}: {message[1]}"
            )

    with ThreadPoolExecutor(max_workers=num_jobs) as pool:
        futures = [pool.submit(supervise, job) for job in jobs]
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in done:
            future.result()


def _job_main(job: _Job, sender: Connection) -> None:
    try:
        for seconds in _speak_share(job):
            sender.send(("seconds", seconds))
        sender.send(("done", 0.0))
    except (OSError, RuntimeError, ValueError) as error:  # raised again in the parent process
        sender.send(("error", f"{type(error).__name__}: {error}"))


def _speak_share(job: _Job) -> Iterator[float]:
    """Writes a speaker's chapters; yields the seconds of speech after each."""
    speaker = job.speaker
    synthesiser = Espeak(
        speaker.voice, speaker.words_per_minute, speaker.pitch, seed=job.seed * 1000 + speaker.id
    )
    total = 0.0
    pending = iter(job.clauses)
    chapter = _PART_NUMBER[job.part] * 1000
    clause = next(pending, None)
    while clause is not None and total < job.max_seconds:
        chapter += 1
        name = f"{speaker.id}-{chapter}"
        folder = job.folder / str(speaker.id) / str(chapter)
        folder.mkdir(parents=True)
        transcripts: list[str] = []
        times: list[str] = []
        seconds = 0.0
        while (
            clause is not None
            and total + seconds < job.max_seconds
            and len(transcripts) < UTTERANCES_PER_CHAPTER
        ):
            utterance = f"{name}-{len(transcripts):04d}"
            samples, words = _speak(synthesiser, clause, job.seed, (speaker.id, chapter), utterance)
            _write_flac(folder / f"{utterance}.flac", samples)
            seconds += len(samples) / SAMPLE_RATE
            transcripts.append(f"{utterance} {clause}\n")
            times.append(json.dumps({"id": utterance, **words}) + "\n")
            clause = next(pending, None)
        _write(folder / f"{name}.trans.txt", "".join(transcripts).encode("utf-8"))
        _write(folder / f"{name}.words.jsonl", "".join(times).encode("utf-8"))
        total += seconds
        yield seconds


def _write_flac(path: Path, samples: np.ndarray) -> None:
    import soundfile

    # Through memory: libsndfile does not tell why a file could not be written.
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    # In place: the folder of an unfinished part has another name.
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error.strerror or error}") from error


def _speak(
    synthesiser: Espeak, clause: str, seed: int, chapter: tuple[int, int], utterance: str
) -> tuple[np.ndarray, dict[str, list]]:
    """One utterance: int16 samples at 16 kHz between two short pauses, and its word times."""
    import soxr

    rng = np.random.default_rng([seed, *chapter, int(utterance.rsplit("-", 1)[1])])
    words = clause.split()
    # Capitals may be read as abbreviations ("US"); "I" and "O" are words in capitals only.
    text = " ".join(word if word in ("I", "O") else word.lower() for word in words)
    spoken, events = synthesiser.synthesise(text)
    speech = soxr.resample(spoken.astype(np.float32), synthesiser.sample_rate, SAMPLE_RATE)
    before, after = rng.integers(SAMPLE_RATE // 10, SAMPLE_RATE // 4, size=2)
    signal = np.pad(speech, (before, after)) * np.float32(rng.uniform(0.4, 0.9))
    # Recording noise of 3 to 12 units of 16 bits, some 50 dB below the speech.
    signal += rng.standard_normal(len(signal), dtype=np.float32) * np.float32(rng.uniform(3, 12))
    samples = np.clip(np.rint(signal), -32768, 32767).astype(np.int16)
    num_spoken = len(spoken)
    times = word_times(words, events, num_spoken)
    offset, rate = before / SAMPLE_RATE, synthesiser.sample_rate
    return samples, {
        "words": words,
        "start": [round(offset + start / rate, 4) for start, _, _ in times],
        "end": [round(offset + end / rate, 4) for _, end, _ in times],
        "event": [event for _, _, event in times],
    }


def word_times(
    words: Sequence[str], events: Sequence[SpeechEvent], num_samples: int
) -> list[tuple[float, float, int]]:
    """Turns a synthesiser's events into times of words.

    A word ends where the next begins or where a pause begins. Words that the synthesiser ran
    together divide the time of their group in proportion to their letters.

    Args:
      words: the words of the text, which was `" ".join(words)`.
      events: words and phonemes in order of onset.
      num_samples: length of the speech.

    Returns:
      For each word (start, end, number of its word event), in samples.

    Raises:
      SynthesisError: there is no event for the first word.

    >>> events = [SpeechEvent("word", 0, 0, 2), SpeechEvent("word", 60, 8, 3),
    ...           SpeechEvent("phoneme", 90, 10, 0, "_:")]
    >>> word_times(["OF", "THEM", "ALL"], events, 100)
    [(0.0, 20.0, 0), (20.0, 60.0, 0), (60.0, 90.0, 1)]
    """
    positions = [sum(len(w) + 1 for w in words[:i]) for i in range(len(words))]
    onsets: dict[int, int] = {}  # number of the group's first word -> sample
    for event in events:
        if event.kind == "word":
            onsets.setdefault(bisect_right(positions, event.text_position) - 1, event.sample)
    firsts = sorted(onsets)
    if not firsts or firsts[0] != 0:
        raise SynthesisError(
            f"the synthesiser gave no time for the first word of {' '.join(words)!r}"
        )
    pauses = [e.sample for e in events if e.kind == "phoneme" and e.phoneme.startswith("_")]
    times: list[tuple[float, float, int]] = []
    for number, first in enumerate(firsts):
        last = number + 1 == len(firsts)
        start, stop = onsets[first], num_samples if last else onsets[firsts[number + 1]]
        stop = min([pause for pause in pauses if start < pause] + [stop])
        group = words[first:] if last else words[first : firsts[number + 1]]
        letters = sum(map(len, group))
        spoken = 0
        for word in group:
            begin = start + (stop - start) * spoken / letters
            spoken += len(word)
            times.append((begin, start + (stop - start) * spoken / letters, number))
    return times


def _write_speakers(root: Path) -> None:
    lines = [";ID  |SEX| SUBSETS | NAME\n"]
    for s in SPEAKERS:
        lines.append(
            f"{s.id:<5}| {s.sex} | {' '.join(s.parts)} | espeak-ng {s.voice}, "
            f"{s.words_per_minute} words per minute, pitch {s.pitch}\n"
        )
    with replacing(root / "SPEAKERS.TXT") as file:
        file.write("".join(lines).encode("utf-8"))
