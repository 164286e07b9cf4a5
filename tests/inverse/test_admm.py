"""Alternating directions against minima that are known, or that another solver finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mensura.inverse.admm import Filtered, Support, Variation, admm
from mensura.inverse.operators import difference_spectrum, fourier_multiplier, gradient, negative_divergence
from mensura.inverse.prox import Misfit

SHAPE, SIZE = (12, 10, 11), (1.0, 1.0, 1.0)
ONE = np.ones(3, np.float32)
EVERYWHERE = Support(np.ones(SHAPE, bool), 1e-3)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def block() -> np.ndarray:
    truth = np.zeros(SHAPE, np.float32)
    truth[3:8, 3:8, 3:8] = 1
    return truth


def kernel() -> np.ndarray:
    return (0.3 + difference_spectrum(SHAPE, SIZE) / 12).astype(np.float32)


def misfit(k: np.ndarray, data: np.ndarray, weight: np.ndarray, other: np.ndarray | None = None) -> Filtered:
    return Filtered(k, 1.0, Misfit(data, weight), other)


def length(slope: np.ndarray) -> float:
    return float(np.sqrt((slope.astype(float) ** 2).sum(axis=0)).sum())


def test_without_a_prior_the_data_are_met() -> None:
    data = random(*SHAPE)
    solution = admm(
        [misfit(kernel(), data, np.full(SHAPE, 3.0, np.float32))],
        Variation(1e-9, 1e-6),
        EVERYWHERE,
        SHAPE,
        SIZE,
        tol=1e-7,
        max_iter=400,
    )
    np.testing.assert_allclose(fourier_multiplier(kernel(), SHAPE[2]).forward(solution.x), data, atol=1e-2)


def primal_dual(data: np.ndarray, strength: float, inside: np.ndarray) -> np.ndarray:
    """Total variation with a filtered data term by Chambolle and Pock, slowly but by other means."""
    a = fourier_multiplier(kernel(), data.shape[2])
    x, p = np.zeros_like(data), np.zeros((3, *data.shape), np.float32)
    dual, ahead, step = np.zeros_like(data), np.zeros_like(data), np.float32(0.25)
    for _ in range(4000):
        p += step * gradient(ahead, ONE)
        p /= np.maximum(1, np.sqrt((p**2).sum(axis=0)) / strength).astype(np.float32)
        dual = (dual + step * (a.forward(ahead) - data)) / (1 + step)
        new = (x - step * (negative_divergence(p, ONE) + a.adjoint(dual))) * inside
        ahead, x = (2 * new - x).astype(np.float32), new.astype(np.float32)
    return x


def test_the_minimum_is_the_one_that_another_solver_finds() -> None:
    inside = np.ones(SHAPE, bool)
    inside[:2] = False
    a = fourier_multiplier(kernel(), SHAPE[2])
    data, strength = a.forward(block()) + 0.05 * random(*SHAPE), 0.05
    found = admm(
        [misfit(kernel(), data, np.ones(SHAPE, np.float32))],
        Variation(strength, 0.5),
        Support(inside, 0.01),
        SHAPE,
        SIZE,
        tol=1e-6,
        max_iter=1500,
    ).x
    expected = primal_dual(data, strength, inside)
    assert np.linalg.norm(found * inside - expected) < 0.01 * np.linalg.norm(expected)
    assert np.abs(found[:2]).max() < 1e-2


@pytest.mark.parametrize("relax", [1.0, 1.7])
def test_relaxation_and_penalties_change_the_way_not_the_end(relax: float) -> None:
    data = block() + 0.1 * random(*SHAPE)
    unit = np.ones((*SHAPE[:2], SHAPE[2] // 2 + 1), np.float32)
    term = misfit(unit, data, np.ones(SHAPE, np.float32))
    ends = [
        admm([term], Variation(0.1, penalty), EVERYWHERE, SHAPE, SIZE, tol=1e-7, max_iter=800, relax=relax).x
        for penalty in (0.3, 1.5)
    ]
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-3)


def test_second_order_keeps_a_roof_that_first_order_flattens() -> None:
    x = np.broadcast_to(np.minimum(np.arange(12), 11 - np.arange(12))[:, None, None] * 0.3, SHAPE)
    data = (x + 0.1 * random(*SHAPE)).astype(np.float32)
    unit = np.ones((*SHAPE[:2], SHAPE[2] // 2 + 1), np.float32)
    term = misfit(unit, data, np.ones(SHAPE, np.float32))
    errors = [
        np.linalg.norm(
            admm([term], Variation(0.3, 1.0, bend), EVERYWHERE, SHAPE, SIZE, tol=1e-6, max_iter=500).x - x
        )
        for bend in (0.0, 2.0)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_an_infinitely_stiff_second_order_is_the_first() -> None:
    data = block() + 0.1 * random(*SHAPE)
    unit = np.ones((*SHAPE[:2], SHAPE[2] // 2 + 1), np.float32)
    term = misfit(unit, data, np.ones(SHAPE, np.float32))
    first, stiff = (
        admm([term], Variation(0.1, 0.5, bend), EVERYWHERE, SHAPE, SIZE, tol=1e-6, max_iter=600).x
        for bend in (0.0, 100.0)
    )
    np.testing.assert_allclose(stiff, first, atol=0.02)


def test_a_second_volume_takes_what_only_it_can_explain() -> None:
    """x is seen without its mean; y, which costs its Laplacian, has nothing but one."""
    k, truth = kernel() - kernel()[0, 0, 0], block()
    data = fourier_multiplier(k, SHAPE[2]).forward(truth) + np.float32(5)
    seen = misfit(k, data, np.full(SHAPE, 10.0, np.float32), np.ones_like(k))
    flat = misfit(k, np.zeros_like(data), np.full(SHAPE, 100.0, np.float32), difference_spectrum(SHAPE, SIZE))
    terms = [seen, replace(flat, kernel=None)]
    x = admm(terms, Variation(1e-4, 1e-2), EVERYWHERE, SHAPE, SIZE, tol=1e-6, max_iter=800).x
    assert np.linalg.norm(x - x.mean() - truth + truth.mean()) < 0.1 * np.linalg.norm(truth)


def test_it_tells_how_it_went_and_stops_at_its_limit() -> None:
    seen: list[tuple[int, int, float]] = []
    unit = np.ones((*SHAPE[:2], SHAPE[2] // 2 + 1), np.float32)
    solution = admm(
        [misfit(unit, block(), np.ones(SHAPE, np.float32))],
        Variation(0.1, 0.5),
        EVERYWHERE,
        SHAPE,
        SIZE,
        tol=0,
        max_iter=5,
        monitor=lambda *event: seen.append(event),
    )
    assert not solution.converged
    assert solution.iterations == len(solution.history) == 5
    assert seen == [(i + 1, 5, c) for i, c in enumerate(solution.history)]
    assert solution.history[-1] < solution.history[0]
