"""From folders of clips to training pairs and animation pairs.

Sampling is a pure function of (seed, epoch, index): neither the number of workers nor their order changes a pair.

Legend: T frames, H x W image.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from augmentation import draw_augmentation
from clip_checks import frame_doubts, landmark_doubt, training_problem
from clip_files import LANDMARK_SUFFIXES, find_file, find_table, read_list, subject_of
from clips import Clip, ClipError, Frame, find_clips, open_clip
from config.sections import DatasetParams
from faces.action_unit_extraction import COLUMNS, extract_action_units
from faces.action_unit_tables import parse_table
from faces.action_units import TableRules, clip_action_units, read_action_units
from faces.flow import REVISION, TrackingSettings
from faces.landmarks import LandmarkDetector, read_landmarks
from faces.tracking import track
from frame_cache import CachedClip, FrameCache

Detector = Callable[[Frame], NDArray[np.float64]]
"""Finds the 68 landmarks of a frame, in its pixels: uint8 (H, W, 3) -> (68, 2)."""

Extractor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Estimates the action units of frames: uint8 (T, H, W, 3) -> table (R, C), see `extract_action_units`."""

log = logging.getLogger("frames_dataset")


@dataclass(frozen=True)
class PreparedClip:
    """A clip ready for use.

    Attributes:
        clip: where it came from.
        cached: its decoded frames.
        landmarks: (T, 68, 2) in pixels of the resized frames, or None.
        action_units: (T, 17, 2), 0 to 1, left and right, or None.
        doubts: what is odd about it, one line each.
    """

    clip: Clip
    cached: CachedClip
    landmarks: NDArray[np.float64] | None
    action_units: NDArray[np.float32] | None
    doubts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The clip's name."""
        return self.clip.name

    def __len__(self) -> int:
        return len(self.cached)

    def to_units(self, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """Pixels of the resized frames -> network units, (..., 2) both; -1, +1 are the centres of the outer pixels."""
        height, width = self.cached.frames().shape[1:3]
        return (landmarks * 2 / (np.array([width, height]) - 1) - 1).astype(np.float32)


class ClipLoader:
    """Prepares clips: decodes and caches frames, finds landmark and action-unit files by the clip's exact name.

    Args:
        params: the section `dataset_params`.
        landmarks, action_units: whether clips need them.
        detector: finds landmarks on the first frame where `keypoint_dir` is not set.
        extractor: estimates action units where `au_dir` is not set.
        tell: is told once of everything that is odd but no error.
    """

    def __init__(
        self,
        params: DatasetParams,
        *,
        landmarks: bool,
        action_units: bool,
        detector: Detector | None = None,
        extractor: Extractor | None = None,
        tell: Callable[[str], None] = log.warning,
    ):
        self.params = params
        self.tell = tell
        self.needs_landmarks = landmarks
        self.needs_action_units = action_units
        self.detector = detector
        self.extractor = extractor
        self.cache = FrameCache(params.cache_dir, params.frame_shape)
        self._told: set[str] = set()
        self._telling = Lock()

    def load(
        self,
        clip: Clip,
        split: str = "",
        *,
        landmark_file: Path | None = None,
        action_unit_file: Path | None = None,
        action_units: bool = True,
        reference: int = 0,
    ) -> PreparedClip:
        """Prepare a clip.

        Args:
            split: landmark and action-unit files may lie in a subfolder of this name.
            landmark_file, action_unit_file: instead of those that the clip's name finds.
            action_units: False leaves them out; the source of an animation never needs them.
            reference: frame, from 0, to which a single row of landmarks belongs, and from which they are tracked.
        Raises:
            ClipError: frames, landmarks or action units are missing or broken.
        """
        cached = self.cache.add(clip)
        if not 0 <= reference < len(cached):
            raise ClipError(f"{clip.path}: expected a reference frame from 0 to {len(cached) - 1}, got {reference}")
        try:
            landmarks = None
            if self.needs_landmarks:
                landmarks = self._landmarks(clip, cached, split, landmark_file, reference)
            units = None
            if self.needs_action_units and action_units:
                units = self._action_units(clip, cached, split, action_unit_file)
        except (ValueError, FileNotFoundError, RuntimeError) as error:
            raise error if isinstance(error, ClipError) else ClipError(f"clip {clip.name}: {error}") from error
        doubts = _doubts(clip, cached, landmarks)
        for doubt in doubts:
            self._tell_once(f"clip {clip.name}: {doubt}")
        return PreparedClip(clip, cached, landmarks, units, doubts)

    def load_all(self, clips: list[Clip], split: str) -> tuple[list[PreparedClip], list[str]]:
        """Prepare clips, several at a time.

        Returns:
            The prepared clips, and why the others were left out (`on_bad_clip: skip`).
        Raises:
            ClipError: a clip cannot be used (`on_bad_clip: error`), or none can.
        """

        prepared, problems = [], []
        for result in self.attempt_all([(clip, True) for clip in clips], split):
            if isinstance(result, PreparedClip):
                prepared.append(result)
            elif self.params.on_bad_clip == "error":
                raise ClipError(f"{result} (dataset_params.on_bad_clip: skip leaves such clips out)")
            else:
                problems.append(str(result))
        if not prepared:
            raise ClipError(f"none of {len(clips)} clips can be used; the first: {problems[0]}")
        return prepared, problems

    def attempt_all(self, clips: list[tuple[Clip, bool]], split: str) -> Iterator[PreparedClip | ClipError]:
        """Prepare clips, several at a time, each with or without action units; what cannot be used comes as an error.

        Yields:
            One result a clip, in their order.
        """

        def attempt(item: tuple[Clip, bool]) -> PreparedClip | ClipError:
            try:
                return self.load(item[0], split, action_units=item[1])
            except ClipError as error:
                return error

        pool = ThreadPoolExecutor()
        try:
            yield from tqdm(pool.map(attempt, clips), "reading clips", len(clips), leave=False, disable=None)
        finally:
            pool.shutdown(cancel_futures=True)

    def fps(self, prepared: PreparedClip) -> float:
        """Frames a second, from the file or the config.

        Raises:
            ClipError: neither knows it.
        """
        fps = prepared.cached.fps or self.params.fps
        if fps is None:
            raise ClipError(f"{prepared.clip.path}: pictures carry no frame rate; set dataset_params.fps")
        return fps

    def _landmarks(
        self, clip: Clip, cached: CachedClip, split: str, path: Path | None, reference: int
    ) -> NDArray[np.float64]:
        frames = cached.frames()
        if path is None and self.params.keypoint_dir is not None:
            path = find_file(self.params.keypoint_dir, clip.name, split, LANDMARK_SUFFIXES)
        if path is None:
            onset = self._detected(clip, cached, reference)
        else:
            rows = read_landmarks(path)
            if len(rows) not in (1, len(frames)):
                raise ClipError(f"{path}: expected landmarks of one or of all {len(frames)} frames, got {len(rows)}")
            if len(rows) == len(frames) and self.params.landmarks != "track":
                return cached.to_resized(rows)
            if self.params.landmarks == "file":
                raise ClipError(f"{path}: expected a row for each of {len(frames)} frames, got {len(rows)}")
            onset = cached.to_resized(rows)[min(reference, len(rows) - 1)]
        settings = f"tracked from {reference} {onset.tolist()} {TrackingSettings()} {REVISION}"
        return self.cache.derived(cached, settings, lambda: track(frames, onset, reference=reference))

    def _detected(self, clip: Clip, cached: CachedClip, reference: int) -> NDArray[np.float64]:
        if self.detector is None:
            raise ClipError(f"clip {clip.name}: expected landmarks; set dataset_params.keypoint_dir")
        detector, frame = self.detector, np.asarray(cached.frames()[reference])
        return self.cache.derived(cached, f"detected on {reference}", lambda: detector(frame))

    def _action_units(self, clip: Clip, cached: CachedClip, split: str, path: Path | None) -> NDArray[np.float32]:
        params, count = self.params, len(cached)
        rules = table_rules(params)
        if path is None and params.au_dir is not None:
            path = find_table(params.au_dir, clip.name, split)
        if path is not None:
            return read_action_units(path, count, frame_numbers=clip.frame_numbers, rules=rules, notice=self._tell_once)
        if self.extractor is None:
            raise ClipError(
                f"clip {clip.name}: expected action units; set dataset_params.au_dir, or dataset_params.au_extractor: "
                "py-feat (in `animate`, --driving-au gives a table)"
            )
        extractor = self.extractor
        rows = self.cache.derived(cached, "action units of py-feat", lambda: extractor(cached.frames()))
        table = parse_table(COLUMNS, rows.tolist(), f"py-feat of {clip.path}", rules.min_confidence)
        return clip_action_units(table, count, rules=rules, notice=self._tell_once)

    def _tell_once(self, text: str) -> None:
        """Tell, unless another clip, perhaps in another thread, has told the same."""
        with self._telling:
            known = text in self._told
            self._told.add(text)
        if not known:
            self.tell(text)


def table_rules(params: DatasetParams) -> TableRules:
    """What the config says of tables with gaps."""
    return TableRules(params.au_min_confidence, params.au_unknown, params.au_max_gap)


def make_clip_loader(
    params: DatasetParams,
    device: str,
    *,
    landmarks: bool,
    action_units: bool,
    tell: Callable[[str], None] = log.warning,
) -> ClipLoader:
    """A loader that finds landmarks and action units on a device, as torch writes it, where files do not say them."""
    detector, extractor = find_detector(params, device), find_extractor(params, device)
    return ClipLoader(
        params, landmarks=landmarks, action_units=action_units, detector=detector, extractor=extractor, tell=tell
    )


def find_detector(params: DatasetParams, device: str) -> Detector | None:
    """A landmark detector for clips without landmark files; it is loaded when the first such clip comes."""
    if params.keypoint_dir is not None:
        return None
    loaded: list[LandmarkDetector] = []

    def detect(frame: Frame) -> NDArray[np.float64]:
        if not loaded:
            loaded.append(LandmarkDetector(device))
        return loaded[0].detect(frame)

    return detect


def find_extractor(params: DatasetParams, device: str) -> Extractor | None:
    """What estimates action units for clips without tables; it is loaded when the first such clip comes."""
    if params.au_dir is not None or params.au_extractor is None:
        return None
    one_at_a_time = Lock()  # clips are prepared in several threads, which share its networks

    def extract(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        with one_at_a_time:
            return extract_action_units(frames, device)

    return extract


def split_clips(params: DatasetParams, split: str) -> list[Clip]:
    """Clips of `train` or `test`: of the folder of that name, or a seeded part of all.

    Raises:
        ClipError: no clips.
    """
    root = params.root_dir
    if root is None:
        raise ClipError("dataset_params.root_dir: expected the folder of the clips, got nothing")
    if (root / split).is_dir():
        return find_clips(root / split)
    if (root / "train").is_dir() or (root / "test").is_dir():
        raise ClipError(f"{root / split}: no such folder; make it, or put all clips into {root} itself")
    clips = find_clips(root)
    identities = sorted({identity(clip.name) for clip in clips})
    order = np.random.default_rng(params.split_seed).permutation(len(identities))
    test = {identities[i] for i in order[: max(1, round(params.test_fraction * len(identities)))]}
    chosen = [clip for clip in clips if (identity(clip.name) in test) == (split == "test")]
    if not chosen:
        raise ClipError(f"{root}: {len(identities)} identities are too few to split; make train/ and test/ folders")
    return chosen


def identity(name: str) -> str:
    """The part of a clip's name before `#`, which names the person where `id_sampling` is used."""
    return name.split("#")[0]


def unfit_to_train(clip: PreparedClip, params: DatasetParams) -> str | None:
    """Why a clip that can be used otherwise cannot be trained on; None where it can."""
    return training_problem(
        str(clip.clip.path),
        len(clip),
        has_landmarks=clip.landmarks is not None,
        remove_head_motion=params.remove_head_motion,
    )


def _doubts(clip: Clip, cached: CachedClip, landmarks: NDArray[np.float64] | None) -> tuple[str, ...]:
    doubts = frame_doubts(clip, cached.sizes)
    if landmarks is not None and (doubt := landmark_doubt(landmarks, cached.frames().shape[1:3])):
        doubts.append(doubt)
    return tuple(doubts)


class FramesDataset(Dataset[dict[str, Any]]):
    """Training pairs: two frames of one clip with their landmarks and action-unit difference.

    Args:
        clips: at least two frames each.
        params: the section `dataset_params`.
        seed: of sampling and augmentation.
        num_repeats: passes over the clips in an epoch.
    Raises:
        ClipError: a clip of one frame, or head motion to be removed from clips without landmarks.
    """

    def __init__(self, clips: list[PreparedClip], params: DatasetParams, *, seed: int, num_repeats: int):
        for clip in clips:
            if problem := unfit_to_train(clip, params):
                raise ClipError(problem)
        self.params = params
        self.seed = seed
        groups: dict[str, list[PreparedClip]] = {}
        for clip in clips:
            groups.setdefault(identity(clip.name) if params.id_sampling else clip.name, []).append(clip)
        self.groups = list(groups.values())
        self.subjects = {name: i for i, name in enumerate(sorted({subject_of(clip.name) for clip in clips}))}
        self.num_repeats = num_repeats

    def __len__(self) -> int:
        return len(self.groups) * self.num_repeats

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        """Draw the pair (epoch, index).

        Returns:
            `source`, `driving` uint8 (3, H, W); `source_landmarks`, `driving_landmarks` float32 (68, 2) in [-1, 1];
            `source_au`, `au_diff` float32 (17, 2), intensities of the source and driving minus source; `subject`,
            number of the person; `augmentation`, what `augmentation.augment` applies.
        """
        epoch, index = item
        rng = np.random.default_rng((self.seed, epoch, index))
        group = self.groups[index % len(self.groups)]
        clip = group[rng.integers(len(group))]
        if self.params.source_frame == "first":
            i, j = 0, 1 + rng.integers(len(clip) - 1)
        else:
            i, j = sorted(rng.choice(len(clip), 2, replace=False))
        frames = clip.cached.frames()
        pair: dict[str, Any] = {
            "source": _to_tensor(frames[i]),
            "driving": _to_tensor(frames[j]),
            "subject": self.subjects[subject_of(clip.name)],
            "augmentation": draw_augmentation(self.params.augmentation_params, frames.shape[1:3], rng),
        }
        if clip.landmarks is not None:
            pair["source_landmarks"] = torch.from_numpy(clip.to_units(clip.landmarks[i]))
            pair["driving_landmarks"] = torch.from_numpy(clip.to_units(clip.landmarks[j]))
        if clip.action_units is not None:
            pair["source_au"] = torch.from_numpy(np.array(clip.action_units[i]))
            diff = clip.action_units[j] - clip.action_units[i]
            if self.params.au_noise:
                noise = rng.uniform(-self.params.au_noise, self.params.au_noise, (2, len(diff), 1))
                diff = (diff + noise[1] - noise[0]).astype(np.float32)
            pair["au_diff"] = torch.from_numpy(diff)
        return pair


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled (epoch, index) keys of this process's share of an epoch; the same for any number of workers.

    Args:
        length: pairs of an epoch.
        batch_size: pairs a step on each device; what fills no step on every device is left out.
        rank, world_size: this process among all.
        start: keys of the epoch that are already done.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, rank: int = 0, world_size: int = 1):
        self.length = length
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.batch_size = batch_size
        self.epoch = 0
        self.steps_done = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.length // (self.batch_size * self.world_size)

    def start(self, epoch: int, steps_done: int = 0) -> None:
        """Choose the epoch, and how many of its steps to leave out because they are done."""
        self.epoch, self.steps_done = epoch, steps_done

    def __len__(self) -> int:
        return (self.steps - self.steps_done) * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        own = order[self.rank :: self.world_size][self.steps_done * self.batch_size : self.steps * self.batch_size]
        return ((self.epoch, int(index)) for index in own)


def _to_tensor(frame: Frame) -> torch.Tensor:
    return torch.from_numpy(np.array(frame.transpose(2, 0, 1)))


# --- animation --------------------------------------------------------------------------------------------------------


def animation_pairs(params: DatasetParams) -> list[tuple[Clip, Clip]]:
    """Source and driving clips to animate: those of the pair list, or every combination of the test clips.

    Raises:
        ClipError: a list without the columns, or a name that is no clip.
    """
    clips = clips_by_name(params)
    if params.pairs_list is None:
        if not clips:
            raise ClipError("expected dataset_params.root_dir, or --source and --driving; got neither")
        return [(source, driving) for source in clips.values() for driving in clips.values() if source != driving]
    pairs = []
    for line, row in read_list(params.pairs_list, ("source", "driving")):
        names = (row["source"], row["driving"])
        source, driving = (resolve_clip(name, clips, params.pairs_list, line) for name in names)
        pairs.append((source, driving))
    return pairs


def clips_by_name(params: DatasetParams) -> dict[str, Clip]:
    """The test clips by name; none without `root_dir`."""
    return {clip.name: clip for clip in split_clips(params, "test")} if params.root_dir else {}


def resolve_clip(name: str, clips: dict[str, Clip], pairs_list: Path, line: int) -> Clip:
    """A clip by name, with or without extension: of the test clips, else of the files beside the list.

    A clip beside the list keeps its folder as a part of its name, because clips of several folders may share theirs.

    Raises:
        ClipError: neither; `pairs_list` and `line` say where the name stands.
    """
    beside = pairs_list.parent / name
    suffixes = {p.suffix for p in beside.parent.glob(f"{beside.name}.*") if not p.name.startswith(".")}
    for known in (name, Path(name).stem):
        if known in clips:
            return clips[known]
    for path in (beside, *(beside.with_name(beside.name + suffix) for suffix in sorted(suffixes))):
        if name and path.exists():
            try:
                clip = open_clip(path)
            except ClipError:
                continue
            return replace(clip, name=(Path(name).parent / clip.name).as_posix())
    raise ClipError(f"{pairs_list}: line {line}: {name!r} is neither a test clip nor a clip beside the list")
