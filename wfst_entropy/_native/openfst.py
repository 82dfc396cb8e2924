"""OpenFst's binary files: what reading them leaves to C++."""

from __future__ import annotations

import numpy as np

from wfst_entropy._native import is_available, kernel


def state_sizes(body: memoryview, num_states: int, wide: int) -> np.ndarray | None:
    """The number of arcs of each state of a vector FST, int64.

    Args:
      body: the file from its first state on.
      num_states: how many there are, or -1 for as many as there are data.
      wide: how many numbers of four bytes a cost takes.

    Returns:
      None where the extension is not there, or the data have another form.
    """
    if not is_available():
        return None
    words = np.frombuffer(body[: len(body) // 4 * 4], dtype="<i4")
    found = kernel("openfst_state_sizes")(words.ctypes.data, words.size, num_states, wide)
    return None if found is None else np.asarray(found)
