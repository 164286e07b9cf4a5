"""The maps a report shows: title, unit, display range, colour scale, and a line on how to read each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.report.colours import Scale
from mensura.scan import GAMMA_BAR, BoolArray, FloatArray


@dataclass(frozen=True)
class MapKind:
    """How a map is shown. With `per_tesla` the range is meant at 3 T and grows with the field strength."""

    key: str
    name: str  # of the file, without entities
    title: str
    unit: str
    scale: Scale
    reading: str
    group: Literal["maps", "quality"] = "maps"
    where: Literal["local", "brain", "all"] = "brain"
    per_tesla: bool = False
    echo: int | None = None  # of a 4D image
    rewrap: bool = False
    outline: bool = False
    window: bool = False  # the range is found from the image, which has no physical unit


PI = float(np.pi)

MAPS: tuple[MapKind, ...] = (
    MapKind(
        "chi",
        "Chimap",
        "Magnetic susceptibility χ",
        "ppm",
        Scale("grey", -0.1, 0.2),
        "Bright is paramagnetic (iron, veins), dark is diamagnetic (myelin, calcium).",
        where="local",
    ),
    MapKind(
        "r2star",
        "R2starmap",
        "Effective transverse relaxation rate R2*",
        "1/s",
        Scale("heat", 0.0, 100.0),
        "High where iron or field gradients dephase the signal; rims near air come from the gradients.",
    ),
    MapKind(
        "t2star",
        "T2starmap",
        "Effective transverse relaxation time T2*",
        "s",
        Scale("water", 0.0, 0.1),
        "The inverse of R2*.",
    ),
    MapKind(
        "local_field",
        "desc-local_fieldmap",
        "Local field",
        "Hz",
        Scale("diverging", -10.0, 10.0),
        "What the sources inside the mask make of the field; broad shades at the rim are background left.",
        where="local",
        per_tesla=True,
    ),
    MapKind(
        "total_field",
        "desc-total_fieldmap",
        "Total field",
        "Hz",
        Scale("diverging", -100.0, 100.0),
        "The measured field, shim and air included; it should be smooth, without jumps.",
        per_tesla=True,
    ),
    MapKind(
        "magnitude",
        "part-mag_desc-combined_MEGRE",
        "Magnitude and the mask's outline",
        "arbitrary",
        Scale("grey", 0.0, 1.0),
        "Root sum of squares of the echoes. The line should follow the brain and leave out skull and air.",
        group="quality",
        where="all",
        outline=True,
        window=True,
    ),
    MapKind(
        "wrapped",
        "part-phase_desc-unwrapped_MEGRE",
        "Phase before unwrapping, last echo",
        "rad",
        Scale("grey", -PI, PI),
        "The unwrapped phase folded back into ±π: what unwrapping had to solve.",
        group="quality",
        echo=-1,
        rewrap=True,
    ),
    MapKind(
        "unwrapped",
        "part-phase_desc-unwrapped_MEGRE",
        "Unwrapped phase, last echo",
        "rad",
        Scale("diverging", -6 * PI, 6 * PI),
        "It should be smooth; a sharp edge that the magnitude does not show is a wrap left over.",
        group="quality",
        echo=-1,
    ),
    MapKind(
        "residual",
        "desc-residual_fieldmap",
        "Residual of the echo fit",
        "relative",
        Scale("heat", 0.0, 0.6),
        "How far the echoes are from one common field; beyond about 0.3 a voxel should not be trusted.",
        group="quality",
    ),
    MapKind(
        "field_error",
        "desc-std_fieldmap",
        "Standard deviation of the field",
        "Hz",
        Scale("heat", 0.0, 1.0),
        "Expected error of the total field in each voxel: noise, echoes that disagree, and variation inside the voxel.",
        group="quality",
        per_tesla=True,
    ),
    MapKind(
        "chi_std",
        "desc-std_Chimap",
        "Standard deviation of χ",
        "ppm",
        Scale("heat", 0.0, 0.02),
        "Noise of the field carried through the inversion.",
        group="quality",
        where="local",
    ),
    MapKind(
        "temporal_sd",
        "desc-temporalstd_Chimap",
        "Standard deviation of χ over time",
        "ppm",
        Scale("heat", 0.0, 0.05),
        "How much χ varies from volume to volume: noise, physiology and motion; high at the rim and in vessels.",
        group="quality",
    ),
    MapKind(
        "prior_share",
        "desc-prior_Chimap",
        "Filled in by the prior",
        "1",
        Scale("heat", 0.0, 0.6),
        "Share of the local energy where the dipole is weak; beyond 0.5 the prior made most of the contrast.",
        group="quality",
        where="local",
    ),
    MapKind(
        "r2star_std",
        "desc-std_R2starmap",
        "Standard deviation of R2*",
        "1/s",
        Scale("heat", 0.0, 5.0),
        "Expected noise of R2* in each voxel.",
        group="quality",
    ),
)


def shown_scale(kind: MapKind, values: FloatArray, field_strength: float | None) -> Scale:
    """A map's display range: fixed, or in proportion to B0, or the image's own where there is no unit."""
    scale = kind.scale
    if kind.window:
        return Scale(
            scale.name, 0.0, float(np.quantile(values[::7], 0.995)) * 1.15 or 1.0 if values.size else 1.0
        )
    factor = (field_strength or 3.0) / 3.0 if kind.per_tesla else 1.0
    low, high = (
        float(f"{limit * factor:.2g}") if kind.per_tesla else limit for limit in (scale.low, scale.high)
    )
    return Scale(scale.name, low, high)


def prepared(kind: MapKind, data: NDArray[Any]) -> FloatArray:
    """An image as read → the 3D array that is shown: one echo of it, wrapped again if the map asks for it."""
    chosen = data[..., kind.echo if kind.echo is not None else 0] if data.ndim == 4 else data
    if not kind.rewrap:
        return np.ascontiguousarray(chosen, dtype=np.float32)
    turns = np.round(chosen / np.float32(2 * PI))
    return (chosen - turns * np.float32(2 * PI)).astype(np.float32)


def in_ppm(scale: Scale, field_strength: float | None) -> str:
    """A range in Hz → the same in ppm, as words, where the field strength is known."""
    if field_strength is None:
        return ""
    hz_per_ppm = GAMMA_BAR * field_strength * 1e-6
    start = "±" if scale.low < 0 else "0 to "
    return f"{start}{scale.high / hz_per_ppm:.2g} ppm at {field_strength:g} T"


def region(kind: MapKind, values: FloatArray, brain: BoolArray | None, local: BoolArray | None) -> BoolArray:
    """Where a map has values: the mask it was computed in, or else the voxels that are not zero."""
    mask = {"local": local if local is not None else brain, "brain": brain, "all": None}[kind.where]
    if kind.where == "all":
        return np.ones(values.shape, dtype=bool)
    return mask if mask is not None else values != 0
