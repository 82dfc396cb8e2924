"""Fuzzes the package for some minutes; `tests/fuzz/build_sanitized.sh` says how with sanitizers.

    python tests/fuzz/run.py --minutes 10 [--seed 1] [--only compose]

Every target gets a few dozen examples from hypothesis per round, in a worker process. A crash, a
call that takes longer than `--patience` seconds, and any error outside the family `FsaError` are
faults; they are listed with their seeds, and `--only TARGET --seed SEED --rounds 1` repeats one.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any


class Hang(BaseException):
    """One call took too long."""


def _alarm(*_: Any) -> None:
    raise Hang("the call did not end in time")


def run_target(name: str, seed: int, examples: int, patience: float) -> None:
    """Draws examples for one target; raises the smallest failure that hypothesis finds."""
    from fuzz_targets import TARGETS
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    def timed(data: st.DataObject) -> None:
        signal.setitimer(signal.ITIMER_REAL, patience)
        try:
            TARGETS[name](data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    seeded(seed)(options(given(st.data())(timed)))()


def work(names: list[str], seed: int, examples: int, patience: float) -> None:
    """The worker: announces each target on stdout, then runs it."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=UserWarning, module="wfst_entropy")  # as in pytest
    signal.signal(signal.SIGALRM, _alarm)
    for name in names:
        print(f"start {name}", flush=True)
        try:
            run_target(name, seed, examples, patience)
        except (Exception, Hang):  # noqa: BLE001  whatever comes out is the finding
            print(f"fault {name}", flush=True)
            print(f"--- {name}, seed {seed}", file=sys.stderr)
            traceback.print_exc()
    print("end", flush=True)


def resident_bytes(pid: int) -> int:
    """Memory in use by a process, 0 where that cannot be told."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def watch(names: list[str], seed: int, options: argparse.Namespace) -> list[str]:
    """Runs workers until all targets have had their examples; returns those at fault."""
    faults: list[str] = []
    while names:
        settings = ["--examples", str(options.examples), "--patience", str(options.patience)]
        command = [sys.executable, __file__, "--worker", "--seed", str(seed), *settings]
        worker = subprocess.Popen([*command, "--only", *names], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        current, ended, buffer = names[0], False, b""
        last_news, reason = time.monotonic(), "crashes"
        while True:
            if not select.select([worker.stdout], [], [], 0.2)[0]:
                if time.monotonic() - last_news > 60 + 20 * options.patience:
                    reason = "hangs"
                elif resident_bytes(worker.pid) > options.memory * 2**30:
                    reason = f"takes more than {options.memory} GiB"
                else:
                    continue
                break
            last_news, chunk = time.monotonic(), os.read(worker.stdout.fileno(), 65536)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                word, _, name = line.decode().partition(" ")
                if word == "start":
                    current = name
                elif word == "fault":
                    faults.append(f"{name} (seed {seed})")
                ended |= word == "end"
        if ended:
            worker.wait()
            return faults
        worker.kill()
        faults.append(f"{current} (seed {seed}): {reason}, exit code {worker.wait()}")
        names = names[names.index(current) + 1 :]
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=None, help="of the first round")
    parser.add_argument("--examples", type=int, default=40, help="per target and round")
    parser.add_argument("--patience", type=float, default=10, help="seconds that a call may take")
    parser.add_argument("--memory", type=float, default=3, help="GiB that a worker may take")
    parser.add_argument("--only", nargs="+", metavar="TARGET", help="names, or parts of names")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.only, options.seed, options.examples, options.patience)
        return 0
    from fuzz_targets import TARGETS

    names = [n for n in TARGETS if not options.only or any(part in n for part in options.only)]
    seed = random.randrange(2**31) if options.seed is None else options.seed
    end, faults, rounds = time.monotonic() + 60 * options.minutes, [], 0
    while time.monotonic() < end and rounds < options.rounds:
        print(f"round {rounds}, seed {seed}, {len(names)} targets", flush=True)
        faults += watch(names, seed, options)
        seed, rounds = seed + 1, rounds + 1
    print(f"{rounds} rounds of {options.examples} examples for each of {len(names)} targets")
    print("\n".join(["faults:", *sorted(set(faults))]) if faults else "no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
