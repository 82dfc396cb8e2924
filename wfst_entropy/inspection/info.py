"""What a graph consists of, in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.algorithms.components import components_of
from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.inspection.symbols import output_labels


@dataclass(frozen=True)
class FsaInfo:
    """The figures of one FSA, or of all FSAs of a vector together; `str()` of it is a table.

    Attributes:
      num_fsas: 1 if it is not a vector.
      num_states: over all FSAs.
      num_arcs: over all FSAs.
      num_final_arcs: arcs into the final states.
      num_epsilons: arcs whose input label is 0.
      num_output_epsilons: arcs, but final ones, that put nothing out; None for an acceptor.
      num_labels: distinct input labels, without epsilon and -1.
      max_label: the largest of them, 0 if there is none.
      num_output_labels: as `num_labels`, of `aux_labels`; None for an acceptor.
      max_output_label: the largest of them, 0 if there is none; None for an acceptor.
      deterministic: no state has two arcs with one input label, epsilon counted as a label.
      arc_sorted: the arcs of each state are ordered by label.
      top_sorted: every arc goes to a state with a larger number.
      connected: every state is on a path from the start to the final state.
      num_cyclic_components: sets of states that reach each other over at least one arc.
      num_cyclic_states: how many states are in such sets; 0 for an acyclic graph.
      mean_out_degree: arcs per state that is not final.
      max_out_degree: arcs of the state with most.
      max_in_degree: arcs into the state with most.
      score_range: smallest and largest finite score, nats; None if there is none.
      num_impossible: arcs with the score -inf.
      num_invalid: arcs with the score NaN or +inf.
      dtype: of the scores.
      device: of the tensors.
      num_bytes: of all tensors, those of the attributes included.
      attributes: the names of the attributes.
      fsas: of each FSA of a vector; empty for one FSA.
    """

    num_fsas: int
    num_states: int
    num_arcs: int
    num_final_arcs: int
    num_epsilons: int
    num_output_epsilons: int | None
    num_labels: int
    max_label: int
    num_output_labels: int | None
    max_output_label: int | None
    deterministic: bool
    arc_sorted: bool
    top_sorted: bool
    connected: bool
    num_cyclic_components: int
    num_cyclic_states: int
    mean_out_degree: float
    max_out_degree: int
    max_in_degree: int
    score_range: tuple[float, float] | None
    num_impossible: int
    num_invalid: int
    dtype: torch.dtype
    device: torch.device
    num_bytes: int
    attributes: tuple[str, ...]
    fsas: tuple[FsaInfo, ...] = ()

    @property
    def acyclic(self) -> bool:
        """Whether no state can be reached from itself."""
        return self.num_cyclic_states == 0

    def rows(self) -> list[tuple[str, str]]:
        """Pairs of a name and a readable value, in the order of the printed table."""
        outputs = self.num_output_labels is not None
        low, high = self.score_range or (None, None)
        cycles = f"{self.num_cyclic_states:,} states in {self.num_cyclic_components:,} component(s)"
        rows = [
            ("kind", "transducer" if outputs else "acceptor"),
            ("states", f"{self.num_states:,}"),
            ("arcs", f"{self.num_arcs:,}, {self.num_final_arcs:,} of them final"),
            ("labels", f"{self.num_labels:,} distinct, largest {self.max_label:,}"),
            ("epsilons", f"{self.num_epsilons:,}"),
            ("outputs", f"{self.num_output_labels} distinct, largest {self.max_output_label}"),
            ("silent arcs", f"{self.num_output_epsilons}"),
            ("deterministic", _yes(self.deterministic)),
            ("arc-sorted", _yes(self.arc_sorted)),
            ("top-sorted", _yes(self.top_sorted)),
            ("connected", _yes(self.connected)),
            ("cycles", "none" if self.acyclic else cycles),
            ("arcs per state", f"mean {self.mean_out_degree:.2f}, largest {self.max_out_degree:,}"),
            ("arcs into a state", f"largest {self.max_in_degree:,}"),
            ("scores", "none" if low is None else f"{low:.6g} to {high:.6g} ({_name(self.dtype)})"),
            ("memory", _memory(self.num_bytes) + f" on {self.device}"),
            ("attributes", ", ".join(self.attributes) or "none"),
        ]
        if not outputs:
            rows = [row for row in rows if row[0] not in ("outputs", "silent arcs")]
        if self.num_impossible or self.num_invalid:
            bad = f"{self.num_impossible:,} are -inf, {self.num_invalid:,} are NaN or +inf"
            rows.insert(-2, ("scores not finite", bad))
        return [("FSAs", f"{self.num_fsas:,}"), *rows] if self.fsas else rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def info(fsa: Fsa) -> FsaInfo:
    """The figures of a graph, printed as a table by `print(info(fsa))`.

    Args:
      fsa: one FSA or a vector; of a vector, the sums, and each FSA's figures in `.fsas`.

    Returns:
      An `FsaInfo`.

    >>> print(info(Fsa.from_str("0 0 1 -1\\n0 1 2 -2\\n1 2 -1 0\\n2")))
    kind               acceptor
    states             3
    arcs               3, 1 of them final
    labels             2 distinct, largest 2
    epsilons           0
    deterministic      yes
    arc-sorted         yes
    top-sorted         no
    connected          yes
    cycles             1 states in 1 component(s)
    arcs per state     mean 1.50, largest 2
    arcs into a state  largest 1
    scores             -2 to 0 (float32)
    memory             80 bytes on cpu
    attributes         none
    """
    fsa = fsa.detach()
    labels, used = fsa.labels, _used(fsa.labels)
    components = components_of(fsa)
    outputs = _output_figures(fsa)
    properties = fsa.properties
    out_degrees, in_degrees = _degrees(fsa)
    num_sources = fsa.num_states - int((fsa.final_states() >= 0).sum())
    return FsaInfo(
        num_fsas=fsa.num_fsas,
        num_states=fsa.num_states,
        num_arcs=fsa.num_arcs,
        num_final_arcs=int((labels == -1).sum()),
        num_epsilons=int((labels == 0).sum()),
        num_output_epsilons=outputs[0],
        num_labels=used.numel(),
        max_label=int(used.max()) if used.numel() else 0,
        num_output_labels=outputs[1],
        max_output_label=outputs[2],
        deterministic=properties.deterministic,
        arc_sorted=properties.arc_sorted,
        top_sorted=properties.top_sorted,
        connected=properties.connected,
        num_cyclic_components=int(components.cyclic.sum()),
        num_cyclic_states=int(components.cyclic[components.component].sum()),
        mean_out_degree=fsa.num_arcs / max(num_sources, 1),
        max_out_degree=out_degrees,
        max_in_degree=in_degrees,
        score_range=_finite_range(fsa.scores),
        num_impossible=int((fsa.scores == -torch.inf).sum()),
        num_invalid=int((fsa.scores.isnan() | (fsa.scores == torch.inf)).sum()),
        dtype=fsa.scores.dtype,
        device=fsa.device,
        num_bytes=_num_bytes(fsa),
        attributes=tuple(fsa.attributes),
        fsas=tuple(info(one) for one in fsa) if fsa.num_axes == 3 else (),
    )


def _used(labels: Tensor) -> Tensor:
    return torch.unique(labels[labels > 0])


def _output_figures(fsa: Fsa) -> tuple[int, int, int] | tuple[None, None, None]:
    """Arcs that put nothing out, distinct output labels, and the largest."""
    outputs = output_labels(fsa)
    if outputs is None:
        return None, None, None
    final = (fsa.labels == -1).tolist()
    silent = sum(not row and not is_final for row, is_final in zip(outputs, final))
    distinct = {label for row in outputs for label in row}
    return silent, len(distinct), max(distinct, default=0)


def _degrees(fsa: Fsa) -> tuple[int, int]:
    """The largest number of arcs that leave a state, and that enter one."""
    if not fsa.num_arcs:
        return 0, 0
    leaving, entering = torch.bincount(fsa.src_states()), torch.bincount(fsa.dst_states())
    return int(leaving.max()), int(entering.max())


def _finite_range(scores: Tensor) -> tuple[float, float] | None:
    finite = scores[scores.isfinite()]
    return (float(finite.min()), float(finite.max())) if finite.numel() else None


def _num_bytes(fsa: Fsa) -> int:
    shape = fsa.shape
    tensors = [fsa.arcs, fsa.scores, *(shape.row_splits(i) for i in range(1, shape.num_axes))]
    for value in fsa.attributes.values():
        tensors += _tensors(value)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, RaggedTensor):
        shape = value.shape
        return [value.values, *(shape.row_splits(i) for i in range(1, shape.num_axes))]
    return [value] if isinstance(value, Tensor) else []


def _memory(num_bytes: int) -> str:
    size = float(num_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
