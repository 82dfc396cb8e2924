"""Which text an utterance is trained on: a person's, a teacher's, or both."""

from __future__ import annotations

import json
import logging

import pytest
from lhotse import MonoCut, SupervisionSegment

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.pseudo_labels import PseudoLabels, labelled_cuts
from wfst_entropy.fsa.errors import FsaValueError


def cut(name, text=None, supervised=True):
    segment = SupervisionSegment(name, name, 0.0, 2.0, text=text, custom={"room": 7})
    return MonoCut(name, 0.0, 2.0, 0, supervisions=[segment] if supervised else [])


def write(folder, *rows):
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def letters(text):
    if "#" in text:
        raise FsaValueError("the symbol '#' is not in tokens.txt")
    return list(text)


def label(folder, cuts, use_transcripts=True):
    rows = [("both", "HER"), ("none", "HIM"), ("silent", " "), ("both_sp0.9", "HERE")]
    rows.append(("strange", "H#"))
    path = write(folder, *({"id": name, "text": text, "confidence": None} for name, text in rows))
    excluded = []
    labels = PseudoLabels(path)
    found = list(labelled_cuts(cuts, labels, use_transcripts, excluded.append, letters))
    return {each.id: (each.supervisions[0].text, each.supervisions[0].custom) for each in found}, {
        each.id: each.cause for each in excluded
    }


def test_transcripts_come_first_and_the_teachers_beside_them(tmp_path, caplog):
    cuts = [
        cut("both", "THEIR"),
        cut("both_sp0.9", "THEIR"),
        cut("silent", "YES"),
        cut("new", "NO"),
    ]
    found, excluded = label(tmp_path, cuts)
    assert not excluded
    assert found["both"] == ("THEIR", {"room": 7, "from_teacher": False, "pseudo_label": "HER"})
    assert found["both_sp0.9"][1]["pseudo_label"] == "HERE"
    assert [found[name][1]["pseudo_label"] for name in ("silent", "new")] == [None, None]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "2 of 4 utterances have no pseudo-label" in caplog.messages[0]
    assert caplog.messages[0].endswith("alone: silent, new")
    assert "1 pseudo-labels in" in caplog.messages[1] and "are empty" in caplog.messages[1]


def test_what_the_tokens_cannot_spell_is_named_and_not_learnt(tmp_path, caplog):
    found, excluded = label(tmp_path, [cut("strange", "YES"), cut("both", "THEIR")])
    assert not excluded
    assert found["strange"][0] == "YES" and found["strange"][1]["pseudo_label"] is None
    assert found["both"][1]["pseudo_label"] == "HER"
    assert "pseudo-label of strange is not used: the symbol '#' is not in" in caplog.messages[0]
    assert "1 of 2 utterances have no pseudo-label" in caplog.messages[1]


def test_without_a_transcript_the_teachers_takes_its_place(tmp_path):
    cuts = [cut("none"), cut("both", "", supervised=True), cut("silent", ""), cut("new", None)]
    found, excluded = label(tmp_path, [*cuts, cut("both_sp0.9", supervised=False)])
    assert found["none"] == ("HIM", {"room": 7, "from_teacher": True, "pseudo_label": None})
    assert found["both"][0] == "HER"
    assert found["both_sp0.9"] == ("HERE", {"from_teacher": True, "pseudo_label": None})
    path = tmp_path / "labels.jsonl"
    assert excluded == {
        "silent": f"has no transcript, and {path} has an empty text, nothing was heard, for it",
        "new": f"has no transcript, and {path} has no line for it",
    }


def test_without_transcripts_only_the_teachers_counts(tmp_path):
    found, excluded = label(tmp_path, [cut("both", "THEIR"), cut("new", "NO")], False)
    assert found["both"][0] == "HER" and found["both"][1]["from_teacher"]
    assert excluded["new"].startswith("transcripts are not used, and")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "text": "X"}\n{"id": "b"\n', "labels.jsonl:2: needs an object with id and"),
        ('{"id": "a"}\n', "labels.jsonl:1: needs an object with id and text"),
        ('["a", "b"]\n', "labels.jsonl:1: needs an object"),
        ('{"id": "a", "text": null}\n', "labels.jsonl:1: id and text must be strings"),
        (
            '{"id": "a", "text": "X"}\n{"id": "a", "text": "Y"}\n',
            "labels.jsonl:2: a is there twice",
        ),
    ],
)
def test_damaged_lines_are_named(tmp_path, content, message):
    path = tmp_path / "labels.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        PseudoLabels(path)


def test_a_missing_file_is_told_with_the_next_step(tmp_path):
    with pytest.raises(
        DataError, match=r"labels.jsonl: cannot be read .*make it with pseudo_label"
    ):
        PseudoLabels(tmp_path / "labels.jsonl")
