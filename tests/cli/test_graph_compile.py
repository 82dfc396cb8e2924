"""`graph ctc|lg|hlg`: by lang directory, and file by file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from wfst_entropy import ctc_topo, isomorphic, load_fsa, save_fsa
from wfst_entropy.cli.graph_compile import ctc, hlg, lg
from wfst_entropy.cli.main import app
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.openfst import from_openfst_file
from wfst_entropy.lang import CtcTrainingGraphCompiler, Lexicon, write_lang_dir


@pytest.fixture
def folder(tmp_path):
    lang = write_lang_dir(tmp_path / "lang", Lexicon([("A", ["AH"]), ("B", ["B", "IY"])]))
    save_fsa(Fsa.from_str("0 1 1 1 -1\n1 0 2 2 -2\n1 2 -1 -1 0\n2"), lang.path / "G.pt")
    return lang.path


def test_ctc(folder, tmp_path):
    out = str(tmp_path / "H.pt")
    ctc(out, vocab_size=5, topology="modified")
    assert torch.equal(load_fsa(out).arcs, ctc_topo(4, modified=True).arcs)
    ctc(out, lang_dir=folder)
    assert torch.equal(load_fsa(out).arcs, ctc_topo(3).arcs)
    ctc(out, lang_dir=folder, text="A B")
    wanted = CtcTrainingGraphCompiler(folder).compile(["A B"])[0]
    assert torch.equal(load_fsa(out).arcs, wanted.arcs)


def test_a_lang_directory_and_single_files_give_the_same(folder, tmp_path):
    pytest.importorskip("kaldifst")
    command = ["graph", "hlg", str(folder), "--topology", "compact"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lg_file, hlg_file = str(tmp_path / "LG.pt"), str(tmp_path / "HLG.fst")
    lg(folder / "L_disambig.pt", lg_file, grammar=folder / "G.pt", vocab_size=4)
    assert torch.equal(load_fsa(lg_file).arcs, load_fsa(folder / "LG.pt").arcs)
    hlg(Path(lg_file), hlg_file, topology="compact", vocab_size=4)
    assert isomorphic(from_openfst_file(hlg_file), load_fsa(folder / "HLG.pt"))


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
