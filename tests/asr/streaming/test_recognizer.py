"""A stream has the text of the whole utterance: any encoder, search, pieces and company."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

from wfst_entropy.asr.data.fbank import make_extractor
from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.streaming.endpoint import EndpointOptions
from wfst_entropy.asr.streaming.online_fbank import FrameExtractor
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream import Stream
from wfst_entropy.fsa import Fsa, FsaError, save_fsa
from wfst_entropy.lang import LangDir

TOKENS = ["<blk>", "▁", "A", "B", "C"]
MODELS = {
    "lstm": {"encoder": "lstm", "time_reduction": (1,)},
    "tdnn": {"encoder": "tdnn"},
    "conformer": {"encoder": "conformer", "num_heads": 2, "chunk_size": "4,8"},
}
TRANSDUCER_METHODS = ("greedy_search", "modified_beam_search", "fast_beam_search")
GRAPH_METHODS = ("fast_beam_search_LG", "fast_beam_search_nbest_LG", "1best")
METHODS = (*TRANSDUCER_METHODS, *GRAPH_METHODS, "ctc-greedy-search", "ctc-prefix-beam-search")
# A, B or AC, again and again, each with the separator before it.
LG = """
0 1 1 0 0
1 2 2 1 -0.5
1 2 3 2 -0.5
1 3 2 3 -0.7
2 0 0 0 0
2 4 -1 -1 0
3 2 4 0 0
4
"""


def tiny_model(name, **changes):
    torch.manual_seed(1)
    sizes = {"encoder_dim": 16, "num_layers": 2, "decoder_dim": 8, "joiner_dim": 8}
    options = {"causal": True, "use_transducer": True, "vocab_size": len(TOKENS), **sizes}
    model = build_model(ModelOptions(**(options | MODELS[name] | changes))).eval()
    with torch.no_grad():
        # far from uniform, so that there are tokens, and rounding decides nothing
        features = torch.randn(1, 400, 80) * 4 - 8
        encoder_out, _ = model.forward_encoder(features, torch.tensor([400]))
        head = model.transducer
        am, (lm, _) = head.project_encoder(encoder_out), head.start(1)
        for output, logits in (
            (model.ctc_output, lambda: model.ctc_output(encoder_out)),
            (head.joiner.output, lambda: head.joiner(am, lm)),
        ):
            output.weight *= 30
            output.bias -= logits().mean(dim=(0, 1))
    return model


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    lines = [f"{token} {i}\n" for i, token in enumerate([*TOKENS, "#0"])]
    (folder / "tokens.txt").write_text("".join(lines))
    words = ["<eps>", "A", "B", "AC", "#0"]
    (folder / "words.txt").write_text("".join(f"{w} {i}\n" for i, w in enumerate(words)))
    (folder / "lexicon.txt").write_text("A ▁ A\nB ▁ B\nAC ▁ A C\n")
    save_fsa(Fsa.from_str(LG, num_aux_labels=1), folder / "LG.pt")
    return LangDir(folder)


def method_of(name, model, lang):
    options = SearchOptions(topology="standard", search_beam=50.0)
    setup = SearchSetup(CharTokenizer(TOKENS), lang, options, transducer=model.transducer)
    return make_method(name, setup)


def utterances(*sizes):
    generator = torch.Generator().manual_seed(0)
    # bursts of noise, so that frames differ
    return [
        torch.randn(size, generator=generator)
        * torch.rand(size // 800 + 1, generator=generator).repeat_interleave(800)[:size]
        for size in sizes
    ]


@torch.inference_mode()
def whole(model, method, samples):
    extractor = make_extractor("lhotse")
    features = [torch.from_numpy(extractor.extract(each.numpy(), 16000)) for each in samples]
    lengths = torch.tensor([len(each) for each in features])
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    scores, lengths = model.forward_encoder(padded, lengths)
    if method.reads == "ctc_log_probs":
        scores = model.ctc_log_probs(scores)
    return method.search(scores, lengths, [[]] * len(samples))


def drain(recognizer, streams):
    while any(map(recognizer.is_ready, streams)):
        recognizer.decode_streams(streams)


def streamed(recognizer, samples, piece):
    """All at once, in pieces; the last ones to begin wait for the first to have heard some."""
    streams = [recognizer.create_stream() for _ in samples]
    pieces = [iter(each.split(piece)) for each in samples]
    for turn in itertools.count():
        for row, stream in enumerate(streams):
            if turn >= 2 * row and not stream.is_finished:
                block = next(pieces[row], None)
                if block is None:
                    stream.input_finished()
                else:
                    stream.accept_waveform(16000, block)
        drain(recognizer, streams)
        if all(stream.is_decoded for stream in streams):
            return [recognizer.result(stream) for stream in streams]


# one search of a transducer and one of CTC for each encoder, all searches for one; all pairs: slow
PAIRS = [
    pytest.param(
        *(encoder, name),
        marks=()
        if encoder == "lstm" or name in ("greedy_search", "ctc-greedy-search")
        else pytest.mark.slow,
    )
    for encoder in MODELS
    for name in METHODS
]


@pytest.mark.parametrize(("encoder", "name"), PAIRS)
def test_text_of_a_stream_is_that_of_the_whole(encoder, name, lang):
    model = tiny_model(encoder)
    method = method_of(name, model, lang)
    samples = utterances(8000, 5777)
    for chunk_size in (4, 8) if (encoder, name) == ("conformer", "greedy_search") else (4,):
        model.set_chunk(chunk_size, 8)
        expected = whole(model, method, samples)
        recognizer = StreamingRecognizer(
            model, method, chunk_size=chunk_size, left_context_frames=8
        )
        assert any(each.words for each in expected)
        for piece, group in ((1000, samples), (5000, samples[:1]))[: 2 if encoder == "lstm" else 1]:
            for found, hypothesis in zip(streamed(recognizer, group, piece), expected):
                assert found.text.split() == hypothesis.words
                step = recognizer.seconds_per_frame
                assert [word.start for word in found.words] == pytest.approx(
                    [word.start * step for word in hypothesis.times]
                )
                assert found.is_final


def test_words_come_while_the_stream_goes_on(lang):
    model = tiny_model("lstm")
    recognizer = StreamingRecognizer(model, method_of("greedy_search", model, lang), chunk_size=2)
    (samples,) = utterances(16000)
    stream, texts = recognizer.create_stream(), []
    assert not recognizer.is_ready(stream) and recognizer.result(stream).text == ""
    for piece in samples.split(1600):
        stream.accept_waveform(16000, piece)
        drain(recognizer, [stream])
        result = recognizer.result(stream)
        # a greedy search only adds to what it has found
        assert not result.is_final and (not texts or result.text.startswith(texts[-1]))
        assert result.heard <= stream.duration
        texts.append(result.text)
    stream.input_finished()
    drain(recognizer, [stream])
    result = recognizer.result(stream)
    assert result.is_final and result.heard == 1.0 and len(set(texts)) > 2
    chunk = recognizer.chunk_frames * 0.01
    for word in result.words:
        assert word.first <= word.stable <= word.final == 1.0
        # its frame had been heard, and at most one chunk had to be waited for
        assert word.end - recognizer.seconds_per_frame < word.first <= word.end + chunk
    assert len(result.timestamps) == len(result.tokens)


@pytest.mark.parametrize("name", ["greedy_search", "1best"])
def test_segments_end_by_rules_and_times_go_on(name, lang):
    model = tiny_model("lstm")
    recognizer = StreamingRecognizer(
        model,
        method_of(name, model, lang),
        chunk_size=2,
        endpoint=EndpointOptions(rule3_min_utterance_length=0.4),
    )
    (samples,) = utterances(16000)
    stream, segments = recognizer.create_stream(), []
    stream.accept_waveform(16000, samples)
    stream.input_finished()
    while recognizer.is_ready(stream):
        recognizer.decode_streams([stream])
        if recognizer.is_endpoint(stream):
            segments.append(recognizer.result(stream))
            recognizer.reset(stream)
            assert recognizer.result(stream).text == ""
    segments.append(recognizer.result(stream))
    assert [each.segment for each in segments] == [0, 1, 2]
    assert [each.start for each in segments] == pytest.approx([0.0, 0.48, 0.96])
    assert all(each.is_final for each in segments)
    for before, after in itertools.pairwise(segments):
        assert all(word.start >= after.start for word in after.words)
        assert all(word.end <= after.start + 1e-9 for word in before.words)
        assert all(word.final == before.heard for word in before.words)
    if name == "greedy_search":
        # the search begins anew, the model goes on: the same frames find their tokens again
        assert sum(bool(each.words) for each in segments) >= 2


@pytest.mark.parametrize("silent", [True, False])
def test_the_encoder_begins_anew_after_silence_only(silent, lang):
    model = tiny_model("lstm")
    with torch.no_grad():
        model.ctc_output.bias[0] += 1e4 if silent else -1e4
    recognizer = StreamingRecognizer(
        *(model, method_of("ctc-greedy-search", model, lang)),
        chunk_size=2,
        endpoint=EndpointOptions(0.3, 0.3, rule3_min_utterance_length=0.4),
    )
    (samples,) = utterances(8000)
    stream, fresh = recognizer.create_stream(), recognizer.create_stream()
    stream.accept_waveform(16000, samples)
    while not recognizer.is_endpoint(stream):
        recognizer.decode_streams([stream])
    recognizer.reset(stream)
    states = zip(stream.model_states, fresh.model_states, strict=True)
    assert all(torch.equal(a, b) for a, b in states) == silent
    recognizer.decode_streams([stream])
    recognizer.reset(stream, reset_encoder=True)
    states = zip(stream.model_states, fresh.model_states, strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_silence_ends_a_segment():
    options = EndpointOptions(rule1_min_trailing_silence=2.0, rule2_min_trailing_silence=1.0)
    assert not options.is_endpoint(0.9, 3.0, has_words=True)
    assert options.is_endpoint(1.0, 3.0, has_words=True)
    assert not options.is_endpoint(1.9, 1.9, has_words=False)
    assert options.is_endpoint(2.0, 2.0, has_words=False)
    assert options.is_endpoint(0.0, 20.0, has_words=True)
    with pytest.raises(OptionError, match="rule1_min_trailing_silence: needs at least 0 seconds"):
        EndpointOptions(rule1_min_trailing_silence=-1.0)


def test_a_chunk_that_fails_changes_no_stream(lang):
    model = tiny_model("lstm")
    recognizer = StreamingRecognizer(
        model, method_of("ctc-greedy-search", model, lang), chunk_size=4
    )
    (samples,) = utterances(16000)
    streams = [recognizer.create_stream() for _ in range(2)]
    for stream in streams:
        stream.accept_waveform(16000, samples)
    bias = model.ctc_output.bias
    model.ctc_output.bias = torch.nn.Parameter(torch.full((5,), torch.nan))
    with pytest.raises(FsaError, match="NaN"):
        recognizer.decode_streams(streams)
    model.ctc_output.bias = bias
    assert [stream.num_frames for stream in streams] == [0, 0]
    drain(recognizer, streams)
    expected = streamed(recognizer, [samples], 16000)[0].text
    assert expected.startswith(recognizer.result(streams[0]).text)
    assert recognizer.result(streams[0]).text == recognizer.result(streams[1]).text != ""


def test_a_stream_without_audio_is_empty(lang):
    model = tiny_model("lstm")
    for name in METHODS:
        recognizer = StreamingRecognizer(model, method_of(name, model, lang))
        stream = recognizer.create_stream()
        stream.accept_waveform(8000, torch.zeros(100))
        stream.input_finished()
        assert not recognizer.is_ready(stream)
        result = recognizer.result(stream)
        assert (result.text, result.words, result.is_final) == ("", [], True)


def test_refusals(lang):
    model = tiny_model("lstm")
    method = method_of("greedy_search", model, lang)
    with pytest.raises(OptionError, match=r"looks ahead.*train with --causal"):
        StreamingRecognizer(tiny_model("lstm", causal=False), method)
    with pytest.raises(OptionError, match="chunk_size: needs at least 1"):
        StreamingRecognizer(model, method, chunk_size=0)
    with pytest.raises(OptionError, match="nbest-oracle needs whole utterances"):
        StreamingRecognizer(model, method_of("nbest-oracle", model, lang))
    with pytest.raises(OptionError, match=r"chunk_size: 1000000000 is a chunk of 80000000 s"):
        StreamingRecognizer(model, method, chunk_size=10**9)
    recognizer = StreamingRecognizer(tiny_model("lstm"), method)
    stream = recognizer.create_stream()
    with pytest.raises(FsaError, match="one is there twice"):
        recognizer.decode_streams([stream, stream])
    other = StreamingRecognizer(tiny_model("lstm", encoder_dim=8), method)
    with pytest.raises(FsaError, match=r"streams\[1\]: is of another recogniser"):
        recognizer.decode_streams([stream, other.create_stream()])
    StreamingRecognizer(recognizer.model, method, chunk_size=4)
    with pytest.raises(FsaError, match=r"model: has chunks.*\(4, .*load a model for each"):
        recognizer.decode_streams([stream])


@pytest.mark.parametrize("name", TRANSDUCER_METHODS)
def test_a_stream_without_any_path_says_so(name, lang, monkeypatch):
    model = tiny_model("lstm")
    method = method_of(name, model, lang)
    recognizer = StreamingRecognizer(model, method, chunk_size=4)
    samples = utterances(4000)
    (found,) = streamed(recognizer, samples, 1000)
    assert found.problem == ""
    nothing = torch.full((1, len(TOKENS)), -torch.inf)
    monkeypatch.setattr(model.transducer, "join", lambda am, lm: nothing.expand(len(lm), -1))
    (found,), (hypothesis,) = streamed(recognizer, samples, 1000), whole(model, method, samples)
    assert found.problem == hypothesis.problem != ""


def test_samples_of_any_layout_are_the_same():
    samples = (torch.arange(-400, 400) * 40).to(torch.int16).numpy()
    streams = []
    for each in (
        samples,
        np.frombuffer(samples.tobytes(), dtype=np.int16),  # cannot be written to
        samples.astype(">i2"),
        samples.repeat(2)[::2],
        samples / np.longdouble(32768),
        torch.from_numpy(samples).double() / 32768,
    ):
        stream = Stream(FrameExtractor(), [], None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stream.accept_waveform(16000, each)
        streams.append(stream)
    expected = streams[0].next_frames(100)
    assert len(expected) == 4
    assert all(torch.equal(stream.next_frames(100), expected) for stream in streams)


def test_frames_wait_without_being_copied():
    stream = Stream(FrameExtractor(), [], None)
    (samples,) = utterances(48000)
    for piece in samples.split([30000, 500, 17500]):
        stream.accept_waveform(16000, piece)
    stream.input_finished()
    whole = stream.next_frames(1000)
    first = stream._features[0].untyped_storage().data_ptr()
    taken = []
    while stream.num_frames_ready:
        taken.append(stream.next_frames(7))
        stream.drop_frames(len(taken[-1]))
        if stream.num_frames < 180:  # of the first piece, an hour in earnest
            assert stream._features[0].untyped_storage().data_ptr() == first
    assert torch.equal(torch.cat(taken), whole) and len(whole) == 300


@pytest.mark.parametrize(
    ("rate", "samples", "message"),
    [
        (16000, torch.zeros(2, 5), r"one channel, \(n,\), got \(2, 5\)"),
        (16000, torch.tensor([0.0, torch.nan]), r"nan at sample 1 of this piece, 0.0501 s after"),
        (16000, torch.zeros(5, dtype=torch.int64), "floating-point or int16, got torch.int64"),
        (16000, [0.0, 0.0], "a tensor or an array, floating-point or int16, got list"),
        (44100, torch.zeros(5), "the stream began with 16000 Hz, got 44100"),
        (0, torch.zeros(5), "an integer in 1000"),
        (16000.5, torch.zeros(5), "an integer in 1000"),
    ],
)
def test_audio_that_cannot_be_taken(rate, samples, message, lang):
    model = tiny_model("lstm")
    stream = StreamingRecognizer(model, method_of("greedy_search", model, lang)).create_stream()
    stream.accept_waveform(16000, torch.zeros(800, dtype=torch.int16))
    with pytest.raises(FsaError, match=message):
        stream.accept_waveform(rate, samples)
    stream.input_finished()
    with pytest.raises(FsaError, match=r"input_finished\(\) has been called"):
        stream.accept_waveform(16000, torch.zeros(5))
    assert stream.duration == 0.05
