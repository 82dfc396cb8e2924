"""Graph surgery in C++: how graphs are handed to an operation, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.eager import eager


class GraphArrays(NamedTuple):
    """A vector of FSAs as an operation reads it; all on the CPU."""

    fsa_splits: Tensor  # int64 (num_fsas + 1,), into states
    state_splits: Tensor  # int64 (num_states + 1,), into arcs
    arcs: Tensor  # int32 (num_arcs, 3), valid for the splits
    scores: Tensor | None = None  # float64 (num_arcs,), where the operation looks at weights
    aux_labels: Tensor | None = None  # int32 (num_arcs,), where it looks at them


class LimitError(RuntimeError):
    """The result outgrows the limits, or what 32-bit numbers can count."""


class CycleError(ValueError):
    """There is a cycle where none may be."""


class InputError(ValueError):
    """The operation has no answer for this input."""


@eager
def run(
    operation: str,
    graphs: Sequence[GraphArrays],
    *,
    max_states: int,
    max_arcs: int,
    parameters: Sequence[Any] = (),
) -> list[Tensor]:
    """Runs one operation of the extension.

    Args:
      operation: its name in the extension, which stands in messages too.
      graphs: its operands.
      max_states: the largest number of states of the result, over all FSAs.
      max_arcs: likewise of arcs.
      parameters: what else it takes: numbers, or the addresses of tensors that the caller keeps
        alive and has checked.

    Returns:
      What the operation returns: `fsa_splits`, `state_splits`, `arcs` (flat), then its arc maps and
      whatever else the operation tells.

    Raises:
      LimitError, CycleError, InputError: as the operation says.
      KeyboardInterrupt: Ctrl-C was pressed meanwhile.
      RuntimeError: the extension is not there.
    """
    function = kernel(operation)
    checked = [checked_view(graph) for graph in graphs]
    parts = call_with_limits(
        operation,
        lambda progress: function(*(view for _, view in checked), progress, *parameters),
        max_states,
        max_arcs,
    )
    return [torch.from_numpy(part) for part in parts]


def call_with_limits(
    operation: str, call: Callable[[Any], Any], max_states: int, max_arcs: int
) -> Any:
    """Calls a function of the extension with a `Progress`, and gives its errors their types.

    Args:
      operation: the name for messages.
      call: gets the `Progress`.
      max_states, max_arcs: its limits.

    Raises:
      LimitError, CycleError, InputError, KeyboardInterrupt: see `run`.
    """
    try:
        return call(kernel("Progress")(operation, max_states, max_arcs))
    except kernel("LimitError") as error:
        raise LimitError(str(error)) from None
    except kernel("CycleError") as error:
        raise CycleError(str(error)) from None
    except kernel("InputError") as error:
        raise InputError(str(error)) from None
    except MemoryError:
        raise LimitError(
            f"{operation}: this machine has no memory left for it; lower "
            f"max_states={max_states} or max_arcs={max_arcs} to be told earlier how far it came, "
            "or pass fewer FSAs at a time."
        ) from None


def checked_view(graph: GraphArrays) -> tuple[GraphArrays, Any]:
    """The extension's view of a graph, and the tensors that must live as long as it is read."""
    kept = _checked(graph)
    return kept, _view(kept)


def _checked(graph: GraphArrays) -> GraphArrays:
    """The same, contiguous, each tensor of the size that the splits promise."""
    num_states = int(graph.fsa_splits[-1])
    num_arcs = int(graph.state_splits[-1])
    scores, aux_labels = graph.scores, graph.aux_labels
    return GraphArrays(
        check(graph.fsa_splits, "fsa_splits", torch.int64, tuple(graph.fsa_splits.shape)),
        check(graph.state_splits, "state_splits", torch.int64, (num_states + 1,)),
        check(graph.arcs, "arcs", torch.int32, (num_arcs, 3)),
        None if scores is None else check(scores, "scores", torch.float64, (num_arcs,)),
        None if aux_labels is None else check(aux_labels, "aux_labels", torch.int32, (num_arcs,)),
    )


def _view(graph: GraphArrays) -> Any:
    return kernel("FsaVecView").make(
        graph.fsa_splits.numel() - 1,
        graph.fsa_splits.data_ptr(),
        graph.state_splits.data_ptr(),
        graph.arcs.data_ptr(),
        0 if graph.scores is None else graph.scores.data_ptr(),
        0 if graph.aux_labels is None else graph.aux_labels.data_ptr(),
    )
