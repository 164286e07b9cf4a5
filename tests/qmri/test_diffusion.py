"""Diffusion: tensors and coefficients come back without noise, and their errors are what repeats scatter by."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mensura.fit import Status
from mensura.qmri.diffusion import AD, ADC, FA, MD, RD, S0, apparent_diffusion, determined, diffusion_tensor
from mensura.scan import ScanError

N = 2000


def directions(count: int) -> np.ndarray:
    """Spread evenly over the half sphere."""
    n = np.arange(count) + 0.5
    z, turn = n / count, np.pi * (1 + 5**0.5) * n
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)


B_VALUES = np.array([0.0, 0, 0] + [1000.0] * 30)
VECTORS = np.concatenate([np.zeros((3, 3)), directions(30)])
FSL = tuple(VECTORS.T.ravel())


def tensors(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Random eigenvalues (mm²/s, falling) turned at random, and the tensors."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.uniform(0.3e-3, 1.8e-3, (n, 3)), axis=1)[:, ::-1]
    turns = np.linalg.qr(rng.standard_normal((n, 3, 3)))[0]
    return values, np.einsum("nik,nk,njk->nij", turns, values, turns)


def weighted(tensor: np.ndarray, b: np.ndarray = B_VALUES, g: np.ndarray = VECTORS) -> np.ndarray:
    made: np.ndarray = 1000 * np.exp(-b * np.einsum("mi,nij,mj->nm", g, tensor, g))
    return made


def truth(values: np.ndarray) -> dict[str, np.ndarray]:
    mean = values.mean(axis=1)
    apart = ((values - mean[:, None]) ** 2).sum(axis=1)
    fa = np.sqrt(1.5 * apart / (values**2).sum(axis=1))
    return {FA: fa, MD: mean, AD: values[:, 0], RD: values[:, 1:].mean(axis=1)}


def test_without_noise_tensors_come_back() -> None:
    values, tensor = tensors()
    found = diffusion_tensor(weighted(tensor), B_VALUES, b_vectors=FSL)
    assert (found.status == Status.OK).all()
    for name, true in truth(values).items():
        np.testing.assert_allclose(found.maps[name][0], true, rtol=1e-4, atol=1e-7)


def test_mirrored_axes_change_nothing() -> None:
    _, tensor = tensors(50)
    one = diffusion_tensor(weighted(tensor), B_VALUES, b_vectors=FSL)
    other = diffusion_tensor(weighted(tensor), B_VALUES, b_vectors=tuple((VECTORS * [-1, 1, 1]).T.ravel()))
    for name in (FA, MD, AD, RD):
        np.testing.assert_allclose(one.maps[name][0], other.maps[name][0], rtol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_errors_hold_the_truth_as_often_as_they_say(noise: float) -> None:
    values, tensor = tensors()
    rng = np.random.default_rng(1)
    found = diffusion_tensor(
        weighted(tensor) + 20 * rng.standard_normal((N, 33)), B_VALUES, b_vectors=FSL, noise=noise
    )
    assert (found.status == Status.OK).mean() > 0.99
    for name, true in truth(values).items():
        value, error = found.maps[name]
        z = ((value - true) / error)[(found.status == Status.OK) & (true > 0.25 if name == FA else True)]
        assert abs(np.median(z)) < 0.25, name  # noise drives the eigenvalues apart
        assert 0.925 < np.mean(np.abs(z) < (2.06 if noise == 0 else 1.96)) < 0.975, name


def test_restore_leaves_corrupted_points_out() -> None:
    values, tensor = tensors(60)
    rng = np.random.default_rng(2)
    data = weighted(tensor) + 10 * rng.standard_normal((60, 33))
    for row in data:
        row[rng.choice(np.arange(3, 33), 3, replace=False)] *= 0.2
    plain = diffusion_tensor(data, B_VALUES, b_vectors=FSL)
    robust = diffusion_tensor(data, B_VALUES, b_vectors=FSL, method="restore", noise=10.0)
    clean = diffusion_tensor(weighted(tensor) + 10 * rng.standard_normal((60, 33)), B_VALUES, b_vectors=FSL)

    def off(found: object) -> float:
        return float(np.nanmedian(np.abs(found.maps[MD][0] / truth(values)[MD] - 1)))  # type: ignore[attr-defined]

    assert off(plain) > 0.05
    assert off(robust) < off(clean) + 0.01
    with pytest.raises(ScanError, match="give its standard deviation"):
        diffusion_tensor(data, B_VALUES, b_vectors=FSL, method="restore")


def test_high_b_values_are_left_out_unless_there_are_no_others() -> None:
    values, tensor = tensors(100)
    both = np.concatenate(
        [weighted(tensor), weighted(tensor, np.full(30, 3000.0), directions(30)) + 100], axis=1
    )
    b = np.concatenate([B_VALUES, np.full(30, 3000.0)])
    vectors = tuple(np.concatenate([VECTORS, directions(30)]).T.ravel())
    found = diffusion_tensor(both, b, b_vectors=vectors)
    np.testing.assert_allclose(found.maps[MD][0], values.mean(axis=1), rtol=1e-4)
    alone = diffusion_tensor(weighted(tensor, 3 * B_VALUES), 3 * B_VALUES, b_vectors=FSL)
    np.testing.assert_allclose(alone.maps[MD][0], values.mean(axis=1), rtol=1e-3)


def test_three_directions_at_right_angles_give_a_third_of_the_trace() -> None:
    values, tensor = tensors()
    b, vectors = np.array([0.0, 995, 1000, 1005]), np.concatenate([np.zeros((1, 3)), np.eye(3)])
    exact = weighted(tensor, np.array([0.0, 1000, 1000, 1000]), vectors)
    found = apparent_diffusion(exact, b)
    np.testing.assert_allclose(found.maps[ADC][0], values.mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.maps[S0][0], 1000, rtol=1e-3)


def test_errors_of_the_coefficient_hold() -> None:
    rng = np.random.default_rng(3)
    b = np.array([0.0, 200, 400, 600, 800, 1000])
    true = rng.uniform(0.5e-3, 2e-3, N)
    data = 1000 * np.exp(-b * true[:, None]) + 10 * rng.standard_normal((N, 6))
    value, error = apparent_diffusion(data, b).maps[ADC]
    assert 0.925 < np.mean(np.abs(value - true) < 2.776 * error) < 0.975


def test_what_is_not_there_has_no_value() -> None:
    _, tensor = tensors(4)
    data = weighted(tensor)
    data[0] = 0
    data[1, 5] = np.nan
    data[2, 3:] *= 10  # it grows with b
    found = diffusion_tensor(data, B_VALUES, b_vectors=FSL)
    assert found.status.tolist() == [1, 1, 2, 0]
    assert np.isnan(found.maps[FA][0][:3]).all()


@pytest.mark.parametrize(
    ("b_values", "vectors", "words"),
    [
        (B_VALUES[:-1], FSL, "32 b-values"),
        (B_VALUES / 1000, FSL, "give them in s/mm²"),
        (B_VALUES, FSL[:-3], "three for each"),
        (B_VALUES, tuple(VECTORS.ravel()), "has the length"),
        (B_VALUES, tuple(np.tile([[0.0], [0.0], [1.0]], (1, 33)).ravel()), "six directions"),
    ],
)
def test_gradients_that_cannot_be_meant_are_refused(b_values, vectors, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScanError, match=words):
        diffusion_tensor(weighted(tensors(3)[1]), b_values, b_vectors=vectors)


def test_five_directions_are_too_few() -> None:
    b, vectors = np.array([0.0, *[1000.0] * 6]), np.concatenate([np.zeros((1, 3)), directions(6)])
    assert determined(b, vectors.T.ravel())
    assert not determined(b[:-1], vectors[:-1].T.ravel())


def test_without_dipy_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dipy.reconst.dti", None)
    with pytest.raises(ScanError, match=r'pip install "mensura\[diffusion\]"'):
        diffusion_tensor(weighted(tensors(3)[1]), B_VALUES, b_vectors=FSL)
