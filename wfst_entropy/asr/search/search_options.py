"""How far a search looks, and what its scores are made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from wfst_entropy.asr.options import OptionError, option


@dataclasses.dataclass
class SearchOptions:
    """How far a search looks, and what its scores are made of.

    Raises:
      OptionError: when a value is out of range.
    """

    topology: Literal["hlg", "standard", "modified"] = option(
        "hlg", "The graph: HLG.pt, or LG.pt with the implied standard or modified CTC topology."
    )
    search_beam: float = option(20.0, "States worse than the best by more are dropped; nats.")
    output_beam: float = option(8.0, "Lattice arcs worse than the best path by more go; nats.")
    min_active_states: int = option(30, "States kept in a frame whatever their score.")
    max_active_states: int = option(10000, "Most states kept in a frame.")
    hlg_scale: float | None = option(
        None, "Scale of the graph's scores; none: as tuned on dev, else the method's own."
    )
    ngram_lm_scale: float | None = option(
        None,
        "Scale of the n-gram that rescores, or that a transducer is searched with; none: as tuned "
        "on dev, else the method's own.",
    )
    ilme_scale: float | None = option(
        None,
        "Scale of the transducer's own language model, which fast_beam_search_LG and its nbest "
        "form subtract; none: as tuned on dev, else 0.",
    )
    lodr_scale: float | None = option(
        None,
        "Scale of the n-gram that modified_beam_search_LODR subtracts, below 0; none: as tuned on "
        "dev, else -0.1.",
    )
    length_bonus: float | None = option(
        None,
        "Added for each token by modified_beam_search_lm_shallow_fusion, nats; none: as tuned on "
        "dev, else 0.",
    )
    rescoring_order: int = option(4, "Rescore with G_(this)_gram.pt.")
    num_paths: int = option(100, "Paths of an n-best list, before those of equal words are merged.")
    nbest_scale: float = option(0.5, "Scale of scores when paths are drawn; smaller: more variety.")
    beam_size: int | None = option(
        None,
        "Hypotheses that a beam search keeps; none: 10 for ctc-prefix-beam-search, 4 for "
        "modified_beam_search.",
    )
    max_sym_per_frame: int = option(1, "Most labels of one frame (greedy_search).")
    beam: float = option(
        20.0, "fast_beam_search: states worse than the best of a stream by more go; nats."
    )
    max_contexts: int = option(8, "fast_beam_search: label contexts kept in a frame.")
    max_states: int = option(64, "fast_beam_search: states kept in a frame.")
    blank_penalty: float = option(
        0.0, "Taken from the log-probability of a transducer's blank; nats."
    )
    lodr_order: int = option(2, "modified_beam_search_LODR: subtract lodr_(this)gram.pt.")
    tokens_ngram: int = option(
        0,
        "The order of the token n-gram, (this)gram.pt; 0 for none (ctc-prefix-beam-search), or 5 "
        "(modified_beam_search_lm_shallow_fusion, modified_beam_search_LODR).",
    )
    context_file: Path | None = option(
        None,
        "Phrases to favour (ctc-prefix-beam-search, modified_beam_search), one a line.",
    )
    context_score: float = option(2.0, "Bonus of each token of such a phrase; nats.")
    tune: bool = option(False, "Decode dev with a grid of scales, and keep the best for the tests.")

    def __post_init__(self) -> None:
        for name in (
            *("search_beam", "output_beam", "max_active_states", "nbest_scale", "beam_size"),
            *("num_paths", "rescoring_order", "lodr_order", "max_sym_per_frame", "beam"),
            *("max_contexts", "max_states"),
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(f"{name}: needs more than 0, got {value}")
        for name in (
            "hlg_scale",
            "ngram_lm_scale",
            "ilme_scale",
            "min_active_states",
            "tokens_ngram",
        ):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise OptionError(f"{name}: needs at least 0, got {value}")

        if self.lodr_scale is not None and not self.lodr_scale <= 0:
            raise OptionError(
                f"lodr_scale: needs 0 or less, to subtract its n-gram, got {self.lodr_scale}"
            )

    def scales(self) -> dict[str, float]:
        """The scales that are given, by name."""
        names = ("hlg_scale", "ngram_lm_scale", "ilme_scale", "lodr_scale", "length_bonus")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}
