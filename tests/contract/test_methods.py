"""What every method of every table promises, whatever it does: one body per promise, run over all of them."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

import numba
import numpy as np
import pytest
from scene import grid, rearranged, scene

from mensura.methods import call
from mensura.pipeline.config import stages
from mensura.qsm.uncertainty import Inversion
from mensura.scan import Grid, ScanError, Volume

ENTRIES = [(stage, method) for stage, entry in stages().items() for method in entry.methods]


def over(entries: list[tuple[str, str]]) -> pytest.MarkDecorator:
    ids = [f"{stage}-{method}" for stage, method in entries]
    return pytest.mark.parametrize(("stage", "method"), entries, ids=ids)


def taking(artifact: str) -> list[tuple[str, str]]:
    """The entries whose method takes an artifact."""
    return [(s, m) for s, m in ENTRIES if artifact in stages()[s].methods[m].arguments]


every_method = over(ENTRIES)

HEAD_SIZED = 3.5
"""Times the usual scene: masks and references look for something of the size of a brain."""

FIELDS = ("total_field", "local_field", "field_std")
SCALES: dict[str, dict[str, tuple[str, ...]]] = {
    "background": {"in": FIELDS, "out": ("local_field",)},
    "dipole": {"in": FIELDS, "out": ("chi",)},
    "background+dipole": {"in": FIELDS, "out": ("chi",)},
    "reference": {"in": ("chi",), "out": ("chi",)},
}
"""Stages that are linear in scale: what is scaled, and what comes out scaled."""


def inputs(stage: str) -> dict[str, Any]:
    everything = scene(grid(HEAD_SIZED if stage in ("mask", "reference") else 1.0))
    everything["inversion"] = Inversion(parameters={"tol": 1e-3, "max_iter": 200})  # noise shows at rest only
    return {name: everything[name] for name in stages()[stage].consumes if name in everything}


def run(stage: str, method: str, artifacts: dict[str, Any], **parameters: Any) -> dict[str, Volume]:
    return call(stages()[stage], method, artifacts, parameters)


def close(a: Volume, b: Volume, tolerance: float) -> None:
    """Equal within a share of the spread of the values; masks and counts up to that share of voxels."""
    x, y = (np.nan_to_num(v.data.astype(np.float64)) for v in (a, b))
    if a.data.dtype.kind in "biu":
        assert np.mean(x != y) <= tolerance
    else:
        assert np.sqrt(np.mean((x - y) ** 2)) <= tolerance * (np.std(y) + 1e-12)


@cache
def as_usual(stage: str, method: str) -> dict[str, Volume]:
    """What the method makes of the scene, computed once."""
    return run(stage, method, inputs(stage))


@every_method
def test_what_comes_out_is_what_the_table_says(stage: str, method: str) -> None:
    artifacts = inputs(stage)
    where = next(v.grid for v in artifacts.values() if isinstance(v, Volume))
    made = as_usual(stage, method)
    assert {name: volume.unit for name, volume in made.items()} == dict(stages()[stage].produces)
    for name, volume in made.items():
        assert volume.grid is where or volume.grid.matches(where)
        assert volume.data.dtype == (bool if name == "mask" else volume.data.dtype)
        assert volume.data.dtype in (np.bool_, np.uint8, np.float32), f"{name} is {volume.data.dtype}"


@over(taking("mask"))
def test_zero_outside_the_mask_and_a_value_inside(stage: str, method: str) -> None:
    artifacts = inputs(stage)
    made = as_usual(stage, method)
    inside = artifacts["mask"].data
    kept = made.get("mask", artifacts["mask"]).data
    assert not (kept & ~inside).any(), "a method may shrink the mask, not grow it"
    for name, volume in made.items():
        assert not np.any(volume.data[~kept]), f"{name} is not zero outside the mask"
    first = next(iter(made.values())).data
    assert np.isfinite(first[kept]).mean() > 0.999
    assert np.std(first[kept]) > 0


@every_method
def test_axes_may_lie_in_any_order_and_direction(stage: str, method: str) -> None:
    """The same scene stored along other axes gives the same map: voxel sizes and B0 count everywhere.

    Forward differences and unfinished iterations cost up to 5 %; one voxel size or B0 component taken from the
    wrong axis costs ten times that.
    """
    artifacts = inputs(stage)
    turned = {
        name: rearranged(value, (2, 0, 1), (1,)) if isinstance(value, Volume) else value
        for name, value in artifacts.items()
    }
    expected = {name: rearranged(v, (2, 0, 1), (1,)) for name, v in as_usual(stage, method).items()}
    made = run(stage, method, turned)
    for name in made:
        close(made[name], expected[name], 0.08)


@over([(stage, method) for stage, method in ENTRIES if stage in SCALES])
def test_twice_the_field_is_twice_the_map(stage: str, method: str) -> None:
    artifacts = inputs(stage)
    scaled = {
        name: Volume(v.data * np.float32(3), v.grid, v.unit) if name in SCALES[stage]["in"] else v
        for name, v in artifacts.items()
    }
    one, three = as_usual(stage, method), run(stage, method, scaled)
    for name in one:
        factor = 3 if name in SCALES[stage]["out"] else 1
        expected = (
            Volume(one[name].data * np.float32(factor), one[name].grid, one[name].unit)
            if factor > 1
            else one[name]
        )
        close(three[name], expected, 0.06)


@over(taking("magnitude"))
def test_the_unit_of_the_magnitude_does_not_matter(stage: str, method: str) -> None:
    artifacts = inputs(stage)
    magnitude = artifacts["magnitude"]
    louder = {
        **artifacts,
        "magnitude": Volume(magnitude.data * np.float32(1 / 64), magnitude.grid, "arbitrary"),
    }
    one, other = as_usual(stage, method), run(stage, method, louder)
    for name in one:
        close(other[name], one[name], 1e-3)


@every_method
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one processor core only")
def test_the_number_of_threads_changes_no_bit(stage: str, method: str) -> None:
    every = as_usual(stage, method)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    one = run(stage, method, inputs(stage))
    numba.set_num_threads(threads)
    for name in every:
        assert one[name].data.tobytes() == every[name].data.tobytes(), name


@every_method
def test_a_wrong_unit_grid_or_parameter_is_refused(stage: str, method: str) -> None:
    artifacts = inputs(stage)
    name, volume = next((n, v) for n, v in artifacts.items() if isinstance(v, Volume))
    with pytest.raises(ScanError, match=name):
        run(stage, method, {**artifacts, name: Volume(volume.data, volume.grid, "furlong")})
    with pytest.raises(ScanError, match="no parameter"):
        run(stage, method, artifacts, nonsense=1)
    if sum(isinstance(v, Volume) for v in artifacts.values()) > 1:
        shifted = volume.grid.affine.copy()
        shifted[0, 3] += 5
        with pytest.raises(ScanError, match="different grids"):
            run(
                stage,
                method,
                {**artifacts, name: Volume(volume.data, Grid(volume.grid.shape, shifted), volume.unit)},
            )


@every_method
def test_its_entry_tells_what_a_user_needs(stage: str, method: str) -> None:
    entry = stages()[stage].methods[method]
    assert "→" in entry.summary, "the first line of the docstring says what comes in → what goes out"
    assert re.fullmatch(r"(10\.\d{4,}/\S+)?", entry.doi)
    for name, parameter in entry.parameters.items():
        assert parameter.default is not inspect.Parameter.empty, name
        assert parameter.help, name
