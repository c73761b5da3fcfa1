"""Judges one result against its driving clip and its source image: all measures, and the curves of the report.

Legend: T frames, t frames of slow methods, P points of the face grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.action_units import asymmetry_kept, compare_units, landmark_distance
from evaluation.artefacts import flicker, sharpness
from evaluation.blendshapes import channel_correlation
from evaluation.face_clip import FaceClip
from evaluation.identity import identity_similarity
from evaluation.images import image_scores
from evaluation.measuring import Blendshapes, ClipMeasurements, DrivingClip, Methods, measure_clip
from evaluation.motion import (
    REGIONS,
    FaceMotion,
    agreement,
    excess_motion,
    map_between_faces,
    projections,
    region_curves,
    resample,
    same_length,
)
from evaluation.timing import Timing, expression_timing, timing_errors


@dataclass(frozen=True)
class Source:
    """A source image at the working size.

    Attributes:
        image: (H, W, 3).
        landmarks: (68, 2), pixels of the image.
        shape: (478 + 68, 2) points of the mesh and landmarks, of one detector; None if it finds no face.
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    shape: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Judgement:
    """Result of the judge.

    Attributes:
        scores: by name of the measure.
        regions: non-rigid error, correlation and gain of each region, by `REGION_FIGURE`.
        curves: motion over time of driving clip and result, by region, in eye distances.
        units: changes of the action units of driving clip and result, (T, 34) each; None if they are unknown.
        timing: onset, apex and offset of driving clip and result, in frames on disk.
        coarse: (T, 16, 16, 2) flow of the result, pixels.
        notes: one line each.
    """

    scores: dict[str, float]
    regions: dict[str, float]
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    timing: tuple[Timing, Timing]
    coarse: NDArray[np.float32]
    notes: list[str] = field(default_factory=list)


def judge(
    result: FaceClip,
    driving: DrivingClip,
    source: Source,
    methods: Methods,
    *,
    truth: NDArray[np.uint8] | None = None,
    wrong: Sequence[Blendshapes] = (),
    shape: NDArray[np.float64] | None = None,
) -> Judgement:
    """Judge a result.

    Args:
        truth: (T, H, W, 3) true frames, in the size and number of the result's; None if there are none.
        wrong: blendshapes of other driving clips, to which the result should not correspond.
        shape: points of the result's first frame, as `Source.shape`.
    """
    grid = map_between_faces(driving.clip.landmarks, result.landmarks, driving.grid)
    measured = measure_clip(result, grid, methods)
    main = methods.estimators[0]
    own, found = same_length(driving.measured.motion[main].nonrigid, measured.motion[main].nonrigid)
    scores: dict[str, float] = _motion_scores(driving.measured.motion, measured.motion)
    scores["agreement"] = driving.agreement
    scores |= _unit_scores(driving.measured, measured)
    scores |= _blendshape_scores(driving, measured, wrong)
    # Times are in frames of the driving clip on disk.
    step = (driving.clip.length - 1) / max(len(own) - 1, 1)
    pair = projections(own, found)
    scores |= {name: value * step for name, value in timing_errors(*pair).items()}
    scores["leak_face"] = excess_motion(own, found)
    outside = [motion[main].background.mean() for motion in (driving.measured.motion, measured.motion)]
    scores["leak_background"] = float(100 * max(0.0, outside[1] - outside[0]))
    shapes = None if source.shape is None or shape is None else (source.shape, shape)
    scores["identity"] = identity_similarity(source.image, source.landmarks, result, shapes, methods.embedding)
    scores["flicker"] = flicker(driving.measured.noise, measured.noise)
    same_size = source.image.shape == result.frames.shape[1:]
    scores["sharpness"] = sharpness(source.image, result) if same_size else float("nan")
    if truth is not None:
        scores |= image_scores(truth, result.frames, methods.lpips)
    times = [expression_timing(curve) for curve in pair]
    on_disk = [Timing(*(step * time for time in (t.onset, t.apex, t.offset))) for t in times]
    units = None
    if driving.measured.units is not None and measured.units is not None:
        count = min(len(driving.measured.units), len(measured.units))
        units = resample(driving.measured.units, count), resample(measured.units, count)
    return Judgement(
        scores,
        _region_scores(own, found, driving.regions),
        region_curves(own, found, driving.regions),
        units,
        (on_disk[0], on_disk[1]),
        measured.motion[main].coarse,
        [measured.problem] if measured.problem else [],
    )


def _motion_scores(driving: dict[str, FaceMotion], result: dict[str, FaceMotion]) -> dict[str, float]:
    scores = {}
    for name in driving:
        for kind in ("motion", "total"):
            pair = [m[name].nonrigid if kind == "motion" else m[name].total for m in (driving, result)]
            figures = agreement(*same_length(*pair))
            scores[f"{kind}_error_{name}"] = figures.error
            scores[f"{kind}_corr_{name}"] = figures.correlation
            scores[f"{kind}_gain_{name}"] = figures.gain
    return scores


def _region_scores(
    driving: NDArray[np.float64], result: NDArray[np.float64], regions: NDArray[np.int_]
) -> dict[str, float]:
    scores = {}
    for number, name in enumerate(REGIONS):
        chosen = regions == number
        figures = agreement(driving[:, chosen], result[:, chosen]) if chosen.any() else None
        for figure in ("error", "correlation", "gain"):
            scores[f"{name}_{figure}"] = float("nan") if figures is None else getattr(figures, figure)
    return scores


def _unit_scores(driving: ClipMeasurements, result: ClipMeasurements) -> dict[str, float]:
    names = ("akd", "asymmetry", "au_error", "au_corr", "au_gain", "leak_units")
    if driving.displacements is None or result.displacements is None or driving.units is None or result.units is None:
        return dict.fromkeys(names, float("nan"))
    moved = same_length(driving.displacements, result.displacements)
    figures = compare_units(*same_length(driving.units, result.units))
    values = (
        landmark_distance(*moved),
        asymmetry_kept(*moved),
        figures.agreement.error,
        figures.agreement.correlation,
        figures.agreement.gain,
        figures.leakage,
    )
    return dict(zip(names, values, strict=True))


def _blendshape_scores(
    driving: DrivingClip, result: ClipMeasurements, wrong: Sequence[Blendshapes]
) -> dict[str, float]:
    own, found = driving.measured.blendshapes, result.blendshapes
    scores = {"blend_channels": float(driving.acts.sum()), "blend_corr": float("nan"), "blend_wrong": float("nan")}
    if own is None or found is None:
        return scores
    scores["blend_corr"] = channel_correlation(own, found, driving.acts)
    others = [channel_correlation(changes, found, acts) for changes, acts in wrong if acts.any()]
    if others:
        scores["blend_wrong"] = float(np.mean(others))
    return scores
