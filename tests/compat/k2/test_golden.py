"""What k2 computed, case by case: `golden/` holds its inputs and outputs (k2 1.24.4, CPU)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wfst_entropy.compat import k2

Case = dict[str, Any]
FOLDER = Path(__file__).parent / "golden"
# The data have six digits, and k2 added up in float32.
TOLERANCE = 2e-4


def cases(name: str) -> list[Case]:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def make(graph: Case) -> k2.Fsa:
    """The Fsa of recorded arcs, through k2's text format."""
    has_aux_labels = "aux_labels" in graph
    lines = []
    for i, ((src, dst, label), score) in enumerate(zip(graph["arcs"], graph["scores"])):
        aux = f"{graph['aux_labels'][i]} " if has_aux_labels else ""
        lines.append(f"{src} {dst} {label} {aux}{score}")
    final = max((dst for _, dst, _ in graph["arcs"]), default=0)
    return k2.Fsa.from_str("\n".join([*lines, str(final)]), num_aux_labels=int(has_aux_labels))


def assert_close(got: torch.Tensor, want: list[float], tolerance: float = TOLERANCE) -> None:
    expected = torch.tensor(want, dtype=torch.float64).flatten()
    torch.testing.assert_close(
        got.detach().double().flatten(), expected, rtol=tolerance, atol=tolerance
    )


def assert_same_arcs(fsa: k2.Fsa, graph: Case) -> None:
    assert fsa.arcs.values()[:, :3].tolist() == graph["arcs"]
    assert fsa.aux_labels.tolist() == graph["aux_labels"]


def path_weights(arcs: list[list[int]], scores: list[float]) -> dict[tuple[int, ...], float]:
    """The best weight of each string of an acyclic FSA, epsilons dropped."""
    leaving: dict[int, list[tuple[int, int, float]]] = {}
    for (src, dst, label), score in zip(arcs, scores):
        leaving.setdefault(src, []).append((dst, label, score))
    best: dict[tuple[int, ...], float] = {}
    stack: list[tuple[int, tuple[int, ...], float]] = [(0, (), 0.0)]
    while stack:
        state, string, weight = stack.pop()
        for dst, label, score in leaving.get(state, []):
            if label == -1:
                best[string] = max(best.get(string, -1e30), weight + score)
            else:
                stack.append((dst, (*string, label) if label else string, weight + score))
    return best


def test_ctc_topo():
    for case in cases("ctc_topo"):
        assert_same_arcs(k2.ctc_topo(case["max_token"], case["modified"]), case["out"])


def test_ctc_graph():
    for case in cases("ctc_graph"):
        graphs = k2.ctc_graph(case["symbols"], case["modified"])
        for i, graph in enumerate(case["out"]):
            assert_same_arcs(graphs[i], graph)


@pytest.mark.parametrize("name", ["log", "tropical"])
def test_scores(name: str):
    log_semiring = name == "log"
    for case in cases("total_scores"):
        vec = k2.create_fsa_vec([make(case["fsa"])]).requires_grad_(True)
        total = vec.get_tot_scores(use_double_scores=True, log_semiring=log_semiring)
        (grad,) = torch.autograd.grad(total.sum(), vec.scores)
        assert_close(total, case[name]["tot"])
        assert_close(grad, case[name]["grad"])
        assert_close(vec.get_forward_scores(True, log_semiring), case[name]["forward"])
        assert_close(vec.get_backward_scores(True, log_semiring), case[name]["backward"])
        if log_semiring:
            assert_close(vec.get_arc_post(True, True), case["arc_post"])


def test_intersect():
    for case in cases("intersect"):
        a, b = make(case["a"]).requires_grad_(True), make(case["b"]).requires_grad_(True)
        both = k2.top_sort(k2.connect(k2.intersect(k2.arc_sort(a), k2.arc_sort(b))))
        vec = k2.create_fsa_vec([both])
        total = vec.get_tot_scores(True, True)
        grads = torch.autograd.grad(total.sum(), (a.scores, b.scores))
        assert_close(total, case["tot_log"])
        assert_close(vec.get_tot_scores(True, False), case["tot_tropical"])
        assert_close(grads[0], case["grad_a"])
        assert_close(grads[1], case["grad_b"])


def determinized(fsa: k2.Fsa) -> k2.Fsa:
    return k2.determinize(k2.remove_epsilon(fsa))


@pytest.mark.parametrize(
    ("name", "operation"), [("remove_epsilon", k2.remove_epsilon), ("determinize", determinized)]
)
def test_the_weight_of_every_string_stays(name: str, operation: Callable[[k2.Fsa], k2.Fsa]):
    for case in cases(name):
        fsa = make(case["fsa"])
        ans = operation(fsa)
        want = path_weights(case["fsa"]["arcs"], case["fsa"]["scores"])
        got = path_weights(ans.arcs.values()[:, :3].tolist(), ans.scores.tolist())
        assert got == pytest.approx(want, abs=1e-4)
        assert ans.properties & k2.fsa_properties.EPSILON_FREE
        if name == "determinize":
            assert ans.properties & k2.fsa_properties.ARC_SORTED_AND_DETERMINISTIC


def test_shortest_path():
    for case in cases("shortest_path"):
        vec = k2.create_fsa_vec([make(case["fsa"])])
        best = k2.shortest_path(vec, use_double_scores=True)
        assert_close(best[0].scores.double().sum(), [case["score"]])


def test_intersect_dense():
    for case in cases("intersect_dense_ctc"):
        log_probs = torch.tensor(case["log_probs"], requires_grad=True)
        segments = torch.tensor([[i, 0, n] for i, n in enumerate(case["lengths"])])
        dense = k2.DenseFsaVec(log_probs, segments.to(torch.int32))
        graphs = k2.ctc_graph(case["symbols"], case["modified"])
        lattice = k2.intersect_dense(graphs, dense, output_beam=1e4)
        total = lattice.get_tot_scores(True, True)
        (grad,) = torch.autograd.grad(total.sum(), log_probs)
        assert_close(total, case["tot_log"])
        assert_close(lattice.get_tot_scores(True, False), case["tot_tropical"])
        assert_close(grad, case["grad"], 1e-3)


def test_levenshtein():
    for case in cases("levenshtein"):
        refs, hyps = (k2.levenshtein_graph([case[side]]) for side in ("ref", "hyp"))
        to_ref = torch.zeros(1, dtype=torch.int32)
        alignment = k2.levenshtein_alignment(refs, hyps, hyp_to_ref_map=to_ref)
        assert_close(alignment.get_tot_scores(True, False), [case["score"]])
