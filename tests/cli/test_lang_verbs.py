"""`wfst-entropy lang`: what it makes, what it tells, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from wfst_entropy.cli.main import app
from wfst_entropy.lang import LangDir

LEXICON = "READ R EH D\nRED R EH D\nREAD R IY D\n"


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["lang", *map(str, arguments)])


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    (tmp_path / "dict.txt").write_text(LEXICON)
    return tmp_path / "dict.txt"


def test_a_lang_directory_is_made_and_found_good(lexicon: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lang"
    done = run("prepare", folder, "--lexicon", lexicon, "--silence", "SIL", "--silence-prob", 0.1)
    assert done.exit_code == 0, done.output
    assert f"{folder}: 6 tokens (phone), 6 words, 3 entries" in done.output
    assert LangDir(folder).L_disambig.num_arcs > 0
    checked = run("check", folder)
    assert (checked.exit_code, checked.stdout) == (0, f"{folder}: 0 errors, 0 warnings\n")
    refused = run("check", folder, "--silence", "SIL")
    assert refused.exit_code == 1 and "--silence: only for a lexicon alone" in refused.output


def test_characters_from_a_list_of_words(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("AB\n")
    (tmp_path / "b").write_text("BA 3\n")
    done = run("prepare", tmp_path / "l", "--words", tmp_path / "a", "--words", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert LangDir(tmp_path / "l").lexicon.words == ["<UNK>", "AB", "BA"]


def test_every_finding_is_a_row(lexicon: Path, tmp_path: Path) -> None:
    lexicon.write_text(LEXICON + "RED R EH D\n[b]X[/b]\n")
    found = run("check", lexicon)
    assert found.exit_code == 1
    assert "this pronunciation is already on line 2" in found.output
    assert "[b]X[/b]" in found.output and "has no tokens" in found.output
    assert f"{lexicon}: 1 errors, 1 warnings" in found.output


def test_warnings_fail_only_when_asked_to(lexicon: Path) -> None:
    lexicon.write_text(LEXICON + "\n")
    assert run("check", lexicon).exit_code == 0
    assert run("check", lexicon, "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "lang"), "lang prepare: lang: has no words; give a list"),
        (("prepare", "lang", "--lexicon", "absent"), "lang prepare: absent: no such file"),
        (
            ("prepare", "lang", "--silence-prob", "0.3"),
            "lang prepare: --silence-prob: needs --silence",
        ),
        (("check", "absent"), "lang check: absent: no such file"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = run(*arguments)
    assert failed.exit_code == 1
    assert f"wfst-entropy {message}" in failed.output
    assert list(tmp_path.iterdir()) == []
