"""Tables of a report, in Markdown."""

from __future__ import annotations

import dataclasses

NOT_KNOWN = "-"


@dataclasses.dataclass
class Table:
    """A table for the terminal and for Markdown: a heading, names of columns, rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table in Markdown.

        >>> print(Table("T", ["set", "WER"], [["test", "5.00"]]).markdown())
        | set | WER |
        |---|---|
        | test | 5.00 |
        """
        lines = [self.columns, *self.rows]
        text = [
            "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines
        ]
        return "\n".join([text[0], "|" + "---|" * len(self.columns), *text[1:]])


def format_number(value: float | None, digits: int = 3, scale: float = 1.0) -> str:
    """A number of a table, scaled; a dash where it is not known.

    >>> format_number(0.0404, 1, 1000.0), format_number(None)
    ('40.4', '-')
    """
    return NOT_KNOWN if value is None else f"{value * scale:.{digits}f}"
