"""The lines of a text file, and everything about them that another tool would stumble over."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.inspection import Severity
from wfst_entropy.lang.lang_finding import LangFinding

# Characters; the longest line of a true lexicon is far below.
MAX_LINE = 65536

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]")
# Blanks that look like a blank but separate no fields here, while other tools split at them.
_ODD_BLANK = re.compile("[\x85\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]")


def read_text_lines(path: str | os.PathLike[str]) -> tuple[list[str], list[LangFinding]]:
    """Reads a file of UTF-8 lines.

    Args:
      path: an ordinary file.

    Returns:
      The lines without their ends; a line of more than `MAX_LINE` characters is left empty. And
      what is wrong: an empty file, a byte order mark, NUL and control characters, another encoding,
      CRLF, a last line without an end (the file may be cut off), overlong lines, odd blanks. Where
      nothing can be read there are no lines.

    Raises:
      FsaFormatError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "a.txt"
      ...     _ = path.write_bytes(b"A a\\r\\nB b\\r\\n")
      ...     lines, (finding,) = read_text_lines(path)
      >>> lines, finding.line, finding.what
      (['A a', 'B b'], 1, 'ends with CRLF, as do 2 lines')
    """
    path = Path(path)
    if not path.is_file():
        raise FsaFormatError(f"{path}: no such file.")
    reader = _Reader(str(path))
    return reader.lines(path.read_bytes()), reader.findings


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[LangFinding] = []

    def tell(self, line: int, what: str, remedy: str, severity: Severity = Severity.ERROR) -> None:
        self.findings.append(LangFinding(severity, self.file, line, "", what, remedy))

    def lines(self, data: bytes) -> list[str]:
        if not data:
            self.tell(1, "the file is empty", "make it again")
            return []
        if data.startswith(_UTF16_BOMS):
            self.tell(1, "is UTF-16", f"iconv -f utf-16 -t utf-8 {self.file} > NEW")
            return []
        if data.startswith(_UTF8_BOM):
            remedy = rf"remove it: sed -i '1s/^\xEF\xBB\xBF//' {self.file}"
            self.tell(1, "begins with a byte order mark", remedy)
            data = data[len(_UTF8_BOM) :]
        if (place := data.find(b"\0")) >= 0:
            remedy = rf"if it is text after all: tr -d '\000' < {self.file} > NEW"
            self.tell(data.count(b"\n", 0, place) + 1, "holds a NUL byte", remedy)
            return []
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
            self.tell(line, what, f"if it is Latin-1: iconv -f latin1 -t utf-8 {self.file} > NEW")
            return []
        return self._split(text)

    def _split(self, text: str) -> list[str]:
        if "\r\n" in text:
            line = text.count("\n", 0, text.index("\r\n")) + 1
            what = f"ends with CRLF, as do {text.count(chr(13) + chr(10))} lines"
            self.tell(line, what, rf"sed -i 's/\r$//' {self.file}")
            text = text.replace("\r\n", "\n")
        self._tell_first(_CONTROL, text, "control character", Severity.ERROR)
        if not text.isascii():
            self._tell_first(_ODD_BLANK, text, "odd blank", Severity.WARNING)
        lines = text.split("\n")
        if lines[-1]:
            remedy = f"the file may be cut off: make it again; if it is whole: echo >> {self.file}"
            self.tell(len(lines), "the last line has no end", remedy)
        else:
            lines.pop()
        for i in range(len(lines)):
            if len(lines[i]) > MAX_LINE:
                what = f"{len(lines[i])} characters long, above {MAX_LINE}"
                self.tell(i + 1, what, "look whether line ends are missing")
                lines[i] = ""
        return lines

    def _tell_first(
        self, pattern: re.Pattern[str], text: str, name: str, severity: Severity
    ) -> None:
        if found := pattern.search(text):
            line = text.count("\n", 0, found.start()) + 1
            what = f"holds the {name} U+{ord(found.group()):04X}"
            self.tell(line, what, "replace it by a blank, or delete it", severity)
