"""Groups of facial landmarks, one per spline: ten groups of five, iBUG order, 0 to 67.

Landmark noise of half a pixel moves the worst pixel of a 256 x 256 image by 2.4 px in the median with the groups
`SPREAD`, by 12 px with `MEGC2022`, whose neighbouring points lie nearly on a line.
"""

Groups = tuple[tuple[int, int, int, int, int], ...]

# Found by `python -m benchmarks.landmark_groups --find`; drawn in sup-mat/landmark_groups.png.
SPREAD: Groups = (
    (0, 23, 30, 40, 58),
    (4, 18, 35, 43, 51),
    (8, 17, 24, 33, 66),
    (12, 39, 45, 57, 67),
    (16, 19, 22, 27, 61),
    (20, 31, 46, 50, 55),
    (21, 25, 41, 42, 65),
    (26, 38, 49, 53, 63),
    (36, 44, 54, 56, 59),
    (37, 47, 48, 52, 62),
)

# MEGC2022-Generation takes 50 landmarks in the order of their numbers, five neighbours per spline.
_MEGC2022_ORDER = (1, 2, 5, 8, 9, 10, 13, 16, 17, *range(18, 29), *range(31, 61))
MEGC2022: Groups = tuple(_MEGC2022_ORDER[i : i + 5] for i in range(0, 50, 5))

LANDMARK_GROUPS: dict[str, Groups] = {"spread": SPREAD, "megc2022": MEGC2022}
