"""k2's operations: arcs in k2's order, attributes by k2's rules, gradients through arc maps."""

from __future__ import annotations

import math

import pytest
import torch

import wfst_entropy
from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

_k2 = k2._k2


def int32(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def with_attributes(text: str, lists: list[list[int]]) -> k2.Fsa:
    """An FSA with one attribute of each kind; numbers count from 1."""
    fsa = k2.Fsa.from_str(text).requires_grad_(True)
    count = torch.arange(1, fsa.num_arcs + 1)
    fsa.weight = count.float().requires_grad_(True)
    fsa.number = count.to(torch.int32)
    fsa.lists = k2.RaggedTensor(lists)
    fsa.note = "toy"
    return fsa


def arcs(fsa: k2.Fsa) -> list[list[int]]:
    return fsa.arcs.values()[:, :3].tolist()


def check_map(new: k2.Fsa, old: k2.Fsa, arc_map: list[int]) -> None:
    """Every attribute, score and gradient followed the map; -1 means nothing."""
    number, lists = old.number.tolist(), old.lists.tolist()
    assert new.number.tolist() == [number[i] if i >= 0 else 0 for i in arc_map]
    assert new.lists.tolist() == [lists[i] if i >= 0 else [] for i in arc_map]
    assert new.note == "toy"
    factors = torch.arange(1, len(arc_map) + 1)
    want = torch.zeros(old.num_arcs)
    for i, factor in zip(arc_map, factors.tolist()):
        if i >= 0:
            want[i] += factor
    old.scores.grad = old.weight.grad = None
    ((new.scores + new.weight) * factors).sum().backward()
    assert torch.equal(old.scores.grad, want) and torch.equal(old.weight.grad, want)


SHUFFLED = "0 2 9 0.5\n0 1 3 1.5\n1 3 -1 2.5\n2 1 4 3.5\n2 3 -1 4.5\n3"
LISTS = [[1], [], [2, 3], [4], []]


def test_arc_sort():
    fsa = with_attributes(SHUFFLED, LISTS)
    ordered, arc_map = k2.arc_sort(fsa, ret_arc_map=True)
    assert arc_map.tolist() == [1, 0, 2, 3, 4] and arc_map.dtype == torch.int32
    assert ordered.labels.tolist() == [3, 9, -1, 4, -1]
    check_map(ordered, fsa, arc_map.tolist())
    same, identity = k2.arc_sort(ordered, ret_arc_map=True)
    assert same is ordered and identity.tolist() == [0, 1, 2, 3, 4]


def test_top_sort():
    fsa = with_attributes(SHUFFLED, LISTS)
    ordered = k2.top_sort(fsa)
    assert arcs(ordered) == [[0, 1, 9], [0, 2, 3], [1, 2, 4], [1, 3, -1], [2, 3, -1]]
    check_map(ordered, fsa, [0, 1, 3, 4, 2])


def test_connect():
    fsa = with_attributes("0 1 3 0\n0 2 4 1\n1 1 5 2\n2 4 -1 3\n3 4 -1 4\n4", LISTS)
    trimmed = k2.connect(fsa)
    assert arcs(trimmed) == [[0, 1, 4], [1, 2, -1]]
    check_map(trimmed, fsa, [1, 3])
    assert k2.connect(trimmed) is trimmed
    loops = k2.Fsa.from_str("0 1 3 0\n1 0 3 0\n2 2 5 0\n2 3 -1 0\n3")
    assert k2.connect(loops).shape == (0, None), "signs of connection are not connection"


@pytest.mark.parametrize("as_vector", [False, True])
def test_add_and_remove_epsilon_self_loops(as_vector: bool):
    single = with_attributes("0 1 3 0.5\n1 2 -1 1.5\n2", [[1], []])
    fsa = k2.create_fsa_vec([single]) if as_vector else single
    looped, arc_map = k2.add_epsilon_self_loops(fsa, ret_arc_map=True)
    assert arcs(looped) == [[0, 0, 0], [0, 1, 3], [1, 1, 0], [1, 2, -1]]
    assert arc_map.tolist() == [-1, 0, -1, 1] and len(looped.shape) == len(fsa.shape)
    check_map(looped, single, [-1, 0, -1, 1]) if not as_vector else None
    assert str(k2.remove_epsilon_self_loops(looped).arcs) == str(fsa.arcs)


def test_union():
    fsas = [k2.linear_fsa([5]).requires_grad_(True), k2.linear_fsa([6, 7]).requires_grad_(True)]
    united = k2.union(k2.create_fsa_vec(fsas))
    assert arcs(united) == [
        [0, 1, 0], [0, 3, 0], [1, 2, 5], [2, 6, -1], [3, 4, 6], [4, 5, 7], [5, 6, -1],
    ]  # fmt: skip
    (united.scores * torch.arange(7)).sum().backward()
    assert fsas[0].grad.tolist() == [2, 3] and fsas[1].grad.tolist() == [4, 5, 6]
    with pytest.raises(FsaTypeError, match="vector"):
        k2.union(fsas[0])


def test_closure_is_k2s():
    fsa = with_attributes("0 1 5 0.5\n0 2 -1 1\n1 0 6 2\n1 2 -1 3\n2", LISTS[:4])
    fsa.aux_labels = int32(7, -1, 8, -1)
    star = k2.closure(fsa)
    assert arcs(star) == [[0, 1, 5], [0, 0, 0], [0, 2, -1], [1, 0, 6], [1, 0, 0]]
    assert star.aux_labels.tolist() == [7, 0, -1, 8, 0]
    check_map(star, fsa, [0, 1, -1, 2, 3])
    assert wfst_entropy.closure(fsa.core).num_states == 4, "the other adds a start state"
    empty = k2.closure(k2.Fsa.from_str(""))
    assert arcs(empty) == [[0, 1, -1]]
    with pytest.raises(FsaTypeError, match="single FSA"):
        k2.closure(k2.create_fsa_vec([fsa]))


def test_reverse():
    fsa = with_attributes("0 1 5 0.5\n0 2 6 1\n1 3 -1 2\n2 1 7 3\n3", LISTS[:4])
    fsa.aux_labels = int32(15, 16, -1, 17)
    turned = k2.reverse(fsa)
    assert arcs(turned) == [[0, 1, 0], [1, 3, 5], [1, 2, 7], [2, 3, 6], [3, 4, -1]]
    assert turned.aux_labels.tolist() == [0, 15, 17, 16, -1]
    check_map(turned, fsa, [2, 0, 3, 1, -1])


def test_replace_fsa():
    src = k2.create_fsa_vec([k2.linear_fsa([21]), k2.linear_fsa([22, 23])]).requires_grad_(True)
    index = with_attributes("0 1 11 1\n0 2 7 2\n1 2 10 3\n2 3 -1 4\n3", LISTS[:4])
    ans, index_map, src_map = k2.replace_fsa(src, index, 10, ret_arc_map=True)
    assert k2.to_str_simple(ans).split("\n")[:4] == ["0 1 0 1", "0 7 7 2", "1 2 22 0", "2 3 23 0"]
    assert index_map.tolist() == [0, 1, -1, -1, -1, 2, -1, -1, 3]
    assert src_map.tolist() == [-1, -1, 2, 3, 4, -1, 0, 1, -1]
    check_map(ans, index, index_map.tolist())
    assert k2.replace_fsa(src, index, 100).num_arcs == index.num_arcs


def test_expand_ragged_attributes():
    fsa = with_attributes("0 1 5 10\n0 1 6 20\n1 2 -1 30\n2", [[1, 2, 3], [], [4]])
    fsa.other = k2.RaggedTensor([[7], [8], [9]])
    ans, arc_map = k2.expand_ragged_attributes(
        fsa, ret_arc_map=True, ragged_attribute_names=["lists"]
    )
    assert ans.labels.tolist() == [5, 6, 0, 0, 0, -1]
    assert ans.lists.tolist() == [1, 0, 2, 3, 4, -1]
    assert ans.other.tolist() == [[7], [8], [], [], [9], []]
    assert arc_map.tolist() == [0, 1, -1, -1, 2, -1]
    assert ans.scores.tolist() == [10, 20, 0, 0, 30, 0]
    everything = k2.expand_ragged_attributes(fsa)
    assert isinstance(everything.other, torch.Tensor)
    assert k2.expand_ragged_attributes(everything) is everything
    with pytest.raises(FsaTypeError, match="'number' must be ragged int32"):
        k2.expand_ragged_attributes(fsa, ragged_attribute_names=["number"])


def test_invert_expands_ragged_outputs():
    fsa = k2.Fsa.from_str("0 1 5 0.5\n1 2 6 1\n2 3 -1 0\n3")
    fsa.aux_labels = k2.RaggedTensor([[8, 9], [], [-1]])
    ans, arc_map = k2.invert(fsa, ret_arc_map=True)
    assert ans.labels.tolist() == [8, 9, 0, -1] and ans.aux_labels.tolist() == [5, 0, 6, -1]
    assert arc_map.tolist() == [0, -1, 1, 2]
    back, identity = k2.invert(ans, ret_arc_map=True)
    assert back.labels.tolist() == ans.aux_labels.tolist() and identity.tolist() == [0, 1, 2, 3]


EPSILONS = "0 1 0 0.5\n0 1 4 0.25\n1 2 5 1\n2 3 -1 2\n3"


def test_remove_epsilon():
    fsa = with_attributes(EPSILONS, [[1], [2], [], [3]])
    fsa.aux_labels = int32(7, 0, 8, -1)
    ans = k2.remove_epsilon(fsa)
    assert k2.fsa_properties.EPSILON_FREE & ans.properties
    assert ans.labels.tolist() == [4, 5, 5, -1]
    assert ans.aux_labels.tolist() == [[], [7, 8], [8], []]
    assert ans.number.tolist() == [[2], [1, 3], [3], [4]]
    assert ans.lists.tolist() == [[2], [1], [], [3]]
    assert ans.weight.tolist() == [2, 4, 3, 4] and ans.scores.tolist() == [0.25, 1.5, 1, 2]
    (ans.scores * int32(1, 10, 100, 1000)).sum().backward()
    assert fsa.grad.tolist() == [10, 1, 110, 1000]
    assert str(k2.remove_epsilon_iterative_tropical(fsa)) == str(ans)


def test_remove_epsilon_and_add_self_loops():
    fsa = with_attributes(EPSILONS, [[1], [2], [], [3]])
    fsa.number = int32(0, 2, 3, -1)
    ans = k2.remove_epsilon_and_add_self_loops(fsa)
    assert ans.labels.tolist() == [0, 4, 5, 0, 5, 0, -1]
    assert ans.number.tolist() == [[], [2], [3], [], [3], [], []]
    kept = k2.remove_epsilon_and_add_self_loops(fsa, remove_filler=False)
    assert kept.number.tolist() == [[], [2], [0, 3], [], [3], [], [-1]]
    free = k2.linear_fsa([1])
    assert str(k2.remove_epsilon_and_add_self_loops(free)) == str(k2.add_epsilon_self_loops(free))


@pytest.mark.parametrize("pushing", list(k2.DeterminizeWeightPushingType))
def test_determinize(pushing: k2.DeterminizeWeightPushingType):
    kinds = k2.DeterminizeWeightPushingType
    assert {kinds.kTropicalWeightPushing, kinds.kLogWeightPushing, kinds.kNoWeightPushing} == set(
        kinds
    )
    fsa = with_attributes("0 1 5 1\n0 2 5 2\n1 3 6 3\n2 3 6 1\n3 4 -1 0\n4", LISTS)
    ans = k2.determinize(fsa, pushing)
    assert ans.properties & k2.fsa_properties.ARC_SORTED_AND_DETERMINISTIC
    assert k2.is_rand_equivalent(fsa, ans, log_semiring=False, delta=1e-5)
    assert not k2.is_rand_equivalent(fsa, k2.linear_fsa([5, 6]), log_semiring=False)
    assert isinstance(ans.number, k2.RaggedTensor) and ans.note == "toy"
    assert k2.determinize(ans) is ans
    if pushing is kinds.kNoWeightPushing:
        ans.scores.sum().backward()
        assert fsa.grad.tolist() == [1, 0, 1, 0, 1]


def test_random_equivalence_sees_strings_that_one_lacks():
    both = k2.Fsa.from_str("0 1 5 0\n0 1 6 0\n1 2 -1 0\n2")
    assert not k2.is_rand_equivalent(both, k2.linear_fsa([5]), log_semiring=True)
    looped = k2.add_epsilon_self_loops(both)
    assert not k2.is_rand_equivalent(both, looped, False, treat_epsilons_specially=False)
    assert k2.is_rand_equivalent(both, looped, False)


LATTICE = "0 1 1 1\n0 2 2 6\n1 2 3 3\n1 3 4 2\n2 3 5 4\n3 4 6 3\n3 5 -1 2\n4 5 -1 0\n5"


@pytest.mark.parametrize("use_double_scores", [False, True])
def test_shortest_path(use_double_scores: bool):
    fsas = [k2.Fsa.from_str(LATTICE).requires_grad_(True), k2.linear_fsa([8]).requires_grad_(True)]
    vec = k2.create_fsa_vec(fsas)
    vec.number = torch.arange(vec.num_arcs, dtype=torch.int32)
    best = k2.shortest_path(vec, use_double_scores)
    assert best.number.tolist() == [1, 4, 5, 7, 8, 9]
    assert best[0].labels.tolist() == [2, 5, 6, -1]
    best.scores.sum().backward()
    assert fsas[0].grad.tolist() == [0, 1, 0, 0, 1, 1, 0, 1] and fsas[1].grad.tolist() == [1, 1]
    entering = vec._get_entering_arcs(use_double_scores)
    assert entering.tolist() == [-1, 0, 1, 4, 5, 7, -1, 8, 9]


def test_random_paths_are_k2s():
    even = "0 1 1 1\n0 1 2 1\n1 2 3 1\n1 2 4 1\n2 3 -1 1\n2 3 -1 1\n3"
    vec = k2.create_fsa_vec([k2.Fsa.from_str(even), k2.linear_fsa([5])])
    for use_double_scores in (False, True):
        two = k2.random_paths(vec, use_double_scores, num_paths=2)
        assert two.tolist() == [[[0, 3, 4], [1, 3, 4]], [[6, 7], [6, 7]]]
    four = k2.random_paths(vec, True, 4).tolist()[0]
    assert four == [[0, 2, 5], [0, 3, 5], [1, 2, 5], [1, 3, 5]]
    with pytest.raises(FsaTypeError, match="vector"):
        k2.random_paths(vec[0], True, 1)


def test_prune_on_arc_post():
    vec = k2.create_fsa_vec([k2.Fsa.from_str("0 1 1 0.2\n0 1 2 0.1\n1 2 -1 0\n2")])
    vec.requires_grad_(True)
    ans = k2.prune_on_arc_post(vec, 0.5, use_double_scores=True)
    assert str(ans[0].arcs) == "[ [ 0 1 1 0.2 ] [ 1 2 -1 0 ] [ ] ]"
    ans.scores.sum().backward()
    assert vec.grad.tolist() == [1, 0, 1]


def test_levenshtein_alignment():
    refs = k2.levenshtein_graph([[1, 2, 3, 4]])
    hyps = k2.levenshtein_graph(k2.RaggedTensor([[1, 9, 3, 4], [1, 3, 4], [1, 2, 3, 3, 4], []]))
    for _ in range(2):  # k2 renames an attribute of hyps, so that a second call fails
        best = k2.levenshtein_alignment(refs, hyps, int32(0, 0, 0, 0), sorted_match_ref=True)
    errors = -best.get_tot_scores(use_double_scores=False, log_semiring=False)
    assert errors.tolist() == pytest.approx([1, 1, 1, 4])
    assert best[0].labels.tolist() == [1, 0, 3, 4, -1]
    assert best[1].ref_labels.tolist() == [1, 2, 3, 4, -1]
    assert best[1].hyp_labels.tolist() == [1, 0, 3, 4, -1]
    with pytest.raises(FsaValueError, match="levenshtein_graph"):
        k2.levenshtein_alignment(k2.create_fsa_vec([k2.linear_fsa([1])]), hyps, int32(0, 0, 0, 0))


def test_linear_graphs():
    vec = k2.linear_fsa([[5, 6], []])
    assert arcs(vec) == [[0, 1, 5], [1, 2, 6], [2, 3, -1], [0, 1, -1]]
    assert arcs(k2.linear_fsa(k2.RaggedTensor([[5, 6], []]))) == arcs(vec)
    fst = k2.linear_fst([[5, 0, 6], [0]], [[0, 7, 8], [9]])
    assert fst.aux_labels.tolist() == [0, 7, 8, -1, 9, -1]
    looped = k2.linear_fsa_with_self_loops(fst)
    assert looped.labels.tolist() == [0, 5, 0, 6, 0, -1, 0, -1]
    fst.scores = torch.arange(6.0)
    joined = k2.linear_fst_with_self_loops(fst)
    assert joined.labels.tolist() == looped.labels.tolist()
    assert joined.aux_labels.tolist() == [[], [], [], [7, 8], [], [], [], [9]]
    assert joined.scores.tolist() == [0, 0, 0, 3, 0, 3, 0, 9]
    want = k2.add_epsilon_self_loops(k2.remove_epsilon(fst))
    assert joined.aux_labels == want.aux_labels and torch.equal(joined.scores, want.scores)
    assert k2.linear_fst_with_self_loops(fst[0]).shape == (4, None)
    with pytest.raises(FsaTypeError, match="aux_labels"):
        k2.linear_fst_with_self_loops(vec)


def test_trivial_and_random_graphs():
    assert arcs(k2.trivial_graph(2)) == [[0, 0, 1], [0, 0, 2], [0, 1, -1]]
    assert k2.trivial_graph(2).aux_labels.tolist() == [1, 2, -1]
    torch.manual_seed(1)
    for acyclic in (True, False):
        for _ in range(20):
            fsa = k2.random_fsa(acyclic, max_symbol=4, min_num_arcs=3, max_num_arcs=12)
            assert 3 <= fsa.num_arcs <= 12 and int(fsa.labels.max()) <= 4
            if acyclic:
                assert fsa.properties & k2.fsa_properties.TOPSORTED_AND_ACYCLIC
                assert k2.connect(fsa).num_arcs > 0
    assert 2 <= k2.random_fsa_vec(2, 5, max_num_arcs=6).shape[0] <= 5
    assert k2.random_fsa(max_num_arcs=0).num_arcs == 0
    for call in (k2.random_fsa, k2.random_fsa_vec):
        with pytest.raises(FsaValueError, match="min_num_arcs"):
            call(min_num_arcs=5, max_num_arcs=4)


def test_intersect_device_and_its_maps():
    a = k2.Fsa.from_str("0 1 0 0.1\n0 1 1 0.2\n1 2 -1 0.5\n2").requires_grad_(True)
    b = k2.create_fsa_vec([k2.linear_fsa([0]), k2.linear_fsa([1])]).requires_grad_(True)
    b.number = int32(1, 2, 3, 4)
    both, a_map, b_map = k2.intersect_device(
        k2.create_fsa_vec([a]), b, int32(0, 0), sorted_match_a=True, ret_arc_maps=True
    )
    assert both.labels.tolist() == [0, -1, 1, -1] and both.number.tolist() == [1, 2, 3, 4]
    assert a_map.tolist() == [0, 2, 1, 2] and b_map.tolist() == [0, 1, 2, 3]
    both.scores.sum().backward()
    assert a.grad.tolist() == [1, 1, 2] and b.grad.tolist() == [1, 1, 1, 1]


def test_intersect_rules():
    a = with_attributes("0 1 0 0.5\n0 1 1 1\n1 2 -1 0\n2", [[1], [2], []])
    b = k2.linear_fsa([1])
    b.weight, b.tag = torch.tensor([100.0, 200.0]), int32(7, 8)
    both, a_map, b_map = k2.intersect(a, b, ret_arc_maps=True)
    assert k2.to_str_simple(k2.connect(both)) == "0 1 1 1\n1 2 -1 0\n2\n"
    assert both.num_arcs == a_map.numel() == b_map.numel()
    pairs = list(zip(a_map.tolist(), b_map.tolist()))
    own, others = a.weight.tolist(), b.weight.tolist()
    want = [(own[i] if i >= 0 else 0) + (others[j] if j >= 0 else 0) for i, j in pairs]
    assert both.weight.tolist() == want
    assert both.tag.tolist() == [[7, 8][j] if j >= 0 else 0 for j in b_map.tolist()]
    assert len(k2.intersect(k2.create_fsa_vec([a]), b).shape) == 3
    b.number = int32(1, 2)
    with pytest.raises(AttributeError, match="'number': both FSAs have it"):
        k2.intersect(a, b)
    with pytest.raises(FsaValueError, match=r"b_fsa: must be arc-sorted; use k2\.arc_sort"):
        k2.intersect(b, k2.Fsa.from_str(SHUFFLED))


def test_epsilons_interleave_as_in_k2():
    """Two paths with one epsilon each: three orders here, one path in this package's own."""
    one = k2.Fsa.from_str("0 1 0 0\n1 2 5 0\n2 3 -1 0\n3")
    total = k2.connect(k2.intersect(one, one)).get_tot_scores(True, True)
    assert float(total) > 0 or math.isclose(float(total), math.log(3))
    core = wfst_entropy.intersect(one.core, one.core)
    assert float(wfst_entropy.get_tot_scores(core)) == 0


def test_compose_with_ragged_outputs_and_inner_labels():
    a = k2.Fsa.from_str("0 1 5 0.5\n1 2 -1 0\n2").requires_grad_(True)
    a.aux_labels = k2.RaggedTensor([[7, 8], []])
    b = k2.linear_fst([7, 8], [9, 0]).requires_grad_(True)
    ans = k2.connect(k2.compose(a, b, inner_labels="inner"))
    assert ans.labels.tolist() == [5, 0, -1] and ans.aux_labels.tolist() == [9, 0, -1]
    assert ans.inner.tolist() == [7, 8, -1]
    ans.scores.sum().backward()
    assert a.grad.tolist() == [1, 1] and b.grad.tolist() == [1, 1, 1]
    assert k2.compose(a, k2.linear_fsa([7, 8])).aux_labels.tolist() == [7, 8, -1]
    for call, message in (
        (lambda: k2.compose(k2.linear_fsa([1]), b), "has no aux_labels"),
        (lambda: k2.compose(a, k2.linear_fsa([7]), inner_labels="x"), "inner_labels"),
    ):
        with pytest.raises(FsaTypeError, match=message):
            call()


def test_utils_rebuild_from_maps():
    fsa = with_attributes(SHUFFLED, LISTS)
    check_map(
        k2.utils.fsa_from_unary_function_tensor(fsa, *_k2.arc_sort(fsa.arcs)), fsa, [1, 0, 2, 3, 4]
    )
    ragged_arcs, lists = _k2.remove_epsilon(fsa.arcs, fsa.properties)
    ans = k2.utils.fsa_from_unary_function_ragged(fsa, ragged_arcs, lists)
    assert ans.number.tolist() == [[i + 1 for i in row] for row in lists.tolist()]
    other = k2.linear_fsa([3])
    both_arcs, *maps = _k2.intersect(
        k2.arc_sort(fsa).arcs, 0, other.arcs, other.properties, treat_epsilons_specially=False
    )
    both = k2.utils.fsa_from_binary_function_tensor(k2.arc_sort(fsa), other, both_arcs, *maps)
    assert both.num_arcs == maps[0].numel() and both.note == "toy"


def test_phantom_scores():
    source = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    for attach, arg, numbers, want in (
        (k2.autograd_utils.phantom_set_scores_to, (), [1.0, 2, 4], [1, 10, 100]),
        (
            k2.autograd_utils.phantom_index_select_scores,
            (int32(2, -1, 2),),
            [4.0, 0, 4],
            [0, 0, 101],
        ),
        (
            k2.autograd_utils.phantom_index_and_sum_scores,
            (k2.RaggedTensor([[0, 1], [], [1]]),),
            [3.0, 0, 2],
            [1, 101, 0],
        ),
    ):
        fsa = k2.linear_fsa([5, 6])
        fsa.scores[:] = torch.tensor(numbers)
        attach(fsa, source, *arg)
        source.grad = None
        (fsa.scores * int32(1, 10, 100)).sum().backward()
        assert source.grad.tolist() == want
