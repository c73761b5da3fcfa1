"""Text of tables: encoding and separator are recognised by content, because every program and country writes others."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from errors import UserError, first_line, printable

MAX_BYTES = 128 * 2**20
MAX_CELLS = 12_000_000  # about 1 GB of text objects
MAX_COLUMNS = 16_384  # of spreadsheet programs

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ("\t", ";", ",", "\uff0c")  # the last is the comma of Chinese keyboards
_SAMPLED_LINES = 60
_MAX_MESSAGE = 200
_SAMPLED_CHARACTERS = 4_000_000
_DECLARATION = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # line that Excel reads and hides
_DECIMAL_COMMAS = re.compile(r"(\s*[+-]?\d+(,\d+)?(e[+-]?\d+)?(?!\S))+\s*", re.IGNORECASE)  # 1,5 2,5
_MARKUP = re.compile(rb"\s*<(!doctype|html|table|\?xml|meta|head)", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x01-\x08\x0e-\x19\x1b-\x1f\x7f]")  # \x1a ends files of DOS programs
_ROW_LIMIT_HINT = "split the table, or remove what is not needed"


def describe_error(error: BaseException) -> str:
    """Return the first line of a library's message, which may repeat damaged content, without its end if it is long."""
    return printable(first_line(error))[:_MAX_MESSAGE]


def decode_text(data: bytes, path: Path) -> str:
    """Decode a text file in UTF-8, UTF-16, UTF-32 or GB18030 (Chinese Windows), with or without a byte-order mark; what
    is none of these is read as Latin-1.

    Args:
        path: for messages.
    Raises:
        UserError: the bytes are no text.
    """
    if _MARKUP.match(data[:200]):
        raise UserError(f"{path}: expected a table, got a web page or XML; save it as .xlsx in a spreadsheet program")
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a readable text table, but byte {error.start} is not {encoding}") from error
    if "\0" in text:
        raise UserError(f"{path}: expected a readable text table, got binary data (NUL characters)")
    if len(_CONTROLS.findall(text[:_SAMPLED_CHARACTERS])) > 0.01 * min(len(text), _SAMPLED_CHARACTERS):
        raise UserError(f"{path}: expected a readable text table, got binary data (control characters)")
    return text


def _encoding(data: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:2000]
    if len(sample) > 3 and b"\0" in sample:  # ASCII characters in UTF-16 have a zero byte each
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if max(even, odd) > 0.4 * len(sample[1::2]) and min(even, odd) == 0:
            return "utf-16-le" if odd else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030" if _is_chinese(data) else "latin-1"
    return "utf-8"


def _is_chinese(data: bytes) -> bool:
    """True for GB18030. Western text may be valid by chance, but its accented letters stand between ASCII letters."""
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    high = re.findall(rb"[\x80-\xff]+", data[:_SAMPLED_CHARACTERS])
    paired = sum(len(run) for run in high if len(run) % 2 == 0)
    return paired > 0.5 * sum(map(len, high))


def split_cells(text: str, path: Path) -> list[list[str]]:
    """Split the text of a table into cells without surrounding blanks, blank lines included.

    Separators are tab, semicolon, comma or full-width comma, whichever gives the rows the same number of cells, or the
    one that a first line `sep=;` declares; else blanks, if they align into columns.

    Raises:
        UserError: more cells or longer ones than make sense.
    """
    declared = _DECLARATION.match(text)
    if declared:
        text = text[declared.end() :]
    separator = declared[1] if declared else _find_separator(text)
    rows: list[list[str]] = []
    count = 0
    try:
        for row in _split_lines(text, separator):
            count += len(row)
            if count > MAX_CELLS or len(row) > MAX_COLUMNS:
                limit = f"{MAX_COLUMNS} columns" if len(row) > MAX_COLUMNS else f"{MAX_CELLS} cells"
                raise UserError(f"{path}: row {len(rows) + 1}: expected at most {limit}; {_ROW_LIMIT_HINT}")
            rows.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise UserError(
            f"{path}: row {len(rows) + 1}: expected a readable CSV table ({error}); is a quotation mark missing?"
        ) from error
    if rows and rows[-1] == ["\x1a"]:
        rows.pop()
    return rows


def _split_lines(text: str, separator: str | None) -> Iterator[list[str]]:
    lines = _lines(text)
    if separator is None:
        return (line.split() for line in lines)
    if separator == "":
        return ([line] for line in lines)
    if separator == "  ":
        return (re.split(r"\s{2,}|\t", line.strip()) for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ")


def _lines(text: str) -> Iterable[str]:
    """Lines with their ends, which may be those of any operating system."""
    return io.StringIO(text, newline="")


def _find_separator(text: str) -> str | None:
    """Separator of a table; None: single blanks, two blanks: aligned columns, empty: a single column."""
    sample = []
    for line in _lines(text[:_SAMPLED_CHARACTERS]):
        if line.strip() and not line.lstrip().startswith("#"):
            sample.append(line)
        if len(sample) == _SAMPLED_LINES:
            break
    if not sample:
        return ""
    shares = {separator: _share_of_usual_width(sample, separator) for separator in _SEPARATORS}
    best = max(shares, key=shares.__getitem__)  # the first of equals
    if best == "," and all(len(line.split()) > 1 and _DECIMAL_COMMAS.fullmatch(line) for line in sample[1:] or sample):
        return None
    if shares[best]:
        return best
    if any(separator in line for line in sample for separator in _SEPARATORS):
        return next(s for s in (",", ";", "\t", "\uff0c") if any(s in line for line in sample))
    if _have_one_width([re.split(r"\s{2,}", line.strip()) for line in sample]):
        return "  "
    words = [line.split() for line in sample]
    counted = [row[0] for row in words[1:]] == [str(i) for i in range(1, len(words))]  # by R, without a name
    return None if _have_one_width(words) or (counted and _have_one_width([["", *words[0]], *words[1:]])) else ""


def _share_of_usual_width(lines: list[str], separator: str) -> float:
    """Share of the rows that have the commonest number of cells; 0 if that is one."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return 0.0
    usual, rows = widths.most_common(1)[0]
    return rows / widths.total() if usual > 1 else 0.0


def _have_one_width(rows: list[list[str]]) -> bool:
    """True if all rows have the same number of cells, more than one."""
    return len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
