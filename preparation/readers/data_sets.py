"""Descriptions of the published data sets of micro-expressions: folders, coding sheets and known errors.

Layouts and columns are those of the releases. Known errors come from the lists of tvaranka/meb
(`meb/datasets/datasets.py`), as far as these give the correct value; other rows that do not fit their frames are left
out or lose their apex, and the listing reports them. `docs/adding_a_data_set.md` explains how to add a data set.
"""

from dataclasses import replace

from clips.files import normalised_name
from preparation.readers.casme import CASME, CASME2, CASME3, CASME3_C, CASME_SQUARED
from preparation.readers.description import (
    MEB_LISTS,
    Columns,
    DataSet,
    Identity,
    KnownError,
    KnownExchange,
    check_subject,
)
from preparation.readers.labels import MovementColumns
from preparation.readers.layout import Layout
from preparation.readers.sheets import Unreadable


def _samm(parts: tuple[str, ...]) -> Identity:
    subject, rest = parts[1].split("_", 1)
    check_subject(parts, subject)
    return Identity(f"{int(subject):03d}", f"{int(subject):03d}_{rest}")


def _samm_long(parts: tuple[str, ...]) -> Identity:
    subject, recording = parts[0].split("_")
    return Identity(f"{int(subject):03d}", f"{int(subject):03d}_{recording}_long")


def _smic(parts: tuple[str, ...]) -> Identity:
    """Subjects lose their padding: SMIC writes s1, the ground truth of MEGC 2019 s01. All clip numbers are padded."""
    subject, code, number = parts[-1].lower().split("_")
    check_subject(parts, subject)
    emotion = {"ne": "negative", "po": "positive", "sur": "surprise"}[code]
    if len(parts) > 2 and parts[2].lower() != emotion:
        raise Unreadable(f"expected a clip of {parts[2]}, got {parts[-1]}, which is {emotion}")
    return Identity(normalised_name(subject), f"{normalised_name(subject)}_{code}_{number}")


def _smic_extended(parts: tuple[str, ...]) -> Identity:
    identity = _smic(parts)
    return Identity(identity.subject, f"{identity.clip}_e")


def _mmew(parts: tuple[str, ...]) -> Identity:
    subject, rest = parts[1].split("-", 1)
    return Identity(f"mmew-{normalised_name(subject)}", f"mmew-{normalised_name(subject)}_{rest}")


def _4dme(parts: tuple[str, ...]) -> Identity:
    subject = f"4dme-{normalised_name(parts[0]).replace('_', '-')}"
    return Identity(subject, f"{subject}_{parts[1]}")


def _dfme(parts: tuple[str, ...]) -> Identity:
    subject, number = parts[0].lower().split("_")
    return Identity(f"dfme-{subject}", f"dfme-{subject}_{number}")


def _meb(parts: tuple[str, ...]) -> Identity:
    subject = normalised_name(parts[0]).replace("_", "-")
    clip = parts[-1]
    return Identity(subject, clip if clip.casefold().startswith(f"{subject}_") else f"{subject}_{clip}")


SAMM = DataSet(
    kind="samm",
    layout=Layout((r"\d{3}", r"\d{3}_\d+_\d+"), "006/006_1_2/006_05562.jpg", frame=r"\d{3}_\d+"),
    identify=_samm,
    key_levels=(1,),
    fps=200,
    colour=False,
    sheets=("SAMM_Micro_FACS_Codes_v2.xlsx",),
    tab="MICRO_ONLY",
    columns=Columns(
        folder=("{Filename}",),
        movement=MovementColumns("Onset Frame", "Apex Frame", "Offset Frame"),
        emotion="Estimated Emotion",
        facs="Action Units",
    ),
    spellings={"Others": "Other"},
    errors=(KnownError(56, "Offset Frame", 5739, MEB_LISTS),),
)

SAMM_LONG = DataSet(
    kind="samm-long",
    layout=Layout((r"\d{3}_\d+",), "SAMM_longvideos/006_1/006_1_0001.jpg", frame=r"\d{3}_\d+_\d+"),
    identify=_samm_long,
    key_levels=(0,),
    fps=200,
    colour=False,
    sheets=("SAMM_LongVideos_V3_Release.xlsx", "SAMM_LongVideos_V2_Release.xlsx", "SAMM_LongVideos_V1_Release.xlsx"),
    columns=Columns(
        folder=("{Filename}",),
        movement=MovementColumns("Onset", "Apex", "Offset"),
        facs="Action Units",
        only=("Type", "micro.*"),
        spellings={"Onset": ("Onset Frame",), "Apex": ("Apex Frame",), "Offset": ("Offset Frame",)},
        parts={"Filename": r"(\d+_\d+)_\d+"},
    ),
    recordings=True,
)

_SMIC_CLIP = r"s\d+_(ne|po|sur)_\d+"

SMIC_HS = DataSet(
    kind="smic-hs",
    layout=Layout(
        (r"s\d+", "micro", "negative|positive|surprise", _SMIC_CLIP), "HS/s1/micro/negative/s1_ne_01/*.bmp", parent="HS"
    ),
    identify=_smic,
    key_levels=(0, 3),
    fps=100,
    colour=True,
    emotion_level=2,
)

SMIC_HS_E = DataSet(
    kind="smic-hs-e",
    layout=Layout((r"s\d+", _SMIC_CLIP), "SMIC-HS-E/s20/s20_ne_01/image17581039.jpg", parent="SMIC-HS-E"),
    identify=_smic_extended,
    key_levels=(1,),
    fps=100,
    colour=True,
    sheets=("SMIC-HS-E_annotation_2019.xlsx", "SMIC-HS-E_annotation.xlsx"),
    columns=Columns(
        folder=("{Filename}",),
        movement=MovementColumns("OnsetF", None, "OffsetF"),
        emotion="Emotion",
        further=tuple(MovementColumns(f"Onset{i}F", None, f"Offset{i}F") for i in (2, 3)),
        span=("FirstF", "LastF"),
    ),
)

MMEW = DataSet(
    kind="mmew",
    layout=Layout((r"[a-z]+", r"[a-z]*\d+-.+"), "Micro_Expression/happiness/S01-02-001", parent="Micro_Expression"),
    identify=_mmew,
    key_levels=(1,),
    fps=90,
    colour=True,
    sheets=("MMEW_Micro_Exp.xlsx",),
    columns=Columns(
        folder=("{Filename}",),
        movement=MovementColumns("OnsetFrame", "ApexFrame", "OffsetFrame"),
        emotion="Estimated Emotion",
        facs="Action Units",
    ),
)

FOUR_DME = DataSet(
    kind="4dme",
    layout=Layout((r".*\d+", r".+"), "gray_micro/sub_ID/fold_name", parent="gray_micro"),
    identify=_4dme,
    key_levels=(0, 1),
    fps=60,
    colour=False,
    sheets=("4DME_Labelling_Micro_release v1.xlsx",),
    columns=Columns(
        folder=("{sub_ID}", "{fold_name}"),
        movement=MovementColumns("Onset", "Apex", "Offset"),
        emotion="Emotion",
        facs="AUs",
    ),
    exchanges=(KnownExchange((144, 145), MEB_LISTS),),
)

DFME = DataSet(
    kind="dfme",
    layout=Layout((r"sub\d+_\d+",), "sub0008_01"),
    identify=_dfme,
    key_levels=(0,),
    fps=None,
    colour=None,
    sheet_parts=r".*training.*|.*testA.*|.*testB.*",
    columns=Columns(
        folder=("{Filename}",),
        movement=MovementColumns("OnsetFrame", "ApexFrame", "OffsetFrame"),
        emotion="Emotion",
        facs="AU",
        fps="Fps",
    ),
    all_releases=True,
)

_LETTERS_BEFORE_NUMBER = r"[a-z.]*?(\d+)(?:\.0+)?"  # sheets write subjects as 1, folders as sub01
MEB = DataSet(
    kind="meb",
    layout=Layout((".+", "micro", ".+", ".+"), "s1/micro/negative/s1_ne_01/*.bmp"),
    identify=_meb,
    key_levels=(0, 3),
    key_parts={0: _LETTERS_BEFORE_NUMBER},
    fps=None,
    colour=None,
    columns=Columns(
        folder=("{subject}", "{material}"),
        movement=MovementColumns("onset", "apex", "offset"),
        emotion="emotion",
        facs="AU",
        fps="fps",
        optional=("apex", "emotion", "AU", "fps"),
        spellings={"AU": ("AUs", "Action Units")},
        parts={"subject": _LETTERS_BEFORE_NUMBER},
    ),
)
MEB = replace(MEB, other_forms=(replace(MEB, layout=Layout((".+", ".+"), "sub01/EP02_01f/*.jpg"), key_levels=(0, 1)),))

DATA_SETS = {
    d.kind: d
    for d in (
        *(CASME, CASME2, CASME_SQUARED, SAMM, SAMM_LONG, SMIC_HS, SMIC_HS_E),
        *(CASME3, CASME3_C, MMEW, FOUR_DME, DFME, MEB),
    )
}
