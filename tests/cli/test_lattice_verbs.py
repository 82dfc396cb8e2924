"""`wfst-entropy lattice`: what each verb prints and writes, and what is refused."""

from __future__ import annotations

import json
import random

import pytest
import torch
from small_lattices import LEXICON, BackOffModel, small_lattices
from typer.testing import CliRunner

from wfst_entropy import (
    Fsa,
    Nbest,
    best_path_results,
    get_aux_labels,
    lattice_entropy,
    lattice_oracle,
    mbr_decoding,
    one_best_decoding,
    path_entropy,
    prune,
    read_lattices,
    rescore_with_whole_lattice,
    save_fsa,
    scaled_lattice,
    write_lattices,
)
from wfst_entropy.cli.main import app

NAMES = ["one", "none", "two"]
WORDS = ["<eps>", "ALPHA", "BE", "CC", "BEE"]


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["lattice", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def rows(*arguments):
    return [line.split("\t") for line in run(*arguments).splitlines()]


def spelled(ids):
    return " ".join(WORDS[i] for i in ids)


@pytest.fixture(scope="module")
def lattices():
    some = small_lattices(11, (6, 4))
    return Fsa.from_fsas([some[0], prune(some[0], state_threshold=0), some[1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, lattices):
    path = tmp_path_factory.mktemp("lattices")
    write_lattices(path / "lattices.pt", NAMES, lattices)
    (path / "words.txt").write_text("".join(f"{w} {i}\n" for i, w in enumerate([*WORDS, "#0"])))
    (path / "tokens.txt").write_text("<blk> 0\na 1\nb 2\nc 3\n")
    ways = [(word, way) for word, ways in LEXICON.items() for way in ways]
    lines = [f"{WORDS[word]} {' '.join('_abc'[t] for t in way)}\n" for word, way in ways]
    (path / "lexicon.txt").write_text("".join(lines))
    save_fsa(BackOffModel(random.Random(11)).fsa(), path / "G.pt")
    return path


def test_info_is_a_table(folder, lattices):
    header, *found = rows("info", folder / "lattices.pt")
    assert header[:4] == ["utterance", "frames", "states", "arcs"]
    assert [row[0] for row in found] == NAMES
    assert [int(row[1]) for row in found] == [6, 0, 4]
    assert [int(row[3]) for row in found] == [lattice.num_arcs for lattice in lattices]
    assert [float(row[6]) for row in found] == pytest.approx(
        path_entropy(lattices).tolist(), abs=1e-4
    )


def test_best_paths_as_text_ctm_and_json(folder, lattices):
    file, best = folder / "lattices.pt", get_aux_labels(one_best_decoding(lattices))
    lines = run("best", file, "--words", folder / "words.txt").splitlines()
    assert lines == [f"{n} {spelled(ids)}".strip() for n, ids in zip(NAMES, best)]
    numbers = run("best", file, "--utt", "two").split()
    assert numbers == ["two", *map(str, best[2])]
    mbr = [network.reference for network in mbr_decoding(lattices)]
    lines = run("best", file, "--mbr", "--lang-dir", folder).splitlines()
    assert lines == [f"{n} {spelled(ids)}".strip() for n, ids in zip(NAMES, mbr)]
    expected = best_path_results(lattices, LEXICON, frame_shift=0.5)
    options = ("--lang-dir", folder, "--frame-shift", 0.5)
    ctm = [line.split() for line in run("best", file, "--ctm", *options).splitlines()]
    told = [(name, word) for name, result in zip(NAMES, expected) for word in result.words]
    assert [(row[0], row[4]) for row in ctm] == [(n, WORDS[w.word]) for n, w in told]
    assert [float(row[2]) for row in ctm] == [w.start for _, w in told]
    assert [float(row[3]) for row in ctm] == [w.end - w.start for _, w in told]
    records = [json.loads(line) for line in run("best", file, "--json", *options).splitlines()]
    assert [record["valid"] for record in records] == [True, False, True]
    assert records[1]["score"] is None
    assert records[0]["entropy"] == pytest.approx(expected[0].entropy)
    assert [word["confidence"] for word in records[2]["words"]] == pytest.approx(
        [word.confidence for word in expected[2].words]
    )
    assert records[0]["tokens"][0]["token"] == "_abc"[expected[0].tokens[0].token]


def test_nbest_lists(folder, lattices):
    header, *found = rows("nbest", folder / "lattices.pt", "-n", 3, "--lm-scale", 0.5)
    assert header == ["utterance", "rank", "score", "posterior", "words"]
    exact = Nbest.from_lattice_exact(scaled_lattice(lattices, lm_scale=0.5), 3)
    assert [row[0] for row in found] == ["one"] * 3 + ["two"] * 3
    assert [row[1] for row in found] == ["1", "2", "3"] * 2
    scores = exact.total_scores().values.tolist()
    assert [float(row[2]) for row in found] == pytest.approx(scores, abs=1e-4)
    assert [row[4].split() for row in found] == [list(map(str, w)) for w in exact.words().tolist()]
    drawn = rows("nbest", folder / "lattices.pt", "-n", 20, "--random", "--utt", "one")[1:]
    assert len({row[4] for row in drawn}) == len(drawn) > 3
    assert 0 < sum(float(row[3]) for row in drawn) <= 1.001


def test_rescoring_writes_lattices(folder, lattices):
    out = folder / "rescored.pt"
    said = run("rescore", folder / "lattices.pt", folder / "G.pt", out, "--lm-scale", 0.5)
    assert "3 utterances: " in said and f"Wrote {out}" in said
    found = read_lattices(out)
    assert found.names == NAMES
    expected = rescore_with_whole_lattice(lattices, BackOffModel(random.Random(11)).fsa())
    torch.testing.assert_close(found.lattices.scores, scaled_lattice(expected, lm_scale=0.5).scores)
    wrong = ("rescore", folder / "lattices.pt", folder / "G.pt", out, "--backoff", "phi")
    assert "backoff must be 'failure' or 'epsilon'" in run(*wrong, status=1)


def test_entropies(folder, lattices):
    header, *found = rows("entropy", folder / "lattices.pt")
    expected = torch.stack(list(lattice_entropy(lattices)), 1).flatten().tolist()
    assert header == ["utterance", "frames", "paths", "words", "alignments", "paths_per_frame"]
    told = [float(x) for row in found for x in row[2:5]]
    assert told == pytest.approx(expected, abs=1e-4)
    header, *found = rows("entropy", folder / "lattices.pt", "--by-word", "--lang-dir", folder)
    results = best_path_results(lattices, LEXICON)
    words = [(name, word) for name, result in zip(NAMES, results) for word in result.words]
    assert [(row[0], row[1]) for row in found] == [(n, WORDS[w.word]) for n, w in words]
    for row, (_, word) in zip(found, words):
        values = (word.confidence, word.word_entropy, word.alignment_entropy)
        assert [float(x) for x in row[2:5]] == pytest.approx(values, abs=1e-4)
        assert row[5] == f"{word.start_frame}-{word.end_frame}"


def test_the_oracle(folder, lattices):
    (folder / "text").write_text("two BEE NEW\none CC ALPHA\nnone BE\n")
    _header, *found, last = rows(
        "oracle", folder / "lattices.pt", folder / "text", "--words", folder / "words.txt"
    )
    oracle = lattice_oracle(lattices, [[3, 1], [2], [4, 99]])
    assert [int(row[1]) for row in found] == oracle.errors.tolist()
    assert last == [f"oracle WER {100 * oracle.wer:.2f} %"]
    (folder / "text").write_text("two BEE\n")
    said = run("oracle", folder / "lattices.pt", folder / "text", status=1)
    assert "has no line for the utterance one" in said


def test_a_picture_of_one_utterance(folder):
    out = folder / "lattice.svg"
    run("draw", folder / "lattices.pt", out, "--utt", "two", "--beam", 1, "--lang-dir", folder)
    text = out.read_text()
    assert "two" in text and any(word in text for word in WORDS[1:])
    assert "has 3 utterances; name one" in run("draw", folder / "lattices.pt", out, status=1)
    empty = ("draw", folder / "lattices.pt", out, "--utt", "none")
    assert "the lattice of none is empty" in run(*empty, status=1)


def test_what_is_refused(folder):
    file = folder / "lattices.pt"
    said = run("best", file, "--utt", "three", status=1)
    assert "has no utterance 'three'; it has one, none, two." in said
    assert "--ctm needs --lang-dir" in run("best", file, "--ctm", status=1)
    assert "--silence: needs --lang-dir" in run("best", file, "--silence", "SIL", status=1)
    assert "No such file" in run("info", folder / "nowhere.pt", status=1)
