"""Cells of the CSV files that the program writes and people open in Excel, which would run some as formulas."""

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_MARK = "'"


def safe_cell(value: object) -> str:
    """Return the text of a cell: with an apostrophe before it where Excel would take it for a formula.

    Numbers stay numbers. Bytes of names that are not UTF-8 are escaped.
    """
    text = "" if value is None else str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return _MARK + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain_cell(text: str) -> str:
    """Return the text that `safe_cell` was given, without the apostrophe."""
    return text[1:] if text.startswith(_MARK) and _FORMULA.match(text[1:]) else text
