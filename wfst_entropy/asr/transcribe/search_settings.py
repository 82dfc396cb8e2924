"""What a search of files is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from wfst_entropy.asr.options import OptionError
from wfst_entropy.decoding.transducer import Transducer

GREEDY, PREFIX, ONE_BEST = "ctc-greedy-search", "ctc-prefix-beam-search", "1best"
WHOLE_LATTICE = "whole-lattice-rescoring"
TRANSDUCER_GREEDY, TRANSDUCER_BEAM = "greedy_search", "modified_beam_search"
METHODS = (GREEDY, PREFIX, ONE_BEST, WHOLE_LATTICE, TRANSDUCER_GREEDY, TRANSDUCER_BEAM)


@dataclasses.dataclass
class SearchSettings:
    """What a search is told; names as in the recipe's `decode.py`.

    Attributes:
      lang_dir: the units, words and lexicon.
      method: one of `METHODS`, or "" for the usual one: 1best with a graph, else greedy search, of
        the transducer if there is one.
      graph: a decoding graph (HLG.pt, or LG.pt with a topology).
      topology: what the graph lacks.
      epsilon_label: of arcs that consume no frame; by default the vocabulary's size.
      silence: the token of optional silence between words, such as `SIL`.
      nbest: how many alternatives to list.
      lm: an n-gram over tokens (prefix search, modified beam search), or over words (rescoring).
      transducer: the model's transducer head, None where it has none or there is no model.

    Raises:
      OptionError: a method is unknown, or lacks what it needs, or is given what it cannot use.
    """

    lang_dir: Path
    method: str = ""
    graph: Path | None = None
    topology: Literal["hlg", "standard", "modified"] = "hlg"
    epsilon_label: int | None = None
    silence: str | None = None
    nbest: int = 0
    search_beam: float = 20.0
    output_beam: float = 8.0
    min_active_states: int = 30
    max_active_states: int = 10000
    hlg_scale: float = 1.0
    beam_size: int = 16
    lm: Path | None = None
    ngram_lm_scale: float = 1.0
    context_file: Path | None = None
    context_score: float = 2.0
    transducer: Transducer | None = None

    def __post_init__(self) -> None:
        greedy = GREEDY if self.transducer is None else TRANSDUCER_GREEDY
        names = {name.replace("_", "-"): name for name in METHODS}
        usual = ONE_BEST if self.graph is not None else greedy
        self.method = names.get(self.method.replace("_", "-"), self.method) or usual
        if self.method not in METHODS:
            raise OptionError(f"method: {self.method!r} is unknown; there are {', '.join(METHODS)}")
        if self.uses_graph != (self.graph is not None):
            need = "needs a graph: --graph HLG.pt" if self.uses_graph else "takes no --graph"
            raise OptionError(f"method: {self.method} {need}")
        if self.method == WHOLE_LATTICE and self.lm is None:
            raise OptionError(f"lm: {WHOLE_LATTICE} needs a model over words: --lm G_4_gram.pt")
        if self.method in (GREEDY, TRANSDUCER_GREEDY, ONE_BEST) and self.lm is not None:
            raise OptionError(
                f"lm: {self.method} takes none; there is {PREFIX}, {TRANSDUCER_BEAM}, "
                f"{WHOLE_LATTICE}"
            )
        beams = {GREEDY: PREFIX, TRANSDUCER_GREEDY: TRANSDUCER_BEAM}
        if self.method in beams and (self.context_file is not None or self.nbest > 1):
            raise OptionError(
                f"method: {self.method} takes no phrases and has no n-best list; "
                f"{beams[self.method]}"
            )
        if self.method in (TRANSDUCER_GREEDY, TRANSDUCER_BEAM) and self.transducer is None:
            raise OptionError(
                f"method: {self.method} needs a model with a transducer head: --exp-dir of a run "
                "with --use-transducer true"
            )

    @property
    def uses_graph(self) -> bool:
        """Whether the method searches a decoding graph."""
        return self.method in (ONE_BEST, WHOLE_LATTICE)
