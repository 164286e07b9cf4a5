"""Background removal by spherical means: what harmonic fields do not survive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.inverse.operators import fourier_multiplier
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, smv, weights
from mensura.qsm.box import on_box
from mensura.qsm.spherical import Balls
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]
Order = Annotated[
    int, Tunable("1", "solid harmonics up to this order are fitted and removed at the end; −1: none")
]
Radius = Annotated[float, Tunable("mm", "radius of the sphere")]


@on_box
def sharp(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    radius: Radius = 6.0,
    threshold: Annotated[float, Tunable("1", "largest kernel value that is not inverted")] = 0.02,
    order: Order = 2,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels whose sphere lies in the mask.

    (δ − S)∗f with the mean S over one sphere, kept where the sphere lies in the mask, then divided by 1 − Ŝ where
    that exceeds `threshold`. Schweser et al. 2011, doi:10.1016/j.neuroimage.2010.10.070.
    """
    scene = _OneSphere.of(total_field, mask, grid, radius)
    return scene.cut(scene.deconvolved(threshold), grid, order)


@on_box
def resharp(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radius: Radius = 6.0,
    weight: Annotated[
        float, Tunable("1", "Tikhonov weight on the local field, relative to the data's")
    ] = 1e-4,
    tol: Annotated[float, Tunable("1", "relative residual that ends the iteration")] = 3e-3,
    order: Order = 2,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 60,
    monitor: Monitor | None = None,
) -> Local:
    """Total field and its standard deviation (ppm) → local field (ppm) and the mask of the voxels whose sphere fits.

    min over l of ‖W M (δ − S)∗(l − f)‖² + λ ‖l‖² by conjugate gradients: S the mean over a sphere, M the voxels
    whose sphere lies in the mask, W the inverse noise. Sun & Wilman 2014, doi:10.1002/mrm.24765. Differs from the
    paper in the noise weights and in the preconditioner, the inverse of |1 − Ŝ|² + λ.
    """
    scene = _OneSphere.of(total_field, mask, grid, radius)
    trust, last = scene.inner * pad(weights.squared(field_std, mask), scene.inner.shape), scene.field.shape[2]
    scale = 1 / np.sqrt(np.square(scene.kernel) * np.mean(trust) + np.float32(weight))
    seen, tikhonov = scale * scene.kernel, np.float32(weight) * np.square(scale)

    def normal(x: FloatArray) -> FloatArray:
        """The normal equations in x = (w|1 − Ŝ|² + λ)^½ l, w the mean of W²."""
        spectrum = rfft(x)
        return irfft(rfft(trust * irfft(spectrum * seen, last)) * seen + spectrum * tikhonov, last)

    filtered = irfft(rfft(scene.field) * scene.kernel, last)
    right = irfft(rfft(trust * filtered) * seen, last)
    solution = conjugate_gradient(normal, right, tol=tol, max_iter=max_iter, monitor=monitor)
    return scene.cut(irfft(rfft(solution.x) * scale, last), grid, order)


@on_box
def ismv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    radius: Radius = 5.0,
    tol: Annotated[float, Tunable("1", "relative residual that ends the iteration")] = 1e-2,
    order: Order = 2,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 200,
    monitor: Monitor | None = None,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels whose sphere lies in the mask.

    The background equals its mean over the sphere wherever that lies in the mask, and the total field on the rim
    that is left: (δ − S)∗b = 0 in M, b = f outside M. Wen et al. 2014, doi:10.1002/mrm.24998. Differs from the
    paper in the solver: conjugate gradients where it applies b ← S∗b again and again.
    """
    scene = _OneSphere.of(total_field, mask, grid, radius)
    sphere = fourier_multiplier(scene.kernel, scene.field.shape[2])

    def filtered(x: FloatArray) -> FloatArray:
        return scene.inner * sphere.forward(x)

    solution = conjugate_gradient(
        filtered, filtered(scene.field), tol=tol, max_iter=max_iter, monitor=monitor
    )
    return scene.cut(solution.x, grid, order)


@dataclass(frozen=True)
class _OneSphere:
    """On the padded grid: the field, the voxels whose sphere lies in the mask, and the spectrum of δ − sphere."""

    field: FloatArray
    inner: FloatArray
    kernel: FloatArray
    kept: BoolArray

    @classmethod
    def of(cls, total_field: FloatArray, mask: BoolArray, grid: Grid, radius: float) -> _OneSphere:
        sizes = smv.available([radius], grid)
        shape = smv.padded_shape(grid, sizes)
        (ball,) = smv.balls(shape, grid, sizes)
        field = weights.finite(np.where(mask, total_field, np.float32(0)), np.zeros(mask.shape, np.float32))
        (kept,) = smv.shells(mask, [ball], shape)
        if not kept.any():
            raise ScanError(
                f"no sphere of {sizes[0]:g} mm fits in the mask; give a larger mask or a smaller radius"
            )
        return cls(pad(field, shape), pad(kept.astype(np.float32), shape), 1 - ball, kept)

    def deconvolved(self, threshold: float) -> FloatArray:
        """The filtered field on the inner voxels, divided by the kernel where that exceeds `threshold`."""
        last = self.field.shape[2]
        filtered = self.inner * irfft(rfft(self.field) * self.kernel, last)
        return irfft(rfft(filtered) * _reciprocal(self.kernel, threshold), last)

    def cut(self, local: FloatArray, grid: Grid, order: int) -> Local:
        """The local field on the voxels that have one, less its low orders, and which they are."""
        whole = crop(local, self.kept.shape) * self.kept
        return harmonic.without_low_orders(whole, self.kept, grid, order), self.kept


@on_box
def vsharp(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    radius: Annotated[float, Tunable("mm", "radius of the largest sphere")] = 12.0,
    step: Annotated[float, Tunable("mm", "from one radius to the next; the smallest spans one voxel")] = 1.0,
    threshold: Annotated[float, Tunable("1", "largest kernel value that is not inverted")] = 0.05,
    order: Order = 2,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels that have one.

    (δ − Sᵣ)∗f with the largest sphere Sᵣ that lies in the mask around each voxel, then deconvolved with the largest
    kernel where |1 − Ŝ| exceeds `threshold`. Voxels whose smallest sphere sticks out of the mask are lost.
    ScanError if none is left. What is smooth and harmonic in the rest leaves with the solid harmonics up to
    `order`. Li et al. 2011, doi:10.1016/j.neuroimage.2010.11.088; Wu et al. 2012,
    doi:10.1002/mrm.23000.
    """
    field = weights.finite(np.where(mask, total_field, np.float32(0)), np.zeros(mask.shape, np.float32))
    balls = Balls.fit(field, mask, grid, np.arange(radius, 0, -step).tolist())
    largest = next(ball for ball, shell in zip(balls.means, balls.shells, strict=True) if shell.any())
    inverse, kept = _reciprocal(1 - largest, threshold), balls.valued
    local = crop(irfft(rfft(pad(balls.filtered, balls.shape)) * inverse, balls.shape[2]), mask.shape) * kept
    return harmonic.without_low_orders(local, kept, grid, order), kept


def _reciprocal(kernel: FloatArray, threshold: float) -> FloatArray:
    """1/kernel where its size exceeds the threshold, 0 elsewhere."""
    return np.divide(1, kernel, out=np.zeros_like(kernel), where=np.abs(kernel) > threshold)
