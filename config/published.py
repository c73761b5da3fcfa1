"""Experiment files of the published code bases, read as `format: 2`.

TPSMM, MEGC2022-Generation, FOMM, MRAA and both FPB code bases share the section names, but fix some settings in code.
These settings are added here, so that weights trained there behave as before.
"""

from copy import deepcopy
from typing import Any

FACIAL_POINTS = 18
"""Keypoints or regions of the FPB code bases; files of FOMM and MRAA have 10 or 20."""

FAMILY_KEYS = {"tps": "common_params.num_tps", "fomm": "common_params.num_kp", "mraa": "num_regions"}


def translate(published: dict[str, Any], format_version: int) -> tuple[dict[str, Any], list[str]]:
    """Add the settings to a published experiment that its code base fixes in code.

    Relative movement is scaled by the hulls' areas (`movement_scale: hull`) in every family, as the published code
    does, including MEGC2022-Generation, whose motion comes from landmarks.

    Args:
        published: the parsed file, without the key `format`.
        format_version: value of `format` in the result.
    Returns:
        The experiment with these settings, and the added ones as `path: value` texts.
    Raises:
        ValueError: the family cannot be identified.
    """
    sections = deepcopy(published)
    model = sections.get("model_params")
    family = _family(model if isinstance(model, dict) else {})
    decisions = _decisions(family, sections)
    for path, value in decisions.items():
        *parents, key = path.split(".")
        at = sections
        for parent in parents:
            at = at.setdefault(parent, {}) if isinstance(at, dict) else {}
        if isinstance(at, dict):
            at.setdefault(key, value)
    return {"format": format_version, **sections}, [f"{path}: {_yaml(value)}" for path, value in decisions.items()]


def _family(model: dict[str, Any]) -> str:
    for family, path in FAMILY_KEYS.items():
        value: Any = model
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return family
    keys = ", ".join(f"model_params.{path}" for path in FAMILY_KEYS.values())
    raise ValueError(f"expected `format: 2`, or a published file with one of {keys}; got neither")


def _decisions(family: str, sections: dict[str, Any]) -> dict[str, Any]:
    def given(section: str, key: str) -> Any:
        value = sections.get(section)
        return value.get(key) if isinstance(value, dict) else None

    decisions: dict[str, Any] = {"model_params.family": family}
    prior = "none" if family == "tps" else given("model_params", "prior") or _prior(family, sections["model_params"])
    settings = published_settings(family, prior)
    if family == "tps":
        if given("dataset_params", "keypoint_dir"):
            decisions["model_params.keypoints"] = "landmarks"
            decisions["model_params.landmark_groups"] = "megc2022"
            decisions["model_params.landmark_activation"] = "sigmoid"
        if given("dataset_params", "au_dir"):
            decisions["model_params.au_conditioning"] = "concat"
            decisions["dataset_params.au_noise"] = 0.02
    else:
        settings |= {"align_corners": False, "prior": prior}
    if family == "mraa":
        settings["relative_covar"] = "driving"
    decisions |= {f"model_params.{path}": value for path, value in settings.items()}
    decisions["animate_params.normalization_params.movement_scale"] = "hull"
    if prior != "none" or "model_params.keypoints" in decisions:
        decisions["animate_params.remove_head_motion"] = False
    normalization = given("animate_params", "normalization_params")
    if isinstance(normalization, dict) and normalization.get("use_relative_movement") is False:
        decisions["animate_params.mode"] = "standard"
    return decisions


def published_settings(family: str, prior: str) -> dict[str, Any]:
    """Settings of `model_params`, by dotted path, that all published weights need and no state dict shows."""
    if family == "tps":
        return {"tps_regularization": "tpsmm"}
    settings: dict[str, Any] = {"resize_align_corners": False}
    if prior != "none":
        settings["prior_params.convention"] = "published"
    if family == "mraa":
        settings["region_affine"] = "principal"
        if prior != "none":
            settings["prior_regions"] = "published"
    return settings


def _prior(family: str, model: dict[str, Any]) -> str:
    """Facial prior of a file. Files of EWP and AWP have the same keys; the checkpoint shows if it is the other one."""
    if family == "fomm":
        return "awp" if model["common_params"]["num_kp"] == FACIAL_POINTS else "none"
    regions = model.get("region_predictor_params")
    # Heat maps of the prior have the size of the frame; a file with another padding has no prior.
    padded = not isinstance(regions, dict) or regions.get("pad", 3) == 3
    return "awp" if model["num_regions"] == FACIAL_POINTS and padded else "none"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
