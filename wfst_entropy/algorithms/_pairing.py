"""Which FSA of one operand goes with which of the other, and what they must have in common."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError


class Pairing(NamedTuple):
    """The numbers of the FSAs that go together: int64 `(num_pairs,)` on the CPU."""

    a: Tensor
    b: Tensor

    def parameters(self) -> tuple[int, int, int]:
        """What the C++ operations take; the tensors must outlive the call."""
        return self.a.data_ptr(), self.b.data_ptr(), self.a.numel()


def pair_up(operation: str, a_fsas: Fsa, b_fsas: Fsa) -> Pairing:
    """Pairs the FSAs of two vectors of one length, or one FSA with each of the other operand.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: vectors of different lengths, or on different devices.
    """
    check_operands(operation, a_fsas, b_fsas)
    num_a, num_b = a_fsas.num_fsas, b_fsas.num_fsas
    if num_a != num_b and 1 not in (num_a, num_b):
        raise FsaValueError(
            f"{operation}: a_fsa has {num_a} FSAs and b_fsa {num_b}; needed are two vectors of one "
            "length, to be taken pair by pair, or one FSA to go with each of the other operand; "
            "intersect_device takes a map."
        )
    num_pairs = num_a if num_b == 1 else num_b
    number = torch.arange(num_pairs)
    return Pairing(
        torch.zeros_like(number) if num_a == 1 else number,
        torch.zeros_like(number) if num_b == 1 else number,
    )


def check_operands(operation: str, a_fsas: Fsa, b_fsas: Fsa) -> None:
    """Refuses what is no Fsa, and operands on two devices.

    Raises:
      FsaTypeError, FsaValueError: naming operation and operand.
    """
    for name, fsa in (("a_fsa", a_fsas), ("b_fsa", b_fsas)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{operation}: {name} must be an Fsa, got {type(fsa).__name__}.")
    if a_fsas.device != b_fsas.device:
        raise FsaValueError(
            f"{operation}: a_fsa is on {a_fsas.device}, b_fsa on {b_fsas.device}; move one by "
            "fsa.to(device)."
        )
