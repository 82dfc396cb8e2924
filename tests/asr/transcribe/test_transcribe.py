"""Files to transcripts: every kind of input, every method, and what is wrong with some."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.fbank import make_extractor
from wfst_entropy.asr.data.tokenizer import CharTokenizer
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.training.checkpoint import save_checkpoint
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.cli.main import app
from wfst_entropy.decoding import ctc_greedy_search, greedy_search, modified_beam_search
from wfst_entropy.decoding.lattice_file import read_lattices
from wfst_entropy.fsa import Fsa, save_fsa

runner = CliRunner()

TOKENS = ["<blk>", "▁", "A", "B"]
WORDS = {"<eps>": 0, "A": 1, "AB": 2, "#0": 3}
# A or AB, again and again, each with the separator before it; AB is unlikely.
LG = """
0 1 1 0 0
1 2 2 1 -0.5
1 3 2 2 -3
2 0 0 0 0
2 4 -1 -1 0
3 2 3 0 0
4
"""


@pytest.fixture
def lang_dir(tmp_path):
    folder = tmp_path / "lang"
    folder.mkdir()
    lines = [f"{token} {i}\n" for i, token in enumerate([*TOKENS, "#0"])]
    (folder / "tokens.txt").write_text("".join(lines))
    (folder / "words.txt").write_text("".join(f"{w} {i}\n" for w, i in WORDS.items()))
    (folder / "lexicon.txt").write_text("A ▁ A\nAB ▁ A B\n")
    save_fsa(Fsa.from_str(LG, num_aux_labels=1), folder / "LG.pt")
    return folder


def scores_of(path, sure=0.9):
    """Log-probs that prefer one symbol in each frame."""
    probs = torch.full((len(path), len(TOKENS)), (1 - sure) / (len(TOKENS) - 1))
    probs[torch.arange(len(path)), torch.tensor(path)] = sure
    return probs.log()


# ▁ A B, blank, ▁ A
PATH = [1, 2, 2, 3, 0, 1, 2, 0]


def decode(*arguments):
    result = runner.invoke(app, ["decode", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout.splitlines(), result.stderr


def write_all(folder):
    scores = scores_of(PATH)
    np.save(folder / "one.npy", scores.double().numpy())
    torch.save(scores, folder / "two.pt")
    torch.save({"three": scores, "four": scores[:0]}, folder / "many.pt")
    save_file({"five": scores, "six": scores.double()}, folder / "more.safetensors")
    return [folder / name for name in ("one.npy", "two.pt", "many.pt", "more.safetensors")]


def test_every_file_of_scores_is_read(tmp_path, lang_dir):
    code, lines, errors = decode(*write_all(tmp_path), "--lang-dir", lang_dir)
    assert (code, errors) == (0, "")
    assert lines[:4] == ["one AB A", "two AB A", "three AB A", "four"]
    assert set(lines[4:]) == {"five AB A", "six AB A"}


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ([], ["0.04", "0.24"]),
        (["--method", "ctc_prefix_beam_search"], ["0.04", "0.24"]),
        # the lexicon counts the separator in
        (["--graph", "LG.pt", "--topology", "standard"], ["0", "0.2"]),
    ],
)
def test_words_have_times_and_confidences(tmp_path, lang_dir, options, starts):
    np.save(tmp_path / "one.npy", scores_of(PATH).numpy())
    options = [lang_dir / o if o.endswith(".pt") else o for o in options]
    code, lines, errors = decode(
        tmp_path / "one.npy", "--lang-dir", lang_dir, "--times", "--confidence",
        "--frame-shift", 0.04, *options,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    rows = [line.split("\t") for line in lines]
    assert [row[:4] for row in rows] == [
        ["one", starts[0], "0.16", "AB"],
        ["one", starts[1], "0.28", "A"],
    ]
    assert all(0.3 < float(row[4]) <= 1 for row in rows)


def test_alternatives_are_different_and_share_the_probability(tmp_path, lang_dir):
    np.save(tmp_path / "one.npy", scores_of(PATH, sure=0.6).numpy())
    for options in (["--method", "ctc-prefix-beam-search", "--beam-size", 8], []):
        given = options or ["--graph", lang_dir / "LG.pt", "--topology", "standard"]
        code, lines, _ = decode(
            tmp_path / "one.npy", "--lang-dir", lang_dir, "--nbest", 4, "--json", *given
        )
        assert code == 0
        found = json.loads(lines[0])
        texts = [each["text"] for each in found["nbest"]]
        posteriors = [each["posterior"] for each in found["nbest"]]
        assert len(set(texts)) == len(texts) == 4
        assert found["text"] == texts[0]
        assert found["time_unit"] == "frames"
        assert sum(posteriors) <= 1 + 1e-6
        if options:  # a lattice's are ordered by their best paths
            assert posteriors == sorted(posteriors, reverse=True)
        assert found["confidence"] == pytest.approx(posteriors[0], rel=1e-4)
        assert found["entropy"] > 0


def test_phrases_are_favoured_with_and_without_a_graph(tmp_path, lang_dir):
    scores = scores_of([1, 2, 3, 0])
    scores[2] = torch.tensor([0.65, 0.05, 0.05, 0.25]).log()  # rather A than AB
    np.save(tmp_path / "one.npy", scores.numpy())
    (tmp_path / "hot.txt").write_text("AB :5\n")
    graph = ["--graph", lang_dir / "LG.pt", "--topology", "standard"]
    for options in (graph, ["--method", "ctc-prefix-beam-search"]):
        plain = decode(tmp_path / "one.npy", "--lang-dir", lang_dir, *options)
        biased = decode(
            tmp_path / "one.npy", "--lang-dir", lang_dir, *options,
            "--context-file", tmp_path / "hot.txt",
        )  # fmt: skip
        assert (plain[1], biased[1]) == (["one A"], ["one AB"])


def test_lattices_are_written_and_rescored(tmp_path, lang_dir):
    files = write_all(tmp_path)[:2]
    out = tmp_path / "lattices.pt"
    graph = ["--lang-dir", lang_dir, "--graph", lang_dir / "LG.pt", "--topology", "modified"]
    code, lines, errors = decode(*files, *graph, "--lattice-out", out)
    assert code == 0, errors
    assert lines == ["one AB A", "two AB A"]
    names, lattices = read_lattices(out)
    assert names == ["one", "two"]
    assert lattices.num_fsas == 2
    # a model in which AB is all but impossible
    save_fsa(Fsa.from_str("0 0 1 -0.1\n0 0 2 -99\n0 1 -1 0\n1"), tmp_path / "G.pt")
    code, lines, _ = decode(
        files[0], *graph, "--method", "whole-lattice-rescoring", "--lm", tmp_path / "G.pt"
    )
    assert (code, lines) == (0, ["one A A"])


def test_what_fails_is_told_and_harms_no_other(tmp_path, lang_dir):
    good = scores_of(PATH)
    contents = {
        "text.npy": b"no array",
        "text.safetensors": b"\x10",
        "text.pt": b"",
        "text.wav": b"RIFF",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "cube.npy", np.zeros((1, 2, 3)))
    np.save(tmp_path / "letters.npy", np.array([["a"]]))
    np.save(tmp_path / "wide.npy", np.zeros((2, 9)))
    torch.save({"broken": good * math.nan, "fine": good}, tmp_path / "dict.pt")
    np.save(tmp_path / "last.npy", good.numpy())
    soundfile.write(tmp_path / "sound.wav", np.zeros(160), 16000)
    names = [*contents, "cube.npy", "letters.npy", "wide.npy", "gone.npy", "sound.wav", "dict.pt"]
    code, lines, errors = decode(
        *(tmp_path / name for name in [*names, "last.npy"]), "--lang-dir", lang_dir
    )
    assert code == 1
    assert lines == ["fine AB A", "last AB A"]
    told = errors.splitlines()
    expected = [
        "text.npy: is no array",
        "text.safetensors: is damaged or no safetensors file",
        "text.pt: is no tensor, nor a dict",
        "text.wav: cannot be read as audio",
        r"cube.npy: needs a matrix (frames, symbols) of numbers, got (1, 2, 3)",
        "letters.npy: needs a matrix",
        "wide: the scores have 9 symbols, but",
        "gone.npy: No such file",
        "sound: audio needs a model: --exp-dir",
        "broken: ctc_greedy_search: log_probs of utterance 0 has NaN at frame 0",
    ]
    assert len(told) == len(expected)
    for line, part in zip(told, expected, strict=True):
        assert part in line


def test_scores_that_are_no_probabilities_are_remarked(tmp_path, lang_dir):
    np.save(tmp_path / "one.npy", 3 + scores_of(PATH).numpy())
    code, lines, errors = decode(tmp_path / "one.npy", "--lang-dir", lang_dir)
    assert (code, lines) == (0, ["one AB A"])
    assert "one: scores of frame 0 sum to exp(3) instead of 1" in errors
    assert decode(tmp_path / "one.npy", "--lang-dir", lang_dir, "--logits")[2] == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "2best"], "method: '2best' is unknown; there are ctc-greedy-search"),
        (["--method", "1best"], "method: 1best needs a graph: --graph HLG.pt"),
        (["--graph", "HLG.pt", "--method", "ctc-greedy-search"], "takes no --graph"),
        (["--graph", "HLG.pt", "--method", "whole-lattice-rescoring"], "needs a model over words"),
        (["--lm", "G.pt"], "lm: ctc-greedy-search takes none"),
        (["--nbest", "2"], "takes no phrases and has no n-best list"),
        (["--graph", "HLG.pt"], "HLG.pt"),
        (["--context-file", "hot.txt", "--method", "ctc-prefix-beam-search"], "hot.txt"),
        (["--lattice-out", "x.pt"], "ctc-greedy-search keeps no lattice"),
        (["--exp-dir", "gone"], "gone"),
    ],
)
def test_options_that_do_not_fit(tmp_path, lang_dir, options, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "one.npy", scores_of(PATH).numpy())
    code, lines, errors = decode("one.npy", "--lang-dir", lang_dir, *options)
    assert code != 0
    assert lines == []
    assert message in " ".join(errors.split())


def test_audio_and_features_go_through_the_model_of_a_run(tmp_path, lang_dir):
    torch.manual_seed(1)
    exp_dir = tmp_path / "exp"
    exp_dir.mkdir()
    options = ModelOptions(encoder_dim=8, num_layers=1, vocab_size=4)
    RunConfig(options, DataOptions(lang_dir=lang_dir), TrainOptions(exp_dir=exp_dir)).save()
    (exp_dir / "tokens.txt").write_text("".join(f"{t} {i}\n" for i, t in enumerate(TOKENS)))
    model = build_model(options).eval()
    torch.nn.init.normal_(model.ctc_output.weight, std=30.0)
    torch.nn.init.constant_(model.ctc_output.bias[:2], -1000.0)  # always letters
    state = model.state_dict()
    save_checkpoint(exp_dir / "epoch-1.pt", {"model": state, "model_avg": state})

    samples = 0.1 * np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", samples[::2], 8000)
    soundfile.write(tmp_path / "both.wav", np.stack([samples, samples], 1), 16000)
    soundfile.write(tmp_path / "click.flac", samples[:10], 16000)
    features = torch.as_tensor(make_extractor().extract(samples, 16000))
    np.save(tmp_path / "features.npy", features.numpy())
    np.save(tmp_path / "narrow.npy", features[:, :40].numpy())
    files = ["noise.wav", "features.npy", "slow.wav", "click.flac", "both.wav", "narrow.npy"]
    code, lines, errors = decode(
        *(tmp_path / f for f in files), "--exp-dir", exp_dir, "--json", "--epoch", 1
    )
    found = {row["name"]: row for row in map(json.loads, lines)}
    assert code == 1
    assert [name for name, row in found.items() if row["failed"]] == ["both", "narrow"], errors
    assert "has 2 channels; choose one: sox" in errors
    assert "features have dimension 40, the model needs 80" in errors
    with torch.inference_mode():
        encoder_out, lengths = model(features[None], torch.tensor([len(features)]))
        log_probs = model.ctc_log_probs(encoder_out)
    best = ctc_greedy_search(log_probs, lengths)[0]
    spelled = "".join(TOKENS[token] for token in best.tokens).replace("▁", " ").split()
    assert spelled
    assert found["noise"]["text"].split() == found["features"]["text"].split() == spelled
    assert found["noise"]["time_unit"] == "seconds"
    first = best.start_frames[next(i for i, t in enumerate(best.tokens) if TOKENS[t] != "▁")]
    assert found["noise"]["words"][0]["start"] == pytest.approx(0.04 * first)
    assert found["slow"]["num_frames"] == found["noise"]["num_frames"] == int(lengths[0])
    assert found["click"]["num_frames"] == 0

    (lang_dir / "tokens.txt").write_text("<blk> 0\n▁ 1\nB 2\nA 3\n")
    code, lines, errors = decode(tmp_path / "noise.wav", "--exp-dir", exp_dir)
    assert (code, lines) == (1, [])
    assert "has 'B 2' where the model was trained with 'A 2'" in errors


@pytest.mark.parametrize("use_ctc", [True, False])
def test_a_transducer_is_searched_where_there_is_one(use_ctc, tmp_path, lang_dir):
    torch.manual_seed(1)
    exp_dir = tmp_path / "exp"
    exp_dir.mkdir()
    sizes = {"encoder_dim": 8, "num_layers": 1, "decoder_dim": 8, "joiner_dim": 8}
    options = ModelOptions(**sizes, vocab_size=4, use_ctc=use_ctc, use_transducer=True)
    RunConfig(options, DataOptions(lang_dir=lang_dir), TrainOptions(exp_dir=exp_dir)).save()
    model = build_model(options).eval()
    features, head = torch.randn(120, 80), model.transducer
    with torch.no_grad():  # all symbols in turn
        encoder_out, _ = model.forward_encoder(features[None], torch.tensor([len(features)]))
        head.joiner.output.weight *= 100
        am = head.project_encoder(encoder_out)[0]
        head.joiner.output.bias -= head.joiner(am, head.start(len(am))[0]).mean(dim=0)
    state = model.state_dict()
    save_checkpoint(exp_dir / "epoch-1.pt", {"model": state, "model_avg": state})
    np.save(tmp_path / "a.npy", features.numpy())
    np.save(tmp_path / "none.npy", features[:0].numpy())
    given = (tmp_path / "a.npy", tmp_path / "none.npy", "--exp-dir", exp_dir, "--json")

    with torch.inference_mode():
        encoder_out = model.forward_encoder(features[None], torch.tensor([len(features)]))
        (greedy,) = greedy_search(model.transducer, *encoder_out)
        (beam,) = modified_beam_search(model.transducer, *encoder_out, 4, nbest=4)
    code, lines, errors = decode(*given)
    assert code == 0, errors
    found, nothing = map(json.loads, lines)
    assert found["text"] == CharTokenizer(TOKENS).decode(greedy.tokens) != ""
    spoken = [i for i, token in enumerate(greedy.tokens) if TOKENS[token] != "▁"]
    assert found["words"][0]["start"] == pytest.approx(0.04 * greedy.frames[spoken[0]])
    assert found["words"][-1]["end"] == pytest.approx(0.04 * (greedy.frames[spoken[-1]] + 1))
    assert (nothing["text"], nothing["num_frames"]) == ("", 0)

    code, lines, errors = decode(
        *given, "--method", "modified-beam-search", "--beam-size", 4, "--nbest", 4
    )
    assert code == 0, errors
    best = json.loads(lines[0])["nbest"]
    texts = {CharTokenizer(TOKENS).decode(each.tokens) for each in beam.hypotheses}
    assert {each["text"] for each in best} == texts
    assert sum(each["posterior"] for each in best) == pytest.approx(1.0)

    code, _, errors = decode(*given, "--method", "ctc-greedy-search")
    assert code == (0 if use_ctc else 1)
    assert ("trained without a CTC output" in errors) != use_ctc
    code, _, errors = decode(*given, "--context-file", lang_dir / "words.txt")
    assert code == 1 and "greedy_search takes no phrases" in errors
    code, _, errors = decode(
        tmp_path / "a.npy", "--lang-dir", lang_dir, "--method", "greedy_search"
    )
    assert code == 1 and "needs a model with a transducer head" in errors
