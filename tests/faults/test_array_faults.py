"""Array and JSON files with mutated headers and bytes: landmarks or one line, and no memory for empty promises."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run
from errors import UserError
from faces.landmarks import read_landmarks
from tests.conftest import face_landmarks
from tests.faults.test_table_faults import mistake_of, mutated_bytes

FACE = face_landmarks(128)


def npy(array: np.ndarray, **settings) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **settings)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def with_header(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


def read(path) -> None:
    error = mistake_of(lambda: check(read_landmarks(path, lambda text: None)))
    if error is not None:
        assert type(error) is UserError
        assert "\n" not in str(error)
        assert len(str(error)) < 2000


def check(points: np.ndarray) -> None:
    assert points.shape[1:] == (68, 2)
    assert np.isfinite(points).all()


DTYPES = (
    "<f8",
    ">f4",
    "<f2",
    "<i4",
    "|u1",
    "<c8",
    "|b1",
    "|O",
    "<U5",
    "|S9",
    "|V16",
    "<M8[s]",
    "=f4",
    "f",
    "<f16",
    "<x9",
    "",
)
SIDES = st.sampled_from((0, 1, 2, 3, 67, 68, -1, 10**10, 10**20, True)) | st.integers(0, 100)


@given(st.sampled_from(DTYPES), st.booleans(), st.lists(SIDES, max_size=40).map(tuple), st.binary(max_size=64))
def test_headers_that_promise_anything(tmp_path_factory, dtype, fortran, shape, body):
    path = tmp_path_factory.getbasetemp() / "header.npy"
    path.write_bytes(with_header(str({"descr": dtype, "fortran_order": fortran, "shape": shape}) + "\n", body))
    read(path)


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_headers_of_any_text(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "text.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin-1") + bytes(99))
    read(path)


@given(st.data())
def test_mutated_bytes_of_arrays(tmp_path_factory, data):
    content, suffix = data.draw(
        st.sampled_from(
            (
                (npy(np.stack([FACE] * 2)), ".npy"),
                (npy(np.asfortranarray(FACE)), ".npy"),
                (npz(landmarks=FACE, other=np.ones(3)), ".npz"),
                (json.dumps({"landmarks": FACE.tolist()}).encode(), ".json"),
            )
        )
    )
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(data.draw(mutated_bytes(content)))
    read(path)


VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3)


@given(
    st.recursive(
        VALUES,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(("landmarks", "points", "x", "y", "z")), inner, max_size=3)
        ),
        max_leaves=20,
    )
)
def test_json_of_any_structure(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    read(path)


@given(
    st.sampled_from((np.nan, np.inf, -np.inf, 1e30, -1e300, 0.0, -1e5, 1e-300)),
    st.integers(0, 135),
    st.integers(1, 136),
)
def test_values_of_any_size(tmp_path_factory, value, start, count):
    points = FACE.copy()
    points.ravel()[start : start + count] = value
    path = tmp_path_factory.getbasetemp() / "values.npy"
    path.write_bytes(npy(points))
    read(path)


def bomb(size: int) -> bytes:
    """An archive of one array of zeros that unpacks to `size` bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("landmarks.npy", bytes(size))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"PK\x03\x04", "a damaged .npz archive"),
        ("a.npy", b"\x93NUMPY\x03\x00(k\xee", "not a .npy file, or a damaged one"),
        ("a.npy", with_header("{'descr':'<f8','fortran_order':False,'shape':(10000000000,68,2)}"), "promises 108800"),
        (
            "a.npy",
            with_header("{'descr':'<f8','fortran_order':False,'shape':(9" + "9" * 30 + ",2)}"),
            "than any file has",
        ),
        ("a.npy", with_header("{" + " " * 60, npy(FACE)[80:]), "not a .npy file, or a damaged one"),
        ("a.npy", npy(np.array([{}], object), allow_pickle=True), "contains Python objects, expected numbers"),
        ("a.npy", npy(FACE.astype(complex)), "contains complex128, expected numbers"),
        ("a.npy", npy(FACE > 0), "contains bool, expected numbers"),
        ("a.npz", bomb(300 * 2**20), "unpacks to 1 arrays of 300 MiB, expected at most 256"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"landmarks": [[1, 2], [3]]}', "expected lists of 68 points"),
        ("a.json", b'{"faces": 1}', "expected one key named landmarks, found faces"),
    ],
)
def test_the_command_line_refuses_arrays_in_one_line(
    warp_experiment, clips_root, tmp_path, caplog, name, content, message
):
    (tmp_path / name).write_bytes(content)
    source, driving = clips_root / "test" / "006", clips_root / "test" / "022_3_3"
    landmarks = ["--source-landmarks", str(tmp_path / name), "--driving-landmarks", str(tmp_path / name)]
    command = ["--config", str(warp_experiment), "--mode", "animate", "--log-dir", str(tmp_path / "log"), *landmarks]
    command += ["--source", str(source), "--driving", str(driving), "--result", str(tmp_path / "out.mp4")]
    assert run.main(command) == 2
    tracemalloc.start()
    assert mistake_of(lambda: read_landmarks(tmp_path / name)) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert message in line
    assert name in line
    assert "\n" not in line
