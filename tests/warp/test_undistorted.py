"""Distorted images with a known truth, corrected: geometry, brightness, phase, edges."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from coils import FRAME, GRID, TERMS, coil, distorted, places, truth_of
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from mensura.scan import Grid
from mensura.warp import Distortion, coil_frame, distortion, undistorted


@pytest.fixture(scope="module")
def shown() -> NDArray[np.complex64]:
    """The blobs as the scanner shows them."""
    return distorted(truth_of)


@pytest.fixture(scope="module")
def truth() -> NDArray[np.complex128]:
    return truth_of(places(GRID))


@pytest.fixture(scope="module")
def found() -> Distortion:
    return distortion(coil(), GRID, FRAME)


def inner(data: NDArray[np.generic]) -> NDArray[np.generic]:
    """Away from the edges, where all comes from within the image."""
    return data[4:-4, 4:-4, 4:-4]


def apart(made: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Root of the mean squared error over that of the truth."""
    return float(np.linalg.norm(inner(made - truth)) / np.linalg.norm(inner(truth)))


def test_the_object_comes_back(shown, truth, found) -> None:  # type: ignore[no-untyped-def]
    assert found.length(GRID) > 5
    assert apart(shown, truth) > 0.25
    assert apart(undistorted(shown, found), truth) < 2e-3


def test_a_line_that_was_read_out_by_a_nonlinear_gradient_comes_back() -> None:
    """Spins send their phase by the field they are in, a Fourier transform makes the image."""
    grid, only_x = Grid.from_voxel_size((128, 1, 1), (2.0, 2.0, 2.0)), coil({("A", 3, 1, "x"): 0.25})
    at = places(grid)[:, 0, 0]
    spins = np.zeros((6000, 3))
    spins[:, 0] = np.linspace(-125, 125, 6000)

    def density(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum(
            (np.exp(-((x - c) ** 2) / (2 * 5.0**2)) for c in (-95, -70, -20, 33, 88)), np.zeros_like(x)
        )

    turn = coil_frame()[:3, :3]
    encoded = spins[:, 0] + (only_x(spins @ turn.T)[0] @ turn)[:, 0]
    k = 2 * np.pi * np.fft.fftfreq(128, 2.0)
    sent = np.exp(-1j * np.outer(k, encoded)) @ density(spins[:, 0]) * (250 / 5999)
    image = (np.exp(1j * np.outer(at[:, 0], k)) @ sent / 256).reshape(grid.shape)
    made = undistorted(image, distortion(only_x, grid, coil_frame()))[:, 0, 0]
    known = density(at[:, 0])
    assert np.abs(image[:, 0, 0] - known).max() > 0.3
    np.testing.assert_allclose(made, known, atol=2e-3)


def test_a_wrong_sign_of_any_axis_would_show(shown, truth) -> None:  # type: ignore[no-untyped-def]
    for axis in range(3):
        wrong = np.diag([-1.0 if axis == n else 1 for n in range(3)] + [1.0]) @ FRAME
        assert apart(undistorted(shown, distortion(coil(), GRID, wrong)), truth) > 0.05


def test_a_table_that_was_not_told_would_show(shown, truth) -> None:  # type: ignore[no-untyped-def]
    assert apart(undistorted(shown, distortion(coil(), GRID, coil_frame())), truth) > 0.05


def test_points_come_back_to_a_tenth_of_a_voxel() -> None:
    """Beads all over the image, each seen by itself."""
    found = distortion(coil(), GRID, FRAME)
    for place in ((10, 10, 8), (38, 12, 30), (24, 36, 10), (24, 23, 20), (12, 34, 31)):
        centre = np.asarray(GRID.affine)[:3] @ (*place, 1)

        def bead(points: NDArray[np.float64], centre: NDArray[np.float64] = centre) -> NDArray[np.complex128]:
            return np.exp(-np.sum((points - centre) ** 2, axis=-1) / (2 * 7.0**2)).astype(complex)

        shown = distorted(bead).real
        made = undistorted(shown, found)
        np.testing.assert_allclose(center_of_mass(made), place, atol=0.01)


def test_signal_is_conserved_by_the_determinant(shown, truth, found) -> None:  # type: ignore[no-untyped-def]
    size = np.abs(shown).astype(np.float32)
    total = inner(np.abs(truth)).sum()
    assert inner(undistorted(size, found)).sum() == pytest.approx(total, rel=5e-4)
    plain = inner(undistorted(size, found, intensity=False)).sum()
    assert abs(plain / total - 1) > 0.01


def test_wrapped_phase_comes_through(shown, truth, found) -> None:  # type: ignore[no-untyped-def]
    made = undistorted(shown, found)
    visible = inner(np.abs(truth) > 0.1 * np.abs(truth).max())
    error = np.angle(inner(made * np.conj(truth)))[visible]
    assert np.ptp(np.angle(inner(truth))[visible]) > 6
    assert np.abs(error).max() < 0.02


def test_no_distortion_changes_nothing(shown) -> None:  # type: ignore[no-untyped-def]
    found = distortion(coil({("A", 3, 0, "z"): 0.0}), GRID, FRAME)
    for image in (shown, shown.real.copy()):
        np.testing.assert_allclose(undistorted(image, found), image, atol=1e-6 * np.abs(image).max())


def test_the_number_of_threads_changes_no_bit(shown) -> None:  # type: ignore[no-untyped-def]
    most = numba.config.NUMBA_NUM_THREADS
    made = []
    try:
        for count in sorted({1, most}):
            numba.set_num_threads(count)
            made.append(undistorted(shown, distortion(coil(), GRID, FRAME)))
    finally:
        numba.set_num_threads(most)
    np.testing.assert_array_equal(made[0], made[-1])


def test_slices_stay_as_bent_as_they_were_excited(shown) -> None:  # type: ignore[no-untyped-def]
    """Within a slice, the truth is that of the surface that was encoded in it."""
    found = distortion(coil(), GRID, FRAME, planar=True)
    assert not found.shift[..., 2].any()
    inverse = np.linalg.inv(np.asarray(GRID.affine)[:3, :3])
    at = np.moveaxis(np.indices(GRID.shape, np.float64), 0, -1)
    points = places(GRID)
    for _ in range(30):
        moved = coil()(points @ FRAME[:3, :3].T + FRAME[:3, 3])[0] @ FRAME[:3, :3] @ inverse.T
        points = np.concatenate([at[..., :2], at[..., 2:] - moved[..., 2:]], axis=-1)
        points = points @ np.asarray(GRID.affine)[:3, :3].T + np.asarray(GRID.affine)[:3, 3]
    assert apart(undistorted(shown, found), truth_of(points)) < 2e-3


def test_in_the_plane_and_in_all_directions_agree_where_slices_are_flat() -> None:
    grid = Grid.from_voxel_size((30, 30, 12), (6.0, 6.0, 6.0))
    flat = coil({key: value for key, value in TERMS.items() if key[3] != "z"})
    a, b = (distortion(flat, grid, coil_frame(), planar=planar) for planar in (False, True))
    np.testing.assert_allclose(a.shift, b.shift, atol=1e-6)
    np.testing.assert_allclose(a.determinant, b.determinant, atol=1e-6)


def test_what_comes_from_outside_is_zero() -> None:
    image = np.ones((8, 9, 10), np.float32)
    shift = np.zeros((*image.shape, 3), np.float32)
    shift[0, 0, 0], shift[1, 1, 1], shift[7, 8, 9] = (-0.6, 0, 0), (-0.6, 0, 0), (0.4, 0.4, 0.4)
    made = undistorted(image, Distortion(shift, np.ones(image.shape, np.float32)))
    assert made[0, 0, 0] == 0
    np.testing.assert_allclose(made.ravel()[1:], 1, rtol=1e-6)


def test_where_the_image_folds_it_is_zero(found: Distortion) -> None:
    folded = replace(found, determinant=np.where(np.indices(GRID.shape)[0] < 5, -1, 1).astype(np.float32))
    for intensity in (True, False):
        made = undistorted(np.ones(GRID.shape, np.float32), folded, intensity=intensity)
        assert not made[:5].any()
        assert made[10:-10, 10:-10, 10:-10].all()


def test_magnitude_gets_no_negative_values_beside_edges(found: Distortion) -> None:
    box = np.zeros(GRID.shape, np.float32)
    box[15:30, 15:30, 15:25] = 100
    assert undistorted(box, found).min() == 0
    assert undistorted(box - 1, found).min() < -2


def test_what_is_not_finite_counts_as_zero(found: Distortion) -> None:
    image = np.ones(GRID.shape, np.float32)
    image[20, 20, 20] = 0
    holed = image.copy()
    holed[20, 20, 20] = np.nan
    np.testing.assert_array_equal(undistorted(holed, found), undistorted(image, found))


@pytest.mark.parametrize("shape", [(1, 6, 7), (2, 3, 40), (5, 5, 1)])
def test_thin_images_are_mirrored_at_their_edges(shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 3, np.float32)
    shift = np.full((*shape, 3), 0.3, np.float32)
    made = undistorted(image, Distortion(shift, np.ones(shape, np.float32)))
    np.testing.assert_allclose(made, 3, rtol=1e-6)
