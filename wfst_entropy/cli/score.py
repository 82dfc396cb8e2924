"""`wfst-entropy score`, `compare`: word error rates, and whether one is better than another."""

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


def compare(
    baseline: Annotated[Path, typer.Argument(help="A recogs-*.txt.")],
    results: Annotated[Path, typer.Argument(help="A recogs-*.txt of the same test set.")],
    num_samples: Annotated[int, typer.Option(help="Resampled test sets.")] = 10000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
) -> None:
    """Print the difference of two word error rates with its paired bootstrap interval."""
    from wfst_entropy.fsa.errors import FsaError
    from wfst_entropy.metrics.bootstrap import wer_difference
    from wfst_entropy.metrics.wer import read_recogs

    try:
        found = wer_difference(
            read_recogs(baseline),
            read_recogs(results),
            num_samples=num_samples,
            confidence=confidence,
            seed=seed,
        )
    except (FsaError, OSError) as error:
        typer.echo(f"wfst-entropy compare: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(
        f"WER {found.baseline_wer:.2f} % -> {found.wer:.2f} %, {found.num_utterances} utterances"
    )
    share = f"{100 * found.confidence:g} % interval"
    typer.echo(f"points:   {found.difference:+.2f}, {share} {found.low:+.2f} to {found.high:+.2f}")
    typer.echo(
        f"relative: {found.relative:+.1f} %, {share} {found.relative_low:+.1f} to "
        f"{found.relative_high:+.1f}"
    )
