"""`import k2` after `install()`, in a process of its own, and conversion to and from k2."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch

import wfst_entropy
from wfst_entropy.compat import k2
from wfst_entropy.compat.k2 import conversion
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError

CODE = """
import sys
import wfst_entropy.compat.k2 as ours
assert "k2" not in sys.modules
ours.install()
import k2, _k2, k2.ragged, k2.sparse
from k2 import Fsa, rnnt_loss
from k2.ctc_loss import CtcLoss
from k2.mwer_loss import MWERLoss
from k2.ragged import RaggedTensor
from k2.utils import to_dot
from k2.fsa_algo import linear_fsa
from k2.ops import index_select
from k2.rnnt_decode import RnntDecodingConfig
assert k2 is ours and k2.ragged.RaggedTensor is RaggedTensor is ours.RaggedTensor
assert CtcLoss is k2.CtcLoss and _k2.RaggedArc is type(linear_fsa([1]).arcs)
assert k2.version.__version__ == k2.__dev_version__ and isinstance(k2.with_cuda, bool)
ours.install()
try:
    k2.to_k2(linear_fsa([1]))
except RuntimeError as error:
    print(error)
"""

BY_HAND = """
import sys
from wfst_entropy.compat import k2 as ours
sys.modules["k2"] = ours
import k2
import k2.ragged as ragged
from k2.ctc_loss import CtcLoss
assert k2 is ours and ragged is ours.ragged and CtcLoss is ours.CtcLoss
assert isinstance(k2.ctc_loss, type(k2.connect))
assert ours.ragged.__name__ == "wfst_entropy.compat.k2.ragged", ours.ragged.__name__
"""


@pytest.mark.slow
def test_a_hand_made_alias_has_one_copy_of_each_module():
    command = [sys.executable, "-c", BY_HAND]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fresh_process_imports_it_as_k2():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "there is nothing to convert" in done.stdout


def test_another_k2_is_not_hidden_by_accident(monkeypatch: pytest.MonkeyPatch):
    other = ModuleType("k2")
    monkeypatch.setitem(sys.modules, "k2", other)
    with pytest.raises(FsaRuntimeError, match="replace=True"):
        k2.install()
    assert sys.modules["k2"] is other


def test_what_is_not_there_says_so():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = k2.nothing


def test_without_k2_conversion_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "k2", None)
    with pytest.raises(FsaRuntimeError, match=r"need k2 itself.*use wfst_entropy\.compat\.k2"):
        k2.to_k2(k2.linear_fsa([1]))


class TestConversion:
    """With a stand-in for k2: this package's own classes under other names.

    It shows which of k2's functions are called and what is shared; not that k2 itself agrees.
    """

    @pytest.fixture(autouse=True)
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        other = ModuleType("k2")
        other.Fsa = type("Fsa", (k2.Fsa,), {})
        other.RaggedTensor, other.ragged = k2.RaggedTensor, k2.ragged
        monkeypatch.setattr(conversion, "installed_k2", lambda: other)
        return other

    @pytest.mark.parametrize("as_vector", [False, True])
    def test_there_and_back(self, as_vector: bool, stand_in: ModuleType):
        fsa = k2.linear_fst([5, 6], [7, 8]).requires_grad_(True)
        fsa.lists, fsa.note = k2.RaggedTensor([[1], [], [2, 3]]), "toy"
        fsa.deep = k2.RaggedTensor([[[1]], [[], [2]], []])
        source = k2.create_fsa_vec([fsa, fsa]) if as_vector else fsa
        theirs = k2.to_k2(source)
        assert type(theirs) is stand_in.Fsa and theirs.note == "toy"
        assert theirs.aux_labels.data_ptr() == source.aux_labels.data_ptr()
        shared = theirs.arcs.values().data_ptr() == source.arcs.values().data_ptr()
        assert shared is not as_vector
        back = k2.from_k2(theirs)
        assert type(back) is k2.Fsa and str(back) == str(source)
        assert back.arcs.values().data_ptr() == theirs.arcs.values().data_ptr()
        back.scores.sum().backward()
        assert fsa.grad.tolist() == [2, 2, 2] if as_vector else [1, 1, 1]

    def test_the_core_kind_and_wrong_types(self, stand_in: ModuleType):
        core = wfst_entropy.ctc_graph([[1, 2]])
        theirs = k2.to_k2(core)
        assert torch.equal(theirs.labels, core.labels)
        assert k2.from_k2(theirs).core.num_arcs == core.num_arcs
        with pytest.raises(FsaTypeError, match="needs an Fsa"):
            k2.to_k2("fsa")
        with pytest.raises(FsaTypeError, match=r"needs a k2\.Fsa"):
            k2.from_k2(core)
