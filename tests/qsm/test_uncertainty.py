"""The noise of χ is what repeated noise in the field makes of it; the explained field is that of the sources."""

import numpy as np
import pytest

from mensura.qsm.dipole.direct import tikhonov
from mensura.qsm.uncertainty import explained_field, propagated
from mensura.scan import Grid, ScanError

SHAPE = (28, 31, 24)


def grid() -> Grid:
    return Grid.from_voxel_size(SHAPE, (1.0, 1.2, 1.5), (0.3, -0.2, 0.9))


def ellipsoid() -> np.ndarray:
    axes = [np.linspace(-1, 1, n) for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside: np.ndarray = x**2 + y**2 + z**2 < 0.8**2
    return inside


def test_noise_through_the_closed_form_is_as_predicted() -> None:
    """Repeated noise, stronger on one side, mapped by the very inverse: the same standard deviation to 3 %."""
    mask, rng = ellipsoid(), np.random.default_rng(1)
    side = np.linspace(0.5, 1.5, SHAPE[0])[:, None, None]
    std = np.where(mask, 1e-3 * side, 0).astype(np.float32)
    noise = (std * rng.standard_normal((60, *SHAPE))).astype(np.float32)
    chi = np.stack([tikhonov(one, mask, grid(), weight=0.05) for one in noise])
    predicted = propagated(std, mask, grid(), weight=0.05)
    for half in (slice(0, 14), slice(14, 28)):
        part = mask[half]
        seen = np.sqrt(np.mean(chi[:, half][:, part] ** 2))
        assert np.sqrt(np.mean(predicted[half][part] ** 2)) == pytest.approx(seen, rel=0.03)


def test_voxels_of_unknown_noise_count_as_the_noisiest() -> None:
    mask = ellipsoid()
    std = np.where(mask, np.float32(1e-3), np.float32(0))
    std[10, 15, 12] = np.nan
    made = propagated(std, mask, grid())
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made, propagated(np.nan_to_num(std, nan=1e-3), mask, grid()), rtol=1e-5)


def test_no_known_noise_is_refused() -> None:
    mask = ellipsoid()
    with pytest.raises(ScanError, match="nowhere finite"):
        propagated(np.full(SHAPE, np.nan, np.float32), mask, grid())


def test_the_explained_field_of_a_ball_is_a_dipole_outside_and_nothing_inside() -> None:
    """f = χ/3·(R/r)³·(3cos²θ − 1) outside the ball and 0 inside (the Lorentz sphere subtracted)."""
    size = Grid.from_voxel_size((48, 48, 48), (1, 1, 1), (0, 0, 1))
    x, y, z = np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    chi = (r < 8).astype(np.float32)
    field = explained_field(chi, np.ones(chi.shape, bool), size)
    outside = (r > 10) & (r < 18)
    ball = 3 * chi.sum() / (4 * np.pi)
    expected = ball / r**3 * (3 * (z / r) ** 2 - 1) / 3
    assert np.abs(field - expected)[outside].max() < 0.02
    assert abs(field[r < 6].mean()) < 0.02
