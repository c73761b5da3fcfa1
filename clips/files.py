"""What the names of clips say, and the files that belong to them: landmarks, action-unit tables, lists."""

import csv
import re
from pathlib import Path

from clips.reading import ClipError

LANDMARK_SUFFIXES = (".npy", ".csv", ".pts")


def find_file(folder: Path, name: str, split: str, suffixes: tuple[str, ...]) -> Path:
    """The file of a clip, by its exact name, in a folder or in the folder's subfolder of the split.

    Raises:
        FileNotFoundError: none.
        ValueError: several, or one whose name differs in padding or case only.
    """
    places = [folder / split / name, folder / name] if split else [folder / name]
    found = [p for place in places for suffix in suffixes if (p := place.with_name(place.name + suffix)).exists()]
    if not found:
        expected = f"expected {places[-1]}{'|'.join(suffixes)}"
        if near := [p for place in places for p in _alike(place, suffixes)]:
            raise ValueError(f"{expected}, found {near[0]}, which differs in padding or case; rename it")
        raise FileNotFoundError(f"{expected}, found no such file")
    if len(found) > 1:
        raise ValueError(f"expected one file, found {' and '.join(str(path) for path in found)}; remove one")
    return found[0]


def find_table(folder: Path, name: str, split: str) -> Path:
    """The action-unit table of a clip: `merged_AU.csv` in a folder of its name, or as `find_file`."""
    for merged in (folder / split / name / "merged_AU.csv", folder / name / "merged_AU.csv"):
        if merged.exists():
            return merged
    return find_file(folder, name, split, (".csv",))


def subject_of(name: str) -> str:
    """The person in a clip: what stands before the first `_` or `#` of its name, as in sub01_EP02_01f (CASME II),
    006_1_2 (SAMM) and s3_po_05 (SMIC-HS)."""
    return re.split("[_#]", name)[0]


def normalised_name(name: str) -> str:
    """A name without differences of case and zero padding: `s1_ne_1` of `S01_ne_01`, `spno.1` of `spNO.01`."""
    return re.sub(r"\d+", lambda digits: str(int(digits[0])), name.strip().casefold())


def read_list(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file under the names of its header, blanks around names and cells left out.

    Raises:
        ClipError: unreadable, or one of `columns` is missing.
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


def _alike(place: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files beside a place whose names differ from its name in padding or case."""
    if not place.parent.is_dir():
        return []
    wanted = normalised_name(place.name)
    return sorted(p for p in place.parent.iterdir() if p.suffix in suffixes and normalised_name(p.stem) == wanted)
