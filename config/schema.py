"""The typed experiment file: one class for every family, and the JSON schema that editors read.

`python -m config.schema` writes `config/schema.json` anew; a test holds it to these classes.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from config.families import (
    FommModelParams,
    FommTrainParams,
    MraaModelParams,
    MraaTrainParams,
    TpsModelParams,
    TpsTrainParams,
    WarpModelParams,
)
from config.preparation import PrepareConfig
from config.sections import (
    AnimateParams,
    DatasetParams,
    ModelParams,
    NonNegativeInt,
    ReconstructionParams,
    Section,
    TrainAUParams,
    TrainAVDParams,
    TrainParams,
    VisualizerParams,
)

FORMAT = 2


class Config(Section):
    """What every experiment has. Each family adds the sections `model_params` and `train_params`."""

    format: Literal[2]
    """Version of this file format. A file without it is read as one of a published code base."""
    seed: NonNegativeInt = 0
    """Seed of weights, pairs and augmentation."""
    dataset_params: DatasetParams = DatasetParams()
    """Clips, landmarks, action units."""
    model_params: ModelParams
    """Networks."""
    train_params: TrainParams = TrainParams()
    """`--mode train`."""
    train_avd_params: TrainAVDParams = TrainAVDParams()
    """`--mode train_avd`."""
    train_au_params: TrainAUParams = TrainAUParams()
    """`--mode train_au`."""
    animate_params: AnimateParams = AnimateParams()
    """`--mode animate`."""
    reconstruction_params: ReconstructionParams = ReconstructionParams()
    """`--mode reconstruction`."""
    visualizer_params: VisualizerParams = VisualizerParams()
    """Pictures of training."""

    @property
    def family(self) -> str:
        """Name of the model family, a key of `FAMILIES` and of the model registry."""
        return self.model_params.family

    @property
    def model_options(self) -> dict[str, Any]:
        """The section `model_params` as `modules.model.build_model` takes it."""
        return self.model_params.model_dump(exclude={"family"})


def _check_sizes(config: Config, network: str, scale_factor: float, levels: int) -> None:
    """Raise ValueError where the frame cannot be halved as often as a network halves it."""
    if config.dataset_params.frame_shape is None:
        return
    for name, side in zip(("height", "width"), config.dataset_params.frame_shape[:2], strict=False):
        if side * scale_factor % 2**levels:
            raise ValueError(
                f"dataset_params.frame_shape: expected a {name} divisible by {round(2**levels / scale_factor)} "
                f"({network}), got {side}"
            )


class TpsConfig(Config):
    model_params: TpsModelParams
    """Networks."""
    train_params: TpsTrainParams = TpsTrainParams()
    """`--mode train`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TpsConfig":
        model, dense = self.model_params, self.model_params.dense_motion_params
        _check_sizes(self, "dense_motion_params", dense.scale_factor, dense.num_blocks)
        _check_sizes(self, "generator_params", 1, model.generator_params.num_down_blocks)
        if model.keypoints == "landmarks" and model.common_params.num_tps != 10:
            raise ValueError(
                "model_params.common_params.num_tps: expected 10, the number of landmark groups, with "
                f"`keypoints: landmarks`, got {model.common_params.num_tps}"
            )
        if model.au_conditioning == "film" and model.keypoints != "landmarks":
            raise ValueError("model_params.au_conditioning: film: expected `keypoints: landmarks`, got learned ones")
        if self.train_params.needs_au_estimator and model.au_conditioning == "none":
            raise ValueError("train_params.loss_weights.relative_au: expected au_conditioning `film` or `concat`")
        if self.train_params.needs_au_estimator and not (
            model.keypoints == "landmarks" and self.dataset_params.remove_head_motion
        ):
            raise ValueError(
                "train_params.loss_weights.relative_au: expected `keypoints: landmarks` and "
                "dataset_params.remove_head_motion, because the estimator compares faces in one pose"
            )
        if not model.common_params.multi_mask and self.train_params.loss_weights.warp_loss:
            raise ValueError("train_params.loss_weights.warp_loss: expected 0 with `multi_mask: false`, got a weight")
        return self


class WarpConfig(Config):
    model_params: WarpModelParams
    """The spline."""


class FommConfig(Config):
    model_params: FommModelParams
    """Networks."""
    train_params: FommTrainParams = FommTrainParams()
    """`--mode train`."""


class MraaConfig(Config):
    model_params: MraaModelParams
    """Networks."""
    train_params: MraaTrainParams = MraaTrainParams()
    """`--mode train`."""


FAMILIES: dict[str, type[Config]] = {"tps": TpsConfig, "warp": WarpConfig, "fomm": FommConfig, "mraa": MraaConfig}


PREPARATION = "prepare"


def kind_of(value: Any) -> str | None:
    """Family of an experiment, given as parsed YAML or as an object; `PREPARATION` for a file of `--mode prepare`."""
    if "prepare_params" in value if isinstance(value, dict) else isinstance(value, PrepareConfig):
        return PREPARATION
    model = value.get("model_params") if isinstance(value, dict) else getattr(value, "model_params", None)
    return model.get("family") if isinstance(model, dict) else getattr(model, "family", None)


AnyConfig = Annotated[
    Annotated[TpsConfig, Tag("tps")]
    | Annotated[WarpConfig, Tag("warp")]
    | Annotated[FommConfig, Tag("fomm")]
    | Annotated[MraaConfig, Tag("mraa")]
    | Annotated[PrepareConfig, Tag(PREPARATION)],
    Discriminator(kind_of),
    Field(title="Experiment"),
]


def json_schema() -> str:
    """The JSON schema of experiment files, as committed in `config/schema.json`."""
    return json.dumps(TypeAdapter(AnyConfig).json_schema(mode="validation"), indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("schema.json").write_text(json_schema(), encoding="utf-8")
