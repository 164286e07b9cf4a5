"""Forward physics on arrays: susceptibility → field, noise, block means. No anatomy in here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.freespace import convolve, dipole_spectrum
from mensura.scan import FloatArray, Grid


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
