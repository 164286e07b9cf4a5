"""Tabulated signals: as exact as they say, and a fit by them is that by the equation; where it cannot be, no table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mensura.fit import Parameter, SignalModel, Status, descent, fit_voxels, table
from mensura.fit.lanes import Given, Walked
from mensura.fit.start import Start
from mensura.fit.table import EXACT, Table, look
from mensura.fit.task import Asked
from mensura.fit.walk import walk

ECHOES = 0.012 * np.arange(1, 9)
TIMES = np.array([0.03, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0])
M0 = Parameter("m0", "arbitrary", linear=True)
T1, T2 = Parameter("t1", "s", 0.02, 8), Parameter("t2", "s", 2e-3, 3)
SCALE = Parameter("scale", "1", 0.3, 1.4, starts=8)


def decay(t: Any, m0: Any, t2: Any, scale: Any = 1.0) -> Any:
    return m0 * np.sin(scale * 1.2) * np.exp(-t / t2 / scale)


def recovery(t: Any, a: Any, b: Any, t1: Any) -> Any:
    return a + b * np.exp(-t / t1)


def beat(t: Any, m0: Any, t2: Any, scale: Any) -> Any:
    return m0 * np.exp(-t / t2) * (1.5 + np.cos(40 * t * scale))


def kinked(t: Any, m0: Any, t2: Any) -> Any:
    return m0 * np.abs(1 - 2 * np.exp(-t / t2))


DECAY = SignalModel("decay", decay, (M0, T2), "")
RECOVERY = SignalModel("recovery", recovery, (M0, Parameter("b", "arbitrary", linear=True), T1), "")
BEAT = SignalModel("beat", beat, (M0, T2, SCALE), "")


@pytest.mark.parametrize("model", [DECAY, RECOVERY, BEAT], ids=lambda m: m.name)
def test_it_is_the_equation_and_its_slopes_between_the_nodes(model: SignalModel) -> None:
    made = Table.of(model, TIMES, {}, 10**6)
    assert made is not None
    bent, rng = [model.parameters[i] for i in model.nonlinear], np.random.default_rng(0)
    places = np.stack([rng.uniform(a.low, a.high, 500) for a in made.axes])
    step, size = 1e-5, 8 * len(model.linear)
    columns = np.empty(((1 + len(bent)) * size, 500))
    look(made.grid(len(bent)), places, columns)

    def true(at: np.ndarray) -> np.ndarray:
        values = np.ones((500, len(model.parameters)))
        values[:, model.nonlinear] = np.stack([p.outside(x) for p, x in zip(bent, at, strict=True)], -1)
        return model.basis(TIMES, values, {}).transpose(2, 1, 0).reshape(size, 500)

    largest = np.abs(true(places)).reshape(-1, 8, 500).max(axis=1).repeat(8, axis=0)
    assert np.max(np.abs(columns[:size] - true(places)) / largest) < 2 * EXACT[len(bent) - 1]
    for axis in range(len(bent)):
        shift = step * (np.arange(len(bent)) == axis)[:, None]
        slope = (true(places + shift) - true(places - shift)) / (2 * step)
        off = np.abs(columns[(1 + axis) * size : (2 + axis) * size] - slope) / largest
        assert np.max(off) < 1e-4 * max(1.0, float(np.max(np.abs(slope) / largest)))


def own(n: int) -> np.ndarray:
    return np.linspace(0.5, 1.3, n)


CASES: dict[str, tuple[SignalModel, np.ndarray, list[tuple[float, float]], dict[str, np.ndarray]]] = {
    "one coordinate": (RECOVERY, TIMES, [(900, 1100), (-1900, -1700), (0.2, 3)], {}),
    "one, and each voxel its own": (DECAY, ECHOES, [(900, 1100), (0.02, 0.2)], {"scale": own(4000)}),
    "two coordinates": (BEAT, ECHOES, [(900, 1100), (0.02, 0.2), (0.5, 1.2)], {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("holes", [False, True], ids=["all points", "missing points and weights"])
def test_a_fit_by_it_is_the_fit_by_the_equation(
    case: str, holes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, points, ranges, known = CASES[case]
    rng = np.random.default_rng(1)
    values = np.stack([rng.uniform(*between, 4000) for between in ranges], -1)
    data = model.signal(points, values, {name: v[:, None] for name, v in known.items()})
    data = data + 10 * rng.standard_normal(data.shape)
    weights = rng.uniform(0.5, 2, data.shape) if holes else None
    if holes:
        data[rng.random(data.shape) < 0.05] = np.nan
    data[0], data[1], data[2] = 0, np.nan, 1e4 * points  # and some that fail
    asked = []
    walked = table.Table.grid
    monkeypatch.setattr(table.Table, "grid", lambda self, sought: asked.append(1) or walked(self, sought))
    fast = fit_voxels(model, points, data, known=known, weights=weights)
    assert asked
    monkeypatch.setattr(table, "WORTH", 0)
    monkeypatch.setattr(descent, "SETTLED", 1e-7)  # hardly short of the end
    asked.clear()
    slow = fit_voxels(model, points, data, known=known, weights=weights)
    assert not asked
    assert np.mean(fast.status != slow.status) < 0.002
    assert np.mean(fast.status == Status.OK) > 0.9
    assert (fast.status[:2] == Status.NO_SIGNAL).all()
    good = (fast.status == Status.OK) & (slow.status == Status.OK)
    near = 5e-3 * slow.errors[good]
    assert np.mean(np.abs(fast.values[good] - slow.values[good]) < near) > 0.999
    np.testing.assert_allclose(np.median(fast.errors[good] / slow.errors[good], axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(fast.residual[good], slow.residual[good], rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_a_last_step_that_nobody_looks_at_ends_where_longer_ways_end(case: str) -> None:
    """From 0.0008 standard errors beside, one look suffices: values and amplitudes are right to a tenth of that."""
    model, points, ranges, known = CASES[case]
    rng = np.random.default_rng(3)
    values = np.stack([rng.uniform(*between, 4000) for between in ranges], -1)
    data = model.signal(points, values, {name: v[:, None] for name, v in known.items()})
    task = Asked.of(model, points, data + 2 * rng.standard_normal(data.shape), known).task()
    assert task.table is not None
    grid, linear, q = task.table.grid(len(model.nonlinear)), len(model.linear), len(model.nonlinear)
    own = [task.known[name] for name in known]

    def walked(places: np.ndarray) -> Walked:
        return walk(grid, linear, Given(task.data, task.weight, np.concatenate([places, *own], axis=1)))

    first = walked(task.start.places(task.data))
    best = walked(walked(first.places).places)
    error = 2 * np.sqrt(np.diagonal(first.inverses, axis1=1, axis2=2))
    off = 8e-4 / np.sqrt(q) * error[:, linear:] * rng.choice([-1, 1], (4000, q))
    again = walked(best.places + off)
    told = np.isfinite(error).all(axis=1) & (np.abs(best.places - first.places) < error[:, linear:]).all(
        axis=1
    )
    assert told.mean() > 0.99
    for found, true, spread in (
        (again.places, best.places, error[:, linear:]),
        (again.amplitudes, best.amplitudes, error[:, :linear]),
    ):
        assert np.quantile((np.abs(found - true) / spread)[told], 0.99) < 8e-5


def test_the_start_knows_what_each_voxel_has_of_its_own() -> None:
    t2 = np.geomspace(0.02, 0.2, 4000)
    scale = own(4000)
    data = DECAY.signal(ECHOES, np.stack([np.full(4000, 1000), t2], -1), {"scale": scale[:, None]})
    start = Asked.of(DECAY, ECHOES, data, {"scale": scale}).task().start.places(data)
    assert np.max(np.abs(start[:, 0] - np.log(t2))) < 0.12, "to half a level"
    one = np.concatenate([scale[:-1], [1e4]])
    again = Asked.of(DECAY, ECHOES, data, {"scale": one}).task().start.places(data)
    np.testing.assert_allclose(again[:-1], start[:-1], atol=0.02)


def test_neighbours_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(2)
    data = 1000 * np.exp(-ECHOES / rng.uniform(0.02, 0.2, (1000, 1))) + 10 * rng.standard_normal((1000, 8))
    whole, some = fit_voxels(DECAY, ECHOES, data), fit_voxels(DECAY, ECHOES, data[::3])
    np.testing.assert_array_equal(whole.values[::3], some.values)
    np.testing.assert_array_equal(whole.errors[::3], some.errors)


def test_where_it_would_not_be_exact_or_worth_it_there_is_none() -> None:
    bent = (T2, SCALE, Parameter("rate", "1/s", 1, 2))
    three = SignalModel("three", lambda t, m0, t2, scale, rate: m0 * t2 * scale * rate + t, (M0, *bent), "")
    assert Table.of(three, TIMES, {}, 10**6) is None
    assert Table.of(SignalModel("kinked", kinked, (M0, T2), ""), TIMES, {}, 10**6) is None
    assert Table.of(DECAY, ECHOES, {}, 5) is None
    curved = SignalModel("curved", decay, (Parameter("m0", "arbitrary", 1, 1e5), T2), "")
    assert Table.of(curved, ECHOES, {}, 10**6) is None


def test_the_start_is_so_near_that_a_step_or_two_end_the_fit() -> None:
    t1 = np.geomspace(0.1, 4, 500)
    data = 1000 * (1 - 1.9 * np.exp(-TIMES / t1[:, None]))
    start = Start.of(RECOVERY, TIMES, {}, 500).places(data)
    assert np.max(np.abs(start[:, 0] - np.log(t1))) < 2e-3
