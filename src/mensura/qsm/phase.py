"""Raw phase → phase that can be processed: cleaned, checked, and rid of what the scanner did to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.inverse.fft import fast_shape, irfft, rfft
from mensura.qsm.kernels import dipole
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

TWO_PI = 2 * np.pi
TISSUE_CHI = np.float32(-9.4)
"""Susceptibility of tissue relative to air, ppm."""
ALTERNATION = 0.1
"""Alternating phase (rad, root mean square over the mask) from which a readout counts as bipolar."""
UNEQUAL = 0.02
"""Relative difference of two echo spacings that still count as equal."""


def sanitise(array: ArrayLike) -> tuple[FloatArray, int]:
    """Any real array → a float32 copy with 0 for NaN and infinity, and how many there were."""
    with np.errstate(over="ignore"):
        clean = np.array(array, dtype=np.float32)
    bad = ~np.isfinite(clean)
    count = int(np.count_nonzero(bad))
    if count:
        clean[bad] = 0
    return clean, count


def from_real_imaginary(real: FloatArray, imaginary: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Real and imaginary images (same shape) → magnitude (same unit) and phase (rad, ±π)."""
    if real.shape != imaginary.shape:
        raise ScanError(
            f"the real image {real.shape} and the imaginary image {imaginary.shape} differ in shape"
        )
    magnitude = np.hypot(real, imaginary).astype(np.float32, copy=False)
    return magnitude, np.arctan2(imaginary, real).astype(np.float32, copy=False)


def is_constant(phase: FloatArray) -> bool:
    """Whether the phase (rad) holds one value only, as a whole or throughout one of its echoes."""
    few_first = (phase[::4, ::4, ::4], phase)  # a part is enough to tell that it is not
    return all(np.min(np.ptp(part, axis=(0, 1, 2))) < 1e-5 for part in few_first)


def looks_unwrapped(phase: FloatArray) -> bool:
    """Whether the phase (rad) spans clearly more than one turn, as a wrapped phase cannot."""
    return bool(np.ptp(phase) > 1.02 * TWO_PI)


def looks_filtered(phase: FloatArray, mask: BoolArray) -> bool:
    """Whether the phase (rad; 3D or 4D) was high-pass filtered: centred on 0, hardly any spread in the mask.

    Judged by the last echo, with circular statistics so that a few noisy voxels do not matter: mean within
    ±0.1 rad, standard deviation below 0.35 rad.
    """
    last = phase[mask] if phase.ndim == 3 else phase[..., -1][mask]
    last = last[:: max(1, last.size // 100_000)]
    mean = np.exp(1j * last).mean(dtype=np.complex128) if last.size else 0
    return bool(abs(mean) > np.exp(-(0.35**2) / 2) and abs(np.angle(mean)) < 0.1)


def has_slice_chop(phase: FloatArray, magnitude: FloatArray | None = None, axis: int = 2) -> bool:
    """Wrapped phase (rad; 3D or 4D) → whether it alternates by π from slice to slice, as raw GE phase does.

    True if the complex correlation of neighbouring slices at the first echo is below −0.5: a field gradient
    that strong would have dephased the signal, and wraps within the slices leave the correlation as it is.
    """
    first = phase[..., 0] if phase.ndim == 4 else phase
    weight = (
        np.ones_like(first) if magnitude is None else magnitude[..., 0] if magnitude.ndim == 4 else magnitude
    )
    step = np.diff(first, axis=axis)
    low, high = (np.delete(weight, end, axis=axis) for end in (-1, 0))
    product = low * high
    total = product.sum(dtype=np.float64)
    return bool(total > 0 and np.vdot(product, np.cos(step)) < -0.5 * total)


def undo_slice_chop(phase: FloatArray, axis: int = 2) -> FloatArray:
    """Phase (rad) whose every other slice is shifted by π → phase (rad, ±π) without the shift."""
    out = phase.copy()
    odd = np.moveaxis(out, axis, 0)[1::2]
    odd -= np.copysign(np.float32(np.pi), odd)
    return out


def has_slice_jumps(phase: FloatArray, magnitude: FloatArray | None = None, axis: int = 2) -> bool:
    """Wrapped phase (rad; 3D or 4D) → whether each slice has a constant of its own, as some 2D scans have.

    True if the steps from slice to slice are coherent within the slices but change at random along the axis
    (resultant of the changes below 0.5). An alternation by π (`has_slice_chop`) changes nothing.
    """
    thin = tuple(
        slice(None, None, 1 if a == axis else max(1, n // 64)) for a, n in enumerate(phase.shape[:3])
    )
    steps, coherence = _slice_steps(phase[thin], None if magnitude is None else magnitude[thin], axis)
    sure = coherence > 0.5
    both = sure[1:] & sure[:-1]
    if np.count_nonzero(both) < 5:
        return False
    change = np.exp(1j * np.diff(steps))[both]
    return bool(abs(change.mean()) < 0.5)


def level_slices(phase: FloatArray, magnitude: FloatArray | None = None, axis: int = 2) -> FloatArray:
    """Phase (rad; 3D or 4D) whose slices have constants of their own → phase (rad, ±π) level along the axis.

    The steps of the first echo are taken off all echoes alike. With the constants goes what the field itself
    adds from slice to slice at the first echo time; it is an offset that no echo time changes, and smooth, so
    with several echoes the removal of the coil offset gives it back. With one echo it is lost.
    """
    steps = np.concatenate([[0.0], np.cumsum(_slice_steps(phase, magnitude, axis)[0])])
    shape = [-1 if a == axis else 1 for a in range(phase.ndim)]
    level: FloatArray = (phase - steps.reshape(shape)).astype(np.float32)
    level -= np.float32(TWO_PI) * np.rint(level / np.float32(TWO_PI))
    return level


def _slice_steps(
    phase: FloatArray, magnitude: FloatArray | None, axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean step of the first echo's phase from each slice to the next (rad), and its coherence (0 … 1)."""
    first = phase[..., 0] if phase.ndim == 4 else phase
    size = (
        np.ones_like(first) if magnitude is None else magnitude[..., 0] if magnitude.ndim == 4 else magnitude
    )
    step, size = np.diff(np.moveaxis(first, axis, 0), axis=0), np.moveaxis(size, axis, 0)
    product = size[1:] * size[:-1]
    total = np.maximum(product.sum(axis=(1, 2), dtype=np.float64), 1e-30)
    mean = (product * np.exp(1j * step)).sum(axis=(1, 2), dtype=np.complex128) / total
    return np.angle(mean), np.abs(mean)


def phase_sign(total_field: FloatArray, head: BoolArray, grid: Grid) -> tuple[int, float]:
    """Total field (ppm) and mask of the head, up to the air → its sign (+1 right, −1 flipped), how clear.

    The correlation of the measured field, well inside, with the field that the closed shape of the head
    causes as tissue (−9.4 ppm) in air, both without their second-order polynomial (the shim). Act on the sign
    only if the correlation is clear, say beyond ±0.3. The head may leave the field of view; it is taken to
    continue as it leaves. All lengths scale with the size of the mask, so other bodies can be judged.
    """
    size = float(np.count_nonzero(head) * np.prod(grid.voxel_size)) ** (1 / 3)
    step = [max(1, round(size / 36 / h)) for h in grid.voxel_size]
    thin = tuple(slice(None, None, s) for s in step)
    inside, field = head[thin], total_field[thin]
    coarse = Grid(inside.shape, grid.affine @ np.diag([*step, 1.0]), grid.b0_override)
    closed, depth = _closed(inside, coarse, size / 6)
    inner = inside & (depth > size / 15) & np.isfinite(field)
    if np.count_nonzero(inner) < 100:
        return 1, 0.0
    shim = _polynomials(inner)
    predicted = _field_of_tissue(closed, coarse)
    measured, expected = (_residual(shim, x[inner].astype(float)) for x in (field, predicted))
    norm = np.linalg.norm(measured) * np.linalg.norm(expected)
    correlation = float(measured @ expected / norm) if norm > 0 else 0.0
    return (-1 if correlation < 0 else 1), correlation


def is_bipolar(
    phase: FloatArray, magnitude: FloatArray | None, mask: BoolArray, echo_times: Sequence[float]
) -> bool:
    """Wrapped phase (rad, 4D; echo times in s) → whether even and odd echoes were read in opposite ways.

    True if a phase that alternates from echo to echo, constant plus linear along one axis, is there: above
    0.1 rad (root mean square), and explaining most of what is not linear in time. Below three echoes, or
    without two equal echo spacings in a row, nothing can be told: False.
    """
    if not _triples(echo_times):
        return False
    found = _alternation(phase, magnitude, mask, echo_times)
    return found.strength > ALTERNATION and found.coherence > 0.5


def correct_bipolar(
    phase: FloatArray, magnitude: FloatArray | None, mask: BoolArray, *, echo_times: Sequence[float]
) -> FloatArray:
    """Wrapped phase (rad, 4D; echo times in s) of a bipolar readout → phase (rad, ±π) as if read one way.

    Fits θ = a + b·u, u along the axis where b is largest, to φₖ − 2φₖ₊₁ + φₖ₊₂ = (−1)ᵏ·4θ (the field and the
    coil offset cancel), and takes (−1)ᵏ·θ off echo k. θ is found up to π/2, |a| ≤ π/4 at the centre of the
    mask: a multiple of π/2 left over is the same as a field shift of 1/(2ΔTE) everywhere.

    Raises ScanError unless three echoes with equal spacing follow each other. Li et al. 2015,
    doi:10.1007/s10334-014-0470-3. Differs from the paper in that all triples of echoes are used, weighted by
    their noise, and that the fit is made on complex numbers, so that nothing need be unwrapped.
    """
    if not _triples(echo_times):
        raise ScanError("the bipolar correction needs three equally spaced echoes in a row; switch it off")
    found = _alternation(phase, magnitude, mask, echo_times)
    shape = [-1 if axis == found.axis else 1 for axis in range(3)]
    theta = (found.constant + found.slope * np.arange(phase.shape[found.axis])).reshape([*shape, 1])
    signs = (-1.0) ** np.arange(phase.shape[3])
    turned = phase - (theta * signs).astype(np.float32)
    turned -= np.float32(TWO_PI) * np.rint(turned / np.float32(TWO_PI))
    return turned


@dataclass(frozen=True)
class _Alternation:
    """θ = constant + slope·index along `axis` (rad), its root mean square, and the share that it explains."""

    axis: int
    constant: float
    slope: float
    strength: float
    coherence: float


def _triples(echo_times: Sequence[float]) -> list[int]:
    """The echoes that two others follow at equal spacing."""
    spacing = np.diff(np.asarray(echo_times, dtype=float))
    return [k for k in range(len(spacing) - 1) if abs(spacing[k + 1] / spacing[k] - 1) <= UNEQUAL]


def _alternation(
    phase: FloatArray, magnitude: FloatArray | None, mask: BoolArray, echo_times: Sequence[float]
) -> _Alternation:
    """The alternating phase, judged by every n-th voxel, so that some 64 to 127 remain along each axis."""
    steps = np.array([max(1, n // 64) for n in mask.shape])
    thin = tuple(slice(None, None, int(s)) for s in steps)
    weight = np.ones_like(phase[thin]) if magnitude is None else magnitude[thin]
    z = _fourfold(phase[thin], weight, _triples(echo_times)) * mask[thin]
    total = float(np.abs(z).sum())
    if total == 0:
        return _Alternation(0, 0.0, 0.0, 0.0, 0.0)
    slopes = [float(np.angle(np.vdot(np.delete(z, -1, a), np.delete(z, 0, a)))) for a in range(3)]
    axis = int(np.argmax(np.abs(slopes) * np.sqrt(_variances(np.abs(z)))))
    profile = z.sum(axis=tuple(a for a in range(3) if a != axis))
    constant, slope = _line(profile, slopes[axis])
    line = constant + slope * np.arange(profile.size)
    power = np.abs(profile)
    strength = float(np.sqrt((power * (line / 4) ** 2).sum() / power.sum()))
    coherence = float((profile * np.exp(-1j * line)).sum().real) / total
    return _Alternation(axis, constant / 4, slope / 4 / int(steps[axis]), strength, coherence)


def _fourfold(phase: FloatArray, magnitude: FloatArray, triples: Sequence[int]) -> NDArray[np.complex128]:
    """Σ w·exp(i·4θ) over triples of echoes, each with the inverse variance of its phase as weight."""
    with np.errstate(divide="ignore"):
        noise = 1 / np.square(magnitude, dtype=np.float64)
    z = np.zeros(phase.shape[:3], np.complex128)
    for k in triples:
        bend = phase[..., k] - 2 * phase[..., k + 1] + phase[..., k + 2]
        weight = 1 / (noise[..., k] + 4 * noise[..., k + 1] + noise[..., k + 2])
        z += weight * np.exp(1j * (-1) ** k * bend)
    return z


def _variances(weight: NDArray[np.float64]) -> list[float]:
    """Of the voxel index along each axis, weighted."""
    variances = []
    for axis in range(3):
        w = weight.sum(axis=tuple(a for a in range(3) if a != axis))
        index = np.arange(w.size)
        mean = (w * index).sum() / w.sum()
        variances.append(float((w * (index - mean) ** 2).sum() / w.sum()))
    return variances


def _line(profile: NDArray[np.complex128], slope: float) -> tuple[float, float]:
    """Constant and slope (rad per index) of a complex profile's phase, by weighted fits around the last one.

    The constant is chosen within ±π at the profile's centre of weight.
    """
    index, power = np.arange(profile.size), np.abs(profile)
    centre = (power * index).sum() / power.sum()
    u = index - centre
    constant = float(np.angle((profile * np.exp(-1j * slope * u)).sum()))
    for _ in range(5):
        left = np.angle(profile * np.exp(-1j * (constant + slope * u)))
        near = power * (np.abs(left) < np.pi / 2)
        spread = (near * u * u).sum()
        constant += float((near * left).sum() / max(near.sum(), 1e-300))
        slope += float((near * left * u).sum() / spread) if spread > 0 else 0.0
    return constant - slope * centre, slope


def _field_of_tissue(inside: BoolArray, grid: Grid) -> FloatArray:
    """The field (ppm) of a head of −9.4 ppm in air that continues as it leaves the field of view."""
    shape = fast_shape(inside.shape, inside.shape)
    before = [(total - n) // 2 for total, n in zip(shape, inside.shape, strict=True)]
    after = [total - n - b for total, n, b in zip(shape, inside.shape, before, strict=True)]
    chi = np.pad(inside.astype(np.float32) * TISSUE_CHI, list(zip(before, after, strict=True)), mode="edge")
    field = irfft(rfft(chi.astype(np.float32)) * dipole(shape, grid), shape[2])
    x, y, z = (slice(b, b + n) for b, n in zip(before, inside.shape, strict=True))
    return field[x, y, z]


def _closed(inside: BoolArray, grid: Grid, reach: float) -> tuple[BoolArray, FloatArray]:
    """A mask → the mask with gaps up to 2·`reach` (mm) closed, and the depth (mm) below its surface."""
    from scipy.ndimage import distance_transform_edt

    margins = [int(np.ceil(reach / h)) + 1 for h in grid.voxel_size]
    padded = np.pad(inside, [(m, m) for m in margins], mode="edge")
    grown = distance_transform_edt(~padded, sampling=grid.voxel_size) < reach
    depth = distance_transform_edt(grown, sampling=grid.voxel_size) - reach
    x, y, z = (slice(m, m + n) for m, n in zip(margins, inside.shape, strict=True))
    depth = depth[x, y, z].astype(np.float32)
    return (depth > 0) | inside, depth


def _polynomials(inside: BoolArray) -> NDArray[np.float64]:
    """An orthonormal basis of the polynomials up to second order at the voxels of a mask, as columns."""
    x, y, z = (np.nonzero(inside)[a] / max(inside.shape[a], 2) - 0.5 for a in range(3))
    columns = [np.ones(x.size), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]
    basis: NDArray[np.float64] = np.linalg.qr(np.stack(columns, axis=1))[0]
    return basis


def _residual(basis: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the basis does not explain, clipped at three robust standard deviations."""
    left = values - basis @ (basis.T @ values)
    limit = 3 * 1.4826 * float(np.median(np.abs(left)))
    return np.clip(left, -limit, limit)
