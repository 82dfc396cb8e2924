"""The check of exported models counts what is different, and says where."""

from __future__ import annotations

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.export.parity import (
    Candidate,
    Parity,
    check_parity,
    parity_table,
    write_report,
)
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.fsa.errors import FsaError

TOKENIZER = CharTokenizer(["<blk>", "<unk>", "▁", "A", "B"])
METHODS = {"ctc": "ctc-greedy-search", "transducer": "greedy_search"}


def make():
    torch.manual_seed(1)
    sizes = {"encoder_dim": 8, "num_layers": 1, "decoder_dim": 4, "joiner_dim": 4}
    model = build_model(
        ModelOptions(encoder="lstm", vocab_size=5, feature_dim=9, use_transducer=True, **sizes)
    )
    torch.nn.init.normal_(model.ctc_output.weight, std=3.0)
    torch.nn.init.normal_(model.transducer.joiner.output.weight, std=3.0)
    return model.eval()


def batch():
    features = torch.randn(2, 40, 9, generator=torch.Generator().manual_seed(3)) * 4 - 8
    supervisions = {
        "text": ["A", "B"],
        "sequence_idx": torch.arange(2),
        "num_frames": torch.tensor([40, 23]),
        "cut": [SimpleNamespace(id=name, supervisions=[]) for name in ("first", "second")],
    }
    return {"inputs": features, "supervisions": supervisions}


def candidates(model, other):
    def search(head, found):
        return make_method(METHODS[head], SearchSetup(TOKENIZER, transducer=found.transducer))

    return [
        Candidate("other", head, other, search(head, other), search(head, model), {"file": 7})
        for head in METHODS
    ]


def check(model, other):
    counted = []
    found = check_parity(
        model, candidates(model, other), [batch(), batch()], TOKENIZER, counted.append
    )
    assert counted == [2, 2]
    return found


def test_a_model_equals_itself():
    model = make()
    for parity, outputs in zip(
        check(model, copy.deepcopy(model)),
        ({"log_probs"}, {"encoder_out", "decoder_out", "joiner_log_probs"}),
        strict=True,
    ):
        assert parity.same_texts and parity.num_utterances == 4 and parity.first_difference is None
        assert parity.max_abs_difference.keys() == outputs
        assert set(parity.max_abs_difference.values()) == {0.0}


def test_what_differs_is_counted_and_named(tmp_path):
    model = make()
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.ctc_output.weight, std=3.0)
    torch.nn.init.normal_(other.transducer.joiner.output.weight, std=3.0)
    ctc, transducer = check(model, other)
    assert ctc.max_abs_difference["log_probs"] > 0.1 and ctc.different_texts == 4
    assert transducer.max_abs_difference["encoder_out"] == 0.0
    assert transducer.max_abs_difference["joiner_log_probs"] > 0.1
    assert ctc.first_difference is not None and ctc.first_difference["cut"] == "first"
    assert ctc.first_difference["expected"] != ctc.first_difference["found"]
    write_report(tmp_path / "parity.json", {"test": [ctc, transducer]}, {"model": "epoch-1"})
    report = json.loads((tmp_path / "parity.json").read_text())
    assert report["model"] == "epoch-1"
    assert report["sets"]["test"][0]["first_difference"] == ctc.first_difference
    console = Console(width=100, record=True, file=(tmp_path / "table").open("w"))
    console.print(parity_table("test", [ctc, transducer]))
    text = console.export_text()
    assert "4 of 4" in text and "first first:" in text and "joiner_log_probs" in text


def test_nan_is_a_difference_that_stays():
    parity = Parity("onnx", "ctc", "ctc-greedy-search", {})
    for difference in (1.0, torch.nan, 2.0):
        parity.add_difference("log_probs", difference)
    assert math.isnan(parity.max_abs_difference["log_probs"])


def test_an_export_that_gives_nan_is_refused():
    model = make()
    other = copy.deepcopy(model)
    torch.nn.init.constant_(other.transducer.joiner.output.bias, torch.nan)
    with pytest.raises(FsaError, match="NaN"):
        check(model, other)


def test_a_set_without_utterances_is_no_proof():
    model = make()
    with pytest.raises(FsaError, match="has no utterance"):
        check_parity(model, candidates(model, model), [], TOKENIZER, lambda n: None)
