"""Functions that torch.compile leaves to Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def eager(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Makes torch.compile break its graph at a function instead of tracing into it.

    Kernels take the addresses of tensors, and checks look at their values. Unlike
    ``torch.compiler.disable`` as a decorator, this does not import the compiler, which takes
    seconds, before something is compiled.
    """

    outside: list[Callable[_P, _R]] = []  # made once, or the compiler would take each for another

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if not outside:
            outside.append(torch.compiler.disable(function))
        return outside[0](*args, **kwargs)

    return call
