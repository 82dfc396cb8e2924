"""Synchronisation and epsilon normalisation: same weights, the promised form, OpenFst's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, from_pynini, pair_weights, random_machine, to_pynini

from wfst_entropy import (
    Fsa,
    FsaError,
    LogSemiring,
    RaggedTensor,
    connect,
    decode,
    encode,
    epsnormalize,
    expand_ragged_attributes,
    invert,
    num_paths,
    relabel,
    remove_epsilon,
    synchronize,
)
from wfst_entropy.fsa import CyclicFsaError

OPERATIONS = {"epsnormalize": epsnormalize, "synchronize": synchronize}


def machines(seed, count):
    """Random transducers; every other one may have cycles, of which some have a finite result."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield random_machine(
            rng, num_states=5, num_arcs=8, cyclic=i % 2 == 0, transducer=True, epsilon_rate=0.25
        )


def applied(operation, fst):
    """The result, or None where the operation names a cycle."""
    try:
        return operation(fst)
    except CyclicFsaError as error:
        assert "the cycle of states" in str(error)
        return None


def cycles_grow(fst, signs):
    """Whether some cycle writes more than it reads (or less, for -1), by powers of the matrix."""
    fst = connect(fst)
    growth = (fst.aux_labels > 0).int() - (fst.labels > 0).int()
    for sign in signs:
        best = np.full((fst.num_states,) * 2, -np.inf)
        for s, d, g in zip(fst.src_states(), fst.dst_states(), growth.tolist(), strict=True):
            best[s, d] = max(best[s, d], sign * g)
        walk = best.copy()
        for _ in range(fst.num_states):
            if fst.num_states and walk.diagonal().max() > 0:
                return True
            walk = (walk[:, :, None] + best[None]).max(axis=1)
    return False


def test_synchronize_fails_exactly_where_a_cycle_is_unbalanced():
    answers = []
    for fst in machines(0, 60):
        fails = cycles_grow(fst, (1, -1))
        assert (applied(synchronize, fst) is None) == fails
        answers.append(fails)
    assert 5 < sum(answers) < 50


@pytest.mark.parametrize("name", OPERATIONS)
def test_pairs_keep_their_weights_as_in_openfst(name):
    pynini = pytest.importorskip("pynini")
    num_pairs = num_cyclic = 0
    for fst in machines(1, 40):
        new = applied(OPERATIONS[name], fst)
        if new is None:
            continue
        Fsa(new.shape, new.arcs, new.scores, **new.attributes)
        expected = pair_weights(fst, 3, num_labels=2)
        assert_same_weights(pair_weights(new, 3, num_labels=2), expected)
        twin = from_pynini(getattr(pynini, name)(to_pynini(connect(fst))))
        if "aux_labels" not in twin.attributes:
            twin.set_attribute_("aux_labels", twin.labels)
        assert_same_weights(pair_weights(twin, 3, num_labels=2), expected)
        num_pairs += len(expected)
        num_cyclic += not connect(fst).properties.acyclic
    assert num_pairs > 40 and num_cyclic >= 5


def paths(fsa, limit=200):
    """Label pairs of some successful paths with at most one pass of each arc."""
    table, outputs = fsa.arcs.tolist(), fsa.aux_labels.tolist()
    stack, found = [(0, ())] if table else [], []
    while stack and len(found) < limit:
        state, walked = stack.pop()
        for arc, (source, destination, label) in enumerate(table):
            if source == state and arc not in walked:
                if label == -1:
                    found.append([(table[a][2], outputs[a]) for a in walked])
                else:
                    stack.append((destination, (*walked, arc)))
    return found


def test_labels_of_synchronized_paths_stand_side_by_side():
    num_long = 0
    for fst in machines(2, 60):
        new = applied(synchronize, fst)
        for pairs in paths(new) if new is not None else []:
            real = [(i > 0, o > 0) for i, o in pairs if i or o]
            # Pairs of labels first, then one side alone.
            assert real == sorted(real, key=lambda pair: not all(pair))
            num_long += real.count((True, True)) > 1
    assert num_long > 20


def test_epsilons_of_normalized_paths_come_last():
    num_epsilons = 0
    for fst in machines(3, 60):
        new = applied(epsnormalize, fst)
        for pairs in paths(new) if new is not None else []:
            epsilons = [i == 0 for i, _ in pairs]
            assert epsilons == sorted(epsilons)
            num_epsilons += sum(epsilons)
    assert num_epsilons > 20


def test_output_epsilons_between_two_inversions():
    fst = Fsa.from_str("0 1 5 0 1\n1 2 6 8 2\n2 3 -1 -1 0\n3", num_aux_labels=1)
    new = invert(epsnormalize(invert(fst)))
    assert paths(new) == [[(5, 8), (6, 0)]]


@pytest.mark.parametrize("name", OPERATIONS)
def test_arc_maps_scores_gradients_and_number_of_paths(name):
    rng = np.random.default_rng(4)
    for _ in range(20):
        fst = random_machine(rng, cyclic=False, transducer=True, epsilon_rate=0.4)
        fst.set_attribute_("cost", torch.from_numpy(rng.standard_normal(fst.num_arcs)))
        before = fst.clone()
        fst.requires_grad_()
        new, arc_map = OPERATIONS[name](fst, ret_arc_map=True)
        assert torch.equal(before.aux_labels, fst.aux_labels)
        assert num_paths(new).tolist() == num_paths(fst).tolist()
        lists = arc_map.tolist()
        if name == "synchronize":
            lists = [[a] if a >= 0 else [] for a in lists]
        for values, name_of in ((fst.scores, "scores"), (fst.cost, "cost")):
            expected = [float(sum(values.detach()[a] for a in arcs)) for arcs in lists]
            assert getattr(new, name_of).tolist() == pytest.approx(expected)
        weights = torch.from_numpy(rng.standard_normal(new.num_arcs))
        expected = torch.zeros(fst.num_arcs, dtype=torch.float64)
        for arcs, weight in zip(lists, weights, strict=True):
            for arc in arcs:
                expected[arc] += weight
        if new.num_arcs:
            (new.scores * weights).sum().backward()
            torch.testing.assert_close(fst.scores.grad, expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_vectors_lists_of_outputs_and_limits(name):
    operation = OPERATIONS[name]
    fst = Fsa.from_arcs([[0, 1, 1], [1, 2, 2], [2, 3, -1]])
    fst.set_attribute_("aux_labels", RaggedTensor.from_lists([[3, 4, 5], [], []], torch.int32))
    new, arc_map = operation(fst, ret_arc_map=True)
    assert paths(new)[0][-1][1] == 5
    assert set(pair_weights(new, 3)) == {((1, 2), (3, 4, 5))}
    assert arc_map.to(torch.float64).values.max() == 2 if name == "epsnormalize" else 2 in arc_map
    chained = expand_ragged_attributes(fst)
    empty = Fsa.from_arcs([], aux_labels=torch.empty(0, dtype=torch.int32))
    vector = operation(Fsa.from_fsas([chained, empty, chained]))
    assert vector.num_axes == 3 and vector[1].num_states == 0
    for i in (0, 2):
        assert torch.equal(vector[i].arcs, new.arcs)
        assert torch.equal(vector[i].aux_labels, new.aux_labels)
    size = (vector.num_states, vector.num_arcs)
    both = Fsa.from_fsas([chained, empty, chained])
    assert operation(both, max_states=size[0], max_arcs=size[1]).num_arcs == size[1]
    with pytest.raises(FsaError, match=rf"{name}: the result outgrows max_states={size[0] - 1}"):
        operation(both, max_states=size[0] - 1)
    with pytest.raises(FsaError, match=rf"{name}: the result outgrows max_arcs={size[1] - 1}"):
        operation(both, max_arcs=size[1] - 1)
    with pytest.raises(FsaError, match="has no aux_labels, so it is an acceptor"):
        operation(Fsa.from_arcs([[0, 1, -1]]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_cycle_that_writes_more_is_named(name):
    fst = Fsa.from_str("0 1 1 1 0\n1 1 0 2 -1\n1 2 2 2 0\n2 3 -1 -1 0\n3", num_aux_labels=1)
    with pytest.raises(CyclicFsaError, match=r"cycle of states 1 -> 1 \(label 0; score 1\)"):
        OPERATIONS[name](fst)


def test_one_that_reads_more_is_no_trouble_for_normalisation():
    fst = Fsa.from_str("0 1 1 1 0\n1 1 3 0 -1\n1 2 2 2 0\n2 3 -1 -1 0\n3", num_aux_labels=1)
    assert epsnormalize(fst).num_states == 4
    with pytest.raises(CyclicFsaError, match="1 -> 1"):
        synchronize(fst)


def test_a_cycle_without_labels_can_be_summed_first():
    fst = Fsa.from_str("0 1 1 1 0\n1 1 0 0 -1\n1 2 2 2 0\n2 3 -1 -1 0\n3", num_aux_labels=1)
    with pytest.raises(CyclicFsaError, match=r"states 1 -> 1 .* has no labels at all"):
        epsnormalize(fst)
    encoded, table = encode(fst)
    silent = (table.labels == 0) & (table.aux_labels == 0)
    code = int(silent.nonzero()) + 1
    summed = decode(remove_epsilon(relabel(encoded, {code: 0}), LogSemiring()), table)
    assert_same_weights(pair_weights(epsnormalize(summed), 2), pair_weights(fst, 2))


def test_ctrl_c_says_how_far_it_was(monkeypatch):
    def interrupted(self):
        if len(self.arcs) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        "wfst_entropy.algorithms._pending_labels._Growing.check_limits", interrupted
    )
    fst = Fsa.from_str("0 1 1 1 0\n1 2 2 2 0\n2 3 -1 -1 0\n3", num_aux_labels=1)
    with pytest.raises(KeyboardInterrupt, match="synchronize: interrupted, with 4 states and 3"):
        synchronize(fst)
