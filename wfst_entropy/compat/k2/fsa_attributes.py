"""The attributes of k2's Fsa: which there are, and what changes their names or form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged import RaggedTensor, k2_ragged
from wfst_entropy.fsa import RaggedShape as CoreShape
from wfst_entropy.fsa import RaggedTensor as CoreRagged
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError, FsaValueError

if TYPE_CHECKING:
    from typing_extensions import Self


class FsaAttributes:
    """What k2's Fsa says of its attributes, and does to them in place."""

    if TYPE_CHECKING:
        _tensor_attr: dict[str, Tensor | RaggedTensor]
        _non_tensor_attr: dict[str, Any]

        def clone(self) -> Self:
            """A copy."""

    def named_tensor_attr(
        self, include_scores: bool = True
    ) -> Iterator[tuple[str, Tensor | RaggedTensor]]:
        """Names and values of attributes with one entry per arc, without `labels`."""
        hidden = ("labels",) if include_scores else ("labels", "scores")
        return ((name, v) for name, v in self._tensor_attr.items() if name not in hidden)

    def named_non_tensor_attr(self) -> Iterator[tuple[str, Any]]:
        """Names and values of all other attributes."""
        return iter(self._non_tensor_attr.items())

    def get_filler(self, attribute_name: str) -> int | float:
        """What means "nothing" in an attribute: `fsa.<name>_filler`, 0 if that is not set.

        Raises:
          FsaValueError: a filler other than 0 is set for `aux_labels`.
        """
        filler = getattr(self, attribute_name + "_filler", 0)
        if attribute_name == "aux_labels" and filler != 0:
            raise FsaValueError(f"aux_labels_filler: only 0 is possible, got {filler}.")
        return filler

    def rename_tensor_attribute_(self, src_name: str, dest_name: str) -> Self:
        """Renames a per-arc attribute, and the others whose names begin with `src_name`, in place.

        `labels` and `scores` may be given for either name; as the source they stay.

        Raises:
          FsaValueError: there is no such attribute, or the names are equal.
        """
        if src_name == dest_name or src_name not in self._tensor_attr:
            raise FsaValueError(
                f"rename_tensor_attribute_: {src_name!r} to {dest_name!r}: needs two names, the "
                f"first one of {', '.join(self._tensor_attr)}."
            )
        value = self._tensor_attr[src_name]
        keep = src_name in ("labels", "scores")
        setattr(self, dest_name, value.clone() if src_name == "labels" else value)
        if not keep:
            del self._tensor_attr[src_name]
        others = self._non_tensor_attr
        moved = {n: v for n, v in others.items() if n.startswith(src_name)}
        for name in [n for n in others if n.startswith((src_name, dest_name))]:
            del others[name]
        others.update({dest_name + n[len(src_name) :]: v for n, v in moved.items()})
        return self

    def convert_attr_to_ragged_(self, name: str, remove_eps: bool = True) -> Self:
        """Makes a 1-D int32 attribute ragged, one number in each list, in place.

        Args:
          name: of the attribute.
          remove_eps: zeros become empty lists.

        Raises:
          FsaTypeError: it is no 1-D int32 tensor.
        """
        value = getattr(self, name)
        if not isinstance(value, Tensor) or value.dim() != 1 or value.dtype != torch.int32:
            raise FsaTypeError(f"fsa.{name}: must be a 1-D int32 tensor to become ragged.")
        splits = torch.arange(value.numel() + 1, device=value.device)
        lists = k2_ragged(CoreRagged(CoreShape(splits), value.contiguous()))
        setattr(self, name, lists.remove_values_eq(0) if remove_eps else lists)
        return self

    def invert_(self) -> Self:
        """Swaps `labels` and `aux_labels`, and their symbol tables, in place.

        Raises:
          FsaRuntimeError: there are no `aux_labels`, or they are ragged; `k2.invert` takes those.
        """
        if not isinstance(getattr(self, "aux_labels", None), Tensor):
            raise FsaRuntimeError(
                "invert_: needs aux_labels that are a tensor; k2.invert(fsa) takes ragged ones."
            )
        self.rename_tensor_attribute_("labels", "__temp")
        self.rename_tensor_attribute_("aux_labels", "labels")
        self.rename_tensor_attribute_("__temp", "aux_labels")
        return self

    def invert(self) -> Self:
        """A copy with `labels` and `aux_labels` swapped; see `invert_`."""
        return self.clone().invert_()
