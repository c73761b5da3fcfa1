"""Fits the 68 landmarks of the face mesh, `landmark_points` of `data/face_mesh.json`, to two photographs.

    python -m benchmarks.mesh_landmarks

The landmarks of both photographs are in `data/`. Each landmark becomes the mean of two points of the mesh (up to four
in the middle of the face) near the points that are usually taken for it, the same on both sides of the face. Prints the
table, and its error on the photographs as a fraction of the distance of the outer eye corners.
"""

import argparse
import json
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.subjects import PHOTOGRAPHS, load_photograph
from faces.alignment import LANDMARKS
from faces.face_mesh import SKIN_POINTS, FaceMesh
from faces.landmarks import MIRRORED_LANDMARKS
from faces.mesh_indices import MIRRORED_POINTS

DATA = Path(__file__).resolve().parents[1] / "data"
USUAL: dict[int, tuple[int, ...]] = {
    **{0: (127,), 1: (234,), 2: (93,), 3: (58, 132), 4: (58, 172), 5: (136,), 6: (150,), 7: (176,), 8: (152,)},
    **{17: (70,), 18: (63,), 19: (105,), 20: (66,), 21: (107,)},
    **{27: (6, 168), 28: (195, 197), 29: (5,), 30: (4,), 31: (75,), 32: (97,), 33: (2,)},
    **{36: (33,), 37: (160,), 38: (158,), 39: (133,), 40: (153,), 41: (144,)},
    **{48: (61,), 49: (39,), 50: (37,), 51: (0,), 57: (17,), 58: (84,), 59: (91,)},
    **{60: (78,), 61: (82,), 62: (13,), 66: (14,), 67: (87,)},
}
"""Usual points of each landmark, for the subject's right half of the face and its middle."""
SYMMETRIC = {at: points for at, points in USUAL.items() if MIRRORED_LANDMARKS[at] == at}
REACH = 0.25
"""Greatest distance of a point from the usual place, in distances of the outer eye corners."""
DISTANCE_COST = 0.1
"""Error that a distance of 1 from the usual place weighs as much as."""
SPREAD_COST = 0.02
"""The same for the distance of the two points from each other."""


def main() -> None:
    """Print the table and its error on both photographs."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    network = FaceMesh()
    meshes, landmarks = [], []
    for name in PHOTOGRAPHS:
        image, _ = load_photograph(name)
        meshes.append(_symmetrised_mesh(network, image))
        landmarks.append(np.loadtxt(DATA / f"{name}_landmarks68.csv", delimiter=","))
    table = fit_table(np.stack(meshes), np.stack(landmarks))
    print(json.dumps(table))
    for name, mesh, truth in zip(PHOTOGRAPHS, meshes, landmarks, strict=True):
        found = np.stack([mesh[points, :2].mean(axis=0) for points in table])
        error = np.linalg.norm(found - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45])
        print(f"{name}: {error:.4f}")


def _symmetrised_mesh(network: FaceMesh, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean mesh (478, 3) of an image and of its mirror image, in pixels of the image."""
    mirrored = network.largest(np.ascontiguousarray(image[:, ::-1])).points[MIRRORED_POINTS]
    mirrored[:, 0] = image.shape[1] - 1 - mirrored[:, 0]
    return (network.largest(image).points + mirrored) / 2


def fit_table(meshes: NDArray[np.float64], landmarks: NDArray[np.float64]) -> list[list[int]]:
    """Choose the points of each landmark.

    Args:
        meshes: (N, 478, 3), pixels.
        landmarks: (N, 68, 2), pixels.
    Returns:
        Points of each of the 68 landmarks.
    """
    units = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1)[:, None, None]
    shape = (meshes / units).mean(axis=0)
    # The landmarks lie 2.6 % too far right, on both halves of the face; hand-drawn lids show it, too.
    usual_places = np.stack([meshes[:, list(points), :2].mean(axis=1) for points in SYMMETRIC.values()], 1)
    landmarks = landmarks + [1, 0] * (usual_places - landmarks[:, list(SYMMETRIC)]).mean(axis=1, keepdims=True)
    table: list[list[int]] = [[] for _ in range(LANDMARKS)]
    for landmark, usual in USUAL.items():
        place = shape[list(usual)].mean(axis=0)
        near = np.flatnonzero(np.linalg.norm(shape[:SKIN_POINTS] - place, axis=1) < REACH)
        pairs = np.array(list(combinations_with_replacement(near, 2)))
        mirrored = MIRRORED_LANDMARKS[landmark]
        error = sum(
            np.linalg.norm(meshes[:, points, :2].mean(axis=2) - landmarks[:, None, at], axis=2) / units[:, :, 0]
            for points, at in ((pairs, landmark), (MIRRORED_POINTS[pairs], mirrored))
        )
        distance = np.linalg.norm(shape[pairs].mean(axis=1) - place, axis=1)
        spread = np.linalg.norm(shape[pairs[:, 0]] - shape[pairs[:, 1]], axis=1)
        best = pairs[np.argmin(np.mean(error, axis=0) / 2 + DISTANCE_COST * distance + SPREAD_COST * spread)]
        if mirrored == landmark:
            best = np.concatenate([best, MIRRORED_POINTS[best]])
        table[landmark] = np.unique(best).tolist()
        table[mirrored] = np.unique(MIRRORED_POINTS[best]).tolist()
    return table


if __name__ == "__main__":
    main()
