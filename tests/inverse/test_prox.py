"""Proximal steps against their definition: what they leave satisfies the condition of the minimum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mensura.inverse.operators import gradient, negative_divergence
from mensura.inverse.prox import ABSOLUTE, PERIODIC, SQUARED, confine, fit_data
from mensura.inverse.variation import bend_pull, bend_step, slope_pull, slope_step

SHAPE = (7, 6, 9)
SIZE = np.array([1.0, 0.5, 1.3], np.float32)
NOW, NOT_YET = np.float32(1), np.float32(0)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def copy_of(
    kind: int, state: np.ndarray, data: np.ndarray, weight: np.ndarray, turn: float = 1.0
) -> np.ndarray:
    """prox(state): the step without relaxation hands back 2·prox − state."""
    value = np.zeros_like(state)
    fit_data(state.copy(), value, NOT_YET, kind, data, weight, np.float32(turn))
    return (value + state) / 2


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (SQUARED, lambda t, w: w * t**2 / 2),
        (ABSOLUTE, lambda t, w: w * np.abs(t)),
        (PERIODIC, lambda t, w: w * (1 - np.cos(1.7 * t)) / 1.7**2),
    ],
)
def test_no_point_near_or_far_costs_less_than_the_proximal_one(
    kind: int, cost: Callable[..., np.ndarray]
) -> None:
    state, data = 3 * random(*SHAPE), random(*SHAPE, seed=1)
    weight = np.abs(random(*SHAPE, seed=2)) * 4
    weight[0] = 0
    found = copy_of(kind, state, data, weight, 1.7).astype(float)

    def total(z: np.ndarray) -> np.ndarray:
        return cost(z - data, weight) + (z - state) ** 2 / 2

    for step in np.linspace(-6, 6, 241):
        assert np.all(total(found) <= total(found + step) + 1e-4)
    np.testing.assert_allclose(found[0], state[0], atol=1e-5)


def test_whole_turns_of_the_data_do_not_matter_to_the_periodic_misfit() -> None:
    state, data, weight = random(*SHAPE), random(*SHAPE, seed=1), np.full(SHAPE, 2.0, np.float32)
    turned = data + np.float32(2 * np.pi / 0.8) * np.random.default_rng(2).integers(-2, 3, SHAPE)
    one, other = (copy_of(PERIODIC, state, d.astype(np.float32), weight, 0.8) for d in (data, turned))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_small_phases_are_fitted_like_squares() -> None:
    state, data, weight = random(*SHAPE), random(*SHAPE, seed=1), np.abs(random(*SHAPE, seed=2))
    np.testing.assert_allclose(
        copy_of(PERIODIC, state, data, weight, 1e-2), copy_of(SQUARED, state, data, weight), atol=1e-4
    )


def test_beyond_the_data_nothing_is_asked() -> None:
    state, data = random(*SHAPE), random(4, 5, 6, seed=1)
    found = copy_of(SQUARED, state, data, np.full(data.shape, 1e6, np.float32))
    np.testing.assert_allclose(found[:4, :5, :6], data, atol=1e-4)
    found[:4, :5, :6] = state[:4, :5, :6]
    np.testing.assert_allclose(found, state, atol=1e-6)


def test_confining_keeps_the_inside_and_pulls_the_rest_to_zero() -> None:
    state, x, total = random(*SHAPE), random(*SHAPE, seed=1), np.zeros(SHAPE, np.float32)
    inside = np.zeros((5, 6, 7), bool)
    inside[1:4, 2:4, 2:6] = True
    whole = np.zeros(SHAPE, bool)
    whole[:5, :6, :7] = inside
    updated = state.copy()
    confine(updated, x, NOW, inside, total, np.float32(3))
    np.testing.assert_allclose(updated, np.where(whole, x, state + x), atol=1e-5)
    np.testing.assert_allclose(total, 3 * np.where(whole, updated, -updated), atol=1e-5)


def shrunk(state: np.ndarray, limit: float, edges: np.ndarray | None) -> np.ndarray:
    """prox(state): taking it away from the state and adding no value leaves the state less its copy."""
    left = state.copy()
    slope_step(left, np.zeros(state.shape[1:], np.float32), None, NOW, np.float32(limit), edges, SIZE)
    return state - left


def test_shrinking_a_gradient_is_the_proximal_step_of_its_length() -> None:
    state = random(3, *SHAPE)
    length = np.sqrt((state**2).sum(axis=0))
    np.testing.assert_allclose(shrunk(state, 0.7, None), state * np.maximum(1 - 0.7 / length, 0), atol=1e-5)


@pytest.mark.parametrize("kind", ["same", "none or all", "between"])
def test_edges_scale_the_components_of_the_length(kind: str) -> None:
    """prox of limit·‖(e a, f b, g c)‖: the residual is the limit times a subgradient of that norm."""
    state, limit = random(3, *SHAPE), 0.7
    rng = np.random.default_rng(5)
    edges = {
        "same": np.broadcast_to(rng.uniform(0.05, 1, SHAPE), (3, *SHAPE)),
        "none or all": rng.integers(0, 2, (3, *SHAPE)),
        "between": rng.uniform(0.05, 1, (3, *SHAPE)),
    }[kind].astype(np.float32)
    copy = shrunk(state, limit, edges).astype(float)
    residual, norm = state - copy, np.sqrt(((edges * copy) ** 2).sum(axis=0))
    free = norm > 1e-6
    expected = limit * edges**2 * copy / np.where(free, norm, 1)
    np.testing.assert_allclose(np.where(free, residual, 0), np.where(free, expected, 0), atol=2e-3)
    scaled = np.divide(residual, edges, out=np.zeros_like(residual), where=edges > 0)
    assert np.all(np.sqrt((scaled**2).sum(axis=0)) <= limit * 1.01)
    assert np.abs(residual[edges == 0]).max(initial=0) < 1e-6


def test_the_slope_term_sees_the_gradient_and_pulls_with_its_adjoint() -> None:
    x, v, limit = random(*SHAPE), random(3, *SHAPE, seed=1), np.float32(0.3)
    state = np.zeros((3, *SHAPE), np.float32)
    slope_step(state, x, v, NOW, limit, None, SIZE)
    np.testing.assert_allclose(state, gradient(x, SIZE) - v, atol=1e-5)
    wanted = 2 * shrunk(state, 0.3, None) - state
    out, pulled = np.empty(SHAPE, np.float32), np.empty((3, *SHAPE), np.float32)
    slope_pull(state, limit, None, SIZE, np.float32(2), out, pulled)
    np.testing.assert_allclose(out, 2 * negative_divergence(wanted, SIZE), atol=1e-4)
    np.testing.assert_allclose(pulled, -2 * wanted, atol=1e-5)


def test_bending_is_the_symmetrised_gradient_and_pulls_with_its_adjoint() -> None:
    v = random(3, *SHAPE)
    state = np.zeros((6, *SHAPE), np.float32)
    bend_step(state, v, NOW, np.float32(0), SIZE)
    slopes = np.stack([gradient(c, SIZE) for c in v])
    tensor = (slopes + slopes.transpose(1, 0, 2, 3, 4)) / 2
    np.testing.assert_allclose((state**2).sum(axis=0), (tensor**2).sum(axis=(0, 1)), atol=1e-4)
    other, total = random(6, *SHAPE, seed=1), np.zeros((3, *SHAPE), np.float32)
    bend_pull(other, np.float32(0), SIZE, np.float32(1), total)
    assert np.vdot(state.astype(float), other) == pytest.approx(np.vdot(v.astype(float), total), rel=1e-4)


def test_bending_shrinks_by_the_length_of_the_tensor() -> None:
    state, limit = random(6, *SHAPE), 1.1
    left = state.copy()
    bend_step(left, np.zeros((3, *SHAPE), np.float32), NOW, np.float32(limit), SIZE)
    length = np.sqrt((state**2).sum(axis=0))
    np.testing.assert_allclose(state - left, state * np.maximum(1 - limit / length, 0), atol=1e-5)
