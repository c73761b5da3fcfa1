"""Choice of one face in tables with several rows per frame."""

from collections import Counter
from collections.abc import Hashable, Sequence

LARGEST_FRAME_NUMBER = 10**9
"""Largest plausible number of a frame in a table, about two months at 200 frames per second."""


def choose_face(
    frames: Sequence[Hashable], faces: Sequence[str], usable: Sequence[bool], column: str
) -> tuple[list[int], str | None]:
    """Choose the face with the most usable rows, and among equals the one with the smallest number.

    Args:
        frames: frame of each row.
        faces: face of each row, such as OpenFace's `face_id`; empty where there is none.
        usable: True for rows in which the face was found.
        column: name of the column of faces, for the remark.
    Returns:
        Indices of the rows to use, all of them unless a frame has several, and a remark on what was left out.
    """
    everything = list(range(len(faces)))
    if len(set(frames)) == len(frames) or len(set(faces)) < 2:
        return everything, None
    rows = Counter(face for face, found in zip(faces, usable, strict=True) if found)
    chosen = min(set(faces), key=lambda face: (-rows[face], len(face), face))
    others = sum(face != chosen for face in faces)
    remark = f"several faces: {column} {chosen} used, which has the most rows; {others} rows of other faces left out"
    return [i for i in everything if faces[i] == chosen], remark
