"""Whatever a text or a dict holds, reading it works or raises an error of this package."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    Fsa,
    FsaError,
    FsaFormatError,
    FsaValueError,
    RaggedShape,
    RaggedTensor,
    SymbolTable,
    from_k2_dict,
    kaldi_lattices_from_str,
)

fields = st.sampled_from([
    "0", "1", "2", "3", "-1", "7", "0.5", "-inf", "nan", "1e999", "[", "]", "[1", "[1 2]", "x", "a",
    "1_0", "٣", "1,2", "1,2,3_4", ",", "\t", "\r", "2147483647", "2147483648", "9" * 5000, "", "\0",
])  # fmt: skip
texts = st.lists(st.lists(fields, max_size=6).map(" ".join), max_size=6).map("\n".join)
symbols = SymbolTable([("a", 1), ("x", 7)])


@settings(max_examples=200)
@given(texts, st.booleans(), st.sampled_from([None, 0, 1, 2]), st.integers(0, 2), st.booleans())
def test_fsa_text(text, openfst, num_aux_labels, num_ragged, named):
    with contextlib.suppress(FsaError):
        fsa = Fsa.from_str(
            text,
            num_aux_labels=num_aux_labels,
            openfst=openfst,
            ragged_label_names=["r", "s"][:num_ragged],
            isymbols=symbols if named else None,
        )
        # What could be read can be written and read again.
        names = {"ragged_label_names": ["r", "s"][:num_ragged]}
        again = fsa.to_str(openfst, **names)
        number = sum(name.startswith("aux_labels") for name in fsa.attributes)
        Fsa.from_str(again, num_aux_labels=number, openfst=openfst, **names)


@given(texts)
def test_other_texts(text):
    for read in (
        RaggedTensor.from_str,
        RaggedShape.from_str,
        SymbolTable.from_str,
        lambda x: list(kaldi_lattices_from_str(f"utt\n{x}")),
    ):
        with contextlib.suppress(FsaError):
            read(text)


@given(st.lists(st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31 - 1, -(2**31)]), max_size=24))
def test_k2_dicts(numbers):
    row = torch.tensor(numbers, dtype=torch.int32)
    for arcs in (row, row[: len(numbers) // 4 * 4].reshape(-1, 4)):
        with contextlib.suppress(FsaError):
            from_k2_dict({"arcs": arcs})


def test_numbers_are_plain():
    for text in ("0 1_0 -1 0\n10", "0 ١ -1 0\n1", f"0 {'9' * 5000} -1 0\n1"):
        with pytest.raises(FsaFormatError, match=r"line 1: .*destination state must be an integer"):
            Fsa.from_str(text)
    with pytest.raises(FsaFormatError, match=r"score must be a number, got '1_0'"):
        Fsa.from_str("0 1 -1 1_0\n1")
    with pytest.raises(FsaFormatError, match=r"every element must be a number"):
        RaggedTensor.from_str("[[1_0]]")
    with pytest.raises(FsaValueError, match=r"does not fit int64"):
        RaggedTensor.from_str(f"[[{2**70}]]")


def test_memory_is_not_wasted_on_states_that_do_not_matter():
    with pytest.raises(FsaFormatError, match=r"line 2: .*2147483648 states but 1 arcs"):
        Fsa.from_str("0 2147483647 -1 0\n2147483647")
    far = torch.tensor([[0, 2**31 - 1, -1, 0]], dtype=torch.int32)
    with pytest.raises(FsaFormatError, match=r"says 2147483648 states but has 1 arcs"):
        from_k2_dict({"arcs": far})
    header = torch.tensor([1, 0, 0, 2**31 - 1, 0, 0], dtype=torch.int32)
    with pytest.raises(FsaFormatError, match=r"says 2147483647 states but has 0 arcs"):
        from_k2_dict({"arcs": header})
    with pytest.raises(FsaFormatError, match=r"character 50 .*more than 50 deep"):
        RaggedTensor.from_str("[" * 10_000)
