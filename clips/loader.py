"""Loader of clips: decoded frames with their landmarks and action units.

Legend: T frames, H x W image.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from clips.checks import frame_warnings, landmark_warning
from clips.crop import Crop
from clips.detectors import Detector, Extractor, action_unit_extractor, landmark_detector
from clips.files import find_landmarks, find_table
from clips.frame_cache import ARRAY_LOCK, CachedClip, FrameCache
from clips.reading import Clip, ClipError
from config.sections import DatasetParams
from faces.action_unit_extraction import COLUMNS
from faces.action_unit_extraction import REVISION as PY_FEAT_REVISION
from faces.action_unit_tables import parse_table
from faces.action_units import TableRules, clip_action_units, read_action_units
from faces.flow import REVISION, TrackingSettings
from faces.jitter import measure_jitter
from faces.landmark_detection import detector_version
from faces.landmarks import read_landmarks
from faces.tracking import track

log = logging.getLogger("clips")


@dataclass(frozen=True)
class LoadedClip:
    """A clip with decoded frames, landmarks and action units.

    Attributes:
        clip: files of the clip.
        cached: decoded frames.
        landmarks: (T, 68, 2) in pixels of the resized frames, or None.
        action_units: (T, 17, 2) intensities of the left and right side in [0, 1], or None.
        warnings: one line per suspicious property.
    """

    clip: Clip
    cached: CachedClip
    landmarks: NDArray[np.float64] | None
    action_units: NDArray[np.float32] | None
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the clip."""
        return self.clip.name

    def __len__(self) -> int:
        return len(self.cached)

    def to_units(self, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
        """Convert landmarks (..., 2) from pixels of the resized frames to [-1, 1], the centres of the outer pixels."""
        height, width = self.cached.frames().shape[1:3]
        return (landmarks * 2 / (np.array([width, height]) - 1) - 1).astype(np.float32)


def any_size(height: int, width: int) -> list[str]:
    """Return no problem, for models that take frames of every size."""
    return []


@dataclass(frozen=True)
class FaceView:
    """The face of a clip that is used, and the part of the frames around it.

    Attributes:
        landmarks: (68, 2) of the reference frame, pixels of the clip's own frames; None: as of every other clip.
        crop: part of every frame that is used in its place; None: the whole frame.
    """

    landmarks: NDArray[np.float64] | None = None
    crop: Crop | None = None

    def in_crop(self, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert landmarks (..., N, 2) from pixels of the clip's own frames to pixels of the used part."""
        return landmarks if self.crop is None else self.crop.apply(landmarks)


WHOLE_FRAME = FaceView()


class ClipLoader:
    """Loads clips: decodes and caches frames, and finds landmark and action-unit files by the exact name of the clip.

    Args:
        params: the section `dataset_params`.
        landmarks, action_units: True if clips need them.
        detector: finds landmarks on the first frame if `keypoint_dir` is not set.
        extractor: estimates action units if `au_dir` is not set.
        size_problems: reasons why frames of a height and width cannot be used, where the clips' own size is kept.
        warn: called once per distinct warning.
    """

    def __init__(
        self,
        params: DatasetParams,
        *,
        landmarks: bool,
        action_units: bool,
        detector: Detector | None = None,
        extractor: Extractor | None = None,
        size_problems: Callable[[int, int], list[str]] = any_size,
        warn: Callable[[str], None] = log.warning,
    ):
        self.params = params
        self.warn = warn
        self.needs_landmarks = landmarks
        self.needs_action_units = action_units
        self.detector = detector
        self.extractor = extractor
        self.size_problems = size_problems
        self.cache = FrameCache(params.cache_dir, params.frame_shape)
        self._warned: set[str] = set()
        self._warning_lock = Lock()

    def load(
        self,
        clip: Clip,
        split: str = "",
        *,
        landmark_file: Path | None = None,
        action_unit_file: Path | None = None,
        action_units: bool = True,
        reference: int = 0,
        view: FaceView = WHOLE_FRAME,
    ) -> LoadedClip:
        """Load a clip.

        Args:
            split: subfolder in which landmark and action-unit files may lie.
            landmark_file, action_unit_file: used instead of the files that belong to the clip's name.
            action_units: False omits them; the source of an animation never needs them.
            reference: frame, from 0, to which a single row of landmarks belongs and from which they are tracked.
            view: face and part of the frames to use.
        Raises:
            ClipError: frames, landmarks or action units are missing or unreadable.
        """
        cached = self.cache.add(clip, view.crop)
        height, width = cached.frames().shape[1:3]
        if self.params.frame_shape is None and (problems := self.size_problems(height, width)):
            raise ClipError(f"{clip.path}: frames of {width} x {height}: {problems[0]}")
        if not 0 <= reference < len(cached):
            raise ClipError(f"{clip.path}: expected a reference frame from 0 to {len(cached) - 1}, got {reference}")
        try:
            landmarks = None
            if self.needs_landmarks:
                landmarks = self._landmarks(clip, cached, split, landmark_file, reference, view)
            units = None
            if self.needs_action_units and action_units:
                units = self._action_units(clip, cached, split, action_unit_file)
        except (ValueError, FileNotFoundError, RuntimeError) as error:
            raise error if isinstance(error, ClipError) else ClipError(f"clip {clip.name}: {error}") from error
        warnings = _warnings(clip, cached, landmarks)
        for warning in warnings:
            self._warn_once(f"clip {clip.name}: {warning}")
        return LoadedClip(clip, cached, landmarks, units, warnings)

    def load_all(self, clips: list[Clip], split: str) -> tuple[list[LoadedClip], list[str]]:
        """Load clips in several threads.

        Returns:
            The clips, and one message per clip left out (`on_bad_clip: skip`).
        Raises:
            ClipError: a clip cannot be used (`on_bad_clip: error`), or none can.
        """
        loaded, problems = [], []
        for result in self.attempt_all([(clip, True) for clip in clips], split):
            if isinstance(result, LoadedClip):
                loaded.append(result)
            elif self.params.on_bad_clip == "error":
                raise ClipError(f"{result} (set dataset_params.on_bad_clip: skip to leave such clips out)")
            else:
                problems.append(str(result))
        if not loaded:
            raise ClipError(f"none of {len(clips)} clips can be used; the first: {problems[0]}")
        return loaded, problems

    def attempt_all(self, clips: list[tuple[Clip, bool]], split: str) -> Iterator[LoadedClip | ClipError]:
        """Load clips in several threads, each with (True) or without action units.

        Yields:
            One clip or error per clip, in the given order.
        """

        def attempt(item: tuple[Clip, bool]) -> LoadedClip | ClipError:
            try:
                return self.load(item[0], split, action_units=item[1])
            except ClipError as error:
                return error

        pool = ThreadPoolExecutor()
        try:
            yield from tqdm(pool.map(attempt, clips), "reading clips", len(clips), leave=False, disable=None)
        finally:
            pool.shutdown(cancel_futures=True)

    def fps(self, clip: LoadedClip) -> float:
        """Return the frames per second of a video file, else `dataset_params.fps`.

        Raises:
            ClipError: neither is known.
        """
        fps = clip.cached.fps or self.params.fps
        if fps is None:
            raise ClipError(f"{clip.clip.path}: images have no frame rate; set dataset_params.fps")
        return fps

    def _landmarks(
        self, clip: Clip, cached: CachedClip, split: str, path: Path | None, reference: int, view: FaceView
    ) -> NDArray[np.float64]:
        frames = cached.frames()
        if path is None and view.landmarks is None and self.params.keypoint_dir is not None:
            path = find_landmarks(self.params.keypoint_dir, clip.name, split)
        if path is None and view.landmarks is not None:
            onset = cached.to_resized(view.in_crop(view.landmarks)[None])[0]
        elif path is None:
            onset = self._detect_landmarks(clip, cached, reference)
        else:
            with ARRAY_LOCK:
                rows = read_landmarks(path, self._warn_once)
            if len(rows) not in (1, len(frames)):
                raise ClipError(f"{path}: expected landmarks of 1 or of all {len(frames)} frames, got {len(rows)}")
            rows = view.in_crop(rows)
            if len(rows) == len(frames) and self.params.landmarks != "track":
                given = cached.to_resized(rows)
                if self.params.landmarks == "file" or not (jitter := measure_jitter(given)).exceeds_motion:
                    return given
                self._warn_once(
                    f"{path}: the landmarks jitter by {jitter.noise:.2f} px, more than the face moves; they are "
                    "tracked from one frame instead (dataset_params.landmarks: file uses them)"
                )
            elif self.params.landmarks == "file":
                raise ClipError(f"{path}: expected one row per frame ({len(frames)}), got {len(rows)}")
            onset = cached.to_resized(rows)[min(reference, len(rows) - 1)]
        settings = f"tracked from {reference} {onset.tolist()} {TrackingSettings()} {REVISION}"
        return self.cache.compute_once(cached, settings, lambda: track(frames, onset, reference=reference))

    def _detect_landmarks(self, clip: Clip, cached: CachedClip, reference: int) -> NDArray[np.float64]:
        if self.detector is None:
            raise ClipError(f"clip {clip.name}: expected landmarks; set dataset_params.keypoint_dir")
        detector, frame = self.detector, np.asarray(cached.frames()[reference])
        backend = self.params.detection_backend
        settings = f"detected on {reference}" + ("" if backend == "face-alignment" else f" {detector_version(backend)}")
        try:
            return self.cache.compute_once(cached, settings, lambda: detector(frame))
        except ValueError as error:
            raise ClipError(
                f"{clip.path}: frame {reference}: {error}; give landmarks in a file, or another frame or image"
            ) from error

    def _action_units(self, clip: Clip, cached: CachedClip, split: str, path: Path | None) -> NDArray[np.float32]:
        params, count = self.params, len(cached)
        rules = table_rules(params)
        if path is None and params.au_dir is not None:
            path = find_table(params.au_dir, clip.name, split)
        if path is not None:
            return read_action_units(path, count, frame_numbers=clip.frame_numbers, rules=rules, notice=self._warn_once)
        if self.extractor is None:
            raise ClipError(
                f"clip {clip.name}: expected action units; set dataset_params.au_dir, or dataset_params.au_extractor: "
                "py-feat (for `animate`, --driving-au names a table)"
            )
        extractor = self.extractor
        rows = self.cache.compute_once(cached, f"py-feat {PY_FEAT_REVISION}", lambda: extractor(cached.frames()))
        table = parse_table(COLUMNS, rows.tolist(), f"py-feat of {clip.path}", rules.min_confidence)
        return clip_action_units(table, count, rules=rules, notice=self._warn_once)

    def _warn_once(self, text: str) -> None:
        """Pass on a warning, unless another clip has caused the same one; called from several threads."""
        with self._warning_lock:
            known = text in self._warned
            self._warned.add(text)
        if not known:
            self.warn(text)


def table_rules(params: DatasetParams) -> TableRules:
    """Return the settings for action-unit tables with gaps."""
    return TableRules(params.au_min_confidence, params.au_unknown, params.au_max_gap)


def make_clip_loader(
    params: DatasetParams,
    device: str,
    *,
    landmarks: bool,
    action_units: bool,
    size_problems: Callable[[int, int], list[str]] = any_size,
    warn: Callable[[str], None] = log.warning,
) -> ClipLoader:
    """Return a loader that finds missing landmarks and action units by networks on a device (`cpu`, `cuda:0`)."""
    detector, extractor = landmark_detector(params, device), action_unit_extractor(params, device)
    return ClipLoader(
        params,
        landmarks=landmarks,
        action_units=action_units,
        detector=detector,
        extractor=extractor,
        size_problems=size_problems,
        warn=warn,
    )


def training_problem(clip: LoadedClip, params: DatasetParams) -> str | None:
    """Return an error message if a clip cannot be used for training; None if it can."""
    if len(clip) < 2:
        return f"{clip.clip.path}: expected at least 2 frames to train on, got {len(clip)}"
    if params.remove_head_motion and clip.landmarks is None:
        return f"{clip.clip.path}: expected landmarks for remove_head_motion, got none"
    return None


def _warnings(clip: Clip, cached: CachedClip, landmarks: NDArray[np.float64] | None) -> tuple[str, ...]:
    warnings = frame_warnings(clip, cached.sizes)
    if landmarks is not None and (warning := landmark_warning(landmarks, cached.frames().shape[1:3])):
        warnings.append(warning)
    return tuple(warnings)
