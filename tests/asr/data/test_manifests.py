from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet, SupervisionSegment
from lhotse.cut import MonoCut

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.manifest_files import read_cuts, read_manifest, write_jsonl
from wfst_entropy.asr.data.manifests import find_parts, prepare_cuts, prepare_manifests, split_cuts

MakeCorpus = Callable[..., Path]


def excluded(folder: Path, part: str) -> dict[str, str]:
    lines = (folder / f"excluded_{part}.tsv").read_text().splitlines()
    assert lines[0] == "id\tcause\tfile"
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines[1:]}


def supervisions(folder: Path, part: str) -> dict[str, SupervisionSegment]:
    path = folder / f"librispeech_supervisions_{part}.jsonl.gz"
    return {item.id: item for _, item in read_manifest(path)}


def test_every_part_is_prepared(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    summaries = prepare_manifests(make_corpus(), tmp_path / "m")
    assert [(s.part, s.num_utterances, s.num_excluded) for s in summaries] == [
        ("dev-clean-2", 2, 0),
        ("test-clean-2", 2, 0),
        ("train-clean-5", 12, 0),
    ]
    found = supervisions(tmp_path / "m", "train-clean-5")
    assert found["10-1-0001"].text == "AND IT WAS SO"
    assert found["11-1-0001"].speaker == "11"
    assert excluded(tmp_path / "m", "train-clean-5") == {}


def test_each_kind_of_bad_utterance_is_listed_and_stops_nothing(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(1)
    chapter = corpus / "LibriSpeech" / "train-clean-5" / "10" / "1"
    truncated = chapter / "10-1-0000.flac"
    truncated.write_bytes(truncated.read_bytes()[:9000])
    (chapter / "10-1-0001.flac").write_bytes(b"this is no audio")
    (chapter / "10-1-0002.flac").unlink()
    (chapter / "10-1-0009.flac").write_bytes((chapter / "10-1-0003.flac").read_bytes())
    transcript = chapter / "10-1.trans.txt"
    lines = transcript.read_text().splitlines()
    lines[4] = "10-1-0004"
    transcript.write_text("\n".join([*lines, "10-1-0003 ANOTHER TEXT", ""]))
    other = chapter.parent / "2"
    other.mkdir()
    (other / "10-2.trans.txt").write_bytes(b"10-2-0000 \xff\xfe\n")

    (summary,) = prepare_manifests(corpus, tmp_path / "m", ["train-clean-5"])
    causes = excluded(tmp_path / "m", "train-clean-5")
    assert "the audio" in causes["10-1-0000"]
    assert "the audio cannot be read" in causes["10-1-0001"]
    assert causes["10-1-0002"].startswith("no audio: none of 10-1-0002.flac")
    assert causes["10-1-0003"].startswith("the id occurs before, in")
    assert causes["10-1-0004"] == "empty transcript"
    assert causes["10-1-0009"] == "audio without a transcript"
    assert causes["10-2.trans.txt"].startswith("transcripts cannot be read")
    assert summary.num_excluded == len(causes) == 7
    # the first text of a doubled id counts
    assert sorted(supervisions(tmp_path / "m", "train-clean-5")) == ["10-1-0003", "10-1-0005"]


def test_a_truncated_wav_file_is_listed(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(1)
    chapter = corpus / "LibriSpeech" / "train-clean-5" / "10" / "1"
    for audio in sorted(chapter.glob("*.flac"))[:3]:
        soundfile.write(audio.with_suffix(".wav"), *soundfile.read(audio))
        audio.unlink()
    whole = (chapter / "10-1-0001.wav").read_bytes()
    (chapter / "10-1-0001.wav").write_bytes(whole[:5000])
    # written to a pipe: the length in the header is not known
    piped = bytearray((chapter / "10-1-0002.wav").read_bytes())
    where = piped.index(b"data")
    piped[4:8] = piped[where + 4 : where + 8] = b"\xff\xff\xff\xff"
    (chapter / "10-1-0002.wav").write_bytes(piped)
    prepare_manifests(corpus, tmp_path / "m", ["train-clean-5"])
    causes = excluded(tmp_path / "m", "train-clean-5")
    assert list(causes) == ["10-1-0001"]
    assert causes["10-1-0001"] == (
        f"the audio is truncated: {5000 - 44} of {len(whole) - 44} bytes are there"
    )


def test_nothing_usable_is_an_error_that_names_folder_and_list(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(1)
    for audio in (corpus / "LibriSpeech" / "dev-clean-2").rglob("*.flac"):
        audio.unlink()
    with pytest.raises(DataError, match=r"dev-clean-2: not one usable .*excluded_dev-clean-2.tsv"):
        prepare_manifests(corpus, tmp_path / "m")
    assert len(excluded(tmp_path / "m", "dev-clean-2")) == 2
    assert not list((tmp_path / "m").glob("*recordings_dev*"))


def test_a_folder_without_parts_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder named train\*.*--stage 0"):
        prepare_manifests(tmp_path, tmp_path / "m")


def test_an_unknown_part_is_named_with_those_there(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no part train-huge; it has dev-clean-2, test-clean-2"):
        prepare_manifests(make_corpus(1), tmp_path / "m", ["train-huge"])


def test_other_names_of_parts_are_taken(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(1) / "LibriSpeech"
    (root / "train-clean-5").rename(root / "train-mine")
    (root / "intro").mkdir()
    assert find_parts(root) == ["dev-clean-2", "test-clean-2", "train-mine"]


def test_word_times_become_the_alignment(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(1)
    chapter = corpus / "LibriSpeech" / "test-clean-2" / "40" / "3"
    times = {"id": "40-3-0001", "words": ["WE", "WENT"], "start": [0.1, 0.3], "end": [0.3, 0.5]}
    (chapter / "40-3.words.jsonl").write_bytes(
        b'{damaged\n{"id": "\xff"}\n' + json.dumps(times).encode() + b"\n"
    )
    prepare_manifests(corpus, tmp_path / "m", ["test-clean-2"])
    found = supervisions(tmp_path / "m", "test-clean-2")
    words = found["40-3-0001"].alignment["word"]
    assert [(w.symbol, w.start, w.end) for w in words] == [("WE", 0.1, 0.3), ("WENT", 0.3, 0.5)]
    assert found["40-3-0000"].alignment is None


def test_manifests_are_kept_until_the_corpus_changes(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(1)
    prepare_manifests(corpus, tmp_path / "m", ["dev-clean-2"])
    path = tmp_path / "m" / "librispeech_supervisions_dev-clean-2.jsonl.gz"
    before = path.read_bytes()
    (again,) = prepare_manifests(corpus, tmp_path / "m", ["dev-clean-2"])
    assert again.skipped
    assert again.num_utterances == 2
    transcript = corpus / "LibriSpeech" / "dev-clean-2" / "30" / "2" / "30-2.trans.txt"
    transcript.write_text(transcript.read_text().replace("PEOPLE", "SEVEN"))
    (anew,) = prepare_manifests(corpus, tmp_path / "m", ["dev-clean-2"])
    assert not anew.skipped
    assert path.read_bytes() != before


def test_manifests_of_another_corpus_are_not_taken_for_this_one(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    first = make_corpus(1)
    prepare_manifests(first, tmp_path / "m")
    other = tmp_path / "other"
    first.rename(other)
    with pytest.raises(DataError, match=r'm: has manifests of \{"corpus": .*not of .*--data-dir'):
        prepare_manifests(other, tmp_path / "m")
    with pytest.raises(DataError, match=r'not of \{"cuts": '):
        split_cuts(tmp_path / "own.jsonl.gz", tmp_path / "m")
    for path in (tmp_path / "m").glob("librispeech_*"):
        path.unlink()
    assert not any(summary.skipped for summary in prepare_manifests(other, tmp_path / "m"))


def test_a_damaged_manifest_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"id": "a", "nonsense": 1}\n')
    with pytest.raises(DataError, match=r"x.jsonl.gz:1: the line is damaged"):
        list(read_manifest(path))
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"x.jsonl.gz.*damaged"):
        list(read_manifest(path))
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"x.jsonl.gz: damaged after line 0"):
        list(read_manifest(path))
    with pytest.raises(DataError, match=r"absent.jsonl.gz: no such file"):
        list(read_manifest(tmp_path / "absent.jsonl.gz"))


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    write_jsonl(path, [{"a": 1}])
    before = path.read_bytes()

    def failing():  # type: ignore[no-untyped-def]
        yield {"a": 2}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_jsonl(path, failing())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl.gz"]


@pytest.fixture
def own_cuts(make_corpus: MakeCorpus, tmp_path: Path) -> list[MonoCut]:
    corpus = make_corpus(4)
    prepare_manifests(corpus, tmp_path / "source")
    recordings = tmp_path / "source" / "librispeech_recordings_train-clean-5.jsonl.gz"
    texts = supervisions(tmp_path / "source", "train-clean-5")
    return [
        MonoCut(f"cut-{r.id}", 0.0, r.duration, 0, recording=r, supervisions=[texts[r.id]])
        for _, r in read_manifest(recordings)
    ]


def test_cuts_of_ones_own_are_divided_by_sentence(own_cuts: list[MonoCut], tmp_path: Path) -> None:
    CutSet.from_cuts(own_cuts).to_file(tmp_path / "own.jsonl.gz")
    summaries = split_cuts(tmp_path / "own.jsonl.gz", tmp_path / "m")
    assert sum(s.num_utterances for s in summaries) == len(own_cuts) == 24
    texts = [
        {c.supervisions[0].text for c in read_cuts(tmp_path / f"m/librispeech_cuts_{s}.jsonl.gz")}
        for s in ("train", "dev", "test")
    ]
    assert [len(t) for t in texts] == [4, 1, 1]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert all(s.skipped for s in split_cuts(tmp_path / "own.jsonl.gz", tmp_path / "m"))


def test_bad_cuts_are_listed(own_cuts: list[MonoCut], tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    own_cuts[1].supervisions[0].text = " "
    own_cuts[2].recording = None
    own_cuts[4].id = own_cuts[3].id
    lines = [json.dumps(cut.to_dict()) for cut in own_cuts[:6]]
    path.write_text("\n".join([*lines, "{damaged"]) + "\n")
    (summary,) = prepare_cuts({"train": path}, tmp_path / "m")
    assert (summary.num_utterances, summary.num_excluded) == (3, 4)
    causes = sorted(excluded(tmp_path / "m", "train").values())
    assert causes[:3] == ["no recording", "no text", "the id occurs before"]
    assert causes[3].startswith("the line is damaged")


def test_a_cut_with_several_supervisions_becomes_several(
    own_cuts: list[MonoCut], tmp_path: Path
) -> None:
    cut = own_cuts[2]
    half = cut.duration / 2
    cut.supervisions = [
        SupervisionSegment(f"s{i}", cut.recording_id, i * half, half, text=f"PART {i}")
        for i in range(2)
    ]
    CutSet.from_cuts([cut]).to_file(tmp_path / "own.jsonl.gz")
    prepare_cuts({"test": tmp_path / "own.jsonl.gz"}, tmp_path / "m")
    cuts = list(read_cuts(tmp_path / "m" / "librispeech_cuts_test.jsonl.gz"))
    assert [c.supervisions[0].text for c in cuts] == ["PART 0", "PART 1"]
    assert sum(c.duration for c in cuts) == pytest.approx(2 * half)


def test_too_few_sentences_to_divide(own_cuts: list[MonoCut], tmp_path: Path) -> None:
    CutSet.from_cuts(own_cuts[:2]).to_file(tmp_path / "own.jsonl.gz")
    with pytest.raises(DataError, match=r"2 different texts are too few.*--cuts-train"):
        split_cuts(tmp_path / "own.jsonl.gz", tmp_path / "m")
