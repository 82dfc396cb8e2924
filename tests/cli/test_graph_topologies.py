"""`graph rnnt`, `graph levenshtein` and `frame-scores`: files, symbols, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from wfst_entropy import (
    ContextGraph,
    SymbolTable,
    context_graph_to_fsa,
    levenshtein_graph,
    load_fsa,
    planted_scores,
    rnnt_graph,
)
from wfst_entropy.cli.main import app

runner = CliRunner()


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.txt"
    SymbolTable([("<blk>", 0), ("a", 1), ("b", 2)]).to_file(path)
    return path


def run(*arguments, status=0):
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_rnnt_writes_the_lattice(tmp_path, tokens, rnnt_type):
    out = tmp_path / "rnnt.pt"
    run("graph", "rnnt", "a b", out, "--frames", 4, "--tokens", tokens, "--rnnt-type", rnnt_type)
    wanted = rnnt_graph([[1, 2]], [4], rnnt_type)[0]
    assert load_fsa(out).to_str() == wanted.to_str()
    assert load_fsa(out).frame_idx.tolist() == wanted.frame_idx.tolist()


def test_rnnt_pruned_keeps_positions_along_the_diagonal(tmp_path):
    out = tmp_path / "rnnt.pt"
    run("graph", "rnnt", "1 2", out, "--frames", 4, "--prune-range", 2)
    ranges = torch.tensor([[[0, 1], [0, 1], [1, 2], [1, 2]]])
    assert load_fsa(out).to_str() == rnnt_graph([[1, 2]], [4], ranges=ranges)[0].to_str()


def test_levenshtein_writes_the_graph(tmp_path, tokens):
    out = tmp_path / "lev.pt"
    run("graph", "levenshtein", "b a", out, "--tokens", tokens)
    assert load_fsa(out).to_str() == levenshtein_graph([[2, 1]])[0].to_str()


def test_context_writes_the_phrases_with_fail_arcs(tmp_path):
    words, phrases, out = (tmp_path / name for name in ("words.txt", "phrases.txt", "context.pt"))
    SymbolTable.from_str("<eps> 0\nnew 1\nyork 2\n#0 3\n<s> 4\n</s> 5").to_file(words)
    phrases.write_text("new york :2\nyork\n")
    run("graph", "context", phrases, out, "--words", words, "--context-score", 0.5)
    graph = ContextGraph(0.5).build([[1, 2], [2]], [2.0, None])
    assert load_fsa(out).to_str() == context_graph_to_fsa(graph, [1, 2], backoff_label=3).to_str()
    phrases.write_text("new york\nold york\n")
    said = run("graph", "context", phrases, out, "--words", words, status=1)
    assert "phrases.txt: line 2: the word 'old' is not in words.txt" in " ".join(said.split())


def test_frame_scores_plant_the_pronunciations_of_words(tmp_path, tokens):
    (tmp_path / "words.txt").write_text("<eps> 0\nab 1\nba 2\n")
    (tmp_path / "lexicon.txt").write_text("ab a b\nba b a\n")
    out = tmp_path / "scores.npy"
    said = run("frame-scores", "ba ab", out, "--lang-dir", tmp_path, "--seed", 7)
    assert "13 frames of 3 symbols" in said
    assert np.array_equal(np.load(out), planted_scores([2, 1, 1, 2], 3, seed=7).numpy())
    assert "'bb'" in run("frame-scores", "bb", out, "--lang-dir", tmp_path, status=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a c", "--tokens", "TOKENS", "--frames", 3), "position 1 is 'c'; .*no such symbol"),
        (("a", "--frames", 3), "position 0 is 'a'; ids are numbers; or give --tokens"),
        (("1 2", "--frames", 1, "--rnnt-type", "modified"), "no alignment of 2 labels with 1"),
        (("1 2", "--frames", 2, "--prune-range", 1), "no alignment"),
        (("1 2", "--frames", 2, "--rnnt-type", "hat"), "rnnt_type: must be one of"),
        (("1 2", "--frames", -1), "num_frames"),
    ],
)
def test_what_is_refused(tmp_path, tokens, arguments, message):
    given = [tokens if argument == "TOKENS" else argument for argument in arguments]
    said = run("graph", "rnnt", given[0], tmp_path / "out.pt", *given[1:], status=1)
    assert re.search(message, " ".join(said.split())), said
    assert not (tmp_path / "out.pt").exists()
