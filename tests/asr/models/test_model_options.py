"""Named sizes, explicit flags before them, and configurations of earlier versions."""

from __future__ import annotations

import pytest

from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.models.model_options import SIZES
from wfst_entropy.asr.options import OptionError, from_args, load_config, make_parser, save_config


def parse(*words: str) -> ModelOptions:
    parser = make_parser("", ModelOptions)
    return from_args(parser.parse_args(words), ModelOptions)


def test_a_named_size_sets_what_no_flag_sets():
    options = parse(
        "--model-size", "paper-blstm", "--num-layers", "2", "--time-reduction", "1", "2"
    )
    assert (options.encoder, options.encoder_dim, options.num_layers) == ("lstm", 1024, 2)
    assert (options.predictor, options.decoder_dim, options.time_reduction) == ("lstm", 320, (1, 2))
    assert parse("--model-size", "mini", "--encoder", "tdnn").encoder_dim == 384
    assert parse("--model-size", "paper-blstm", "--predictor", "stateless").predictor == "stateless"
    assert parse() == ModelOptions() == ModelOptions(encoder="tdnn", encoder_dim=256, num_layers=9)


def test_every_named_size_is_complete():
    for size, encoders in SIZES.items():
        for encoder in encoders:
            options = ModelOptions(model_size=size, encoder=encoder)
            assert min(options.encoder_dim, options.decoder_dim, options.joiner_dim) > 0


def test_a_run_is_read_back(tmp_path):
    words = ("--encoder", "conformer", "--causal", "true", "--chunk-size", "8,16,-1")
    options = parse("--model-size", "mini", *words, "--left-context-frames=-1")
    save_config(tmp_path / "config.yaml", options)
    assert load_config(tmp_path / "config.yaml", ModelOptions) == (options,)
    assert (options.chunk_sizes, options.left_contexts) == ((8, 16, -1), (-1,))


def test_configurations_of_earlier_versions_are_read(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model: {encoder: lstm, causal: false, encoder_dim: 320, num_layers: 4, num_heads: 4,\n"
        "  subsampling_factor: 4, dropout: 0.1, chunk_size: 16, left_context_frames: 64,\n"
        "  vocab_size: 27, feature_dim: 80}\n"
    )
    (options,) = load_config(tmp_path / "config.yaml", ModelOptions)
    assert (options.encoder, options.encoder_dim, options.chunk_sizes) == ("lstm", 320, (16,))
    assert options.use_ctc and not options.use_transducer


@pytest.mark.parametrize(
    ("values", "wording"),
    [
        ({"chunk_size": "16;32"}, "chunk_size: needs numbers with commas .* got '16;32'"),
        ({"chunk_size": "16,32"}, "only a causal conformer draws one of several, .*-causal tdnn"),
        ({"chunk_size": "0"}, "chunk_size: needs 1 or more, or -1 for all, got 0"),
        ({"model_size": "paper-blstm", "encoder": "tdnn"}, "paper-blstm is a size of lstm, got"),
        ({"time_reduction": (1,)}, "are for --encoder lstm, got tdnn"),
        ({"encoder": "lstm", "projection_dim": 256}, "fewer channels than .* 256, .* got 256"),
        ({"decoder_dim": -1}, "decoder_dim: needs at least 1, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused(values, wording):
    with pytest.raises(OptionError, match=wording):
        ModelOptions(**values)
