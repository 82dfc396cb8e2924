"""The verbs on graphs: files of every format, symbols, messages and exit codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine
from typer.testing import CliRunner

import wfst_entropy
from wfst_entropy import Fsa, SymbolTable, ctc_topo
from wfst_entropy.cli.graph_operations import VERBS
from wfst_entropy.cli.main import app
from wfst_entropy.fsa.k2_file import save_k2
from wfst_entropy.fsa.openfst import from_openfst_file

runner = CliRunner()

PHONES = SymbolTable([("<eps>", 0), ("k", 1), ("ae", 2), ("t", 3), ("d", 4), ("ao", 5), ("g", 6)])
WORDS = SymbolTable([("<eps>", 0), ("cat", 1), ("dog", 2), ("cow", 3)])
LEXICON = """0 1 k cat
1 2 ae <eps>
2 0 t <eps> 0.5
0 3 d dog
3 4 ao <eps>
4 0 g <eps>
0
"""


@pytest.fixture
def files(tmp_path):
    """Symbol tables, an OpenFst lexicon text, and a grammar in k2's text."""
    PHONES.to_file(tmp_path / "phones.txt")
    WORDS.to_file(tmp_path / "words.txt")
    (tmp_path / "L.fst.txt").write_text(LEXICON)
    (tmp_path / "G.txt").write_text("0 1 1 -0.1\n0 1 2 -2\n1 2 -1 0\n2\n")
    return tmp_path


def run(*arguments, status=0, **options):
    result = runner.invoke(app, [str(a) for a in arguments], **options)
    assert result.exit_code == status, result.output
    return result.output


def compiled(files):
    run(
        "compile", "--transducer", "--isymbols", files / "phones.txt",
        "--osymbols", files / "words.txt", files / "L.fst.txt", files / "L.fst",
    )  # fmt: skip
    return files / "L.fst"


def test_compile_reads_symbols_and_print_gives_them_back(files):
    lexicon = from_openfst_file(compiled(files))
    assert lexicon.num_arcs == 7 and lexicon.aux_labels.tolist().count(1) == 1
    printed = run(
        "print", "--openfst", "--isymbols", files / "phones.txt",
        "--osymbols", files / "words.txt", files / "L.fst",
    )  # fmt: skip
    assert {" ".join(line.split()[:4]) for line in printed.splitlines()} >= {"0 1 k cat"}
    wrong = run(
        "compile", "--transducer", "--isymbols", files / "words.txt", files / "L.fst.txt",
        files / "X.fst", status=1,
    )  # fmt: skip
    assert "L.fst.txt: line 1" in wrong and "'k'" in wrong
    assert not (files / "X.fst").exists()


@pytest.mark.parametrize("ending", [".txt", ".fst.txt", ".fst", ".pt"])
def test_every_format_gives_the_same_graph_back(tmp_path, ending):
    fsa = wfst_entropy.connect(random_machine(np.random.default_rng(1))).to(torch.float32)
    torch.save(fsa.as_dict(), tmp_path / "in.pt")
    run("convert", tmp_path / "in.pt", tmp_path / f"out{ending}")
    run("convert", "--acceptor", tmp_path / f"out{ending}", tmp_path / "back.pt")
    assert "equal" in run("diff", tmp_path / "in.pt", tmp_path / "back.pt")


def test_standard_input_and_output(files):
    text = (files / "G.txt").read_text()
    assert run("arcsort", "-", input=text) == text
    assert run("arcsort", "-", "--openfst", input="0 1 2 0.5\n1 0.25\n") == "0 1 2 0.5\n1 0.25\n"


def test_composition_and_its_paths(files):
    run("compose", compiled(files), files / "G.txt", files / "LG.fst")
    symbols = ["--isymbols", files / "phones.txt", "--osymbols", files / "words.txt"]
    lines = run("paths", *symbols, files / "LG.fst").splitlines()
    assert lines[0].split() == ["score", "posterior", "input", "output"]
    assert lines[1].split("  ")[-2:] == ["k ae t", "cat"]
    assert lines[2].endswith("d ao g  dog")
    assert "1.0" not in lines[1].split()[1]
    assert len(run("paths", "-n", 1, files / "LG.fst").splitlines()) == 2


def test_every_operation_of_the_table_is_that_of_the_library(files):
    # Deterministic and without cycles, as some operations want it; not arc-sorted. The second
    # operand has no scores, as `difference` wants it.
    text = "0 2 2 -2\n0 1 1 -1\n1 2 3 0\n1 3 -1 -2\n2 3 -1 -1\n3"
    fsa = Fsa.from_str(text, acceptor=True)
    plain = fsa.with_scores(torch.zeros(fsa.num_arcs))
    transducer = fsa.clone().set_attribute_("aux_labels", 2 * fsa.labels.clamp(min=0))
    for verb in VERBS:
        needs_outputs = verb.name in ("epsnormalize", "invert", "synchronize")
        operands = [transducer if needs_outputs else fsa, plain]
        for i, operand in enumerate(operands):
            torch.save(operand.as_dict(), files / f"{i}.pt")
        run(verb.name, *[files / f"{i}.pt" for i in range(verb.operands)], files / "out.pt")
        made = Fsa.from_dict(torch.load(files / "out.pt", weights_only=True))
        function = getattr(wfst_entropy, verb.function)
        given = [operands] if verb.name == "union" else operands[: verb.operands]
        expected = function(*given, **{o.argument: o.convert(o.default) for o in verb.options})
        assert torch.equal(made.arcs, expected.arcs), verb.name
        assert torch.equal(made.scores, expected.scores), verb.name
        assert verb.name in run(verb.name, "--help")


def test_options_reach_the_operation(files):
    projected = run("project", "--type", "output", compiled(files)).splitlines()
    labels = [line.split()[2] for line in projected[:-1]]
    assert sorted(labels) == ["-1", "0", "0", "0", "0", "1", "2"]
    assert "type" in run("project", "--type", "inside", files / "L.fst", status=1)
    assert "--semiring: must be log or tropical" in run(
        "determinize", "--semiring", "real", files / "G.txt", status=1
    )
    assert "max_states" in run("compose", "--max-states", 1, files / "L.fst", files / "G.txt",
                               status=1)  # fmt: skip


def test_info_of_one_and_of_many(tmp_path):
    torch.save(ctc_topo(2).as_dict(), tmp_path / "topo.pt")
    assert "transducer" in run("info", tmp_path / "topo.pt")
    torch.save(Fsa.from_fsas([ctc_topo(1), ctc_topo(2)]).as_dict(), tmp_path / "vec.pt")
    assert "FSAs" in run("info", tmp_path / "vec.pt") and "┃" in run("info", tmp_path / "vec.pt")
    assert "vector" in run("paths", tmp_path / "vec.pt", status=1)
    assert "score" in run("paths", "--fsa", 1, "-n", 2, tmp_path / "vec.pt")
    assert run("print", tmp_path / "vec.pt").count("\n3\n") == 1


def test_info_and_check_of_several_files(files):
    (files / "bad.txt").write_text("0 1 9 0\n1 2 -1 0\n2\n")
    said = run("info", files / "G.txt", compiled(files))
    rows = [[cell.strip() for cell in line.split("│")] for line in said.splitlines() if "│" in line]
    assert [row[2:4] for row in rows if row[2].isdigit()] == [["3", "3"], ["6", "7"]]
    both = (files / "G.txt", files / "bad.txt")
    said = run("check", "--isymbols", files / "words.txt", *both, status=1)
    assert f"{files / 'G.txt'}: nothing to complain about" in said
    assert f"{files / 'bad.txt'}: error" in said


def test_check_has_a_status(files):
    assert "nothing to complain about" in run("check", files / "G.txt")
    (files / "bad.txt").write_text("0 1 9 0\n1 2 -1 0\n2\n")
    said = run("check", "--isymbols", files / "words.txt", files / "bad.txt", status=1)
    assert said.startswith("error: 1 label(s) are not in labels_sym")


def test_explain_names_the_word(files):
    assert "nothing is wrong" in run("explain", compiled(files), files / "G.txt")
    (files / "cow.txt").write_text("0 1 3 0\n1 2 -1 0\n2\n")
    said = run("explain", "--matched", files / "words.txt", files / "L.fst", files / "cow.txt",
               status=1)  # fmt: skip
    assert "missing symbol: no arc of" in said and "'cow' (id 3)" in said and "cow.txt" in said


def test_diff_names_the_string(files):
    (files / "G2.txt").write_text("0 1 1 -0.1\n0 1 2 -1\n1 2 -1 0\n2\n")
    said = run("diff", "--isymbols", files / "words.txt", files / "G.txt", files / "G2.txt",
               status=1)  # fmt: skip
    assert said.startswith("'dog': ") and "gives -2" in said and "gives -1" in said


def test_draw_writes_the_picture(files):
    run("draw", "--isymbols", files / "words.txt", files / "G.txt", files / "G.svg")
    assert "cat/-0.1" in (files / "G.svg").read_text()
    run("draw", "--around", "dog", "--radius", 0, "--isymbols", files / "words.txt",
        files / "G.txt", files / "near.html")  # fmt: skip
    assert 'data-state="2"' not in (files / "near.html").read_text()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "none.txt", "No such file"),
        (b"0 1 x\n", "bad.txt", "bad.txt: line 1"),
        (b"\xff\xfe\x00", "bad.txt", "is not text"),
        (b"not a zip", "bad.pt", "bad.pt: is not a file of torch.save"),
        (b"not an fst", "bad.fst", "bad.fst"),
    ],
)
def test_bad_files_give_one_line_and_status_1(tmp_path, content, name, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = run("info", tmp_path / name, status=1)
    assert said.startswith("wfst-entropy info: ") and words in said and said.count(name) == 1
    assert "Traceback" not in said


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("owned",)

    torch.save(Evil(), tmp_path / "evil.pt")
    said = run("info", tmp_path / "evil.pt", status=1)
    assert "evil.pt: is not a file of torch.save, or holds more than" in said
    assert "owned" not in said.splitlines()


def test_files_of_k2_and_of_kaldi(tmp_path):
    fsa = Fsa.from_str("0 1 5 0.5\n0 1 6 0\n1 2 -1 0\n2", acceptor=True)
    save_k2(fsa, tmp_path / "k2.pt")
    assert run("print", tmp_path / "k2.pt") == fsa.to_str() + "\n"
    run("convert", tmp_path / "k2.pt", tmp_path / "one.lat")
    assert "equal" in run("diff", "--side", "input", tmp_path / "k2.pt", tmp_path / "one.lat")
    torch.save(Fsa.from_fsas([fsa, fsa]).as_dict(), tmp_path / "two.pt")
    run("convert", tmp_path / "two.pt", tmp_path / "two.lat")
    assert run("info", tmp_path / "two.lat").startswith("FSAs")
    (tmp_path / "bad.lat").write_text("utt-1\n0 1 x\n\n")
    assert "bad.lat: line 2" in run("info", tmp_path / "bad.lat", status=1)


def test_too_little_memory_is_no_traceback(files, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("wfst_entropy.cli.graph_inspection.read_graph", exhausted)
    said = run("info", files / "G.txt", status=1)
    assert said == "wfst-entropy info: not enough memory; try --max-states\n"
