"""Records of the files of finished clips."""

import json

from core.manifest import describe_files, first_damaged


def test_any_change_of_a_file_is_found(tmp_path):
    names = ["a/0000.png", "a/0001.png", "a.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    manifest = json.loads(json.dumps(describe_files(tmp_path, [tmp_path / name for name in names])))
    assert first_damaged(tmp_path, manifest) is None
    for damage in (b"", b"a/0001.pnG", None):
        path = tmp_path / "a/0001.png"
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        assert first_damaged(tmp_path, manifest) == "a/0001.png"
        path.write_bytes(b"a/0001.png")
    assert first_damaged(tmp_path, manifest) is None
