"""LG.pt and HLG.pt of a lang directory: made once, again when needed, never half."""

from __future__ import annotations

import json
import logging
import os

import pytest
import torch

from wfst_entropy import compile_hlg, compile_lg
from wfst_entropy.fsa import Fsa, FsaError, FsaFormatError, load_fsa, save_fsa
from wfst_entropy.lang import LangDir, Lexicon, compile_lang_graphs, lang_graphs, write_lang_dir

pytest.importorskip("kaldifst")

LEXICON = Lexicon(
    [("READ", ["R", "EH", "D"]), ("READ", ["R", "IY", "D"]), ("RED", ["R", "EH", "D"])]
)
G = "0 1 1 1 -1\n0 1 2 2 -2\n1 0 3 0 -0.5\n1 1 2 2 -0.1\n1 2 -1 -1 0\n2"
ARPA = """
\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-99 <s> -0.3
-1 </s>
-0.3 READ -0.2
-0.3 RED

\\2-grams:
-0.1 <s> RED

\\end\\
"""


@pytest.fixture
def folder(tmp_path):
    lang = write_lang_dir(tmp_path / "lang_phone", LEXICON)
    save_fsa(Fsa.from_str(G), lang.path / "G.pt")
    return lang.path


@pytest.fixture
def made(monkeypatch):
    """Which graphs were made, in order; no process is started for them."""
    names: list[str] = []

    def lg(l_disambig, g, vocab_size, **limits):
        names.append("LG" if g is not None else "L")
        return Fsa.from_str("0 0 1 1 0\n0 1 -1 -1 0\n1")

    def hlg(graph, vocab_size, topology, **limits):
        names.append(f"HLG {topology}")
        return compile_hlg(graph, vocab_size, topology, **limits)

    monkeypatch.setattr(lang_graphs, "compile_lg", lg)
    monkeypatch.setattr(lang_graphs, "compile_hlg", hlg)
    return names


def earlier(path, seconds=100):
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_the_graphs_are_those_of_the_compilers(folder):
    lang = compile_lang_graphs(folder)
    size = lang.vocab_size
    wanted = compile_lg(lang.L_disambig, lang.G(), size)
    assert torch.equal(lang.LG.arcs, wanted.arcs)
    assert torch.equal(lang.HLG.arcs, compile_hlg(wanted, size).arcs)
    assert isinstance(lang, LangDir)


def test_a_second_time_nothing_is_made(folder, made, caplog):
    compile_lang_graphs(folder)
    assert made == ["LG", "HLG standard"]
    with caplog.at_level(logging.INFO):
        compile_lang_graphs(folder)
    assert made == ["LG", "HLG standard"]
    assert "LG.pt is newer than what it is made from, skipping" in caplog.text
    compile_lang_graphs(folder, force=True)
    assert made[2:] == ["LG", "HLG standard"]


def test_what_changed_is_made_again(folder, made):
    compile_lang_graphs(folder)
    compile_lang_graphs(folder, topology="modified")
    assert made[2:] == ["HLG modified"]
    for name in ("LG.pt", "HLG.pt"):
        earlier(folder / name)  # as if G had been written afterwards
    compile_lang_graphs(folder, topology="modified")
    assert made[3:] == ["LG", "HLG modified"]
    (folder / "lm.arpa").write_text(ARPA)
    earlier(folder / "lm.arpa", 10_000)
    compile_lang_graphs(folder, folder / "lm.arpa", None)
    assert made[5:] == ["LG"]
    compile_lang_graphs(folder, folder / "lm.arpa", "modified")
    assert made[6:] == ["HLG modified"]
    compile_lang_graphs(folder, lexicon_only=True)
    assert made[7:] == ["L", "HLG standard"]
    assert load_fsa(folder / "HL.pt").num_arcs


def test_what_was_interrupted_goes_on_where_it_was(folder, made, monkeypatch):
    def interrupted(graph, path):
        raise KeyboardInterrupt

    compile_lang_graphs(folder, topology=None)
    with monkeypatch.context() as patch:
        patch.setattr(lang_graphs, "save_fsa", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compile_lang_graphs(folder)
    assert not (folder / "HLG.pt").exists()
    compile_lang_graphs(folder)
    assert made == ["LG", "HLG standard", "HLG standard"]
    # Files without a record of how they were made are not trusted.
    record = json.loads((folder / "graph_options.json").read_text())
    del record["LG.pt"]
    (folder / "graph_options.json").write_text(json.dumps(record))
    compile_lang_graphs(folder)
    assert made[3:] == ["LG", "HLG standard"]


def test_what_is_missing_is_said_with_what_makes_it(folder):
    (folder / "G.pt").unlink()
    with pytest.raises(FsaFormatError, match=r"G\.pt: no such file; give a grammar.* lm train"):
        compile_lang_graphs(folder)
    with pytest.raises(FsaFormatError, match=r"other\.arpa: no such file"):
        compile_lang_graphs(folder, "other.arpa")
    (folder / "L_disambig.pt").unlink()
    with pytest.raises(FsaFormatError, match=r"L_disambig\.pt: no such file; .*lang prepare"):
        compile_lang_graphs(folder, lexicon_only=True)
    (folder / "graph_options.json").write_text("{")
    write_lang_dir(folder, LEXICON)
    save_fsa(Fsa.from_str(G), folder / "G.pt")
    (folder / "LG.pt").write_text("")
    with pytest.raises(FsaFormatError, match=r"is not JSON .*delete it"):
        compile_lang_graphs(folder)


def test_limits_hold_and_leave_no_file(folder):
    with pytest.raises(FsaError, match="max_states=2"):
        compile_lang_graphs(folder, max_states=2)
    assert not (folder / "LG.pt").exists()
