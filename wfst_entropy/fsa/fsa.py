"""The weighted finite-state automaton, one or a vector of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa import arc_attributes, serialization, text_attributes
from wfst_entropy.fsa.errors import FsaAttributeError, FsaIndexError, FsaTypeError
from wfst_entropy.fsa.invariants import (
    check_arcs,
    check_attribute,
    check_stackable,
    check_tensors,
    row_numbers,
    shape_of_arcs,
)
from wfst_entropy.fsa.properties import Properties
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.state_numbers import StateNumbers
from wfst_entropy.fsa.symbol_table import SymbolTable
from wfst_entropy.fsa.text_format import Layout, format_fsa, parse_fsa

_PARTS = ("shape", "arcs", "scores", "_attributes", "_properties")


class Fsa(StateNumbers):
    """A weighted finite-state automaton `[state][arc]`, or a vector of them `[fsa][state][arc]`.

    State 0 is the start.  The state with the largest number is the only final one: it has no arcs
    leaving it, the arcs into it have label -1, and no other arc has.  Label 0 is epsilon (blank, in
    a CTC graph).  Scores are positive log-weights: larger is better.  An FSA without states is
    empty: it accepts nothing.  One state alone is not enough: start and final state differ.

    Arcs may carry attributes: a tensor or a `RaggedTensor` with one entry per arc, which then
    follows its arc through indexing, stacking and every algorithm; or any other object, which is
    passed on.  They are kept in the mapping `attributes` and read as `fsa.aux_labels`.

    Args:
      shape: `[state][arc]` or `[fsa][state][arc]`.
      arcs: int32 `(num_arcs, 3)`: source state, destination state (numbered within their own FSA)
        and label, ordered by FSA and source state.
      scores: float32 or float64 `(num_arcs,)`, log-weights in nats; zeros by default.
      attributes: by name.

    Raises:
      FsaTypeError: wrong types or dtypes.
      FsaValueError: an invariant above does not hold; the message names the FSA and the arc.
      FsaAttributeError: an attribute's name is taken.

    Example:
      >>> fsa = Fsa.from_str('''
      ...     0 1 5 0.5
      ...     1 2 -1 0
      ...     2
      ... ''')
      >>> fsa
      Fsa(num_states=3, num_arcs=2)
      >>> vec = Fsa.from_fsas([fsa, fsa])
      >>> vec.labels.tolist(), vec.dst_states().tolist()
      ([5, -1, 5, -1], [1, 2, 4, 5])
      >>> vec[1].scores.tolist()
      [0.5, 0.0]
    """

    __slots__ = _PARTS

    shape: RaggedShape
    arcs: Tensor
    scores: Tensor
    _attributes: dict[str, Any]
    _properties: Properties | None

    def __init__(
        self, shape: RaggedShape, arcs: Tensor, scores: Tensor | None = None, **attributes: Any
    ) -> None:
        check_tensors(shape, arcs, scores)
        if scores is None:
            scores = torch.zeros(arcs.shape[0], dtype=torch.float32, device=arcs.device)
        self._set(shape.to(arcs.device), arcs, scores, {})
        check_arcs(shape, arcs)
        for name, value in attributes.items():
            self.set_attribute_(name, value)

    def _set(
        self, shape: RaggedShape, arcs: Tensor, scores: Tensor, attributes: dict[str, Any]
    ) -> None:
        # Contiguous, because native code reads arcs and scores by their addresses.
        parts = (shape, arcs.contiguous(), scores.contiguous(), attributes, None)
        for name, value in zip(_PARTS, parts):
            object.__setattr__(self, name, value)

    def _like(
        self, shape: RaggedShape, arcs: Tensor, scores: Tensor, attributes: dict[str, Any]
    ) -> Fsa:
        """An Fsa of parts that are known to be valid, of the same class as this one."""
        fsa = type(self).__new__(type(self))
        fsa._set(shape, arcs, scores, attributes)
        return fsa

    @classmethod
    def from_arcs(
        cls,
        arcs: Tensor | Sequence[Sequence[int]],
        scores: Tensor | None = None,
        num_states: int | None = None,
        **attributes: Any,
    ) -> Fsa:
        """Makes one FSA from its arcs.

        Args:
          arcs: integers `(num_arcs, 3)`: source, destination, label, ordered by source.
          scores: float `(num_arcs,)`; zeros by default.
          num_states: by default one more than the largest state that an arc mentions.
          attributes: by name.

        Raises:
          FsaTypeError, FsaValueError: as the constructor.

        Example:
          >>> Fsa.from_arcs([[0, 1, 7], [1, 2, -1]]).num_states
          3
        """
        table = torch.as_tensor(arcs) if len(arcs) else torch.empty(0, 3, dtype=torch.int32)
        shape = shape_of_arcs(table, num_states)
        return cls(shape, table.to(torch.int32), scores, **attributes)

    @classmethod
    def from_str(
        cls,
        text: str,
        acceptor: bool | None = None,
        num_aux_labels: int | None = None,
        openfst: bool = False,
        *,
        aux_label_names: Sequence[str] | None = None,
        ragged_label_names: Sequence[str] = (),
        isymbols: SymbolTable | None = None,
        osymbols: SymbolTable | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Fsa:
        """Reads one FSA from k2's or OpenFst's text format.

        Arcs are grouped by source state; extra labels become the int32 attributes `aux_labels`,
        `aux_labels2`, ...

        Args:
          text: the lines, as `text_format` describes them.
          acceptor: True for no extra label, False for one.
          num_aux_labels: number of extra labels.  If neither this nor `acceptor` or
            `aux_label_names` is given, the first arc tells, and its last field is taken to be a
            score.
          openfst: whether the text is OpenFst's.
          aux_label_names: the names of extra labels, where they are others.
          ragged_label_names: the names of ragged labels: lists in brackets after the extra labels.
          isymbols: labels are symbols of this table (and -1); by default they are numbers.
          osymbols: likewise the first extra label, or the first ragged one if there are only those.
          dtype: of the scores, float32 or float64.

        Raises:
          FsaFormatError: with the number of the line.
          FsaValueError: two arguments disagree about the number of extra labels.

        Example:
          >>> fst = Fsa.from_str("0 1 5 50 0.5\\n1 2 -1 -1 0\\n2")
          >>> fst.aux_labels.tolist(), fst.scores.tolist()
          ([50, -1], [0.5, 0.0])
          >>> Fsa.from_str("0 1 5 0.5\\n1 0.25", acceptor=True, openfst=True).scores.tolist()
          [-0.5, -0.25]
          >>> fst = Fsa.from_str("0 1 -1 [7 8] 0\\n1", ragged_label_names=["aux_labels"])
          >>> fst.aux_labels
          [[7, 8]]
        """
        number = text_attributes.num_labels(acceptor, num_aux_labels, aux_label_names)
        layout = Layout(0, len(ragged_label_names), isymbols, osymbols)
        parsed = parse_fsa(text, number, openfst, layout)
        arcs = torch.tensor(parsed.arcs, dtype=torch.int32).reshape(-1, 3)
        attributes = text_attributes.attributes_of(parsed, aux_label_names, ragged_label_names)
        scores = torch.tensor(parsed.scores, dtype=dtype)
        return cls.from_arcs(arcs, scores, parsed.num_states, **attributes)

    @classmethod
    def from_fsas(cls, fsas: Sequence[Fsa]) -> Fsa:
        """Stacks FSAs into a vector; a vector among them contributes each of its FSAs.

        Scores and per-arc attributes are concatenated (autograd is kept); every FSA must have the
        same of them, and other attributes must be equal in all.

        Raises:
          FsaValueError: attributes, dtypes or devices differ.

        Example:
          >>> a = Fsa.from_str("0 1 -1 0.5\\n1")
          >>> Fsa.from_fsas([a, a]).num_fsas
          2
        """
        if not fsas:
            empty = RaggedShape(*(torch.zeros(1, dtype=torch.int64),) * 2)
            return cls(empty, torch.empty(0, 3, dtype=torch.int32))
        check_stackable(fsas)
        return fsas[0]._like(
            RaggedShape.cat([fsa._vector_shape() for fsa in fsas]),
            torch.cat([fsa.arcs for fsa in fsas]),
            torch.cat([fsa.scores for fsa in fsas]),
            {
                name: arc_attributes.cat([fsa._attributes[name] for fsa in fsas])
                for name in fsas[0]._attributes
            },
        )

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes by name, read-only; see `set_attribute_`."""
        return MappingProxyType(self._attributes)

    @property
    def labels(self) -> Tensor:
        """Input labels, int32 `(num_arcs,)`; -1 on arcs into the final state, 0 is epsilon."""
        return self.arcs[:, 2]

    @property
    def properties(self) -> Properties:
        """Whether it is acyclic, top-sorted, ...: computed when asked for, then remembered."""
        if self._properties is None:
            # Of the shape and arcs alone: a reference to self would be a cycle, and keep the memory
            # of large lattices until the garbage collector runs.
            object.__setattr__(self, "_properties", Properties(self.shape, self.arcs))
        assert self._properties is not None
        return self._properties

    @property
    def device(self) -> torch.device:
        """The device of all its tensors."""
        return self.arcs.device

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows the scores."""
        return self.scores.requires_grad

    def __getattr__(self, name: str) -> Any:
        # Only reached when there is no such member.
        if not name.startswith("_") and name in self._attributes:
            return self._attributes[name]
        have = ", ".join(self._attributes) if not name.startswith("_") else ""
        raise FsaAttributeError(f"this Fsa has no attribute {name!r}; it has: {have or 'none'}.")

    def __setattr__(self, name: str, value: Any) -> None:
        raise FsaAttributeError(
            f"fsa.{name} = ... is not possible; use fsa.set_attribute_({name!r}, value), or "
            "fsa.with_scores(scores) for new scores."
        )

    def __len__(self) -> int:
        if self.num_axes == 2:
            raise FsaTypeError("len(fsa): this is one FSA, not a vector; use num_states, num_arcs.")
        return self.num_fsas

    def __iter__(self) -> Iterator[Fsa]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Fsa:
        """The FSA with number `index`, or the vector of those with several numbers.

        Scores and attributes come along; autograd is kept.

        Raises:
          FsaIndexError: this is not a vector, or an index is outside it.

        Example:
          >>> a, b = Fsa.from_str("0 1 -1 0.5\\n1"), Fsa.from_str("0 1 -1 2\\n1")
          >>> vec = Fsa.from_fsas([a, b])
          >>> vec[1].scores.tolist(), vec[[1, 0, 1]].scores.tolist()
          ([2.0], [2.0, 0.5, 2.0])
        """
        if self.num_axes == 2:
            raise FsaIndexError("fsa[i]: this is one FSA, not a vector; make one by from_fsas.")
        if isinstance(index, int):
            if not -self.num_fsas <= index < self.num_fsas:
                raise FsaIndexError(f"fsa[{index}]: the vector has {self.num_fsas} FSAs.")
            begin, end = self.shape.value_range(index)
            shape, arc_map = self.shape[index], torch.arange(begin, end, device=self.device)
            arcs, scores = self.arcs[begin:end], self.scores[begin:end]
            return self._like(shape, arcs, scores, self.select_attributes(arc_map))
        numbers = row_numbers(index, self.num_fsas, self.device)
        if isinstance(numbers, int):
            return self[numbers]
        shape, arc_map = self.shape.index(numbers)
        return self._like(
            shape, self.arcs[arc_map], self.scores[arc_map], self.select_attributes(arc_map)
        )

    def get_filler(self, name: str) -> float:
        """The number that means "nothing here" in an attribute: `<name>_filler`, or else 0.

        Raises:
          FsaValueError: the attribute `<name>_filler` is not a number.

        Example:
          >>> Fsa.from_arcs([[0, 1, -1]], phones_filler=-1).get_filler("phones")
          -1
        """
        return arc_attributes.filler(self._attributes, name)

    def select_attributes(
        self, arc_map: Tensor | RaggedTensor, labels: Tensor | None = None
    ) -> dict[str, Any]:
        """The attributes that new arcs take from the arcs of this FSA.

        Args:
          arc_map: int64 `(num_new_arcs,)`, the number of the old arc of each new arc, -1 where
            there is none; or the lists of old arcs that each new arc stands for.
          labels: int `(num_new_arcs,)`, the labels of the new arcs.  With them, `aux_labels`,
            `aux_labels2`, ... of a new arc without an old one is -1 if it goes into the final
            state.

        Returns:
          A dict for the constructor: per-arc attributes indexed by `arc_map` (differentiable),
          others as they are.  Where `arc_map` is -1, a tensor gets its filler (`get_filler`) and a
          ragged tensor an empty list.  Where arcs are joined, floating-point entries are summed,
          integers become lists without fillers, and lists are joined.

        Raises:
          FsaValueError: see `get_filler`; or arcs with several integers each are joined.

        Example:
          >>> fsa = Fsa.from_arcs([[0, 1, -1]], weight=torch.tensor([2.0]), weight_filler=1)
          >>> fsa.select_attributes(torch.tensor([0, -1]))["weight"].tolist()
          [2.0, 1.0]
        """
        return {
            name: arc_attributes.follow(self._attributes, name, arc_map, self.labels, labels)
            for name in self._attributes
        }

    def set_attribute_(self, name: str, value: Any) -> Fsa:
        """Sets an attribute of this FSA, in place, and returns it.

        Raises:
          FsaAttributeError: `name` is a member of Fsa or not a Python identifier.
          FsaValueError: a tensor or ragged tensor has not one entry per arc.

        Example:
          >>> fsa = Fsa.from_str("0 1 -1 0.5\\n1")
          >>> fsa.set_attribute_("source", "toy").source
          'toy'
        """
        if hasattr(type(self), name) or name.startswith("_") or not name.isidentifier():
            raise FsaAttributeError(f"attribute {name!r}: this name is taken or not a valid name.")
        check_attribute(name, value, self.num_arcs)
        per_arc = isinstance(value, (Tensor, RaggedTensor))
        self._attributes[name] = arc_attributes.to(value, self.device) if per_arc else value
        return self

    def with_scores(self, scores: Tensor) -> Fsa:
        """The same FSA and attributes with other scores `(num_arcs,)`, autograd kept.

        Raises: FsaTypeError, FsaValueError for a wrong dtype or shape.
        """
        check_tensors(self.shape, self.arcs, scores)
        fsa = self._like(self.shape, self.arcs, scores, dict(self._attributes))
        # The properties depend on states and labels only.
        object.__setattr__(fsa, "_properties", self.properties)
        return fsa

    def requires_grad_(self, requires_grad: bool = True) -> Fsa:
        """Lets autograd follow the scores, in place, and returns the FSA."""
        self.scores.requires_grad_(requires_grad)
        return self

    def to(self, target: torch.device | str | torch.dtype) -> Fsa:
        """The FSA on another device, or with float32 or float64 scores.

        Example:
          >>> Fsa.from_str("0 1 -1 0.5\\n1").to(torch.float64).scores.dtype
          torch.float64
        """
        if isinstance(target, torch.dtype):
            return self.with_scores(self.scores.to(target))
        attributes = {
            name: arc_attributes.to(value, target) for name, value in self._attributes.items()
        }
        return self._like(
            self.shape.to(target), self.arcs.to(target), self.scores.to(target), attributes
        )

    def detach(self) -> Fsa:
        """The same FSA, sharing memory, with scores and attributes outside autograd."""
        attributes = {
            name: arc_attributes.detach(value) for name, value in self._attributes.items()
        }
        return self._like(self.shape, self.arcs, self.scores.detach(), attributes)

    def clone(self) -> Fsa:
        """A copy that shares no tensor with this one; differentiable, as `Tensor.clone` is."""
        attributes = {name: arc_attributes.clone(value) for name, value in self._attributes.items()}
        return self._like(self.shape, self.arcs.clone(), self.scores.clone(), attributes)

    def to_str(
        self,
        openfst: bool = False,
        *,
        aux_label_names: Sequence[str] | None = None,
        ragged_label_names: Sequence[str] | None = None,
        isymbols: SymbolTable | None = None,
        osymbols: SymbolTable | None = None,
    ) -> str:
        """The text form that `from_str` reads, for one FSA.

        Args:
          openfst: OpenFst's format instead of k2's.
          aux_label_names: the integer attributes to write; by default those of `aux_labels`,
            `aux_labels2`, ... that are tensors.
          ragged_label_names: the ragged ones; by default those of them that are ragged.
          isymbols: write labels as symbols.
          osymbols: likewise the first extra label, or the first ragged one if there are only those.

        Raises:
          FsaTypeError: this is a vector, or an attribute is not of integers.
          FsaAttributeError: there is no such attribute.
          FsaFormatError: a label is not in its table.

        Example:
          >>> print(Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2").to_str(openfst=True))
          0 1 5 -0.5
          1 0
        """
        text = text_attributes.text_of(self, aux_label_names, ragged_label_names)
        single = self.scores.dtype == torch.float32
        return format_fsa(text, openfst, single, isymbols, osymbols)

    def as_dict(self) -> dict[str, Any]:
        """Plain tensors, numbers, strings, lists and dicts, for `torch.save`.

        The result can be read with `torch.load(..., weights_only=True)` and `from_dict`.  It says
        whether the scores required gradients, and holds no autograd graph.

        Raises:
          FsaTypeError: an attribute is something else, for example an object of your own class.

        Example:
          >>> fsa = Fsa.from_str("0 1 -1 0.5\\n1")
          >>> Fsa.from_dict(fsa.as_dict()).scores.tolist()
          [0.5]
        """
        return serialization.to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fsa:
        """Makes an FSA from what `as_dict` gave; everything is checked again.

        Raises:
          FsaFormatError: a key is missing or of the wrong type.
          FsaTypeError, FsaValueError: as the constructor.
        """
        shape, arcs, scores, attributes = serialization.from_dict(values)
        return cls(shape, arcs, scores, **attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), *serialization.state(self))

    def __str__(self) -> str:
        if self.num_axes == 2:
            return self.to_str()
        return "\n".join(f"fsa {i}:\n{fsa.to_str()}" for i, fsa in enumerate(self))

    def __repr__(self) -> str:
        vector = f"num_fsas={self.num_fsas}, " if self.num_axes == 3 else ""
        attributes = "".join(f", {name}" for name in self._attributes)
        return f"Fsa({vector}num_states={self.num_states}, num_arcs={self.num_arcs}{attributes})"


def _unpickle(
    cls: type[Fsa], shape: RaggedShape, arcs: Tensor, scores: Tensor, attributes: dict[str, Any]
) -> Fsa:
    return cls(shape, arcs, scores, **attributes)


# So that torch.load(weights_only=True) reads a pickled Fsa too.
torch.serialization.add_safe_globals([Fsa, RaggedShape, RaggedTensor, SymbolTable, _unpickle])
