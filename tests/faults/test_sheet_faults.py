"""Mutated coding sheets and annotations: every one ends in clips and reasons, or in one line that names the file."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from preparation.readers import loose, read_data_set
from preparation.readers.data_sets import DATA_SETS
from tests.data_set_layouts import MAKERS, draw_noise, write_frames

ROWS = {
    "samm": (
        "SAMM,note\n,\nSubject,Filename,Onset Frame,Apex Frame,Offset Frame,Action Units,Estimated Emotion\n"
        "006,006_1_2,9996,9999,10003,7B,Anger\n006,006_1_10,5562,5565,5569,R14A or R15,Contempt\n"
        "022,022_3_3,700,703,707,R12 + L15C,Sadness\n"
    ),
    "smic-hs-e": (
        "Filename,OnsetF,OffsetF,Onset2F,Offset2F,FirstF,LastF,Emotion\ns1_ne_01,17597115,17597122,,,17597115,17597122,"
        "negative\ns3_po_05,95,98,99,102,95,102,positive\ns20_sur_01,1,8,,,1,8,surprise\n"
    ),
    "casme3": (
        "Subject,Filename,Onset,Apex,Offset,AU,Expression type,emotion\nspNO.1,a,3,6,10,4,Micro-expression,fear\n"
        "spNO.2,h,96,96,103,1+2,Micro-expression,Others\nspNO.2,h,90,96,103,1+2,Macro-expression,fear\n"
    ),
    "casme-sq": (
        "1,anger1_1,96,99,103,4+7,negative,micro-expression,anger\n7,happy3_2,550,553,557,R12,positive,micro,joy\n"
        "s15,anger1_1,1,2,3,4,negative,macro-expression,anger\n"
    ),
    "samm-long": (
        "Subject,Filename,Onset,Apex,Offset,Type,Action Units\n31,031_2_3,96,99,103,Micro - 1/2,4B\n"
        "31,031_2_5,300,303,307,Micro,L12\n36,036_7_1,996,-1,1003,Macro,14\n"
    ),
    "casme3-c": "sub,count,onset,offset,au\nspNO.216,1,96,103,4+7\n216,2.0,8,15,12\nspNO.230,1,1,8,1 2\n",
    "meb": "subject,material,onset,apex,offset,AU,fps\nperson1,first,1,4,8,4,100\n2,second,96,,103,12,90\n",
    "folder": "name,subject,onset,apex,offset,fps,emotion,facs\na1,Ann,2,4,6,50,joy,12\nb,,1,,5,,,4+7\n",
}
CELLS = st.sampled_from(
    ["", "0", "-1", "9" * 400, "1e400", "nan", "inf", "#REF!", "4.0", "\u0664", "\0", "\u202e", "x" * 3000, "?", "a\tb"]
)
BYTES = st.sampled_from([b",", b"\n", b'"', b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b";", b"Onset", b"  ", b"9"])


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> dict[str, Path]:
    """Releases without their sheets."""
    folder = tmp_path_factory.mktemp("releases")
    found = {kind: MAKERS[kind](folder / kind) for kind in ROWS if kind != "folder"}
    for path in folder.rglob("*.xlsx"):
        path.unlink()
    for name in ("a1", "b"):
        write_frames(folder / "folder" / name, name, range(1, 7), "{}.png", draw_noise)
    return {**found, "folder": folder / "folder"}


@st.composite
def mutated_tables(draw) -> tuple[str, bytes]:
    """Data set, and the bytes of its table."""
    kind = draw(st.sampled_from(sorted(ROWS)))
    rows = [line.split(",") for line in ROWS[kind].splitlines()]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(CELLS)
    data = "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 3))):
        at, end = (draw(st.integers(0, len(data))) for _ in range(2))
        data = data[:at] + draw(st.one_of(BYTES, st.just(data[at:end]))) + data[max(at, end) :]
    return kind, data


def columns_of(kind: str) -> set[str]:
    """Columns that a message may name."""
    if kind == "folder":
        return set(loose.COLUMNS)
    columns = DATA_SETS[kind].columns
    assert columns is not None
    return {*columns.header.columns, *columns.header.optional}


@given(table=mutated_tables())
def test_mutated_tables_give_clips_and_reasons_or_one_line(table, releases, tmp_path_factory):
    kind, data = table
    path = tmp_path_factory.getbasetemp() / "mutated.csv"
    path.write_bytes(data)
    try:
        listing = read_data_set(kind, releases[kind], sheet=path, fps=50 if kind == "folder" else None)
    except UserError as error:
        lines = [str(error)]
        assert "mutated.csv" in lines[0] or str(releases[kind]) in lines[0]
    else:
        lines = [f"{out.name}: {out.reason}" for out in listing.left_out]
        for out in listing.left_out:
            if out.name.startswith("mutated.csv"):
                assert re.fullmatch(r"mutated\.csv, row [0-9]+", out.name)
                assert set(out.reason.split(": ")[0].split(", ")) <= columns_of(kind), out
            elif "mutated.csv" in out.reason and "no row in" not in out.reason:
                assert re.search(r"mutated\.csv(, row|: rows) [0-9]+", out.reason), out
        for clip in listing.clips:
            assert clip.frame_numbers[0] <= (clip.onset or clip.frame_numbers[0])
            lines += [f"{remark.found}: {remark.done}" for remark in clip.remarks]
    assert all("\n" not in line and len(line) < 700 for line in lines)
