"""G in OpenFst's text, such as `G_3_gram.fst.txt`, a part at a time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.atomic_file import replacing

_WRITTEN_AT_ONCE = 1 << 16


def write_g_text(grammar: Fsa, filename: str | os.PathLike[str]) -> None:
    """Writes a grammar as `arpa_to_g` makes it in OpenFst's text form, whole or not at all.

    It is what `grammar.to_str(openfst=True)` gives, without holding the text of millions of arcs.

    Args:
      grammar: one FSA with `aux_labels`, one final arc for a state at most.
      filename: the file.

    Raises:
      FileWriteError: it cannot be written; what was there before still is.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "G_1_gram.fst.txt"
      >>> write_g_text(Fsa.from_str("0 0 1 1 -0.5\\n0 1 -1 -1 -0.25\\n1"), path)
      >>> path.read_text()
      '0 0 1 1 0.5\\n0 0.25\\n'
    """
    source, target, label = (column.numpy() for column in grammar.arcs.cpu().unbind(1))
    aux_label = grammar.aux_labels.cpu().numpy()
    cost = np.float32(0) - grammar.scores.detach().cpu().numpy()
    with replacing(Path(filename)) as file:
        for begin in range(0, len(label), _WRITTEN_AT_ONCE):
            chosen = slice(begin, begin + _WRITTEN_AT_ONCE)
            rows = (x[chosen].tolist() for x in (source, target, label, aux_label, cost))
            lines = [
                f"{src} {dst} {i} {o} {c:.9g}\n" if i >= 0 else f"{src} {c:.9g}\n"
                for src, dst, i, o, c in zip(*rows)
            ]
            file.write("".join(lines).encode())
