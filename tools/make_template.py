"""Makes the packaged head template: `python tools/make_template.py NILEARN_WHEEL`.

Reads the ICBM152 2009a symmetric maps (T1, grey matter, white matter; 10.1016/j.neuroimage.2010.07.033) out of a
nilearn wheel (`pip download nilearn --no-deps`) and writes src/mensura/phantom/data/icbm152.npz.

The maps are averages of 152 brains, so most of their sulci are valleys of grey. They are made crisp again as CRUISE
does (10.1016/j.neuroimage.2004.06.043): fronts start from the white matter, slowed where the maps have a valley;
where two of them meet is a sulcus. What lies nearer than 2 mm to the surface so cut is cortex, what lies deeper
than 4 mm is white matter, between them the white-matter map decides. These labels, at 0.5 mm, are then written as
smooth fields at 1 mm whose trilinear interpolation has their signs.
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from mensura.phantom.shapes import Points, ellipsoid, mirrored, tube, union
from mensura.phantom.tissues import Label

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

MEMBER = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
OUT = Path(__file__).resolve().parents[1] / "src/mensura/phantom/data/icbm152.npz"
ORIGIN = (-98, -134, -72)
"""Coordinates of the maps' first voxel, mm; their voxels are 1 mm."""
MARGIN = 6  # even
"""The maps are their own mirror images: the right half is stored, and this much of the left carried along."""
LOW, HIGH = np.array((-MARGIN, -112, -72)), np.array((79, 81, 90))
"""First voxel and the one after the last, mm."""
STEP = 0.5
VALLEY, EVIDENCE, MEETING = 0.8, 0.1, 0.82
"""Width (mm) of the valleys looked for; what counts as one; slope of the arrival time below which fronts meet."""
DARK = 0.28
"""T1 of pure CSF; 0.2 more is half tissue, whatever the tissue maps say."""
THICKNESS, FOLIA = (2.0, 4.0), (1.2, 2.3)
"""Bounds of the thickness of the cortex, mm; of the cerebellum's."""


def read_maps(wheel: Path) -> tuple[Field, Field, Field]:
    """nilearn wheel → T1, grey and white matter between 0 and 1, at 1 mm."""
    maps = []
    with zipfile.ZipFile(wheel) as archive:
        for name in ("t1", "gm", "wm"):
            image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read(MEMBER.format(name))))
            box = tuple(slice(a, b) for a, b in zip(LOW - ORIGIN, HIGH - ORIGIN, strict=True))
            maps.append(np.asarray(image.dataobj)[box].astype(np.float32) / 255)
    return maps[0], maps[1], maps[2]


def positions(shape: tuple[int, ...], step: float) -> Points:
    """Coordinates of the voxels, mm."""
    axes = [(o + step * np.arange(n)).astype(np.float32) for o, n in zip(LOW, shape, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x, y, z


def finer(field: Field, order: int = 3) -> Field:
    """A field at 1 mm → at 0.5 mm."""
    at = np.meshgrid(*[np.arange(2 * n - 1) / 2 for n in field.shape], indexing="ij", sparse=False)
    return ndimage.map_coordinates(field, at, order=order, mode="nearest", output=np.float32)


def valley(field: Field) -> Field:
    """Largest curvature of a field, where it is positive: sheets and lines that are darker than both sides."""
    hessian = np.empty((*field.shape, 3, 3), np.float32)
    for a in range(3):
        for b in range(a, 3):
            order = np.bincount([a, b], minlength=3).tolist()
            second = ndimage.gaussian_filter(field, VALLEY, order=order, mode="nearest")
            hessian[..., a, b] = hessian[..., b, a] = VALLEY**2 * second
    return np.maximum(np.linalg.eigvalsh(hessian)[..., 2], 0)


def sulcal_evidence(t1: Field, tissue: Field) -> Field:
    """T1 and probability of tissue → 0 (no valley) to 1 (a clear one)."""
    lit = np.where(t1 > 0.2, t1, np.where(t1 > 0, t1, 0.62)).astype(np.float32)
    return np.clip(0.6 * np.clip(valley(lit) / 0.08, 0, 1) + 0.6 * np.clip(valley(tissue) / 0.12, 0, 1), 0, 1)


@numba.njit
def _sweep(arrival, slowness, still):  # type: ignore[no-untyped-def]
    """One round of eight fast sweeps of |∇t| = slowness, in place; returns the largest change."""
    nx, ny, nz = arrival.shape
    largest = 0.0
    for way in range(8):
        for ii in range(1, nx - 1):
            i = ii if way & 1 else nx - 1 - ii
            for jj in range(1, ny - 1):
                j = jj if way & 2 else ny - 1 - jj
                for kk in range(1, nz - 1):
                    k = kk if way & 4 else nz - 1 - kk
                    if still[i, j, k]:
                        continue
                    a = min(arrival[i - 1, j, k], arrival[i + 1, j, k])
                    b = min(arrival[i, j - 1, k], arrival[i, j + 1, k])
                    c = min(arrival[i, j, k - 1], arrival[i, j, k + 1])
                    low, high = min(a, b, c), max(a, b, c)
                    mid = a + b + c - low - high
                    f = slowness[i, j, k]
                    t = low + f
                    if t > mid:
                        t = 0.5 * (low + mid + np.sqrt(max(2 * f * f - (low - mid) ** 2, 0.0)))
                        if t > high:
                            s = low + mid + high
                            t = (s + np.sqrt(max(s * s - 3 * (low**2 + mid**2 + high**2 - f * f), 0.0))) / 3
                    if t < arrival[i, j, k]:
                        largest = max(largest, arrival[i, j, k] - t)
                        arrival[i, j, k] = t
    return largest


def arrival_time(white: Field, slowness: Field, within: Mask) -> Field:
    """Fronts from where `white` is positive (a level set, mm) → when they arrive, mm times slowness."""
    inside = white > 0
    rim = ndimage.binary_dilation(inside) & ~inside
    arrival = np.full(white.shape, 1e3, np.float32)
    arrival[inside] = 0
    arrival[rim] = np.clip(-white[rim], 0, STEP) * slowness[rim]
    still = inside | rim | ~within
    while _sweep(arrival, STEP * slowness, still) > 1e-2:
        pass
    return arrival


def largest(mask: Mask) -> Mask:
    """The largest connected part."""
    parts, _ = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def without_specks(mask: Mask, least: int) -> Mask:
    """Only parts (diagonals connect) of at least so many voxels."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    counts = np.bincount(parts.ravel())
    counts[0] = 0
    return (counts >= least)[parts]


def sulci(white: Field, tissue: Field, evidence: Field, deep: Mask) -> Field:
    """Level set of white matter (mm), tissue and evidence → level set (mm) of the sheets of CSF, positive in them."""
    slowness = 1 + 6 * evidence + 8 * np.clip(1 - tissue, 0, 1)
    near = ndimage.binary_dilation(tissue > 0.5, iterations=4)
    arrival = arrival_time(white, slowness, near)
    slope = np.sqrt(sum(g * g for g in np.gradient(np.minimum(arrival, 200), STEP))) / slowness
    away = ndimage.distance_transform_edt(white <= 0, sampling=STEP)
    slope = ndimage.gaussian_filter(slope.astype(np.float32), 0.6)
    meet = near & (slope < MEETING) & (away > 1.1) & ~deep & ((evidence > EVIDENCE) | (away > 2.2))
    meet = without_specks(meet, 120)
    distance = ndimage.distance_transform_edt(~meet, sampling=STEP)
    return (0.3 + 0.45 * evidence - distance).astype(np.float32)


def regions(white: Field, tissue: Field, evidence: Field, points: Points) -> NDArray[np.int32]:
    """Maps at 1 mm → 1 cerebrum, 2 cerebellum, 3 brainstem: watersheds of the valleys between hand-placed cores."""
    x, y, z = points
    inside = tissue > 0.4
    small = union(
        ellipsoid(mirrored(points), (24, -63, -38), (32, 31, 21)),
        ellipsoid(points, (0, -60, -36), (12, 25, 21)),
        6,
    )
    path = ((0, -21, -5), (0, -23, -16), (0, -24, -27), (0, -33, -46), (0, -43, -66), (0, -47, -80))
    stem = tube(points, path, (12, 13, 14.5, 9.5, 7, 6))
    peduncle = tube(mirrored(points), ((15, -15, -9), (11, -15, -15), (7, -17, -22)), (3, 4, 4))
    core = np.zeros(tissue.shape, np.int32)
    core[inside & (white > 0.8) & (z > 0)] = 1
    core[inside & (np.abs(x) > 25) & (y > -25) & (small > 8)] = 1
    core[inside & (white > 0.6) & (y < -40) & (z > -8) & (np.abs(x) > 14)] = 1
    core[inside & (small < -7)] = 2
    core[inside & (np.minimum(stem + 3, peduncle) < 0) & (z < -8)] = 3
    return watershed(evidence + 0.4 * (1 - tissue), core, mask=inside)


def cerebral_white(white: Field, tissue: Mask, points: Points, small: Mask, stem: Mask) -> Mask:
    """White-matter map, tissue → white matter: connected, and covered by a cortex of plausible thickness."""
    side = mirrored(points)
    horns = (
        (7, 30, 4),
        (7, 16, 13),
        (8, -8, 20),
        (12, -28, 20),
        (23, -40, 13),
        (31, -28, -8),
        (32, -10, -20),
    )
    lateral = tube(side, horns, (6, 8, 8, 9, 11, 8, 6))
    wet = np.minimum(lateral, ellipsoid(points, (0, -20, -2), (8, 28, 26))) < 0
    wet |= tube(side, ((23, -40, 13), (24, -66, 8)), (10, 5)) < 0
    bridge = wet | ((np.abs(points[0]) < 5) & (ellipsoid(points, (0, -5, 10), (400, 40, 26)) < 0))
    core = ellipsoid(points, (0, -6, 2), (36, 36, 24)) < 0
    limbic = ellipsoid(side, (22, -16, -17), (11, 24, 11)) < 0  # hippocampus and amygdala are no cortex
    depth = ndimage.distance_transform_edt(tissue | wet, sampling=STEP)
    lining = (
        wet
        & ~limbic
        & ((points[2] > 8) | (side[0] > 30))
        & (ndimage.distance_transform_edt(tissue, sampling=STEP) < 2)
    )
    lining &= ndimage.distance_transform_edt(white < 0.5, sampling=STEP) < 2  # mixed voxels that look grey
    thin = np.where(small, FOLIA[0], np.where(bridge | stem, 0, THICKNESS[0]))
    thick = np.where(small, FOLIA[1], np.where(limbic | core | wet | stem, 1e3, THICKNESS[1]))
    return largest(tissue & (((white > 0.5) & (depth > thin)) | (depth > thick) | lining))


def fitted(inside: Mask, rounds: int = 60, sharpness: float = 4.0) -> NDArray[np.uint8]:
    """Mask at 0.5 mm → the field at 1 mm (128: zero) whose trilinear interpolation has its signs (logistic fit)."""
    sign = np.where(inside, np.float32(1), np.float32(-1))
    start = ndimage.gaussian_filter(sign, 1.0)[::2, ::2, ::2]
    field, speed = start.copy(), np.zeros_like(start)
    for _ in range(rounds):
        error = sign / (1 + np.exp(sharpness * sign * _interpolated(field)))
        speed = 0.8 * speed + 0.12 * (_spread(error) - 0.3 * (field - start))
        field = np.clip(field + speed, -1, 1)
    return _bytes(field)


def _bytes(field: Field) -> NDArray[np.uint8]:
    """−1 … 1 → 32 … 224 in steps of 4, never 128 itself: coarse steps compress."""
    return (128 + 4 * np.round(23 * field) + np.where(field > 0, 2, -2)).astype(np.uint8)


def _interpolated(field: Field) -> Field:
    for axis in range(3):
        low = np.moveaxis(field, axis, 0)
        high = np.empty((2 * len(low) - 1, *low.shape[1:]), np.float32)
        high[::2] = low
        high[1::2] = 0.5 * (low[1:] + low[:-1])
        field = np.moveaxis(high, 0, axis)
    return field


def _spread(field: Field) -> Field:
    """Adjoint of the interpolation."""
    for axis in range(3):
        high = np.moveaxis(field, axis, 0)
        low = high[::2].copy()
        low[1:] += 0.5 * high[1::2]
        low[:-1] += 0.5 * high[1::2]
        field = np.moveaxis(low, 0, axis)
    return field


def nuclei(grey: Field, white: Field, points: Points) -> dict[Label, Field]:
    """Maps at 1 mm → level sets (mm, negative inside) of the nuclei that the maps show.

    Each is what the white-matter map leaves free inside a shape drawn generously around it; the capsules between
    them are white. The ventral striatum counts as caudate and putamen.
    """
    side = mirrored(points)
    tail = ((11, 18, -5), (13, 17, 4), (14, 8, 12), (17, -6, 19), (20, -20, 21), (25, -32, 15))
    around = {
        Label.CAUDATE: tube(side, tail, (8, 10, 9, 6, 4, 3)),
        Label.PUTAMEN: ellipsoid(_turned(side, (25.8, 1.5, 0.5), -0.3), (0, 0, 0), (8.3, 22.5, 14)),
        Label.PALLIDUM: ellipsoid(_turned(side, (20, -4, -1), -0.56), (0, 0, 0), (6.3, 12.5, 8)),
        Label.THALAMUS: ellipsoid(_turned(side, (11.5, -18, 7), -0.42), (0, 0, 0), (11.5, 19.5, 11)),
    }
    ends = {Label.CAUDATE: 0.5, Label.PUTAMEN: 0.62, Label.PALLIDUM: 0.95, Label.THALAMUS: 0.7}
    wet, floor = 8 * (0.5 - grey - white), np.float32(-9) - side[2]
    levels = {
        label: np.maximum.reduce([shape, 8 * (white - ends[label]), wet, floor])
        for label, shape in around.items()
    }
    levels[Label.PUTAMEN] = np.maximum(levels[Label.PUTAMEN], -levels[Label.CAUDATE])
    levels[Label.PALLIDUM] = np.maximum(levels[Label.PALLIDUM], -levels[Label.PUTAMEN])
    return {label: _largest_sides(np.clip(level, -2, 2)) for label, level in levels.items()}


def _largest_sides(level: Field) -> Field:
    """A level set smoothed, of which only the largest part remains (and what reaches across the midline)."""
    level = ndimage.gaussian_filter(level, 0.7)
    chosen = ndimage.binary_dilation(largest(level < 0), iterations=2)
    return np.where(chosen, level, np.maximum(level, 1)).astype(np.float32)


def _turned(points: Points, centre: tuple[float, float, float], angle: float) -> Points:
    """Points relative to a centre, in axes turned about z."""
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    return np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z


def callosum(white: Field, points: Points) -> Field:
    """White-matter map at 1 mm → level set (mm) of the corpus callosum: its middle section, carried sideways."""
    middle = white[MARGIN] > 0.5
    y, z = points[1][MARGIN], points[2][MARGIN]
    parts, _ = ndimage.label(middle & (z > -2) & (y < 40))
    section = parts == _most(parts, z > 14)
    away = ndimage.distance_transform_edt(~section) - ndimage.distance_transform_edt(section)
    x = np.abs(points[0])
    return np.maximum(away[None] - np.float32(1) - np.float32(0.3) * x, x - 14).astype(np.float32)


def _most(parts: NDArray[np.int32], where: Mask) -> int:
    """The part that has most voxels there."""
    counts = np.bincount(parts[where])
    counts[0] = 0
    return int(np.argmax(counts))


def main(wheel: Path) -> None:
    """Reads, makes, writes; a few minutes."""
    t1, grey, white = read_maps(wheel)
    tissue, points = np.minimum(grey + white, np.clip((t1 - DARK) / 0.4, 0, 1)), positions(grey.shape, 1.0)
    evidence = sulcal_evidence(t1, tissue)
    parts = regions(white, tissue, evidence, points)
    levels = nuclei(grey, white, points) | {Label.CORPUS_CALLOSUM: callosum(white, points)}
    soft = {name: _soft(parts == k, points, name) for k, name in ((2, "cerebellum"), (3, "brainstem"))}
    brain, inner = folded(white, tissue, evidence, parts)
    entries: dict[str, NDArray[np.uint8]] = {}
    _add(entries, "tissue", fitted(brain), 1)
    _add(entries, "white", fitted(inner), 1)
    for name, field in soft.items():
        _add(entries, name, _bytes(field[::2, ::2, ::2]), 2)
    for label, level in levels.items():
        _add(entries, label.name.lower(), _bytes(np.clip(-level / 2, -1, 1)), 1)
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **entries)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.2f} MB")


def folded(white: Field, tissue: Field, evidence: Field, parts: NDArray[np.int32]) -> tuple[Mask, Mask]:
    """Maps and regions at 1 mm → tissue and white matter at 0.5 mm, with open sulci."""
    white, tissue, evidence = finer(white), finer(tissue), np.clip(finer(evidence), 0, 1)
    nearest = [(np.arange(2 * n - 1) + 1) // 2 for n in parts.shape]
    parts, points = parts[np.ix_(*nearest)], positions(white.shape, STEP)
    sharp = white + 0.8 * (white - ndimage.gaussian_filter(white, 4.0))
    deep = (ellipsoid(points, (0, -8, 4), (34, 40, 26)) < 0) | (parts == 3)
    brain = (tissue > 0.5) & (sulci(4 * (sharp - 0.5), tissue, evidence, deep) < 0)
    brain = without_specks(brain, 400)
    return brain, cerebral_white(sharp, brain, points, parts == 2, parts == 3)


def _soft(region: Mask, points: Points, name: str) -> Field:
    """A region at 1 mm → −1 … 1, smooth; the brainstem ends on the plane behind the mammillary bodies."""
    if name == "brainstem":
        region = region & (points[2] < -20.2 - 0.65 * points[1])
    return 2 * ndimage.gaussian_filter(region.astype(np.float32), 1.2) - 1


def _add(entries: dict[str, NDArray[np.uint8]], name: str, field: NDArray[np.uint8], step: int) -> None:
    """Adds the right half of a field, cut to where it is not at its lowest, and its grid (first voxel, step; mm)."""
    field = field[MARGIN // step :]
    held = [np.flatnonzero((field > field.min()).any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    first = [0 if a == 0 else max(int(h[0]) - 1, 0) for a, h in enumerate(held)]
    last = [min(int(h[-1]) + 2, n) for h, n in zip(held, field.shape, strict=True)]
    entries[name] = field[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    start = np.array((0, *LOW[1:])) + step * np.array(first)
    entries[f"{name}_grid"] = np.array([*start, step], np.int16)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
