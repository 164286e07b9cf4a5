"""Where a step of χ is cheap: where the magnitude of any echo changes, not where coils shade it."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.qsm import edges
from mensura.scan import Grid, ScanError

SHAPE = (24, 30, 26)
GRID = Grid.from_voxel_size(SHAPE, (1.0, 1.2, 2.0))


def ball() -> np.ndarray:
    at = np.meshgrid(*[(np.arange(n) - n / 2) / (0.45 * n) for n in SHAPE], indexing="ij")
    inside: np.ndarray = sum(a**2 for a in at) < 1
    return inside


def halves(left: list[float], right: list[float], noise: float = 0.01) -> np.ndarray:
    """Echoes of two tissues that meet at x = 12."""
    image = np.zeros((*SHAPE, len(left)), np.float32)
    image[:12], image[12:] = left, right
    image += noise * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    return np.where(ball()[..., None], image, 0).astype(np.float32)


def at_the_border(cost: np.ndarray) -> tuple[float, float]:
    """Median cost of a step along x where the tissues meet, and of any step within them."""
    inner = ball() & np.roll(ball(), -1, 0)
    border, rest = inner.copy(), inner.copy()
    border[:11], border[12:], rest[11] = False, False, False
    return float(np.median(cost[0][border])), float(np.median(cost[0][rest]))


@pytest.mark.parametrize(
    ("left", "right"),
    [([1, 0.8], [1.3, 1.0]), ([1, 0.6], [0.6, 1])],
    ids=["one is brighter", "alike in the root sum of squares"],
)
def test_tissues_that_differ_in_any_echo_are_an_edge(left: list[float], right: list[float]) -> None:
    border, rest = at_the_border(edges.graded(halves(left, right), ball(), GRID))
    assert border < 0.15
    assert rest > 3 * border
    border, rest = at_the_border(edges.flat(halves(left, right), ball(), GRID, share=0.05))
    assert (border, rest) == (0, 1)


def test_units_and_coils_do_not_matter() -> None:
    image = halves([1, 0.8], [1.3, 1.0])
    shading = np.linspace(0.7, 1.4, SHAPE[1], dtype=np.float32)[:, None, None]
    plain = edges.graded(image, ball(), GRID)
    np.testing.assert_allclose(edges.graded(300 * image, ball(), GRID), plain, rtol=2e-3)
    assert np.abs(edges.graded(shading * image, ball(), GRID) - plain).mean() < 0.06


def test_axes_are_alike() -> None:
    image = halves([1, 0.8], [1.3, 1.0])
    turned = Grid.from_voxel_size((26, 24, 30), (2.0, 1.0, 1.2))
    cost = edges.graded(np.moveaxis(image, 2, 0), np.moveaxis(ball(), 2, 0), turned)
    plain = edges.graded(image, ball(), GRID)
    np.testing.assert_allclose(np.moveaxis(cost[[1, 2, 0]], 1, 3), plain, rtol=2e-3)


def test_the_surface_and_a_lost_voxel_are_no_tissue_border() -> None:
    image = halves([1, 0.8], [1, 0.8])
    image[8, 15, 13] = np.nan
    cost = edges.graded(image, ball(), GRID)
    assert np.isfinite(cost).all()
    crossing = ball() ^ np.roll(ball(), -1, 0)
    assert (cost[0][crossing] == 1).all()
    assert not edges.flat(image, ball(), GRID)[0][crossing].any()


def test_without_a_magnitude_every_step_costs_the_same() -> None:
    assert (edges.graded(None, ball(), GRID) == 1).all()
    within = ball() & np.roll(ball(), -1, 0)
    assert (edges.flat(None, ball(), GRID)[0][within] == 1).all()


def test_a_share_is_a_share() -> None:
    image = halves([1], [1.3], noise=0.05)
    within = ball() & np.roll(ball(), -1, 0)
    free = edges.flat(image, ball(), GRID, share=0.2)[0][within]
    assert 0.15 < np.mean(free == 0) < 0.5
    with pytest.raises(ScanError, match="share"):
        edges.flat(image, ball(), GRID, share=1.0)
