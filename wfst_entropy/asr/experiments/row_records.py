"""The stored records of a table of experiments, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.experiments.run_record import read_record
from wfst_entropy.asr.options import OptionError

Record = dict[str, Any]


class RowRecords:
    """All seeds of one row.

    Args:
      records: in the order of seeds.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.first = records[0]
        self.name: str = self.first["row"]
        self.baseline: str | None = self.first["baseline"]

    def decodings(self, stage: str, test_set: str) -> list[dict[str, Any]]:
        """What one stage found on one test set, by seed.

        Raises:
          OptionError: some seeds have not come so far.
        """
        found = [
            d
            for record in self.records
            for d in record["decodings"]
            if (d["stage"], d["test_set"]) == (stage, test_set)
        ]
        if found and len(found) != len(self.records):
            raise OptionError(
                f"{self.name}: {stage} of {test_set} is in {len(found)} of {len(self.records)} "
                "records; run the missing ones again"
            )
        return found

    def alignments(self, test_set: str, output: str) -> list[dict[str, Any]]:
        """What was measured of the alignments by one output of the model, by seed."""
        outputs = [r["alignments"].get(test_set, {}).get("outputs", {}) for r in self.records]
        return [o[output] for o in outputs if o.get(output)]


def read_records(folder: Path) -> list[RowRecords]:
    """The records of a table, in the order of its rows.

    Args:
      folder: `results/{table}`.

    Raises:
      OptionError: there is no record, or one cannot be read.
    """
    records = [read_record(path) for path in sorted(folder.glob("*-seed*.json"))]
    if not records:
        raise OptionError(f"{folder}: has no record; run the table first")
    records.sort(key=lambda r: (r["place"], r["seed"]))
    names = list(dict.fromkeys(r["row"] for r in records))
    return [RowRecords([r for r in records if r["row"] == name]) for name in names]


def test_sets(rows: Sequence[RowRecords]) -> list[str]:
    """The test sets of a table, by name."""
    return sorted({d["test_set"] for row in rows for r in row.records for d in r["decodings"]})
