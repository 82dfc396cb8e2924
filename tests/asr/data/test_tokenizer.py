from __future__ import annotations

import pickle
import resource
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.prepare_lang import prepare_lang
from wfst_entropy.asr.data.tokenizer import BpeTokenizer, CharTokenizer, Tokenizer, load_tokenizer
from wfst_entropy.fsa.errors import FileWriteError
from wfst_entropy.lang import LangDir, LangSources, check_lang_dir, prepare_lang_dir

TEXTS = ["THE DAY CAME", "AND IT WAS SO", "HE WENT UP TO THE CITY", "THE KING'S WAY"]
WORDS = sorted({word for text in TEXTS for word in text.split()})


@pytest.fixture(scope="module")
def lang_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lang")
    return {
        "char": prepare_lang(TEXTS, folder / "lang_char"),
        "bpe": prepare_lang(TEXTS, folder / "lang_bpe_35", bpe_vocab_size=35),
    }


@pytest.fixture(params=["char", "bpe"])
def lang_dir(request: pytest.FixtureRequest, lang_dirs: dict[str, Path]) -> Path:
    return lang_dirs[request.param]


def test_special_tokens_have_icefalls_numbers(lang_dir: Path) -> None:
    tokenizer = load_tokenizer(lang_dir)
    assert tokenizer.symbols[:3] == ["<blk>", "<sos/eos>", "<unk>"]
    assert tokenizer.blank_id == 0
    lang = LangDir(lang_dir)
    assert lang.tokens.symbols == tokenizer.symbols
    assert lang.vocab_size == tokenizer.vocab_size
    assert lang.words.symbols == ["<eps>", "<UNK>", *WORDS, "#0", "<s>", "</s>"]


def test_kind_of_tokenizer_follows_the_folder(lang_dirs: dict[str, Path]) -> None:
    assert isinstance(load_tokenizer(lang_dirs["char"]), CharTokenizer)
    assert isinstance(load_tokenizer(lang_dirs["bpe"]), BpeTokenizer)
    assert load_tokenizer(lang_dirs["bpe"]).vocab_size == 35
    assert LangDir(lang_dirs["bpe"]).token_type == "bpe"


@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_text_survives_and_is_the_tokens_of_its_words(
    lang_dirs: dict[str, Path], words: list[str]
) -> None:
    for folder in lang_dirs.values():
        tokenizer: Tokenizer = load_tokenizer(folder)
        text = " ".join(words)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        # a graph over the lexicon and the tokenizer write a sentence alike
        lexicon = dict(LangDir(folder).lexicon)
        assert [tokenizer.symbols[i] for i in ids] == [t for word in words for t in lexicon[word]]
        assert not set(ids) & {0, 1, 2}


def test_blanks_and_other_special_tokens_are_not_read(lang_dir: Path) -> None:
    tokenizer = load_tokenizer(lang_dir)
    ids = tokenizer.encode("THE DAY")
    assert tokenizer.decode([0, *ids, 0, 1, 2]) == "THE DAY"


def test_odd_blanks_do_not_matter(lang_dir: Path) -> None:
    tokenizer = load_tokenizer(lang_dir)
    assert tokenizer.encode("  THE \t DAY ") == tokenizer.encode("THE DAY")


@pytest.mark.parametrize("symbol", ["Q", "É", "<"])
def test_an_unknown_symbol_is_named(lang_dir: Path, symbol: str) -> None:
    with pytest.raises(DataError, match=f"symbol '{symbol}.*' in 'THE {symbol}' is not in tokens"):
        load_tokenizer(lang_dir).encode(f"THE {symbol}")


def test_it_can_be_sent_to_another_process(lang_dir: Path) -> None:
    tokenizer = load_tokenizer(lang_dir)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode("THE DAY") == tokenizer.encode("THE DAY")


def test_the_same_texts_give_the_same_folder(lang_dir: Path, tmp_path: Path) -> None:
    size = 35 if LangDir(lang_dir).token_type == "bpe" else None
    again = prepare_lang(TEXTS, tmp_path / "again", bpe_vocab_size=size)
    for path in lang_dir.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_too_many_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="vocab_size 500 does not fit 4 transcripts"):
        prepare_lang(TEXTS, tmp_path / "lang", bpe_vocab_size=500)
    assert list(tmp_path.iterdir()) == []


def test_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not one word"):
        prepare_lang(["", " "], tmp_path / "lang")


def test_reserved_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="<UNK> cannot be a word"):
        prepare_lang(["THE <UNK>"], tmp_path / "lang")


def test_graphs_are_added_to_the_folder_and_models_stay_good(
    lang_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(lang_dir, tmp_path / lang_dir.name))
    before = {path.name: path.read_text() for path in folder.glob("*.txt")}
    symbols = load_tokenizer(folder).symbols
    (tmp_path / "words").write_text("HEAT\n")
    lang = prepare_lang_dir(folder)
    assert (folder / "tokens.txt").read_text().startswith(before.pop("tokens.txt") + "#0 ")
    assert {name: (folder / name).read_text() for name in before} == before
    more = prepare_lang_dir(folder, LangSources(words=(tmp_path / "words",)))
    assert set(more.lexicon.words) == {*lang.lexicon.words, "HEAT"}
    tokenizer = load_tokenizer(folder)
    assert tokenizer.symbols == symbols
    assert more.texts_to_token_ids(["THE HEAT"]) == [tokenizer.encode("THE HEAT")]
    assert check_lang_dir(folder) == []


def test_a_folder_that_exists_is_kept(lang_dir: Path) -> None:
    with pytest.raises(FileExistsError, match="delete it to make it again"):
        prepare_lang(TEXTS, lang_dir)


def test_a_full_disk_is_named_and_leaves_no_folder(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(FileWriteError, match=r"tokens.txt: cannot be written: .*Make room"):
            prepare_lang(["THE LAND"], tmp_path / "lang_char")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    folder = prepare_lang(TEXTS, tmp_path / "lang", bpe_vocab_size=35)
    (folder / "bpe.model").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"bpe.model: is not a sentencepiece model"):
        load_tokenizer(folder)


def test_tokens_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = prepare_lang(TEXTS, tmp_path / "lang", bpe_vocab_size=35)
    other = prepare_lang(TEXTS, tmp_path / "other", bpe_vocab_size=30)
    (folder / "tokens.txt").write_bytes((other / "tokens.txt").read_bytes())
    with pytest.raises(DataError, match=r"tokens.txt \(30 tokens\) is not the list of pieces"):
        load_tokenizer(folder)
