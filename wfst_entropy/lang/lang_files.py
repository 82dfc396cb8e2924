"""A lexicon as the files of a lang directory, with the graphs L, L_disambig and Linv."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wfst_entropy.algorithms import arc_sort, invert
from wfst_entropy.fsa import Fsa, SymbolTable, save_fsa
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.lang.disambig import add_disambig_symbols
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.lexicon_fst import lexicon_to_fst
from wfst_entropy.lang.symbols import (
    BACKOFF,
    BLANK,
    BOS,
    EOS,
    EPSILON,
    RESERVED_WORDS,
    UNKNOWN_WORD,
    ZERO_TOKENS,
    is_disambiguation,
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Silence:
    """The optional silence between words.

    Attributes:
      token: such as `SIL`.
      prob: of a silence at a place where there may be one, in (0, 1).
    """

    token: str
    prob: float = 0.5


def write_lang_dir(
    lang_dir: str | os.PathLike[str],
    lexicon: Lexicon,
    tokens: Sequence[str] | None = None,
    *,
    silence: Silence | None = None,
) -> LangDir:
    """Writes `tokens.txt words.txt lexicon.txt lexicon_disambig.txt L.pt L_disambig.pt Linv.pt`.

    `tokens.txt` has the disambiguation symbols `#0`, `#1`, ... after the tokens. `words.txt` is
    `<eps>`, `<UNK>` (if the lexicon has it), the other words sorted, `#0`, `<s>`, `</s>`. A lexicon
    with probabilities is written to `lexiconp.txt` and `lexiconp_disambig.txt` as well. Files
    appear whole or not at all, and those that would not change are left as they are.

    Args:
      lang_dir: a folder, made if it is not there.
      lexicon: of all words.
      tokens: by id, `<blk>` first; by default `<blk>` and those of the lexicon, sorted.
      silence: by default there is none.

    Returns:
      The folder.

    Raises:
      FsaValueError: the tokens do not begin with `<blk>`, one of them is missing or twice, or the
        lexicon cannot be made a graph (see `lexicon_to_fst`).
      FileWriteError: a file cannot be written.

    Example:
      >>> import tempfile
      >>> lexicon = Lexicon([("READ", ["R", "EH", "D"]), ("RED", ["R", "EH", "D"])])
      >>> lang = write_lang_dir(Path(tempfile.mkdtemp()) / "lang_phone", lexicon)
      >>> lang.tokens.symbols
      ['<blk>', 'D', 'EH', 'R', '#0', '#1', '#2']
      >>> lang.L_disambig
      Fsa(num_states=8, num_arcs=10, aux_labels)
    """
    folder = Path(lang_dir)
    marked, number = add_disambig_symbols(lexicon)
    token_table = _token_table(lexicon, tokens, silence, number)
    words = _word_table(lexicon)
    graphs = lexicon_graphs(lexicon, token_table, words, silence)
    folder.mkdir(parents=True, exist_ok=True)
    write_if_other(folder / "tokens.txt", token_table.to_str().encode())
    write_if_other(folder / "words.txt", words.to_str().encode())
    for ending, entries in (("", lexicon), ("_disambig", marked)):
        with_probs = folder / f"lexiconp{ending}.txt"
        if entries.probs is None:
            with_probs.unlink(missing_ok=True)
        else:
            write_if_other(with_probs, entries.to_str().encode())
        write_if_other(folder / f"lexicon{ending}.txt", Lexicon(entries).to_str().encode())
    for name, graph in graphs.items():
        save_fsa(graph, folder / name)
    _logger.info("%s: %d tokens, %d words, %r", folder, len(token_table), len(words), lexicon)
    return LangDir(folder)


def _token_table(
    lexicon: Lexicon, tokens: Sequence[str] | None, silence: Silence | None, number: int
) -> SymbolTable:
    if tokens is None:
        used = {*lexicon.tokens, *([] if silence is None else [silence.token])}
        tokens = [BLANK, *sorted(used)]
    if not tokens or tokens[0] not in ZERO_TOKENS:
        raise FsaValueError(f"tokens: must begin with {BLANK}, got {list(tokens[:3])}.")
    if any(is_disambiguation(token) for token in tokens):
        raise FsaValueError("tokens: must not have disambiguation symbols, they are added.")
    # One more where there is silence: see silence_disambig of lexicon_to_fst.
    last = number + (silence is not None)
    return SymbolTable((s, i) for i, s in enumerate([*tokens, *(f"#{k}" for k in range(last + 1))]))


def _word_table(lexicon: Lexicon) -> SymbolTable:
    words = sorted(set(lexicon.words) - {UNKNOWN_WORD})
    unknown = [UNKNOWN_WORD] if UNKNOWN_WORD in lexicon else []
    names = [EPSILON, *unknown, *words, BACKOFF, BOS, EOS]
    for word in RESERVED_WORDS.intersection(words):
        raise FsaValueError(f"lexicon: {word!r} cannot be a word, this name is reserved.")
    return SymbolTable((symbol, i) for i, symbol in enumerate(names))


def lexicon_graphs(
    lexicon: Lexicon, tokens: SymbolTable, words: SymbolTable, silence: Silence | None = None
) -> dict[str, Fsa]:
    """`L.pt`, `L_disambig.pt` and `Linv.pt`, by their names.

    Raises: FsaValueError as `lexicon_to_fst`.
    """
    marked, number = add_disambig_symbols(lexicon)
    token = None if silence is None else silence.token
    prob = Silence.prob if silence is None else silence.prob
    plain = lexicon_to_fst(lexicon, tokens, words, silence=token, silence_prob=prob)
    disambiguated = lexicon_to_fst(
        marked,
        tokens,
        words,
        silence=token,
        silence_prob=prob,
        silence_disambig=None if silence is None else f"#{number + 1}",
        self_loop=True,
    )
    return {"L.pt": plain, "L_disambig.pt": disambiguated, "Linv.pt": arc_sort(invert(plain))}


def write_if_other(path: Path, data: bytes) -> None:
    """Writes a file unless it is so already: then it keeps its age.

    Raises: FileWriteError, and then the file is as before.
    """
    if path.is_file() and path.read_bytes() == data:
        return
    with replacing(path) as file:
        file.write(data)
