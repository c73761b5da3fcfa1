"""Experiment files: the sections that all families share; each family's config class derives from `Config`."""

from typing import Any, Literal

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
    """An experiment. Each family adds its own sections `model_params` and `train_params`."""

    format: Literal[2]
    """Version of the file format. A file without it is read as an experiment of a published code base."""
    seed: NonNegativeInt = 0
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


def check_sizes(config: Config, network: str, scale_factor: float, levels: int) -> None:
    """Raise ValueError if a network cannot halve the frame `levels` times."""
    if config.dataset_params.frame_shape is None:
        return
    for name, side in zip(("height", "width"), config.dataset_params.frame_shape[:2], strict=False):
        if side * scale_factor % 2**levels:
            raise ValueError(
                f"dataset_params.frame_shape: expected a {name} divisible by {round(2**levels / scale_factor)} "
                f"({network}), got {side}"
            )
