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

    @model_validator(mode="after")
    def _fits_together(self) -> "FommConfig":
        model, generator = self.model_params, self.model_params.generator_params
        detector, dense = model.kp_detector_params, generator.dense_motion_params
        _check_sizes(self, "kp_detector_params", detector.scale_factor, detector.num_blocks)
        _check_sizes(self, "generator_params.dense_motion_params", dense.scale_factor, dense.num_blocks)
        _check_sizes(self, "generator_params", 1, generator.num_down_blocks)
        if model.prior != "none" and model.common_params.num_kp not in (18, 68):
            raise ValueError(
                "model_params.common_params.num_kp: expected 18 or 68, the points of a face, with a prior, got "
                f"{model.common_params.num_kp}"
            )
        levels, weights = model.discriminator_params.num_blocks, self.train_params.loss_weights
        if weights.generator_gan and any(weights.feature_matching) and len(weights.feature_matching) != levels:
            raise ValueError(
                f"train_params.loss_weights.feature_matching: expected {levels} weights, one for each of "
                f"discriminator_params.num_blocks, got {len(weights.feature_matching)}"
            )
        return self


class MraaConfig(Config):
    model_params: MraaModelParams
    """Networks."""
    train_params: MraaTrainParams = MraaTrainParams()
    """`--mode train`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "MraaConfig":
        model = self.model_params
        regions, drawing = model.region_predictor_params, model.generator_params
        flow = drawing.pixelwise_flow_predictor_params
        _check_sizes(self, "region_predictor_params", regions.scale_factor, regions.num_blocks)
        _check_sizes(self, "pixelwise_flow_predictor_params", flow.scale_factor, flow.num_blocks)
        _check_sizes(self, "generator_params", 1, drawing.num_down_blocks)
        if model.prior == "awp" and model.num_regions not in (18, 68):
            raise ValueError(
                f"model_params.num_regions: expected 18 or 68, the points of `prior: awp`, got {model.num_regions}"
            )
        if model.prior == "awp" and regions.pad != 3:
            raise ValueError(
                f"model_params.region_predictor_params.pad: expected 3 with `prior: awp`, got {regions.pad}"
            )
        if flow.use_covar_heatmap and not (model.estimate_affine or regions.pca_based):
            raise ValueError(
                "model_params.generator_params.pixelwise_flow_predictor_params.use_covar_heatmap: expected false for "
                "regions without an affine frame (`estimate_affine` and `pca_based` false)"
            )
        if drawing.skips and not flow.estimate_occlusion_map:
            raise ValueError(
                "model_params.generator_params.skips: expected false without `estimate_occlusion_map`, because the "
                "warped source would replace what the decoder draws"
            )
        return self


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
