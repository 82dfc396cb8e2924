"""The benchmark of distillation runs, and tells a time for each term and lattice."""

from __future__ import annotations

import sys

import distillation
import pytest


@pytest.mark.slow
def test_each_term_has_a_time(monkeypatch, capsys):
    sizes = "--encoder-dim 8 --num-layers 1 --symbols 6 --utterances 2 --frames 8 --labels 2"
    monkeypatch.setattr(sys, "argv", ["distillation.py", "--repeats", "1", *sizes.split()])
    distillation.main()
    tables = capsys.readouterr().out.split("\n\n")[1:]
    assert [table.split()[0] for table in tables] == ["CTC", "windows", "whole"]
    for table in tables:
        lines = table.splitlines()[1:]
        assert len(lines) == len(distillation.TERMS) + 1
        assert lines[0].split()[-1] == "1.00"
