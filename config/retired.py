"""Keys of earlier experiment files that are no longer options.

Files and checkpoints that contain them still load, as long as they ask for the behaviour that has become fixed.
"""

from typing import Any

_ANY = object()

RETIRED: dict[str, Any] = {
    # Variance of the keypoint heat maps: fixed in all published networks, and never changed by any experiment.
    "model_params.dense_motion_params.kp_variance": 0.01,
    "model_params.generator_params.dense_motion_params.kp_variance": 0.01,
    "model_params.generator_params.pixelwise_flow_predictor_params.region_var": 0.01,
    # Balance of the losses of the action-unit estimator, chosen once with its design.
    "train_au_params.loss_weights.difference": 1.0,
    "train_au_params.loss_weights.explanation": 0.5,
    "train_au_params.loss_weights.intensity": 0.1,
    "train_au_params.loss_weights.roughness": 0.03,
    "train_au_params.loss_weights.motion": 0.03,
    "train_au_params.loss_weights.shading": 20.0,
    # Keys of published files without an effect: axes are computed in closed form, regions are not drawn.
    "model_params.region_predictor_params.fast_svd": _ANY,
    "visualizer_params.region_bg_color": _ANY,
}


def without_retired(raw: dict[str, Any]) -> dict[str, Any]:
    """Copy of a parsed experiment without its retired keys.

    Args:
        raw: nested mapping, or a part of one that starts at the same level.
    Raises:
        ValueError: a retired key with another value than the fixed one.
    """
    problems: list[str] = []
    kept = _kept(raw, "", problems)
    if problems:
        raise ValueError("; ".join(problems))
    return kept


def _kept(section: dict[str, Any], prefix: str, problems: list[str]) -> dict[str, Any]:
    kept = {}
    for key, value in section.items():
        path = f"{prefix}{key}"
        if path in RETIRED:
            if RETIRED[path] is not _ANY and value != RETIRED[path]:
                problems.append(f"{path} is no longer an option: expected {RETIRED[path]} or no such key, got {value}")
        elif isinstance(value, dict):
            inner = _kept(value, f"{path}.", problems)
            if inner or not value:
                kept[key] = inner
        else:
            kept[key] = value
    return kept
