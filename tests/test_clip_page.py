"""The page of clips that `check` and `prepare` write, without a browser; `test_clip_page_browser.py` opens it."""

import base64
import hashlib
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

import output.clip_page as clip_page
from faces.action_units import ACTION_UNITS
from output.clip_page import ClipPage, ClipRow, Finding, Heading, Table, kind_of
from output.clip_pictures import SIDE, Apex, Picture, action_unit_curves, clip_pictures, find_apex
from tests.conftest import face_landmarks

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}\x1b\u202e"
VOID = {"meta", "link", "input", "img"}


class Reader(HTMLParser):
    """Elements of a page: (tag, attributes) in their order; checks that all are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute of {tag} is there twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def write(path: Path, *rows: ClipRow, tables: tuple[Table, ...] = (), title: str = "clips") -> str:
    """The text of a page of these rows."""
    with ClipPage(path) as page:
        for row in rows:
            page.add(row)
        assert page.write(Heading(title, ("a note",)), tables) == path
    return path.read_text(encoding="utf-8")


def row(name: str, *findings: str, **changes) -> ClipRow:
    return ClipRow(name, "train", findings=tuple(map(Finding, findings)), **changes)


def picture(seed: int = 0) -> Picture:
    frame = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    return clip_pictures(lambda number: frame, 0, Apex(None), None, onset_known=True)[0]


def decoded(picture: Picture) -> np.ndarray:
    assert picture.webp is not None
    return np.asarray(Image.open(io.BytesIO(picture.webp)).convert("RGB"), int)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_names_and_texts_of_a_data_set_stay_text(tmp_path):
    hostile = ClipRow(
        HOSTILE,
        HOSTILE,
        findings=(Finding(HOSTILE), Finding(HOSTILE, HOSTILE)),
        facts=((HOSTILE, HOSTILE), ("empty", "")),
        pictures=(Picture(HOSTILE, b"webp"), Picture(HOSTILE)),
        curves=action_unit_curves(np.linspace(0, 1, 3 * 34).reshape(3, 17, 2)),
        frames=3,
    )
    table = Table(HOSTILE, (HOSTILE, "n"), [(HOSTILE, 3)], bars=True)
    text = write(tmp_path / "page.html", hostile, tables=(table,), title=HOSTILE)
    page = Reader(text)
    assert [attributes.get("id") for attributes in page.all("script")] == ["code"]
    assert {name for _, attributes in page.elements for name in attributes if name.startswith("on")} == set()
    assert {attributes["src"].split(":")[0] for attributes in page.all("img")} == {"data"}
    assert "49" not in re.findall(r"<h3>(.*?)</h3>", text)[0]
    assert html.unescape(re.findall(r"<h3>(.*?)</h3>", text)[0]).endswith("&{{7*7}}\\x1b\\u202e")
    assert "empty" not in text


def test_the_policy_permits_the_page_itself_and_nothing_else(tmp_path):
    page = Reader(text := write(tmp_path / "page.html", row("a", pictures=(picture(),))))
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        (inside,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert not any("style" in attributes for _, attributes in page.elements)
    addresses = [a[name] for _, a in page.elements for name in ("src", "href") if name in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in text


def test_rows_keep_their_order_and_the_page_its_bytes(tmp_path):
    rows = [row("b", "x"), row("a10"), row("a9", pictures=(picture(),), frames=7)]
    text = write(tmp_path / "page.html", *rows)
    assert re.findall(r"<h3>(.*?)</h3>", text) == ["b", "a10", "a9"]
    before = (tmp_path / "page.html").stat()
    assert write(tmp_path / "page.html", *rows) == text
    assert (tmp_path / "page.html").stat().st_ino == before.st_ino
    assert write(tmp_path / "page.html", *rows[::-1]) != text


def test_every_picture_and_drawing_has_a_text(tmp_path):
    units = np.zeros((4, 17, 2))
    units[2, ACTION_UNITS.index(12)] = 0.5
    changes = {"pictures": (picture(),), "curves": action_unit_curves(units), "frames": 4, "marks": (0, 2)}
    text = write(tmp_path / "page.html", row("a", **changes), row("b", curves=()), row("c"))
    page = Reader(text)
    assert [a["alt"] for a in page.all("img")] == ["Onset (0) of a"]
    assert [a["aria-label"] for a in page.all("svg")] == ["Action units over time: AU12 up to 2.5"]
    assert "points" in page.all("polyline")[0]
    assert page.all("polyline")[0]["points"] == "0.0,72.0 66.7,72.0 133.3,36.0 200.0,72.0"
    assert text.count("Action units at rest") == 1
    assert {"lang": "en"} in page.all("html")
    labelled = re.findall(r"<label[^>]*>.*?</label>", text, re.DOTALL)
    assert len(labelled) == len(page.all("select")) + len(page.all("input"))


def test_warnings_are_counted_by_kind(tmp_path):
    rows = [
        row("a", "frames are missing between 1 and 3"),
        row("b", "frames are missing between 2 and 5, 7 and 9", "img3.png: unreadable image"),
        row("c"),
        row("d", "no face", status="rejected"),
    ]
    text = html.unescape(write(tmp_path / "page.html", *rows))
    options = re.findall(r'<option value="([^"]*)">([^<]*)</option>', text)
    assert ("all", "all clips (4)") in options
    assert ("any", "with warnings (3)") in options
    assert ("none", "without warnings (1)") in options
    assert ("rejected", "rejected (1)") in options
    numbers = {label: value for value, label in options}
    missing = numbers["frames are missing between \u2026 (2)"]
    kinds = [a["data-kinds"].split() for a in Reader(text).all("li") if "data-kinds" in a]
    assert [missing in kinds_of_row for kinds_of_row in kinds] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("clip sub01_a: frames are missing between 10 and 12", "frames are missing between \u2026"),
        ("my data/b/img3.png: unreadable image (truncated); replace it", "unreadable image (truncated)"),
        ("clip b: au/b.csv: frame 6: expected values, found no row", "\u2026: expected values, found no row"),
        ("most landmarks lie outside frame 0, frame 1, frame 2 and 9 more; check", "most landmarks lie outside \u2026"),
        ("18.4% of the crop outside the frames", "\u2026 of the crop outside the frames"),
        ("FACS code 'x+9': AU24 left out", "FACS code \u2026: AU\u2026 left out"),
        ("a.csv: ", "\u2026:"),
    ],
)
def test_the_kind_of_a_warning_has_no_names_and_numbers(text, kind):
    assert kind_of(text) == kind


def test_a_large_page_says_what_it_leaves_out(tmp_path, monkeypatch):
    one = picture()
    monkeypatch.setattr(clip_page, "MAX_PICTURE_BYTES", int(len(one.webp) * 1.4 * 2.5))
    monkeypatch.setattr(clip_page, "MAX_ROWS", 4)
    monkeypatch.setattr(clip_page, "MAX_KINDS", 3)
    rows = [row(f"clip{i}", f"{'xyzuv'[i]} is wrong", "w" * 2000, *["more"] * 99, pictures=(one,)) for i in range(5)]
    text = write(tmp_path / "page.html", *rows)
    page = Reader(text)
    assert len(page.all("img")) == 2
    assert "2 clips are shown without pictures" in text
    assert "1 further clips are not shown" in text
    assert text.count("<h3>") == 4
    assert "other (" in text
    assert "w" * 700 not in text
    assert text.count("<li>and 71 more</li>") == 4


def test_an_interrupted_page_leaves_the_earlier_one(tmp_path, monkeypatch):
    before = write(tmp_path / "page.html", row("a"))

    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("output.clip_page.shutil.copyfileobj", full)
    with pytest.raises(ValueError, match=r"page\.html: could not be written \(No space left"):
        write(tmp_path / "page.html", row("b"))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


# --- pictures and curves ----------------------------------------------------------------------------------------------


def greys(*values: int) -> list[np.ndarray]:
    return [np.full((200, 100, 3), value, np.uint8) for value in values]


def test_pictures_show_onset_apex_five_times_the_difference_and_landmarks():
    frames = greys(100, 110, 90)
    landmarks = face_landmarks(100) + [0, 100]
    onset, apex, difference, drawn = clip_pictures(frames.__getitem__, 1, Apex(2), landmarks, onset_known=True)
    captions = ["Onset (1)", "Apex (2)", "Difference \u00d75", "Landmarks"]
    assert [p.caption for p in (onset, apex, difference, drawn)] == captions
    assert (onset.width, onset.height) == (SIDE // 2, SIDE)
    for shown, value in ((onset, 110), (apex, 90), (difference, 127.5 - 5 * 20)):
        assert decoded(shown).mean() == pytest.approx(value, abs=3)
    green = decoded(drawn)[..., 1] > 160
    assert green[SIDE // 2 :].any()
    assert not green[: SIDE // 2 - 2].any()


def test_unknown_things_are_empty():
    shown = clip_pictures(greys(1, 2).__getitem__, 0, Apex(None), None, onset_known=False)
    assert [(p.caption, p.webp is None) for p in shown] == [
        ("First frame (0)", False),
        ("Apex unknown", True),
        ("No difference", True),
        ("No landmarks", True),
    ]


def test_an_apex_is_estimated_only_without_a_label_and_said_to_be():
    landmarks = np.repeat(face_landmarks(100)[None], 6, axis=0)
    landmarks[3, 48:60] += [0, 2]
    landmarks[5, 48:60] += [0, 9]
    assert find_apex(None, 0, None) == Apex(None)
    assert find_apex(None, 0, 4) == Apex(4)
    labelled = find_apex(landmarks, 0, 2)
    assert (labelled.frame, labelled.estimated) == (2, False)
    assert labelled.motion == pytest.approx(0, abs=1e-9)
    found = find_apex(landmarks, 0, None)
    assert (found.frame, found.estimated) == (3, True)
    assert found.motion == pytest.approx(0.35, abs=0.1)
    assert find_apex(landmarks[:1], 0, None) == Apex(None)
    assert find_apex(np.repeat(landmarks[:1], 4, axis=0), 0, None).frame is None
    (_, apex, *_) = clip_pictures(greys(1, 2, 3, 4).__getitem__, 0, found, None, onset_known=True)
    assert apex.caption == "Apex, estimated (3)"


def test_curves_show_the_units_that_change_most_and_each_side_that_differs():
    units = np.zeros((200, 17, 2))
    units[:, ACTION_UNITS.index(4)] = 0.8  # constant: at rest
    units[100, ACTION_UNITS.index(12), 0] = 0.4
    units[199, ACTION_UNITS.index(1)] = 0.6
    curves = action_unit_curves(units)
    assert [(curve.name, round(curve.peak, 3)) for curve in curves] == [("AU1", 3.0), ("AU12 left", 2.0)]
    assert len(curves[0].points) == 64
    assert curves[0].points[-1] == (199, pytest.approx(3.0))


def test_landmarks_far_outside_the_frame_do_not_stop_the_page():
    landmarks = face_landmarks(100) * 1e9
    drawn = clip_pictures(greys(50).__getitem__, 0, Apex(None), landmarks, onset_known=True)[3]
    assert decoded(drawn).mean() == pytest.approx(50, abs=3)
    assert iio.imread(io.BytesIO(drawn.webp)).shape == (SIDE, SIDE // 2, 3)
