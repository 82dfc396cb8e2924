"""Speech recognition with weighted finite-state graphs and the entropy of their alignments.

>>> import torch, wfst_entropy
>>> log_probs = torch.zeros(1, 4, 3).log_softmax(-1)
>>> out = wfst_entropy.ctc_alignment(
...     log_probs, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
... )
>>> round(float(out.nll), 4), round(float(out.entropy), 4)
(1.6864, 2.7081)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# To add a public name: export it in its room's __init__.py (algorithms/__init__.py, ...), then put
# it twice into this file, in alphabetical order: into the imports below, which type checkers and
# editors read, and into __all__.  Nothing is imported before it is used (PEP 562), so that
# `wfst-entropy --help` need not wait for torch; a name is looked up in _ROOMS, in that order.
# Where mypy calls one of them "already defined", a module of algorithms/ imports the package itself
# (`import wfst_entropy._native as ...`): import from the module that is meant.
if TYPE_CHECKING:
    from wfst_entropy.algorithms import (
        EncodeTable,
        ExpectedEditCounts,
        add_epsilon_self_loops,
        arc_sort,
        closure,
        compose,
        concat,
        connect,
        convert_dense_to_fsa_vec,
        decode,
        determinize,
        difference,
        disambiguate,
        encode,
        equivalent,
        expand_ragged_attributes,
        expected_counts,
        expected_edit_counts,
        first_difference,
        get_arc_post,
        get_backward_scores,
        get_forward_scores,
        get_tot_scores,
        intersect,
        intersect_dense,
        intersect_dense_tot_scores,
        intersect_device,
        invert,
        is_rand_equivalent,
        isomorphic,
        k_best_scores,
        levenshtein_alignment,
        minimize,
        n_shortest_paths,
        num_paths,
        path_cross_entropy,
        path_entropy,
        path_kl,
        project,
        prune,
        prune_on_arc_post,
        push,
        random_fsa,
        random_fsa_vec,
        random_paths,
        relabel,
        remove_epsilon,
        remove_epsilon_and_add_self_loops,
        remove_epsilon_self_loops,
        renyi_entropy,
        replace,
        replace_fsa,
        reverse,
        score_covariance,
        score_variance,
        shortest_distance,
        shortest_path,
        top_sort,
        tsallis_entropy,
        union,
    )
    from wfst_entropy.decoding import ctc_greedy_search, forced_align
    from wfst_entropy.fsa import (
        DenseFsaVec,
        Fsa,
        FsaError,
        FsaVec,
        RaggedShape,
        RaggedTensor,
        SymbolTable,
    )
    from wfst_entropy.inspection import check, diff, draw, explain, info, paths
    from wfst_entropy.losses import (
        Alignment,
        CTCLoss,
        ctc_alignment,
        ctc_loss,
        fsa_alignment,
        fsa_loss,
    )
    from wfst_entropy.semirings import (
        ConditionalCovarianceSemiring,
        ConditionalEntropySemiring,
        ConditionalExpectationSemiring,
        ConditionalKLSemiring,
        CountingSemiring,
        ExpectationSemiring,
        KBestTropicalSemiring,
        LogEntropySemiring,
        LogReverseKLSemiring,
        LogSemiring,
        ProductSemiring,
        RealSemiring,
        SecondOrderExpectationSemiring,
        Semiring,
        TropicalSemiring,
    )
    from wfst_entropy.topologies import (
        ctc_graph,
        ctc_topo,
        levenshtein_graph,
        linear_fsa,
        linear_fsa_with_self_loops,
        linear_fst,
        linear_fst_with_self_loops,
        min_num_frames,
    )

__version__ = "0.1.0"

_ROOMS = (
    "fsa",
    "semirings",
    "algorithms",
    "topologies",
    "inspection",
    "lang",
    "losses",
    "decoding",
)

__all__ = [
    "Alignment",
    "CTCLoss",
    "ConditionalCovarianceSemiring",
    "ConditionalEntropySemiring",
    "ConditionalExpectationSemiring",
    "ConditionalKLSemiring",
    "CountingSemiring",
    "DenseFsaVec",
    "EncodeTable",
    "ExpectationSemiring",
    "ExpectedEditCounts",
    "Fsa",
    "FsaError",
    "FsaVec",
    "KBestTropicalSemiring",
    "LogEntropySemiring",
    "LogReverseKLSemiring",
    "LogSemiring",
    "ProductSemiring",
    "RaggedShape",
    "RaggedTensor",
    "RealSemiring",
    "SecondOrderExpectationSemiring",
    "Semiring",
    "SymbolTable",
    "TropicalSemiring",
    "add_epsilon_self_loops",
    "arc_sort",
    "check",
    "closure",
    "compose",
    "concat",
    "connect",
    "convert_dense_to_fsa_vec",
    "ctc_alignment",
    "ctc_graph",
    "ctc_greedy_search",
    "ctc_loss",
    "ctc_topo",
    "decode",
    "determinize",
    "diff",
    "difference",
    "disambiguate",
    "draw",
    "encode",
    "equivalent",
    "expand_ragged_attributes",
    "expected_counts",
    "expected_edit_counts",
    "explain",
    "first_difference",
    "forced_align",
    "fsa_alignment",
    "fsa_loss",
    "get_arc_post",
    "get_backward_scores",
    "get_forward_scores",
    "get_tot_scores",
    "info",
    "intersect",
    "intersect_dense",
    "intersect_dense_tot_scores",
    "intersect_device",
    "invert",
    "is_rand_equivalent",
    "isomorphic",
    "k_best_scores",
    "levenshtein_alignment",
    "levenshtein_graph",
    "linear_fsa",
    "linear_fsa_with_self_loops",
    "linear_fst",
    "linear_fst_with_self_loops",
    "min_num_frames",
    "minimize",
    "n_shortest_paths",
    "num_paths",
    "path_cross_entropy",
    "path_entropy",
    "path_kl",
    "paths",
    "project",
    "prune",
    "prune_on_arc_post",
    "push",
    "random_fsa",
    "random_fsa_vec",
    "random_paths",
    "relabel",
    "remove_epsilon",
    "remove_epsilon_and_add_self_loops",
    "remove_epsilon_self_loops",
    "renyi_entropy",
    "replace",
    "replace_fsa",
    "reverse",
    "score_covariance",
    "score_variance",
    "shortest_distance",
    "shortest_path",
    "top_sort",
    "tsallis_entropy",
    "union",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        for room in _ROOMS:
            module = import_module(f"{__name__}.{room}")
            if name in module.__all__:
                value = getattr(module, name)
                globals()[name] = value  # the next time, Python finds it itself
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
