"""The grammar G: a language model as a graph, with back-off arcs."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from wfst_entropy.algorithms.connect import connect
from wfst_entropy.fsa import Fsa, FsaValueError, RaggedShape, SymbolTable
from wfst_entropy.lang.arpa import read_arpa
from wfst_entropy.lang.ngram_model import UNKNOWN, Floats, Ids, NgramModel
from wfst_entropy.lang.symbols import BACKOFF, EPSILON
from wfst_entropy.lang.vocabulary import real_words, require_common_words

_LOG = logging.getLogger(__name__)
# What is impossible after a history keeps its arc, or it would get through by backing off.  This is
# the least that ARPA files can say.
IMPOSSIBLE = -99 * np.log(10)
# Stands for the label of back-off arcs until words have theirs.
_BACKING_OFF = -2


# kaldilm.arpa2fst gives the same graph as text; building it from the model's arrays spares writing
# and parsing that text, and bad files are refused before (kaldilm ends the interpreter).
def arpa_to_g(
    lm: NgramModel | str | os.PathLike[str],
    words: SymbolTable | str | os.PathLike[str],
    *,
    backoff: Literal["failure", "epsilon"] = "failure",
    max_order: int | None = None,
    unknown_words: Literal["drop", "error"] = "drop",
) -> Fsa:
    r"""Makes the grammar G of a back-off model.

    A state is a history h that the model continues; from it an arc for each n-gram :math:`h w` with
    score :math:`\log p(h w)` leads to the longest end of :math:`h w` that is a state, and a
    back-off arc with score :math:`\log b(h)` to the longest shorter end of h.  The start is the
    history `<s>`; n-grams that end in `</s>` are final arcs.  Histories without continuations get
    no state: their back-off is added to the arcs that would lead there.

    Args:
      lm: a model, or an ARPA file.
      words: the word table, or its file `words.txt`; a model of tokens takes `tokens.txt`.
      backoff: the label of back-off arcs: `"failure"` the id of `#0`, `"epsilon"` 0.  That a
        back-off arc is taken only where the word has no arc is up to who composes.
      max_order: leave out longer n-grams.
      unknown_words: n-grams with words outside the table are left out (`"drop"`; how many is
        logged) or refused (`"error"`).  `<unk>` may be `<UNK>` in the table, and the other way.

    Returns:
      One FSA `[state][arc]`, arcs of a state ordered by label, float32 scores in nats; `labels` are
      words, `aux_labels` the same words, 0 on back-off arcs, -1 on final ones.

    Raises:
      FsaFormatError: the ARPA file is wrong; see `read_arpa`.
      FsaValueError: the model and the table have hardly a word in common (see
        `compare_vocabularies`), `#0` is not in the table, a word is refused, a choice is unknown,
        or there may be 2**31 arcs or more.

    Source: the construction of Kaldi's arpa2fst.

    Example:
      >>> import numpy as np
      >>> from wfst_entropy.lang.ngram_model import NgramTable
      >>> zeros = np.zeros(3, dtype=np.int64)
      >>> unigrams = NgramTable(
      ...     zeros, np.arange(3), np.log([1e-99, 0.5, 0.5]), np.log([0.4, 1, 1]))
      >>> bigrams = NgramTable(zeros[:1], np.array([2]), np.log([0.8]), np.zeros(1))
      >>> lm = NgramModel(["<s>", "</s>", "cow"], [unigrams, bigrams])
      >>> words = SymbolTable.from_str("<eps> 0\ncow 1\n#0 2")
      >>> print(arpa_to_g(lm, words))
      0 1 1 1 -0.22314355
      0 1 2 0 -0.91629076
      1 1 1 1 -0.6931472
      1 2 -1 -1 -0.6931472
      2
    """
    _check_choices(backoff, unknown_words)
    model = lm if isinstance(lm, NgramModel) else read_arpa(lm)
    table = words if isinstance(words, SymbolTable) else SymbolTable.from_file(words)
    name = "the language model" if isinstance(lm, NgramModel) else str(lm)
    table_name = "the word table" if isinstance(words, SymbolTable) else str(words)
    require_common_words(real_words(model.words), real_words(table.symbols), name, table_name)
    if max_order is not None:
        model = model.truncated(max_order)
    _LOG.info("%s to G: n-grams %s", name, model.num_ngrams)
    if 2 * sum(model.num_ngrams) >= 2**31:
        raise FsaValueError(f"{name}: {sum(model.num_ngrams)} n-grams may make 2**31 arcs or more")
    backoff_label = _backoff_label(table, backoff)
    labels = _word_labels(model, table, name, unknown_words)
    levels = _levels(model, labels)
    grammar = _graph(model, labels, levels, backoff_label)
    dropped = sum(model.num_ngrams) - sum(int(level.is_arc.sum()) for level in levels)
    if dropped > 1:  # <s> never is an arc
        # Histories with words that are not in the table may leave others that nothing leads to.
        grammar = connect(grammar)
    _LOG.info(
        "G: %d states, %d arcs; %d n-grams left out",
        grammar.num_states, grammar.num_arcs, dropped - 1,
    )  # fmt: skip
    return grammar


def _check_choices(backoff: str, unknown_words: str) -> None:
    if backoff not in ("failure", "epsilon"):
        raise FsaValueError(f"backoff: must be 'failure' or 'epsilon', got {backoff!r}")
    if unknown_words not in ("drop", "error"):
        raise FsaValueError(f"unknown_words: must be 'drop' or 'error', got {unknown_words!r}")


def _backoff_label(words: SymbolTable, backoff: str) -> int:
    if backoff == "epsilon":
        return 0
    label = words.get(BACKOFF)
    if label is None:
        raise FsaValueError(
            f"words: has no {BACKOFF}, the label of back-off arcs; add a line '{BACKOFF} "
            f"{max(words.ids, default=0) + 1}' to words.txt, or take backoff='epsilon'"
        )
    return label


def _word_labels(model: NgramModel, words: SymbolTable, name: str, unknown_words: str) -> Ids:
    """The label of each word of the model, 0 for those that no arc may have."""
    labels = np.array([words.get(word) or 0 for word in model.words], dtype=np.int64)
    labels[[model.bos, model.eos]] = 0
    if model.unknown is not None and not labels[model.unknown]:
        labels[model.unknown] = next((words[word] for word in UNKNOWN if word in words), 0)
    for i in [model.word_ids[w] for w in (BACKOFF, EPSILON) if w in model.word_ids]:
        labels[i] = 0
    special = (model.bos, model.eos, model.unknown)
    missing = [i for i in np.flatnonzero(labels == 0).tolist() if i not in special]
    if missing and unknown_words == "error":
        raise FsaValueError(
            f"{name}: {len(missing)} of {len(model.words)} words are not in the word table, "
            f"the first is {model.words[missing[0]]!r}; compare_vocabularies tells more"
        )
    if missing:
        _LOG.warning(
            "%s: %d of %d words are not in the word table (%s, ...); their n-grams are left out",
            name, len(missing), len(model.words), model.words[missing[0]],
        )  # fmt: skip
    return labels


@dataclass(frozen=True)
class _Level:
    """What becomes of the n-grams of one order; arrays have one entry for each."""

    is_arc: NDArray[np.bool_]
    is_state: NDArray[np.bool_]
    # Where an arc leads that has read the n-gram: to its state, or to where backing off ends.
    state: Ids
    score: Floats  # that backing off adds
    # Likewise without the n-gram's first word: where its back-off arc leads.
    shorter_state: Ids
    shorter_score: Floats


def _levels(model: NgramModel, labels: Ids) -> list[_Level]:
    """Numbers the states: the start 0, then no history, then histories by length."""
    usable = _usable_histories(model, labels)
    arcs = _arcs(model, labels, usable)
    states = _states(model, usable, arcs)
    levels: list[_Level] = []
    no_history = int(states[0][model.bos])
    num_states = no_history + 1
    for order, (table, is_state) in enumerate(zip(model.tables, states), start=1):
        new = is_state.copy()
        if order == 1:
            new[model.bos] = False
        shorter_state, shorter_score = _shorter(model, order, levels, no_history)
        state = np.where(is_state, num_states + np.cumsum(new) - 1, shorter_state)
        if order == 1:
            state[model.bos] = 0
        score = np.where(is_state, 0, table.backoff + shorter_score)
        levels.append(_Level(arcs[order - 1], is_state, state, score, shorter_state, shorter_score))
        num_states += int(new.sum())
    return levels


def _states(
    model: NgramModel, usable: list[NDArray[np.bool_]], arcs: list[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """Which n-grams are histories that an arc continues."""
    states = [np.zeros(len(table), dtype=bool) for table in model.tables]
    for state, history, table, arc in zip(states, usable, model.tables[1:], arcs[1:]):
        state[table.context[arc]] = True
        state &= history
    # The start is needed for its back-off score even if no arc leaves it.
    states[0][model.bos] |= model.tables[0].backoff[model.bos] != 0
    return states


def _usable_histories(model: NgramModel, labels: Ids) -> list[NDArray[np.bool_]]:
    """Which n-grams can be read before another word: all words have labels, but for `<s>` first."""
    usable = [labels > 0]
    usable[0][model.bos] = True
    for table in model.tables[1:]:
        usable.append(usable[-1][table.context] & (labels[table.word] > 0))
    return usable


def _arcs(
    model: NgramModel, labels: Ids, usable: list[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """Which n-grams are arcs: their last word has a label, or is `</s>`."""
    readable = labels > 0
    readable[model.eos] = True
    arcs = [readable & (model.tables[0].log_prob > -np.inf)]
    for history, table in zip(usable, model.tables[1:]):
        arcs.append(history[table.context] & readable[table.word])
    return arcs


def _shorter(
    model: NgramModel, order: int, levels: list[_Level], no_history: int
) -> tuple[Ids, Floats]:
    """Where n-grams without their first word lead: by the longest end that the model has."""
    number = len(model.tables[order - 1])
    state, score = np.full(number, no_history), np.zeros(number)
    ids = model.ngram_ids(order)
    left = np.arange(number)
    for length in range(order - 1, 0, -1):
        found = model.lookup(ids[left, order - length :])
        known = found >= 0
        state[left[known]] = levels[length - 1].state[found[known]]
        score[left[known]] = levels[length - 1].score[found[known]]
        left = left[~known]
        if not len(left):
            break
    return state, score


def _graph(model: NgramModel, labels: Ids, levels: list[_Level], backoff_label: int) -> Fsa:
    no_history = int(levels[0].is_state[model.bos])
    num_states = 2 + sum(int(level.is_state.sum()) for level in levels)
    parts: list[tuple[Ids, Ids, Ids, Floats]] = []  # source, target, label, score
    for order, (level, table) in enumerate(zip(levels, model.tables), start=1):
        chosen = np.flatnonzero(level.is_arc)
        final = table.word[chosen] == model.eos
        source = np.full(len(chosen), no_history)
        if order > 1:
            source = levels[order - 2].state[table.context[chosen]]
        target = np.where(final, num_states - 1, level.state[chosen])
        label = np.where(final, -1, labels[table.word[chosen]])
        score = table.log_prob[chosen] + np.where(final, 0, level.score[chosen])
        parts.append((source, target, label, score))
        state = np.flatnonzero(level.is_state)
        label = np.full(len(state), _BACKING_OFF)
        score = table.backoff[state] + level.shorter_score[state]
        parts.append((level.state[state], level.shorter_state[state], label, score))
    # A graph of millions of arcs is sorted in 32 bits but for the key.
    source, target, label = (np.concatenate(c).astype(np.int32) for c in list(zip(*parts))[:3])
    score = np.concatenate([part[3] for part in parts]).astype(np.float32)
    del parts
    is_backoff = label == _BACKING_OFF
    label[is_backoff] = backoff_label
    rank = _by_source_and_label(source, label)
    aux_labels = np.where(is_backoff, 0, label)[rank]
    arcs = np.stack([source[rank], target[rank], label[rank]], axis=1)
    splits = np.zeros(num_states + 1, dtype=np.int64)
    np.cumsum(np.bincount(source, minlength=num_states), out=splits[1:])
    return Fsa(
        RaggedShape(torch.from_numpy(splits)),
        torch.from_numpy(arcs),
        torch.from_numpy(np.maximum(score[rank], np.float32(IMPOSSIBLE))),
        aux_labels=torch.from_numpy(aux_labels),
    )


def _by_source_and_label(source: NDArray[np.int32], label: NDArray[np.int32]) -> Ids:
    """The numbers of arcs in order; the final label comes last."""
    last = np.int64(label.max()) + 1
    key = source * (last + 1)
    key += np.where(label < 0, last, label)
    return np.argsort(key, kind="stable")
