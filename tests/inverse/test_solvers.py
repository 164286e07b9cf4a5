"""Solvers against problems whose answer is known, and proximal steps against their definition."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from mensura.inverse.operators import difference_spectrum, gradient
from mensura.inverse.prox import fit_data, shrink_gradient
from mensura.inverse.solvers import Split, admm, conjugate_gradient, dot, relative_change


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_conjugate_gradient_solves_a_known_system_and_tells_how() -> None:
    scale = (1 + np.random.default_rng(2).random((6, 7, 8))).astype(np.float32)
    truth, seen = random(6, 7, 8), []
    solution = conjugate_gradient(
        lambda v: scale * v, scale * truth, tol=1e-5, monitor=lambda i, n, c: seen.append((i, n, c))
    )
    np.testing.assert_allclose(solution.x, truth, atol=1e-4)
    assert solution.converged
    assert solution.iterations == len(solution.history) == len(seen)
    assert seen[-1] == (solution.iterations, 100, solution.history[-1])
    assert solution.history[-1] <= 1e-5


def test_conjugate_gradient_stops_at_its_limit_without_claiming_success() -> None:
    scale = np.geomspace(1e-4, 1, 6 * 7 * 8).reshape(6, 7, 8).astype(np.float32)
    solution = conjugate_gradient(lambda v: scale * v, random(6, 7, 8), tol=1e-7, max_iter=3)
    assert solution.iterations == 3
    assert not solution.converged


def test_conjugate_gradient_starts_where_it_is_told() -> None:
    truth = random(4, 4, 4)
    assert conjugate_gradient(lambda v: 2 * v, 2 * truth, start=truth).iterations == 0


def test_shrinking_a_gradient_is_the_proximal_step_of_its_length() -> None:
    v, dual = random(3, 4, 5, 6), random(3, 4, 5, 6, seed=1)
    threshold = 0.7
    total = v + dual
    length = np.sqrt((total**2).sum(axis=0))
    copy = total * np.maximum(1 - threshold / length, 0)
    shrink_gradient(v, dual, np.float32(threshold))
    np.testing.assert_allclose(dual, total - copy, atol=1e-5)
    np.testing.assert_allclose(v, copy - dual, atol=1e-5)


def test_fitting_data_is_the_proximal_step_of_the_weighted_square() -> None:
    v, dual, data = (random(4, 5, 6, seed=s) for s in range(3))
    weight = np.abs(random(4, 5, 6, seed=3))
    weight[0, 0, 0] = np.inf
    total = v + dual
    with np.errstate(invalid="ignore"):
        copy = (total + weight * data) / (1 + weight)
    copy[0, 0, 0] = data[0, 0, 0]
    fit_data(v, dual, data, weight)
    np.testing.assert_allclose(dual, total - copy, atol=1e-5)
    np.testing.assert_allclose(v, copy - dual, atol=1e-5)


def test_admm_finds_the_closed_form_of_a_quadratic_problem() -> None:
    shape, data, weight = (8, 7, 9), random(8, 7, 9), np.full((8, 7, 9), 3.0, np.float32)
    kernel = (0.3 + difference_spectrum(shape, (1, 1, 1)) / 12).astype(np.float32)
    # 3/2 (k x − data)² + 1/2 x²: the second term's proximal step pulls to zero with weight 1/penalty
    pull = np.full(shape, 1.0, np.float32)
    splits = [
        Split(kernel, 1.0, partial(fit_data, data=data, weight=weight)),
        Split("identity", 1.0, partial(fit_data, data=np.zeros(shape, np.float32), weight=pull)),
    ]
    solution = admm(splits, shape, (1, 1, 1), tol=1e-6, max_iter=500)
    spectrum = np.fft.rfftn(data) * 3 * kernel / (3 * kernel**2 + 1)
    np.testing.assert_allclose(solution.x, np.fft.irfftn(spectrum, shape, axes=(0, 1, 2)), atol=1e-4)
    assert solution.converged


def test_admm_minimises_total_variation() -> None:
    shape = (12, 12, 12)
    truth = np.zeros(shape, np.float32)
    truth[3:8, 3:8, 3:8] = 1
    data, strength = truth + 0.1 * random(*shape), 0.1
    one = np.ones(shape, np.float32)
    splits = [
        Split("identity", 1.0, partial(fit_data, data=data, weight=one)),
        Split("gradient", 0.5, partial(shrink_gradient, threshold=np.float32(strength / 0.5))),
    ]
    x = admm(splits, shape, (1, 1, 1), tol=1e-5, max_iter=300).x

    def cost(v: np.ndarray) -> float:
        slope = gradient(np.ascontiguousarray(v, np.float32), np.ones(3, np.float32)).astype(float)
        return 0.5 * float(((v - data) ** 2).sum()) + strength * float(np.sqrt((slope**2).sum(axis=0)).sum())

    assert np.linalg.norm(x - truth) < 0.5 * np.linalg.norm(data - truth)
    for seed in range(8):
        assert cost(x) < cost(x + 0.01 * random(*shape, seed=seed)), "a neighbour costs less than the minimum"
    assert cost(x) < min(cost(truth), cost(data))


def test_sums_are_exact_and_relative_changes_are_relative() -> None:
    a, b = random(5, 6, 7), random(5, 6, 7, seed=1)
    assert dot(a, b) == pytest.approx(np.vdot(a.astype(float), b.astype(float)), rel=1e-12)
    assert relative_change(a, np.float32(0.9) * a) == pytest.approx(0.1, rel=1e-5)
    assert relative_change(np.zeros_like(a), np.zeros_like(a)) == 0.0
