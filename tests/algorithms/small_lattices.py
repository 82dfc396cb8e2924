"""Small lattices of a lexicon and a bigram, all their paths, and a language model in Python."""

from __future__ import annotations

import math
import random

import pytest
import torch

from wfst_entropy import (
    DenseFsaVec,
    Fsa,
    arc_sort,
    compose,
    connect,
    ctc_topo,
    intersect_dense,
)
from wfst_entropy.fsa import RaggedTensor

# Word 1 has two pronunciations, words 2 and 4 are homophones, word 3 has a doubled token.
LEXICON = {1: [(1, 2), (2, 1)], 2: [(2,)], 3: [(3, 3)], 4: [(2,)]}
NUM_TOKENS = 4

# Few seeds in every run, and many among the slow tests.
SEEDS = pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(4), id="four"),
        pytest.param(range(4, 200), id="many", marks=pytest.mark.slow),
    ],
)


def all_paths(fsa):
    """Every path of one FSA as a list of arcs, by plain search."""
    leaving = {}
    for arc, (src, dst, _) in enumerate(fsa.arcs.tolist()):
        leaving.setdefault(src, []).append((arc, dst))
    found, stack = [], [(0, [])]
    while stack and fsa.num_states:
        state, path = stack.pop()
        if state == fsa.num_states - 1:
            found.append(path)
        stack.extend((dst, [*path, arc]) for arc, dst in leaving.get(state, []))
    return found


def words_on(fsa, path):
    words = fsa.aux_labels.tolist()
    lists = [words[arc] if isinstance(words[arc], list) else [words[arc]] for arc in path]
    return tuple(word for several in lists for word in several if word > 0)


def score_of(fsa, path):
    return math.fsum(fsa.scores[path].tolist())


def lexicon_fst(lexicon=LEXICON):
    """A loop over all pronunciations; the word stands on the first token."""
    arcs, words, state = [], [], 2  # 1 becomes the final state below
    for word, pronunciations in lexicon.items():
        for tokens in pronunciations:
            src = 0
            for i, token in enumerate(tokens):
                last = i == len(tokens) - 1
                dst = 0 if last else state
                state += not last
                arcs.append([src, dst, token])
                words.append(word if i == 0 else 0)
                src = dst
    arcs = [[s, d - (d > 1), t] if s < 2 else [s - 1, d - (d > 1), t] for s, d, t in arcs]
    arcs.append([0, state - 1, -1])
    words.append(-1)
    order = sorted(range(len(arcs)), key=lambda i: arcs[i][0])
    return Fsa.from_arcs(
        [arcs[i] for i in order],
        torch.zeros(len(arcs), dtype=torch.float64),
        aux_labels=torch.tensor([words[i] for i in order], dtype=torch.int32),
    )


def full_bigram(rng, num_words=4):
    """Every word may follow every other; states are the last word."""
    arcs = [[h, w, w] for h in range(num_words + 1) for w in range(1, num_words + 1)]
    arcs += [[h, num_words + 1, -1] for h in range(num_words + 1)]
    arcs.sort(key=lambda arc: arc[0])
    scores = torch.tensor([-rng.uniform(0.2, 2) for _ in arcs], dtype=torch.float64)
    return Fsa.from_arcs(arcs, scores)


def small_hlg(rng, modified=False):
    """Tokens, with blank 0, to words; `lm_scores` and `tokens` on its arcs."""
    lg = connect(compose(lexicon_fst(), full_bigram(rng)))
    topology = ctc_topo(max_token=NUM_TOKENS - 1, modified=modified)
    hlg = connect(compose(topology.to(torch.float64), lg, inner_labels="tokens"))
    return arc_sort(hlg.set_attribute_("lm_scores", hlg.scores.clone()))


def random_log_probs(seed, lengths, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths), NUM_TOKENS)
    scores = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    return scores.log_softmax(-1)


def small_lattices(seed, lengths=(4, 3), modified=False):
    """A lattice for each length, in float64."""
    log_probs = random_log_probs(seed, lengths)
    dense = DenseFsaVec.from_lengths(log_probs, torch.tensor(lengths))
    return intersect_dense(small_hlg(random.Random(seed), modified), dense)


def ragged_words(lattice, rng):
    """The same lattice, but words move to neighbouring arcs, where there may be several."""
    lists = [[w] if w > 0 else [] for w in lattice.aux_labels.tolist()]
    attributes = {k: v for k, v in lattice.attributes.items() if k != "aux_labels"}
    extra = [
        [rng.choice([1, 2])] if lab != -1 and rng.random() < 0.1 else []
        for lab in lattice.labels.tolist()
    ]
    both = [a + b for a, b in zip(lists, extra)]
    return Fsa(
        lattice.shape,
        lattice.arcs,
        lattice.scores,
        aux_labels=RaggedTensor.from_lists(both, torch.int32),
        **attributes,
    )


class BackOffModel:
    """A random n-gram of order up to 3 over words 1, 2, ...; with `<s>` as 0 in histories."""

    def __init__(self, rng, num_words=4, backoff_label=9):
        self.label = backoff_label
        words = range(1, num_words + 1)
        self.histories = {(): 0}
        self.prob, self.back = {}, {}
        seen = [(0,), *((w,) for w in words if rng.random() < 0.7)]
        seen += [(*h, w) for h in seen for w in words if h != (0,) and rng.random() < 0.3]
        seen += [(0, w) for w in words if (w,) in seen and rng.random() < 0.4]
        for history in [(), *seen]:
            if history and history[1:] and history[1:] not in [(), *seen]:
                continue
            self.prob[history] = {
                w: -rng.uniform(0.2, 3) for w in [*words, -1] if not history or rng.random() < 0.4
            }
            if history:
                self.back[history] = -rng.uniform(0.1, 2)

    def after(self, history, word):
        longest = (*history, word)[-2:]
        while longest not in self.prob:
            longest = longest[1:]
        return longest

    def ways(self, history, word, failure=True):
        """(score, history after the word) of each way to read a word; -1 ends the sentence."""
        found, score = [], 0.0
        while True:
            if word in self.prob[history]:
                found.append((score + self.prob[history][word], self.after(history, word)))
                if failure or not history:
                    return found
            elif not history:
                return found
            score += self.back[history]
            history = history[1:]

    def log_probs(self, words, failure=True):
        """The scores of all ways to read a sentence."""
        active = [(0.0, (0,))]
        for word in [*words, -1]:
            active = [
                (score + more, after)
                for score, history in active
                for more, after in self.ways(history, word, failure)
            ]
        return [score for score, _ in active]

    def fsa(self, acceptor=False):
        """Its graph; back-off arcs have the label `backoff_label`, or 0 for an acceptor."""
        number = {h: i for i, h in enumerate(sorted(self.prob, key=lambda h: (h != (0,), h)))}
        rows = []
        for history, state in number.items():
            for word, score in self.prob[history].items():
                dst = len(number) if word == -1 else number[self.after(history, word)]
                rows.append((state, dst, word, word, score))
            if history:
                label = 0 if acceptor else self.label
                rows.append((state, number[history[1:]], label, 0, self.back[history]))
        rows.sort()
        words = torch.tensor([row[3] for row in rows], dtype=torch.int32)
        scores = torch.tensor([row[4] for row in rows], dtype=torch.float64)
        attributes = {} if acceptor else {"aux_labels": words}
        return arc_sort(Fsa.from_arcs([row[:3] for row in rows], scores, **attributes))
