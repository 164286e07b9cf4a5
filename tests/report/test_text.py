"""Checks, tables, plots and words: each says what the record says, and admits what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from derivatives import ACQUISITION, head, sidecar, tilted_grid, write_map

from mensura.pipeline.config import stages
from mensura.report import methods_text
from mensura.report.acquisition import acquisition_rows, echo_summary
from mensura.report.checks import Check, Facts, checks, key_numbers, overall
from mensura.report.colours import Scale
from mensura.report.naming import SENTENCES, method_name, parameter_units, stage_title
from mensura.report.panels import measure
from mensura.report.plots import curve, histogram, nice_ticks
from mensura.report.references import citation, dois
from mensura.report.results import Run, find_run
from mensura.report.text import duration, listed, mean_sd, number, percent, plain, with_unit

NOTHING = Run(Path(), "", {"Chimap": Path("Chimap.nii.gz")}, {})


def run_with(**mensura: Any) -> Run:
    return Run(Path(), "", {"Chimap": Path("Chimap.nii.gz")}, {"Chimap": {"Mensura": mensura}})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0123456, "0.0123"),
        (-4.0, "−4"),
        (2e-4, "0.0002"),
        (3.2e-5, "3.2×10⁻⁵"),
        (1e-5, "10⁻⁵"),
        (100, "100"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers(value: Any, written: str) -> None:
    assert number(value) == written


def test_durations_shares_and_lists() -> None:
    assert [duration(s) for s in (0.004, 0.421, 12.34, 125.0, None)] == [
        "<0.01 s",
        "0.42 s",
        "12.3 s",
        "2 min 05 s",
        "not recorded",
    ]
    assert [percent(s) for s in (0.0, 0.004, 0.31, 92.44)] == ["0 %", "<0.01 %", "0.31 %", "92.4 %"]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert plain([True, None, 2.5, {"x": 1}]) == "yes, none, 2.5, x 1"
    assert [with_unit(3.0, "mm"), with_unit(True, "1")] == ["3 mm", "yes"]


@pytest.mark.parametrize(("coverage", "level"), [(99.0, "good"), (90.0, "look"), (50.0, "bad")])
def test_coverage_sets_the_light(coverage: float, level: str) -> None:
    found = checks(Facts(NOTHING, coverage=coverage))
    assert overall(found) == level
    assert f"{coverage:g} % of the mask has a susceptibility value." in found[0].text


def test_the_gravest_comes_first_and_sets_the_light() -> None:
    found = checks(Facts(NOTHING, coverage=99.0, jumps=3.0, failed={"χ": 60.0}))
    assert [check.level for check in found] == ["bad", "look", "good"]
    assert overall(found) == "bad"
    assert overall([]) == "good"


def test_a_missing_chi_map_is_wrong() -> None:
    found = checks(Facts(Run(Path(), "", {"R2starmap": Path()}, {})))
    assert [check.level for check in found] == ["bad"]


@pytest.mark.parametrize(
    ("converged", "tolerance", "level", "expected"),
    [
        (True, 1e-4, "good", "converged after 40 iterations."),
        (False, 1e-4, "look", "stopped at its limit of 100 iterations, still changing by 0.002"),
        (False, 1e-3, "good", "stopped at its limit of 100 iterations, close to its tolerance"),
    ],
)
def test_convergence_is_told(converged: bool, tolerance: float, level: str, expected: str) -> None:
    record = {"Iterations": 40, "MaxIterations": 100, "Converged": converged, "History": [0.5, 0.002]}
    step = {"Step": "dipole", "Method": "tv", "Parameters": {"tol": tolerance}, "Convergence": record}
    found = checks(Facts(run_with(**step)))
    assert found[0].level == level
    assert f"Dipole inversion (tv) {expected}" in found[0].text


def test_warnings_of_several_maps_are_told_once() -> None:
    block = {"Key": "k", "Warnings": ["The phase looks filtered."]}
    run = Run(Path(), "", {"Chimap": Path()}, {"Chimap": {"Mensura": block}, "T2starmap": {"Mensura": block}})
    assert checks(Facts(run)) == [Check("look", "The phase looks filtered.")]


def test_key_numbers_are_left_out_when_unknown() -> None:
    assert key_numbers(Facts(NOTHING)) == []
    run = run_with(Statistics={"ReferenceMean": -0.012, "ReferenceSD": 0.05, "ReferenceRegion": "CSF"})
    figures = key_numbers(Facts(run, coverage=97.5, noise={"ppm": 0.004}))
    assert [(f.label, f.value, f.unit) for f in figures] == [
        ("Coverage", "97.5", "%"),
        ("χ of the reference", "−0.012 ± 0.050", "ppm"),
        ("Noise of χ", "0.004", "ppm"),
    ]


@pytest.mark.parametrize(
    ("times", "written"),
    [
        ([0.004, 0.012, 0.020, 0.028], "4 echoes, TE = 4:8:28 ms"),
        ([0.0023, 0.0046], "2 echoes, TE = 2.3:2.3:4.6 ms"),
        ([0.004, 0.010, 0.030], "3 echoes, TE = 4, 10, 30 ms"),
        ([0.020], "1 echo, TE = 20 ms"),
    ],
)
def test_echoes_as_the_consensus_writes_them(times: list[float], written: str) -> None:
    assert echo_summary(times) == written


def test_the_acquisition_table_holds_the_record_and_admits_gaps() -> None:
    grid = tilted_grid((100, 120, 60), (0.8, 0.8, 2.0), angle=12.0)
    rows = {row.item: row.value for row in acquisition_rows(ACQUISITION, grid)}
    assert rows["Field strength"] == "3 T"
    assert rows["Repetition time TR"] == "35 ms"
    assert rows["Flip angle"] == "15 °"
    assert rows["Bandwidth"] == "390 Hz/pixel"
    assert rows["Voxel size"] == "0.8×0.8×2 mm³"
    assert rows["Matrix and coverage"] == "100×120×60, field of view 80×96×120 mm³ (as reconstructed)"
    assert rows["Orientation"] == "axial, oblique by 12.0°; B0 is 12.0° from the slice normal"
    assert rows["Acceleration"] == "phase 2"
    assert rows["Readout polarity"] == "monopolar"
    assert rows["Partial Fourier"] is None
    assert rows["Coil"] is None


def test_references_in_any_form_become_dois() -> None:
    assert dois("https://doi.org/10.1002/mrm.28563") == ["10.1002/mrm.28563"]
    assert dois(["doi:10.1002/nbm.1670", "10.1002/nbm.1670"]) == ["10.1002/nbm.1670"]
    assert dois("see (10.1109/TSMC.1978.4310039).") == ["10.1109/TSMC.1978.4310039"]
    assert dois("") == dois(None) == []
    assert citation("10.1002/mrm.28563").startswith("Dymerska B")
    assert citation("10.9999/unknown") == ""


def test_a_mean_is_as_fine_as_its_deviation() -> None:
    assert mean_sd(-4.7e-11, 0.0225) == "0.0000 ± 0.0225"
    assert mean_sd(18.62, 8.031) == "18.62 ± 8.03"
    assert mean_sd(5.52e6, 4.58e5) == "5.52×10⁶ ± 458000"
    assert mean_sd(0.0123, None) == "0.0123"


@pytest.mark.parametrize("stage", ["mask", "offset", "reference"])
def test_what_was_not_done_is_not_claimed(stage: str) -> None:
    method = "given" if stage == "mask" else "none"
    processing = [{"Stage": stage, "Method": method, "Parameters": {}}]
    run = Run(Path(), "", {}, {"Chimap": {"Processing": processing}})
    told = methods_text.paragraph(run, None, None)[-1].text
    assert told == SENTENCES[stage, method]
    assert "{" not in told


def test_exclusions_name_the_map_that_lacks_values() -> None:
    told = methods_text.exclusions(92.44, {"R2*": 2.5})
    assert told == "92.4 % of the mask has a χ value; 2.5 % of the voxels of R2* have no value"
    assert methods_text.exclusions(None, {}) is None


def test_unknown_stages_and_methods_keep_their_names() -> None:
    assert stage_title("new_stage") == "New stage"
    assert method_name("new_method") == "new_method"
    assert parameter_units({"Stage": "new_stage", "Method": "m", "Parameters": {"a": 1}}) == {}


def test_units_come_from_the_tables_of_methods() -> None:
    from mensura.mask.methods import STAGES

    entry = {"Stage": "mask", "Method": "brain", "Parameters": {"fractional_intensity": 0.5}}
    expected = {name: p.unit for name, p in STAGES["mask"].methods["brain"].parameters.items()}
    assert parameter_units(entry) == expected
    assert expected


def test_the_histogram_counts_every_value_once() -> None:
    values = np.random.default_rng(0).normal(0.05, 0.1, 20_000).astype(np.float32)
    low, high = -0.1, 0.2
    plot = histogram(values, Scale("grey", low, high), np.quantile(values, [0.25, 0.5, 0.75]).tolist())
    assert plot.below == pytest.approx(100 * np.mean(values < low), abs=0.01)
    assert plot.above == pytest.approx(100 * np.mean(values >= high), abs=0.01)
    assert plot.median == pytest.approx((np.median(values) - low) / (high - low) * plot.width)
    tops = [float(part.split("H")[0]) for part in plot.path.split("V")[1:-1]]
    heights = plot.height - np.array(tops)
    expected = np.histogram(values, bins=len(heights), range=(low, high))[0]
    np.testing.assert_allclose(heights / heights.sum(), expected / expected.sum(), atol=2e-3)


def test_ticks_are_round_and_inside() -> None:
    assert nice_ticks(-0.1, 0.2) == [-0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2]
    assert nice_ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]


def test_the_curve_falls_from_first_to_last_iteration() -> None:
    plot = curve([1.0, 0.1, 0.01, 0.001])
    points = [tuple(map(float, p.split())) for p in plot.path[1:].split("L")]
    assert [x for x, _ in points] == pytest.approx(np.linspace(0, plot.width, 4).tolist(), abs=0.1)
    assert [y for _, y in points] == pytest.approx(np.linspace(0, plot.height, 4).tolist(), abs=0.1)
    assert [t.label for t in plot.y_ticks] == ["0.001", "0.01", "0.1", "1"]
    assert curve([0.0, float("nan")]).path == ""


def test_maps_are_measured_inside_their_masks_and_failures_counted(tmp_path: Path) -> None:
    grid = tilted_grid((20, 22, 14), (1, 1, 2))
    maps = head(grid)
    chi, inside = maps["Chimap"].copy(), maps["desc-local_mask"]
    known = inside.copy()
    bad = np.argwhere(inside)[::10]
    chi[tuple(bad.T)] = np.nan
    known[tuple(bad.T)] = False
    write_map(tmp_path, "", "Chimap", chi, grid, sidecar("Chimap"))
    for name in ("desc-local_mask", "desc-brain_mask"):
        write_map(tmp_path, "", name, maps[name], grid)
    measured = measure(find_run(tmp_path))
    summary = measured.panels[0].summary
    assert summary is not None
    assert (summary.voxels, summary.failed) == (known.sum(), len(bad))
    assert summary.quartiles == pytest.approx(np.quantile(chi[known], [0.25, 0.5, 0.75]).tolist(), rel=1e-5)
    assert summary.mean == pytest.approx(float(chi[known].mean()), rel=1e-4)
    coverage = 100 * inside.sum() / maps["desc-brain_mask"].sum()
    assert measured.facts.coverage == pytest.approx(coverage)
    assert measured.facts.failed["Magnetic susceptibility χ"] == pytest.approx(100 * len(bad) / inside.sum())


@pytest.mark.parametrize(("jump", "share"), [(2 * np.pi, True), (1.0, False)])
def test_wraps_that_are_left_are_noticed(tmp_path: Path, jump: float, share: bool) -> None:
    grid = tilted_grid((16, 16, 12), (1, 1, 1))
    phase = np.zeros((*grid.shape, 2))
    phase[8:] = jump
    write_map(tmp_path, "", "part-phase_desc-unwrapped_MEGRE", phase, grid)
    write_map(tmp_path, "", "desc-brain_mask", np.ones(grid.shape, bool), grid)
    found = measure(find_run(tmp_path)).facts.jumps
    pairs = sum(np.prod(grid.shape) * (n - 1) / n for n in grid.shape)
    assert found == pytest.approx(100 * 16 * 12 / pairs if share else 0.0)


def test_every_method_of_the_chain_has_a_name_in_words() -> None:
    table = {name for stage in stages().values() for name in stage.methods}
    assert not [name for name in table - {"none"} if method_name(name) == name]
