"""Word error rate: counts, file formats, atomicity and edge cases."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import pytest

from wfst_entropy.metrics.wer import (
    MissingAlignerError,
    Recognition,
    ScoringError,
    align_words,
    error_stats,
    format_error_stats,
    pair_transcripts,
    read_recogs,
    read_transcripts,
    write_results,
)


def words(text: str) -> list[str]:
    return text.split()


RESULTS = [
    Recognition("utt-1", words("THE CAT SAT ON THE MAT"), words("THE CAT SIT UP THE")),
    Recognition("utt-2", words("HELLO WORLD"), words("OH HELLO WORLD")),
    Recognition("utt-3", [], []),
    Recognition("utt-4", ["SILENT"], []),
]

# Written by hand from the icefall format; sorted by falling count, then by falling word.
ERRS = """%WER = 55.56
Errors: 1 insertions, 2 deletions, 2 substitutions, over 9 reference words (5 correct)
Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, \
INSERTIONS:, PER-WORD STATS:

PER-UTT DETAILS: corr or (ref->hyp)\x20\x20
utt-1:\tTHE CAT (SAT ON->SIT UP) THE (MAT->*)
utt-2:\t(*->OH) HELLO WORLD
utt-3:\t
utt-4:\t(SILENT->*)

SUBSTITUTIONS: count ref -> hyp
1   SAT -> SIT
1   ON -> UP

DELETIONS: count ref
1   SILENT
1   MAT

INSERTIONS: count hyp
1   OH

PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp
UP   0 1 0 1
SIT   0 1 0 1
SILENT   0 1 1 0
SAT   0 1 1 0
ON   0 1 1 0
OH   0 1 0 1
MAT   0 1 1 0
WORLD   1 0 1 1
THE   2 0 2 2
HELLO   1 0 1 1
CAT   1 0 1 1
"""


def edit_distance(ref: list[str], hyp: list[str]) -> int:
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, start=1):
        diagonal, row[0] = row[0], i
        for j, h in enumerate(hyp, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (r != h))
    return row[-1]


def test_errs_text_is_icefalls():
    assert format_error_stats(RESULTS, error_stats(RESULTS)) == ERRS


def test_counts_against_edit_distance():
    rng = random.Random(1)
    for _ in range(200):
        ref = rng.choices("abcd", k=rng.randrange(8))
        hyp = rng.choices("abcd", k=rng.randrange(8))
        stats = error_stats([Recognition("u", ref, hyp)])
        assert stats.num_errors == edit_distance(ref, hyp)
        assert stats.num_correct + stats.num_sub + stats.num_del == stats.num_ref_words == len(ref)
        assert stats.num_correct + stats.num_sub + stats.num_ins == len(hyp)


def test_a_star_is_a_word_like_any_other():
    assert align_words(["*", "a"], ["a"]) == [("*", None), ("a", "a")]


@pytest.mark.parametrize(("hyp", "wer"), [([], 0.0), (["a"], float("inf"))])
def test_empty_reference(hyp, wer):
    stats = error_stats([Recognition("u", [], hyp)])
    assert stats.wer == wer
    assert f"[{len(hyp)} / 0, {len(hyp)} ins, 0 del, 0 sub ]" in stats.summary()


def test_files_and_log_line(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        stats = write_results(tmp_path / "new", "test-clean", "epoch-1-avg-1", RESULTS)
    assert "[test-clean] %WER 55.56% [5 / 9, 1 ins, 2 del, 2 sub ]" in caplog.text
    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert files == [
        f"{kind}-test-clean-epoch-1-avg-1.txt" for kind in ("errs", "recogs", "wer-summary")
    ]
    recogs = (tmp_path / "new" / "recogs-test-clean-epoch-1-avg-1.txt").read_text()
    assert recogs.splitlines()[2:6] == [
        "utt-2:\tref=['HELLO', 'WORLD']",
        "utt-2:\thyp=['OH', 'HELLO', 'WORLD']",
        "utt-3:\tref=[]",
        "utt-3:\thyp=[]",
    ]
    summary = (tmp_path / "new" / "wer-summary-test-clean-epoch-1-avg-1.txt").read_text()
    assert summary == f"settings\tWER\nctc-greedy-search\t{stats.wer:.2f}\n"


def test_a_failed_write_keeps_the_old_file_and_leaves_no_rubbish(tmp_path, monkeypatch):
    write_results(tmp_path, "dev", "s", RESULTS)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}

    def disk_full(src, dst):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_results(tmp_path, "dev", "s", RESULTS[:1])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(ScoringError, match="'dev': at least one utterance is needed, got none"):
        write_results(tmp_path, "dev", "s", [])
    with pytest.raises(ScoringError, match=r"'utt-1' \(1 id\(s\) in all\) occurs more than once"):
        write_results(tmp_path, "dev", "s", [RESULTS[0], RESULTS[0]])
    with pytest.raises(ScoringError, match=r"1 utterance.* no reference, the first is 'u9'"):
        pair_transcripts({"u1": []}, {"u9": []})


def test_missing_aligner_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaldialign", None)
    with pytest.raises(MissingAlignerError, match=r"pip install 'wfst-entropy\[recipes\]'"):
        align_words(["a"], ["a"])


def test_read_transcripts(tmp_path):
    path = tmp_path / "ref.txt"
    path.write_text("u1 a b\n\nu2\n")
    assert read_transcripts(path) == {"u1": ["a", "b"], "u2": []}
    path.write_text("u1 a\nu1 b\n")
    with pytest.raises(ScoringError, match=r"ref\.txt, line 2: utterance 'u1' occurs a second"):
        read_transcripts(path)
    with pytest.raises(ScoringError, match=r"absent\.txt"):
        read_transcripts(tmp_path / "absent.txt")


def test_a_missing_hypothesis_counts_as_deletions():
    results, missing = pair_transcripts({"u1": ["a", "b"], "u2": ["c"]}, {"u2": ["c"]})
    assert missing == ["u1"]
    assert error_stats(results).num_del == 2


def test_recogs_are_read_as_they_were_written(tmp_path):
    odd = [*RESULTS, Recognition("a:b", ["it's", '"'], ["=", "[x]"])]
    write_results(tmp_path, "test", "s", odd)
    assert read_recogs(tmp_path / "recogs-test-s.txt") == odd


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("u:\tref=['a'\n", "line 1: needed a list of words"),
        ("u:\tref=[7]\n", "line 1: needed a list of words"),
        ("u:\tref=['a']\n", "'u' has not both"),
        ("u:\tref=[]\nu:\tref=[]\n", "line 2: a second ref= of 'u'"),
    ],
)
def test_damaged_recogs(tmp_path, text, wording):
    path = tmp_path / "recogs.txt"
    path.write_text(text)
    with pytest.raises(ScoringError, match=wording):
        read_recogs(path)
