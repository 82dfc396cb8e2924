"""Making a lang directory from a lexicon, a word-piece model or characters, when it is needed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wfst_entropy.fsa import SymbolTable
from wfst_entropy.fsa.errors import FsaFormatError, FsaValueError
from wfst_entropy.lang.lang_dir import LangDir, read_tokens
from wfst_entropy.lang.lang_files import Silence, write_if_other, write_lang_dir
from wfst_entropy.lang.lang_finding import named
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.position_dependent_phones import add_position_markers
from wfst_entropy.lang.position_markers import is_position_dependent
from wfst_entropy.lang.spelling import bpe_lexicon, bpe_tokens, char_lexicon
from wfst_entropy.lang.symbols import (
    BLANK,
    UNKNOWN_TOKEN,
    UNKNOWN_WORD,
    WORD_SPECIALS,
    WORD_START,
    is_disambiguation,
)
from wfst_entropy.lang.text_corpus import first_fields, read_sentences

OPTIONS_FILE = "lang_options.json"
TOKEN_TYPES = ("phone", "bpe", "char")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LangSources:
    """What a lang directory is made from.

    Attributes:
      token_type: `"phone"` (any lexicon), `"bpe"` or `"char"`; by default what there is: a lexicon,
        a model, or the tokens in the folder.
      lexicon: `lexicon.txt` or `lexiconp.txt`; by default that of the folder.
      bpe_model: a sentencepiece model; by default that of the folder.
      words: files with a word at the beginning of each line, such as `words.txt`, a list of words
        or another lexicon. Their words are added to those of the folder's `transcript_words.txt`;
        without either, those of its `words.txt` are taken. With a given lexicon: its words that are
        kept, by default all.
      tokens: the `tokens.txt` of a model, for a folder that has none; by default the tokens are
        those of the lexicon, the pieces of the model, or the characters of the words.
      silence: the optional silence between words.
      num_segmentations: how many ways to write a word in pieces.
      position_markers: whether to mark phones with `_B _I _E _S`.
    """

    token_type: str | None = None
    lexicon: Path | None = None
    bpe_model: Path | None = None
    words: tuple[Path, ...] = ()
    tokens: Path | None = None
    silence: Silence | None = None
    num_segmentations: int = 1
    position_markers: bool = False


def prepare_lang_dir(
    lang_dir: str | os.PathLike[str], sources: LangSources = LangSources(), *, force: bool = False
) -> LangDir:
    """Makes `L.pt`, `L_disambig.pt`, `Linv.pt` and the text files of a lang directory.

    In a folder that a recipe has made for training, the tokens keep their ids, so models stay good;
    disambiguation symbols follow them. Words that cannot be written in the tokens are left out, and
    a warning names them. Nothing is done where the files are newer than their sources and were made
    with the same options (`lang_options.json` keeps them).

    Args:
      lang_dir: such as `data/lang_bpe_500`; made if it is not there.
      sources: what it is made from.
      force: whether to make it even so.

    Raises:
      FsaFormatError: a file is missing or wrong, with its line.
      FsaValueError: options that do not go together, or a lexicon without entries.
      FileWriteError: a file cannot be written; start again and it will be.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> _ = (folder / "words").write_text("AB\\nBA\\n")
      >>> lang = prepare_lang_dir(folder / "lang_char", LangSources(words=(folder / "words",)))
      >>> lang.tokens.symbols
      ['<blk>', '<sos/eos>', '<unk>', '▁', 'A', 'B', '#0']
      >>> lang.lexicon.pronunciations("BA"), lang.L_disambig.num_states
      ([('▁', 'B', 'A')], 7)
    """
    folder = Path(lang_dir)
    token_type = _token_type(folder, sources)
    _check_options(sources, token_type)
    files = _source_files(folder, sources, token_type)
    options = _options_text(sources, token_type)
    if not force and _is_done(folder, files, options):
        _logger.info("%s is newer than its sources, skipping", folder)
        return LangDir(folder)
    make = {"phone": _from_lexicon, "bpe": _from_pieces, "char": _from_characters}[token_type]
    lexicon, tokens = make(folder, sources)
    folder.mkdir(parents=True, exist_ok=True)
    # Gone while the files are written, so that an interruption is not taken for the end.
    (folder / OPTIONS_FILE).unlink(missing_ok=True)
    lang = write_lang_dir(folder, lexicon, tokens, silence=sources.silence)
    if token_type == "bpe" and sources.bpe_model is not None:
        write_if_other(folder / "bpe.model", sources.bpe_model.read_bytes())
    write_if_other(folder / OPTIONS_FILE, options.encode())
    return lang


def _token_type(folder: Path, sources: LangSources) -> str:
    if sources.token_type is not None:
        if sources.token_type not in TOKEN_TYPES:
            raise FsaValueError(
                f"token_type: must be one of {', '.join(TOKEN_TYPES)}, got {sources.token_type!r}."
            )
        return sources.token_type
    if sources.lexicon is not None:
        return "phone"
    if sources.bpe_model is not None or (folder / "bpe.model").is_file():
        return "bpe"
    if (folder / "tokens.txt").is_file():
        return LangDir(folder).token_type
    return "phone" if _own_lexicon(folder) else "char"


def _check_options(sources: LangSources, token_type: str) -> None:
    wrong = {
        "lexicon": sources.lexicon is not None and token_type != "phone",
        "bpe_model": sources.bpe_model is not None and token_type != "bpe",
        "num_segmentations": sources.num_segmentations != 1 and token_type != "bpe",
        "position_markers": sources.position_markers and token_type != "phone",
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise FsaValueError(f"{name}: does not go with token_type {token_type!r}.")
    if sources.position_markers and sources.lexicon is None:
        raise FsaValueError("position_markers: needs lexicon, a file outside the lang directory.")


def _own_lexicon(folder: Path) -> Path | None:
    """The lexicon in the folder itself, that with probabilities first."""
    found = [folder / name for name in ("lexiconp.txt", "lexicon.txt")]
    return next((path for path in found if path.is_file()), None)


def _source_files(folder: Path, sources: LangSources, token_type: str) -> list[Path]:
    given = (sources.lexicon, sources.bpe_model, sources.tokens, *sources.words)
    files = [path for path in given if path is not None]
    for path in files:
        if not path.is_file():
            raise FsaFormatError(f"{path}: no such file.")
    names = {"bpe": ["bpe.model", "transcript_words.txt"], "char": ["transcript_words.txt"]}
    return files + [path for name in names.get(token_type, []) if (path := folder / name).is_file()]


def _options_text(sources: LangSources, token_type: str) -> str:
    silence = sources.silence
    options = {
        "token_type": token_type,
        "lexicon": None if sources.lexicon is None else str(sources.lexicon),
        "bpe_model": None if sources.bpe_model is None else str(sources.bpe_model),
        "words": [str(path) for path in sources.words],
        "tokens": None if sources.tokens is None else str(sources.tokens),
        "silence": None if silence is None else silence.token,
        "silence_prob": None if silence is None else silence.prob,
        "num_segmentations": sources.num_segmentations,
        "position_markers": sources.position_markers,
    }
    return json.dumps(options, indent=2, ensure_ascii=False) + "\n"


def _is_done(folder: Path, files: Sequence[Path], options: str) -> bool:
    texts = ("tokens.txt", "words.txt", "lexicon.txt", "lexicon_disambig.txt")
    graphs = ("L.pt", "L_disambig.pt", "Linv.pt")
    done, inputs = folder / OPTIONS_FILE, [*files, *(folder / name for name in texts)]
    if not all(path.is_file() for path in (done, *inputs, *(folder / name for name in graphs))):
        return False
    made = done.stat().st_mtime_ns
    if any(path.stat().st_mtime_ns > made for path in inputs):
        return False
    return done.read_text(encoding="utf-8") == options


def _known_tokens(folder: Path, sources: LangSources) -> list[str] | None:
    """The real tokens given or in the folder, which keep their ids; None where there are none."""
    own, given = folder / "tokens.txt", sources.tokens
    tables = [_real_tokens(path) for path in (given, own) if path is not None and path.is_file()]
    if len(tables) == 2 and tables[0] != tables[1]:
        raise FsaFormatError(f"{own}: has other tokens than {given}; give another lang directory")
    return tables[0] if tables else None


def _real_tokens(path: Path) -> list[str]:
    return [symbol for symbol in read_tokens(path).symbols if not is_disambiguation(symbol)]


def _from_lexicon(folder: Path, sources: LangSources) -> tuple[Lexicon, list[str] | None]:
    path = sources.lexicon or _own_lexicon(folder)
    if path is None:
        raise FsaFormatError(f"{folder / 'lexicon.txt'}: no such file; give --lexicon FILE")
    tokens = _known_tokens(folder, sources)
    table = None
    if tokens is not None and not sources.position_markers:
        table = SymbolTable((symbol, i) for i, symbol in enumerate(tokens))
    lexicon = Lexicon.from_file(path, tokens=table)
    if sources.words:
        lexicon = _restricted(lexicon, _listed_words(sources.words), str(path))
    if sources.position_markers:
        if is_position_dependent(lexicon):
            raise FsaValueError(f"position_markers: {path} has them already.")
        silent = [] if sources.silence is None else [sources.silence.token]
        lexicon = add_position_markers(lexicon, keep=silent)
    return lexicon, tokens


def _restricted(lexicon: Lexicon, words: list[str], file: str) -> Lexicon:
    """The entries of some words, and of `<UNK>` and the like."""
    _warn_left_out([word for word in words if word not in lexicon], f"have no entry in {file}")
    wanted = set(words)
    kept = [i for i, (w, _) in enumerate(lexicon) if w in wanted or w[0] in "<!"]
    probs = None if lexicon.probs is None else [lexicon.probs[i] for i in kept]
    return Lexicon((lexicon[i] for i in kept), probs)


def _from_pieces(folder: Path, sources: LangSources) -> tuple[Lexicon, list[str]]:
    model = sources.bpe_model or folder / "bpe.model"
    tokens, there = bpe_tokens(model), _known_tokens(folder, sources)
    if there is not None and there != tokens:
        raise FsaFormatError(
            f"{folder / 'tokens.txt'}: its {len(there)} tokens are not the {len(tokens)} pieces of "
            f"{model}; give the model that it was made with, or another lang directory"
        )
    words = _words(folder, sources)
    lexicon = bpe_lexicon(words, model, num_segmentations=sources.num_segmentations)
    return _spelled(lexicon, words, tokens, str(model)), tokens


def _from_characters(folder: Path, sources: LangSources) -> tuple[Lexicon, list[str]]:
    words, tokens = _words(folder, sources), _known_tokens(folder, sources)
    if tokens is None:
        characters = sorted({c for word in words for c in word} - {WORD_START})
        tokens = [BLANK, "<sos/eos>", UNKNOWN_TOKEN, WORD_START, *characters]
    mark = WORD_START if WORD_START in tokens else ""
    lexicon = char_lexicon(words, tokens, word_start=mark)
    return _spelled(lexicon, words, tokens, str(folder / "tokens.txt")), tokens


def _spelled(lexicon: Lexicon, words: list[str], tokens: Sequence[str], file: str) -> Lexicon:
    """Spelled words with `<UNK>`; tells which could not be spelled."""
    _warn_left_out([w for w in words if w not in lexicon], f"cannot be written in {file}")
    if UNKNOWN_TOKEN not in tokens:
        return lexicon
    mark = [WORD_START] if WORD_START in tokens else []
    return Lexicon([(UNKNOWN_WORD, [*mark, UNKNOWN_TOKEN]), *lexicon])


def _warn_left_out(words: list[str], why: str) -> None:
    if words:
        _logger.warning("%d words %s and are left out: %s", len(words), why, named(words, 10))


def _words(folder: Path, sources: LangSources) -> list[str]:
    """The words to spell, sorted."""
    words: set[str] = set(_listed_words(sources.words))
    transcripts = folder / "transcript_words.txt"
    if transcripts.is_file():
        words.update(w for sentence in read_sentences(transcripts) for w in sentence)
    elif not sources.words and (folder / "words.txt").is_file():
        words.update(LangDir(folder).words.symbols)
    words -= set(WORD_SPECIALS)
    if not words:
        raise FsaFormatError(f"{folder}: has no words; give a list of them with --words FILE")
    return sorted(words)


def _listed_words(files: Sequence[Path]) -> list[str]:
    """The first field of each line, each once, without special words."""
    words = dict.fromkeys(word for path in files for word in first_fields(path))
    return [w for w in words if w not in WORD_SPECIALS and not is_disambiguation(w)]
