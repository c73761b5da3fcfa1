"""Landmark files, the detector around `face_alignment`, and its import without a window system."""

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from faces.face_alignment_detector import WEIGHTS, FaceAlignmentDetector
from faces.landmark_checks import landmark_problem, rolled_frames
from faces.landmarks import read_landmarks
from faces.mesh_indices import LANDMARK_POINTS
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("excel.csv", "x;y\r\n" + "".join(f"{x};{y}\r\n".replace(".", ",") for x, y in FACE) + ";\r\n;\r\n"),
        ("tails.csv", "x,y\r\n" + "".join(f"{x},{y},\r\n" for x, y in FACE) + ",,\r\n"),
        ("declared.csv", "sep=;\n" + "".join(f"{x};{y}\n" for x, y in FACE)),
        ("index.csv", ",x,y\n" + "".join(f"{i},{x},{y}\n" for i, (x, y) in enumerate(FACE))),
        ("counted.csv", "".join(f"{i},{x},{y}\n" for i, (x, y) in enumerate(FACE, 1))),
        ("r.txt", "x y\n" + "".join(f"{i} {x} {y}\n" for i, (x, y) in enumerate(FACE, 1))),
        ("depth.csv", "".join(f"{x},{y},{x - y}\n" for x, y in FACE)),
        ("named.csv", "z,Y,X\n" + "".join(f"0.5,{y},{x}\n" for x, y in FACE)),
        ("tabs.tsv", "".join(f"{x}\t{y}\n" for x, y in FACE)),
        ("aligned.txt", "".join(f"{x:22.16f} {y:22.16f}\n" for x, y in FACE)),
        ("commas.txt", "".join(f"{x} {y}\n".replace(".", ",") for x, y in FACE)),
        ("wide.csv", "".join(f"{x}\uff0c{y}\n" for x, y in FACE)),
        ("points.txt", pts(FACE)),
        ("list.json", json.dumps(FACE.tolist())),
        ("keyed.json", json.dumps({"version": 1, "landmarks": [[[*p, 1.0] for p in FACE.tolist()]]})),
        ("pairs.json", json.dumps({"points": [{"x": x, "y": y} for x, y in FACE.tolist()]})),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_landmarks_are_read_as_programs_write_them(tmp_path, name, text, encoding):
    (tmp_path / name).write_bytes(text.encode(encoding))
    np.testing.assert_allclose(read_landmarks(tmp_path / name)[0], FACE, atol=1e-9)


def test_arrays_may_have_a_third_coordinate_or_lie_in_an_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.concatenate([FACE, FACE[:, :1]], axis=1)).astype(">f4"))
    np.savez(tmp_path / "b.npz", landmarks=FACE, confidence=np.ones(68))
    np.savez_compressed(tmp_path / "c.npz", FACE)
    (tmp_path / "d.npy").write_bytes((tmp_path / "c.npz").read_bytes())
    for name in ("a.npy", "b.npz", "c.npz", "d.npy"):
        np.testing.assert_allclose(read_landmarks(tmp_path / name)[0], FACE, atol=1e-4)
    np.savez(tmp_path / "e.npz", first=FACE, second=FACE)
    with pytest.raises(ValueError, match=r"e\.npz: expected one array, or one named landmarks, found first, second"):
        read_landmarks(tmp_path / "e.npz")


CLIP = np.stack([FACE, FACE + 0.5, FACE + [1, 2]])


@pytest.mark.parametrize(
    "points",
    [CLIP[:, None], CLIP.reshape(3, -1), CLIP.swapaxes(1, 2), CLIP.swapaxes(1, 2).reshape(3, -1)],
    ids=["one face per frame", "in turn", "transposed", "x first"],
)
def test_other_shapes_of_arrays_are_read(tmp_path, points):
    np.save(tmp_path / "a.npy", np.ascontiguousarray(points))
    np.testing.assert_allclose(read_landmarks(tmp_path / "a.npy"), CLIP, atol=1e-9)


@pytest.mark.parametrize("count", [478, 468])
def test_a_face_mesh_gives_its_landmarks(tmp_path, count):
    mesh = np.zeros((2, 478, 3))
    for landmark, points in enumerate(LANDMARK_POINTS):
        mesh[:, list(points), :2] = CLIP[:2, None, landmark]
    np.save(tmp_path / "a.npy", mesh[:, :count])
    shared = np.bincount(np.concatenate(LANDMARK_POINTS)).max() > 1
    np.testing.assert_allclose(read_landmarks(tmp_path / "a.npy"), CLIP[:2], atol=20 if shared else 1e-9)


@pytest.mark.parametrize(
    "content",
    [
        {"frames": [{"time": 0, "landmarks": frame.tolist()} for frame in CLIP]},
        [{"frame": i, "lmk": frame.tolist()} for i, frame in enumerate(CLIP)],
        {f"img{n}.jpg": frame.tolist() for n, frame in sorted(zip((9, 10, 11), CLIP, strict=True), key=str)},
        {str(n): frame.tolist() for n, frame in zip((2, 10, 100), CLIP, strict=True)},
        {"score": 0.9, "face_landmarks_68": [[{"X": x, "Y": y, "Z": 0} for x, y in frame] for frame in CLIP.tolist()]},
        {"landmarks": [{"x": frame[:, 0].tolist(), "y": frame[:, 1].tolist()} for frame in CLIP]},
        {"frames": [{"faces": [{"points": frame.tolist()}]} for frame in CLIP]},
    ],
    ids=["frames", "list of frames", "files", "numbers", "named", "columns", "faces"],
)
def test_json_of_other_structures_is_read(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    np.testing.assert_allclose(read_landmarks(tmp_path / "a.json"), CLIP, atol=1e-9)


def test_json_with_several_faces_or_unknown_keys_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"faces": [{"points": FACE.tolist()}] * 2}))
    with pytest.raises(ValueError, match=r"a\.json: .*expected one face, found 2 under faces; keep one"):
        read_landmarks(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps({"bbox": [1, 2], "mesh": FACE.tolist()}))
    with pytest.raises(ValueError, match="expected one key named landmarks, found bbox, mesh"):
        read_landmarks(tmp_path / "a.json")


def by_frame(name) -> str:
    """A table with a row per frame, whose columns of coordinates have other names than OpenFace's."""
    header = ["Frame", *(name(axis, i) for axis in "xy" for i in range(68))]
    rows = [[n + 7, *frame[:, 0], *frame[:, 1]] for n, frame in enumerate(CLIP)]
    return "\n".join(",".join(map(str, row)) for row in [header, *rows])


@pytest.mark.parametrize(
    "text",
    [
        by_frame(lambda axis, i: f"{axis}{i}"),
        by_frame(lambda axis, i: f"{axis.upper()}_{i + 1}"),
        by_frame(lambda axis, i: f"landmark_{i}_{axis}"),
        by_frame(lambda axis, i: f"lmk_{axis}{i}"),
        "\n".join(" ".join(map(str, frame.ravel())) for frame in CLIP),
        "frame;landmark;x;y\n"
        + "".join(f"{n};{i};{x};{y}\n" for n, frame in enumerate(CLIP) for i, (x, y) in enumerate(frame)),
    ],
    ids=["x0", "X_1", "landmark_0_x", "lmk_x0", "136 numbers per row", "row per point"],
)
def test_tables_with_other_columns_are_read(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_allclose(read_landmarks(tmp_path / "a.csv"), CLIP, atol=1e-9)


def test_coordinates_in_millimetres_are_not_taken_for_pixels(tmp_path):
    table = by_frame(lambda axis, i: f"{axis.upper()}_{i}").replace("Frame,", "Frame,Z_0,")
    (tmp_path / "a.csv").write_text("\n".join(line if "Z_0" in line else "1," + line for line in table.splitlines()))
    with pytest.raises(ValueError, match="136 landmark columns are missing, the first is x_0"):
        read_landmarks(tmp_path / "a.csv")


def test_a_frame_with_another_number_of_points_is_named(tmp_path):
    rows = [f"{n},{x},{y}" for n in (1, 2) for x, y in FACE]
    (tmp_path / "a.csv").write_text("frame,x,y\n" + "\n".join(rows[:-1]))
    with pytest.raises(ValueError, match="frame 2: expected 68 rows, found 67"):
        read_landmarks(tmp_path / "a.csv")


def test_of_two_faces_in_a_table_one_is_used(tmp_path):
    lines = openface([FACE, FACE + 1, FACE + 50], order=[1, 2, 1]).splitlines()
    rows = [f"{line},{face}" for line, face in zip(lines, ["face_id", 0, 0, 1], strict=True)]
    (tmp_path / "clip.csv").write_text("\n".join(rows))
    said = []
    np.testing.assert_allclose(read_landmarks(tmp_path / "clip.csv", said.append)[:, 0], [FACE[0], FACE[0] + 1])
    assert said[0].endswith("face_id 0 used, which has the most rows; 1 rows of other faces left out")


def rolled(degrees: float) -> np.ndarray:
    turn = np.exp(1j * np.radians(degrees))
    z = ((FACE - FACE.mean(0)) @ [1, 1j]) * turn
    return np.stack([z.real, z.imag], axis=1) + 64


@pytest.mark.parametrize("degrees", [-120, -45, -20, 20, 45, 80, 180])
def test_rolled_faces_are_faces(degrees):
    assert landmark_problem(rolled(degrees)[None]) is None
    assert len(rolled_frames(rolled(degrees)[None])) == (abs(degrees) > 90)


@pytest.mark.parametrize("photograph", ["astronaut", "grace_hopper"])
def test_photographs_show_faces(photograph):
    points = read_landmarks(Path(__file__).parents[1] / "data" / f"{photograph}_landmarks68.csv")
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(scale=0.05 * np.ptp(points), size=points.shape)
        assert landmark_problem(points + noise) is None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (FACE * [-1, 1] + [128, 0], "1 of 1 frames, the first 0: the face is mirrored; points 36 to 41 must be"),
        (rolled(45) * [-1, 1], "the face is mirrored"),
        (FACE * [1, -1] + [0, 128], "the face is upside down; expected y to count down from the top"),
        (FACE[:, ::-1], "x and y are exchanged"),
        (FACE[np.random.default_rng(0).permutation(68)], "the points do not form a face; expected 68 points in iBUG"),
        (FACE[[*range(17, 68), *range(17)]], "the points do not form a face"),
        (np.stack([FACE[:, 0], 2 * FACE[:, 0]], axis=1), "the points lie on one line"),
        (FACE[[*range(8)] * 8 + [8] * 4], "fewer than 17 of the 68 points are distinct"),
        (FACE * 1e30, "frame 0 has a coordinate of .*e\\+32 px, expected at most 100000"),
    ],
)
def test_points_that_are_no_face_are_refused(tmp_path, points, message):
    np.save(tmp_path / "a.npy", np.ascontiguousarray(points))
    with pytest.raises(ValueError, match=message):
        read_landmarks(tmp_path / "a.npy")


@pytest.mark.parametrize("number", ["1e30", "-1", "1.5", "", "x"])
def test_frame_numbers_of_landmark_tables_are_whole(tmp_path, number):
    (tmp_path / "clip.csv").write_text(openface([FACE]).replace("\n1,1,", f"\n{number},1,"))
    with pytest.raises(ValueError, match=r"clip\.csv: row 2: frame: expected a (whole )?number"):
        read_landmarks(tmp_path / "clip.csv")


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
        ("a.npy", b"", "not a .npy file, or a damaged one"),
        ("a.csv", "", "found an empty file"),
        ("a.csv", "x,y\n5,2,3\n", "row 2: expected 2 cells as in the header, got 3"),
        ("a.csv", openface([FACE]).replace("x_5,", "z_5,"), "1 landmark columns are missing, the first is x_5"),
        ("a.csv", openface([FACE], success=0), "no face was found in 1 of 1 frames"),
        ("a.csv", openface([FACE, FACE], order=[1, 1]), "a frame number occurs twice"),
        ("a.pts", "68 points", "one block of points in braces"),
        ("a.png", "1 2", r"expected landmarks in a file of type \.npy, .*, \.pts, got '\.png'"),
        ("a.txt", "1 2", r"found an array of shape \(1, 1, 2\)"),
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
