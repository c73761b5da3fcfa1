"""Inference engine: generates the frames of a source face that moves as a driving clip does.

The source is encoded once, driving frames go through the networks in batches, and frames are yielded as they are
generated, so that memory does not grow with the length of the clip.

Legend: T frames, B batch, H x W image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clips.loader import LoadedClip
from clips.reading import Frame
from config.sections import AnimateParams
from core.inference import InferenceDevice
from errors import UserError
from faces.alignment import remove_head_motion
from generation.adaptive_decoder import AdaptiveDecoder, decode_adaptively
from generation.changes import Change, Rest, changes_since, rest_of
from generation.limits import check_generated
from modules.geometry import transfer_motion
from modules.model import Condition, Motion, MotionModel


@dataclass(frozen=True)
class Generated:
    """One generated frame.

    Attributes:
        frame: uint8 (H, W, 3).
        keypoints: (N, 2) of the applied motion, xy in [-1, 1].
        change: since the source at rest, where asked for.
    """

    frame: Frame
    keypoints: NDArray[np.float32]
    change: Change | None = None


class EncodedSource(NamedTuple):
    """Everything that depends on the source only.

    Attributes:
        image: (1, 3, H, W) in [0, 1].
        encoded: from `MotionModel.encode`.
        motion: from `MotionModel.motion`.
        rest: the source generated without motion, where changes are asked for.
    """

    image: Tensor
    encoded: Any
    motion: Motion
    rest: Rest | None = None


class Engine:
    """Generates clips with a family's networks.

    Args:
        model: weights loaded; moved to the device and set to evaluation here.
        device: device, and precision of the image path.
        batch_size: frames generated together.
        fast_error: see `AnimateParams`; 0 computes every frame as training does.
    """

    def __init__(self, model: MotionModel, device: InferenceDevice, batch_size: int, *, fast_error: float = 0.0):
        self.model = model.eval()
        device.to_device(self.model)
        self.device = device
        self.batch_size = batch_size
        self._adaptive: AdaptiveDecoder | None = None
        if fast_error and device.device.type == "cpu" and device.precision == "32":
            self._adaptive = decode_adaptively(model, fast_error)

    def animate(
        self,
        source: LoadedClip,
        driving: LoadedClip,
        params: AnimateParams,
        *,
        reference: int = 0,
        changes: bool = False,
    ) -> Iterator[Generated]:
        """Animate a source face with the movement of a driving clip.

        Args:
            source: clip whose first frame is the source face.
            driving: clip of T frames.
            params: the config section `animate_params`.
            reference: driving frame, from 0, with the same expression as the source.
            changes: return the change of every frame since the source at rest, too.
        Yields:
            T frames of the source.
        Raises:
            UserError: the family or its data do not support what `params` ask for.
            ClipError: a value that is not finite was generated.
        """
        transferred = self._transferred_landmarks(source, driving, params, reference)
        steadied = None if transferred is not None else self._steadied_landmarks(driving, params, reference)
        flow_of_frame = self._dense_transfer(source, driving, params, reference)
        still = self._removes_head_motion(driving, params)
        with torch.inference_mode(), self.device.autocast():
            face = self._encode(source)
            first = slice(reference, reference + 1)
            initial = self._motion(driving, first)
            if changes:
                rest = face.motion
                if params.mode == "relative" and transferred is None:
                    rest = self.model.relative(rest, initial, initial, params.mode, params.normalization_params)
                condition = self._condition(driving, first, reference)
                face = self._with_rest(face, rest, condition, takes_flow=flow_of_frame is not None)
            for part in self._parts(len(driving)):
                if transferred is not None:
                    motion = self._motion_to_landmarks(face.image, transferred[part])
                else:
                    landmarks = None if steadied is None else self._tensor(steadied[part])
                    moved = self._motion(driving, part, landmarks)
                    motion = self.model.relative(face.motion, moved, initial, params.mode, params.normalization_params)
                condition = replace(self._condition(driving, part, reference), head_is_still=still)
                if flow_of_frame is not None:
                    flow = np.stack([flow_of_frame(t) for t in range(part.start, part.stop)])
                    condition = replace(condition, flow=self._tensor(flow))
                yield from self._generate(face, motion, condition, f"{source.name} driven by {driving.name}", part)

    def animate_landmarks(
        self,
        source: LoadedClip,
        landmarks: NDArray[np.float64],
        action_units: NDArray[np.float32],
        *,
        changes: bool = False,
    ) -> Iterator[Generated]:
        """Move a source face to given landmarks, for families whose motion comes from landmarks only.

        Args:
            source: clip whose first frame is the source face.
            landmarks: (T, 68, 2), pixels of the source's own first frame.
            action_units: (T, 17, 2) in [0, 1]; those of frame 0 are the source's.
            changes: return the change of every frame since the source at rest, too.
        Yields:
            T frames of the source.
        Raises:
            ClipError: a value that is not finite was generated.
        """
        moved = source.to_units(source.cached.from_own(landmarks))
        with torch.inference_mode(), self.device.autocast():
            face = self._encode(source)
            if changes:
                condition = Condition(au_diff=self._tensor(action_units[:1] * 0))
                face = self._with_rest(face, face.motion, condition, takes_flow=False)
            for part in self._parts(len(moved)):
                condition = Condition(au_diff=self._tensor(action_units[part] - action_units[0]))
                motion = self._motion_to_landmarks(face.image, moved[part])
                yield from self._generate(face, motion, condition, source.name, part)

    def reconstruct(self, clip: LoadedClip) -> Iterator[Generated]:
        """Generate a clip from its first frame and the motion of each frame; yields T frames.

        Raises:
            ClipError: a value that is not finite was generated.
        """
        with torch.inference_mode(), self.device.autocast():
            face = self._encode(clip)
            for part in self._parts(len(clip)):
                motion, condition = self._motion(clip, part), self._condition(clip, part, 0)
                yield from self._generate(face, motion, condition, clip.name, part)

    # --- landmarks and flow of the driving clip ----------------------------------------------------------------------

    def _transferred_landmarks(
        self, source: LoadedClip, driving: LoadedClip, params: AnimateParams, reference: int
    ) -> NDArray[np.float32] | None:
        """Landmarks of the source with the driving movement, in network units; None if motion also needs the image.

        Movement is transferred in the pixels of each clip's own frames, because resizing to another aspect ratio would
        distort it.
        """
        if not self.model.motion_from_landmarks or params.mode != "relative":
            return None
        assert source.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        assert driving.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        driven = driving.cached.to_own(driving.landmarks)
        if self._removes_head_motion(driving, params):
            driven = remove_head_motion(driven, reference)
        shapes = source.cached.to_own(source.landmarks[:1]), driven, driven[reference : reference + 1]
        scaling = params.normalization_params.scaling
        moved = transfer_motion(*(torch.from_numpy(np.float64(shape)) for shape in shapes), scaling=scaling)
        return source.to_units(source.cached.from_own(moved.numpy()))

    @staticmethod
    def _removes_head_motion(driving: LoadedClip, params: AnimateParams) -> bool:
        """The setting `remove_head_motion`, or what `auto` takes."""
        if params.remove_head_motion == "auto":
            return driving.landmarks is not None and params.mode == "relative"
        return params.remove_head_motion

    def _steadied_landmarks(
        self, driving: LoadedClip, params: AnimateParams, reference: int
    ) -> NDArray[np.float32] | None:
        """Landmarks of the driving clip without head motion, in network units; None if head motion is not removed.

        For families whose motion comes from landmarks and image.
        """
        if not self._removes_head_motion(driving, params):
            return None
        if driving.landmarks is None or params.mode != "relative":
            raise UserError("animate_params.remove_head_motion: expected `mode: relative` and landmark keypoints")
        steadied = remove_head_motion(driving.cached.to_own(driving.landmarks), reference)
        return driving.to_units(driving.cached.from_own(steadied))

    def _dense_transfer(
        self, source: LoadedClip, driving: LoadedClip, params: AnimateParams, reference: int
    ) -> Callable[[int], NDArray[np.float32]] | None:
        """Function from a driving frame's number to its flow on the source, in network units; None without flow."""
        if params.motion != "flow":
            return None
        from faces.clip_motion import ClipMotion
        from faces.dense_transfer import DenseTransfer  # SciPy takes long to load

        if not self.model.takes_flow or params.mode != "relative":
            raise UserError("animate_params.motion: flow: expected `mode: relative` and a model that takes it")
        assert source.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        assert driving.landmarks is not None, "clips of a family that needs landmarks are loaded with them"
        height, width = source.cached.frames().shape[1:3]
        motion = ClipMotion(
            lambda index: np.array(driving.cached.frames()[index]),
            driving.landmarks,
            reference,
            aspect=driving.cached.pixel_size,
        )
        dense = DenseTransfer(motion, source.landmarks[0], (height, width), source_aspect=source.cached.pixel_size)
        half = (np.array([width, height]) - 1) / 2
        keep_head = not self._removes_head_motion(driving, params)

        def flow_of_frame(index: int) -> NDArray[np.float32]:
            return (dense.displacement(index, keep_head=keep_head) / half).astype(np.float32)

        return flow_of_frame

    # --- networks ----------------------------------------------------------------------------------------------------

    def _encode(self, source: LoadedClip) -> EncodedSource:
        """Encode the first frame of a clip."""
        if self._adaptive is not None:
            self._adaptive.start_clip()
        first = slice(0, 1)
        image, landmarks = self._images(source, first), self._landmarks(source, first)
        return EncodedSource(image, self.model.encode(image, landmarks), self.model.motion(image, landmarks))

    def _with_rest(
        self, face: EncodedSource, motion: Motion, condition: Condition, *, takes_flow: bool
    ) -> EncodedSource:
        """The source together with what is generated for it at rest; motion and condition are those of rest."""
        if takes_flow:
            height, width = face.image.shape[2:]
            condition = replace(condition, flow=face.image.new_zeros(1, height, width, 2))
        return face._replace(rest=rest_of(self.model.generate(face.encoded, face.motion, motion, condition)))

    def _generate(
        self, face: EncodedSource, motion: Motion, condition: Condition, clip: str, part: slice
    ) -> Iterator[Generated]:
        """Generate a batch and yield its frames; `clip` and `part` name them in messages."""
        generated = self.model.generate(face.encoded, face.motion, motion, condition)
        prediction = generated["prediction"].float()
        points = motion[self.model.keypoint_name].float()
        check_generated(self.model, prediction, points, clip, part.start)
        frames = (prediction.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        changes = [None] * len(frames) if face.rest is None else changes_since(face.rest, generated)
        for image, keypoints, change in zip(frames, points.cpu().numpy(), changes, strict=True):
            yield Generated(image, keypoints, change)

    def _motion(self, clip: LoadedClip, part: slice, landmarks: Tensor | None = None) -> Motion:
        """Motion of some frames of a clip, with its own landmarks if none are given."""
        return self.model.motion(
            self._images(clip, part), self._landmarks(clip, part) if landmarks is None else landmarks
        )

    def _motion_to_landmarks(self, image: Tensor, landmarks: NDArray[np.float32]) -> Motion:
        """Motion of a source image (1, 3, H, W) to other landmarks of its own, (B, 68, 2) in network units."""
        return self.model.motion(image.expand(len(landmarks), -1, -1, -1), self._tensor(landmarks))

    # --- tensors -----------------------------------------------------------------------------------------------------

    def _condition(self, clip: LoadedClip, part: slice, reference: int) -> Condition:
        if clip.action_units is None:
            return Condition()
        return Condition(au_diff=self._tensor(clip.action_units[part] - clip.action_units[reference]))

    def _images(self, clip: LoadedClip, part: slice) -> Tensor:
        # The memory map is opened anew each time: one that stays open keeps every page that was read in memory.
        frames = torch.from_numpy(np.array(clip.cached.frames()[part]))
        return self.device.to_device(frames).permute(0, 3, 1, 2).float() / 255

    def _landmarks(self, clip: LoadedClip, part: slice) -> Tensor | None:
        return None if clip.landmarks is None else self._tensor(clip.to_units(clip.landmarks[part]))

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return self.device.to_device(torch.from_numpy(np.ascontiguousarray(array)))

    def _parts(self, length: int) -> Iterator[slice]:
        """Slices of at most `batch_size` frames."""
        return (slice(i, min(i + self.batch_size, length)) for i in range(0, length, self.batch_size))
