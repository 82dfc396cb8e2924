"""Pruned search for lattices: graphs against frame scores, frame by frame, within a beam."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import search as native
from wfst_entropy._native.dense import DenseSequences
from wfst_entropy.algorithms._dense_lattice import FrameNames, Structure, build_lattice
from wfst_entropy.algorithms._surgery import (
    MAX_ARCS,
    MAX_STATES,
    errors_of_the_extension,
    select_scores,
)
from wfst_entropy.algorithms.kernel_gradient import bad_score as bad_score_error
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaValueError

PARTIAL = "partial"
"""The attribute that marks final arcs which the graph does not have; see `allow_partial`."""


def intersect_dense_pruned(
    a_fsas: Fsa | DecodingGraph,
    b_fsas: DenseFsaVec,
    *,
    search_beam: float = 20.0,
    output_beam: float = 8.0,
    min_active_states: int = 30,
    max_active_states: int = 10000,
    allow_partial: bool = True,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = "frame_idx",
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
) -> Fsa:
    r"""Searches graphs along frame scores and returns lattices of the best alignments.

    The states that are within `search_beam` of a frame's best one go on to the next frame. Of what
    they reached, the lattice keeps the arcs that lie on a path within `output_beam` of the best
    one. An arc scores the graph's score plus the frame's score of its label, exactly; pruning only
    decides which arcs there are. With infinite beams it is the lattice of `intersect_dense`.

    Args:
      a_fsas: one graph shared by all sequences, or one for each; a `DecodingGraph` if its arcs may
        consume no frame, if the CTC topology is implied, or to prepare it once for many calls.
      b_fsas: the frame scores, (N, T, C), on the same device. The search runs on the CPU, over the
        sequences in parallel.
      search_beam: in nats. While frames go by, the search keeps a state only if its best path so
        far is no more than this behind the best of all.
      output_beam: in nats; drops arcs all of whose paths are further behind the best path.
      min_active_states: at least so many states go on, even from beyond the beam, if there are so
        many.
      max_active_states: at most so many go on, the best (more if several score the same).
      allow_partial: whether to take every state at the last frame for a final one where no final
        state was reached, instead of giving an empty lattice. Their final arcs are no arcs of the
        graph and score 0.
      seqframe_idx_name: see `intersect_dense`.
      frame_idx_name: name of an int32 attribute for the frame of each arc within its sequence; for
        an arc that consumes none, the frame that follows it (the number of frames at the end).
        None for no such attribute.
      max_states: how many states the lattices of all sequences may hold at any time.
      max_arcs: likewise arcs.

    Returns:
      An FsaVec `[sequence][state][arc]`, top-sorted, one lattice per sequence, empty where nothing
      was left. Its labels are what frames emit, 0 being blank; arcs that consume no frame are
      labelled `epsilon_label`, or with a topology, C. Scores are differentiable in both inputs, and
      attributes of the graph follow its arcs; moves of a topology have none and get fillers.
      Besides `frame_idx` there are the attributes `lm_scores`, the graph's score of each arc
      (unless the graph has an attribute of that name, which follows then), and `partial`, true on
      final arcs that the graph does not have. The result for a sequence does not depend on the
      others, nor on the number of threads.

    Raises:
      FsaValueError: a beam, a number of states, the graph or a label does not fit, a score of a
        frame is NaN or above 2**26, or the graph has an attribute of a name wanted here.
      FsaRuntimeError: the lattices outgrow `max_states` or `max_arcs`.
      KeyboardInterrupt: Ctrl-C.

    Source: token passing, Young, Russell and Thornton 1989; pruning of lattices, Povey et al. 2012,
    "Generating exact lattices in the WFST framework". Names and defaults are k2's; there the
    numbers of active states are approached by adapting the beam, here they are kept.

    Example:
      >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
      >>> scores = torch.tensor([[[0.4, 0.6], [0.1, 0.9]]]).log()
      >>> dense = DenseFsaVec.from_lengths(scores, torch.tensor([2]))
      >>> intersect_dense_pruned(graph, dense, output_beam=0.1).labels.tolist()
      [1, 1, -1]
    """
    options = search_options(
        search_beam, output_beam, min_active_states, max_active_states, allow_partial
    )
    names = FrameNames(frame_idx_name, seqframe_idx_name)
    graph = DecodingGraph.of(a_fsas)
    limits = (max_states, max_arcs)
    return run_search(
        "search_lattices", "intersect_dense_pruned", graph, b_fsas, options, names, limits
    )


def search_options(
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
    allow_partial: bool,
) -> native.SearchOptions:
    """The same, checked.

    Raises:
      FsaValueError: with the name of the argument.
    """
    for name, beam in (("search_beam", search_beam), ("output_beam", output_beam)):
        if not beam >= 0:
            raise FsaValueError(
                f"{name}: must be at least 0 nats, got {beam}; math.inf keeps every path"
            )
    if not 0 <= min_active_states <= max_active_states or max_active_states < 1:
        raise FsaValueError(
            "min_active_states, max_active_states: need 0 <= min <= max and max at least 1, got "
            f"{min_active_states} and {max_active_states}"
        )
    largest = 2**31 - 1
    return native.SearchOptions(
        float(search_beam),
        float(output_beam),
        min(min_active_states, largest),
        min(max_active_states, largest),
        bool(allow_partial),
    )


def run_search(
    function: str,
    operation: str,
    graph: DecodingGraph,
    dense: DenseFsaVec,
    options: native.SearchOptions,
    names: FrameNames,
    limits: tuple[int, int],
) -> Fsa:
    """Runs a search over whole sequences, and builds what it found.

    Args:
      function: of the extension.
      operation: for messages.
      graph, dense, options: what is searched.
      names: of the attributes for frames.
      limits: of states and arcs.

    Raises:
      FsaValueError, FsaRuntimeError, KeyboardInterrupt: see `intersect_dense_pruned`.
    """
    graph.check_fits(dense)
    check_search_names(graph.fsa, *names)
    cpu = [x.to("cpu") for x in (dense.utterances, dense.start_frames, dense.lengths)]
    with errors_of_the_extension():
        found = native.search(
            function,
            operation,
            graph._search,
            DenseSequences(dense.scores.detach().to("cpu"), *cpu),
            options,
            graph.lattice_epsilon(dense.vocab_size),
            max_states=limits[0],
            max_arcs=limits[1],
        )
    raise_bad_score(found.bad_score, dense)
    shape, arcs, arc_map, frames = structure_of(found, graph.device)
    structure = Structure(shape, arcs, arc_map, frames, found.positions.to(graph.device))
    rows = dense.lengths + 1
    lattice = build_lattice(graph.fsa, dense, structure, names, rows.cumsum(0) - rows)
    return with_search_attributes(lattice, graph.fsa, arc_map)


def check_search_names(fsa: Fsa, frame_idx: str | None, seqframe_idx: str | None = None) -> None:
    """Refuses a graph with an attribute that lattices get.

    Raises:
      FsaValueError: there is one.
    """
    FrameNames(frame_idx, seqframe_idx).check(fsa)
    if PARTIAL in fsa.attributes:
        raise FsaValueError(
            f"a_fsas: has an attribute {PARTIAL!r} already, which lattices get; rename it"
        )


def raise_bad_score(bad_score: Tensor, dense: DenseFsaVec) -> None:
    """Tells of a frame score that may not be used.

    Args:
      bad_score: empty, or sequence, frame and symbol.
      dense: the frame scores.

    Raises:
      FsaValueError: there is one.
    """
    if bad_score.numel():
        s, t, symbol = bad_score.tolist()
        n, t = int(dense.utterances[s]), int(dense.start_frames[s]) + t
        raise bad_score_error("b_fsas", n, t, symbol, float(dense.scores.detach()[n, t, symbol]))


class FoundArcs(NamedTuple):
    """What a search found, as tensors of an Fsa."""

    shape: RaggedShape
    arcs: Tensor
    arc_map: Tensor
    frames: Tensor


def structure_of(found: native.Found, device: torch.device) -> FoundArcs:
    """States and arcs of what a search found, on a device."""
    shape = RaggedShape._unchecked([found.fsa_splits, found.state_splits], found.arcs.numel() // 3)
    arcs = found.arcs.view(-1, 3).to(device)
    return FoundArcs(shape.to(device), arcs, found.arc_map.to(device), found.frames.to(device))


def with_search_attributes(lattice: Fsa, graph: Fsa, arc_map: Tensor) -> Fsa:
    """Sets what every search tells of its arcs, in place: `lm_scores` and `partial`."""
    if "lm_scores" not in graph.attributes:
        lattice.set_attribute_("lm_scores", select_scores(graph.scores, arc_map))
    return lattice.set_attribute_(PARTIAL, (arc_map < 0) & (lattice.labels == -1))
