"""Is this graph what it should be?  Findings with a severity, each with its place."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.algorithms.components import find_components
from wfst_entropy.fsa import Fsa, FsaError, RaggedTensor, SymbolTable
from wfst_entropy.fsa.invariants import check_arcs, check_tensors
from wfst_entropy.inspection.reachability import reachable, useful_states
from wfst_entropy.inspection.symbols import EPSILON_SYMBOLS, tables_of, text_of

_SHOWN = 5  # examples per finding


class Severity(enum.IntEnum):
    """How bad a finding is; larger is worse."""

    NOTE = 0
    """Fine for most uses; some operations want it otherwise."""
    WARNING = 1
    """Valid, but rarely meant."""
    ERROR = 2
    """Results will be wrong or there will be none."""


@dataclass(frozen=True)
class Finding:
    """One fact about a graph.

    Attributes:
      severity: how bad it is.
      kind: a short constant name, such as "dead states".
      message: what, where, and the next step.
      fsa: the number of the FSA in the vector; None for one FSA.
    """

    severity: Severity
    kind: str
    message: str
    fsa: int | None = None

    def __str__(self) -> str:
        where = "" if self.fsa is None else f"FSA {self.fsa}: "
        return f"{self.severity.name.lower()}: {where}{self.message}"


def check(
    fsa: Fsa, labels_sym: SymbolTable | None = None, aux_labels_sym: SymbolTable | None = None
) -> list[Finding]:
    """Looks for what is wrong or unusual in a graph, without changing it.

    Invariants (again, for tensors may have been overwritten since), labels outside their symbol
    table, no path to the final state, states that cannot be reached or lead nowhere, cycles of
    epsilons, scores that are not finite, unsorted arcs.

    Args:
      fsa: one FSA or a vector, of which each FSA is checked.
      labels_sym: symbols of the labels; by default the attribute of that name.
      aux_labels_sym: symbols of `aux_labels`; by default the attribute of that name.

    Returns:
      Findings, the worst first; empty if all is well.

    >>> for finding in check(Fsa.from_str("0 1 5 0\\n0 2 6 0\\n1 3 -1 0\\n3")):
    ...     print(finding)
    warning: 1 of 4 states is on no successful path: state 2 (does not lead to the final state).
    Remove it with connect.
    """
    try:
        check_tensors(fsa.shape, fsa.arcs, fsa.scores)
        check_arcs(fsa.shape, fsa.arcs)
    except FsaError as error:
        return [Finding(Severity.ERROR, "invariants", str(error))]
    tables = tables_of(fsa, labels_sym, aux_labels_sym)
    parts = [(None, fsa)] if fsa.num_axes == 2 else list(enumerate(fsa.detach()))
    found = []
    for number, one in parts:
        for severity, kind, message in _findings(one, *tables):
            found.append(Finding(severity, kind, message, number))
    return sorted(found, key=lambda finding: -finding.severity)


_Found = list[tuple[Severity, str, str]]


def _findings(
    fsa: Fsa, labels_sym: SymbolTable | None, aux_labels_sym: SymbolTable | None
) -> _Found:
    """Of one FSA."""
    if not fsa.num_states:
        return [(Severity.ERROR, "empty", "it has no states, so it accepts nothing.")]
    aux = fsa.attributes.get("aux_labels")
    if isinstance(aux, RaggedTensor):
        aux = aux.values
    return [
        *_vocabulary("label", "labels_sym", fsa.labels, labels_sym),
        *_vocabulary("aux_label", "aux_labels_sym", aux, aux_labels_sym),
        *_paths(fsa),
        *_scores(fsa),
        *_epsilon_cycles(fsa, labels_sym),
        *_order(fsa),
    ]


def _vocabulary(what: str, name: str, labels: Tensor | None, table: SymbolTable | None) -> _Found:
    if labels is None or table is None:
        return []
    found: _Found = []
    used, counts = torch.unique(labels[labels > 0], return_counts=True)
    unknown = [(u, c) for u, c in zip(used.tolist(), counts.tolist()) if u not in table]
    if unknown:
        examples = ", ".join(f"{label} on {count} arc(s)" for label, count in unknown[:_SHOWN])
        found.append(
            (
                Severity.ERROR,
                "out of vocabulary",
                f"{len(unknown)} {what}(s) are not in {name}, whose {len(table)} ids end at "
                f"{max(table.ids, default=-1)}: {examples}{_more(unknown)}. Was the graph made "
                "with another symbol table?",
            )
        )
    for symbol in sorted(EPSILON_SYMBOLS):
        number = table.get(symbol)
        if number:
            found.append(
                (
                    Severity.WARNING,
                    "epsilon is not 0",
                    f"{name} has {symbol!r} as id {number}, but only label 0 is epsilon; "
                    f"{int((labels == number).sum())} arc(s) with {what} {number} will need a "
                    f"partner with that label. Give {symbol!r} the id 0.",
                )
            )
    return found


def _paths(fsa: Fsa) -> _Found:
    final = fsa.num_states - 1
    source, destination = fsa.src_states(), fsa.dst_states()
    forward = reachable([0], source, destination, fsa.num_states)
    if not bool(forward[final]):
        seen = int(forward.sum())
        reason = (
            "it has no arc into the final state"
            if not bool((fsa.labels == -1).any())
            else f"only {seen} of {fsa.num_states} states can be reached from the start"
        )
        return [
            (
                Severity.ERROR,
                "no successful path",
                f"the final state {final} cannot be reached from the start, so it accepts "
                f"nothing: {reason}.",
            )
        ]
    useless = torch.nonzero(~useful_states(fsa)).flatten().tolist()
    if not useless:
        return []
    reasons = [
        f"state {s} ({'does not lead to the final state' if forward[s] else 'cannot be reached'})"
        for s in useless[:_SHOWN]
    ]
    one = len(useless) == 1
    return [
        (
            Severity.WARNING,
            "useless states",
            f"{len(useless)} of {fsa.num_states} states {'is' if one else 'are'} on no successful "
            f"path: {', '.join(reasons)}{_more(useless)}. Remove {'it' if one else 'them'} with "
            "connect.",
        )
    ]


def _scores(fsa: Fsa) -> _Found:
    found: _Found = []
    invalid = torch.nonzero(fsa.scores.isnan() | (fsa.scores == torch.inf)).flatten().tolist()
    if invalid:
        arcs = ", ".join(
            f"arc {arc} ({float(fsa.scores.detach()[arc])})" for arc in invalid[:_SHOWN]
        )
        found.append(
            (
                Severity.ERROR,
                "invalid scores",
                f"{len(invalid)} score(s) are NaN or +inf: {arcs}{_more(invalid)}. Look for a "
                "division by zero or an overflow where they were computed.",
            )
        )
    impossible = torch.nonzero(fsa.scores == -torch.inf).flatten().tolist()
    if impossible:
        found.append(
            (
                Severity.WARNING,
                "impossible arcs",
                f"{len(impossible)} arc(s) have the score -inf, which no path can take: arc "
                f"{', '.join(map(str, impossible[:_SHOWN]))}{_more(impossible)}.",
            )
        )
    return found


def _epsilon_cycles(fsa: Fsa, labels_sym: SymbolTable | None) -> _Found:
    """Cycles that read nothing: endless for searches, and for sums where a score is positive."""
    silent = fsa.labels == 0
    if not bool(silent.any()) or fsa.properties.top_sorted:
        return []
    if text_of(0, labels_sym) != "ε":  # label 0 is a symbol here, the blank of a CTC graph
        return []
    aux = fsa.attributes.get("aux_labels")
    if isinstance(aux, Tensor):
        silent = silent & (aux == 0)
    elif isinstance(aux, RaggedTensor):
        silent = silent & (aux.sum() == 0)
    source, destination = fsa.src_states()[silent].cpu(), fsa.dst_states()[silent].cpu()
    components = find_components(source, destination, fsa.num_states)
    number = int(components.cyclic.sum())
    if not number:
        return []
    first = torch.nonzero(components.cyclic[components.component]).flatten().tolist()
    states = ", ".join(map(str, first[:_SHOWN]))
    return [
        (
            Severity.WARNING,
            "epsilon cycle",
            f"{number} set(s) of states with cycles of epsilon arcs, state(s) {states}"
            f"{_more(first)}: the number of paths of one string is infinite. Remove them "
            "with remove_epsilon.",
        )
    ]


def _order(fsa: Fsa) -> _Found:
    found: _Found = []
    if not fsa.properties.arc_sorted:
        found.append(
            (
                Severity.NOTE,
                "unsorted arcs",
                "the arcs of a state are not ordered by label; OpenFst's compose wants that of one "
                "side. Sort them with arc_sort.",
            )
        )
    if not fsa.properties.top_sorted and fsa.properties.acyclic:
        found.append(
            (
                Severity.NOTE,
                "not top-sorted",
                "it is acyclic, but states are not in topological order; k2's "
                "forward-backward wants that. Sort them with top_sort.",
            )
        )
    return found


def _more(items: list) -> str:
    return f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
