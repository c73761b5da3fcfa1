"""Training pairs, two frames of one clip each, and the sampler of an epoch.

Sampling is a pure function of (seed, epoch, index), independent of the number and order of the workers.

Legend: T frames, H x W image.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from augmentation import draw_augmentation
from clips.files import subject_of
from clips.loader import LoadedClip, training_problem
from clips.reading import ClipError, Frame
from clips.splits import identity
from config.sections import DatasetParams
from core.stop_signal import prepare_worker, signals_held_back
from errors import UserError, failure_of_machine

_PAIR_OVERHEAD = 8192  # bytes of landmarks, action units and augmentation


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

    @property
    def pair_bytes(self) -> int:
        """Memory of the largest pair, in bytes."""
        frames = max(int(np.prod(clip.cached.frames().shape[1:])) for group in self.groups for clip in group)
        return 2 * frames + _PAIR_OVERHEAD

    def __getitems__(self, items: list[tuple[int, int]]) -> "list[dict[str, Any]] | LoadingFailure":
        """Draw the pairs of a batch; called by the data loader."""
        try:
            return [self[item] for item in items]
        except Exception as error:
            return _loading_failure(error)

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


class LoadingFailure(str):
    """Message that a batch could not be loaded, in the place of the batch: an exception would arrive from a data-loader
    worker as the text of a traceback."""


def collate_pairs(pairs: list[dict[str, Any]] | LoadingFailure) -> dict[str, Any] | LoadingFailure:
    """Stack the pairs of a batch; in a data-loader worker, in shared memory."""
    if isinstance(pairs, LoadingFailure):
        return pairs
    try:
        batch: dict[str, Any] = default_collate(pairs)
        if get_worker_info() is not None:
            _share_memory(batch)
    except Exception as error:
        return _loading_failure(error)
    return batch


def _loading_failure(error: Exception) -> LoadingFailure:
    """Message of an error that a user can mend; other errors are raised again."""
    message = str(error) if isinstance(error, UserError) else failure_of_machine(error)
    if message is None:
        raise error
    return LoadingFailure(message)


def _share_memory(value: Any) -> None:
    """Move the tensors of nested dicts to shared memory, which otherwise happens where an error cannot be reported."""
    if isinstance(value, torch.Tensor):
        value.share_memory_()  # type: ignore[no-untyped-call]  # untyped in PyTorch
    elif isinstance(value, dict):
        for child in value.values():
            _share_memory(child)


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
        self.pairs_done = 0

    @property
    def pairs_per_step(self) -> int:
        """Pairs per step on all devices."""
        return self.batch_size * self.world_size

    def steps_after(self, pairs_done: int) -> int:
        """Steps of an epoch that remain after so many of its pairs."""
        return max(self.length - pairs_done, 0) // self.pairs_per_step

    def start(self, epoch: int, pairs_done: int = 0) -> None:
        """Select the epoch, and the number of its pairs, over all devices, to skip because they are done."""
        self.epoch, self.pairs_done = epoch, pairs_done

    def __len__(self) -> int:
        return self.steps_after(self.pairs_done) * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)[self.pairs_done :]
        own = order[self.rank :: self.world_size][: len(self)]
        return ((self.epoch, int(index)) for index in own)


class PairLoader(DataLoader[dict[str, Any]]):
    """Loads batches of pairs. A batch that cannot be loaded is a `LoadingFailure`.

    Args:
        sampler: of the pairs; it knows the batch size.
        workers: worker processes; 0 loads in this process.
        pin_memory: in page-locked memory, from which GPUs copy faster.
    """

    def __init__(self, dataset: FramesDataset, sampler: EpochSampler, workers: int, *, pin_memory: bool):
        super().__init__(
            dataset,
            sampler.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate_pairs,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=prepare_worker,
        )
        waiting = min((self.prefetch_factor or 0) * workers, sampler.steps_after(0))
        self.shared_bytes = waiting * sampler.batch_size * dataset.pair_bytes if workers else 0
        """Shared memory of the batches that wait at the same time, in bytes."""

    def __iter__(self) -> Any:
        with signals_held_back():
            return super().__iter__()

    def close(self) -> None:
        """End the worker processes, which otherwise happens when Python frees them, where a signal is lost."""
        if isinstance(self._iterator, _MultiProcessingDataLoaderIter):
            self._iterator._shutdown_workers()


def _to_tensor(frame: Frame) -> torch.Tensor:
    return torch.from_numpy(np.array(frame.transpose(2, 0, 1)))
