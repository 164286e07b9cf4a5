"""A small smooth map of the size of susceptibilities in the brain, in a round mask that leaves a margin."""

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (26, 24, 22)


def smooth_map(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Seed → map (ppm) and mask."""
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    rough = gaussian_filter(noise, 1.2)
    return 0.05 * rough / rough.std(), x**2 + y**2 + z**2 < 9**2
