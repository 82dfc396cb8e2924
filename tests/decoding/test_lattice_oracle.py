"""The best path of a lattice by its errors, against edit distances of all paths."""

from __future__ import annotations

import random

import pytest
import torch
from small_lattices import SEEDS, all_paths, ragged_words, score_of, small_lattices, words_on

from wfst_entropy import (
    Fsa,
    edit_distance,
    get_aux_labels,
    lattice_oracle,
    one_best_decoding,
    prune,
)
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import CyclicFsaError, FsaRuntimeError, FsaValueError, RaggedTensor


def distance(hyp, ref):
    row = list(range(len(ref) + 1))
    for i, word in enumerate(hyp, 1):
        row, old = [i], row
        for j, other in enumerate(ref, 1):
            row.append(min(old[j] + 1, row[j - 1] + 1, old[j - 1] + (word != other)))
    return row[-1]


@SEEDS
def test_fewest_errors_of_all_paths_and_the_best_such_path(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        lattice = small_lattices(seed, (4, 3))
        if seed % 2:
            lattice = ragged_words(lattice, rng)
        refs = [[rng.randint(1, 5) for _ in range(rng.randint(0, 5))] for _ in range(2)]
        check_oracle(lattice, refs)


def check_oracle(lattice, refs):
    oracle = lattice_oracle(lattice, refs)
    one_best = get_aux_labels(one_best_decoding(lattice))
    for i, (one, ref) in enumerate(zip(lattice, refs)):
        errors, score = min(
            (distance(words_on(one, path), ref), -score_of(one, path)) for path in all_paths(one)
        )
        assert int(oracle.errors[i]) == errors <= distance(one_best[i], ref)
        assert float(oracle.paths[i].scores.sum()) == pytest.approx(-score)
        (told,) = get_aux_labels(oracle.paths[i])
        assert distance(told, ref) == errors
        assert len(told) - len(ref) == int(oracle.insertions[i] - oracle.deletions[i])
    parts = oracle.insertions + oracle.deletions + oracle.substitutions
    assert torch.equal(parts, oracle.errors)
    distances = edit_distance(
        RaggedTensor.from_lists(get_aux_labels(oracle.paths), torch.int32),
        RaggedTensor.from_lists([list(ref) for ref in refs], torch.int32),
    )
    assert torch.equal(distances, oracle.errors)


def test_empty_lattices_and_references():
    lattice = small_lattices(1, (4, 3))
    batch = Fsa.from_fsas([prune(lattice[0], state_threshold=0), lattice[0]])
    oracle = lattice_oracle(batch, [[1, 2, 3], []])
    assert oracle.errors[0] == oracle.deletions[0] == 3
    assert oracle.paths[0].num_states == 0
    assert oracle.wer == pytest.approx((3 + int(oracle.errors[1])) / 3)
    nothing = lattice_oracle(batch[[]], [])
    assert nothing.wer != nothing.wer


def test_errors():
    lattice = small_lattices(1, (4, 3))
    with pytest.raises(FsaValueError, match="one list for each of the 2 lattices, got 1"):
        lattice_oracle(lattice, [[1]])
    with pytest.raises(DecodingError, match="aux_labels"):
        lattice_oracle(Fsa(lattice.shape, lattice.arcs, lattice.scores), [[1], [1]])
    cyclic = Fsa.from_str("0 0 1 1 -1\n0 1 -1 -1 0\n1")
    with pytest.raises(CyclicFsaError):
        lattice_oracle(cyclic, [[1]])
    with pytest.raises(FsaRuntimeError, match="lattice_oracle"):
        lattice_oracle(lattice[0], [list(range(1, 200_000))], max_states=1)
