"""How every operation on graphs goes to C++ and back: operands in, result and arc maps out.

An operation calls `run`, and then one of

* `rebuild`, where every new arc stands for one old arc (or for none: -1 in the arc map);
* `rebuild_ragged`, where it stands for a list of old arcs whose scores add up;
* `rebuild_binary`, where it stands for one arc of each of two operands.

Scores go through the same maps, in torch, so that gradients follow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import surgery as native
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import CyclicFsaError, FsaRuntimeError, FsaTypeError, FsaValueError

MAX_STATES = 15_000_000
MAX_ARCS = 2**30


class Result(NamedTuple):
    """What an operation made, on the CPU."""

    shape: RaggedShape  # always [fsa][state][arc]
    arcs: Tensor  # int32 (num_arcs, 3)
    maps: tuple[Tensor, ...]  # int64 arc maps, then whatever else the operation tells


def run(
    operation: str,
    *fsas: Fsa,
    scores: bool = False,
    aux_labels: Sequence[Tensor | None] | None = None,
    parameters: Sequence[Any] = (),
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Result:
    """Runs a C++ operation on one or two FSAs or vectors.

    Args:
      operation: its name in the extension.
      fsas: the operands; copied to the CPU if they are elsewhere.
      scores: whether the operation looks at the scores (it gets them in float64).
      aux_labels: int32 `(num_arcs,)` for each operand, where the operation looks at them.
      parameters: what else the C++ function takes: numbers, or addresses of tensors that stay alive
        during the call.
      max_states, max_arcs: limits of the result, over all FSAs.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaRuntimeError: the result outgrows a limit, or the extension is not there.
      CyclicFsaError, FsaValueError: as the operation says.
      KeyboardInterrupt: Ctrl-C; the message says how far the operation was.
    """
    operands = []
    for i, fsa in enumerate(fsas):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{operation}: needs an Fsa, got {type(fsa).__name__}.")
        operands.append(operand(fsa, scores, aux_labels[i] if aux_labels is not None else None))
    with errors_of_the_extension():
        parts = native.run(
            operation, operands, parameters=parameters, max_states=max_states, max_arcs=max_arcs
        )
    fsa_splits, state_splits, arcs, *maps = parts
    shape = RaggedShape._unchecked([fsa_splits, state_splits], arcs.numel() // 3)
    return Result(shape, arcs.view(-1, 3), tuple(maps))


def operand(fsa: Fsa, scores: bool, aux_labels: Tensor | None = None) -> native.GraphArrays:
    """An FSA or vector as the extension takes it; see `run`."""
    shape = fsa._vector_shape().to("cpu")
    return native.GraphArrays(
        shape.row_splits(1),
        shape.row_splits(2),
        fsa.arcs.to("cpu"),
        fsa.scores.detach().to("cpu", torch.float64) if scores else None,
        None if aux_labels is None else aux_labels.to("cpu", torch.int32),
    )


@contextlib.contextmanager
def errors_of_the_extension() -> Iterator[None]:
    """Turns what the extension raises into the package's errors."""
    try:
        yield
    except native.CycleError as error:
        raise CyclicFsaError(str(error)) from None
    except native.InputError as error:
        raise FsaValueError(str(error)) from None
    except RuntimeError as error:
        raise FsaRuntimeError(str(error)) from None


def unary(
    operation: str, fsa: Fsa, ret_arc_map: bool, parameters: Sequence[Any] = ()
) -> Fsa | tuple[Fsa, Tensor]:
    """Runs an operation on one operand whose result has one tensor arc map, and rebuilds."""
    result = run(operation, fsa, parameters=parameters)
    (arc_map,) = result.maps
    new = rebuild(fsa, result, arc_map)
    return (new, arc_map.to(fsa.device)) if ret_arc_map else new


def rebuild(fsa: Fsa, result: Result, arc_map: Tensor, scores: Tensor | None = None) -> Fsa:
    """The Fsa whose arcs take scores and attributes of the arcs of `fsa` by a tensor arc map.

    Args:
      fsa: the operand; the result has its class, device, dtype and number of axes.
      result: shape and arcs.
      arc_map: int64 `(num_new_arcs,)`; -1 for an arc without a source, whose score is 0.
      scores: the new scores, where they are not those of the source arcs.
    """
    arc_map = arc_map.to(fsa.device)
    if scores is None:
        scores = select_scores(fsa.scores, arc_map)
    labels = result.arcs[:, 2].to(fsa.device)
    return finish(fsa, result, scores, fsa.select_attributes(arc_map, labels))


def finish(fsa: Fsa, result: Result, scores: Tensor, attributes: dict[str, Any]) -> Fsa:
    """An Fsa like `fsa` in class, device and number of axes, of parts known to be valid."""
    shape = result.shape if fsa.num_axes == 3 else result.shape.remove_axis(0)
    return fsa._like(shape.to(fsa.device), result.arcs.to(fsa.device), scores, attributes)


def select_scores(scores: Tensor, arc_map: Tensor) -> Tensor:
    """`scores[arc_map]`, with 0 where the map is -1; differentiable."""
    if not arc_map.numel():
        return scores.new_zeros(0) + 0 * scores.sum()
    missing = arc_map < 0
    if not bool(missing.any()):
        return scores.index_select(0, arc_map)
    if not scores.numel():
        return scores.new_zeros(arc_map.numel())
    return scores.index_select(0, arc_map.clamp(min=0)).masked_fill(missing, 0)


def ragged_map(splits: Tensor, values: Tensor) -> RaggedTensor:
    """An arc map with a list of old arcs for each new one."""
    return RaggedTensor(RaggedShape(splits), values)


def rebuild_ragged(
    fsa: Fsa, result: Result, arc_map: RaggedTensor, scores: Tensor | None = None
) -> Fsa:
    """The Fsa whose arcs stand for lists of arcs of `fsa`.

    Scores add up.  A float attribute adds up too; an integer one becomes ragged, without its zeros
    (epsilons); a ragged one is concatenated.

    Args:
      fsa: the operand.
      result: shape and arcs.
      arc_map: ragged int64, `num_new_arcs` lists.
      scores: the new scores, where they are not those sums.
    """
    arc_map = arc_map.to(fsa.device)
    if scores is None:
        scores = _sum_lists(fsa.scores, arc_map)
    return finish(fsa, result, scores, fsa.select_attributes(arc_map))


def _sum_lists(values: Tensor, arc_map: RaggedTensor) -> Tensor:
    rows = arc_map.shape.row_ids(1)
    total = values.new_zeros((arc_map.dim0, *values.shape[1:]))
    return total.index_add(0, rows, values.index_select(0, arc_map.values))


def rebuild_binary(
    a: Fsa, b: Fsa, result: Result, a_map: Tensor, b_map: Tensor, like: Fsa | None = None
) -> Fsa:
    """The Fsa whose arcs stand for one arc of `a` and one of `b` (-1 for none); scores add up.

    Attributes of both follow.  A float attribute that both have adds up; of any other that both
    have, arcs with a source in `a` take that one's.

    Args:
      a, b: the operands.
      result: shape and arcs.
      a_map, b_map: int64 `(num_new_arcs,)`.
      like: the operand with the result's number of axes; by default one that is a vector, if any.
    """
    a_map, b_map = a_map.to(a.device), b_map.to(b.device)
    scores = select_scores(a.scores, a_map) + select_scores(b.scores, b_map)
    labels = result.arcs[:, 2].to(a.device)
    attributes = b.select_attributes(b_map, labels)
    for name, value in a.select_attributes(a_map, labels).items():
        other = attributes.get(name)
        if isinstance(value, RaggedTensor) and isinstance(other, RaggedTensor):
            both = RaggedTensor.cat([value, other])
            rows = torch.arange(a_map.numel(), device=a.device)
            value = both.index(torch.where(a_map >= 0, rows, rows + a_map.numel()))
        elif isinstance(value, Tensor) and isinstance(other, Tensor):
            if value.is_floating_point() and other.is_floating_point():
                value = value + other
            else:
                from_a = (a_map >= 0).reshape(-1, *(1,) * (value.dim() - 1))
                value = torch.where(from_a, value, other)
        attributes[name] = value
    if like is None:
        like = a if a.num_axes >= b.num_axes else b
    return finish(like, result, scores, attributes)
