"""Field fit and offset removal against simulated echoes: values, errors that can be believed, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from heads import ECHO_TIMES, head
from scipy.ndimage import binary_erosion

from mensura.phantom.head import simulate_head
from mensura.qsm import field as fits
from mensura.qsm.offset import mcpc3ds
from mensura.qsm.unwrap import romeo
from mensura.scan import Grid, ScanError

HZ_PER_PPM = 127.7
SHAPE = (24, 20, 22)
METHODS = [fits.weighted, fits.nonlinear]


def echoes(snr: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Magnitude, unwrapped phase, true field (ppm), mask: no wraps, no offset, R2* of 20 1/s."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, n) for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    truth = 0.05 * x + 0.03 * np.sin(3 * y) * z
    times = np.array(ECHO_TIMES)
    phase = 2 * np.pi * HZ_PER_PPM * truth[..., None] * times
    signal = (1 + 0.5 * x)[..., None] * np.exp(-20 * times + 1j * phase)
    signal += (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)) / snr
    unwrapped = phase + np.angle(signal * np.exp(-1j * phase))
    return np.abs(signal).astype(np.float32), unwrapped.astype(np.float32), truth, np.ones(SHAPE, bool)


@pytest.mark.parametrize("method", METHODS)
def test_standard_deviation_is_that_of_the_errors(method) -> None:  # type: ignore[no-untyped-def]
    magnitude, phase, truth, mask = echoes(snr=40)
    grid = Grid.from_voxel_size(SHAPE)
    found, std, _, _ = method(
        phase, mask, grid, magnitude=magnitude, echo_times=ECHO_TIMES, hz_per_ppm=HZ_PER_PPM
    )
    z = (found - truth) / std
    assert abs(z.mean()) < 0.03
    assert 0.95 < z.std() < 1.05


def test_weights_beat_the_plain_line() -> None:
    magnitude, phase, truth, mask = echoes(snr=40)
    known = {"echo_times": ECHO_TIMES, "hz_per_ppm": HZ_PER_PPM}
    grid = Grid.from_voxel_size(SHAPE)
    error = {
        name: np.std(values[0] - truth)
        for name, values in {
            "weighted": fits.weighted(phase, mask, grid, magnitude=magnitude, **known),
            "linear": fits.linear(phase, mask, grid, **known),
        }.items()
    }
    assert error["weighted"] < 0.75 * error["linear"]


def test_noise_free_field_is_exact_and_its_residual_zero() -> None:
    magnitude, phase, truth, mask = echoes(snr=1e9)
    for method in METHODS:
        found, *_, residual = method(
            phase,
            mask,
            Grid.from_voxel_size(SHAPE),
            magnitude=magnitude,
            echo_times=ECHO_TIMES,
            hz_per_ppm=HZ_PER_PPM,
        )
        np.testing.assert_allclose(found, truth, atol=1e-6)
        assert residual.max() < 1e-3


def test_a_wrongly_unwrapped_echo_is_noticed_and_the_nonlinear_fit_ignores_it() -> None:
    magnitude, phase, truth, mask = echoes(snr=100)
    phase[5, 5, 5, 3] += 2 * np.pi
    known = {"magnitude": magnitude, "echo_times": ECHO_TIMES, "hz_per_ppm": HZ_PER_PPM}
    grid = Grid.from_voxel_size(SHAPE)
    linear = fits.weighted(phase, mask, grid, **known)
    circular = fits.nonlinear(phase, mask, grid, **known)
    at = (5, 5, 5)
    assert abs(linear[0][at] - truth[at]) > 0.1
    assert linear[3][at] > 0.3
    assert linear[1][at] > 50 * np.median(linear[1])
    assert abs(circular[0][at] - truth[at]) < 0.01


def test_one_echo_has_noise_from_its_own_roughness() -> None:
    magnitude, phase, truth, mask = echoes(snr=40)
    found, std, _, residual = fits.weighted(
        phase[..., 3], mask, Grid.from_voxel_size(SHAPE), magnitude=magnitude[..., 3],
        echo_times=ECHO_TIMES[3:], hz_per_ppm=HZ_PER_PPM,
    )  # fmt: skip
    assert 0.9 < ((found - truth) / std).std() < 1.1
    assert residual.max() == pytest.approx(0, abs=1e-5)


def test_voxels_without_signal_are_not_a_number() -> None:
    magnitude, phase, _, mask = echoes(snr=40)
    magnitude[3, 4, 5] = 0
    found, std, _, _ = fits.weighted(
        phase,
        mask,
        Grid.from_voxel_size(SHAPE),
        magnitude=magnitude,
        echo_times=ECHO_TIMES,
        hz_per_ppm=HZ_PER_PPM,
    )
    assert np.isnan(found[3, 4, 5])
    assert np.isnan(std[3, 4, 5])
    assert np.isnan(found).sum() == 1


def test_bad_input_is_refused() -> None:
    magnitude, phase, _, mask = echoes(snr=40)
    grid = Grid.from_voxel_size(SHAPE)
    with pytest.raises(ScanError, match="echo times"):
        fits.weighted(phase, mask, grid, echo_times=ECHO_TIMES[:2], hz_per_ppm=HZ_PER_PPM)
    with pytest.raises(ScanError, match="zero everywhere"):
        fits.weighted(
            phase, mask, grid, magnitude=0 * magnitude, echo_times=ECHO_TIMES, hz_per_ppm=HZ_PER_PPM
        )
    with pytest.raises(ScanError, match="two or more echoes"):
        mcpc3ds(phase[..., :1], mask, grid, echo_times=ECHO_TIMES[:1])


def field_of(scan):  # type: ignore[no-untyped-def]
    """Offset removal, unwrapping and fit together → total field, its standard deviation, unwrapped phase."""
    known = {"magnitude": scan.magnitude, "echo_times": scan.acquisition.echo_times}
    clean = mcpc3ds(scan.phase, scan.mask, scan.grid, **known)
    unwrapped = romeo(clean, scan.mask, scan.grid, **known)
    hz = scan.acquisition.hz_per_ppm
    found, _, std, _ = fits.nonlinear(unwrapped, scan.mask, scan.grid, **known, hz_per_ppm=hz)
    return found, std, clean


PROTOCOLS = {
    "16 echoes": {"echo_times": tuple(0.0025 * n for n in range(1, 17)), "snr": 50, "repetition_time": 0.05},
    "7 T": {"echo_times": (0.004, 0.009, 0.014, 0.019), "snr": 50, "field_strength": 7.0},
    "noisy": {"echo_times": ECHO_TIMES, "snr": 8},
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_standard_deviation_is_that_of_the_whole_error_in_a_head(name) -> None:  # type: ignore[no-untyped-def]
    """From wrapped phase with a receive phase, vessels, air spaces and haemorrhage: plain SD of all voxels."""
    scan = simulate_head((54, 65, 54), (3.0, 3.0, 3.0), seed=5, lesions=("haemorrhage",), **PROTOCOLS[name])
    found, std, _ = field_of(scan)
    inside = binary_erosion(scan.mask)
    error = (found - scan.total_field)[inside]
    z = (error - np.median(error)) / std[inside]
    assert 0.9 < z.std() < 1.1
    assert np.mean(np.abs(z) > 6) < 0.005


def test_the_echoes_that_disagree_and_those_beside_them_are_doubted() -> None:
    magnitude, phase, truth, mask = echoes(snr=100)
    phase[5, 5, 5] += [0, 0.4, -0.5, 0.4]
    phase[9, 9, 9, 3] = np.nan
    known = {"magnitude": magnitude, "echo_times": ECHO_TIMES, "hz_per_ppm": HZ_PER_PPM}
    found, _, std, _ = fits.nonlinear(phase, mask, Grid.from_voxel_size(SHAPE), **known)
    typical = np.median(std[mask & np.isfinite(std)])
    assert std[5, 5, 5] > abs(found[5, 5, 5] - truth[5, 5, 5])
    assert std[5, 5, 5] > 5 * typical
    assert 1.5 * typical < std[5, 5, 6] < 0.7 * std[5, 5, 5]
    assert np.isnan(found).sum() == 1
    assert np.isnan([found[9, 9, 9], std[9, 9, 9]]).all()


def test_pure_noise_is_as_uncertain_as_any_phase() -> None:
    magnitude, phase, truth, mask = echoes(snr=40)
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((6, 6, 6, 4)) + 1j * rng.standard_normal((6, 6, 6, 4))
    magnitude[:6, :6, :6], phase[:6, :6, :6] = np.abs(noise) / 40, np.angle(noise)
    known = {"magnitude": magnitude, "echo_times": ECHO_TIMES, "hz_per_ppm": HZ_PER_PPM}
    found, _, std, _ = fits.nonlinear(phase, mask, Grid.from_voxel_size(SHAPE), **known)
    block = (slice(0, 6),) * 3
    z = ((found - truth) / std)[block]
    assert np.std(z) < 1.3
    assert np.median(std[block]) > 10 * np.median(std)


def test_a_line_of_poles_in_the_offset_stays_where_it_is() -> None:
    """Around the line the offset turns by 2π; 15 mm away neither the offset nor the field knows of it."""
    scan = head()
    mask, voxel = scan.mask, scan.grid.voxel_size[0]
    x, y, _ = np.meshgrid(*[voxel * np.arange(n) for n in mask.shape], indexing="ij")
    middle = [voxel * np.nonzero(mask)[a].mean() + 8.3 for a in range(2)]
    turning = np.arctan2(y - middle[1], x - middle[0])[..., None]
    phase = np.angle(np.exp(1j * (scan.phase + turning))).astype(np.float32)
    known = {"magnitude": scan.magnitude, "echo_times": scan.acquisition.echo_times}
    clean = mcpc3ds(phase, mask, scan.grid, **known)
    found, _, std, _ = fits.nonlinear(
        romeo(clean, mask, scan.grid, **known),
        mask,
        scan.grid,
        **known,
        hz_per_ppm=scan.acquisition.hz_per_ppm,
    )
    away = np.hypot(x - middle[0], y - middle[1])
    far, near = mask & (away > 20), mask & (away < 3)
    error = found - scan.total_field
    z = (error - np.median(error[mask])) / np.where(std > 0, std, 1)
    assert np.median(np.abs(z[far])) / 0.6745 < 1.3
    assert np.mean(np.abs(z[far]) > 6) < 0.005
    assert np.median(std[near]) > 5 * np.median(std[far])


def test_wrapped_echoes_of_a_head_become_its_field_up_to_the_noise() -> None:
    """Offset removal, unwrapping and fit together, on a head with air spaces and a receive phase."""
    scan = head()
    mask = scan.mask
    found, std, clean = field_of(scan)
    error = (found - scan.total_field)[mask]
    z = (error - np.median(error)) / std[mask]
    assert np.median(np.abs(z)) / 0.6745 < 1.25, "the field is noisier than the noise"
    assert np.mean(np.abs(z) > 6) < 0.02
    removed = np.angle(np.exp(1j * (scan.phase[..., 0] - clean[..., 0] - scan.phase_offset)))[mask]
    assert np.std(np.angle(np.exp(1j * (removed - np.median(removed))))) < 0.1
