"""HFEN, XSIM and the gradient's error: by hand, by direct summation, and what they must tell apart."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from smooth_maps import smooth_map

from mensura.scan import ScanError
from mensura.score import gradient_error, hfen, xsim

CHI, MASK = smooth_map()
BLURRED, SHIFTED = gaussian_filter(CHI, 1.0), np.roll(CHI, 1, axis=0)


def window(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian of 1.5 voxels in a cube, sum one, and the squared distance of its voxels from the middle."""
    line = np.arange(-radius, radius + 1)
    squared = line[:, None, None] ** 2 + line[:, None] ** 2 + line**2
    gaussian = np.exp(-squared / (2 * 1.5**2))
    return gaussian / gaussian.sum(), squared


def convolved(volume: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Direct summation, zeros beyond the volume; the kernel is symmetric."""
    radius = kernel.shape[0] // 2
    padded = np.pad(volume, radius)
    patches = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    return np.einsum("abcijk,ijk->abc", patches, kernel)


@pytest.mark.parametrize("score", [hfen, gradient_error])
def test_perfect_maps_score_zero_and_constant_ones_a_hundred(score):
    assert score(CHI, CHI, MASK) == 0
    assert score(0 * CHI, CHI, MASK) == pytest.approx(100)
    assert score(2 * CHI, CHI, MASK) == pytest.approx(100)


@pytest.mark.parametrize("score", [hfen, gradient_error])
def test_offsets_cost_nothing(score):
    assert score(CHI + 5, CHI, MASK) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("score", [hfen, gradient_error, xsim])
def test_what_lies_outside_the_mask_does_not_count(score):
    elsewhere = np.where(MASK, BLURRED, np.nan)
    truth = np.where(MASK, CHI, 77)
    assert score(elsewhere, truth, MASK) == score(BLURRED, CHI, MASK)


def test_the_score_does_not_depend_on_the_volume_around_the_mask():
    box = tuple(slice(i.min(), i.max() + 1) for i in MASK.nonzero())
    for score in (hfen, gradient_error, xsim):
        assert score(BLURRED[box], CHI[box], MASK[box]) == pytest.approx(score(BLURRED, CHI, MASK), rel=1e-12)


def test_blurred_and_shifted_maps_are_worse_the_more_so_the_more():
    for score, sign in ((hfen, 1), (gradient_error, 1), (xsim, -1)):
        by_blur = [sign * score(gaussian_filter(CHI, width), CHI, MASK) for width in (0, 0.5, 1, 2)]
        by_shift = [sign * score(np.roll(CHI, n, axis=1), CHI, MASK) for n in (0, 1, 2)]
        assert by_blur == sorted(by_blur)
        assert by_shift == sorted(by_shift)
        assert len(set(by_blur + by_shift)) == 6


def test_hfen_is_the_laplacian_of_a_gaussian_of_fifteen_voxels():
    gaussian, squared = window(7)
    kernel = gaussian * (squared / 1.5**4 - 3 / 1.5**2)
    error, truth = (np.where(MASK, m - m[MASK].mean(), 0) for m in (BLURRED - CHI, CHI))
    expected = np.linalg.norm(convolved(error, kernel)[MASK]) / np.linalg.norm(convolved(truth, kernel)[MASK])
    assert hfen(BLURRED, CHI, MASK) == pytest.approx(100 * expected)


def test_xsim_of_one_voxel_by_hand():
    """Alone in its window it has mean w·χ and variance w·χ²·(1 − w), w the window's middle weight."""
    w = window(3)[0][3, 3, 3]
    e, t, mask = (np.zeros((3, 3, 3)) for _ in range(3))
    e[1, 1, 1], t[1, 1, 1], mask[1, 1, 1] = 0.02, 0.05, 1
    means = (2 * w * w * 0.02 * 0.05 + 1e-4) / (w * w * (0.02**2 + 0.05**2) + 1e-4)
    spread = w * (1 - w)
    spreads = (2 * spread * 0.02 * 0.05 + 1e-6) / (spread * (0.02**2 + 0.05**2) + 1e-6)
    assert xsim(e, t, mask) == pytest.approx(means * spreads)


def test_xsim_by_direct_summation():
    gaussian, _ = window(3)
    e, t = (np.where(MASK, m, 0) for m in (BLURRED, CHI))
    me, mt, ee, tt, et = (convolved(m, gaussian) for m in (e, t, e * e, t * t, e * t))
    likeness = (2 * me * mt + 1e-4) * (2 * (et - me * mt) + 1e-6)
    likeness /= (me**2 + mt**2 + 1e-4) * (ee - me**2 + tt - mt**2 + 1e-6)
    assert xsim(BLURRED, CHI, MASK) == pytest.approx(likeness[MASK].mean())


def test_xsim_knows_perfect_weak_and_empty_maps():
    assert xsim(CHI, CHI, MASK) == 1
    assert xsim(0 * CHI, CHI, MASK) < 0.01
    assert 0.01 < xsim(0.5 * CHI, CHI, MASK) < xsim(0.9 * CHI, CHI, MASK) < 1
    assert xsim(CHI + 0.05, CHI, MASK) < 0.9


def test_gradient_error_by_hand():
    truth = np.array([0.0, 1, 3, 9]).reshape(4, 1, 1)
    estimate = np.array([5.0, 7, 8, -9]).reshape(4, 1, 1)
    mask = np.array([1, 1, 1, 0]).reshape(4, 1, 1)
    # steps 1, 2 and 2, 1 inside the mask: error √2, truth √5
    assert gradient_error(estimate, truth, mask) == pytest.approx(100 * np.sqrt(2 / 5))


def test_gradients_are_per_mm():
    truth = np.array([[0.0, 1], [0, 1]]).reshape(2, 2, 1)
    estimate = np.array([[0.0, 1], [3, 4]]).reshape(2, 2, 1)
    # error 3 per step of 2 mm along x, twice; truth 1 per step of 0.5 mm along y, twice
    assert gradient_error(estimate, truth, np.ones((2, 2, 1)), (2, 0.5, 1)) == pytest.approx(100 * 1.5 / 2)


def test_constant_truths_and_flat_arrays_are_refused():
    with pytest.raises(ScanError, match="constant"):
        hfen(CHI, np.full(CHI.shape, 0.1), MASK)
    with pytest.raises(ScanError, match="no gradient"):
        gradient_error(CHI, np.full(CHI.shape, 0.1), MASK)
    with pytest.raises(ScanError, match="3D"):
        hfen(CHI[0], CHI[0], MASK[0] | True)
