#!/usr/bin/env python3
"""Run a table of experiments: training, decoding, measuring, a row and a seed at a time.

  cd recipes/librispeech
  nice ./experiments/run_experiments.py experiments/entropy.yaml --num-parallel 2
  ./experiments/run_experiments.py experiments/entropy.yaml --dry-run true   # print the commands
  ./experiments/write_results.py

The same command goes on after an interruption of any kind, and skips what is stored. Each finished
run leaves results-dir/TABLE/ROW-seedN.json; a row that fails stops only those that need it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wfst_entropy.asr.experiments.driver import DONE, STORED, Driver, DriverOptions
from wfst_entropy.asr.experiments.table import read_table
from wfst_entropy.asr.options import from_args, make_parser
from wfst_entropy.fsa.errors import FsaError

RECIPE_DIR = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the command line and run the table."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = make_parser(summary, DriverOptions)
    parser.epilog = usage
    parser.add_argument("table", type=Path, help="YAML file of the table")
    args = parser.parse_args()
    try:
        options = from_args(args, DriverOptions)
        driver = Driver(read_table(args.table), options, RECIPE_DIR)
        if options.dry_run:
            for run in driver.runs():
                print(f"# {run.name}", *driver.commands(run), sep="\n")
            return
        outcomes = driver.run()
    except FsaError as error:
        sys.exit(f"run_experiments.py: error: {error}")
    except KeyboardInterrupt:
        sys.exit("run_experiments.py: interrupted; the same command goes on")
    bad = [name for name, outcome in outcomes.items() if outcome not in (DONE, STORED)]
    if bad:
        sys.exit(f"run_experiments.py: {len(bad)} of {len(outcomes)} not done: {', '.join(bad)}")


if __name__ == "__main__":
    main()
