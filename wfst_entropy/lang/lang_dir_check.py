"""Do the files of a lang directory belong together?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, FsaError, RaggedTensor, load_fsa
from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.inspection import Severity
from wfst_entropy.lang.disambig import add_disambig_symbols
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.lang_files import Silence, lexicon_graphs
from wfst_entropy.lang.lang_finding import LangFinding, named
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.lexicon_check import check_lexicon
from wfst_entropy.lang.prepare import OPTIONS_FILE
from wfst_entropy.lang.spelling import bpe_tokens
from wfst_entropy.lang.symbols import BACKOFF, BOS, EOS, WORD_SPECIALS
from wfst_entropy.lang.text_lines import read_text_lines


def check_lang_dir(path: str | os.PathLike[str]) -> list[LangFinding]:
    """Looks for what is wrong in a lang directory, without changing it.

    `tokens.txt`, `words.txt` and the lexicons as text and against each other (see `check_lexicon`);
    `lexicon_disambig.txt` against `lexicon.txt`; `bpe.model` against `tokens.txt`; `L.pt`,
    `L_disambig.pt` and `Linv.pt` against the graphs that the lexicon gives; the labels of `LG.pt`,
    `HLG.pt`, `G.pt` and `G_*_gram.pt` against the tables. Graphs that are not there are no fault.

    Args:
      path: such as `data/lang_bpe_500`.

    Returns:
      Findings, file by file; empty if all is well.

    Raises:
      FsaFormatError: there is no such folder.

    Example:
      >>> import tempfile
      >>> from wfst_entropy.lang import write_lang_dir
      >>> folder = Path(tempfile.mkdtemp())
      >>> lang = write_lang_dir(folder, Lexicon([("A", ["AH"]), ("BEE", ["B", "IY"])]))
      >>> check_lang_dir(folder)
      []
      >>> _ = (folder / "lexicon.txt").write_text("A AH\\nBEE B IH\\n")
      >>> for finding in check_lang_dir(folder):
      ...     print(Path(finding.file).name, finding.line, finding.what)
      lexicon.txt 2 the token 'IH' is not in tokens.txt
    """
    checker = _Checker(LangDir(path))
    for part in (checker.check_tables, checker.check_lexicons, checker.check_graphs):
        part()
        if any(finding.severity == Severity.ERROR for finding in checker.findings):
            break  # what follows depends on it
    return checker.findings


class _Checker:
    def __init__(self, lang: LangDir) -> None:
        self.lang = lang
        self.findings: list[LangFinding] = []
        self.options: dict[str, Any] | None = None  # what lang prepare made it with, if it did

    def tell(
        self,
        file: Path,
        what: str,
        remedy: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Notes a finding about a whole file."""
        if remedy is None:
            remedy = f"run wfst-entropy lang prepare {self.lang.path} with its options and --force"
        what = what.removeprefix(f"{file}: ")
        self.findings.append(LangFinding(severity, str(file), None, "", what, remedy))

    def check_tables(self) -> None:
        """The options that it was made with, the tables of symbols, the word pieces."""
        self._read_options()
        for name in ("tokens", "words"):
            file = self.lang.path / f"{name}.txt"
            found = read_text_lines(file)[1] if file.is_file() else []
            self.findings += found
            try:
                getattr(self.lang, name)
            except FsaFormatError as error:
                if not found:
                    self.tell(file, str(error), "make the lang directory again")
                return
        for word in (BACKOFF, BOS, EOS):
            if word not in self.lang.words:
                what = f"has no {word}, which graphs with a language model need"
                self.tell(self.lang.path / "words.txt", what, severity=Severity.WARNING)
        if self.lang.bpe_model is not None:
            self._check_pieces(self.lang.bpe_model)

    def _read_options(self) -> None:
        file = self.lang.path / OPTIONS_FILE
        if file.is_file():
            try:
                self.options = json.loads(file.read_bytes())
                self._silence()
            except (ValueError, KeyError, TypeError) as error:
                self.tell(file, f"is damaged: {error!r}")
                self.options = None

    def _silence(self) -> Silence | None:
        options = self.options
        if options is None or options["silence"] is None:
            return None
        return Silence(str(options["silence"]), float(options["silence_prob"]))

    def _check_pieces(self, model: Path) -> None:
        try:
            pieces = bpe_tokens(model)
        except FsaError as error:
            self.tell(model, str(error), "copy the model here again")
            return
        size = self.lang.vocab_size
        if pieces != self.lang.tokens.symbols[:size]:
            what = f"its {size} tokens are not the {len(pieces)} pieces of bpe.model"
            self.tell(self.lang.path / "tokens.txt", what, "make the lang directory again")

    def check_lexicons(self) -> None:
        """The lexicons against the tables and against each other."""
        folder, silence = self.lang.path, self._silence()
        files = [folder / name for name in ("lexiconp.txt", "lexicon.txt")]
        files = [file for file in files if file.is_file()]
        if not files:
            self.tell(folder / "lexicon.txt", "no such file", "make the lang directory again")
            return
        before = len(self.findings)
        for file in files:
            self.findings += check_lexicon(
                file,
                tokens=self.lang.tokens,
                words=self.lang.words,
                silence=None if silence is None else silence.token,
            )
        if any(f.severity == Severity.ERROR for f in self.findings[before:]):
            return
        if len(files) == 2 and list(Lexicon.from_file(files[1])) != list(self.lang.lexicon):
            self.tell(files[1], "its entries are not those of lexiconp.txt")
        marked = [file.with_name(f"{file.stem}_disambig.txt") for file in files]
        self._check_disambig(next((file for file in marked if file.is_file()), None))

    def _check_disambig(self, file: Path | None) -> None:
        if file is None:
            return
        try:
            given = self.lang.lexicon_disambig
        except FsaFormatError as error:
            self.tell(file, str(error))
            return
        if given != add_disambig_symbols(self.lang.lexicon)[0]:
            self._tell_stale(file, "is not lexicon.txt with disambiguation symbols")

    def _tell_stale(self, file: Path, what: str) -> None:
        """A warning where another tool may have made it; else it is out of date."""
        severity = Severity.WARNING if self.options is None else Severity.ERROR
        self.tell(file, what, severity=severity)

    def check_graphs(self) -> None:
        """Every graph that is there."""
        folder = self.lang.path
        if (folder / "L.pt").is_file():
            self._check_L()
        for name in ("LG.pt", "HLG.pt"):
            if (folder / name).is_file():
                self._check_decoding_graph(folder / name)
        for file in sorted(folder.glob("G*.pt")):
            self._check_grammar(file)

    def _check_L(self) -> None:
        try:
            made = lexicon_graphs(
                self.lang.lexicon, self.lang.tokens, self.lang.words, self._silence()
            )
        except FsaError as error:
            self._tell_stale(self.lang.path / "tokens.txt", str(error))
            return
        for name, expected in made.items():
            graph = self._load(self.lang.path / name)
            if graph is not None and not _same(graph, expected):
                self._tell_stale(self.lang.path / name, "is not the graph of lexicon.txt")

    def _check_decoding_graph(self, file: Path) -> None:
        graph = self._load(file)
        if graph is None:
            return
        # In HLG the id after the last token is on arcs that take no frame.
        most = self.lang.vocab_size - (file.name == "LG.pt")
        largest = int(graph.labels.max())
        if largest > most:
            self.tell(file, f"has the label {largest}, tokens end at {most}", "make it again")
        self._check_words(file, graph.attributes.get("aux_labels"))

    def _check_grammar(self, file: Path) -> None:
        graph = self._load(file)
        if graph is None:
            return
        self._check_words(file, graph.labels)
        used = set(graph.labels.unique().tolist()) - {0, -1}
        words = [w for i in sorted(used) if (w := self.lang.words.get(i)) is not None]
        silent = [w for w in words if w not in self.lang.lexicon and w not in WORD_SPECIALS]
        if silent:
            what = f"{len(silent)} of its words have no pronunciation: {named(silent)}"
            self.tell(file, what, "add them: lang prepare --words", Severity.WARNING)

    def _check_words(self, file: Path, labels: Tensor | RaggedTensor | None) -> None:
        if labels is None:
            self.tell(file, "has no aux_labels, the words", "make it again")
            return
        values = labels.values if isinstance(labels, RaggedTensor) else labels
        strange = [i for i in values.unique().tolist() if i > 0 and i not in self.lang.words]
        if strange:
            what = f"has the word {strange[0]}, which is not in words.txt"
            self.tell(file, what, "make it again, words.txt has changed")

    def _load(self, file: Path) -> Fsa | None:
        if not file.is_file():
            self._tell_stale(file, "no such file")
            return None
        try:
            graph = load_fsa(file)
        except FsaError as error:
            self.tell(file, str(error), "make it again")
            return None
        if graph.num_arcs == 0:
            self.tell(file, "is empty: it accepts nothing", "see wfst-entropy explain")
            return None
        return graph


def _same(a: Fsa, b: Fsa) -> bool:
    names = ("arcs", "scores", "aux_labels")
    parts = [(getattr(a, name, None), getattr(b, name)) for name in names]
    return all(isinstance(x, Tensor) and torch.equal(x, y) for x, y in parts)
