"""k2's mutable Fsa: a holder of this package's immutable one.

k2's `arcs`, `shape`, `properties` and attributes mean something else than those of
`wfst_entropy.Fsa`, and may be assigned; so this class is not a subclass.  It keeps k2's int32
table of arcs, and makes the other kind, `core`, when an operation needs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2 import autograd_utils, fsa_properties, fsa_text
from wfst_entropy.compat.k2.fsa_attributes import FsaAttributes
from wfst_entropy.compat.k2.fsa_scores import FsaScores
from wfst_entropy.compat.k2.fsa_tensor import fix_final_labels, fsa_from_tensor, fsa_to_tensor
from wfst_entropy.compat.k2.ragged import RaggedTensor, core_ragged, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc, as_int
from wfst_entropy.fsa import Fsa as CoreFsa
from wfst_entropy.fsa import RaggedTensor as CoreRagged
from wfst_entropy.fsa.errors import (
    FsaAttributeError,
    FsaIndexError,
    FsaRuntimeError,
    FsaTypeError,
    FsaValueError,
)
from wfst_entropy.fsa.invariants import check_arcs

_OWN = ("arcs", "_tensor_attr", "_non_tensor_attr", "_cache", "_properties", "_labels_version")
_OF_SCORES = re.compile("score|arc_cdf|arc_post|entering_arcs")


class Fsa(FsaAttributes, FsaScores):
    """One FSA `[state][arc]`, or a vector of them `[fsa][state][arc]`, with k2's methods.

    Any other attribute may be set: a tensor or a `RaggedTensor` has one entry per arc and follows
    its arc through every operation; another object is passed on.

    Args:
      arcs: a `RaggedArc`, or an int32 tensor: `(num_arcs, 4)` for one FSA (source, destination,
        label, bits of the score), or the 1-D form of a vector that `arcs_as_tensor` gives.
      aux_labels: int32 `(num_arcs,)`, or ragged.
      properties: k2's flags, where they are known; they are not checked.

    Raises:
      FsaValueError: the arcs break a rule of FSAs; the message names the arc.
      FsaTypeError: wrong types.

    Example:
      >>> fsa = Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2")
      >>> fsa.shape, fsa.labels.tolist(), fsa.scores.tolist()
      ((3, None), [5, -1], [0.5, 0.0])
      >>> fsa.phones = torch.tensor([7, -1], dtype=torch.int32)
      >>> fsa.scores = fsa.scores * 2
      >>> fsa.core
      Fsa(num_states=3, num_arcs=2, phones)
    """

    arcs: RaggedArc
    aux_labels: Any
    _tensor_attr: dict[str, Tensor | RaggedTensor]
    _non_tensor_attr: dict[str, Any]
    _cache: dict[str, Any]
    _properties: int | None
    _labels_version: int

    def __init__(
        self,
        arcs: Tensor | RaggedArc,
        aux_labels: Tensor | RaggedTensor | None = None,
        properties: int | None = None,
    ) -> None:
        if isinstance(arcs, Tensor):
            arcs = fsa_from_tensor(arcs)
        if not isinstance(arcs, RaggedArc):
            raise FsaTypeError(f"arcs: must be a tensor or a RaggedArc, got {type(arcs).__name__}.")
        self._set_arcs(arcs, properties)
        if aux_labels is not None:
            is_tensor = isinstance(aux_labels, Tensor)
            self.aux_labels = aux_labels.to(torch.int32) if is_tensor else aux_labels
        _ = self.properties  # checks that the arcs are those of an FSA

    def _set_arcs(self, arcs: RaggedArc, properties: int | None) -> None:
        labels = arcs.column(2, torch.int32)
        self.__dict__.update(
            arcs=arcs,
            _tensor_attr={"scores": arcs.column(3, torch.float32), "labels": labels},
            _non_tensor_attr={},
            _cache={},
            _properties=properties,
            _labels_version=labels._version,
        )

    # --- this package's Fsa ---------------------------------------------------------------------

    @classmethod
    def from_core(cls, fsa: CoreFsa) -> Fsa:
        """Holds `fsa`; scores are made float32, and autograd follows them.

        Example:
          >>> import wfst_entropy
          >>> Fsa.from_core(wfst_entropy.ctc_graph([[1, 2]])).shape
          (1, None, None)
        """
        ans = cls.__new__(cls)
        ans._set_arcs(RaggedArc.of(fsa), None)
        for name, value in fsa.attributes.items():
            setattr(ans, name, k2_ragged(value) if isinstance(value, CoreRagged) else value)
        autograd_utils.phantom_set_scores_to(ans, fsa.scores)
        return ans

    @property
    def core(self) -> CoreFsa:
        """The same FSA as this package's class, with autograd of the scores.

        Attributes come along, but for those whose names `wfst_entropy.Fsa` does not allow, such as
        names that begin with an underscore.

        Raises:
          FsaValueError: the arcs are valid in k2 only: one state alone, or arcs that leave the
            final state.
        """
        fsa = self.bare()
        for name, value in (*self.named_tensor_attr(False), *self.named_non_tensor_attr()):
            if not (name.startswith("_") or hasattr(CoreFsa, name)) and name.isidentifier():
                is_ragged = isinstance(value, RaggedTensor)
                fsa.set_attribute_(name, core_ragged(value) if is_ragged else value)
        return fsa

    def bare(self) -> CoreFsa:
        """`core` without attributes: what goes into operations, whose arc maps tell the rest."""
        self._check_labels()
        return self.arcs.graph(self.scores)

    # --- attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or name == "properties":
            raise FsaAttributeError(f"fsa.{name} cannot be assigned.")
        if not isinstance(value, (Tensor, RaggedTensor)):
            self._non_tensor_attr[name] = value
            return
        self._check_per_arc(name, value)
        if name == "labels":
            self._set_labels(_as_tensor(name, value, torch.int32))
            return
        if name == "scores":
            self.arcs.values()[:, 3] = as_int(_as_tensor(name, value, torch.float32))
            self._invalidate_cache_()
        self._tensor_attr[name] = value

    def _check_per_arc(self, name: str, value: Tensor | RaggedTensor) -> None:
        rows = value.dim0 if isinstance(value, RaggedTensor) else value.shape[:1].numel()
        if rows != self.num_arcs or (isinstance(value, Tensor) and value.dim() == 0):
            raise FsaValueError(
                f"fsa.{name}: a tensor attribute needs one entry per arc, {self.num_arcs}, got "
                f"{rows}."
            )
        if value.device != self.device:
            raise FsaValueError(f"fsa.{name}: is on {value.device}, the FSA on {self.device}.")

    def _set_labels(self, labels: Tensor) -> None:
        # A copy first, for `labels` may be the labels themselves, changed in place.
        new = labels.clone()
        fix_final_labels(self.arcs, new)
        self.arcs.values()[:, 2] = new
        self.__dict__["_properties"] = None
        self.__dict__["_labels_version"] = self.labels._version
        self._invalidate_cache_(scores_only=False)
        _ = self.properties

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is no member; during unpickling nothing is there yet.
        for place in ("_tensor_attr", "_non_tensor_attr", "_cache"):
            attributes = self.__dict__.get(place, {})
            if name in attributes:
                return attributes[name]
        raise FsaAttributeError(f"Unknown attribute {name}: this Fsa has none of that name.")

    def __delattr__(self, name: str) -> None:
        if name in ("scores", "labels") or name in self.__dict__ or hasattr(type(self), name):
            raise FsaAttributeError(f"fsa.{name} cannot be deleted.")
        for place in (self._tensor_attr, self._non_tensor_attr, self._cache):
            if name in place:
                del place[name]
                return
        raise FsaAttributeError(f"No such attribute in Fsa: {name}")

    # --- what it is -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int | None, ...]:
        """`(num_states, None)` of one FSA, `(num_fsas, None, None)` of a vector."""
        return (self.arcs.dim0(), *[None] * (self.arcs.num_axes() - 1))

    @property
    def num_arcs(self) -> int:
        """Number of arcs, over all FSAs."""
        return self.arcs.num_elements()

    @property
    def device(self) -> torch.device:
        """Where the arcs are."""
        return self.arcs.device

    @property
    def properties(self) -> int:
        """k2's flags, see `fsa_properties`; all of them hold for every FSA of a vector.

        Raises:
          FsaRuntimeError: `fsa.labels[...] = ...` was used, which k2 forbids.
          FsaValueError: the arcs break a rule of FSAs.
        """
        self._check_labels()
        if self._properties is None:
            flags = fsa_properties.get_properties(self.arcs)
            if not flags & fsa_properties.VALID:
                check_arcs(self.arcs.core_shape(), self.arcs.values()[:, :3])
                raise FsaValueError(f"Fsa is not valid: {self.arcs}")
            self.__dict__["_properties"] = flags
        assert self._properties is not None
        return self._properties

    def _check_labels(self) -> None:
        if self.labels._version == self._labels_version:
            return
        if self._properties is None:
            # After fsa.labels[i] = x, k2's users say fsa.__dict__["_properties"] = None.
            self._set_labels(self.labels)
            return
        raise FsaRuntimeError(
            "fsa.labels was changed in place, as by fsa.labels[i] = x, which leaves the "
            "properties of the FSA behind; use: labels = fsa.labels.clone(); labels[i] = x; "
            "fsa.labels = labels"
        )

    @property
    def properties_str(self) -> str:
        """The names of the flags in `properties`."""
        return fsa_properties.to_str(self.properties)

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows the scores."""
        return self.scores.requires_grad

    @property
    def grad(self) -> Tensor | None:
        """The gradient with respect to the scores."""
        return self.scores.grad

    def requires_grad_(self, requires_grad: bool = True) -> Fsa:
        """Lets autograd follow the scores, in place."""
        self.scores.requires_grad_(requires_grad)
        return self

    def is_cpu(self) -> bool:
        """Whether it is on the CPU."""
        return self.device.type == "cpu"

    def is_cuda(self) -> bool:
        """Whether it is on a CUDA device."""
        return self.device.type == "cuda"

    def _invalidate_cache_(self, scores_only: bool = True) -> None:
        """Forgets what was computed from the scores, or everything."""
        for name in list(self._cache):
            if not scores_only or _OF_SCORES.search(name):
                del self._cache[name]

    # --- copies ---------------------------------------------------------------------------------

    def _copy(self, arcs: RaggedArc, attributes: Mapping[str, Any]) -> Fsa:
        ans = Fsa(arcs, properties=self.properties)
        for name, value in (*attributes.items(), *self.named_non_tensor_attr()):
            setattr(ans, name, value)
        return ans

    def to(self, device: torch.device | str) -> Fsa:
        """The same FSA on `device`; itself if it is there."""
        if torch.device(device) == self.device:
            return self
        attributes = {name: v.to(device) for name, v in self.named_tensor_attr(False)}
        ans = self._copy(self.arcs.to(device), attributes)
        autograd_utils.phantom_set_scores_to(ans, self.scores.to(device))
        return ans

    def clone(self) -> Fsa:
        """A copy with its own tensors; differentiable.  Other objects and the cache are shared."""
        attributes = {name: v.clone() for name, v in self.named_tensor_attr(False)}
        ans = self._copy(self.arcs.clone(), attributes)
        ans._cache.update(self._cache)
        autograd_utils.phantom_set_scores_to(ans, self.scores)
        return ans

    def detach(self) -> Fsa:
        """The same FSA, sharing memory, without autograd."""
        attributes = {
            name: v.detach() if isinstance(v, Tensor) else v
            for name, v in self.named_tensor_attr(False)
        }
        ans = self._copy(self.arcs, attributes)
        ans._cache.update(self._cache)
        return ans

    def __getitem__(self, i: int) -> Fsa:
        """FSA `i` of a vector; differentiable.

        Raises:
          FsaIndexError: this is not a vector, or there is no FSA `i`.
        """
        if self.arcs.num_axes() != 3:
            raise FsaIndexError("fsa[i]: this is one FSA, not a vector; see k2.create_fsa_vec.")
        arcs, begin = self.arcs.index(0, i)
        end = begin + arcs.num_elements()
        # Its own memory, so that a change of the part does not change the vector.
        ans = Fsa(arcs.clone())
        for name, value in self.named_tensor_attr(include_scores=False):
            setattr(ans, name, value[begin:end])
        for name, value in self.named_non_tensor_attr():
            setattr(ans, name, value)
        autograd_utils.phantom_set_scores_to(ans, self.scores[begin:end])
        return ans

    def set_scores_stochastic_(self, scores: Tensor) -> None:
        """Sets the scores to `scores`, normalised so that each state's arcs sum to one in exp.

        Raises:
          FsaTypeError: `scores` is not float32 `(num_arcs,)`.
        """
        if scores.shape != (self.num_arcs,) or scores.dtype != torch.float32:
            raise FsaTypeError(
                f"scores: must be float32 ({self.num_arcs},), got {scores.dtype} "
                f"{tuple(scores.shape)}."
            )
        lists = CoreRagged(self.arcs.core_shape(), scores).normalize(use_log=True)
        self.scores = lists.values.to(self.device)

    # --- text, files ----------------------------------------------------------------------------

    @classmethod
    def from_str(
        cls,
        s: str,
        acceptor: bool | None = None,
        num_aux_labels: int | None = None,
        aux_label_names: Sequence[str] | None = None,
        ragged_label_names: Sequence[str] = (),
        openfst: bool = False,
    ) -> Fsa:
        """Reads k2's or OpenFst's text format.

        Lines are `src dst label [aux_label ...] [[ragged ...] ...] [score]`; see
        `wfst_entropy.fsa.text_format` for the rest.

        Args:
          s: the text.
          acceptor: True for no extra label, as by default, False for one.
          num_aux_labels: how many extra labels: `aux_labels`, `aux_labels2`, ...
          aux_label_names: the names of the extra labels.
          ragged_label_names: the names of ragged labels, each `[1 2 ...]` in brackets.
          openfst: costs instead of scores, any number of final states.

        Raises:
          FsaFormatError: with the number of the line; it is a ValueError.

        Example:
          >>> fsa = Fsa.from_str("0 1 5 [7 8] 0.5\\n1 2 -1 [] 0\\n2", ragged_label_names=["words"])
          >>> fsa.words
          RaggedTensor([[7, 8],
                        []], dtype=torch.int32)
        """
        names = fsa_text.label_names(acceptor, num_aux_labels, aux_label_names)
        parsed = fsa_text.parse(s, len(names), len(ragged_label_names), openfst)
        ans = cls(parsed.arcs)
        for name, column in zip(names, parsed.aux_labels):
            setattr(ans, name, column)
        for name, lists in zip(ragged_label_names, parsed.ragged_labels):
            setattr(ans, name, lists)
        return ans

    @classmethod
    def from_openfst(
        cls,
        s: str,
        acceptor: bool | None = None,
        num_aux_labels: int | None = None,
        aux_label_names: Sequence[str] | None = None,
        ragged_label_names: Sequence[str] = (),
    ) -> Fsa:
        """`from_str` with `openfst=True`."""
        return cls.from_str(
            s, acceptor, num_aux_labels, aux_label_names, ragged_label_names, openfst=True
        )

    @staticmethod
    def from_fsas(fsas: Sequence[Fsa]) -> Fsa:
        """Stacks FSAs into a vector; see `k2.create_fsa_vec`."""
        from wfst_entropy.compat.k2.stacking import create_fsa_vec

        return create_fsa_vec(fsas)

    def to_str(self, openfst: bool = False) -> str:
        """Arcs, properties and attributes, for reading."""
        return fsa_text.describe(self, openfst)

    __str__ = to_str

    def __repr__(self) -> str:
        return f"k2.Fsa(shape={self.shape}, num_arcs={self.num_arcs})"

    def draw(self, filename: str | None, title: str | None = None) -> Any:
        """Draws one FSA into a file (svg, png, pdf); see `k2.to_dot`."""
        from wfst_entropy.compat.k2.drawing import draw

        return draw(self, filename, title)

    def arcs_as_tensor(self) -> Tensor:
        """The arcs as an int32 tensor that the constructor takes; a copy."""
        return fsa_to_tensor(self.arcs)

    def as_dict(self) -> dict[str, Any]:
        """Arcs and attributes by name, for `torch.save` and `from_dict`."""
        attributes = (*self.named_tensor_attr(False), *self.named_non_tensor_attr())
        return {"arcs": self.arcs_as_tensor(), **dict(attributes)}

    @classmethod
    def from_dict(cls, dict_in: Mapping[str, Any]) -> Fsa:
        """The inverse of `as_dict`."""
        ans = cls(dict_in["arcs"], aux_labels=dict_in.get("aux_labels"))
        for name, value in dict_in.items():
            # k2 keeps its count of changes of the labels among the attributes, and so in files.
            if name not in ("arcs", "aux_labels", "labels_version"):
                setattr(ans, name, value)
        return ans

    def __reduce__(self) -> tuple[Any, ...]:
        return Fsa.from_dict, (self.as_dict(),)


def _as_tensor(name: str, value: Tensor | RaggedTensor, dtype: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype != dtype:
        raise FsaTypeError(f"fsa.{name}: must be a {dtype} tensor, got {value.dtype}.")
    return value
