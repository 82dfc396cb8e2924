"""`wfst-entropy score`: word error rate of two transcript files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    ref: Annotated[Path, typer.Argument(help="Reference: lines of `utterance-id words...`.")],
    hyp: Annotated[Path, typer.Argument(help="Hypothesis: lines of `utterance-id words...`.")],
    res_dir: Annotated[Path, typer.Option(help="Folder of the three result files.")] = Path(),
    test_set: Annotated[str, typer.Option(help="Name of the test set, in file names.")] = "test",
    suffix: Annotated[str, typer.Option(help="End of the file names.")] = "score",
) -> None:
    """Write recogs-, errs- and wer-summary- files and print the %WER line."""
    from wfst_entropy.fsa.errors import FsaError
    from wfst_entropy.metrics.wer import pair_transcripts, read_transcripts, write_results

    try:
        results, missing = pair_transcripts(read_transcripts(ref), read_transcripts(hyp))
        stats = write_results(res_dir, test_set, suffix, results, setting=hyp.stem)
    except (FsaError, OSError) as error:
        typer.echo(f"wfst-entropy score: {error}", err=True)
        raise typer.Exit(1) from error
    if missing:
        typer.echo(
            f"{len(missing)} utterance(s) have no hypothesis and count as deletions; "
            f"the first is {missing[0]!r}",
            err=True,
        )
    typer.echo(stats.summary())
    typer.echo(f"Wrote {res_dir}/{{recogs,errs,wer-summary}}-{test_set}-{suffix}.txt")
