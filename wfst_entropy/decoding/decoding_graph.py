"""A graph made ready for searches, once for all utterances."""

from __future__ import annotations

from typing import Any

import torch

from wfst_entropy._native import is_available, why_not
from wfst_entropy._native.search import TOPOLOGIES, SearchGraphs
from wfst_entropy.algorithms._surgery import MAX_STATES, errors_of_the_extension, operand
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError, FsaValueError


class DecodingGraph:
    r"""A graph (or one for each sequence) whose arcs lie as a search reads them.

    The searches of this package take it wherever they take an `Fsa`, and are spared the
    preparation: sorting the arcs of each state, and the checks. What a frame emits is given by
    `topology`:

    * None: the label of an arc, 0 being blank; an HLG. Arcs labelled `epsilon_label` consume no
      frame, such as those to back-off states.
    * "standard": the labels are tokens (1, 2, ...), as in LG, and a search goes through
      `ctc_topo` composed with the graph, which is never built: its states are pairs of a state and
      the token spoken last. Arcs labelled 0 consume no frame, and do not make the last token
      forgotten: to say it again takes a blank. That is what `compose(ctc_topo(C - 1), graph)`
      gives, path for path, but takes :math:`O(\text{arcs})` memory instead of
      :math:`O(\text{arcs} \cdot C)`.
    * "modified": the same with `ctc_topo(C - 1, modified=True)`.

    Args:
      fsa: one graph, or a vector with one for each sequence. It is not copied: scores written to
        afterwards are not those that a search sees.
      epsilon_label: the label of arcs that consume no frame; None if there are none, or with a
        topology, where it is 0.
      topology: None, "standard" or "modified".
      max_states: the largest number of states for the search, those of a topology included.

    Raises:
      FsaTypeError: `fsa` is no Fsa.
      FsaValueError: the topology has no such name, a label is negative, a score is NaN or above
        2**26, or `epsilon_label` is negative or given together with a topology.
      CyclicFsaError: arcs that consume no frame form a cycle; the message names its states.
      FsaRuntimeError: there are more than `max_states` states, or no C++ extension.

    Example:
      >>> lg = Fsa.from_str("0 1 1 7 -0.5\n1 0 0 0 0\n1 2 -1 -1 0\n2")
      >>> graph = DecodingGraph(lg, topology="standard")
      >>> graph.num_search_states
      7
    """

    def __init__(
        self,
        fsa: Fsa,
        *,
        epsilon_label: int | None = None,
        topology: str | None = None,
        max_states: int = MAX_STATES,
    ) -> None:
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"fsa: needs an Fsa, got {type(fsa).__name__}.")
        if topology not in TOPOLOGIES:
            raise FsaValueError(
                f'topology: must be None, "standard" or "modified", got {topology!r}.'
            )
        if epsilon_label is not None and (topology is not None or not _is_label(epsilon_label)):
            raise FsaValueError(
                f"epsilon_label: must be a label of the graph, at least 0, and None with a "
                f"topology (there 0 consumes no frame), got {epsilon_label} with topology "
                f"{topology!r}."
            )
        if not is_available():
            raise FsaRuntimeError(f"DecodingGraph: needs the C++ extension; {why_not()}.")
        self._fsa, self._epsilon_label, self._topology = fsa, epsilon_label, topology
        with errors_of_the_extension():
            self._search = SearchGraphs(
                operand(fsa, scores=True), topology, epsilon_label, max_states
            )

    @classmethod
    def of(cls, graph: Fsa | DecodingGraph) -> DecodingGraph:
        """The graph itself if it is ready, else `DecodingGraph(graph)`."""
        return graph if isinstance(graph, DecodingGraph) else cls(graph)

    @property
    def fsa(self) -> Fsa:
        """The graph that it was made from."""
        return self._fsa

    @property
    def epsilon_label(self) -> int | None:
        """The label of arcs that consume no frame; None if there are none, or with a topology."""
        return self._epsilon_label

    @property
    def topology(self) -> str | None:
        """None, "standard" or "modified"."""
        return self._topology

    @property
    def num_fsas(self) -> int:
        """The number of graphs: one that all sequences share, or one for each."""
        return self._fsa.num_fsas

    @property
    def device(self) -> torch.device:
        """The device of the graph, and of lattices. Searches run on the CPU."""
        return self._fsa.device

    @property
    def num_search_states(self) -> int:
        """The number of states that a search may be in, over all graphs."""
        return self._search.num_states

    @property
    def num_bytes(self) -> int:
        """The memory that the form for searches takes, beside the graph itself."""
        return self._search.num_bytes

    def to(self, device: torch.device | str) -> DecodingGraph:
        """The same with the graph, and so the lattices, on another device."""
        moved = object.__new__(DecodingGraph)
        moved.__dict__.update(self.__dict__)
        moved._fsa = self._fsa.to(device)
        return moved

    def lattice_epsilon(self, vocab_size: int) -> int | None:
        """The label that arcs without a frame have in lattices over so many symbols."""
        # with a topology 0 is blank there
        return self._epsilon_label if self._topology is None else vocab_size

    def check_fits(self, dense: DenseFsaVec) -> None:
        """Refuses frame scores that do not fit the graph.

        Raises:
          FsaTypeError: `dense` is no DenseFsaVec.
          FsaValueError: the number of sequences, of symbols, the device or a label of the graph.
        """
        if not isinstance(dense, DenseFsaVec):
            raise FsaTypeError(
                f"b_fsas: needs a DenseFsaVec, got {type(dense).__name__}; "
                "DenseFsaVec.from_lengths(log_probs, lengths) makes one"
            )
        if self.num_fsas not in (1, dense.num_seqs):
            raise FsaValueError(
                f"a_fsas: must be one graph for all {dense.num_seqs} sequences of b_fsas, or one "
                f"for each, got {self.num_fsas}"
            )
        if self.device != dense.device:
            raise FsaValueError(
                f"a_fsas: is on {self.device}, but b_fsas on {dense.device}; use a_fsas.to(device)"
            )
        if dense.vocab_size == 0:
            raise FsaValueError(
                f"b_fsas: needs at least one symbol, blank, got scores {tuple(dense.scores.shape)}"
            )
        if self._search.largest_label < dense.vocab_size:
            return
        labels = self._fsa.labels
        wrong = labels >= dense.vocab_size
        if self._epsilon_label is not None:
            wrong &= labels != self._epsilon_label
        arc = int(wrong.nonzero()[0])
        fsa = int(self._fsa.arc_to_fsa()[arc])
        raise FsaValueError(
            f"a_fsas: FSA {fsa}, arc {self._fsa.arcs[arc].tolist()} has label {int(labels[arc])}; "
            f"labels lie in 0..{dense.vocab_size - 1} for frame scores "
            f"{tuple(dense.scores.shape)}. If it consumes no frame (back-off arcs of an HLG have "
            f"the label {dense.vocab_size}), pass DecodingGraph(fsa, epsilon_label="
            f"{int(labels[arc])})"
        )

    def __reduce__(self) -> Any:
        return _restore, (self._fsa, self._epsilon_label, self._topology, self.num_search_states)

    def __repr__(self) -> str:
        how = "" if self._topology is None else f", topology={self._topology!r}"
        if self._epsilon_label is not None:
            how += f", epsilon_label={self._epsilon_label}"
        return (
            f"DecodingGraph(num_states={self._fsa.num_states}, num_arcs={self._fsa.num_arcs}"
            f"{how}, num_search_states={self.num_search_states}, "
            f"{self.num_bytes / 2**20:.1f} MB)"
        )


def _is_label(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _restore(
    fsa: Fsa, epsilon_label: int | None, topology: str | None, max_states: int
) -> DecodingGraph:
    """What pickle calls; the limit was met before."""
    max_states = max(max_states, MAX_STATES)
    return DecodingGraph(fsa, epsilon_label=epsilon_label, topology=topology, max_states=max_states)
