"""Training pairs, two frames of one clip each, and the sampler of an epoch.

Sampling is a pure function of (seed, epoch, index), independent of the number and order of the workers.

Legend: T frames, H x W image.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from augmentation import draw_augmentation
from clips.files import subject_of
from clips.loader import LoadedClip, training_problem
from clips.reading import ClipError, Frame
from clips.splits import identity
from config.sections import DatasetParams


class FramesDataset(Dataset[dict[str, Any]]):
    """Training pairs: two frames of one clip with their landmarks and action-unit difference.

    Args:
        clips: with at least two frames each.
        params: the section `dataset_params`.
        seed: of sampling and augmentation.
        num_repeats: passes over the clips per epoch.
    Raises:
        ClipError: a clip of one frame, or a clip without landmarks if head motion is to be removed.
    """

    def __init__(self, clips: list[LoadedClip], params: DatasetParams, *, seed: int, num_repeats: int):
        for clip in clips:
            if problem := training_problem(clip, params):
                raise ClipError(problem)
        self.params = params
        self.seed = seed
        groups: dict[str, list[LoadedClip]] = {}
        for clip in clips:
            groups.setdefault(identity(clip.name) if params.id_sampling else clip.name, []).append(clip)
        self.groups = list(groups.values())
        self.subjects = {name: i for i, name in enumerate(sorted({subject_of(clip.name) for clip in clips}))}
        self.num_repeats = num_repeats

    def __len__(self) -> int:
        return len(self.groups) * self.num_repeats

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        """Draw the pair (epoch, index).

        Returns:
            `source`, `driving` uint8 (3, H, W); `source_landmarks`, `driving_landmarks` float32 (68, 2) in [-1, 1];
            `source_au`, `au_diff` float32 (17, 2), intensities of the source, and driving minus source; `subject`,
            index of the person; `augmentation`, parameters for `augmentation.augment`.
        """
        epoch, index = item
        rng = np.random.default_rng((self.seed, epoch, index))
        group = self.groups[index % len(self.groups)]
        clip = group[rng.integers(len(group))]
        if self.params.source_frame == "first":
            i, j = 0, 1 + rng.integers(len(clip) - 1)
        else:
            i, j = sorted(rng.choice(len(clip), 2, replace=False))
        frames = clip.cached.frames()
        pair: dict[str, Any] = {
            "source": _to_tensor(frames[i]),
            "driving": _to_tensor(frames[j]),
            "subject": self.subjects[subject_of(clip.name)],
            "augmentation": draw_augmentation(self.params.augmentation_params, frames.shape[1:3], rng),
        }
        if clip.landmarks is not None:
            pair["source_landmarks"] = torch.from_numpy(clip.to_units(clip.landmarks[i]))
            pair["driving_landmarks"] = torch.from_numpy(clip.to_units(clip.landmarks[j]))
        if clip.action_units is not None:
            pair["source_au"] = torch.from_numpy(np.array(clip.action_units[i]))
            diff = clip.action_units[j] - clip.action_units[i]
            if self.params.au_noise:
                noise = rng.uniform(-self.params.au_noise, self.params.au_noise, (2, len(diff), 1))
                diff = (diff + noise[1] - noise[0]).astype(np.float32)
            pair["au_diff"] = torch.from_numpy(diff)
        return pair


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled (epoch, index) keys of the pairs that this process trains on.

    Args:
        length: pairs per epoch.
        batch_size: per device; the last pairs that fill no batch on every device are dropped.
        rank, world_size: index of this process, and number of processes.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, rank: int = 0, world_size: int = 1):
        self.length = length
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.batch_size = batch_size
        self.epoch = 0
        self.steps_done = 0

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.length // (self.batch_size * self.world_size)

    def start(self, epoch: int, steps_done: int = 0) -> None:
        """Select the epoch, and the number of its steps to skip because they are done."""
        self.epoch, self.steps_done = epoch, steps_done

    def __len__(self) -> int:
        return (self.steps - self.steps_done) * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        own = order[self.rank :: self.world_size][self.steps_done * self.batch_size : self.steps * self.batch_size]
        return ((self.epoch, int(index)) for index in own)


def _to_tensor(frame: Frame) -> torch.Tensor:
    return torch.from_numpy(np.array(frame.transpose(2, 0, 1)))
