"""Transcripts that a teacher made, beside or in place of those that people made."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lhotse import MonoCut, SupervisionSegment
from lhotse.utils import fastcopy

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.manifest_files import Excluded
from wfst_entropy.fsa.errors import FsaError

logger = logging.getLogger(__name__)

# Fields of a supervision that say where its text comes from.
FROM_TEACHER = "from_teacher"
PSEUDO_LABEL = "pseudo_label"

_MAX_LISTED = 20  # utterances without a pseudo-label that the log names


class PseudoLabels:
    """The teacher's transcripts by utterance.

    Args:
      path: A `.jsonl` file, each line with `id` and `text`, as pseudo_label.py writes it.

    Raises:
      DataError: the file is missing, or a line is damaged or names an utterance twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels.jsonl")
    ...     _ = path.write_text('{"id": "a", "text": "HELLO"}\\n')
    ...     labels = PseudoLabels(path)
    >>> labels["a"], labels["b"], len(labels)
    ('HELLO', None, 1)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._texts: dict[str, str] = {}
        for number, (name, text) in enumerate(read_pseudo_labels(self.path), start=1):
            if name in self._texts:
                raise DataError(
                    f"{path}:{number}: {name} is there twice; keep one of the lines, or make the "
                    "file anew with pseudo_label.py"
                )
            self._texts[name] = text

    def __getitem__(self, name: str) -> str | None:
        """The transcript of an utterance, maybe empty; None where there is none."""
        return self._texts.get(name)

    def __len__(self) -> int:
        return len(self._texts)


def read_pseudo_labels(path: Path) -> Iterator[tuple[str, str]]:
    """Yields name and text of each line.

    Raises:
      DataError: the file is missing or a line is damaged.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    name, text = row["id"], row["text"]
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{path}:{number}: needs an object with id and text ({error!r}); make the "
                        "file anew with pseudo_label.py"
                    ) from error
                if not isinstance(name, str) or not isinstance(text, str):
                    raise DataError(f"{path}:{number}: id and text must be strings, got {line!r}")
                yield name, text
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); make it with pseudo_label.py"
        ) from error


def with_text(cut: MonoCut) -> MonoCut:
    """The cut with a supervision that has a text, maybe empty.

    >>> with_text(MonoCut("a", 0.0, 2.0, 0)).supervisions[0].text
    ''
    """
    if not cut.supervisions:
        name = cut.recording_id if cut.has_recording or cut.has_features else cut.id
        whole = SupervisionSegment(cut.id, name, 0.0, cut.duration, text="")
        return fastcopy(cut, supervisions=[whole])
    if all(supervision.text is not None for supervision in cut.supervisions):
        return cut
    return cut.map_supervisions(lambda s: fastcopy(s, text=s.text or ""))


def labelled_cuts(
    cuts: Iterable[MonoCut],
    labels: PseudoLabels,
    use_transcripts: bool,
    on_excluded: Callable[[Excluded], None],
    encode: Callable[[str], object],
) -> Iterator[MonoCut]:
    """Yields cuts with the text that they are trained on first, and the teacher's beside it.

    That is the transcript; or the pseudo-label where there is no transcript, or transcripts are
    not used (the supervision's field `from_teacher` is then true). Where a transcript comes first,
    the field `pseudo_label` holds the teacher's.

    Args:
      cuts: With transcripts, empty ones, or no supervision.
      labels: The teacher's transcripts. An empty one is as good as none.
      use_transcripts: Whether people's transcripts count.
      on_excluded: Called for each cut that has neither.
      encode: Writes a text in tokens, raises `FsaError` for what they cannot spell. Beside a
        transcript such a pseudo-label is as good as none.
    """
    without: list[str] = []
    num_cuts = num_empty = num_refused = 0
    for cut in cuts:
        num_cuts += 1
        text = labels[cut.id]
        num_empty += text is not None and not text.strip()
        cause = "has no line" if text is None else "has an empty text, nothing was heard,"
        if not (text or "").strip():
            text = None
        cut = with_text(cut)
        transcript = cut.supervisions[0].text if len(cut.supervisions) == 1 else ""
        if use_transcripts and transcript.strip():
            if text is not None and (why := _why_not(text, encode)) is not None:
                num_refused += 1
                if num_refused <= _MAX_LISTED:
                    logger.warning("the pseudo-label of %s is not used: %s", cut.id, why)
                text = None
            if text is None:
                without.append(cut.id)
            custom = {FROM_TEACHER: False, PSEUDO_LABEL: text}
            yield _changed(cut, transcript, custom)
        elif text is not None:
            yield _changed(cut, text, {FROM_TEACHER: True, PSEUDO_LABEL: None})
        else:
            why = "has no transcript" if use_transcripts else "transcripts are not used"
            on_excluded(Excluded(cut.id, f"{why}, and {labels.path} {cause} for it", ""))
    if without:
        logger.warning(
            "%d of %d utterances have no pseudo-label and learn from their transcripts alone: %s%s",
            len(without),
            num_cuts,
            ", ".join(without[:_MAX_LISTED]),
            ", ..." if len(without) > _MAX_LISTED else "",
        )
    if num_empty:
        logger.warning("%d pseudo-labels in %s are empty and not used", num_empty, labels.path)


def _changed(cut: MonoCut, text: str, custom: Mapping[str, object]) -> MonoCut:
    return cut.map_supervisions(
        lambda s: fastcopy(s, text=text, custom={**(s.custom or {}), **custom})
    )


def _why_not(text: str, encode: Callable[[str], object]) -> str | None:
    """Why a text cannot be written in tokens; None when it can."""
    try:
        encode(text)
    except FsaError as error:
        return str(error)
    return None
