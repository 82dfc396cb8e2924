"""What a student learns from its teacher, as terms of the training loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.distill_terms import (
    Labels,
    Lattices,
    ctc_distill_terms,
    fullsum,
    transducer_distill_terms,
)
from wfst_entropy.asr.training.loss_terms import (
    BatchOutputs,
    NotFiniteError,
    Term,
    require_finite,
    trained_heads,
)
from wfst_entropy.asr.training.teacher import Teacher, load_teacher
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment

logger = logging.getLogger(__name__)

_HEADS = ("ctc", "transducer")


class HeadPair(NamedTuple):
    """A head of the student, and the head of the teacher that it learns from.

    Attributes:
      student: `ctc` or `transducer`.
      teacher: likewise.
      terms: which of `state_kl`, `seq_kl` and `fullsum` it has.
      same_lattice: whether both score the same lattice.
    """

    student: str
    teacher: str
    terms: tuple[str, ...]
    same_lattice: bool


class Distiller:
    r"""The terms that draw a student to its teacher.

    For each head, times the weight of its NLL (``ctc_loss_scale``, or what the pruned loss has):

    * ``{head}_hard_nll``: :math:`\lambda_{hard}` times the NLL of the pseudo-label, as the loss of
      the transcript but without its entropy; ``simple_hard_nll`` comes with it in windows;
    * ``{head}_state_kl``, ``{head}_seq_kl``, ``{head}_fullsum``: the other three, see
      :func:`ctc_distill_terms` and :func:`transducer_distill_terms`, of the sequence that comes
      first: the transcript; or the pseudo-label where there is none, or ``label_loss_scale`` is 0.

    The terms of the criterion (``{head}_nll``, ``{head}_entropy``, ``simple_nll``) are those of
    the sequence that comes first, weighted by ``label_loss_scale`` or, where that is a
    pseudo-label, by ``hard_distill_loss_scale``; ``{head}_hard_nll`` then repeats them with the
    weight 0. So no lattice is computed twice. Where teacher and transcript agree, neither.

    In evaluation transcripts have the weight 1 if ``label_loss_scale`` is 0: there are no
    pseudo-labels for validation data.

    Args:
      options: The scales.
      train: Of the transducer's lattice: ``rnnt_type``, ``delay_penalty``, ``fastemit_lambda``.
      student: The model that is trained.
      teacher: None where no term asks for it.

    Raises:
      OptionError: when the two models cannot be compared as wanted.
    """

    def __init__(
        self,
        options: DistillOptions,
        train: TrainOptions,
        student: AsrModel,
        teacher: Teacher | None = None,
    ) -> None:
        self.options = options
        self.teacher = teacher
        self._rnnt_type = train.rnnt_type
        # with these the criterion's NLL is not that of the model, or has another gradient
        self._plain_nll = not (train.delay_penalty or train.fastemit_lambda)
        heads = trained_heads(student, train)
        self.pairs = () if teacher is None else pair_heads(options, student, teacher, heads)
        nlls = [f"{head}_hard_nll" for head in heads]
        if student.transducer is not None and train.prune_range:
            nlls.append("simple_hard_nll")
        self.names = (
            *(nlls if options.pseudo_labels is not None else ()),
            *(f"{pair.student}_{term}" for pair in self.pairs for term in pair.terms),
        )
        self.keeps_logits = any(
            pair.student == "transducer" and "state_kl" in pair.terms for pair in self.pairs
        )
        self._told: set[str] = set()

    def terms(
        self, base: Sequence[Term], outputs: BatchOutputs, criterion: TrainingCriterion
    ) -> list[Term]:
        """The criterion's terms with their new weights, and those of the distillation.

        Args:
          base: The criterion's own.
          outputs: What they were computed from.
          criterion: For the terms of other label sequences.

        Raises:
          NotFiniteError: when the output of a network is not finite.
        """
        weights = self._weights(outputs, criterion.training)
        terms = [Term(term.name, term.scale * weights, term.values) for term in base]
        if self.options.pseudo_labels is not None:
            terms += self._hard_terms(base, outputs, criterion)
        if self.pairs:
            terms += self._teacher_terms({term.name: term for term in base}, outputs)
        return terms

    def _weights(self, outputs: BatchOutputs, training: bool) -> float | Tensor:
        """What the NLL of the sequence that comes first counts, one number or ``(N,)``."""
        label, hard = self.options.label_loss_scale, self.options.hard_distill_loss_scale
        if not training and label == 0:
            label = 1.0
        from_teacher = outputs.utterances.from_teacher
        if len(from_teacher) in (0, len(outputs.utterances)):
            return hard if from_teacher else label
        rows = range(len(outputs.utterances))
        weights = [hard if row in from_teacher else label for row in rows]
        return torch.tensor(weights, device=outputs.encoder_out.device)

    def _hard_terms(
        self, base: Sequence[Term], outputs: BatchOutputs, criterion: TrainingCriterion
    ) -> list[Term]:
        """The NLL of pseudo-labels, in the names and with the scales of the criterion's terms."""
        utterances, hard = outputs.utterances, self.options.hard_distill_loss_scale
        second = utterances.teacher_tokens
        equal = [row for row, tokens in second.items() if tokens == utterances.tokens[row]]
        other = self._with_path(outputs, criterion) if hard > 0 else []
        known = torch.zeros(len(utterances), dtype=torch.bool)
        known[[*equal, *utterances.from_teacher]] = True
        counted = torch.zeros(len(utterances))
        counted[[*equal, *other]] = hard
        again = self._terms_of(other, outputs, criterion) if other else {}
        terms = []
        for term in base:
            name = term.name.replace("_nll", "_hard_nll")
            if name not in self.names:
                continue
            values = torch.where(known.to(term.values.device), term.values, 0.0)
            if other:
                place = torch.tensor(other, device=values.device)
                values = values.index_copy(0, place, again[term.name].to(values.dtype))
            terms.append(Term(name, term.scale * counted.to(values), values))
        return terms

    def _with_path(self, outputs: BatchOutputs, criterion: TrainingCriterion) -> list[int]:
        """Utterances whose pseudo-label is another than the transcript, and has an alignment."""
        rows = []
        for row, tokens in outputs.utterances.teacher_tokens.items():
            if tokens == outputs.utterances.tokens[row]:
                continue
            needed, frames = criterion.min_num_frames(tokens), int(outputs.lengths[row])
            if frames >= needed:
                rows.append(row)
            elif (name := outputs.utterances.names[row]) not in self._told:
                self._told.add(name)
                logger.warning(
                    "%s learns from its transcript alone: %d frames after subsampling, its "
                    "pseudo-label of %d tokens needs %d",
                    *(name, frames, len(tokens), needed),
                )
        return rows

    def _terms_of(
        self, rows: list[int], outputs: BatchOutputs, criterion: TrainingCriterion
    ) -> dict[str, Tensor]:
        """The criterion's terms of some utterances, for their pseudo-labels."""
        utterances = outputs.utterances.select(rows)
        utterances.tokens = [outputs.utterances.teacher_tokens[row] for row in rows]
        device, log_probs = outputs.encoder_out.device, outputs.ctc_log_probs
        longest = int(outputs.lengths[rows].max())
        part = BatchOutputs(
            utterances,
            outputs.step,
            *utterances.padded_tokens(device),
            outputs.encoder_out[rows, :longest],
            outputs.lengths[rows],
            None if log_probs is None else log_probs[rows, :longest],
        )
        try:
            return {term.name: term.values for term in criterion.head_terms(part)}
        except NotFiniteError as error:
            raise NotFiniteError([rows[row] for row in error.rows]) from error

    def _teacher_terms(self, base: dict[str, Term], outputs: BatchOutputs) -> list[Term]:
        assert self.teacher is not None  # or there were no pairs of heads
        device = outputs.encoder_out.device
        features = outputs.utterances.features.to(device)
        encoded = self.teacher.encode(features, outputs.utterances.num_frames.to(device))
        require_finite(encoded[0])
        scales = {
            "state_kl": self.options.state_distill_loss_scale,
            "seq_kl": self.options.seq_distill_loss_scale,
            "fullsum": self.options.fullsum_distill_loss_scale,
        }
        terms = []
        for pair in self.pairs:
            nll = base[f"{pair.student}_nll"]
            found = self._compared(pair, nll.values, encoded, outputs)
            terms += [
                Term(f"{pair.student}_{name}", nll.scale * scales[name], found[name])
                for name in pair.terms
            ]
        return terms

    def _compared(
        self,
        pair: HeadPair,
        nll: Tensor,
        encoded: tuple[Tensor, Tensor],
        outputs: BatchOutputs,
    ) -> dict[str, Tensor]:
        """The values of a pair's terms."""
        # CTC has neither a penalty nor FastEmit
        known = nll if self._plain_nll or pair.student == "ctc" else None
        labels = Labels(outputs.targets, outputs.lengths, outputs.target_lengths)
        if not pair.same_lattice:
            return {"fullsum": self._fullsum(pair, known, encoded, labels, outputs)}
        assert self.teacher is not None
        encoder_out, frames = encoded
        self._require_same_frames(frames, outputs)
        size = outputs.encoder_out.shape[1]
        encoder_out = torch.nn.functional.pad(encoder_out, (0, 0, 0, size - encoder_out.shape[1]))
        if pair.student == "ctc":
            log_probs = outputs.ctc_log_probs
            assert log_probs is not None  # the student has the head
            teacher = self.teacher.ctc_log_probs(encoder_out)
            with torch.autocast(encoder_out.device.type, enabled=False):
                return ctc_distill_terms(log_probs, teacher, labels, self.options, known)
        assert outputs.logits is not None
        lattices = Lattices(
            outputs.logits,
            self.teacher.logits(encoder_out, outputs.targets, outputs.ranges),
            outputs.ranges,
            outputs.arc_scores,
            self._rnnt_type,
        )
        with torch.autocast(encoder_out.device.type, enabled=False):
            return transducer_distill_terms(lattices, labels, self.options, known)

    def _fullsum(
        self,
        pair: HeadPair,
        student_nll: Tensor | None,
        encoded: tuple[Tensor, Tensor],
        labels: Labels,
        outputs: BatchOutputs,
    ) -> Tensor:
        """The squared difference of likelihoods over two lattices."""
        assert self.teacher is not None
        lengths = (labels.frames, labels.lengths)
        teacher_nll = self.teacher.nll(
            pair.teacher, *encoded, labels.targets, labels.lengths, self._rnnt_type
        )
        with torch.autocast(labels.targets.device.type, enabled=False):
            if student_nll is None:
                scores = outputs.arc_scores
                assert scores is not None  # only a transducer's NLL is not known
                student_nll = rnnt_grid_alignment(*scores, *lengths, rnnt_type=self._rnnt_type).nll
            return fullsum(student_nll, teacher_nll.to(student_nll))

    def _require_same_frames(self, frames: Tensor, outputs: BatchOutputs) -> None:
        for row in (frames != outputs.lengths).nonzero().flatten().tolist()[:1]:
            assert self.teacher is not None
            raise FsaRuntimeError(
                f"{outputs.utterances.names[row]}: the teacher in {self.teacher.name} makes "
                f"{int(frames[row])} frames of it, the student {int(outputs.lengths[row])}; "
                "--state-distill-loss-scale and --seq-distill-loss-scale need as many"
            )


def make_distiller(
    options: DistillOptions, train: TrainOptions, student: AsrModel, lang_dir: Path
) -> Distiller:
    """A distiller with its teacher, where a term asks for one.

    Args:
      options: Scales, and the run of the teacher.
      train: Of the student.
      student: The model that is trained.
      lang_dir: The student's.

    Raises:
      CheckpointError, OptionError: see `load_teacher` and :class:`Distiller`.
    """
    folder = options.teacher_exp_dir
    if folder is not None and folder.resolve() == train.exp_dir.resolve():
        raise OptionError(
            f"teacher_exp_dir: {folder} is the folder of the student too, whose training would go "
            "on from the teacher's checkpoints; give the student another --exp-dir"
        )
    teacher = load_teacher(options, lang_dir) if options.needs_teacher else None
    distiller = Distiller(options, train, student, teacher)
    for pair in distiller.pairs:
        logger.info(
            "distillation: %s of the student's %s from the %s of %s",
            *(", ".join(pair.terms), pair.student, pair.teacher, options.teacher_exp_dir),
        )
    return distiller


def pair_heads(
    options: DistillOptions,
    student: AsrModel,
    teacher: Teacher,
    heads: Sequence[str] = _HEADS,
) -> tuple[HeadPair, ...]:
    """Which head learns what from which.

    A head learns from the teacher's head of its kind; where there is none, the likelihoods of the
    other one serve for ``fullsum``. ``state_kl`` and ``seq_kl`` need the same lattice: the same
    kind of head, and the same frame rate.

    Args:
      options: Which terms are wanted.
      student: The model that is trained.
      teacher: The other.
      heads: Of the student, those that have a loss.

    Raises:
      OptionError: when the vocabularies differ in size, or a wanted term has no pair of heads.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(encoder_dim=8, num_layers=1, vocab_size=5))
    >>> options = DistillOptions(teacher_exp_dir="exp/teacher", seq_distill_loss_scale=0.01)
    >>> pair_heads(options, model, Teacher(model, "exp/teacher"))
    (HeadPair(student='ctc', teacher='ctc', terms=('seq_kl',), same_lattice=True),)
    """
    if teacher.model.vocab_size != student.vocab_size:
        raise OptionError(
            f"teacher_exp_dir: the teacher in {teacher.name} has {teacher.model.vocab_size} "
            f"tokens, the student {student.vocab_size}; train the student with the teacher's lang "
            "directory (--lang-dir)"
        )
    aligned = {
        "state_kl": options.state_distill_loss_scale > 0,
        "seq_kl": options.seq_distill_loss_scale > 0,
    }
    wanted = tuple(name for name, is_wanted in aligned.items() if is_wanted)
    same_rate = teacher.model.subsampling_factor == student.subsampling_factor
    pairs = []
    for head, part in zip(_HEADS, (student.ctc_output, student.transducer)):
        if part is None or head not in heads:
            continue
        same_lattice = head in teacher.heads and same_rate
        terms = wanted if same_lattice else ()
        if options.fullsum_distill_loss_scale > 0:
            terms = (*terms, "fullsum")
        if terms:
            source = head if head in teacher.heads else teacher.heads[0]
            pairs.append(HeadPair(head, source, terms, same_lattice))
    if wanted and not any(pair.same_lattice for pair in pairs):
        raise _no_common_lattice(wanted[0], student, teacher, same_rate)
    return tuple(pairs)


def _no_common_lattice(
    term: str, student: AsrModel, teacher: Teacher, same_rate: bool
) -> OptionError:
    name = f"{term.removesuffix('_kl')}_distill_loss_scale"
    if not same_rate:
        return OptionError(
            f"{name}: compares frame by frame, but the teacher in {teacher.name} has one frame for "
            f"{teacher.model.subsampling_factor} of the features, the student one for "
            f"{student.subsampling_factor}; use --hard-distill-loss-scale and "
            "--fullsum-distill-loss-scale, which need no common frames, or train the student with "
            "the teacher's --subsampling-factor and --time-reduction"
        )
    own = "CTC" if student.transducer is None else "transducer"
    return OptionError(
        f"{name}: the lattice of a {own} student is not that of the teacher in {teacher.name}, "
        f"which has {' and '.join(teacher.heads)}; use --hard-distill-loss-scale and "
        "--fullsum-distill-loss-scale, which need no common lattice, or give the student the "
        "teacher's head too (--use-ctc, --use-transducer)"
    )
