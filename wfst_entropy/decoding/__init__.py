"""From frame scores to tokens, words and their times."""

from wfst_entropy.decoding.alignment import forced_align
from wfst_entropy.decoding.ctc_greedy_search import ctc_greedy_search

__all__ = ["ctc_greedy_search", "forced_align"]
