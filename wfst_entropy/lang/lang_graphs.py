"""LG.pt and HLG.pt of a lang directory, made when they are needed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wfst_entropy.fsa import Fsa, load_fsa, save_fsa
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.lang.grammar import arpa_to_g
from wfst_entropy.lang.graph_compiler import compile_hlg, compile_lg
from wfst_entropy.lang.lang_dir import LangDir
from wfst_entropy.lang.size_report import MAX_ARCS, MAX_STATES

GRAPH_OPTIONS_FILE = "graph_options.json"
_log = logging.getLogger(__name__)


def compile_lang_graphs(
    lang_dir: str | os.PathLike[str],
    grammar: str | os.PathLike[str] | None = None,
    topology: str | None = "standard",
    *,
    lexicon_only: bool = False,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
    force: bool = False,
) -> LangDir:
    """Makes `LG.pt` and `HLG.pt` of a lang directory, or `HL.pt` of its lexicon alone.

    Each file appears when it is whole, and a step is skipped where its file is newer than what it
    is made from and was made with the same options (`graph_options.json` keeps them): so what was
    interrupted goes on where it was.

    Args:
      lang_dir: a folder with `tokens.txt`, `words.txt` and `L_disambig.pt`.
      grammar: G as a graph (`.pt`), or a language model (`.arpa`, `.arpa.gz`), from which G is made
        on the way; by default `G.pt` in the folder.
      topology: of HLG, see `ctc_compose`; None for LG alone, which a search composes itself.
      lexicon_only: any words in any order, without a grammar: `HL.pt`.
      max_states, max_arcs: limits of every graph on the way.
      force: whether to make files that are newer than their sources, too.

    Returns:
      The folder.

    Raises:
      FsaFormatError: a file is missing or wrong; the message says what makes it.
      EmptyGraphError, NotDeterminizableError, FsaValueError, FsaRuntimeError: as `compile_lg` and
        `compile_hlg`.
      FileWriteError: a file cannot be written.

    Example:
      >>> import tempfile
      >>> from wfst_entropy.lang import Lexicon, write_lang_dir
      >>> lexicon = Lexicon([("READ", ["R", "EH", "D"]), ("RED", ["R", "EH", "D"])])
      >>> lang = write_lang_dir(Path(tempfile.mkdtemp()) / "lang_phone", lexicon)
      >>> save_fsa(Fsa.from_str("0 0 1 1 -1\\n0 0 2 2 -2\\n0 1 -1 -1 0\\n1"), lang.path / "G.pt")
      >>> compile_lang_graphs(lang.path).HLG
      Fsa(num_states=7, num_arcs=19, aux_labels)
    """
    lang = LangDir(lang_dir)
    limits = _Limits(max_states, max_arcs)
    if lexicon_only:
        _make_hl(lang, topology or "standard", limits, force)
        return lang
    source = _grammar_file(lang, grammar)
    lg_file, inputs = lang.path / "LG.pt", [*_files(lang), source]
    step = _Step(lang.path, lg_file, {"grammar": str(source)}, inputs, force)
    lg = None
    if step.is_needed():
        lg = limits.lg(lang, read_grammar(source, lang))
        step.write(lg)
    if topology is not None:
        options = {"topology": topology, "grammar": str(source)}
        step = _Step(lang.path, lang.path / "HLG.pt", options, [lg_file], force)
        if step.is_needed():
            lg = load_fsa(lg_file) if lg is None else lg
            step.write(limits.hlg(lang, lg, topology))
    return LangDir(lang.path)


def read_grammar(path: Path, lang: LangDir) -> Fsa:
    """G of a file: a graph, or a language model by the end of its name.

    Raises:
      FsaFormatError: as `load_fsa` and `read_arpa`.
    """
    if path.name.endswith((".arpa", ".arpa.gz")):
        return arpa_to_g(path, lang.words)
    return load_fsa(path)


class _Limits(NamedTuple):
    """The limits of all steps, and the steps under them."""

    max_states: int
    max_arcs: int

    def lg(self, lang: LangDir, g: Fsa | None) -> Fsa:
        size = lang.vocab_size
        return compile_lg(_named(lang), g, size, max_states=self.max_states, max_arcs=self.max_arcs)

    def hlg(self, lang: LangDir, lg: Fsa, topology: str) -> Fsa:
        size = lang.vocab_size
        return compile_hlg(lg, size, topology, max_states=self.max_states, max_arcs=self.max_arcs)


class _Step:
    """One file to make: whether that is needed, and that it was done."""

    def __init__(
        self,
        folder: Path,
        target: Path,
        options: dict[str, Any],
        inputs: Sequence[Path],
        force: bool,
    ) -> None:
        self.record = folder / GRAPH_OPTIONS_FILE
        self.target, self.options, self.inputs, self.force = target, options, inputs, force

    def is_needed(self) -> bool:
        if self.force or not self.target.is_file():
            return True
        made = self.target.stat().st_mtime_ns
        is_old = any(path.stat().st_mtime_ns > made for path in self.inputs)
        if is_old or _recorded(self.record).get(self.target.name) != self.options:
            return True
        _log.info("%s is newer than what it is made from, skipping", self.target)
        return False

    def write(self, graph: Fsa) -> None:
        """Writes the graph; meanwhile it has no options, for they would be old ones."""
        record = _recorded(self.record)
        record.pop(self.target.name, None)
        self._write_record(record)
        save_fsa(graph, self.target)
        self._write_record({**record, self.target.name: self.options})
        _log.info("%s written", self.target)

    def _write_record(self, record: dict[str, Any]) -> None:
        with replacing(self.record) as file:
            file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def _recorded(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FsaFormatError(
            f"{path}: is not JSON ({error}); delete it, graphs are made again"
        ) from error
    return record if isinstance(record, dict) else {}


def _make_hl(lang: LangDir, topology: str, limits: _Limits, force: bool) -> None:
    options = {"topology": topology, "grammar": None}
    step = _Step(lang.path, lang.path / "HL.pt", options, _files(lang), force)
    if step.is_needed():
        lexicon = limits.lg(lang, None)
        step.write(limits.hlg(lang, lexicon, topology))


def _grammar_file(lang: LangDir, grammar: str | os.PathLike[str] | None) -> Path:
    path = lang.path / "G.pt" if grammar is None else Path(grammar)
    if not path.is_file():
        raise FsaFormatError(
            f"{path}: no such file; give a grammar, G as .pt or a language model as .arpa, which "
            "wfst-entropy lm train makes of text"
        )
    return path


def _files(lang: LangDir) -> list[Path]:
    """What every graph is made from, besides the grammar."""
    for name in ("tokens.txt", "words.txt", "L_disambig.pt"):
        if not (lang.path / name).is_file():
            raise FsaFormatError(
                f"{lang.path / name}: no such file; to make it: wfst-entropy lang prepare "
                f"{lang.path}"
            )
    return [lang.path / name for name in ("tokens.txt", "words.txt", "L_disambig.pt")]


def _named(lang: LangDir) -> Fsa:
    """L_disambig with its symbols, which messages show."""
    graph = load_fsa(lang.path / "L_disambig.pt")
    graph.set_attribute_("labels_sym", lang.tokens)
    return graph.set_attribute_("aux_labels_sym", lang.words)
