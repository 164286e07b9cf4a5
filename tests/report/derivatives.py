"""A small, plausible folder of results: an ellipsoidal head with nuclei and a vein, in tilted slices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.files import write_json
from mensura.io.nifti import write
from mensura.scan import Grid

ECHO_TIMES = [0.004, 0.012, 0.020, 0.028]
HZ_PER_PPM = 127.73

# map name: (description, unit, stage that made it)
MADE_BY = {
    "Chimap": ("Magnetic susceptibility", "ppm", "dipole"),
    "desc-std_Chimap": ("Standard deviation of the susceptibility", "ppm", "dipole"),
    "desc-prior_Chimap": ("Share of the local energy that the prior filled in", "1", "dipole"),
    "desc-temporalstd_Chimap": ("Standard deviation of the susceptibility over time", "ppm", "dipole"),
    "R2starmap": ("Effective transverse relaxation rate", "1/s", "r2star"),
    "desc-std_R2starmap": ("Standard deviation of R2*", "1/s", "r2star"),
    "T2starmap": ("Effective transverse relaxation time", "s", "r2star"),
    "desc-total_fieldmap": ("Total field", "Hz", "field"),
    "desc-std_fieldmap": ("Standard deviation of the total field", "Hz", "field"),
    "desc-residual_fieldmap": ("Relative residual of the echo fit", "1", "field"),
    "desc-local_fieldmap": ("Local field", "Hz", "background"),
    "desc-local_mask": ("Voxels with a susceptibility value", "bool", "background"),
    "desc-brain_mask": ("Voxels that were processed", "bool", "mask"),
    "part-phase_desc-unwrapped_MEGRE": ("Unwrapped phase", "rad", "unwrap"),
    "part-mag_desc-combined_MEGRE": ("Root sum of squares of the echoes", "arbitrary", "mask"),
}

PROCESSING: list[dict[str, Any]] = [
    {
        "Stage": "mask",
        "Method": "robust",
        "Parameters": {"fractional_intensity": 0.5, "threshold": 0.6},
        "EstimationReference": "https://doi.org/10.1002/hbm.10062",
        "Seconds": 2.1,
    },
    {
        "Stage": "offset",
        "Method": "mcpc3ds",
        "Parameters": {"sigma": 7.0},
        "ParameterUnits": {"sigma": "mm"},
        "EstimationReference": "https://doi.org/10.1002/mrm.26963",
        "Seconds": 0.9,
    },
    {
        "Stage": "unwrap",
        "Method": "romeo",
        "Parameters": {"template": 1, "individual": False},
        "EstimationReference": "https://doi.org/10.1002/mrm.28563",
        "Seconds": 1.2,
    },
    {"Stage": "field", "Method": "weighted", "Parameters": {}, "EstimationReference": "", "Seconds": 0.4},
    {
        "Stage": "background",
        "Method": "vsharp",
        "Parameters": {"radius_max": 12.0, "radius_min": 1.0, "threshold": 0.05},
        "ParameterUnits": {"radius_max": "mm", "radius_min": "mm", "threshold": "1"},
        "EstimationReference": "https://doi.org/10.1002/mrm.23000",
        "Seconds": 3.3,
    },
    {
        "Stage": "dipole",
        "Method": "tv",
        "Parameters": {"weight": 2e-4, "tol": 1e-3, "max_iter": 100},
        "EstimationReference": "https://doi.org/10.1002/mrm.25029",
        "Seconds": 4.8,
    },
    {
        "Stage": "reference",
        "Method": "whole_mask",
        "Parameters": {},
        "EstimationReference": "https://doi.org/10.1002/mrm.30006",
        "Seconds": 0.05,
    },
    {
        "Stage": "r2star",
        "Method": "arlo",
        "Parameters": {},
        "EstimationReference": "https://doi.org/10.1002/mrm.25137",
        "Seconds": 0.7,
    },
]

ACQUISITION: dict[str, Any] = {
    "EchoTime": ECHO_TIMES,
    "MagneticFieldStrength": 3.0,
    "RepetitionTime": 0.035,
    "FlipAngle": 15,
    "Readout": "monopolar",
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Prisma",
    "MRAcquisitionType": "3D",
    "ScanningSequence": "GR",
    "PixelBandwidth": 390,
    "ImagingFrequency": 123.2,
    "ParallelReductionFactorInPlane": 2,
}

WARNING = "3 voxels of the phase held no number and were set to 0."


def tilted_grid(shape: tuple[int, int, int], size: tuple[float, float, float], angle: float = 20.0) -> Grid:
    """Slices tilted about the left–right axis; x runs to the left, as scanners store it."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[-1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(size)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def head(grid: Grid, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Maps of an ellipsoidal head on a grid, by map name."""
    noise = np.random.default_rng(seed).standard_normal
    axes = np.meshgrid(*[np.linspace(-1.15, 1.15, n) for n in grid.shape], indexing="ij")
    x, y, z = axes
    brain = x**2 + y**2 + z**2 < 1
    local = x**2 + y**2 + z**2 < 0.95
    nuclei = ((np.abs(x) - 0.25) / 0.12) ** 2 + (y / 0.2) ** 2 + (z / 0.18) ** 2 < 1
    vein = (np.abs(x) < 0.06) & (y < -0.5)
    chi = 0.02 * np.sin(6 * y) * np.cos(5 * x) + 0.12 * nuclei + 0.2 * vein + 0.01 * noise(grid.shape)
    total = (0.4 * np.exp(-((y - 1.1) ** 2 + (z + 0.9) ** 2) / 0.2) + 0.15 * z + 0.1 * x * y) * HZ_PER_PPM
    r2star = 20 + 60 * nuclei + 30 * vein + 60 * np.exp(-((y - 1) ** 2 + (z + 0.8) ** 2) / 0.1)
    phase = 2 * np.pi * total[..., None] * np.array(ECHO_TIMES)
    residual = np.abs(0.05 + 0.03 * noise(grid.shape) + 0.4 * ((y > 0.75) & (z < -0.4)))
    magnitude = (0.2 + 0.8 * brain) * (1 + 0.2 * y) * (1 + 0.03 * noise(grid.shape))
    maps: dict[str, NDArray[Any]] = {
        "Chimap": chi * local,
        "desc-std_Chimap": (0.008 + 0.01 * residual) * local,
        "desc-prior_Chimap": (0.1 + 0.5 * residual) * local,
        "desc-temporalstd_Chimap": (0.01 + 0.02 * residual) * local,
        "R2starmap": r2star * brain,
        "desc-std_R2starmap": (1 + r2star / 50) * brain,
        "T2starmap": brain / r2star,
        "desc-total_fieldmap": total * brain,
        "desc-std_fieldmap": (0.3 + 2 * residual) * brain,
        "desc-residual_fieldmap": residual * brain,
        "desc-local_fieldmap": 20 * chi * np.cos(3 * z) * local,
        "part-phase_desc-unwrapped_MEGRE": phase * brain[..., None],
        "part-mag_desc-combined_MEGRE": magnitude * (x**2 + y**2 + z**2 < 1.25),
    }
    masks = {"desc-brain_mask": brain, "desc-local_mask": local}
    return {name: data.astype(np.float32) for name, data in maps.items()} | masks


def sidecar(name: str, history: int = 100) -> dict[str, Any]:
    """The JSON beside a map, as the pipeline writes it."""
    description, unit, stage = MADE_BY[name]
    entry = next(e for e in PROCESSING if e["Stage"] == stage)
    chain = [e | {"Key": f"key-{e['Stage']}"} for e in PROCESSING]
    done = chain[: PROCESSING.index(entry) + 1] if name != "Chimap" else chain[:-1]
    convergence = None
    if stage == "dipole":
        falls = [float(f"{0.6 * 0.93**i:.4g}") for i in range(history)]
        convergence = {
            "Iterations": history,
            "MaxIterations": 100,
            "Converged": history < 100,
            "History": falls,
        }
    return {
        "Description": description,
        "Units": unit,
        "Sources": ["bids:raw:sub-01/anat/sub-01_part-phase_MEGRE.nii.gz"],
        "EstimationAlgorithm": entry["Method"],
        "EstimationReference": entry["EstimationReference"],
        "Mensura": {
            "Step": stage,
            "Method": entry["Method"],
            "Key": f"key-{stage}",
            "Parameters": entry["Parameters"],
            "Inputs": {"bids:raw:sub-01/anat/sub-01_part-phase_MEGRE.nii.gz": "0123456789abcdef" * 2},
            "Versions": {
                "mensura": "0.1.0",
                "python": "3.12.4",
                "numpy": "2.1.0",
                "numba": "0.61",
                "ducc0": "0.36",
            },
            "Seconds": entry["Seconds"],
            "Created": "2026-05-04T10:11:12+00:00",
            "Warnings": [WARNING] if stage == "unwrap" else [],
            "Convergence": convergence,
            "Statistics": {"ReferenceRegion": "whole mask", "ReferenceMean": 0.0123, "ReferenceSD": 0.045}
            if name == "Chimap"
            else {},
        },
        "Acquisition": ACQUISITION,
        "Processing": done,
    }


def write_map(
    folder: Path,
    prefix: str,
    name: str,
    data: NDArray[Any],
    grid: Grid,
    record: Mapping[str, Any] | None = None,
) -> None:
    """One map and its JSON, named as the pipeline does."""
    stem = f"{prefix}_{name}" if prefix else name
    write(folder / f"{stem}.nii.gz", data, grid)
    write_json(folder / f"{stem}.json", sidecar(name) if record is None else record)


def write_results(folder: Path, prefix: str = "", shape: tuple[int, int, int] = (40, 48, 24)) -> Grid:
    """All maps of a run into a folder; the grid they lie on."""
    grid = tilted_grid(shape, (1.0, 1.0, 2.0))
    for name, data in head(grid).items():
        write_map(folder, prefix, name, data, grid)
    return grid
