"""Split of a data set into training and test clips."""

import numpy as np

from clips.reading import Clip, ClipError, find_clips
from config.sections import DatasetParams


def split_clips(params: DatasetParams, split: str) -> list[Clip]:
    """Return the clips of `train` or `test`: those of the folder of that name, or a random share of all identities.

    Raises:
        ClipError: there are no such clips, or too few identities to split.
    """
    root = params.root_dir
    if root is None:
        raise ClipError("dataset_params.root_dir: expected the folder of the clips, got none")
    if (root / split).is_dir():
        return find_clips(root / split)
    if (root / "train").is_dir() or (root / "test").is_dir():
        raise ClipError(f"{root / split}: no such folder; create it, or put all clips into {root} itself")
    clips = find_clips(root)
    identities = sorted({identity(clip.name) for clip in clips})
    order = np.random.default_rng(params.split_seed).permutation(len(identities))
    test = {identities[i] for i in order[: max(1, round(params.test_fraction * len(identities)))]}
    chosen = [clip for clip in clips if (identity(clip.name) in test) == (split == "test")]
    if not chosen:
        raise ClipError(f"{root}: {len(identities)} identities are too few to split; create train/ and test/ folders")
    return chosen


def identity(name: str) -> str:
    """Return the part of a clip's name before `#`, which is the identity for `id_sampling`."""
    return name.split("#")[0]
