"""Pairs of labels, and scores if wanted, coded as one label each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.algorithms.concat import concat
from wfst_entropy.algorithms.expand_ragged_attributes import expand_aux_labels
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@dataclass(frozen=True)
class EncodeTable:
    """What each code stands for; code `i` is at place `i - 1`.

    Args:
      labels: int32 `(num_codes,)`.
      aux_labels: int32 `(num_codes,)`, or None if output labels are not coded.
      scores: `(num_codes,)`, or None if scores are not coded.
    """

    labels: Tensor
    aux_labels: Tensor | None
    scores: Tensor | None


def encode(fsa: Fsa, *, labels: bool = True, scores: bool = False) -> tuple[Fsa, EncodeTable]:
    """Gives each pair of input and output label, and score if wanted, a label of its own.

    Determinising or minimising the result treats the transducer as an unweighted automaton; then
    `decode` gives the labels back. Equal pairs have equal codes over a whole vector.

    Args:
      fsa: a transducer (with `aux_labels`) or a vector of them; or an acceptor if only scores are
        coded.
      labels: whether to code `aux_labels` together with `labels`; without, they stay.
      scores: whether to code the scores, too, which become 0 (their gradients end here). Arcs into
        the final state then go, with a code, to one new state before it.

    Returns:
      The FSA with codes for labels (also for epsilons), and the table for `decode`.

    Raises:
      FsaAttributeError: `labels` is set but there are no `aux_labels`.
      FsaTypeError: `fsa` is no Fsa.
      FsaValueError: nothing is to be coded.

    Source: OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 5 50 0.5\\n0 1 5 51 1\\n0 1 5 50 2\\n1 2 -1 -1 0\\n2", False)
    >>> encoded, table = encode(fst)
    >>> encoded.labels.tolist(), table.labels.tolist(), table.aux_labels.tolist()
    ([1, 2, 1, -1], [5, 5], [50, 51])
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    if not labels and not scores:
        raise FsaValueError("encode: set `labels` or `scores`, or both; otherwise nothing changes.")
    if labels:
        fsa, _ = expand_aux_labels(fsa)
    if scores:
        stop = Fsa.from_arcs([[0, 1, -1]], fsa.scores.new_zeros(1)).to(fsa.device)
        fsa = concat(fsa, stop)
    coded = fsa.labels != -1
    columns = [fsa.labels[coded]]
    if labels:
        columns.append(fsa.aux_labels[coded].to(torch.int32))
    if scores:
        columns.append(fsa.scores.detach()[coded])
    codes, first = _codes(columns)
    arcs = fsa.arcs.clone()
    arcs[coded, 2] = codes.to(torch.int32) + 1
    attributes = dict(fsa.attributes)
    if labels:
        del attributes["aux_labels"]
    rest = torch.where(coded, torch.zeros_like(fsa.scores), fsa.scores) if scores else fsa.scores
    table = EncodeTable(
        columns[0][first],
        columns[1][first] if labels else None,
        columns[-1][first] if scores else None,
    )
    return fsa._like(fsa.shape, arcs, rest, attributes), table


def decode(fsa: Fsa, table: EncodeTable) -> Fsa:
    """Gives back what `encode` coded.

    Args:
      fsa: an FSA or a vector of them with codes of `table` for labels; 0 becomes epsilon on both
        sides.
      table: as `encode` returned it.

    Returns:
      The transducer; coded scores are added to those of the arcs. Where scores were coded, an
      epsilon arc comes before the final state.

    Raises:
      FsaTypeError: `fsa` is no Fsa.
      FsaValueError: a label is no code of the table; names the arc.

    Source: OpenFst, the operation of the same name.

    >>> fst = Fsa.from_str("0 1 5 50 0.5\\n1 2 -1 -1 0\\n2", num_aux_labels=1)
    >>> print(decode(*encode(fst)))
    0 1 5 50 0.5
    1 2 -1 -1 0
    2
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    code = fsa.labels.to(torch.int64)
    wrong = torch.nonzero(code > table.labels.numel())
    if wrong.numel():
        arc = int(wrong[0])
        raise FsaValueError(
            f"fsa: arc {arc} has label {int(code[arc])}, but the table has "
            f"{table.labels.numel()} codes; was the graph encoded with this table?"
        )
    arcs, attributes, scores = fsa.arcs.clone(), dict(fsa.attributes), fsa.scores
    arcs[:, 2] = _decoded(code, table.labels, -1)
    if table.aux_labels is not None:
        attributes["aux_labels"] = _decoded(code, table.aux_labels, -1)
    if table.scores is not None:
        scores = scores + _decoded(code, table.scores, 0).to(scores.dtype)
    return fsa._like(fsa.shape, arcs, scores, attributes)


def _decoded(code: Tensor, values: Tensor, final: int) -> Tensor:
    """The value of each code; 0 for code 0 and `final` for -1."""
    ends = values.new_tensor([final, 0])
    return torch.cat([ends, values.to(code.device)])[code + 1]


def _codes(columns: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Numbers the distinct rows: the number of each row, and one row of each number."""
    codes = torch.zeros(columns[0].numel(), dtype=torch.int64, device=columns[0].device)
    for column in columns:
        values, place = torch.unique(column, return_inverse=True)
        _, codes = torch.unique(codes * max(values.numel(), 1) + place, return_inverse=True)
    num_codes = int(codes.max()) + 1 if codes.numel() else 0
    rows = torch.arange(codes.numel(), device=codes.device)
    first = torch.full((num_codes,), codes.numel(), device=codes.device)
    return codes, first.scatter_reduce(0, codes, rows, "amin")
