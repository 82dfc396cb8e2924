from __future__ import annotations

import json
import resource
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.asr.data import mini_corpus
from wfst_entropy.asr.data.errors import DataError, MissingDependencyError
from wfst_entropy.asr.data.espeak import Espeak, SpeechEvent
from wfst_entropy.asr.data.mini_corpus import (
    DEV,
    SPEAKERS,
    TEST,
    TRAIN,
    MiniCorpusOptions,
    generate_mini_corpus,
    read_clauses,
    word_times,
)

CLAUSES = Path(__file__).parents[3] / "recipes" / "librispeech" / "mini_corpus" / "clauses.txt"
OPTIONS = MiniCorpusOptions(train_hours=0.01, num_dev=8, num_test=8, seed=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    return generate_mini_corpus(tmp_path_factory.mktemp("mini"), CLAUSES, OPTIONS)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def transcripts(root: Path, part: str) -> dict[str, str]:
    lines = [
        line for path in (root / part).rglob("*.trans.txt") for line in path.read_text().split("\n")
    ]
    return dict(line.split(" ", 1) for line in lines if line)


def test_the_shipped_clauses_are_plain_and_few_words_cover_them() -> None:
    clauses = read_clauses(CLAUSES)
    words = {word for clause in clauses for word in clause.split()}
    assert len(clauses) == len(set(clauses)) == 6000
    assert len(words) == 300
    assert all(4 <= len(clause.split()) <= 12 for clause in clauses)


@pytest.mark.slow
def test_same_options_give_the_same_bytes_whatever_the_number_of_processes(
    corpus: Path, tmp_path: Path
) -> None:
    again = generate_mini_corpus(tmp_path, CLAUSES, OPTIONS, num_jobs=1)
    assert contents(again) == contents(corpus)


def test_layout_is_librispeechs(corpus: Path) -> None:
    texts = transcripts(corpus, TEST)
    assert len(texts) == 8
    for utterance, text in texts.items():
        speaker, chapter, number = utterance.split("-")
        audio = corpus / TEST / speaker / chapter / f"{utterance}.flac"
        info = soundfile.info(audio)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert len(number) == 4
        assert text == text.upper()
    speakers = {int(path.name) for path in (corpus / TRAIN).iterdir() if path.is_dir()}
    assert speakers == {s.id for s in SPEAKERS if TRAIN in s.parts}
    assert (corpus / "SPEAKERS.TXT").read_text().count("espeak-ng") == len(SPEAKERS)


def test_training_has_the_hours_asked_for(corpus: Path) -> None:
    seconds = sum(soundfile.info(p).duration for p in (corpus / TRAIN).rglob("*.flac"))
    # each of sixteen speakers stops after the utterance that fills its share
    assert 36.0 <= seconds < 36.0 + 16 * 6.0


def test_no_sentence_is_in_two_parts_and_some_speakers_are_new(corpus: Path) -> None:
    texts = [set(transcripts(corpus, part).values()) for part in (TRAIN, DEV, TEST)]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]
    for part in (DEV, TEST):
        kinds = {TRAIN in s.parts for s in SPEAKERS if part in s.parts}
        assert kinds == {True, False}


def test_word_times_lie_within_the_audio_and_in_order(corpus: Path) -> None:
    seen = 0
    for path in corpus.rglob("*.words.jsonl"):
        part = path.relative_to(corpus).parts[0]
        texts = transcripts(corpus, part)
        for line in path.read_text().splitlines():
            item = json.loads(line)
            samples, rate = soundfile.read(path.parent / f"{item['id']}.flac")
            assert " ".join(item["words"]) == texts[item["id"]]
            times = np.array([item["start"], item["end"]]).T
            assert (times[:, 0] < times[:, 1]).all()
            assert (times[1:, 0] >= times[:-1, 1] - 1e-4).all()
            assert times[0, 0] >= 0.1
            assert times[-1, 1] <= len(samples) / rate - 0.1
            # the sound is where the times say it is: loud between the first onset and the last
            # end, only noise before and after
            power = [
                np.sqrt(np.mean(samples[int(a * rate) : int(b * rate)] ** 2))
                for a, b in ((times[0, 0], times[-1, 1]), (0.0, times[0, 0]))
            ]
            assert power[0] > 20 * power[1]
            seen += 1
    assert seen > 20


@pytest.mark.slow
def test_a_complete_corpus_is_kept_and_other_options_make_it_anew(
    corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(corpus, tmp_path / "LibriSpeech")
    made: list[str] = []
    generate_mini_corpus(tmp_path, CLAUSES, OPTIONS, on_progress=lambda part, s: made.append(part))
    assert made == []
    other = MiniCorpusOptions(train_hours=0.01, num_dev=8, num_test=8, seed=4)
    generate_mini_corpus(tmp_path, CLAUSES, other, on_progress=lambda part, s: made.append(part))
    assert set(made) == {TRAIN, DEV, TEST}
    assert transcripts(tmp_path / "LibriSpeech", TEST) != transcripts(corpus, TEST)


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    theirs = tmp_path / "LibriSpeech" / TEST
    theirs.mkdir(parents=True)
    (theirs / "precious").write_text("x")
    with pytest.raises(FileExistsError, match="was not made by the mini corpus generator"):
        generate_mini_corpus(tmp_path, CLAUSES, OPTIONS)
    assert (theirs / "precious").read_text() == "x"


def test_an_interrupted_part_is_made_again(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "LibriSpeech")
    root = tmp_path / "LibriSpeech"
    (root / DEV).rename(root / f".{DEV}.unfinished")
    next((root / f".{DEV}.unfinished").rglob("*.flac")).unlink()
    generate_mini_corpus(tmp_path, CLAUSES, OPTIONS)
    assert contents(root) == contents(corpus)


def test_the_synthesiser_tells_words_and_phonemes() -> None:
    pytest.importorskip("espeakng_loader")
    synthesiser = Espeak("en-us", words_per_minute=150)
    text = "behold the city"
    samples, events = synthesiser.synthesise(text)
    assert samples.dtype == np.int16
    assert 0.5 < len(samples) / synthesiser.sample_rate < 3.0
    words = [e for e in events if e.kind == "word"]
    assert [text[e.text_position :][: e.length] for e in words] == ["behold", "the", "city"]
    assert all(0 <= e.sample <= len(samples) for e in events)
    assert sum(e.kind == "phoneme" for e in events) > 8


def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-99, 99, 16000, dtype=np.int16)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"a.flac: cannot be written: "):
            mini_corpus._write_flac(tmp_path / "a.flac", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_unknown_voice_is_named() -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(DataError, match="no voice 'nonesuch'"):
        Espeak("nonesuch")


def test_without_the_wheel_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependencyError, match=r"wfst-entropy\[demo\]"):
        generate_mini_corpus(tmp_path, CLAUSES, OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MiniCorpusOptions(train_hours=0), "train_hours must be positive, got 0"),
        (MiniCorpusOptions(num_test=0), "num_dev and num_test must be at least 1, got 200, 0"),
        (MiniCorpusOptions(num_dev=6000), "6000 clauses leave none for training"),
    ],
)
def test_impossible_options_are_refused(
    tmp_path: Path, options: MiniCorpusOptions, message: str
) -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(DataError, match=message):
        generate_mini_corpus(tmp_path, CLAUSES, options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A B\nC, D\n", r":2: a clause may hold A-Z"),
        ("# x\nA B\nC D\nA  B\n", r":4: the clause of line 2 again"),
        ("# nothing\n\n", "no clause in it"),
    ],
)
def test_bad_lists_of_clauses_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "clauses.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_clauses(tmp_path / "clauses.txt")


@given(st.lists(st.text("ABC", min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_words_tile_the_speech_whichever_words_have_an_event(
    words: list[str], data: st.DataObject
) -> None:
    positions = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    has_event = [True, *(data.draw(st.booleans()) for _ in words[1:])]
    events = [
        SpeechEvent("word", 100 * i, int(position), len(words[i]))
        for i, position in enumerate(positions)
        if has_event[i]
    ]
    times = word_times(words, events, 100 * len(words))
    assert len(times) == len(words)
    assert times[0][0] == 0
    assert times[-1][1] == 100 * len(words)
    for (_, end, group), (start, _, next_group) in pairwise(times):
        assert start == pytest.approx(end)
        assert next_group - group in (0, 1)
    assert times[-1][2] + 1 == sum(has_event)
