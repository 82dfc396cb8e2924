"""Posteriors of tokens in frames, by enumeration of all alignments."""

from __future__ import annotations

import itertools

import pytest
import torch

from wfst_entropy.losses import ctc_occupancies, rnnt_emission_posteriors, rnnt_occupancies


def positions(path, blank):
    """Which token of the text each frame of a CTC path shows, None for blank."""
    place, last, shown = -1, blank, []
    for symbol in path:
        place += symbol not in (blank, last)
        shown.append(None if symbol == blank else place)
        last = symbol
    return shown


@pytest.mark.parametrize(("text", "blank"), [([1, 1, 2], 0), ([2], 0), ([0, 0], 2), ([], 0)])
def test_ctc_occupancies_by_enumeration(text, blank):
    scores = torch.randn(1, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted, total = torch.zeros(5, len(text), dtype=torch.float64), 0.0
    for path in itertools.product(range(3), repeat=5):
        runs = [symbol for symbol, _ in itertools.groupby(path) if symbol != blank]
        if runs == text:
            weight = float(sum(scores[0, t, c] for t, c in enumerate(path)).exp())
            total += weight
            for t, place in enumerate(positions(path, blank)):
                if place is not None:
                    wanted[t, place] += weight
    targets = torch.tensor([text], dtype=torch.int64)
    found = ctc_occupancies(scores, targets, [5], [len(text)], blank)
    torch.testing.assert_close(found[0], wanted / total)


def test_ctc_occupancies_of_a_batch_keep_to_their_own():
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(3, 6, 4, generator=generator)
    targets = torch.tensor([[1, 2, 2], [3, 0, 0], [1, 2, 3]])
    found = ctc_occupancies(scores, targets, [6, 4, 2], [3, 1, 3])  # the last has no alignment
    alone = ctc_occupancies(scores[1:2, :4], targets[1:2, :1], [4], [1])
    assert torch.equal(found[1, :4, :1], alone[0])
    assert not found[1, 4:].any() and not found[1, :, 1:].any() and not found[2].any()


def rnnt_paths(num_frames, num_labels):
    """All alignments as the frame of each label."""
    return itertools.combinations_with_replacement(range(num_frames), num_labels)


def test_rnnt_emissions_by_enumeration():
    num_frames, text = 4, [1, 2, 1]
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, num_frames, 4, 3, dtype=torch.float64, generator=generator)
    log_probs = logits[0].log_softmax(dim=-1)
    wanted, total = torch.zeros(num_frames, 3, dtype=torch.float64), 0.0
    for frames in rnnt_paths(num_frames, 3):
        labels = sum(log_probs[t, u, text[u]] for u, t in enumerate(frames))
        done = [sum(f <= t for f in frames) for t in range(num_frames)]
        weight = float((labels + sum(log_probs[t, u, 0] for t, u in enumerate(done))).exp())
        total += weight
        for u, t in enumerate(frames):
            wanted[t, u] += weight
    found = rnnt_emission_posteriors(logits, torch.tensor([text]), [num_frames], [3])
    torch.testing.assert_close(found[0], wanted / total)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 3, dtype=torch.float64))


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_rnnt_emissions_are_part_of_the_nodes(rnnt_type):
    logits = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(4))
    args = (logits, torch.tensor([[1, 2, 3], [4, 4, 0]]), [6, 5], [3, 2])
    labels = rnnt_emission_posteriors(*args, rnnt_type=rnnt_type)
    nodes = rnnt_occupancies(*args, rnnt_type=rnnt_type)
    assert (labels <= nodes[:, :, :-1] + 1e-5).all()
    torch.testing.assert_close(labels.sum(dim=1), torch.tensor([[1.0, 1, 1], [1, 1, 0]]))
