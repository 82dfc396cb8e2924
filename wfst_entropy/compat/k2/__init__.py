"""k2's names over this engine: `from wfst_entropy.compat import k2`, or `k2.install()`.

`docs/coming_from_k2.md` lists every name of k2 and where it is.  An `Fsa` here is mutable, as in
k2, and holds an FSA of this package: `fsa.core`, and back by `Fsa.from_core`.

Example:
  >>> from wfst_entropy.compat import k2
  >>> fsa = k2.ctc_graph([[1, 2]])
  >>> fsa.shape, fsa.core
  ((1, None, None), Fsa(num_fsas=1, num_states=6, num_arcs=12, aux_labels))
"""

from __future__ import annotations

import sys as _sys
from types import ModuleType as _ModuleType
from typing import Any as _Any

import torch as _torch

from wfst_entropy.compat.k2 import (
    _k2,
    autograd,
    autograd_utils,
    decode,
    dense_fsa_vec,
    fsa,
    fsa_properties,
    mutual_information,
    nbest,
    online_dense_intersecter,
    ragged,
    rnnt_decode,
    sparse,
    swoosh,
    symbol_table,
)
from wfst_entropy.compat.k2 import ctc_loss as _ctc_loss_module
from wfst_entropy.compat.k2 import installation as _installation
from wfst_entropy.compat.k2 import mwer_loss as _mwer_loss_module
from wfst_entropy.compat.k2 import not_here as _not_here
from wfst_entropy.compat.k2 import propagation as _propagation
from wfst_entropy.compat.k2 import rnnt_loss as _rnnt_loss_module
from wfst_entropy.compat.k2.autograd import intersect_dense, intersect_dense_pruned
from wfst_entropy.compat.k2.best_matching import get_best_matching_stats
from wfst_entropy.compat.k2.compose import compose, intersect, intersect_device
from wfst_entropy.compat.k2.conversion import from_k2, to_k2
from wfst_entropy.compat.k2.ctc_loss import CtcLoss, ctc_loss
from wfst_entropy.compat.k2.decode import get_aux_labels, get_lattice, one_best_decoding
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec, convert_dense_to_fsa_vec
from wfst_entropy.compat.k2.drawing import to_dot
from wfst_entropy.compat.k2.epsilons import (
    DeterminizeWeightPushingType,
    determinize,
    remove_epsilon,
    remove_epsilon_and_add_self_loops,
    remove_epsilon_iterative_tropical,
)
from wfst_entropy.compat.k2.equivalence import is_rand_equivalent
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.fsa_properties import to_str as properties_to_str
from wfst_entropy.compat.k2.fsa_text import to_str, to_str_simple
from wfst_entropy.compat.k2.graphs import (
    ctc_graph,
    ctc_topo,
    levenshtein_graph,
    linear_fsa,
    linear_fsa_with_self_loops,
    linear_fst,
    linear_fst_with_self_loops,
    random_fsa,
    random_fsa_vec,
    trivial_graph,
)
from wfst_entropy.compat.k2.index_ops import index_add, index_select, simple_ragged_index_select
from wfst_entropy.compat.k2.mutual_information import (
    joint_mutual_information_recursion,
    mutual_information_recursion,
)
from wfst_entropy.compat.k2.mwer_loss import MWERLoss, mwer_loss
from wfst_entropy.compat.k2.nbest import Nbest
from wfst_entropy.compat.k2.online_dense_intersecter import DecodeStateInfo, OnlineDenseIntersecter
from wfst_entropy.compat.k2.operations import (
    add_epsilon_self_loops,
    arc_sort,
    closure,
    connect,
    expand_ragged_attributes,
    invert,
    remove_epsilon_self_loops,
    replace_fsa,
    reverse,
    top_sort,
    union,
)
from wfst_entropy.compat.k2.paths import (
    levenshtein_alignment,
    prune_on_arc_post,
    random_paths,
    shortest_path,
)
from wfst_entropy.compat.k2.pruned_ranges import pruned_ranges_to_lattice
from wfst_entropy.compat.k2.ragged import RaggedShape, RaggedTensor
from wfst_entropy.compat.k2.rnnt_decode import (
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
)
from wfst_entropy.compat.k2.rnnt_loss import (
    do_rnnt_pruning,
    fix_for_boundary,
    get_hat_logprobs_pruned,
    get_rnnt_logprobs,
    get_rnnt_logprobs_joint,
    get_rnnt_logprobs_pruned,
    get_rnnt_logprobs_smoothed,
    get_rnnt_prune_ranges,
    get_rnnt_prune_ranges_deprecated,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
)
from wfst_entropy.compat.k2.sparse import create_sparse
from wfst_entropy.compat.k2.stacking import cat, compose_arc_maps, create_fsa_vec, index_fsa
from wfst_entropy.compat.k2.swoosh import (
    swoosh_l,
    swoosh_l_forward,
    swoosh_l_forward_and_deriv,
    swoosh_r,
    swoosh_r_forward,
    swoosh_r_forward_and_deriv,
)
from wfst_entropy.compat.k2.symbol_table import SymbolTable

with_cuda = _torch.version.cuda is not None
"""Whether tensors may be on a GPU: that is up to torch alone."""


def install(replace: bool = False) -> None:
    """Makes `import k2` and `import _k2` mean this package, in this process.

    Args:
      replace: whether a k2 that is installed may be hidden.

    Raises:
      FsaRuntimeError: another k2 is there, and `replace` is false.
    """
    _installation.register(_sys.modules[__name__], _k2, MODULES, replace)


def to_tensor(fsa: Fsa) -> _torch.Tensor:
    """The arcs as an int32 tensor that `Fsa` takes; see `fsa_tensor`."""
    return fsa.arcs_as_tensor()


def __getattr__(name: str) -> _Any:
    if name in _not_here.ATTRIBUTES:
        raise _not_here.NotHereError(f"k2.{name}: {_not_here.ATTRIBUTES[name]}.")
    raise AttributeError(f"module 'k2' has no attribute {name!r}.")


def _gather(name: str, doc: str, *members: str, **others: _Any) -> _ModuleType:
    return _installation.namespace(
        __name__, name, {member: globals()[member] for member in members} | others, doc
    )


utils = _gather(
    "utils", "k2's module `k2.utils`.",
    "create_fsa_vec", "create_sparse", "get_best_matching_stats", "is_rand_equivalent",
    "random_fsa", "random_fsa_vec", "to_dot", "to_str", "to_str_simple", "to_tensor",
    fsa_from_binary_function_tensor=_propagation.fsa_from_binary_function_tensor,
    fsa_from_unary_function_ragged=_propagation.fsa_from_unary_function_ragged,
    fsa_from_unary_function_tensor=_propagation.fsa_from_unary_function_tensor,
)  # fmt: skip
ops = _gather(
    "ops", "k2's module `k2.ops`.",
    "cat", "compose_arc_maps", "index_add", "index_fsa", "index_select",
)  # fmt: skip
fsa_algo = _gather(
    "fsa_algo", "k2's module `k2.fsa_algo`.",
    "add_epsilon_self_loops", "arc_sort", "closure", "compose", "connect", "ctc_graph", "ctc_topo",
    "determinize", "expand_ragged_attributes", "intersect", "intersect_device", "invert",
    "levenshtein_alignment", "levenshtein_graph", "linear_fsa", "linear_fsa_with_self_loops",
    "linear_fst", "linear_fst_with_self_loops", "prune_on_arc_post", "random_paths",
    "remove_epsilon", "remove_epsilon_and_add_self_loops", "remove_epsilon_iterative_tropical",
    "remove_epsilon_self_loops", "replace_fsa", "reverse", "shortest_path", "top_sort",
    "trivial_graph", "union",
)  # fmt: skip
__version__ = "1.24.4"
"""The version of k2 whose names these are."""
__dev_version__ = __version__
version = _gather("version", "k2's module `k2.version`.", "__version__", "with_cuda")

MODULES = {
    "autograd": autograd,
    "autograd_utils": autograd_utils,
    "ctc_loss": _ctc_loss_module,
    "decode": decode,
    "dense_fsa_vec": dense_fsa_vec,
    "fsa": fsa,
    "fsa_algo": fsa_algo,
    "fsa_properties": fsa_properties,
    "mutual_information": mutual_information,
    "mwer_loss": _mwer_loss_module,
    "nbest": nbest,
    "online_dense_intersecter": online_dense_intersecter,
    "ops": ops,
    "ragged": ragged,
    "rnnt_decode": rnnt_decode,
    "rnnt_loss": _rnnt_loss_module,
    "sparse": sparse,
    "swoosh": swoosh,
    "symbol_table": symbol_table,
    "utils": utils,
    "version": version,
}
"""k2's modules, by their names in k2."""
_sys.modules[__name__].__class__ = _installation.Package
_sys.meta_path.insert(0, _installation.SubmoduleFinder(_sys.modules[__name__], MODULES))

__all__ = [
    "MODULES",
    "CtcLoss",
    "DecodeStateInfo",
    "DenseFsaVec",
    "DeterminizeWeightPushingType",
    "Fsa",
    "MWERLoss",
    "Nbest",
    "OnlineDenseIntersecter",
    "RaggedShape",
    "RaggedTensor",
    "RnntDecodingConfig",
    "RnntDecodingStream",
    "RnntDecodingStreams",
    "SymbolTable",
    "__dev_version__",
    "__version__",
    "_k2",
    "add_epsilon_self_loops",
    "arc_sort",
    "autograd",
    "autograd_utils",
    "cat",
    "closure",
    "compose",
    "compose_arc_maps",
    "connect",
    "convert_dense_to_fsa_vec",
    "create_fsa_vec",
    "create_sparse",
    "ctc_graph",
    "ctc_loss",
    "ctc_topo",
    "decode",
    "dense_fsa_vec",
    "determinize",
    "do_rnnt_pruning",
    "expand_ragged_attributes",
    "fix_for_boundary",
    "from_k2",
    "fsa",
    "fsa_algo",
    "fsa_properties",
    "get_aux_labels",
    "get_best_matching_stats",
    "get_hat_logprobs_pruned",
    "get_lattice",
    "get_rnnt_logprobs",
    "get_rnnt_logprobs_joint",
    "get_rnnt_logprobs_pruned",
    "get_rnnt_logprobs_smoothed",
    "get_rnnt_prune_ranges",
    "get_rnnt_prune_ranges_deprecated",
    "index_add",
    "index_fsa",
    "index_select",
    "install",
    "intersect",
    "intersect_dense",
    "intersect_dense_pruned",
    "intersect_device",
    "invert",
    "is_rand_equivalent",
    "joint_mutual_information_recursion",
    "levenshtein_alignment",
    "levenshtein_graph",
    "linear_fsa",
    "linear_fsa_with_self_loops",
    "linear_fst",
    "linear_fst_with_self_loops",
    "mutual_information",
    "mutual_information_recursion",
    "mwer_loss",
    "nbest",
    "one_best_decoding",
    "online_dense_intersecter",
    "ops",
    "properties_to_str",
    "prune_on_arc_post",
    "pruned_ranges_to_lattice",
    "ragged",
    "random_fsa",
    "random_fsa_vec",
    "random_paths",
    "remove_epsilon",
    "remove_epsilon_and_add_self_loops",
    "remove_epsilon_iterative_tropical",
    "remove_epsilon_self_loops",
    "replace_fsa",
    "reverse",
    "rnnt_decode",
    "rnnt_loss",
    "rnnt_loss_pruned",
    "rnnt_loss_simple",
    "rnnt_loss_smoothed",
    "shortest_path",
    "simple_ragged_index_select",
    "sparse",
    "swoosh",
    "swoosh_l",
    "swoosh_l_forward",
    "swoosh_l_forward_and_deriv",
    "swoosh_r",
    "swoosh_r_forward",
    "swoosh_r_forward_and_deriv",
    "symbol_table",
    "to_dot",
    "to_k2",
    "to_str",
    "to_str_simple",
    "to_tensor",
    "top_sort",
    "trivial_graph",
    "union",
    "utils",
    "version",
    "with_cuda",
]
