"""`explain` names the cause of ten seeded breakages, and accuses no healthy pair."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from wfst_entropy import (
    Fsa,
    RaggedTensor,
    SymbolTable,
    arc_sort,
    compose,
    ctc_topo,
    explain,
    invert,
    linear_fsa,
)
from wfst_entropy.fsa import FsaTypeError
from wfst_entropy.inspection import Cause

SEEDS = range(3)


@dataclass
class Pair:
    """A lexicon and a grammar, as lists that can be broken before graphs are made of them."""

    words: SymbolTable
    phones: SymbolTable
    pronunciations: dict[int, list[int]]
    sentences: list[list[int]]
    marks: list[int] = field(default_factory=list)  # words that the lexicon only passes on
    with_tables: bool = True

    def lexicon(self) -> Fsa:
        """A closure over pronunciations; marks (#0) are self-loops."""
        arcs, states = [], 1
        for word, phones in self.pronunciations.items():
            state = 0
            for i, phone in enumerate(phones):
                last = i == len(phones) - 1
                target = 0 if last else states
                states += not last
                arcs.append((state, target, phone, word if i == 0 else 0))
                state = target
        arcs += [(0, 0, len(self.phones) + i, mark) for i, mark in enumerate(self.marks)]
        fsa = make_fsa([*arcs, (0, states, -1, -1)], states + 1)
        if self.with_tables:
            phones = SymbolTable(self.phones)
            for i, mark in enumerate(self.marks):
                phones.add(f"#{i}", len(self.phones) + i)
                assert self.words[mark] == f"#{i}"
            fsa.set_attribute_("labels_sym", phones).set_attribute_("aux_labels_sym", self.words)
        return fsa

    def grammar(self) -> Fsa:
        """The union of the sentences."""
        arcs, states = [], 1
        for sentence in self.sentences:
            state = 0
            for word in sentence:
                arcs.append((state, states, word))
                state, states = states, states + 1
            arcs.append((state, -1, -1))
        arcs = [(s, states if d < 0 else d, label) for s, d, label in arcs]
        fsa = make_fsa(arcs, states + 1)
        return fsa.set_attribute_("labels_sym", self.words) if self.with_tables else fsa


def make_fsa(arcs: list[tuple[int, ...]], num_states: int) -> Fsa:
    table = torch.tensor(sorted(arcs, key=lambda arc: arc[0]), dtype=torch.int32)
    fsa = Fsa.from_arcs(table[:, :3].contiguous(), num_states=num_states)
    if table.shape[1] == 4:
        fsa.set_attribute_("aux_labels", table[:, 3].contiguous())
    return arc_sort(fsa)


def make_pair(rng: random.Random, with_tables: bool = True, num_words: int | None = None) -> Pair:
    num_words = num_words or rng.randint(5, 12)
    num_phones = rng.randint(6, 20)
    words = SymbolTable([("<eps>", 0), *((f"word{i}", i) for i in range(1, num_words + 1))])
    phones = SymbolTable([("<eps>", 0), *((f"p{i}", i) for i in range(1, num_phones + 1))])
    pronunciations = {
        word: [rng.randint(1, num_phones) for _ in range(rng.randint(2, 4))]
        for word in range(1, num_words + 1)
    }
    everything = list(range(1, num_words + 1))
    rng.shuffle(everything)
    some = [rng.choices(everything, k=rng.randint(1, 5)) for _ in range(rng.randint(0, 3))]
    return Pair(words, phones, pronunciations, [everything, *some], with_tables=with_tables)


def relabelled(fsa: Fsa, change: Callable[[torch.Tensor], torch.Tensor]) -> Fsa:
    arcs = fsa.arcs.clone()
    arcs[:, 2] = torch.where(arcs[:, 2] >= 0, change(arcs[:, 2]), arcs[:, 2])
    return Fsa(fsa.shape, arcs, fsa.scores, **fsa.attributes)


Broken = tuple[Fsa, Fsa]


def missing_word(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    word = rng.randint(1, len(pair.pronunciations))
    del pair.pronunciations[word]
    pair.sentences = [[*s, word] if word not in s else s for s in pair.sentences]
    return pair.lexicon(), pair.grammar()


def missing_word_on_some_paths(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    word, other = rng.sample(sorted(pair.pronunciations), 2)
    del pair.pronunciations[word]
    pair.sentences.append([other, other])
    return pair.lexicon(), pair.grammar()


def unsorted_arcs(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    pair.sentences += [[w] for w in pair.pronunciations]
    graphs = []
    for fsa in (pair.lexicon(), pair.grammar()):
        order = list(range(fsa.num_arcs))
        while (sources := fsa.arcs[order, 0]).diff().min() < 0 or order == sorted(order):
            rng.shuffle(order)
            order.sort(key=lambda arc: int(fsa.arcs[arc, 0]))
        assert torch.equal(sources, fsa.arcs[:, 0])
        shuffled = torch.tensor(order)
        attributes = fsa.select_attributes(shuffled)
        graphs.append(Fsa(fsa.shape, fsa.arcs[shuffled], fsa.scores[shuffled], **attributes))
    return graphs[0], graphs[1]


def missing_disambiguation(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    mark = pair.words.add("#0")
    for sentence in pair.sentences:
        sentence.insert(rng.randint(0, len(sentence)), mark)
    return pair.lexicon(), pair.grammar()


def disambiguation_not_a_loop(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    pair.marks = [pair.words.add("#0")]
    pair.sentences = [[rng.choice(s), pair.marks[0], pair.marks[0], *s] for s in pair.sentences]
    lexicon = pair.lexicon()
    # The loop at state 0 becomes an arc to a state that only has the end.
    arcs = [[*arc, aux] for arc, aux in zip(lexicon.arcs.tolist(), lexicon.aux_labels.tolist())]
    final = lexicon.num_states
    for arc in arcs:
        if arc[3] == pair.marks[0]:
            arc[1] = final - 1
        elif arc[1] == final - 1:
            arc[1] = final
    arcs.append([final - 1, final, -1, -1])
    broken = make_fsa([tuple(arc) for arc in arcs], final + 1)
    for name in ("labels_sym", "aux_labels_sym"):
        broken.set_attribute_(name, lexicon.attributes[name])
    return broken, pair.grammar()


def empty_grammar(rng: random.Random, tables: bool) -> Broken:
    return make_pair(rng, tables).lexicon(), Fsa.from_str("")


def swapped_labels(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    lexicon = pair.lexicon()
    turned = invert(lexicon)
    if tables and rng.random() < 0.5:  # the tables stay where they were
        turned.set_attribute_("labels_sym", lexicon.labels_sym)
        turned.set_attribute_("aux_labels_sym", lexicon.aux_labels_sym)
    return arc_sort(turned), pair.grammar()


def swapped_on_the_right(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables, num_words=60)  # many more words than phones
    return ctc_topo(len(pair.phones) - 1), arc_sort(invert(pair.lexicon()))


def different_tables(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    ids = [number for number in pair.words.ids if number]
    while (shuffled := rng.sample(ids, len(ids))) == ids:
        pass
    new_id = dict(zip(ids, shuffled))
    grammar = pair.grammar()
    table = SymbolTable([("<eps>", 0), *((s, new_id[i]) for s, i in pair.words if i)])
    grammar = relabelled(grammar, lambda x: torch.tensor([new_id[int(i)] for i in x.clamp(min=1)]))
    return pair.lexicon(), grammar.set_attribute_("labels_sym", table)


def epsilon_with_a_number(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    number = len(pair.words)
    table = SymbolTable([(s, i or number) for s, i in pair.words])
    for sentence in pair.sentences:
        sentence.insert(rng.randint(0, len(sentence)), number)
    return pair.lexicon(), pair.grammar().set_attribute_("labels_sym", table)


def unreachable_final_state(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    grammar = pair.grammar()
    if rng.random() < 0.5:  # no arc into the final state
        kept = grammar.arcs[:, 2] != -1
    else:  # the start has lost its arcs
        kept = grammar.arcs[:, 0] != 0
    broken = Fsa.from_arcs(grammar.arcs[kept], num_states=grammar.num_states)
    return pair.lexicon(), broken


def offset_by_one(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng, tables)
    for symbol in pair.phones.ids[1:]:  # every phone is in use
        next(iter(pair.pronunciations.values())).append(symbol)
    lexicon = relabelled(pair.lexicon(), lambda x: torch.where(x > 0, x + 1, x))
    topology = ctc_topo(len(pair.phones) - 1)
    return topology, lexicon


def offset_of_a_lattice(rng: random.Random, tables: bool) -> Broken:
    labels = [rng.randint(1, 9) for _ in range(rng.randint(3, 6))]
    return linear_fsa(labels), linear_fsa([label + 1 for label in labels])


def blank_not_first(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    size = len(pair.phones)
    shifted = SymbolTable([(s, i - 1 if i else size - 1) for s, i in pair.phones if i])
    shifted.add("<blk>", size - 1)
    for symbol in pair.phones.ids[1:]:
        next(iter(pair.pronunciations.values())).append(symbol)
    lexicon = relabelled(pair.lexicon(), lambda x: torch.where(x > 0, x - 1, x))
    return ctc_topo(size - 1), lexicon.set_attribute_("labels_sym", shifted)


def out_of_vocabulary(rng: random.Random, tables: bool) -> Broken:
    pair = make_pair(rng)
    alien = len(pair.words) + rng.randint(1, 50)
    for sentence in pair.sentences:
        sentence[rng.randrange(len(sentence))] = alien
    return pair.lexicon(), pair.grammar()


BREAKAGES = [
    (missing_word, Cause.MISSING_SYMBOL),
    (missing_word_on_some_paths, Cause.MISSING_SYMBOL),
    (unsorted_arcs, Cause.UNSORTED_ARCS),
    (missing_disambiguation, Cause.MISSING_DISAMBIGUATION),
    (disambiguation_not_a_loop, Cause.MISSING_DISAMBIGUATION),
    (empty_grammar, Cause.EMPTY_GRAPH),
    (swapped_labels, Cause.SWAPPED_LABELS),
    (swapped_on_the_right, Cause.SWAPPED_LABELS),
    (different_tables, Cause.DIFFERENT_SYMBOL_TABLES),
    (epsilon_with_a_number, Cause.EPSILON_IS_A_SYMBOL),
    (unreachable_final_state, Cause.UNREACHABLE_FINAL_STATE),
    (offset_by_one, Cause.OFFSET_BY_ONE),
    (offset_of_a_lattice, Cause.OFFSET_BY_ONE),
    (blank_not_first, Cause.OFFSET_BY_ONE),
    (out_of_vocabulary, Cause.OUT_OF_VOCABULARY),
]


@pytest.mark.parametrize("tables", [True, False], ids=["tables", "bare"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("break_it", "cause"), BREAKAGES, ids=[b.__name__ for b, _ in BREAKAGES])
def test_the_right_cause_is_named(break_it, cause, seed, tables):
    a, b = break_it(random.Random(seed), tables)
    found = explain(a, b, names=("L", "G"))
    assert found.cause is cause, str(found)
    assert found.is_empty == (compose(a, b).num_states == 0)


@pytest.mark.parametrize("tables", [True, False], ids=["tables", "bare"])
@pytest.mark.parametrize("seed", range(5))
def test_healthy_pairs_are_not_accused(seed, tables):
    rng = random.Random(seed)
    pair = make_pair(rng, tables)
    if tables:
        pair.marks = [pair.words.add("#0")]
        pair.sentences[0].insert(1, pair.marks[0])
    lexicon, grammar = pair.lexicon(), pair.grammar()
    topology = ctc_topo(len(pair.phones) - 1 + len(pair.marks))
    lattice = linear_fsa(pair.sentences[0])  # has fewer words than the grammar
    for a, b in (
        (lexicon, grammar), (topology, lexicon), (lattice, grammar), (grammar, lattice),
        (topology, arc_sort(compose(lexicon, grammar))), (grammar, arc_sort(invert(lexicon))),
    ):  # fmt: skip
        found = explain(a, b)
        assert found.cause is None and not found.is_empty, str(found)


def test_the_message_has_the_word_the_place_and_the_names():
    pair = make_pair(random.Random(0), num_words=5)
    del pair.pronunciations[3]
    pair.sentences = [[1, 2, 3, 4]]
    lexicon = pair.lexicon().set_attribute_("origin", "exp/L.fst")
    found = explain(lexicon, pair.grammar().set_attribute_("origin", "exp/G.fst"))
    assert found.prefix == (1, 2)
    assert 3 in found.blocked
    assert str(found) == (
        "missing symbol: no arc of exp/L.fst puts out 'word3' (id 3), which every path of "
        "exp/G.fst needs. The longest beginning that both accept is: word1 word2."
    )


def test_strings_that_differ_only_in_order():
    found = explain(linear_fsa([1, 2, 3]), linear_fsa([1, 3, 2]))
    assert found.cause is Cause.NO_COMMON_STRING
    assert found.prefix == (1,) and found.blocked == (2, 3)
    assert "After it a offers label 2 and b label 3." in found.message
    ends = explain(linear_fsa([1, 2]), linear_fsa([1, 2, 2]))
    assert "a offers the end and b label 2" in ends.message


def test_epsilon_can_be_told_to_be_a_symbol():
    a = Fsa.from_str("0 1 1 0\n1 2 0 0\n2 3 -1 0\n3", acceptor=True)
    assert explain(a, linear_fsa([1])).cause is None
    found = explain(a, linear_fsa([1]), treat_epsilons_specially=False)
    assert found.cause is Cause.EPSILON_IS_A_SYMBOL
    assert "treat_epsilons_specially=True" in found.message


def test_notes_tell_what_a_grammar_loses_to_a_lattice():
    grammar = make_pair(random.Random(1), num_words=6).grammar()
    lattice = linear_fsa(make_pair(random.Random(1), num_words=6).sentences[-1])
    found = explain(lattice, grammar)
    assert found.cause is None and "paths of b with" in found.notes[0]


def test_ragged_outputs_are_matched_one_by_one():
    a = linear_fsa([7]).set_attribute_("aux_labels", RaggedTensor.from_lists([[1, 2], [-1]]))
    assert explain(a, linear_fsa([1, 2])).cause is None
    assert explain(a, linear_fsa([1, 3])).prefix == (1,)


def test_vectors_are_refused():
    with pytest.raises(FsaTypeError, match="explain one pair"):
        explain(Fsa.from_fsas([linear_fsa([1])]), linear_fsa([1]))
