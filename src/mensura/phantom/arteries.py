"""The large arteries of the head: carotids, vertebrals, basilar, circle of Willis and what leaves it."""

from __future__ import annotations

import numpy as np

from mensura.phantom.anatomy import Head
from mensura.phantom.labels import BRAIN, Label
from mensura.phantom.shapes import Triple
from mensura.phantom.tubes import Path, Vessel, rounded, tapered, undisplaced

OVER = BRAIN | {Label.MUSCLE, Label.FAT, Label.BONE, Label.MARROW}
"""What an artery is drawn over: on its way it passes through the base of the skull, but no air."""
Course = tuple[tuple[Triple, ...], float, float]
"""Points of a centreline (mm), radius at its beginning and at its end (mm)."""
PAIRED: dict[str, Course] = {
    "internal carotid": (
        (
            *((27, 0, -150), (27, -4, -100), (28, -12, -76), (27, -13, -60)),
            *((20, -6, -50), (15, -1, -44), (16, 2, -36), (17, 11, -35), (15, 14, -29), (12, 8, -25)),
            (12.5, 5, -22.5),
        ),
        2.5,
        1.9,
    ),
    "middle cerebral": (
        (
            *((12.5, 5, -22.5), (20, 6, -21.5), (28, 5, -19), (35, 2, -14), (38, -2, -8)),
            *((39, -9, -3), (39.5, -18, 1), (40, -27, 5), (43, -35, 9)),
        ),
        1.4,
        0.8,
    ),
    "anterior cerebral": (
        (
            *((12.5, 5, -22.5), (8, 9, -22), (3, 14, -21), (1.3, 20, -17), (1.1, 29, -10)),
            *((1.0, 36, -1), (1.0, 38, 9), (1.0, 34, 19), (1.0, 22, 27), (1.0, 6, 31), (1.0, -14, 31)),
        ),
        1.15,
        0.7,
    ),
    "posterior cerebral": (
        (
            *((0.5, -8.5, -20), (7, -7.5, -20), (13, -11, -18.5), (17, -18, -16.5), (18, -26, -13)),
            *((16.5, -34, -9), (14, -43, -4), (12, -56, 0)),
        ),
        1.15,
        0.7,
    ),
    "posterior communicating": (((12.5, 4, -23), (11.5, -2, -22), (10, -9, -19.5)), 0.6, 0.6),
    "vertebral": (
        ((15, -24, -150), (16, -27, -100), (15, -38, -78), (8, -37, -65), (4, -31, -55), (0.4, -24, -47)),
        1.6,
        1.5,
    ),
}
"""Courses on the right; the left ones mirror them."""
SINGLE: dict[str, Course] = {
    "basilar": (((0, -24, -47), (0, -18, -40), (0, -12.5, -31), (0, -9.8, -25), (0, -8.5, -20)), 1.6, 1.5),
    "anterior communicating": (((-3, 14, -21), (0, 14.6, -21), (3, 14, -21)), 0.7, 0.7),
}


def draw_arteries(head: Head) -> list[Vessel]:
    """Draws the large arteries of one head, in the coordinates of the scanner (the head's warp applied)."""
    left = np.array([-1, 1, 1], np.float32)
    drawn = []
    for course in PAIRED.values():
        for side in (1, left):
            drawn += _drawn(rounded(course[0]) * np.float32(side), course, head)
    for course in SINGLE.values():
        drawn += _drawn(rounded(course[0]), course, head)
    return drawn


def _drawn(path: Path, course: Course, head: Head) -> list[Vessel]:
    whole = Vessel(undisplaced(path, head), course[1], Label.ARTERY, OVER)
    return tapered(whole, course[2], 4 if course[1] != course[2] else 1)
