"""Splits clips into training and test clips.

Subjects are compared without case and zero padding: s3 and s03 are one person.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, Protocol

import numpy as np
from natsort import natsorted

from clips.files import normalised_name
from errors import UserError


class LabelledClip(Protocol):
    """A clip with its name and subject: in a release, or prepared."""

    @property
    def name(self) -> str:
        """Name of the clip."""

    @property
    def subject(self) -> str:
        """Subject of the clip."""


Split = Literal["train", "test"]
Splits = dict[str, Split]
"""The split of every clip, by name."""

MEGC_DRIVING = (
    *("sub01_EP19_06f", "sub19_EP01_01f", "sub17_EP01_13"),
    *("018_3_1", "022_3_3", "007_7_1"),
    *("s11_ne_02", "s3_po_05", "s20_sur_01"),
)
"""Driving clips of the generation task of MEGC 2021 and 2022: CASME II, SAMM and SMIC-HS, each negative, positive,
surprise. They are ordinary clips of these data sets."""


_COMPOSITE = frozenset({"casme2", "samm", "smic"})
"""Data sets of the composite of MEGC 2019, as its list names them; `smic` is SMIC-HS."""


def by_list(clips: Sequence[LabelledClip], test: Collection[str]) -> Splits:
    """Test the listed clips and subjects, train on the others.

    Args:
        test: names of clips or of subjects.
    Raises:
        UserError: a name that is neither, or no clip is left to train on or to test.
    """
    subjects = {normalised_name(clip.subject) for clip in clips}
    names = {clip.name for clip in clips}
    if unknown := [name for name in test if name not in names and normalised_name(name) not in subjects]:
        raise UserError(f"expected names of clips or subjects to test, got {_shortened(unknown)}")
    tested = {normalised_name(name) for name in test if name not in names}
    return _split(clips, (c.name for c in clips if c.name in test or normalised_name(c.subject) in tested))


def composite_clips(lines: Sequence[str], clips: Sequence[LabelledClip]) -> tuple[list[str], list[str]] | None:
    """Find the clips of a list like that of the composite data set of MEGC 2019: `casme2,sub01,EP02_01f,1`.

    Args:
        lines: data set, subject, clip, and more; a header is ignored.
    Returns:
        Names of the clips as they are here, those of the list for absent clips; and the data sets of which there is no
        clip, whose lines are left out. None if the lines have another form.
    """
    rows = [re.split(r"\s*[,;\t]\s*", line.strip()) for line in lines]
    rows = rows[1:] if rows and rows[0][0].casefold() not in _COMPOSITE else rows
    if not rows or any(len(row) < 3 or row[0].casefold() not in _COMPOSITE for row in rows):
        return None
    here = {normalised_name(clip.name): clip.name for clip in clips}
    found: dict[str, list[str]] = {}
    absent: dict[str, list[str]] = {}
    for data_set, subject, clip, *_ in rows:
        name = f"{subject}_{clip}" if data_set.casefold() == "casme2" else clip
        known = here.get(normalised_name(name))
        (found if known else absent).setdefault(data_set, []).append(known or name)
    names = [name for data_set in found for name in (*found[data_set], *absent.get(data_set, ()))]
    return names, [data_set for data_set in absent if data_set not in found]


def by_subject(clips: Sequence[LabelledClip], share: float, *, seed: int = 0) -> Splits:
    """Test a random fraction of the subjects, train on the others.

    Args:
        share: fraction of the subjects, between 0 and 1; at least one subject is tested.
        seed: of the draw, which depends only on it and on the set of subjects.
    Raises:
        UserError: a fraction outside 0 to 1, or no clip is left to train on.
    """
    if not 0 < share < 1:
        raise UserError(f"expected a fraction of the subjects between 0 and 1 to test, got {share:g}")
    subjects = sorted({normalised_name(clip.subject) for clip in clips})
    order = np.random.default_rng(seed).permutation(len(subjects))
    tested = {subjects[i] for i in order[: max(1, round(share * len(subjects)))]}
    return _split(clips, (c.name for c in clips if normalised_name(c.subject) in tested))


def leave_one_subject_out(clips: Sequence[LabelledClip]) -> dict[str, Splits]:
    """One fold per subject, whose clips are tested, in natural order of the subjects.

    Raises:
        UserError: there is only one subject.
    """
    subjects = {normalised_name(clip.subject): clip.subject for clip in reversed(clips)}
    return {
        subject: _split(clips, (c.name for c in clips if normalised_name(c.subject) == key))
        for key, subject in natsorted(subjects.items())
    }


def by_megc(clips: Sequence[LabelledClip]) -> Splits:
    """Test the driving clips of MEGC and all other clips of their subjects, so that these are not trained on.

    Raises:
        UserError: there is no clip of these subjects, or none of other subjects.
    """
    subjects = natsorted({name.split("_")[0] for name in MEGC_DRIVING})
    tested = {normalised_name(subject) for subject in subjects}
    if tested.isdisjoint(normalised_name(clip.subject) for clip in clips):
        raise UserError(f"expected clips of the MEGC subjects {', '.join(subjects)}, found none")
    return _split(clips, (c.name for c in clips if normalised_name(c.subject) in tested))


def _split(clips: Sequence[LabelledClip], test: Iterable[str]) -> Splits:
    names = [clip.name for clip in clips]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"expected a different name for every clip, got several clips named {_shortened(twice)}")
    tested = set(test)
    splits: Splits = {name: "test" if name in tested else "train" for name in names}
    for split in ("train", "test"):
        if split not in splits.values():
            raise UserError(f"expected clips to {split}, but the split leaves none of {len(clips)}")
    return splits


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
