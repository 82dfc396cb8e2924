"""k2's text forms of an FSA: several extra labels, ragged labels, costs or scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.compat.k2.ragged_arc import RaggedArc, as_int
from wfst_entropy.fsa.arc_attributes import aux_name
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError
from wfst_entropy.fsa.invariants import shape_of_arcs
from wfst_entropy.fsa.text_format import parse_fsa

if TYPE_CHECKING:
    from wfst_entropy.compat.k2.fsa import Fsa

_LIST = re.compile(r"\[([^\]]*)\]")


class Parsed(NamedTuple):
    """What a text says."""

    arcs: RaggedArc
    aux_labels: list[Tensor]  # int32 (num_arcs,) each
    ragged_labels: list[RaggedTensor]  # int32, one list per arc each


def label_names(
    acceptor: bool | None, num_aux_labels: int | None, aux_label_names: Sequence[str] | None
) -> list[str]:
    """The names of the extra labels, told in one of three ways; none by default.

    Raises:
      FsaTypeError: told in more than one way, or a negative number.

    Example:
      >>> label_names(None, 2, None), label_names(False, None, None), label_names(None, None, None)
      (['aux_labels', 'aux_labels2'], ['aux_labels'], [])
    """
    ways = (acceptor, num_aux_labels, aux_label_names)
    if sum(way is not None for way in ways) > 1:
        raise FsaTypeError(
            "from_str: give one of acceptor, num_aux_labels and aux_label_names, got "
            f"acceptor={acceptor}, num_aux_labels={num_aux_labels}, "
            f"aux_label_names={aux_label_names}."
        )
    if aux_label_names is not None:
        return list(aux_label_names)
    number = num_aux_labels if num_aux_labels is not None else int(acceptor is False)
    if number < 0:
        raise FsaTypeError(f"num_aux_labels: must not be negative, got {number}.")
    return [aux_name(i) for i in range(number)]


def parse(text: str, num_aux_labels: int, num_ragged_labels: int, openfst: bool) -> Parsed:
    """Reads one FSA; ragged labels stand in brackets after the extra labels.

    Raises:
      FsaFormatError: with the number of the line.
    """
    lists: list[list[list[int]]] = []
    if num_ragged_labels:
        # One number in the place of the lists leads from the parsed arc back to them.
        lines = text.split("\n")
        text = "\n".join(
            _set_lists_aside(number, line, num_ragged_labels, lists)
            for number, line in enumerate(lines, start=1)
        )
    parsed = parse_fsa(text, num_aux_labels + bool(num_ragged_labels), openfst)
    table = torch.tensor(parsed.arcs, dtype=torch.int32).reshape(-1, 3)
    scores = torch.tensor(parsed.scores, dtype=torch.float32)
    arcs = RaggedArc(
        shape_of_arcs(table, parsed.num_states),
        torch.cat([table, as_int(scores)[:, None]], dim=1),
    )
    columns = [torch.tensor(column, dtype=torch.int32) for column in parsed.aux_labels]
    places = parsed.aux_labels[-1] if num_ragged_labels else []
    ragged = [
        RaggedTensor([lists[place][i] if place >= 0 else [] for place in places], torch.int32)
        for i in range(num_ragged_labels)
    ]
    return Parsed(arcs, columns[:num_aux_labels], ragged)


def _set_lists_aside(number: int, line: str, expected: int, lists: list[list[list[int]]]) -> str:
    found = list(_LIST.finditer(line))
    if not found:
        return line
    if len(found) != expected:
        raise FsaFormatError(
            f"line {number}: {line.strip()!r}: needs {expected} lists in brackets, has "
            f"{len(found)}."
        )
    try:
        lists.append([[int(field) for field in match[1].split()] for match in found])
    except ValueError as error:
        raise FsaFormatError(f"line {number}: {line.strip()!r}: {error}.") from None
    return f"{line[: found[0].start()]} {len(lists) - 1} {line[found[-1].end() :]}"


def extra_labels(fsa: Fsa) -> tuple[list[Tensor], list[RaggedTensor]]:
    """The int32 and the ragged attributes, each ordered by name, as k2 writes them."""
    attributes = sorted(fsa.named_tensor_attr(include_scores=False), key=lambda pair: pair[0])
    values = [value for _, value in attributes]
    columns = [v for v in values if isinstance(v, Tensor) and v.dtype == torch.int32]
    return columns, [v for v in values if isinstance(v, RaggedTensor)]


def format_arcs(
    arcs: RaggedArc,
    scores: Tensor,
    columns: Sequence[Tensor],
    ragged: Sequence[RaggedTensor],
    openfst: bool,
) -> str:
    """The lines of one FSA, scores with six digits as k2 writes them."""
    labels = [column.tolist() for column in columns]
    lists = [value.tolist() for value in ragged]
    numbers = scores.tolist()
    lines = []
    for i, (src, dst, label) in enumerate(arcs.values()[:, :3].tolist()):
        number = f"{0.0 - numbers[i] if openfst else numbers[i]:.6g}"
        if openfst and label == -1:
            lines.append(f"{src} {number}\n")
            continue
        brackets = (" ".join(["[", *map(str, value[i]), "]"]) for value in lists)
        fields = (src, dst, label, *(column[i] for column in labels), *brackets, number)
        lines.append(" ".join(map(str, fields)) + "\n")
    if not openfst and arcs.dim0():
        lines.append(f"{arcs.dim0() - 1}\n")
    return "".join(lines)


def describe(fsa: Fsa, openfst: bool) -> str:
    """The arcs, the properties and all attributes, for reading."""
    columns, ragged = extra_labels(fsa)
    if fsa.arcs.num_axes() == 2:
        text = "k2.Fsa: " + format_arcs(fsa.arcs, fsa.scores, columns, ragged, openfst)
    else:
        text = "k2.FsaVec: \n"
        for i in range(fsa.arcs.dim0()):
            arcs, begin = fsa.arcs.index(0, i)
            end = begin + arcs.num_elements()
            text += f"FsaVec[{i}]: " + format_arcs(
                arcs,
                fsa.scores[begin:end],
                [column[begin:end] for column in columns],
                [value[begin:end] for value in ragged],
                openfst,
            )
    text += f"properties_str = {fsa.properties_str}."
    attributes = [*fsa.named_tensor_attr(include_scores=False), *fsa.named_non_tensor_attr()]
    return text + "".join(f"\n{k}: {v}" for k, v in attributes if k != "labels_sym")


def to_str(fsa: Fsa, openfst: bool = False) -> str:
    """The text of one FSA with every int32 and ragged attribute, as `Fsa.from_str` reads it.

    Raises:
      FsaTypeError: this is a vector.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> fst = k2.Fsa.from_str("0 1 5 7 0.5\\n1 2 -1 -1 0\\n2", num_aux_labels=1)
      >>> print(k2.to_str(fst), end="")
      0 1 5 7 0.5
      1 2 -1 -1 0
      2
    """
    _check_single(fsa, "to_str")
    return format_arcs(fsa.arcs, fsa.scores, *extra_labels(fsa), openfst)


def to_str_simple(fsa: Fsa, openfst: bool = False) -> str:
    """The text of one FSA with `aux_labels` as the only extra label.

    Raises:
      FsaTypeError: this is a vector.
    """
    _check_single(fsa, "to_str_simple")
    aux_labels = getattr(fsa, "aux_labels", None)
    columns = [aux_labels.to(torch.int32)] if isinstance(aux_labels, Tensor) else []
    return format_arcs(fsa.arcs, fsa.scores, columns, [], openfst)


def _check_single(fsa: Fsa, function: str) -> None:
    if fsa.arcs.num_axes() != 2:
        raise FsaTypeError(f"{function}: this is a vector of FSAs; write one at a time: fsa[i].")
