"""Forward physics on arrays: susceptibility → field → noisy complex echoes. No anatomy in here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mensura.inverse import fft
from mensura.scan import GAMMA_BAR, BoolArray, FloatArray, Grid

NEAR = 12.0
"""Up to this many longest voxel edges from a source, its voxel is a cuboid; further out, a point dipole."""


def dipole_field(chi: FloatArray, grid: Grid, *, background_chi: float = 0.0) -> FloatArray:
    """Susceptibility (ppm, absolute) → relative field shift seen by the protons (ppm), in free space.

    δ(r) = Σ_r' K(r − r')·(χ(r') − χ_b), where K is the Lorentz-corrected field, at a voxel's centre, of a
    uniformly magnetised cuboid voxel: K = δ_r0/3 − N_bb(r), with N the demagnetisation tensor of the cuboid
    (arctangents and logarithms of its corners). Outside the array lies an endless medium of `background_chi`
    (0.36 for air). The sphere of Lorentz removes the contact term, so a uniform medium shifts nothing: that
    fixes what a k-space kernel leaves open as D(0). The convolution is linear (zero-padded to twice the
    size), so there is no aliasing; the kernel is built in real space and shares nothing with the
    D(k) = 1/3 − (k·b)²/|k|² that inversions use.

    DOI 10.1002/cmr.b.20083 (the convolution), 10.1109/20.706216 (the cuboid's tensor).
    """
    spectrum = dipole_spectrum(grid)
    return convolve((chi - np.float32(background_chi)).astype(np.float32, copy=False), spectrum, grid)


def dipole_spectrum(grid: Grid) -> FloatArray:
    """Grid → transform of the real-space kernel on the grid padded to twice its size (real, as K is even)."""
    padded = fft.fast_shape(grid.shape, grid.shape)
    axes = [_offsets(n, size) for n, size in zip(padded, grid.voxel_size, strict=True)]
    kernel = np.empty(padded, np.float32)
    volume = float(np.prod(grid.voxel_size))
    for i, x in enumerate(axes[0]):
        kernel[i] = volume * _point_dipole(x, axes[1][:, None], axes[2][None, :], grid.b0_direction)
    near = [_near(n, size, max(grid.voxel_size)) for n, size in zip(padded, grid.voxel_size, strict=True)]
    kernel[np.ix_(*near)] = _cuboid([a[i] for a, i in zip(axes, near, strict=True)], grid)
    for axis, n in enumerate(padded):
        if n % 2 == 0:  # the one offset without its mirror image; no pair of voxels is that far apart
            kernel[(slice(None),) * axis + (n // 2,)] = 0
    return np.ascontiguousarray(fft.rfft(kernel).real)


def convolve(source: FloatArray, spectrum: FloatArray, grid: Grid) -> FloatArray:
    """Sources (ppm) on the grid and the kernel of `dipole_spectrum` → field (ppm) by linear convolution."""
    padded = fft.fast_shape(grid.shape, grid.shape)
    product_ = fft.rfft(fft.pad(source, padded))
    product_ *= spectrum
    return np.ascontiguousarray(fft.crop(fft.irfft(product_, padded[2]), grid.shape))


def gradient_echo(
    field: FloatArray,
    magnitude: FloatArray,
    r2star: FloatArray,
    *,
    echo_times: Sequence[float],
    field_strength: float,
    phase_offset: FloatArray | None = None,
    bipolar_phase: FloatArray | None = None,
    supersampling: int = 1,
    mask: BoolArray | None = None,
    snr: float | None = None,
    seed: int = 0,
) -> NDArray[np.complex64]:
    """Field (ppm), magnitude at TE = 0 and R2* (1/s) on a fine grid → complex echoes (x, y, z, echo).

    S_n = ⟨m·exp(−TE_n·R2*)·exp(i·(2π·γ̄·B0·δ·TE_n + φ0 + (−1)ⁿ·φ_b))⟩ + noise, where ⟨⟩ averages blocks of
    `supersampling`³ fine voxels, so that spins dephase inside a voxel of the output; φ0 is `phase_offset`
    (rad), φ_b `bipolar_phase` (rad; the alternating phase of a bipolar readout). Higher field → rising
    phase. The noise is complex Gaussian, with standard deviation σ in the real and in the imaginary part,
    σ = (mean magnitude of the first echo over `mask`, a mask on the output grid) / `snr`; None adds none.
    """
    shape = tuple(n // supersampling for n in field.shape)
    echoes = np.empty((*shape, len(echo_times)), np.complex64)
    for n, echo_time in enumerate(echo_times):
        cycles = 2 * np.pi * GAMMA_BAR * 1e-6 * field_strength * echo_time
        for i in range(shape[0]):
            fine = slice(i * supersampling, (i + 1) * supersampling)
            amplitude = magnitude[fine] * np.exp(np.float32(-echo_time) * r2star[fine])
            angle = np.float32(cycles) * field[fine]
            if phase_offset is not None:
                angle += phase_offset[fine]
            if bipolar_phase is not None:
                angle += (-1) ** n * bipolar_phase[fine]
            echoes[i, :, :, n].real = block_mean(amplitude * np.cos(angle), supersampling)[0]
            echoes[i, :, :, n].imag = block_mean(amplitude * np.sin(angle), supersampling)[0]
    if snr is not None:
        add_noise(echoes, noise_sigma(echoes[..., 0], snr, mask), seed)
    return echoes


def noise_sigma(first_echo: NDArray[np.complex64], snr: float, mask: BoolArray | None = None) -> float:
    """First echo, SNR → standard deviation of the noise per channel: mean magnitude over the mask / SNR."""
    magnitude = np.abs(first_echo)
    inside = magnitude > 0 if mask is None else mask
    return float(magnitude[inside].mean(dtype=np.float64)) / snr


def add_noise(echoes: NDArray[np.complex64], sigma: float, seed: int) -> None:
    """Adds to `echoes`, in place, complex Gaussian noise of standard deviation `sigma` per channel."""
    for n in range(echoes.shape[-1]):
        random = np.random.default_rng([seed, n])
        for i in range(echoes.shape[0]):
            noise = random.standard_normal((2, *echoes.shape[1:3]), dtype=np.float32)
            echoes[i, :, :, n] += np.float32(sigma) * (noise[0] + 1j * noise[1])


def block_mean(x: FloatArray, factor: int) -> FloatArray:
    """Volume → volume of the means over blocks of `factor`³ voxels (an incomplete last block is dropped)."""
    if factor == 1:
        return x
    nx, ny, nz = (n // factor for n in x.shape)
    blocks = x[: nx * factor, : ny * factor, : nz * factor].reshape(nx, factor, ny, factor, nz, factor)
    means: FloatArray = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _offsets(n: int, size: float) -> NDArray[np.float32]:
    return (np.fft.fftfreq(n, 1 / n) * size).astype(np.float32)


def _near(n: int, size: float, longest: float) -> NDArray[np.intp]:
    """Indices (negative ones wrapped) of the offsets along one axis whose voxel counts as a cuboid."""
    reach = min(int(np.ceil(NEAR * longest / size)), (n - 1) // 2)
    return np.arange(-reach, reach + 1) % n


def _point_dipole(
    x: np.float32, y: NDArray[np.float32], z: NDArray[np.float32], b: Sequence[float]
) -> NDArray[np.float32]:
    """(3cos²θ − 1)/(4πr³) at one x (mm) for a plane of y, z; the origin gets a finite number."""
    square = np.maximum(x * x + y * y + z * z, np.float32(1e-12))
    along = np.float32(b[0]) * x + np.float32(b[1]) * y + np.float32(b[2]) * z
    kernel = (3 * along * along / square - 1) / (np.float32(4 * np.pi) * square * np.sqrt(square))
    return kernel.astype(np.float32, copy=False)


def _cuboid(axes: Sequence[NDArray[np.float32]], grid: Grid) -> NDArray[np.float64]:
    """K = δ_r0/3 − b·N(r)·b of one magnetised voxel at the offsets `axes` (mm), in double precision."""
    b = grid.b0_direction
    centres = [np.asarray(a, np.float64) for a in axes]
    total = np.zeros([a.size for a in axes])
    for signs in product((-1, 1), repeat=3):
        corner = [a + s * v / 2 for a, s, v in zip(centres, signs, grid.voxel_size, strict=True)]
        x, y, z = np.ix_(*corner)
        r = np.sqrt(x * x + y * y + z * z)
        turns = ((x, y, z), (y, z, x), (z, x, y))
        diagonal = sum(b[i] ** 2 * _own(turn, r) for i, turn in enumerate(turns))
        mixed = b[0] * b[1] * _cross(z, x, y) + b[1] * b[2] * _cross(x, y, z) + b[0] * b[2] * _cross(y, x, z)
        total += np.prod(signs) * (diagonal - 2 * mixed)
    self_voxel = np.all(np.stack(np.meshgrid(*centres, indexing="ij")) == 0, axis=0)
    return np.asarray(self_voxel / 3 - total / (4 * np.pi))


def _own(corner: Sequence[NDArray[np.float64]], r: NDArray[np.float64]) -> NDArray[np.float64]:
    """A corner's part in the diagonal element of its first axis."""
    p, q, s = corner
    return np.arctan(q * s / (p * r))


def _cross(along: NDArray[np.float64], p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """A corner's part in the mixed element of p and q (log(along + r), without its cancellation)."""
    return np.arcsinh(along / np.sqrt(p * p + q * q))
