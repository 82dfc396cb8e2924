"""Oracles and engines for the tests of the losses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from wfst_entropy import _native

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


@pytest.fixture(params=[pytest.param("native", marks=needs_native), "torch"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test once with the C++ kernels and once with their pure-torch twin."""
    if request.param == "torch":
        with _native.disabled():
            yield "torch"
    else:
        yield "native"


def _collapse(path: Sequence[int], blank: int) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def _ctc_enumeration(scores: Tensor, labels: Sequence[int], blank: int = 0) -> Tensor:
    """Log-weights of all paths over scores (T, C) that collapse to the labels, one by one."""
    num_frames, num_symbols = scores.shape
    weights = [
        sum((scores[t, c] for t, c in enumerate(path)), scores.new_zeros(()))
        for path in itertools.product(range(num_symbols), repeat=num_frames)
        if _collapse(path, blank) == tuple(labels)
    ]
    return torch.stack(weights) if weights else scores.new_zeros(0)


def _rnnt_enumeration(blank: Tensor, label: Tensor, rnnt_type: str = "regular") -> Tensor:
    """Log-weights of all paths over planes (T, U + 1) and (T, U) from (0, 0) to (T, U)."""
    num_frames, width = blank.shape
    regular = rnnt_type == "regular"

    def weights(t: int, u: int) -> list[Tensor]:
        if t == num_frames:
            return [blank.new_zeros(())] if u == width - 1 else []
        found = [blank[t, u] + rest for rest in weights(t + 1, u)]
        if u < width - 1:
            arc = label[t, u] + (blank[t, u + 1] if rnnt_type == "constrained" else 0)
            found += [arc + rest for rest in weights(t if regular else t + 1, u + 1)]
        return found

    found = weights(0, 0)
    return torch.stack(found) if found else blank.new_zeros(0)


def _nll_and_entropy(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The definitions of maths: -log Z, and the entropy of the normalised paths."""
    log_p = weights.log_softmax(0)
    return -weights.logsumexp(0), -(log_p.exp() * log_p).sum()


def _divergences(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The definitions of maths: KL(first || second) of normalised paths, and the raw one."""
    log_p, log_q = first.log_softmax(0), second.log_softmax(0)
    return (log_p.exp() * (log_p - log_q)).sum(), (first.exp() * (first - second)).sum()


@pytest.fixture
def divergences():
    return _divergences


@pytest.fixture
def ctc_enumeration():
    return _ctc_enumeration


@pytest.fixture
def nll_and_entropy():
    return _nll_and_entropy


@pytest.fixture
def rnnt_enumeration():
    return _rnnt_enumeration
