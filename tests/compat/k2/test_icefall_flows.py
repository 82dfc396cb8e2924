"""What recipes do with k2, from lexicon to loss and words, at toy size, against plain counting."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wfst_entropy.compat import k2

TOKENS = k2.SymbolTable.from_str("<eps> 0\nSIL 1\na 2\nb 3\n#0 4\n#1 5\n#2 6")
WORDS = k2.SymbolTable.from_str("<eps> 0\n<UNK> 1\nab 2\nba 3\nbb 4\nb2 5\n#0 6")
NUM_TOKENS = 4  # with the blank
# "bb" and "b2" are said alike, and so told apart by #1 and #2.
PLAIN = [("<UNK>", "SIL"), ("ab", "a b"), ("ba", "b a"), ("bb", "b b"), ("b2", "b b")]
MARKED = [*PLAIN[:3], ("bb", "b b #1"), ("b2", "b b #2")]
SILENCE = math.log(0.3)
NO_SILENCE = math.log(0.7)

# Costs, as in OpenFst's text files.  State 0: the start, 1: after "ab"; #0 leads to the unigrams.
GRAMMAR = """
0 1 2 2 0.25
0 2 6 0 0.5
1 2 6 0 0.75
2 3 2 2 1
2 3 3 3 1.25
2 3 4 4 1.5
2 3 5 5 1.75
1 0.125
3 0.375
"""


def lexicon_fst(lexicon: list[tuple[str, str]], *, marks: bool) -> k2.Fsa:
    """Words in a loop around state 1, a silence between them by way of state 2."""
    arcs = [(0, 1, 0, 0, NO_SILENCE), (0, 2, 0, 0, SILENCE), (2, 1, TOKENS["SIL"], 0, 0.0)]
    states = itertools.count(3)
    for word, spelling in lexicon:
        tokens, state, output = [TOKENS[t] for t in spelling.split()], 1, WORDS[word]
        for token in tokens[:-1]:
            arcs.append((state, following := next(states), token, output, 0.0))
            state, output = following, 0
        arcs.append((state, 1, tokens[-1], output, NO_SILENCE))
        arcs.append((state, 2, tokens[-1], output, SILENCE))
    if marks:
        arcs.append((1, 1, TOKENS["#0"], WORDS["#0"], 0.0))
    final = next(states)
    arcs.append((1, final, -1, -1, 0.0))
    lines = [" ".join(map(str, arc)) for arc in sorted(arcs)]
    return k2.Fsa.from_str("\n".join([*lines, str(final)]), acceptor=False)


def log_probs(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, frames, NUM_TOKENS, generator=generator)
    return logits.log_softmax(-1).requires_grad_()


def sure_of(tokens: list[int]) -> Tensor:
    """Frames that leave no doubt: 0 for the tokens given, -20 for all others."""
    scores = torch.full((1, len(tokens), NUM_TOKENS), -20.0)
    scores[0, torch.arange(len(tokens)), torch.tensor(tokens)] = 0.0
    return scores


def dense(scores: Tensor, durations: list[int] | None = None) -> k2.DenseFsaVec:
    durations = durations or [scores.shape[1]] * scores.shape[0]
    segments = [[i, 0, duration] for i, duration in enumerate(durations)]
    return k2.DenseFsaVec(scores, torch.tensor(segments, dtype=torch.int32))


def torch_ctc(scores: Tensor, tokens: list[int]) -> Tensor:
    """The log-probability of one token sequence."""
    return -torch.nn.functional.ctc_loss(
        scores[:, None], torch.tensor([tokens]), [scores.shape[0]], [len(tokens)], reduction="sum"
    )


def words_of(best_paths: k2.Fsa) -> list[list[int]]:
    """What `get_texts` does, for ragged labels and for others."""
    labels = best_paths.aux_labels
    if isinstance(labels, k2.RaggedTensor):
        labels = labels.remove_values_leq(0)
        shape = best_paths.arcs.shape().compose(labels.shape).remove_axis(1).remove_axis(1)
        return k2.RaggedTensor(shape, labels.values).tolist()
    shape = best_paths.arcs.shape().remove_axis(1)
    return k2.RaggedTensor(shape, labels).remove_values_leq(0).tolist()


# --- decoding graphs ------------------------------------------------------------------------------


def assign_labels(fsa: k2.Fsa, first_mark: int) -> None:
    labels = fsa.labels
    labels[labels >= first_mark] = 0
    fsa.labels = labels


def forget_properties(fsa: k2.Fsa, first_mark: int) -> None:
    fsa.labels[fsa.labels >= first_mark] = 0
    fsa.__dict__["_properties"] = None


def compile_hlg(remove_marks=assign_labels, topology: k2.Fsa | None = None) -> k2.Fsa:
    lexicon = k2.arc_sort(lexicon_fst(MARKED, marks=True))
    grammar = k2.arc_sort(k2.Fsa.from_openfst(GRAMMAR, acceptor=False))
    lg = k2.connect(k2.determinize(k2.connect(k2.compose(lexicon, grammar))))
    assert isinstance(lg.aux_labels, k2.RaggedTensor)
    remove_marks(lg, TOKENS["#0"])
    values = lg.aux_labels.values
    values[values >= WORDS["#0"]] = 0
    lg = k2.connect(k2.remove_epsilon(lg))
    assert lg.properties & k2.fsa_properties.EPSILON_FREE
    lg.aux_labels = lg.aux_labels.remove_values_eq(0)
    topology = k2.ctc_topo(NUM_TOKENS - 1) if topology is None else topology
    return k2.arc_sort(k2.connect(k2.compose(topology, k2.arc_sort(lg), inner_labels="tokens")))


@pytest.fixture(scope="module")
def hlg() -> k2.Fsa:
    return compile_hlg()


# Paths through the grammar, with their costs: by its own arc, or by way of #0.
SENTENCES = [
    (["ab"], [2, 3], 0.25 + 0.125),
    (["ba"], [3, 2], 0.5 + 1.25 + 0.375),
    (["bb"], [3, 0, 3], 0.5 + 1.5 + 0.375),
    (["ab", "ba"], [2, 3, 0, 3, 2], 0.25 + 0.75 + 1.25 + 0.375),
    (["ab", "ab"], [2, 2, 3, 0, 2, 3], 0.25 + 0.75 + 1 + 0.375),
]


@pytest.mark.parametrize(("words", "frames", "cost"), SENTENCES)
def test_hlg_gives_words_their_scores(hlg: k2.Fsa, words, frames, cost):
    lattice = k2.intersect_dense(k2.create_fsa_vec([hlg]), dense(sure_of(frames)), 10.0)
    best = k2.shortest_path(lattice, use_double_scores=True)
    assert words_of(best) == [[WORDS[word] for word in words]] == k2.get_aux_labels(best)
    # No silence before, between and after the words.
    want = -cost + NO_SILENCE * (len(words) + 1)
    assert best.get_tot_scores(True, False).item() == pytest.approx(want, abs=1e-5)
    shape = best.arcs.shape().remove_axis(1)
    labels = k2.RaggedTensor(shape, best.labels.contiguous()).remove_values_eq(-1)
    assert labels.tolist() == [frames]
    spoken = [t for t, before in zip(frames, [0, *frames]) if t and t != before]
    assert k2.RaggedTensor(shape, best.tokens).remove_values_leq(0).tolist() == [spoken]


def test_hlg_is_the_same_by_either_way_to_remove_marks(hlg: k2.Fsa):
    other = compile_hlg(forget_properties)
    assert torch.equal(other.arcs.values(), hlg.arcs.values())
    assert other.aux_labels == hlg.aux_labels and torch.equal(other.tokens, hlg.tokens)


def test_hlg_without_blanks():
    graph = compile_hlg(topology=k2.trivial_graph(NUM_TOKENS - 1))
    lattice = k2.intersect_dense(k2.create_fsa_vec([graph]), dense(sure_of([2, 3, 3, 2])), 10.0)
    assert words_of(k2.shortest_path(lattice, True)) == [[WORDS["ab"], WORDS["ba"]]]


def test_hlg_is_saved_and_loaded(hlg: k2.Fsa, tmp_path: Path):
    graph = hlg.clone()
    graph.lm_scores = graph.scores.clone()
    torch.save(graph.as_dict(), tmp_path / "HLG.pt")
    again = k2.Fsa.from_dict(torch.load(tmp_path / "HLG.pt", map_location="cpu"))
    assert torch.equal(again.arcs.values(), hlg.arcs.values())
    assert again.aux_labels == hlg.aux_labels and torch.equal(again.lm_scores, hlg.scores)
    assert again.properties == hlg.properties


# --- the lexicon as lists -------------------------------------------------------------------------


def test_lexicon_as_ragged_tensor():
    spelling = {word: [TOKENS[t] for t in tokens.split()] for word, tokens in PLAIN}
    splits, values = [0], []
    for i in range(WORDS["#0"]):
        values += spelling.get(WORDS[i], [])
        splits.append(len(values))
    shape = k2.ragged.create_ragged_shape2(
        torch.tensor(splits, dtype=torch.int32), None, cached_tot_size=splits[-1]
    )
    lexicon = k2.RaggedTensor(shape, torch.tensor(values, dtype=torch.int32))
    texts = [["ab", "bb"], [], ["<UNK>"]]
    ids = k2.RaggedTensor([[WORDS[word] for word in text] for text in texts], dtype=torch.int32)
    tokens = lexicon.index(ids)
    assert tokens.num_axes == 3
    assert tokens.remove_axis(tokens.num_axes - 2).tolist() == [[2, 3, 3, 3], [], [1]]
    picked, _ = lexicon.index(
        indexes=torch.tensor([3, 0], dtype=torch.int32), axis=0, need_value_indexes=False
    )
    assert picked.tolist() == [[3, 2], []]


# --- training graphs ------------------------------------------------------------------------------


def transcripts(texts: list[str]) -> k2.Fsa:
    """Tokens as labels and words as aux_labels, by way of the inverted lexicon."""
    inverted = k2.arc_sort(lexicon_fst(PLAIN, marks=False).invert())
    ids = [
        [WORDS[word] if word in WORDS else WORDS["<UNK>"] for word in text.split()]
        for text in texts
    ]
    words = k2.add_epsilon_self_loops(k2.linear_fsa(ids, torch.device("cpu")))
    return k2.arc_sort(k2.intersect(inverted, words, treat_epsilons_specially=False).invert_())


def spellings(text: str) -> list[tuple[list[int], float]]:
    """All token sequences of a text, silences chosen everywhere, with their log-probabilities."""
    lexicon = dict(PLAIN)
    words = [[TOKENS[t] for t in lexicon[w].split()] for w in text.split()]
    found = []
    for silences in itertools.product([False, True], repeat=len(words) + 1):
        tokens = [TOKENS["SIL"]] * silences[0]
        for word, silence in zip(words, silences[1:]):
            tokens = tokens + word + [TOKENS["SIL"]] * silence
        found.append((tokens, sum(SILENCE if s else NO_SILENCE for s in silences)))
    return found


def test_ctc_training_graph_sums_over_silences():
    texts = ["ab", "bb ba"]
    loops = k2.arc_sort(k2.remove_epsilon_and_add_self_loops(transcripts(texts)))
    topology = k2.ctc_topo(NUM_TOKENS - 1, modified=False)
    graph = k2.compose(topology, loops, treat_epsilons_specially=False)
    assert graph.requires_grad is False and graph.shape == (2, None, None)
    logits = log_probs(11, batch=2)
    scores = logits.log_softmax(-1)  # torch's gradient of CTC is right through log_softmax only
    loss = k2.ctc_loss(
        graph, dense(scores), output_beam=50.0, reduction="none", use_double_scores=True
    )
    want = torch.stack(
        [
            -torch.stack([torch_ctc(x, tokens) + p for tokens, p in spellings(text)]).logsumexp(0)
            for x, text in zip(scores, texts)
        ]
    )
    torch.testing.assert_close(loss, want, rtol=1e-5, atol=1e-5)
    got, expected = (torch.autograd.grad(x.sum(), logits, retain_graph=True) for x in (loss, want))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_unknown_words_take_the_place_of_others():
    graph = k2.remove_epsilon(transcripts(["ab nonsense"]))
    best = k2.shortest_path(k2.top_sort(graph), use_double_scores=True)
    assert words_of(best) == [[WORDS["ab"], WORDS["<UNK>"]]]
    assert best.labels.tolist() == [2, 3, TOKENS["SIL"], -1]


@pytest.mark.parametrize("modified", [False, True])
def test_piece_graph_is_ctc(modified: bool):
    pieces, durations = [[2, 3], [3, 3, 1]], [9, 7]
    scores = log_probs(9, batch=2, seed=1)
    graph = k2.ctc_graph(pieces, modified=modified, device="cpu")
    order = dense(scores, durations)
    loss = k2.ctc_loss(graph, order, 10.0, reduction="sum", use_double_scores=True)
    if modified:  # repetitions need no blank, so it is a sum over more alignments
        assert loss < -torch_ctc(scores[0], pieces[0]) - torch_ctc(scores[1, :7], pieces[1])
        return
    want = -torch_ctc(scores[0], pieces[0]) - torch_ctc(scores[1, :7], pieces[1])
    torch.testing.assert_close(loss.float(), want, rtol=1e-5, atol=1e-5)


# --- LF-MMI ---------------------------------------------------------------------------------------

# State 0: the start and after anything; 1: after "a"; 2: the unigrams, reached by #0.
BIGRAMS = """
0 1 2 2 0.5
0 2 4 0 0.25
1 0 3 3 0.75
1 2 4 0 1
2 1 2 2 1.5
2 0 3 3 1.25
2 0 1 1 2
0 0.5
1 0.25
"""


def bigram_weight(tokens: tuple[int, ...]) -> float:
    """The log of the sum over paths of BIGRAMS with these labels."""
    arcs = [list(map(float, line.split())) for line in BIGRAMS.strip().split("\n")]
    finals = {int(arc[0]): -arc[1] for arc in arcs if len(arc) == 2}

    def close(totals: dict[int, float]) -> dict[int, float]:
        reached = dict(totals)
        for src, dst, label, _, cost in (arc for arc in arcs if len(arc) == 5):
            if label == TOKENS["#0"] and src in totals:
                reached[int(dst)] = float(
                    torch.logaddexp(
                        torch.tensor(reached.get(int(dst), -math.inf)),
                        torch.tensor(totals[int(src)] - cost),
                    )
                )
        return reached

    totals = close({0: 0.0})
    for token in tokens:
        step: dict[int, float] = {}
        for src, dst, label, _, cost in (arc for arc in arcs if len(arc) == 5):
            if label == token and src in totals:
                both = [step.get(int(dst), -math.inf), totals[int(src)] - cost]
                step[int(dst)] = float(torch.tensor(both).logsumexp(0))
        totals = close(step)
    ends = [totals[s] + finals[s] for s in finals if s in totals]
    return float(torch.tensor([-math.inf, *ends]).logsumexp(0))


@pytest.fixture(scope="module")
def topology_and_bigrams() -> k2.Fsa:
    bigrams = k2.Fsa.from_openfst(BIGRAMS, acceptor=False)
    del bigrams.aux_labels
    assign_labels(bigrams, TOKENS["#0"])
    loops = k2.add_epsilon_self_loops(k2.arc_sort(k2.remove_epsilon(bigrams)))
    inverted = k2.arc_sort(k2.ctc_topo(NUM_TOKENS - 1, modified=False, device="cpu").invert_())
    both = k2.intersect(inverted, loops, treat_epsilons_specially=False)
    return k2.arc_sort(both.invert())


def numerators(topology_and_bigrams: k2.Fsa, texts: list[str]) -> k2.Fsa:
    graph = transcripts(texts)
    del graph.aux_labels
    loops = k2.arc_sort(k2.remove_epsilon_and_add_self_loops(graph))
    num = k2.compose(topology_and_bigrams, loops, treat_epsilons_specially=False)
    return k2.arc_sort(k2.connect(num))


def totals(graphs: k2.Fsa, scores: Tensor, a_to_b_map: Tensor | None = None) -> Tensor:
    lattices = k2.intersect_dense(graphs, dense(scores), output_beam=80.0, a_to_b_map=a_to_b_map)
    return lattices.get_tot_scores(log_semiring=True, use_double_scores=True)


def test_denominator_sums_over_all_token_sequences(topology_and_bigrams: k2.Fsa):
    scores = log_probs(4, seed=2)
    den = totals(k2.create_fsa_vec([topology_and_bigrams]), scores)
    terms = [
        torch_ctc(scores[0], list(tokens)) + bigram_weight(tokens)
        for length in range(5)
        for tokens in itertools.product(range(1, NUM_TOKENS), repeat=length)
    ]
    torch.testing.assert_close(den[0], torch.stack(terms).logsumexp(0).double(), rtol=0, atol=1e-5)


def test_mmi_loss_of_one_intersection_and_of_two(topology_and_bigrams: k2.Fsa):
    texts, scores = ["ab", "ba bb"], log_probs(9, batch=2, seed=3)
    num_graphs = numerators(topology_and_bigrams, texts)
    vector = k2.create_fsa_vec([topology_and_bigrams])
    den_graphs = k2.index_fsa(vector, torch.zeros(2, dtype=torch.int32))
    num, den = totals(num_graphs, scores), totals(den_graphs, scores)
    for x, text, total in zip(scores, texts, num):
        terms = [torch_ctc(x, t) + p + bigram_weight(tuple(t)) for t, p in spellings(text)]
        assert total.item() == pytest.approx(torch.stack(terms).logsumexp(0).item(), abs=1e-4)
    loss = -(num - den).sum()

    # The graphs in the order num, den, num, den, with both of a pair on the same frames.
    joined = k2.cat([num_graphs, vector])
    pairs = k2.index_fsa(joined, torch.tensor([0, 2, 1, 2], dtype=torch.int32))
    to_frames = torch.tensor([0, 0, 1, 1], dtype=torch.int32)
    joint = totals(pairs, scores, a_to_b_map=to_frames)
    torch.testing.assert_close(-(joint[::2] - joint[1::2]).sum(), loss)
    (gradient,) = torch.autograd.grad(loss, scores)
    # The posteriors of numerator and denominator sum to one in each frame.
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(2, 9), rtol=0, atol=1e-5)


# --- lattices and n-best lists --------------------------------------------------------------------


@pytest.fixture(scope="module")
def lattice(hlg: k2.Fsa) -> k2.Fsa:
    graph = hlg.clone()
    graph.lm_scores = graph.scores.clone()
    # The second utterance is the longer one: nothing has to be sorted.
    frames = dense(log_probs(12, batch=2, seed=4).detach(), [9, 12])
    graphs = k2.index_fsa(k2.create_fsa_vec([graph]), torch.zeros(2, dtype=torch.int32))
    return k2.intersect_dense(graphs, frames, output_beam=12.0)


def sample_paths(lattice: k2.Fsa, num_paths: int) -> tuple[k2.Fsa, k2.RaggedShape]:
    """Linear FSAs of sampled paths, one for each word sequence, with scores 0."""
    saved = lattice.scores.clone()
    lattice.scores *= 0.5
    path = k2.random_paths(lattice, num_paths=num_paths, use_double_scores=True)
    lattice.scores = saved
    words = lattice.aux_labels.index(path)
    words = words.remove_axis(words.num_axes - 2).remove_values_leq(0)
    _, _, new2old = words.unique(need_num_repeats=False, need_new2old_indexes=True)
    path, _ = path.index(new2old, axis=1, need_value_indexes=False)
    shape = path.shape.get_layer(0)
    path = path.remove_axis(0)
    fsa = k2.linear_fsa(k2.ragged.index(lattice.labels.contiguous(), path).remove_values_eq(-1))
    fsa.aux_labels, _ = lattice.aux_labels.index(
        indexes=path.values, axis=0, need_value_indexes=False
    )
    return fsa, shape


def with_scores(paths: k2.Fsa, shape: k2.RaggedShape, lattice: k2.Fsa) -> k2.Fsa:
    """The best path of the lattice for each word sequence."""
    words = k2.invert(paths)
    words.scores.zero_()
    del words.aux_labels
    loops = k2.linear_fsa_with_self_loops(words)
    by_words = k2.arc_sort(k2.invert(lattice))
    found = k2.intersect_device(by_words, loops, b_to_a_map=shape.row_ids(1), sorted_match_a=True)
    best = k2.shortest_path(k2.top_sort(k2.connect(found)), use_double_scores=True)
    return k2.invert(best)


def test_nbest_decoding_finds_the_best_path(lattice: k2.Fsa):
    best = k2.shortest_path(lattice, use_double_scores=True)
    torch.manual_seed(0)
    paths, shape = sample_paths(lattice, num_paths=300)
    assert shape.dim0 == 2 and shape.tot_size(1) > 2
    scored = with_scores(paths, shape, lattice)
    assert words_of(scored) == words_of(paths)
    arcs = scored.arcs.shape().remove_axis(1)
    total = k2.RaggedTensor(arcs, scored.scores.contiguous()).sum()
    torch.testing.assert_close(total, scored.get_tot_scores(False, False))
    winner = k2.index_fsa(scored, k2.RaggedTensor(shape, total).argmax())
    assert words_of(winner) == words_of(best)
    torch.testing.assert_close(
        winner.get_tot_scores(True, False), best.get_tot_scores(True, False), rtol=0, atol=1e-4
    )
    # Acoustic and language model scores are told apart by the attribute of HLG.
    language = k2.RaggedTensor(arcs, scored.lm_scores.contiguous()).sum()
    acoustic = k2.RaggedTensor(arcs, (scored.scores - scored.lm_scores).contiguous()).sum()
    torch.testing.assert_close(language + acoustic, total)
    assert bool((language < 0).all())


def test_oracle_is_the_path_nearest_to_the_reference(lattice: k2.Fsa):
    torch.manual_seed(1)
    paths, shape = sample_paths(lattice, num_paths=300)
    hyps = words_of(paths)
    refs = [[WORDS["ba"]], [WORDS["ab"], WORDS["bb"]]]
    alignment = k2.levenshtein_alignment(
        refs=k2.levenshtein_graph(refs, device="cpu"),
        hyps=k2.levenshtein_graph(hyps),
        hyp_to_ref_map=shape.row_ids(1),
        sorted_match_ref=True,
    )
    scores = alignment.get_tot_scores(use_double_scores=False, log_semiring=False)
    best = k2.RaggedTensor(shape, scores).argmax().tolist()
    utterances = shape.row_ids(1).tolist()
    for utterance, choice in enumerate(best):
        distances = {
            i: edits(refs[utterance], hyps[i]) for i, u in enumerate(utterances) if u == utterance
        }
        assert distances[choice] == min(distances.values())


def edits(a: list[int], b: list[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        previous, row = row, [i + 1]
        for j, y in enumerate(b):
            row.append(min(previous[j] + (x != y), previous[j + 1] + 1, row[j] + 1))
    return row[-1]


def test_one_best_at_several_language_model_scales(hlg: k2.Fsa, lattice: k2.Fsa):
    own = lattice.clone()
    acoustic = own.scores - own.lm_scores
    totals = []
    for scale in (0.5, 1.0, 2.0):
        own.scores = acoustic / scale + own.lm_scores
        best = k2.one_best_decoding(own)
        totals.append(best.get_tot_scores(False, False))
        assert all(words_of(best))
    torch.testing.assert_close(
        totals[1], k2.shortest_path(lattice, False).get_tot_scores(False, False)
    )


def test_whole_lattice_is_rescored(lattice: k2.Fsa):
    # A unigram model with the cost word / 8 and no cost at the end.
    lines = [f"0 0 {i} {-i / 8}" for i in range(2, 6)]
    model = k2.Fsa.from_str("\n".join([*lines, "0 1 -1 0", "1"]))
    model.lm_scores = model.scores.clone()
    model = k2.create_fsa_vec([k2.arc_sort(k2.add_epsilon_self_loops(model))])
    own = lattice.clone()
    own.scores = own.scores - own.lm_scores
    del own.lm_scores
    to_model = torch.zeros(2, dtype=torch.int32)
    both = k2.intersect_device(model, k2.invert(own), to_model, sorted_match_a=True)
    rescored = k2.invert(k2.top_sort(k2.connect(both)))
    best = k2.shortest_path(rescored, use_double_scores=True)
    shape = best.arcs.shape().remove_axis(1)
    language = k2.RaggedTensor(shape, best.lm_scores.contiguous()).sum()
    want = torch.tensor([-sum(words) / 8 for words in words_of(best)])
    torch.testing.assert_close(language, want)
    again = k2.nbest.whole_lattice_rescoring(lattice, model)
    torch.testing.assert_close(
        again.get_tot_scores(True, True), rescored.get_tot_scores(True, True)
    )
