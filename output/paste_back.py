"""Puts a generated face back into the photo that it was cropped from, at the photo's own resolution.

The photo itself is moved: a motion that was estimated on the small frame of a model is enlarged, which smooth motion
survives, whereas an enlarged frame would be blurred. Motion and other changes fade to zero towards the border of the
crop, so that there is no seam and no double contour; outside it, pixels are those of the photo.

Legend: H x W photo, S side of the crop in the photo, h x w frame of the model.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.crop import Crop
from clips.reading import Frame

FEATHER = 0.06
"""Width of the border in which the change fades, as a fraction of the side of the crop: `prepare` leaves 0.14 above the
brows and 0.19 beside the face."""
REACH = 0.25
"""Largest displacement that is followed beyond the crop, as a fraction of its side."""
UNSEEN = 0.5  # grey levels; smaller changes are lost when pixels are rounded


class PhotoFace:
    """A face of a photo.

    Args:
        photo: uint8 (H, W, 3).
        crop: the square around the face, not rotated; it may exceed the photo.
    """

    def __init__(self, photo: Frame, crop: Crop):
        if crop.angle:
            raise ValueError("expected a crop without rotation")
        self._photo = photo
        self._side = crop.side
        (left, top), side = crop.corner, crop.side
        height, width = photo.shape[:2]
        self._columns, self._rows = (
            slice(max(left, 0), min(left + side, width)),
            slice(max(top, 0), min(top + side, height)),
        )
        across = _fade(side, begins_inside=left > 0, ends_inside=left + side < width)
        down = _fade(side, begins_inside=top > 0, ends_inside=top + side < height)
        self._in_crop = (
            slice(self._rows.start - top, self._rows.stop - top),
            slice(self._columns.start - left, self._columns.stop - left),
        )
        self.mask = np.outer(down[self._in_crop[0]], across[self._in_crop[1]])
        """Strength of the change in `region`, in [0, 1]."""

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of the photo that can change."""
        return self._rows, self._columns

    def paste(self, displacement: NDArray[np.float32], residual: NDArray[np.float32]) -> Frame:
        """Return the photo with a changed face.

        Args:
            displacement: (h, w, 2), xy, pixels of the frame, from each pixel to the place in the source that it shows.
            residual: (h, w, 3), grey levels to add.
        Returns:
            uint8 (H, W, 3).
        """
        scale = (self._side / np.array(displacement.shape[1::-1])).astype(np.float32)
        face = self._moved_photo(self._in_photo(displacement) * (scale * self.mask[..., None]))
        if np.abs(residual).max() >= UNSEEN:
            face = np.clip(np.rint(face + self._in_photo(residual) * self.mask[..., None]), 0, 255).astype(np.uint8)
        result = self._photo.copy()
        result[self.region] = face
        return result

    def _in_photo(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (or shrink) values (h, w, C) to the resolution of the photo, and keep the part inside it."""
        method = cv2.INTER_CUBIC if self._side >= values.shape[0] else cv2.INTER_AREA
        enlarged = cv2.resize(values, (self._side, self._side), interpolation=method)
        return np.asarray(enlarged[self._in_crop], np.float32)

    def _moved_photo(self, moved: NDArray[np.float32]) -> Frame:
        """The region of the photo after displacements (rows, columns, 2) in pixels of the photo."""
        margin = round(REACH * self._side)
        top, left = (max(part.start - margin, 0) for part in self.region)
        bottom, right = (part.stop + margin for part in self.region)
        y, x = np.mgrid[self._rows, self._columns].astype(np.float32)
        around = self._photo[top:bottom, left:right]
        places = x + moved[..., 0] - np.float32(left), y + moved[..., 1] - np.float32(top)
        return np.asarray(
            cv2.remap(around, *places, interpolation=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )


def _fade(side: int, *, begins_inside: bool, ends_inside: bool) -> NDArray[np.float32]:
    """Strength along one side of the crop, (S,): 1, but falling smoothly to 0 at the ends that lie inside the photo."""
    place = (np.arange(side) + 0.5) / (side * FEATHER)
    ends = [values for values, inside in ((place, begins_inside), (place[::-1], ends_inside)) if inside]
    strength = np.ones(side)
    for distance in ends:
        t = np.minimum(distance, 1)
        strength = strength * t * t * (3 - 2 * t)
    return strength.astype(np.float32)
