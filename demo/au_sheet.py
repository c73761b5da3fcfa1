"""Draws what every action unit does to the two demo photographs, for an eye to judge `data/action_unit_geometry.csv`.

    python -m demo.au_sheet sup-mat/action_units.jpg

One row an action unit, and two for one side of AU12. For each photograph: the face at rest, at intensity 1 and 5 of
OpenFace's scale, and five times the change at intensity 5. The subject's left is on the right of the picture.
"""

import argparse
from pathlib import Path

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
from faces.action_units import ACTION_UNITS, SIDES
from faces.au_geometry import displace
from faces.facs import MAX_INTENSITY
from modules.geometry import make_coordinate_grid, sample
from modules.model import MotionModel
from output.video import DIFFERENCE_GAIN

CONFIG = Path(__file__).resolve().parents[1] / "config" / "warp-256.yaml"
EYE_DISTANCE = 0.34  # of the frame's width
EYES_AT = (0.5, 0.36)  # place of the point between the eyes in the frame, share of its width and height
LEVELS = (1.0, MAX_INTENSITY)
QUALITY = 72


def portrait(name: str, size: int) -> tuple[Frame, NDArray[np.float64]]:
    """A demo photograph cut to its face.

    Args:
        name: one of `PHOTOGRAPHS`.
        size: height and width, pixels.
    Returns:
        uint8 (size, size, 3), and its landmarks (68, 2), xy, pixels.
    """
    photograph, anatomy = load_photograph(name)
    face = FaceFrame.of(anatomy.landmarks)
    scale = EYE_DISTANCE * size / face.unit
    corner = face.origin - np.array(EYES_AT) * size / scale
    height, width = photograph.shape[:2]
    middle = torch.tensor([width - 1, height - 1]) / 2
    grid = (make_coordinate_grid((size, size), middle) + 1) / 2 * (size - 1) / scale + torch.from_numpy(corner)
    picture = torch.from_numpy(photograph).permute(2, 0, 1)[None].float()
    drawn = sample(picture, (grid / middle - 1)[None], mode="bicubic", padding="border")[0]
    return drawn.permute(1, 2, 0).clamp(0, 255).round().byte().numpy(), (anatomy.landmarks - corner) * scale


def intensities(au: int, sides: tuple[str, ...], level: float) -> NDArray[np.float32]:
    """One action unit alone: (17, 2), 0 to 1; `level` is on the scale of OpenFace, 0 to 5."""
    values = np.zeros((len(ACTION_UNITS), len(SIDES)), np.float32)
    values[ACTION_UNITS.index(au), [SIDES.index(side) for side in sides]] = level / MAX_INTENSITY
    return values


def draw(
    model: MotionModel, picture: Frame, landmarks: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The face with its action units.

    Args:
        picture: uint8 (H, W, 3) at rest.
        landmarks: (68, 2) of it, pixels.
        values: (T, 17, 2), 0 to 1.
    Returns:
        (T, H, W, 3) in [0, 255].
    """
    half = (torch.tensor(picture.shape[1::-1]) - 1) / 2
    source, moved = (
        (torch.from_numpy(points) / half - 1).float() for points in (landmarks, displace(landmarks, values))
    )
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        motion_source, motion = model.motion(image, source[None]), model.motion(image, moved)
        prediction = model.generate(model.encode(image), motion_source, motion)["prediction"]
    return 255 * prediction.permute(0, 2, 3, 1).numpy()


def sheet(cell: int = 128) -> Frame:
    """The whole sheet, uint8 (H, W, 3); pictures are drawn at twice the size of a cell and shrunk."""
    rows = [(f"AU{au}", au, SIDES) for au in ACTION_UNITS] + [(f"{side} AU12", 12, (side,)) for side in SIDES]
    model = build_model(load_config(CONFIG, []).config)
    columns = [_text(["", *(row[0] for row in rows)], 84, cell)]
    for name in PHOTOGRAPHS:
        picture, landmarks = portrait(name, 2 * cell)
        values = [intensities(au, sides, level) for _, au, sides in rows for level in LEVELS]
        moved = draw(model, picture, landmarks, np.stack(values)).reshape(len(rows), len(LEVELS), *picture.shape)
        change = np.clip(127.5 + DIFFERENCE_GAIN * (moved[:, -1] - picture), 0, 255)
        still = np.broadcast_to(picture, change.shape)
        parts = {"at rest": still, "intensity 1": moved[:, 0], "intensity 5": moved[:, 1], "change x5": change}
        for title, pictures in parts.items():
            small = pictures.reshape(len(rows), cell, 2, cell, 2, 3).mean((2, 4)).round().astype(np.uint8)
            columns.append(np.concatenate([_text([title], cell, 0), *small]))
    return np.concatenate(columns, axis=1)


def _text(lines: list[str], width: int, height: int) -> Frame:
    """A column of words: the first a headline, the others in the middle of cells of a height."""
    page = Image.new("RGB", (width, 24 + (len(lines) - 1) * height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for number, line in enumerate(lines):
        pen.text((6, 3 if number == 0 else 24 + (number - 0.5) * height - 9), line, "black", font)
    return np.asarray(page)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Draw what every action unit does to the demo photographs.")
    parser.add_argument("result", type=Path, help="picture to write")
    iio.imwrite(parser.parse_args().result, sheet(), quality=QUALITY)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
