"""Determinises and minimises one OpenFst file by kaldifst, in a process that does nothing else.

`kaldifst_process.py` starts it with the text of this file: it imports neither torch nor this
package. Results go to standard output, one JSON object per line.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def _tell(**values):  # type: ignore[no-untyped-def]
    print(json.dumps(values), flush=True)


def _peak_bytes():  # type: ignore[no-untyped-def]
    # Not ru_maxrss, which counts what the process that started this one had at that time.
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])


def main(path: str, max_states: int, max_bytes: int) -> None:
    """Replaces the file by its determinised and minimised form."""
    import kaldifst

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    try:
        fst = kaldifst.StdVectorFst.read(path)
        start = time.perf_counter()
        # Epsilons are removed on the way; labels of disambiguation are labels like others.
        kaldifst.determinize_star(fst, max_states=max_states)
        _tell(step="determinise", states=fst.num_states, seconds=time.perf_counter() - start)
        start = time.perf_counter()
        kaldifst.minimize_encoded(fst)
        _tell(step="minimise", states=fst.num_states, seconds=time.perf_counter() - start)
        if not fst.write(path):
            raise OSError(f"{path}: cannot be written")
    except (RuntimeError, MemoryError, OSError) as error:
        _tell(error=type(error).__name__, message=str(error))
        raise SystemExit(1) from None
    _tell(step="done", peak_bytes=_peak_bytes())
    # Giving back a million states one by one takes longer than the system needs for all.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
