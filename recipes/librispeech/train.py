#!/usr/bin/env python3
"""Train a CTC or transducer recogniser, with the entropy of its alignments in the loss.

Usage:

  ./train.py --exp-dir exp/tdnn --encoder tdnn --num-epochs 8 --max-duration 120

  # reward the entropy of the alignments (a negative scale penalises it)
  ./train.py --exp-dir exp/tdnn-ent --entropy-loss-scale 0.05

  # a transducer with a CTC head beside it, in windows of 5 label positions as in icefall
  ./train.py --exp-dir exp/rnnt --encoder lstm --causal true --use-transducer true --prune-range 5

  # two processes on this machine, started here or by torchrun
  ./train.py --exp-dir exp/tdnn --world-size 2
  torchrun --nproc-per-node 2 train.py --exp-dir exp/tdnn

The same command goes on after an interruption. exp-dir receives epoch-N.pt, checkpoint-N.pt,
best-{train,valid}-loss.pt, config.yaml, env.json, tokens.txt, history.jsonl, log/ and
tensorboard/.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import torch

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.pseudo_labels import PseudoLabels
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.data.utterances import TokenEncoder, read_batch
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError, from_args, make_parser
from wfst_entropy.asr.training.averaging import update_averaged_model
from wfst_entropy.asr.training.checkpoint import (
    remove_old_checkpoints,
    save_checkpoint,
)
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.distillation import make_distiller
from wfst_entropy.asr.training.distributed import ProcessRank, launch
from wfst_entropy.asr.training.optimizer import build_optimizer
from wfst_entropy.asr.training.resume import (
    changed_data_options,
    changed_training_options,
    start_or_resume,
)
from wfst_entropy.asr.training.run_config import RunConfig, save_description
from wfst_entropy.asr.training.run_log import RunLog
from wfst_entropy.asr.training.schedule import learning_rate
from wfst_entropy.asr.training.teacher import resolved
from wfst_entropy.asr.training.train_loop import (
    BadBatches,
    BatchResult,
    choose_dtype,
    train_batch,
    validate,
)
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState, seed_batch
from wfst_entropy.fsa.errors import FsaError


@dataclasses.dataclass
class Training:
    """What the functions of this script share."""

    config: RunConfig
    data: AsrDataModule
    tokenizer: TokenEncoder
    state: TrainState
    criterion: TrainingCriterion  # around state.model
    process: ProcessRank
    log: RunLog
    bad_batches: BadBatches


def main() -> None:
    """Read the command line, then train in one process or several."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = make_parser(summary, DataOptions, ModelOptions, TrainOptions, DistillOptions)
    parser.epilog = usage.replace("%", "%%")
    args = parser.parse_args()
    try:
        train = from_args(args, TrainOptions)
        data = from_args(args, DataOptions, seed=train.seed)
        distill = resolved(from_args(args, DistillOptions))
        vocab_size = load_tokenizer(data.lang_dir).vocab_size
        model = from_args(args, ModelOptions, vocab_size=vocab_size)
        launch(run, train.world_size, train.master_port, RunConfig(model, data, train, distill))
    except (FsaError, OSError) as error:
        sys.exit(f"train.py: error: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: interrupted; the same command goes on from the newest checkpoint")


def run(process: ProcessRank, config: RunConfig) -> None:
    """Train from wherever the run stands to its last epoch."""
    options = config.train
    options.exp_dir.mkdir(parents=True, exist_ok=True)
    log = RunLog(options.exp_dir, process.rank, options.tensorboard)
    try:
        training = prepare(process, config, log)
        progress = training.state.progress
        if progress.epoch > options.num_epochs:
            log.info(f"all {options.num_epochs} epochs are trained already; nothing to do")
        while progress.epoch <= options.num_epochs:
            train_one_epoch(training)
            finish_epoch(training)
    finally:
        log.close()


def prepare(process: ProcessRank, config: RunConfig, log: RunLog) -> Training:
    """Build model, optimiser and data, and go to where the run should go on."""
    options = config.train
    other_batches = changed_data_options(config)
    other_training = changed_training_options(config)
    torch.manual_seed(options.seed)  # the same initial parameters in every process
    model = build_model(config.model).to(process.device)
    dtype = choose_dtype(options, process.device)
    criterion = TrainingCriterion(model, options, dtype)
    if config.distill.distils:
        criterion.distiller = make_distiller(config.distill, options, model, config.data.lang_dir)
    data = make_data(config, criterion)
    scaler = torch.amp.GradScaler(process.device.type, enabled=dtype == torch.float16)
    state = TrainState(model, build_optimizer(model, options), scaler)
    for note in start_or_resume(state, options, process):
        log.info(note)
    if not state.progress.batches_per_epoch:
        state.progress.batches_per_epoch = data.batches_per_epoch(process.world_size)
    if other_batches and state.progress.batch:
        log.warning(
            f"the rest of epoch {state.progress.epoch} has other batches than the interrupted run "
            f"would have had: {', '.join(other_batches)}"
        )
    finished = state.progress.epoch > options.num_epochs
    if other_training:
        hint = "; the run is finished without them, for another one give --exp-dir"
        log.warning(f"other options than before: {', '.join(other_training)}{hint * finished}")
    if process.is_first:
        if not finished:  # or else it is what made the run
            save_description(config)
        log.write_history(state.progress.history)
    log.info(
        f"{config.model.encoder}: {model.num_parameters:,} parameters, vocabulary of "
        f"{config.model.vocab_size}, {process.device}, "
        f"{str(dtype).removeprefix('torch.')}, process {process.rank + 1} of "
        f"{process.world_size} with {torch.get_num_threads()} threads"
    )
    return Training(
        config,
        data,
        data.tokenizer,
        state,
        criterion,
        process,
        log,
        BadBatches(options.max_bad_batches),
    )


def make_data(config: RunConfig, criterion: TrainingCriterion) -> AsrDataModule:
    """The data, with what a teacher wrote where there is one."""
    distill = config.distill
    data = AsrDataModule(
        config.data,
        criterion.model.subsampling_factor,
        criterion.min_num_frames,
        None if distill.pseudo_labels is None else PseudoLabels(distill.pseudo_labels),
        use_transcripts=distill.label_loss_scale > 0,
    )
    data.check_parts()
    return data


def train_one_epoch(training: Training) -> None:
    """Train on the batches of the epoch that are not done yet."""
    options, process, log = training.config.train, training.process, training.log
    state, progress = training.state, training.state.progress
    training.criterion.train()
    started = time.monotonic()
    batches = training.data.train_batches(
        progress.epoch, progress.batch, process.rank, process.world_size
    )
    with log.epoch_bar(progress.epoch, progress.batch, progress.batches_per_epoch) as bar:
        for batch in batches:
            # dropout depends on the seed and the place in the training only
            seed_batch(options.seed, progress.epoch, progress.batch, process.rank)
            lr = learning_rate(options, progress.step + 1, progress.epochs_done)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            result = train_batch(
                training.criterion,
                read_batch(batch, training.tokenizer),
                state,
                options,
                process,
                training.bad_batches,
                batch.get("num_failed", 0),
            )
            count(training, result)
            progress.add(seconds=time.monotonic() - started)
            started = time.monotonic()
            progress.batch += 1
            progress.step += 1
            if update_averaged_model(
                state.model_avg, state.model, progress.step, options.average_period
            ):
                progress.averaged_step = progress.step

            bar.advance(f"loss {result.loss_per_frame:.3f}")
            if progress.step % options.log_interval == 0:
                log_batch(training, result, lr)
            if options.valid_interval and progress.step % options.valid_interval == 0:
                validate_now(training)
            if options.save_every_n and progress.step % options.save_every_n == 0:
                save_batch(training)


def count(training: Training, result: BatchResult) -> None:
    """Add a batch to the sums of the epoch, and log what was out of the ordinary."""
    progress, log = training.state.progress, training.log
    place = f"epoch {progress.epoch}, batch {progress.batch}"
    for note in result.own.notes:
        log.warning(f"{place}: {note}")
    log.excluded(result.own.excluded)
    progress.add(excluded=result.num_excluded)
    if result.problem is not None:
        log.warning(f"{place} skipped: {result.problem}")
        progress.add(bad_batches=1)
        return
    head = training.criterion.main_head
    progress.add(
        loss=result.loss,
        nll=result.terms[f"{head}_nll"],
        entropy=result.terms[f"{head}_entropy"],
        frames=result.frames,
        utterances=result.utterances,
        **result.terms,
    )


def log_batch(training: Training, result: BatchResult, lr: float) -> None:
    """A line and points of the curves, from time to time."""
    progress = training.state.progress
    names = training.criterion.term_names
    progress.mark(names)
    terms = {name: result.per_frame(name) for name in names}
    listed = ", ".join(f"{name} {value:.4f}" for name, value in terms.items())
    training.log.info(
        f"epoch {progress.epoch}, batch {progress.batch}, step {progress.step}: loss "
        f"{result.loss_per_frame:.4f} per frame, epoch so far {progress.per_frame('loss'):.4f}, "
        f"{listed}, {result.utterances:.0f} utterances, lr {lr:.2e}, "
        f"{progress.sums['seconds']:.0f} s"
    )
    training.log.scalars(
        progress.step,
        train_loss=result.loss_per_frame,
        train_learning_rate=lr,
        **{f"train_{name}": value for name, value in terms.items()},
    )


def validate_now(training: Training) -> dict[str, float]:
    """Losses on the validation set, of which each process takes its share."""
    process = training.process
    figures = validate(
        training.criterion,
        training.data.valid_batches(process.rank, process.world_size),
        training.tokenizer,
        training.state.progress.step,
        process,
    )
    if not process.is_first:
        return figures
    training.log.info(
        f"validation: loss {figures['valid_loss']:.4f} per frame, NLL {figures['valid_nll']:.4f}, "
        f"entropy {figures['valid_entropy']:.4f}, {figures['valid_excluded']:.0f} left out"
    )
    training.log.scalars(training.state.progress.step, **figures)
    return figures


def finish_epoch(training: Training) -> None:
    """Validate, write the epoch's figures and its checkpoint."""
    progress, options, log = training.state.progress, training.config.train, training.log
    epoch = progress.epoch
    if not progress.sums.get("frames"):
        raise OptionError(
            f"epoch {epoch} had no utterance with a loss in {progress.batch} batches; look at "
            f"{options.exp_dir / 'log'}, at --manifest-dir and at --max-duration"
        )
    sums = progress.sums
    row: dict[str, Any] = {
        "epoch": epoch,
        "step": progress.step,
        **{
            f"train_{name}": progress.per_frame(name)
            for name in ("loss", "nll", "entropy", *training.criterion.term_names)
        },
        **validate_now(training),
        "lr": learning_rate(options, progress.step, progress.epochs_done),
        "seconds": sums["seconds"],
        "utterances": sums["utterances"],
        "excluded": sums["excluded"] + len(training.data.excluded),
        "bad_batches": sums.get("bad_batches", 0.0),
    }
    progress.finish_epoch(row, training.criterion.term_names)
    if not training.process.is_first:
        return
    path = options.exp_dir / f"epoch-{epoch}.pt"
    best = {
        name: row[f"{name}_loss"] < getattr(progress, f"best_{name}_loss")
        for name in ("train", "valid")
    }
    for name, is_best in best.items():
        if is_best:
            setattr(progress, f"best_{name}_loss", row[f"{name}_loss"])
    # the epoch's own file last: a run that is killed in between does the end of the epoch again
    for name in [f"best-{name}-loss.pt" for name, is_best in best.items() if is_best]:
        save_checkpoint(options.exp_dir / name, training.state.state_dict())
    save_checkpoint(path, training.state.state_dict())
    log.write_history(progress.history)
    log.info(
        f"epoch {epoch} done in {row['seconds']:.0f} s: train loss {row['train_loss']:.4f}, valid "
        f"loss {row['valid_loss']:.4f}, {row['excluded']:.0f} utterances and "
        f"{row['bad_batches']:.0f} batches left out; wrote {path}"
    )


def save_batch(training: Training) -> None:
    """Write a checkpoint within an epoch, and delete the oldest of its kind."""
    if training.process.is_first:
        exp_dir, number = training.config.train.exp_dir, training.state.progress.step
        save_checkpoint(exp_dir / f"checkpoint-{number}.pt", training.state.state_dict())
        remove_old_checkpoints(exp_dir, training.config.train.keep_last_k)


if __name__ == "__main__":
    main()
