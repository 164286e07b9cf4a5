"""M0 and T1 of a brain → proton density: the receive field is told from the tissue by what R1 says of its water."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from mensura.fit.algebra import steps
from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError, bounding_box

Doubles = NDArray[np.float64]

BLOCK = 4.0
"""mm: M0 and R1 are averaged over blocks of this edge before the receive field is sought."""
BEND = 1e-3
"""How much the field's bending costs, relative to the data: what the brain does not tell stays smooth."""
OUTLIER = 4.685
"""Standard deviations from which a block does not count (Tukey's weights)."""
ROUNDS = 30
SMALLEST = 200
"""Blocks that are needed."""
FLUID, DEEP, FEW = 0.28, 20.0, 20
"""1/s: what relaxes slower is fluid, at any field strength; mm from the brain's surface, beyond which it is that of the
ventricles, with no bone in its voxels; how many of them are needed."""
STEEPEST = 5.0
"""s: more than the slope of 1/PD against R1 can be, whatever the field strength."""
SLOPES, LEAST_SPREAD = (0.1, 2.0), 0.6
"""s: that slope in brains, 0.4 to 0.8 from 1.5 to 7 T; and what of ln R1 lies between their tenth and ninetieth
percentile: 0.8 and more."""
LEAST_RATE, LARGEST_RATE = 0.1, 5.0
"""1/s: beyond these a block is no brain tissue."""
NARROW = 0.1
"""Of R1's logarithm: as near to the middle of white matter as what the scale is taken from."""


@dataclass(frozen=True, eq=False)
class Density:
    """Proton density (percent of water) where M0 is known, and the receive field (unit of M0 per percent).

    `slope` (s): of 1/PD against R1, relative to its value at R1 = 0; `fluid`: the median (percent) in
    the ventricles, which should be near 100, NaN where they are too small; `white`: of how many voxels the scale is.
    """

    percent: FloatArray
    receive: FloatArray
    slope: float
    fluid: float
    white: int


def proton_density(
    m0: FloatArray,
    t1: FloatArray,
    brain: BoolArray,
    grid: Grid,
    *,
    detail: Annotated[float, Tunable("mm", "half the shortest wave of the receive field")] = 40.0,
    white_matter: Annotated[float, Tunable("percent", "mean proton density of white matter")] = 69.0,
) -> Density:
    """M0 (any unit), T1 (s), mask of the brain → proton density in percent, wherever M0 has a value.

    Tissue with less water relaxes faster, 1/PD = a + b R1, so that ln M0 = ln receive − ln(1 + k R1) + constant. The
    logarithm of the receive field is a sum of cosines, its bending held small; it and k are found together by robust
    least squares over blocks of the brain, so that the slope fits any field strength. The scale is set by the mean
    of white matter, which is the class of fastest R1 in the brain (69 %: Tofts 2003). Outside the brain the receive
    field is continued, the less trustworthy the further away.

    Volz et al. 2012, doi:10.1016/j.neuroimage.2012.06.076 (1/PD and R1). Differs from the paper in that k is found, not
    assumed. Tissue that departs from the common line over wide regions passes for receive field; iron and contrast
    agent, which shorten T1 without taking water, pass for less water where they are widespread. Raises ScanError where
    too little of a brain has values, or M0 and R1 do not go together as in one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = 1 / t1.astype(np.float64)
    use = brain & np.isfinite(m0) & (m0 > 0) & (rate > LEAST_RATE) & (rate < LARGEST_RATE)
    places, (signal, rates) = _blocks(use, grid, [m0, rate])
    if len(places) < SMALLEST:
        raise ScanError("too little of the brain has M0 and T1 to tell the receive field; map more of it")
    waves = _Waves.around(places, grid, detail)
    weights, slope = _fitted(waves.at(places), waves.bending, np.log(signal), rates)
    _check_brain(rates, slope)
    receive = np.exp(waves.everywhere(weights))
    with np.errstate(invalid="ignore"):
        flat = m0 / receive
    white = use & _white(rate, use)
    scale = float(np.mean(flat[white])) / white_matter
    percent = (flat / scale).astype(np.float32)
    box = bounding_box(brain, 1)
    deep = distance_transform_edt(brain[box], grid.voxel_size) > DEEP
    water = percent[box][use[box] & (rate[box] < FLUID) & deep]
    fluid = float(np.median(water)) if water.size > FEW else float("nan")
    return Density(percent, (receive * scale).astype(np.float32), slope, fluid, int(np.count_nonzero(white)))


def _check_brain(rates: Doubles, slope: float) -> None:
    """ScanError where R1 of the blocks, and how M0 hangs on it, are not those of a brain: a phantom, another organ."""
    spread = float(np.diff(np.quantile(np.log(rates), [0.1, 0.9]))[0])
    if spread < LEAST_SPREAD or not SLOPES[0] < slope < SLOPES[1]:
        raise ScanError(
            f"M0 and R1 do not go together as in a brain (spread of ln R1 {spread:.2f}, slope {slope:.2f} s); "
            "take M0 as it is"
        )


def _blocks(use: BoolArray, grid: Grid, volumes: list[Any]) -> tuple[Doubles, list[Doubles]]:
    """Means over blocks that are at least half full: their centres in voxels (n, 3), and each volume's values (n)."""
    factors = [max(1, round(BLOCK / h)) for h in grid.voxel_size]
    where = np.nonzero(use)
    cells = np.ravel_multi_index(
        tuple(index // f for index, f in zip(where, factors, strict=True)),
        tuple(-(-n // f) for n, f in zip(use.shape, factors, strict=True)),
    )
    count = np.bincount(cells)
    full = count >= max(1.0, 0.5 * np.prod(factors))

    def mean(values: Any) -> Doubles:
        return np.asarray(np.bincount(cells, values)[full] / count[full])

    return np.stack([mean(axis) for axis in where], axis=1), [mean(volume[use]) for volume in volumes]


@dataclass(frozen=True, eq=False)
class _Waves:
    """Products of cosines along the axes: `first` voxel and `length` (voxels) of the box, half waves in it (w, 3)."""

    shape: tuple[int, ...]
    first: Doubles
    length: Doubles
    orders: NDArray[np.int64]
    bending: Doubles

    @classmethod
    def around(cls, places: Doubles, grid: Grid, detail: float) -> _Waves:
        """Those around a brain, no shorter than twice the `detail` (mm); what bending each costs."""
        size = np.asarray(grid.voxel_size)
        low, high = places.min(axis=0) - detail / (2 * size), places.max(axis=0) + detail / (2 * size)
        length = high - low
        most = [int(extent / detail) for extent in length * size]
        every = [range(n + 1) for n in most]
        orders = np.array([o for o in product(*every) if np.hypot.reduce(o / (length * size)) <= 1 / detail])
        frequency = np.square(orders / (length * size)).sum(axis=1) * detail**2
        return cls(grid.shape, low, length, orders, BEND * np.square(frequency))

    def at(self, places: Doubles) -> Doubles:
        """Places in voxels (n, 3) → the waves there (n, w)."""
        along = [self._along(places[:, axis], axis) for axis in range(3)]
        return np.asarray(along[0] * along[1] * along[2])

    def _along(self, places: Doubles, axis: int) -> Doubles:
        inside = np.clip((places - self.first[axis]) / self.length[axis], 0, 1)
        return np.asarray(np.cos(np.pi * inside[:, None] * self.orders[:, axis]))

    def everywhere(self, weights: Doubles) -> Doubles:
        """The weighted sum of the waves on the whole grid."""
        x, y, z = (self._along(np.arange(n, dtype=np.float64), axis) for axis, n in enumerate(self.shape))
        total: Doubles = np.zeros(self.shape)
        for order in np.unique(self.orders[:, 0]):
            mine = self.orders[:, 0] == order
            plane = np.einsum("jw,kw,w->jk", y[:, mine], z[:, mine], weights[mine])
            total += x[:, mine][:, :1, None] * plane
        return total


def _fitted(waves: Doubles, bending: Doubles, logarithm: Doubles, rates: Doubles) -> tuple[Doubles, float]:
    """ln M0 and R1 of the blocks → the waves' weights and k of ln M0 = waves − ln(1 + k R1), by Gauss and Newton.

    Tukey's weights by the residuals' median; the first rounds without. Bending enters as further rows. Loops of our
    own, not a library's matrix product, whose threads would change the last bits.
    """
    count, prior = waves.shape[1], np.diag(np.sqrt(bending))
    slope, weight, found = 0.5, np.ones(len(rates)), np.zeros(count)
    for attempt in range(ROUNDS):
        by_slope = -rates / (1 + slope * rates)
        rows = np.vstack([np.column_stack([waves, by_slope]), np.column_stack([prior, np.zeros(count)])])
        target = logarithm + np.log1p(slope * rates) + by_slope * slope
        made = steps(
            rows[None],
            np.append(target, np.zeros(count))[None],
            np.append(weight, np.full(count, weight.sum()))[None],
            0,
            np.zeros(1),
        )[0][0]
        found, before, slope = made[:-1], slope, float(np.clip(made[-1], 0.0, STEEPEST))
        residual = logarithm - np.einsum("nw,w->n", waves, found) + np.log1p(slope * rates)
        if attempt > 1:
            spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
            weight = np.square(np.maximum(1 - np.square(residual / (OUTLIER * spread)), 0))
            if abs(slope - before) < 1e-5:
                break
    return found, slope


def _white(rate: Doubles, use: BoolArray) -> BoolArray:
    """White matter: R1 near the middle of the fastest of three classes (Otsu 1979, 10.1109/TSMC.1979.4310076)."""
    values = np.log(rate[use])
    count, edges = np.histogram(values, 96)
    total = np.concatenate([[0.0], np.cumsum(count)])
    first = np.concatenate([[0.0], np.cumsum(count * (edges[1:] + edges[:-1]) / 2)])
    i, j = np.triu_indices(len(count), 1)

    def between(a: NDArray[np.intp], b: NDArray[np.intp] | int) -> Doubles:
        held = total[b] - total[a]
        return np.asarray(np.square(first[b] - first[a]) / np.maximum(held, 1))

    best = int(np.argmax(between(np.zeros_like(i), i) + between(i, j) + between(j, len(count))))
    middle = float(np.median(values[values > edges[j[best]]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: BoolArray = np.abs(np.log(rate) - middle) < NARROW
    return found
