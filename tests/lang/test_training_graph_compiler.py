"""Training graphs of words: all pronunciations, unknown words, silence, pieces."""

from __future__ import annotations

import io
import logging
import math

import pytest
import torch

from wfst_entropy import ctc_graph, get_tot_scores, intersect_dense
from wfst_entropy.algorithms import ctc_compose, isomorphic
from wfst_entropy.fsa import DenseFsaVec, EmptyGraphError, FsaError
from wfst_entropy.lang import (
    BpeCtcTrainingGraphCompiler,
    CtcTrainingGraphCompiler,
    Lexicon,
    Silence,
    write_lang_dir,
)
from wfst_entropy.semirings import LogSemiring
from wfst_entropy.topologies import linear_fst

ENTRIES = [
    ("<UNK>", ["SPN"]), ("A", ["AH"]), ("A", ["EY"]), ("READ", ["R", "EH", "D"]),
    ("READ", ["R", "IY", "D"]), ("RED", ["R", "EH", "D"]),
]  # fmt: skip


def total(graphs, log_probs):
    dense = DenseFsaVec(
        log_probs, torch.tensor([[0, 0, log_probs.shape[1]]] * 1, dtype=torch.int32)
    )
    return get_tot_scores(intersect_dense(graphs, dense, output_beam=math.inf), LogSemiring())


@pytest.fixture
def lang(tmp_path):
    return write_lang_dir(tmp_path / "lang_phone", Lexicon(ENTRIES))


@pytest.mark.parametrize("topology", ["standard", "modified"])
def test_the_total_is_the_sum_over_pronunciations(lang, topology):
    torch.manual_seed(0)
    log_probs = torch.randn(1, 9, lang.vocab_size).log_softmax(-1)
    graphs = CtcTrainingGraphCompiler(lang, topology=topology).compile(["A READ"])
    spelled = [
        [lang.tokens[token] for token in first + second]
        for first in (["AH"], ["EY"])
        for second in (["R", "EH", "D"], ["R", "IY", "D"])
    ]
    wanted = torch.stack(
        [total(ctc_graph([ids], topology == "modified"), log_probs) for ids in spelled]
    ).logsumexp(0)
    assert torch.allclose(total(graphs, log_probs), wanted, atol=1e-5)


def test_one_pronunciation_gives_the_graph_of_its_tokens(lang):
    graphs = CtcTrainingGraphCompiler(lang).compile(["RED", ""])
    tokens = [lang.tokens[token] for token in ("R", "EH", "D")]
    words = [lang.words["RED"], 0, 0]
    assert isomorphic(graphs[0], ctc_compose(linear_fst(tokens, words), lang.vocab_size))
    assert graphs[1].labels.tolist() == [0, -1]


def test_unknown_words_are_replaced_and_noted(lang, caplog):
    compiler = CtcTrainingGraphCompiler(lang)
    with caplog.at_level(logging.WARNING):
        graphs = compiler.compile(["RED XYLOPHONE", "XYLOPHONE RED ZOO"])
    assert (
        "3 words of 2 transcripts are not in words.txt and become <UNK>: XYLOPHONE, ZOO"
        in caplog.text
    )
    assert int((graphs[1].labels == lang.tokens["SPN"]).sum()) > 0
    with pytest.raises(FsaError, match="<OOV>"):
        CtcTrainingGraphCompiler(lang, unknown="<OOV>").compile(["ZOO"])


def test_silence_and_probabilities_weigh_the_paths(tmp_path):
    lexicon = Lexicon([("A", ["AH"]), ("A", ["EY"])], [0.25, 1.0])
    lang = write_lang_dir(tmp_path / "lang", lexicon, silence=Silence("SIL", 0.5))
    log_probs = torch.full((1, 3, lang.vocab_size), -math.inf)
    for frame, token in enumerate(("SIL", "AH", "SIL")):
        log_probs[0, frame, lang.tokens[token]] = 0.0
    graphs = CtcTrainingGraphCompiler(lang).compile(["A"])
    assert graphs.properties.epsilon_free or 0 in graphs.labels  # blanks are 0, and frames
    assert torch.allclose(
        total(graphs, log_probs), torch.tensor(math.log(0.25 * 0.5 * 0.5)), atol=1e-5
    )


def test_a_word_without_pronunciation_is_named(tmp_path):
    lang = write_lang_dir(tmp_path / "lang", Lexicon([("A", ["AH"])]))
    (lang.path / "words.txt").write_text("<eps> 0\nA 1\nB 2\n#0 3\n")
    with pytest.raises(EmptyGraphError, match=r"texts\[1\]: has no pronunciation in .*L\.pt: B"):
        CtcTrainingGraphCompiler(lang.path).compile(["A", "A B"])


def test_other_topologies_are_refused(lang):
    for compiler in (CtcTrainingGraphCompiler, BpeCtcTrainingGraphCompiler):
        with pytest.raises(FsaError, match="standard, modified for training, got 'compact'"):
            compiler(lang, topology="compact")


def test_word_pieces(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["THE DAY AND THE NIGHT", "AND THERE WAS LIGHT"]), model_writer=file,
        vocab_size=24, model_type="bpe", user_defined_symbols=["<blk>", "<sos/eos>"], unk_id=2,
        bos_id=-1, eos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "bpe.model").write_bytes(file.getvalue())
    compiler = BpeCtcTrainingGraphCompiler(tmp_path)
    ids = compiler.texts_to_ids(["THE LIGHT", "DAY"])
    graphs = compiler.compile(ids)
    assert torch.equal(graphs.arcs, ctc_graph(ids).arcs)
    model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    assert model.decode(ids) == ["THE LIGHT", "DAY"]
    with pytest.raises(FsaError, match=r"none\.model: no such file"):
        BpeCtcTrainingGraphCompiler(tmp_path / "none.model")
