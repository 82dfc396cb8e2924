"""CTC training graphs of transcripts in words: through a lexicon, or in word pieces."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.algorithms import compose, ctc_compose, remove_epsilon
from wfst_entropy.fsa import (
    EmptyGraphError,
    Fsa,
    FsaValueError,
    RaggedTensor,
)
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.spelling import load_bpe_model
from wfst_entropy.lang.symbols import UNKNOWN_WORD
from wfst_entropy.semirings import LogSemiring
from wfst_entropy.topologies import ctc_graph, linear_fsa

_log = logging.getLogger(__name__)
_TOPOLOGIES = ("standard", "modified")


class CtcTrainingGraphCompiler:
    """CTC graphs of transcripts in words, with all pronunciations that the lexicon has.

    Args:
      lang: a lang directory with `L.pt`.
      unknown: the word that stands for those that are not in `words.txt`; it must be in the
        lexicon. How many there were is logged.
      topology: `"standard"` or `"modified"`, as of `ctc_topo`.

    Raises:
      FsaValueError: another topology.

    Example:
      >>> import tempfile
      >>> from wfst_entropy.lang import Lexicon, write_lang_dir
      >>> words = [("READ", ["R", "EH", "D"]), ("READ", ["R", "IY", "D"]), ("<UNK>", ["SPN"])]
      >>> lang = write_lang_dir(Path(tempfile.mkdtemp()) / "lang_phone", Lexicon(words))
      >>> graphs = CtcTrainingGraphCompiler(lang).compile(["READ", "READ WRITE"])
      >>> graphs.num_fsas, sorted(set(graphs[0].labels.tolist()))
      (2, [-1, 0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        lang: LangDir | str | os.PathLike[str],
        *,
        unknown: str = UNKNOWN_WORD,
        topology: str = "standard",
    ) -> None:
        _check_topology(topology)
        self._lang = lang if isinstance(lang, LangDir) else LangDir(lang)
        self._unknown = unknown
        self._topology = topology

    def compile(self, texts: Sequence[str], device: torch.device | str | None = None) -> Fsa:
        """The graphs of a batch of transcripts.

        Args:
          texts: words with blanks between them.
          device: of the result.

        Returns:
          `[utt][state][arc]`: `labels` are what a frame emits (0 blank), `aux_labels` the words,
          each on the arc that begins it. Scores are the log-probabilities of pronunciations and
          silence, zero where the lexicon has none.

        Raises:
          SymbolNotFoundError: `unknown` is needed and not in `words.txt`.
          EmptyGraphError: a word of a transcript has no pronunciation.
        """
        ids = self._lang.texts_to_word_ids(texts, unknown=self._note_unknown(texts))
        spelled = compose(self._lang.L, linear_fsa(ids))
        empty = torch.nonzero(spelled.shape.row_splits(1).diff() == 0).flatten()
        if empty.numel():
            raise EmptyGraphError(self._without_pronunciation(int(empty[0]), ids))
        spelled = _single_words(remove_epsilon(spelled, LogSemiring()))
        return ctc_compose(spelled, self._lang.vocab_size, self._topology).to(device or "cpu")

    def _note_unknown(self, texts: Sequence[str]) -> str | None:
        known = self._lang.words
        found = Counter(w for text in texts for w in text.split() if w not in known)
        if not found:
            return None
        names = ", ".join(word for word, _ in found.most_common(5))
        _log.warning(
            "%d words of %d transcripts are not in words.txt and become %s: %s%s",
            found.total(), len(texts), self._unknown, names, ", ..." if len(found) > 5 else "",
        )  # fmt: skip
        return self._unknown

    def _without_pronunciation(self, utterance: int, ids: list[list[int]]) -> str:
        lost = [
            w for w in dict.fromkeys(ids[utterance]) if self._lang.words[w] not in self._lexicon
        ]
        names = ", ".join(self._lang.words[word] for word in lost) or "as a whole"
        return (
            f"texts[{utterance}]: has no pronunciation in {self._lang.path / 'L.pt'}: {names}. Add "
            f"them to the lexicon, and run wfst-entropy lang prepare {self._lang.path}."
        )

    @property
    def _lexicon(self) -> set[str]:
        spoken = torch.unique(self._lang.L.aux_labels).tolist()
        return {self._lang.words[word] for word in spoken if word > 0}


class BpeCtcTrainingGraphCompiler:
    """CTC graphs of transcripts in the pieces of a sentencepiece model.

    Args:
      bpe_model: the model, or a lang directory with `bpe.model`.
      topology: `"standard"` or `"modified"`.

    Raises:
      FsaValueError: another topology.
      FsaFormatError: there is no such model.
      FsaRuntimeError: sentencepiece is not installed.
    """

    def __init__(
        self,
        bpe_model: LangDir | str | os.PathLike[str],
        *,
        topology: str = "standard",
    ) -> None:
        _check_topology(topology)
        path = bpe_model.path if isinstance(bpe_model, LangDir) else Path(bpe_model)
        self._model = load_bpe_model(path / "bpe.model" if path.is_dir() else path)
        self._topology = topology

    def texts_to_ids(self, texts: Iterable[str]) -> list[list[int]]:
        """The pieces of each text, in the most probable segmentation."""
        return [list(pieces) for pieces in self._model.encode(list(texts))]

    def compile(
        self, piece_ids: Sequence[Sequence[int]], device: torch.device | str | None = None
    ) -> Fsa:
        """The graphs of a batch, as `ctc_graph` makes them.

        Args:
          piece_ids: what `texts_to_ids` returned.
          device: of the result.
        """
        return ctc_graph(piece_ids, self._topology == "modified", device)


def _check_topology(topology: str) -> None:
    if topology not in _TOPOLOGIES:
        raise FsaValueError(
            f"topology: must be one of {', '.join(_TOPOLOGIES)} for training, got {topology!r}."
        )


def _single_words(graphs: Fsa) -> Fsa:
    """The graphs with `aux_labels` as a tensor, where epsilons were joined with words."""
    words = graphs.attributes.get("aux_labels")
    if not isinstance(words, RaggedTensor):
        return graphs
    sizes = words.shape.row_splits(1).diff()
    if int(sizes.max()) > 1:
        return graphs  # several words on one arc: a lexicon with words that have no token
    single: Tensor = torch.zeros(graphs.num_arcs, dtype=torch.int32)
    single[sizes == 1] = words.values.to(torch.int32)
    kept = {name: value for name, value in graphs.attributes.items() if name != "aux_labels"}
    return Fsa(graphs.shape, graphs.arcs, graphs.scores, **kept, aux_labels=single)
