"""Test sets as streams: every utterance once, failures named, latencies against true times."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream_results import compare_texts, latency_summary
from wfst_entropy.asr.streaming.stream_test_set import stream_test_set
from wfst_entropy.asr.training.checkpoint import save_checkpoint
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions

TOKENS = ["<blk>", "▁", "A", "B"]
SCRIPT = Path(__file__).parents[3] / "recipes" / "librispeech" / "streaming_decode.py"


def tiny_model(**options):
    torch.manual_seed(1)
    sizes = {"encoder_dim": 16, "num_layers": 1, "vocab_size": 4, "decoder_dim": 8, "joiner_dim": 8}
    model = build_model(ModelOptions(causal=True, **sizes, **options)).eval()
    with torch.no_grad():
        features = torch.randn(1, 400, 80) * 4 - 8
        encoder_out, _ = model.forward_encoder(features, torch.tensor([400]))
        model.ctc_output.weight *= 30
        model.ctc_output.bias -= model.ctc_output(encoder_out).mean(dim=(0, 1))
    return model


def noise(num_samples, seed):
    return 0.3 * np.random.default_rng(seed).standard_normal((1, num_samples), dtype=np.float32)


def cut(name, samples, text="A B", alignment=None):
    def load_audio():
        if samples is None:
            raise OSError("the disk is gone")
        return samples

    duration = 0.0 if samples is None else samples.shape[1] / 16000
    supervision = SimpleNamespace(text=text, alignment=alignment)
    return SimpleNamespace(
        id=name,
        load_audio=load_audio,
        sampling_rate=16000,
        duration=duration,
        supervisions=[supervision],
    )


def test_all_utterances_once_and_failures_named():
    method = make_method("ctc-greedy-search", SearchSetup(CharTokenizer(TOKENS)))
    recognizer = StreamingRecognizer(tiny_model(encoder="lstm"), method, chunk_size=3)
    broken = noise(8000, 3)
    broken[0, 5000] = np.nan
    words = [
        SimpleNamespace(symbol="A", start=0.1, end=0.2),
        SimpleNamespace(symbol="B", start=0.2, end=0.3),
    ]
    cuts = [
        cut("d", noise(9000, 0), alignment={"word": words}),
        cut("c", noise(3000, 1)),
        cut("b", broken),
        cut("a", None),
        cut("e", noise(100, 2)),
    ]
    told = []
    results = [stream_test_set(recognizer, cuts, number, told.append) for number in (1, 3)]
    assert sum(told) == 2 * 4
    for result in results:
        assert [each.cut_id for each in result.decoded] == ["b", "c", "d", "e"]
        assert [each.failed for each in result.decoded] == [True, False, False, False]
        assert "nan at sample" in result.decoded[0].problem
        assert result.not_loaded == {"a": "OSError: the disk is gone"}
        assert len(result.rounds) > 2 and result.seconds >= sum(result.rounds) * 0.99
        d = result.decoded[2]
        assert d.hyp and [word.word for word in d.streamed] == d.hyp and d.heard == 9000 / 16000
        assert [word.word for word in d.emitted] == d.hyp
        for word, emitted in zip(d.streamed, d.emitted):
            assert emitted.end == pytest.approx(word.end - recognizer.seconds_per_frame)
        assert result.decoded[3].hyp == []
    assert compare_texts(results[0].decoded, results[1].decoded).different == []
    summary = latency_summary(results[1], recognizer.spent, 3)
    assert summary["final_latency"]["p50"] == pytest.approx(9000 / 16000 - 0.3)
    last = results[1].decoded[2].streamed[-1]
    assert summary["partial_latency"]["p90"] == pytest.approx(last.first - 0.3)
    assert summary["real_time_factor"] == pytest.approx(results[1].seconds / results[1].audio)
    json.dumps(summary, allow_nan=False)


def test_the_first_difference_is_named():
    one = [DecodedUtterance("u1", [], ["A", "B"]), DecodedUtterance("u2", [], ["A"])]
    two = [DecodedUtterance("u1", [], ["A", "B"]), DecodedUtterance("u2", [], ["B", "A"])]
    found = compare_texts(one, two)
    assert (found.num_utterances, found.different) == (2, ["u2"])
    assert found.first == (
        "u2: word 1 is 'A' of the stream, 'B' of the whole utterance: 'A' and 'B A'"
    )
    assert compare_texts(one, two[:1]).first == "u2: decoded as a stream only"
    assert compare_texts(one, one).first == ""


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["lstm", "conformer"])
def test_the_script_compares_every_utterance(encoder, tmp_path, monkeypatch, capsys):
    (tmp_path / "lang").mkdir()
    (tmp_path / "exp").mkdir()
    tokens = "".join(f"{token} {i}\n" for i, token in enumerate(TOKENS))
    for folder in ("lang", "exp"):
        (tmp_path / folder / "tokens.txt").write_text(tokens)
    (tmp_path / "lang" / "words.txt").write_text("<eps> 0\n")
    (tmp_path / "lang" / "lexicon.txt").write_text("")
    cuts = []
    for number in range(7):
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, noise(4000 + 1777 * number, number)[0], 16000)
        recording = Recording.from_file(path)
        supervision = SupervisionSegment("s", recording.id, 0.0, recording.duration, text="A B")
        cuts.append(
            MonoCut(f"u{number}", 0.0, recording.duration, 0, [supervision], None, recording)
        )
    CutSet.from_cuts(cuts).to_file(tmp_path / "librispeech_cuts_test-clean.jsonl.gz")
    sizes = {"encoder_dim": 16, "num_layers": 1, "vocab_size": 4, "decoder_dim": 8, "joiner_dim": 8}
    given = {"encoder": encoder, "num_heads": 2, "use_transducer": True}
    data = DataOptions(manifest_dir=tmp_path, lang_dir=tmp_path / "lang")
    train = TrainOptions(exp_dir=tmp_path / "exp")
    RunConfig(ModelOptions(causal=True, **sizes, **given), data, train).save()
    state = tiny_model(**given).state_dict()
    save_checkpoint(tmp_path / "exp" / "epoch-1.pt", {"model": state, "model_avg": state})
    for method in ("ctc-greedy-search", "modified_beam_search"):
        for chunk, streams in ((4, 1), (8, 3)):
            arguments = [
                *("--exp-dir", str(tmp_path / "exp"), "--decoding-method", method),
                *("--chunk-size", str(chunk), "--left-context-frames", "8"),
                *("--num-decode-streams", str(streams), "--check-simulated", "true"),
            ]
            monkeypatch.setattr(sys, "argv", ["streaming_decode.py", *arguments])
            runpy.run_path(str(SCRIPT), run_name="__main__")
            folder = tmp_path / "exp" / "streaming" / method
            suffix = f"epoch-1-avg-1-chunk-{chunk}-left-context-8-use-averaged-model"
            summary = json.loads((folder / f"latency-test-clean-{suffix}.json").read_text())
            assert summary["check_simulated"]["num_utterances"] == 7
            assert summary["check_simulated"]["different"] == []
            rows = (folder / f"word-times-test-clean-{suffix}.jsonl").read_text().splitlines()
            assert any(json.loads(row)["streamed"] for row in rows)
            for kind in ("recogs", "errs", "wer-summary"):
                assert (folder / f"{kind}-test-clean-{suffix}.txt").is_file()
    assert "wrote results to" in capsys.readouterr().out
