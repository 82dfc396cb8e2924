"""Units, words, lexicons and language models."""

from wfst_entropy.lang.arpa import read_arpa, write_arpa
from wfst_entropy.lang.disambig import add_disambig_symbols
from wfst_entropy.lang.grammar import arpa_to_g
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.lang_finding import LangFinding
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.lexicon_check import check_lexicon
from wfst_entropy.lang.lexicon_fst import lexicon_to_fst
from wfst_entropy.lang.ngram_model import NgramModel, NgramTable
from wfst_entropy.lang.position_markers import add_position_markers

__all__ = [
    "LangDir",
    "LangFinding",
    "Lexicon",
    "NgramModel",
    "NgramTable",
    "add_disambig_symbols",
    "add_position_markers",
    "arpa_to_g",
    "check_lexicon",
    "lexicon_to_fst",
    "read_arpa",
    "write_arpa",
]
