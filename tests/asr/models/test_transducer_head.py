"""Predictor and joiner: label by label they give what they give for whole transcripts."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.asr.models import (
    LstmPredictor,
    ModelOptions,
    StatelessPredictor,
    TransducerHead,
    build_model,
)
from wfst_entropy.asr.options import OptionError
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

PREDICTORS = {
    "context 1": lambda: StatelessPredictor(6, 4, context_size=1),
    "context 2": lambda: StatelessPredictor(6, 4, context_size=2),
    "context 3": lambda: StatelessPredictor(6, 4, context_size=3),
    "lstm": lambda: LstmPredictor(6, 4),
    "2 lstms": lambda: LstmPredictor(6, 4, num_layers=2),
}
TARGETS = torch.tensor([[1, 2, 3, 5, 1], [4, 4, 1, 0, 0]])


def make(name: str) -> TransducerHead:
    torch.manual_seed(1)
    head = TransducerHead(
        PREDICTORS[name](), encoder_dim=7, decoder_dim=4, joiner_dim=3, vocab_size=6
    )
    return head.double()


@pytest.mark.parametrize("name", PREDICTORS)
def test_steps_give_what_the_whole_transcript_gives(name):
    head = make(name)
    searched: Transducer = head  # what a search asks for
    expected = head.joiner.decoder_proj(head.predictor(TARGETS))
    assert expected.shape == (2, 6, 3)
    lm, state = searched.start(2)
    found = [lm]
    for tokens in TARGETS.unbind(1):
        before = [value.clone() for value in state]
        lm, after = searched.step(tokens, state)
        assert all(map(torch.equal, before, state))
        assert [value.shape for value in after] == [value.shape for value in state]
        state = after
        found.append(lm)
    torch.testing.assert_close(torch.stack(found, dim=1), expected, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("name", PREDICTORS)
def test_states_of_hypotheses_are_rows(name):
    head = make(name)
    _, state = head.step(TARGETS[:, 0], head.start(2)[1])
    rows = torch.tensor([1, 0, 1])
    chosen = [value.index_select(0, rows) for value in state]
    lm, _ = head.step(torch.tensor([2, 3, 3]), chosen)
    one, _ = head.step(torch.tensor([3]), [value[:1] for value in state])
    torch.testing.assert_close(lm[1:2], one)
    # the same label after other ones: only a single label of context makes them equal
    assert torch.equal(lm[1], lm[2]) == (name == "context 1")


@pytest.mark.parametrize("context_size", [1, 2, 3])
def test_contexts_are_what_steps_come_to(context_size):
    head = make(f"context {context_size}")
    assert head.context_size == context_size
    state = head.start(2)[1]
    seen = torch.zeros(2, context_size, dtype=torch.int64)
    for tokens in TARGETS.unbind(1):
        lm, state = head.step(tokens, state)
        seen = torch.cat([seen[:, 1:], tokens[:, None]], dim=1)
        torch.testing.assert_close(head.contexts(seen), lm, atol=1e-14, rtol=1e-14)


def test_only_a_stateless_predictor_has_contexts():
    assert make("lstm").context_size is None
    with pytest.raises(FsaTypeError, match=r"depends on all labels.*use start and step"):
        make("lstm").contexts(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(FsaValueError, match=r"needs shape \(m, 2\).*got \(1, 3\)"):
        make("context 2").contexts(torch.zeros(1, 3, dtype=torch.int64))


def test_an_encoder_of_another_size_is_refused():
    with pytest.raises(FsaValueError, match=r"encoder_out: needs 7 channels.*got 8"):
        make("lstm").project_encoder(torch.zeros(1, 2, 8))


def test_join_is_the_joiner_normalised_for_all_shapes():
    head = make("context 2")
    am = head.project_encoder(torch.randn(2, 4, 7, dtype=torch.float64))
    lm = head.joiner.decoder_proj(head.predictor(TARGETS))
    lattice = head.joiner(am.unsqueeze(2), lm.unsqueeze(1))
    assert lattice.shape == (2, 4, 6, 6)
    pair = head.join(am[:, 3], lm[:, 2])
    assert pair.dtype == torch.float32
    torch.testing.assert_close(pair, lattice[:, 3, 2].log_softmax(-1).float())


@pytest.mark.parametrize("name", PREDICTORS)
def test_gradients(name):
    head = make(name)
    am = torch.randn(2, 1, 1, 3, dtype=torch.float64)

    def logits(*parameters):
        named = dict(zip(dict(head.named_parameters()), parameters))
        lm = torch.func.functional_call(head.predictor, _below(named, "predictor."), (TARGETS,))
        joiner = head.joiner
        lm = torch.nn.functional.linear(
            lm, named["joiner.decoder_proj.weight"], named["joiner.decoder_proj.bias"]
        )
        return torch.func.functional_call(joiner, _below(named, "joiner."), (am, lm[:, None]))

    weights = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    parameters = tuple(head.parameters())
    assert torch.autograd.gradcheck(
        lambda *p: (logits(*p) * weights).sum(), parameters, fast_mode=True
    )


def _below(named, prefix):
    return {name[len(prefix) :]: value for name, value in named.items() if name.startswith(prefix)}


def test_models_have_the_outputs_that_were_asked_for():
    sizes = {"encoder_dim": 8, "num_layers": 1, "vocab_size": 6, "decoder_dim": 4, "joiner_dim": 3}
    both = build_model(ModelOptions(use_transducer=True, **sizes))
    assert both.ctc_output is not None and both.transducer is not None
    assert both.transducer.vocab_size == both.vocab_size == 6
    only = build_model(ModelOptions(use_transducer=True, use_ctc=False, **sizes))
    assert only.num_parameters == both.num_parameters - 6 * 9
    with pytest.raises(OptionError, match="use_ctc: this model was trained without"):
        only.ctc_log_probs(torch.zeros(1, 1, 8))
    with pytest.raises(OptionError, match="a model needs an output"):
        ModelOptions(use_ctc=False)
