from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import Fbank, FbankConfig, LilcomChunkyWriter, MonoCut

from wfst_entropy.asr.data import fbank
from wfst_entropy.asr.data.errors import DataError, MissingDependencyError
from wfst_entropy.asr.data.fbank import compute_fbank, make_extractor
from wfst_entropy.asr.data.manifest_files import read_cuts
from wfst_entropy.asr.data.manifests import prepare_manifests

MakeCorpus = Callable[..., Path]
# lilcom keeps multiples of 1/32
STORED = 1 / 32


@pytest.fixture
def manifests(make_corpus: MakeCorpus, tmp_path: Path) -> Path:
    prepare_manifests(make_corpus(), tmp_path / "manifests")
    return tmp_path / "manifests"


def test_stored_features_are_lhotses(manifests: Path, tmp_path: Path) -> None:
    compute_fbank(manifests, tmp_path / "fbank", "test-clean-2", num_jobs=1)
    cuts = list(read_cuts(tmp_path / "fbank" / "librispeech_cuts_test-clean-2.jsonl.gz"))
    assert [cut.id for cut in cuts] == ["40-3-0000", "40-3-0001"]
    extractor = Fbank(FbankConfig(num_mel_bins=80))
    for cut in cuts:
        expected = extractor.extract(cut.load_audio(), 16000)
        stored = cut.load_features()
        assert stored.shape == (round(cut.duration * 100), 80)
        np.testing.assert_allclose(stored, expected, atol=STORED)


def test_kaldi_native_fbank_agrees_with_lhotse() -> None:
    pytest.importorskip("kaldi_native_fbank")
    samples = np.random.default_rng(0).normal(scale=0.1, size=(1, 16123)).astype(np.float32)
    ours = make_extractor("kaldi-native-fbank").extract(samples, 16000)
    theirs = make_extractor("lhotse").extract(samples, 16000)
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_speed_perturbation_triples_the_training_data(manifests: Path, tmp_path: Path) -> None:
    summary = compute_fbank(
        manifests, tmp_path / "fbank", "train-clean-5", perturb_speed=True, num_jobs=1
    )
    assert summary.num_utterances == 36
    cuts = {
        cut.id: cut
        for cut in read_cuts(tmp_path / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz")
    }
    plain = cuts["10-1-0002"]
    for speed in (0.9, 1.1):
        fast = cuts[f"10-1-0002_sp{speed}"]
        assert fast.duration == pytest.approx(plain.duration / speed, abs=1e-3)
        assert abs(fast.load_features().shape[0] - plain.num_frames / speed) <= 1
        assert fast.supervisions[0].text == plain.supervisions[0].text
    # in random order: no longer all of one speed together
    speeds = [cut_id[9:] for cut_id in cuts]
    assert speeds != sorted(speeds)


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(
    manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fbank, "_SHARD_SIZE", 10)
    folder = tmp_path / "fbank"
    results = []
    for num_jobs in (1, 2):
        compute_fbank(manifests, folder, "train-clean-5", perturb_speed=True, num_jobs=num_jobs)
        archives = sorted((folder / "librispeech_feats_train-clean-5").iterdir())
        assert len(archives) == 4
        cuts_file = folder / "librispeech_cuts_train-clean-5.jsonl.gz"
        results.append((cuts_file.read_bytes(), [a.read_bytes() for a in archives]))
        cuts_file.unlink()
    assert results[0] == results[1]


def test_an_utterance_that_fails_is_listed_and_stops_nothing(
    manifests: Path, tmp_path: Path
) -> None:
    chapter = tmp_path / "corpus" / "LibriSpeech" / "train-clean-5" / "10" / "1"
    (chapter / "10-1-0000.flac").unlink()
    good = (chapter / "10-1-0001.flac").read_bytes()
    # damaged in the middle, where a look at header and end does not see it
    (chapter / "10-1-0001.flac").write_bytes(
        good[: len(good) // 3] + bytes(400) + good[len(good) // 3 + 400 :]
    )
    # shorter than when the manifest was made
    soundfile.write(chapter / "10-1-0002.flac", np.zeros(800), 16000)
    summary = compute_fbank(manifests, tmp_path / "fbank", "train-clean-5", num_jobs=1)
    assert summary.num_utterances == 9
    rows = (tmp_path / "fbank" / "excluded_train-clean-5.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["10-1-0000", "10-1-0001", "10-1-0002"]
    assert all(row.split("\t")[2].endswith(".flac") for row in rows)
    assert summary.num_excluded == 3


def test_features_there_are_kept_and_other_options_are_refused(
    manifests: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fbank"
    compute_fbank(manifests, folder, "train-clean-5", num_jobs=1)
    assert compute_fbank(manifests, folder, "train-clean-5", num_jobs=1).skipped
    with pytest.raises(DataError, match=r"librispeech_cuts_train-clean-5.*delete the file"):
        compute_fbank(manifests, folder, "train-clean-5", perturb_speed=True)
    with pytest.raises(DataError, match=r"\('kaldi-fbank', 80, False\), not \('kaldi-fbank', 40"):
        compute_fbank(manifests, folder, "train-clean-5", num_mel_bins=40)


def test_a_full_disk_is_named_and_leaves_nothing_half(
    manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: LilcomChunkyWriter, key: str, value: np.ndarray) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "fbank"
    compute_fbank(manifests, folder, "dev-clean-2", num_jobs=1)
    monkeypatch.setattr(LilcomChunkyWriter, "write", full)
    with pytest.raises(OSError, match=r"the disk is full; free some space.*feats-00000.lca"):
        compute_fbank(manifests, folder, "train-clean-5", num_jobs=1)
    assert not (folder / "librispeech_cuts_train-clean-5.jsonl.gz").exists()
    monkeypatch.undo()
    assert compute_fbank(manifests, folder, "dev-clean-2", num_jobs=1).skipped
    assert not compute_fbank(manifests, folder, "train-clean-5", num_jobs=1).skipped


def test_an_interrupted_part_goes_on_after_its_last_whole_archive(
    manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fbank, "_SHARD_SIZE", 5)
    (tmp_path / "corpus/LibriSpeech/train-clean-5/10/1/10-1-0001.flac").unlink()
    folders = [tmp_path / name for name in ("whole", "interrupted")]
    compute_fbank(manifests, folders[0], "train-clean-5", num_jobs=1)
    extracted: list[str] = []
    real = fbank._extract

    def extract(extractor: Fbank, cut: MonoCut) -> np.ndarray | str:
        extracted.append(cut.id)
        if len(extracted) == 8:
            raise KeyboardInterrupt
        return real(extractor, cut)

    monkeypatch.setattr(fbank, "_extract", extract)
    with pytest.raises(KeyboardInterrupt):
        compute_fbank(manifests, folders[1], "train-clean-5", num_jobs=1)
    compute_fbank(manifests, folders[1], "train-clean-5", num_jobs=1)
    assert extracted[8:] == extracted[5:7] + extracted[10:]
    assert len(extracted) == 8 + 12 - 5
    # as if it had never been interrupted
    for pattern in ("librispeech_feats_train-clean-5/*", "excluded_train-clean-5.tsv"):
        files = [sorted(folder.glob(pattern)) for folder in folders]
        assert [p.name for p in files[0]] == [p.name for p in files[1]]
        assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    cuts = [
        [(c.id, c.duration, c.features.storage_key) for c in read_cuts(path)]
        for path in (f / "librispeech_cuts_train-clean-5.jsonl.gz" for f in folders)
    ]
    assert cuts[0] == cuts[1] and len(cuts[0]) == 11

    extracted.clear()  # with other settings nothing is kept
    folder = tmp_path / "changed"
    with pytest.raises(KeyboardInterrupt):
        compute_fbank(manifests, folder, "train-clean-5", num_jobs=1)
    compute_fbank(manifests, folder, "train-clean-5", num_jobs=1, num_mel_bins=40)
    assert len(extracted) == 8 + 12


def test_missing_manifests_name_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"recordings_x.jsonl.gz: no such file; run .*--stage 1"):
        compute_fbank(tmp_path, tmp_path / "fbank", "x")


def test_a_recording_at_another_rate_is_resampled(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(1)
    audio = corpus / "LibriSpeech" / "test-clean-2" / "40" / "3" / "40-3-0000.flac"
    t = np.arange(8000) / 8000
    soundfile.write(audio, 0.3 * np.sin(2 * np.pi * 1000 * t), 8000)
    prepare_manifests(corpus, tmp_path / "manifests", ["test-clean-2"])
    compute_fbank(tmp_path / "manifests", tmp_path / "fbank", "test-clean-2", num_jobs=1)
    cut = read_cuts(tmp_path / "fbank" / "librispeech_cuts_test-clean-2.jsonl.gz")["40-3-0000"]
    assert cut.sampling_rate == 16000
    features = cut.load_features()
    assert features.shape == (100, 80)
    # a tone of 1 kHz lies at 1000 mel, a little below the middle of the 20 to 7600 Hz range
    assert 25 < features[50].argmax() < 35


def test_an_extractor_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldifeat", None)
    with pytest.raises(MissingDependencyError, match=r"extractor kaldifeat: .*--extractor lhotse"):
        make_extractor("kaldifeat")


def test_an_extractor_built_for_another_torch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # such a wheel raises OSError, no ImportError
    (tmp_path / "torchaudio.py").write_text("raise OSError('libcudart.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with pytest.raises(MissingDependencyError, match=r"extractor torchaudio: .*libcudart"):
        make_extractor("torchaudio")


def test_an_unknown_extractor_is_refused() -> None:
    with pytest.raises(DataError, match=r"needs one of lhotse, kaldi-native-fbank, .* got 'mfcc'"):
        make_extractor("mfcc")  # type: ignore[arg-type]
