"""Finds coding sheets among the files around a data set, by their documented names or else by their columns."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from errors import UserError
from parsing.files import searched_folder
from preparation.clip_record import Remark
from preparation.readers.cells import SUFFIXES
from preparation.readers.header import Header
from preparation.readers.sheets import has_columns

_MAX_TRIED = 200  # files that are opened to look at their columns
_MAX_BYTES = 32 * 2**20  # the largest sheet has 0.4 MB


def find_sheet(
    places: Sequence[Iterable[Path]], names: Sequence[str], header: Header, given: Path | None
) -> tuple[Path, tuple[Remark, ...]]:
    """Find a coding sheet.

    Args:
        places: groups of folders to search, the nearest first; the search ends at the first group that has a sheet.
        names: documented file names of the sheet's editions, the preferred one first; case is ignored.
        header: by which a sheet under another name is recognised.
        given: sheet that the user names; it is used whatever its name.
    Returns:
        The sheet, and a remark where an edition was preferred to others, or the name is not a documented one.
    Raises:
        UserError: no such sheet, or several of which none is preferred.
    """
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such sheet{searched_folder(given)}")
        return given, ()
    for folders in places:
        files = _sheet_files(folders)
        editions = [found for name in names if (found := [p for p in files if p.name.casefold() == name.casefold()])]
        if not editions and (others := _with_columns(files, header)):
            editions = [others]
        if not editions:
            continue
        if len(editions[0]) > 1:
            raise UserError(f"expected one coding sheet, found {' and '.join(map(str, editions[0]))}; set `sheet`")
        chosen, *others = (edition[0] for edition in editions)
        remarks = [Remark(f"{p.name} beside {chosen.name}", f"{chosen.name} is used") for p in others]
        if names and chosen.name.casefold() not in {name.casefold() for name in names}:
            remarks.append(Remark(f"{chosen.name}: not a documented name", "used, because it has the columns"))
        return chosen, tuple(remarks)
    wanted = f"{' or '.join(names)}, or one of another name" if names else ""
    raise UserError(_absent(wanted, header))


def find_parts(places: Sequence[Iterable[Path]], pattern: str, header: Header) -> list[Path]:
    """Find the files of a sheet in several parts: those whose names match a regular expression, or else those with the
    columns; `places` as in `find_sheet`.

    Raises:
        UserError: there are none.
    """
    for folders in places:
        files = _sheet_files(folders)
        named = [path for path in files if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if found := named or _with_columns(files, header):
            return found
    raise UserError(_absent(f"{pattern.replace('|', ' or ')}, or of another name", header))


def _absent(wanted: str, header: Header) -> str:
    looked_for = ",".join(header.given.get(name, name) for name in header.columns)
    return (
        f"expected the coding sheet {wanted}{' ' if wanted else ''}with the columns {looked_for} beside the clips, "
        "found none; set `sheet`, and `columns` for columns of other names"
    )


def _sheet_files(places: Iterable[Path]) -> list[Path]:
    """Sheets in folders, each once, without hidden files and lock files of office programs (`~$`)."""
    found = {p.resolve(): p for place in places for p in place.iterdir() if p.suffix.lower() in SUFFIXES}
    return sorted(p for p in found.values() if not p.name.startswith((".", "~$")) and p.is_file())


def _with_columns(files: Sequence[Path], header: Header) -> list[Path]:
    """Files that have the columns; of the same sheet in several formats, the first of `SUFFIXES`."""
    small = [path for path in files if path.stat().st_size <= _MAX_BYTES][:_MAX_TRIED]
    found: dict[Path, Path] = {}
    for path in sorted(small, key=lambda path: SUFFIXES.index(path.suffix.lower())):
        if path.with_suffix("") not in found and has_columns(path, header):
            found[path.with_suffix("")] = path
    return sorted(found.values())
