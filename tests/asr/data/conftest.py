"""Small corpora in LibriSpeech's layout, written by soundfile: coloured noise and a transcript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wfst_entropy.asr.data.fbank import compute_fbank
from wfst_entropy.asr.data.manifests import prepare_manifests
from wfst_entropy.asr.data.prepare_lang import prepare_lang

SENTENCES = [
    "THE DAY CAME",
    "AND IT WAS SO",
    "HE WENT UP TO THE CITY",
    "A MAN CAME TO THEM",
    "THEY SAW THE LAND",
    "SAY IT TO THE KING",
    "ALL THE PEOPLE HEARD",
    "WE WENT DOWN",
]


def write_noise(path: Path, seconds: float, seed: int = 0, rate: int = 16000) -> None:
    rng = np.random.default_rng(seed)
    soundfile.write(path, rng.normal(scale=0.1, size=int(seconds * rate)).astype(np.float32), rate)


def write_chapter(
    folder: Path, part: str, speaker: int, chapter: int, sentences: list[str]
) -> Path:
    chapter_dir = folder / "LibriSpeech" / part / str(speaker) / str(chapter)
    chapter_dir.mkdir(parents=True)
    name = f"{speaker}-{chapter}"
    lines = [f"{name}-{i:04d} {text}\n" for i, text in enumerate(sentences)]
    (chapter_dir / f"{name}.trans.txt").write_text("".join(lines))
    for i, text in enumerate(sentences):
        seconds = 0.4 + 0.09 * len(text)
        write_noise(chapter_dir / f"{name}-{i:04d}.flac", seconds, speaker * 100 + i)
    return chapter_dir


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Writes a corpus of three parts and returns the folder above `LibriSpeech`."""

    def make(num_chapters: int = 2) -> Path:
        folder = tmp_path / "corpus"
        for i in range(num_chapters):
            write_chapter(folder, "train-clean-5", 10 + i, 1, SENTENCES[:6])
        write_chapter(folder, "dev-clean-2", 30, 2, SENTENCES[5:7])
        write_chapter(folder, "test-clean-2", 40, 3, SENTENCES[6:])
        return folder

    return make


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with manifests, features and both kinds of lang directory; do not change it."""
    folder = tmp_path_factory.mktemp("prepared")
    for i in range(5):
        write_chapter(folder / "corpus", "train-clean-5", 10 + i, 1, SENTENCES[:6])
    write_chapter(folder / "corpus", "dev-clean-2", 30, 2, SENTENCES[5:7])
    write_chapter(folder / "corpus", "test-clean-2", 40, 3, SENTENCES[6:])
    prepare_manifests(folder / "corpus", folder / "manifests")
    for part in ("train-clean-5", "dev-clean-2", "test-clean-2"):
        compute_fbank(folder / "manifests", folder / "fbank", part, num_jobs=1)
    prepare_lang(SENTENCES, folder / "lang_char")
    prepare_lang(SENTENCES, folder / "lang_bpe_40", bpe_vocab_size=40)
    return folder
