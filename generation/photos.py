"""Whole photos and videos: the face to use, the square around it, and its return into the photo."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clips.crop import Crop, place_crop
from clips.detectors import FaceDetector
from clips.files import find_landmarks
from clips.loader import WHOLE_FRAME, ClipLoader, FaceView, LoadedClip
from clips.reading import Clip, ClipError, Frame, read_frames
from config.options import RunOptions
from config.preparation import PrepareCropParams
from errors import UserError
from faces.landmarks import read_landmarks
from generation.engine import Generated
from output.paste_back import PhotoFace

CropMode = Literal["auto", "face", "none"]
SAME_PROPORTIONS = 0.02
LEAST_FACE = 0.3  # relative to the largest; smaller ones are looked for only if `--face` asks for more faces
FACE_CROP = 0.9
"""Side of the square that `prepare` would cut out, as a fraction of the frame's, from which a frame is a face crop."""

log = logging.getLogger("animate")


@dataclass(frozen=True)
class Photo:
    """A photo with the face that is animated.

    Attributes:
        face: the face, in the model's frames.
        whole: the photo, uint8 (H, W, 3); None if its whole frame is animated.
        crop: the part of the photo that is animated; None if it is the whole.
    """

    face: LoadedClip
    whole: Frame | None = None
    crop: Crop | None = None

    @property
    def is_cropped(self) -> bool:
        """True if generated frames, with their changes, have to be put back into the photo."""
        return self.crop is not None

    def paste_back(self, generated: Iterable[Generated]) -> Iterator[Generated]:
        """Yield the generated frames in the photo; as they are if its whole frame is animated."""
        if self.whole is None or self.crop is None:
            yield from generated
            return
        pasted = PhotoFace(self.whole, self.crop)
        for one in generated:
            assert one.change is not None, "generated with changes"
            yield replace(one, frame=pasted.paste(one.change.displacement, one.change.residual), change=None)


class FaceFinder:
    """Loads photos and driving clips: decides which face is used, and which part of the frames.

    Args:
        loader: of the clips.
        device: name of a torch device, for a landmark detector.
        crop: `none` uses whole frames. `face` cuts out the square that `prepare` would. `auto` does so unless the
            frames have the model's proportions and are not larger than its frames, or show little more than the face.
        needs_landmarks: True if a clip without a face cannot be used.
    """

    def __init__(self, loader: ClipLoader, device: str, crop: CropMode, *, needs_landmarks: bool):
        self._loader = loader
        known = loader.detector
        self._detector = known if isinstance(known, FaceDetector) else FaceDetector(loader.params, device)
        self._params = loader.params
        self._crop = crop
        self._needs_landmarks = needs_landmarks or crop == "face"

    def load_photo(self, clip: Clip, landmark_file: Path | None, face: int | None) -> Photo:
        """Load a source, whose first frame is the photo.

        Args:
            clip: the source.
            landmark_file: landmarks of the face; None detects them.
            face: number of the face, from 1 for the largest; None takes the largest.
        Raises:
            UserError: there is no face, or not so many.
        """
        if face is not None and landmark_file is not None:
            raise UserError("--face and --source-landmarks: expected one of them, got both")
        view = self._view(clip, landmark_file, face=face)
        loaded = self._loader.load(clip, landmark_file=landmark_file, action_units=False, view=view)
        if view.crop is None:
            return Photo(loaded)
        return Photo(loaded, next(read_frames(clip, self._params.frame_shape)), view.crop)

    def load_driving(self, options: RunOptions, clip: Clip) -> LoadedClip:
        """Load the driving clip of the command line.

        Raises:
            UserError: the clip, its landmarks or action units cannot be used.
        """
        reference = options.reference_frame or 0
        return self._loader.load(
            clip,
            landmark_file=options.driving_landmarks,
            action_unit_file=options.driving_au,
            reference=reference,
            view=self._view(clip, options.driving_landmarks, reference=reference),
        )

    def _view(self, clip: Clip, landmark_file: Path | None, *, face: int | None = None, reference: int = 0) -> FaceView:
        """Return the face, of frame `reference`, and the part of the frames to use."""
        if self._crop == "none" and face is None:
            return WHOLE_FRAME
        frame = next(islice(read_frames(clip, self._params.frame_shape), max(reference, 0), None), None)
        if frame is None or (face is None and self._crop == "auto" and self._is_small(frame)):
            return WHOLE_FRAME
        given = self._given_landmarks(clip, landmark_file, reference)
        landmarks = self._detected(clip, frame, face, reference) if given is None else given
        if landmarks is None:
            return WHOLE_FRAME
        found = landmarks if given is None else None
        if self._crop == "none":
            return FaceView(found)
        try:
            crop = place_crop(landmarks, frame.shape[:2], PrepareCropParams())
        except ValueError as error:
            raise ClipError(f"{clip.path}: {error}") from error
        if self._crop == "auto" and self._has_proportions(frame) and crop.side >= FACE_CROP * max(frame.shape[:2]):
            return WHOLE_FRAME if face is None else FaceView(found)
        return FaceView(found, replace(crop, size=crop.side))

    def _has_proportions(self, frame: Frame) -> bool:
        """True if a frame has the proportions of the model's frames."""
        if (shape := self._params.frame_shape) is None:
            return True
        return abs(frame.shape[1] * shape[0] / (frame.shape[0] * shape[1]) - 1) <= SAME_PROPORTIONS

    def _is_small(self, frame: Frame) -> bool:
        """True if a frame has the model's proportions and is not larger than its frames; if these have no size, too."""
        shape = self._params.frame_shape
        return shape is None or (self._has_proportions(frame) and frame.shape[0] <= shape[0])

    def _given_landmarks(self, clip: Clip, path: Path | None, reference: int) -> NDArray[np.float64] | None:
        if path is None and self._params.keypoint_dir is not None:
            try:
                path = find_landmarks(self._params.keypoint_dir, clip.name, "")
            except FileNotFoundError:
                return None
        if path is None:
            return None
        rows = read_landmarks(path)
        return rows[min(reference, len(rows) - 1)]

    def _faces(self, clip: Clip, frame: Frame, *, least: float) -> list[NDArray[np.float64]]:
        """Landmarks of the faces in a frame, the largest first."""
        try:
            return self._detector.all_faces(frame, least=least)
        except (RuntimeError, FileNotFoundError, ValueError) as error:
            raise ClipError(f"{clip.path}: {error}") from error

    def _detected(self, clip: Clip, frame: Frame, face: int | None, reference: int) -> NDArray[np.float64] | None:
        """Landmarks of the chosen face; None if there is none, and none is needed."""
        faces = self._faces(clip, frame, least=LEAST_FACE)
        if face is not None and face > len(faces):
            faces = self._faces(clip, frame, least=0.0)
        if not faces and face is None and not self._needs_landmarks:
            log.info("%s: no face was found; whole frames are used", clip.path)
            return None
        if not faces:
            height, width = frame.shape[:2]
            raise ClipError(
                f"{clip.path}: frame {reference}: no face was found in the {width} x {height} image; give landmarks in "
                "a file, or another frame or image"
            )
        if face is not None and not 1 <= face <= len(faces):
            raise UserError(f"--face: expected 1 to {len(faces)}, the faces of {clip.path}, got {face}")
        if len(faces) > 1:
            places = ", ".join(f"{i} at {_place(points)}" for i, points in enumerate(faces, 1))
            log.info(
                "%s: %d faces: %s; used: %d (--face chooses the source's)", clip.path, len(faces), places, face or 1
            )
        return faces[(face or 1) - 1]


def _place(landmarks: NDArray[np.float64]) -> str:
    """Middle and size of a face, pixels."""
    x, y = landmarks.mean(axis=0)
    return f"({x:.0f}, {y:.0f}) of {np.ptp(landmarks, axis=0).max():.0f} px"
