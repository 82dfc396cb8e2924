"""LG and HLG: weights of all strings by enumeration, what stays, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, string_weights

from wfst_entropy import (
    DecodingGraph,
    DenseFsaVec,
    Fsa,
    FsaError,
    Lexicon,
    NotDeterminizableError,
    SymbolTable,
    TropicalSemiring,
    add_disambig_symbols,
    compile_hlg,
    compile_lg,
    ctc_topo,
    get_tot_scores,
    intersect_dense_pruned,
    lexicon_to_fst,
)
from wfst_entropy.algorithms import compose, isomorphic
from wfst_entropy.fsa import EmptyGraphError

pytest.importorskip("kaldifst")

VOCAB_SIZE = 4
WORDS = ("a", "b", "c")
TOKENS = SymbolTable([("<blk>", 0), ("x", 1), ("y", 2), ("z", 3)])


def tables(num_disambig):
    tokens = SymbolTable([*TOKENS, *((f"#{i}", VOCAB_SIZE + i) for i in range(num_disambig + 1))])
    words = SymbolTable([("<eps>", 0), *((w, i + 1) for i, w in enumerate(WORDS)), ("#0", 4)])
    return tokens, words


def lexicon_fst(entries, disambiguated=True):
    lexicon, highest = Lexicon(entries), 0
    if disambiguated:
        lexicon, highest = add_disambig_symbols(lexicon)
    return lexicon_to_fst(lexicon, *tables(highest), self_loop=True)


def bigram(rng, backoff=4, words=WORDS):
    """State 0 the start, 1 ... the histories, then the back-off state; some bigrams are missing."""
    num_words = len(words)
    unigram, end = num_words + 1, num_words + 2
    rows, outputs = [], []

    def add(source, destination, label, output):
        rows.append((source, destination, label, -rng.exponential() - 0.1))
        outputs.append(output)

    for history in range(num_words + 1):
        for word in range(1, num_words + 1):
            if rng.random() < 0.4:
                add(history, word, word, word)
        add(history, unigram, backoff, 0)
    for word in range(1, num_words + 1):
        add(unigram, word, word, word)
    add(unigram, end, -1, -1)
    table = torch.tensor([row[:3] for row in rows], dtype=torch.int32)
    scores = torch.tensor([row[3] for row in rows], dtype=torch.float32)
    return Fsa.from_arcs(table, scores, end + 1, aux_labels=torch.tensor(outputs).int())


@pytest.fixture(scope="module")
def small_lg():
    rng = np.random.default_rng(7)
    return compile_lg(lexicon_fst(random_entries(rng)), bigram(rng), VOCAB_SIZE)


def random_entries(rng):
    """Homophones, words that begin others, and repeated tokens: two or three tokens make them."""
    pool = [p for n in (1, 2) for p in itertools.product("xy", repeat=n)]
    entries = [(w, list(pool[rng.integers(len(pool))])) for w in WORDS for _ in range(2)]
    return list({(w, tuple(t)): (w, t) for w, t in entries}.values())


def enumerated(entries, g, semiring, longest):
    """Weights of pairs (tokens, words), from the weights that G gives word strings."""
    spelled = {}
    for word, tokens in entries:
        ids = tuple(TOKENS[token] for token in tokens)
        spelled.setdefault(WORDS.index(word) + 1, []).append(ids)
    found = {}
    for words, weight in string_weights(g, longest, semiring, len(WORDS)).items():
        for parts in itertools.product(*(spelled.get(word, []) for word in words)):
            tokens = sum(parts, ())
            if len(tokens) <= longest:
                pair = (tokens, words)
                both = (found.get(pair, -math.inf), weight)
                found[pair] = max(both) if semiring == "tropical" else np.logaddexp(*both)
    return found


def check_by_enumeration(seed, longest):
    rng = np.random.default_rng(seed)
    entries, g = random_entries(rng), bigram(rng, backoff=4 * (seed % 2))
    lg = compile_lg(lexicon_fst(entries), g, VOCAB_SIZE)
    g_epsilon = g.with_scores(g.scores)
    g_epsilon.arcs[:, 2].masked_fill_(g_epsilon.labels == 4, 0)
    for semiring in ("tropical", "log"):
        assert_same_weights(
            pair_weights(lg, longest, semiring, 4),
            enumerated(entries, g_epsilon, semiring, longest),
            tol=5e-3,  # kaldifst takes scores for equal that differ by less than 1 / 1024
        )
    assert lg.properties.connected and lg.properties.arc_sorted
    assert lg.labels.max() < VOCAB_SIZE and 4 not in lg.aux_labels


def test_lg_weighs_all_strings_as_enumeration_does():
    check_by_enumeration(0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 40))
def test_lg_of_more_random_grammars(seed):
    check_by_enumeration(seed, 4)


def test_back_off_arcs_are_kept_and_not_expanded():
    rng = np.random.default_rng(0)
    num_words, words = 30, [f"w{i}" for i in range(30)]
    tokens = SymbolTable([("<blk>", 0), *((w, i + 1) for i, w in enumerate(words)), ("#0", 31)])
    table = SymbolTable([("<eps>", 0), *((w, i + 1) for i, w in enumerate(words)), ("#0", 31)])
    lexicon = lexicon_to_fst(Lexicon([(w, [w]) for w in words]), tokens, table, self_loop=True)
    g = bigram(rng, 31, words)
    lg = compile_lg(lexicon, g, num_words + 1)
    # Tokens are words here, so LG is G.
    assert (lg.num_states, lg.num_arcs) == (g.num_states, g.num_arcs)
    assert int((lg.labels == 0).sum()) == num_words + 1
    hlg = compile_hlg(lg, num_words + 1)
    assert int((hlg.labels == num_words + 1).sum()) >= num_words + 1
    assert bool((hlg.aux_labels[hlg.labels == num_words + 1] == 0).all())


def test_the_lexicon_alone():
    entries = [("a", ["x"]), ("b", ["x", "y"]), ("c", ["x"])]
    lg = compile_lg(lexicon_fst(entries), None, VOCAB_SIZE)
    weights = pair_weights(lg, 3, "tropical", 3)
    strings = [w for n in range(4) for w in itertools.product((1, 2, 3), repeat=n)]
    spelled = {1: (1,), 2: (1, 2), 3: (1,)}
    pairs = {(sum((spelled[w] for w in words), ()), words) for words in strings}
    assert weights.keys() == {pair for pair in pairs if len(pair[0]) <= 3}


@pytest.mark.parametrize("modified", [False, True])
def test_hlg_equals_explicit_composition(small_lg, modified):
    lg = small_lg
    scores = lg.scores.clone().requires_grad_()
    hlg, arc_map = compile_hlg(
        lg.with_scores(scores),
        VOCAB_SIZE,
        "modified" if modified else "standard",
        inner_labels="tokens",
        ret_arc_map=True,
    )
    explicit, own, _ = compose(ctc_topo(VOCAB_SIZE - 1, modified), lg, ret_arc_maps=True)
    arcs = explicit.arcs.clone()
    arcs[own < 0, 2] = VOCAB_SIZE
    assert isomorphic(
        hlg, Fsa(explicit.shape, arcs, explicit.scores, aux_labels=explicit.aux_labels)
    )
    assert bool((hlg.tokens[hlg.labels == VOCAB_SIZE] == 0).all())
    hlg.scores.sum().backward()
    assert torch.equal(
        scores.grad, torch.bincount(arc_map[arc_map >= 0], minlength=lg.num_arcs).float()
    )


def test_a_token_language_model_takes_the_place_of_lg():
    g = bigram(np.random.default_rng(5), backoff=0)
    hlg = compile_hlg(g, VOCAB_SIZE)
    assert set(hlg.labels.tolist()) == {-1, 0, 1, 2, 3, VOCAB_SIZE}
    with pytest.raises(FsaError, match=r"has the label 4, but tokens are 1 \.\.\. 3"):
        compile_hlg(bigram(np.random.default_rng(5), backoff=4), VOCAB_SIZE)


@pytest.mark.parametrize("topology", ["standard", "modified"])
def test_searching_hlg_finds_what_searching_lg_with_the_topology_implied_finds(small_lg, topology):
    hlg = DecodingGraph(compile_hlg(small_lg, VOCAB_SIZE, topology), epsilon_label=VOCAB_SIZE)
    torch.manual_seed(0)
    log_probs = (3 * torch.randn(4, 12, VOCAB_SIZE)).log_softmax(-1)
    segments = torch.tensor([[n, 0, 12] for n in range(4)], dtype=torch.int32)
    best = []
    for graph in (hlg, DecodingGraph(small_lg, topology=topology)):
        lattice = intersect_dense_pruned(
            graph, DenseFsaVec(log_probs, segments), search_beam=100.0, output_beam=100.0
        )
        best.append(get_tot_scores(lattice, TropicalSemiring()))
    assert bool(best[0].isfinite().all())
    assert torch.allclose(best[0], best[1], atol=1e-4)


def test_homophones_without_disambiguation_are_named():
    entries = [("a", ["x", "y"]), ("b", ["z"]), ("c", ["x", "y"])]
    lexicon = lexicon_fst(entries, disambiguated=False)
    lexicon.set_attribute_("labels_sym", TOKENS).set_attribute_("aux_labels_sym", tables(0)[1])
    g = bigram(np.random.default_rng(0))
    with pytest.raises(
        NotDeterminizableError,
        match=r"not functional.* the words a and c are both spelled x y.*add_disambig_symbols",
    ):
        compile_lg(lexicon, g, VOCAB_SIZE)


def test_a_graph_without_a_deterministic_form_ends_at_the_limit():
    # a and b are both x, and which of the two all along only the last token says.
    lexicon = lexicon_fst([("a", ["x"]), ("b", ["x"]), ("c", ["z"])], disambiguated=False)
    g = Fsa.from_str(
        "0 1 1 1 -1\n0 2 2 2 -2\n1 1 1 1 -1\n1 3 3 3 -1\n2 2 2 2 -1\n2 4 3 3 0\n"
        "3 5 3 3 0\n4 5 1 1 0\n5 6 -1 -1 0\n6"
    )
    with pytest.raises(NotDeterminizableError, match=r"max_states=2,000 .*words 1 and 2 are both"):
        compile_lg(lexicon, g, VOCAB_SIZE, max_states=2000)


@pytest.mark.slow
def test_such_a_graph_ends_before_it_takes_all_memory():
    lexicon = lexicon_fst([("a", ["x"]), ("b", ["x"]), ("c", ["z"])], disambiguated=False)
    g = Fsa.from_str(
        "0 1 1 1 -1\n0 2 2 2 -2\n1 1 1 1 -1\n1 3 3 3 -1\n2 2 2 2 -1\n2 4 3 3 0\n"
        "3 5 3 3 0\n4 5 1 1 0\n5 6 -1 -1 0\n6"
    )
    with pytest.raises(NotDeterminizableError, match=r"more than the 1\.1 GB"):
        compile_lg(lexicon, g, VOCAB_SIZE)


def test_what_is_refused():
    lexicon = lexicon_fst([("a", ["x"]), ("b", ["y"])])
    rng = np.random.default_rng(1)
    g = bigram(rng, words=WORDS[:2])
    with pytest.raises(FsaError, match=r"back-off arcs with label 4, .*Pass L_disambig, not L"):
        plain = lexicon_to_fst(Lexicon([("a", ["x"])]), *tables(0))
        compile_lg(plain, g, VOCAB_SIZE)
    with pytest.raises(FsaError, match=r"compose: .*max_states=4.*wfst-entropy lm prune"):
        compile_lg(lexicon, g, VOCAB_SIZE, max_states=4)
    with pytest.raises(FsaError, match="l_disambig: needs the attribute aux_labels"):
        compile_lg(Fsa.from_str("0 1 -1 0\n1", acceptor=True), g, VOCAB_SIZE)
    with pytest.raises(FsaError, match="g: must be one FSA"):
        compile_lg(lexicon, Fsa.from_fsas([g]), VOCAB_SIZE)
    with pytest.raises(FsaError, match="max_arcs=5"):
        compile_hlg(Fsa.from_str("0 1 1 7 -1\n1 2 -1 -1 -2\n2"), 2, max_arcs=5)


def test_an_empty_graph_is_explained_with_the_missing_words(caplog):
    lexicon = lexicon_fst([("a", ["x"])])
    lexicon.set_attribute_("aux_labels_sym", tables(0)[1])
    g = Fsa.from_str("0 1 1 1 0\n1 2 3 3 0\n2 3 -1 -1 0\n3")
    with pytest.raises(EmptyGraphError, match=r"L o G is empty.*'c' \(id 3\).*cannot spell: c"):
        compile_lg(lexicon, g, VOCAB_SIZE)
    with pytest.raises(EmptyGraphError, match="no path to its final state"):
        compile_hlg(Fsa.from_str("0 0 1 7 -1\n1", acceptor=False), 2)


def test_without_kaldifst_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        FsaError, match=r"compile_lg: needs .* pip install 'wfst-entropy\[graphs\]'"
    ):
        compile_lg(lexicon_fst([("a", ["x"])]), None, VOCAB_SIZE)
