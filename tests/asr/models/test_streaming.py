"""Chunk by chunk, a causal model gives what it gives for whole utterances."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.errors import FsaValueError

# name: options, and the chunk sizes to try (of a conformer, the model's own)
MODELS = {
    "tdnn": ({"encoder": "tdnn", "num_layers": 4}, (1, 3, 5)),
    "lstm": ({"encoder": "lstm"}, (1, 3, 5)),
    "projected": ({"encoder": "lstm", "projection_dim": 6, "time_reduction": (1,)}, (1, 2, 5)),
    "conformer": ({"encoder": "conformer"}, (1, 2, 3, 7)),
}
EACH_CHUNK = [(name, chunk) for name, (_, chunks) in MODELS.items() for chunk in chunks]
DTYPES = {torch.float64: 1e-12, torch.float32: 2e-5}
EACH_CHUNK_AND_DTYPE = [(*pair, torch.float64) for pair in EACH_CHUNK]
EACH_CHUNK_AND_DTYPE += [(name, 2, torch.float32) for name in MODELS]


def make(name: str, dtype: torch.dtype = torch.float64, **options):
    torch.manual_seed(1)
    sizes = {"encoder_dim": 8, "num_layers": 2, "num_heads": 2, "vocab_size": 5, "feature_dim": 9}
    options = {"causal": True, "left_context_frames": "5"} | options
    model = build_model(ModelOptions(**(sizes | MODELS[name][0] | options))).to(dtype).eval()
    for module in model.modules():  # statistics of a trained model
        if hasattr(module, "running_mean"):
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return model


def features(num_frames: int, dtype: torch.dtype = torch.float64, rows: int = 1):
    generator = torch.Generator().manual_seed(2 + num_frames)
    return torch.randn(rows, num_frames, 9, generator=generator, dtype=dtype) * 4 - 8


def set_chunk(model, chunk: int) -> None:
    model.set_chunk(chunk, model.encoder.left_context_frames)


@torch.no_grad()
def stream(model, x, states=None):
    """The frames of one stream or several of one length, in chunks of the model's size."""
    states = model.initial_states(len(x), "cpu") if states is None else states
    outputs = []
    for chunk in x.split(model.chunk_frames, dim=1):
        out, lengths, states = model.forward_chunk(
            chunk, torch.full((len(x),), chunk.size(1)), states
        )
        assert lengths.tolist() == [out.size(1)] * len(x)
        outputs.append(out)
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize(("name", "chunk", "dtype"), EACH_CHUNK_AND_DTYPE)
def test_chunks_give_what_the_whole_utterance_gives(name, chunk, dtype):
    model, tolerance = make(name, dtype), DTYPES[dtype]
    set_chunk(model, chunk)
    x = features(51, dtype)
    with torch.no_grad():
        whole, lengths = model(x, torch.tensor([51]))
    chunked = stream(model, x)
    assert chunked.shape == whole.shape and lengths.tolist() == [whole.size(1)]
    torch.testing.assert_close(chunked, whole, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_streams_of_different_ages_share_a_batch(name):
    """One stream starts with every call, and each ends when its frames do."""
    model = make(name)
    set_chunk(model, 2)
    utterances = [features(n) for n in (61, 8, 29, 1)]
    waiting, running, found = list(enumerate(utterances)), {}, {}
    while waiting or running:
        if waiting:
            number, x = waiting.pop(0)
            running[number] = (x, model.initial_states(1, "cpu"))
            found[number] = []
        lengths = [min(x.size(1), model.chunk_frames) for x, _ in running.values()]
        batch = torch.full((len(running), model.chunk_frames, 9), 1e3, dtype=torch.float64)
        for row, (x, _) in zip(batch, running.values()):
            row[: x.size(1)] = x[0, : model.chunk_frames]
        states = [torch.cat(rows) for rows in zip(*(states for _, states in running.values()))]
        out, out_lengths, states = model.forward_chunk(batch, torch.tensor(lengths), states)
        for row, number in enumerate(list(running)):
            found[number].append(out[row, : out_lengths[row]])
            rest = running[number][0][:, model.chunk_frames :]
            running[number] = (rest, [state[row : row + 1] for state in states])
            if not rest.size(1):
                del running[number]
    for number, x in enumerate(utterances):
        alone, _ = model(x, torch.tensor([x.size(1)]))
        torch.testing.assert_close(torch.cat(found[number]), alone[0], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_chunk_changes_neither_its_states_nor_its_features(name):
    model = make(name)
    set_chunk(model, 2)
    chunk, states = features(model.chunk_frames), model.initial_states(1, "cpu")
    length = torch.tensor([chunk.size(1)])
    for _ in range(2):
        before = [state.clone() for state in (chunk, length, *states)]
        _, _, after = model.forward_chunk(chunk, length, states)
        assert all(map(torch.equal, before, (chunk, length, *states)))
        assert [s.shape for s in after] == [s.shape for s in states]
        states = after


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("causal", [False, True])
def test_an_utterance_without_frames_is_no_nan(name, causal):
    model = make(name, causal=causal).train()
    encoder_out, lengths = model(features(20, rows=2), torch.tensor([20, 0]))
    assert lengths[1] == 0 and encoder_out.isfinite().all()
    encoder_out[0].square().sum().backward()
    used = [p.grad for name, p in model.named_parameters() if not name.startswith("ctc_output")]
    assert all(grad is not None and grad.isfinite().all() for grad in used)
    if causal:
        model.eval()
        set_chunk(model, 2)
        first = features(model.chunk_frames, rows=2)
        states = model.initial_states(2, "cpu")
        out, lengths, states = model.forward_chunk(first, torch.tensor([first.size(1), 0]), states)
        assert lengths[1] == 0 and out.isfinite().all()
        assert all(state.isfinite().all() for state in states)


def test_a_left_context_of_one_chunk_less_than_the_utterance_is_unlimited():
    model = make("conformer")
    x, length = features(60), torch.tensor([60])
    outputs = []
    for left_context in (12, 14, 100, -1):
        model.set_chunk(3, left_context)
        outputs.append(model(x, length)[0])
    assert (outputs[0][:, :3] == outputs[1][:, :3]).all()
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-12, rtol=1e-12)
    assert torch.equal(outputs[2], outputs[3])
    model.set_chunk(3, 2)
    assert (model(x, length)[0] - outputs[0]).abs().max() > 1e-4


def test_training_draws_one_chunk_for_each_batch():
    options = {"chunk_size": "2,4,-1", "left_context_frames": "1,-1", "dropout": 0.0}
    model = make("conformer", **options)
    x, length = features(48), torch.tensor([48])
    chosen = {}
    for chunk in (2, 4, -1):
        for left_context in (1, -1):
            model.set_chunk(chunk, left_context)
            chosen[chunk, left_context] = model(x, length)[0]
    model.train()
    torch.manual_seed(3)
    drawn = [model(x, length)[0] for _ in range(24)]
    torch.manual_seed(3)
    assert torch.equal(model(x, length)[0], drawn[0])
    # whatever the left context, a chunk without end is the whole utterance
    assert all(any(torch.equal(y, z) for z in chosen.values()) for y in drawn)
    assert all(any(torch.equal(y, z) for y in drawn) for z in chosen.values())
    assert torch.equal(chosen[-1, 1], chosen[-1, -1])
    first = make("conformer", **options)  # evaluation without a choice: the first of each
    assert torch.equal(first(x, length)[0], chosen[2, 1])


def test_with_one_chunk_size_no_random_number_is_used():
    model = make("conformer", dropout=0.0).train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model(features(20), torch.tensor([20]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_what_looks_ahead_cannot_be_streamed(name):
    model = make(name, causal=False)
    calls = (
        lambda: model.initial_states(1, "cpu"),
        lambda: model.forward_chunk(features(4), torch.tensor([4]), []),
        lambda: model.set_chunk(4, 4),
        lambda: model.chunk_frames,
    )
    for call in calls:
        with pytest.raises(OptionError, match=r"looks ahead.*--causal true"):
            call()


def test_streams_need_limits():
    model = make("conformer")
    model.set_chunk(4, -1)
    with pytest.raises(OptionError, match="-1 asks for all; choose one"):
        model.initial_states(1, "cpu")
    model.set_chunk(-1, 4)
    with pytest.raises(OptionError, match="chunk_size: -1 is the whole utterance"):
        model.chunk_frames  # noqa: B018
    with pytest.raises(OptionError, match=r"chunk_size: needs at least 1 frame.*got 0"):
        model.set_chunk(0, 4)
    with pytest.raises(OptionError, match=r"left_context_frames: needs 0 or more.*got -2"):
        model.set_chunk(4, -2)


@pytest.mark.parametrize(
    ("shape", "lengths", "wording"),
    [
        ((2, 8, 8), [8, 8], r"features: needs shape \(N, T, 9\).*got \(2, 8, 8\)"),
        ((2, 0, 9), [0, 0], r"features: .*at least one frame, got \(2, 0, 9\)"),
        ((2, 8, 9), [8], r"lengths: needs one number for each of the 2 rows.*\(1,\)"),
        ((2, 20, 9), [20, 20], r"at most 16 frames here \(chunk size 4 x subsampling 4\), got 20"),
        ((3, 8, 9), [8, 8, 8], r"states: needs those of 3 streams.*got rows \[2, 2, 2, "),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, lengths, wording):
    model = make("conformer", chunk_size="4")
    states = model.initial_states(2, "cpu")
    with pytest.raises(FsaValueError, match=wording):
        model.forward_chunk(torch.zeros(shape, dtype=torch.float64), torch.tensor(lengths), states)
