"""k2's SymbolTable: a map between ids and symbols of any kind, with epsilon at 0."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from wfst_entropy.fsa import SymbolTable as CoreTable
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaValueError, SymbolNotFoundError


class SymbolTable:
    """A one-to-one map between symbols (strings, or any hashable objects) and ids from 0 on.

    Id 0 is always there and is epsilon.

    Raises:
      FsaValueError: the two dicts disagree, or an id is negative.

    Example:
      >>> table = SymbolTable.from_str("a 1\\nb 2")
      >>> table["a"], table[2], table[0], table.add("c"), table.symbols
      (1, 'b', '<eps>', 3, ['<eps>', 'a', 'b', 'c'])
    """

    def __init__(
        self,
        _id2sym: dict[int, Any] | None = None,
        _sym2id: dict[Any, int] | None = None,
        _next_available_id: int = 1,
        eps: Hashable = "<eps>",
    ) -> None:
        self._id2sym = {} if _id2sym is None else _id2sym
        if _sym2id is None:
            _sym2id = {symbol: number for number, symbol in self._id2sym.items()}
        self._sym2id = _sym2id
        self.eps = eps
        for number, symbol in self._id2sym.items():
            if number < 0 or self._sym2id.get(symbol) != number:
                raise FsaValueError(
                    f"symbol {symbol!r}, id {number}: ids must not be negative, and each symbol "
                    f"have one id; the other dict has {self._sym2id.get(symbol)}."
                )
        if len(self._sym2id) != len(self._id2sym):
            raise FsaValueError("_id2sym, _sym2id: must hold the same pairs.")
        epsilon = self._id2sym.setdefault(0, eps), self._sym2id.setdefault(eps, 0)
        if epsilon != (eps, 0):
            raise FsaValueError(
                f"eps: id 0 must be epsilon, {eps!r}; it is {epsilon[0]!r}, and {eps!r} has id "
                f"{epsilon[1]}."
            )

    @staticmethod
    def from_str(s: str) -> SymbolTable:
        """Reads lines `symbol id`; the symbol with id 0, if there is one, is epsilon.

        Raises:
          FsaFormatError: with the number of the line.
        """
        return SymbolTable._of_core(CoreTable.from_str(s))

    @staticmethod
    def from_file(filename: str | os.PathLike[str]) -> SymbolTable:
        """Reads a file in UTF-8; see `from_str`.

        Raises:
          FsaFormatError: with file and line.
        """
        return SymbolTable._of_core(CoreTable.from_file(filename))

    @staticmethod
    def _of_core(table: CoreTable) -> SymbolTable:
        ids = {number: symbol for symbol, number in table}
        return SymbolTable(_id2sym=ids, eps=ids.get(0, "<eps>"))

    def to_str(self) -> str:
        """Lines `symbol id`, ordered by id."""
        return "".join(f"{symbol} {number}\n" for number, symbol in sorted(self._id2sym.items()))

    def to_file(self, filename: str | os.PathLike[str]) -> None:
        """Writes a file in UTF-8, whole or not at all."""
        with replacing(Path(filename)) as file:
            file.write(self.to_str().encode("utf-8"))

    def add(self, symbol: Hashable, index: int | None = None) -> int:
        """Adds a symbol with id `index`, or one more than the largest, and returns its id.

        A symbol that is there keeps its id, whatever `index` is.

        Raises:
          FsaValueError: another symbol has this id, or it is negative.
        """
        if symbol in self._sym2id:
            return self._sym2id[symbol]
        if index is None:
            index = max(self._id2sym) + 1
        if index < 0 or index in self._id2sym:
            raise FsaValueError(
                f"id {index} for {symbol!r}: is negative or already {self._id2sym.get(index)!r}."
            )
        self._sym2id[symbol] = index
        self._id2sym[index] = symbol
        return index

    def get(self, k: Any) -> Any:
        """The symbol of an id (an int), or the id of a symbol.

        Raises:
          SymbolNotFoundError: it is not in the table (a KeyError, as in k2).
        """
        table: dict[Any, Any] = self._id2sym if isinstance(k, int) else self._sym2id
        if k not in table:
            what = "id" if isinstance(k, int) else "symbol"
            raise SymbolNotFoundError(f"{what} {k!r} is not in the table of {len(self)} symbols.")
        return table[k]

    def merge(self, other: SymbolTable) -> SymbolTable:
        """A table with the symbols of both.

        Raises:
          FsaValueError: epsilon, or the partner of a symbol or id, differs.
        """
        for number, symbol in other._id2sym.items():
            mine = self._id2sym.get(number, symbol), self._sym2id.get(symbol, number)
            if mine != (symbol, number):
                raise FsaValueError(
                    f"other: pairs {symbol!r} with {number}, but here {number} is "
                    f"{self._id2sym.get(number)!r} and {symbol!r} is {self._sym2id.get(symbol)}."
                )
        return SymbolTable(_id2sym={**self._id2sym, **other._id2sym}, eps=self.eps)

    @property
    def ids(self) -> list[int]:
        """All ids, ascending."""
        return sorted(self._id2sym)

    @property
    def symbols(self) -> list[Any]:
        """All symbols, in their own order (not that of the ids)."""
        return sorted(self._sym2id)

    def __getitem__(self, k: Any) -> Any:
        return self.get(k)

    def __contains__(self, k: object) -> bool:
        return k in self._id2sym if isinstance(k, int) else k in self._sym2id

    def __len__(self) -> int:
        return len(self._id2sym)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolTable) and self._id2sym == other._id2sym

    __hash__ = None  # type: ignore[assignment]
