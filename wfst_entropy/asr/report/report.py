"""The report of a run: what it reached, how sure its alignments are, and how to do it again."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.utterances import Utterances, read_batch
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decoded_utterance import reference_times
from wfst_entropy.asr.decode.decoder import Decoder
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import OptionError, flag_name, load_config
from wfst_entropy.asr.report.plots import AlignmentPicture, plot_alignment
from wfst_entropy.asr.report.table import NOT_KNOWN, Table, format_number
from wfst_entropy.asr.training.run_config import RunConfig


def read_summaries(options: DecodeOptions) -> list[dict[str, Any]]:
    """The summaries that decoding left for one model, by name of the test set.

    Args:
      options: the run; epoch 0 takes the decoding that was done last.

    Raises:
      OptionError: there is no summary, or one cannot be read.
    """
    suffix = "*" if options.epoch == 0 and options.iter == 0 else options.suffix
    paths = sorted(
        options.res_dir.glob(f"summary-*-{suffix}.json"), key=lambda p: p.stat().st_mtime
    )
    if not paths:
        raise OptionError(
            f"{options.res_dir}: has no summary-*-{suffix}.json; decode first: decode.py --exp-dir "
            f"{options.exp_dir}"
        )
    summaries = [read_summary(path) for path in paths]
    last = summaries[-1]["suffix"]
    return sorted((s for s in summaries if s["suffix"] == last), key=lambda s: str(s["test_set"]))


def read_summary(path: Path) -> dict[str, Any]:
    """What decoding left about one test set.

    Raises:
      OptionError: the file cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: a summary cannot be read ({error}); decode again") from error
    return content


def read_decode_config(options: DecodeOptions, suffix: str) -> tuple[DecodeOptions, DataOptions]:
    """What decoding was told, from the `config-{suffix}.yaml` that it left.

    Raises:
      OptionError: the file is missing or damaged.
    """
    path = options.res_dir / f"config-{suffix}.yaml"
    decode, data = load_config(path, DecodeOptions, DataOptions)
    # the folder of the run may have been moved since
    return dataclasses.replace(decode, exp_dir=options.exp_dir), data


def read_history(exp_dir: Path) -> list[dict[str, Any]]:
    """Rows of `history.jsonl`, one per epoch.

    Raises:
      OptionError: the file is missing or damaged.
    """
    path = exp_dir / "history.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); train the run first") from error


def typical_utterances(res_dir: Path, summary: dict[str, Any], number: int) -> list[str]:
    """Names of utterances to look at: from the surest to the least sure alignment, evenly spread.

    Args:
      res_dir: where `entropy-*.tsv` lies.
      summary: of the test set.
      number: how many; of one, the one in the middle.

    Returns:
      At most `number` names, by rising entropy per frame.

    Raises:
      OptionError: the file is missing.
    """
    path = res_dir / f"entropy-{summary['test_set']}-{summary['suffix']}.tsv"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error}); decode again") from error
    rows = [row for row in csv.DictReader(lines, delimiter="\t") if int(row["labels"]) > 0]
    rows.sort(key=lambda row: (float(row["per_frame"]), row["cut"]))
    number = min(number, len(rows))
    return [rows[(2 * i + 1) * len(rows) // (2 * number)]["cut"] for i in range(number)]


def draw_alignments(
    decoder: Decoder, batches: Iterable[dict[str, Any]], names: Sequence[str], report_dir: Path
) -> list[Path]:
    """Draw `alignment_{utt}.png` of some utterances of a test set.

    Args:
      decoder: the model that decoded them.
      batches: the test set; it is read only as far as needed.
      names: of the utterances.
      report_dir: where the pictures go.

    Returns:
      The files, in the order of the names. Utterances without an alignment have none.
    """
    wanted, files = set(names), {}
    for batch in batches:
        if not wanted:
            break
        utterances = read_batch(batch, decoder.tokenizer)
        rows = [row for row, name in enumerate(utterances.names) if name in wanted]
        if not rows:
            continue
        scores, lengths = decoder.scores(utterances)
        for row in rows:
            wanted.discard(utterances.names[row])
            picture = _picture(decoder, batch, utterances, row, scores[row, : int(lengths[row])])
            if picture is not None:
                files[picture.name] = report_dir / f"alignment_{picture.name}.png"
                plot_alignment(picture, files[picture.name])
    return [files[name] for name in names if name in files]


def _picture(
    decoder: Decoder, batch: dict[str, Any], utterances: Utterances, row: int, scores: Tensor
) -> AlignmentPicture | None:
    """One utterance, drawn as the head that decodes aligns it; None where it does not."""
    cut, tokens = batch["supervisions"]["cut"][row], utterances.tokens[row]
    length = torch.tensor([len(scores)])
    ((_, alignment, emissions),) = decoder.alignments(scores[None], length, [tokens])
    if row in utterances.excluded or not alignment.valid:
        return None
    factor = decoder.model.subsampling_factor
    return AlignmentPicture(
        name=utterances.names[row],
        features=utterances.features[row, : int(utterances.num_frames[row])],
        log_probs=scores if emissions is None else None,
        emissions=emissions,
        alignment=alignment,
        symbols=decoder.tokenizer.symbols,
        words=reference_times(cut),
        frame_shift=decoder.seconds_per_frame(cut) / factor,
        subsampling_factor=factor,
    )


def wer_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Word error rates, and what was left out."""
    columns = ["test set", "WER %", "ins", "del", "sub", "words", "utterances", "not decoded"]
    rows = [
        [
            s["test_set"],
            f"{s['wer']:.2f}",
            str(s["insertions"]),
            str(s["deletions"]),
            str(s["substitutions"]),
            str(s["num_ref_words"]),
            str(s["num_utterances"]),
            str(len(s["not_decoded"]) + len(s["not_loaded"])),
        ]
        for s in summaries
    ]
    return Table("Word error rate", columns, rows)


def entropy_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Mean alignment entropy of the reference texts, in nats."""
    columns = ["test set", "H_c", "per frame", "per label", "blank frames %", "peakiness"]
    columns.append("not aligned")
    rows = []
    for s in summaries:
        a = s["alignment"] or {}
        rows.append(
            [
                s["test_set"],
                format_number(a.get("entropy"), 2),
                format_number(a.get("entropy_per_frame"), 4),
                format_number(a.get("entropy_per_label"), 4),
                format_number(a.get("blank_fraction"), 1, 100.0),
                format_number(a.get("peakiness"), 2),
                str(len(s["not_aligned"])),
            ]
        )
    return Table("Alignment entropy (nats, means over utterances)", columns, rows)


def word_time_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Deviation of the forced alignment from the true word times, in milliseconds."""
    columns = ["test set", "words", "start, mean abs", "start, median abs", "end, mean abs"]
    columns += ["end, median abs", "emission latency"]
    rows = []
    for s in summaries:
        w = s["word_times"] or {}
        names = ("mean_abs_start", "median_abs_start", "mean_abs_end", "median_abs_end")
        row = [s["test_set"], str(w.get("num_words", NOT_KNOWN))]
        row += [format_number(w.get(name), 0, 1000.0) for name in names]
        rows.append([*row, format_number(s["mean_emission_latency"], 0, 1000.0)])
    return Table("Word times against the true ones (ms)", columns, rows)


def training_table(config: RunConfig, history: Sequence[dict[str, Any]], parameters: int) -> Table:
    """What was trained, for how long, and where its losses ended."""
    last = history[-1] if history else {}
    best = min(
        (row for row in history if "valid_nll" in row), key=lambda r: r["valid_nll"], default={}
    )
    model, train = config.model, config.train
    seconds = sum(row.get("seconds", 0.0) for row in history)
    rows = [
        ["model", _model_name(model, parameters)],
        ["epochs", f"{len(history)}, {seconds / 60:.1f} minutes, {last.get('step', 0)} batches"],
        ["entropy regulariser", f"scale {train.entropy_loss_scale:g}, {train.entropy_kind}"],
        ["training NLL per frame", format_number(last.get("train_nll"))],
        ["validation NLL per frame", format_number(last.get("valid_nll"))],
        *_term_rows(last),
        [
            "lowest validation NLL",
            f"{format_number(best.get('valid_nll'))}, epoch {best.get('epoch', '-')}",
        ],
        [
            f"{train.entropy_kind} entropy per frame",
            f"{format_number(last.get('valid_entropy'), 4)} (validation)",
        ],
        ["left out in the last epoch", f"{last.get('excluded', 0):.0f} utterances"],
        ["seed", str(train.seed)],
    ]
    return Table("Training", ["", ""], rows)


def _model_name(model: ModelOptions, parameters: int) -> str:
    heads = [name for name in ("ctc", "transducer") if getattr(model, f"use_{name}")]
    what = [str(model.encoder), *(["causal"] if model.causal else [])]
    if model.use_transducer:
        what.append(" and ".join(heads).replace("ctc", "CTC"))
    return ", ".join([*what, f"{parameters:,} parameters"])


def _term_rows(last: dict[str, Any]) -> list[list[str]]:
    """Terms of the loss beside NLL and entropy of the head that the run is named for."""
    names = [name.removeprefix("train_") for name in last if name.startswith("train_")]
    head = "transducer" if "transducer_nll" in names else "ctc"
    known = ("loss", "nll", "entropy", f"{head}_nll", f"{head}_entropy")
    return [
        [
            f"{name.replace('_', ' ')} per frame",
            f"{format_number(last.get(f'valid_{name}'))} (validation)",
        ]
        for name in names
        if name not in known
    ]


def changed_flags(*options: Any) -> str:
    """The flags that differ from their defaults, as one would type them.

    >>> changed_flags(DecodeOptions(epoch=3))
    '--epoch 3'
    """
    words = []
    for section in options:
        default = type(section)()  # of what depends on other fields, what it comes to
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if field.metadata.get("flag", True) and value != getattr(default, field.name):
                text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words.append(f"{flag_name(field.name)} {text}")
    return " ".join(words)


def machine_line(exp_dir: Path) -> str:
    """Processor and versions that trained the run, from its `env.json`."""
    path = exp_dir / "env.json"
    if not path.exists():
        return "not recorded"
    env = json.loads(path.read_text(encoding="utf-8"))
    native = env["native"]
    kernels = native["instruction_set"] if native["available"] else f"no ({native['reason']})"
    return (
        f"{env['processor'] or env['platform']}, {env['threads']['torch']} threads of "
        f"{env['threads']['cores']} cores; Python {env['python']}, torch {env['torch']}, "
        f"wfst-entropy {env['wfst_entropy']}, native kernels: {kernels}"
    )


def render_report(
    config: RunConfig,
    options: DecodeOptions,
    tables: Sequence[Table],
    problems: dict[str, str],
    pictures: Sequence[Path],
) -> str:
    """The report in Markdown.

    Args:
      config: of the run.
      options: that decoded.
      tables: in their order.
      problems: `{name: cause}` of utterances that could not be read, decoded or aligned.
      pictures: files beside the report.
    """
    parts = [f"# Report of {options.exp_dir}", f"Decoded with `{options.suffix}`."]
    for table in tables:
        parts += [f"## {table.title}", table.markdown()]
    if problems:
        lines = [f"- `{name}`: {cause}" for name, cause in problems.items()]
        parts += ["## Utterances left out", "\n".join(lines)]
    parts += ["## Pictures", *(f"![{path.stem}]({path.name})" for path in pictures)]
    flags = changed_flags(config.data, config.model, config.train)
    commands = f"train.py {flags}\ndecode.py {changed_flags(options)}"
    parts += ["## How to do it again", f"```sh\n{commands}\n```"]
    parts += [f"Seed {config.train.seed}. {machine_line(options.exp_dir)}."]
    return "\n\n".join(parts) + "\n"
