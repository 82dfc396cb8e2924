"""Exported models give what the model gives, for all encoders and predictors."""

from __future__ import annotations

import onnx
import pytest
import torch

from wfst_entropy.asr.data.asr_datamodule import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.export import (
    ExportError,
    OnnxFiles,
    OnnxModel,
    ProgramModel,
    ScriptedModel,
    export_onnx,
    export_programs,
    export_torchscript,
    load_torchscript,
    quantize,
)
from wfst_entropy.asr.export.export_options import ExportOptions
from wfst_entropy.asr.export.run import export_model, load_for_export
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.checkpoint import save_checkpoint
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.decoding import ctc_greedy_search, greedy_search, modified_beam_search
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

MODELS = {
    "tdnn": {"encoder": "tdnn", "context_size": 1},
    "lstm": {"encoder": "lstm", "predictor": "lstm", "predictor_layers": 2},
    "projected lstm": {"encoder": "lstm", "projection_dim": 6, "time_reduction": (1,)},
    "blstm": {"encoder": "lstm", "causal": False, "projection_dim": 6},
    "conformer": {"encoder": "conformer"},
    "full conformer": {"encoder": "conformer", "causal": False, "context_size": 3},
}
FRAMES = torch.tensor([102, 13, 77])


def make(name: str):
    torch.manual_seed(1)
    sizes = {"encoder_dim": 8, "num_layers": 2, "num_heads": 2, "vocab_size": 6, "causal": True}
    sizes |= {"decoder_dim": 8, "joiner_dim": 12, "feature_dim": 9}
    chunks = {"chunk_size": "4", "left_context_frames": "6"}
    options = ModelOptions(use_transducer=True, **(sizes | chunks | MODELS[name]))
    return build_model(options).eval(), options


def features(rows=3, frames=102):
    return torch.randn(rows, frames, 9, generator=torch.Generator().manual_seed(2)) * 4 - 8


def close(x, y, lengths):
    for a, b, n in zip(x, y, lengths.tolist(), strict=True):
        torch.testing.assert_close(a[:n], b[:n], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def check(model, other, head):
    """Outputs, predictor step by step, and what searches find."""
    x = features()
    encoder_out, lengths = model.forward_encoder(x, FRAMES)
    other_out, other_lengths = other.forward_encoder(x, FRAMES)
    assert torch.equal(lengths, other_lengths)
    if head == "ctc":
        log_probs, others = model.ctc_log_probs(encoder_out), other.ctc_log_probs(other_out)
        close(log_probs, others, lengths)
        found = [ctc_greedy_search(scores, lengths) for scores in (log_probs, others)]
        assert [h.tokens for h in found[0]] == [h.tokens for h in found[1]]
        return
    am = model.transducer.project_encoder(encoder_out)
    other_am = other.transducer.project_encoder(other_out)
    close(am, other_am, lengths)
    (lm, state), (other_lm, other_state) = (m.transducer.start(3) for m in (model, other))
    for tokens in torch.tensor([[1, 2, 3], [5, 5, 1], [4, 1, 1]]):
        torch.testing.assert_close(lm, other_lm, atol=1e-5, rtol=1e-5)
        joined = other.transducer.join(other_am[:, 0], other_lm)
        assert joined.dtype == torch.float32
        torch.testing.assert_close(
            model.transducer.join(am[:, 0], lm), joined, atol=1e-5, rtol=1e-5
        )
        lm, state = model.transducer.step(tokens, state)
        before = [value.clone() for value in other_state]
        other_lm, after = other.transducer.step(tokens, other_state)
        assert all(map(torch.equal, before, other_state))
        other_state = after
    assert other.transducer.context_size == model.transducer.context_size
    if model.transducer.context_size is not None:
        contexts = torch.randint(6, (7, model.transducer.context_size))
        torch.testing.assert_close(
            model.transducer.contexts(contexts),
            other.transducer.contexts(contexts),
            atol=1e-5,
            rtol=1e-5,
        )
    expected = greedy_search(model.transducer, encoder_out, lengths)
    found = greedy_search(other.transducer, other_out, lengths)
    assert [h.tokens for h in expected] == [h.tokens for h in found]
    assert any(h.tokens for h in expected)
    beams = modified_beam_search(model.transducer, encoder_out, lengths, beam_size=2)
    others = modified_beam_search(other.transducer, other_out, lengths, beam_size=2)
    assert [b.hypotheses[0].tokens for b in beams] == [b.hypotheses[0].tokens for b in others]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnx(name, tmp_path):
    model, options = make(name)
    files = export_onnx(model, options, tmp_path, "epoch-1-avg-1")
    assert len(files) == (4 if options.causal else 2)
    for one in files:
        other = OnnxModel(one)
        check(model, other, one.head)
        assert other.metadata["model_type"] == options.encoder
        assert other.subsampling_factor == model.subsampling_factor
        assert ("-chunk-4-left-6" in one.encoder.name) == one.streaming == other.streaming
        if one.streaming:
            assert other.chunk_frames == model.chunk_frames


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_torchscript(name, tmp_path):
    model, options = make(name)
    export_torchscript(model, tmp_path / "jit_script.pt")
    for streaming in (False, True) if options.causal else (False,):
        other = ScriptedModel(tmp_path / "jit_script.pt", streaming)
        for head in ("ctc", "transducer"):
            check(model, other, head)
    if not options.causal:
        with pytest.raises(torch.jit.Error, match="looks ahead"):
            other.initial_states(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["projected lstm", "full conformer"])
@torch.no_grad()
def test_torch_export(name, tmp_path):
    model, options = make(name)
    paths, left_out = export_programs(model, tmp_path)
    assert len(left_out) == (options.encoder == "lstm")
    assert [path.name for path in paths] == (
        ["program-encoder-chunk-4-left-6.pt2"] if options.causal else ["program-encoder.pt2"]
    )
    for path in paths:
        other = ProgramModel(path, model, streaming=options.causal)
        for head in ("ctc", "transducer"):
            check(model, other, head)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ExportError, match="cannot be read as a program of"):
            ProgramModel(path, model)


@pytest.mark.slow
@torch.no_grad()
def test_streams_of_different_ages_in_one_batch(tmp_path):
    model, options = make("conformer")
    (files,) = (
        f for f in export_onnx(model, options, tmp_path, "x") if f.head == "ctc" and f.streaming
    )
    other = OnnxModel(files)
    x = features(1, 48)
    old = other.initial_states(1)
    _, _, old = other.forward_chunk(x[:, :16], torch.tensor([16]), old)
    states = [torch.cat(rows) for rows in zip(old, other.initial_states(1))]
    batch = torch.cat([x[:, 16:32], x[:, :16]])
    together, lengths, _ = other.forward_chunk(batch, torch.tensor([16, 16]), states)
    whole, _ = model(x, torch.tensor([48]))
    close(together, model.ctc_log_probs(torch.cat([whole[:, 4:8], whole[:, :4]])), lengths)


@pytest.mark.slow
@torch.no_grad()
def test_weights_of_8_bits_are_close_and_smaller(tmp_path):
    torch.manual_seed(1)
    options = ModelOptions(encoder="lstm", encoder_dim=96, num_layers=2, vocab_size=6)
    model = build_model(options).eval()
    (files,) = export_onnx(model, options, tmp_path, "x")
    small = quantize(files)
    assert small.encoder.name == "model-x.int8.onnx"
    assert small.encoder.stat().st_size < 0.5 * files.encoder.stat().st_size
    x = torch.randn(2, 80, 80) * 4 - 8
    expected, _ = model(x, torch.tensor([80, 50]))
    difference = OnnxModel(small).forward_encoder(x, torch.tensor([80, 50]))[0]
    difference = (difference - model.ctc_log_probs(expected))[1, :13].abs().max()
    assert 0 < difference < 0.2


@pytest.mark.slow
def test_files_that_cannot_be_used_are_named(tmp_path):
    model, options = make("lstm")
    ctc, transducer, stream, _ = export_onnx(model, options, tmp_path, "x")
    with pytest.raises(ExportError, match=r"none\.onnx: cannot be read as an ONNX model"):
        OnnxModel(OnnxFiles("ctc", False, tmp_path / "none.onnx"))
    (tmp_path / "cut.onnx").write_bytes(ctc.encoder.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"cut\.onnx: cannot be read as an ONNX model"):
        OnnxModel(OnnxFiles("ctc", False, tmp_path / "cut.onnx"))
    foreign = onnx.load(ctc.encoder)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ExportError, match=r"foreign\.onnx: .* no number 'subsampling_factor'"):
        OnnxModel(OnnxFiles("ctc", False, tmp_path / "foreign.onnx"))
    with pytest.raises(ExportError, match=r"reads whole utterances; load the file with -chunk-"):
        OnnxModel(ctc).initial_states(1)
    with pytest.raises(ExportError, match=r"is the encoder of a transducer; load model-"):
        OnnxModel(transducer).ctc_log_probs(torch.zeros(1))
    with pytest.raises(ExportError, match="runs on the CPU only, asked for cuda"):
        OnnxModel(ctc).to("cuda")
    with pytest.raises(FsaTypeError, match="depends on all labels"):
        OnnxModel(transducer).transducer.contexts(torch.zeros(1, 2, dtype=torch.int64))
    other = OnnxModel(stream)
    for shape, wording in (
        ((1, 20, 9), "reads chunks of 16 frames, got 20"),
        ((1, 16, 8), r"needs \(N, T, 9\)"),
    ):
        with pytest.raises(FsaValueError, match=wording):
            other.forward_chunk(torch.zeros(shape), torch.tensor([1]), other.initial_states(1))
    with pytest.raises(FsaValueError, match=r"needs 8 inputs \(x, x_lens, state_0"):
        other.forward_chunk(torch.zeros(1, 16, 9), torch.tensor([1]), [])


def test_a_damaged_torchscript_file_is_named(tmp_path):
    (tmp_path / "jit_script.pt").write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"jit_script\.pt: cannot be read as TorchScript"):
        load_torchscript(tmp_path / "jit_script.pt")


def test_streams_without_end_are_refused_before_a_file_is_written(tmp_path):
    sizes = {"encoder_dim": 16, "num_heads": 2, "num_layers": 1, "vocab_size": 5}
    options = ModelOptions(encoder="conformer", causal=True, chunk_size="4,-1", **sizes)
    RunConfig(options, DataOptions(), TrainOptions(exp_dir=tmp_path)).save()
    state = build_model(options).state_dict()
    save_checkpoint(tmp_path / "epoch-1.pt", {"model": state, "model_avg": state})

    folder = tmp_path / "exported"

    def export(*formats, **chunks):
        given = DecodeOptions(exp_dir=tmp_path, epoch=1, **chunks).resolved()
        return export_model(
            *load_for_export(given),
            given,
            ExportOptions(formats=formats, export_dir=folder),
        )

    with pytest.raises(OptionError, match="left_context_frames: a stream keeps a limited number"):
        export("pretrained", "onnx", left_context_frames=-1)
    with pytest.raises(OptionError, match="chunk_size: -1 is the whole utterance"):
        export("pretrained", "jit", chunk_size=-1)
    assert not folder.exists()
    (path,) = export("pretrained", left_context_frames=-1).paths
    assert path.is_file()
