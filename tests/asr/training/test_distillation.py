"""What a student learns from its teacher: weights of labels, pairs of heads, both engines."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

import wfst_entropy._native as _native
from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.models.predictor import StatelessPredictor
from wfst_entropy.asr.models.transducer_head import TransducerHead
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.distillation import Distiller, make_distiller, pair_heads
from wfst_entropy.asr.training.loss_terms import NotFiniteError
from wfst_entropy.asr.training.teacher import Teacher, resolved
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.losses import ctc_alignment_kl, ctc_loss, rnnt_loss, rnnt_soft_distillation

FRAMES = [8, 6, 5]
TOKENS = [[1, 2], [3], [2, 2, 1]]
SCALES = ("hard", "state", "seq", "fullsum")


class Toy(nn.Module):
    """A model whose encoder is one linear map, in float64; ``factor`` features make a frame."""

    def __init__(self, seed=0, use_ctc=True, use_transducer=True, factor=1, vocab_size=4):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Linear(3, 6)
        self.ctc_output = nn.Linear(6, vocab_size) if use_ctc else None
        self.transducer = None
        if use_transducer:
            predictor = StatelessPredictor(vocab_size, 5, context_size=2)
            self.transducer = TransducerHead(predictor, 6, 5, 7, vocab_size)
        self.subsampling_factor, self.vocab_size = factor, vocab_size
        self.double()

    def forward_encoder(self, features, lengths):
        factor = self.subsampling_factor
        return self.encoder(features[:, ::factor]).tanh(), -(-lengths // factor)

    def ctc_log_probs(self, encoder_out):
        return self.ctc_output(encoder_out).log_softmax(-1)


def speech(from_teacher=(), teacher_tokens=None, num=3):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 8, 3, dtype=torch.float64, generator=generator)[:num]
    tokens, names = [list(row) for row in TOKENS[:num]], ["a", "b", "c"][:num]
    lengths = torch.tensor(FRAMES[:num])
    return Utterances(
        features, lengths, tokens, names, {}, set(from_teacher), dict(teacher_tokens or {})
    )


def options_of(**scales):
    named = {
        name if name == "label_loss_scale" else f"{name}_distill_loss_scale": value
        for name, value in scales.items()
        if name in (*SCALES, "label_loss_scale")
    }
    others = {
        name: value for name, value in scales.items() if name not in (*SCALES, "label_loss_scale")
    }
    needs_teacher = any(scales.get(name, 0) > 0 for name in SCALES[1:])
    return DistillOptions(
        teacher_exp_dir=Path("exp/teacher") if needs_teacher else None,
        pseudo_labels=Path("labels.jsonl")
        if "hard" in scales or "label_loss_scale" in scales
        else None,
        **named,
        **others,
    )


def criterion_of(options, train=None, student=None, teacher=None, dtype=torch.float32):
    train = train or TrainOptions(prune_range=0)
    student = student or Toy(0)
    criterion = TrainingCriterion(student, train, dtype)
    with_teacher = Teacher(teacher or Toy(1), "exp/teacher") if options.needs_teacher else None
    criterion.distiller = Distiller(options, train, student, with_teacher)
    return criterion


def loss_and_gradients(criterion, batch, step=5000):
    sums = criterion(batch, step)
    parameters = dict(criterion.model.named_parameters())
    found = torch.autograd.grad(sums.loss, list(parameters.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(parameters.items(), found)
    }
    return sums, gradients


COMBINATIONS = [
    dict.fromkeys(names, 0.3)
    for size in range(1, 5)
    for names in itertools.combinations(SCALES, size)
]
BOTH_LABELS = {"from_teacher": {1}, "teacher_tokens": {0: [1, 2, 3], 2: [2, 2, 1]}}


def compare_engines(combination, train, heads, **options):
    wanted = options_of(**combination, **options)
    results = []
    for disabled in (False, True):
        student, teacher = Toy(0, *heads), Toy(1, *heads)
        criterion = criterion_of(wanted, train, student, teacher)
        batch = speech(**BOTH_LABELS) if "hard" in combination else speech()
        if disabled:
            with _native.disabled():
                results.append(loss_and_gradients(criterion, batch))
        else:
            results.append(loss_and_gradients(criterion, batch))
    (ours, gradients), (others, other) = results
    assert set(ours.terms) == set(criterion.term_names)
    assert ours.terms == pytest.approx(others.terms, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(gradients, other, rtol=1e-8, atol=1e-11)


def test_the_engines_agree_on_all_terms_together():
    train = TrainOptions(prune_range=0, entropy_loss_scale=0.1)
    compare_engines(COMBINATIONS[-1], train, (True, True), label_loss_scale=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda names: "+".join(names))
@pytest.mark.parametrize("kind", ["conditional", "raw"])
@pytest.mark.parametrize(
    ("use_ctc", "rnnt_type"),
    [(True, None), *itertools.product([False, True], ["regular", "modified", "constrained"])],
)
def test_the_engines_agree_on_every_combination(combination, kind, use_ctc, rnnt_type):
    heads = (use_ctc, rnnt_type is not None)
    of_transducer = {"rnnt_type": rnnt_type, "fastemit_lambda": 0.01} if rnnt_type else {}
    train = TrainOptions(prune_range=0, entropy_loss_scale=0.1, **of_transducer)
    compare_engines(combination, train, heads, seq_distill_kind=kind)


def test_the_loss_is_the_sum_of_its_parts():
    """On the whole lattice, against the losses by themselves."""
    student, teacher = Toy(0), Toy(1)
    scales = {"label_loss_scale": 0.5, "hard": 0.7, "state": 0.2, "seq": 0.3, "fullsum": 0.1}
    train = TrainOptions(prune_range=0, ctc_loss_scale=0.4)
    criterion = criterion_of(options_of(**scales), train, student, teacher)
    second = {0: [3], 1: [3], 2: [1, 3]}  # of the second utterance both are the same
    sums = criterion(speech(teacher_tokens=second), step=0)

    def heads(model, tokens):
        out, lengths = model.forward_encoder(speech().features, speech().num_frames)
        targets, counts = Utterances(out, lengths, tokens, ["a"] * 3).padded_tokens(out.device)
        head = model.transducer
        lm = head.joiner.decoder_proj(head.predictor(targets))
        logits = head.joiner(head.joiner.encoder_proj(out)[:, :, None], lm[:, None])
        return model.ctc_log_probs(out), logits, (targets, lengths, counts)

    ctc, logits, labels = heads(student, TOKENS)
    ctc_teacher, logits_teacher, _ = heads(teacher, TOKENS)
    ctc_hard, logits_hard, hard_labels = heads(student, [second[0], second[1], second[2]])
    nll = rnnt_loss(logits, *labels, reduction="none")
    teacher_nll = rnnt_loss(logits_teacher, *labels, reduction="none")
    wanted = {
        "ctc_nll": ctc_loss(ctc, *labels, reduction="sum"),
        "ctc_hard_nll": ctc_loss(ctc_hard, *hard_labels, reduction="sum"),
        "ctc_seq_kl": ctc_alignment_kl(ctc, ctc_teacher, *labels).kl.sum(),
        "transducer_nll": nll.sum(),
        "transducer_hard_nll": rnnt_loss(logits_hard, *hard_labels, reduction="sum"),
        "transducer_state_kl": rnnt_soft_distillation(
            logits, logits_teacher, *labels, reduction="sum"
        ),
        "transducer_fullsum": (nll - teacher_nll).square().sum(),
    }
    for name, value in wanted.items():
        assert sums.terms[name] == pytest.approx(value.item(), rel=1e-6), name
    weights = {"nll": 0.5, "entropy": 0.0, "hard_nll": 0.7}
    weights |= {"state_kl": 0.2, "seq_kl": 0.3, "fullsum": 0.1}
    total = sum(
        (0.4 if head == "ctc" else 1.0) * weights[term] * value
        for (head, term), value in ((name.split("_", 1), x) for name, x in sums.terms.items())
    )
    assert float(sums.loss.detach()) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("prune_range", [0, 2])
def test_a_student_that_is_its_teacher_learns_nothing_from_it(prune_range):
    train = TrainOptions(prune_range=prune_range)
    options = options_of(state=1.0, seq=1.0, fullsum=1.0)
    with_teacher = criterion_of(options, train, Toy(0), Toy(0))
    alone = TrainingCriterion(Toy(0), train)
    sums, gradients = loss_and_gradients(with_teacher, speech())
    _, expected = loss_and_gradients(alone, speech())
    for name, value in sums.terms.items():
        if name.endswith(("kl", "fullsum")):
            assert value == pytest.approx(0.0, abs=1e-10), name
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("prune_range", "rnnt_type"),
    [
        (2, "regular"),
        *(
            pytest.param(prune_range, rnnt_type, marks=pytest.mark.slow)
            for prune_range in (0, 2)
            for rnnt_type in ("regular", "modified", "constrained")
        ),
    ],
)
def test_batches_change_nothing(prune_range, rnnt_type):
    """Shorter batches have less padding; windows are chosen for each utterance by itself."""
    train = TrainOptions(prune_range=prune_range, rnnt_type=rnnt_type, ctc_loss_scale=0.3)
    criterion = criterion_of(options_of(hard=0.5, state=0.2, seq=0.3, fullsum=0.1), train)
    batch = speech(from_teacher={1}, teacher_tokens={0: [3], 2: [1, 3]})
    whole, gradients = loss_and_gradients(criterion, batch)
    parts = [loss_and_gradients(criterion, batch.select([row])) for row in range(3)]
    for name, value in whole.terms.items():
        assert value == pytest.approx(sum(sums.terms[name] for sums, _ in parts), rel=1e-5), name
    for name, gradient in gradients.items():
        apart = sum(each[name] for _, each in parts)
        torch.testing.assert_close(gradient, apart, rtol=1e-4, atol=1e-5)


def test_an_utterance_that_is_left_out_takes_nothing_with_it():
    criterion = criterion_of(options_of(hard=0.5, state=0.2, seq=0.3, fullsum=0.1))
    batch = speech(from_teacher={1}, teacher_tokens={0: [3], 2: [1, 3]})
    batch.excluded[0] = "the longest, so that the others have padding"
    sums, rest = criterion(batch, 0), criterion(batch.select([1, 2]), 0)
    assert sums.terms == pytest.approx(rest.terms)
    assert list(sums.excluded) == ["a (0.08 s)"]


class TestLabels:
    def sums(self, batch, **scales):
        return criterion_of(options_of(**scales), student=Toy(0, use_transducer=False))(batch, 0)

    def test_pseudo_labels_in_place_of_transcripts_are_the_plain_loss(self):
        hard = self.sums(speech(from_teacher={0, 1, 2}), hard=1.0, label_loss_scale=0.0)
        plain = TrainingCriterion(Toy(0, use_transducer=False), TrainOptions())(speech(), 0)
        torch.testing.assert_close(hard.loss, plain.loss)
        assert hard.terms["ctc_hard_nll"] == hard.terms["ctc_nll"]

    def test_each_utterance_has_the_weight_of_its_label(self):
        mixed = self.sums(speech(from_teacher={1}), hard=0.25, label_loss_scale=2.0)
        alone = [
            TrainingCriterion(Toy(0, use_transducer=False), TrainOptions())(
                speech().select([row]), 0
            ).loss
            for row in range(3)
        ]
        torch.testing.assert_close(mixed.loss, 2 * alone[0] + 0.25 * alone[1] + 2 * alone[2])
        assert mixed.terms["ctc_hard_nll"] == pytest.approx(float(alone[1].detach()))

    def test_what_teacher_and_transcript_agree_on_is_computed_once(self, monkeypatch):
        calls = []
        plain = TrainingCriterion.head_terms
        monkeypatch.setattr(
            TrainingCriterion,
            "head_terms",
            lambda self, outputs: calls.append(outputs.utterances.names) or plain(self, outputs),
        )
        same = {row: list(tokens) for row, tokens in enumerate(TOKENS)}
        sums = self.sums(speech(teacher_tokens=same), hard=0.5)
        assert calls == [["a", "b", "c"]]
        assert sums.terms["ctc_hard_nll"] == sums.terms["ctc_nll"]
        assert float(sums.loss.detach()) == pytest.approx(1.5 * sums.terms["ctc_nll"])
        self.sums(speech(teacher_tokens=same | {1: [1]}), hard=0.5)
        assert calls[1:] == [["a", "b", "c"], ["b"]]

    def test_a_pseudo_label_without_alignment_is_named_once(self, caplog):
        criterion = criterion_of(options_of(hard=0.5), student=Toy(0, use_transducer=False))
        for _ in range(2):
            sums = criterion(speech(teacher_tokens={1: [1] * 5}), 0)
        assert sums.terms["ctc_hard_nll"] == 0 and sums.num_utterances == 3
        assert [record.getMessage() for record in caplog.records] == [
            "b learns from its transcript alone: 6 frames after subsampling, its pseudo-label of 5 "
            "tokens needs 9"
        ]

    def test_validation_has_transcripts_only(self):
        criterion = criterion_of(
            options_of(hard=0.5, label_loss_scale=0.0), student=Toy(0, use_transducer=False)
        )
        sums = criterion.eval()(speech(), 0)
        assert float(sums.loss.detach()) == pytest.approx(sums.terms["ctc_nll"])
        assert sums.terms["ctc_hard_nll"] == 0

    def test_nan_in_a_pseudo_labels_own_pass_names_the_utterance(self, monkeypatch):
        plain = TrainingCriterion.head_terms

        def broken(self, outputs):
            if len(outputs.utterances) == 1:
                raise NotFiniteError([0])
            return plain(self, outputs)

        monkeypatch.setattr(TrainingCriterion, "head_terms", broken)
        assert self.sums(speech(teacher_tokens={1: [1]}), hard=0.5).not_finite == [1]


class TestPairsOfHeads:
    def pairs(self, student=(True, True), teacher=(True, True), rates=(1, 1), **scales):
        options = options_of(**(scales or {"state": 0.1, "seq": 0.1, "fullsum": 0.1}))
        one, other = Toy(0, *student, factor=rates[0]), Toy(1, *teacher, factor=rates[1])
        return pair_heads(options, one, Teacher(other, "exp/teacher"))

    def test_each_head_learns_from_its_like(self):
        terms = ("state_kl", "seq_kl", "fullsum")
        assert self.pairs() == (
            ("ctc", "ctc", terms, True),
            ("transducer", "transducer", terms, True),
        )

    def test_a_ctc_head_of_weight_0_learns_nothing(self):
        train = TrainOptions(prune_range=0, ctc_loss_scale=0.0)
        criterion = criterion_of(options_of(hard=0.5, state=0.1, fullsum=0.1), train)
        sums, gradients = loss_and_gradients(criterion, speech(**BOTH_LABELS))
        assert not any(name.startswith("ctc") for name in (*criterion.term_names, *sums.terms))
        assert not gradients["ctc_output.weight"].any()
        assert gradients["transducer.joiner.output.weight"].any()

    def test_a_head_without_its_like_learns_likelihoods(self):
        assert self.pairs(teacher=(True, False))[1] == ("transducer", "ctc", ("fullsum",), False)
        assert self.pairs((True, False), (False, True), fullsum=1.0) == (
            ("ctc", "transducer", ("fullsum",), False),
        )

    def test_other_frames_have_likelihoods_in_common(self):
        found = self.pairs(rates=(1, 2), fullsum=1.0)
        assert [pair.same_lattice for pair in found] == [False, False]

    @pytest.mark.parametrize("scale", ["state", "seq"])
    def test_frames_that_do_not_match_are_refused_with_the_next_step(self, scale):
        with pytest.raises(OptionError, match=f"{scale}_distill_loss_scale: .*one frame for 2 of"):
            self.pairs(rates=(1, 2), **{scale: 0.1})
        with pytest.raises(OptionError, match="use --hard-distill-loss-scale and --fullsum"):
            self.pairs(rates=(1, 2), **{scale: 0.1})

    @pytest.mark.parametrize("scale", ["state", "seq"])
    def test_lattices_of_other_heads_are_refused_with_the_reason(self, scale):
        message = f"{scale}_distill_loss_scale: the lattice of a CTC student .* has transducer;"
        with pytest.raises(OptionError, match=message):
            self.pairs((True, False), (False, True), **{scale: 0.1})

    def test_another_vocabulary_is_refused(self):
        options = options_of(fullsum=1.0)
        with pytest.raises(OptionError, match="has 5 tokens, the student 4"):
            pair_heads(options, Toy(0), Teacher(Toy(1, vocab_size=5), "exp/teacher"))


@pytest.mark.parametrize(
    ("student", "teacher", "rate"),
    [
        ((False, True), (True, False), 2),
        *(
            pytest.param(student, teacher, rate, marks=pytest.mark.slow)
            for student in ((True, False), (False, True), (True, True))
            for teacher in ((True, False), (False, True))
            for rate in (1, 2)
        ),
    ],
)
def test_full_sums_need_no_common_frames(student, teacher, rate):
    """The difference of log-likelihoods, each of a model's own frames and head."""
    models = Toy(0, *student), Toy(1, *teacher, factor=rate)
    of_transducer = {"delay_penalty": 0.1} if student[1] else {}
    train = TrainOptions(prune_range=0, **of_transducer)
    criterion = criterion_of(options_of(fullsum=1.0), train, *models)
    batch = speech(num=2)
    sums, gradients = loss_and_gradients(criterion, batch)
    plain = TrainingCriterion(models[0], TrainOptions(prune_range=0))
    own = TrainingCriterion(models[1], TrainOptions(prune_range=0))
    for pair in criterion.distiller.pairs:
        differences = [
            plain(batch.select([row]), 0).terms[f"{pair.student}_nll"]
            - own(batch.select([row]), 0).terms[f"{pair.teacher}_nll"]
            for row in range(2)
        ]
        wanted = sum(x * x for x in differences)
        assert sums.terms[f"{pair.student}_fullsum"] == pytest.approx(wanted, rel=1e-6)
    assert any(bool(gradient.any()) for gradient in gradients.values())


class TestTeacher:
    def test_a_folder_without_a_run_is_named(self, tmp_path):
        options = DistillOptions(teacher_exp_dir=tmp_path, seq_distill_loss_scale=1.0)
        with pytest.raises(OptionError, match=r"teacher_exp_dir: .* has no epoch-N\.pt; train"):
            resolved(options)

    def test_the_students_own_folder_is_refused(self, tmp_path):
        options = DistillOptions(teacher_exp_dir=tmp_path / "a" / "..", seq_distill_loss_scale=1.0)
        with pytest.raises(OptionError, match="is the folder of the student too"):
            make_distiller(options, TrainOptions(exp_dir=tmp_path), Toy(0), tmp_path)

    def test_it_is_neither_trained_nor_saved(self):
        student, teacher = Toy(0), Toy(1)
        criterion = criterion_of(options_of(state=1.0, seq=1.0), None, student, teacher)
        criterion.train()
        assert not teacher.training
        assert not any(p.requires_grad for p in teacher.parameters())
        assert set(criterion.state_dict()) == {f"model.{name}" for name in student.state_dict()}
        assert len(list(criterion.parameters())) == len(list(student.parameters()))
        criterion(speech(), 0).loss.backward()
        assert all(p.grad is None for p in teacher.parameters())

    def test_one_that_makes_nan_is_named_by_utterance(self):
        class Broken(Toy):
            def forward_encoder(self, features, lengths):
                out, lengths = super().forward_encoder(features, lengths)
                return out.index_fill(0, torch.tensor([1]), torch.nan), lengths

        criterion = criterion_of(options_of(seq=1.0), None, Toy(0), Broken(1))
        assert criterion(speech(), 0).not_finite == [1]

    def test_frames_that_do_not_match_after_all_are_told(self):
        class Late(Toy):
            def forward_encoder(self, features, lengths):
                out, lengths = super().forward_encoder(features, lengths)
                return out, lengths - 1

        criterion = criterion_of(options_of(seq=1.0), None, Toy(0), Late(1))
        with pytest.raises(FsaRuntimeError, match=r"a: the teacher .* makes 7 frames of it, .* 8"):
            criterion(speech(), 0)

    @pytest.mark.parametrize(
        ("encoder", "teachers_factor"),
        [
            ("lstm", 4),
            *(
                pytest.param(encoder, factor, marks=pytest.mark.slow)
                for encoder in ("tdnn", "lstm", "conformer")
                for factor in (4, 2)
            ),
        ],
    )
    def test_in_bfloat16_terms_are_near_those_of_float32(self, encoder, teachers_factor):
        train = TrainOptions(prune_range=3)
        sizes = {"encoder_dim": 16, "num_layers": 1, "vocab_size": 5, "use_transducer": True}
        torch.manual_seed(0)
        student, teacher = (
            build_model(ModelOptions(encoder=encoder, subsampling_factor=factor, **sizes))
            for factor in (4, teachers_factor)
        )
        features = torch.randn(2, 60, 80) * 4 - 8
        batch = Utterances(features, torch.tensor([60, 40]), [[1, 2], [3]], ["a", "b"])
        same = {"state": 1.0, "seq": 1.0, "distill_temperature": 2.0}
        options = options_of(fullsum=1.0, **(same if teachers_factor == 4 else {}))
        sums = []
        for dtype in (torch.float32, torch.bfloat16):
            criterion = criterion_of(options, train, student, teacher, dtype).eval()
            sums.append(criterion(batch, 0).terms)
        assert len(sums[0]) == 5 + (6 if teachers_factor == 4 else 2)
        assert sums[1] == pytest.approx(sums[0], rel=0.1, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seq": 0.1, "teacher_exp_dir": None}, "seq_distill_loss_scale: .*--teacher-exp-dir"),
        (
            {"teacher_exp_dir": Path("t")},
            "teacher_exp_dir: nothing is learnt from the teacher in t",
        ),
        ({"hard": 1.0, "pseudo_labels": None}, "hard_distill_loss_scale: needs .*pseudo_label.py"),
        ({"label": 0.0}, "label_loss_scale: 0 leaves the transcripts out"),
        ({"pseudo_labels": Path("p")}, "pseudo_labels: nothing is learnt from p"),
        ({"state": -0.1}, "state_distill_loss_scale: needs 0 or more, got -0.1"),
        ({"distill_temperature": 0.0}, "distill_temperature: needs a number above 0"),
        ({"teacher_avg": 0}, "teacher_avg: needs at least 1, got 0"),
        (
            {
                "seq": 1.0,
                "teacher_exp_dir": Path("t"),
                "seq_distill_kind": "raw",
                "distill_temperature": 2.0,
            },
            "distill_temperature: 2 changes how likely .* --seq-distill-kind conditional",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    names = {"label": "label_loss_scale"} | {name: f"{name}_distill_loss_scale" for name in SCALES}
    with pytest.raises(OptionError, match=message):
        DistillOptions(**{names.get(name, name): value for name, value in options.items()})
