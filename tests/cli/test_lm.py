"""`wfst-entropy lm`: from text to a model to a grammar."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wfst_entropy import load_fsa, read_arpa
from wfst_entropy.cli.lm import app

TEXT = "the cow eats grass\nthe cow\ngrass grows\nthe grass\n"
WORDS = "<eps> 0\nthe 1\ncow 2\ngrass 3\n<UNK> 4\n#0 5\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text(TEXT)
    Path("text.gz").write_bytes(gzip.compress(TEXT.encode()))
    Path("words.txt").write_text(WORDS)
    return tmp_path


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == status, result.output
    return result.output


def test_from_text_to_grammar(folder):
    output = run("train", "text", "text.gz", "--lm", "lm.arpa", "--discount-fallback", "absolute")
    assert output.splitlines()[:3] == ["1-grams: 8", "2-grams: 10", "3-grams: 9"]
    assert read_arpa("lm.arpa").num_ngrams == [8, 10, 9]
    output = run("prune", "lm.arpa", "--lm", "small.arpa.gz", "--threshold", "0.05")
    assert "3-grams: " in output and " of 9" in output
    assert sum(read_arpa("small.arpa.gz").num_ngrams) < 27
    output = run("to-g", "lm.arpa", "words.txt", "G.pt", "--max-order", "2")
    grammar = load_fsa("G.pt")
    assert output.endswith(f"Wrote G.pt: {grammar.num_states} states, {grammar.num_arcs} arcs\n")
    run("to-g", "lm.arpa", "words.txt", "G.fst.txt", "--backoff", "epsilon")
    arcs = [line.split() for line in Path("G.fst.txt").read_text().splitlines()]
    labels = {fields[2] for fields in arcs if len(fields) > 2}
    assert labels == {"0", "1", "2", "3", "4"}, "no #0, which is 5"


def test_perplexity_and_unknown_words(folder):
    run("train", "text", "--lm", "lm.arpa", "--order", "2", "--discount-fallback", "fixed")
    Path("dev").write_text("the bull eats\na bull\n")
    output = run("perplexity", "lm.arpa", "dev", "--oov", "1", "--sentences")
    lines = output.splitlines()
    assert lines[0].endswith("\tthe bull eats") and float(lines[0].split("\t")[0]) < 0
    assert lines[2] == "2 sentences, 5 words, 3 OOVs"
    assert lines[-1] == "2\tbull"


def test_vocabulary_and_counts_are_limited(folder):
    run("train", "text", "--lm", "lm.arpa", "--limit-vocab", "words.txt", "--min-counts", "1,2",
        "--discount-fallback", "fixed", "--order", "2")  # fmt: skip
    model = read_arpa("lm.arpa")
    assert model.words == ["<unk>", "<s>", "</s>", "cow", "grass", "the"]
    assert model.num_ngrams[1] == 3  # <s> the, the cow, grass </s>


def test_interpolation(folder):
    for order in ("1", "2"):
        run("train", "text", "--lm", f"{order}.arpa", "--order", order, "--discount-fallback",
            "fixed")  # fmt: skip
    output = run("interpolate", "1.arpa", "2.arpa", "--lm", "both.arpa", "--tune", "text")
    assert output.splitlines()[0].endswith(" 1.arpa") and output.endswith("Wrote both.arpa\n")
    output = run("interpolate", "1.arpa", "2.arpa", "--lm", "both.arpa", "--weights", "3,1")
    assert output.startswith("3.0000 1.arpa\n1.0000 2.arpa\n")


def test_check(folder):
    run("train", "text", "--lm", "lm.arpa", "--order", "2", "--discount-fallback", "fixed")
    assert "3 words in common" in run("check", "lm.arpa", "--words", "words.txt")
    text = Path("lm.arpa").read_text()
    line = next(line for line in text.splitlines() if "\tcow\t" in line)
    Path("lm.arpa").write_text(text.replace(line, line.replace("-0.", "-0.2")))
    assert "the probabilities of all words sum to" in run("check", "lm.arpa", status=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "text", "--lm", "lm.arpa"], "lm train: discounts: "),
        (["train", "none", "--lm", "lm.arpa"], "No such file or directory: 'none'"),
        (["train", "text", "--lm", "lm.arpa", "--min-counts", "a"], "--min-counts: needed numbers"),
        (["train", "text", "--lm", "no/lm.arpa", "--discount-fallback", "fixed"], "no/lm.arpa"),
        (["prune", "text", "--lm", "lm.arpa"], "text: line 4: the file ends and had no"),
        (["perplexity", "text", "text"], "text: line 4: the file ends and had no"),
        (["to-g", "text", "words.txt", "G.pt"], "text: line 4: the file ends and had no"),
        (["interpolate", "text", "--lm", "lm.arpa"], "--weights, --tune: needed one of the two"),
        (["interpolate", "text", "--lm", "x", "--weights", "b"], "text: line 4: the file ends"),
    ],
)
def test_errors_are_one_line_and_status_1(folder, arguments, message):
    output = run(*arguments, status=1)
    assert message in output and "Traceback" not in output
    assert not Path("lm.arpa").exists()
