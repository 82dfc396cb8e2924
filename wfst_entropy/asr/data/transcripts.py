"""The transcripts of a prepared corpus, without its audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.manifest_files import read_manifest
from wfst_entropy.asr.data.manifests import PREFIX


def transcript_files(manifest_dir: Path | str, subset: str) -> list[Path]:
    """The manifests that have the transcripts of "train", "dev" or "test".

    Raises:
      DataError: there is none.
    """
    folder = Path(manifest_dir)
    files = sorted(folder.glob(f"{PREFIX}_supervisions_{subset}*.jsonl.gz"))
    files += sorted(folder.glob(f"{PREFIX}_cuts_{subset}*.jsonl.gz"))
    if not files:
        raise DataError(
            f"{folder}: no manifest {PREFIX}_supervisions_{subset}*.jsonl.gz of a {subset} part; "
            "run prepare.sh --stage 1 --stop-stage 1"
        )
    return files


def transcripts(files: Iterable[Path]) -> Iterator[str]:
    """The texts of manifests of supervisions or of cuts, as they stand there.

    Raises:
      DataError: a manifest is damaged.
    """
    for path in files:
        for _, item in read_manifest(path):
            for supervision in getattr(item, "supervisions", [item]):
                yield supervision.text
