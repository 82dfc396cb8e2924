"""The best paths of a graph, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from wfst_entropy.algorithms import get_tot_scores, n_shortest_paths
from wfst_entropy.fsa import CyclicFsaError, Fsa, FsaTypeError, SymbolTable
from wfst_entropy.inspection.symbols import output_labels, tables_of, text_of


@dataclass(frozen=True)
class Path:
    """A successful path.

    Attributes:
      arcs: its arc numbers.
      labels: its labels without epsilons and the -1 at the end.
      outputs: its output labels likewise; those of the input for an acceptor.
      text: its labels as symbols.
      output_text: its output labels as symbols; "" for an acceptor.
      score: the sum of its scores, nats.
      posterior: its share of the total of all paths, 0 to 1; None where that total is not finite.
    """

    arcs: tuple[int, ...]
    labels: tuple[int, ...]
    outputs: tuple[int, ...]
    text: str
    output_text: str
    score: float
    posterior: float | None


@dataclass(frozen=True)
class PathList:
    """Paths, the best first; `str()` of it is a table."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Path:
        return self.paths[i]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def __str__(self) -> str:
        rows = [("score", "posterior", "input", "output")]
        rows += [
            (
                f"{path.score:.6g}",
                "-" if path.posterior is None else f"{path.posterior:.6f}",
                path.text or "ε",
                path.output_text,
            )
            for path in self.paths
        ]
        if not any(path.output_text for path in self.paths):
            rows[0] = (*rows[0][:3], "")
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(
                f"{cell:>{width}}" if i < 2 else f"{cell:<{width}}"
                for i, (cell, width) in enumerate(zip(row, widths))
            )
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)


def paths(
    fsa: Fsa,
    n: int = 10,
    *,
    unique: bool = False,
    labels_sym: SymbolTable | None = None,
    aux_labels_sym: SymbolTable | None = None,
) -> PathList:
    """The `n` best paths of one FSA, with their scores and posteriors.

    The posterior is :math:`\\exp(s(\\pi) - \\log \\sum_{\\pi'} \\exp s(\\pi'))`, over all paths of
    the graph, not only over those shown.

    Args:
      fsa: one FSA; of a vector, take `fsa[i]`.
      n: how many, at least 1; fewer come back where there are fewer.
      unique: whether every string of labels counts once, with its best path.
      labels_sym: symbols of the labels; by default the attribute of that name.
      aux_labels_sym: symbols of `aux_labels`; by default the attribute of that name.

    Returns:
      A `PathList`, a sequence of `Path`; empty if there is no successful path.

    Raises:
      FsaTypeError: `fsa` is a vector.
      CyclicFsaError: a cycle with a positive score, so that there is no best path.
      FsaValueError: `n` is below 1, or a score is NaN or +inf.

    >>> fsa = Fsa.from_str("0 1 1 -1\\n0 1 2 -2\\n1 2 -1 -0.5\\n2")
    >>> print(paths(fsa, labels_sym=SymbolTable([("a", 1), ("b", 2)])))
    score  posterior  input
     -1.5   0.731059  a
     -2.5   0.268941  b
    """
    if fsa.num_axes != 2:
        raise FsaTypeError(f"fsa: a vector of {fsa.num_fsas} FSAs; take one of them: fsa[i].")
    fsa = fsa.detach().to("cpu")
    tables = tables_of(fsa, labels_sym, aux_labels_sym)
    found = n_shortest_paths(fsa, n, unique=unique)
    total = _log_total(fsa)
    labels, outputs = fsa.labels.tolist(), output_labels(fsa)
    scores = fsa.scores.double()
    listed = []
    for arcs in found.tolist()[0]:
        read = tuple(labels[arc] for arc in arcs if labels[arc] > 0)
        written = read if outputs is None else tuple(y for arc in arcs for y in outputs[arc])
        score = float(scores[arcs].sum())
        listed.append(
            Path(
                tuple(arcs),
                read,
                written,
                " ".join(text_of(label, tables[0]) for label in read),
                "" if outputs is None else " ".join(text_of(y, tables[1]) for y in written) or "ε",
                score,
                None if total is None else math.exp(score - total),
            )
        )
    return PathList(tuple(listed))


def _log_total(fsa: Fsa) -> float | None:
    """The log of the sum over all paths; None if it is not finite."""
    try:
        return float(get_tot_scores(fsa.to(torch.float64))[0])
    except CyclicFsaError:
        return None
