"""What the handling of raw phase promises: faults are found where they are, and only there, and undone."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from mensura.qsm.phase import (
    correct_bipolar,
    from_real_imaginary,
    has_slice_chop,
    has_slice_jumps,
    is_bipolar,
    is_constant,
    level_slices,
    looks_filtered,
    looks_unwrapped,
    phase_sign,
    sanitise,
    undo_slice_chop,
)
from mensura.qsm.unwrap import unwrap_spatial
from mensura.scan import Grid, ScanError

TIMES = (0.005, 0.010, 0.015, 0.020)


def wrapped(x):
    return np.angle(np.exp(1j * x)).astype(np.float32)


def axes(shape):
    return np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")


def scan(shape, *, snr=30.0, times=TIMES, alternating=0.0, seed=0):
    """Phase, magnitude and mask of a ball with wraps, coil offset and alternating phase (first echo plus)."""
    rng = np.random.default_rng(seed)
    x, y, z = axes(shape)
    mask = x**2 + y**2 + z**2 < 0.9
    hz = 60 * np.exp(-((x - 0.3) ** 2 + y**2 + z**2) / 0.3) - 40 * z
    signs = (-1.0) ** np.arange(len(times))
    angle = 2 * np.pi * hz[..., None] * np.array(times) + (1.1 * x - y)[..., None]
    angle += np.broadcast_to(alternating, shape)[..., None] * signs
    signal = mask[..., None] * np.exp(1j * angle - 20 * np.array(times))
    signal += (rng.standard_normal(angle.shape) + 1j * rng.standard_normal(angle.shape)) / snr
    return np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32), mask


# --- cleaning and conversion ---


def test_sanitise_zeroes_and_counts_what_is_no_number():
    raw = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    raw[0, 0, 1], raw[1, 2, 3], raw[1, 0, 0], raw[1, 1, 1] = np.nan, np.inf, -np.inf, 1e60
    before = raw.copy()
    clean, count = sanitise(raw)
    assert (clean.dtype, count) == (np.float32, 4)
    good = np.isfinite(raw) & (raw < 1e38)
    np.testing.assert_array_equal(clean[good], raw[good])
    assert not clean[~good].any()
    np.testing.assert_array_equal(raw, before)
    assert sanitise(np.ones((2, 2), np.int16))[1] == 0


def test_real_and_imaginary_become_magnitude_and_phase():
    rng = np.random.default_rng(0)
    magnitude, phase = rng.uniform(0.1, 2, (4, 5, 6)), rng.uniform(-3.14, 3.14, (4, 5, 6))
    made = from_real_imaginary(
        (magnitude * np.cos(phase)).astype(np.float32), (magnitude * np.sin(phase)).astype(np.float32)
    )
    np.testing.assert_allclose(made[0], magnitude, rtol=1e-5)
    np.testing.assert_allclose(made[1], phase, atol=1e-5)
    with pytest.raises(ScanError, match="differ in shape"):
        from_real_imaginary(np.zeros((2, 2, 2), np.float32), np.zeros((2, 2, 3), np.float32))


# --- checks ---


def test_constant_phase_is_noticed_in_any_echo():
    phase = scan((12, 13, 14))[0]
    assert not is_constant(phase)
    assert not is_constant(phase[..., 0])
    assert is_constant(np.full((4, 4, 4), -np.pi, np.float32))
    phase[..., 2] = 1.5
    assert is_constant(phase)


def test_unwrapped_phase_is_noticed():
    phase, magnitude, mask = scan((24, 25, 26))
    assert not looks_unwrapped(phase)
    assert not looks_unwrapped(phase + np.float32(np.pi))  # 0 … 2π
    assert looks_unwrapped(unwrap_spatial(phase[..., 3], mask, magnitude=magnitude[..., 3]))


def test_filtered_phase_is_noticed():
    phase, magnitude, mask = scan((48, 48, 48))
    signal = magnitude[..., 3] * np.exp(1j * phase[..., 3])
    smooth = ndimage.gaussian_filter(signal.real, 3) + 1j * ndimage.gaussian_filter(signal.imag, 3)
    filtered = np.angle(signal * smooth.conj()).astype(np.float32)
    assert looks_filtered(filtered, mask)
    assert not looks_filtered(phase, mask)
    assert not looks_filtered(phase[..., 3], mask)
    assert not looks_filtered(0 * phase + 1.5, mask)
    assert not looks_filtered(filtered, np.zeros_like(mask))


# --- slices that alternate ---


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("echoes", [None, 4])
def test_slices_that_alternate_are_found_and_undone(axis, echoes):
    phase, magnitude, mask = scan((21, 22, 23))
    if echoes is None:
        phase, magnitude = phase[..., 0], magnitude[..., 0]
    chopped = phase.copy()
    odd = np.moveaxis(chopped, axis, 0)[1::2]
    odd[:] = wrapped(odd + np.pi)
    assert has_slice_chop(chopped, magnitude, axis)
    assert has_slice_chop(np.where(mask if echoes is None else mask[..., None], chopped, 0), magnitude, axis)
    assert not has_slice_chop(phase, magnitude, axis)
    assert not has_slice_chop(chopped, magnitude, (axis + 1) % 3)
    back = undo_slice_chop(chopped, axis)
    np.testing.assert_allclose(np.exp(1j * back), np.exp(1j * phase), atol=1e-5)
    assert np.abs(back).max() <= np.pi + 1e-6


def test_steep_wraps_across_slices_and_noise_are_no_alternation():
    x, _, z = axes((16, 17, 40))
    one = np.ones_like(x, dtype=np.float32)
    for turns in (3, 7, 9):  # up to 2.8 rad from slice to slice at the rim
        assert not has_slice_chop(wrapped(2 * np.pi * turns * z**2 + 3 * x), one)
    assert not has_slice_chop(wrapped(1.8 * 20 * z), one)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, x.shape).astype(np.float32)
    assert not has_slice_chop(noise, one)
    assert not has_slice_chop(noise)
    assert not has_slice_chop(0 * noise, 0 * one)


@pytest.mark.parametrize("axis", [0, 2])
def test_slices_with_constants_of_their_own_are_found_and_levelled(axis):
    phase, magnitude, _ = scan((21, 22, 23))
    rng = np.random.default_rng(4)
    own = rng.uniform(-np.pi, np.pi, phase.shape[axis])
    shape = [-1 if a == axis else 1 for a in range(4)]
    jumpy = wrapped(phase + own.reshape(shape))
    assert has_slice_jumps(jumpy, magnitude, axis)
    assert has_slice_jumps(jumpy[..., 0], magnitude[..., 0], axis)
    assert not has_slice_jumps(phase, magnitude, axis)
    assert not has_slice_jumps(jumpy, magnitude, 1)
    level = level_slices(jumpy, magnitude, axis)
    assert not has_slice_jumps(level, magnitude, axis)
    assert np.abs(level).max() <= np.pi + 1e-6
    taken = wrapped(jumpy - level)
    np.testing.assert_allclose(wrapped(taken - taken[..., :1]), 0, atol=1e-5)  # the echoes' differences stay
    removed = np.unwrap(wrapped(np.moveaxis(taken[..., 0], axis, 0)[:, 0, 0] - own))
    assert np.abs(np.diff(removed[1:-1], 2)).max() < 0.5  # what goes with the constants is smooth


def test_alternation_noise_and_steep_fields_are_no_jumps():
    x, _, z = axes((16, 17, 40))
    one = np.ones_like(x, dtype=np.float32)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, x.shape).astype(np.float32)
    chop = np.pi * (np.arange(40) % 2)
    assert not has_slice_jumps(noise, one)
    assert not has_slice_jumps(0 * noise, 0 * one)
    assert not has_slice_jumps(wrapped(3 * x + chop), one)
    assert not has_slice_jumps(wrapped(2 * np.pi * 6 * z**2 + 3 * x), one)


# --- the sign of the phase ---


def head(shape, voxel, b0, *, cut=0):
    """Field and mask of a −9.4 ppm head with a sinus of air; the lowest `cut` mm are not in the picture."""
    wide = [2 * n for n in shape]
    mm = [h * (np.arange(n) - (n - 1) / 2) for n, h in zip(wide, voxel, strict=True)]
    x, y, z = np.meshgrid(*mm, indexing="ij")
    inside = (x / 70) ** 2 + (y / 90) ** 2 + (z / 75) ** 2 < 1
    inside |= ((x / 50) ** 2 + ((y + 15) / 55) ** 2 < 1) & (z < 0) & (z > -130)  # neck
    inside &= (x / 18) ** 2 + ((y - 55) / 20) ** 2 + ((z + 35) / 18) ** 2 > 1
    k = np.meshgrid(*[np.fft.fftfreq(n, h) for n, h in zip(wide, voxel, strict=True)], indexing="ij")
    squared = sum(q * q for q in k)
    squared[0, 0, 0] = np.inf
    unit = np.array(b0) / np.linalg.norm(b0)
    kernel = 1 / 3 - sum(q * b for q, b in zip(k, unit, strict=True)) ** 2 / squared
    field = np.fft.ifftn(np.fft.fftn(-9.4 * inside) * kernel).real
    middle = tuple(slice(n // 2, n // 2 + n) for n in shape)
    low = round(cut / voxel[2])
    return field[middle][:, :, low:].astype(np.float32), inside[middle][:, :, low:]


CASES = [
    ((38, 46, 44), (4.5, 4.5, 4.5), (0, 0, 1), 0),
    ((39, 47, 43), (4.5, 4.5, 4.5), (0.3, -0.4, 0.8), 0),
    ((56, 70, 33), (3.0, 3.0, 6.0), (0, 0, 1), 30),
    ((38, 46, 44), (4.5, 4.5, 4.5), (0, 1, 0.2), 0),
]


@pytest.mark.parametrize(("shape", "voxel", "b0", "cut"), CASES)
def test_the_sign_follows_the_field(shape, voxel, b0, cut):
    field, inside = head(shape, voxel, b0, cut=cut)
    x, y, z = axes(field.shape)
    noise = np.random.default_rng(0).standard_normal(field.shape)
    measured = (field + 1.5 - 2 * x + 3 * z + 2 * y * y - x * z + 0.05 * noise).astype(np.float32)
    measured[~inside] = 0
    grid = Grid.from_voxel_size(field.shape, voxel, b0)
    sign, correlation = phase_sign(measured, inside, grid)
    assert sign == 1
    assert correlation > 0.5
    assert phase_sign(-measured, inside, grid) == (-1, pytest.approx(-correlation, abs=1e-4))


def test_no_field_has_no_clear_sign():
    _, inside = head(*CASES[0][:3])
    grid = Grid.from_voxel_size(inside.shape, CASES[0][1])
    noise = np.random.default_rng(0).standard_normal(inside.shape).astype(np.float32)
    assert abs(phase_sign(noise, inside, grid)[1]) < 0.1
    x, y, z = axes(inside.shape)
    assert abs(phase_sign((3 * x * y + z * z - x).astype(np.float32), inside, grid)[1]) < 0.1
    assert phase_sign(0 * noise, inside, grid) == (1, 0.0)
    assert phase_sign(noise, np.zeros_like(inside), grid) == (1, 0.0)


def test_the_sign_is_clear_in_a_real_head(shared_data):
    folder = shared_data / "philips_brain_2echo" / "bids" / "sub-01" / "anat"
    name = "sub-01_echo-{}_part-{}_MEGRE.nii.gz"
    images = {(e, p): nib.load(folder / name.format(e, p)) for e in (1, 2) for p in ("mag", "phase")}
    data = {key: np.asarray(image.dataobj, np.float32) for key, image in images.items()}
    bright = ndimage.binary_opening(data[1, "mag"] > 0.1 * np.percentile(data[1, "mag"], 98))
    parts, _ = ndimage.label(bright)
    mask = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    change = unwrap_spatial(wrapped(data[2, "phase"] - data[1, "phase"]), mask, magnitude=data[2, "mag"])
    field = change / np.float32(2 * np.pi * 0.0023 * 127.73)
    sign, correlation = phase_sign(field, mask, Grid(mask.shape, images[1, "mag"].affine))
    assert sign == 1
    assert correlation > 0.3


# --- echoes read in opposite directions ---


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("constant", "slope"), [(0.3, 0.8), (-0.4, -3.0), (0.5, 0.0)])
def test_an_alternating_phase_is_found_and_taken_off(axis, constant, slope):
    shape = (30, 33, 36)
    theta = constant + slope * axes(shape)[axis]
    phase, magnitude, mask = scan(shape, alternating=theta)
    flat = scan(shape)[0]
    assert is_bipolar(phase, magnitude, mask, TIMES)
    assert not is_bipolar(flat, magnitude, mask, TIMES)
    corrected = correct_bipolar(phase, magnitude, mask, echo_times=TIMES)
    left = wrapped(corrected - flat)[mask]
    assert corrected.dtype == np.float32
    assert np.abs(corrected).max() <= np.pi + 1e-6
    before = np.median(np.abs(wrapped(phase - flat)[mask]), axis=0)
    noise_free = np.abs(np.median(left, axis=0))
    assert before.min() > 0.25
    assert noise_free.max() < 0.01
    assert not is_bipolar(corrected, magnitude, mask, TIMES)


def test_noise_hardly_disturbs_the_alternating_phase():
    shape = (30, 33, 36)
    theta = 0.3 - 3 * axes(shape)[0]
    phase, magnitude, mask = scan(shape, snr=2, alternating=theta, seed=3)
    taken = wrapped(phase - correct_bipolar(phase, magnitude, mask, echo_times=TIMES))
    assert np.abs(wrapped(taken[..., 0] - theta)).max() < 0.05
    np.testing.assert_allclose(wrapped(taken[..., 0] + taken[..., 1]), 0, atol=1e-5)


def test_large_arrays_are_judged_by_a_part_of_them():
    shape = (150, 20, 131)
    theta = 0.2 + 1.5 * axes(shape)[0]
    phase, magnitude, mask = scan(shape, alternating=theta, times=TIMES[:3])
    corrected = correct_bipolar(phase, magnitude, mask, echo_times=TIMES[:3])
    left = wrapped(corrected - scan(shape, times=TIMES[:3])[0])
    for side in (slice(0, 50), slice(-50, None)):
        assert np.abs(np.median(left[side][mask[side]], axis=0)).max() < 0.02


def test_without_magnitude_and_with_dark_voxels():
    shape = (30, 33, 36)
    theta = 0.3 + 0.8 * axes(shape)[1]
    phase, magnitude, mask = scan(shape, alternating=theta)
    assert is_bipolar(phase, None, mask, TIMES)
    magnitude[:10] = 0
    assert is_bipolar(phase, magnitude, mask, TIMES)
    assert not is_bipolar(phase, 0 * magnitude, mask, TIMES)


def test_what_cannot_be_told_is_not_bipolar():
    theta = 0.3 + 0.8 * axes((20, 21, 22))[0]
    phase, magnitude, mask = scan((20, 21, 22), alternating=theta)
    uneven = (0.005, 0.010, 0.018, 0.030)
    assert not is_bipolar(phase[..., :2], magnitude[..., :2], mask, TIMES[:2])
    assert not is_bipolar(phase, magnitude, mask, uneven)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, phase.shape).astype(np.float32)
    assert not is_bipolar(noise, magnitude, mask, TIMES)
    with pytest.raises(ScanError, match="three equally spaced echoes"):
        correct_bipolar(phase, magnitude, mask, echo_times=uneven)


def test_a_real_scan_read_one_way_is_not_bipolar(shared_data):
    folder = shared_data / "gre_crop_3echo"
    phase, magnitude = (
        np.asarray(nib.load(folder / name).dataobj.get_unscaled(), np.float32)
        for name in ("Phase.nii", "Mag.nii")
    )
    times = (0.004, 0.008, 0.012)
    mask = np.ones(phase.shape[:3], bool)
    assert not is_bipolar(phase, magnitude, mask, times)
    theta = 0.2 + 0.02 * np.arange(phase.shape[0])[:, None, None, None]
    assert is_bipolar(wrapped(phase + theta * np.array([1, -1, 1])), magnitude, mask, times)
