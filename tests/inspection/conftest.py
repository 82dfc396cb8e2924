"""Graphs to look at."""

from __future__ import annotations

import pytest

from wfst_entropy import Fsa, SymbolTable

WORDS = SymbolTable(
    [("<eps>", 0), ("the", 1), ("cat", 2), ("sat", 3), ("mat", 4), ("<b>&\"'</script>", 5)]
)


@pytest.fixture
def lattice() -> Fsa:
    """Two paths of three words and one of two, with posteriors that are easy to tell."""
    fsa = Fsa.from_str(
        "0 1 1 -0.1\n0 1 5 -3\n1 2 2 -0.25\n1 3 4 -2\n2 3 3 -0.5\n3 4 -1 0\n4", acceptor=True
    )
    return fsa.set_attribute_("labels_sym", WORDS)


@pytest.fixture
def bigram() -> Fsa:
    """Cyclic, with loops, arcs between states of one layer, and a back-off."""
    arcs = [(0, w, w, -1.0) for w in (1, 2, 3)] + [(0, 4, 0, -2.0)]
    for history in (1, 2, 3):
        arcs += [(history, w, w, -0.5 * w) for w in (1, 2, 3) if (history + w) % 3]
        arcs += [(history, 4, 0, -1.5), (history, 5, -1, -1.0)]
    arcs += [(4, w, w, -1.2) for w in (1, 2, 3)]
    text = "\n".join(" ".join(map(str, arc)) for arc in arcs)
    return Fsa.from_str(f"{text}\n5", acceptor=True).set_attribute_("labels_sym", WORDS)
