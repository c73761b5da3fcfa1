"""Which clips of a data set are trained on and which are tested."""

import numpy as np

from clips.reading import Clip, ClipError, find_clips
from config.sections import DatasetParams


def split_clips(params: DatasetParams, split: str) -> list[Clip]:
    """Clips of `train` or `test`: of the folder of that name, or a seeded part of all.

    Raises:
        ClipError: no clips.
    """
    root = params.root_dir
    if root is None:
        raise ClipError("dataset_params.root_dir: expected the folder of the clips, got nothing")
    if (root / split).is_dir():
        return find_clips(root / split)
    if (root / "train").is_dir() or (root / "test").is_dir():
        raise ClipError(f"{root / split}: no such folder; make it, or put all clips into {root} itself")
    clips = find_clips(root)
    identities = sorted({identity(clip.name) for clip in clips})
    order = np.random.default_rng(params.split_seed).permutation(len(identities))
    test = {identities[i] for i in order[: max(1, round(params.test_fraction * len(identities)))]}
    chosen = [clip for clip in clips if (identity(clip.name) in test) == (split == "test")]
    if not chosen:
        raise ClipError(f"{root}: {len(identities)} identities are too few to split; make train/ and test/ folders")
    return chosen


def identity(name: str) -> str:
    """The part of a clip's name before `#`, which names the person where `id_sampling` is used."""
    return name.split("#")[0]
