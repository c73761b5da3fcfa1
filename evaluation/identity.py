"""Similarity of the person in a result to the person in the source image.

Legend: T frames, H x W image, N = 68 landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from errors import UserError, first_line
from evaluation.face_clip import FaceClip
from evaluation.motion import spread
from evaluation.networks import load_script
from faces.alignment import LEFT_EYE, RIGHT_EYE, Similarity, fit_similarity

Embedding = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Describes an aligned face, uint8 (160, 160, 3), by a vector."""

FRAMES = 5  # in which a result is compared with its source
CROP, LAYOUT = 160, 24  # sides of the aligned face, and of its colour layout, pixels
SHAPE_SCALE = 0.06  # root mean square difference of two faces' shapes at which their similarity is 1 / e, eye distances
LANDMARKS_AND_COLOUR = "landmarks and colour"


def load_embedding(name: str) -> Embedding | None:
    """Return a face embedding; None for `landmarks`, which needs no network.

    Args:
        name: `landmarks`; `facenet`, the package facenet-pytorch; or a TorchScript file, (1, 3, 160, 160) in [-1, 1] ->
            (1, D).
    Raises:
        UserError: the package or the file cannot be used.
    """
    if name == "landmarks":
        return None
    if name == "facenet":
        network = _facenet()
    else:
        network = load_script("evaluate_params.identity", Path(name), "(1, 3, 160, 160) in [-1, 1] -> (1, D)")

    def embed(face: NDArray[np.uint8]) -> NDArray[np.float64]:
        image = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            return np.asarray(network(image)[0].double().numpy())

    return embed


@lru_cache(maxsize=1)
def _facenet() -> Any:
    try:
        from facenet_pytorch import InceptionResnetV1

        return InceptionResnetV1(pretrained="vggface2").eval()
    except Exception as error:  # the package is missing, or its weights cannot be downloaded
        raise UserError(
            f"evaluate_params.identity: facenet cannot be used ({first_line(error)}); install it with `pip install "
            "--no-deps facenet-pytorch`, which downloads 110 MB at its first use, or set it to landmarks or to a "
            "TorchScript file"
        ) from error


def aligned_face(image: NDArray[np.uint8], landmarks: NDArray[np.float64], side: int = CROP) -> NDArray[np.uint8]:
    """Cut out a face, eyes level and at a fixed place: uint8 (side, side, 3)."""
    eyes = np.stack([landmarks[RIGHT_EYE].mean(axis=0), landmarks[LEFT_EYE].mean(axis=0)])
    place = np.array([[0.3, 0.35], [0.7, 0.35]]) * side
    matrix = fit_similarity(eyes, place).matrix()
    face = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(face, np.uint8)


def identity_similarity(
    source: NDArray[np.uint8],
    source_landmarks: NDArray[np.float64],
    clip: FaceClip,
    shapes: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    embedding: Embedding | None,
) -> float:
    """Return the similarity of a result to its source: 1 for the same picture, about 0 for unrelated people.

    With an embedding, the mean cosine similarity of some frames with the source. Without, the mean of two parts: the
    shape of the face, exp(-d / 0.06), where d is the root mean square distance of its points after a similarity, in eye
    distances; and its colour layout, the correlation of aligned faces of 24 x 24 pixels in CIELAB.

    Args:
        source: source image.
        source_landmarks: (68, 2), pixels of it.
        shapes: points (P, 2) of source and first frame by one detector; None compares colours only.
    """
    faces = [aligned_face(clip.frames[t], clip.landmarks) for t in spread(len(clip.frames), FRAMES)]
    own = aligned_face(source, source_landmarks)
    if embedding is not None:
        target = embedding(own)
        return float(np.mean([_cosine(target, embedding(face)) for face in faces]))
    layout = _layout(own)
    colour = float(np.mean([_cosine(layout, _layout(face)) for face in faces]))
    return colour if shapes is None else (colour + shape_similarity(*shapes)) / 2


def shape_similarity(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the similarity of two shapes (P, 2) of corresponding points, 0 to 1; the last 68 are landmarks."""
    fit: Similarity = fit_similarity(other, one)
    landmarks = one[-68:]
    unit = np.linalg.norm(landmarks[RIGHT_EYE].mean(axis=0) - landmarks[LEFT_EYE].mean(axis=0))
    distance = np.sqrt(((fit.apply(other) - one) ** 2).sum(axis=1).mean()) / unit
    return float(np.exp(-distance / SHAPE_SCALE))


def _layout(face: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Small CIELAB picture of an aligned face, each channel without its mean, as one vector."""
    small = cv2.resize(face, (LAYOUT, LAYOUT), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(np.asarray(small, np.float32) / np.float32(255), cv2.COLOR_RGB2LAB).astype(np.float64)
    return (lab - lab.mean(axis=(0, 1))).ravel()


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    scale = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / scale) if scale > 0 else 0.0
