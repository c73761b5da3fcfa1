"""The folder of a training run: its name, who works in it, its settings and the steps it has logged."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from core.devices import on_main_process
from core.files import remove_abandoned, replacing_file, write_text
from core.locks import folder_lock
from errors import UserError

if TYPE_CHECKING:
    from lightning.fabric import Fabric

IMAGES = "train-vis"
SETTINGS = "config.yaml"
STATS = "stats.jsonl"
_MAX_LISTED = 3  # settings named in one message

log = logging.getLogger("run")


def create_run_folder(log_dir: Path, stem: str) -> Path:
    """Create the folder of a new run, `LOG_DIR/<stem>_<time>`; further runs in the same second get a number.

    Temporary files of runs that were killed in other folders are removed, because nobody may resume those.

    Raises:
        OSError: it cannot be created.
    """
    check_log_dir(log_dir)
    log_dir.mkdir(parents=True, exist_ok=True)
    for other in log_dir.iterdir():
        _remove_temporaries(other)
    name = f"{stem}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    for number in range(100):
        folder = log_dir / (name if not number else f"{name}_{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise UserError(f"{log_dir / name}: 100 runs were started in this second; try again")


def check_log_dir(log_dir: Path) -> None:
    """Check that run folders can be created, before clips are loaded for minutes.

    Raises:
        UserError: a file stands in the way, or the place is read-only.
    """
    place = next(place for place in (log_dir, *log_dir.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        raise UserError(f"{place}: expected a folder for --log-dir {log_dir}, found something else; choose another one")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{place}: not writable; check its permissions or choose another --log-dir")


@contextmanager
def hold_run_folder(fabric: "Fabric", folder: Path) -> Iterator[None]:
    """Keep other runs out of a run folder, and remove the temporary files of those that were killed in it.

    Raises:
        UserError: another process trains in the folder; raised in every process of this run.
    """
    with ExitStack() as held:
        on_main_process(fabric, lambda: held.enter_context(folder_lock(folder, "training")))
        if fabric.is_global_zero:
            _remove_temporaries(folder)
        yield


def _remove_temporaries(folder: Path) -> None:
    for place in (folder, folder / IMAGES):
        remove_abandoned(place)


def write_settings(folder: Path, settings: Mapping[str, Any], epoch: int) -> None:
    """Write the settings of a run to `config.yaml`.

    A resumed run keeps those it was started with; settings that differ from them are written to a file named after the
    epoch from which they hold.
    """
    text = yaml.safe_dump(dict(settings), sort_keys=False)
    first = folder / SETTINGS
    if not first.exists():
        write_text(first, text)
        return
    changed = _changed_settings(first, settings)
    if not changed:
        return
    stem = f"config-from-epoch-{epoch:08d}"
    number, path = 0, folder / f"{stem}.yaml"
    while path.exists() and path.read_text(encoding="utf-8") != text:
        number += 1
        path = folder / f"{stem}_{number}.yaml"
    write_text(path, text)
    more = f" and {len(changed) - _MAX_LISTED} more" if len(changed) > _MAX_LISTED else ""
    log.info("%s keeps the first settings; %s%s differ: %s", first, ", ".join(changed[:_MAX_LISTED]), more, path.name)


def drop_steps(path: Path, total_steps: int) -> None:
    """Remove from `stats.jsonl` the steps that are trained again, and lines that a kill or a full disk cut off.

    Args:
        path: of the file; nothing happens if it is missing.
        total_steps: number of steps that stay.
    """
    if not path.exists():
        return
    last, dropped = -1, False
    with replacing_file(path) as temporary, path.open(encoding="utf-8", errors="replace") as old:
        with temporary.open("w", encoding="utf-8") as new:
            for line in old:
                step = _step_of(line)
                if step is None or not last <= step < total_steps:  # an evaluation has the step before it
                    dropped = True
                    continue
                last = step
                new.write(line)
    if dropped:
        log.info("%s: steps from %d on are removed, because they are trained again", path, total_steps)


def _step_of(line: str) -> int | None:
    """Step of a line of `stats.jsonl`; None if the line is incomplete."""
    try:
        step = json.loads(line)["step"] if line.endswith("\n") else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return step if isinstance(step, int) else None


def _changed_settings(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Dotted names of the settings that differ from those of a file; the file's name if it cannot be read."""
    try:
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError, RecursionError):
        before = None
    if not isinstance(before, dict):
        return [path.name]
    return list(_differences(before, yaml.safe_load(yaml.safe_dump(dict(settings)))))


def _differences(a: Any, b: Any, name: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    elif a != b:
        yield name
