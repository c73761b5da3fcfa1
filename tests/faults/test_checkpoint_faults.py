"""Generated damage to checkpoints: each is read, or refused in one short line."""

import copy
import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import run
from core.checkpoint_files import CheckpointError, read_checkpoint
from core.checkpoints import checkpoint_contents, finished_epoch, load_networks, load_optimisers, stored_count
from tests.conftest import tiny_experiment
from tests.test_checkpoint_files import HOSTILE, integer, safetensors, with_pickle
from tests.test_checkpoints import prepared, published_contents


class Subject:
    """A tiny model, its checkpoint in every format, and a path to write damaged ones to."""

    def __init__(self, folder: Path):
        self.path = folder / "x.pth.tar"
        self.config, self.model, optimisers = prepared(folder, keypoints="landmarks")
        self.optimisers = {"optimizer": optimisers["optimizer"]}
        published_contents(self.model, self.optimisers)
        self.contents = checkpoint_contents(
            self.config, self.model, self.optimisers, epoch=3, step=1, epoch_key="epoch"
        )
        del self.contents["avd_network"]
        states = self.contents["optimizer"]["state"]
        self.contents["optimizer"]["state"] = dict([*states.items()][:8])  # enough, and quick to write
        self.files = [self.saved(self.contents), self.saved(self.contents, legacy=True), self.safetensors()]
        self.files += [gzip.compress(self.files[0], 1), self.zipped(self.files[1])]

    @staticmethod
    def saved(contents: object, legacy: bool = False) -> bytes:
        file = io.BytesIO()
        torch.save(contents, file, _use_new_zipfile_serialization=not legacy)
        return file.getvalue()

    @staticmethod
    def zipped(data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("x.pth", data)
        return file.getvalue()

    def safetensors(self) -> bytes:
        header, data = {}, b""
        for name in set(self.model.networks()) - {"avd_network"}:
            for key, value in self.contents[name].items():
                kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
                begin, data = len(data), data + value.numpy().tobytes()
                header[f"{name}.{key}"] = {"dtype": kind, "shape": [*value.shape], "data_offsets": [begin, len(data)]}
        return safetensors(header, data)

    def use(self, data: bytes) -> bool:
        """Read and load a checkpoint; False if it is refused, in one line."""
        self.path.write_bytes(data)
        try:
            contents = read_checkpoint(self.path)
            load_networks(self.model, contents, self.config, self.path)
            finished_epoch(contents, "epoch", self.path)
            stored_count(contents, "step", self.path)
            load_optimisers(self.optimisers, contents, self.path)
        except CheckpointError as error:
            message = str(error)
            assert message.isprintable(), message  # noqa: PT017
            assert len(message.replace(str(self.path), "")) < 500, message  # noqa: PT017
            return False
        return True


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> Subject:
    return Subject(tmp_path_factory.mktemp("faults"))


def test_undamaged_files_are_used(subject):
    assert [subject.use(data) for data in subject.files[:2] + subject.files[3:]] == [True] * 4
    subject.path.write_bytes(subject.files[2])
    networks = [subject.contents[name] for name in subject.model.networks() if name in subject.contents]
    assert len(read_checkpoint(subject.path)) == sum(map(len, networks))


def damaged(data: bytes, damages: list[tuple[str, float, int]]) -> bytes:
    """Bytes after some damages: kind, position from 0 to 1, and a number for its details."""
    result = bytearray(data)
    for kind, position, number in damages:
        at = min(int(position * len(result)), max(len(result) - 1, 0))
        if kind == "bit" and result:
            result[at] ^= 1 << number % 8
        elif kind == "byte" and result:
            result[at] = number % 256
        elif kind == "end":
            del result[at:]
        elif kind == "insert":
            result[at:at] = number.to_bytes(4, "little")
        elif kind == "remove":
            del result[at : at + number % 64]
        elif kind == "zeros":
            result[at : at + number % 5000] = bytes(number % 5000)
        elif kind == "number":
            result[at : at + 4] = number.to_bytes(4, "little")
        elif kind == "copy":
            result[at : at + 64] = result[number % (len(result) + 1) :][:64]
    return bytes(result)


KINDS = st.sampled_from(["bit", "byte", "end", "insert", "remove", "zeros", "number", "copy"])
# Headers and pickles are at both ends of a file; most of the bytes between them are weights.
POSITIONS = st.floats(0, 1) | st.floats(0, 0.03) | st.floats(0.97, 1)
DAMAGES = st.lists(st.tuples(KINDS, POSITIONS, st.integers(0, 2**32 - 1)), min_size=1, max_size=6)


@given(number=st.integers(0, 4), damages=DAMAGES)
def test_damaged_bytes_are_read_or_refused(subject, number, damages):
    subject.use(damaged(subject.files[number], damages))


@given(data=st.binary(max_size=600) | st.binary(max_size=200).map(lambda data: b"\x80\x02" + data))
def test_any_bytes_are_refused(subject, data):
    assert not subject.use(data)


TEXTS = st.text(max_size=4) | st.sampled_from(["w", "epoch", "storage", "0", "cpu", "latin1", "f8", "<"])
GLOBALS = st.sampled_from(
    """torch._utils _rebuild_tensor_v2|torch._utils _rebuild_parameter|torch._tensor _rebuild_from_type_v2|torch Tensor|
    torch._utils _rebuild_tensor_v3|torch FloatStorage|torch LongStorage|torch float32|torch Size|torch device|
    collections OrderedDict|collections Counter|builtins set|builtins bytearray|_codecs encode|numpy dtype|os system|
    numpy.core.multiarray scalar|torch._utils _rebuild_qtensor|torch._utils _rebuild_sparse_tensor""".split("|")
)
OPERATIONS = st.one_of(
    st.sampled_from([bytes([code]) for code in b"()]}.0t\x85\x86\x87aesuRbQNOdlop\x81\x88\x89\x8f\x90\x93\x94"]),
    st.integers(-3, 300).map(lambda number: b"J" + struct.pack("<i", number)),
    st.integers(-(2**70), 2**70).map(integer),
    st.floats().map(lambda number: b"G" + struct.pack(">d", number)),
    TEXTS.map(lambda text: text.encode("utf-8", "replace")).map(
        lambda data: b"X" + struct.pack("<I", len(data)) + data
    ),
    st.integers(0, 5).map(lambda number: b"q" + bytes([number])),
    st.integers(0, 5).map(lambda number: b"h" + bytes([number])),
    GLOBALS.map(lambda path: b"c" + path.strip().replace(" ", "\n").encode() + b"\n"),
    st.just(b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"),
    st.just(b"K\x00K\x03\x85K\x01\x85\x89}t"),
    st.sampled_from([data for data in HOSTILE.values() if len(data) < 500]),
)  # fmt: skip
STREAMS = st.lists(OPERATIONS, max_size=30).map(b"".join)


@given(stream=STREAMS, container=st.sampled_from(["zip", "value", "legacy", "raw"]))
@example(stream=b"(" * 100_000, container="zip")
def test_any_pickle_is_read_or_refused(subject, stream, container):
    data = b"\x80\x02" + stream + b"."
    if container == "legacy":
        subject.use(subject.saved({"a": 1}, legacy=True).replace(b"K\x01", stream))
    elif container == "raw":
        subject.use(data)
    else:
        inner = b"\x80\x02}X\x05\x00\x00\x00epoch" + stream + b"s."
        subject.use(with_pickle(subject.path, inner if container == "value" else data).read_bytes())


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.uint8]).flatmap(
        lambda kind: st.lists(st.integers(0, 3), max_size=4).map(lambda shape: torch.ones(shape, dtype=kind))
    ),
    st.sampled_from([torch.nan, torch.inf, -1e30]).map(lambda value: torch.full((3,), value)),
    st.sampled_from([torch.eye(2).to_sparse(), torch.zeros(2, device="meta"), torch.Size([1]), {1, 2}, print]),
)
KEYS = st.none() | st.integers() | st.text(max_size=3) | st.floats() | st.sampled_from(["state", "params", "a\nb"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def paths(value: object, path: tuple = ()) -> list[tuple]:
    """Paths of all values in nested dicts and lists."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in children for place in ((*path, key), *paths(child, (*path, key)))]


@given(data=st.data(), legacy=st.booleans())
def test_odd_contents_are_used_or_refused(subject, data, legacy):
    contents = copy.deepcopy(subject.contents)
    for _ in range(data.draw(st.integers(1, 3))):
        top = data.draw(st.sampled_from([*contents]))
        inner = paths(contents[top]) if data.draw(st.booleans()) else []
        *path, key = (top, *data.draw(st.sampled_from(inner))) if inner else (top,)
        at = contents
        for part in path:
            at = at[part]
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove":
            del at[key]
        elif action == "add" and isinstance(at, dict):
            at[data.draw(KEYS)] = data.draw(VALUES)
        else:
            at[key] = data.draw(VALUES)
    try:
        file = subject.saved(contents, legacy)
    except (TypeError, AttributeError, RuntimeError):  # torch cannot save it
        return
    subject.use(file)


# --- command line -----------------------------------------------------------------------------------------------------

ODD_FILES = {
    "empty": b"",
    "nested key": lambda path: with_pickle(path, b"\x80\x02" + HOSTILE["a deeply nested key"] + b"."),
    "crafted pickle": b"\x80\x02}X\x01\x00\x00\x00aK\x01R.",
    "mixed keys": {1: 2, "a": 3},
    "no networks": {"epoch": 1},
    "settings": {"inpainting_network": {}, "config": b"x"},
    "a list": [1],
}


@pytest.mark.parametrize("name", ODD_FILES)
@pytest.mark.parametrize("use", ["animate", "train", "au_estimator"])
def test_every_mode_refuses_odd_files_in_one_line(tmp_path, clips_root, caplog, name, use):
    path, content = tmp_path / "odd.pth", ODD_FILES[name]
    if callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    experiment = tiny_experiment(clips_root)
    if use == "au_estimator":
        experiment["model_params"]["au_conditioning"] = "film"
        experiment["dataset_params"]["remove_head_motion"] = True
        experiment["train_params"]["au_estimator"] = str(path)
        experiment["train_params"]["loss_weights"]["relative_au"] = 1
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    arguments = ["--config", str(tmp_path / "x.yaml"), "--log-dir", str(tmp_path / "log")]
    if use == "animate":
        arguments += ["--mode", "animate", "--source", "a.png", "--driving", "b", "--result", "c.mp4"]
    if use != "au_estimator":
        arguments += ["--checkpoint", str(path)]
    assert run.main(arguments) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(path) in line
    assert "\n" not in line
    assert not (tmp_path / "log").exists()
