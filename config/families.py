"""The registry of model families: one entry names a family's config class and its model class."""

from typing import NamedTuple

from config.experiment import Config
from config.fomm import FommConfig
from config.mraa import MraaConfig
from config.tps import TpsConfig
from config.warp import WarpConfig


class Family(NamedTuple):
    """A model family.

    Attributes:
        config: class of its experiment files.
        model: `module:class` of its `MotionModel`, imported only to build networks, because torch loads slowly.
    """

    config: type[Config]
    model: str


FAMILIES = {
    "tps": Family(TpsConfig, "modules.tps.model:TPSModel"),
    "warp": Family(WarpConfig, "modules.warp.model:WarpModel"),
    "fomm": Family(FommConfig, "modules.fomm.model:FommModel"),
    "mraa": Family(MraaConfig, "modules.mraa.model:MraaModel"),
}
