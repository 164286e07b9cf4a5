"""Operators: adjoints, known spectra, and transforms that come back."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.inverse.operators import difference_spectrum, fourier_multiplier, gradient, negative_divergence

SHAPES = [(8, 9, 10), (7, 5, 11), (1, 6, 4)]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_transform_and_back(shape: tuple[int, int, int]) -> None:
    x = random(*shape)
    np.testing.assert_allclose(irfft(rfft(x), shape[2]), x, atol=1e-5)
    np.testing.assert_allclose(rfft(x), np.fft.rfftn(x), atol=1e-3)


def test_padding_and_cropping_are_adjoint() -> None:
    x, y = random(5, 6, 7), random(8, 9, 10, seed=1)
    assert np.vdot(pad(x, y.shape), y) == pytest.approx(np.vdot(x, crop(y, x.shape)), rel=1e-5)
    assert all(a >= b + 3 for a, b in zip(fast_shape((61, 7, 11), (3, 3, 3)), (61, 7, 11), strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_divergence_is_the_adjoint_of_the_gradient(shape: tuple[int, int, int]) -> None:
    inverse_size = np.array([1.0, 0.5, 1.3], np.float32)
    x, g = random(*shape), random(3, *shape, seed=1)
    image = gradient(x, inverse_size)
    assert image.shape == g.shape
    forward = np.vdot(image.astype(float), g)
    assert forward == pytest.approx(np.vdot(x.astype(float), negative_divergence(g, inverse_size)), rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_difference_spectrum_is_that_of_the_stencils(shape: tuple[int, int, int]) -> None:
    size = (1.0, 2.0, 0.7)
    inverse_size = (1 / np.array(size)).astype(np.float32)
    x = random(*shape)
    stencil = negative_divergence(gradient(x, inverse_size), inverse_size)
    np.testing.assert_allclose(
        irfft(rfft(x) * difference_spectrum(shape, size), shape[2]), stencil, atol=1e-4
    )


def test_a_fourier_multiplier_is_its_own_adjoint() -> None:
    shape = (7, 8, 9)
    operator = fourier_multiplier(difference_spectrum(shape, (1, 1, 1)), shape[2])
    x, y = random(*shape), random(*shape, seed=1)
    there, back = np.vdot(operator.forward(x), y), np.vdot(x, operator.adjoint(y))
    assert there == pytest.approx(back, rel=1e-4)


def test_transforms_do_not_depend_on_the_number_of_threads() -> None:
    x, before = random(45, 37, 51), numba.get_num_threads()
    results = []
    try:
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            results.append(irfft(rfft(x), 51))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
