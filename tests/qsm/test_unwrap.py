"""What unwrapping promises: whole turns only, the true phase, regions and echoes that agree."""

from pathlib import Path

import nibabel as nib
import numba
import numpy as np
import pytest
from scipy import ndimage

from mensura.qsm.unwrap import laplacian, romeo, unwrap_spatial
from mensura.scan import Grid, ScanError

TURN = 2 * np.pi
SIZES = [((33, 28, 41), (1.0, 1.0, 1.0)), ((40, 27, 15), (0.7, 0.7, 2.0))]
TIMES = (0.004, 0.012, 0.020, 0.028)


def frequency(shape):
    """A smooth field (Hz) that wraps many times by the last echo, yet less than half a turn per voxel."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return 90 * np.exp(-((x - 0.2) ** 2 + y**2 + (z + 0.3) ** 2) / 0.5) + 30 * x * y - 25 * z


def ellipsoid(shape):
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return x**2 + y**2 + z**2 < 0.9


def echoes(hz, *, snr=np.inf, magnitude=1.0, times=TIMES, seed=0):
    """Wrapped phase, magnitude and true phase of a field (Hz), with complex noise."""
    rng = np.random.default_rng(seed)
    true = TURN * hz[..., None] * np.array(times)
    signal = np.multiply(magnitude, np.ones(hz.shape))[..., None] * np.exp(1j * true)
    signal += (rng.standard_normal(true.shape) + 1j * rng.standard_normal(true.shape)) / snr
    return np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32), true


def turns_off(unwrapped, true, mask):
    return np.rint((unwrapped - true)[mask] / TURN)


def jumps(unwrapped, mask):
    """How many pairs of neighbours in the mask differ by more than half a turn."""
    count = 0
    for axis in range(3):
        a, b = np.moveaxis(mask, axis, 0)[1:], np.moveaxis(mask, axis, 0)[:-1]
        count += int((np.abs(np.diff(np.moveaxis(unwrapped, axis, 0), axis=0))[a & b] > np.pi).sum())
    return count


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("template", [1, 3])
def test_differs_by_whole_turns_in_the_mask_and_is_zero_outside(individual, template):
    rng = np.random.default_rng(3)
    shape = (13, 11, 9)
    phase = rng.uniform(-np.pi, np.pi, (*shape, 4)).astype(np.float32)
    mask = rng.random(shape) < 0.6
    grid = Grid.from_voxel_size(shape)
    out = romeo(phase, mask, grid, echo_times=TIMES, template=template, individual=individual)
    turns = (out.astype(float) - phase)[mask] / TURN
    assert out.dtype == np.float32
    assert np.abs(turns - np.rint(turns)).max() < 1e-6 * max(1, np.abs(turns).max())
    assert np.abs(turns).max() >= 1
    assert not out[~mask].any()


@pytest.mark.parametrize("seed", range(12))
def test_whole_turns_only_whatever_the_grid_the_mask_and_the_weights(seed):
    """Random shapes, masks with holes and islands, NaN, echo times, templates and weights."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 14, 3))
    count = int(rng.integers(1, 6))
    times = tuple(np.cumsum(rng.uniform(0.002, 0.01, count)))
    phase = rng.uniform(-np.pi, np.pi, (*shape, count)).astype(np.float32)
    phase[rng.random(phase.shape) < 0.01] = np.nan
    mask = rng.random(shape) < rng.uniform(0.3, 1)
    mask.flat[0] = True
    magnitude = rng.exponential(size=phase.shape).astype(np.float32) * (rng.random(phase.shape) < 0.9)
    options = {
        "template": int(rng.integers(1, count + 1)),
        "individual": bool(rng.random() < 0.5),
        "weights": "".join(rng.choice(["0", "1"], 6)),
    }
    out = romeo(phase, mask, Grid.from_voxel_size(shape), magnitude=magnitude, echo_times=times, **options)
    turns = (out.astype(float) - phase)[mask] / TURN
    np.testing.assert_array_equal(np.isnan(turns), np.isnan(phase[mask]))
    turns = turns[np.isfinite(turns)]
    assert np.abs(turns - np.rint(turns)).max(initial=0) < 1e-6 * max(1, np.abs(turns).max(initial=0))
    assert not out[~mask].any()


@pytest.mark.parametrize(("shape", "voxel"), SIZES)
@pytest.mark.parametrize("snr", [np.inf, 20])
def test_recovers_a_smooth_phase_of_many_wraps(shape, voxel, snr):
    mask = ellipsoid(shape)
    phase, magnitude, true = echoes(frequency(shape), snr=snr)
    assert np.ptp(true[mask][:, 3]) > 3 * TURN
    out = romeo(phase, mask, Grid.from_voxel_size(shape, voxel), magnitude=magnitude, echo_times=TIMES)
    assert (turns_off(out, true, mask) == 0).mean() > (0.999 if np.isfinite(snr) else 1 - 1e-12)
    for echo in range(4):
        single = unwrap_spatial(phase[..., echo], mask, magnitude=magnitude[..., echo])
        off = turns_off(single, true[..., echo], mask)
        assert (off == np.median(off)).mean() > (0.999 if np.isfinite(snr) else 1 - 1e-12)


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("template", [1, 2, 3])
def test_disconnected_regions_get_the_turns_on_which_the_echoes_agree(template, individual):
    times = (0.005, 0.008, 0.0125)
    shape = (36, 20, 20)
    mask = np.zeros(shape, bool)
    mask[2:15, 3:17, 3:17] = mask[19:30, 3:17, 3:17] = mask[33, 10, 10] = True
    hz = 0.3 * frequency(shape)
    hz[16:] += 220  # 1.1 turns at the first echo, 2.75 at the last
    phase, _, true = echoes(hz, times=times)
    grid = Grid.from_voxel_size(shape)
    out = romeo(phase, mask, grid, echo_times=times, template=template, individual=individual)
    assert not turns_off(out, true, mask).any()


def test_without_other_echoes_each_region_lies_around_zero():
    shape = (36, 20, 20)
    mask = np.zeros(shape, bool)
    mask[2:15, 3:17, 3:17] = mask[19:34, 3:17, 3:17] = True
    hz = frequency(shape)
    hz[16:] += 300
    phase = echoes(hz)[0][..., 1]
    out = romeo(phase, mask, Grid.from_voxel_size(shape))
    for part in (slice(0, 16), slice(16, None)):
        assert abs(np.median(out[part][mask[part]])) <= np.pi
        assert jumps(out[part], mask[part]) == 0
    np.testing.assert_array_equal(out, unwrap_spatial(phase, mask))
    np.testing.assert_array_equal(romeo(phase[..., None], mask, Grid.from_voxel_size(shape))[..., 0], out)


def test_a_wall_of_noise_does_not_leak_into_the_voxels_around_it():
    shape = (30, 24, 24)
    mask = np.ones(shape, bool)
    magnitude = np.ones(shape)
    magnitude[14:17] = 0
    magnitude[14:17, 4:8, 4:8] = 1  # the only sound way from one side to the other
    phase, mag, true = echoes(frequency(shape), snr=40, magnitude=magnitude)
    sound = magnitude > 0
    for echo, m in ((3, mag[..., 3]), (3, None), (3, magnitude.astype(np.float32))):
        off = turns_off(unwrap_spatial(phase[..., echo], mask, magnitude=m), true[..., echo], sound)
        assert (off == off[0]).all()
    out = romeo(phase, mask, Grid.from_voxel_size(shape), magnitude=mag, echo_times=TIMES)
    assert not turns_off(out, true, sound).any()


def test_a_voxel_that_is_not_a_number_stays_so_and_changes_no_other():
    shape = (16, 17, 18)
    mask = ellipsoid(shape)
    phase, magnitude, true = echoes(frequency(shape))
    phase[8, 8, 8, 0] = phase[5, 8, 9, 2] = np.nan
    grid = Grid.from_voxel_size(shape)
    for individual in (False, True):
        out = romeo(phase, mask, grid, magnitude=magnitude, echo_times=TIMES, individual=individual)
        assert np.isnan(out[8, 8, 8, 0])
        assert np.isnan(out[5, 8, 9, 2])
        bad = np.isnan(out).any(axis=3)
        assert bad.sum() == 2
        assert not turns_off(out, true, mask & ~bad).any()


def test_noisy_voxels_follow_the_prediction_of_their_neighbourhood():
    shape = (32, 30, 28)
    mask = ellipsoid(shape)
    phase, magnitude, true = echoes(0.3 * frequency(shape), snr=2.5)
    out = romeo(phase, mask, Grid.from_voxel_size(shape), magnitude=magnitude, echo_times=TIMES)
    alone = phase[..., 1] + TURN * np.rint((out[..., 0] * 3 - phase[..., 1]) / TURN)
    wrong = (turns_off(out[..., 1], true[..., 1], mask) != 0).mean()
    assert wrong < 0.25 * (turns_off(alone, true[..., 1], mask) != 0).mean()


def test_the_same_bits_on_one_and_two_threads():
    shape = (31, 30, 29)
    mask = ellipsoid(shape)
    phase, magnitude, _ = echoes(frequency(shape), snr=4)
    grid = Grid.from_voxel_size(shape)
    results = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        for individual in (False, True):
            out = romeo(phase, mask, grid, magnitude=magnitude, echo_times=TIMES, individual=individual)
            results.append((individual, out.tobytes()))
        results.append(("laplacian", laplacian(phase, mask, grid).tobytes()))
    numba.set_num_threads(before)
    assert results[:3] == results[3:]


def test_refuses_what_it_cannot_unwrap():
    phase = np.zeros((5, 5, 5, 2), np.float32)
    mask = np.ones((5, 5, 5), bool)
    grid = Grid.from_voxel_size((5, 5, 5))
    with pytest.raises(ScanError, match="empty"):
        romeo(phase, ~mask, grid, echo_times=(0.01, 0.02))
    with pytest.raises(ScanError, match="does not fit"):
        romeo(phase, mask[:4], grid, echo_times=(0.01, 0.02))
    with pytest.raises(ScanError, match="2 echoes needs as many echo times, but none"):
        romeo(phase, mask, grid)
    with pytest.raises(ScanError, match="but 3 were given"):
        romeo(phase, mask, grid, echo_times=(0.01, 0.02, 0.03))
    with pytest.raises(ScanError, match="echo 3 cannot be the template of 2"):
        romeo(phase, mask, grid, echo_times=(0.01, 0.02), template=3)


@pytest.mark.parametrize(
    ("shape", "voxel"), [((49, 52, 45), (1.0, 1.0, 1.0)), ((55, 54, 31), (0.7, 0.7, 2.0))]
)
def test_the_laplacian_keeps_the_scale_of_a_source_inside_the_mask(shape, voxel):
    axes = [h * (np.arange(n) - (n - 1) / 2) for n, h in zip(shape, voxel, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    true = 12 * np.exp(-(x**2 + y**2 + z**2) / (2 * 6.5**2))
    ramp = 0.1 * x + 0.05 * z  # harmonic: lost
    mask = np.ones(shape, bool)
    mask[:2] = False
    phase = np.angle(np.exp(1j * (true + ramp))).astype(np.float32)
    out = laplacian(np.stack([phase, 0 * phase], axis=-1), mask, Grid.from_voxel_size(shape, voxel))
    slope, _ = np.polyfit(true[mask], out[mask][:, 0], 1)
    assert slope == pytest.approx(1, abs=0.02)
    assert np.corrcoef(true[mask], out[mask][:, 0])[0, 1] > 0.995
    assert abs(out[mask][:, 0].mean()) < 1e-4
    assert not out[..., 1].any()
    assert not out[~mask].any()


def crop(shared_data: Path):
    folder = shared_data / "gre_crop_3echo"
    phase, magnitude = (
        np.asarray(nib.load(folder / name).dataobj.get_unscaled(), np.float32)
        for name in ("Phase.nii", "Mag.nii")
    )
    return phase, magnitude


def test_agrees_with_another_unwrapping_on_real_veins(shared_data):
    restoration = pytest.importorskip("skimage.restoration")
    phase, magnitude = crop(shared_data)
    mask = np.ones(phase.shape[:3], bool)
    times = (0.004, 0.008, 0.012)
    out = romeo(phase, mask, Grid.from_voxel_size(mask.shape), magnitude=magnitude, echo_times=times)
    for echo in range(3):
        off = np.rint((out[..., echo] - restoration.unwrap_phase(phase[..., echo])) / TURN)
        assert (off == np.median(off)).mean() > 0.99


def test_leaves_no_jump_in_a_real_brain(shared_data):
    folder = shared_data / "philips_brain_2echo" / "bids" / "sub-01" / "anat"
    phase, magnitude = (
        np.stack(
            [
                np.asarray(nib.load(folder / f"sub-01_echo-{e}_part-{part}_MEGRE.nii.gz").dataobj, np.float32)
                for e in (1, 2)
            ],
            axis=-1,
        )
        for part in ("phase", "mag")
    )
    head = magnitude[..., 0] > 0.1 * np.percentile(magnitude[..., 0], 98)
    out = romeo(
        phase,
        head,
        Grid.from_voxel_size(head.shape, (3, 3, 3)),
        magnitude=magnitude,
        echo_times=(0.0023, 0.0046),
        individual=True,
    )
    bright = magnitude[..., 1] > 0.4 * np.median(magnitude[head][:, 1])
    brain = ndimage.binary_erosion(ndimage.binary_opening(bright, iterations=2), iterations=3)
    brain[:, :, :16] = False  # neck, mouth, and nose
    assert brain.sum() > 20_000
    for echo in (0, 1):
        assert jumps(phase[..., echo], brain) > 1000
        assert jumps(out[..., echo], brain) == 0
