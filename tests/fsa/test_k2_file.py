"""Graphs in k2's own form, in files with and without k2's classes."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from wfst_entropy.fsa import Fsa, FsaFormatError, FsaValueError, RaggedTensor, SymbolTable
from wfst_entropy.fsa.k2_file import from_k2_dict, load_k2, save_k2, to_k2_dict

seeds = st.integers(0, 10**6)


def bits(x):
    return struct.unpack("i", struct.pack("f", x))[0]


def int32(*numbers):
    return tensor(numbers, dtype=torch.int32)


def assert_same(a, b):
    assert a.shape == b.shape and torch.equal(a.arcs, b.arcs) and torch.equal(a.scores, b.scores)
    assert a.attributes.keys() == b.attributes.keys()
    for name, value in a.attributes.items():
        other = b.attributes[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


# What k2's as_dict gives for one FSA and for a vector, put together by hand.
SINGLE = {
    "arcs": int32(0, 1, 5, bits(0.5), 0, 1, 6, bits(-1.25), 1, 2, -1, bits(3.0)).reshape(-1, 4),
    "aux_labels": int32(50, 60, -1),
    "lm_scores": tensor([0.25, 0.5, 0.0]),
    "name": "HLG",
}
VECTOR_HEADER = [3, 0, *[0, 3, 3, 5], *[0, 2, 2, 3]]
VECTOR_ARCS = [*[0, 1, 5, bits(0.5)], *[1, 2, -1, bits(1.0)], *[0, 1, -1, bits(2.0)]]
VECTOR = {"arcs": int32(*VECTOR_HEADER, *VECTOR_ARCS)}


def test_one_fsa():
    fsa = from_k2_dict(SINGLE)
    assert fsa.num_axes == 2 and fsa.arcs.tolist() == [[0, 1, 5], [0, 1, 6], [1, 2, -1]]
    assert fsa.scores.tolist() == [0.5, -1.25, 3] and fsa.aux_labels.tolist() == [50, 60, -1]
    assert fsa.name == "HLG" and fsa.lm_scores.tolist() == [0.25, 0.5, 0]
    again = to_k2_dict(fsa)
    assert again.keys() == SINGLE.keys()
    for name, value in SINGLE.items():
        assert again[name] == value if isinstance(value, str) else torch.equal(again[name], value)
    # Without arcs into it, the final state is one that no arc mentions; k2 keeps its bookkeeping.
    open_end = from_k2_dict({"arcs": SINGLE["arcs"][:2], "properties": 1, "labels_version": 0})
    assert open_end.num_states == 3 and not open_end.attributes
    assert from_k2_dict({"arcs": int32().reshape(0, 4)}).num_states == 0


def test_a_vector():
    vec = from_k2_dict(VECTOR)
    assert (vec.num_fsas, vec.num_states, vec.num_arcs) == (3, 5, 3)
    assert vec[0].scores.tolist() == [0.5, 1] and vec[1].num_states == 0
    assert vec[2].arcs.tolist() == [[0, 1, -1]]
    assert torch.equal(to_k2_dict(vec)["arcs"], VECTOR["arcs"])
    assert torch.equal(to_k2_dict(Fsa.from_fsas([]))["arcs"], int32(0, 0, 0, 0))
    assert from_k2_dict({"arcs": int32(0, 0, 0, 0)}).num_fsas == 0


@given(seeds, st.booleans())
def test_files_round_trip(tmp_path_factory, random_fsa, seed, vector):
    fsa = random_fsa(seed)
    fsa.set_attribute_("words", fsa.words.to(torch.int32))
    if vector:
        fsa = Fsa.from_fsas([fsa, fsa])
    elif fsa.num_states and -1 not in fsa.labels.tolist():
        return  # k2's form of one FSA does not say how many states it has
    fsa.set_attribute_("labels_sym", SymbolTable([("<eps>", 0), ("a", 1)]))
    path = tmp_path_factory.getbasetemp() / "HLG.pt"
    save_k2(fsa, path)
    assert_same(load_k2(path), fsa)


@contextlib.contextmanager
def k2_modules(monkeypatch):
    """Classes with the names and the state of k2's, as far as pickle sees them."""

    class RaggedTensor:
        def __init__(self, *state):
            self.state = state

        def __getstate__(self):
            return self.state

        def __setstate__(self, state):
            self.state = state

    class RaggedInt(RaggedTensor):
        pass

    class SymbolTable:
        pass

    with monkeypatch.context() as patch:
        for cls, module in (
            (RaggedTensor, "_k2.ragged"), (RaggedInt, "_k2"), (SymbolTable, "k2.symbol_table"),
        ):  # fmt: skip
            cls.__module__, cls.__qualname__ = module, cls.__name__
            for name in (module.split(".")[0], module):
                if name not in sys.modules:
                    patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setattr(sys.modules[module], cls.__name__, cls, raising=False)
        yield RaggedTensor, RaggedInt, SymbolTable


def test_files_that_k2_wrote(monkeypatch, tmp_path):
    with k2_modules(monkeypatch) as (ragged_tensor, ragged_int, symbol_table):
        table = symbol_table()
        table.__dict__.update(
            _id2sym={0: "<eps>", 5: "five"}, _sym2id={"<eps>": 0, "five": 5}, eps="<eps>"
        )
        row_splits, values = int32(0, 2, 2, 3), int32(7, 8, 9)
        torch.save(
            {
                **SINGLE,
                "aux_labels": ragged_tensor(row_splits, "row_ids1", values),
                "old": ragged_int(row_splits, int32(0, 0, 2), values),
                "deep": ragged_tensor(
                    row_splits, "row_ids1", int32(0, 1, 1, 3), "row_ids2", tensor([0.5, 1, 2])
                ),
                "labels_sym": table,
            },
            tmp_path / "HLG.pt",
        )
    assert "_k2" not in sys.modules
    fsa = load_k2(tmp_path / "HLG.pt")
    assert fsa.aux_labels == RaggedTensor.from_lists([[7, 8], [], [9]], torch.int32) == fsa.old
    assert fsa.deep.tolist() == [[[0.5], []], [], [[1, 2]]]
    assert fsa.labels_sym["five"] == 5
    assert fsa.labels.tolist() == [5, 6, -1]


def test_k2_reads_our_files(monkeypatch, tmp_path):
    fsa = from_k2_dict(SINGLE)
    fsa.set_attribute_("aux_labels", RaggedTensor.from_lists([[7, 8], [], [9]]))
    fsa.set_attribute_("labels_sym", SymbolTable([("a", 1)]))
    save_k2(fsa, tmp_path / "HLG.pt")
    with k2_modules(monkeypatch) as (ragged_tensor, _, symbol_table):
        values = torch.load(tmp_path / "HLG.pt", weights_only=False)
        assert type(values["aux_labels"]) is ragged_tensor
        splits, placeholder, numbers = values["aux_labels"].state
        assert splits.dtype == numbers.dtype == torch.int32 and placeholder == "row_ids1"
        assert splits.tolist() == [0, 2, 2, 3] and numbers.tolist() == [7, 8, 9]
        assert type(values["labels_sym"]) is symbol_table
        assert values["labels_sym"]._sym2id == {"<eps>": 0, "a": 1}
        assert torch.equal(values["arcs"], SINGLE["arcs"])


def test_loading_leaves_no_trace(tmp_path):
    before = torch.serialization.get_safe_globals()
    save_k2(from_k2_dict(SINGLE), tmp_path / "a.pt")
    load_k2(tmp_path / "a.pt")
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_other_files_are_refused(tmp_path):
    class Other:
        pass

    path = tmp_path / "a.pt"
    path.write_bytes(b"no file of torch")
    with pytest.raises(FsaFormatError, match=r"a.pt: is not a file of torch.save, or holds more"):
        load_k2(path)
    torch.save([1], path)
    with pytest.raises(FsaFormatError, match=r"a.pt: needed the dict .* got a list"):
        load_k2(path)
    # A class of its own would run code: refused without running it.
    buffer = io.BytesIO()
    sys.modules[__name__] = types.ModuleType(__name__)
    sys.modules[__name__].Other = Other
    Other.__module__, Other.__qualname__ = __name__, "Other"
    torch.save({"arcs": SINGLE["arcs"], "x": Other()}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(FsaFormatError, match=r"holds more than tensors"):
        load_k2(path)
    with pytest.raises(FileNotFoundError):
        load_k2(tmp_path / "none.pt")


def test_wrong_dicts():
    for arcs in (None, torch.zeros(1, 4), [0]):
        with pytest.raises(FsaFormatError, match=r"key 'arcs': needed an int32 tensor"):
            from_k2_dict({"arcs": arcs})
    for wrong, message in (
        (SINGLE["arcs"][:, :3], r"must be \(num_arcs, 4\) for one FSA"),
        (VECTOR["arcs"][:-1], r"21 integers cannot be a vector of 3 FSAs"),
        (int32(-1, 0, 0, 0), r"cannot be a vector of -1 FSAs"),
        (int32(10**9, 0, 0, 0), r"cannot be a vector of 1000000000 FSAs"),
        (int32(1, 0, 0, 2, 0, 3, 0, 1, -1, 0), r"row splits are wrong: there are 1 arcs, not 3"),
        (int32(1, 0, 2, 0, 0, 1, 0, 1, -1, 0), r"row splits are wrong: .*must start with 0"),
        (int32(1, 0, 0, 2, 0, 1, 5, 1, -1, 0), r"the source of an arc is not a state of its FSA"),
    ):
        with pytest.raises(FsaFormatError, match=message):
            from_k2_dict({"arcs": wrong})
    with pytest.raises(FsaValueError, match=r"are the arcs ordered by source"):
        from_k2_dict({"arcs": SINGLE["arcs"].flip(0)})
    broken = type("RaggedTensor", (), {"__getstate__": lambda self: (1, 2, 3)})()
    with pytest.raises(FsaFormatError, match=r"its state is not row splits and values"):
        from_k2_dict({**SINGLE, "aux_labels": broken})
    wide = RaggedTensor.from_lists([[2**40], [], []])
    with pytest.raises(FsaValueError, match=r"k2 has int32 only: got numbers from 1099511627776"):
        to_k2_dict(from_k2_dict({**SINGLE, "aux_labels": wide}))
    with pytest.raises(FsaFormatError, match=r"of k2: read it with wfst_entropy.from_k2_dict"):
        Fsa.from_dict(SINGLE)
