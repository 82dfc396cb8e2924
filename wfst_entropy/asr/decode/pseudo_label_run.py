"""Transcribe utterances with a trained model, for another model to learn from.

The rows are kept as they come, so that a run that is interrupted goes on where it was; the file
that others read appears when all utterances have been tried.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.errors import brief
from wfst_entropy.asr.data.utterances import Utterances, read_batch
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decoder import Decoder
from wfst_entropy.asr.options import OptionError, differences, load_config, option, save_config
from wfst_entropy.asr.search.method import Hypothesis
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class LabelOptions:
    """What is transcribed, and where the transcripts go.

    >>> LabelOptions().file_for(DecodeOptions(epoch=3, decoding_method="greedy_search")).name
    'greedy_search-epoch-3-avg-1-use-averaged-model-train.jsonl'
    """

    subset: Literal["train", "dev", "test"] = option(
        "train", "Which parts to transcribe; --train-parts and the like name some of them."
    )
    output: Path | None = option(
        None, "The file; none: exp-dir/pseudo-labels/(method)-(model)-(subset).jsonl."
    )

    def file_for(self, decoding: DecodeOptions) -> Path:
        """The file of these options."""
        if self.output is not None:
            return self.output
        name = f"{decoding.decoding_method}-{decoding.suffix}-{self.subset}.jsonl"
        return decoding.exp_dir / "pseudo-labels" / name


@dataclasses.dataclass(frozen=True)
class LabelledUtterance:
    """A line of the file.

    Attributes:
      id: of the utterance.
      text: what was found in it, maybe nothing.
      confidence: the mean of its words' confidences; None where the method tells none.
    """

    id: str
    text: str
    confidence: float | None = None


class LabelFile:
    """The file of transcripts, and the rows of a run that has not come to its end.

    Args:
      path: The file. Beside it lie `.partial`, the rows so far, and `.yaml`, the options.

    Raises:
      OptionError: a row is damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = LabelFile(Path(folder, "labels.jsonl"))
    ...     file.add([LabelledUtterance("b", "YES"), LabelledUtterance("a", "")])
    ...     file.finish()
    ...     [row.id for row in LabelFile(file.path).rows.values()]
    ['a', 'b']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.config = path.with_name(path.name + ".yaml")
        self.rows = {row.id: row for source in (path, self.partial) for row in _rows_of(source)}

    def claim(
        self, decoding: DecodeOptions, search: SearchOptions, data: DataOptions, made: float
    ) -> None:
        """Keep the options beside the file, or refuse others than those of the rows in it.

        Args:
          decoding: Which model, and which method.
          search: The method's options.
          data: Of which the lang directory matters.
          made: When the model was written, seconds since the epoch.

        Raises:
          OptionError: when the rows are those of other options or of an older model, or the path
            is that of a folder.
        """
        if self.path.exists() and not self.path.is_file():
            raise OptionError(
                f"output: {self.path} is no file; give the name of one, or of a new one"
            )
        redo = f"delete {self.path} and {self.partial} to transcribe anew, or give another --output"
        if self.rows and self.config.is_file():
            before = load_config(self.config, DecodeOptions, SearchOptions, DataOptions)
            changes = differences(before[0], decoding) + differences(before[1], search)
            if before[2].lang_dir != data.lang_dir:
                changes.append(f"lang_dir {before[2].lang_dir} -> {data.lang_dir}")
            if changes:
                raise OptionError(
                    f"{self.path}: its {len(self.rows)} rows are of another search "
                    f"({', '.join(changes)}); {redo}"
                )
            if self.config.stat().st_mtime < made:
                raise OptionError(
                    f"{self.path}: the model was trained again since its {len(self.rows)} rows "
                    f"were made; {redo}"
                )
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_config(self.config, decoding, search, data)

    def add(self, rows: Iterable[LabelledUtterance]) -> None:
        """Keep rows, whatever happens next."""
        new = {row.id: row for row in rows}
        with self.partial.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, new.values())))
        self.rows |= new

    def finish(self) -> None:
        """Write the file, with the rows in order of their names."""
        with replacing(self.path) as file:
            for name in sorted(self.rows):
                file.write(_line(self.rows[name]).encode("utf-8"))
        self.partial.unlink(missing_ok=True)


def _line(row: LabelledUtterance) -> str:
    return json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n"


def _rows_of(path: Path) -> Iterator[LabelledUtterance]:
    """The whole rows of a file; of a run that was killed, the last may be half a row."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            yield LabelledUtterance(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise OptionError(
                f"{path}:{number}: is damaged ({brief(error)}); delete the file to transcribe anew"
            ) from error


def label_batches(
    decoder: Decoder,
    batches: Iterable[dict[str, Any]],
    file: LabelFile,
    on_batch: Callable[[int], None],
) -> dict[str, str]:
    """Transcribe batches, and keep the rows of each as it ends.

    Args:
      decoder: The model and the method.
      batches: Of lhotse's `K2SpeechRecognitionDataset`.
      file: Where rows go.
      on_batch: Told the number of utterances after each batch.

    Returns:
      Utterances that cannot be transcribed, and why; the next run tries them again.
    """
    failed: dict[str, str] = {}
    for batch in batches:
        utterances = read_batch(batch, decoder.tokenizer)
        silenced = ~batch["inputs"].isfinite().flatten(1).all(dim=1)
        good = [
            row
            for row, index in enumerate(batch["supervisions"]["sequence_idx"])
            if not silenced[index]
        ]
        for row in sorted(set(range(len(utterances))).difference(good)):
            failed[utterances.names[row]] = "its features are not finite"
        if good:
            file.add(_label(decoder, utterances.select(good), failed))
        on_batch(len(utterances))
    for name, cause in failed.items():
        logger.warning("no transcript of %s: %s", name, cause)
    return failed


def _label(
    decoder: Decoder, utterances: Utterances, failed: dict[str, str]
) -> list[LabelledUtterance]:
    """Rows of a batch; where it cannot be transcribed, of its utterances one by one."""
    try:
        scores, lengths = decoder.scores(utterances)
        found = decoder.method.search(scores, lengths, [[] for _ in utterances.names])
    except (FsaError, RuntimeError) as error:
        if len(utterances) == 1:
            failed[utterances.names[0]] = brief(error)
            return []
        singles = (utterances.select([row]) for row in range(len(utterances)))
        return [row for single in singles for row in _label(decoder, single, failed)]
    return [
        LabelledUtterance(name, " ".join(hypothesis.words), confidence_of(hypothesis))
        for name, hypothesis in zip(utterances.names, found, strict=True)
    ]


def confidence_of(hypothesis: Hypothesis) -> float | None:
    """The mean of the words' confidences; None without words, or where one has none.

    >>> from wfst_entropy.asr.search.method import WordFrames
    >>> words = [WordFrames("A", 0, 1, 0.5), WordFrames("B", 2, 3, 1.0)]
    >>> confidence_of(Hypothesis(["A", "B"], words)), confidence_of(Hypothesis([], []))
    (0.75, None)
    """
    values = [word.confidence for word in hypothesis.times if word.confidence is not None]
    if not values or len(values) < len(hypothesis.words):
        return None
    return sum(values) / len(values)
