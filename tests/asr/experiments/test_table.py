"""Tables of experiments: inheritance, places, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfst_entropy.asr.experiments.table import read_table
from wfst_entropy.asr.options import OptionError

TABLE = """
name: toy
title: A toy
seeds: [1, 2]
stages:
  train: {script: train.py, flags: {exp-dir: "{exp}", seed: "{seed}", num-epochs: 3, aug: true}}
  decode: {script: sub/decode.py, flags: {exp-dir: "{exp}", lang: "{data}/lang"}}
rows:
  - name: base
    run: [train, decode]
    labels: {model: LSTM}
    flags: {train: {encoder: lstm}}
  - name: more
    like: base
    baseline: base
    labels: {method: entropy}
    flags: {train: {entropy-scale: -0.5, aug: null, time-reduction: [1, 2]}}
  - name: student
    run: [train]
    flags: {train: {teacher: "{exp:more}"}}
"""


def table_of(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return read_table(path)


def test_rows_become_commands(tmp_path):
    table = table_of(tmp_path, TABLE)
    args = (Path("data/mini"), Path("exp"))
    assert [stage.command for stage in table.commands("base", 2, *args)] == [
        "./train.py --exp-dir exp/toy/base-seed2 --seed 2 --num-epochs 3 --aug true --encoder lstm",
        "./sub/decode.py --exp-dir exp/toy/base-seed2 --lang data/mini/lang",
    ]
    train, _ = table.commands("more", 1, *args)
    assert train.command == (
        "./train.py --exp-dir exp/toy/more-seed1 --seed 1 --num-epochs 3 --encoder lstm "
        "--entropy-scale -0.5 --time-reduction 1 2"
    )
    (student,) = table.commands("student", 1, *args)
    assert student.command.endswith("--teacher exp/toy/more-seed1")
    assert table.rows["more"].labels == {"model": "LSTM", "method": "entropy"}
    assert [row.needs() for row in table.rows.values()] == [set(), {"base"}, {"more"}]
    assert (table.seeds, table.rows["more"].baseline) == ((1, 2), "base")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: toy", "name: To y", "name: needs small letters"),
        ("title: A toy", "titel: A toy", r"toy.yaml: the table: unknown \['titel'\]"),
        ("title: A toy", "", r"the table: \['title'\] missing"),
        ("seeds: [1, 2]", "seeds: 1", "seeds: needs a list of numbers"),
        ("like: base", "like: basis", "row more: like: no row above it is 'basis'"),
        ("run: [train, decode]", "run: [train, sing]", "row base: there is no stage 'sing'"),
        ("run: [train, decode]", "run: []", "row base: run: needs the names"),
        ("{exp:more}", "{exp:other}", "row student: needs 'other', which is no row above it"),
        ("{exp:more}", "{teacher}", "row student: teacher: {teacher} stands for nothing"),
        ("name: student", "name: base", "row base: there is another one"),
        ("baseline: base", "baseline: student", "row more: needs 'student'"),
        ("script: train.py,", "", r"stage train: \['script'\] missing"),
        ("rows:", "rows: [", "cannot be read as YAML"),
        ("title: A toy", "name: other", r"toy.yaml:3: 'name' is given twice, line 2 has it too"),
        ("{encoder: lstm}", "{encoder: lstm, encoder: tdnn}", "'encoder' is given twice"),
        ("flags: {train: {encoder: lstm}}", "flags: [train]", "flags: needs names with values"),
        ("flags: {train: {encoder: lstm}}", "flags: {train: 3}", "base: flags of train: needs nam"),
        ("run: [train, decode]", "run: train", "row base: run: needs a list, got 'train'"),
        ("run: [train, decode]", "run: [[train]]", r"row base: run: needs text, got \['train'\]"),
        ("baseline: base", "baseline: [base]", "row more: baseline: needs text"),
        ("like: base", "like: [base]", "row more: like: needs text"),
        ("labels: {method: entropy}", "labels: x", "row more: labels: needs names with values"),
        ("title: A toy", "title: [A]", "title: needs text"),
    ],
)
def test_what_is_refused(tmp_path, old, new, message):
    assert old in TABLE
    with pytest.raises(OptionError, match=message):
        table_of(tmp_path, TABLE.replace(old, new, 1))


def test_what_comes_from_elsewhere_may_be_given_again(tmp_path):
    rows = """
  - name: other
    run: [train]
    flags: {train: &shared {encoder: tdnn, layers: 1}}
  - name: deeper
    run: [train]
    flags: {train: {<<: *shared, layers: 2}}
"""
    table = table_of(tmp_path, TABLE + rows.lstrip("\n"))
    (train,) = table.commands("deeper", 1, Path("data"), Path("exp"))
    assert train.command.endswith("--aug true --encoder tdnn --layers 2")


def test_a_missing_file(tmp_path):
    with pytest.raises(OptionError, match=r"none\.yaml: cannot be read"):
        read_table(tmp_path / "none.yaml")
