"""Evaluation of one pair: its driving clip, its source and the results of all systems. Runs in worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.files import LANDMARK_SUFFIXES, find_landmarks
from clips.reading import Clip, ClipError, frame_rate, read_frames
from config.evaluation import EvaluateParams
from evaluation.face_clip import FaceClip, read_working_frames, resized, scaled_points
from evaluation.judge import Source, judge
from evaluation.measuring import Blendshapes, DrivingClip, Methods, measure_driving
from evaluation.methods import face_mesh, make_methods
from evaluation.motion import spread
from evaluation.networks import FID_FRAMES, load_features
from evaluation.references import registered_flow, static_copy
from evaluation.report_clip import driving_player, result_player
from evaluation.result_clips import Pair
from evaluation.tables import REGISTERED, STATIC
from faces.alignment import eye_distance
from faces.face_mesh import MeshFace
from faces.landmarks import read_landmarks

SAME_PLACE = 0.06  # mean distance of two detections, eye distances, below which a face lies as in the source
SAME_ASPECT = 0.03  # relative difference of two aspect ratios that rounding explains
_ERRORS = (ClipError, ValueError, FileNotFoundError, cv2.error)


@dataclass(frozen=True)
class Settings:
    """Settings that all jobs share.

    Attributes:
        params: the section `evaluate_params`.
        keypoint_dir: folder of landmark files; None: they lie beside the clips, or are detected.
        fps: frames per second of clips whose files do not say; None if they are unknown.
    """

    params: EvaluateParams
    keypoint_dir: Path | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Job:
    """One pair.

    Attributes:
        results: system and clip.
        wrong: other driving clips, for the correlation of blendshapes by chance.
    """

    number: int
    pair: Pair
    results: tuple[tuple[str, Clip], ...]
    wrong: tuple[Clip, ...] = ()


@dataclass(frozen=True)
class Judged:
    """The judged result of one system.

    Attributes:
        frames: on disk.
        player: data of the report; None without a report.
        features: of true or driving frames and of generated ones, for FID; None without.
    """

    system: str
    frames: int
    scores: dict[str, float]
    regions: dict[str, float]
    notes: tuple[str, ...]
    player: dict[str, Any] | None = None
    features: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


@dataclass
class Outcome:
    """Everything about one pair.

    Attributes:
        problems: one line each.
        player: of the driving clip and source, for the report.
    """

    number: int
    judged: list[Judged] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    player: dict[str, Any] | None = None


def evaluate_pair(settings: Settings, job: Job) -> Outcome:
    """Judge all results of a pair; what cannot be judged becomes a problem of one line."""
    cv2.setNumThreads(1)  # each core has a process of its own
    outcome = Outcome(job.number)
    try:
        driving = _driving(settings, job.pair.driving)
        source, image_size = _source(settings, job.pair.source)
        methods = make_methods(settings.params)
    except _ERRORS as error:
        outcome.problems.append(f"pair {job.pair.name}: left out: {error}")
        return outcome
    wrong = [found for clip in job.wrong if (found := _blendshapes(settings, clip)) is not None]
    for system, read in _candidates(settings, job, driving, source, image_size):
        try:
            clip, shape, notes = read()
            outcome.judged.append(_judged(settings, job, system, clip, driving, source, methods, wrong, shape, notes))
        except _ERRORS as error:
            outcome.problems.append(f"{system}: {job.pair.name}: left out: {error}")
    if settings.params.report_clips:
        outcome.player = driving_player(driving, source)
    return outcome


def _candidates(
    settings: Settings, job: Job, driving: DrivingClip, source: Source, image_size: tuple[int, int]
) -> Iterator[tuple[str, Any]]:
    """Yield every system with a function that reads its result: clip, shape of the face and notes."""
    for system, clip in job.results:
        yield system, lambda clip=clip: _result(settings, clip, driving, source, image_size)
    if settings.params.references:
        face = (source.image, source.landmarks, driving.clip)
        yield STATIC, lambda: (static_copy(*face), source.shape, [])
        yield REGISTERED, lambda: (registered_flow(*face), source.shape, [])


def _judged(
    settings: Settings,
    job: Job,
    system: str,
    clip: FaceClip,
    driving: DrivingClip,
    source: Source,
    methods: Methods,
    wrong: list[Blendshapes],
    shape: NDArray[np.float64] | None,
    notes: list[str],
) -> Judged:
    truth, remarks = _truth(settings, job.pair, clip)
    verdict = judge(clip, driving, source, methods, truth=truth, wrong=wrong, shape=shape)
    features = None
    if settings.params.fid is not None and system not in (STATIC, REGISTERED):
        network = load_features(settings.params.fid)
        real = driving.clip.frames if truth is None else truth
        features = (
            network(real[spread(len(real), FID_FRAMES)]),
            network(clip.frames[spread(len(clip.frames), FID_FRAMES)]),
        )
    player = result_player(clip.frames, verdict) if settings.params.report_clips else None
    lines = (*notes, *remarks, *verdict.notes)
    return Judged(system, clip.length, verdict.scores, verdict.regions, lines, player, features)


# --- reading ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _driving(settings: Settings, clip: Clip) -> DrivingClip:
    frames, length, size = read_working_frames(clip, settings.params.max_frames)
    if len(frames) < 3:
        raise ClipError(f"{clip.path}: expected a driving clip of at least 3 frames, got {len(frames)}")
    landmarks = _landmarks(settings, clip, size, frames[0])
    fps = frame_rate(clip) or settings.fps
    return measure_driving(FaceClip(frames, landmarks, length, fps), make_methods(settings.params))


@lru_cache(maxsize=4096)  # a few kilobytes each
def _blendshapes(settings: Settings, clip: Clip) -> Blendshapes | None:
    try:
        return _driving(settings, clip).blendshapes
    except _ERRORS:
        return None  # it has a line of its own where it drives


@lru_cache(maxsize=16)
def _source(settings: Settings, clip: Clip) -> tuple[Source, tuple[int, int]]:
    """Read the first frame of a clip as source image; returns its size on disk, too."""
    frame = next(iter(read_frames(clip, None)))
    image = resized(frame)
    landmarks = _landmarks(settings, clip, (frame.shape[0], frame.shape[1]), image)
    return Source(image, landmarks, _shape(_face(image))), (frame.shape[0], frame.shape[1])


def _landmarks(settings: Settings, clip: Clip, size: tuple[int, int], first: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Landmarks of the first frame at the working size: from a file, or else detected.

    Raises:
        ValueError: the file is unreadable, or no face was found.
    """
    path = landmark_file(clip, settings.keypoint_dir)
    if path is not None:
        return scaled_points(read_landmarks(path)[0], size, (first.shape[0], first.shape[1]))
    face = _face(first)
    if face is None:
        raise ValueError(f"{clip.path}: no face was found in the first frame; give landmarks in {clip.path.name}.npy")
    return face.landmarks


def landmark_file(clip: Clip, folder: Path | None) -> Path | None:
    """Return the landmark file of a clip: of its name in a folder, or NAME.npy or NAME.onset.npy beside the clip."""
    if folder is not None:
        try:
            return find_landmarks(folder, clip.name, "test")
        except FileNotFoundError:
            pass
    stem = clip.path if clip.path.is_dir() else clip.path.with_suffix("")
    beside = (stem.with_name(stem.name + middle + suffix) for middle in ("", ".onset") for suffix in LANDMARK_SUFFIXES)
    return next((path for path in beside if path.is_file()), None)


def _face(image: NDArray[np.uint8]) -> MeshFace | None:
    """The largest face; None if there is none, or no mesh is installed."""
    mesh = face_mesh()
    try:
        return None if mesh is None else mesh.largest(image)
    except ValueError:
        return None


def _shape(face: MeshFace | None) -> NDArray[np.float64] | None:
    return None if face is None else np.concatenate([face.points[:, :2], face.landmarks])


def _result(
    settings: Settings, clip: Clip, driving: DrivingClip, source: Source, image_size: tuple[int, int]
) -> tuple[FaceClip, NDArray[np.float64] | None, list[str]]:
    """Read a result, with the shape of its face and notes."""
    frames, length, size = read_working_frames(clip, settings.params.max_frames)
    if len(frames) < 3:
        raise ClipError(f"{clip.path}: expected a result of at least 3 frames, got {len(frames)}")
    notes = []
    if length != driving.clip.length:
        notes.append(f"{length} frames, the driving clip has {driving.clip.length}; compared over relative time")
    shape = _shape(_face(frames[0]))
    inside = source.landmarks
    if abs(size[1] / size[0] * image_size[0] / image_size[1] - 1) < SAME_ASPECT:
        inside = scaled_points(source.landmarks, source.image.shape[:2], frames.shape[1:3])
        if shape is None or source.shape is None:
            return FaceClip(frames, inside, length), shape, notes
        expected = scaled_points(source.shape[-68:], source.image.shape[:2], frames.shape[1:3])
        distance = np.linalg.norm(shape[-68:] - expected, axis=1).mean() / eye_distance(expected)
        if distance < SAME_PLACE:
            return FaceClip(frames, inside, length), shape, notes
        notes.append("the face lies elsewhere than in the source, or is another one; its landmarks were detected")
    elif shape is None:
        raise ClipError(f"{clip.path}: frames of other proportions than the source, and no face was found in the first")
    else:
        notes.append("frames of other proportions than the source; landmarks were detected")
    return FaceClip(frames, shape[-68:], length), shape, notes


def _truth(settings: Settings, pair: Pair, clip: FaceClip) -> tuple[NDArray[np.uint8] | None, list[str]]:
    """True frames in the size and number of a result; None if there are none, or they do not fit."""
    if pair.truth is None:
        return None, []
    try:
        frames, length, _ = _true_frames(settings, pair.truth)
    except ClipError as error:
        return None, [f"no image figures: {error}"]
    if frames.shape != clip.frames.shape or length != clip.length:
        return None, [f"no image figures: the true clip has {length} frames or another size"]
    return frames, []


@lru_cache(maxsize=2)
def _true_frames(settings: Settings, clip: Clip) -> tuple[NDArray[np.uint8], int, tuple[int, int]]:
    return read_working_frames(clip, settings.params.max_frames)
