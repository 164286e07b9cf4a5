"""Maps of M0 and T1 of a head → its proton density and macromolecular volume beside them."""

from __future__ import annotations

import numpy as np

from mensura.io import nifti
from mensura.mask.extraction import brain
from mensura.qmri.density import Density, proton_density
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import Model
from mensura.scan import BoolArray, FloatArray, ScanError

WANTED = "PDmap"
FULL = 100.0
"""Percent: the proton density of water."""


def with_density(
    model: Model, estimates: Estimates, where: tuple[nifti.Image, BoolArray], given: bool = False
) -> tuple[Estimates, list[str]]:
    """What a model found in the voxels of a mask → the same with PDmap and MTVmap if it makes them, and remarks.

    `given`: the mask is the brain; else that is taken from the brightest image. MTV = 100 % − PD (Mezer et al. 2013,
    10.1038/nm.3390). Their error is that of M0: what is wrong with the receive field is not in it. Without a brain
    there are no such maps, and the remark says why.
    """
    if WANTED not in model.produces:
        return estimates, []
    image, mask = where
    m0, t1 = (_volume(estimates.maps[name][0], mask) for name in ("M0map", "T1map"))
    try:
        inside = mask if given else brain(_brightest(image.data), None, image.grid) & mask
        found = proton_density(m0, t1, inside, image.grid)
    except ScanError as reason:
        return estimates, [f"no proton density was made of M0, which holds the receive field: {reason}"]
    with np.errstate(invalid="ignore"):
        error = estimates.maps["M0map"][1] / found.receive[mask]
    density = found.percent[mask]
    made = estimates.derived(WANTED, density, error).derived("MTVmap", FULL - density, error)
    return made, [_said(found, "R2starmap" in model.produces)]


def _said(found: Density, at_zero: bool) -> str:
    """How the scale was set, and what there is to check it."""
    fluid = (
        f"the ventricles have {found.fluid:.0f} %"
        if np.isfinite(found.fluid)
        else "no ventricles to check it"
    )
    left = "" if at_zero else "; the decay up to the echo is left in"
    return (
        f"proton density: set to 69 % in {found.white} voxels of white matter; {fluid}; "
        f"1/PD = a(1 + {found.slope:.2f} s·R1){left}"
    )


def _volume(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Values in a mask → on the whole grid, not a number elsewhere."""
    whole = np.full(mask.shape, np.nan, np.float32)
    whole[mask] = values
    return whole


def _brightest(data: FloatArray) -> FloatArray:
    """Of images (x, y, z, images) the one with the largest mean."""
    means = [float(np.nanmean(np.abs(data[..., i]))) for i in range(data.shape[3])]
    best: FloatArray = np.nan_to_num(np.abs(data[..., int(np.argmax(means))]))
    return best
