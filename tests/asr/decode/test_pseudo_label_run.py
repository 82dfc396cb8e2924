"""Transcribing training data: rows are kept, wrong ones refused, a bad one harms no other."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.pseudo_label_run import (
    LabelFile,
    LabelledUtterance,
    LabelOptions,
    label_batches,
)
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import Hypothesis, WordFrames
from wfst_entropy.asr.search.search_options import SearchOptions

DECODING = DecodeOptions(epoch=2, decoding_method="greedy_search")


def claim(file, decoding=DECODING, search=None, made=0.0, **data):
    file.claim(decoding, search or SearchOptions(), DataOptions(**data), made)


def test_rows_outlive_a_run_that_is_killed(tmp_path):
    path = tmp_path / "made" / "labels.jsonl"
    file = LabelFile(path)
    claim(file)
    file.add([LabelledUtterance("b", "LINE\u2028BREAK", 0.5), LabelledUtterance("a", "")])
    with file.partial.open("a", encoding="utf-8") as half:
        half.write('{"id": "c", "te')
    assert not path.exists()
    again = LabelFile(path)
    claim(again)
    assert list(again.rows) == ["b", "a"]
    again.add([LabelledUtterance("c", "NEW")])
    again.finish()
    rows = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {"id": "b", "text": "LINE\u2028BREAK", "confidence": 0.5}
    assert sorted(p.name for p in path.parent.iterdir()) == ["labels.jsonl", "labels.jsonl.yaml"]


def test_rows_of_another_search_or_model_are_refused(tmp_path):
    file = LabelFile(tmp_path / "labels.jsonl")
    claim(file)
    file.add([LabelledUtterance("a", "X")])
    later = LabelFile(file.path)
    claim(later)
    with pytest.raises(OptionError, match=r"1 rows are of another search .epoch 2 -> 3.; delete"):
        claim(later, dataclasses.replace(DECODING, epoch=3))
    with pytest.raises(OptionError, match=r"beam_size .* -> 3"):
        claim(later, search=SearchOptions(beam_size=3))
    with pytest.raises(OptionError, match="lang_dir data/lang_char -> other"):
        claim(later, lang_dir=Path("other"))
    with pytest.raises(OptionError, match="the model was trained again since its 1 rows were made"):
        claim(later, made=time.time() + 10)


def test_a_folder_is_refused_before_anything_is_transcribed(tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(OptionError, match=r"output: .*labels is no file; give the name of one"):
        claim(LabelFile(tmp_path / "labels"))
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "a", "text": "X"}\n{"id": "b", "txt": "Y"}\n')
    with pytest.raises(OptionError, match=r"labels.jsonl:2: is damaged .*delete the file"):
        LabelFile(path)


def test_the_file_is_named_after_the_model_and_the_method():
    assert LabelOptions(subset="dev").file_for(DECODING) == Path(
        "exp/pseudo-labels/greedy_search-epoch-2-avg-1-use-averaged-model-dev.jsonl"
    )
    assert LabelOptions(output=Path("mine.jsonl")).file_for(DECODING) == Path("mine.jsonl")


class Echo:
    """A decoder that says the number of frames, and breaks on 13 of them, alone or in a batch."""

    tokenizer = SimpleNamespace(encode=lambda text: [])

    def __init__(self):
        self.method = self

    def scores(self, utterances):
        return utterances.features, utterances.num_frames

    def search(self, scores, lengths, refs):
        if 13 in lengths.tolist():
            raise RuntimeError("not enough memory\nand more")
        words = [[str(frames)] if frames else [] for frames in lengths.tolist()]
        return [Hypothesis(each, [WordFrames(w, 0, 1, 0.5) for w in each]) for each in words]


def batch(**num_frames):
    inputs = torch.zeros(len(num_frames), 20, 3)
    cuts = [SimpleNamespace(id=name, supervisions=()) for name in num_frames]
    supervisions = {
        "text": [""] * len(cuts),
        "num_frames": torch.tensor(list(num_frames.values())),
        "sequence_idx": torch.arange(len(cuts)),
        "cut": cuts,
    }
    return {"inputs": inputs, "supervisions": supervisions}


def test_an_utterance_that_breaks_the_search_harms_no_other(tmp_path, caplog):
    file = LabelFile(tmp_path / "labels.jsonl")
    bad = batch(d=5, e=6)
    bad["inputs"][1, 2, 1] = math.nan
    done = []
    failed = label_batches(Echo(), [batch(a=7, b=13, c=0), bad], file, done.append)
    assert failed == {
        "b": "RuntimeError: not enough memory",
        "e": "its features are not finite",
    }
    assert sum(done) == 5
    assert {name: (row.text, row.confidence) for name, row in file.rows.items()} == {
        "a": ("7", 0.5),
        "c": ("", None),
        "d": ("5", 0.5),
    }
    assert "no transcript of b: RuntimeError: not enough memory" in caplog.messages
