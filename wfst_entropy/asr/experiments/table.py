"""A table of experiments: rows of flags, read from YAML and turned into commands.

```yaml
name: entropy                # results go to results/entropy/
title: Entropy regularisation
seeds: [42]
stages:                      # commands by name; flags that all rows share
  train: {script: train.py, flags: {exp-dir: "{exp}", seed: "{seed}", num-epochs: 3}}
  greedy: {script: decode.py, flags: {exp-dir: "{exp}"}}
rows:
  - name: lstm
    run: [train, greedy]     # its stages, in this order
    flags: {train: {encoder: lstm}}
  - name: lstm-entropy
    like: lstm               # everything of that row, with what follows on top
    baseline: lstm           # what it is compared with; runs before
    flags: {train: {entropy-loss-scale: 0.02}}
```

`{exp}` stands for the run's folder, `{data}` for that of the corpus, `{seed}` for the seed, and
`{exp:ROW}` for the folder of another row of the same seed, which then runs before.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.yaml_file import YamlError, read_yaml

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_PLACE = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_TABLE_KEYS = {"name", "title", "about", "seeds", "stages", "rows"}
_ROW_KEYS = {"name", "like", "run", "baseline", "labels", "flags"}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of a run.

    Attributes:
      name: such as `train`.
      argv: script and arguments; the script's path is relative to the recipe's folder.
    """

    name: str
    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """As one would type it in the recipe's folder."""
        return "./" + shlex.join(self.argv)


@dataclasses.dataclass(frozen=True)
class Row:
    """A configuration of a table.

    Attributes:
      name: of the row, part of file names.
      labels: what the page of results shows of it, column by column.
      baseline: the row that it is compared with, or None.
      stages: `{stage: {flag: value}}`, all flags, in the order in which stages run.
      scripts: `{stage: script}`.
    """

    name: str
    labels: dict[str, str]
    baseline: str | None
    stages: dict[str, dict[str, Any]]
    scripts: dict[str, str]

    def needs(self) -> set[str]:
        """Rows of the same seed that must be finished before."""
        found = {self.baseline} if self.baseline else set()
        for flags in self.stages.values():
            for value in flags.values():
                found |= {m[2] for m in _PLACE.finditer(str(value)) if m[1] == "exp" and m[2]}
        return found


@dataclasses.dataclass(frozen=True)
class ExperimentTable:
    """What a YAML file asks for; see the module."""

    name: str
    title: str
    about: str
    seeds: tuple[int, ...]
    rows: dict[str, Row]

    def commands(self, row: str, seed: int, data_dir: Path, exp_root: Path) -> list[Stage]:
        """The commands of one run.

        Args:
          row: its row.
          seed: its seed.
          data_dir: the corpus.
          exp_root: folder of all runs; that of this one is `{exp_root}/{table}/{row}-seed{seed}`.
        """

        def place(match: re.Match[str]) -> str:
            if match[1] == "exp":
                return str(exp_dir(exp_root, self.name, match[2] or row, seed))
            return str({"seed": seed, "data": data_dir}[match[1]])

        stages = []
        for name, flags in self.rows[row].stages.items():
            argv = [self.rows[row].scripts[name]]
            for flag, value in flags.items():
                argv.append(f"--{flag}")
                for word in value if isinstance(value, list) else [value]:
                    argv.append(_PLACE.sub(place, _as_text(word)))
            stages.append(Stage(name, tuple(argv)))
        return stages


def exp_dir(exp_root: Path, table: str, row: str, seed: int) -> Path:
    """The folder of a run.

    >>> exp_dir(Path("exp"), "entropy", "lstm", 42)
    PosixPath('exp/entropy/lstm-seed42')
    """
    return exp_root / table / f"{row}-seed{seed}"


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_table(path: Path) -> ExperimentTable:
    """Read a table of experiments.

    Args:
      path: YAML as described in the module.

    Raises:
      OptionError: the file cannot be read, or something in it is missing, unknown, there twice or
        circular; the message names file and row or line.
    """
    try:
        content = read_yaml(path)
    except YamlError as error:
        raise OptionError(str(error)) from error
    try:
        table = _table(content)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    return table


def _table(content: Any) -> ExperimentTable:
    _keys("the table", content, _TABLE_KEYS, {"name", "title", "stages", "rows"})
    stages, seeds = content["stages"], content.get("seeds", [42])
    for name in ("title", "about"):
        _text(name, content.get(name, ""))
    for name, stage in _mapping("stages", stages).items():
        _keys(f"stage {name}", stage, {"script", "flags"}, {"script"})
        _text(f"stage {name}: script", stage["script"])
        _mapping(f"stage {name}: flags", stage.get("flags") or {})
    if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) for s in seeds):
        raise OptionError(f"seeds: needs a list of numbers, got {seeds!r}")
    raw: dict[str, Any] = {}
    for row in _list("rows", content["rows"] or []):
        _check_row(len(raw) + 1, row)
        if row["name"] in raw:
            raise OptionError(f"row {row['name']}: there is another one of this name")
        raw[row["name"]] = _inherited(row, raw)
    rows = {name: _row(row, stages) for name, row in raw.items()}
    if not rows:
        raise OptionError("rows: needs at least one")
    _check_name(content["name"])
    _check_order(rows)
    about = content.get("about", "")
    return ExperimentTable(content["name"], content["title"], about, tuple(seeds), rows)


def _check_row(number: int, row: Any) -> None:
    """Raise unless a row has the form of one; what its names stand for is checked later."""
    _keys(f"row {number}", row, _ROW_KEYS, {"name"})
    _check_name(row["name"])
    what = f"row {row['name']}"
    for stage, flags in _mapping(f"{what}: flags", row.get("flags", {})).items():
        _mapping(f"{what}: flags of {stage}", flags or {})
    _mapping(f"{what}: labels", row.get("labels", {}))
    for stage in _list(f"{what}: run", row.get("run", [])):
        _text(f"{what}: run", stage)
    for name in ("like", "baseline"):
        if row.get(name) is not None:
            _text(f"{what}: {name}", row[name])


def _inherited(row: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what it has from another one."""
    flags = {stage: dict(values or {}) for stage, values in row.get("flags", {}).items()}
    other = row.get("like")
    if other is None:
        return {"labels": {}, "baseline": None, "run": [], **row, "flags": flags}
    if other not in before:
        have = ", ".join(before) or "none"
        raise OptionError(
            f"row {row['name']}: like: no row above it is {other!r}; there are {have}"
        )
    base = before[other]
    merged = {stage: dict(values) for stage, values in base["flags"].items()}
    for stage, values in flags.items():
        merged[stage] = {**merged.get(stage, {}), **values}
    labels = {**base["labels"], **row.get("labels", {})}
    return {**base, "baseline": None, **row, "labels": labels, "flags": merged}


def _row(row: dict[str, Any], stages: Mapping[str, Any]) -> Row:
    name, run = row["name"], row["run"]
    if not run:
        raise OptionError(f"row {name}: run: needs the names of its stages")
    unknown = sorted({*run, *row["flags"]} - set(stages))
    if unknown:
        raise OptionError(
            f"row {name}: there is no stage {unknown[0]!r}; there are {', '.join(stages)}"
        )
    flags = {}
    for stage in run:
        given = {**(stages[stage].get("flags") or {}), **row["flags"].get(stage, {})}
        # null takes a flag of all rows away
        flags[stage] = {flag: value for flag, value in given.items() if value is not None}
        for flag, value in flags[stage].items():
            for match in _PLACE.finditer(str(value)):
                if match[1] not in ("exp", "data", "seed") or (match[2] and match[1] != "exp"):
                    raise OptionError(f"row {name}: {flag}: {match[0]} stands for nothing")
    labels = {str(k): str(v) for k, v in row["labels"].items()}
    scripts = {stage: stages[stage]["script"] for stage in run}
    return Row(name, labels, row["baseline"], flags, scripts)


def _check_order(rows: Mapping[str, Row]) -> None:
    """Raise unless every row needs only rows above it, so that none waits for itself."""
    above: set[str] = set()
    for row in rows.values():
        missing = sorted(row.needs() - above)
        if missing:
            raise OptionError(f"row {row.name}: needs {missing[0]!r}, which is no row above it")
        above.add(row.name)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(f"name: needs small letters, digits, '-', '_' or '.', got {name!r}")


def _mapping(what: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{what}: needs names with values, got {value!r}")
    return value


def _list(what: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise OptionError(f"{what}: needs a list, got {value!r}")
    return value


def _text(what: str, value: Any) -> None:
    if not isinstance(value, str):
        raise OptionError(f"{what}: needs text, got {value!r}")


def _keys(what: str, value: Any, known: set[str], needed: set[str]) -> None:
    keys = set(_mapping(what, value))
    if keys - known:
        raise OptionError(
            f"{what}: unknown {sorted(map(str, keys - known))}; known: {sorted(known)}"
        )
    if needed - keys:
        raise OptionError(f"{what}: {sorted(needed - keys)} missing")
