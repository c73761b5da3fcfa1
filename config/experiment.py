"""Experiment files: the sections that all families share; each family's config class derives from `Config`."""

from typing import Any, Literal, Self

from pydantic import model_validator

from config.evaluation import EvaluateParams
from config.network_sizes import raise_problems
from config.ranges import Seed
from config.sections import (
    AnimateParams,
    DatasetParams,
    ModelParams,
    ReconstructionParams,
    Section,
    TrainAUParams,
    TrainAVDParams,
    TrainParams,
    VisualizerParams,
)

FORMAT = 2


class Config(Section):
    """An experiment. Each family adds its own sections `model_params` and `train_params`."""

    format: Literal[2]
    """Version of the file format. A file without it is read as an experiment of a published code base."""
    seed: Seed = 0
    """Random seed of initial weights, training pairs and augmentation, at least 0."""
    dataset_params: DatasetParams = DatasetParams()
    """Clips, landmarks and action units."""
    model_params: ModelParams
    """Networks."""
    train_params: TrainParams = TrainParams()
    """Settings of `--mode train`."""
    train_avd_params: TrainAVDParams = TrainAVDParams()
    """Settings of `--mode train_avd`."""
    train_au_params: TrainAUParams = TrainAUParams()
    """Settings of `--mode train_au`."""
    animate_params: AnimateParams = AnimateParams()
    """Settings of `--mode animate`."""
    reconstruction_params: ReconstructionParams = ReconstructionParams()
    """Settings of `--mode reconstruction`."""
    evaluate_params: EvaluateParams = EvaluateParams()
    """Settings of `--mode evaluate`."""
    visualizer_params: VisualizerParams = VisualizerParams()
    """Visualisations during training."""

    @property
    def family(self) -> str:
        """Name of the model family, a key of `config.families.FAMILIES`."""
        return self.model_params.family

    @property
    def model_options(self) -> dict[str, Any]:
        """Section `model_params` as plain values, from which the keys of generated results are computed."""
        return self.model_params.model_dump(exclude={"family"})

    def combination_problems(self) -> list[str]:
        """Settings that contradict each other, one line each; families add their own."""
        return []

    def size_problems(self, height: int, width: int) -> list[str]:
        """Reasons why the networks cannot work on frames of a size, one line each; families add their own."""
        return []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        shape = self.dataset_params.frame_shape
        sizes = [] if shape is None else self.size_problems(*shape[:2])
        raise_problems([*self.combination_problems(), *sizes])
        return self
