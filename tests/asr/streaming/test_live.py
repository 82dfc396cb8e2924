"""Files and pipes to words while they come: what is printed, when, and what is wrong with some."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import signal

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.decode.streaming_word import StreamingWord
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.streaming.audio_pieces import Piece, file_pieces, pcm_pieces
from wfst_entropy.asr.streaming.ctrl_c import until_ctrl_c
from wfst_entropy.asr.streaming.endpoint import EndpointOptions
from wfst_entropy.asr.streaming.live import LiveTranscription
from wfst_entropy.asr.streaming.online_fbank import OnlineFbank
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.streaming.streaming_run import load_streaming_run
from wfst_entropy.asr.training.checkpoint import save_checkpoint
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.cli import transcribe as transcribe_verb
from wfst_entropy.cli.main import app
from wfst_entropy.fsa import FsaError

runner = CliRunner()
TOKENS = ["<blk>", "▁", "A", "B"]
SAMPLES = (8000 * np.random.default_rng(1).standard_normal(16000)).clip(-32768, 32767)
SAMPLES = SAMPLES.astype("<i2")


def make_run(folder, **changes):
    """A run whose random model hears letters in noise."""
    torch.manual_seed(1)
    folder.mkdir()
    (folder / "tokens.txt").write_text("".join(f"{t} {i}\n" for i, t in enumerate(TOKENS)))
    (folder / "words.txt").write_text("<eps> 0\n")
    (folder / "lexicon.txt").write_text("")
    options = ModelOptions(
        encoder="lstm", encoder_dim=16, num_layers=1, vocab_size=4, **({"causal": True} | changes)
    )
    data = DataOptions(lang_dir=folder, manifest_dir=folder)
    RunConfig(options, data, TrainOptions(exp_dir=folder)).save()
    model = build_model(options).eval()
    with torch.no_grad():
        features = torch.randn(1, 400, 80) * 4 - 2
        encoder_out, _ = model.forward_encoder(features, torch.tensor([400]))
        model.ctc_output.weight *= 30
        model.ctc_output.bias -= model.ctc_output(encoder_out).mean(dim=(0, 1))
    state = model.state_dict()
    save_checkpoint(folder / "epoch-1.pt", {"model": state, "model_avg": state})
    return folder


@pytest.fixture(scope="module")
def exp_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "exp")


def recognizer_of(exp_dir, **options):
    given = StreamDecodeOptions(exp_dir=exp_dir, chunk_size=2)
    return load_streaming_run(given, SearchOptions(), **options).recognizer


@pytest.fixture(scope="module")
def recognizer(exp_dir):
    return recognizer_of(exp_dir)


def transcribe(*arguments, source=b""):
    result = runner.invoke(app, ["transcribe", *map(str, arguments)], input=source)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout.splitlines(), result.stderr


def test_a_file_and_a_pipe_are_the_same(exp_dir, tmp_path):
    rate = 44100
    soundfile.write(tmp_path / "noise.wav", SAMPLES, rate)
    options = ("--exp-dir", exp_dir, "--chunk-size", 2, "--json")
    code, lines, errors = transcribe(tmp_path / "noise.wav", *options)
    assert code == 0 and "words in" in errors, errors
    found = [json.loads(line) for line in lines]
    assert [each["type"] for each in found] == ["partial"] * (len(found) - 1) + ["final"]
    assert len(found) > 2 and found[-1]["heard"] == pytest.approx(len(SAMPLES) / rate, abs=0.01)
    for earlier, later in itertools.pairwise(found):
        assert earlier["time"] <= later["time"] and earlier["heard"] <= later["heard"]
    for word in found[-1]["words"]:
        assert 0 <= word["partial_latency"] <= word["final_latency"]
    code, lines, _ = transcribe("-", *options, "--sample-rate", rate, source=SAMPLES.tobytes())
    assert code == 0
    piped = [json.loads(line) for line in lines]
    assert [each["text"] for each in piped] == [each["text"] for each in found]


def test_lines_for_people(exp_dir, tmp_path):
    soundfile.write(tmp_path / "noise.flac", SAMPLES, 16000)
    code, lines, _ = transcribe(
        tmp_path / "noise.flac", "--exp-dir", exp_dir, "--chunk-size", 2, "--times",
        "--endpoint", "--rule3-min-utterance-length", 0.4,
    )  # fmt: skip
    assert code == 0
    rows = [line.split("\t") for line in lines]
    finals = [i for i, row in enumerate(rows) if row[0] == "final"]
    assert len(finals) == 3
    for place, row in enumerate(rows):
        assert row[0] in ("partial", "final", "word")
        if row[0] == "final":
            words = row[3].split()
            told = rows[place + 1 : place + 1 + len(words)]
            assert [(each[0], each[5]) for each in told] == [("word", word) for word in words]


def test_the_pace_of_speech_and_what_words_wait_for(recognizer):
    now = [100.0]

    def sleep(seconds):
        now[0] += seconds

    live = LiveTranscription(recognizer, realtime=True, clock=lambda: now[0], sleep=sleep)
    pieces = [Piece(torch.from_numpy(each), 16000) for each in np.split(SAMPLES, 20)]
    found = list(live.results(pieces))
    # computing takes no time by this clock: a piece of 50 ms and the end of the window are all
    for each in found[:-1]:
        assert each.result.heard <= each.time <= each.result.heard + 0.05 + 1e-6
        for place, word in enumerate(each.result.words):
            assert each.told[place].first == pytest.approx(word.first, abs=0.05)
            assert each.final_latency(place) is None
    assert now[0] == pytest.approx(101.0) and found[-1].time == pytest.approx(1.0)


def test_ctrl_c_ends_the_audio_and_its_last_words_come(recognizer):
    def interrupted():
        yield Piece(torch.from_numpy(SAMPLES), 16000)
        raise KeyboardInterrupt

    live = LiveTranscription(recognizer)
    found = list(live.results(interrupted()))
    whole = LiveTranscription(recognizer)
    expected = list(whole.results([Piece(torch.from_numpy(SAMPLES), 16000)]))
    assert live.interrupted and not whole.interrupted
    assert found[-1].result.is_final and found[-1].result.text == expected[-1].result.text != ""


@pytest.mark.parametrize("line", [0, 1, None])
def test_ctrl_c_right_after_a_line_loses_no_word(line, exp_dir, monkeypatch):
    options = ("--exp-dir", exp_dir, "--chunk-size", 2)
    _, expected, _ = transcribe("-", *options, source=SAMPLES.tobytes())
    assert len(expected) > 3
    last = len(expected) - 1
    numbers, print_line = itertools.count(), transcribe_verb._print_line

    def interrupted(told, replaces):
        print_line(told, replaces)
        if next(numbers) == (last if line is None else line):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(transcribe_verb, "_print_line", interrupted)
    code, lines, errors = transcribe("-", *options, source=SAMPLES.tobytes())
    # what was heard by then, no more; at the last line nothing was left to end
    kinds = [row.split("\t")[0] for row in lines]
    assert kinds == ["partial"] * (last if line is None else line + 1) + ["final"]
    assert code == (0 if line is None else 130) and "words in" in errors
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait():
    with until_ctrl_c([Piece(torch.from_numpy(SAMPLES), 16000)]) as audio:
        next(audio)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_muted_microphone_is_heard_as_faint_noise(exp_dir, monkeypatch):
    heard, accept = [], OnlineFbank.accept

    def noted(online, samples):
        heard.append(accept(online, samples))
        return heard[-1]

    monkeypatch.setattr(OnlineFbank, "accept", noted)
    code, _, errors = transcribe("-", "--exp-dir", exp_dir, source=bytes(32000))
    assert code == 0 and torch.cat(heard).std(0).max() > 0.1, errors


def test_no_segment_without_words(exp_dir):
    rules = EndpointOptions(rule1_min_trailing_silence=0.1, rule3_min_utterance_length=0.2)
    deaf = recognizer_of(exp_dir, endpoint=rules)
    with torch.no_grad():
        deaf.model.ctc_output.bias[0] += 1e4
    live = LiveTranscription(deaf)
    assert list(live.results([Piece(torch.from_numpy(SAMPLES), 16000)])) == []
    assert live.stream.segment > 2


def test_half_a_sample_waits_for_its_other_half(tmp_path):
    class Slow(io.BytesIO):
        def read1(self, size=-1):
            return super().read(min(size, 3))

    data = SAMPLES[:100].tobytes()
    pieces = list(pcm_pieces(Slow(data), 16000))
    assert torch.cat([each.samples for each in pieces]).tolist() == SAMPLES[:100].tolist()
    with pytest.raises(DataError, match="half a sample"):
        list(pcm_pieces(Slow(data[:7]), 16000))
    soundfile.write(tmp_path / "a.wav", SAMPLES[:1000], 16000)
    samples = torch.cat([each.samples for each in file_pieces(tmp_path / "a.wav", 0.01)])
    assert torch.equal(samples, torch.from_numpy(SAMPLES[:1000].astype(np.float32) / 32768))


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (SAMPLES.tobytes()[:9001], [], 1, "half a sample"),
        (b"", ["--realtime"], 2, "standard input has its own pace"),
        (b"", ["--sample-rate", 0], 2, "--sample-rate"),
    ],
)
def test_what_is_wrong_with_standard_input(exp_dir, content, options, code, message):
    found, lines, errors = transcribe("-", "--exp-dir", exp_dir, *options, source=content)
    assert found == code and message in " ".join(errors.replace("│", " ").split()), errors
    # what came before the damage is told
    assert bool(lines) == (len(content) > 0)


def test_words_before_nan_are_told(exp_dir, tmp_path):
    damaged = (SAMPLES / 32768).astype(np.float32)
    damaged[12000] = np.nan
    soundfile.write(tmp_path / "nan.wav", damaged, 16000, subtype="FLOAT")
    options = ("--exp-dir", exp_dir, "--chunk-size", 2)
    code, lines, errors = transcribe(tmp_path / "nan.wav", *options)
    assert code == 1 and "nan at sample" in errors and "0.7500 s after" in errors
    # the piece of 50 ms that has it begins there
    _, expected, _ = transcribe("-", *options, source=SAMPLES[:12000].tobytes())
    texts = [[line.split("\t")[::3] for line in each] for each in (lines, expected)]
    assert texts[0] == texts[1] and texts[0][-1][0] == "final"


def test_a_process_without_standard_input_or_output(exp_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(typer.BadParameter, match="there is no standard input"):
        transcribe_verb._pieces("-", None, False)
    monkeypatch.setattr("sys.stdout", None)
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16000)
    live = LiveTranscription(recognizer_of(exp_dir))
    transcribe_verb._print_results(live, file_pieces(tmp_path / "a.wav"), True, False)
    assert live.stream.is_decoded


def test_a_partial_result_may_take_its_only_word_back(exp_dir, monkeypatch):
    texts = itertools.chain(["A"], itertools.repeat(""))
    result = StreamingRecognizer.result

    def taken_back(recognizer, stream):
        text, found = next(texts), result(recognizer, stream)
        word = StreamingWord(text, 0.0, 0.04, 0.1, 0.1)
        return dataclasses.replace(found, text=text, words=[word] if text else [])

    monkeypatch.setattr(StreamingRecognizer, "result", taken_back)
    options = ("--exp-dir", exp_dir, "--chunk-size", 2)
    code, lines, errors = transcribe("-", *options, source=SAMPLES.tobytes())
    rows = [line.split("\t") for line in lines]
    assert code == 0, errors
    assert [(row[0], *row[2:]) for row in rows[1:]] == [("partial", "-", "")]


def test_what_is_no_raw_audio(recognizer):
    with pytest.raises(DataError, match="is a wav file, not raw PCM"):
        next(pcm_pieces(io.BytesIO(b"RIFF1234WAVE"), 16000))
    live = LiveTranscription(recognizer)
    with pytest.raises(FsaError, match="sampling_rate: must be an integer in"):
        list(live.results(pcm_pieces(io.BytesIO(SAMPLES.tobytes()), 7)))


def test_what_is_wrong_with_files(exp_dir, tmp_path):
    soundfile.write(tmp_path / "both.wav", np.stack([SAMPLES, SAMPLES], 1), 16000)
    soundfile.write(tmp_path / "empty.wav", SAMPLES[:0], 16000)
    (tmp_path / "text.wav").write_text("no audio at all")
    assert list(file_pieces(tmp_path / "empty.wav")) == []
    for name, message in (
        ("both.wav", "has 2 channels; choose one: sox"),
        ("text.wav", "cannot be read as audio"),
        ("missing.wav", "no such file"),
    ):
        with pytest.raises(DataError, match=message):
            list(file_pieces(tmp_path / name))
    found, lines, errors = transcribe(tmp_path / "empty.wav", "--exp-dir", exp_dir)
    assert (found, lines) == (0, []) and "no audio" in errors


def test_runs_that_cannot_be_streamed(exp_dir, tmp_path):
    def load(folder, **options):
        load_streaming_run(StreamDecodeOptions(exp_dir=folder, **options), SearchOptions())

    with pytest.raises(OptionError, match=r"looks ahead.*train with --causal true"):
        load(make_run(tmp_path / "whole", causal=False))
    for options, message in (
        ({"decoding_method": "nbest"}, "nbest needs whole utterances"),
        ({"decoding_method": "greedy_search"}, "greedy_search needs a transducer head"),
        ({"decoding_method": "1best"}, "HLG.pt: no such file"),
        ({"chunk_size": 0}, "chunk_size: needs at least 1"),
        ({"epoch": 7}, "epoch-7.pt"),
    ):
        with pytest.raises(FsaError, match=message):
            load(exp_dir, **options)
    with pytest.raises(OptionError, match=r"tune: .* decode\.py --tune true has found"):
        load_streaming_run(StreamDecodeOptions(exp_dir=exp_dir), SearchOptions(tune=True))
