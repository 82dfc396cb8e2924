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
from wfst_entropy.fsa.properties import Properties
from wfst_entropy.fsa.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa.ragged_index import index_and_sum, index_ragged, index_select
from wfst_entropy.fsa.ragged_shape import random_ragged_shape, regular_ragged_shape
from wfst_entropy.fsa.symbol_table import SymbolTable

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
    "index_and_sum",
    "index_ragged",
    "index_select",
    "random_ragged_shape",
    "regular_ragged_shape",
]
