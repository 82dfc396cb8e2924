"""Decode test sets with a trained model: hypotheses, alignment entropies, word times.

Nothing that one utterance does stops a run: what cannot be decoded or aligned is listed by name and
cause, and counted.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.asr.data.tokenizer import Tokenizer
from wfst_entropy.asr.data.utterances import Utterances, read_batch
from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance, TimeSpent, reference_times
from wfst_entropy.asr.decode.head_alignment import (
    HeadAlignment,
    ctc_head_alignments,
    transducer_head_alignments,
)
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.search.greedy import GreedySearch
from wfst_entropy.asr.search.method import Hypothesis, Reads, SearchMethod, SearchSetup
from wfst_entropy.asr.search.transducer_greedy import TransducerGreedy
from wfst_entropy.asr.word_pieces import spell_words, words_of_tokens
from wfst_entropy.decoding.alignment import ForcedAlignment, WordSpan, word_spans
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.metrics.latency import WordTime

logger = logging.getLogger(__name__)

_DEFAULT_FRAME_SHIFT = 0.01  # seconds, where a cut does not tell


class Decoder:
    """A model with its vocabulary, ready to decode batches.

    Alignments, their entropies and their times are those of the head that the method reads.

    Args:
      model: with a CTC head, a transducer head or both.
      tokenizer: of the vocabulary that the model was trained with.
      device: where to compute the encoder's output; searches, and the transducer head with them,
        run on the CPU.
      method: how to search, by default the greedy search of the transducer head, or else of the
        CTC head.
      rnnt_type: of the lattice that the transducer head was trained with; its alignments are those.

    Attributes:
      spent: time spent since this was last set anew.
    """

    def __init__(
        self,
        model: AsrModel,
        tokenizer: Tokenizer,
        device: torch.device | str,
        method: SearchMethod | None = None,
        rnnt_type: str = "regular",
    ) -> None:
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.device = torch.device(device)
        # searches ask the head for a few rows at a time, which a GPU would answer no faster
        self.transducer = (
            None if model.transducer is None else copy.deepcopy(model.transducer).cpu()
        )
        self.method = method or self.greedy_method()
        self.rnnt_type = rnnt_type
        self.spent = TimeSpent()

    def greedy_method(self, reads: Reads | None = None) -> SearchMethod:
        """The greedy search of a head, by default of the transducer or else of the CTC head."""
        if reads is None:
            reads = "ctc_log_probs" if self.transducer is None else "encoder_out"
        setup = SearchSetup(self.tokenizer, transducer=self.transducer)
        return GreedySearch(setup) if reads == "ctc_log_probs" else TransducerGreedy(setup)

    @torch.inference_mode()
    def scores(self, utterances: Utterances) -> tuple[Tensor, Tensor]:
        """What the method reads of the model, on the CPU: `(N, T', C or D)` and `(N,)`."""
        features = utterances.features.to(self.device)
        scores, lengths = self.model.forward_encoder(
            features, utterances.num_frames.to(self.device)
        )
        if self.method.reads == "ctc_log_probs":
            scores = self.model.ctc_log_probs(scores)
        return scores.float().cpu(), lengths.cpu()

    @torch.inference_mode()
    def alignments(
        self, scores: Tensor, lengths: Tensor, tokens: Sequence[Sequence[int]]
    ) -> list[HeadAlignment]:
        """How the head that the method reads aligns texts.

        Args:
          scores: of `scores`.
          lengths: likewise.
          tokens: of each text.
        """
        if self.method.reads == "ctc_log_probs" or self.transducer is None:
            return ctc_head_alignments(scores, lengths, tokens)
        return transducer_head_alignments(self.transducer, scores, lengths, tokens, self.rnnt_type)

    def decode(self, batch: dict[str, Any]) -> list[DecodedUtterance]:
        """Decode a batch of lhotse's `K2SpeechRecognitionDataset`.

        Args:
          batch: with the cuts in its supervisions.

        Returns:
          Its utterances; one that cannot be decoded is marked, and harms no other.
        """
        utterances = read_batch(batch, self.tokenizer)
        texts = [text.split() for text in batch["supervisions"]["text"]]
        cuts = list(batch["supervisions"]["cut"])
        try:
            decoded = self._decode(utterances, texts, cuts)
        except (FsaError, RuntimeError) as error:
            if len(cuts) == 1:
                return [DecodedUtterance(cuts[0].id, texts[0], problem=str(error), failed=True)]
            # one of them is to blame: find it, and keep the others
            rows = range(len(cuts))
            decoded = [u for row in rows for u in self.decode(_row(batch, row))]
        # read_batch puts silence in place of features that are not finite; that is no hypothesis
        finite = batch["inputs"].isfinite().flatten(1).all(dim=1)
        for i, row in enumerate(batch["supervisions"]["sequence_idx"]):
            if not finite[row] and not decoded[i].failed:
                problem = decoded[i].problem
                decoded[i] = DecodedUtterance(cuts[i].id, texts[i], problem=problem, failed=True)
        return decoded

    def _decode(
        self, utterances: Utterances, texts: list[list[str]], cuts: list[Any]
    ) -> list[DecodedUtterance]:
        started = time.perf_counter()
        scores, lengths = self.scores(utterances)
        modelled = time.perf_counter()
        hypotheses = self.method.search(scores, lengths, texts)
        self.spent.search += time.perf_counter() - modelled
        self.spent.model += modelled - started
        self.spent.audio += sum(cut.duration for cut in cuts)
        alignments = self.alignments(scores, lengths, utterances.tokens)
        decoded = []
        for row, cut in enumerate(cuts):
            stats, alignment, _ = alignments[row]
            problem = utterances.excluded.get(row, "")
            if not problem and not alignment.valid:
                problem = (
                    f"{int(lengths[row])} frames after subsampling are too few for its "
                    f"{stats.num_labels} tokens, or all its alignments have probability zero"
                )
            aligned, spans = ([], []) if problem else self.aligned_words(alignment, cut)
            decoded.append(
                DecodedUtterance(
                    cut_id=utterances.names[row],
                    ref=texts[row],
                    hyp=hypotheses[row].words,
                    emitted=self._emitted_words(hypotheses[row], cut),
                    confidences=[word.confidence for word in hypotheses[row].times],
                    lattice_entropy=hypotheses[row].entropy,
                    word_entropy=hypotheses[row].word_entropy,
                    stats=None if problem else stats,
                    aligned=aligned,
                    spans=spans,
                    true_times=reference_times(cut),
                    problem=problem,
                    search_problem=hypotheses[row].problem,
                )
            )
        return decoded

    def seconds_per_frame(self, cut: Any) -> float:
        """Seconds between two frames of the model's output."""
        return (cut.frame_shift or _DEFAULT_FRAME_SHIFT) * self.model.subsampling_factor

    def aligned_words(
        self, alignment: ForcedAlignment, cut: Any
    ) -> tuple[list[WordTime], list[WordSpan]]:
        """Words of a forced alignment: names with times in seconds, and the spans."""
        pieces = [self.tokenizer.symbols[span.token] for span in alignment.spans]
        numbers = words_of_tokens(pieces)
        step = self.seconds_per_frame(cut)
        spans = word_spans(alignment.spans, numbers, frame_shift=step)
        words = spell_words(pieces, numbers)
        return [WordTime(w, s.start, s.end) for w, s in zip(words, spans, strict=True)], spans

    def _emitted_words(self, hypothesis: Hypothesis, cut: Any) -> list[WordTime]:
        step = self.seconds_per_frame(cut)
        return [WordTime(w.word, w.start * step, w.end * step) for w in hypothesis.times]


def _row(batch: dict[str, Any], row: int) -> dict[str, Any]:
    """One supervision of a batch as a batch of its own."""
    supervisions = batch["supervisions"]
    index = int(supervisions["sequence_idx"][row])
    frames = int(supervisions["num_frames"][row])
    return {
        "inputs": batch["inputs"][index : index + 1, :frames],
        "supervisions": {
            "text": [supervisions["text"][row]],
            "sequence_idx": torch.tensor([0]),
            "num_frames": torch.tensor([frames]),
            "cut": [supervisions["cut"][row]],
        },
    }


def decode_test_set(
    decoder: Decoder, batches: Iterable[dict[str, Any]], on_batch: Callable[[int], None]
) -> list[DecodedUtterance]:
    """Decode all batches of a test set.

    Args:
      decoder: the model.
      batches: the test set.
      on_batch: told the number of utterances after each batch.

    Returns:
      Its utterances, ordered by name. Those that cannot be decoded or aligned are logged.
    """
    decoded: list[DecodedUtterance] = []
    for batch in batches:
        done = decoder.decode(batch)
        for utterance in done:
            if utterance.problem:
                what = "not decoded" if utterance.failed else "not aligned"
                logger.warning("%s: %s: %s", utterance.cut_id, what, utterance.problem)
            if utterance.search_problem:
                logger.warning("%s: %s", utterance.cut_id, utterance.search_problem)
        decoded += done
        on_batch(len(done))
    return sorted(decoded, key=lambda utterance: utterance.cut_id)
