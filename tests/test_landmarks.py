"""Landmark files, the detector around `face_alignment`, and its import without a window system."""

import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from faces.face_alignment_detector import WEIGHTS, FaceAlignmentDetector
from faces.landmarks import read_landmarks
from tests.conftest import face_landmarks

FACE = face_landmarks(128)


def openface(frames: list[np.ndarray], *, blank: str = "", success: int = 1, order=None) -> str:
    """A table as OpenFace 2 writes it."""
    header = ["frame", "success", *(f"x_{i}" for i in range(68)), *(f"y_{i}" for i in range(68))]
    numbers = order or range(1, len(frames) + 1)
    rows = [[n, success, *f[:, 0], *f[:, 1]] for n, f in zip(numbers, frames, strict=True)]
    return "\n".join(("," + blank).join(str(cell) for cell in row) for row in [header, *rows]) + "\n"


def pts(points: np.ndarray) -> str:
    lines = "\n".join(f"{x + 1} {y + 1}" for x, y in points)
    return f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n"


def test_every_format_gives_the_same_points(tmp_path):
    np.save(tmp_path / "a.npy", FACE)
    (tmp_path / "b.csv").write_text("\n".join(f"{x},{y}" for x, y in FACE))
    (tmp_path / "c.csv").write_text("# hand-made\nx,y\n" + "\n".join(f"{x},{y}" for x, y in FACE))
    (tmp_path / "d.csv").write_text(openface([FACE], blank=" "))
    (tmp_path / "e.pts").write_text(pts(FACE))
    for path in sorted(tmp_path.iterdir()):
        found = read_landmarks(path)
        assert found.shape == (1, 68, 2), path
        np.testing.assert_allclose(found[0], FACE, atol=1e-9, err_msg=path.name)


def test_frames_of_a_table_are_sorted_by_their_numbers(tmp_path):
    (tmp_path / "clip.csv").write_text(openface([FACE + 2, FACE, FACE + 1], order=[3, 1, 2]))
    found = read_landmarks(tmp_path / "clip.csv")
    np.testing.assert_allclose(found - FACE, np.arange(3.0)[:, None, None] * np.ones((1, 68, 2)), atol=1e-9)


def with_nan() -> np.ndarray:
    points = np.stack([FACE, FACE])
    points[1, 7] = np.nan
    return points


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", FACE[:67], r"a\.npy: found an array of shape \(1, 67, 2\), expected \(68, 2\)"),
        ("a.npy", with_nan(), "1 points are not finite .* point 7 of frame 1"),
        (
            "a.npy",
            FACE / 128,
            r"points of frame 0 span 0\.\d+ px, expected at least 8; .* not fractions of their width",
        ),
        ("a.npy", np.zeros((2, 68, 2)), "points of frame 0 span 0 px"),
        ("a.npy", np.array(["x"]), "expected numbers"),
        ("a.npy", b"", "cannot be read as .npy landmarks"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "x,y\n1,2,3\n", "row 2 has 3 columns"),
        ("a.csv", openface([FACE]).replace("x_5,", "z_5,"), "1 landmark columns are missing, the first is x_5"),
        ("a.csv", openface([FACE], success=0), "no face was found in 1 of 1 frames"),
        ("a.csv", openface([FACE, FACE], order=[1, 1]), "a frame number occurs twice"),
        ("a.pts", "68 points", "one block of points in braces"),
        ("a.txt", "1 2", r"expected landmarks in a file of type \.npy, \.csv, \.pts, got '\.txt'"),
    ],
)
def test_unusable_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_landmarks(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npy: no such landmark file"):
        read_landmarks(tmp_path / "absent.npy")


# --- detector ---------------------------------------------------------------------------------------------------------


class StandIn:
    """`face_alignment.FaceAlignment` without weights: finds given boxes, and puts a face into each."""

    boxes: tuple = ()

    def __init__(self, landmarks_type, device, compile):
        assert not compile
        self.device = device
        self.face_detector = self

    def detect_from_image(self, image):
        return [np.array([*box, 0.9]) for box in self.boxes]

    def get_landmarks_from_image(self, image, detected_faces):
        ((x0, y0, x1, y1),) = detected_faces
        return [np.array([x0, y0]) + (FACE / 128) * [x1 - x0, y1 - y0]]


@pytest.fixture
def stand_in(monkeypatch):
    face_alignment = pytest.importorskip("face_alignment")
    monkeypatch.setattr(face_alignment, "FaceAlignment", StandIn)
    return StandIn


def test_the_largest_of_several_faces_is_taken(stand_in, monkeypatch):
    monkeypatch.setattr(stand_in, "boxes", ((0, 0, 20, 20), (30, 10, 94, 74)))
    found = FaceAlignmentDetector("cpu").detect(np.zeros((100, 100, 3), np.uint8))
    np.testing.assert_allclose(found, FACE / 2 + [30, 10])
    grey = FaceAlignmentDetector("cpu").detect(np.zeros((100, 100), np.uint8))
    np.testing.assert_allclose(grey, found)


def test_no_face_is_an_error(stand_in):
    with pytest.raises(ValueError, match="no face was found in the 120 x 100 image"):
        FaceAlignmentDetector("cpu").detect(np.zeros((100, 120, 3), np.uint8))


def test_the_device_is_passed_on(stand_in):
    assert FaceAlignmentDetector("cuda:1")._networks.device == "cuda:1"


def test_without_weights_and_network_the_files_and_their_place_are_named(tmp_path, monkeypatch):
    pytest.importorskip("face_alignment")

    def refuse(*arguments, **settings):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        FaceAlignmentDetector("cpu")
    assert str(tmp_path) in str(caught.value)
    assert all(name in str(caught.value) for name in WEIGHTS)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="libGL is a matter of Linux")
def test_no_window_system_is_needed():
    pytest.importorskip("face_alignment")
    import cv2

    loaded = Path("/proc/self/maps").read_text(encoding="utf-8")
    assert Path(cv2.__file__).parent.name in loaded
    for name in ("libGL.so", "libEGL.so", "libgthread-2.0.so"):
        assert name not in loaded
