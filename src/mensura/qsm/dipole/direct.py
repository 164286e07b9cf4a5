"""Inversions in closed form: one division in k-space, scaled so that a resolved object keeps its size.

All leave the mean of χ free (see reference). What a division by a limited kernel loses is the same for every object
without a preferred direction: the mean over all directions of (kernel of the division)·D. The results are divided by
that gain. The mean over k-space, which the literature takes, is that of an object as small as a voxel: the corners
enter it, where the dipole of a voxel is weaker than that of a point, and the slope comes out up to 16 % too steep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.inverse.grids import halvings
from mensura.inverse.operators import difference_spectrum, scale
from mensura.methods import Tunable
from mensura.qsm import kernels
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

PADDING = 0.3
"""Zero margin as a share of the volume's size: the dipole's field falls with the cube of the distance."""
OBJECT = 5.0
"""mm: radius of the ball that keeps its size where a penalty weighs fine detail more (a deep grey nucleus)."""

Inverse: TypeAlias = Callable[[FloatArray, FloatArray | np.float32], FloatArray]
"""Dipole kernel and squared frequency ((rad/mm)²) → the kernel that the field is multiplied by."""


@on_box
def tkd(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    threshold: Annotated[
        float, Tunable("1", "kernel values below this are replaced by it, sign kept")
    ] = 0.15,
) -> FloatArray:
    """Local field (ppm) → χ (ppm), zero outside the mask: thresholded k-space division, scaled to the true size.

    χ̂ = f̂ / sign(D)·max(|D|, threshold), divided by its gain (see the module). ScanError for a threshold that is not
    between 0 and 1/3. Shmueli et al. 2009, doi:10.1002/mrm.22135; the scale in the spirit of Schweser et al. 2013,
    doi:10.1002/mrm.24405, with the mean over directions for the mean over k-space. The default has the least error
    of 0.1, 0.15, 0.2, 0.25 summed over three digital heads.
    """
    _check("threshold", threshold, 1 / 3)

    def inverse(dipole: FloatArray, _: object) -> FloatArray:
        return np.copysign(np.float32(1) / np.maximum(np.abs(dipole), np.float32(threshold)), dipole)

    return _divide(local_field, mask, grid, inverse)


@on_box
def tsvd(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    threshold: Annotated[float, Tunable("1", "frequencies with smaller kernel values are left out")] = 0.06,
) -> FloatArray:
    """Local field (ppm) → χ (ppm), zero outside the mask: truncated singular value decomposition, scaled likewise.

    χ̂ = f̂ / D where |D| > threshold, else 0, divided by its gain (see the module). ScanError for a threshold that is
    not between 0 and 1/3. Wharton et al. 2010, doi:10.1002/mrm.22334. What is left out is missing, where `tkd` puts
    in a share of it, so that the best threshold is less than half of that of `tkd`.
    """
    _check("threshold", threshold, 1 / 3)

    def inverse(dipole: FloatArray, _: object) -> FloatArray:
        kept = np.abs(dipole) > np.float32(threshold)
        return np.divide(np.float32(1), dipole, out=np.zeros_like(dipole), where=kept)

    return _divide(local_field, mask, grid, inverse)


@on_box
def tikhonov(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    weight: Annotated[float, Tunable("1", "weight of the penalty")] = 0.01,
    penalty: Annotated[
        str, Tunable("", "what is kept small: identity (χ) or gradient (∇χ, per 1/mm)")
    ] = "identity",
    scaled: Annotated[bool, Tunable("", "divide by the gain, so that the penalty does not shrink χ")] = True,
) -> FloatArray:
    """Local field (ppm) → χ (ppm), zero outside the mask: argmin ‖D χ̂ − f̂‖² + weight·‖Γ χ̂‖² in closed form.

    χ̂ = D f̂ / (D² + weight·|Γ|²), Γ the identity or the gradient, divided by its gain (see the module; with the
    gradient, that of a ball of 5 mm radius). ScanError for another penalty, and a weight that is not positive.
    Kressler et al. 2010, doi:10.1109/TMI.2009.2023787; Bilgic et al. 2014, doi:10.1002/mrm.25029. Differs from the
    papers in the scale: without it the identity takes a quarter of χ away.
    """
    if penalty not in ("identity", "gradient"):
        raise ScanError(f"the penalty {penalty!r} is unknown; choose identity or gradient")
    _check("weight", weight, np.inf)

    def inverse(dipole: FloatArray, squared: FloatArray | np.float32) -> FloatArray:
        rough = squared if penalty == "gradient" else np.float32(1)
        normal = dipole * dipole + np.float32(weight) * rough
        return np.divide(dipole, normal, out=np.zeros_like(dipole), where=normal > 0)

    return _divide(local_field, mask, grid, inverse, fine=penalty == "gradient", scaled=scaled)


def gain(inverse: Inverse) -> float:
    """Mean of inverse·D over all directions, weighted with the spectrum of a ball of `OBJECT` mm, D that of a point.

    Directions are uniform in the cosine u of the angle to B0; D = 1/3 − u². The ball's spectrum
    (sin x − x cos x)²/x⁶ falls to nothing at x = k·radius of a few.
    """
    cosine = (np.arange(2000) + 0.5) / 2000
    x = (np.arange(200) + 0.5)[:, None] / 10
    dipole = np.broadcast_to(1 / 3 - cosine**2, (x.size, cosine.size)).astype(np.float32)
    power = ((np.sin(x) - x * np.cos(x)) / x**2) ** 2
    seen = dipole * inverse(dipole, np.broadcast_to((x / OBJECT) ** 2, dipole.shape).astype(np.float32))
    return float(np.average(seen.mean(axis=1, dtype=np.float64), weights=power[:, 0]))


def padded(grid: Grid) -> tuple[tuple[int, int, int], FloatArray]:
    """Padded transform size and the dipole kernel on it."""
    margin = [int(np.ceil(n * PADDING)) for n in grid.shape]
    shape = fast_shape(grid.shape, margin, halvings(grid.shape))
    return shape, kernels.dipole(shape, grid)


def _divide(
    field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    inverse: Inverse,
    *,
    fine: bool = False,
    scaled: bool = True,
) -> FloatArray:
    """The field times the inverse of its dipole kernel; `fine` says that the inverse asks for the frequency."""
    shape, dipole = padded(grid)
    squared = difference_spectrum(shape, grid.voxel_size) if fine else np.float32(0)
    spectrum = rfft(pad(np.where(mask & np.isfinite(field), field, np.float32(0)), shape))
    scale(spectrum, inverse(dipole, squared))
    size = np.float32(gain(inverse) if scaled else 1)
    return crop(irfft(spectrum, shape[2]), mask.shape) * (mask.astype(np.float32) / size)


def _check(name: str, value: float, most: float) -> None:
    if not 0 < value < most:
        limits = "be positive" if np.isinf(most) else f"lie between 0 and {most:.3g}"
        raise ScanError(f"the {name} must {limits}, not {value:g}")
