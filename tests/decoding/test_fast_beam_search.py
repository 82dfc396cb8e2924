"""Fast beam search against all paths, modified beam search, and itself in chunks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_transducer import TableTransducer, frames_of, log_prob_table
from transducer_paths import all_paths, random_graph

from wfst_entropy.algorithms import get_tot_scores
from wfst_entropy.decoding import (
    FastBeamSearch,
    ModifiedBeamSearch,
    fast_beam_search_nbest,
    fast_beam_search_nbest_LG,
    fast_beam_search_nbest_oracle,
    fast_beam_search_one_best,
    get_aux_labels,
)
from wfst_entropy.fsa import Fsa, FsaError

C = 4
WIDE: dict[str, Any] = {"beam": math.inf, "max_states": 10**6, "max_contexts": 10**6}
# Words 7 = 1 2, 8 = 1 3, 9 = 2, in any order; a back-off arc before each but the first.
WORDS = """
0 1 1 7 -0.5
0 2 1 8 -1.0
0 3 2 9 -0.25
1 3 2 0 0
2 3 3 0 0
3 0 0 0 -0.5
3 4 -1 -1 0
4
"""


def found_by(search: FastBeamSearch, frames: Tensor, lengths: list[int]) -> Any:
    states = [search.start() for _ in lengths]
    return search.advance(frames, torch.tensor(lengths), states)


def expected_paths(
    graph: Fsa, model: TableTransducer, frames: Tensor
) -> tuple[dict[tuple[int, ...], float], float]:
    """By tokens the log-mass of all paths, and the best score of a path."""
    assert model.context_size is not None

    def emission(t: int, context: tuple[int, ...]) -> Tensor:
        return log_prob_table(model, frames[t], tuple(c for c in context if c))

    paths = all_paths(graph, emission, len(frames), model.context_size)
    masses: dict[tuple[int, ...], list[float]] = {}
    for path, score in paths.items():
        masses.setdefault(tuple(x for x in path.labels if x), []).append(score)
    sums = {tokens: float(torch.tensor(s).logsumexp(0)) for tokens, s in masses.items()}
    return sums, max(paths.values())


def test_the_best_path_and_its_posterior_are_those_of_all_paths():
    model, frames = TableTransducer(3, 2, seed=1), frames_of(1, 3, 3, seed=2)
    for seed in (0, 1, 3):
        graph = random_graph(seed)
        sums, best = expected_paths(graph, model, frames[0])
        search = FastBeamSearch(model, graph, **WIDE)
        states = found_by(search, frames, [3])
        (result,) = search.results(states)
        assert result.score == pytest.approx(best, abs=1e-5)
        total = torch.tensor(list(sums.values()), dtype=torch.float64).logsumexp(0)
        share = sums[tuple(result.tokens)] - float(total)
        assert result.posterior == pytest.approx(math.exp(share), abs=1e-6)
        assert get_tot_scores(search.lattice(states)).item() == pytest.approx(
            float(total), abs=1e-5
        )
        path = search.best_path(states)[0]
        spoken = (path.labels > 0) & (path.labels < 3)
        assert path.labels[spoken].tolist() == result.tokens
        assert path.frame_idx[spoken].tolist() == result.frames
        assert float(path.scores.sum()) == pytest.approx(result.score, abs=1e-5)
        assert float(path.lm_scores.sum()) == pytest.approx(result.lm_score, abs=1e-6)


def test_without_a_graph_sums_are_those_of_modified_beam_search():
    for context_size in (1, 2):
        model, frames = TableTransducer(3, context_size, seed=3), frames_of(3, 5, 3)
        lengths = [5, 3, 4]
        other = ModifiedBeamSearch(model, 10**4, search_beam=math.inf)
        begun = [other.start()] * 3
        beams = other.nbest(other.advance(frames, torch.tensor(lengths), begun), 10**4)
        search = FastBeamSearch(model, **WIDE)
        for result, beam in zip(search.results(found_by(search, frames, lengths)), beams):
            posterior = {tuple(h.tokens): h.posterior for h in beam.hypotheses}
            assert result.posterior == pytest.approx(posterior[tuple(result.tokens)], abs=1e-6)
        # a path with each of so many labels is drawn, or the best could be missed
        summed = fast_beam_search_nbest_LG(
            model, None, frames, torch.tensor(lengths), 800, 0.3, **WIDE
        )
        assert summed == [beam.hypotheses[0].tokens for beam in beams]


def test_chunks_and_batches_give_the_same_bits():
    model, frames = TableTransducer(C, 2, seed=5), frames_of(3, 60, C, seed=6)
    search = FastBeamSearch(model, Fsa.from_str(WORDS), beam=6.0, max_states=6, max_contexts=4)
    lengths = [60, 0, 37]
    whole = found_by(search, frames, lengths)
    results, lattice = search.results(whole), search.lattice(whole)
    states, read = [search.start()] * 3, [0, 0, 0]
    for sizes in ([1, 0, 30], [29, 0, 0], [0, 0, 7], [30, 0, 0]):
        chunk = torch.zeros(3, 30, C)
        for i, size in enumerate(sizes):
            chunk[i, :size] = frames[i, read[i] : read[i] + size]
            read[i] += size
        before = states
        states = search.advance(chunk, torch.tensor(sizes), states)
        assert [state.num_frames for state in states] == read
    assert search.results(states) == results
    again = search.advance(chunk, torch.tensor(sizes), before)  # states never change
    for other in (states, again):
        assert torch.equal(search.lattice(other).arcs, lattice.arcs)
        assert torch.equal(search.lattice(other).scores, lattice.scores)
    alone = found_by(search, frames[2:], [37])
    assert search.results(alone) == results[2:]
    assert torch.equal(search.lattice(alone).scores, lattice[2].scores)
    assert search.results(whole[:0]) == []
    assert search.lattice(whole[:0]).num_fsas == 0


def test_the_joiner_is_called_once_a_frame():
    model, frames = TableTransducer(C, 1), frames_of(2, 5, C)
    search = FastBeamSearch(model)
    model.calls["join"] = 0
    found_by(search, frames, [5, 4])
    assert model.calls["join"] == 5


def test_partial_results_may_end_inside_a_word():
    frames = torch.full((1, 2, C), -9.0)
    frames[0, 0, 1] = frames[0, 1, 0] = 9.0  # says 1, the beginning of words 7 and 8
    model = TableTransducer(C, 1, sharpness=0.0)
    search = FastBeamSearch(model, Fsa.from_str(WORDS), **WIDE)
    states = found_by(search, frames, [2])
    assert search.results(states, final=False)[0].tokens == [1]
    assert search.results(states)[0].tokens != [1]  # no word has that
    assert not search.lattice(states).partial.any()
    one = found_by(search, frames, [1])
    assert search.results(one)[0].tokens == [2]
    strict = FastBeamSearch(model, Fsa.from_str("0 1 1 0\n1 2 2 0\n2 3 -1 0\n3", acceptor=True),
                            allow_partial=False)  # fmt: skip
    states = found_by(strict, frames, [1])
    assert strict.results(states)[0] == ([], [], [], -math.inf, 0.0, 0.0, 0.0)
    assert strict.lattice(states)[0].num_states == strict.best_path(states)[0].num_states == 0


def test_scores_are_scaled_tempered_and_freed_of_the_internal_model():
    model, frames = TableTransducer(3, 1, seed=4), frames_of(1, 3, 3)
    graph = random_graph(1)
    search = FastBeamSearch(
        model,
        graph,
        temperature=2.0,
        blank_penalty=0.5,
        ilme_scale=0.3,
        ngram_lm_scale=0.25,
        **WIDE,
    )

    def row(am: Tensor, context: tuple[int, ...]) -> Tensor:
        tokens = tuple(c for c in context if c)
        logits = log_prob_table(model, am, tokens)
        return ((logits - torch.tensor([0.5, 0, 0])) / 2).log_softmax(0)

    def emission(t: int, context: tuple[int, ...]) -> Tensor:
        return row(frames[0, t], context) - 0.3 * row(torch.zeros(3), context)

    paths = all_paths(graph.with_scores(graph.scores * 0.25), emission, 3, 1)
    (result,) = search.results(found_by(search, frames, [3]))
    assert result.score == pytest.approx(max(paths.values()), abs=1e-5)


def test_words_by_all_methods():
    model, frames = TableTransducer(C, 2, seed=7), frames_of(2, 5, C, seed=8)
    graph, lengths = Fsa.from_str(WORDS), torch.tensor([5, 4])
    search = FastBeamSearch(model, graph, **WIDE)
    states = found_by(search, frames, [5, 4])
    spelling = {7: [1, 2], 8: [1, 3], 9: [2]}
    best = fast_beam_search_one_best(model, graph, frames, lengths, **WIDE)
    assert best == get_aux_labels(search.best_path(states))
    for words, result in zip(best, search.results(states)):
        assert [token for word in words for token in spelling[word]] == result.tokens
    assert fast_beam_search_nbest(model, graph, frames, lengths, 100, **WIDE) == best
    summed = fast_beam_search_nbest_LG(model, graph, frames, lengths, 100, **WIDE)
    for i, words in enumerate(summed):
        sums, _ = expected_paths(graph, model, frames[i, : lengths[i]])
        likeliest = max(sums, key=lambda tokens: sums[tokens])
        assert tuple(token for word in words for token in spelling[word]) == likeliest
    refs = [[9, 7], [8]]
    assert fast_beam_search_nbest_oracle(model, graph, frames, lengths, 300, refs, **WIDE) == refs


def test_a_predictor_that_knows_all_labels_is_refused():
    with pytest.raises(FsaError, match=r"LSTM.*use modified_beam_search, or a model with a statel"):
        FastBeamSearch(TableTransducer(C, None))


def test_what_comes_in_is_checked():
    model, frames = TableTransducer(C, 1), frames_of(2, 3, C)
    for options, message in (
        ({"beam": -1.0}, "beam: must be at least 0"),
        ({"max_states": 0}, "max_states: must be an integer"),
        ({"temperature": 0.0}, "temperature: must lie in 1e-06"),
        ({"ngram_lm_scale": -1.0}, "ngram_lm_scale: must lie in 0"),
        ({"ilme_scale": math.nan}, "ilme_scale: must lie in 0"),
    ):
        with pytest.raises(FsaError, match=message):
            FastBeamSearch(model, **options)
    large = Fsa.from_str("0 0 9 0\n0 1 -1 0\n1", acceptor=True)
    with pytest.raises(FsaError, match=r"has label 9; the transducer's labels lie in 1\.\.3"):
        FastBeamSearch(model, large)
    search = FastBeamSearch(model)
    with pytest.raises(FsaError, match="is of another search"):
        search.advance(frames, torch.tensor([3, 3]), [FastBeamSearch(model).start()] * 2)
    with pytest.raises(FsaError, match=r"states: needs one for each of 2 rows"):
        search.advance(frames, torch.tensor([3, 3]), [search.start()])
    frames[1, 2, 3] = math.nan
    with pytest.raises(FsaError, match=r"NaN or more than .* for stream 1 at frame 2"):
        search.advance(frames, torch.tensor([3, 3]), [search.start()] * 2)
    assert len(search.advance(frames, torch.tensor([3, 2]), [search.start()] * 2)) == 2
    small = FastBeamSearch(model, max_lattice_arcs=20)
    with pytest.raises(FsaError, match="FastBeamSearch: the lattices outgrow max_arcs=20"):
        found_by(small, frames_of(1, 9, C), [9])
    with pytest.raises(FsaError, match="ref_texts: needs one for each of 1 utterances, got 2"):
        fast_beam_search_nbest_oracle(
            model, None, frames_of(1, 2, C), torch.tensor([2]), 5, [[1], [2]]
        )
