"""A graph against frame scores: the lattice itself, or only its total in any semiring."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wfst_entropy._native import can_run
from wfst_entropy._native import dense as native_dense
from wfst_entropy.algorithms._dense_lattice import FrameNames, Structure, build_lattice
from wfst_entropy.algorithms._intersect_dense_kernel import kernel_totals
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES, run
from wfst_entropy.algorithms._torch_dense_lattice import torch_lattice
from wfst_entropy.algorithms.dense_pairing import (
    Pairing,
    all_arcs,
    check_graph,
    without_masks,
)
from wfst_entropy.algorithms.kernel_gradient import bad_score
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    LogSemiring,
    Semiring,
    Value,
    map_slots,
)

_LOG = LogSemiring()


def intersect_dense(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec,
    *,
    output_beam: float = math.inf,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
    a_to_b_map: Tensor | list[int] | None = None,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = "frame_idx",
) -> Fsa:
    """Intersects graphs with frame scores and returns the lattices of all their alignments.

    Every arc of a graph consumes one frame (label 0, blank, too), and the arcs into its final state
    follow the last frame. A state of the lattice is a pair (frame, state of the graph) that lies on
    some successful path; states are numbered by frame, so the lattice is top-sorted. An arc scores
    ``a_fsas.scores`` plus the frame's score of its label, and arcs whose weight is no mass (-inf,
    or a mask below -2**26) are left out.

    Args:
        a_fsas: one FSA (or a vector of one) shared by all sequences, or one FSA for each.
        b_fsas: the frame scores, (N, T, C), on the same device.
        output_beam: drops arcs all of whose paths are more than this many nats behind the best
            path of their sequence.
        max_states: the largest number of states, over all sequences and before pruning.
        max_arcs: likewise of arcs.
        a_to_b_map: which sequence each FSA of ``a_fsas`` meets, integers (number of FSAs,); several
            may meet the same one, and the result has one lattice for each FSA.
        seqframe_idx_name: name of an int32 attribute for the row of each arc in ``b_fsas``, where
            every sequence has one row per frame and one for the arcs into its final state.
        frame_idx_name: name of an int32 attribute for the frame of each arc within its sequence
            (the number of frames for the arcs into the final state); None for no such attribute.

    Returns:
        An FsaVec with one lattice per sequence; a sequence without a successful path has an empty
        one. Scores are differentiable in both inputs. Attributes of ``a_fsas`` follow its arcs.

    Raises:
        FsaValueError: the number of FSAs is neither 1 nor that of the sequences, a label is not in
            the vocabulary, devices differ, a score that is read is NaN or above 2**26,
            ``output_beam`` is negative, ``a_to_b_map`` names no sequence, or ``a_fsas`` has an
            attribute of the name wanted for frames.
        FsaAttributeError: no attribute can have the name wanted for frames.
        FsaRuntimeError: the lattice outgrows ``max_states`` or ``max_arcs``.
        KeyboardInterrupt: Ctrl-C.

    Source: exact form of the frame-synchronous intersection of k2 (``intersect_dense``).

    >>> graph = Fsa.from_str("0 0 0 0\\n0 1 1 0\\n1 1 1 0\\n1 2 -1 0\\n2")
    >>> scores = torch.tensor([[[0.4, 0.6], [0.5, 0.5]]]).log()
    >>> lattice = intersect_dense(graph, DenseFsaVec.from_lengths(scores, torch.tensor([2])))
    >>> lattice.labels.tolist(), lattice.frame_idx.tolist()
    ([0, 1, 1, 1, -1], [0, 0, 1, 1, 2])
    """
    if not output_beam >= 0:
        raise FsaValueError(
            f"output_beam: must be at least 0 nats, got {output_beam}; math.inf keeps every path"
        )
    names = FrameNames(frame_idx_name, seqframe_idx_name)
    names.check(a_fsas)
    all_sequences, chosen = b_fsas, None
    if a_to_b_map is not None:
        chosen = _sequences_of(a_to_b_map, a_fsas, b_fsas)
        b_fsas = b_fsas.index_select(chosen)
    check_graph(a_fsas, b_fsas)
    limits = (output_beam, max_states, max_arcs)
    make = _native_lattice if can_run(b_fsas.scores) else torch_lattice
    structure = make(a_fsas, b_fsas, *limits)
    rows = all_sequences.lengths + 1
    first_rows = (rows.cumsum(0) - rows) if chosen is None else (rows.cumsum(0) - rows)[chosen]
    return build_lattice(a_fsas, b_fsas, structure, names, first_rows)


def _sequences_of(a_to_b_map: Tensor | list[int], a_fsas: Fsa, b_fsas: DenseFsaVec) -> Tensor:
    chosen = torch.as_tensor(a_to_b_map)
    if chosen.is_floating_point() or tuple(chosen.shape) != (a_fsas.num_fsas,):
        raise FsaValueError(
            f"a_to_b_map: needs one integer for each of the {a_fsas.num_fsas} FSAs of a_fsas, got "
            f"{chosen.dtype} {tuple(chosen.shape)}"
        )
    chosen = chosen.to(b_fsas.device, torch.int64)
    wrong = (chosen < 0) | (chosen >= b_fsas.num_seqs)
    for i in wrong.nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"a_to_b_map[{i}] = {int(chosen[i])}: must be one of the {b_fsas.num_seqs} sequences "
            "of b_fsas, counted from 0"
        )
    return chosen


def intersect_dense_tot_scores(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec | tuple[DenseFsaVec, ...],
    semiring: Semiring = _LOG,
    *,
    dtype: torch.dtype | None = None,
    a_to_b_map: Tensor | list[int] | None = None,
) -> Value:
    r"""Computes the total of all alignments of each sequence without building their lattice.

    The same as ``get_tot_scores(intersect_dense(a_fsas, b_fsas), semiring)``, that is
    :math:`\bigoplus_\pi \bigotimes_{a \in \pi} (w(a) + x_{t, \mathrm{label}(a)})`, by one loop over
    frames for the whole batch, on any device and for any semiring. On the CPU, `LogSemiring` and
    `ConditionalEntropySemiring` have a C++ kernel.

    Args:
        a_fsas: one FSA (or a vector of one) shared by all sequences, or one FSA for each.
        b_fsas: the frame scores, (N, T, C), on the same device; for a semiring over several models
            a tuple, such as ``(student, teacher)``, with sequences of the same lengths. Each
            model's path weights contain the graph's.
        semiring: whose ``convert`` takes one tensor of log-weights, or a tuple of them.
        dtype: in which to compute; by default the common dtype of the scores. float64 is worth its
            cost for long sequences.
        a_to_b_map: see `intersect_dense`; the result then has one value for each FSA.

    Returns:
        A value with slots (S,), one per sequence: zero where no alignment exists. Differentiable in
        both inputs, as often as the semiring is; by a kernel, once.

    Raises:
        FsaValueError: as `intersect_dense`; also for models with sequences of different lengths.
        FsaTypeError: ``dtype`` is one of integers.
        ValueError: the semiring is for other log-weights, such as those of probabilities only.
        TypeError: it is for another number of models.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> scores = torch.tensor([[[0.4, 0.6], [0.5, 0.5]]]).log()
    >>> dense = DenseFsaVec.from_lengths(scores, torch.tensor([2]))
    >>> intersect_dense_tot_scores(graph, dense).exp()     # .4 * .5 + .6 * .5
    tensor([0.5000])
    """
    models = b_fsas if isinstance(b_fsas, tuple) else (b_fsas,)
    if a_to_b_map is not None:
        chosen = _sequences_of(a_to_b_map, a_fsas, models[0])
        models = tuple(model.index_select(chosen) for model in models)
    dtype = dtype or torch.result_type(a_fsas.scores, models[0].scores)
    if not dtype.is_floating_point:
        raise FsaTypeError(f"dtype: must be a floating-point one, got {dtype}")
    if isinstance(b_fsas, tuple):
        return models_tot_scores(tuple((a_fsas, model) for model in models), semiring, dtype)
    (dense,) = models
    entropy = type(semiring) is ConditionalEntropySemiring
    has_kernel = entropy or type(semiring) is LogSemiring
    if has_kernel and can_run(dense.scores) and dtype in (dense.dtype, torch.float64):
        check_graph(a_fsas, dense)
        nll, entropies, _ = kernel_totals(a_fsas, dense.to(dtype), "b_fsas", entropy=entropy)
        return (-nll, entropies) if entropy else -nll
    return _fused_total((Pairing(a_fsas, dense),), semiring.convert, semiring, dtype)


def models_tot_scores(
    models: tuple[tuple[Fsa, DenseFsaVec], ...],
    semiring: Semiring,
    dtype: torch.dtype,
    names: tuple[str, ...] = (),
) -> Value:
    """`intersect_dense_tot_scores` of a semiring over several models, each with its arc scores.

    Args:
        models: graphs that differ in their scores only, and frame scores.
        semiring: whose ``convert`` takes a tuple of log-weights; for one model, a tensor.
        dtype: in which to compute.
        names: of the frame scores, for messages.

    Raises:
        FsaValueError: see `intersect_dense_tot_scores`.
    """
    names = names or ("b_fsas",) * len(models)
    check_same_lengths(tuple(dense for _, dense in models), names)
    pairings = tuple(
        Pairing(graph, dense, name) for name, (graph, dense) in zip(names, models, strict=True)
    )
    return _fused_total(pairings, _convert_models(semiring, len(models)), semiring, dtype)


def _convert_models(semiring: Semiring, num_models: int) -> Callable[..., Value]:
    return semiring.convert if num_models == 1 else lambda *x: semiring.convert(x)


def check_same_lengths(models: tuple[DenseFsaVec, ...], names: tuple[str, ...]) -> None:
    """Refuses models whose sequences have different lengths.

    Raises:
        FsaValueError: with the name of the argument.
    """
    first = models[0].lengths
    for name, dense in zip(names, models, strict=True):
        if dense.lengths.shape != first.shape or bool((dense.lengths != first).any()):
            raise FsaValueError(
                f"{name}: must have sequences as long as those of {names[0]}, "
                f"{first.tolist()}, got {dense.lengths.tolist()}"
            )


def _fused_total(
    pairings: tuple[Pairing, ...],
    convert: Callable[..., Value],
    semiring: Semiring,
    dtype: torch.dtype,
) -> Value:
    """The same in torch: one step of the recursion per frame, for all sequences at once."""
    pairing = pairings[0]
    arcs = all_arcs(pairing)
    graph_scores = [without_masks(p.a_fsas.scores.to(dtype))[arcs.arc] for p in pairings]
    state_end = pairing.lengths[pairing.sequence_of(torch.arange(pairing.num_states).to(arcs.arc))]
    started = torch.zeros(pairing.num_states, dtype=torch.bool, device=arcs.arc.device)
    started[pairing.starts[pairing.starts >= 0]] = True
    value = map_slots(
        lambda one, zero: torch.where(started, one, zero),
        semiring.one((pairing.num_states,), dtype, started.device),
        semiring.zero((pairing.num_states,), dtype, started.device),
    )
    emit = (arcs.label >= 0).nonzero().flatten()
    emit = emit[torch.argsort(arcs.dst[emit], stable=True)]
    src, dst, label, sequence = (x[emit] for x in (arcs.src, arcs.dst, arcs.label, arcs.sequence))
    arc_scores = [scores[emit] for scores in graph_scores]
    for t in range(pairing.max_length):
        weights = (
            scores + p.frame_scores(sequence, t, label).to(dtype)
            for scores, p in zip(arc_scores, pairings, strict=True)
        )
        reached = semiring.times(
            map_slots(lambda slot: slot.index_select(0, src), value), convert(*weights)
        )
        merged = semiring.segment_sum(reached, dst, pairing.num_states)
        running = t < state_end
        value = map_slots(lambda new, old, r=running: torch.where(r, new, old), merged, value)
    final = (arcs.label < 0).nonzero().flatten()
    last = map_slots(lambda slot: slot.index_select(0, arcs.src[final]), value)
    last = semiring.times(last, convert(*(scores[final] for scores in graph_scores)))
    return semiring.segment_sum(last, arcs.sequence[final], pairing.num_sequences)


def _native_lattice(
    a_fsas: Fsa, b_fsas: DenseFsaVec, output_beam: float, max_states: int, max_arcs: int
) -> Structure:
    """The states and arcs of the lattices."""
    sequences = native_dense.DenseSequences(
        b_fsas.scores.detach(), b_fsas.utterances, b_fsas.start_frames, b_fsas.lengths
    )
    result = run(
        "intersect_dense_lattice",
        a_fsas,
        scores=True,
        parameters=(sequences.native(), float(output_beam)),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    arc_map, frames, positions, bad = result.maps
    if bad.numel():
        s, t, symbol = bad.tolist()
        n, t = int(b_fsas.utterances[s]), int(b_fsas.start_frames[s]) + t
        raise bad_score("b_fsas", n, t, symbol, float(b_fsas.scores.detach()[n, t, symbol]))
    return Structure(result.shape, result.arcs, arc_map, frames, positions)
