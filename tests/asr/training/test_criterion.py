"""The loss of a batch: its value, its gradient, and what is left out of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wfst_entropy.asr.training.criterion import Utterances, compute_loss, read_batch
from wfst_entropy.fsa.errors import FsaFormatError, FsaValueError

TOKENS = [[1, 2, 2], [3], [], [1, 1, 1, 1, 1]]
LENGTHS = [9, 4, 3, 6]  # the last has too few frames: five labels and four repeats need nine


def scores(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 9, 5, dtype=torch.float64, generator=generator).requires_grad_()


def utterances() -> Utterances:
    names = [f"utt-{i}" for i in range(4)]
    return Utterances(torch.zeros(4, 36, 80), torch.tensor(LENGTHS) * 4, TOKENS, names)


def loss(logits, scale=0.0, kind="conditional"):
    return compute_loss(logits.log_softmax(-1), torch.tensor(LENGTHS), utterances(), scale, kind)


def test_without_entropy_the_sum_is_that_of_torchs_ctc_loss():
    logits = scores()
    sums = loss(logits)
    (gradient,) = torch.autograd.grad(sums.loss, logits)
    expected = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1)[:, :3],
        torch.tensor([1, 2, 2, 3]),
        torch.tensor(LENGTHS[:3]),
        torch.tensor([3, 1, 0]),
        reduction="sum",
    )
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(sums.loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert sums.nll == pytest.approx(float(expected.detach()))
    assert (sums.num_utterances, sums.num_frames) == (3, 16)


def test_an_utterance_too_short_is_named_with_the_frames_it_needs():
    excluded = loss(scores()).excluded
    assert excluded == {"utt-3": "6 frames after subsampling, its 5 tokens need 9"}


@pytest.mark.parametrize("kind", ["conditional", "raw", "per-frame", "per-label"])
@pytest.mark.parametrize("scale", [0.7, -0.7])
def test_the_loss_is_nll_minus_scaled_entropy(kind, scale):
    logits = scores()
    sums = loss(logits, scale, kind)
    assert float(sums.loss.detach()) == pytest.approx(sums.nll - scale * sums.entropy)
    assert sums.entropy > 0
    assert torch.isfinite(torch.autograd.grad(sums.loss, logits)[0]).all()


def test_kinds_of_entropy_by_enumeration():
    """One label in three frames: six alignments of known probability."""
    logits = torch.randn(1, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = logits.softmax(-1)[0]
    paths = ["100", "010", "001", "110", "011", "111"]
    weights = torch.stack([p[0, int(a)] * p[1, int(b)] * p[2, int(c)] for a, b, c in paths])
    posterior = weights / weights.sum()
    conditional = float(-(posterior * posterior.log()).sum())
    raw = float(-(weights * weights.log()).sum())
    one = Utterances(torch.zeros(1, 12, 80), torch.tensor([12]), [[1]], ["utt-0"])
    for kind, expected in {
        "conditional": conditional,
        "raw": raw,
        "per-frame": conditional / 3,
        "per-label": conditional,
    }.items():
        sums = compute_loss(logits.log_softmax(-1), torch.tensor([3]), one, 1.0, kind)
        assert sums.entropy == pytest.approx(expected), kind


def test_a_step_along_the_gradient_moves_the_entropy_the_way_the_sign_says():
    for scale, sign in ((5.0, 1), (-5.0, -1)):
        logits = scores()
        before = loss(logits, scale)
        (gradient,) = torch.autograd.grad(before.loss, logits)
        after = loss((logits - 0.01 * gradient).detach(), scale)
        assert sign * (after.entropy - before.entropy) > 0


def test_nan_scores_are_named_and_not_computed():
    logits = scores().detach()
    logits[1, 2, 3] = float("nan")
    assert loss(logits).not_finite == ["utt-1"]


def test_an_impossible_utterance_is_named():
    log_probs = scores().detach().log_softmax(-1)
    log_probs[1, :, 3] = -torch.inf  # the only label of the second utterance
    sums = compute_loss(log_probs, torch.tensor(LENGTHS), utterances())
    assert sums.not_finite == ["utt-1"]


def test_a_batch_of_excluded_utterances_has_a_zero_gradient():
    logits = scores()
    batch = utterances()
    batch.excluded = dict.fromkeys(range(3), "no")
    sums = compute_loss(logits.log_softmax(-1), torch.tensor(LENGTHS), batch)
    assert (sums.num_utterances, len(sums.excluded)) == (0, 4)
    assert (torch.autograd.grad(sums.loss, logits)[0] == 0).all()


class Letters:
    def encode(self, text: str) -> list[int]:
        if "?" in text:
            raise FsaFormatError("symbol '?' is not in tokens.txt")
        return [ord(letter) - 96 for letter in text]


def lhotse_batch(texts, rows):
    supervisions = {
        "text": texts,
        "num_frames": torch.tensor([7, 5][: len(rows)]),
        "sequence_idx": torch.tensor(rows),
        "cut": [SimpleNamespace(id=f"cut-{row}") for row in rows],
    }
    return {
        "inputs": torch.arange(2.0).view(2, 1, 1).expand(2, 7, 80),
        "supervisions": supervisions,
    }


def test_rows_follow_the_supervisions():
    read = read_batch(lhotse_batch(["ab", "c"], [1, 0]), Letters())
    assert read.tokens == [[1, 2], [3]] and read.names == ["cut-1", "cut-0"]
    assert read.features[:, 0, 0].tolist() == [1.0, 0.0]


def test_a_transcript_that_cannot_be_tokenised_excludes_its_utterance():
    read = read_batch(lhotse_batch(["a?", "c"], [0, 1]), Letters())
    assert list(read.excluded) == [0] and "symbol '?'" in read.excluded[0]


def test_two_supervisions_in_a_cut_are_refused():
    with pytest.raises(FsaValueError, match=r"cut cut-0 has several.*trim_to_supervisions"):
        read_batch(lhotse_batch(["a", "c"], [0, 0]), Letters())
