from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lhotse.dataset import K2SpeechRecognitionDataset

from wfst_entropy.asr.data import asr_datamodule
from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.manifest_files import read_cuts, write_jsonl
from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.errors import FsaFormatError

Batch = dict[str, Any]


def options(data: Path, **values: Any) -> DataOptions:
    paths = {"manifest_dir": data / "fbank", "lang_dir": data / "lang_char"}
    return DataOptions(**{**paths, "max_duration": 6.0, "num_buckets": 3, **values})


def ids(batch: Batch) -> list[str]:
    return [cut.id for cut in batch["supervisions"]["cut"]]


def same(a: Iterable[Batch], b: Iterable[Batch]) -> bool:
    """Whether utterances and augmented features are equal to the last bit."""
    a, b = list(a), list(b)
    return [ids(x) for x in a] == [ids(x) for x in b] and all(
        torch.equal(x["inputs"], y["inputs"]) for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def own_data(prepared_data: Path, tmp_path: Path) -> Path:
    """A copy whose features lie in the copy, to be damaged."""
    for name in ("fbank", "lang_char", "lang_bpe_40"):
        shutil.copytree(prepared_data / name, tmp_path / name)
    for path in (tmp_path / "fbank").glob("*.jsonl.gz"):
        rows = [cut.to_dict() for cut in read_cuts(path)]
        for row in rows:
            where = row["features"]["storage_path"]
            row["features"]["storage_path"] = where.replace(str(prepared_data), str(tmp_path))
        write_jsonl(path, rows)
    return tmp_path


def change_train_cut(data: Path, index: int, **values: Any) -> str:
    """Changes the supervision of a training cut; returns its id."""
    path = data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    rows = [cut.to_dict() for cut in read_cuts(path)]
    rows[index]["supervisions"][0].update(values)
    write_jsonl(path, rows)
    return str(rows[index]["id"])


def test_a_batch_is_what_the_trainer_expects(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data, enable_spec_aug=False))
    batch = next(data.train_batches(1))
    supervisions = batch["supervisions"]
    num = len(supervisions["text"])
    assert batch["inputs"].dtype == torch.float32
    assert batch["inputs"].shape == (num, int(supervisions["num_frames"].max()), 80)
    assert supervisions["sequence_idx"].tolist() == list(range(num))
    for row, cut in enumerate(supervisions["cut"]):
        length = int(supervisions["num_frames"][row])
        stored = torch.from_numpy(cut.load_features())
        assert torch.equal(batch["inputs"][row, :length], stored)
        assert supervisions["text"][row] == cut.supervisions[0].text


@pytest.mark.parametrize("bucketing", [True, False])
def test_an_epoch_has_every_utterance_once_within_the_limit(
    prepared_data: Path, bucketing: bool
) -> None:
    data = AsrDataModule(options(prepared_data, bucketing_sampler=bucketing))
    batches = list(data.train_batches(1))
    seen = [name for batch in batches for name in ids(batch)]
    assert sorted(seen) == sorted(cut.id for cut in data.train_cuts)
    assert len(seen) == 30
    for batch in batches:
        durations = [cut.duration for cut in batch["supervisions"]["cut"]]
        # lhotse closes a batch when one more utterance of average duration would exceed the limit
        assert sum(durations) <= 6.0 + max(durations)


@pytest.mark.parametrize("bucketing", [True, False])
def test_batches_are_a_function_of_seed_epoch_and_rank(
    prepared_data: Path, bucketing: bool
) -> None:
    settings = options(prepared_data, bucketing_sampler=bucketing)
    first = AsrDataModule(settings)
    epoch_1 = list(first.train_batches(1))
    random.seed(9)
    torch.manual_seed(9)
    np.random.seed(9)
    again = AsrDataModule(settings)
    _ = list(again.train_batches(3, 2))  # other epochs before leave no trace
    assert same(again.train_batches(1), epoch_1)
    assert not same(first.train_batches(2), epoch_1)
    other = AsrDataModule(options(prepared_data, bucketing_sampler=bucketing, seed=7))
    assert not same(other.train_batches(1), epoch_1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_epoch_sees_the_very_same_features(prepared_data: Path, num_workers: int) -> None:
    whole = list(AsrDataModule(options(prepared_data)).train_batches(2))
    assert len(whole) > 5
    for start in (0, 1, 4, len(whole)):
        rest = AsrDataModule(options(prepared_data, num_workers=num_workers))
        assert same(rest.train_batches(2, start_batch=start), whole[start:])


def test_processes_share_an_epoch(prepared_data: Path) -> None:
    parts = [
        list(AsrDataModule(options(prepared_data)).train_batches(1, rank=rank, world_size=2))
        for rank in (0, 1)
    ]
    assert len(parts[0]) == len(parts[1])
    names = [name for part in parts for batch in part for name in ids(batch)]
    # lhotse doubles an utterance where that makes the numbers of batches equal
    assert len({name.split("_dup")[0] for name in names}) == 30
    assert len(set(names)) == len(names) <= 31


def test_a_set_larger_than_the_window_is_drawn_from_all_over(
    prepared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {cut.id: i for i, cut in enumerate(AsrDataModule(options(prepared_data)).train_cuts)}
    settings = options(prepared_data, enable_spec_aug=False, num_buckets=2)
    monkeypatch.setattr(asr_datamodule, "_SHUFFLE_WINDOW", 6)
    epochs = [list(AsrDataModule(settings).train_batches(epoch)) for epoch in (1, 2)]
    for batches in epochs:
        places = [place[name] for batch in batches for name in ids(batch)]
        assert sorted(places) == list(range(30))
        assert max(places[:6]) > 18  # out of reach of a window of 6 that moves along the list
    assert not same(*epochs)
    assert same(AsrDataModule(settings).train_batches(2, start_batch=3), epochs[1][3:])
    unshuffled = options(prepared_data, enable_spec_aug=False, num_buckets=2, shuffle=False)
    first = next(AsrDataModule(unshuffled).train_batches(1))
    assert max(place[name] for name in ids(first)) < 18


def test_processes_share_the_validation(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data, max_duration=0.1))
    parts = [list(data.valid_batches(rank, 2)) for rank in (0, 1)]
    assert [ids(part[0]) for part in parts] == [ids(batch) for batch in data.valid_batches()]


def test_spec_augment_changes_features_and_leaves_global_randomness_alone(
    prepared_data: Path,
) -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    augmented = list(AsrDataModule(options(prepared_data)).train_batches(1))
    after = (torch.rand(3).tolist(), random.random(), np.random.rand())
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    plain = AsrDataModule(options(prepared_data, enable_spec_aug=False)).train_batches(1)
    assert not any(
        torch.equal(a["inputs"], b["inputs"]) for a, b in zip(augmented, plain, strict=True)
    )
    assert after == (torch.rand(3).tolist(), random.random(), np.random.rand())


def test_valid_and_test_batches_are_plain_and_repeatable(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data))
    assert same(data.valid_batches(), data.valid_batches())
    sets = data.test_sets()
    assert list(sets) == ["test-clean-2"]
    batches = list(sets["test-clean-2"])
    assert same(batches, sets["test-clean-2"])
    cut = batches[0]["supervisions"]["cut"][0]
    length = cut.num_frames
    assert torch.equal(batches[0]["inputs"][0, :length], torch.from_numpy(cut.load_features()))


def test_parts_can_be_named(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data, test_parts=("dev-clean-2", "test-clean-2")))
    assert list(data.test_sets()) == ["dev-clean-2", "test-clean-2"]
    missing = AsrDataModule(options(prepared_data, train_parts=("train-x",)))
    with pytest.raises(DataError, match=r"no librispeech_cuts_train-x.jsonl.gz; it has the parts"):
        next(missing.train_batches(1))


def test_large_parts_are_for_full_libri_only(prepared_data: Path, tmp_path: Path) -> None:
    source = prepared_data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    for part in ("train-clean-5", "train-clean-100", "train-clean-360"):
        shutil.copy(source, tmp_path / f"librispeech_cuts_{part}.jsonl.gz")

    def parts(**values: Any) -> list[str]:
        return AsrDataModule(options(tmp_path, manifest_dir=tmp_path, **values)).parts("train")

    assert parts() == ["train-clean-100", "train-clean-360", "train-clean-5"]
    assert parts(full_libri=False) == ["train-clean-100", "train-clean-5"]
    assert parts(mini_libri=True) == ["train-clean-5"]


def test_missing_data_name_the_stage(tmp_path: Path, prepared_data: Path) -> None:
    empty = AsrDataModule(options(prepared_data, manifest_dir=tmp_path))
    with pytest.raises(DataError, match=r"no librispeech_cuts_train\*.jsonl.gz; run .*--stage 3"):
        next(empty.train_batches(1))
    no_lang = AsrDataModule(options(prepared_data, lang_dir=tmp_path / "lang_char"))
    with pytest.raises(FsaFormatError, match=r"no such lang directory; .*--stage 5"):
        next(no_lang.train_batches(1))


def test_unusable_utterances_are_left_out_listed_and_counted(
    own_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = change_train_cut(own_data, 0, text="QUIT")
    empty = change_train_cut(own_data, 1, text="  ")
    short = change_train_cut(own_data, 2, text="THE LAND " * 20)
    data = AsrDataModule(options(own_data))
    names = {name for batch in data.train_batches(1) for name in ids(batch)}
    assert not names & {unknown, empty, short}
    assert len(names) == 27
    causes = {e.id: e.cause for e in data.excluded}
    assert causes[unknown] == "the symbol 'Q' in 'QUIT' is not in tokens.txt"
    assert causes[empty] == "empty transcript"
    assert causes[short].startswith("too short: ")
    list(data.train_batches(2))
    for name in (unknown, empty, short):
        assert caplog.text.count(f"training without {name}: {causes[name]}") == 1
    assert "training without 3 of 30 utterances" in caplog.text


def test_no_usable_utterance_is_an_error(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data, min_cut_duration=100.0, max_cut_duration=200.0))
    with pytest.raises(DataError, match="not one of 30 training utterances is usable: 30 x lasts"):
        next(data.train_batches(1))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_features_that_cannot_be_read_are_skipped_and_listed(
    own_data: Path, caplog: pytest.LogCaptureFixture, num_workers: int
) -> None:
    path = own_data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    rows = [cut.to_dict() for cut in read_cuts(path)]
    bad = rows[3]["id"]
    rows[3]["features"]["storage_key"] = "999999999,100"
    write_jsonl(path, rows)
    data = AsrDataModule(options(own_data, num_workers=num_workers))
    for epoch in (1, 2):
        batches = list(data.train_batches(epoch))
        names = {name for batch in batches for name in ids(batch)}
        assert sum(batch["num_failed"] for batch in batches) == 1
        assert len(names) == 29
        assert bad not in names
    assert list(data.failed) == [bad]
    assert data.failed[bad].file.endswith("feats-00000.lca")
    assert caplog.text.count(f"skipped {bad}, cannot be loaded") == 1


def test_a_batch_of_which_nothing_loads_is_replaced_so_that_their_number_stays(
    own_data: Path,
) -> None:
    settings = {"max_duration": 0.1, "enable_spec_aug": False}  # one utterance per batch
    whole = list(AsrDataModule(options(own_data, **settings)).train_batches(1))
    bad = ids(whole[5])[0]
    path = own_data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    rows = [cut.to_dict() for cut in read_cuts(path)]
    for row in rows:
        if row["id"] == bad:
            row["features"]["storage_path"] = "/nowhere.lca"
    write_jsonl(path, rows)
    data = AsrDataModule(options(own_data, **settings))
    damaged = list(data.train_batches(1))
    assert len(damaged) == len(whole) == 30
    assert [ids(a) == ids(b) for a, b in zip(whole, damaged, strict=True)].count(False) == 1
    assert bad not in ids(damaged[5])
    assert same(AsrDataModule(options(own_data, **settings)).train_batches(1, 4), damaged[4:])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("you tried to: not enough memory")])
def test_a_batch_too_large_for_the_memory_is_made_smaller(
    prepared_data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    settings = {"max_duration": 15.0, "bucketing_sampler": False, "enable_spec_aug": False}
    whole = list(AsrDataModule(options(prepared_data, **settings)).train_batches(1))
    fits = 2
    assert max(len(ids(batch)) for batch in whole) > 2 * fits
    read = K2SpeechRecognitionDataset.__getitem__

    def getitem(self: Any, cuts: Any) -> Any:
        if len(cuts) > fits:
            raise error
        return read(self, cuts)

    monkeypatch.setattr(K2SpeechRecognitionDataset, "__getitem__", getitem)
    data = AsrDataModule(options(prepared_data, **settings))
    smaller = list(data.train_batches(1))
    assert len(smaller) == len(whole)
    left_out = set()
    for before, now in zip(whole, smaller, strict=True):
        assert 1 <= len(ids(now)) <= fits
        missing = set(ids(before)) - set(ids(now))
        assert now["num_failed"] == len(missing) == len(ids(before)) - len(ids(now))
        left_out |= missing
    assert set(data.failed) == left_out
    assert all("lower --max-duration" in data.failed[name].cause for name in left_out)
    error = ValueError("of another kind")
    with pytest.raises(DataError, match="though each of its cuts can: ValueError: of another kind"):
        list(data.train_batches(2))


def test_a_truncated_archive_loses_the_utterances_at_its_end_only(own_data: Path) -> None:
    (archive,) = (own_data / "fbank" / "librispeech_feats_train-clean-5").iterdir()
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    data = AsrDataModule(options(own_data))
    names = {name for batch in data.train_batches(1) for name in ids(batch)}
    assert 10 < len(names) < 20
    assert len(names) + len(data.failed) == 30
    assert all(failure.file == str(archive) for failure in data.failed.values())


def test_a_truncated_list_of_cuts_is_an_error_that_names_it(own_data: Path) -> None:
    path = own_data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"cuts_train-clean-5.jsonl.gz: damaged after line \d+"):
        next(AsrDataModule(options(own_data)).train_batches(1))


def test_a_model_of_word_pieces_names_its_folder() -> None:
    assert DataOptions(bpe_model=Path("x/bpe.model")).lang_dir == Path("x")
    with pytest.raises(OptionError, match=r"bpe_model: needs a file named bpe.model .* x/unigram"):
        DataOptions(bpe_model=Path("x/unigram_500.model"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_duration", 0.0),
        ("max_duration", float("nan")),
        ("num_workers", -1),
        ("min_cut_duration", -0.5),
        ("max_cut_duration", 0.1),
        ("spec_aug_num_frame_masks", -1),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"^{name}: needs .*got {value}$"):
        DataOptions(**{name: value})


def test_validation_data_of_no_use_are_found_before_the_training(own_data: Path) -> None:
    path = own_data / "fbank" / "librispeech_cuts_dev-clean-2.jsonl.gz"
    data = AsrDataModule(options(own_data))
    data.check_parts()
    rows = [cut.to_dict() for cut in read_cuts(path)]
    (supervision,) = rows[-1]["supervisions"]
    for wrong, has in (
        [[], "0"],
        [[supervision] * 2, "2"],
        [[supervision | {"text": None}], "one"],
    ):
        rows[-1]["supervisions"] = wrong
        write_jsonl(path, rows)
        with pytest.raises(DataError, match=f"dev-clean-2: cut {rows[-1]['id']} .*, has {has}"):
            data.check_parts()
    write_jsonl(path, [])
    with pytest.raises(DataError, match="there is no utterance to validate on"):
        data.check_parts()
    path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"dev-clean-2\.jsonl\.gz: damaged"):
        data.check_parts()


def test_features_on_the_fly_need_a_recording(own_data: Path) -> None:
    path = own_data / "fbank" / "librispeech_cuts_dev-clean-2.jsonl.gz"
    write_jsonl(path, [cut.drop_recording().to_dict() for cut in read_cuts(path)])
    data = AsrDataModule(options(own_data, on_the_fly_feats=True))
    with pytest.raises(DataError, match=r"dev-clean-2: cut .* has no recording .*; leave out --on"):
        next(data.valid_batches())


def test_a_lost_archive_is_an_error_that_names_it(own_data: Path) -> None:
    shutil.rmtree(own_data / "fbank" / "librispeech_feats_train-clean-5")
    with pytest.raises(DataError, match=r"not one training utterance .*feats-00000.lca.*--stage 3"):
        next(AsrDataModule(options(own_data)).train_batches(1))


def test_features_on_the_fly_equal_the_stored_ones(prepared_data: Path) -> None:
    stored = AsrDataModule(options(prepared_data))
    on_the_fly = AsrDataModule(options(prepared_data, on_the_fly_feats=True))
    for a, b in zip(stored.valid_batches(), on_the_fly.valid_batches(), strict=True):
        assert ids(a) == ids(b)
        # the two continue a signal differently beyond its end: the last frames see that
        for row, length in enumerate(a["supervisions"]["num_frames"] - 2):
            torch.testing.assert_close(
                a["inputs"][row, :length], b["inputs"][row, :length], atol=1 / 32, rtol=0
            )


def test_word_pieces_serve_as_well(prepared_data: Path) -> None:
    data = AsrDataModule(options(prepared_data, lang_dir=prepared_data / "lang_bpe_40"))
    assert data.tokenizer.vocab_size == 40
    assert sum(len(ids(batch)) for batch in data.train_batches(1)) == 30
    assert data.excluded == []


def test_the_batches_of_an_epoch_are_estimated(prepared_data):
    data = AsrDataModule(options(prepared_data))
    counted = len(list(data.train_batches(1)))
    # no batch is longer than max_duration, so there are at least as many; few are half empty
    assert counted / 2 < data.batches_per_epoch() <= counted
    assert data.batches_per_epoch(world_size=1000) == 1
