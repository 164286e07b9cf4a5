"""The default mask: the brain where the phase can be trusted, whatever the volume shows of it."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.mask.extraction import brain, filled_faces
from mensura.mask.intensity import block_factors, bright, first_echo, shrink, threshold
from mensura.mask.morphology import closing, fill_holes, largest_component
from mensura.mask.quality import coherence, phase_quality
from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


def robust(
    magnitude: FloatArray | None,
    phase: FloatArray | None,
    grid: Grid,
    *,
    fractional_intensity: Annotated[
        float, Tunable("1", "local threshold from background (0) to brain (1): larger, smaller brain")
    ] = 0.55,
    fraction: Annotated[
        float, Tunable("1", "threshold from background (0) to tissue (1) where the volume is no head")
    ] = 0.25,
    quality: Annotated[
        float, Tunable("1", "least coherence of the phase: 0 keeps noise, 1 keeps nothing")
    ] = 0.5,
    bridge: Annotated[float, Tunable("mm", "gaps narrower than a ball of this radius are closed")] = 2.0,
) -> BoolArray:
    """Magnitude, phase (rad) → mask of the brain where the phase is coherent, in one part without holes.

    The region is the brain (`brain`), or what is above the threshold (`threshold`) where the volume cuts the
    object on five or six faces (a crop) or no brain is found (a phantom). From it the voxels of incoherent
    phase (`coherence`) are removed; the largest part is kept, gaps are closed and holes filled within the
    region, so that veins and iron-rich nuclei stay in. Without a phase it is the region, without a magnitude
    the coherent phase. Raises ScanError where nothing is left.
    """
    if magnitude is None:
        if phase is None:
            raise ScanError("a mask needs a magnitude or a phase; give one, or give a mask of your own")
        return phase_quality(magnitude, phase, grid, quality=quality)
    region = _region(magnitude, grid, fractional_intensity, fraction)
    if phase is None:
        return region
    good = largest_component(region & (coherence(phase, magnitude) >= quality))
    if np.count_nonzero(good) < 0.01 * np.count_nonzero(region):
        raise ScanError(
            f"the phase is nowhere in the brain coherent enough for a mask (quality ≥ {quality:g}); lower the"
            " quality, check that the phase is in radians, or give a mask of your own"
        )
    return fill_holes(closing(good, grid, bridge) & region)


def _region(magnitude: FloatArray, grid: Grid, fractional_intensity: float, fraction: float) -> BoolArray:
    """The brain, or everything bright where the volume does not show a head."""
    blocks = shrink(first_echo(magnitude), block_factors(grid, 2.5))
    cut = [share > 0.5 for pair in filled_faces(bright(blocks, fraction)) for share in pair]
    if sum(cut) < 5:
        try:
            return brain(magnitude, None, grid, fractional_intensity=fractional_intensity)
        except ScanError:
            pass
    return threshold(magnitude, None, grid, fraction=fraction)
