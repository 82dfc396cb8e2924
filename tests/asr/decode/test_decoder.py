"""Decoding batches with a model whose output is known, and what is written about them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decode_results import write_test_set
from wfst_entropy.asr.decode.decode_setup import data_options, decode_parser, refuse_contradictions
from wfst_entropy.asr.decode.decoder import Decoder, decode_test_set
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.run_config import refuse_other_tokens
from wfst_entropy.losses.ctc import ctc_alignment
from wfst_entropy.losses.rnnt import rnnt_alignment

TOKENIZER = CharTokenizer(["<blk>", "<unk>", "▁", "A", "B"])
SICK = -77.0
STEP = 0.02  # seconds: two feature frames of 10 ms


class Echo(nn.Module):
    """Its features are its scores: what a test puts in comes out as log-probs, SICK as NaN."""

    subsampling_factor = 2

    def __init__(self, transducer=None):
        super().__init__()
        self.transducer = transducer

    def forward_encoder(self, features, lengths):
        sick = (features == SICK).any(dim=(1, 2))
        log_probs = features[:, ::2].log_softmax(-1)
        return log_probs.masked_fill(sick[:, None, None], float("nan")), lengths // 2

    def ctc_log_probs(self, encoder_out):
        return encoder_out


class CopyingHead(nn.Module):
    """A transducer whose frames are its log-probs, whatever the labels so far."""

    context_size = 1

    def project_encoder(self, encoder_out):
        return encoder_out

    def start(self, n):
        return torch.zeros(n, 5), []

    def step(self, tokens, state):
        return torch.zeros(len(tokens), 5), state

    def join(self, am, lm):
        return am + lm


def scores(path, sharpness=8.0):
    """Features that make Echo prefer these symbols, one per output frame."""
    rows = sharpness * torch.nn.functional.one_hot(torch.tensor(path), 5).float()
    return rows.repeat_interleave(2, dim=0)


def cut(name, words=()):
    items = [SimpleNamespace(symbol=w, start=s, end=e) for w, s, e in words]
    alignment = {"word": items} if items else None
    supervision = SimpleNamespace(alignment=alignment, custom=None)
    return SimpleNamespace(id=name, frame_shift=0.01, duration=0.2, supervisions=[supervision])


def batch(*utterances):
    """From (cut, text, features)."""
    cuts, texts, features = zip(*utterances, strict=True)
    return {
        "inputs": nn.utils.rnn.pad_sequence(features, batch_first=True),
        "supervisions": {
            "text": list(texts),
            "sequence_idx": torch.arange(len(cuts)),
            "num_frames": torch.tensor([len(f) for f in features]),
            "cut": list(cuts),
        },
    }


TIMES = [("AB", 0.03, 0.09), ("B", 0.1, 0.15)]
GOOD = (cut("good", TIMES), "AB B", scores([0, 2, 3, 3, 4, 2, 0, 4, 0]))
WRONG = (cut("wrong"), "B A", scores([2, 3, 0, 2, 3]))
SHORT = (cut("short"), "ABAB", scores([2, 3]))
UNKNOWN = (cut("unknown"), "A!", scores([2, 3, 0]))
BROKEN = (cut("broken"), "A B", torch.full((6, 5), SICK))  # the model's output is NaN
DAMAGED = (cut("damaged"), "A", torch.full((6, 5), float("nan")))  # its features are


@pytest.fixture
def decoder():
    return Decoder(Echo(), TOKENIZER, "cpu")  # type: ignore[arg-type]


def test_words_and_times(decoder):
    (good,) = decoder.decode(batch(GOOD))
    assert (good.ref, good.hyp) == (["AB", "B"], ["AB", "B"])
    assert [w.word for w in good.aligned] == ["AB", "B"]
    # frames 2, 3 are A, 4 is B; the last B is frame 7; separators belong to no word
    times = [t for w in good.aligned for t in (w.start, w.end)]
    assert times == pytest.approx([2 * STEP, 5 * STEP, 7 * STEP, 8 * STEP])
    emitted = [t for w in good.emitted for t in (w.start, w.end)]
    assert emitted == pytest.approx([2 * STEP, 4 * STEP, 7 * STEP, 7 * STEP])
    starts = [d.start for d in good.deviations()]
    assert starts == pytest.approx([2 * STEP - 0.03, 7 * STEP - 0.1])
    assert good.latencies() == pytest.approx([4 * STEP - 0.09, 7 * STEP - 0.15])


def test_entropy_is_that_of_the_reference(decoder):
    (wrong,) = decoder.decode(batch(WRONG))
    tokens = torch.tensor([TOKENIZER.encode("B A")])
    log_probs = WRONG[2][None, ::2].log_softmax(-1)
    expected = ctc_alignment(log_probs, tokens, torch.tensor([5]), torch.tensor([4]))
    assert wrong.hyp == ["A", "A"]
    assert wrong.stats is not None
    assert wrong.stats.entropy == pytest.approx(float(expected.entropy), rel=1e-5)
    assert (wrong.stats.num_frames, wrong.stats.num_labels) == (5, 4)


def test_a_transducer_aligns_and_times_by_itself():
    decoder = Decoder(Echo(CopyingHead()), TOKENIZER, "cpu", rnnt_type="modified")  # type: ignore[arg-type]
    path = scores([0, 2, 3, 0, 4, 2, 0, 4, 0])
    (good,) = decoder.decode(batch((cut("good", TIMES), "AB B", path)))
    assert good.hyp == ["AB", "B"] and good.problem == ""
    assert [w.word for w in good.aligned] == ["AB", "B"]
    times = [t for w in good.aligned for t in (w.start, w.end)]
    assert times == pytest.approx([2 * STEP, 5 * STEP, 7 * STEP, 8 * STEP])
    emitted = [t for w in good.emitted for t in (w.start, w.end)]
    assert emitted == pytest.approx([2 * STEP, 4 * STEP, 7 * STEP, 7 * STEP])
    assert good.confidences == pytest.approx([0.9973, 0.9987], abs=2e-4)
    assert good.stats is not None and good.stats.blank_fraction == pytest.approx(4 / 9)
    # the joiner's scores of each frame and label, summed over paths
    logits = path[None, ::2, None].log_softmax(-1).expand(1, 9, 6, 5)
    targets = torch.tensor([TOKENIZER.encode("AB B")])
    sizes = ([9], [targets.shape[1]])
    whole = rnnt_alignment(logits, targets, *sizes, rnnt_type="modified")
    assert good.stats.entropy == pytest.approx(float(whole.entropy), rel=1e-4)
    found = {u.cut_id: u for u in decoder.decode(batch(BROKEN, SHORT, WRONG))}
    assert found["broken"].failed and "NaN" in found["broken"].problem
    assert found["short"].hyp == ["A"] and "too few for its 5 tokens" in found["short"].problem


def test_one_bad_utterance_harms_no_other(decoder, caplog):
    counted = []
    done = decode_test_set(
        decoder, [batch(BROKEN, GOOD, SHORT), batch(UNKNOWN, DAMAGED, WRONG)], counted.append
    )
    assert counted == [3, 3]
    found = {u.cut_id: u for u in done}
    assert list(found) == sorted(found)
    assert found["broken"].failed and found["broken"].hyp == []
    assert "NaN at frame 0" in found["broken"].problem
    assert found["damaged"].failed and "features are not finite" in found["damaged"].problem
    assert found["good"] == decoder.decode(batch(GOOD))[0]
    assert found["short"].hyp == ["A"] and "too few for its 5 tokens" in found["short"].problem
    assert found["unknown"].hyp == ["A"] and "'!'" in found["unknown"].problem
    assert [u.cut_id for u in done if u.stats is None] == ["broken", "damaged", "short", "unknown"]
    assert "broken: not decoded" in caplog.text and "short: not aligned" in caplog.text


def test_files(decoder, tmp_path):
    options = DecodeOptions(exp_dir=tmp_path, epoch=3, avg=2, decoding_method="ctc-greedy-search")
    decoded = decode_test_set(decoder, [batch(BROKEN, GOOD, WRONG, SHORT)], lambda n: None)
    summary = write_test_set(options, "test-clean-2", decoded, {"lost": "cannot be read"})
    end = "test-clean-2-epoch-3-avg-2-use-averaged-model"
    folder = tmp_path / "ctc-greedy-search"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"entropy-{end}.tsv",
        f"errs-{end}.txt",
        f"recogs-{end}.txt",
        f"summary-{end}.json",
        f"wer-summary-{end}.txt",
        f"word-times-{end}.jsonl",
    ]
    assert json.loads((folder / f"summary-{end}.json").read_text()) == summary
    # broken: both words deleted; short: ABAB -> A; wrong: B A -> A A
    assert (summary["deletions"], summary["substitutions"], summary["num_ref_words"]) == (2, 2, 7)
    assert list(summary["not_decoded"]) == ["broken"]
    assert list(summary["not_aligned"]) == ["short"]
    assert summary["not_loaded"] == {"lost": "cannot be read"}
    assert summary["alignment"]["num_utterances"] == 2
    assert summary["word_times"]["num_words"] == 2

    rows = [line.split("\t") for line in (folder / f"entropy-{end}.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["cut", "good", "wrong"]
    assert float(rows[1][3]) == pytest.approx(float(rows[1][4]) * 9, abs=1e-4)
    lines = (folder / f"word-times-{end}.jsonl").read_text().splitlines()
    words = {row["cut"]: row for row in map(json.loads, lines)}
    assert words["good"]["aligned"][0]["word"] == "AB"
    assert words["good"]["true"][0]["start_deviation"] == pytest.approx(0.01)
    assert words["broken"] == {"cut": "broken", "aligned": [], "true": [], "emitted": []}


def test_the_last_epoch_is_found(tmp_path):
    with pytest.raises(OptionError, match=r"has no epoch-N\.pt; train first"):
        DecodeOptions(exp_dir=tmp_path).resolved()
    for name in ("epoch-2.pt", "epoch-11.pt", "checkpoint-500.pt"):
        (tmp_path / name).touch()
    assert DecodeOptions(exp_dir=tmp_path).resolved().epoch == 11
    assert DecodeOptions(exp_dir=tmp_path, iter=500).resolved().suffix.startswith("iter-500-avg-1")


def test_an_epoch_and_a_batch_are_two_models():
    with pytest.raises(OptionError, match=r"--epoch 3 and --iter 1000 name two models"):
        DecodeOptions(epoch=3, iter=1000)


def test_unknown_method():
    with pytest.raises(OptionError, match="'beam' is unknown; there are ctc-greedy-search, 1best"):
        DecodeOptions(decoding_method="beam")


def test_a_flag_that_contradicts_the_run_is_refused():
    parser = decode_parser("Decode.\n\nLike this.", DecodeOptions)
    trained = ModelOptions(encoder="lstm", causal=True)
    same = parser.parse_args(["--encoder", "lstm", "--max-duration", "50"])
    refuse_contradictions(same, trained)
    data = data_options(same, DataOptions(num_workers=3))
    assert (data.max_duration, data.num_workers) == (50.0, 3)
    other = parser.parse_args(["--causal", "false"])
    with pytest.raises(OptionError, match=r"--causal False contradicts the run .* with True"):
        refuse_contradictions(other, trained)


def test_a_lang_directory_with_other_tokens_is_refused(tmp_path):
    for folder, text in (("exp", "<blk> 0\nA 1\nB 2\n"), ("lang", "<blk> 0\nB 1\nA 2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tokens.txt").write_text(text)
    refuse_other_tokens(tmp_path / "exp", tmp_path / "exp")
    with (tmp_path / "exp" / "tokens.txt").open("a") as file:
        file.write("#0 3\n")  # as it is once there are graphs
    with pytest.raises(OptionError, match=r"lang: its tokens.txt has 'B 1' where .* 'A 1'"):
        refuse_other_tokens(tmp_path / "exp", tmp_path / "lang")
    (tmp_path / "lang" / "tokens.txt").write_text("<blk> 0\nA 1\nB 2\n#0 3\n#1 4\n")
    refuse_other_tokens(tmp_path / "exp", tmp_path / "lang")
    (tmp_path / "lang" / "tokens.txt").write_text("<blk> 0\nA 1\n")
    with pytest.raises(OptionError, match=r"has 'nothing' where .* 'B 2'"):
        refuse_other_tokens(tmp_path / "exp", tmp_path / "lang")
