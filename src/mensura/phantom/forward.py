"""Forward physics on arrays: susceptibility → field → noisy complex echoes. No anatomy in here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.freespace import convolve, dipole_spectrum
from mensura.scan import GAMMA_BAR, BoolArray, FloatArray, Grid


def dipole_field(chi: FloatArray, grid: Grid, *, background_chi: float = 0.0) -> FloatArray:
    """Susceptibility (ppm, absolute) → relative field shift seen by the protons (ppm), in free space.

    δ(r) = Σ_r' K(r − r')·(χ(r') − χ_b), where K is the Lorentz-corrected field, at a voxel's centre, of a
    uniformly magnetised cuboid voxel: K = δ_r0/3 − N_bb(r), with N the demagnetisation tensor of the cuboid
    (arctangents and logarithms of its corners). Outside the array lies an endless medium of `background_chi`
    (0.36 for air). The sphere of Lorentz takes out the contact term, so that a uniform medium shifts nothing:
    that fixes what a k-space kernel leaves open as D(0). The convolution is linear (zero-padded to twice the
    size), so there is no aliasing; the kernel is built in real space and shares nothing with the
    D(k) = 1/3 − (k·b)²/|k|² that inversions use.

    DOI 10.1002/mrm.20194 (perturbation to first order on voxels), 10.1029/93JB00694 (the cuboid's tensor).
    """
    source = (chi - np.float32(background_chi)).astype(np.float32, copy=False)
    return convolve(source, dipole_spectrum(grid), grid)


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
