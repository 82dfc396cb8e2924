"""One batch at a time: skipping what is not finite, precision, resuming."""

from __future__ import annotations

import logging
import os

import pytest
import torch

from wfst_entropy.asr.data.utterances import read_batch
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.training.checkpoint import CheckpointError, save_checkpoint
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distributed import ProcessRank, launch
from wfst_entropy.asr.training.optimizer import build_optimizer
from wfst_entropy.asr.training.resume import start_or_resume
from wfst_entropy.asr.training.run_log import RunLog
from wfst_entropy.asr.training.train_loop import BadBatches, choose_dtype, train_batch, validate
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import Progress, TrainState, seed_batch
from wfst_entropy.fsa.errors import FsaRuntimeError

CPU = torch.device("cpu")
ALONE = ProcessRank(0, 1, CPU)


class Letters:
    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 96 for letter in text]


class Cut:
    supervisions = ()

    def __init__(self, name: str) -> None:
        self.id = name


def batch(texts=("ab", "cad"), seed=0):
    features = torch.randn(len(texts), 60, 80, generator=torch.Generator().manual_seed(seed))
    supervisions = {
        "text": list(texts),
        "num_frames": torch.tensor([60, 41][: len(texts)]),
        "sequence_idx": torch.arange(len(texts)),
        "cut": [Cut(f"utt-{i}") for i in range(len(texts))],
    }
    return {"inputs": features * 4 - 8, "supervisions": supervisions}


def make_state(encoder="tdnn", use_fp16=False, **options):
    torch.manual_seed(0)
    model = build_model(ModelOptions(encoder=encoder, encoder_dim=8, num_layers=1, vocab_size=5))
    optimizer = build_optimizer(model, TrainOptions(**options))
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=use_fp16))


def train_on(state, data, bad_batches=None, dtype=torch.float32, model=None):
    options = TrainOptions()
    return train_batch(
        TrainingCriterion(model or state.model, options, dtype),
        read_batch(data, Letters()),
        state,
        options,
        ALONE,
        bad_batches or BadBatches(10),
        data.get("num_failed", 0),
    )


def valid(model, batches):
    return validate(TrainingCriterion(model, TrainOptions()), batches, Letters(), 0, ALONE)


def snapshot(state):
    return {name: value.clone() for name, value in state.model.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("optimizer", ["adamw", "scaled-adam"])
def test_training_on_one_batch_learns_it(dtype, optimizer):
    state = make_state(optimizer=optimizer, base_lr=0.02, use_fp16=dtype == torch.float16)
    losses = [train_on(state, batch(), dtype=dtype).loss for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("encoder", ["tdnn", "lstm", "conformer"])
def test_an_utterance_with_nan_features_is_left_out_of_its_batch(encoder):
    state = make_state(encoder)
    broken = batch()
    broken["inputs"][1, 5, 5] = float("nan")
    result = train_on(state, broken)
    assert result.problem is None and result.utterances == 1
    assert result.own.excluded == {"utt-1 (0.41 s)": "its features are not finite"}
    assert all(value.isfinite().all() for value in state.model.state_dict().values())


class Diverged(torch.nn.Module):
    """A model that makes NaN of the last utterances of each batch."""

    transducer = None

    def __init__(self, model, num_bad=1):
        super().__init__()
        self.model = model
        self.ctc_output = model.ctc_output
        self.num_bad = num_bad

    def forward_encoder(self, features, lengths):
        return self.model.forward_encoder(features, lengths)

    def ctc_log_probs(self, encoder_out):
        bad = torch.arange(len(encoder_out))[-self.num_bad :]
        return self.model.ctc_log_probs(encoder_out).index_fill(0, bad, torch.nan)


def diverge(state, bad_batches):
    return train_on(state, batch(), bad_batches, model=Diverged(state.model))


def test_a_loss_that_is_not_finite_is_named_and_changes_no_parameter():
    state = make_state()
    before = [p.detach().clone() for p in state.model.parameters()]
    result = diverge(state, BadBatches(10))
    assert result.problem == "no finite loss for utt-0 (0.60 s), utt-1 (0.41 s)"
    assert all(torch.equal(a, b) for a, b in zip(before, state.model.parameters()))
    assert train_on(state, batch()).problem is None


def test_an_infinite_gradient_changes_nothing():
    state = make_state()
    bad = BadBatches(10)
    state.model.ctc_output.weight.register_hook(lambda gradient: gradient * torch.inf)
    weight = state.model.ctc_output.weight.detach().clone()
    problem = train_on(state, batch(), bad).problem
    names = "utt-0 (0.60 s), utt-1 (0.41 s)"
    assert problem == f"its gradient is not finite; it has {names}" and bad.in_a_row == 1
    assert torch.equal(state.model.ctc_output.weight, weight)


def test_a_batch_without_any_alignment_is_skipped_without_alarm():
    state, bad = make_state(), BadBatches(0)
    before = snapshot(state)
    result = train_on(state, batch(["abcd" * 10, "abcd" * 10]), bad)
    assert result.problem == "none of its utterances takes part in the loss"
    assert len(result.own.excluded) == 2
    assert torch.equal(state.model.ctc_output.weight, before["ctc_output.weight"])


def test_too_many_bad_batches_in_a_row_stop_the_run():
    state, bad = make_state(), BadBatches(2)
    diverge(state, bad)
    diverge(state, bad)
    train_on(state, batch(), bad)
    assert bad.in_a_row == 0
    diverge(state, bad)
    diverge(state, bad)
    with pytest.raises(FsaRuntimeError, match=r"3 batches in a row .* utt-1 .*--base-lr"):
        diverge(state, bad)


def test_validation_leaves_no_trace_and_averages_over_frames():
    state = make_state()
    before = snapshot(state)
    figures = valid(state.model, [batch()])
    twice = valid(state.model, [batch(), batch()])
    assert twice["valid_loss"] == pytest.approx(figures["valid_loss"])
    assert state.model.training
    after = state.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_all_that_validation_leaves_out_is_counted():
    model = make_state().model
    batches = [batch(["ab", "abcd" * 10]), batch() | {"num_failed": 3}]
    assert valid(model, batches)["valid_excluded"] == 4
    with pytest.raises(FsaRuntimeError, match=r"\(2 were left out\); 2 of them .* diverged; lower"):
        valid(Diverged(model), [batch()])


def test_utterances_that_could_not_be_read_are_counted():
    result = train_on(make_state(), batch(["ab", "abcd" * 10]) | {"num_failed": 3})
    assert result.num_excluded == 4 and len(result.own.excluded) == 1


def test_an_empty_validation_set_is_explained():
    with pytest.raises(FsaRuntimeError, match="no utterance with a finite loss"):
        valid(make_state().model, [])


def test_precision():
    assert choose_dtype(TrainOptions(use_bf16=False), CPU) == torch.float32
    assert choose_dtype(TrainOptions(use_fp16=True), CPU) == torch.float16
    assert choose_dtype(TrainOptions(), CPU) in (torch.float32, torch.bfloat16)


def trained_once(tmp_path, name):
    state = make_state()
    train_on(state, batch())
    state.progress = Progress(epoch=2, batch=3, step=13, batches_per_epoch=10)
    save_checkpoint(tmp_path / name, state.state_dict())
    return state


def test_going_on_brings_everything_back(tmp_path):
    before = trained_once(tmp_path, "checkpoint-13.pt")
    after = make_state()
    notes = start_or_resume(after, TrainOptions(exp_dir=tmp_path), ALONE)
    assert notes == [f"going on from {tmp_path / 'checkpoint-13.pt'}: epoch 2, batch 3"]
    assert after.progress == before.progress
    for state in (before, after):  # the optimiser's moments matter from the next step on
        torch.manual_seed(0)
        train_on(state, batch(seed=5))
    for name, value in before.model.state_dict().items():
        assert torch.equal(value, after.model.state_dict()[name])


def test_where_to_go_on_from_can_be_chosen(tmp_path):
    trained_once(tmp_path, "epoch-1.pt")
    trained_once(tmp_path, "checkpoint-13.pt")
    options = {"exp_dir": tmp_path}
    for choice, name in (({"start_epoch": 2}, "epoch-1"), ({"start_batch": 13}, "checkpoint-13")):
        (note,) = start_or_resume(make_state(), TrainOptions(**options, **choice), ALONE)
        assert f"{name}.pt" in note
    with pytest.raises(CheckpointError, match=r"epoch-4\.pt: there is no such checkpoint"):
        start_or_resume(make_state(), TrainOptions(**options, start_epoch=5), ALONE)
    notes = start_or_resume(make_state(), TrainOptions(**options, resume=False), ALONE)
    assert "previous-1" in notes[0] and notes[1] == "starting afresh"


def test_a_new_run_can_start_from_the_parameters_of_another(tmp_path):
    before = trained_once(tmp_path, "epoch-1.pt")
    exp_dir = tmp_path / "new"
    options = TrainOptions(exp_dir=exp_dir, init_from=tmp_path / "epoch-1.pt")
    torch.manual_seed(1)
    sizes = {"encoder": "tdnn", "encoder_dim": 8, "num_layers": 1, "use_transducer": True}
    model = build_model(ModelOptions(vocab_size=7, decoder_dim=4, joiner_dim=4, **sizes))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    state = TrainState(model, build_optimizer(model, options), torch.amp.GradScaler("cpu"))
    notes = start_or_resume(state, options, ALONE)
    lost = {name for name in fresh if name.startswith(("transducer.", "ctc_output."))}
    own, old = model.state_dict(), before.model.state_dict()
    for name in fresh:
        assert torch.equal(own[name], fresh[name] if name in lost else old[name]), name
    assert f"{len(fresh) - len(lost)} of {len(fresh)} tensors" in notes[0]
    assert "ctc_output.bias (7,) starts at random: it is (5,) there" in notes
    assert state.progress.step == 0 and notes[-1] == "starting afresh"
    # a run that is interrupted goes on from its own checkpoints
    trained_once(tmp_path, "checkpoint-13.pt")
    again = TrainOptions(exp_dir=tmp_path, init_from=tmp_path / "epoch-1.pt")
    assert "going on from" in start_or_resume(make_state(), again, ALONE)[-1]


def test_a_checkpoint_of_which_nothing_fits_is_refused(tmp_path):
    save_checkpoint(tmp_path / "other.pt", {"model": {"w": torch.zeros(1)}})
    options = TrainOptions(exp_dir=tmp_path / "new", init_from=tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: no parameter has the name and shape"):
        start_or_resume(make_state(), options, ALONE)


def test_a_truncated_newest_checkpoint_is_named_and_passed_over(tmp_path):
    trained_once(tmp_path, "epoch-1.pt")
    trained_once(tmp_path, "checkpoint-13.pt")
    path = tmp_path / "checkpoint-13.pt"
    path.write_bytes(path.read_bytes()[:-500])
    notes = start_or_resume(make_state(), TrainOptions(exp_dir=tmp_path), ALONE)
    assert "checkpoint-13.pt: is truncated or damaged" in notes[0]
    assert "epoch-1.pt" in notes[1]


def test_a_copied_folder_whose_last_epoch_has_an_older_file_is_pointed_out(tmp_path):
    trained_once(tmp_path, "checkpoint-13.pt")
    trained_once(tmp_path, "epoch-3.pt")
    os.utime(tmp_path / "epoch-3.pt", (1, 1))
    first, second = start_or_resume(make_state(), TrainOptions(exp_dir=tmp_path), ALONE)
    assert "epoch-3.pt is older than checkpoint-13.pt" in first and "--start-epoch 4" in first
    assert "checkpoint-13.pt: epoch 2" in second


def test_a_checkpoint_of_another_encoder_is_refused(tmp_path):
    trained_once(tmp_path, "epoch-1.pt")
    with pytest.raises(CheckpointError, match=r"epoch-1\.pt: is of another architecture"):
        start_or_resume(make_state("lstm"), TrainOptions(exp_dir=tmp_path), ALONE)


def test_the_random_numbers_of_a_batch_depend_on_its_place():
    def draw(*place):
        seed_batch(*place)
        return torch.rand(3).tolist()

    assert draw(1, 2, 3, 0) == draw(1, 2, 3, 0)
    places = [(1, 2, 3, 0), (2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1)]
    assert len({tuple(draw(*place)) for place in places}) == 5


def test_log_history_and_curves(tmp_path):
    handlers = list(logging.getLogger().handlers)
    log = RunLog(tmp_path, rank=0, tensorboard=True)
    log.excluded({"utt-1": "too short"})
    log.scalars(3, train_loss=1.5)
    log.write_history([{"epoch": 1, "train_loss": 2.0}])
    log.write_history([{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0}])
    log.close()
    (path,) = (tmp_path / "log").glob("log-train-*")
    assert "WARNING utt-1: left out of the loss: too short" in path.read_text()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert logging.getLogger().handlers == handlers


def test_torchrun_and_world_size_must_agree(monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="torchrun started 2 processes, --world-size says 3"):
        launch(print, 3, 12354)
