"""Measures of alignments: what a model's outputs give, padding or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wfst_entropy.asr.experiments.alignment_measures import (
    ctc_measure,
    measure_batch,
    summarise_measures,
    transducer_measure,
)
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.losses import ctc_alignment, rnnt_alignment


class Letters:
    """Token ids of a text in which each letter is a token."""

    def encode(self, text):
        return [1 + "abcd".index(letter) for letter in text]


def batch_of(lengths, texts):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(lengths), max(lengths), 80, generator=generator)
    cuts = [SimpleNamespace(id=f"u{i}", supervisions=[]) for i in range(len(texts))]
    supervisions = {
        "text": texts,
        "sequence_idx": torch.arange(len(texts)),
        "num_frames": torch.tensor(lengths),
        "cut": cuts,
    }
    return {"inputs": features, "supervisions": supervisions}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"encoder_dim": 8, "num_layers": 1, "decoder_dim": 8, "joiner_dim": 8}
    return build_model(ModelOptions(vocab_size=5, use_transducer=True, **sizes)).eval()


@pytest.mark.parametrize("rnnt_type", ["regular", "modified"])
def test_padding_changes_nothing_and_figures_are_those_of_the_losses(model, rnnt_type):
    both = measure_batch(model, batch_of([48, 40], ["ab", "cc"]), Letters(), rnnt_type)
    assert list(both) == ["ctc", "transducer"]
    with torch.no_grad():
        features = batch_of([48, 40], ["ab", "cc"])["inputs"]
        encoder_out, _ = model.forward_encoder(features[1:, :40], torch.tensor([40]))
        log_probs = model.ctc_log_probs(encoder_out)
        alone = ctc_measure(log_probs[0], [3, 3])
        wanted = ctc_alignment(log_probs, torch.tensor([[3, 3]]), [10], [2])
        transducer = transducer_measure(model.transducer, encoder_out[0], [3, 3], rnnt_type)
        head = model.transducer
        lm = head.joiner.decoder_proj(head.predictor(torch.tensor([[3, 3]])))
        logits = head.joiner(head.project_encoder(encoder_out)[:, :, None], lm[:, None])
        rnnt = rnnt_alignment(logits, torch.tensor([[3, 3]]), [10], [2], rnnt_type=rnnt_type)
    for found in (alone, both["ctc"][1]):
        assert found.nll == pytest.approx(float(wanted.nll), rel=1e-4)
        assert found.entropy == pytest.approx(float(wanted.entropy), rel=1e-4)
    for found in (transducer, both["transducer"][1]):
        assert found.nll == pytest.approx(float(rnnt.nll), rel=1e-4)
        assert found.entropy == pytest.approx(float(rnnt.entropy), rel=1e-4)
    assert both["transducer"][0].spikes.num_frames == 12


def test_summary_counts_only_what_can_be_aligned(model):
    # ten letters do not fit into the 3 frames of CTC; a transducer emits them all at once
    found = measure_batch(model, batch_of([12, 40], ["abcdabcdab", "d"]), Letters())
    assert found["ctc"][0] is None and found["transducer"][0] is not None
    summary = summarise_measures(found["ctc"])
    only = found["ctc"][1]
    assert summary["num_utterances"] == 1
    assert summary["entropy_per_frame"] == pytest.approx(only.entropy / 10)
    assert summary["entropy_per_label"] == pytest.approx(only.entropy)
    assert summary["width"] == only.spikes.width
    assert summarise_measures([None]) is None
