"""How the preparation starts its processes."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext


def process_context(*modules: str) -> BaseContext:
    """Returns a context whose processes start clean and quickly.

    They are forked from a server process that has imported `modules` and done nothing else, so they
    inherit neither threads nor the state of a library from this process. Where there is no such
    server (Windows), each process starts from nothing.

    Args:
      modules: what the processes will need.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context
