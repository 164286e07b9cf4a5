"""The fields of the coils: low degrees as polynomials, the normalisation, Laplace's equation, derivatives."""

import numpy as np
import pytest
from coils import coil
from scipy.integrate import quad
from scipy.special import lpmv

from mensura.warp.harmonics import norm

POINTS = np.random.default_rng(1).uniform(-180, 180, (40, 3))
POLYNOMIALS = {
    ("A", 1, 0): lambda x, y, z: z,
    ("A", 1, 1): lambda x, y, z: np.sqrt(3 / 4) * x,
    ("B", 1, 1): lambda x, y, z: np.sqrt(3 / 4) * y,
    ("A", 2, 0): lambda x, y, z: z**2 - (x**2 + y**2) / 2,
    ("A", 2, 1): lambda x, y, z: np.sqrt(5 / 12) * 3 * x * z,
    ("B", 2, 1): lambda x, y, z: np.sqrt(5 / 12) * 3 * y * z,
    ("A", 2, 2): lambda x, y, z: np.sqrt(5 / 48) * 3 * (x**2 - y**2),
    ("B", 2, 2): lambda x, y, z: np.sqrt(5 / 48) * 6 * x * y,
    ("A", 3, 0): lambda x, y, z: z**3 - 1.5 * z * (x**2 + y**2),
    ("A", 3, 1): lambda x, y, z: np.sqrt(7 / 24) * 1.5 * x * (4 * z**2 - x**2 - y**2),
    ("B", 3, 1): lambda x, y, z: np.sqrt(7 / 24) * 1.5 * y * (4 * z**2 - x**2 - y**2),
    ("A", 3, 3): lambda x, y, z: np.sqrt(7 / 1440) * 15 * (x**3 - 3 * x * y**2),
    ("B", 3, 3): lambda x, y, z: np.sqrt(7 / 1440) * 15 * (3 * x**2 * y - y**3),
}


@pytest.mark.parametrize("term", POLYNOMIALS)
@pytest.mark.parametrize("axis", "xyz")
def test_low_degrees_are_these_polynomials(term: tuple[str, int, int], axis: str) -> None:
    moved, _ = coil({(*term, axis): 0.3}, radius=200.0)(POINTS)
    expected = 200 * 0.3 * POLYNOMIALS[term](*(POINTS.T / 200))
    np.testing.assert_allclose(
        moved["xyz".index(axis) == np.arange(3)[None].repeat(40, 0)], expected, atol=1e-10
    )
    assert not np.delete(moved, "xyz".index(axis), axis=1).any()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (5, 3), (9, 4), (13, 13)])
def test_orders_above_zero_have_norm_one(n: int, m: int) -> None:
    assert quad(lambda t: (norm(n, m) * lpmv(m, n, t)) ** 2, -1, 1)[0] == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(4, 0), (7, 1), (8, 5), (13, 0), (13, 12), (15, 15)])
@pytest.mark.parametrize("kind", "AB")
def test_high_degrees_agree_with_legendre_functions(n: int, m: int, kind: str) -> None:
    """Those of scipy have a factor (−1)ᵐ, which the scanner's have not."""
    x, y, z = POINTS.T
    r, angle = np.linalg.norm(POINTS, axis=1), np.arctan2(y, x)
    wave = np.cos(m * angle) if kind == "A" else np.sin(m * angle)
    expected = 250 * (r / 250) ** n * norm(n, m) * (-1) ** m * lpmv(m, n, z / r) * wave
    moved, _ = coil({(kind, n, m, "y"): 1.0})(POINTS)
    np.testing.assert_allclose(moved[:, 1], expected, atol=1e-10 * max(1, np.abs(expected).max()))


def everything(degree: int) -> dict[tuple[str, int, int, str], float]:
    random = np.random.default_rng(degree)
    return {
        (kind, n, m, axis): float(random.normal())
        for axis in "xyz"
        for kind in "AB"
        for n in range(degree + 1)
        for m in range(n + 1)
    }


@pytest.mark.parametrize("degree", [1, 2, 5, 11])
def test_derivatives_are_those_of_the_field(degree: int) -> None:
    harmonics, step = coil(everything(degree)), 1e-3
    _, slopes = harmonics(POINTS)
    for along, by in enumerate(step * np.eye(3)):
        expected = (harmonics(POINTS + by)[0] - harmonics(POINTS - by)[0]) / (2 * step)
        np.testing.assert_allclose(slopes[..., along], expected, atol=1e-7 * np.abs(slopes).max())


def test_the_fields_obey_laplace() -> None:
    harmonics, step = coil(everything(9)), 1e-2
    second = [
        (harmonics(POINTS + by)[1][..., along] - harmonics(POINTS - by)[1][..., along]) / (2 * step)
        for along, by in enumerate(step * np.eye(3))
    ]
    assert np.abs(sum(second)).max() < 1e-6 * np.abs(second).max()


def test_points_may_have_any_shape() -> None:
    moved, slopes = coil()(POINTS.reshape(4, 10, 3))
    assert moved.shape == (4, 10, 3)
    assert slopes.shape == (4, 10, 3, 3)
    np.testing.assert_array_equal(moved.reshape(-1, 3), coil()(POINTS)[0])
