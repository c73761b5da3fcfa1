"""The frame of a driving clip from which its motion is counted."""

import logging

from clips.loader import LoadedClip
from faces.neutral import more_neutral_frame

log = logging.getLogger("animate")


def choose_reference(clip: LoadedClip, given: int | None) -> int:
    """Return the reference frame of a clip, from 0.

    Args:
        clip: the driving clip.
        given: frame that the user named; a line says if another is clearly more neutral. None takes the first frame, or
            the most neutral one if the first clearly is not neutral; without landmarks, the first.
    """
    reference = given or 0
    better = None if clip.landmarks is None else more_neutral_frame(clip.landmarks, reference)
    if better is None:
        return reference
    problem = f"{clip.clip.path}: frame {reference} is not neutral (mouth open or eyes closed)"
    if given is not None:
        log.warning("%s, frame %d is; without --reference-frame, it is taken", problem, better)
        return reference
    log.warning(
        "%s; frame %d, the most neutral one, is the reference frame (--reference-frame %d keeps the first)",
        *(problem, better, reference),
    )
    return better
