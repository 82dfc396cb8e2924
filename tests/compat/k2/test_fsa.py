"""k2's mutable Fsa: attributes, copies, memory, and the core FSA that it holds."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import wfst_entropy
from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import FsaAttributeError, FsaIndexError, FsaTypeError, FsaValueError

FORK = """
    0 1 5 0.5
    0 2 6 1.5
    1 3 -1 0.25
    2 3 -1 0
    3
"""


@pytest.fixture
def fork() -> k2.Fsa:
    return k2.Fsa.from_str(FORK)


def int32(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def test_shape_labels_and_arcs(fork: k2.Fsa):
    vec = k2.Fsa.from_fsas([fork, fork])
    assert (fork.shape, vec.shape) == ((4, None), (2, None, None))
    assert (fork.num_arcs, vec.num_arcs) == (4, 8)
    assert fork.labels.tolist() == [5, 6, -1, -1]
    assert fork.arcs.values()[:, :3].tolist() == [[0, 1, 5], [0, 2, 6], [1, 3, -1], [2, 3, -1]]
    assert vec.arcs.num_axes() == 3 and vec.arcs.tot_size(1) == 8
    assert vec.arcs.row_splits(1).tolist() == [0, 4, 8]
    assert vec.arcs.row_ids(2).dtype == torch.int32
    assert vec.arcs.shape() == k2.RaggedShape("[[[x x] [x] [x] []] [[x x] [x] [x] []]]")
    assert str(vec[1].arcs) == "[ [ 0 1 5 0.5 0 2 6 1.5 ] [ 1 3 -1 0.25 ] [ 2 3 -1 0 ] [ ] ]"
    assert vec.device == torch.device("cpu") and vec.is_cpu() and not vec.is_cuda()


def test_core_and_back_with_gradients(fork: k2.Fsa):
    fork.requires_grad_(True)
    fork.phones = int32(1, 2, -1, -1)
    fork.words = k2.RaggedTensor([[7], [], [8, 9], []])
    fork._private = torch.zeros(4)
    core = fork.core
    assert isinstance(core, wfst_entropy.Fsa)
    assert sorted(core.attributes) == ["phones", "words"]
    assert core.words.tolist() == [[7], [], [8, 9], []]
    back = k2.Fsa.from_core(wfst_entropy.connect(core))
    assert back.words == fork.words and back.phones.tolist() == [1, 2, -1, -1]
    (back.scores * torch.arange(4)).sum().backward()
    assert fork.grad is not None and fork.grad.tolist() == [0, 1, 2, 3]


def test_core_follows_every_change(fork: k2.Fsa):
    assert fork.core.scores.tolist() == [0.5, 1.5, 0.25, 0]
    fork.scores *= 2
    assert fork.core.scores.tolist() == [1, 3, 0.5, 0]
    fork.labels = int32(8, 9, -1, -1)
    assert fork.core.labels.tolist() == [8, 9, -1, -1]
    fork.arcs.values()[0, 2] = 4
    assert fork.core.labels.tolist() == [4, 9, -1, -1]


def test_scores_share_memory_with_the_arcs(fork: k2.Fsa):
    fork.requires_grad_(True)
    (4 * fork.scores).sum().backward()
    torch.optim.SGD([fork.scores], lr=0.125).step()
    assert fork.scores.tolist() == [0, 1, -0.25, -0.5]
    assert k2._k2.as_float(fork.arcs.values()[:, 3]).tolist() == [0, 1, -0.25, -0.5]
    assert fork.detach().scores.data_ptr() == fork.scores.data_ptr()


def test_scores_set_in_place_keep_autograd(fork: k2.Fsa):
    source = torch.tensor([1.0, 2, 3, 4], requires_grad=True)
    fork.scores[:] = source
    assert fork.requires_grad
    (fork.scores * 3).sum().backward()
    assert source.grad is not None and source.grad.tolist() == [3, 3, 3, 3]


def test_results_of_operations_share_memory_and_gradients(fork: k2.Fsa):
    fork.requires_grad_(True)
    ans = k2.add_epsilon_self_loops(fork)
    assert k2._k2.as_float(ans.arcs.values()[:, 3]).tolist() == ans.scores.tolist()
    ans.scores.sum().backward()
    assert fork.grad is not None and fork.grad.tolist() == [1, 1, 1, 1]


def test_labels_are_fixed_on_final_arcs(fork: k2.Fsa):
    fork.labels = int32(-1, 7, 0, -1)
    assert fork.labels.tolist() == [0, 7, -1, -1]
    assert not fork.properties & k2.fsa_properties.EPSILON_FREE
    with pytest.raises(FsaValueError, match=r"arc 2 .* goes into the final state"):
        fork.labels = int32(1, 2, 3, -1)
    assert fork.labels.tolist() == [0, 7, -1, -1]


def test_labels_changed_in_place_are_refused(fork: k2.Fsa):
    fork.labels[0] = 9
    for use in (lambda: fork.properties, lambda: k2.arc_sort(fork), lambda: fork.core):
        with pytest.raises(RuntimeError, match=r"fsa\.labels was changed in place"):
            use()
    fork.labels = fork.labels
    assert k2.arc_sort(fork).labels.tolist() == [6, 9, -1, -1]


def test_labels_changed_in_place_with_the_properties_forgotten(fork: k2.Fsa):
    assert fork.get_tot_scores(True, True) is not None and fork.properties
    fork.labels[0] = 0
    fork.__dict__["_properties"] = None
    assert fork.core.arcs[:, 2].tolist() == [0, 6, -1, -1]
    assert not fork.properties & k2.fsa_properties.EPSILON_FREE
    fork.labels[3] = 7
    fork.__dict__["_properties"] = None
    with pytest.raises(FsaValueError, match=r"arc 3 .* goes into the final state"):
        k2.connect(fork)


def test_files_of_k2_hold_a_count_of_changes(fork: k2.Fsa):
    again = k2.Fsa.from_dict({**fork.as_dict(), "labels_version": 3})
    assert not hasattr(again, "labels_version") and again.properties == fork.properties


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", torch.zeros(4), "must be a torch.int32 tensor"),
        ("scores", torch.zeros(4, dtype=torch.float64), "must be a torch.float32 tensor"),
        ("phones", torch.zeros(3), "needs one entry per arc, 4, got 3"),
        ("words", k2.RaggedTensor([[1], [2]]), "needs one entry per arc, 4, got 2"),
        ("arcs", 1, "cannot be assigned"),
        ("properties", 1, "cannot be assigned"),
    ],
)
def test_assignments_that_are_refused(fork: k2.Fsa, name: str, value: object, message: str):
    with pytest.raises((FsaTypeError, FsaValueError, FsaAttributeError), match=message):
        setattr(fork, name, value)
    assert fork.labels.tolist() == [5, 6, -1, -1] and fork.scores[0] == 0.5


def test_attributes_are_listed_and_deleted(fork: k2.Fsa):
    fork.phones = int32(1, 2, 3, 4)
    fork.note = "toy"
    assert [name for name, _ in fork.named_tensor_attr()] == ["scores", "phones"]
    assert [name for name, _ in fork.named_tensor_attr(include_scores=False)] == ["phones"]
    assert list(fork.named_non_tensor_attr()) == [("note", "toy")]
    del fork.phones, fork.note
    assert not hasattr(fork, "phones") and not hasattr(fork, "note")
    for name in ("scores", "labels", "arcs", "shape", "nothing"):
        with pytest.raises(AttributeError):
            delattr(fork, name)


def test_fillers(fork: k2.Fsa):
    fork.phones = int32(1, 2, 3, 4)
    assert fork.get_filler("phones") == 0
    fork.phones_filler = -7
    looped = k2.add_epsilon_self_loops(fork)
    assert looped.phones.tolist() == [-7, 1, 2, -7, 3, -7, 4]
    assert looped.phones_filler == -7
    fork.aux_labels_filler = 1
    with pytest.raises(FsaValueError, match="only 0 is possible"):
        fork.get_filler("aux_labels")


def test_renaming_moves_what_belongs_to_the_name(fork: k2.Fsa):
    fork.phones = int32(1, 2, 3, 4)
    fork.phones_filler, fork.phones_sym, fork.tokens_sym = 5, "p", "old"
    assert fork.rename_tensor_attribute_("phones", "tokens") is fork
    assert fork.tokens.tolist() == [1, 2, 3, 4] and fork.tokens_filler == 5
    assert fork.tokens_sym == "p" and not hasattr(fork, "phones_filler")
    fork.rename_tensor_attribute_("labels", "copied")
    assert fork.copied.tolist() == fork.labels.tolist() == [5, 6, -1, -1]
    for names in (("nothing", "a"), ("tokens", "tokens")):
        with pytest.raises(FsaValueError, match="needs two names"):
            fork.rename_tensor_attribute_(*names)


def test_invert_swaps_labels_and_symbols():
    fst = k2.Fsa.from_str("0 1 5 7 0.5\n1 2 -1 -1 0\n2", acceptor=False)
    fst.labels_sym, fst.aux_labels_sym = "in", "out"
    other = fst.invert()
    assert other.labels.tolist() == [7, -1] and other.aux_labels.tolist() == [5, -1]
    assert (other.labels_sym, other.aux_labels_sym) == ("out", "in")
    assert fst.labels.tolist() == [5, -1]
    assert str(other.invert_()) == str(fst)
    with pytest.raises(RuntimeError, match="needs aux_labels"):
        k2.linear_fsa([1]).invert_()


def test_attributes_become_ragged(fork: k2.Fsa):
    fork.a = int32(3, 0, 0, 4, -1, 0, 5, 0)[::2]
    fork.b = fork.a.clone()
    assert fork.convert_attr_to_ragged_("a").a == k2.RaggedTensor([[3], [], [-1], [5]])
    assert fork.convert_attr_to_ragged_("b", remove_eps=False).b.tolist() == [[3], [0], [-1], [5]]
    with pytest.raises(FsaTypeError, match="1-D int32"):
        fork.convert_attr_to_ragged_("scores")


def test_clone_and_detach(fork: k2.Fsa):
    fork.requires_grad_(True)
    fork.phones, fork.notes = torch.ones(4, requires_grad=True), ["a"]
    fork.get_tot_scores(True, True)
    cloned, detached = fork.clone(), fork.detach()
    cloned.scores.sum().backward()
    assert fork.grad is not None and fork.grad.tolist() == [1, 1, 1, 1]
    assert not detached.requires_grad and not detached.phones.requires_grad
    assert detached.notes is fork.notes is cloned.notes
    assert "tot_scores_double_log" in cloned._cache
    assert cloned.arcs.values().data_ptr() != fork.arcs.values().data_ptr()
    assert fork.to("cpu") is fork


def test_one_of_a_vector(fork: k2.Fsa):
    other = k2.linear_fsa([3]).requires_grad_(True)
    fork.requires_grad_(True)
    fork.words, other.words = (k2.RaggedTensor([[i]] * n) for i, n in ((1, 4), (2, 2)))
    vec = k2.create_fsa_vec([fork, other])
    one = vec[1]
    assert one.shape == (3, None) and one.words.tolist() == [[2], [2]]
    (one.scores * 5).sum().backward()
    assert other.grad is not None and other.grad.tolist() == [5, 5]
    one.labels = int32(9, -1)
    assert vec.labels.tolist() == [5, 6, -1, -1, 3, -1], "the part has memory of its own"
    for index in (2, -1):
        with pytest.raises(FsaIndexError):
            vec[index]
    with pytest.raises(FsaIndexError, match="not a vector"):
        fork[0]


def test_dicts_pickles_and_deep_copies(fork: k2.Fsa, tmp_path):
    fork.phones, fork.note = int32(1, 2, 3, 4), "toy"
    fork.words = k2.RaggedTensor([[1], [], [2, 3], []])
    for fsa in (fork, k2.create_fsa_vec([fork, fork])):
        torch.save(fsa.as_dict(), tmp_path / "fsa.pt")
        loaded = torch.load(tmp_path / "fsa.pt", weights_only=True)
        for again in (
            k2.Fsa.from_dict(loaded),
            pickle.loads(pickle.dumps(fsa)),
            copy.deepcopy(fsa),
        ):
            assert str(again) == str(fsa) and again.shape == fsa.shape


def test_tensor_forms(fork: k2.Fsa):
    vec = k2.create_fsa_vec([fork, k2.linear_fsa([])])
    for fsa, axes in ((fork, 2), (vec, 1)):
        tensor = k2.to_tensor(fsa)
        assert tensor.dim() == axes and torch.equal(tensor, fsa.arcs_as_tensor())
        assert str(k2.Fsa(tensor).arcs) == str(fsa.arcs)
    no_final = k2.Fsa(int32(0, 1, 5, 0).view(1, 4))
    assert no_final.shape == (3, None), "the final state is one after the largest"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 4), "must be an int32 tensor"),
        (torch.zeros(2, 3, dtype=torch.int32), r"must be \(num_arcs, 4\)"),
        (int32(1, 2, 5, 0, 0, 1, 5, 0).view(2, 4), "ascending order"),
        (int32(0, 1, -1, 0, 1, 2, -1, 0).view(2, 4), "must all go to the same state"),
        (int32(3, 0, 0, 1), "cannot be a vector of 3 FSAs"),
        (int32(1, 0, 0, 2, 0, 3, 0, 1, -1, 0), "do not rise"),
        (int32(1, 0, 0, 2, 0, 1, 5, 1, -1, 0), "not a state of its FSA"),
        (int32(0, 1, -2, 0).view(1, 4), "arc 0"),
    ],
)
def test_tensors_that_are_no_fsa(tensor: torch.Tensor, message: str):
    with pytest.raises((FsaTypeError, FsaValueError), match=message):
        k2.Fsa(tensor)


def test_set_scores_stochastic_(fork: k2.Fsa):
    fork.set_scores_stochastic_(torch.tensor([1.0, 3, -5, 7]))
    shares = fork.scores.exp()
    assert torch.allclose(torch.stack([shares[0] + shares[1], shares[2], shares[3]]), torch.ones(3))
    with pytest.raises(FsaTypeError, match=r"must be float32 \(4,\)"):
        fork.set_scores_stochastic_(torch.zeros(3))


def test_property_flags():
    flags = k2.fsa_properties
    linear = k2.linear_fsa([5, 6])
    assert linear.properties == flags.ALL
    assert k2.properties_to_str(flags.VALID | flags.NONEMPTY) == '"Valid|Nonempty"'
    for text, missing in (
        ("0 0 5 0\n0 1 -1 0\n1", {"TOPSORTED_AND_ACYCLIC"}),
        ("0 2 5 0\n1 3 -1 0\n2 1 6 0\n3", {"TOPSORTED", "TOPSORTED_AND_ACYCLIC"}),
        ("0 1 6 0\n0 1 5 0\n1 2 -1 0\n2", {"ARC_SORTED", "ARC_SORTED_AND_DETERMINISTIC"}),
        ("0 1 5 0\n0 1 5 0\n1 2 -1 0\n2", {"ARC_SORTED_AND_DETERMINISTIC"}),
        ("0 1 0 0\n1 2 -1 0\n2", {"EPSILON_FREE"}),
        ("0 2 5 0\n1 2 5 0\n2 3 -1 0\n3", {"ACCESSIBLE"}),
        ("0 1 5 0\n0 2 6 0\n2 3 -1 0\n3", {"COACCESSIBLE"}),
    ):
        fsa = k2.Fsa.from_str(text)
        lost = {n for n in dir(flags) if n[0].isalpha() and n.isupper()} - {"ALL"}
        lost = {n for n in lost if not fsa.properties & getattr(flags, n)}
        assert lost == missing, text
        both = k2.create_fsa_vec([linear, fsa])
        assert both.properties == fsa.properties, "flags of a vector hold for all its FSAs"
    empty = k2.Fsa.from_str("")
    assert not empty.properties & flags.NONEMPTY and empty.properties_str.startswith('"Valid|Top')


def test_stacking_and_choosing(fork: k2.Fsa):
    other = k2.linear_fsa([3]).requires_grad_(True)
    vec = k2.create_fsa_vec([fork, other])
    chosen = k2.index_fsa(vec, int32(1, 1, 0))
    assert chosen.shape == (3, None, None)
    assert chosen.labels.tolist() == [3, -1, 3, -1, 5, 6, -1, -1]
    chosen.scores.sum().backward()
    assert other.grad is not None and other.grad.tolist() == [2, 2]
    assert k2.compose_arc_maps(int32(4, 5, -1), int32(2, -1, 0)).tolist() == [-1, -1, 4]
    fork.phones = int32(1, 2, 3, 4)
    with pytest.raises(FsaValueError, match="phones"):
        k2.create_fsa_vec([fork, other])
    with pytest.raises(FsaTypeError, match="item 1 must be a vector"):
        k2.cat([vec, other])


def test_cat_keeps_what_all_have(fork: k2.Fsa):
    fork.shared, fork.own, fork.note = int32(1, 2, 3, 4), int32(0, 0, 0, 0), "first"
    other = k2.linear_fsa([3])
    other.shared, other.note, other.more = int32(5, 6), "second", "kept"
    vec = k2.cat([k2.create_fsa_vec([fork]), k2.create_fsa_vec([other, other])])
    assert vec.shape == (3, None, None) and vec.shared.tolist() == [1, 2, 3, 4, 5, 6, 5, 6]
    assert not hasattr(vec, "own") and (vec.note, vec.more) == ("first", "kept")


def test_arcs_that_only_k2_allows_are_refused_by_name():
    lone = k2.Fsa(k2._k2.RaggedArc(k2.RaggedShape("[[]]"), torch.zeros(0, 4, dtype=torch.int32)))
    assert lone.shape == (1, None)
    with pytest.raises(FsaValueError, match="has 1 state"):
        _ = lone.core


@pytest.mark.parametrize("suffix", ["svg", "png", "dot"])
def test_pictures(suffix: str, tmp_path, fork: k2.Fsa):
    fork.labels_sym = k2.SymbolTable.from_str("<eps> 0\nfive 5\nsix 6")
    picture = fork.draw(tmp_path / f"fsa.{suffix}", title="Fork")
    assert (tmp_path / f"fsa.{suffix}").stat().st_size > 100
    assert "five" in picture.source and "Fork" in picture.source
    assert "five" in k2.to_dot(fork)._repr_svg_()
    rendered = picture.render("out", directory=tmp_path, format=suffix)
    assert rendered == str(tmp_path / f"out.{suffix}")
    with pytest.raises(FsaTypeError, match="vector"):
        k2.to_dot(k2.create_fsa_vec([fork]))
