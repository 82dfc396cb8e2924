"""k2's frame scores, dense intersection, CTC loss and minimum word error loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def segments(*rows: tuple[int, int, int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int32)


@pytest.fixture
def log_probs() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 6, 4).log_softmax(-1).requires_grad_(True)


def test_layout_of_frame_scores(log_probs: Tensor):
    dense = k2.DenseFsaVec(log_probs, segments((1, 2, 3), (0, 0, 6), (1, 5, 4)), allow_truncate=3)
    assert dense.duration.tolist() == [3, 6, 1] and dense.duration.dtype == torch.int32
    assert dense.dim0() == 3 and dense.scores.shape == (13, 5)
    assert torch.equal(dense.scores[0:3, 1:], log_probs[1, 2:5])
    assert torch.equal(dense.scores[4:10, 1:], log_probs[0])
    assert torch.equal(dense.scores[11:12, 1:], log_probs[1, 5:])
    for final in (3, 10, 12):
        assert dense.scores[final].tolist() == [0] + [-torch.inf] * 4
    assert (dense.scores[[0, 5, 11], 0] == -torch.inf).all()
    assert dense.is_cpu() and not dense.is_cuda() and dense.to("cpu") is dense
    assert dense.device == log_probs.device
    assert str(dense).startswith("num_axes: 3") and "dim0=3" in repr(dense)
    dense.scores[0:3, 1:].sum().backward()
    assert log_probs.grad is not None and log_probs.grad.sum() == 12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(1, 3), "must be an int32 tensor"),
        (segments((3, 0, 1)), "segment 0"),
        (segments((0, 0, 2), (0, 4, 3)), "segment 1"),
        (segments((0, 0, 2), (0, 4, 0)), "row 1 .* has no frame"),
    ],
)
def test_segments_that_are_refused(log_probs: Tensor, rows: Tensor, message: str):
    with pytest.raises((FsaTypeError, FsaValueError), match=message):
        k2.DenseFsaVec(log_probs, rows)


def test_convert_dense_to_fsa_vec(log_probs: Tensor):
    dense = k2.DenseFsaVec(log_probs, segments((0, 1, 2), (2, 0, 1)))
    vec = k2.convert_dense_to_fsa_vec(dense)
    assert vec.shape == (2, None, None)
    assert vec[1].labels.tolist() == [0, 1, 2, 3, -1]
    torch.testing.assert_close(vec.scores[:4], log_probs[0, 1])
    graph = k2.create_fsa_vec([k2.Fsa.from_str("0 0 1 0\n0 0 2 0\n0 1 -1 0\n1")])
    # As FSAs, epsilon (blank) being a symbol like others, both intersect alike.
    plain = k2.intersect_device(graph, vec, torch.zeros(2, dtype=torch.int32))
    lattice = k2.intersect_dense(graph, dense, output_beam=1e3)
    totals = [fsa.get_tot_scores(True, True) for fsa in (k2.connect(plain), lattice)]
    torch.testing.assert_close(*totals)


def test_lattices_carry_attributes_frames_and_gradients(log_probs: Tensor):
    graphs = k2.ctc_graph([[1, 2], [3]]).requires_grad_(True)
    graphs.weight = torch.arange(float(graphs.num_arcs)).requires_grad_(True)
    graphs.note = "toy"
    dense = k2.DenseFsaVec(log_probs, segments((0, 0, 4), (2, 1, 5)))
    lattice = k2.intersect_dense(
        graphs, dense, output_beam=1e3, seqframe_idx_name="row", frame_idx_name="frame"
    )
    assert lattice.note == "toy" and lattice.row.dtype == lattice.frame.dtype == torch.int32
    read = dense.scores[lattice.row.long(), lattice.labels.long() + 1]
    torch.testing.assert_close(lattice.scores, read)
    assert int(lattice.frame[lattice.labels == -1].min()) == 4
    assert set(lattice.aux_labels.tolist()) == {-1, 0, 1, 2, 3}
    lattice.get_tot_scores(True, True).sum().backward()
    assert log_probs.grad is not None and graphs.grad is not None
    torch.testing.assert_close(log_probs.grad[0, :4].sum(-1), torch.ones(4))
    lattice.weight.sum().backward()
    assert graphs.weight.grad is not None and graphs.weight.grad.sum() == lattice.num_arcs


def test_graphs_choose_their_segments(log_probs: Tensor):
    graphs = k2.ctc_graph([[1], [2], [1]])
    dense = k2.DenseFsaVec(log_probs, segments((0, 0, 3), (1, 0, 4)))
    lattice = k2.intersect_dense(
        graphs, dense, 1e3, a_to_b_map=torch.tensor([1, 0, 0]), seqframe_idx_name="row"
    )
    totals = lattice.get_tot_scores(True, True)
    for i, segment in enumerate((1, 0, 0)):
        one = k2.DenseFsaVec(log_probs, segments((segment, 0, 3 + segment)))
        alone = k2.intersect_dense(k2.create_fsa_vec([graphs[i]]), one, 1e3)
        torch.testing.assert_close(totals[i : i + 1], alone.get_tot_scores(True, True))
    assert int(lattice[0].row.min()) == 4 and int(lattice[1].row.max()) == 3
    with pytest.raises(FsaValueError):
        k2.intersect_dense(graphs, dense, 1e3, a_to_b_map=torch.tensor([0, 1]))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_ctc_loss_is_torchs(log_probs: Tensor, reduction: str):
    targets, lengths = [[1, 2], [3, 3], [2]], [6, 5, 4]
    target_lengths = torch.tensor([2, 2, 1])
    dense = k2.DenseFsaVec(log_probs, segments(*[(i, 0, n) for i, n in enumerate(lengths)]))
    theirs = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), torch.tensor([1, 2, 3, 3, 2]), torch.tensor(lengths),
        target_lengths, reduction=reduction,
    )  # fmt: skip
    grads = []
    topo = k2.compose(k2.ctc_topo(3), k2.linear_fsa(targets))
    for graph in (k2.ctc_graph(targets), topo):
        ours = k2.ctc_loss(
            graph, dense, output_beam=30, reduction=reduction, target_lengths=target_lengths
        )
        torch.testing.assert_close(ours, theirs)
        grads.append(torch.autograd.grad(ours.sum(), log_probs, retain_graph=True)[0])
    torch.testing.assert_close(grads[0], grads[1])
    loss = k2.CtcLoss(output_beam=30, reduction=reduction, use_double_scores=False)
    torch.testing.assert_close(loss(topo, dense, target_lengths=target_lengths), theirs)


def test_ctc_loss_with_a_delay_penalty(log_probs: Tensor):
    """Each path pays for how late its tokens come: by enumeration of a one-token graph."""
    dense, penalty = k2.DenseFsaVec(log_probs, segments((0, 0, 3))), 0.5
    graph = k2.ctc_graph([[2]])
    paths = []
    for first in range(3):
        for last in range(first, 3):
            labels = [2 if first <= t <= last else 0 for t in range(3)]
            score = log_probs[0, torch.arange(3), labels].sum()
            paths.append(score - penalty * (first - 3 // 2))
    want = -torch.stack(paths).logsumexp(0)
    torch.testing.assert_close(k2.ctc_loss(graph, dense, 30, delay_penalty=penalty), want)
    # The same graph with a mark in the place of aux_labels that tell.
    marked = k2.ctc_graph([[2]])
    marked._is_repeat_token_ = marked.labels != marked.aux_labels
    del marked.aux_labels
    torch.testing.assert_close(k2.ctc_loss(marked, dense, 30, delay_penalty=penalty), want)
    del marked._is_repeat_token_
    with pytest.raises(FsaTypeError, match="delay_penalty"):
        k2.ctc_loss(marked, dense, 30, delay_penalty=penalty)


def test_ctc_loss_arguments(log_probs: Tensor):
    dense = k2.DenseFsaVec(log_probs, segments((0, 0, 3)))
    with pytest.raises(FsaValueError, match="target_lengths"):
        k2.ctc_loss(k2.ctc_graph([[1]]), dense, reduction="mean")
    for loss in (lambda r: k2.CtcLoss(10, reduction=r), lambda r: k2.MWERLoss(reduction=r)):
        with pytest.raises(FsaValueError, match="reduction"):
            loss("max")


def test_mwer_loss_by_enumeration():
    probs = torch.tensor([0.1, 0.2, 0.3, 0.4]).repeat(2).requires_grad_(True)
    text = "0 1 1 10 0\n0 1 2 20 0\n1 2 3 30 0\n1 2 4 40 0\n2 3 -1 -1 0\n3"
    one = k2.Fsa.from_str(text, acceptor=False)
    lattice = k2.create_fsa_vec([one, one])
    zero = torch.zeros(1)
    lattice.scores = torch.cat([probs[:4].log(), zero, probs[4:].log(), zero])
    refs = [[10], [20, 40, 50]]
    errors = torch.tensor([[1.0, 1, 2, 2], [3, 2, 2, 1]])
    want = 0.0
    for i in range(2):
        a, b = probs[4 * i : 4 * i + 2], probs[4 * i + 2 : 4 * i + 4]
        share = (a[:, None] * b).flatten() / (a[:, None] * b).sum()
        want = want + (share * errors[i]).sum()
    loss = k2.mwer_loss(lattice, refs, nbest_scale=1.0, num_paths=200)
    torch.testing.assert_close(loss, want.double(), check_dtype=False)
    grads = [torch.autograd.grad(x, probs, retain_graph=True)[0] for x in (loss, want)]
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-5)
    each = k2.mwer_loss(lattice, k2.RaggedTensor(refs), 1.0, 200, reduction="none")
    assert each.tot_size(1) == 8
    torch.testing.assert_close(each.sum().sum(), loss)
    mean = k2.MWERLoss(reduction="mean")(lattice, refs, nbest_scale=1.0, num_paths=200)
    torch.testing.assert_close(mean, loss / 8)
