"""Training of the action-unit estimator for the relative action-unit constraint."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clips.loader import LoadedClip, make_clip_loader
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from core.devices import launch, make_fabric
from core.files import write_text
from errors import UserError
from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.alignment import fit_similarity_robust
from faces.au_geometry import read_geometry
from modules.au_estimator import AUEstimator
from output.result_table import csv_text
from train import run_job
from trainer import Job, Report

log = logging.getLogger("train_au")

REPORT = "au_estimator.csv"
COLUMNS = ("au", "clips", "mae", "r", "r_difference")
MIN_CHANGE = 0.02  # of an intensity, 0 to 1, from which a clip counts as showing an action unit


def train_au(config: Config, options: RunOptions) -> int:
    """`--mode train_au`: train on the train split, measure on the test split.

    Returns:
        Exit status: 0, or 128 + signal of an interrupted run.
    Raises:
        UserError: data or settings that cannot be used.
    """
    section = config.train_au_params
    fabric = make_fabric(options.device_ids, "32", config.train_params.num_nodes)
    launch(fabric)
    torch.manual_seed(config.seed)
    geometry = read_geometry()[:, SIDES.index("left")]
    model = AUEstimator(torch.from_numpy(geometry).float())
    optimisers = model.prepare_training(section)

    def write(path: Path) -> None:
        write_report(path, config, model, str(fabric.device))

    job = Job(section, "losses", optimisers, "train_au", remove_head_motion=True, report=Report(REPORT, write))
    return run_job(fabric, config, options, model, job)


def write_report(path: Path, config: Config, model: AUEstimator, device: str) -> None:
    """Measure the estimator on the test clips; log and write the results, one row per action unit.

    Columns: number of clips that show the unit; mean absolute error of the intensity; Pearson correlation of the
    intensity, and of its difference from the first frame of the clip. Over all frames, both sides averaged.
    """
    try:
        clips = split_clips(config.dataset_params, "test")
        loader = make_clip_loader(config.dataset_params, device, landmarks=True, action_units=True)
        prepared, problems = loader.load_all(clips, "test")
    except UserError as error:
        log.warning("not measured on held-out clips: %s", error)
        return
    for problem in problems:
        log.warning("left out: %s", problem)
    rows = measure(model.eval(), prepared)
    write_text(path, csv_text(COLUMNS, rows))
    log.info("held-out clips: %s", path)
    for row in rows:
        log.info("AU%-2d %3d clips, MAE %.3f, r %.2f, r of differences %.2f", *(row[name] for name in COLUMNS))


def measure(model: AUEstimator, clips: list[LoadedClip]) -> list[dict[str, float]]:
    """Rows of the report; a correlation with constant values is NaN."""
    found = [_estimate(model, clip) for clip in clips]
    true = [clip.action_units.mean(-1) for clip in clips if clip.action_units is not None]
    rows = []
    for i, unit in enumerate(ACTION_UNITS):
        intensity, wanted = (np.concatenate([v[:, i] for v in values]) for values in ([f[0] for f in found], true))
        change, asked = (
            np.concatenate([v[:, i] - v[0, i] for v in values]) for values in ([f[1] for f in found], true)
        )
        shown = sum(np.ptp(v[:, i]) > MIN_CHANGE for v in true)
        error = round(float(np.abs(intensity - wanted).mean()), 4)
        correlations = (_correlation(intensity, wanted), _correlation(change, asked))
        rows.append(dict(zip(COLUMNS, (unit, shown, error, *correlations), strict=True)))
    return rows


def _estimate(model: AUEstimator, clip: LoadedClip) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Intensities, and differences to the first frame, of a clip: (T, 17) each, left and right averaged."""
    assert clip.landmarks is not None, "the estimator's clips are loaded with landmarks"
    assert clip.action_units is not None, "the estimator's clips are loaded with action units"
    device = next(model.parameters()).device
    first = np.broadcast_to(clip.landmarks[0], clip.landmarks.shape)
    posed = fit_similarity_robust(clip.landmarks[0], clip.landmarks).apply(first)  # the face of the first frame
    landmarks = torch.from_numpy(clip.to_units(posed)).to(device)
    frames = torch.from_numpy(np.array(clip.cached.frames())).to(device).permute(0, 3, 1, 2).float() / 255
    rest = torch.from_numpy(clip.action_units[:1]).to(device)
    with torch.inference_mode():
        intensities = [model(frame[None], points[None]) for frame, points in zip(frames, landmarks, strict=True)]
        faces = [model.halves(frame[None], points[None]) for frame, points in zip(frames, landmarks, strict=True)]
        differences = [model.difference_of_halves(faces[0], face, landmarks[:1], rest) for face in faces]
    found, changes = (torch.cat(values).mean(-1).cpu().numpy() for values in (intensities, differences))
    return found, changes


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return round(float(np.corrcoef(a, b)[0, 1]), 4) if np.ptp(a) and np.ptp(b) else float("nan")
