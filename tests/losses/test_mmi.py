"""LF-MMI: all transcripts one by one, posteriors as gradients, the options, edge cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.algorithms import get_arc_post, intersect_dense, intersect_dense_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import LFMMILoss, fsa_alignment, fsa_loss, lf_mmi_alignment, lf_mmi_loss
from wfst_entropy.semirings import ConditionalEntropySemiring, TropicalSemiring
from wfst_entropy.topologies import ctc_graph, ctc_topo, mmi_denominator, mmi_numerator, token_ngram

LM = token_ngram([[1, 2, 1, 1], [2, 1], [], [1, 2, 2]], max_token=2)
SYMBOLS = [[1, 2], [2, 2], [], [1, 1, 1]]
FRAMES = torch.tensor([4, 3, 2, 4])  # the last is too short


def double(fsa):
    return fsa.with_scores(fsa.scores.double())


def frames(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return (2 * torch.randn(4, 4, 3, dtype=torch.float64)).to(dtype).requires_grad_()


def graphs():
    return double(mmi_numerator(SYMBOLS, LM)), double(mmi_denominator(LM))


def test_transcripts_share_all_probability(engine):
    """Every frame labelling is one alignment of one transcript, so these sum to one."""
    den = double(mmi_denominator(LM))
    transcripts = [list(y) for k in range(4) for y in itertools.product((1, 2), repeat=k)]
    scores = frames()[:1, :3].expand(len(transcripts), -1, -1).contiguous()
    dense = DenseFsaVec.from_lengths(scores, torch.full((len(transcripts),), 3))
    out = lf_mmi_alignment(double(mmi_numerator(transcripts, LM)), den, dense)
    assert (out.nll >= 0).all() and out.valid.any() and not out.valid.all()
    torch.testing.assert_close((-out.nll).exp().sum(), scores.new_ones(()))


@pytest.mark.parametrize("den_scale", [1.0, 0.7])
def test_value_and_gradient_are_of_the_two_sums_over_paths(engine, den_scale):
    scores = frames()
    dense = DenseFsaVec.from_lengths(scores, FRAMES)
    num, den = graphs()
    out = lf_mmi_alignment(num, den, dense, den_scale=den_scale)
    assert out.valid.tolist() == [True, True, True, False]
    assert out.nll[3] == math.inf and out.entropy[3] == 0
    sums = [fsa_alignment(graph, dense) for graph in (num, den)]
    wanted = sums[0].nll - den_scale * sums[1].nll
    torch.testing.assert_close(out.nll[:3], wanted[:3])
    torch.testing.assert_close(out.entropy, sums[0].entropy)

    (grad,) = torch.autograd.grad(out.nll[:3].sum(), scores)
    posteriors = torch.zeros_like(scores)
    for graph, sign in ((num, -1.0), (den, den_scale)):
        lattice = intersect_dense(graph, dense)
        n, t = lattice.arc_to_fsa(), lattice.frame_idx.long()
        keep = (lattice.labels >= 0) & (n < 3)
        place = (n[keep], t[keep], lattice.labels[keep].long())
        posteriors.index_put_(place, sign * get_arc_post(lattice)[keep].exp(), accumulate=True)
    torch.testing.assert_close(grad, posteriors)
    assert (grad[3] == 0).all() and (grad[2, 2:] == 0).all()


def test_gradients_reach_the_scores_of_both_graphs(engine):
    num, den = (g.with_scores(g.scores.requires_grad_()) for g in graphs())
    dense = DenseFsaVec.from_lengths(frames(), FRAMES)
    loss = lf_mmi_loss(num, den, dense, reduction="sum", zero_infinity=True)
    by_num, by_den = torch.autograd.grad(loss, (num.scores, den.scores))
    final = [graph.labels == -1 for graph in (num, den)]
    # each of the three paths that count ends once
    torch.testing.assert_close(by_num[final[0]].sum(), by_num.new_tensor(-3.0))
    torch.testing.assert_close(by_den[final[1]].sum(), by_num.new_tensor(3.0))


@pytest.mark.parametrize("kind", ["conditional", "raw", "per_frame", "per_label"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_options_are_those_of_fsa_loss(kind, reduction):
    scores = frames().log_softmax(2).detach()
    dense = DenseFsaVec.from_lengths(scores, FRAMES)
    num, den = graphs()
    options = {"reduction": reduction, "zero_infinity": True, "entropy_scale": 0.3, "kind": kind}
    found = lf_mmi_loss(num, den, dense, [2, 2, 0, 3], **options)
    regularised = fsa_loss(num, dense, [2, 2, 0, 3], **options)
    rest = torch.where(FRAMES < 4, 1.0, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    den_nll = fsa_loss(den, dense, reduction="none") * rest
    lengths = torch.tensor([2.0, 2.0, 1.0, 3.0], dtype=torch.float64)
    reduced = {"none": den_nll, "sum": den_nll.sum(), "mean": (den_nll / lengths).mean()}
    torch.testing.assert_close(found, regularised - reduced[reduction])
    module = LFMMILoss(den, **options)
    torch.testing.assert_close(module(num, dense, [2, 2, 0, 3]), found)
    assert f"kind='{kind}'" in repr(module)


def test_no_gradient_where_a_graph_has_no_path(engine):
    scores = frames()
    dense = DenseFsaVec.from_lengths(scores, torch.tensor([2, 2, 2, 2]))
    only_ones = double(Fsa.from_str("0 0 1 0\n0 1 -1 0\n1"))
    blocked = double(Fsa.from_str("0 1 1 0\n1 2 -1 0\n2"))
    for num, den in ((only_ones, blocked), (blocked, only_ones), (blocked, blocked)):
        for scale in (0.0, 0.5):
            loss = lf_mmi_loss(
                num, den, dense, reduction="none", entropy_scale=scale, zero_infinity=False
            )
            assert (loss == math.inf).all()
            (grad,) = torch.autograd.grad(loss.sum(), scores)
            assert (grad == 0).all()


def test_float32_is_close_to_float64(engine):
    num, den = graphs()
    values = []
    for dtype in (torch.float64, torch.float32):
        scores = frames(dtype=dtype)
        dense = DenseFsaVec.from_lengths(scores, FRAMES)
        loss = lf_mmi_loss(num, den, dense, reduction="sum", entropy_scale=0.3, zero_infinity=True)
        values.append((loss, torch.autograd.grad(loss, scores)[0]))
        assert loss.dtype == dtype
    for exact, rounded in zip(*values):
        torch.testing.assert_close(rounded.double(), exact, rtol=1e-5, atol=1e-5)


def test_every_semiring(engine):
    """The same graphs under other semirings: best paths, and the denominator's entropy."""
    num, den = graphs()
    dense = DenseFsaVec.from_lengths(frames().detach(), FRAMES)
    best = [intersect_dense_tot_scores(g, dense, TropicalSemiring()) for g in (num, den)]
    assert (best[0] <= best[1] + 1e-12).all()
    _, entropy = intersect_dense_tot_scores(den, dense, ConditionalEntropySemiring())
    torch.testing.assert_close(entropy, fsa_alignment(den, dense).entropy)


def test_gradients_of_gradients():
    num, den = double(ctc_graph([[1]])), double(ctc_topo(2))
    lengths = torch.tensor([3])
    scores = torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True)

    def loss(scores):
        dense = DenseFsaVec.from_lengths(scores, lengths)
        return lf_mmi_loss(num, den, dense, reduction="sum", entropy_scale=0.3)

    assert gradcheck(loss, scores, fast_mode=True)
    with _native.disabled():
        assert gradgradcheck(loss, scores, fast_mode=True)


def test_wrong_arguments_are_named():
    num, den = graphs()
    dense = DenseFsaVec.from_lengths(frames(), FRAMES)
    with pytest.raises(FsaValueError, match='target_lengths: reduction="mean"'):
        lf_mmi_loss(num, den, dense)
    with pytest.raises(FsaValueError, match="kind: must be one of"):
        lf_mmi_alignment(num, den, dense, "entropy")
    with pytest.raises(FsaValueError, match="reduction: must be one of"):
        LFMMILoss(den, "average")
    with pytest.raises(FsaValueError, match="a_fsas: must be one FSA for all 4"):
        lf_mmi_loss(num, Fsa.from_fsas([den, den]), dense, reduction="sum")
