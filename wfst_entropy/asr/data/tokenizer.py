"""Transcripts to token ids and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.lang import LangDir

UNKNOWN = "<unk>"
# Stands before every word, as in sentencepiece: the tokens of a sentence are those of its words.
WORD_START = "▁"


class Tokenizer(Protocol):
    """What writes a transcript in tokens.

    Attributes:
      symbols: the tokens, by id.
    """

    symbols: list[str]

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the blank included."""
        ...

    @property
    def blank_id(self) -> int:
        """Id of the blank, 0."""
        ...

    def encode(self, text: str) -> list[int]:
        """Writes words in tokens.

        Raises:
          DataError: a symbol of the text is not among the tokens.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Reads tokens as words; special tokens such as the blank are left out."""
        ...


class CharTokenizer:
    """Characters as tokens, with `▁` before each word.

    Args:
      symbols: the tokens by id; those in angle brackets are special.

    Example:
      >>> tokenizer = CharTokenizer(["<blk>", "<sos/eos>", "<unk>", "▁", "A", "B"])
      >>> tokenizer.encode("AB A")
      [3, 4, 5, 3, 4]
      >>> tokenizer.decode([3, 4, 5, 3, 4])
      'AB A'
    """

    blank_id = 0

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = list(symbols)
        self._ids = {s: i for i, s in enumerate(self.symbols) if not _is_special(s)}

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the blank included."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Writes words in characters; see `Tokenizer`."""
        spelling = "".join(WORD_START + word for word in text.split())
        try:
            return [self._ids[character] for character in spelling]
        except KeyError as error:
            raise DataError(_unknown_symbol(str(error.args[0]), text)) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Reads characters as words; see `Tokenizer`."""
        spelling = "".join(self.symbols[i] for i in ids if not _is_special(self.symbols[i]))
        return " ".join(spelling.replace(WORD_START, " ").split())


class BpeTokenizer:
    """Word pieces of a sentencepiece model as tokens.

    Args:
      model_file: such as `data/lang_bpe_200/bpe.model`.

    Raises:
      DataError: the file is not a sentencepiece model, or its piece 0 is not `<blk>`.
    """

    blank_id = 0

    def __init__(self, model_file: Path | str) -> None:
        import sentencepiece

        self._file = str(model_file)
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.load(self._file)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{model_file}: is not a sentencepiece model: {error}") from error
        size = self._processor.get_piece_size()
        self.symbols: list[str] = [self._processor.id_to_piece(i) for i in range(size)]
        if self.symbols[0] != "<blk>":
            raise DataError(
                f"{model_file}: piece 0 must be <blk>, it is {self.symbols[0]}; train the model "
                "with prepare.sh --stage 5 --token-type bpe"
            )

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the blank included."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Writes words in pieces; see `Tokenizer`."""
        words = " ".join(text.split())
        ids: list[int] = self._processor.encode(words)
        for i in ids:
            if _is_special(self.symbols[i]):
                pieces: list[str] = self._processor.encode(words, out_type=str)
                symbol = pieces[ids.index(i)].removeprefix(WORD_START)
                raise DataError(_unknown_symbol(symbol, text))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Reads pieces as words; see `Tokenizer`."""
        pieces = "".join(self.symbols[i] for i in ids if not _is_special(self.symbols[i]))
        return " ".join(pieces.replace(WORD_START, " ").split())

    # The C++ object cannot be pickled; a data loader's process loads the model again.
    def __reduce__(self) -> tuple[type[BpeTokenizer], tuple[str]]:
        return type(self), (self._file,)


def load_tokenizer(lang_dir: str | os.PathLike[str]) -> Tokenizer:
    """Returns the tokenizer of a lang directory: word pieces where it has `bpe.model`.

    Raises:
      DataError: `tokens.txt` and `bpe.model` do not fit together.
      FsaFormatError: the directory or its `tokens.txt` is missing or damaged.
    """
    lang = LangDir(lang_dir)
    symbols = lang.tokens.symbols[: lang.vocab_size]
    if lang.bpe_model is None:
        return CharTokenizer(symbols)
    tokenizer = BpeTokenizer(lang.bpe_model)
    if tokenizer.symbols != symbols:
        raise DataError(
            f"{lang.path}: tokens.txt ({len(symbols)} tokens) is not the list of pieces of "
            f"bpe.model ({tokenizer.vocab_size}); delete the folder and run prepare.sh --stage 5 "
            "--stop-stage 5"
        )
    return tokenizer


def _is_special(symbol: str) -> bool:
    return symbol.startswith("<") and symbol.endswith(">")


def _unknown_symbol(symbol: str, text: str) -> str:
    return f"the symbol {symbol!r} in {text!r} is not in tokens.txt"
