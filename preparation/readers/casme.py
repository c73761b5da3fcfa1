"""Descriptions of CASME, CASME II, CAS(ME)^2 and CAS(ME)^3; see `data_sets`.

The columns of CASME and CAS(ME)^2, and the folders of the latter, are those that public loaders read.
"""

from dataclasses import replace

from clips.files import normalised_name
from preparation.readers.description import (
    MEB_LISTS,
    Columns,
    DataSet,
    Identity,
    KnownDoubt,
    KnownError,
    Translation,
    check_subject,
    part_of,
)
from preparation.readers.labels import MovementColumns
from preparation.readers.layout import Layout

_CASME3_SUBJECT = r"(?:spNO\.?)?(\d+)(?:\.0+)?"


def _casme(parts: tuple[str, ...]) -> Identity:
    subject = f"casme-sub{int(parts[0][3:]):02d}"
    return Identity(subject, f"{subject}_{parts[1]}")


def _casme2(parts: tuple[str, ...]) -> Identity:
    subject = f"sub{int(parts[0][3:]):02d}"
    return Identity(subject, f"{subject}_{parts[1]}")


def _casme_squared(parts: tuple[str, ...]) -> Identity:
    subject = f"casme-sq-{normalised_name(parts[0])}"
    return Identity(subject, f"{subject}_{parts[1]}")


def _casme_squared_recording(parts: tuple[str, ...]) -> Identity:
    subject, rest = parts[1].split("_", 1)
    check_subject(parts, f"s{subject}")
    return _casme_squared((parts[0], rest[:4]))


def _casme3(parts: tuple[str, ...]) -> Identity:
    subject = f"spNO{int(parts[0].split('.')[1])}"
    return Identity(subject, f"{subject}_{parts[1].lower()}")


def _casme3_c(parts: tuple[str, ...]) -> Identity:
    subject = f"spNO{int(part_of(parts[0], _CASME3_SUBJECT))}"
    return Identity(subject, f"{subject}_c{parts[1] if len(parts) > 1 and parts[1] != 'color' else ''}")


CASME = DataSet(
    kind="casme",
    layout=Layout((r"sub\d+", r"EP\d+(_\d+)*[a-z]*"), "sub01/EP01_5/*.jpg"),
    identify=_casme,
    key_levels=(0, 1),
    fps=60,
    colour=None,
    columns=Columns(
        folder=("sub{Subject:0>2}", "{Filename}"),
        movement=MovementColumns("OnsetF", "ApexF1", "OffsetF"),
        emotion="Emotion",
        facs="AUs",
        unused=("ApexF2",),
        spellings={
            "OnsetF": ("OnsetFrame", "Onset"),
            "ApexF1": ("ApexF", "ApexFrame", "Apex"),
            "OffsetF": ("OffsetFrame", "Offset"),
            "AUs": ("Action Units", "AU"),
            "Emotion": ("Estimated Emotion",),
        },
    ),
)

CASME2 = DataSet(
    kind="casme2",
    layout=Layout((r"sub\d+", r"EP\d+(_\d+)*[a-z]*"), "sub01/EP02_01f/img46.jpg", frame=r"((reg|crop)_)?img\d+"),
    identify=_casme2,
    key_levels=(0, 1),
    fps=200,
    colour=True,
    sheets=("CASME2-coding-20190701.xlsx", "CASME2-coding-20140508.xlsx"),
    columns=Columns(
        folder=("sub{Subject:0>2}", "{Filename}"),
        movement=MovementColumns("OnsetFrame", "ApexFrame", "OffsetFrame"),
        emotion="Estimated Emotion",
        facs="Action Units",
    ),
    errors=(KnownError(60, "OffsetFrame", 91, MEB_LISTS),),
)

_SQUARED_SUBJECT = Translation("subject", r"(\d+)(?:\.0+)?", r"s\d+")
_SQUARED_COLUMNS = Columns(
    folder=("{subject}", "{video}"),
    movement=MovementColumns("onset", "apex", "offset"),
    emotion="emotion",
    facs="au",
    only=("type", "micro.*"),
    spellings={
        "video": ("Filename", "video name"),
        "onset": ("Onset Frame",),
        "apex": ("Apex Frame",),
        "offset": ("Offset Frame",),
        "au": ("AUs", "Action Units"),
        "emotion": ("Estimated Emotion",),
        "type": ("Expression type",),
    },
    headless={
        "subject": r"s?\d+(\.0+)?",
        "video": r"[a-z]+\d*_\d+",
        "onset": r"\d+(\.0+)?",
        "apex": r"\d*(\.0+)?",
        "offset": r"\d*(\.0+)?",
        "au": ".*",
        "emotion": ".*",
        "type": "(micro|macro).*",
    },
    translations=(_SQUARED_SUBJECT,),
)
_SQUARED_RECORDINGS = DataSet(
    kind="casme-sq",
    layout=Layout((r"s\d+", r"\d+_\d{4}\w*"), "rawpic/s15/15_0101disgustingteeth/img1.jpg", frame=r"img\d+"),
    identify=_casme_squared_recording,
    key_levels=(0, 1),
    key_parts={1: r"\d+_(\d{4}).*"},
    fps=30,
    colour=True,
    sheets=("CAS(ME)^2code_final(Updated).xlsx", "CAS(ME)^2code_final.xlsx", "code_final.xlsx"),
    columns=replace(
        _SQUARED_COLUMNS,
        translations=(_SQUARED_SUBJECT, Translation("video", r"([a-z]+\d*)_\d+", r"\d{3,4}")),
    ),
    recordings=True,
)
CASME_SQUARED = replace(
    _SQUARED_RECORDINGS,
    layout=Layout((r"s\d+", r"[a-z]+\d*_\d+"), "selectedpic/s15/anger1_1/img55.jpg", frame=r"((reg|crop)_)?img\d+"),
    identify=_casme_squared,
    key_parts={},
    columns=_SQUARED_COLUMNS,
    recordings=False,
    other_forms=(_SQUARED_RECORDINGS,),
)

CASME3 = DataSet(
    kind="casme3",
    layout=Layout((r"spNO\.\d+", r"[a-z]+", "color"), "part_A/spNO.1/a/color/355.jpg", frame=r"\d+"),
    identify=_casme3,
    key_levels=(0, 1),
    fps=30,
    colour=True,
    sheets=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "CAS(ME)3_part_A_v2.xls"),
    tab="label",
    columns=Columns(
        folder=("{Subject}", "{Filename}"),
        movement=MovementColumns("Onset", "Apex", "Offset"),
        emotion="emotion",
        facs="AU",
        only=("Expression type", "micro-expression"),
        optional=("emotion", "Expression type"),
    ),
    recordings=True,
    spellings={"Others": "others"},
    errors=(KnownError(796, "Offset", 1845, f"{MEB_LISTS}, and CAS(ME)3_part_A_v2.xls"),),
    doubts=tuple(KnownDoubt(index, MEB_LISTS) for index in (128, 708, 749, 798)),
)

_C_COLUMNS = Columns(
    folder=("{sub}", "{count}"),
    movement=MovementColumns("onset", None, "offset"),
    facs="au",
    spellings={"sub": ("subject",), "count": ("Filename",), "au": ("AUs",)},
    parts={"sub": _CASME3_SUBJECT},
)
_C_CLIPS = DataSet(
    kind="casme3-c",
    layout=Layout((r"(spNO\.)?\d+", r"[a-z]*\d+"), "part_C/spNO.216/1/355.jpg", frame=r"\d+"),
    identify=_casme3_c,
    key_levels=(0, 1),
    key_parts={0: _CASME3_SUBJECT},
    fps=30,
    colour=True,
    sheets=("CAS(ME)3_part_C_ME.xlsx",),
    columns=_C_COLUMNS,
    recordings=True,
)
_C_RECORDINGS = replace(
    _C_CLIPS,
    layout=Layout((r"(spNO\.)?\d+", "color"), "part_C/spNO.216/color/355.jpg", frame=r"\d+"),
    key_levels=(0,),
    columns=replace(_C_COLUMNS, folder=("{sub}",)),
)
CASME3_C = replace(
    _C_CLIPS,
    layout=Layout((r"(spNO\.)?\d+", r"[a-z]*\d+", "color"), "part_C/spNO.216/1/color/355.jpg", frame=r"\d+"),
    other_forms=(_C_CLIPS, _C_RECORDINGS),
)
