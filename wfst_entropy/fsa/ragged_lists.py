"""Nested Python lists, and the text form of ragged tensors and shapes.

The text form is k2's: `[ [1 2] [] [3] ]` for a tensor, `[ [x x] [ ] [x] ]` for a shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from torch import Tensor

from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError

_MAX_AXES = 50
_TOKEN = re.compile(r"[\[\]]|[^\s,\[\]]+")


def split_lists(lists: Sequence[Any]) -> tuple[list[list[int]], list[Any]]:
    """The lengths of the rows of each axis from axis 1 on, and all elements in one list.

    Tensors among the lists count as lists.

    Raises:
      FsaTypeError: the nesting is uneven, or less than two deep.

    Example:
      >>> split_lists([[[5], []], [[6, 7]]])
      ([[2, 1], [1, 0, 2]], [5, 6, 7])
    """
    lengths: list[list[int]] = []
    level: list[Any] = list(lists)
    nested = True
    while nested:
        rows = [x.tolist() if isinstance(x, Tensor) else x for x in level]
        for row in rows:
            if not isinstance(row, (list, tuple)):
                raise FsaTypeError(
                    "lists: must be nested lists of one depth, at least two; found "
                    f"{row!r} beside lists."
                )
        lengths.append([len(row) for row in rows])
        level = list(chain.from_iterable(rows))
        nested = not {list, tuple, Tensor}.isdisjoint(map(type, level))
    return lengths, level


def parse_lists(text: str) -> list[Any]:
    """The nested lists of a text, with the elements still strings.

    Elements are separated by blanks or commas.

    Raises:
      FsaFormatError: brackets that do not match, or something outside them; with the position.

    Example:
      >>> parse_lists("[ [1 2] [], [3.5] ]")
      [['1', '2'], [], ['3.5']]
    """
    outer: list[Any] = []
    open_lists = [outer]
    for token in _TOKEN.finditer(text):
        if len(open_lists) == 1 and (outer or token[0] != "["):
            raise _error(text, token.start(), f"one outer list is needed, but here is {token[0]!r}")
        if len(open_lists) > _MAX_AXES:
            raise _error(text, token.start(), f"lists are more than {_MAX_AXES} deep")
        if token[0] == "[":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif token[0] == "]":
            open_lists.pop()
        else:
            open_lists[-1].append(token[0])
    if len(open_lists) != 1 or not outer:
        raise _error(text, len(text), f"the text ends with {len(open_lists) - 1} lists open")
    whole: list[Any] = outer[0]
    return whole


def parse_numbers(items: list[Any], make: type[int] | type[float]) -> list[Any]:
    """The nested lists of strings as nested lists of numbers.

    Raises:
      ValueError: an element is not such a number.
    """
    # int() and float() would also take 1_000.
    return [
        parse_numbers(x, make) if isinstance(x, list) else make(x.replace("_", "?")) for x in items
    ]


def format_lists(items: list[Any], element: str | None = None) -> str:
    """The text form of nested lists, or with `element` in place of every element.

    Example:
      >>> format_lists([[1, 2], []]), format_lists([[1, 2], []], "x")
      ('[ [ 1 2 ] [ ] ]', '[ [ x x ] [ ] ]')
    """
    parts = [
        format_lists(x, element) if isinstance(x, list) else (element or _number(x)) for x in items
    ]
    return " ".join(["[", *parts, "]"])


def format_rows(items: list[Any], separator: str) -> str:
    """Nested lists in Python's form, numbers with up to six digits, rows apart by `separator`.

    Example:
      >>> format_rows([[1, 2.5], []], ", ")
      '[[1, 2.5], []]'
    """
    inner = separator + " " if "\n" in separator else separator
    parts = [format_rows(x, inner) if isinstance(x, list) else _number(x) for x in items]
    lists = bool(items) and isinstance(items[0], list)
    return f"[{(separator if lists else ', ').join(parts)}]"


def _number(x: int | float) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)


def _error(text: str, position: int, problem: str) -> FsaFormatError:
    around = text[max(position - 20, 0) : position + 20]
    return FsaFormatError(f"ragged text, character {position} (near {around!r}): {problem}.")
