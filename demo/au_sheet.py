"""Draws the effect of every action unit on the two demo photographs, for a visual check of the action-unit table.

    python -m demo.au_sheet sup-mat/action_units.jpg

The table is `data/action_unit_geometry.csv`. One row per action unit, and one for each side of AU12. For each
photograph: the face at rest, at intensities 1 and 5 of the scale of OpenFace, and five times the change at intensity 5.
The left side of the subject is on the right side of the image.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clips.reading import Frame
from config.load import load_config
from core.models import build_model
from demo.geometry import FaceFrame
from demo.subjects import PHOTOGRAPHS, load_photograph
from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.au_geometry import displace
from faces.facs import MAX_INTENSITY
from modules.geometry import make_coordinate_grid, sample
from modules.model import MotionModel
from output.video import amplified_difference

CONFIG = Path(__file__).resolve().parents[1] / "config" / "warp-256.yaml"
EYE_DISTANCE = 0.34  # share of the frame width
EYE_POSITION = (0.5, 0.36)  # point between the eyes, share of the frame's width and height
LEVELS = (1.0, MAX_INTENSITY)
QUALITY = 72


def portrait(name: str, size: int) -> tuple[Frame, NDArray[np.float64]]:
    """Crop a demo photograph to its face.

    Args:
        name: one of `PHOTOGRAPHS`.
        size: height and width, pixels.
    Returns:
        uint8 (size, size, 3), and the landmarks (68, 2), xy, pixels.
    """
    photograph, anatomy = load_photograph(name)
    face = FaceFrame.from_landmarks(anatomy.landmarks)
    scale = EYE_DISTANCE * size / face.eye_distance
    corner = face.origin - np.array(EYE_POSITION) * size / scale
    height, width = photograph.shape[:2]
    middle = torch.tensor([width - 1, height - 1]) / 2
    grid = (make_coordinate_grid((size, size), middle) + 1) / 2 * (size - 1) / scale + torch.from_numpy(corner)
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None].float()
    resampled = sample(image, (grid / middle - 1)[None], mode="bicubic", padding="border")[0]
    return resampled.permute(1, 2, 0).clamp(0, 255).round().byte().numpy(), (anatomy.landmarks - corner) * scale


def single_unit(au: int, sides: Sequence[str], level: float) -> NDArray[np.float32]:
    """Return intensities in [0, 1] with one action unit at `level` on the scale of OpenFace, 0 to 5: (17, 2)."""
    values = np.zeros((len(ACTION_UNITS), len(SIDES)), np.float32)
    values[ACTION_UNITS.index(au), [SIDES.index(side) for side in sides]] = level / MAX_INTENSITY
    return values


def draw(
    model: MotionModel, face: Frame, landmarks: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Draw a face with action units.

    Args:
        face: uint8 (H, W, 3) at rest.
        landmarks: (68, 2), pixels.
        values: (T, 17, 2) intensities in [0, 1].
    Returns:
        (T, H, W, 3) in [0, 255].
    """
    half = (torch.tensor(face.shape[1::-1]) - 1) / 2
    source, moved = (
        (torch.from_numpy(points) / half - 1).float() for points in (landmarks, displace(landmarks, values))
    )
    image = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        motion_source, motion = model.motion(image, source[None]), model.motion(image, moved)
        prediction = model.generate(model.encode(image), motion_source, motion)["prediction"]
    return 255 * prediction.permute(0, 2, 3, 1).numpy()


def sheet(cell: int = 128) -> Frame:
    """Draw the sheet, uint8 (H, W, 3); images are drawn at twice the size of a cell and shrunk."""
    rows = [(f"AU{au}", au, SIDES) for au in ACTION_UNITS] + [(f"{side} AU12", 12, (side,)) for side in SIDES]
    model = build_model(load_config(CONFIG, []).config)
    columns = [_text_column(["", *(row[0] for row in rows)], 84, cell)]
    for name in PHOTOGRAPHS:
        face, landmarks = portrait(name, 2 * cell)
        values = [single_unit(au, sides, level) for _, au, sides in rows for level in LEVELS]
        moved = draw(model, face, landmarks, np.stack(values)).reshape(len(rows), len(LEVELS), *face.shape)
        change = amplified_difference(face, moved[:, -1])
        still = np.broadcast_to(face, change.shape)
        parts: dict[str, NDArray[Any]] = {
            "at rest": still,
            "intensity 1": moved[:, 0],
            "intensity 5": moved[:, 1],
            "change x5": change,
        }
        for title, images in parts.items():
            small = images.reshape(len(rows), cell, 2, cell, 2, 3).mean((2, 4)).round().astype(np.uint8)
            columns.append(np.concatenate([_text_column([title], cell, 0), *small]))
    return np.concatenate(columns, axis=1)


def _text_column(lines: list[str], width: int, height: int) -> Frame:
    """Draw a column of text: a heading, then one line in the middle of each cell of a height."""
    page = Image.new("RGB", (width, 24 + (len(lines) - 1) * height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for number, line in enumerate(lines):
        pen.text((6, 3 if number == 0 else 24 + (number - 0.5) * height - 9), line, "black", font)
    return np.asarray(page)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw what every action unit does to the demo photographs.")
    parser.add_argument("result", type=Path, help="image file to write")
    iio.imwrite(parser.parse_args().result, sheet(), quality=QUALITY)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
