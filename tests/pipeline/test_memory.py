"""The whole job in memory is the whole job: the same maps as on disk, entered anywhere in the chain."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

import mensura
from mensura.io import nifti
from mensura.io.bids import find_runs, load
from mensura.pipeline.config import settings
from mensura.pipeline.job import Job, process
from mensura.scan import GradientEcho, Grid, ScanError, Volume

FAST = {"background+dipole.tfi.max_iter": 10, "mask": "threshold"}


@lru_cache(maxsize=1)
def in_memory(head: Path) -> dict[str, Volume]:
    result: dict[str, Volume] = mensura.qsm(load(find_runs(head)[0]), settings=FAST)
    return result


def test_maps_are_the_same_in_memory_and_on_disk(small_head: Path, tmp_path: Path) -> None:
    run = find_runs(small_head)[0]
    process(Job("head", lambda: load(run), tmp_path, run, settings(FAST)))
    folder = tmp_path / "sub-01" / "anat"
    for name, stem in (("chi", "Chimap"), ("r2star", "R2starmap"), ("chi_std", "desc-std_Chimap")):
        there, here = nifti.read(folder / f"sub-01_{stem}.nii.gz"), in_memory(small_head)[name]
        assert there.grid.matches(here.grid)
        rounding = 1e-5 * max(1.0, float(here.data.max()))  # of float32 sums over the largest values
        np.testing.assert_allclose(there.data, here.data, rtol=1e-3, atol=rounding)


def test_volumes_and_a_scan_give_the_same(small_head: Path) -> None:
    scan = load(find_runs(small_head)[0])
    assert scan.phase is not None
    assert scan.magnitude is not None
    phase, magnitude = Volume(scan.phase, scan.grid, "rad"), Volume(scan.magnitude, scan.grid, "arbitrary")
    maps = mensura.qsm(phase, magnitude, scan.acquisition, settings=FAST)
    np.testing.assert_array_equal(maps["chi"].data, in_memory(small_head)["chi"].data)


def test_the_total_field_can_be_brought(small_head: Path) -> None:
    scan, maps = load(find_runs(small_head)[0]), in_memory(small_head)
    assert scan.magnitude is not None
    magnitude = Volume(scan.magnitude, scan.grid, "arbitrary")
    brain = binary_erosion(maps["mask"].data, iterations=2)
    mask = Volume(brain, scan.grid, "1")
    whole = mensura.qsm(load(find_runs(small_head)[0]), mask=mask, settings=FAST)
    again = mensura.qsm(total_field=whole["total_field"], magnitude=magnitude, mask=mask, settings=FAST)
    assert np.corrcoef(again["chi"].data[brain], whole["chi"].data[brain])[0, 1] > 0.6  # without its noise
    assert "chi_std" not in again


def test_the_local_field_can_be_brought(small_head: Path) -> None:
    maps = in_memory(small_head)
    chosen = {"dipole": "tikhonov", "dipole.tikhonov.weight": 0.01}
    again = mensura.qsm(local_field=maps["local_field"], mask=maps["mask"], settings=chosen)
    inside = maps["mask"].data
    assert np.corrcoef(again["chi"].data[inside], maps["chi"].data[inside])[0, 1] > 0.8


def test_without_a_mask_the_field_itself_says_where(small_head: Path) -> None:
    field = in_memory(small_head)["local_field"]
    maps = mensura.qsm(local_field=field, settings={"dipole": "tkd"})
    np.testing.assert_array_equal(maps["mask"].data, field.data != 0)


def test_the_reference_region_has_mean_zero(small_head: Path) -> None:
    maps = in_memory(small_head)
    region = np.zeros(maps["chi"].data.shape, bool)
    region[18:22, 20:24, 18:22] = True
    where = Volume(region, maps["chi"].grid, "1")
    again = mensura.qsm(load(find_runs(small_head)[0]), settings=FAST, reference_region=where)
    assert abs(again["chi"].data[region & again["mask"].data].mean()) < 1e-6
    assert abs(maps["chi"].data[region & maps["mask"].data].mean()) > 1e-5


def test_a_flipped_phase_is_noticed_and_turned(small_head: Path) -> None:
    scan = load(find_runs(small_head)[0])
    assert scan.phase is not None
    assert scan.magnitude is not None
    magnitude = Volume(scan.magnitude, scan.grid, "arbitrary")
    steps = {"background+dipole.smv_tv.max_iter": 3}
    maps, again = (
        mensura.qsm(Volume(sign * scan.phase, scan.grid, "rad"), magnitude, scan.acquisition, settings=steps)
        for sign in (np.float32(1), np.float32(-1))
    )
    np.testing.assert_allclose(again["chi"].data, maps["chi"].data, atol=2e-3)


@pytest.mark.parametrize(
    ("bad", "said"),
    [({"unit": "deg"}, "rad"), ({"grid": "other"}, "another grid"), ({"acquisition": None}, "acquisition")],
)
def test_volumes_that_do_not_fit_are_refused(bad: dict[str, str | None], said: str) -> None:
    grid = Grid.from_voxel_size((8, 8, 8))
    other = Grid.from_voxel_size((8, 8, 8), (2, 2, 2))
    data = np.random.default_rng(0).standard_normal((8, 8, 8, 2)).astype(np.float32)
    phase = Volume(data, grid, bad.get("unit") or "rad")
    magnitude = Volume(abs(data), other if "grid" in bad else grid, "arbitrary")
    acquisition = None if "acquisition" in bad else GradientEcho((0.004, 0.008), 3.0)
    with pytest.raises(ScanError, match=said):
        mensura.qsm(phase, magnitude, acquisition)


def test_the_room_can_be_called_and_entered_in_any_order() -> None:
    import mensura.qsm.unwrap as unwrap
    from mensura.qsm.stages import STAGES

    assert mensura.qsm.unwrap is unwrap
    assert callable(mensura.qsm)
    assert mensura.romeo is unwrap.romeo
    assert mensura.romeo is STAGES["unwrap"].methods["romeo"].function
    assert {"romeo", "tv", "vsharp", "qsm", "Volume"} <= set(dir(mensura))
    with pytest.raises(AttributeError, match="nonsense"):
        mensura.nonsense  # noqa: B018
