"""The best symbol of each frame of a transducer."""

from __future__ import annotations

from typing import ClassVar

from wfst_entropy.asr.search.method import Scales
from wfst_entropy.asr.search.transducer_method import StreamSearch, TransducerMethod
from wfst_entropy.decoding.transducer_greedy_search import TransducerGreedySearch


class TransducerGreedy(TransducerMethod):
    """`greedy_search`: neither lexicon nor language model, and nothing to tune.

    Args:
      setup: with the transducer head, `max_sym_per_frame` and `blank_penalty`.
    """

    name: ClassVar[str] = "greedy_search"

    def stream_search(self, scales: Scales) -> StreamSearch:
        """See `TransducerMethod.stream_search`."""
        return TransducerGreedySearch(
            self.transducer,
            self.options.max_sym_per_frame,
            blank_penalty=self.options.blank_penalty,
        )
