"""Proton density out of M0: the receive field goes, the tissue stays, and the scale is that of white matter."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.qmri.density import Density, proton_density
from mensura.scan import BoolArray, Grid, ScanError

SHAPE = (44, 50, 30)
GRID = Grid.from_voxel_size(SHAPE, (3.0, 3.0, 4.5))
LEVELS = {"white": (0.69, 0.84), "grey": (0.83, 1.6), "fluid": (1.0, 4.2)}
"""Density (of water), T1 (s): 1/density is nearly a line in 1/T1, not quite."""


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray, BoolArray]:
    """Density (%) and T1 of folds of white matter, grey matter and fluid in an ellipsoid with ventricles."""
    x, y, z = (
        a * s - (n - 1) * s / 2 for a, s, n in zip(np.indices(SHAPE), GRID.voxel_size, SHAPE, strict=True)
    )
    radius = np.sqrt((x / 60) ** 2 + (y / 70) ** 2 + (z / 62) ** 2)
    folds = np.sin(x / 9 + 1.3 * np.sin(y / 14)) + np.cos(y / 11 + z / 13)
    depth = folds + 3 * (1 - radius) - 0.6
    inner = (x / 14) ** 2 + (y / 30) ** 2 + (z / 22) ** 2 < 1
    kind = np.where(inner | (depth < -0.7), 2, np.where(depth < 0.4, 1, 0))
    density, t1 = (np.choose(kind, [level[i] for level in LEVELS.values()]) for i in (0, 1))
    vary = 1 + 0.01 * np.random.default_rng(seed).standard_normal(SHAPE)
    return 100 * density, t1 * vary, radius < 1


def receive(strength: float = 0.4) -> np.ndarray:
    """A receive field (any unit) as of coils around the head."""
    i, j, k = (a / n - 0.5 for a, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    made: np.ndarray = 5000 * np.exp(
        strength * (2 * i**2 + 3 * j**2 - 1.2 * i * j + np.sin(4 * k + j) + 0.8 * j)
    )
    return made


def found(
    strength: float = 0.4, noise: float = 0.02, scale: float = 1.0
) -> tuple[Density, np.ndarray, BoolArray]:
    density, t1, brain = head()
    m0 = scale * receive(strength) * density * (1 + noise * np.random.default_rng(1).standard_normal(SHAPE))
    m0 = np.where(brain, m0, np.nan).astype(np.float32)
    return proton_density(m0, t1.astype(np.float32), brain, GRID), density, brain


@pytest.mark.parametrize("strength", [0.0, 0.4, -0.4])
def test_the_receive_field_goes_and_the_tissue_stays(strength: float) -> None:
    made, density, brain = found(strength)
    for (true, _), most in zip(LEVELS.values(), (0.5, 1.2, 2.5), strict=True):
        values = made.percent[brain & (density == 100 * true)]
        assert np.median(values) == pytest.approx(100 * true, abs=most)
    left = np.log(made.receive / receive(strength))[brain]
    assert left.std() < 0.015
    assert made.fluid == pytest.approx(100, abs=2.5)


def test_white_matter_has_the_mean_that_was_asked_for() -> None:
    density, t1, brain = head()
    m0 = np.where(brain, receive() * density, np.nan).astype(np.float32)
    made = proton_density(m0, t1.astype(np.float32), brain, GRID, white_matter=72.0)
    assert made.percent[brain & (density == 69.0)].mean() == pytest.approx(72, abs=0.1)
    assert 0.5 * np.sum(density == 69.0) < made.white <= np.sum(brain & (density == 69.0))


def test_the_unit_of_m0_does_not_matter() -> None:
    one, other = (found(scale=s)[0].percent for s in (1.0, 1e-3))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_another_slope_of_water_against_r1_is_found() -> None:
    """As at another field strength: T1 of everything half as long, k half as large."""
    density, t1, brain = head()
    m0 = np.where(brain, receive() * density, np.nan).astype(np.float32)
    slow, fast = (proton_density(m0, (t1 * f).astype(np.float32), brain, GRID) for f in (1.0, 0.5))
    assert fast.slope == pytest.approx(0.5 * slow.slope, rel=0.02)
    np.testing.assert_allclose(fast.percent[brain], slow.percent[brain], rtol=0.005)


def test_voxels_that_depart_do_not_bend_the_field() -> None:
    """Five per cent of the voxels without any relation, as vessels and edges have."""
    density, t1, brain = head()
    odd = np.random.default_rng(3).random(SHAPE) < 0.05
    m0 = np.where(brain, receive() * density * np.where(odd, 0.4, 1), np.nan).astype(np.float32)
    made = proton_density(m0, t1.astype(np.float32), brain, GRID)
    assert np.log(made.receive / receive())[brain].std() < 0.02


def test_missing_voxels_stay_missing_and_the_field_goes_on_outside() -> None:
    density, t1, brain = head()
    m0 = np.where(brain, receive() * density, np.nan).astype(np.float32)
    m0[20:22, 20:22, 10] = np.nan
    made = proton_density(m0, t1.astype(np.float32), brain, GRID)
    assert np.array_equal(np.isnan(made.percent), np.isnan(m0))
    near = made.receive / receive() * 100 / 100
    assert np.isfinite(near).all()
    assert near.max() / near.min() < 4


def test_what_is_no_brain_is_refused() -> None:
    """A bottle of one T1, and vials of many with equal density."""
    _, _, inside = head()
    rng = np.random.default_rng(4)
    m0 = np.where(inside, receive() * (1 + 0.02 * rng.standard_normal(SHAPE)), np.nan).astype(np.float32)
    bottle = 0.9 * (1 + 0.05 * rng.standard_normal(SHAPE))
    vials = np.geomspace(0.3, 3, 8)[np.indices(SHAPE)[0] // 6]
    for t1 in (bottle, vials):
        with pytest.raises(ScanError, match="do not go together as in a brain"):
            proton_density(m0, t1.astype(np.float32), inside, GRID)


def test_too_little_of_a_brain_is_refused() -> None:
    density, t1, brain = head()
    some = np.zeros_like(brain)
    some[20:24, 20:24, 10:14] = True
    with pytest.raises(ScanError, match="too little of the brain"):
        proton_density(density.astype(np.float32), t1.astype(np.float32), some & brain, GRID)
