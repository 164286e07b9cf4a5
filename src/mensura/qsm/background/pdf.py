"""Background removal by fitting the fields of dipoles: outside the mask alone, or on both sides of its rim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.ndimage import binary_fill_holes

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.inverse.operators import fourier_multiplier
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, kernels, weights
from mensura.qsm.background.multigrid import harmonic_inside
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]
LOW_ORDERS = 2
"""Solid harmonics that are taken off before the fit: they are background to it, and slow to find by dipoles."""
DIPOLE_ENERGY = 4 / 45
"""Mean of D² over all directions: the variance of the field of white susceptibility, per its variance."""
TRUSTED = 1e-3
"""Squared weight (1 in the median voxel) from which a voxel's field may serve as a boundary value."""
Padding = Annotated[float, Tunable("mm", "margin around the mask in which sources may lie")]
Tolerance = Annotated[
    float, Tunable("1", "relative residual of the normal equations that ends the iteration")
]
Iterations = Annotated[int, Tunable("1", "most iterations")]


@on_box
def pdf(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    padding: Padding = 20.0,
    tol: Tolerance = 0.3,
    max_iter: Iterations = 100,
    monitor: Monitor | None = None,
) -> Local:
    """Total field and its standard deviation (ppm) → local field (ppm) and the mask (unchanged).

    Projection onto dipole fields: min over χ outside the mask of ‖W (f − d∗χ)‖², W the inverse noise, by conjugate
    gradients. Liu et al. 2011, doi:10.1002/nbm.1670. Differs from the paper in the start: the field that is
    harmonic inside the mask and equals f on its rim is taken off first, with the lowest solid harmonics of the rest.
    The default ends early: the projection takes along whatever part of the local field is harmonic.
    """
    scene = _Scene.of(total_field, mask, grid, field_std, padding)
    dipole = fourier_multiplier(scene.dipole, scene.inside.shape[2])
    outside = 1 - scene.inside

    def normal(x: FloatArray) -> FloatArray:
        return outside * dipole.adjoint(scene.trust * dipole.forward(outside * x))

    right = outside * dipole.adjoint(scene.trust * scene.field)
    solution = conjugate_gradient(normal, right, tol=tol, max_iter=max_iter, monitor=monitor)
    return scene.local(solution.x), mask.copy()


@on_box
def joint(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Annotated[
        float, Tunable("1", "penalty on sources in the mask, relative to what noise and field suggest")
    ] = 1.0,
    padding: Padding = 20.0,
    tol: Tolerance = 0.005,
    max_iter: Iterations = 60,
    monitor: Monitor | None = None,
) -> Local:
    """Total field and its standard deviation (ppm) → local field (ppm) and the mask (unchanged).

    Sources on both sides of the mask's rim are fitted together, min over χ of ‖W (f − d∗χ)‖² + λ ‖χ inside‖², and
    the field of those outside is the background. A projection onto outer sources alone (`pdf`) takes with it all
    of the local field that is harmonic; here inner sources explain their share. It starts as `pdf` does, and the
    normal equations are preconditioned by (D² + λ)⁻¹.

    λ = `weight` · (4/45) · (noise / local field)² is the squared ratio of the field's noise to the susceptibility,
    if that were white: 4/45 is the mean of D². After Liu et al. 2017, doi:10.1002/mrm.26331; differs in the
    quadratic penalty, for which the problem is linear, and in keeping the field instead of the susceptibility.
    """
    scene = _Scene.of(total_field, mask, grid, field_std, padding)
    penalty = np.float32(weight * DIPOLE_ENERGY * scene.noise_share(field_std, mask) ** 2)
    last, inside = scene.inside.shape[2], penalty * scene.inside
    inner = 1 / np.sqrt(np.square(scene.dipole) + penalty / np.mean(scene.trust))
    seen = inner * scene.dipole

    def normal(x: FloatArray) -> FloatArray:
        """The normal equations in x = (D² + λ)^½ χ."""
        spectrum = rfft(x)
        fitted, tissue = scene.trust * irfft(spectrum * seen, last), inside * irfft(spectrum * inner, last)
        return irfft(rfft(fitted) * seen + rfft(tissue) * inner, last)

    right = irfft(rfft(scene.trust * scene.field) * seen, last)
    solution = conjugate_gradient(normal, right, tol=tol, max_iter=max_iter, monitor=monitor)
    return scene.local(irfft(rfft(solution.x) * inner, last)), mask.copy()


@dataclass(frozen=True)
class _Scene:
    """On the padded grid: the field less a harmonic one, its squared weights, the mask, the dipole kernel."""

    field: FloatArray
    trust: FloatArray
    inside: FloatArray
    dipole: FloatArray
    shape: tuple[int, int, int]

    @classmethod
    def of(
        cls,
        total_field: FloatArray,
        mask: BoolArray,
        grid: Grid,
        field_std: FloatArray | None,
        padding: float,
    ) -> _Scene:
        trust = weights.squared(field_std, mask)
        field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
        if not np.count_nonzero(trust):
            raise ScanError("the total field has no finite value in the mask; check how it was made")
        # a voxel that is enclosed is no boundary, so it need not be trusted
        interior = harmonic.interior(binary_fill_holes(trust > TRUSTED))
        if interior.any():
            field = field - harmonic_inside(field, interior, grid.voxel_size)
            field = harmonic.without_low_orders(field, mask, grid, LOW_ORDERS)
        # a source's image across the periodic edge is kept away by half the padding on either side
        shape = fast_shape(grid.shape, [int(np.ceil(2 * padding / h)) for h in grid.voxel_size])
        field, trust, inside = (pad(x, shape) for x in (field, trust, mask.astype(np.float32)))
        return cls(field, trust, inside, kernels.dipole(shape, grid), grid.shape)

    def noise_share(self, field_std: FloatArray | None, mask: BoolArray) -> float:
        """The field's noise as a share of the local field's spread; 1 if there is no local field."""
        local = crop(self.field, self.shape)
        noise = weights.noise(field_std, mask, local)
        spread = float(np.std(local[mask], dtype=np.float64))
        return noise / spread if spread > 0 else 1.0

    def local(self, sources: FloatArray) -> FloatArray:
        """The field less that of the sources outside the mask, zero outside it."""
        outer = rfft((1 - self.inside) * sources) * self.dipole
        left = self.field - irfft(outer, self.inside.shape[2])
        return np.ascontiguousarray(crop(left * self.inside, self.shape))
