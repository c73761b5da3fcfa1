"""The inference engine: a source face and a driving clip in, the frames of the source face so moved out.

The source is encoded once, driving frames go through the networks in batches, and nothing is kept that is not needed:
memory does not grow with the clip.

Legend: T frames, B batch, H x W image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from clips.loader import LoadedClip
from clips.reading import Frame
from config.sections import AnimateParams
from errors import UserError
from faces.alignment import fit_similarity_robust, remove_head_motion, transfer
from faces.dense_transfer import DenseTransfer
from modules.model import Condition, Motion, MotionModel


@dataclass(frozen=True)
class Generated:
    """One frame.

    Attributes:
        frame: uint8 (H, W, 3).
        keypoints: (N, 2) of the applied motion, xy in [-1, 1].
    """

    frame: Frame
    keypoints: NDArray[np.float32]


class Engine:
    """Generates clips with a family's networks.

    Args:
        model: weights loaded; moved to the device and set to evaluation here.
        fabric: device and precision of the picture path.
        batch_size: frames generated together.
    """

    def __init__(self, model: MotionModel, fabric: Fabric, batch_size: int):
        self.model = fabric.to_device(model.eval())
        self.fabric = fabric
        self.batch_size = batch_size

    def animate(
        self, source: LoadedClip, driving: LoadedClip, params: AnimateParams, *, reference: int = 0
    ) -> Iterator[Generated]:
        """Give a source face the movement of a driving clip.

        Args:
            source: its first frame is the face.
            params: the section `animate_params`.
            reference: driving frame whose expression is the source's, from 0.
        Yields:
            T frames of the source.
        Raises:
            UserError: a family or its data that cannot do what `params` ask for.
        """
        moved = self._transferred(source, driving, params, reference)
        held = self._without_head_motion(driving, params, reference) if moved is None else None
        with torch.inference_mode(), self.fabric.autocast():
            image = self._images(source, slice(0, 1))
            encoded = self.model.encode(image, self._landmarks(source, slice(0, 1)))
            motion_source = self._motion(source, slice(0, 1), image)
            motion_initial = self._motion(driving, slice(reference, reference + 1))
            follow = self._dense_transfer(source, driving, params, reference)
            for part in self._parts(len(driving)):
                if moved is None:
                    landmarks = None if held is None else self._tensor(held[part])
                    motion_driving = self._motion(driving, part, landmarks=landmarks)
                    motion = self._relative(motion_source, motion_driving, motion_initial, params)
                else:
                    motion = self._moved(image, moved[part])
                condition = self._condition(driving, part, reference)
                if follow is not None:
                    condition = replace(
                        condition, flow=self._tensor(np.stack([follow(t) for t in range(part.start, part.stop)]))
                    )
                yield from self._pictures(encoded, motion_source, motion, condition)

    def animate_landmarks(
        self, source: LoadedClip, landmarks: NDArray[np.float64], action_units: NDArray[np.float32]
    ) -> Iterator[Generated]:
        """Move a source face to given landmarks, for families whose motion comes from landmarks alone.

        Args:
            source: its first frame is the face.
            landmarks: (T, 68, 2), pixels of the source's own first frame.
            action_units: (T, 17, 2), 0 to 1; those of frame 0 are the source's.
        Yields:
            T frames of the source.
        """
        moved = source.to_units(source.cached.from_own(landmarks))
        with torch.inference_mode(), self.fabric.autocast():
            image = self._images(source, slice(0, 1))
            encoded = self.model.encode(image, self._landmarks(source, slice(0, 1)))
            motion_source = self._motion(source, slice(0, 1), image)
            for part in self._parts(len(moved)):
                condition = Condition(au_diff=self._tensor(action_units[part] - action_units[0]))
                yield from self._pictures(encoded, motion_source, self._moved(image, moved[part]), condition)

    def reconstruct(self, clip: LoadedClip) -> Iterator[Generated]:
        """Generate a clip anew from its first frame and each frame's own motion; yields T frames."""
        with torch.inference_mode(), self.fabric.autocast():
            image = self._images(clip, slice(0, 1))
            encoded = self.model.encode(image, self._landmarks(clip, slice(0, 1)))
            motion_source = self._motion(clip, slice(0, 1), image)
            for part in self._parts(len(clip)):
                condition = self._condition(clip, part, 0)
                yield from self._pictures(encoded, motion_source, self._motion(clip, part), condition)

    def _transferred(
        self, source: LoadedClip, driving: LoadedClip, params: AnimateParams, reference: int
    ) -> NDArray[np.float32] | None:
        """Landmarks of the source so moved, in network units; None where the motion is more than landmarks.

        The change is carried over in the pixels of each clip's own frames, where a circle is a circle; frames that
        were resized to another aspect ratio would bend it.
        """
        if not self.model.motion_from_landmarks or params.mode != "relative":
            return None
        assert source.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        assert driving.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        driven = driving.cached.to_own(driving.landmarks)
        if params.remove_head_motion:
            driven = remove_head_motion(driven, reference)
        scaled = params.normalization_params.adapt_movement_scale
        own = source.cached.to_own(source.landmarks[:1])[0]
        moved = transfer(own, driven, reference) if scaled else own + driven - driven[reference]
        return source.to_units(source.cached.from_own(moved))

    @staticmethod
    def _without_head_motion(driving: LoadedClip, params: AnimateParams, reference: int) -> NDArray[np.float32] | None:
        """Landmarks of the driving clip with its head held as in the reference frame, in network units, for families
        whose motion comes from landmarks and picture; None where they stay as they are."""
        if not params.remove_head_motion:
            return None
        if driving.landmarks is None or params.mode != "relative":
            raise UserError("animate_params.remove_head_motion: expected `mode: relative` and landmark keypoints")
        held = remove_head_motion(driving.cached.to_own(driving.landmarks), reference)
        return driving.to_units(driving.cached.from_own(held))

    def _dense_transfer(
        self, source: LoadedClip, driving: LoadedClip, params: AnimateParams, reference: int
    ) -> Callable[[int], NDArray[np.float32]] | None:
        """The function that gives the flow of a driving frame on the source, in network units; None without flow."""
        if params.motion != "flow":
            return None
        if not self.model.takes_flow or params.mode != "relative":
            raise UserError("animate_params.motion: flow: expected `mode: relative` and a model that takes it")
        assert source.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        assert driving.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        frames, landmarks = driving.cached.frames(), driving.landmarks
        height, width = source.cached.frames().shape[1:3]
        aspect = driving.cached.pixel_size
        dense = DenseTransfer(
            frames[reference],
            landmarks[reference],
            source.landmarks[0],
            (height, width),
            driving_aspect=aspect,
            source_aspect=source.cached.pixel_size,
        )
        half = (np.array([width, height]) - 1) / 2

        def follow(index: int) -> NDArray[np.float32]:
            head = None
            if params.remove_head_motion:
                head = fit_similarity_robust(landmarks[reference] * aspect, landmarks[index] * aspect)
            return (dense.follow(frames[index], head) / half).astype(np.float32)

        return follow

    def _relative(self, source: Motion, driving: Motion, initial: Motion, params: AnimateParams) -> Motion:
        normalization = params.normalization_params
        return self.model.relative(
            source,
            driving,
            initial,
            params.mode,
            adapt_movement_scale=normalization.adapt_movement_scale,
            use_relative_jacobian=normalization.use_relative_jacobian,
        )

    def _pictures(
        self, encoded: Any, motion_source: Motion, motion: Motion, condition: Condition
    ) -> Iterator[Generated]:
        prediction = self.model.generate(encoded, motion_source, motion, condition)["prediction"]
        frames = (prediction.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        keypoints = motion[self.model.keypoint_name].float().cpu().numpy()
        for frame, points in zip(frames, keypoints, strict=True):
            yield Generated(frame, points)

    def _motion(
        self, clip: LoadedClip, part: slice, image: Tensor | None = None, landmarks: Tensor | None = None
    ) -> Motion:
        image = self._images(clip, part) if image is None else image
        return self.model.motion(image, self._landmarks(clip, part) if landmarks is None else landmarks)

    def _landmarks(self, clip: LoadedClip, part: slice) -> Tensor | None:
        return None if clip.landmarks is None else self._tensor(clip.to_units(clip.landmarks[part]))

    def _moved(self, image: Tensor, landmarks: NDArray[np.float32]) -> Motion:
        """The motion of a source to landmarks of its own: (1, 3, H, W), (B, 68, 2) in network units."""
        return self.model.motion(image.expand(len(landmarks), -1, -1, -1), self._tensor(landmarks))

    def _condition(self, clip: LoadedClip, part: slice, reference: int) -> Condition:
        if clip.action_units is None:
            return Condition()
        return Condition(au_diff=self._tensor(clip.action_units[part] - clip.action_units[reference]))

    def _images(self, clip: LoadedClip, part: slice) -> Tensor:
        frames = torch.from_numpy(np.array(clip.cached.frames()[part]))
        return self.fabric.to_device(frames).permute(0, 3, 1, 2).float() / 255

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return self.fabric.to_device(torch.from_numpy(np.ascontiguousarray(array)))

    def _parts(self, length: int) -> Iterator[slice]:
        return (slice(i, min(i + self.batch_size, length)) for i in range(0, length, self.batch_size))
