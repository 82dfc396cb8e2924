"""Units, words, lexicons and language models."""

from wfst_entropy.lang.arpa import read_arpa, write_arpa
from wfst_entropy.lang.backoff_weights import check_ngram_model
from wfst_entropy.lang.context_file import (
    context_graph_from_file,
    read_context_file,
    spell_by_lexicon,
    spell_by_words,
)
from wfst_entropy.lang.context_graph import ContextGraph
from wfst_entropy.lang.context_graph_fsa import bias_lattice, context_graph_to_fsa
from wfst_entropy.lang.disambig import add_disambig_symbols
from wfst_entropy.lang.grammar import arpa_to_g
from wfst_entropy.lang.grammar_text import write_g_text
from wfst_entropy.lang.graph_compiler import compile_hlg, compile_lg
from wfst_entropy.lang.kaldifst_process import NotDeterminizableError
from wfst_entropy.lang.kneser_ney import estimate_ngram_model
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.lang_dir_check import check_lang_dir
from wfst_entropy.lang.lang_files import Silence, write_lang_dir
from wfst_entropy.lang.lang_finding import LangFinding
from wfst_entropy.lang.lang_graphs import compile_lang_graphs
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.lexicon_check import check_lexicon
from wfst_entropy.lang.lexicon_fst import lexicon_to_fst
from wfst_entropy.lang.ngram_interpolation import (
    interpolate_ngram_models,
    tune_interpolation_weights,
)
from wfst_entropy.lang.ngram_model import NgramModel, NgramTable
from wfst_entropy.lang.ngram_prune import (
    prune_ngram_model,
    pruning_costs,
)
from wfst_entropy.lang.perplexity import (
    Perplexity,
    WordScores,
    perplexity,
    score_words,
)
from wfst_entropy.lang.position_dependent_phones import add_position_markers
from wfst_entropy.lang.prepare import LangSources, prepare_lang_dir
from wfst_entropy.lang.spelling import bpe_lexicon, char_lexicon
from wfst_entropy.lang.training_graph_compiler import (
    BpeCtcTrainingGraphCompiler,
    CtcTrainingGraphCompiler,
)
from wfst_entropy.lang.vocabulary import (
    VocabularyOverlap,
    compare_vocabularies,
    count_oov_words,
)

__all__ = [
    "BpeCtcTrainingGraphCompiler",
    "ContextGraph",
    "CtcTrainingGraphCompiler",
    "LangDir",
    "LangFinding",
    "LangSources",
    "Lexicon",
    "NgramModel",
    "NgramTable",
    "NotDeterminizableError",
    "Perplexity",
    "Silence",
    "VocabularyOverlap",
    "WordScores",
    "add_disambig_symbols",
    "add_position_markers",
    "arpa_to_g",
    "bias_lattice",
    "bpe_lexicon",
    "char_lexicon",
    "check_lang_dir",
    "check_lexicon",
    "check_ngram_model",
    "compare_vocabularies",
    "compile_hlg",
    "compile_lang_graphs",
    "compile_lg",
    "context_graph_from_file",
    "context_graph_to_fsa",
    "count_oov_words",
    "estimate_ngram_model",
    "interpolate_ngram_models",
    "lexicon_to_fst",
    "perplexity",
    "prepare_lang_dir",
    "prune_ngram_model",
    "pruning_costs",
    "read_arpa",
    "read_context_file",
    "score_words",
    "spell_by_lexicon",
    "spell_by_words",
    "tune_interpolation_weights",
    "write_arpa",
    "write_g_text",
    "write_lang_dir",
]
