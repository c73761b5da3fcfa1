"""The demo set as a plan: who is in it, what each clip shows, and the way back from a folder to its exact faces.

Everything follows from the settings, so an evaluation can rebuild the face behind a clip, with the unit motion and the
unit appearance of each action unit and side, instead of reading them from disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from demo.clip_plan import CODES, ClipPlan, plan_clip
from demo.face import DemoFace
from demo.geometry import Key
from demo.subjects import DATA, PHOTOGRAPHS, Portrait, draw_traits
from faces import alignment, facs, flow, tracking

SPLITS = ("train", "test")
_MAKERS = ("clip_plan", "data_set", "face", "geometry", "layers", "make_demo", "muscles", "subjects")

GREY_EVERY = 4
"""Every fourth subject is filmed without colour."""


@dataclass(frozen=True)
class Settings:
    """What the content of a demo depends on, apart from the code."""

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
        """Refuse settings that make no data set."""
        least_of = {"size": 32, "seed": 0, "subjects": 1, "clips": 1, "test_subjects": 2, "test_clips": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: expected at least {least}")
        if self.test_photograph not in PHOTOGRAPHS:
            raise ValueError(f"test photograph {self.test_photograph!r}: expected one of {PHOTOGRAPHS}")

    def photograph(self, split: str) -> str:
        """Photograph that the subjects of 'train' or 'test' are made from."""
        return next(p for p in PHOTOGRAPHS if (p == self.test_photograph) == (split == "test"))

    def subjects_of(self, split: str) -> list[str]:
        """Names of the subjects of 'train' or 'test'."""
        first, count = (0, self.subjects) if split == "train" else (self.subjects, self.test_subjects)
        return [f"s{first + i + 1:02d}" for i in range(count)]

    def clips_of(self, subject: str) -> list[str]:
        """Names of a subject's clips."""
        count = self.clips if self.split_of(subject) == "train" else self.test_clips
        return [f"{subject}_c{i + 1:02d}" for i in range(count)]

    def split_of(self, subject: str) -> str:
        """'train' or 'test', by the subject's number."""
        return "train" if int(subject[1:]) <= self.subjects else "test"


@lru_cache(maxsize=2)
def build_face(settings: Settings, subject: str) -> DemoFace:
    """Build a subject's face.

    Args:
        settings: of the demo set.
        subject: such as 's03'.
    """
    split = settings.split_of(subject)
    index = settings.subjects_of(split).index(subject)
    rng = np.random.default_rng((settings.seed, SPLITS.index(split), index))
    grey = (index + 1) % GREY_EVERY == 0
    return DemoFace(Portrait(draw_traits(rng, settings.photograph(split), grey), settings.size))


def subject_of(clip: str) -> str:
    """Name of the subject of a clip."""
    return clip.split("_c")[0]


def plan(settings: Settings, name: str) -> ClipPlan:
    """Timing, curves and head motion of a clip.

    Args:
        settings: of the demo set.
        name: such as 's03_c02'.
    """
    split, clips = settings.split_of(subject_of(name)), settings.clips_of(subject_of(name))
    index, number = settings.subjects_of(split).index(subject_of(name)), clips.index(name)
    cycle, place = divmod(index * len(clips) + number, len(CODES))
    if split == "train":  # every code once before any comes back, in an order of its own
        place = int(np.random.default_rng((settings.seed, len(SPLITS), cycle)).permutation(len(CODES))[place])
    rng = np.random.default_rng((settings.seed, SPLITS.index(split), index, number + 1))
    return plan_clip(rng, CODES[place], head_moves=split == "train")


def intensities(settings: Settings, name: str) -> dict[Key, np.ndarray]:
    """Exact intensity of each moving action unit and side of a clip, (T,) in [0, 1].

    The strength is set on the clip's own subject: the longest displacement at the apex has the planned length, unless
    an action unit would exceed its full intensity.
    """
    clip = plan(settings, name)
    face = build_face(settings, subject_of(name))
    reach = face.amplitude({key: curve[clip.apex] for key, curve in clip.shapes.items()})
    scale = min(1.0, clip.amplitude * settings.size / 128 / reach)
    return {key: scale * curve for key, curve in clip.shapes.items()}


def pairs(settings: Settings) -> Iterator[tuple[str, str]]:
    """(source, driving) clips: every test clip drives another test subject, each subject in turn."""
    subjects = settings.subjects_of("test")
    for i, subject in enumerate(subjects):
        for j, driving in enumerate(settings.clips_of(subject)):
            other = subjects[(i + 1 + j % (len(subjects) - 1)) % len(subjects)]
            yield settings.clips_of(other)[j], driving


def code_version() -> str:
    """Digest of all code and tables the content of a demo depends on."""
    files = [Path(__file__).with_name(f"{name}.py") for name in _MAKERS]
    files += [DATA / "demo_anatomy.json", *DATA.glob("*_landmarks68.csv")]
    files += [Path(module.__file__) for module in (alignment, facs, flow, tracking)]
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def read_settings(demo_dir: Path) -> Settings:
    """Settings a demo was made with.

    Args:
        demo_dir: folder of the demo.
    Raises:
        FileNotFoundError: no complete demo there.
        ValueError: made by another version of the code, whose faces cannot be rebuilt.
    """
    path = Path(demo_dir) / "demo.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no demo set here; make it with python -m demo.make_demo --out {demo_dir}")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["version"] != code_version():
        raise ValueError(f"{demo_dir}: made by another version of the code; make it again with --force")
    return Settings(**record["settings"])


def load_subject(demo_dir: Path, clip: str) -> DemoFace:
    """Rebuild the face of the subject seen in a clip.

    Args:
        demo_dir: folder of the demo.
        clip: name of a clip in it.
    Returns:
        The face, with `unit_displacement` and `unit_appearance` per action unit and side.
    Raises:
        FileNotFoundError: no complete demo there, or no such clip in it.
        ValueError: made by another version of the code.
    """
    settings = read_settings(demo_dir)
    subject = next((s for split in SPLITS for s in settings.subjects_of(split) if clip in settings.clips_of(s)), None)
    if subject is None:
        raise FileNotFoundError(f"{demo_dir}: no clip {clip!r}; see the names in {Path(demo_dir) / 'clips.csv'}")
    return build_face(settings, subject)
