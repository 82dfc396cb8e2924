"""The tokens of a lang directory, as they spell words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.transcribe.search_settings import SearchSettings
from wfst_entropy.asr.transcribe.transcript import FoundWord, words_of_hypothesis
from wfst_entropy.lang import ContextGraph, LangDir, context_graph_from_file, spell_by_lexicon


class Units:
    """The tokens of a lang directory, as they spell words.

    Args:
      lang: the lang directory; phones are words of their own.
    """

    def __init__(self, lang: LangDir) -> None:
        self.lang = lang

    @cached_property
    def symbols(self) -> list[str]:
        """By id, without disambiguation symbols."""
        return self.lang.tokens.symbols[: self.lang.vocab_size]

    @cached_property
    def is_phone(self) -> bool:
        """Whether tokens do not spell words."""
        return self.lang.token_type == "phone"

    def check(self, log_probs: Tensor) -> None:
        """Refuses scores of another vocabulary.

        Raises:
          OptionError: with both sizes.
        """
        if log_probs.shape[1] != len(self.symbols):
            raise OptionError(
                f"the scores have {log_probs.shape[1]} symbols, but {self.lang.path / 'tokens.txt'}"
                f" has {len(self.symbols)}; give the lang directory of the model: --lang-dir"
            )

    def words(
        self,
        tokens: Sequence[int],
        start_frames: Sequence[int],
        end_frames: Sequence[int],
        log_probs: Sequence[float],
    ) -> list[FoundWord]:
        """See `words_of_hypothesis`."""
        mark = "▁" if self.is_phone else ""
        pieces = [mark + self.symbols[token] for token in tokens]
        return words_of_hypothesis(pieces, start_frames, end_frames, log_probs)

    @cached_property
    def spell(self) -> Callable[[str], Sequence[Sequence[int]]]:
        """How to write phrases in tokens."""
        if self.is_phone:
            return spell_by_lexicon(self.lang.lexicon, self.lang.tokens)
        tokenizer = load_tokenizer(self.lang.path)
        return lambda text: [tokenizer.encode(text)]

    def context(self, settings: SearchSettings) -> ContextGraph | None:
        """The phrases to favour, in tokens, if there are any."""
        if settings.context_file is None:
            return None
        return context_graph_from_file(settings.context_file, self.spell, settings.context_score)
