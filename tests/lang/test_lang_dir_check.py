"""A lang directory whose files do not belong together is told file by file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wfst_entropy.fsa import Fsa, FsaFormatError, load_fsa, save_fsa
from wfst_entropy.inspection import Severity
from wfst_entropy.lang import (
    LangSources,
    Lexicon,
    Silence,
    check_lang_dir,
    prepare_lang_dir,
    write_lang_dir,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "lexiconp.txt").write_text("a 0.5 A\na 1.0 A B\nb 1.0 B\nsil 1.0 SIL\n")
    sources = LangSources(lexicon=folder / "lexiconp.txt", silence=Silence("SIL", 0.3))
    return prepare_lang_dir(folder / "lang", sources).path


@pytest.fixture
def lang(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "lang"))


def test_what_was_made_together_is_fine(lang: Path) -> None:
    assert check_lang_dir(lang) == []


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def other_scores(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        graph = load_fsa(folder / name)
        save_fsa(graph.with_scores(graph.scores - 1), folder / name)

    return change


def graph(name: str, label: int, word: int | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        words = {} if word is None else {"aux_labels": torch.tensor([word, -1], dtype=torch.int32)}
        save_fsa(Fsa.from_arcs([[0, 1, label], [1, 2, -1]], **words), folder / name)

    return change


def empty(folder: Path) -> None:
    save_fsa(Fsa.from_arcs([], num_states=0), folder / "HLG.pt")


# tokens: <blk> A B SIL #0 #1 #2; words: <eps> a b sil #0 <s> </s>
@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (write("tokens.txt", "<blk> 0\nA\n"), "tokens.txt", "line 2: 'A': needed 'symbol id'"),
        (write("tokens.txt", "A 0\n"), "tokens.txt", "<blk> must have id 0"),
        (write("tokens.txt", ""), "tokens.txt", "the file is empty"),
        (edit("words.txt", "a 1", "a 1\r"), "words.txt", "ends with CRLF"),
        (lambda folder: (folder / "words.txt").unlink(), "words.txt", "no such file"),
        (write("bpe.model", "no model"), "bpe.model", "is not a sentencepiece model"),
        (write("lang_options.json", "{"), "lang_options.json", "is damaged"),
        (edit("lexiconp.txt", "a 0.5", "c 0.5"), "lexiconp.txt", "is not in words.txt"),
        (edit("lexicon.txt", "b B", "b A"), "lexicon.txt", "its entries are not those of"),
        (edit("lexiconp_disambig.txt", "#1", "#2"), "lexiconp_disambig.txt", "is not lexicon.txt"),
        (
            edit("lexiconp_disambig.txt", "#1", "#9 A"),
            "lexiconp_disambig.txt",
            "'#9' is a disambig",
        ),
        (other_scores("L.pt"), "L.pt", "is not the graph of lexicon.txt"),
        (other_scores("L_disambig.pt"), "L_disambig.pt", "is not the graph of lexicon.txt"),
        (lambda folder: (folder / "Linv.pt").unlink(), "Linv.pt", "no such file"),
        (write("L.pt", "no graph"), "L.pt", "is not a file of torch.save"),
        (graph("LG.pt", 4, 1), "LG.pt", "has the label 4, tokens end at 3"),
        (graph("HLG.pt", 5, 1), "HLG.pt", "has the label 5, tokens end at 4"),
        (graph("HLG.pt", 4, 7), "HLG.pt", "has the word 7, which is not in words.txt"),
        (graph("HLG.pt", 4, None), "HLG.pt", "has no aux_labels"),
        (empty, "HLG.pt", "is empty"),
        (graph("G_3_gram.pt", 7, None), "G_3_gram.pt", "has the word 7"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    lang: Path, damage: Callable[[Path], None], file: str, what: str
) -> None:
    damage(lang)
    findings = check_lang_dir(lang)
    (finding,) = (f for f in findings if f.severity == Severity.ERROR)
    assert finding.file == str(lang / file)
    assert what in str(finding) and finding.remedy


def test_graphs_that_fit_are_no_fault(lang: Path) -> None:
    graph("LG.pt", 3, 3)(lang)
    graph("HLG.pt", 4, 3)(lang)  # the label after the last token takes no frame
    graph("G.pt", 3, None)(lang)
    assert check_lang_dir(lang) == []


def test_words_that_only_the_language_model_has_are_a_warning(lang: Path) -> None:
    edit("words.txt", "#0 4\n<s> 5\n</s> 6\n", "#0 4\n<s> 5\n</s> 6\nnew 7\n")(lang)
    graph("G.pt", 7, None)(lang)
    findings = check_lang_dir(lang)
    assert {f.severity for f in findings} == {Severity.WARNING}
    assert any("1 of its words have no pronunciation: 'new'" in f.what for f in findings)


def test_graphs_of_other_tools_are_only_a_warning(tmp_path: Path) -> None:
    write_lang_dir(tmp_path, Lexicon([("a", ["A"])]), silence=None)
    assert check_lang_dir(tmp_path) == []
    write_lang_dir(tmp_path, Lexicon([("a", ["A"])]), silence=Silence("SIL"))
    findings = check_lang_dir(tmp_path)
    assert [f.severity for f in findings] == [Severity.WARNING] * 3


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FsaFormatError, match=r"absent: no such lang directory"):
        check_lang_dir(tmp_path / "absent")
