"""Finite-state automata, ragged tensors, frame scores and symbol tables."""

from wfst_entropy.fsa.dense_fsa_vec import DenseFsaVec
from wfst_entropy.fsa.errors import (
    CyclicFsaError,
    EmptyGraphError,
    FileWriteError,
    FsaAttributeError,
    FsaError,
    FsaFormatError,
    FsaIndexError,
    FsaRuntimeError,
    FsaTypeError,
    FsaValueError,
    SymbolNotFoundError,
)
from wfst_entropy.fsa.fsa import Fsa
from wfst_entropy.fsa.k2_file import from_k2_dict, load_k2, save_k2, to_k2_dict
from wfst_entropy.fsa.kaldi_lattice import (
    kaldi_lattice_to_str,
    kaldi_lattices_from_str,
    read_kaldi_lattices,
    write_kaldi_lattices,
)
from wfst_entropy.fsa.openfst import (
    from_kaldifst,
    from_openfst_bytes,
    from_openfst_file,
    to_kaldifst,
    to_openfst_bytes,
    to_openfst_file,
)
from wfst_entropy.fsa.properties import Properties
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.ragged_index import index_and_sum, index_ragged, index_select
from wfst_entropy.fsa.ragged_shape import random_ragged_shape, regular_ragged_shape
from wfst_entropy.fsa.symbol_table import SymbolTable
from wfst_entropy.fsa.torch_file import load_fsa, save_fsa

FsaVec = Fsa
"""A name for annotations: an `Fsa` with three axes `[fsa][state][arc]`."""

__all__ = [
    "CyclicFsaError",
    "DenseFsaVec",
    "EmptyGraphError",
    "FileWriteError",
    "Fsa",
    "FsaAttributeError",
    "FsaError",
    "FsaFormatError",
    "FsaIndexError",
    "FsaRuntimeError",
    "FsaTypeError",
    "FsaValueError",
    "FsaVec",
    "Properties",
    "RaggedShape",
    "RaggedTensor",
    "SymbolNotFoundError",
    "SymbolTable",
    "from_k2_dict",
    "from_kaldifst",
    "from_openfst_bytes",
    "from_openfst_file",
    "index_and_sum",
    "index_ragged",
    "index_select",
    "kaldi_lattice_to_str",
    "kaldi_lattices_from_str",
    "load_fsa",
    "load_k2",
    "random_ragged_shape",
    "read_kaldi_lattices",
    "regular_ragged_shape",
    "save_fsa",
    "save_k2",
    "to_k2_dict",
    "to_kaldifst",
    "to_openfst_bytes",
    "to_openfst_file",
    "write_kaldi_lattices",
]
