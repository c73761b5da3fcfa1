"""Files that belong to a clip by its name (landmarks, action-unit tables), lists of clips, and the parts of a name."""

import csv
import re
from pathlib import Path

from clips.reading import ClipError

LANDMARK_SUFFIXES = (".npy", ".csv", ".pts")


def find_file(folder: Path, name: str, split: str, suffixes: tuple[str, ...]) -> Path:
    """Find the file of a clip by its exact name, in a folder or in its subfolder `split`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are several, or one whose name differs in zero padding or case only.
    """
    places = [folder / split / name, folder / name] if split else [folder / name]
    found = [p for place in places for suffix in suffixes if (p := place.with_name(place.name + suffix)).exists()]
    if not found:
        expected = f"expected {places[-1]}{'|'.join(suffixes)}"
        if similar := [p for place in places for p in _similar_names(place, suffixes)]:
            raise ValueError(f"{expected}, found {similar[0]}, which differs in padding or case; rename it")
        raise FileNotFoundError(f"{expected}, found no such file")
    if len(found) > 1:
        raise ValueError(f"expected one file, found {' and '.join(str(path) for path in found)}; remove one")
    return found[0]


def find_table(folder: Path, name: str, split: str) -> Path:
    """Find the action-unit table of a clip: `merged_AU.csv` in a folder of its name, else as `find_file`."""
    for merged in (folder / split / name / "merged_AU.csv", folder / name / "merged_AU.csv"):
        if merged.exists():
            return merged
    return find_file(folder, name, split, (".csv",))


def subject_of(name: str) -> str:
    """Return the subject of a clip: the part of its name before the first `_` or `#`, as in sub01_EP02_01f (CASME II),
    006_1_2 (SAMM) and s3_po_05 (SMIC-HS)."""
    return re.split("[_#]", name)[0]


def normalised_name(name: str) -> str:
    """Return a name in lower case and without zero padding: `S01_ne_01` -> `s1_ne_1`, `spNO.01` -> `spno.1`."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.strip().casefold())


def read_list(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV file with their line numbers; spaces around names and cells are removed.

    Raises:
        ClipError: the file is unreadable, or one of `columns` is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClipError(f"{path}: expected a readable CSV file ({error})") from error
    stripped = [(line, {name.strip(): cell.strip() for name, cell in row.items() if name}) for line, row in rows]
    if not rows or not set(columns) <= set(stripped[0][1]):
        found = ", ".join(stripped[0][1]) if rows else "no rows"
        raise ClipError(f"{path}: expected the columns {','.join(columns)}; found {found}")
    return stripped


def _similar_names(place: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return files in the folder of `place` whose names differ from it in zero padding or case only."""
    if not place.parent.is_dir():
        return []
    wanted = normalised_name(place.name)
    return sorted(p for p in place.parent.iterdir() if p.suffix in suffixes and normalised_name(p.stem) == wanted)
