"""R2*: truth recovered, errors that are what they say, the noise floor, and input that cannot be used."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ive

from mensura.fit import Status
from mensura.fit.likelihood import information_table
from mensura.methods import call
from mensura.qmri import decay, estimators
from mensura.qmri.estimators import arlo, loglinear, noise_floor, noise_level
from mensura.qmri.models import R2STAR
from mensura.scan import BoolArray, FloatArray, Grid, ScanError, Volume

ECHO_TIMES = (0.004, 0.012, 0.020, 0.028)
UNEQUAL = (0.003, 0.007, 0.015, 0.021, 0.033)
DENSE = tuple(0.002 * n for n in range(1, 9))
GRID = Grid.from_voxel_size((20, 20, 13))
METHODS = [noise_floor, arlo, loglinear]
Method = Callable[..., tuple[FloatArray, FloatArray, NDArray[np.uint8]]]
every_method = pytest.mark.parametrize("method", METHODS)


def scan(
    rate: float | NDArray[np.float64], echo_times: Sequence[float], snr: float = np.inf, seed: int = 0
) -> tuple[FloatArray, BoolArray]:
    """5200 voxels of S0 = 100 with Rician noise of standard deviation 100/snr."""
    random = np.random.default_rng(seed)
    signal = 100 * np.exp(-np.broadcast_to(rate, GRID.shape)[..., None] * np.array(echo_times))
    noise = random.normal(size=(2, *signal.shape)) * (100 / snr)
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32), np.ones(GRID.shape, bool)


@every_method
@pytest.mark.parametrize("echo_times", [ECHO_TIMES, UNEQUAL, DENSE])
def test_without_noise_the_truth_is_recovered(method: Method, echo_times: Sequence[float]) -> None:
    truth = np.linspace(2, 60, 5200).reshape(GRID.shape)
    magnitude, mask = scan(truth, echo_times)
    rate, std, status = method(magnitude, mask, GRID, echo_times=echo_times)
    step = np.diff(echo_times).max()
    tolerance = 1e-5 + ((truth * step) ** 3 / 90 if method is arlo else 0)
    assert (np.abs(rate / truth - 1) < tolerance).all()
    assert (status == Status.OK).all()
    assert std.max() < 0.05


def test_arlo_has_the_error_of_simpsons_rule() -> None:
    magnitude, mask = scan(100.0, ECHO_TIMES)
    rate, _, _ = arlo(magnitude, mask, GRID, echo_times=ECHO_TIMES)
    assert rate.mean() / 100 - 1 == pytest.approx(-((100 * 0.008) ** 4) / 180, rel=0.1)


def test_two_echoes_give_the_logarithm_of_their_ratio() -> None:
    magnitude, mask = scan(30.0, (0.005, 0.015), snr=100)
    expected = np.log(magnitude[..., 0] / magnitude[..., 1]) / 0.010
    rate, std, _ = loglinear(magnitude, mask, GRID, echo_times=(0.005, 0.015), noise=1.0)
    np.testing.assert_allclose(rate, expected, rtol=1e-4)
    np.testing.assert_allclose(std, 100 * np.hypot(1 / magnitude[..., 0], 1 / magnitude[..., 1]), rtol=1e-3)
    likely, _, status = noise_floor(magnitude, mask, GRID, echo_times=(0.005, 0.015), noise=1.0)
    assert (status == Status.OK).all()
    np.testing.assert_allclose(likely, expected, rtol=0.01)


@every_method
@pytest.mark.parametrize(("rate", "snr"), [(20.0, 50.0), (50.0, 50.0), (5.0, 30.0)])
def test_the_standard_deviation_is_that_of_repeated_scans(method: Method, rate: float, snr: float) -> None:
    magnitude, mask = scan(rate, ECHO_TIMES, snr)
    found, std, status = method(magnitude, mask, GRID, echo_times=ECHO_TIMES)
    assert (status == Status.OK).all()
    assert 0.9 < found.std() / np.sqrt(np.mean(std**2)) < 1.1
    assert abs(found.mean() - rate) < 0.1 * found.std()


@pytest.mark.parametrize(("method", "efficiency"), [(noise_floor, 1.0), (loglinear, 1.0), (arlo, 1.11)])
def test_the_standard_deviation_reaches_the_cramer_rao_bound(method: Method, efficiency: float) -> None:
    sigma, s0, rate, t = 1.0, 100.0, 30.0, np.array(ECHO_TIMES)
    jacobian = np.stack([np.exp(-rate * t), -s0 * t * np.exp(-rate * t)])
    bound = sigma * np.sqrt(np.linalg.inv(jacobian @ jacobian.T)[1, 1])
    magnitude, mask = scan(rate, ECHO_TIMES, snr=100)
    found, std, _ = method(magnitude, mask, GRID, echo_times=ECHO_TIMES, noise=sigma)
    assert found.std() == pytest.approx(efficiency * bound, rel=0.05)
    assert np.median(std) == pytest.approx(efficiency * bound, rel=0.03)


def test_the_noise_floor_biases_a_line_but_not_the_likelihood() -> None:
    rate = 300.0
    magnitude, mask = scan(rate, DENSE, snr=20)
    line, _, _ = loglinear(magnitude, mask, GRID, echo_times=DENSE)
    likely, std, status = noise_floor(magnitude, mask, GRID, echo_times=DENSE, noise=5.0)
    assert np.mean(line) < 0.87 * rate
    assert abs(np.median(likely) / rate - 1) < 0.02
    assert abs(np.nanmean(likely) - rate) < 0.2 * abs(np.mean(line) - rate)
    assert np.nanstd(likely) == pytest.approx(np.sqrt(np.nanmean(std**2)), rel=0.1)
    assert np.mean(status != Status.OK) < 1e-3


@every_method
@pytest.mark.parametrize("scale", [2.0**-20, 2.0**13])
def test_the_unit_of_the_magnitude_does_not_matter(method: Method, scale: float) -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES, 40)
    one = method(magnitude, mask, GRID, echo_times=ECHO_TIMES)
    other = method(magnitude * np.float32(scale), mask, GRID, echo_times=ECHO_TIMES)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@every_method
def test_one_and_two_threads_give_the_same_bits(method: Method) -> None:
    magnitude, mask = scan(np.linspace(1, 200, 5200).reshape(GRID.shape), ECHO_TIMES, 20)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        found.append(method(magnitude, mask, GRID, echo_times=ECHO_TIMES))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@every_method
def test_failed_voxels_are_not_numbers_and_say_why_and_outside_all_is_zero(method: Method) -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES, 40)
    mask[0] = False
    magnitude[0] = 1e3
    magnitude[1, 0, 0] = 0
    magnitude[1, 0, 1, 2] = np.nan
    magnitude[1, 0, 2] = (100, 0, 0, 0)
    magnitude[1, 0, 3] = (1, 1e3, 1e6, 1e9)
    magnitude[1, 0, 4, 3] = 0
    before = magnitude.copy()
    rate, std, status = method(magnitude, mask, GRID, echo_times=ECHO_TIMES, noise=2.5)
    np.testing.assert_array_equal(magnitude, before)
    assert [rate.dtype, std.dtype, status.dtype] == [np.float32, np.float32, np.uint8]
    assert not rate[0].any()
    assert not std[0].any()
    assert not status[0].any()
    assert [Status(code).name for code in status[1, 0, :5]] == ["NO_SIGNAL"] * 3 + ["OUT_OF_BOUNDS", "OK"]
    failed = status != Status.OK
    assert failed.sum() == 4
    assert np.isnan(rate[failed]).all()
    assert np.isnan(std[failed]).all()
    assert np.isfinite(rate[~failed]).all()
    assert np.isfinite(std[~failed]).all()


@pytest.mark.parametrize("snr", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("echo_times", [ECHO_TIMES[:3], ECHO_TIMES, DENSE])
def test_the_noise_is_found_from_the_echoes(snr: float, echo_times: Sequence[float]) -> None:
    magnitude, mask = scan(25.0, echo_times, snr)
    assert noise_level(magnitude, mask, echo_times) == pytest.approx(100 / snr, rel=0.05)


def test_the_noise_of_two_echoes_is_found_from_neighbours() -> None:
    ramp = np.linspace(10, 40, 20)[:, None, None] + np.linspace(0, 20, 20)[:, None]
    magnitude, mask = scan(np.broadcast_to(ramp, GRID.shape), ECHO_TIMES[:2], 30)
    assert noise_level(magnitude, mask, ECHO_TIMES[:2]) == pytest.approx(100 / 30, rel=0.05)


def test_bessel_ratio_logarithm_and_rician_information() -> None:
    x = np.r_[np.linspace(0, 120, 4001), 1e4, 1e9]
    ratio, logarithm = np.array([decay._bessel(v) for v in x]).T
    np.testing.assert_allclose(ratio, ive(1, x) / ive(0, x), atol=1e-6)
    np.testing.assert_allclose(logarithm, np.log(ive(0, x)), atol=4e-6)
    random = np.random.default_rng(0)
    for a in (0.3, 1.0, 2.5, 20.0):
        m = np.hypot(a + random.normal(size=400_000), random.normal(size=400_000))
        score = m * ive(1, a * m) / ive(0, a * m) - a
        assert decay._information(a, information_table()) == pytest.approx(score.var(), rel=0.02)


def test_the_table_calls_every_method() -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES, 40)
    artifacts = {
        "magnitude": Volume(magnitude, GRID, "arbitrary"),
        "mask": Volume(mask, GRID, "1"),
        "echo_times": ECHO_TIMES,
    }
    for name in R2STAR.methods:
        made = call(R2STAR, name, artifacts)
        assert {key: volume.unit for key, volume in made.items()} == dict(R2STAR.produces)
        assert made["r2star"].data.mean() == pytest.approx(25, abs=0.2)


def test_a_real_crop_of_the_midline(shared_data: Path) -> None:
    import nibabel as nib

    magnitude = np.asarray(nib.load(shared_data / "gre_crop_3echo" / "Mag.nii").dataobj, dtype=np.float32)
    mask = np.ones(magnitude.shape[:3], bool)
    grid = Grid.from_voxel_size(mask.shape, (0.469, 0.469, 1.0))
    maps = [method(magnitude, mask, grid, echo_times=(0.004, 0.008, 0.012)) for method in METHODS]
    for rate, std, status in maps:
        assert (status == Status.OK).mean() > 0.999
        assert 20 < np.nanmedian(rate) < 45  # grey and white matter at 7 T
        assert np.nanstd(rate) > np.nanmedian(std)
    assert np.nanmedian(np.abs(maps[0][0] - maps[1][0])) < 0.2 * np.nanmedian(maps[0][1])


@every_method
def test_input_that_cannot_be_used(method: Method) -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES, 40)
    with pytest.raises(ScanError, match="at least two echoes"):
        method(magnitude[..., 0], mask, GRID, echo_times=ECHO_TIMES[:1])
    with pytest.raises(ScanError, match="4 echoes but 3 echo times are given; give one time"):
        method(magnitude, mask, GRID, echo_times=ECHO_TIMES[:3])
    with pytest.raises(
        ScanError, match=r"mask of shape \(20, 20, 12\) does not fit .* give a mask on the grid"
    ):
        method(magnitude, mask[:, :, 1:], GRID, echo_times=ECHO_TIMES)
    with pytest.raises(ScanError, match="standard deviation of -1 cannot be meant"):
        method(magnitude, mask, GRID, echo_times=ECHO_TIMES, noise=-1.0)


def test_arlo_needs_three_echoes() -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES[:2], 40)
    with pytest.raises(ScanError, match="at least three echoes; take the R2\\* method noise_floor"):
        arlo(magnitude, mask, GRID, echo_times=ECHO_TIMES[:2])


@every_method
def test_an_empty_mask_gives_empty_maps(method: Method) -> None:
    magnitude, mask = scan(25.0, ECHO_TIMES, 40)
    for found in method(magnitude, ~mask, GRID, echo_times=ECHO_TIMES):
        assert found.shape == GRID.shape
        assert not found.any()


def test_a_rate_of_which_nothing_is_known_is_no_number() -> None:
    values, errors = np.array([[5.0, 30.0], [5.0, 3e3]]), np.array([2.0, 1e40])
    fit = estimators._fit(values, errors, np.zeros(2, np.uint8), np.zeros(2))
    assert fit.status.tolist() == [Status.OK, Status.OUT_OF_BOUNDS]
    assert np.isfinite([fit.values[0], fit.errors[0]]).any()
    assert np.isnan([*fit.values[1], *fit.errors[1], fit.residual[1]]).all()
