"""Background removal and inversions on a digital head whose truth is known, each to its own bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_erosion

from mensura.qsm import reference
from mensura.qsm.background.lbv import lbv
from mensura.qsm.background.pdf import joint, pdf
from mensura.qsm.background.sharp import vsharp
from mensura.qsm.dipole.direct import tikhonov, tkd, tsvd
from mensura.qsm.dipole.hd import hd_qsm
from mensura.qsm.dipole.ilsqr import ilsqr
from mensura.qsm.dipole.l1 import l1_tv
from mensura.qsm.dipole.medi import medi
from mensura.qsm.dipole.ndi import ndi
from mensura.qsm.dipole.nonlinear import nonlinear_tgv, nonlinear_tv
from mensura.qsm.dipole.rts import rts
from mensura.qsm.dipole.star import star
from mensura.qsm.dipole.tgv import tgv
from mensura.qsm.dipole.tv import tv
from mensura.qsm.dipole.wh import wh_qsm
from mensura.qsm.single_step.smv import smv_tv
from mensura.scan import Grid, ScanError
from mensura.score import nrmse

INVERSIONS = {
    "tkd": (tkd, 52),
    "tsvd": (tsvd, 55),
    "tikhonov": (tikhonov, 52),
    "ndi": (ndi, 46),
    "ilsqr": (ilsqr, 41),
    "rts": (rts, 40),
    "star": (star, 35),
    "tv": (tv, 35),
    "tgv": (tgv, 35),
    "nonlinear_tv": (nonlinear_tv, 35),
    "nonlinear_tgv": (nonlinear_tgv, 35),
    "l1_tv": (l1_tv, 38),
    "hd_qsm": (hd_qsm, 35),
    "wh_qsm": (wh_qsm, 37),
    "medi": (medi, 42),
}
BACKGROUNDS = {"vsharp": (vsharp, 60), "pdf": (pdf, 48), "lbv": (lbv, 40), "joint": (joint, 34)}


def score(chi: np.ndarray, angle: float = 0.0, **options: Any) -> float:
    scan = head(angle, **options)
    return float(nrmse(chi, scan.chi, binary_erosion(scan.mask)))


@pytest.mark.parametrize("name", INVERSIONS)
def test_true_local_field_to_susceptibility(name: str) -> None:
    method, bound = INVERSIONS[name]
    scan = head()
    assert score(method(scan.local_field * scan.mask, scan.mask, scan.grid)) < bound


def test_total_variation_beats_the_closed_forms() -> None:
    scan = head()
    field = scan.local_field * scan.mask
    best = min(score(tkd(field, scan.mask, scan.grid)), score(tikhonov(field, scan.mask, scan.grid)))
    assert score(tv(field, scan.mask, scan.grid)) < 0.85 * best


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_background_removal_leaves_the_local_field(name: str) -> None:
    method, bound = BACKGROUNDS[name]
    scan = head()
    before = nrmse(scan.total_field * scan.mask, scan.local_field * scan.mask, scan.mask)
    local, kept = method(scan.total_field, scan.mask, scan.grid)
    inside = binary_erosion(kept)
    after = nrmse(local, scan.local_field * scan.mask, inside)
    assert after < bound
    assert after < 0.2 * before
    assert kept.sum() > 0.7 * scan.mask.sum()
    assert not (kept & ~scan.mask).any()


def test_a_purely_external_field_is_removed() -> None:
    """A dipole outside a ball: what is left of its field, as a share of it."""
    grid = Grid.from_voxel_size((40, 40, 40), (1.5, 1.5, 1.5))
    x, y, z = np.meshgrid(*[(np.arange(40) - 19.5) * 1.5] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 20**2
    r = np.sqrt((x - 30) ** 2 + y**2 + z**2)
    field = (1000 * (3 * z**2 / r**2 - 1) / r**3).astype(np.float32)
    for method, share in ((vsharp, 0.02), (lbv, 0.02), (pdf, 0.05)):
        local, kept = method(field * mask, mask, grid)
        assert np.std(local[kept]) < share * np.std(field[mask]), method.__name__


@pytest.mark.parametrize(
    ("angle", "voxel"), [(0.0, (3.0, 3.0, 3.0)), (30.0, (3.0, 3.0, 3.0)), (0.0, (2.4, 2.4, 4.5))]
)
def test_one_step_beats_two_on_any_grid(angle: float, voxel: tuple[float, float, float]) -> None:
    scan = head(angle, voxel)
    field = scan.total_field * scan.mask
    local, kept = vsharp(field, scan.mask, scan.grid)
    two = score(tv(local, kept, scan.grid), angle, voxel=voxel)
    chi = smv_tv(field, scan.mask, scan.grid)
    assert score(chi, angle, voxel=voxel) < min(0.87 * two, 65)
    assert (chi[scan.mask] != 0).mean() > 0.999


def test_noise_weights_keep_a_corrupted_corner_from_streaking() -> None:
    scan = head()
    std = np.full(scan.grid.shape, 1e-3, np.float32)
    field = (scan.local_field * scan.mask).astype(np.float32)
    inside = np.argwhere(scan.mask)
    corner = tuple(inside[inside[:, 2].argmin()])
    box = tuple(slice(max(c - 2, 0), c + 3) for c in corner)
    bad = field.copy()
    bad[box] += 0.5 * scan.mask[box]
    std[box] = 0.5
    far = scan.mask.copy()
    far[tuple(slice(max(c - 5, 0), c + 6) for c in corner)] = False
    clean = tv(field, scan.mask, scan.grid)
    weighted = tv(bad, scan.mask, scan.grid, field_std=std)
    blind = tv(bad, scan.mask, scan.grid)
    assert nrmse(weighted, clean, far) < 0.25 * nrmse(blind, clean, far)


def test_iterations_are_reported_and_can_be_stopped() -> None:
    scan, seen = head(), []

    def stop(iteration: int, most: int, change: float) -> None:
        seen.append((iteration, most, change))
        if iteration == 3:
            raise KeyboardInterrupt

    for method, field in (
        (smv_tv, scan.total_field),
        (tv, scan.local_field),
        (medi, scan.local_field),
    ):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            method(field, scan.mask, scan.grid, monitor=stop)
        assert [s[0] for s in seen] == [1, 2, 3]
        assert all(change > 0 for *_, change in seen)


def test_bad_input_is_refused() -> None:
    scan = head()
    thin = np.zeros_like(scan.mask)
    thin[20, 20, 10:30] = True
    for method in (smv_tv, vsharp, lbv):
        with pytest.raises(ScanError, match="mask"):
            method(scan.total_field, thin, scan.grid)
    with pytest.raises(ScanError, match="penalty"):
        tikhonov(scan.local_field, scan.mask, scan.grid, penalty="cube")
    with pytest.raises(ScanError, match="edge"):
        medi(scan.local_field, scan.mask, scan.grid, edges=1.5)
    with pytest.raises(ScanError, match="standard deviation"):
        tv(scan.local_field, scan.mask, scan.grid, field_std=np.zeros_like(scan.local_field))


def test_references_set_the_zero_where_they_say() -> None:
    scan = head()
    shifted = np.where(scan.mask, scan.chi + 0.3, 0).astype(np.float32)
    whole, region = reference.whole_mask(shifted, scan.mask, scan.grid)
    assert whole[scan.mask].mean() == pytest.approx(0, abs=1e-5)
    assert np.array_equal(region, scan.mask)
    some = scan.mask & (scan.labels == scan.labels[scan.mask][0])
    there, _ = reference.region(shifted, scan.mask, scan.grid, reference_region=some)
    assert there[some].mean() == pytest.approx(0, abs=1e-5)
    fluid, found = reference.csf(shifted, scan.mask, scan.grid, r2star=scan.r2star)
    assert found.any()
    assert scan.r2star[found].max() < 5
    assert fluid[found].mean() == pytest.approx(0, abs=1e-5)
    untouched, _ = reference.none(shifted, scan.mask, scan.grid)
    assert np.array_equal(untouched, shifted)
    for call in (
        lambda: reference.region(shifted, scan.mask, scan.grid),
        lambda: reference.csf(shifted, scan.mask, scan.grid),
        lambda: reference.csf(shifted, scan.mask, scan.grid, r2star=np.full_like(scan.r2star, 50)),
    ):
        with pytest.raises(ScanError):
            call()
