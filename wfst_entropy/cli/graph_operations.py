"""`wfst-entropy connect`, `compose`, ...: one verb for each operation, from one table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfst_entropy.cli.graph_files import TextForm, read_graph, reported, write_graph
from wfst_entropy.cli.graph_options import Acceptor, Graph, Left, OpenFst, Output, Right

if TYPE_CHECKING:
    from wfst_entropy.semirings import Semiring


@dataclass(frozen=True)
class Verb:
    """One operation: what it is called, what it takes, and the function of the library."""

    name: str
    help: str
    function: str  # the public name in wfst_entropy
    operands: int = 1
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Option:
    """An option of a verb: `--name VALUE` becomes the argument `argument` of the function."""

    name: str
    argument: str
    kind: Any
    default: Any
    help: str
    convert: Callable[[Any], Any] = lambda value: value


def semiring_of(name: str) -> Semiring:
    """The semiring of a command-line option."""
    from wfst_entropy.fsa import FsaValueError
    from wfst_entropy.semirings import LogSemiring, TropicalSemiring

    semirings: dict[str, type[Semiring]] = {"log": LogSemiring, "tropical": TropicalSemiring}
    if name not in semirings:
        raise FsaValueError(f"--semiring: must be log or tropical, got {name!r}.")
    return semirings[name]()


_LOG = Option("semiring", "semiring", str, "log", "log or tropical.", semiring_of)
_TROPICAL = Option("semiring", "semiring", str, "tropical", "log or tropical.", semiring_of)
_STATES = Option("max-states", "max_states", int, 15_000_000, "Give up beyond.")

VERBS = (
    Verb("arcsort", "Order the arcs of each state by label.", "arc_sort"),
    Verb("arcsum", "Merge parallel arcs.", "arc_sum", options=(_LOG,)),
    Verb("closure", "Accept strings any number of times, one after the other.", "closure", options=(
        Option("type", "closure_type", str, "star", "star or plus."),)),
    Verb("compose", "Read what A reads, write what B makes of what A writes.", "compose", 2, (
        _STATES,)),
    Verb("concat", "Accept a string of A followed by one of B.", "concat", 2),
    Verb("connect", "Remove states that are on no successful path.", "connect"),
    Verb("determinize", "No two arcs of a state with one label.", "determinize", options=(
        _TROPICAL, _STATES)),
    Verb("difference", "Accept what A accepts and B does not.", "difference", 2),
    Verb("disambiguate", "One successful path for each string.", "disambiguate"),
    Verb("epsnormalize", "Move input epsilons behind the input labels.", "epsnormalize",
         options=(_STATES,)),
    Verb("intersect", "Accept what both accept.", "intersect", 2, (_STATES,)),
    Verb("invert", "Exchange input and output labels.", "invert"),
    Verb("minimize", "As few states as a deterministic graph can have.", "minimize", options=(
        _TROPICAL,)),
    Verb("project", "Keep the input or the output labels.", "project", options=(
        Option("type", "project_type", str, "input", "input or output."),)),
    Verb("prune", "Keep arcs on paths nearly as good as the best.", "prune", options=(
        Option("threshold", "weight_threshold", float, float("inf"),
               "How much less than the best, in nats."),)),
    Verb("push", "Move scores towards the start or the end.", "push", options=(
        _LOG, Option("to", "to", str, "initial", "initial or final."))),
    Verb("reverse", "Accept the reversed strings.", "reverse"),
    Verb("rmepsilon", "Remove arcs with label 0.", "remove_epsilon", options=(_TROPICAL, _STATES)),
    Verb("shortestpath", "The best path, as a graph.", "shortest_path"),
    Verb("synchronize", "Put output labels next to input labels.", "synchronize", options=(
        _STATES,)),
    Verb("topsort", "Number the states so that arcs go forward.", "top_sort"),
    Verb("union", "Accept what A or B accepts.", "union", 2),
)  # fmt: skip


def add_verbs(app: typer.Typer) -> None:
    """Adds a command for each row of the table."""
    for verb in VERBS:
        app.command(verb.name, help=verb.help, rich_help_panel="Operations")(_command(verb))


def _command(verb: Verb) -> Callable[..., None]:
    """A function whose signature says to typer what the verb takes."""

    def command(**given: Any) -> None:
        import wfst_entropy

        form = TextForm(given["openfst"], given["acceptor"])
        operands = ["graph"] if verb.operands == 1 else ["a", "b"]
        with reported(verb.name):
            arguments = {o.argument: o.convert(given[o.argument]) for o in verb.options}
            graphs = [read_graph(given[operand], form) for operand in operands]
            function = getattr(wfst_entropy, verb.function)
            if verb.name == "union":
                result = function(graphs, **arguments)
            else:
                result = function(*graphs, **arguments)
            write_graph(result, given["out"], form)

    kinds: dict[str, tuple[Any, Any]] = {
        **(
            {"graph": (Graph, ...)} if verb.operands == 1 else {"a": (Left, ...), "b": (Right, ...)}
        ),
        "out": (Output, "-"),
        **{
            o.argument: (Annotated[o.kind, typer.Option(f"--{o.name}", help=o.help)], o.default)
            for o in verb.options
        },
        "openfst": (OpenFst, False),
        "acceptor": (Acceptor, None),
    }
    command.__annotations__ = {name: kind for name, (kind, _) in kinds.items()}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=kind,
                default=inspect.Parameter.empty if default is ... else default,
            )
            for name, (kind, default) in kinds.items()
        ]
    )
    return command
