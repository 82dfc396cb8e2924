"""A process's share of a batch when memory does not suffice, or some of it is not finite."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.distributed as dist

from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.out_of_memory import is_out_of_memory
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.share import GRADIENT_UNIT, share_of_batch
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.errors import FsaRuntimeError

FRAMES = [80, 72, 60, 44, 41]
TOKENS = [[1, 2, 2], [3], [4, 1], [2], [1, 3]]


def speech() -> Utterances:
    features = torch.randn(5, 80, 80, generator=torch.Generator().manual_seed(0)) * 4 - 8
    return Utterances(features, torch.tensor(FRAMES), TOKENS, list("abcde"))


def make_criterion(encoder="lstm", **options) -> TrainingCriterion:
    torch.manual_seed(0)
    sizes = {"encoder_dim": 8, "num_layers": 1, "decoder_dim": 6, "joiner_dim": 8, "vocab_size": 5}
    model = build_model(ModelOptions(encoder=encoder, use_transducer=True, dropout=0.0, **sizes))
    return TrainingCriterion(model, TrainOptions(entropy_loss_scale=0.1, **options))


def no_scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=False)


def share(criterion, utterances=None):
    criterion.zero_grad()
    sums = share_of_batch(criterion, utterances or speech(), 0, no_scaler())
    gradients = {n: p.grad for n, p in criterion.named_parameters() if p.grad is not None}
    return sums, gradients


def cpu_allocator_error():
    torch.empty(2**60, dtype=torch.uint8)


def cuda_error():
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def python_error():
    raise MemoryError


class Limited:
    """Makes a criterion run out of memory on too many frames, forward or backward."""

    def __init__(self, criterion, max_frames, error=cpu_allocator_error, backward=False):
        self.batches = []
        self.output = lambda: None
        whole = criterion.model.forward_encoder

        def forward_encoder(features, lengths):
            self.batches.append(tuple(features.shape[:2]))
            assert self.output() is None, "what the failed batch computed still takes memory"
            too_many = features.shape[0] * features.shape[1] > max_frames
            if too_many and not backward:
                error()
            encoder_out, out_lengths = whole(features, lengths)
            if too_many:
                self.output = weakref.ref(encoder_out)
                encoder_out.register_hook(lambda gradient: error())
            return encoder_out, out_lengths

        criterion.model.forward_encoder = forward_encoder


def assert_same_gradients(a, b):
    assert a.keys() == b.keys()
    for name, gradient in a.items():
        torch.testing.assert_close(gradient, b[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("error", "backward"),
    [
        (cpu_allocator_error, False),
        (cpu_allocator_error, True),
        (cuda_error, True),
        (python_error, False),
    ],
)
def test_a_batch_that_does_not_fit_is_computed_in_halves(error, backward):
    expected, gradients = share(make_criterion())
    criterion = make_criterion()
    limited = Limited(criterion, 160, error, backward)
    sums, found = share(criterion)
    assert limited.batches == [(5, 80), (3, 80), (2, 80), (1, 60), (2, 44)]
    assert_same_gradients(found, gradients)
    assert float(sums.loss) == pytest.approx(float(expected.loss), rel=1e-5)
    assert sums.terms == pytest.approx(expected.terms, rel=1e-5)
    assert (sums.num_frames, sums.num_utterances) == (expected.num_frames, 5)
    assert sums.notes == [
        "out of memory, computed in two halves: a (0.80 s), b (0.72 s), c (0.60 s), d (0.44 s), "
        "e (0.41 s)",
        "out of memory, computed in two halves: a (0.80 s), b (0.72 s), c (0.60 s)",
    ]
    assert not sums.excluded


@pytest.mark.parametrize("prune_range", [0, 3])
def test_an_utterance_that_does_not_fit_alone_is_left_out_and_named(prune_range):
    rest = speech().select([1, 2, 3, 4])
    _, gradients = share(make_criterion(prune_range=prune_range), rest)
    criterion = make_criterion(prune_range=prune_range)
    Limited(criterion, 79)
    sums, found = share(criterion)
    assert_same_gradients(found, gradients)
    assert list(sums.excluded) == ["a (0.80 s)"] and sums.num_utterances == 4
    assert "memory does not suffice" in sums.excluded["a (0.80 s)"]


def test_gradients_are_those_of_the_sum_and_are_added():
    criterion = make_criterion()
    sums, gradients = share(criterion)
    criterion.zero_grad()
    criterion(speech(), 0).loss.backward()
    once = {n: p.grad.clone() * GRADIENT_UNIT for n, p in criterion.named_parameters()}
    assert_same_gradients(gradients, once)
    share_of_batch(criterion, speech(), 0, no_scaler())  # onto those of backward()
    twice = {n: p.grad for n, p in criterion.named_parameters()}
    expected = {n: g * (1 + 1 / GRADIENT_UNIT) for n, g in once.items()}
    assert_same_gradients(twice, expected)
    assert not sums.loss.requires_grad


def test_without_gradients_nothing_is_left():
    criterion = make_criterion()
    Limited(criterion, 160)
    sums = share_of_batch(criterion, speech(), 0)
    assert sums.num_utterances == 5 and len(sums.notes) == 2
    assert all(parameter.grad is None for parameter in criterion.parameters())


def diverge(criterion, names):
    """Make the encoder's output for these utterances NaN, in whatever batch they are."""
    whole = criterion.model.forward_encoder
    marks = {float(speech().features["abcde".index(name), 0, 0]) for name in names}

    def forward_encoder(features, lengths):
        encoder_out, lengths = whole(features, lengths)
        for row in range(len(features)):
            if float(features[row, 0, 0]) in marks:
                encoder_out = encoder_out.index_fill(0, torch.tensor([row]), torch.nan)
        return encoder_out, lengths

    criterion.model.forward_encoder = forward_encoder


def test_utterances_that_are_not_finite_are_left_out_of_their_batch():
    _, gradients = share(make_criterion(), speech().select([0, 2, 3]))
    criterion = make_criterion()
    diverge(criterion, "be")
    sums, found = share(criterion)
    assert_same_gradients(found, gradients)
    reason = "its loss is not finite"
    assert sums.excluded == {"b (0.72 s)": reason, "e (0.41 s)": reason}
    assert not sums.not_finite and sums.num_utterances == 3


def test_a_share_that_is_not_finite_at_all_changes_no_gradient():
    criterion = make_criterion()
    diverge(criterion, "abcde")
    Limited(criterion, 300)
    before = {n: torch.ones_like(p) for n, p in criterion.named_parameters()}
    for name, parameter in criterion.named_parameters():
        parameter.grad = before[name].clone()
    sums = share_of_batch(criterion, speech(), 0, no_scaler())
    assert sums.not_finite == [0, 1, 2, 3, 4] and float(sums.loss) == 0.0
    assert_same_gradients({n: p.grad for n, p in criterion.named_parameters()}, before)


def test_a_half_that_is_not_finite_does_not_spoil_the_other():
    _, gradients = share(make_criterion(), speech().select([3, 4]))
    criterion = make_criterion()
    diverge(criterion, "abc")
    Limited(criterion, 300)
    sums, found = share(criterion)
    assert_same_gradients(found, gradients)
    assert list(sums.excluded) == ["a (0.80 s)", "b (0.72 s)", "c (0.60 s)"]
    assert not sums.not_finite and sums.num_utterances == 2


def test_other_errors_are_not_taken_for_want_of_memory():
    criterion = make_criterion()

    def wrong():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    Limited(criterion, 0, wrong)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        share(criterion)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_batch_normalisation_across_processes_cannot_be_split(monkeypatch):
    criterion = make_criterion("tdnn")
    Limited(criterion, 160)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(FsaRuntimeError, match=r"a \(0\.80 s\).*lower --max-duration"):
        share(criterion)
