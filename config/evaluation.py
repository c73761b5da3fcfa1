"""Configuration of `--mode evaluate`: what is measured in results, and what the report shows."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.ranges import AsTuple, NonNegativeInt, Seed, Workers
from config.sections import Section
from parsing.files import checked_path

Estimator = Literal["dis", "tvl1", "farneback"]

Sorting = Literal[
    "motion_error",
    "motion_corr",
    "akd",
    "au_error",
    "au_corr",
    "blend_corr",
    "leak_face",
    "identity",
    "sharpness",
    "flicker",
]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"expected different estimators, got {list(values)}")
    return values


def _name_or_file(*names: str) -> AfterValidator:
    return AfterValidator(lambda value: value if value in names else str(checked_path(value)))


class EvaluateParams(Section):
    flow_estimators: Annotated[
        tuple[Estimator, ...], AsTuple, Field(min_length=1, max_length=3), AfterValidator(_distinct)
    ] = (
        "dis",
        "tvl1",
    )
    """Estimators of optical flow. The first one looks at every frame and also gives regions, timing and leakage; the
    others look at `slow_frames`. A system that made its motion by one of them must be judged by another one."""
    max_frames: Annotated[int, Field(ge=8, le=2048)] = 128
    """Frames per clip; longer clips are reduced to this many, evenly spread."""
    slow_frames: Annotated[int, Field(ge=4, le=2048)] = 16
    """Frames per clip of the slow methods: the other flow estimators and the face mesh."""
    blendshapes: bool = True
    """Measure the blendshapes of the face mesh, which takes about a third of the time."""
    action_units: Annotated[str, _name_or_file("geometry", "py-feat")] = "geometry"
    """Estimator of the action units in the tables: `geometry` fits the displacements of each unit to the tracked
    landmarks; `py-feat`, which must be installed; or a checkpoint of `--mode train_au`."""
    identity: Annotated[str, _name_or_file("landmarks", "facenet")] = "landmarks"
    """Judge of identity: `landmarks` compares the shape of the face and its colour layout; `facenet`, the package
    facenet-pytorch; or a TorchScript file, (1, 3, 160, 160) in [-1, 1] -> (1, D)."""
    lpips: Annotated[str, _name_or_file("alex")] | None = None
    """Network of LPIPS where true frames are known: `alex`, whose weights (alexnet-owt-7be5be79.pth) must lie in the
    folder of PyTorch's downloads, or a TorchScript file; null leaves LPIPS out."""
    fid: Annotated[str, _name_or_file("inception")] | None = None
    """Network of FID: `inception` (package torch-fidelity, weights weights-inception-2015-12-05-6726825d.pth in the
    folder of PyTorch's downloads), or a TorchScript file; null leaves FID out."""
    references: bool = True
    """Judge the static copy and the driving clip's flow, registered to the source, beside the systems."""
    report_clips: Annotated[int, Field(ge=0, le=1000)] = 200
    """Clips with players and curves in the report, the worst first; 0 writes no report."""
    worst_by: Sorting = "motion_corr"
    """Measure by which clips are sorted, the worst first; `motion_` figures are those of the first flow estimator."""
    workers: Workers | None = None
    """Worker processes; null takes one for each processor core, 0 works in this process."""
    bootstrap_seed: Seed = 0
    """Seed of the bootstrap intervals."""
    max_problems: NonNegativeInt = 200
    """Lines on results that cannot be judged, of which the log shows at most this many; `problems.txt` has all."""
