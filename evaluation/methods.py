"""The methods of the judge that a config section names, loaded once per process."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from config.evaluation import EvaluateParams
from core.models import load_au_estimator
from errors import UserError
from evaluation.face_clip import FaceClip
from evaluation.identity import LANDMARKS_AND_COLOUR, load_embedding
from evaluation.measuring import Methods, UnitEstimator, units_by_geometry
from evaluation.networks import load_features, load_lpips
from faces.action_unit_extraction import COLUMNS, extract_action_units
from faces.action_unit_tables import parse_table
from faces.action_units import TableRules, clip_action_units
from faces.face_mesh import FaceMesh
from faces.facs import MAX_INTENSITY

log = logging.getLogger("evaluate")


@lru_cache(maxsize=1)
def face_mesh() -> FaceMesh | None:
    """Return the face mesh; None if its package is not installed, with one warning."""
    try:
        return FaceMesh()
    except FileNotFoundError as error:
        log.warning("no blendshapes, and landmarks only from files: %s", error)
        return None


@lru_cache(maxsize=2)
def make_methods(params: EvaluateParams) -> Methods:
    """Load the methods of a config section.

    Raises:
        UserError: a network or a package is missing; the message says how to provide it.
    """
    return Methods(
        estimators=params.flow_estimators,
        slow_frames=params.slow_frames,
        units=_unit_estimator(params.action_units),
        mesh=face_mesh() if params.blendshapes else None,
        embedding=load_embedding(params.identity),
        lpips=None if params.lpips is None else load_lpips(params.lpips),
    )


def check_methods(params: EvaluateParams) -> None:
    """Load everything once, before any clip is read.

    Raises:
        UserError: as `make_methods`.
    """
    make_methods(params)
    if params.fid is not None:
        load_features(params.fid)


def describe_methods(params: EvaluateParams) -> list[str]:
    """Return sentences on the methods behind the figures, for tables and the report."""
    units = {
        "geometry": "Action units are estimated from tracked landmarks by the geometry of each unit.",
        "py-feat": "Action units are estimated by py-feat.",
    }.get(params.action_units, "Action units are estimated by the trained estimator of this program.")
    identity = LANDMARKS_AND_COLOUR if params.identity == "landmarks" else params.identity
    flow = ", ".join(params.flow_estimators)
    return [
        f"Motion is estimated by {flow}; the first one also gives regions, timing and leakage. A system that made its "
        "motion by one of them must be judged by the other.",
        units,
        f"Identity is judged by {identity}.",
        "Values are means over clips, with the 95 % bootstrap interval in brackets.",
    ]


def _unit_estimator(name: str) -> UnitEstimator:
    if name == "geometry":
        return units_by_geometry
    return _py_feat if name == "py-feat" else _trained_estimator(Path(name))


def _trained_estimator(path: Path) -> UnitEstimator:
    """Return the estimator of `--mode train_au`.

    Raises:
        CheckpointError: no checkpoint, or one of another mode.
    """
    network = load_au_estimator(path)

    def estimate(clip: FaceClip, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        size = np.array([clip.frames.shape[2] - 1, clip.frames.shape[1] - 1])
        points = torch.from_numpy(landmarks / size * 2 - 1).float()
        images = [torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 255 for frame in clip.frames]
        with torch.inference_mode():
            rest = network.halves(images[0], points[:1])
            rows = [
                network.difference_of_halves(rest, network.halves(image, points[t : t + 1]), points[:1])
                for t, image in enumerate(images)
            ]
        return torch.cat(rows).flatten(1).double().numpy() * MAX_INTENSITY

    return estimate


def _py_feat(clip: FaceClip, _landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate action units by py-feat.

    Raises:
        UserError: the package is missing.
    """
    try:
        rows = extract_action_units(clip.frames)
    except RuntimeError as error:
        raise UserError(f"evaluate_params.action_units: {error}") from error
    table = parse_table(COLUMNS, rows.tolist(), "py-feat", 0.0)
    rules = TableRules(unknown="zero", max_gap=len(clip.frames))
    values = clip_action_units(table, len(clip.frames), rules=rules, notice=log.debug)
    changes: NDArray[np.float64] = (values - values[0]).reshape(len(values), -1).astype(np.float64) * MAX_INTENSITY
    return changes
