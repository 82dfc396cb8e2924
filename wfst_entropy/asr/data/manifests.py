"""Manifests of a corpus in LibriSpeech's layout, or cut sets of the user's own.

A bad utterance never stops a preparation: it is left out, and listed with file and cause in
`excluded_{part}.tsv` beside the manifests.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.manifest_files import (
    Excluded,
    count_excluded,
    excluded_file,
    is_newer,
    read_cuts,
    read_manifest,
    write_excluded,
    write_jsonl,
)
from wfst_entropy.fsa.atomic_file import replacing

PREFIX = "librispeech"
AUDIO_SUFFIXES = (".flac", ".wav")
SUBSETS = ("train", "dev", "test")
# 860 of LibriSpeech's 960 hours; the recipe leaves them out unless it is told --full-libri true.
FULL_LIBRI_PARTS = ("train-clean-360", "train-other-500")


_DATA_CHUNK = re.compile(r"data : (\d+) \(should be (\d+)\)")
# What programs that write to a pipe put in a WAV file's header is at least this.
_LENGTH_NOT_KNOWN = 2**31 - 2**16


@dataclass(frozen=True)
class PartSummary:
    """What was written for one part of a corpus.

    Attributes:
      part: its name.
      num_utterances: how many utterances can be used.
      seconds: their duration.
      num_excluded: how many were left out.
      skipped: the files were there already.
    """

    part: str
    num_utterances: int
    seconds: float
    num_excluded: int
    skipped: bool = False


def subset_of(part: str) -> str | None:
    """Returns "train", "dev" or "test", whichever the part's name begins with.

    >>> subset_of("train-clean-5"), subset_of("test-other"), subset_of("intro")
    ('train', 'test', None)
    """
    return next((subset for subset in SUBSETS if part.startswith(subset)), None)


def find_corpus_root(corpus_dir: Path | str) -> Path:
    """Returns the folder that holds the parts: `corpus_dir` or its subfolder `LibriSpeech`.

    Raises:
      DataError: there is no part with transcripts in either.
    """
    corpus_dir = Path(corpus_dir)
    for root in (corpus_dir, corpus_dir / "LibriSpeech"):
        if find_parts(root):
            return root
    raise DataError(
        f"{corpus_dir}: no folder named train*, dev* or test* with files *.trans.txt in it, nor in "
        f"{corpus_dir / 'LibriSpeech'}; give a folder in LibriSpeech's layout "
        "(PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt), or make the corpus first: "
        "prepare.sh --stage 0 --stop-stage 0"
    )


def find_parts(root: Path | str) -> list[str]:
    """Returns the names of the parts, folders train*, dev* and test* with transcripts, sorted."""
    root = Path(root)
    if not root.is_dir():
        return []
    return sorted(
        folder.name
        for folder in root.iterdir()
        if folder.is_dir()
        and subset_of(folder.name)
        and next(folder.rglob("*.trans.txt"), None) is not None
    )


def prepare_manifests(
    corpus_dir: Path | str,
    output_dir: Path | str,
    parts: Sequence[str] | None = None,
    *,
    num_threads: int = 4,
    on_progress: Callable[[str, int], None] | None = None,
) -> list[PartSummary]:
    """Writes `librispeech_{recordings,supervisions}_{part}.jsonl.gz` for every part.

    Left out and listed: audio that cannot be opened or ends too early, a transcript without audio,
    audio without a transcript, an empty transcript, an id that occurs before. Files newer than the
    transcripts are kept. Word times found in `SPEAKER-CHAPTER.words.jsonl` become the supervisions'
    alignment `word`.

    Args:
      corpus_dir: a folder in LibriSpeech's layout, or its parent.
      output_dir: where the manifests go.
      parts: which parts; by default all that are there.
      num_threads: files are probed by this many threads.
      on_progress: called with (part, number of utterances looked at since the last call).

    Returns:
      One summary for each part.

    Raises:
      DataError: a named part is not there, a part has not one usable utterance, or `output_dir` has
        manifests of another corpus.
    """
    root = find_corpus_root(corpus_dir)
    output_dir = Path(output_dir)
    found = find_parts(root)
    missing = sorted(set(parts or ()) - set(found))
    if missing:
        raise DataError(f"{root}: no part {', '.join(missing)}; it has {', '.join(found)}")
    _claim(output_dir, corpus=root)
    return [
        _prepare_part(root / part, output_dir, num_threads, on_progress) for part in parts or found
    ]


def _prepare_part(
    folder: Path,
    output_dir: Path,
    num_threads: int,
    on_progress: Callable[[str, int], None] | None,
) -> PartSummary:
    part = folder.name
    recordings_file = output_dir / f"{PREFIX}_recordings_{part}.jsonl.gz"
    supervisions_file = output_dir / f"{PREFIX}_supervisions_{part}.jsonl.gz"
    sources = folder.rglob("*.trans.txt")
    if is_newer(recordings_file, sources) and is_newer(supervisions_file, [recordings_file]):
        items = [item for _, item in read_manifest(supervisions_file)]
        seconds = sum(item.duration for item in items)
        return PartSummary(part, len(items), seconds, count_excluded(output_dir, part), True)
    lines, excluded = _read_transcripts(folder)
    recordings, supervisions = [], []
    times = _read_word_times(folder)
    with ThreadPoolExecutor(num_threads) as pool:
        probes = pool.map(lambda line: _probe_audio(line[0], line[2]), lines)
        for (utterance, text, audio), probe in zip(lines, probes, strict=True):
            if on_progress is not None:
                on_progress(part, 1)
            if isinstance(probe, str):
                excluded.append(Excluded(utterance, probe, str(audio)))
                continue
            recordings.append(probe)
            supervisions.append(_supervision(probe, text, times.get(utterance)))
    write_excluded(output_dir, part, excluded)
    if not recordings:
        raise DataError(
            f"{folder}: not one usable utterance, {len(excluded)} are left out; the causes are in "
            f"{excluded_file(output_dir, part)}"
        )
    write_jsonl(recordings_file, (r.to_dict() for r in recordings))
    write_jsonl(supervisions_file, (s.to_dict() for s in supervisions))
    return PartSummary(part, len(recordings), sum(r.duration for r in recordings), len(excluded))


def _read_transcripts(folder: Path) -> tuple[list[tuple[str, str, Path]], list[Excluded]]:
    """Reads (id, text, audio file) of every usable line, and lists what is not usable."""
    lines: list[tuple[str, str, Path]] = []
    excluded: list[Excluded] = []
    seen: dict[str, str] = {}
    for path in sorted(folder.rglob("*.trans.txt")):
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            excluded.append(Excluded(path.name, f"transcripts cannot be read: {error}", str(path)))
            continue
        for number, line in enumerate(content.splitlines(), start=1):
            utterance, *words = line.split() or [""]
            if not utterance:
                continue
            where = f"{path}:{number}"
            audio = _find_audio(path.parent, utterance)
            if utterance in seen:
                cause = f"the id occurs before, in {seen[utterance]}"
            elif not words:
                cause = "empty transcript"
            elif audio is None:
                cause = "no audio: none of " + ", ".join(utterance + s for s in AUDIO_SUFFIXES)
            else:
                cause = ""
                lines.append((utterance, " ".join(words), audio))
            if cause:
                excluded.append(Excluded(utterance, cause, where))
            seen.setdefault(utterance, where)
    for audio in sorted(folder.rglob("*")):
        if audio.suffix in AUDIO_SUFFIXES and audio.stem not in seen:
            excluded.append(Excluded(audio.stem, "audio without a transcript", str(audio)))
    return lines, excluded


def _find_audio(folder: Path, utterance: str) -> Path | None:
    files = (folder / f"{utterance}{suffix}" for suffix in AUDIO_SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _probe_audio(utterance: str, path: Path) -> Recording | str:
    """Returns the recording, or why it cannot be used.

    Only the header and the last sample are read, which finds a truncated file at little cost.
    """
    try:
        with soundfile.SoundFile(path) as file:
            num_samples, rate, channels = file.frames, file.samplerate, file.channels
            if num_samples == 0:
                return "the audio has no samples"
            file.seek(num_samples - 1)
            if len(file.read(1)) != 1:
                return f"the audio is truncated: sample {num_samples} cannot be read"
            # of a WAV file libsndfile takes what is there, and only notes what the header says
            promised = _DATA_CHUNK.search(file.extra_info)
            if promised and int(promised[1]) < _LENGTH_NOT_KNOWN:
                return f"the audio is truncated: {promised[2]} of {promised[1]} bytes are there"
    except (OSError, RuntimeError) as error:
        return f"the audio cannot be read: {error}"
    if channels != 1:
        return f"the audio has {channels} channels, one is needed"
    return Recording(
        id=utterance,
        sources=[AudioSource(type="file", channels=[0], source=str(path.resolve()))],
        sampling_rate=rate,
        num_samples=num_samples,
        duration=num_samples / rate,
    )


def _supervision(
    recording: Recording, text: str, alignment: list[AlignmentItem] | None
) -> SupervisionSegment:
    return SupervisionSegment(
        id=recording.id,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        language="English",
        speaker=recording.id.split("-")[0],
        text=text,
        alignment=None if alignment is None else {"word": alignment},
    )


def _read_word_times(folder: Path) -> dict[str, list[AlignmentItem]]:
    """Reads the sidecars of word times, if there are any; a damaged line is skipped and logged."""
    times: dict[str, list[AlignmentItem]] = {}
    for path in sorted(folder.rglob("*.words.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                item = json.loads(line)
                times[item["id"]] = [
                    AlignmentItem(symbol=word, start=start, duration=round(end - start, 4))
                    for word, start, end in zip(
                        item["words"], item["start"], item["end"], strict=True
                    )
                ]
            except (ValueError, KeyError, TypeError) as error:
                logging.warning("%s:%d: word times skipped: %s", path, number, error)
    return times


def prepare_cuts(files: Mapping[str, Path], output_dir: Path | str) -> list[PartSummary]:
    """Takes cut sets of the user's own: writes `librispeech_cuts_{subset}.jsonl.gz`.

    Cuts with several supervisions are divided into one for each. Left out and listed: a damaged
    line, a cut without recording or text, of several channels, or with an id that occurs before.
    Files newer than their source are kept.

    Args:
      files: subset ("train", "dev", "test") to a lhotse cut set, `.jsonl` or `.jsonl.gz`.
      output_dir: where the cut sets go.

    Raises:
      DataError: a file cannot be read or has not one usable cut, or `output_dir` has manifests of
        another source.
    """
    output_dir = Path(output_dir)
    _claim(output_dir, **files)
    summaries = []
    for subset, path in files.items():
        if is_newer(_cuts_file(output_dir, subset), [path]):
            summaries.append(_existing_cuts(output_dir, subset))
        else:
            summaries.append(_write_cuts(subset, *_usable_cuts(path), path, output_dir))
    return summaries


def split_cuts(
    path: Path | str, output_dir: Path | str, *, held_out: float = 0.05, seed: int = 0
) -> list[PartSummary]:
    """Takes one cut set and draws dev and test from it.

    Texts are drawn, `held_out` of the different ones for each (at least one), and all cuts of a
    text go the same way, so that no sentence is in two subsets. Otherwise as `prepare_cuts`.

    Raises:
      DataError: the file cannot be read, or has fewer than three different texts, or `output_dir`
        has manifests of another source.
    """
    path, output_dir = Path(path), Path(output_dir)
    _claim(output_dir, cuts=path)
    if all(is_newer(_cuts_file(output_dir, subset), [path]) for subset in SUBSETS):
        return [_existing_cuts(output_dir, subset) for subset in SUBSETS]
    cuts, excluded = _usable_cuts(path)
    texts = sorted({cut.supervisions[0].text for cut in cuts})
    if len(texts) < 3:
        raise DataError(
            f"{path}: {len(texts)} different texts are too few for train, dev and test; give three "
            "cut sets: --cuts-train, --cuts-dev, --cuts-test"
        )
    random.Random(seed).shuffle(texts)
    num = max(1, int(held_out * len(texts)))
    subset_of_text = dict.fromkeys(texts, "train")
    subset_of_text |= dict.fromkeys(texts[:num], "dev") | dict.fromkeys(
        texts[num : 2 * num], "test"
    )
    summaries = []
    for subset in SUBSETS:
        chosen = [cut for cut in cuts if subset_of_text[cut.supervisions[0].text] == subset]
        listed = excluded if subset == "train" else []
        summaries.append(_write_cuts(subset, chosen, listed, path, output_dir))
    return summaries


def _claim(output_dir: Path, **source: Path) -> None:
    """Makes the folder and notes in `source.json` what its manifests are made from.

    Without the note, another corpus would be skipped where its parts have the same names and are
    older, and mixed with the first one where they have not.

    Raises:
      DataError: the folder has manifests of another source.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    note = output_dir / "source.json"
    wanted = {name: str(path.resolve()) for name, path in source.items()}
    text = json.dumps(wanted) + "\n"
    if note.is_file():
        before = note.read_text(encoding="utf-8")
        if before == text:
            return
        if next(output_dir.glob(f"{PREFIX}_*.jsonl.gz"), None) is not None:
            raise DataError(
                f"{output_dir}: has manifests of {before.strip()}, not of {text.strip()}; give "
                "another --data-dir, or delete this folder and the features made from it"
            )
    with replacing(note) as file:
        file.write(text.encode("utf-8"))


def _cuts_file(output_dir: Path, subset: str) -> Path:
    return output_dir / f"{PREFIX}_cuts_{subset}.jsonl.gz"


def _existing_cuts(output_dir: Path, subset: str) -> PartSummary:
    cuts = read_cuts(_cuts_file(output_dir, subset))
    seconds = sum(cut.duration for cut in cuts)
    return PartSummary(subset, len(cuts), seconds, count_excluded(output_dir, subset), True)


def _write_cuts(
    subset: str, cuts: list[MonoCut], excluded: list[Excluded], path: Path, output_dir: Path
) -> PartSummary:
    write_excluded(output_dir, subset, excluded)
    if not cuts:
        raise DataError(
            f"{path}: not one usable cut, {len(excluded)} are left out; the causes are in "
            f"{excluded_file(output_dir, subset)}"
        )
    write_jsonl(_cuts_file(output_dir, subset), (cut.to_dict() for cut in cuts))
    return PartSummary(subset, len(cuts), sum(cut.duration for cut in cuts), len(excluded))


def _usable_cuts(path: Path) -> tuple[list[MonoCut], list[Excluded]]:
    cuts: list[MonoCut] = []
    excluded: list[Excluded] = []
    seen: set[str] = set()
    for number, item in read_manifest(path, on_error=excluded.append):
        where = f"{path}:{number}"
        if not isinstance(item, MonoCut):
            cause = f"needs a cut of one channel (MonoCut), got {type(item).__name__}"
            excluded.append(Excluded(str(getattr(item, "id", "")), cause, where))
            continue
        for cut in item.trim_to_supervisions() if len(item.supervisions) > 1 else [item]:
            if not cut.has_recording:
                cause = "no recording"
            elif not cut.supervisions or not (cut.supervisions[0].text or "").strip():
                cause = "no text"
            elif cut.id in seen:
                cause = "the id occurs before"
            else:
                cause = ""
                cuts.append(cut)
            if cause:
                excluded.append(Excluded(cut.id, cause, where))
            seen.add(cut.id)
    return cuts, excluded
