"""The alignment losses, fed with batches that fit together, and with one thing wrong in some.

What an argument is follows from its name, as the names are the same in all losses (`SHAPES`,
`SCALARS`); the rest is drawn as for any operation. Any outcome but a result, an `FsaError`, a
`TypeError` and a `ValueError` is a fault, and so are a NaN in a result, a gradient that is not
finite, a changed input, and an engine in C++ that answers otherwise than the one in torch.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from fuzz_values import SEMIRINGS, strategy_for
from hypothesis import strategies as st

import wfst_entropy._native as _native
import wfst_entropy.losses
from wfst_entropy.fsa import DenseFsaVec, Fsa, FsaError
from wfst_entropy.losses import RnntArcPosteriors
from wfst_entropy.semirings import ConditionalKLSemiring, LogReverseKLSemiring, Semiring

SPECIAL = [-math.inf, -1e30, -3e4, torch.finfo(torch.float32).min, -(2.0**25), -(2.0**27)]
SPECIAL += [1e4, 3e4]
WRONG = [math.nan, math.inf, 1e30, 2.0**27]
LENGTHS = [-1, 2**31, 2**40, -(2**63), 2**63 - 1]
HALF = (torch.float16, torch.bfloat16)


class Sizes(NamedTuple):
    n: int
    t: int
    u: int
    c: int
    s: int  # positions that a pruned lattice keeps
    dtype: torch.dtype


Axes = Callable[[Sizes], tuple[int, ...]]

CTC: Axes = lambda z: (z.n, z.t, z.c)  # noqa: E731
RNNT: Axes = lambda z: (z.n, z.t, z.u + 1, z.c)  # noqa: E731
GRID: Axes = lambda z: (z.n, z.t, z.u + 1)  # noqa: E731
SHAPES: dict[str, Axes] = {
    **dict.fromkeys(["log_probs", "log_probs_a", "log_probs_b", "am", "scores"], CTC),
    **dict.fromkeys(["student_log_probs", "teacher_log_probs", "student", "teacher"], CTC),
    **dict.fromkeys(["logits", "student_logits", "teacher_logits"], RNNT),
    **dict.fromkeys(["blank_scores", "node_weights"], GRID),
    "label_scores": lambda z: (z.n, z.t, z.u),
    "lm": lambda z: (z.n, z.u + 1, z.c),
    "transitions": lambda z: (z.c, z.c),
    "student_nll": lambda z: (z.n,),
    "teacher_nll": lambda z: (z.n,),
}


def sizes() -> st.SearchStrategy[Sizes]:
    return st.builds(
        Sizes,
        n=st.sampled_from([2, 1, 3, 0]),
        t=st.sampled_from([4, 6, 1, 2, 0, 40]),
        u=st.sampled_from([2, 3, 1, 0, 4]),
        c=st.sampled_from([4, 2, 3, 5, 1, 33]),
        s=st.integers(1, 4),
        dtype=st.sampled_from([torch.float32, torch.float64, torch.float32, *HALF]),
    )


def scores(data: st.DataObject, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> Any:
    """Random numbers of some size with extreme ones among them, in some memory order."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999), label=f"{name} seed"))
    scale = data.draw(st.sampled_from([1.0, 0.0, 20.0, 300.0]), label=f"{name} scale")
    values = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    pool = WRONG if data.draw(st.integers(0, 9)) == 9 else SPECIAL
    if data.draw(st.booleans(), label=f"{name} extremes"):
        for _ in range(data.draw(st.integers(1, 4))):
            if values.numel():
                at = int(torch.randint(values.numel(), (1,), generator=generator))
                values.view(-1)[at] = data.draw(st.sampled_from(pool))
    if name.endswith("_nll"):  # whose squares are to be numbers
        values = values.clamp(min=-1e15)
    if name == "node_weights":  # whose products with masks are to be numbers
        values = values.clamp(max=1.0)
    values = values.to(dtype)
    order = data.draw(st.sampled_from(["plain", "reversed", "strided", "expanded", "shifted"]))
    if order == "reversed" and values.dim() > 1:
        values = values.transpose(0, -1).contiguous().transpose(0, -1)
    elif order == "strided":
        values = values.repeat_interleave(2, -1)[..., ::2]
    elif order == "expanded" and values.shape[0]:
        values = values[:1].expand(values.shape)
    elif order == "shifted":
        flat = torch.zeros(values.numel() + 1, dtype=values.dtype)
        flat[1:] = values.flatten()
        values = flat[1:].view(values.shape)  # not aligned to a vector
    return values


def ranges(data: st.DataObject, z: Sizes) -> torch.Tensor:
    """(N, T, S) positions: mostly as pruning makes them, else anything."""
    if data.draw(st.integers(0, 4), label="any ranges") == 4:
        number = st.sampled_from([0, 1, 2, 3, -1, 2**40, -(2**63)])
        count = z.n * z.t * z.s
        return torch.tensor(
            data.draw(st.lists(number, min_size=count, max_size=count)), dtype=torch.int64
        ).view(z.n, z.t, z.s)
    last = max(z.u + 1 - z.s, 0)
    start = torch.linspace(0, last, max(z.t, 1)).long()[: z.t]
    return (start[:, None] + torch.arange(z.s)).expand(z.n, z.t, z.s).contiguous()


def lengths(data: st.DataObject, z: Sizes, longest: int, name: str) -> Any:
    rows = [data.draw(st.integers(0, longest), label=name) for _ in range(z.n)]
    return rows if data.draw(st.booleans()) else torch.tensor(rows, dtype=torch.int64)


def targets(data: st.DataObject, z: Sizes, label_lengths: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99), label="targets seed"))
    padded = torch.randint(1, max(z.c, 2), (z.n, z.u), generator=generator)
    if z.n and data.draw(st.integers(0, 4), label="concatenated") == 4:
        inside = torch.arange(z.u) < torch.as_tensor(label_lengths, dtype=torch.int64)[:, None]
        return padded[inside]
    return padded.to(data.draw(st.sampled_from([torch.int64, torch.int32])))


def boundary(z: Sizes, frames: Any, labels: Any) -> torch.Tensor:
    columns = torch.zeros(z.n, 4, dtype=torch.int64)
    columns[:, 2] = torch.as_tensor(labels, dtype=torch.int64)
    columns[:, 3] = torch.as_tensor(frames, dtype=torch.int64)
    return columns


def dense(data: st.DataObject, z: Sizes, frames: Any, name: str) -> DenseFsaVec:
    values = scores(data, (z.n, z.t, max(z.c, 4)), torch.float32, name)
    return DenseFsaVec.from_lengths(values, torch.as_tensor(frames, dtype=torch.int64))


OF_TWO_MODELS = [LogReverseKLSemiring(), ConditionalKLSemiring()]
TYPED = (Fsa, DenseFsaVec, Semiring)  # what has no twin of another type to be taken for
SMALL = st.sampled_from([0.0, 0.1, -0.1, 1.0, -2.0, 0.5])
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "blank": st.sampled_from([0, 0, 0, 1, -1, 2**40]),
    "reduction": st.sampled_from(["none", "sum", "mean", "odd"]),
    "kind": st.sampled_from(["conditional", "raw", "per_frame", "per_label", "odd"]),
    "rnnt_type": st.sampled_from(["regular", "modified", "constrained", "odd"]),
    "level": st.sampled_from(["frame", "alignment", "odd"]),
    "distance": st.sampled_from(["squared", "absolute", "odd"]),
    "s_range": st.sampled_from([2, 1, 3, 4, 9, 0, -1]),
    "semiring": st.one_of(SEMIRINGS, st.sampled_from(OF_TWO_MODELS)),
    "temperature": st.sampled_from([1.0, 2.0, 0.5, 0.0, -1.0, math.nan, math.inf]),
}


def one(data: st.DataObject, z: Sizes, parameter: Any, function: Any, shared: Any) -> Any:
    """The value of one parameter, fitting those that have been drawn."""
    name, frames, labels = parameter.name, *shared
    grid = "tuple[Tensor, Tensor]" in str(parameter.annotation)
    if grid or (name in ("blank_scores", "label_scores") and "semiring" in function.__name__):
        pair = [SHAPES["blank_scores"](z), SHAPES["label_scores"](z)]
        if not grid:
            pair = [SHAPES[name](z)] * 2
        drawn = tuple(scores(data, shape, z.dtype, name) for shape in pair)
        return drawn if grid or data.draw(st.booleans(), label="two models") else drawn[0]
    if name == "posteriors":
        pair = [SHAPES["blank_scores"](z), SHAPES["label_scores"](z)]
        return RnntArcPosteriors(*(scores(data, shape, z.dtype, name) for shape in pair))
    if name == "log_probs" and "semiring" in function.__name__ and data.draw(st.booleans()):
        return tuple(scores(data, CTC(z), z.dtype, name) for _ in range(2))
    if name == "logits" and "prun" in function.__name__:
        return scores(data, (z.n, z.t, z.s, z.c), z.dtype, name)
    if name in SHAPES:
        return scores(data, SHAPES[name](z), z.dtype, name)
    if name in ("input_lengths", "logit_lengths"):
        return frames
    if name == "target_lengths":
        return labels
    if name in ("targets", "symbols"):
        return targets(data, z, labels)
    if name == "ranges":
        return ranges(data, z)
    if name == "boundary":
        return boundary(z, frames, labels)
    if name.endswith("dense"):
        return dense(data, z, frames, name)
    if name in SCALARS:
        return data.draw(SCALARS[name], label=name)
    if parameter.annotation == "float":
        return data.draw(SMALL, label=name)
    return data.draw(strategy_for(function, parameter), label=name)


def spoiled(data: st.DataObject, value: Any) -> Any:
    """Something else in the place of an argument."""
    others: list[Any] = [None, "x", 1.5, -1, []]
    if isinstance(value, list):
        others += [[*value, 1], value[:-1], [*value[:-1], data.draw(st.sampled_from(LENGTHS))]]
    if isinstance(value, torch.Tensor):
        others += [
            torch.zeros(0),
            torch.zeros(2, 3).long(),
            value[..., None],
            value[:-1],
            value.tolist(),
            value.float(),
            value.long(),
        ]
        others += [value.bool(), value.to(torch.complex64), value[..., :0]]
        if value.numel() and not value.is_floating_point():
            changed = value.clone()
            changed.view(-1)[-1] = data.draw(st.sampled_from([0, -1, 99, 2**31 - 1]))
            others += [changed, changed]
    return data.draw(st.sampled_from(others), label="spoiled")


def arguments(data: st.DataObject, function: Callable[..., Any]) -> dict[str, Any]:
    """A batch for a loss, by the names of its parameters."""
    z = data.draw(sizes(), label="sizes")
    frames = lengths(data, z, z.t, "frames")
    labels = lengths(data, z, z.u, "labels")
    values = {}
    for parameter in inspect.signature(function).parameters.values():
        name, optional = parameter.name, parameter.default is not parameter.empty
        needed = not optional or name == "boundary"
        if needed or data.draw(st.booleans(), label=f"give {name}"):
            values[name] = one(data, z, parameter, function, (frames, labels))
    plain = sorted(name for name, x in values.items() if not isinstance(x, TYPED))
    if plain and data.draw(st.integers(0, 3), label="one thing wrong") == 3:
        name = data.draw(st.sampled_from(plain), label="which")
        values[name] = spoiled(data, values[name])
    return values


def leaves(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, DenseFsaVec):
        yield value.scores
    elif isinstance(value, tuple):
        for part in value:
            yield from leaves(part)


def fresh(value: Any) -> Any:
    """A copy for one call: the same memory order, and floating-point tensors want gradients."""
    if isinstance(value, torch.Tensor):
        copy = value.detach()
        return copy.requires_grad_() if copy.is_floating_point() else copy
    if isinstance(value, DenseFsaVec):
        return value.with_scores(fresh(value.scores))
    if isinstance(value, tuple):
        parts = [fresh(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


class Outcome(NamedTuple):
    """What a call came to: an error, or results and gradients."""

    error: BaseException | None
    results: list[torch.Tensor]
    gradients: list[torch.Tensor]


def outcome(function: Callable[..., Any], values: dict[str, Any], native: bool) -> Outcome:
    values = {name: fresh(value) for name, value in values.items()}
    inputs = [x for value in values.values() for x in leaves(value) if x.requires_grad]
    reuse = values.get("reuse_logits_for_grads", False) is not False
    if reuse and isinstance(values["logits"], torch.Tensor):  # overwrites what is no leaf
        values["logits"] = values["logits"].clone(memory_format=torch.contiguous_format)
    with contextlib.nullcontext() if native else _native.disabled():
        try:
            result = function(**values)
            results = list(leaves(result))
            weighted = [
                (i + 1.0) * x.double().sum() for i, x in enumerate(results) if x.requires_grad
            ]
            gradients = [torch.zeros_like(x) for x in inputs]
            if weighted and inputs:  # else nothing depends on the scores: there are no frames
                total = torch.stack(weighted).sum()
                found = torch.autograd.grad(total, inputs, allow_unused=True)
                gradients = [g if f is None else f for g, f in zip(gradients, found)]
        except (FsaError, TypeError, ValueError) as error:
            return Outcome(error, [], [])
    return Outcome(None, [x.detach() for x in results], gradients)


def near(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype, slack: float) -> bool:
    tolerance = {torch.float64: 1e-6, torch.float32: 2e-3}.get(dtype, 5e-2)
    one, other = (torch.where(x.isnan(), 7.0, x.double()) for x in (one, other))
    # relative to the largest: beside those of 1e6, what should be 0 is a difference of two
    scale = torch.cat([other[other.isfinite()].abs().flatten(), torch.ones(1)]).max()
    same = (one == other) | ((one - other).abs() <= tolerance * scale + slack)
    return bool(same.all())


def loss(function: Callable[..., Any]) -> Callable[[st.DataObject], None]:
    def target(data: st.DataObject) -> None:
        values = arguments(data, function)
        before = [x.clone() for value in values.values() for x in leaves(value)]
        native = outcome(function, values, native=True)
        after = [x for value in values.values() for x in leaves(value)]
        for one_before, one_after in zip(before, after):
            same = (one_before == one_after) | (one_before.isnan() & one_after.isnan())
            assert same.all(), "an input was changed"
        if function.__name__ != "do_rnnt_pruning":  # which selects: what comes out was there
            for x in native.results:
                assert not x.isnan().any(), f"NaN in a result: {x}"
        for x in native.gradients:  # those in half precision may be beyond its range
            bad = x.isnan() if x.dtype in HALF else ~x.isfinite()
            assert not bad.any(), f"a gradient that is not finite: {x}"
        in_torch = outcome(function, values, native=False)
        compare(values, native, in_torch, sums="am" in values)

    return target


def compare(values: dict[str, Any], native: Outcome, in_torch: Outcome, sums: bool) -> None:
    """Both engines fail alike or answer alike.

    Where two scores are added (``sums``), what is common to all symbols cancels, and with it as
    many digits as it is large.
    """
    if native.error is not None or in_torch.error is not None:
        assert type(native.error) is type(in_torch.error), (native.error, in_torch.error)
        return
    floats = [x.dtype for v in values.values() for x in leaves(v) if x.is_floating_point()]
    dtype = min(floats, key=lambda d: torch.finfo(d).bits, default=torch.float64)
    inputs = [x.double().flatten() for v in values.values() for x in leaves(v)]
    sizes = torch.cat([*inputs, torch.zeros(1)]).abs()
    largest = float(sizes[sizes <= 2.0**27].max())
    slack = 4 * torch.finfo(dtype).eps * largest if sums else 0.0
    for kind, ours, theirs in (
        ("results", native.results, in_torch.results),
        ("gradients", native.gradients, in_torch.gradients),
    ):
        assert len(ours) == len(theirs), kind
        for a, b in zip(ours, theirs):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), kind
            assert near(a, b, dtype, slack), f"{kind} of the kernels {a} and of torch {b}"


def drawable(function: Callable[..., Any]) -> None:
    """Fails with a KeyError that names the parameter for which nothing can be drawn."""
    fitting = {"input_lengths", "logit_lengths", "target_lengths", "targets", "symbols", "ranges"}
    fitting |= {"boundary", "posteriors"}
    for parameter in inspect.signature(function).parameters.values():
        known = parameter.name in {*SHAPES, *SCALARS, *fitting}
        if not known and not parameter.name.endswith("dense") and parameter.annotation != "float":
            strategy_for(function, parameter)


LOSSES: dict[str, Callable[[st.DataObject], None]] = {
    f"losses.{name}": loss(getattr(wfst_entropy.losses, name))
    for name in wfst_entropy.losses.__all__
    if inspect.isfunction(getattr(wfst_entropy.losses, name))
}
