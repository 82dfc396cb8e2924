"""`wfst-entropy env`: what this installation consists of, for a bug report."""

from __future__ import annotations

from typing import Annotated

import typer


def env(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print versions, native module or why not, threads, and the optional packages found."""
    from wfst_entropy.asr.environment import environment, environment_json

    if json:
        typer.echo(environment_json())
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    report = environment()
    native, threads = report["native"], report["threads"]
    table = Table("part", "state", "remark")
    table.add_row("wfst-entropy", report["wfst_entropy"])
    table.add_row("python", report["python"], report["platform"])
    table.add_row("torch", report["torch"], f"CUDA {report['cuda']}" if report["cuda"] else "CPU")
    table.add_row(
        "native module",
        "yes" if native["available"] else "no",
        escape(native["reason"] or native["instruction_set"]),
    )
    table.add_row("threads", str(threads["torch"]), f"{threads['cores']} cores")
    for backend in report["backends"].values():
        state = (backend["version"] or "yes") if backend["found"] else "no"
        table.add_row(backend["name"], state, escape(backend["reason"]))
    Console().print(table)
