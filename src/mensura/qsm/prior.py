"""What of a susceptibility map the data did not tell: the share that lies in the cone where the dipole is weak."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.qsm import kernels
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid

WEAK = 0.1
"""|D| below which the prior decides: noise of the field would be amplified more than tenfold there."""
WIDTH = 5.0
"""mm: full width at half height of the Gaussian that energies are averaged with."""
MARGIN = 10.0


@on_box
def prior_share(chi: FloatArray, mask: BoolArray, grid: Grid) -> FloatArray:
    """Susceptibility (ppm) → share of its local energy that the prior had to fill in (0…1), 0 outside the mask.

    share = G∗c² / (G∗c² + G∗(χ − c)²), c the part of χ (its mean over the mask taken away) at spatial frequencies
    where |D| < 0.1, G a Gaussian 5 mm wide. That is so for a sixth of all directions (more for detail as fine as a
    voxel), which is the share of a true map that prefers none. Not-a-number counts as 0.
    """
    shape = fast_shape(grid.shape, [int(np.ceil(MARGIN / h)) for h in grid.voxel_size])
    known = mask & np.isfinite(chi)
    source = np.where(known, chi - np.mean(chi[known], dtype=np.float64), 0).astype(np.float32)
    weak = (np.abs(kernels.dipole(shape, grid)) < WEAK).astype(np.float32)
    filled = crop(irfft(rfft(pad(source, shape)) * weak, shape[2]), grid.shape) * mask
    by_prior, by_data = (_energy(part, grid) for part in (filled, source - filled))
    total = by_prior + by_data
    share: FloatArray = np.divide(by_prior, total, out=np.zeros_like(total), where=mask & (total > 0))
    return share


def _energy(part: FloatArray, grid: Grid) -> FloatArray:
    smooth: FloatArray = gaussian_filter(part * part, [WIDTH / 2.355 / h for h in grid.voxel_size])
    return smooth
