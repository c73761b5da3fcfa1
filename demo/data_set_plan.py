"""Plan of the whole demo set: its subjects, clips, intensities and test pairs.

Everything follows from the settings, so that an evaluation can rebuild the face of a clip, with the exact motion and
appearance of each action unit and side, instead of reading them from disk.

Legend: T frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.clip_plan import CODES, ClipPlan, plan_clip
from demo.code_version import code_version
from demo.face import DemoFace
from demo.geometry import Key
from demo.subjects import PHOTOGRAPHS, Portrait, draw_traits
from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES

SPLITS = ("train", "test")
GREY_EVERY = 4
"""Every fourth subject has no colour."""


@dataclass(frozen=True)
class Settings:
    """Settings that determine the demo set, together with the code."""

    size: int = 128
    """Width and height of the frames, pixels."""
    seed: int = 0
    subjects: int = 8
    """Training subjects."""
    clips: int = 7
    """Clips of each training subject."""
    test_subjects: int = 4
    test_clips: int = 4
    test_photograph: str = "astronaut"

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a setting is out of range.
        """
        least = {"size": 32, "seed": 0, "subjects": 1, "clips": 1, "test_subjects": 2, "test_clips": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} = {getattr(self, name)}: expected at least {value}")
        if self.test_photograph not in PHOTOGRAPHS:
            raise ValueError(f"test photograph {self.test_photograph!r}: expected one of {PHOTOGRAPHS}")

    def photograph(self, split: str) -> str:
        """Return the photograph from which the subjects of 'train' or 'test' are made."""
        return next(p for p in PHOTOGRAPHS if (p == self.test_photograph) == (split == "test"))

    def subjects_of(self, split: str) -> list[str]:
        """Return the names of the subjects of 'train' or 'test'."""
        first, count = (0, self.subjects) if split == "train" else (self.subjects, self.test_subjects)
        return [f"s{first + i + 1:02d}" for i in range(count)]

    def clips_of(self, subject: str) -> list[str]:
        """Return the names of the clips of a subject."""
        count = self.clips if self.split_of(subject) == "train" else self.test_clips
        return [f"{subject}_c{i + 1:02d}" for i in range(count)]

    def split_of(self, subject: str) -> str:
        """Return 'train' or 'test' for a subject."""
        return "train" if int(subject[1:]) <= self.subjects else "test"


@lru_cache(maxsize=2)
def build_face(settings: Settings, subject: str) -> DemoFace:
    """Build the face of a subject, such as 's03'."""
    split = settings.split_of(subject)
    index = settings.subjects_of(split).index(subject)
    rng = np.random.default_rng((settings.seed, SPLITS.index(split), index))
    grey = (index + 1) % GREY_EVERY == 0
    return DemoFace(Portrait(draw_traits(rng, settings.photograph(split), grey), settings.size))


def clip_subject(clip: str) -> str:
    """Return the subject of a clip, 's03' of 's03_c02'."""
    return clip.split("_c")[0]


def plan_of_clip(settings: Settings, name: str) -> ClipPlan:
    """Return timing, curves and head motion of a clip, such as 's03_c02'."""
    split, clips = settings.split_of(clip_subject(name)), settings.clips_of(clip_subject(name))
    index, number = settings.subjects_of(split).index(clip_subject(name)), clips.index(name)
    cycle, place = divmod(index * len(clips) + number, len(CODES))
    if split == "train":  # all codes once, in random order, before any of them is repeated
        place = int(np.random.default_rng((settings.seed, len(SPLITS), cycle)).permutation(len(CODES))[place])
    rng = np.random.default_rng((settings.seed, SPLITS.index(split), index, number + 1))
    return plan_clip(rng, CODES[place], head_moves=split == "train")


def intensities(settings: Settings, name: str) -> dict[Key, NDArray[np.float64]]:
    """Return the exact intensity of each active action unit and side of a clip, (T,) in [0, 1].

    The curves are scaled so that the largest displacement at the apex, on the face of the clip's subject, is the
    planned amplitude, but no intensity exceeds 1.
    """
    clip = plan_of_clip(settings, name)
    face = build_face(settings, clip_subject(name))
    full = face.amplitude({key: curve[clip.apex] for key, curve in clip.curves.items()})
    scale = min(1.0, clip.amplitude * settings.size / 128 / full)
    return {key: scale * curve for key, curve in clip.curves.items()}


def intensity_table(settings: Settings, name: str) -> NDArray[np.float32]:
    """Return the `intensities` of a clip for all action units and sides, (T, 17, 2)."""
    curves = intensities(settings, name)
    table = np.zeros((len(next(iter(curves.values()))), len(ACTION_UNITS), len(SIDES)), np.float32)
    for (au, side), curve in curves.items():
        table[:, ACTION_UNITS.index(au), SIDES.index(side)] = curve
    return table


def plan_pairs(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield pairs of source and driving clip: every test clip drives one other test subject, alternating."""
    subjects = settings.subjects_of("test")
    for i, subject in enumerate(subjects):
        for j, driving in enumerate(settings.clips_of(subject)):
            other = subjects[(i + 1 + j % (len(subjects) - 1)) % len(subjects)]
            yield settings.clips_of(other)[j], driving


def read_settings(folder: Path) -> Settings:
    """Read the settings of a demo set.

    Raises:
        FileNotFoundError: the folder holds no complete demo set.
        ValueError: another version of the code made it, so that its faces cannot be rebuilt.
    """
    path = folder / "demo.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such demo set; make it with python -m demo.make_demo --out {folder}")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["version"] != code_version():
        raise ValueError(f"{folder}: made by another version of the code; make it again with --force")
    return Settings(**record["settings"])


def load_face(folder: Path, clip: str) -> DemoFace:
    """Rebuild the face of the subject of a clip.

    Args:
        folder: folder of the demo set.
        clip: name of a clip in it.
    Raises:
        FileNotFoundError: the folder holds no complete demo set, or no such clip.
        ValueError: another version of the code made it.
    """
    settings = read_settings(folder)
    subject = next((s for split in SPLITS for s in settings.subjects_of(split) if clip in settings.clips_of(s)), None)
    if subject is None:
        raise FileNotFoundError(f"{folder}: no clip {clip!r}; {folder / 'clips.csv'} lists all names")
    return build_face(settings, subject)
