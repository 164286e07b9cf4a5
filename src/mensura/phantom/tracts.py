"""Where the tracts of the white matter run, drawn: callosal, corticospinal, cerebellar and long ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mensura.phantom.anatomy import Head
from mensura.phantom.labels import Label
from mensura.phantom.shapes import Array, Points, Triple, mirrored
from mensura.scan import BoolArray

WHITE = (Label.WHITE_MATTER, Label.CORPUS_CALLOSUM, Label.CEREBELLAR_WHITE, Label.BRAINSTEM)
"""Labels that tracts run through."""
CORTICOSPINAL: tuple[Triple, ...] = (
    *((32, -22, 62), (27, -20, 38), (24, -16, 18), (20, -13, 4), (14, -15, -10), (7, -18, -24)),
    *((5, -22, -36), (3, -32, -52), (2, -44, -72), (2, -46, -220)),
)
REACH = 5.0
"""Radius (mm) of the corticospinal tract; above the internal capsule it opens into the corona radiata."""
CAPSULE: Triple = (22.0, -14.0, 6.0)
DEPTH = 14.0
"""Nearer to the hull than this (mm), fibres run straight to the cortex; deeper, from front to back."""
DENTATE: Triple = (15.0, -57.0, -35.0)


def tract_directions(points: Points, head: Head) -> Points:
    """Points of the drawn head (mm) → unit vectors along the tract that would run there.

    Left to right and arching up, forwards and backwards in the corpus callosum; up and down along the
    corticospinal tract, fanning out in the corona radiata; out of the dentate nuclei in the cerebellum; elsewhere
    from front to back along the hull where it is deep, and straight to the cortex where it is not. The sign
    of a direction has no meaning.
    """
    side, sign = mirrored(points), np.where(points[0] < 0, np.float32(-1), np.float32(1))
    outward = _gradient(points, head)
    depth: Array = -head.surface(points)
    chosen = _long(outward)
    _take(chosen, outward, depth < DEPTH)
    _take(chosen, _signed(_away(side, CAPSULE), sign), _crown(side) & (depth >= DEPTH))
    along, distance = _corticospinal(side)
    _take(
        chosen,
        _signed(along, sign),
        (distance < REACH) | ((np.abs(side[1] + 25) < 25) & (side[2] < -14) & (side[0] < 14)),
    )
    _take(chosen, _signed(_away(side, DENTATE), sign), (points[2] < -15) & (points[1] < -48))
    _take(chosen, _callosal(points), _near_callosum(points))
    return _unit(chosen[0], chosen[1], chosen[2])


def _gradient(points: Points, head: Head, step: float = 2.0) -> Points:
    """Direction in which the hull is nearest."""
    x, y, z = points
    h = np.float32(step)
    return _unit(
        head.surface((x + h, y, z)) - head.surface((x - h, y, z)),
        head.surface((x, y + h, z)) - head.surface((x, y - h, z)),
        head.surface((x, y, z + h)) - head.surface((x, y, z - h)),
    )


def _long(outward: Points) -> list[Array]:
    """Front to back, along the hull."""
    x, y, z = outward
    return list(_unit(-y * x, 1 - y * y + np.float32(1e-3), -y * z))


def _away(points: Points, centre: Triple) -> Points:
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    return _unit(x, y, z)


def _crown(side: Points) -> BoolArray:
    """Where the corona radiata is."""
    x, y, z = (p - np.float32(c) for p, c in zip(side, CAPSULE, strict=True))
    return np.asarray((z > 6) & (np.abs(x) < 4 + 0.35 * z) & (np.abs(y) < 8 + 0.9 * z))


def _corticospinal(side: Points) -> tuple[Points, Array]:
    """Direction of the nearest piece of the tract, and the distance from it (mm)."""
    direction = [np.zeros_like(side[0]) for _ in range(3)]
    nearest = np.full(side[0].shape, np.inf, np.float32)
    for start, end in pairwise(CORTICOSPINAL):
        piece = np.subtract(end, start, dtype=np.float32)
        rest = [p - np.float32(s) for p, s in zip(side, start, strict=True)]
        share = np.clip(sum(r * c for r, c in zip(rest, piece, strict=True)) / np.dot(piece, piece), 0, 1)
        distance = np.sqrt(sum((r - share * c) ** 2 for r, c in zip(rest, piece, strict=True)))
        closer = distance < nearest
        nearest[closer] = distance[closer]
        for component, c in zip(direction, piece / np.linalg.norm(piece), strict=True):
            component[closer] = c
    return (direction[0], direction[1], direction[2]), nearest


def _near_callosum(points: Points) -> BoolArray:
    x, y, z = points
    arch = np.sqrt(((y + 6) / 40) ** 2 + ((z - 2) / 24) ** 2)
    return np.asarray((np.abs(x) < 22) & (arch > 0.75) & (arch < 1.4) & (z > -6))


def _callosal(points: Points) -> Points:
    """Left to right; away from the midline forwards in the genu, backwards in the splenium, upwards between."""
    x, y, _ = points
    bend = np.clip(x / np.float32(16), -1.5, 1.5).astype(np.float32)
    ahead = (np.clip((y + 6) / np.float32(34), -1, 1) ** 3).astype(np.float32)
    return _unit(np.ones_like(x), bend * ahead, bend * (1 - np.abs(ahead)))


def _signed(direction: Points, sign: Array) -> Points:
    """A direction on the right side → on the side of the points."""
    return direction[0] * sign, direction[1], direction[2]


def _take(chosen: list[Array], direction: Points, where: BoolArray) -> None:
    for component, other in zip(chosen, direction, strict=True):
        component[where] = other[where]


def _unit(x: Array, y: Array, z: Array) -> Points:
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-9)
    return x / length, y / length, z / length
