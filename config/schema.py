"""The JSON schema of experiment files, which editors read.

`python -m config.schema` writes `config/schema.json` anew; a test holds it to the config classes.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import Discriminator, Field, Tag, TypeAdapter

from config.families import FAMILIES
from config.preparation import PrepareConfig

PREPARATION = "prepare"


def kind_of(value: Any) -> str | None:
    """Family of an experiment, given as parsed YAML or as an object; `PREPARATION` for a file of `--mode prepare`."""
    if "prepare_params" in value if isinstance(value, dict) else isinstance(value, PrepareConfig):
        return PREPARATION
    model = value.get("model_params") if isinstance(value, dict) else getattr(value, "model_params", None)
    return model.get("family") if isinstance(model, dict) else getattr(model, "family", None)


def json_schema() -> str:
    """The JSON schema of experiment files, as committed in `config/schema.json`."""
    configs = {name: family.config for name, family in FAMILIES.items()} | {PREPARATION: PrepareConfig}
    tagged = tuple(Annotated[config, Tag(name)] for name, config in configs.items())
    experiment: Any = Annotated[Union[tagged], Discriminator(kind_of), Field(title="Experiment")]  # noqa: UP007
    return json.dumps(TypeAdapter(experiment).json_schema(mode="validation"), indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("schema.json").write_text(json_schema(), encoding="utf-8")
