"""Alignments of a transducer head: the lattice's own figures, whatever is joined at a time."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.asr.decode import head_alignment
from wfst_entropy.asr.decode.head_alignment import transducer_head_alignments
from wfst_entropy.asr.models.predictor import LstmPredictor, StatelessPredictor
from wfst_entropy.asr.models.transducer_head import TransducerHead
from wfst_entropy.decoding.transducer_alignment import transducer_forced_align
from wfst_entropy.losses.rnnt import rnnt_alignment

SIZES = [(6, [1, 3, 2]), (4, []), (2, [4, 4])]


@pytest.fixture(params=[StatelessPredictor(5, 8, 2), LstmPredictor(5, 8, 1)])
def head(request):
    torch.manual_seed(3)
    return TransducerHead(request.param, 6, 8, 7, 5).eval()


@torch.no_grad()
@pytest.mark.parametrize("rnnt_type", ["regular", "modified"])
def test_they_are_those_of_the_whole_lattice(head, rnnt_type, monkeypatch):
    encoder_out = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([length for length, _ in SIZES])
    tokens = [text for _, text in SIZES]
    found = transducer_head_alignments(head, encoder_out, lengths, tokens, rnnt_type)
    for i, (length, text) in enumerate(SIZES):
        targets = torch.tensor([text], dtype=torch.int64)
        am = head.joiner.encoder_proj(encoder_out[i : i + 1, :length])
        lm = head.joiner.decoder_proj(head.predictor(targets))
        logits = head.joiner(am[:, :, None], lm[:, None])
        whole = rnnt_alignment(logits, targets, [length], [len(text)], rnnt_type=rnnt_type)
        stats, alignment, emissions = found[i]
        assert stats.entropy == pytest.approx(float(whole.entropy), rel=1e-5, abs=1e-6)
        assert (stats.num_frames, stats.num_labels) == (length, len(text))
        assert alignment.valid and emissions is not None
        assert emissions.sum(0).tolist() == pytest.approx([1.0] * len(text), abs=1e-5)
        (aligned,) = transducer_forced_align(
            logits,
            targets,
            torch.tensor([length]),
            torch.tensor([len(text)]),
            rnnt_type=rnnt_type,
        )
        assert [span.token for span in alignment.spans] == text
        for mine, best in zip(alignment.spans, aligned.spans, strict=True):
            assert mine[:3] == best[:3] and mine[3:] == pytest.approx(best[3:], abs=1e-5)
        assert float(alignment.local_entropy.sum()) == pytest.approx(stats.entropy, abs=1e-5)
        assert bool((alignment.state_entropy >= 0).all())
    monkeypatch.setattr(head_alignment, "_MOST_NODES", 1)
    again = transducer_head_alignments(head, encoder_out, lengths, tokens, rnnt_type)
    for one, other in zip(found, again, strict=True):
        assert one.stats.entropy == pytest.approx(other.stats.entropy, rel=1e-5, abs=1e-6)
