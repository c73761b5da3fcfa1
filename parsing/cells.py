"""Cells of the CSV files that the program writes and people open in Excel, which would run some as formulas."""

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_MARK = "'"


def cell_text(value: object) -> str:
    """Return a value as text that can be written as UTF-8: bytes of names that are not are escaped, None is empty."""
    return "" if value is None else str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def safe_cell(value: object) -> str:
    """Return the text of a cell: with an apostrophe before it where Excel would take it for a formula.

    Numbers stay numbers.
    """
    text = cell_text(value)
    return _MARK + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain_cell(text: str) -> str:
    """Return the text of which `safe_cell` made a cell, without the apostrophe."""
    return text[1:] if text.startswith(_MARK) and _FORMULA.match(text[1:]) else text
