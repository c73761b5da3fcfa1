"""Command line: arguments, experiment file, mode. See README.md."""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import arguments as kinds
from core.stop_signal import exit_status, interrupts_as_exceptions
from errors import UserError, failure_of_machine

if TYPE_CHECKING:
    from config.experiment import Config
    from config.preparation import PrepareConfig

# Imported after the experiment file has been checked: deep-learning libraries take seconds to load.
MODES = {
    "train": "train:train",
    "train_avd": "train_avd:train_avd",
    "train_au": "train_au:train_au",
    "reconstruction": "reconstruction:reconstruct",
    "animate": "animate:animate",
    "check": "check:check",
    "evaluate": "evaluate:evaluate",
    "export": "export:export",
    "prepare": "prepare:prepare",
}
PREPARE = "prepare"
DRY_RUNS = {PREPARE: "prepare:describe"}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; every option is accepted with hyphens and with underscores."""
    parser = kinds.ArgumentParser(description="Micro-expression generation: prepare, train, animate, evaluate.")

    def add(name: str, **settings: Any) -> None:
        parser.add_argument(*dict.fromkeys((name, f"--{name[2:].replace('-', '_')}")), **settings)

    add("--config", required=True, type=kinds.path, metavar="YAML", help="experiment file")
    add("--mode", default="train", choices=MODES, help="what to do (default: %(default)s)")
    add("--checkpoint", type=kinds.path, help="checkpoint to resume from or to generate with")
    add("--log-dir", type=kinds.path, default=Path("log"), help="folder for run folders (default: %(default)s)")
    add("--device-ids", type=kinds.device_ids, metavar="0,1", help="CUDA devices (default: the first, or the CPU)")
    add(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value, e.g. train_params.batch_size=4"
    )
    add("--seed", type=kinds.whole_number, help="same as --set seed=N")
    add("--dry-run", action="store_true", help="print settings, network sizes and number of clips, and exit")
    add("--verbose", action="store_true", help="log debug messages, and tracebacks of errors")
    add("--source", type=kinds.path, help="animate: image of the face to animate")
    add("--driving", type=kinds.path, help="animate: driving clip, a video or a folder of frames")
    add("--result", type=kinds.path, help="animate: video to write (.mp4 or .gif)")
    add(
        "--reference-frame",
        type=kinds.frame_or_auto,
        metavar="N",
        help="animate: neutral frame of the clip, or auto (default): the first, unless it clearly is not neutral",
    )
    add(
        "--crop",
        choices=("auto", "face", "none"),
        default="auto",
        help="animate: cut faces out of photo and clip and put the result back into the photo (face), use whole frames "
        "(none), or decide by their size (default: %(default)s)",
    )
    add("--face", type=kinds.whole_number, metavar="N", help="animate: which face of the photo, 1 is the largest")
    add("--source-landmarks", type=kinds.path, metavar="FILE", help="animate: 68 landmarks of the source")
    add(
        "--driving-landmarks",
        type=kinds.path,
        metavar="FILE",
        help="animate: 68 landmarks of the clip or its first frame",
    )
    add("--driving-au", type=kinds.path, metavar="FILE", help="animate: action-unit table of the clip")
    add("--au", metavar="CODE", help="animate: FACS code instead of a clip, e.g. AU4=2.0,AU7=1.5,L12=1 or 4+L7B")
    for name, meaning in (
        ("onset", "last frame at rest"),
        ("apex", "strongest frame"),
        ("offset", "first frame at rest again"),
    ):
        add(f"--{name}", type=kinds.whole_number, metavar="N", help=f"animate --au: {meaning}, counted from 0")
    add(
        "--frames",
        type=kinds.whole_number,
        metavar="N",
        help="animate --au: length of the clip (default: offset + onset)",
    )
    add(
        "--fps",
        type=kinds.number,
        help="animate --au and --au-list: frames per second (default: dataset_params.fps)",
    )
    add(
        "--au-list",
        type=kinds.path,
        metavar="CSV",
        help="animate: CSV file of codes, columns source,au,onset,apex,offset",
    )
    strength = "animate: intensity, 0 to 5, of action units without a letter or number (default: %(default)s)"
    add("--au-intensity", type=kinds.number, default=2.0, metavar="X", help=strength)
    add("--results", type=kinds.path, metavar="DIR", help="evaluate: folder of results, SYSTEM/DRIVING-SOURCE")
    add("--pairs", type=kinds.path, metavar="CSV", help="evaluate: list of their clips, columns source,driving")
    kinds.check_count(sys.argv[1:] if arguments is None else arguments)
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Read the experiment file and run the mode; returns the exit status."""
    # Here and not above: libraries take a while to load, in which Ctrl-C must already end the program in one line.
    from config.load import load_config, load_preparation
    from config.options import RunOptions

    assignments = arguments.set + ([f"seed={arguments.seed}"] if arguments.seed is not None else [])
    config: Config | PrepareConfig
    if arguments.mode == PREPARE:
        config = load_preparation(arguments.config, assignments)
    else:
        config, notices = load_config(arguments.config, assignments)
        if notices:
            logging.info("%s: a published experiment, read with %s", arguments.config, "; ".join(notices))
    given = {field.name: getattr(arguments, field.name) for field in fields(RunOptions) if field.name != "config_path"}
    options = RunOptions(config_path=arguments.config, **given)
    dry_run = DRY_RUNS.get(arguments.mode, "check:describe")
    return _load(dry_run if arguments.dry_run else MODES[arguments.mode])(config, options)


def _load(entry: str) -> Callable[..., int]:
    module, function = entry.split(":")
    return getattr(import_module(module), function)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; a mistake of the user or a failure of the machine prints one line and returns status 2."""
    log = logging.getLogger()
    try:
        parsed = parse_arguments(arguments)
    except UserError as error:
        logging.basicConfig(format="%(message)s")
        log.error("error: %s", error)
        return 2
    logging.basicConfig(format="%(message)s", level=logging.DEBUG if parsed.verbose else logging.INFO)
    for noisy in ("matplotlib", "PIL", "numba", "fsspec", "libav"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with interrupts_as_exceptions():
            return run(parsed)
    except UserError as error:
        log.error("error: %s", error, exc_info=parsed.verbose)
        return 2
    except KeyboardInterrupt as interrupt:
        log.warning("stopped; what was finished is kept, run the same command again to resume")
        return exit_status(interrupt)
    except Exception as error:
        if (failure := failure_of_machine(error)) is None:
            raise
        log.error("error: %s", failure, exc_info=parsed.verbose)
        return 2


if __name__ == "__main__":
    sys.exit(main())
