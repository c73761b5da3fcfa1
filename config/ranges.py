"""Types of single settings: numbers with the range in which they mean something, paths, lists.

A value outside of its range is refused when the file is read, before any clip or checkpoint. Ranges are wide: they
exclude what cannot work, not what is unusual.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from parsing.files import MAX_NAME_BYTES, checked_path


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _text_to_path(value: Any) -> Any:
    return checked_path(value) if isinstance(value, str) else value


def _weights_name(value: str) -> str:
    return value if value in ("imagenet", "random") else str(checked_path(value))


def _colormap_name(value: str) -> str:
    if value != "gist_rainbow":
        from matplotlib import colormaps  # takes a third of a second to load

        if value not in colormaps:
            raise ValueError(f"expected the name of a Matplotlib colormap such as viridis, got {value[:40]!r}")
    return value


def _distinct(values: tuple[float, ...]) -> tuple[float, ...]:
    if len({f"{value:g}" for value in values}) < len(values):
        raise ValueError(f"expected different scales, got {list(values)}")
    return values


AsTuple = BeforeValidator(_list_to_tuple, json_schema_input_type=list[Any])

# --- numbers of any kind, for settings without a range of their own ---------------------------------------------------

PositiveInt = Annotated[int, Field(gt=0, le=1_000_000)]
NonNegativeInt = Annotated[int, Field(ge=0, le=1_000_000)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
NonNegativeFloat = Annotated[float, Field(ge=0, le=1e6)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]

# --- data -------------------------------------------------------------------------------------------------------------

FrameSide = Annotated[int, Field(ge=16, le=8192)]
JitterStrength = Annotated[float, Field(ge=0, le=10)]
Magnification = Annotated[float, Field(ge=0.1, le=10)]
FrameRate = Annotated[float, Field(ge=0.1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

# --- training ---------------------------------------------------------------------------------------------------------

Repeats = Annotated[int, Field(gt=0, le=10_000)]
BatchSize = Annotated[int, Field(gt=0, le=4096)]
Workers = Annotated[int, Field(ge=0, le=256)]
Milestones = Annotated[tuple[NonNegativeInt, ...], AsTuple, Field(max_length=100)]
LearningRate = Annotated[float, Field(ge=0, le=1)]
PositiveLearningRate = Annotated[float, Field(gt=0, le=1)]
LossWeight = Annotated[float, Field(ge=0, le=1e6)]
PerceptualWeights = Annotated[tuple[LossWeight, ...], AsTuple, Field(max_length=5)]
FeatureWeights = Annotated[tuple[LossWeight, ...], AsTuple, Field(max_length=10)]

# --- networks ---------------------------------------------------------------------------------------------------------

ImageScale = Annotated[float, Field(ge=1 / 64, le=1)]
Scales = Annotated[tuple[ImageScale, ...], AsTuple, Field(min_length=1, max_length=10), AfterValidator(_distinct)]
Channels = Annotated[int, Field(gt=0, le=8192)]
Levels = Annotated[int, Field(gt=0, le=10)]
Keypoints = Annotated[int, Field(gt=0, le=256)]
Temperature = Annotated[float, Field(ge=0.05, le=1e3)]  # sharper maps are single pixels, which have no covariance
Reach = Annotated[float, Field(ge=1e-3, le=1e3)]
Logit = Annotated[float, Field(ge=-50, le=50)]

# --- texts ------------------------------------------------------------------------------------------------------------

FilePath = Annotated[Path, BeforeValidator(_text_to_path, json_schema_input_type=str)]
WeightsName = Annotated[str, Field(min_length=1), AfterValidator(_weights_name)]
FolderName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_BYTES)]
Colormap = Annotated[str, AfterValidator(_colormap_name)]
