"""Files that belong to a clip by its name (landmarks, action-unit tables), lists of clips, and the parts of a name."""

import re
from pathlib import Path

from clips.reading import ClipError
from errors import UserError, printable
from parsing.cells import plain_cell
from parsing.files import read_file
from parsing.tables import read_table
from parsing.text_tables import decode_text

LANDMARK_SUFFIXES = (".npy", ".csv", ".pts")
OTHER_LANDMARK_SUFFIXES = (".npz", ".json", ".txt", ".tsv", ".xlsx", ".xls")
"""Of landmark files in a folder of their own; beside clips, such files may be something else."""
_MAX_LIST_BYTES = 16 * 2**20


def find_file(folder: Path, name: str, split: str, suffixes: tuple[str, ...], others: tuple[str, ...] = ()) -> Path:
    """Find the file of a clip by its exact name, in a folder or in its subfolder `split`.

    Args:
        suffixes: of the file.
        others: suffixes of a file that is used where there is none with `suffixes`.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are several, or one whose name differs in zero padding or case only.
    """
    places = list(dict.fromkeys([folder / split / name, folder / name]))  # one, for a name that is an absolute path
    found = _with_suffixes(places, suffixes) or _with_suffixes(places, others)
    if not found:
        expected = f"expected {places[-1]}{'|'.join(suffixes)}"
        if similar := [p for place in places for p in _similar_names(place, suffixes + others)]:
            raise ValueError(f"{expected}, found {similar[0]}, which differs in padding or case; rename it")
        raise FileNotFoundError(f"{expected}, found no such file")
    if len(found) > 1:
        raise ValueError(f"expected one file, found {' and '.join(str(path) for path in found)}; remove one")
    return found[0]


def find_landmarks(folder: Path, name: str, split: str) -> Path:
    """Find the landmark file of a clip in a folder of such files, as `find_file`."""
    return find_file(folder, name, split, LANDMARK_SUFFIXES, OTHER_LANDMARK_SUFFIXES)


def find_table(folder: Path, name: str, split: str) -> Path:
    """Find the action-unit table of a clip: `merged_AU.csv` in a folder of its name, else as `find_file`."""
    for merged in (folder / split / name / "merged_AU.csv", folder / name / "merged_AU.csv"):
        if merged.exists():
            return merged
    return find_file(folder, name, split, (".csv",), (".tsv", ".txt", ".xlsx", ".xls"))


def subject_of(name: str) -> str:
    """Return the subject of a clip: the part of its name before the first `_` or `#`, as in sub01_EP02_01f (CASME II),
    006_1_2 (SAMM) and s3_po_05 (SMIC-HS)."""
    return re.split("[_#]", name)[0]


def normalised_name(name: str) -> str:
    """Return a name in lower case and without zero padding: `S01_ne_01` -> `s1_ne_1`, `spNO.01` -> `spno.1`."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.strip().casefold())


def read_list(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a table with their numbers in spreadsheet programs; rows may end early.

    Raises:
        ClipError: the file is unreadable, or one of `columns` is missing or repeated.
    """
    try:
        table = read_table(path, short_rows=True)
    except UserError as error:
        raise ClipError(str(error)) from error
    if not table.rows or not set(columns) <= set(table.header):
        found = ", ".join(table.header) if table.rows else "no rows"
        raise ClipError(f"{path}: expected the columns {','.join(columns)}; found {printable(found)[:200]}")
    if repeated := [name for name in columns if table.header.count(name) > 1]:
        raise ClipError(f"{path}: expected one column {repeated[0]!r}, found several; remove all but one")
    return [
        (row.number, {name: plain_cell(cell) for name, cell in zip(table.header, row.cells, strict=True) if name})
        for row in table.rows
    ]


def read_names(path: Path) -> list[str]:
    """Read a list of names, one per line, in any encoding; separators at the end of lines are left out.

    Raises:
        UserError: unreadable.
    """
    lines = decode_text(read_file(path, max_bytes=_MAX_LIST_BYTES), path).splitlines()
    names = (line.strip().rstrip(",;\t").strip() for line in lines)
    return [name for name in names if name and not name.startswith("#")]


def _with_suffixes(places: list[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return [p for place in places for suffix in suffixes if (p := place.with_name(place.name + suffix)).exists()]


def _similar_names(place: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return files in the folder of `place` whose names differ from it in zero padding or case only."""
    if not place.parent.is_dir():
        return []
    wanted = normalised_name(place.name)
    return sorted(p for p in place.parent.iterdir() if p.suffix in suffixes and normalised_name(p.stem) == wanted)
