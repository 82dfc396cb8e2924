"""The loss of a batch: its value, its gradient, and what is left out of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wfst_entropy.asr.data.utterances import Utterances, read_batch
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.loss_terms import NotFiniteError, Term, require_finite
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.errors import FsaFormatError, FsaValueError

TOKENS = [[1, 2, 2], [3], [], [1, 1, 1, 1, 1]]
LENGTHS = [9, 4, 3, 6]  # the last has too few frames for CTC: five labels, four repeats need nine


class Given(nn.Module):
    """A CTC model whose encoder returns what it is given as features, one frame for each."""

    transducer = None

    def __init__(self) -> None:
        super().__init__()
        self.ctc_output = nn.Linear(1, 1)  # where to compute

    def forward_encoder(self, features, lengths):
        return features, lengths

    def ctc_log_probs(self, encoder_out):
        return encoder_out.log_softmax(-1)


def scores(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 9, 5, dtype=torch.float64, generator=generator).requires_grad_()


def utterances(features, tokens=TOKENS, lengths=LENGTHS) -> Utterances:
    names = [f"utt-{i}" for i in range(len(tokens))]
    return Utterances(features, torch.tensor(lengths), list(tokens), names)


def loss(logits, scale=0.0, kind="conditional", batch=None):
    options = TrainOptions(entropy_loss_scale=scale, entropy_kind=kind)
    return TrainingCriterion(Given(), options)(batch or utterances(logits), step=0)


def test_without_entropy_the_sum_is_that_of_torchs_ctc_loss():
    logits = scores()
    sums = loss(logits)
    (gradient,) = torch.autograd.grad(sums.loss, logits)
    expected = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1)[:, :3],
        torch.tensor([1, 2, 2, 3]),
        torch.tensor(LENGTHS[:3]),
        torch.tensor([3, 1, 0]),
        reduction="sum",
    )
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(sums.loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert sums.terms["ctc_nll"] == pytest.approx(float(expected.detach()))
    assert (sums.num_utterances, sums.num_frames) == (3, 16)


def test_an_utterance_too_short_is_named_with_the_frames_it_needs():
    excluded = loss(scores()).excluded
    assert excluded == {"utt-3 (0.06 s)": "6 frames after subsampling, its 5 tokens need 9"}


@pytest.mark.parametrize("kind", ["conditional", "raw", "per-frame", "per-label"])
@pytest.mark.parametrize("scale", [0.7, -0.7])
def test_the_loss_is_nll_minus_scaled_entropy(kind, scale):
    logits = scores()
    sums = loss(logits, scale, kind)
    expected = sums.terms["ctc_nll"] - scale * sums.terms["ctc_entropy"]
    assert float(sums.loss.detach()) == pytest.approx(expected)
    assert sums.terms["ctc_entropy"] > 0
    assert torch.isfinite(torch.autograd.grad(sums.loss, logits)[0]).all()


def test_kinds_of_entropy_by_enumeration():
    """One label in three frames: six alignments of known probability."""
    logits = torch.randn(1, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = logits.softmax(-1)[0]
    paths = ["100", "010", "001", "110", "011", "111"]
    weights = torch.stack([p[0, int(a)] * p[1, int(b)] * p[2, int(c)] for a, b, c in paths])
    posterior = weights / weights.sum()
    conditional = float(-(posterior * posterior.log()).sum())
    raw = float(-(weights * weights.log()).sum())
    for kind, expected in {
        "conditional": conditional,
        "raw": raw,
        "per-frame": conditional / 3,
        "per-label": conditional,
    }.items():
        sums = loss(logits, 1.0, kind, utterances(logits, [[1]], [3]))
        assert sums.terms["ctc_entropy"] == pytest.approx(expected), kind


def test_a_step_along_the_gradient_moves_the_entropy_the_way_the_sign_says():
    for scale, sign in ((5.0, 1), (-5.0, -1)):
        logits = scores()
        before = loss(logits, scale)
        (gradient,) = torch.autograd.grad(before.loss, logits)
        after = loss((logits - 0.01 * gradient).detach(), scale)
        assert sign * (after.terms["ctc_entropy"] - before.terms["ctc_entropy"]) > 0


def test_nan_scores_are_named_and_not_computed():
    logits = scores().detach()
    logits[1, 2, 3] = float("nan")
    assert loss(logits).not_finite == [1]


def test_an_impossible_utterance_is_named():
    logits = scores().detach()
    logits[1, :, 3] = -torch.inf  # the only label of the second utterance
    assert loss(logits).not_finite == [1]


def test_a_batch_of_excluded_utterances_has_a_zero_gradient():
    logits = scores()
    batch = utterances(logits)
    batch.excluded = dict.fromkeys(range(3), "no")
    sums = loss(logits, batch=batch)
    assert (sums.num_utterances, len(sums.excluded)) == (0, 4)
    assert (torch.autograd.grad(sums.loss, logits)[0] == 0).all()


def transducer(**options):
    torch.manual_seed(0)
    sizes = {"encoder_dim": 8, "num_layers": 1, "decoder_dim": 6, "joiner_dim": 8, "vocab_size": 5}
    return build_model(ModelOptions(use_transducer=True, dropout=0.0, **sizes, **options))


def speech(num_utterances=3):
    features = torch.randn(3, 80, 80, generator=torch.Generator().manual_seed(0)) * 4 - 8
    whole = Utterances(features, torch.tensor([80, 60, 41]), [[1, 2, 2], [3], [4, 1]], list("abc"))
    return whole.select(range(num_utterances))


def gradients(criterion, batch, step=0):
    criterion.zero_grad()
    sums = criterion(batch, step)
    sums.loss.backward()
    return sums, {n: p.grad for n, p in criterion.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("prune_range", [0, 3])
def test_the_gradient_of_a_sum_is_the_sum_of_the_terms_gradients(prune_range):
    """With the weights by which the warm-ups say that each term counts."""
    model = transducer()
    common = {"prune_range": prune_range, "rnnt_warm_step": 10, "entropy_warm_up": 20}
    options = TrainOptions(entropy_loss_scale=0.5, ctc_loss_scale=0.3, **common)
    _, joint = gradients(TrainingCriterion(model, options), speech(), step=5)
    main = 0.55 if prune_range else 1.0
    weights = {
        "ctc_nll": 0.3,
        "ctc_entropy": -0.3 * 0.125,
        "simple_nll": 0.75,
        "transducer_nll": main,
        "transducer_entropy": -main * 0.125,
    }
    criterion = TrainingCriterion(model, options)
    found = {}
    for name in criterion.term_names:
        terms = {}
        criterion._terms = lambda outputs, terms=terms: terms.setdefault(
            "all", TrainingCriterion._terms(criterion, outputs)
        )
        criterion.zero_grad()
        criterion(speech(), 5)
        (term,) = [term for term in terms["all"] if term.name == name]
        assert term.scale == pytest.approx(weights[name]), name
        term.values.sum().backward()
        for parameter, p in criterion.named_parameters():
            if p.grad is not None:
                found[parameter] = found.get(parameter, 0.0) + weights[name] * p.grad
    assert joint.keys() == found.keys()
    for name, gradient in joint.items():
        torch.testing.assert_close(gradient, found[name], atol=1e-4, rtol=1e-4, msg=name)


def test_a_ctc_head_of_weight_0_is_left_alone():
    options = {"prune_range": 0, "entropy_loss_scale": 0.5}
    model = transducer()
    model.ctc_log_probs = None  # nobody asks for them
    criterion = TrainingCriterion(model, TrainOptions(ctc_loss_scale=0.0, **options))
    batch = speech()
    batch.tokens[1] = [3] * 15  # in 15 frames: with a blank between any two too many for CTC
    sums, found = gradients(criterion, batch)
    assert criterion.term_names == ("transducer_nll", "transducer_entropy")
    assert tuple(sums.terms) == criterion.term_names and sums.num_utterances == 3
    assert "model.ctc_output.weight" not in found
    alone = transducer()
    alone.ctc_output = None
    expected, others = gradients(TrainingCriterion(alone, TrainOptions(**options)), batch)
    assert sums.terms == expected.terms and found.keys() == others.keys()
    assert all(torch.equal(found[name], others[name]) for name in found)


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_windows_of_all_positions_are_the_whole_lattice(rnnt_type):
    model = transducer()
    terms = [
        gradients(
            TrainingCriterion(model, TrainOptions(prune_range=s, rnnt_type=rnnt_type)), speech()
        )
        for s in (0, 9)
    ]
    for name in ("transducer_nll", "transducer_entropy", "ctc_nll"):
        assert terms[0][0].terms[name] == pytest.approx(terms[1][0].terms[name], rel=1e-5)


def lattice_nll(log_probs, labels, num_frames):
    """-log of the sum over alignments, by the recursion of Graves 2012, Eq. 16."""
    alpha = {(0, 0): log_probs.new_zeros(())}
    for t in range(num_frames):
        for u in range(len(labels) + 1):
            ways = []
            if t and (t - 1, u) in alpha:
                ways.append(alpha[t - 1, u] + log_probs[t - 1, u, 0])
            if u:
                ways.append(alpha[t, u - 1] + log_probs[t, u - 1, labels[u - 1]])
            if ways:
                alpha[t, u] = torch.stack(ways).logsumexp(0)
    last = (num_frames - 1, len(labels))
    return -(alpha[last] + log_probs[last[0], last[1], 0])


def test_the_transducers_nll_by_the_recursion():
    model, batch = transducer(use_ctc=False), speech()
    options = TrainOptions(prune_range=0)
    sums, found = gradients(TrainingCriterion(model, options), batch)
    assert set(sums.terms) == {"transducer_nll", "transducer_entropy"}
    model.zero_grad()
    encoder_out, lengths = model.forward_encoder(batch.features, batch.num_frames)
    head = model.transducer
    total = torch.zeros(())
    for row, labels in enumerate(batch.tokens):
        lm = head.joiner.decoder_proj(head.predictor(torch.tensor([labels])))
        am = head.joiner.encoder_proj(encoder_out[row : row + 1])
        log_probs = head.joiner(am.unsqueeze(2), lm.unsqueeze(1)).log_softmax(-1)[0]
        total = total + lattice_nll(log_probs, labels, int(lengths[row]))
    assert sums.terms["transducer_nll"] == pytest.approx(float(total.detach()), rel=1e-5)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[f"model.{name}"], parameter.grad, atol=1e-4, rtol=1e-3)


def test_a_transducer_needs_fewer_frames_than_ctc():
    needed = {
        (0, "regular"): 1,
        (3, "regular"): 4,
        (0, "modified"): 7,
        (3, "constrained"): 7,
    }
    for (prune_range, rnnt_type), least in needed.items():
        options = TrainOptions(prune_range=prune_range, rnnt_type=rnnt_type)
        model = transducer(use_ctc=False)
        criterion = TrainingCriterion(model, options)
        assert criterion.min_num_frames([1] * 7) == least
        for frames in (least, least - 1):
            features = torch.zeros(1, 4 * max(1, frames), 80)
            batch = Utterances(features, torch.tensor([4 * frames]), [[1] * 7], ["a"])
            if frames:
                sums = criterion(batch, step=0)
                assert sums.num_utterances == int(frames == least), (prune_range, rnnt_type)
                assert not sums.not_finite
    both = TrainingCriterion(transducer(), TrainOptions(prune_range=0))
    assert both.min_num_frames([1] * 7) == 13


def test_nan_of_any_part_of_a_transducer_is_named():
    for name in ("simple_am_proj", "joiner.output", "predictor.embedding"):
        model = transducer(use_ctc=False)
        with torch.no_grad():
            model.transducer.get_submodule(name).weight.fill_(torch.nan)
        sums = TrainingCriterion(model, TrainOptions())(speech(), step=0)
        assert sums.not_finite == [0, 1, 2], name


@pytest.mark.parametrize("prune_range", [0, 3])
def test_delay_penalty_and_fastemit_reach_the_lattice(prune_range):
    model = transducer(use_ctc=False)
    common = {"prune_range": prune_range, "rnnt_warm_step": 1}
    plain, _ = gradients(TrainingCriterion(model, TrainOptions(**common)), speech())
    late = TrainOptions(delay_penalty=0.5, delay_penalty_warm_up=10, **common)
    before, _ = gradients(TrainingCriterion(model, late), speech(), step=0)
    assert before.terms == plain.terms  # the warm-up begins with no penalty
    # a penalty that is the same for all alignments, had each label one place, is no constant here
    after, _ = gradients(TrainingCriterion(model, late), speech(), step=10)
    assert after.terms["transducer_nll"] != pytest.approx(plain.terms["transducer_nll"])
    fast = TrainOptions(fastemit_lambda=0.5, **common)
    sums, found = gradients(TrainingCriterion(model, fast), speech())
    _, slow = gradients(TrainingCriterion(model, TrainOptions(**common)), speech())
    assert sums.terms == pytest.approx(plain.terms, rel=1e-6)  # the gradient alone changes
    name = "model.transducer.joiner.output.weight"
    assert not torch.allclose(found[name], slow[name])


class Extra:
    """Further terms, as distillation has them."""

    names = ("extra",)
    keeps_logits = True

    def __init__(self, rows_not_finite=()):
        self.rows_not_finite = list(rows_not_finite)

    def terms(self, base, outputs, criterion):
        if self.rows_not_finite:
            raise NotFiniteError(self.rows_not_finite)
        values = outputs.logits.float().square().flatten(1).sum(1)
        without = [Term(term.name, 0.0, term.values) for term in base]
        return [*without, Term("extra", 2.0, values)]


@pytest.mark.parametrize("prune_range", [0, 3])
def test_further_terms_join_the_loss(prune_range):
    criterion = TrainingCriterion(transducer(), TrainOptions(prune_range=prune_range))
    criterion.distiller = Extra()
    sums, _ = gradients(criterion, speech())
    assert criterion.term_names[-1] == "extra" and sums.terms["transducer_nll"] > 0
    assert float(sums.loss.detach()) == pytest.approx(2 * sums.terms["extra"])
    criterion.distiller = Extra([1])
    assert criterion(speech(), 0).not_finite == [1]


def test_the_checkpoint_is_that_of_the_model_alone():
    model = transducer()
    criterion = TrainingCriterion(model, TrainOptions())
    assert set(criterion.state_dict()) == {f"model.{name}" for name in model.state_dict()}


def test_a_model_without_a_head_is_refused():
    model = Given()
    model.ctc_output = None
    with pytest.raises(OptionError, match="use_ctc: the model has no head"):
        TrainingCriterion(model, TrainOptions())


@pytest.mark.parametrize(
    "options", [{"delay_penalty": 0.1}, {"fastemit_lambda": 0.1}, {"rnnt_type": "modified"}]
)
def test_what_only_a_transducer_has_is_refused_without_one(options):
    message = f"{next(iter(options))}: is for a transducer, .*add --use-transducer true"
    with pytest.raises(OptionError, match=message):
        TrainingCriterion(Given(), TrainOptions(**options))


def test_infinities_and_nans_are_found_by_row():
    x = torch.zeros(4, 2, 3)
    x[1, 0, 0], x[2, 1, 2], x[3, 0, 1] = torch.nan, torch.inf, -torch.inf
    with pytest.raises(NotFiniteError) as caught:
        require_finite(x, torch.zeros(4, 0))
    assert caught.value.rows == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune_range": 1}, "prune_range: needs at least 2 positions, or 0"),
        ({"am_scale": 0.5, "lm_scale": 0.6}, "am_scale: with lm_scale"),
        ({"rnnt_warm_step": -1}, "rnnt_warm_step: needs at least 0"),
        ({"delay_penalty": -0.1}, "delay_penalty: needs at least 0"),
        ({"fastemit_lambda": -2.0}, "fastemit_lambda: needs at least 0"),
        ({"ctc_loss_scale": float("nan")}, "ctc_loss_scale: needs at least 0, got nan"),
        ({"entropy_loss_scale": float("nan")}, "entropy_loss_scale: needs a number, got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        TrainOptions(**options)


class Letters:
    def encode(self, text: str) -> list[int]:
        if "?" in text:
            raise FsaFormatError("symbol '?' is not in tokens.txt")
        return [ord(letter) - 96 for letter in text]


def lhotse_batch(texts, rows):
    supervisions = {
        "text": texts,
        "num_frames": torch.tensor([7, 5][: len(rows)]),
        "sequence_idx": torch.tensor(rows),
        "cut": [SimpleNamespace(id=f"cut-{row}", supervisions=()) for row in rows],
    }
    return {
        "inputs": torch.arange(2.0).view(2, 1, 1).expand(2, 7, 80),
        "supervisions": supervisions,
    }


def test_rows_follow_the_supervisions():
    read = read_batch(lhotse_batch(["ab", "c"], [1, 0]), Letters())
    assert read.tokens == [[1, 2], [3]] and read.names == ["cut-1", "cut-0"]
    assert read.features[:, 0, 0].tolist() == [1.0, 0.0]


def test_a_transcript_that_cannot_be_tokenised_excludes_its_utterance():
    read = read_batch(lhotse_batch(["a?", "c"], [0, 1]), Letters())
    assert list(read.excluded) == [0] and "symbol '?'" in read.excluded[0]


def test_two_supervisions_in_a_cut_are_refused():
    with pytest.raises(FsaValueError, match=r"cut cut-0 has several.*trim_to_supervisions"):
        read_batch(lhotse_batch(["a", "c"], [0, 0]), Letters())
