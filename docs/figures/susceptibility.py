"""`python docs/figures/susceptibility.py`: the figures, the numbers and the text of "Why susceptibility is hard".

The figures and `susceptibility.json` are written beside this file. The page is `susceptibility.md.jinja` with the
numbers filled in: change its words there. What the text says in words and not in numbers is listed in `CLAIMS`, and
the script fails where one of them does not hold.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chi_drawn as drawn
import chi_measured as measured
import chi_scene as scene
import numpy as np
from chi_scene import Array, Case
from drawing import save
from jinja2 import Environment, StrictUndefined

FIGURES = Path(__file__).resolve().parent
PAGE = FIGURES.parent / "why-susceptibility-is-hard.md"
TEMPLATE, NUMBERS = FIGURES / "susceptibility.md.jinja", FIGURES / "susceptibility.json"
THRESHOLDS = (0.02, 0.05, 0.2)
FACTORS: Array = np.power(3.0, np.arange(-3, 4))
DEPTHS = np.array([0, 2, 4, 6, 8, 11, 14, 18, 22, 26, 30.0])
BALL = 8.0
Numbers = dict[str, Any]


def make_forward(case: Case, folder: Path) -> Numbers:
    """Head → the row of pictures from χ to phase, and the sizes of what it shows."""
    save(drawn.forward(case), folder / "susceptibility-forward.png")
    scan, mask = case.scan, case.scan.mask
    turns = 2 * np.pi * scan.acquisition.hz_per_ppm * scan.acquisition.echo_times[-1]
    phase_noise = scan.sigma / scan.magnitude[..., -1][mask]
    local = float(np.std(scan.local_field[mask]))
    return {
        "voxel": scan.grid.voxel_size[0],
        "field_strength": scan.acquisition.field_strength,
        "echo_times": [1e3 * t for t in scan.acquisition.echo_times],
        "chi": 1e3 * float(np.std(scan.chi[mask])),
        "local": 1e3 * local,
        "local_hz": local * scan.acquisition.hz_per_ppm,
        "local_phase": local * turns,
        "total": 1e3 * float(np.std(scan.total_field[mask])),
        "phase_noise": float(np.median(phase_noise)),
        "field_noise": 1e3 * float(np.median(case.std[mask & np.isfinite(case.std)])),
        "wrapped": 100 * float(np.mean(np.abs(turns * scan.total_field[mask]) > np.pi)),
    }


def make_dipole(folder: Path, size: int = 129) -> Numbers:
    """The dipole in space and k-space."""
    save(
        drawn.dipole(scene.unit_response(size // 2 + 1), scene.kernel_plane(size)),
        folder / "susceptibility-dipole.png",
    )
    return {"magic": scene.MAGIC, "share": measured.cone_share(), "cone": measured.CONE}


def make_shapes(folder: Path, scale: float = 1.0) -> Numbers:
    """Sphere and cylinder, in closed form and as the package computes them on voxels (`scale` times as many)."""
    angle, at = np.linspace(0, np.pi / 2, 91), np.radians(np.arange(0, 91, 15.0))
    size, length = (2 * round(scale * n / 2) for n in (48, 240))
    sphere = scene.measured_sphere(at, 1.5, round(1.5 * size), 12 * scale)
    inside, beside = scene.measured_cylinder(at, 2.0, size, length, 6 * scale)
    curves = {
        "outside a sphere, at 1.5 radii": (angle, scene.sphere_field(angle, 1.5), at, sphere),
        "inside a cylinder": (angle, scene.cylinder_field(angle), at, inside),
        "beside a cylinder, at 2 radii": (angle, scene.cylinder_outside(angle, 2.0), at, beside),
    }
    pictures = drawn.sphere_picture(), drawn.cylinder_picture()
    save(drawn.shapes(*pictures, curves), folder / "susceptibility-shapes.png")
    wrong = [
        float(np.abs(found - np.interp(at, angle, closed)).max()) for _, closed, _, found in curves.values()
    ]
    return {"sphere": 1e3 * wrong[0], "cylinder": 1e3 * max(wrong[1:])}


def make_noise(folder: Path, size: int = 128, draws: int = 4) -> Numbers:
    """What thresholded division makes of noise, by angle."""
    found = measured.noise_by_angle(THRESHOLDS, size, draws)
    save(drawn.noise(found), folder / "susceptibility-noise.png")
    return {f"{t:g}": _noise_row(found, t) for t in THRESHOLDS}


def _noise_row(found: measured.NoiseByAngle, threshold: float) -> Numbers:
    at_cone = np.abs(found.angle - scene.MAGIC) < 1.5
    return {
        "gain": found.gain[threshold][0],
        "closed": found.gain[threshold][1],
        "cone": measured.cone_noise_share(threshold),
        "along": float(found.power[threshold][found.angle < 10].mean()),
        "peak": float(found.power[threshold][at_cone].mean()),
    }


def make_inversions(case: Case, folder: Path) -> Numbers:
    """The measured local field inverted by every method, with scores."""
    maps = {name: measured.inverted(case, name) for name in measured.DEFAULTS}
    found = {name: measured.scores(case, chi) for name, chi in maps.items()}
    save(drawn.inversions(case, maps, found), folder / "susceptibility-inversions.png")
    return {**{name: asdict(row) for name, row in found.items()}, "lesion": _lesion(case)}


def _lesion(case: Case) -> Numbers:
    """The calcification: its size, χ (ppm), field (ppm) and its signal over that of the brain (%)."""
    lesion, scan = case.calcification, case.scan
    if not lesion.any():
        return dict.fromkeys(("voxels", "chi", "field", "first", "last"), 0.0)
    signal = scan.magnitude[lesion].mean(axis=0) / scan.magnitude[scan.mask].mean(axis=0)
    return {
        "voxels": int(np.count_nonzero(lesion)),
        "chi": float(scan.chi[lesion].mean()),
        "field": float(np.abs(scan.local_field[measured.around(case) & scan.mask]).max()),
        "first": 100 * float(signal[0]),
        "last": 100 * float(signal[-1]),
    }


def make_path(case: Case, folder: Path, factors: Array = FACTORS) -> Numbers:
    """Every method over its regularisation."""
    paths = {name: measured.regularisation_path(case, name, factors) for name in measured.DEFAULTS}
    level = measured.noise_level(case)
    save(drawn.path(paths, level), folder / "susceptibility-path.png")
    return {"noise": level, **{name: _path_row(p) for name, p in paths.items()}}


def _path_row(found: measured.Path) -> Numbers:
    errors, cone = [s.error for s in found.scores], [s.cone for s in found.scores]
    best = int(np.argmin(errors))
    return {
        "factor": float(found.factor[best]),
        "best": errors[best],
        "weakest": errors[0],
        "strongest": errors[-1],
        "cone_weakest": cone[0],
        "cone_best": cone[best],
        "misfit": float(found.misfit[best]),
    }


def make_background(case: Case, folder: Path, depths: Array = DEPTHS) -> Numbers:
    """Total, background and local field; how deep each reaches, and what the removal of the background leaves wrong."""
    scan, mask = case.scan, case.scan.mask
    errors = {name: measured.centred_error(case, *pair) for name, pair in measured.local_fields(case).items()}
    fields = {"field of sources outside": case.background, "local field": scan.local_field}
    levels = {name: 1e3 * measured.by_depth(f, mask, case.depth, depths) for name, f in fields.items()}
    profiles = {n: 1e3 * measured.by_depth(e, kept, case.depth, depths) for n, (e, kept) in errors.items()}
    deep = mask & (case.depth > BALL + max(scan.grid.voxel_size))
    means = {name: measured.less_ball_mean(f * mask, scan.grid, BALL) for name, f in fields.items()}
    filtered = np.where(deep, measured.less_ball_mean(scan.total_field * mask, scan.grid, BALL), np.nan)
    shown = {
        "total field": (scan.total_field, 0.5),
        "field of sources outside": (case.background, 0.5),
        "local field": (scan.local_field, 0.05),
        f"total field less its\nmean over {BALL:g} mm balls": (filtered, 0.05),
    }
    save(drawn.background(case, shown, depths, levels, profiles), folder / "susceptibility-background.png")
    before, after = ({n: 1e3 * float(np.std(f[deep])) for n, f in group.items()} for group in (fields, means))
    outer, inner = list(fields)
    rim, core = mask & (case.depth < 6), mask & (case.depth >= 18)
    return {
        "ratio": float(np.std(case.background[mask]) / np.std(scan.local_field[mask])),
        "shallow": float(levels[outer][0]),
        "bottom": float(levels[outer][-1]),
        "before": before[outer],
        "after": after[outer],
        "local_before": before[inner],
        "local_after": after[inner],
        "median_depth": float(np.median(case.depth[mask])),
        "rim_share": 100 * float(rim.sum() / mask.sum()),
        "local_rms": 1e3 * float(np.std(scan.local_field[mask])),
        **{
            name: {
                "rim": 1e3 * measured.root_mean_square(e[kept & rim]),
                "core": 1e3 * measured.root_mean_square(e[kept & core]),
                "coverage": 100 * float(kept.sum() / mask.sum()),
            }
            for name, (e, kept) in errors.items()
        },
    }


def make_one_step(case: Case, folder: Path) -> Numbers:
    """Two steps and one, from the measured and from the true total field."""
    numbers: Numbers = {}
    for name in ("measured", "true"):
        maps = measured.chains(case, measured=name == "measured")
        numbers[name] = {n: measured.chain_scores(case, *pair) for n, pair in maps.items()}
        if name == "measured":
            save(drawn.one_step(case, maps, numbers[name]), folder / "susceptibility-one-step.png")
    return numbers


def make_all(folder: Path = FIGURES) -> Numbers:
    """All figures into a folder → all numbers."""
    case = scene.scanned_head()
    return {
        "forward": make_forward(case, folder),
        "dipole": make_dipole(folder),
        "shapes": make_shapes(folder),
        "noise": make_noise(folder),
        "noise_unit": 1e3 * measured.NOISE,
        "inversions": make_inversions(case, folder),
        "path": make_path(case, folder),
        "background": make_background(case, folder),
        "one_step": make_one_step(case, folder),
    }


def _all_methods(test: Callable[[Mapping[str, Any]], bool]) -> Callable[[Numbers], bool]:
    return lambda n: all(test(n["inversions"][name]) for name in measured.DEFAULTS)


CLAIMS: dict[str, Callable[[Numbers], bool]] = {
    "the noise of χ by angle follows the closed form": lambda n: all(
        abs(row["gain"] / row["closed"] - 1) < 0.15 for row in n["noise"].values()
    ),
    "TV and MEDI have much less error in the cone than TKD": lambda n: (
        max(n["inversions"][m]["cone"] for m in ("TV", "MEDI")) < 0.65 * n["inversions"]["TKD"]["cone"]
    ),
    "away from the calcification TV and MEDI are far better than the closed forms": lambda n: (
        max(n["inversions"][m]["far"] for m in ("TV", "MEDI"))
        < 0.75 * min(n["inversions"][m]["far"] for m in ("TKD", "Tikhonov"))
    ),
    "MEDI keeps the total of the calcification": lambda n: abs(n["inversions"]["MEDI"]["total"] - 100) < 15,
    "TV keeps the total of the calcification": lambda n: abs(n["inversions"]["TV"]["total"] - 100) < 10,
    "the scaled closed forms keep the contrast": lambda n: all(
        abs(n["inversions"][m]["slope"] - 1) < 0.1 for m in ("TKD", "Tikhonov")
    ),
    "every method has a best regularisation between the ends": lambda n: all(
        n["path"][m]["best"] < min(n["path"][m]["weakest"], n["path"][m]["strongest"])
        for m in measured.DEFAULTS
    ),
    "the smallest error of TV lies near the noise": lambda n: (
        0.6 < n["path"]["TV"]["misfit"] / n["path"]["noise"] < 1.6
    ),
    "a ball's mean takes the background away and little of the local field": lambda n: (
        n["background"]["after"] < 0.02 * n["background"]["before"]
        and n["background"]["local_after"] > 0.6 * n["background"]["local_before"]
    ),
    "every background method is worse at the rim than deep inside": lambda n: all(
        n["background"][m]["rim"] > 1.5 * n["background"][m]["core"] for m in ("V-SHARP", "PDF", "LBV")
    ),
    "one step is closer to the truth than either chain of two, by a tenth or more": lambda n: all(
        rows["one step"]["error"] < 0.9 * row["error"]
        for rows in n["one_step"].values()
        for name, row in rows.items()
        if name != "one step"
    ),
    "in two steps the background costs more than the dipole": lambda n: all(
        row["error"] ** 2 > 2 * n["inversions"]["TV"]["error"] ** 2
        for name, row in n["one_step"]["measured"].items()
        if name != "one step"
    ),
    "a field without noise helps the three little": lambda n: all(
        n["one_step"]["true"][name]["error"] > 0.8 * row["error"]
        for name, row in n["one_step"]["measured"].items()
    ),
}
"""What the page says in words, as a test of the numbers."""


def unmet(numbers: Numbers) -> list[str]:
    """Numbers → the claims of the text that they do not support."""
    return [claim for claim, holds in CLAIMS.items() if not holds(numbers)]


def page(numbers: Numbers) -> str:
    """Numbers → the text of the page."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["n"] = written
    environment.globals["row_of"] = _row_of
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(numbers)


def _row_of(scores: Mapping[str, float]) -> str:
    """The scores of a map as cells of a table, in the order of `Scores`."""
    digits = {"error": 0, "far": 0, "cone": 1, "rest": 1, "slope": 2, "lesion": 1, "total": 0}
    return " | ".join(written(scores[name], places) for name, places in digits.items())


def written(value: float, digits: int = 0) -> str:
    """A number with so many decimals and a proper minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def main() -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    numbers = make_all()
    NUMBERS.write_text(json.dumps(_rounded(numbers), indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(json.loads(NUMBERS.read_text("utf-8"))), "utf-8")
    for claim in (failed := unmet(numbers)):
        print(f"no longer true, change the text: {claim}", file=sys.stderr)
    print(json.dumps(_rounded(numbers), indent=1, ensure_ascii=False))
    return 1 if failed else 0


def _rounded(value: Any) -> Any:
    """Numbers to four significant digits, wherever they are nested."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
