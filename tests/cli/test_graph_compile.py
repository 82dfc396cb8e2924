"""`graph ctc|lg|hlg`: by lang directory, and file by file."""

from __future__ import annotations

import pytest
import torch
import typer
from typer.testing import CliRunner

from wfst_entropy import ctc_topo, load_fsa, save_fsa
from wfst_entropy.cli.graph_compile import ctc, hlg, lg
from wfst_entropy.cli.main import app
from wfst_entropy.fsa import Fsa
from wfst_entropy.lang import CtcTrainingGraphCompiler, Lexicon, write_lang_dir

runner = CliRunner()


@pytest.fixture
def folder(tmp_path):
    lang = write_lang_dir(tmp_path / "lang", Lexicon([("A", ["AH"]), ("B", ["B", "IY"])]))
    save_fsa(Fsa.from_str("0 1 1 1 -1\n1 0 2 2 -2\n1 2 -1 -1 0\n2"), lang.path / "G.pt")
    return lang.path


def run(*arguments):
    return runner.invoke(app, ["graph", *map(str, arguments)])


def test_ctc(folder, tmp_path):
    out = tmp_path / "H.pt"
    assert run("ctc", out, "--vocab-size", 5, "--topology", "modified").exit_code == 0
    assert torch.equal(load_fsa(out).arcs, ctc_topo(4, modified=True).arcs)
    assert run("ctc", out, "--lang-dir", folder).exit_code == 0
    assert torch.equal(load_fsa(out).arcs, ctc_topo(3).arcs)
    assert run("ctc", out, "--lang-dir", folder, "--text", "A B").exit_code == 0
    assert torch.equal(
        load_fsa(out).arcs, CtcTrainingGraphCompiler(folder).compile(["A B"])[0].arcs
    )
    for arguments, message in (
        (["--vocab-size", 5, "--topology", "x"], "--topology: must be standard or modified"),
        ([], "--vocab-size or --lang-dir"),
        (["--text", "A"], "--text: needs --lang-dir"),
    ):
        done = run("ctc", out, *arguments)
        assert done.exit_code == 1 and message in done.stderr


def test_a_lang_directory_and_single_files_give_the_same(folder, tmp_path):
    pytest.importorskip("kaldifst")
    done = run("hlg", folder, "--topology", "compact")
    assert done.exit_code == 0, done.output
    lg_file, hlg_file = tmp_path / "LG.pt", tmp_path / "HLG.fst"
    done = run(
        "lg", folder / "L_disambig.pt", lg_file, "--grammar", folder / "G.pt", "--vocab-size", 4
    )
    assert done.exit_code == 0, done.output
    assert torch.equal(load_fsa(lg_file).arcs, load_fsa(folder / "LG.pt").arcs)
    done = run("hlg", lg_file, hlg_file, "--topology", "compact", "--vocab-size", 4)
    assert done.exit_code == 0, done.output
    assert runner.invoke(app, ["diff", str(hlg_file), str(folder / "HLG.pt")]).exit_code == 0


def test_what_does_not_go_together(folder, tmp_path, capsys):
    g = folder / "G.pt"
    for verb, options, message in (
        (ctc, {"out": "H.pt", "vocab_size": 5, "topology": "x"}, "--topology: must be standard or"),
        (ctc, {"out": "H.pt"}, "--vocab-size or --lang-dir"),
        (ctc, {"out": "H.pt", "text": "A"}, "--text: needs --lang-dir"),
        (lg, {"lang": folder, "out": "LG.pt"}, "OUT, --vocab-size: only where LANG is a graph"),
        (lg, {"lang": folder, "lexicon_only": True}, "see graph hlg"),
        (lg, {"lang": tmp_path / "none"}, "neither a lang directory nor a graph file"),
        (lg, {"lang": g, "out": "LG.pt"}, "OUT and --vocab-size: needed"),
        (lg, {"lang": g, "out": "LG.pt", "vocab_size": 4}, "--grammar or --lexicon-only"),
        (hlg, {"lang": g, "out": "x", "vocab_size": 4, "lexicon_only": True}, "only with a lang"),
        (hlg, {"lang": folder, "max_states": 1}, "max_states=1"),
    ):
        with pytest.raises(typer.Exit):
            verb(**options)
        assert message in capsys.readouterr().err
    assert not (folder / "LG.pt").exists()
