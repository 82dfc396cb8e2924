"""The page of results, made of stored records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wfst_entropy.asr.experiments.results_tables import (
    accuracy_table,
    alignment_table,
    latency_table,
    run_table,
    streaming_table,
    total_line,
)
from wfst_entropy.asr.experiments.row_records import RowRecords, test_sets
from wfst_entropy.asr.options import OptionError


def machine_line(rows: Sequence[RowRecords]) -> str:
    """Processors and versions of all runs, one sentence each."""
    lines = []
    for row in rows:
        for record in row.records:
            m = record["machine"]
            if m is not None:
                lines.append(
                    f"{m['processor']}, {m['cores']} cores, {record['threads']} thread(s) a run; "
                    f"Python {m['python']}, torch {m['torch']}, wfst-entropy {m['wfst_entropy']}, "
                    f"native kernels: {m['native'] or 'none'}."
                )
    return " ".join(dict.fromkeys(lines))


def commands_block(rows: Sequence[RowRecords]) -> str:
    """The exact commands of all runs, folded."""
    lines = []
    for row in rows:
        for record in row.records:
            lines.append(f"# {record['row']}, seed {record['seed']}")
            lines += [stage["command"] for stage in record["stages"]]
    body = "\n".join(lines)
    return (
        "<details><summary>Commands of all runs, to be given in recipes/librispeech</summary>\n\n"
        f"```sh\n{body}\n```\n\n</details>"
    )


def render_section(rows: Sequence[RowRecords], pictures: Sequence[str]) -> str:
    """The part of the page about one table.

    Args:
      rows: from `read_records`.
      pictures: paths of its plots, relative to the page.

    Returns:
      Markdown without a heading of its own.
    """
    seeds = sorted({r["seed"] for row in rows for r in row.records})
    many = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds, mean ± standard deviation"
    parts = [f"{len(rows)} rows, {many} ({', '.join(map(str, seeds))}). {machine_line(rows)}"]
    for test_set in test_sets(rows):
        for table in (accuracy_table, alignment_table, latency_table, streaming_table):
            found = table(rows, test_set)
            if found.rows:
                parts += [f"{found.title}, `{test_set}`:", found.markdown()]
    parts += [f"![{Path(p).stem}]({p})" for p in pictures]
    runs = run_table(rows)
    parts += [f"{runs.title}:", runs.markdown(), total_line(rows), commands_block(rows)]
    return "\n\n".join(parts)


def replace_section(page: str, name: str, section: str) -> str:
    r"""Put a section between its two markers in a page.

    Args:
      page: Markdown with the lines `<!-- experiments NAME: begin -->` and `... end -->`.
      name: of the table.
      section: what is to stand between them.

    Raises:
      OptionError: a marker is missing, or stands there more than once.

    >>> page = "<!-- experiments a: begin -->\n<!-- experiments a: end -->"
    >>> print(replace_section(page, "a", "text"))
    <!-- experiments a: begin -->
    <BLANKLINE>
    text
    <BLANKLINE>
    <!-- experiments a: end -->
    """
    begin, end = (f"<!-- experiments {name}: {word} -->" for word in ("begin", "end"))
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise OptionError(f"the page needs one line '{begin}' and after it one '{end}'")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"
