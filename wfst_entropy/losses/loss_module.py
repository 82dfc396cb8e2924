"""What the losses that come as modules have in common."""

from __future__ import annotations

from typing import Any

import torch


class LossModule(torch.nn.Module):
    """A loss function with its options, which its repr shows.

    Attributes:
        options: keyword arguments of the function.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def extra_repr(self) -> str:
        """Shows the options in the module's repr."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
