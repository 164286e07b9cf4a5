"""Conjugate gradients against problems whose answer is known; sums."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.inverse.solvers import conjugate_gradient, dot, relative_change


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


def test_sums_are_exact_and_relative_changes_are_relative() -> None:
    a, b = random(5, 6, 7), random(5, 6, 7, seed=1)
    assert dot(a, b) == pytest.approx(np.vdot(a.astype(float), b.astype(float)), rel=1e-12)
    assert relative_change(a, np.float32(0.9) * a) == pytest.approx(0.1, rel=1e-5)
    assert relative_change(np.zeros_like(a), np.zeros_like(a)) == 0.0
