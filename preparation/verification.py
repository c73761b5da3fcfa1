"""Distinguishes complete clips of a prepared folder from damaged ones, by the sizes and digests in their records."""

from pathlib import Path

import numpy as np
from PIL import Image

from clips.reading import IMAGE_SUFFIXES
from core.manifest import Manifest, describe_files, first_damaged
from preparation.clip_state import STAGES, State
from preparation.prepared_folder import SPLITS, PreparedFolder


def add_manifest(stage: str, name: str, prepared: PreparedFolder, state: State) -> None:
    """Record the files of a finished stage."""
    state[stage]["files"] = _described(stage, name, prepared, state)


def damaged_stages(name: str, prepared: PreparedFolder, state: State) -> list[str]:
    """Stages that are not recorded, or whose files are missing or not as they were written."""
    return [stage for stage in STAGES if stage not in state or not _is_intact(stage, name, prepared, state)]


def adopt(name: str, prepared: PreparedFolder) -> None:
    """Record the files of a clip whose record is older than manifests, where they look complete.

    Frames must be whole PNG files, as many as rows of landmarks and action units.
    """
    state = prepared.load_state(name)
    if any(stage not in state or "files" in state[stage] for stage in STAGES):
        return
    has_table = prepared.action_units(name).is_file()
    if looks_complete(name, prepared) and has_table == bool(state["action_units"]["source"]):
        for stage in STAGES:
            add_manifest(stage, name, prepared, state)
        prepared.save_state(name, state)


def looks_complete(name: str, prepared: PreparedFolder) -> bool:
    """True if the files of a clip are whole and fit together, as far as that can be seen without a record."""
    folder = prepared.frames(name)
    if folder is None:
        return False
    try:
        count = len(_images(folder))
        for number in range(count):
            with Image.open(folder / f"{number:04d}.png") as image:
                image.verify()
        with Image.open(prepared.thumbnail(name)) as image:
            image.load()
        landmarks = np.load(prepared.landmarks(name), allow_pickle=False)
        rows = _row_count(name, prepared)
    except Exception:  # damaged files raise errors of many kinds
        return False
    return landmarks.shape == (count, 68, 2) and bool(np.isfinite(landmarks).all()) and rows in (None, count)


def _images(folder: Path) -> list[Path]:
    """Files of a folder that readers of clips take for frames."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _row_count(name: str, prepared: PreparedFolder) -> int | None:
    """Rows of the table of action units; None without a table."""
    path = prepared.action_units(name)
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    return text.count("\n") - 1 if text.endswith("\n") else -1


def _described(stage: str, name: str, prepared: PreparedFolder, state: State) -> Manifest:
    if stage == "frames":
        folder = prepared.frames(name)
        assert folder is not None, "finished frames are in one of the splits"
        return describe_files(folder, _images(folder))
    if stage == "landmarks":
        return describe_files(prepared.path, [prepared.landmarks(name), prepared.thumbnail(name)])
    return describe_files(prepared.path, [prepared.action_units(name)] if state[stage]["source"] else [])


def _is_intact(stage: str, name: str, prepared: PreparedFolder, state: State) -> bool:
    manifest = state[stage].get("files")
    if manifest is None:
        return False
    if stage == "frames":
        folders = [folder for split in SPLITS if (folder := prepared.path / split / name).exists()]
        if len(folders) != 1 or not folders[0].is_dir() or not manifest:
            return False
        names = {path.name for path in _images(folders[0])}
        return names == set(manifest) and first_damaged(folders[0], manifest) is None
    expected = [prepared.landmarks(name), prepared.thumbnail(name)]
    if stage == "action_units":
        expected = [prepared.action_units(name)] if state[stage]["source"] else []
        if not expected and prepared.action_units(name).exists():
            return False
    names = {path.relative_to(prepared.path).as_posix() for path in expected}
    return names == set(manifest) and first_damaged(prepared.path, manifest) is None
