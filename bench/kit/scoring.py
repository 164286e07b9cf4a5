"""How far what a stage made is from what it should have made: one function per artifact.

Errors of maps count over the true brain mask less one voxel, voxels without a value as zero; `coverage` says how
many have one. Definitions of the scores: docs/benchmark.md and `mensura.score`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from kit.inputs import TWO_PI, Artifacts, Source, wrapped
from mensura.phantom.simulation import Simulation
from mensura.phantom.tissues import names
from mensura.pipeline.config import stages
from mensura.scan import FloatArray, ScanError
from mensura.score import (
    Score,
    Segmentation,
    calibration,
    correlation,
    coverage,
    groups,
    nrmse,
    nrmse_detrended,
    relaxometry,
    rmse,
    susceptibility,
)

Scores = dict[str, float]
TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
CHI_COLUMNS: Mapping[tuple[str, str], str] = {
    **{
        (name, "mask"): name
        for name in ("nrmse", "nrmse_detrended", "correlation", "hfen", "xsim", "gradient_error")
    },
    ("nrmse", "rim"): "rim_nrmse",
    ("nrmse", "tissue"): "tissue_nrmse",
    ("nrmse", "deep-grey"): "deep_grey_nrmse",
    ("nrmse", "blood"): "blood_nrmse",
    ("linearity_error", "deep-grey"): "deep_grey_slope_error",
    ("moment_error_relative", "calcification"): "calcification_moment_error",
    ("streaks", "calcification"): "calcification_streaks",
}
"""Name and region of a score of χ → its column."""
RELAXATION_COLUMNS = {
    (name, "mask"): name
    for name in ("bias", "median_error", "wcv", "rmse", "z_spread", "interval_coverage", "calibration_ratio")
}


@dataclass(frozen=True)
class Leading:
    """The score that a stage's methods are compared by: its column, its name, and what a perfect map scores."""

    column: str
    label: str
    perfect: float = 0.0


@dataclass(frozen=True)
class Case:
    """One result to be scored: what was given and made, where from, and the voxels that count."""

    stage: str
    given: Artifacts
    made: Artifacts
    source: Source
    inside: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inside", binary_erosion(self.source.scan.mask))


def scores(case: Case) -> Scores:
    """A stage's result → its scores by column; none for an artifact whose truth is not known."""
    scorer = BY_STAGE.get(case.stage) or next((s for a, s in SCORERS.items() if a in case.made), None)
    return scorer(case) if scorer else {}


def leading(stage: str) -> Leading:
    """The score that a stage's methods are compared by."""
    if stage == "reference":
        return Leading("zero_error", "zero of χ against water's (ppm)")
    produced = stages()[stage].produces if stage in stages() else ("chi",)
    return next((lead for a, lead in LEADING.items() if a in produced), LEADING["chi"])


def mask_scores(case: Case) -> Scores:
    """Dice coefficient with the brain, the share of the brain that is missed, and what is too much (%)."""
    found, brain = case.made["mask"].data, case.source.scan.mask
    both, size = np.count_nonzero(found & brain), np.count_nonzero(brain)
    return {
        "dice": 100 * 2 * both / (np.count_nonzero(found) + size),
        "missed": 100 * (1 - both / size),
        "extra": 100 * np.count_nonzero(found & ~brain) / size,
    }


def offset_scores(case: Case) -> Scores:
    """Root mean square of the phase offset that is left or wrongly taken (rad)."""
    true = case.source.measured["phase"].data - case.source.scan.phase_offset[..., None]
    error = wrapped(case.made["phase"].data - true)[case.inside]
    return {"offset_error": root_mean_square(error), "coverage": covered(case)}


def unwrapping_scores(case: Case) -> Scores:
    """Share of voxels and echoes (%) within half a turn of 2π·f·TE; and once whole turns of an echo are free."""
    scan = case.source.scan
    times = np.asarray(scan.acquisition.echo_times)
    true = TWO_PI * scan.acquisition.hz_per_ppm * scan.total_field[case.inside][:, None] * times
    turns = np.rint((case.made["unwrapped_phase"].data[case.inside] - true) / TWO_PI)
    return {
        "right_turns": 100 * float(np.mean(turns == 0)),
        "right_turns_relative": 100 * float(np.mean(turns == np.median(turns, axis=0))),
        "coverage": covered(case),
    }


def field_scores(case: Case) -> Scores:
    """NRMSE of the total field, its error in units of the least noise possible, and of the noise it reports."""
    found, true, inside = case.made["total_field"].data, case.source.scan.total_field, case.inside
    known = np.nan_to_num(found)
    error = (known - true)[inside]
    ratio = (error - np.median(error)) / case.source.noise[inside]
    return {
        "nrmse": nrmse(known, true, inside),
        "error_over_noise": root_mean_square(ratio),
        "typical_error_over_noise": TO_DEVIATION * float(np.median(np.abs(ratio))),
        "coverage": coverage(kept_voxels(case) & np.isfinite(found), inside),
        **calibrated(known - np.median(error), true, case.made["field_error"].data, inside),
    }


def local_scores(case: Case) -> Scores:
    """Errors of the local field."""
    found, true, inside = case.made["local_field"].data, case.source.scan.local_field, case.inside
    kept = kept_voxels(case) & np.isfinite(found)
    maps = (np.where(kept, found, np.float32(0)), true, inside)
    return {
        "nrmse": nrmse(*maps),
        "nrmse_detrended": nrmse_detrended(*maps),
        "correlation": correlation(*maps),
        "rmse": rmse(*maps),
        "coverage": coverage(kept, inside),
    }


def chi_scores(case: Case) -> Scores:
    """Errors of χ."""
    return map_scores(case.source.scan, case.made["chi"].data, kept_voxels(case), case.inside)


def command_scores(scan: Simulation, chi: FloatArray, kept: Any) -> Scores:
    """Errors of the χ map that the whole command wrote, and of its zero."""
    inside = binary_erosion(scan.mask)
    return {**map_scores(scan, chi, kept, inside), "zero_error": zero_error(scan, chi, inside)}


def map_scores(scan: Simulation, chi: FloatArray, kept: Any, inside: Any) -> Scores:
    """χ (ppm), the voxels that have a value, those that should → all its scores."""
    segmentation = Segmentation(scan.labels, groups(names()))
    found = susceptibility(
        chi,
        scan.chi,
        inside,
        scan.grid.voxel_size,
        segmentation=segmentation,
        valued=kept,
        missing="zero",
    )
    return picked(found, CHI_COLUMNS)


def reference_scores(case: Case) -> Scores:
    """Where the zero of χ lies; the rest of the map is as the inversion left it."""
    chi = case.made["chi"].data
    kept = kept_voxels(case) & np.isfinite(chi)
    return {
        "zero_error": zero_error(case.source.scan, chi, case.inside),
        "nrmse": nrmse(np.where(kept, chi, np.float32(0)), case.source.scan.chi, case.inside),
        "coverage": coverage(kept, case.inside),
    }


def zero_error(scan: Simulation, chi: FloatArray, inside: Any) -> float:
    """Mean of χ less its mean where water is zero (ppm): 0 for a map that is relative to water."""
    sources = [scan.truth[f"desc-{sign}_Chimap"].data for sign in ("positive", "negative")]
    return float(np.nanmean(chi[inside])) - float(np.mean(sources[0][inside] + sources[1][inside]))


def uncertainty_scores(case: Case) -> Scores:
    """How χ's errors compare with the standard deviation that was foretold."""
    error = case.source.chi_error()
    return calibrated(error, np.zeros_like(error), case.made["chi_std"].data, case.inside)


def relaxation_scores(case: Case) -> Scores:
    """Errors of R2*, in 1/s and in units of its standard deviation, and the share of voxels without a value (%)."""
    found, true = case.made["r2star"].data, case.source.scan.r2star
    fitted = kept_voxels(case) & np.isfinite(found) & (case.made["status"].data == 0)
    all_scores = relaxometry(found, true, case.inside, "1/s", std=case.made["r2star_std"].data, valued=fitted)
    error = np.abs(found - true)[case.inside & fitted]
    return {
        **picked(all_scores, RELAXATION_COLUMNS),
        "typical_error": TO_DEVIATION * float(np.median(error)),
        "failed": 100 * float(np.mean(~fitted[case.inside])),
    }


def calibrated(estimate: FloatArray, true: FloatArray, deviation: FloatArray, inside: Any) -> Scores:
    """Errors in units of the reported standard deviation."""
    valued = inside & np.isfinite(estimate)
    try:
        found = calibration(estimate, true, deviation, valued)
    except ScanError:
        return {}
    return {
        "z_spread": found.spread,
        "interval_coverage": found.interval,
        "calibration_ratio": found.ratio,
    }


def picked(found: Sequence[Score], columns: Mapping[tuple[str, str], str]) -> Scores:
    """A list of scores → those that have a column; the first one's coverage is everyone's."""
    chosen = {
        columns[score.name, score.region]: score.value
        for score in found
        if (score.name, score.region) in columns
    }
    return {**chosen, "coverage": found[0].coverage}


def kept_voxels(case: Case) -> Any:
    """The mask that the stage left, or else the one it was given."""
    return (case.made if "mask" in case.made else case.given)["mask"].data


def covered(case: Case) -> float:
    return coverage(kept_voxels(case), case.inside)


def root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


SCORERS: Mapping[str, Callable[[Case], Scores]] = {
    "chi": chi_scores,
    "chi_std": uncertainty_scores,
    "local_field": local_scores,
    "total_field": field_scores,
    "unwrapped_phase": unwrapping_scores,
    "phase": offset_scores,
    "r2star": relaxation_scores,
    "mask": mask_scores,
}
"""Artifact → its scores; the first of them that a stage makes is scored."""
BY_STAGE: Mapping[str, Callable[[Case], Scores]] = {"reference": reference_scores}

LEADING: Mapping[str, Leading] = {
    "chi": Leading("nrmse", "NRMSE of χ (%)"),
    "chi_std": Leading("z_spread", "spread of χ's errors over the foretold one", 1.0),
    "local_field": Leading("nrmse", "NRMSE of the local field (%)"),
    "total_field": Leading("error_over_noise", "error of the total field over the least noise"),
    "unwrapped_phase": Leading("right_turns", "voxels with the right turns (%)", 100.0),
    "phase": Leading("offset_error", "error of the offset (rad)"),
    "r2star": Leading("typical_error", "typical error of R2* (1/s)"),
    "mask": Leading("dice", "Dice coefficient (%)", 100.0),
}
COLUMNS = (
    *("coverage", *CHI_COLUMNS.values(), "zero_error", "error_over_noise", "typical_error_over_noise"),
    *("typical_error", *RELAXATION_COLUMNS.values(), "right_turns", "right_turns_relative", "offset_error"),
    *("failed", "dice", "missed", "extra"),
)
"""Every score that a row may have, in the order of the table."""
