"""Making a lang directory from transcripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.tokenizer import UNKNOWN, WORD_START, BpeTokenizer, CharTokenizer
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.lang.symbols import BLANK, WORD_SPECIALS

# Ids 0, 1 and 2 of every table of tokens, as icefall's recipes have them.
TOKEN_SPECIALS = (BLANK, "<sos/eos>", UNKNOWN)


def train_bpe_model(texts: Sequence[str], model_file: Path | str, vocab_size: int) -> None:
    """Trains a sentencepiece BPE model with `<blk>` 0, `<sos/eos>` 1, `<unk>` 2.

    Args:
      texts: transcripts.
      model_file: where the model goes, whole or not at all.
      vocab_size: number of pieces, the three special ones included.

    Raises:
      DataError: the transcripts do not yield that many pieces, or need more.
    """
    import sentencepiece

    model_file = Path(model_file)
    try:
        with replacing(model_file) as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=file,
                vocab_size=vocab_size,
                model_type="bpe",
                character_coverage=1.0,
                user_defined_symbols=list(TOKEN_SPECIALS[:2]),
                unk_id=2,
                bos_id=-1,
                eos_id=-1,
                # One thread: the result must not depend on the machine.
                num_threads=1,
                minloglevel=2,
            )
    except RuntimeError as error:
        raise DataError(
            f"vocab_size {vocab_size} does not fit {len(texts)} transcripts: {error}"
        ) from error


def prepare_lang(
    texts: Iterable[str], lang_dir: Path | str, *, bpe_vocab_size: int | None = None
) -> Path:
    """Writes `tokens.txt`, `words.txt`, `lexicon.txt`, `transcript_words.txt` (and `bpe.model`).

    `tokens.txt`: `<blk>` 0, `<sos/eos>` 1, `<unk>` 2, then the characters (`▁` before a word) or
    pieces. `words.txt`: `<eps>` 0, `<UNK>` 1, the words in order, `#0`, `<s>`, `</s>`.
    The folder appears when it is whole.

    Args:
      texts: transcripts of the training data; their words and characters become the units.
      lang_dir: such as `data/lang_char`; must not exist.
      bpe_vocab_size: number of word pieces; None for characters.

    Raises:
      DataError: there is no word, or the number of pieces does not fit.
      FileExistsError: the folder exists.
      FileWriteError: a file cannot be written, for example because the disk is full.
    """
    lang_dir = Path(lang_dir)
    if lang_dir.exists():
        raise FileExistsError(f"{lang_dir} exists; delete it to make it again")
    lines = [line for line in (" ".join(text.split()) for text in texts) if line]
    words = sorted({word for line in lines for word in line.split()})
    if not words:
        raise DataError("texts: not one word in the training transcripts")
    reserved = sorted(set(words) & set(WORD_SPECIALS))
    if reserved:
        raise DataError(f"texts: {', '.join(reserved)} cannot be a word, its name is reserved")
    lang_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = lang_dir.with_name(f".{lang_dir.name}.unfinished")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        tokenizer: CharTokenizer | BpeTokenizer
        if bpe_vocab_size is None:
            characters = sorted({c for word in words for c in word} - {WORD_START})
            tokenizer = CharTokenizer([*TOKEN_SPECIALS, WORD_START, *characters])
        else:
            train_bpe_model(lines, folder / "bpe.model", bpe_vocab_size)
            tokenizer = BpeTokenizer(folder / "bpe.model")
        _write_table(folder / "tokens.txt", tokenizer.symbols)
        _write_table(folder / "words.txt", ["<eps>", "<UNK>", *words, "#0", "<s>", "</s>"])
        entries = [("<UNK>", [WORD_START, UNKNOWN])]
        entries += [(w, [tokenizer.symbols[i] for i in tokenizer.encode(w)]) for w in words]
        _write_lines(folder / "lexicon.txt", [f"{word} {' '.join(t)}" for word, t in entries])
        _write_lines(folder / "transcript_words.txt", lines)
        folder.replace(lang_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return lang_dir


def _write_table(path: Path, symbols: Sequence[str]) -> None:
    _write_lines(path, [f"{symbol} {number}" for number, symbol in enumerate(symbols)])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as file:
        file.write("".join(line + "\n" for line in lines).encode("utf-8"))
