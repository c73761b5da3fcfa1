"""The page of clips that `check` and `prepare` write: one self-contained HTML file with a row per clip.

Rows are rendered one by one into a temporary file, so that memory does not grow with the number of clips. Everything
that comes from the data set is escaped, and a content security policy permits no script, style or address but those of
the page itself.
"""

import base64
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from jinja2 import Template
from markupsafe import Markup

from core.files import remove_abandoned, replacing_file
from faces.facs import MAX_INTENSITY
from output.clip_pictures import Curve, Picture
from output.page_parts import source_hash, template_environment

MAX_PICTURE_BYTES = 64 * 2**20  # of all pictures of a page, as base64; enough for about 4,000 clips
MAX_ROWS = 20_000
MAX_KINDS = 40  # entries of the list by which warnings are filtered
_MAX_FINDINGS, _MAX_TABLE_ROWS = 30, 2_000  # texts per clip, rows per table
_OTHER_KINDS = "other"
_TEMPLATES = Path(__file__).with_name("templates")
_BLOCK = 2**20
_CURVE_WIDTH, _CURVE_HEIGHT = 200, 72  # of the drawing of curves

_PLACE = re.compile(r"^(?:clip \S+|[^:]*[/\\].*?|\S+\.\w{2,5}): ")  # beginning of a message: clip, path or file
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_FILE = re.compile(r"\S*[/\\]\S*|\b\S+\.[A-Za-z]\w{1,4}\b")
_NUMBERS = re.compile(r"(?:frame )?\d[\d.]*%?(?:(?:, | and | x | to |-|/)(?:frame )?\d[\d.]*%?)*(?: more)?")


@dataclass(frozen=True)
class Finding:
    """One warning, remark or reason on a clip.

    Attributes:
        text: one line.
        kind: by which rows are filtered; empty: the text without names and numbers.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class ClipRow:
    """One row of the page.

    Attributes:
        name, split: of the clip.
        status: `rejected` for clips that cannot be used.
        findings: warnings and remarks.
        facts: (label, value) in the order in which they are shown; empty values are left out.
        pictures: thumbnails; empty if no frame can be read.
        curves: action units; None if the clip has no table of them.
        marks: onset and apex, which are marked in the curves.
        frames: number of frames; None if it is unknown.
        motion: of the landmarks up to the apex, pixels; None if it is unknown.
    """

    name: str
    split: str
    status: Literal["usable", "rejected"] = "usable"
    findings: tuple[Finding, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()
    curves: tuple[Curve, ...] | None = None
    marks: tuple[int, ...] = ()
    frames: int | None = None
    motion: float | None = None


@dataclass(frozen=True)
class Table:
    """A table above the clips.

    Attributes:
        rows: cells; numbers are aligned to the right.
        bars: True adds a bar with the first number of each row.
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str | int]]
    bars: bool = False


@dataclass(frozen=True)
class Heading:
    """Head of the page.

    Attributes:
        title: one line.
        notes: sentences below it.
    """

    title: str
    notes: tuple[str, ...] = ()


def kind_of(text: str) -> str:
    """Return a message without the names and numbers by which those of different clips differ."""
    shorter = text
    while (match := _PLACE.match(shorter)) and match.end() < len(shorter):
        shorter = shorter[match.end() :]
    shorter = _FILE.sub("\u2026", _QUOTED.sub("\u2026", shorter.split(";")[0]))
    shorter = _NUMBERS.sub("\u2026", shorter).strip()
    return shorter if len(shorter) <= 90 else f"{shorter[:89]}\u2026"


class ClipPage:
    """Writer of a page; a context manager that collects rows on disk until `write`.

    Args:
        path: of the page; its folder is created.
        finding: word for a finding, in the singular: `warning` or `remark`.
    """

    def __init__(self, path: Path, finding: str = "warning"):
        self.path, self.finding = path, finding
        self.shown = self.left_out = self.without_pictures = self.with_findings = self.rejected = 0
        self._kinds: dict[str, int] = {}
        self._clips_of_kind: Counter[int] = Counter()
        self._picture_bytes = 0
        self._rows: IO[bytes] = tempfile.TemporaryFile()

    def __enter__(self) -> "ClipPage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def add(self, row: ClipRow) -> None:
        """Add a row. Beyond the limits of the page, its pictures or the row itself are left out and counted."""
        if self.shown >= MAX_ROWS:
            self.left_out += 1
            return
        pictures = [(picture, _data_uri(picture)) for picture in row.pictures]
        size = sum(len(uri) for _, uri in pictures)
        if self._picture_bytes + size > MAX_PICTURE_BYTES:
            self.without_pictures += 1
            pictures = []
        else:
            self._picture_bytes += size
        kinds = {self._kind_number(finding.kind or kind_of(finding.text)) for finding in row.findings}
        self._clips_of_kind.update(kinds)
        self.shown += 1
        self.with_findings += bool(row.findings)
        self.rejected += row.status == "rejected"
        text = _template("clip_row.html").render(
            row=row,
            number=self.shown,
            pictures=pictures,
            kinds=sorted(kinds),
            findings=row.findings[:_MAX_FINDINGS],
            more_findings=max(0, len(row.findings) - _MAX_FINDINGS),
            finding=self.finding,
            curves=None if row.curves is None else _drawn(row.curves, row.frames or 1),
            marks=_positions(row.marks, row.frames or 1),
            width=_CURVE_WIDTH,
            height=_CURVE_HEIGHT,
            largest=f"{MAX_INTENSITY:.0f}",
        )
        self._rows.write(_encoded(text))

    def write(self, heading: Heading, tables: Sequence[Table] = ()) -> Path:
        """Write the page, unless a file with the same content is there.

        Args:
            tables: shown above the clips; those without rows are left out.
        Returns:
            Path of the page.
        Raises:
            WriteError: the page cannot be written.
        """
        self._rows.seek(0)
        remove_abandoned(self.path.parent)
        with tempfile.TemporaryFile() as page:
            for part in self._parts(heading, tables):
                page.write(part)
            if not _holds(self.path, page):
                page.seek(0)
                with replacing_file(self.path) as temporary, temporary.open("wb") as file:
                    shutil.copyfileobj(page, file, _BLOCK)
        return self.path

    def _parts(self, heading: Heading, tables: Sequence[Table]) -> Iterator[bytes]:
        """Head, rows and foot of the page."""
        style, script = (_TEMPLATES.joinpath(name).read_text(encoding="utf-8") for name in _INLINE)
        kinds = [(number, kind, self._clips_of_kind[number]) for kind, number in self._kinds.items()]
        text = _template("clip_page.html").render(
            page=self,
            heading=heading,
            tables=[table for table in tables if table.rows],
            max_table_rows=_MAX_TABLE_ROWS,
            kinds=sorted(kinds, key=lambda kind: (kind[1] == _OTHER_KINDS, -kind[2], kind[1])),
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; img-src data:; style-src {source_hash(style)}; "
            f"script-src {source_hash(script)}; base-uri 'none'; form-action 'none'",
        )
        head, foot = text.split(_ROWS_HERE)
        yield _encoded(head)
        while block := self._rows.read(_BLOCK):
            yield block
        yield _encoded(foot)

    def _kind_number(self, kind: str) -> int:
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS - 1:
            kind = _OTHER_KINDS
        return self._kinds.setdefault(kind, len(self._kinds))


_INLINE = ("clip_page.css", "clip_page.js")
_ROWS_HERE = "<!-- rows -->"


def _template(name: str) -> Template:
    return template_environment(_TEMPLATES).get_template(name)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _data_uri(picture: Picture) -> str:
    return "" if picture.webp is None else f"data:image/webp;base64,{base64.b64encode(picture.webp).decode()}"


def _positions(frames: Sequence[int], count: int) -> list[str]:
    """Horizontal positions of frames in a drawing of the curves of a clip of `count` frames."""
    return [f"{frame / max(1, count - 1) * _CURVE_WIDTH:.1f}" for frame in frames]


def _drawn(curves: Sequence[Curve], count: int) -> list[tuple[str, str, str]]:
    """Name, peak and points of each curve."""
    drawn = []
    for curve in curves:
        across = _positions([frame for frame, _ in curve.points], count)
        points = " ".join(
            f"{x},{_CURVE_HEIGHT * (1 - intensity / MAX_INTENSITY):.1f}"
            for x, (_, intensity) in zip(across, curve.points, strict=True)
        )
        drawn.append((curve.name, f"{curve.peak:.1f}", points))
    return drawn


def _holds(path: Path, content: IO[bytes]) -> bool:
    """True if a file has the same bytes as an open one."""
    if not path.is_file() or path.stat().st_size != content.seek(0, os.SEEK_END):
        return False
    content.seek(0)
    with path.open("rb") as file:
        while block := content.read(_BLOCK):
            if block != file.read(_BLOCK):
                return False
    return True
