"""The bench covers what it says, keeps its rows, and gives a perfect method a perfect score."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from kit import course, ranking  # noqa: E402
from kit.conditions import FULL, SMOKE, Condition  # noqa: E402
from kit.forecast import scaled  # noqa: E402
from kit.inputs import Chain, Truth, order, upstream, volume  # noqa: E402
from kit.measuring import measure  # noqa: E402
from kit.scoring import SCORERS, Case, calibrated, leading, scores  # noqa: E402
from kit.table import COLUMNS, Key, Table  # noqa: E402
from mensura.pipeline.config import stages  # noqa: E402

SCORED = [name for name in stages() if name != "uncertainty" and set(stages()[name].produces) & set(SCORERS)]
MICRO = Condition("micro", (36, 42, 36), (4.5, 4.5, 4.5), supersampling=1)
FEW = ("simulate", "mask:threshold", "offset:none:true", "dipole:tkd:true", "r2star:arlo:true")


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(MICRO.scan())


@pytest.fixture
def plan(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> course.Plan:
    """A few quick rows of one tiny head, which is simulated once."""
    monkeypatch.setattr(Condition, "scan", lambda self: truth.scan)
    return course.Plan((MICRO,), FEW, threads=2, say=lambda text: None)


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_method_of_every_table_has_its_rows_and_no_other_has() -> None:
    found = course.keys(FULL[0])
    assert len(set(found)) == len(found)
    of_tables = {(k.stage, k.method) for k in found if k.stage not in ("simulate", "whole command")}
    assert of_tables == {(name, method) for name, stage in stages().items() for method in stage.methods}
    for name, stage in stages().items():
        if upstream(name):
            for method in stage.methods:
                assert {k.input for k in found if (k.stage, k.method) == (name, method)} == {"true", "chain"}


def test_conditions_cover_every_factor_at_both_sizes() -> None:
    assert len({c.name for c in (*FULL, *SMOKE)}) == len(FULL) + len(SMOKE)
    large = [c for c in FULL if c.voxels > 3e6]
    for chosen in (large, [c for c in FULL if c not in large]):
        assert {c.field_strength for c in chosen} == {1.5, 3.0, 7.0}
        assert len({c.snr for c in chosen}) == 2
        assert {c.b0_angle > 0 for c in chosen} == {True, False}
        assert {len(set(c.voxel_size)) > 1 for c in chosen} == {True, False}
        assert {bool(c.lesions) for c in chosen} == {True, False}
        assert len({c.seed for c in chosen}) == 2


def test_a_stage_builds_on_all_before_it_and_a_span_takes_the_place_of_its_parts() -> None:
    assert order(stages())[:4] == ["mask", "offset", "unwrap", "field"]
    assert upstream("dipole") == ["mask", "offset", "unwrap", "field", "background", "r2star"]
    assert upstream("background+dipole") == ["mask", "offset", "unwrap", "field"]
    assert {"background+dipole", "r2star"} <= set(upstream("reference"))
    assert not {"background", "dipole"} & set(upstream("reference"))


def test_a_row_says_what_was_run_where_and_how_well(plan: course.Plan, tmp_path: Path) -> None:
    path = tmp_path / "tables" / "t.csv"
    assert course.run(plan, Table(path)) == len(FEW)
    rows = rows_in(path)
    assert tuple(rows[0]) == COLUMNS
    assert [Key(r["condition"], r["stage"], r["method"], r["input"]) for r in rows] == course.keys(MICRO, FEW)
    for row in rows:
        assert row["status"] == "done", row["message"]
        assert float(row["row_seconds"]) >= float(row["seconds"]) > 0
        assert int(row["threads"]) == 2
        assert all(row[name] for name in ("mensura", "numpy", "numba", "commit", "finished", "seed", "shape"))
        if row["stage"] in stages():
            assert float(row[leading(row["stage"]).column]) > 0
            assert row["default"] == ("yes" if row["method"] == stages()[row["stage"]].default else "no")


def test_rows_that_are_there_are_not_computed_again(plan: course.Plan, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    course.run(plan, Table(path))
    before = path.read_text("utf-8")
    assert course.run(plan, Table(path)) == 0
    assert path.read_text("utf-8") == before
    lines = before.splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:30], "utf-8")  # the last line was cut short
    assert course.run(plan, Table(path)) == len(FEW) - 1
    assert path.read_text("utf-8").startswith("".join(lines[:2]))
    assert len(rows_in(path)) == len(FEW)


def test_an_interruption_keeps_the_rows(
    plan: course.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course, "tried", interrupted_at("dipole", course.tried))
    path = tmp_path / "t.csv"
    assert program().carry_out(plan, path, tmp_path) == 130
    assert [row["stage"] for row in rows_in(path)] == ["simulate", "mask", "offset", "r2star"]
    assert str(path) in capsys.readouterr().out


def test_a_method_that_raises_is_a_row(
    plan: course.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(stage: str, method: str, given: Any) -> Any:
        if stage == "offset":
            raise ValueError("two\nlines")
        return apply(stage, method, given)

    apply = course.apply
    monkeypatch.setattr(course, "apply", broken)
    course.run(plan, Table(tmp_path / "t.csv"))
    rows = {row["stage"]: row for row in rows_in(tmp_path / "t.csv")}
    assert (rows["offset"]["status"], rows["offset"]["message"]) == ("failed", "ValueError: two lines")
    assert rows["r2star"]["status"] == "done"


def test_a_table_of_another_bench_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("condition,method\na,b\n", "utf-8")
    with pytest.raises(ValueError, match="--out"):
        Table(tmp_path / "t.csv")


@pytest.mark.parametrize("stage", SCORED)
def test_a_perfect_method_gets_a_perfect_score(stage: str, truth: Truth) -> None:
    made = truth.made(stage)
    if stage == "r2star":
        zeros = np.zeros(truth.scan.grid.shape, np.float32)
        made |= {"r2star_std": volume(truth.scan, zeros + 1, "1/s"), "status": volume(truth.scan, zeros, "1")}
    if stage == "reference":
        water = sum(truth.scan.truth[f"desc-{sign}_Chimap"].data for sign in ("positive", "negative"))
        made = {"chi": volume(truth.scan, water, "ppm")}
    found = scores(Case(stage, truth.given(stage), made, truth))
    lead = leading(stage)
    assert found[lead.column] == pytest.approx(lead.perfect, abs=1e-4)
    assert found.get("coverage", 100.0) == 100


def test_a_map_of_zeros_scores_a_hundred_and_half_a_map_has_half_the_coverage(truth: Truth) -> None:
    nothing = {"chi": volume(truth.scan, np.zeros(truth.scan.grid.shape), "ppm")}
    given = truth.given("dipole")
    assert scores(Case("dipole", given, nothing, truth))["nrmse"] == pytest.approx(100)
    half = truth.scan.mask.copy()
    half[: half.shape[0] // 2] = False
    case = Case(
        "background", given, {**truth.made("background"), "mask": volume(truth.scan, half, "1")}, truth
    )
    found = scores(case)
    assert found["coverage"] == pytest.approx(50, abs=5)
    assert 0 < found["nrmse"] < 100


def test_errors_as_large_as_foretold_have_a_spread_of_one() -> None:
    error = np.random.default_rng(0).normal(0, 0.02, 40_000).astype(np.float32)
    found = calibrated(error, 0 * error, 0 * error + np.float32(0.02), np.ones(error.shape, bool))
    assert found["z_spread"] == pytest.approx(1, abs=0.03)
    assert found["interval_coverage"] == pytest.approx(95, abs=0.5)


def test_the_true_chain_of_inputs_is_the_scan_without_its_flaws(truth: Truth) -> None:
    scan, given = truth.scan, truth.given("field")
    times = np.asarray(scan.acquisition.echo_times)
    phase = 2 * np.pi * scan.acquisition.hz_per_ppm * scan.total_field[scan.mask][:, None] * times
    left = given["unwrapped_phase"].data[scan.mask] - phase
    assert np.abs(left).max() <= np.pi + 1e-3
    assert np.median(np.abs(left[:, 0])) < 3 / 50  # three standard deviations of the phase at SNR 50
    assert "field_std" not in truth.given("dipole")
    assert np.array_equal(truth.given("dipole")["mask"].data, scan.mask)


def test_the_chain_hands_on_what_the_defaults_made(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(stage: str, given: dict[str, Any]) -> dict[str, Any]:
        calls.append(stage)
        return {name: f"{name} of {stage}" for name in stages()[stage].produces}

    monkeypatch.setattr("kit.inputs.by_default", fake)
    chain = Chain(truth.scan)
    given = chain.given("dipole")
    assert given["local_field"] == "local_field of background"
    assert given["mask"] == "mask of background"
    assert chain.given("background+dipole")["mask"] == "mask of mask"
    assert calls == ["mask", "offset", "unwrap", "field", "background", "r2star"], "each is done once"


def test_memory_and_seconds_are_those_of_the_call() -> None:
    taken = measure(lambda: np.ones(50_000_000 // 8), most=2)
    assert taken.result.size == 50_000_000 // 8
    assert taken.seconds < 5
    if Path("/proc/self/clear_refs").exists() and taken.memory is not None:
        assert taken.memory == pytest.approx(50e6 / 2**30, rel=0.2)


def example(method: str, **values: str) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "")
    row |= {"condition": "a", "stage": "dipole", "method": method, "input": "chain", "status": "done"}
    row |= {"default": "no", "voxels": "1000", "shape": "10x10x10", "finished": "2026-01-01T00:00:00Z"}
    return row | values


def test_rankings_put_the_best_first_and_name_failures() -> None:
    rows = [
        example("good", nrmse="20", seconds="2", row_seconds="5"),
        example("default", nrmse="30", seconds="1", row_seconds="1", default="yes"),
        example("broken", status="failed", message="no"),
    ]
    text = ranking.markdown(rows)
    assert text.index("| good |") < text.index("| **default** |") < text.index("| broken |")
    assert "1 failed" in text


def test_a_forecast_counts_calls_what_is_around_them_and_undisturbed_cores() -> None:
    alone = example("tv", seconds="2", cpu_seconds="3", row_seconds="5")
    assert scaled(alone, 10.0) == pytest.approx(20 + 30), "one call of 2 s, and 3 s around it"
    assert scaled(example("tv", seconds="0.1", cpu_seconds="0.1", row_seconds="0.5"), 10.0) == pytest.approx(
        1 + 2
    )
    assert scaled(alone | {"cpu_seconds": "1"}, 10.0) == pytest.approx(25), "others had half of the time"


def test_the_figure_has_a_panel_for_each_stage(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from kit.drawing import draw

    rows = [
        example("tv", nrmse="20", seconds="2"),
        example("medi", nrmse="18", seconds="9"),
        example("robust", stage="mask", dice="97", seconds="1", input="true"),
        example("mensura run", stage="whole command", nrmse="25", seconds="27", input="files"),
    ]
    text = draw(rows, tmp_path / "figure.svg").read_text("utf-8")
    for word in ("dipole", "mask", "background+dipole", "medi", "mensura run", "NRMSE"):
        assert word in text


def interrupted_at(stage: str, tried: Callable[..., Any]) -> Callable[..., Any]:
    def until(key: Key, source: Any) -> Any:
        if key.stage == stage:
            raise KeyboardInterrupt
        return tried(key, source)

    return until


def program() -> Any:
    """bench/run.py as a module."""
    spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
