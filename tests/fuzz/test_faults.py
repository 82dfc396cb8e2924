"""Faults that fuzzing has found, each with the input that showed it."""

from __future__ import annotations

import contextlib

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy.algorithms import (
    difference,
    first_difference,
    get_tot_scores,
    intersect_dense,
    intersect_dense_tot_scores,
    n_shortest_paths,
    prune,
)
from wfst_entropy.fsa import (
    DenseFsaVec,
    Fsa,
    RaggedShape,
    RaggedTensor,
    index_select,
    load_k2,
    save_k2,
)
from wfst_entropy.fsa.errors import (
    CyclicFsaError,
    FsaAttributeError,
    FsaError,
    FsaFormatError,
    FsaIndexError,
    FsaTypeError,
    FsaValueError,
)
from wfst_entropy.inspection import check
from wfst_entropy.losses import (
    asg_loss,
    cr_ctc_loss,
    ctc_alignment,
    ctc_distillation_loss,
    do_rnnt_pruning,
    full_sum_distillation,
    rnnt_alignment,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
    rnnt_occupancies,
)
from wfst_entropy.topologies import token_ngram

LOOP = Fsa.from_str("0 0 0 0\n0 1 -1 0\n1")


def test_a_damaged_state_number_takes_no_gigabytes():
    for arcs in ([(0, 2**31 - 2, 1)], [(2**31 - 2, 1, 1)]):
        with pytest.raises(FsaValueError, match="arcs: 2147483647 states are wanted for 1 arcs"):
            Fsa.from_arcs(arcs)
    with pytest.raises(FsaFormatError, match="FSA of 2147483647 states but"):
        Fsa.from_str("0 1 1 0\n1 2147483646 -1 0\n2147483646")
    with pytest.raises(FsaValueError, match="num_states: must not be negative, got -1"):
        Fsa.from_arcs([], num_states=-1)


def test_a_dictionary_whose_version_is_a_tensor():
    with pytest.raises(FsaFormatError, match="this is not an Fsa"):
        Fsa.from_dict({**LOOP.as_dict(), "version": torch.zeros(3)})


def test_an_initial_value_that_integers_cannot_hold():
    ragged = RaggedTensor.from_lists([[1], [2, 3]], dtype=torch.int32)
    with pytest.raises(FsaValueError, match=r"initial_value: .* can hold, got 1e\+30"):
        ragged.sum(1e30)


def test_a_padding_value_that_integers_cannot_hold():
    ragged = RaggedTensor.from_lists([[1], [2, 3]], dtype=torch.int32)
    with pytest.raises(FsaValueError, match=r"padding_value: .* can hold, got 1e\+30"):
        ragged.pad("constant", 1e30)


def test_a_k2_file_with_a_damaged_name(tmp_path):
    save_k2(LOOP, tmp_path / "graph.pt")
    content = (tmp_path / "graph.pt").read_bytes()
    name = content.index(b"arcs", content.index(b"PK"))
    (tmp_path / "graph.pt").write_bytes(content[:name] + b"\x86\xff" + content[name + 2 :])
    with pytest.raises(FsaFormatError, match=r"is not a file of torch\.save, or holds") as caught:
        load_k2(tmp_path / "graph.pt")
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
def test_a_cycle_that_rounding_takes_for_divergent():
    # the kernel of the gradient once read beyond its tables here
    scores = torch.tensor([-1e-40, -1e-40, -0.5], dtype=torch.float64).requires_grad_()
    fsa = Fsa.from_arcs([(0, 1, 1), (1, 0, 1), (1, 2, -1)], scores)
    with pytest.raises(FsaValueError, match="a cycle through state"):
        get_tot_scores(fsa).sum().backward()


def test_rows_that_are_not_there():
    shape = RaggedShape.from_str("[ [x] [x x] ]")
    for begin, end in ((1, 0), (0, 3), (-1, 1), (3, 3)):
        with pytest.raises(FsaIndexError, match=f"rows {begin} to {end}: must be a range in the 2"):
            shape.slice_rows(begin, end)


def test_a_total_in_integers():
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 2, 3), torch.tensor([2]))
    with pytest.raises(FsaTypeError, match=r"dtype: must be .*, got torch\.int32"):
        intersect_dense_tot_scores(LOOP, dense, dtype=torch.int32)


def test_a_frame_attribute_with_the_name_of_something_else():
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 2, 3), torch.tensor([2]))
    for option in ("frame_idx_name", "seqframe_idx_name"):
        with pytest.raises(FsaAttributeError, match="'labels': this name is taken"):
            intersect_dense(LOOP, dense, **{option: "labels"})


def test_pruning_to_no_states_leaves_an_empty_graph():
    assert prune(LOOP, state_threshold=0).num_states == 0
    both = prune(Fsa.from_fsas([LOOP, LOOP]), 0.0, 0)
    assert (both.num_fsas, both.num_states) == (2, 0)
    assert prune(LOOP, state_threshold=1).num_arcs == 2


def test_a_default_that_integers_cannot_hold():
    with pytest.raises(FsaValueError, match=r"default_value: .* can hold, got 1e\+30"):
        index_select(torch.tensor([5, 6]), torch.tensor([0, -1]), 1e30)


def test_a_bad_transition_that_is_differentiable():
    transitions = torch.tensor([[0.0, float("nan")], [0.0, 0.0]], requires_grad=True)
    with pytest.raises(FsaValueError, match=r"transitions\[0, 1\] is nan"):
        asg_loss(torch.zeros(1, 3, 2), torch.tensor([[0, 1]]), [3], [2], transitions)


def test_messages_with_differentiable_scores():
    """Torch warns where such a score becomes a Python number, and warnings may be errors."""
    weighted = Fsa.from_str("0 1 1 0.5\n1 2 -1 0\n2")
    weighted.scores.requires_grad_(True)
    with pytest.raises(FsaValueError, match=r"arc 0 has 0.5\."):
        difference(weighted, weighted)
    broken = weighted.with_scores(torch.tensor([float("nan"), 0.0], requires_grad=True))
    assert any("nan" in str(finding) for finding in check(broken))
    scores = torch.full((1, 1, 2), float("nan"), requires_grad=True)
    with pytest.raises(FsaValueError, match="nan"):
        intersect_dense(weighted, DenseFsaVec.from_lengths(scores, torch.tensor([1])))


def test_masks_do_not_hide_gains():
    # tolerance for rounding was in proportion to the largest score of a component, 1e30 here
    arcs = [(0, 1, 5), (0, 2, -1), (1, 0, 5), (1, 2, -1)]
    fsa = Fsa.from_arcs(arcs, torch.tensor([0.0, -0.5, -1e30, 0.0]))
    assert prune(fsa, 0.0).labels.tolist() == [5, -1]
    assert n_shortest_paths(fsa, 1).values.tolist() == [0, 3]
    loops = Fsa.from_arcs([(0, 0, 5), (0, 0, 6), (0, 1, -1)], torch.tensor([20.0, -1e30, 0.0]))
    with pytest.raises(CyclicFsaError, match="positive score 20"):
        n_shortest_paths(loops, 20)


def test_a_negative_tolerance():
    with pytest.raises(FsaValueError, match=r"delta: must be 0 or a positive number, got -1\.0"):
        first_difference(LOOP, LOOP, delta=-1.0)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_k2_files_with_any_byte_damaged(tmp_path):
    path = tmp_path / "graph.pt"
    save_k2(LOOP, path)
    content = path.read_bytes()
    end = content.index(b"PK", content.index(b"data.pkl") + 100)  # of the pickle
    for at in range(content.index(b"data.pkl"), end):
        path.write_bytes(content[:at] + b"\x80" + content[at + 1 :])
        with contextlib.suppress(FsaError):
            load_k2(path)


def test_a_table_of_indexes_is_refused():
    with pytest.raises(FsaValueError, match=r"exactly one, got shapes \(1,\) and \(2, 2\)"):
        index_select(torch.zeros(1), torch.tensor([[0, 0], [0, -1]]))


def test_a_blank_that_is_no_integer():
    scores, targets = torch.zeros(1, 3, 4), torch.tensor([[1, 2]])
    for blank in (1.5, None, True, "0"):
        with pytest.raises(FsaTypeError, match="blank: must be an integer, got"):
            ctc_alignment(scores, targets, [3], [2], blank)
        with pytest.raises(FsaTypeError, match="blank: must be an integer, got"):
            rnnt_loss_simple(scores, scores, targets, [3], [2], blank)


def test_lengths_that_are_none():
    with pytest.raises(FsaTypeError, match="input_lengths: must be integers, one for each"):
        ctc_alignment(torch.zeros(1, 3, 4), torch.tensor([[1, 2]]), None, [2])


def test_batches_without_frames_can_be_differentiated():
    with _native.disabled():
        scores = torch.zeros(1, 0, 4).requires_grad_()
        ctc_alignment(scores, torch.zeros(1, 0).long(), [0], [0]).nll.sum().backward()
        logits = torch.zeros(1, 0, 1, 4).requires_grad_()
        rnnt_alignment(logits, torch.zeros(1, 0).long(), [0], [0]).nll.sum().backward()
        occupancies = rnnt_occupancies(logits, torch.zeros(1, 0).long(), [0], [0])
    assert occupancies.shape == (1, 0, 1)


def test_a_scale_of_zero_switches_an_infinite_consistency_off():
    a, b = torch.zeros(2, 1, 3, 2).log_softmax(-1)
    b[0, 0, 1] = -torch.inf  # which makes the divergence of that frame infinite
    options = {"reduction": "sum", "consistency_scale": 0.0}
    loss = cr_ctc_loss(a, b, torch.tensor([[1]]), [3], [1], **options)
    assert loss.isfinite()


def test_symbols_that_the_label_network_never_expects():
    # float32 has no reciprocal of the floor of the mean distribution: gradients were NaN
    am = torch.zeros(1, 40, 3).requires_grad_()
    lm = torch.tensor([[[200.0, 0.0, 0.0], [200.0, 0.0, 0.0]]]).requires_grad_()
    loss = rnnt_loss_smoothed(am, lm, torch.tensor([[1]]), [40], [1])
    loss.backward()
    assert am.grad.isfinite().all()
    assert lm.grad.isfinite().all()
    with _native.disabled():
        again = rnnt_loss_smoothed(am.detach(), lm.detach(), torch.tensor([[1]]), [40], [1])
    torch.testing.assert_close(loss.detach(), again)


def test_label_scores_without_features():
    am, lm = torch.zeros(1, 2, 4), torch.zeros(1, 3, 0)
    _, pruned = do_rnnt_pruning(am, lm, torch.tensor([[[0, 1], [1, 2]]]))
    assert pruned.shape == (1, 2, 2, 0)


def test_an_order_beyond_all_transcripts():
    few = token_ngram([[1, 2], [1]], max_token=2, order=4)
    many = token_ngram([[1, 2], [1]], max_token=2, order=2**62)  # this once never ended
    assert torch.equal(few.arcs, many.arcs)
    assert torch.equal(few.scores, many.scores)
    assert token_ngram([[1, 2], [1]], max_token=2, order=3).num_arcs < few.num_arcs


def test_a_negative_scale_of_a_divergence():
    a, b = torch.zeros(2, 1, 3, 2).log_softmax(-1)
    b[0, 0, 1] = -torch.inf
    batch = (torch.tensor([[1]]), [3], [1])
    with pytest.raises(FsaValueError, match="consistency_scale: must not be less than 0, got -1"):
        cr_ctc_loss(a, b, *batch, consistency_scale=-1.0)  # was NaN where both are infinite
    with pytest.raises(FsaValueError, match="kl_scale: must not be less than 0, got -1"):
        ctc_distillation_loss(a, b, *batch, kl_scale=-1.0)


def test_label_scores_of_utterances_without_frames_are_not_read():
    am, lm = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    lm[1] = torch.nan
    lm.requires_grad_()
    targets = torch.tensor([[1, 2], [1, 2]])
    loss = rnnt_loss_smoothed(am, lm, targets, [3, 0], [2, 2], reduction="none")
    loss[0].backward()
    assert loss[0].isfinite()
    assert lm.grad.isfinite().all()
    with pytest.raises(FsaValueError, match="nan"):
        rnnt_loss_smoothed(am, lm, targets, [3, 1], [2, 2])


def test_likelihoods_that_are_no_numbers():
    for wrong in (float("nan"), -float("inf")):
        with pytest.raises(FsaValueError, match=r"teacher_nll: utterance 1 has -?(nan|inf)"):
            full_sum_distillation(torch.zeros(2), torch.tensor([0.0, wrong]))
    half = torch.tensor([300.0], dtype=torch.float16)
    assert full_sum_distillation(half, 0 * half).item() == 90000  # beyond half precision
