"""What every encoder must hold: no influence of padding, no look-ahead when causal."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.models.batch_norm import MaskedBatchNorm
from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.conformer import RotaryPositions
from wfst_entropy.asr.models.lstm import LstmLayer
from wfst_entropy.asr.models.masking import chunk_mask
from wfst_entropy.asr.options import OptionError

ENCODERS = ("tdnn", "lstm", "conformer")


def make(encoder: str, **options):
    torch.manual_seed(1)
    sizes = {"encoder_dim": 16, "num_layers": 3, "vocab_size": 7}
    context = {"chunk_size": 4, "left_context_frames": 4}
    return build_model(ModelOptions(encoder=encoder, **(sizes | context | options))).eval()


def run(model, features, lengths):
    """Log-probabilities and lengths."""
    encoder_out, lengths = model(features, lengths)
    return model.ctc_log_probs(encoder_out), lengths


def features(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * 4 - 8


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_batch_gives_what_its_utterances_give_one_by_one(encoder, causal):
    model = make(encoder, causal=causal)
    lengths = torch.tensor([75, 42, 5, 1])
    batch = features(4, 75, 80)
    for i, length in enumerate(lengths):
        batch[i, length:] = 1e3  # padding that would be noticed
    log_probs, out_lengths = run(model, batch, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone, alone_length = run(model, batch[i : i + 1, :length], lengths[i : i + 1])
        assert alone_length.item() == out_lengths[i] == alone.size(1) == -(-length // 4)
        torch.testing.assert_close(log_probs[i, : alone.size(1)], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_does_not_influence_gradients(encoder):
    model = make(encoder).train()
    batch, lengths = features(2, 40, 80), torch.tensor([40, 17])

    def gradient(padding: float) -> torch.Tensor:
        x = batch.clone()
        x[1, 17:] = padding
        model.zero_grad()
        torch.manual_seed(3)
        log_probs, out_lengths = run(model, x, lengths)
        sum(log_probs[i, :n, 1].sum() for i, n in enumerate(out_lengths)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    torch.testing.assert_close(gradient(0.0), gradient(1e3), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_a_causal_encoder_looks_no_further_than_it_may(encoder, factor):
    model = make(encoder, causal=True, subsampling_factor=factor)
    num_out = 12
    x = features(1, factor * num_out, 80)
    length = torch.tensor([x.size(1)])
    before, _ = run(model, x, length)
    chunk = 4 if encoder == "conformer" else 1
    for t in range(num_out):
        # the last frame of its chunk reads the input up to factor * t
        last = (t // chunk * chunk + chunk - 1) * factor
        changed = x.clone()
        changed[:, last + 1 :] += 5.0
        after, _ = run(model, changed, length)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_without_causal_the_future_is_used(encoder):
    model = make(encoder)
    x = features(1, 48, 80)
    length = torch.tensor([48])
    changed = x.clone()
    changed[:, 13:] += 5.0
    assert (run(model, changed, length)[0] - run(model, x, length)[0])[0, 3].abs().max() > 1e-3


def test_a_causal_conformer_uses_its_chunk_and_left_context_only():
    model = make("conformer", causal=True, num_layers=1)
    x = features(1, 64, 80)
    length = torch.tensor([64])
    before, _ = run(model, x, length)

    def difference(first: int, last: int) -> float:
        """Of output frame 9 (chunk 8..11) when inputs of frames first..last change."""
        changed = x.clone()
        changed[:, 4 * first : 4 * last + 1] += 5.0
        return float((run(model, changed, length)[0] - before)[0, 9].detach().abs().max())

    assert difference(11, 11) > 1e-4  # ahead, but in its chunk
    assert difference(12, 15) < 1e-5  # the next chunk


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rows_are_distributions_and_lengths_are_the_documented_ones(encoder):
    model = make(encoder)
    log_probs, lengths = run(model, features(2, 33, 80), torch.tensor([33, 32]))
    assert log_probs.shape == (2, 9, 7) and lengths.tolist() == [9, 8]
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 9))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_bfloat16_stays_close_and_returns_float32(encoder):
    model = make(encoder)
    x, lengths = features(2, 40, 80), torch.tensor([40, 20])
    exact, _ = run(model, x, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = run(model, x, lengths)
    assert rough.dtype == torch.float32
    assert (rough - exact)[:, :5].abs().max() < 0.2


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_is_trained(encoder):
    model = make(encoder).train()
    log_probs, _ = run(model, features(2, 40, 80), torch.tensor([40, 20]))
    log_probs[..., 1].sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_a_bidirectional_layer_equals_torchs_on_packed_sequences():
    torch.manual_seed(0)
    layer = LstmLayer(8).eval()
    twin = torch.nn.LSTM(8, 4, batch_first=True, bidirectional=True)
    twin.load_state_dict(
        dict(layer.forward_lstm.state_dict())
        | {f"{name}_reverse": value for name, value in layer.backward_lstm.state_dict().items()}
    )
    x, lengths = torch.randn(2, 6, 8), torch.tensor([6, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(layer.norm(x), lengths, batch_first=True)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(twin(packed)[0], batch_first=True)
    actual = layer(x, lengths) - x
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(actual[1, :4], expected[1, :4])


def test_rotary_positions_depend_on_distance_only():
    rotate = RotaryPositions(8)
    torch.manual_seed(0)
    q, k = torch.randn(8), torch.randn(8)
    query, key = rotate(q.expand(1, 1, 9, 8))[0, 0], rotate(k.expand(1, 1, 9, 8))[0, 0]
    products = query @ key.T
    for distance in range(-4, 5):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_unlimited_left_context():
    assert chunk_mask(6, 2, -1)[5].all() and not chunk_mask(6, 2, 1)[5][:3].any()


def test_channel_dropout_drops_whole_channels_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = ChannelDropout(0.25).train()
    y = layer(torch.ones(50, 4, 100))
    assert (y == y[:, :1]).all()
    assert abs(y.mean().item() - 1.0) < 0.02
    assert layer.eval()(y) is y


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"num_layers": -1}, "num_layers: needs at least 1, got -1"),
        ({"dropout": 1.0}, "dropout: needs a probability below 1"),
        ({"left_context_frames": -2}, "left_context_frames: needs 0 or more"),
        ({"vocab_size": 0}, "vocab_size: needs the blank"),
        ({"subsampling_factor": 5}, "subsampling_factor: needs one of"),
        ({"encoder": "conformer", "encoder_dim": 18}, "needs a multiple of 2 \\* num_heads = 8"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(options, wording):
    with pytest.raises(OptionError, match=wording):
        make(**({"encoder": "tdnn"} | options))


def test_an_overflow_does_not_stay_in_the_running_averages():
    norm = MaskedBatchNorm(2).train()
    norm(torch.full((1, 3, 2), torch.inf), torch.ones(1, 3, 1))
    assert norm.running_mean.tolist() == [0, 0] and norm.running_var.tolist() == [1, 1]
