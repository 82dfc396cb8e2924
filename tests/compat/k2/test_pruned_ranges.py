"""The lattice of a pruned transducer: k2's numbering, its totals, what k2 reads unchecked."""

from __future__ import annotations

import pytest
import torch

import wfst_entropy
from wfst_entropy.compat import k2
from wfst_entropy.fsa import FsaTypeError, FsaValueError

RANGES = torch.tensor([[[0, 1, 2], [1, 2, 3], [2, 3, 4]], [[0, 1, 2], [0, 1, 2], [0, 0, 0]]])
FRAMES, SYMBOLS = torch.tensor([3, 2]), torch.tensor([[4, 3, 2, 1], [2, 5, 0, 0]])


def logits(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(2, 3, 3, 6).to(dtype).requires_grad_()


def arcs_by_definition(n):
    """(source, destination, symbol, place in the logits), each state by itself."""
    size, frames = 3, int(FRAMES[n])
    found = []
    for t in range(frames):
        for i, u in enumerate(RANGES[n, t].tolist()):
            state, row = t * size + i, ((n * 3 + t) * size + i) * 6
            if (t, i) == (frames - 1, size - 1):
                found.append((state, state + 1, -1, -1))
                continue
            if i < size - 1:
                symbol = int(SYMBOLS[n, u])
                found.append((state, state + 1, symbol, row + symbol))
            if t < frames - 1 and u in RANGES[n, t + 1].tolist():
                place = RANGES[n, t + 1].tolist().index(u)
                found.append((state, (t + 1) * size + place, 0, row))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_arcs_and_arc_map_are_those_of_the_states(dtype):
    x = logits(dtype)
    args = (RANGES.int(), FRAMES.int(), SYMBOLS, x)
    arcs, arc_map = k2.pruned_ranges_to_lattice(*args)
    wanted = [arcs_by_definition(n) for n in range(2)]
    table = [row for rows in wanted for row in rows]
    assert arcs.values()[:, :3].tolist() == [list(row[:3]) for row in table]
    assert arc_map.dtype == torch.int32 and arc_map.tolist() == [row[3] for row in table]
    lattice = k2.Fsa(arcs)
    assert lattice.shape == (2, None, None) and arcs.dim0() == 2
    scores = k2.index_select(x.reshape(-1).float(), arc_map)
    torch.testing.assert_close(lattice.scores, scores)


def test_total_is_that_of_the_graph_less_the_last_blank():
    x = logits()
    log_probs = x.log_softmax(3)
    arcs, arc_map = k2.pruned_ranges_to_lattice(RANGES, FRAMES, SYMBOLS, log_probs)
    lattice = k2.Fsa(arcs)
    lattice.scores = k2.index_select(log_probs.reshape(-1), arc_map)
    total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
    symbols = [SYMBOLS[0].tolist(), SYMBOLS[1, :2].tolist()]
    graph = wfst_entropy.rnnt_graph(symbols, FRAMES, ranges=RANGES)
    wanted = wfst_entropy.get_tot_scores(wfst_entropy.rnnt_lattice(graph, x))
    last = log_probs[[0, 1], FRAMES - 1, [2, 2], 0]
    torch.testing.assert_close(total.float(), wanted - last, rtol=1e-5, atol=1e-5)
    grads = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in (total, wanted - last)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"frames": torch.tensor([4, 2])}, FsaValueError, r"frames\[0\] = 4: must be in 1\.\.3"),
        ({"frames": torch.tensor([0, 2])}, FsaValueError, r"frames\[0\] = 0"),
        ({"frames": torch.tensor([3.0, 2.0])}, FsaTypeError, "frames: must be integers"),
        ({"logits": torch.zeros(2, 3, 3, 6).long()}, FsaTypeError, "logits: must be floating"),
        ({"logits": torch.zeros(2, 3, 4, 6)}, FsaValueError, "ranges, logits: must have shapes"),
        ({"symbols": SYMBOLS[0]}, FsaValueError, "frames, symbols: must have shapes"),
        ({"symbols": SYMBOLS[:, :3]}, FsaValueError, "but there are 3 symbols"),
        ({"symbols": SYMBOLS + 3}, FsaValueError, "utterance 0, position 0 is 7"),
        ({"ranges": RANGES * 4}, FsaValueError, "utterance 0, frame 0 has 4"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = {"ranges": RANGES, "frames": FRAMES, "symbols": SYMBOLS, "logits": logits()} | change
    with pytest.raises(error, match=message):
        k2.pruned_ranges_to_lattice(**args)


def test_a_range_that_jumps_too_far_is_named():
    ranges = torch.tensor([[[0, 1], [3, 4]]])
    with pytest.raises(FsaValueError, match=r"utterance 0, frame 1 begins with 3, .* \[0, 1\]"):
        k2.pruned_ranges_to_lattice(
            ranges, torch.tensor([2]), torch.ones(1, 4).long(), torch.zeros(1, 2, 2, 3)
        )
