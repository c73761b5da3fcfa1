"""What every experiment file says, whatever its family; each family's config class derives from `Config`."""

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
        """The section `model_params` as plain values, on which keys of generated results depend."""
        return self.model_params.model_dump(exclude={"family"})


def check_sizes(config: Config, network: str, scale_factor: float, levels: int) -> None:
    """Raise ValueError where the frame cannot be halved as often as a network halves it."""
    if config.dataset_params.frame_shape is None:
        return
    for name, side in zip(("height", "width"), config.dataset_params.frame_shape[:2], strict=False):
        if side * scale_factor % 2**levels:
            raise ValueError(
                f"dataset_params.frame_shape: expected a {name} divisible by {round(2**levels / scale_factor)} "
                f"({network}), got {side}"
            )
