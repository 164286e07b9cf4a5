"""How well `desc-std_Chimap` foretells the noise of χ: repeated simulations on heads, by tissue; a table on stdout.

    python bench/uncertainty.py [--runs 8] [--heads 2mm,7T,drawn,1mm] [--methods smv_tv,tv] [--ways probed]

For every head and inversion: maps of the true field (total or local, as the method takes it) with fresh noise of the
field's standard deviation give the seen standard deviation; one more such map is what the prediction starts from.
Table: predicted over seen, as the ratio of root mean squares and as that of medians: in the whole mask, in each tissue
4 mm inside it, in vessels (most of them on the mask's surface), within 4 mm of the surface, and within 4 mm of lesions.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from mensura.phantom.head import simulate_head
from mensura.phantom.labels import LESIONAL, Label
from mensura.phantom.lesions import LESIONS
from mensura.phantom.simulation import Simulation
from mensura.qsm.stages import STAGES, run
from mensura.qsm.uncertainty import Inversion
from mensura.scan import FloatArray, Volume

THREE_TESLA, SEVEN_TESLA = (0.004, 0.012, 0.020, 0.028), (0.004, 0.009, 0.014, 0.019)
SMALL, WHOLE = {"shape": (80, 96, 80), "voxel_size": (2.0, 2.0, 2.0)}, (164, 205, 205)
HEADS: dict[str, dict[str, Any]] = {
    "2mm": {**SMALL, "seed": 7, "snr": 50, "echo_times": THREE_TESLA},
    "7T": {
        **SMALL, "seed": 11, "snr": 30, "echo_times": SEVEN_TESLA, "field_strength": 7.0, "b0_angle": 25.0,
        "lesions": tuple(LESIONS),
    },
    "drawn": {
        "shape": (108, 128, 54), "voxel_size": (1.5, 1.5, 3.0), "seed": 12, "snr": 100, "base": "analytic",
        "echo_times": THREE_TESLA,
    },
    "1mm": {"shape": WHOLE, "voxel_size": (1.0, 1.0, 1.0), "seed": 7, "snr": 50, "echo_times": THREE_TESLA},
}  # fmt: skip
TISSUES = {
    "cortex": (Label.CORTEX,),
    "white": (Label.WHITE_MATTER, Label.CORPUS_CALLOSUM),
    "deep grey": tuple(range(Label.CAUDATE, Label.BRAINSTEM)),
    "stem": (Label.BRAINSTEM,),
    "cerebellum": (Label.CEREBELLAR_CORTEX, Label.CEREBELLAR_WHITE),
    "fluid": (Label.CSF,),
}
DEPTH = 4.0
"""mm: the rim, and what counts as near a lesion."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8, help="repeated simulations for what is seen")
    parser.add_argument("--heads", default="2mm,7T,drawn", help=", ".join(HEADS))
    parser.add_argument(
        "--methods", default="smv_medi,tv", help="inversions, in one step or from the local field"
    )
    parser.add_argument("--ways", default="probed", help=", ".join(STAGES["uncertainty"].methods))
    given = parser.parse_args()
    print("| head | inversion | noise of χ, ppb | way | s | " + " | ".join(columns()) + " |")
    print("|---" * (5 + len(columns())) + "|")
    for head in given.heads.split(","):
        scan = simulate_head(**HEADS[head])
        for method in given.methods.split(","):
            for row in rows(scan, method, given.ways.split(","), given.runs):
                print(f"| {head} | {method} | {row} |", flush=True)


def columns() -> list[str]:
    return ["map", *TISSUES, "vessels", "rim", "lesions"]


def rows(scan: Simulation, method: str, ways: list[str], runs: int) -> list[str]:
    """One table line per way of prediction, for one inversion of one head."""
    stage = next(s for s in ("dipole", "background+dipole") if method in STAGES[s].methods)
    std, noisy = field_std(scan), np.random.default_rng(5)
    source = next(iter(STAGES[stage].consumes))
    true = np.where(scan.mask, getattr(scan, source), np.float32(0))

    def mapped() -> tuple[dict[str, Volume], FloatArray]:
        field = true + std * noisy.standard_normal(true.shape).astype(np.float32)
        images = {source: (field, "ppm"), "mask": (scan.mask, "1"), "field_std": (std, "ppm")}
        given = {name: Volume(data, scan.grid, unit) for name, (data, unit) in images.items()}
        given["magnitude"] = Volume(scan.magnitude, scan.grid, "arbitrary")
        chi = run(stage, method, given)["chi"]
        return {**given, "chi": chi}, (chi.data - chi.data[scan.mask].mean()) * scan.mask

    maps = [mapped()[1] for _ in range(runs)]
    seen, (found, _) = np.std(maps, axis=0, ddof=1), mapped()
    lines = []
    for way in ways:
        began = time.perf_counter()
        taken = {k: v for k, v in found.items() if k in STAGES["uncertainty"].consumes}
        how = {"inversion": Inversion(stage, method)}
        made = run("uncertainty", way, {**taken, **how})["chi_std"].data
        seconds = time.perf_counter() - began
        ratios = " | ".join(compared(scan, made, seen))
        lines.append(f"{1e3 * np.median(seen[scan.mask]):.2f} | {way} | {seconds:.1f} | {ratios}")
    return lines


def field_std(scan: Simulation) -> FloatArray:
    """The standard deviation of the field (ppm) that the magnitudes allow."""
    lever = np.sqrt(((scan.magnitude * np.asarray(scan.acquisition.echo_times)) ** 2).sum(axis=-1))
    scale = scan.sigma / (2 * np.pi * scan.acquisition.hz_per_ppm)
    std = np.minimum(scale / np.maximum(lever, 1e-9 * lever.max()), 1)
    return np.where(scan.mask, std, 0).astype(np.float32)


def compared(scan: Simulation, made: FloatArray, seen: FloatArray) -> list[str]:
    """Predicted over seen standard deviation (root mean square, median), in the order of the columns."""
    voxels = max(1, round(DEPTH / float(np.mean(scan.grid.voxel_size))))
    inner = binary_erosion(scan.mask, iterations=voxels)
    lesion = np.isin(scan.labels, [int(label) for label in LESIONAL])
    near = binary_dilation(lesion, iterations=voxels) & scan.mask if lesion.any() else lesion
    tissues = [inner & np.isin(scan.labels, labels) for labels in TISSUES.values()]
    vessels = scan.mask & np.isin(scan.labels, (Label.VEIN, Label.SINUS))
    parts = [scan.mask, *tissues, vessels, scan.mask & ~inner, near]
    return [ratio(made[part], seen[part]) if part.any() else "" for part in parts]


def ratio(made: FloatArray, seen: FloatArray) -> str:
    return f"{rms(made) / rms(seen):.2f} {np.median(made) / np.median(seen):.2f}"


def rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


if __name__ == "__main__":
    main()
