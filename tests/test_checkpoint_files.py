"""Checkpoint files as people have them, and files that only pretend to be checkpoints."""

import gzip
import io
import json
import os
import pickle
import stat
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoint_files import CheckpointError, read_checkpoint

resource = pytest.importorskip("resource", reason="the largest memory of a process is counted by POSIX systems")

WEIGHTS = {"inpainting_network": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3}


def saved(legacy: bool = False, contents: object = None) -> bytes:
    """Bytes of a checkpoint."""
    file = io.BytesIO()
    torch.save(WEIGHTS if contents is None else contents, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def refusal(path: Path) -> str:
    """Message of a file that is refused, quickly and in one short line."""
    began = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert time.perf_counter() - began < 10
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) - len(str(path)) < 400
    assert "weights_only" not in message
    return message.removeprefix(str(path))


def in_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def in_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def with_pickle(path: Path, data: bytes) -> Path:
    """A checkpoint in which another pickle replaces the true one."""
    with zipfile.ZipFile(io.BytesIO(saved())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return in_zip(path, {name: data if name.endswith("data.pkl") else old for name, old in members.items()})


def safetensors(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# --- packed files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "pack",
    [
        lambda path, data: path.write_bytes(gzip.compress(data)),
        lambda path, data: in_zip(path, {"vox.pth.tar": data}, zipfile.ZIP_DEFLATED),
        lambda path, data: in_zip(path, {"a/README.txt": b"x", "a/vox.pth": data, "__MACOSX/a/._vox.pth": b"y"}),
        lambda path, data: in_tar(path, {"vox.pth": data}),
        lambda path, data: path.write_bytes(gzip.compress(in_tar(path, {"vox": data}).read_bytes())),
    ],
)
def test_a_packed_checkpoint_is_read_and_its_packing_is_remembered(tmp_path, pack, legacy):
    path = tmp_path / "x.pth.tar"
    pack(path, saved(legacy))
    contents = read_checkpoint(path)
    assert contents["epoch"] == 3
    torch.testing.assert_close(contents["inpainting_network"]["w"], WEIGHTS["inpainting_network"]["w"])
    assert "archive" in contents.packing


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "x.safetensors"
    data = torch.arange(6.0).numpy().tobytes() + torch.tensor([7]).numpy().tobytes()
    header = {
        "__metadata__": {"format": "pt"},
        "kp_detector.w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
    }
    path.write_bytes(safetensors(header, data))
    contents = read_checkpoint(path)
    torch.testing.assert_close(dict(contents), {"kp_detector.w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)})
    assert contents.packing == "safetensors"


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 28]},
        {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 24]},
        {"dtype": "F4", "shape": [6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [6]},
        7,
    ],
)
def test_safetensors_that_promise_more_than_they_hold_are_refused(tmp_path, entry):
    (tmp_path / "x").write_bytes(safetensors({"w": entry}, bytes(24)))
    assert "(safetensors): truncated or damaged" in refusal(tmp_path / "x")


def test_many_safetensors_over_the_same_bytes_are_refused(tmp_path):
    entry = {"dtype": "U8", "shape": [10**6], "data_offsets": [0, 10**6]}
    (tmp_path / "x").write_bytes(safetensors({f"w{i}": entry for i in range(5000)}, bytes(10**6)))
    assert "larger than the file" in refusal(tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense" * 100, "not a checkpoint, or damaged at its start: expected .* got a text file"),
        (bytes(range(200, 256)) * 9, r"got unknown data \(c8 c9 ca cb \.\.\.\)"),
        (b"\x89PNG\r\n\x1a\n", "got an image"),
        (b"BZh91AY", "got a bzip2 archive; unpack it"),
        (b"\x93NUMPY\x01\x00", "got an array of NumPy"),
        (pickle.dumps({"a": 1}), "a pickle, but not one of torch.save"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    found = refusal(tmp_path / "x")
    assert "download it again" not in found
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.pth": b"1", "b.pth": b"2"}, "a zip archive with 2 checkpoints, expected one checkpoint: a.pth, b.pth"),
        ({f"{i}.txt": b"1" for i in range(9)}, "with 9 files, .*: 0.txt, 1.txt, 2.txt, 3.txt and 5 more; unpack it"),
        ({"a/": b""}, "with 0 files, expected one checkpoint: nothing"),
        ({"model/data.pkl": b"1", "model/constants.pkl": b"2"}, "a TorchScript program"),
    ],
)
def test_an_archive_without_one_checkpoint_says_what_it_holds(tmp_path, members, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(in_zip(tmp_path / "x", members))


def test_an_archive_of_pytorch_0_1_is_named(tmp_path):
    message = refusal(in_tar(tmp_path / "x", dict.fromkeys(("sys_info", "pickle", "tensors", "storages"), b"1")))
    assert "a tar archive that PyTorch 0.1 wrote" in message


# --- limits -----------------------------------------------------------------------------------------------------------


def peak_mib() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("kind", ["inside", "around", "gzip", "tar.gz"])
def test_a_small_file_that_unpacks_to_a_huge_one_is_refused_before_it_is_unpacked(tmp_path, kind):
    path, zeros = tmp_path / "x", bytes(200 * 2**20)
    if kind == "inside":
        members = {"archive/data.pkl": b"\x80\x02}.", "archive/data/0": zeros}
        in_zip(path, members, zipfile.ZIP_DEFLATED)
    elif kind == "around":
        in_zip(path, {"x.pth": zeros}, zipfile.ZIP_DEFLATED)
    else:
        data = in_tar(path, {"x.pth": zeros}).read_bytes() if kind == "tar.gz" else zeros
        path.write_bytes(gzip.compress(data, 1))
    del zeros
    before = peak_mib()
    assert ("compressed" if kind == "inside" else "unpack to") in refusal(path)
    assert peak_mib() < before + 50


def test_a_file_of_holes_is_refused(tmp_path):
    size = 3 * 2**30
    with (tmp_path / "x").open("wb") as file:
        file.write(safetensors({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, b""))
        file.truncate(size + 100)
    assert "3072 MiB that are mostly holes" in refusal(tmp_path / "x")


def test_archives_in_archives_are_refused_at_some_depth(tmp_path):
    path, data = tmp_path / "x", saved()
    for _ in range(4):
        data = gzip.compress(data)
    path.write_bytes(data)
    assert "an archive in more than 3 others" in refusal(path)


def test_members_that_share_their_bytes_are_refused(tmp_path):
    path = in_zip(tmp_path / "x", {"archive/data.pkl": b"\x80\x02}.", "archive/data/0": bytes(1000)})
    data = bytearray(path.read_bytes())
    first, second = data.index(b"PK\x01\x02"), data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # where its bytes begin
    path.write_bytes(data)
    assert "overlap" in refusal(path)


def rebuild(storage: bytes, size: bytes, stride: bytes, offset: bytes = b"K\x00") -> bytes:
    """Pickle of one tensor."""
    return b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage + b"tQ" + offset + size + stride + b"\x89}tR"


def integer(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


STORAGE = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06"
HOSTILE = {
    "a deeply nested key": b"}" + b")" + b"\x85" * 200_000 + b"K\x01s",
    "deep nesting": b"]" * 100_000 + b"a" * 99_999,
    "values that double": b")" + b"q\x00h\x00\x86" * 60,
    "a value in itself": b"]q\x00h\x00a",
    "two gigabytes of zeros": b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R",
    "a tensor without data": b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R",
    "a tensor beyond its data": rebuild(STORAGE, integer(10**9) + b"\x85", b"K\x01\x85"),
    "a tensor before its data": rebuild(STORAGE, b"K\x01\x85", b"K\x01\x85", integer(-1)),
    "a tensor that repeats one value": rebuild(STORAGE, integer(10**12) + b"\x85", b"K\x00\x85"),
    "an empty tensor of impossible size": rebuild(STORAGE, b"(K\x00" + integer(2**61) * 2 + b"t", b"(K\x01K\x01K\x01t"),
    "more data than the file has": rebuild(STORAGE[:-2] + integer(2**40), b"K\x01\x85", b"K\x01\x85"),
    "a storage that does not exist": rebuild(STORAGE.replace(b"\x000X", b"\x001X"), b"K\x01\x85", b"K\x01\x85"),
    "a huge number": b"\x8b" + struct.pack("<i", 10**6) + bytes(10**6 - 1) + b"\x7f",
    "a million values": b"]" + b"(" + b"N" * 10**6 + b"e",
    "long text again and again": b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00"
    + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 5000,
    "a repeated name": b"}q\x00X\x02\x00\x00\x00ab\x85\x85\x85\x93",
    "no value": b"",
    "only a mark": b"(",
    "a foreign state": b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R}b",
    "attributes of a number": b"K\x01}b",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_quickly_and_takes_no_memory(tmp_path, name):
    before = peak_mib()
    refusal(with_pickle(tmp_path / "zip", b"\x80\x02}X\x01\x00\x00\x00a" + HOSTILE[name] + b"s."))
    assert peak_mib() < before + 300


def test_a_legacy_file_that_promises_more_than_it_holds_is_refused(tmp_path):
    data = saved(legacy=True)
    for old, new in ((b"K\x06N", integer(2**40) + b"N"), (b"K\x06N", b"K\x05N"), (struct.pack("<q", 6), bytes(8))):
        assert old in data
        (tmp_path / "x").write_bytes(data.replace(old, new))
        assert "truncated or damaged" in refusal(tmp_path / "x")


def test_a_large_stored_checkpoint_is_read_without_a_second_copy(tmp_path):
    torch.save({"w": torch.zeros(60 * 2**20)}, tmp_path / "x")
    before = peak_mib()
    assert read_checkpoint(tmp_path / "x")["w"].numel() == 60 * 2**20
    assert peak_mib() < before + 300


def test_a_flipped_bit_in_a_weight_is_noticed_by_its_checksum(tmp_path):
    data = bytearray(saved())
    data[data.index(torch.arange(6.0).numpy().tobytes()) + 7] ^= 1
    (tmp_path / "x").write_bytes(data)
    assert "wrong checksum" in refusal(tmp_path / "x")


def test_a_checkpoint_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        (tmp_path / "x").write_bytes(saved())
    finally:
        torch.serialization.set_crc32_options(before)
    assert read_checkpoint(tmp_path / "x")["epoch"] == 3


# --- what torch.load reads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_every_kind_of_plain_tensor_is_read_as_torch_reads_it(tmp_path, legacy):
    base = torch.arange(24.0).reshape(2, 3, 4)
    contents = {
        **{
            str(kind): torch.ones(3, dtype=kind) for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int64)
        },
        "bool": torch.tensor([True, False]),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "transposed": base.transpose(0, 2),
        "part": base[1, 1:],
        "expanded": torch.ones(1).expand(4),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "attributes": torch.ones(2),
        "size": base.shape,
        "set": {1, 2},
        "device": torch.device("cpu", 0),
        "shared": [base, base],
    }
    contents["attributes"].note = "x"
    (tmp_path / "x").write_bytes(saved(legacy, contents))
    read, expected = read_checkpoint(tmp_path / "x"), torch.load(tmp_path / "x", weights_only=True)
    assert set(read) == set(expected)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(read[key], value.detach(), rtol=0, atol=0)
            assert read[key].stride() == value.stride()
    assert (read["size"], sorted(read["set"]), read["device"]) == ([2, 3, 4], [1, 2], "cpu:0")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol_is_read(tmp_path, protocol):
    torch.save({**WEIGHTS, "set": {1}, "x": np.float64(2)}, tmp_path / "x", pickle_protocol=protocol)
    contents = read_checkpoint(tmp_path / "x")
    assert (contents["x"], contents["epoch"], contents["set"]) == (2.0, 3, [1])
    torch.testing.assert_close(contents["inpainting_network"], WEIGHTS["inpainting_network"])


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.eye(2).to_sparse(), "contains sparse tensors; save state dicts of plain tensors"),
        (lambda: torch.zeros(2, device="meta"), "tensors without values"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), "contains quantised tensors"),
        (lambda: torch.ones(2, dtype=torch.complex64), "contains complex numbers"),
        (lambda: np.ones(2), r"the Python object numpy\._core\.multiarray\._reconstruct"),
        (lambda: torch.nn.Linear(1, 1), r"the Python object torch\.nn\.modules\.linear\.Linear, .* save state dicts"),
        (lambda: {(1,): 2}, "a dict whose keys are not all text or numbers"),
    ],
)
def test_other_values_are_named(tmp_path, make, message):
    (tmp_path / "x").write_bytes(saved(contents={"a": make()}))
    assert "download it again" not in refusal(tmp_path / "x")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "x")


# --- special files ----------------------------------------------------------------------------------------------------


def test_folders_fifos_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "got a folder" in refusal(tmp_path)
    assert "got a FIFO" in refusal(tmp_path / "fifo")
    assert "got a device" in refusal(Path("/dev/zero"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named(tmp_path):
    (tmp_path / "x").write_bytes(saved())
    (tmp_path / "x").chmod(0)
    assert "unreadable (Permission denied); check its permissions" in refusal(tmp_path / "x")
    (tmp_path / "x").chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "unreadable (Permission denied); check its permissions"),
        (MemoryError(), "not enough memory to load it"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory to load it"),
    ],
)
def test_failures_of_the_machine_are_not_called_damage(tmp_path, monkeypatch, error, message):
    def fail(*_):
        raise error

    (tmp_path / "x").write_bytes(saved())
    monkeypatch.setattr("core.checkpoint_formats.fill", fail)
    assert message in refusal(tmp_path / "x")
