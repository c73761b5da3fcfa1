"""The config classes are the only home of defaults."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from config.families import FAMILIES

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "modules").rglob("*.py"))
    if path.stem != "__init__"
]


def option_names(section: type[BaseModel]) -> set[str]:
    """Names of all options of a config class and of the sections in it."""
    names = set(section.model_fields)
    for field in section.model_fields.values():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            names |= option_names(field.annotation)
    return names


OPTIONS = set().union(*(option_names(family.config) for family in FAMILIES.values()))


@pytest.mark.parametrize("name", MODULES)
def test_no_network_repeats_a_default_of_the_configuration(name):
    module = import_module(name)
    repeated = {
        f"{class_name}({parameter.name})"
        for class_name, network in inspect.getmembers(module, inspect.isclass)
        if network.__module__ == name
        for parameter in inspect.signature(network).parameters.values()
        if parameter.name in OPTIONS and parameter.default is not parameter.empty
    }
    assert repeated == set()


def test_the_options_of_every_section_are_compared():
    assert {"family", "block_expansion", "skips", "pca_based", "prior_regions", "smoothing", "points_tps"} <= OPTIONS
