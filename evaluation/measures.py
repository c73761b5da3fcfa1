"""The measures of the tables: name, unit, direction, definition and source of each.

The names are the columns of `clips.csv`. A measure that cannot be computed is NaN there, and is left out of the means.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Better = Literal["lower", "higher", "near 1", "near 0", "beside"]
"""Direction of a measure; `beside` explains another one."""


class Measure(NamedTuple):
    """A measure.

    Attributes:
        title: heading of its column.
        unit: empty for a ratio or a correlation.
        better: direction.
        digits: decimals in tables.
        definition: one sentence.
        source: paper or library; empty for definitions of this program.
    """

    title: str
    unit: str
    better: Better
    digits: int
    definition: str
    source: str = ""


ESTIMATOR_TITLES = {"dis": "DIS", "tvl1": "TV-L1", "farneback": "Farneback"}


def _motion_measures() -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    for name, title in ESTIMATOR_TITLES.items():
        for kind, of in (("motion", "non-rigid motion"), ("total", "all motion")):
            measures |= {
                f"{kind}_error_{name}": Measure(
                    f"{of}, error, {title}",
                    "",
                    "lower",
                    2,
                    f"mean |result - driving| / mean |driving| of {of} in the face frame; a static copy has 1",
                ),
                f"{kind}_corr_{name}": Measure(
                    f"{of}, correlation, {title}",
                    "",
                    "higher",
                    2,
                    f"correlation of all vectors of {of} over the points of the face and time",
                ),
                f"{kind}_gain_{name}": Measure(
                    f"{of}, gain, {title}",
                    "",
                    "near 1",
                    2,
                    f"regression slope of {of} of the result on the driving clip's",
                ),
            }
    return measures


MEASURES: dict[str, Measure] = {
    **_motion_measures(),
    "agreement": Measure(
        "agreement of the estimators",
        "",
        "beside",
        2,
        "correlation of the first two flow estimators on the driving clip's own non-rigid motion: a ceiling for what a "
        "correlation with it can mean",
    ),
    "akd": Measure(
        "landmark distance (AKD)",
        "% of the eye distance",
        "lower",
        2,
        "mean distance of the tracked landmarks from where the driving clip's motion takes them, without head motion",
        "Siarohin et al., CVPR 2019, in the face frame",
    ),
    "au_error": Measure(
        "action units, error",
        "",
        "lower",
        2,
        "mean absolute difference of the changes of 17 action units on 2 sides / mean change in the driving clip",
    ),
    "au_corr": Measure(
        "action units, correlation", "", "higher", 2, "correlation of those changes over units and time"
    ),
    "au_gain": Measure("action units, gain", "", "near 1", 2, "regression slope of those changes"),
    "blend_corr": Measure(
        "blendshapes, correlation",
        "",
        "higher",
        2,
        "correlation of the changes of the blendshapes that act in the driving clip (three times the noise of a static "
        "control); never a gain, which differs between faces",
        "face mesh of MediaPipe",
    ),
    "blend_wrong": Measure(
        "the same with wrong driving clips",
        "",
        "near 0",
        2,
        "mean correlation with two other driving clips of the list",
    ),
    "blend_channels": Measure(
        "acting blendshapes", "channels", "beside", 0, "number of the 52 that act in the driving clip"
    ),
    "onset_error": Measure(
        "onset", "frames", "lower", 1, "|onset - driving onset| of the motion along the driving clip's main pattern"
    ),
    "apex_error": Measure("apex", "frames", "lower", 1, "|apex - driving apex| of the same curve"),
    "offset_error": Measure("offset", "frames", "lower", 1, "|offset - driving offset| of the same curve"),
    "delay": Measure("delay", "frames", "near 0", 1, "shift at which the two curves correlate most; late is positive"),
    "leak_face": Measure(
        "leakage, face",
        "",
        "lower",
        2,
        "non-rigid motion, beyond the driving clip's, at the quarter of the points that rest there / its mean motion",
    ),
    "leak_units": Measure(
        "leakage, action units",
        "",
        "lower",
        2,
        "mean change, beyond the driving clip's, of units that rest there / of those that act",
    ),
    "leak_background": Measure(
        "leakage, background and hair",
        "% of the eye distance",
        "lower",
        2,
        "mean motion outside the face beyond the driving clip's",
    ),
    "asymmetry": Measure(
        "asymmetry kept",
        "",
        "higher",
        2,
        "correlation of the asymmetric parts of the landmarks' motion, for driving clips that are a quarter asymmetric",
    ),
    "identity": Measure(
        "identity",
        "",
        "higher",
        3,
        "similarity to the source: by shape and colour layout, or by an embedding where one is set",
    ),
    "flicker": Measure(
        "flicker",
        "grey levels",
        "lower",
        2,
        "mean |second difference over time| inside the face beyond the driving clip's",
    ),
    "sharpness": Measure(
        "sharpness",
        "",
        "near 1",
        2,
        "mean |Laplacian| inside the face / that of the source warped by the result's own flow",
    ),
    "l1": Measure("L1", "of 1", "lower", 4, "mean absolute difference from the true frames"),
    "psnr": Measure("PSNR", "dB", "higher", 1, "peak signal-to-noise ratio against the true frames", "scikit-image"),
    "ssim": Measure(
        "SSIM", "", "higher", 3, "structural similarity to the true frames", "Wang et al., 2004; scikit-image"
    ),
    "ms_ssim": Measure(
        "MS-SSIM",
        "",
        "higher",
        3,
        "multi-scale structural similarity to the true frames",
        "Wang et al., 2003; torchmetrics",
    ),
    "lpips": Measure(
        "LPIPS",
        "",
        "lower",
        3,
        "learned perceptual distance from the true frames",
        "Zhang et al., CVPR 2018; torchmetrics",
    ),
    "difference_error": Measure(
        "temporal difference, error",
        "",
        "lower",
        2,
        "sum |change since the first frame - true change| / sum |true change|; a static copy has 1",
    ),
    "difference_corr": Measure("temporal difference, correlation", "", "higher", 2, "correlation of those changes"),
    "fid": Measure(
        "FID",
        "",
        "lower",
        1,
        "Frechet distance of features of 8 frames per clip from those of true or driving clips; one value per system",
        "Heusel et al., NeurIPS 2017; torchmetrics",
    ),
}
PER_SYSTEM = ("fid",)


def measures_in_table(estimators: tuple[str, ...], with_truth: bool) -> list[str]:
    """Return the names of the measures of the main table, in order.

    Args:
        estimators: flow estimators, by name.
        with_truth: True if some clips have true frames.
    """
    names = [f"motion_{figure}_{e}" for e in estimators for figure in ("error", "corr", "gain")]
    names += [f"total_corr_{e}" for e in estimators] + ["agreement", "akd"]
    names += ["au_error", "au_corr", "au_gain", "blend_corr", "blend_wrong"]
    names += ["onset_error", "apex_error", "offset_error", "delay"]
    names += ["leak_face", "leak_units", "leak_background", "asymmetry", "identity", "sharpness", "flicker"]
    if with_truth:
        names += ["l1", "psnr", "ssim", "ms_ssim", "lpips", "difference_error", "difference_corr"]
    return [*names, "fid"]


def badness(name: str, value: float) -> float:
    """Return a number that grows the worse a value of a measure is; NaN counts as worst."""
    if value != value:
        return float("inf")
    match MEASURES[name].better:
        case "higher":
            return -value
        case "near 1":
            return abs(value - 1)
        case "near 0":
            return abs(value)
        case _:
            return value
