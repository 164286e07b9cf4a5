"""Every known way of storing phase comes out as the same radians; what cannot be told is refused."""

from pathlib import Path

import numpy as np
import pytest
from tiny_images import SHAPE, SaveImage, wrapped_phase

from mensura.io import nifti
from mensura.io.phase_scale import RadianPhase, to_radians
from mensura.scan import ScanError

PHASE = wrapped_phase(SHAPE)


def circular_error(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two phases, modulo 2π."""
    return float(np.abs(np.angle(np.exp(1j * (a.astype(np.float64) - b)))).max())


def steps(phase: np.ndarray, low: float, high: float) -> np.ndarray:
    """Phase in ±π → whole numbers that cover low…high−1."""
    return np.floor((phase + np.pi) / (2 * np.pi) * (high - low) + low).clip(low, high - 1)


class Stored:
    """One way of storing phase: what is in the file, and how exactly it can come back."""

    def __init__(
        self, values: np.ndarray, scaling: tuple[float, float] | None, vendor: str, step: float
    ) -> None:
        self.values, self.scaling, self.vendor, self.step = values, scaling, vendor, step


TWELVE_BITS = steps(PHASE, 0, 4096).astype(np.int16)
SIGNED = (2 * TWELVE_BITS - 4096).astype(np.int16)
PHILIPS = np.rint((PHASE + np.pi) / (2 * np.pi) * 4095).astype(np.int16)
STEP = 2 * np.pi / 4096

WAYS = {
    "radians": Stored(PHASE, None, "", 0),
    "siemens with its slope": Stored(TWELVE_BITS.astype(np.uint16), (2, -4096), "Siemens", STEP),
    "siemens slope, vendor unknown": Stored(TWELVE_BITS.astype(np.uint16), (2, -4096), "", STEP),
    "siemens, slope applied": Stored(SIGNED, None, "SIEMENS", STEP),
    "siemens, slope applied, vendor unknown": Stored(SIGNED, None, "", STEP),
    "siemens as float": Stored(SIGNED.astype(np.float32), None, "", STEP),
    "siemens, slope lost": Stored(TWELVE_BITS, None, "Siemens", STEP),
    "slope and vendor lost": Stored(TWELVE_BITS, None, "", STEP),
    "philips milliradians": Stored(PHILIPS, (1.5346, -3142), "Philips Medical Systems", STEP),
    "philips radians": Stored(PHILIPS, (0.00153446198, -3.1415925), "Philips", STEP),
    "philips slope, vendor unknown": Stored(PHILIPS, (1.5346, -3142), "", STEP),
    "ge milliradians": Stored(np.rint(1000 * PHASE).astype(np.int16), None, "GE MEDICAL SYSTEMS", 1e-3),
    "milliradians, vendor unknown": Stored(np.rint(1000 * PHASE).astype(np.int16), None, "", 1e-3),
    "uih sixteen bits": Stored(steps(PHASE, 0, 65536).astype(np.uint16), None, "UIH", 1e-4),
    "eleven bits signed": Stored(steps(PHASE, -1024, 1024).astype(np.int16), None, "", 4e-3),
    "degrees": Stored(np.degrees(PHASE).astype(np.float32), None, "", 1e-6),
    "slope spoils radians": Stored(PHASE, (0.0011695906, 0), "", 0),
    "slope and intercept spoil radians": Stored(PHASE, (0.002, 1e-3), "", 1e-6),
    "slope spoils siemens": Stored(SIGNED, (1e-6, 0), "Siemens", STEP),
    "zero to two pi": Stored(np.mod(PHASE, 2 * np.pi).astype(np.float32), None, "", 1e-6),
}


def converted(save: SaveImage, way: Stored, **sidecar: str) -> RadianPhase:
    record = {"Manufacturer": way.vendor, **sidecar} if way.vendor else sidecar
    return to_radians(nifti.read(save("phase.nii", way.values, scaling=way.scaling)), record)


@pytest.mark.parametrize("name", WAYS)
def test_every_known_way_of_storing_comes_out_as_the_same_radians(save: SaveImage, name: str) -> None:
    result = converted(save, WAYS[name])
    assert result.data.dtype == np.float32
    assert circular_error(result.data, PHASE) < 1.1 * WAYS[name].step + 2e-6
    assert np.abs(result.data).max() <= np.pi + 0.002
    assert result.rule
    assert not result.unwrapped


def test_radians_are_left_as_they_are_bit_by_bit(save: SaveImage) -> None:
    for sidecar in ({}, {"Units": "rad"}, {"Units": "arbitrary"}, {"Manufacturer": "Siemens"}):
        result = to_radians(nifti.read(save("phase.nii", PHASE)), sidecar)
        assert np.array_equal(result.data, PHASE)
        assert result.warnings == ()


def test_stored_radians_come_back_bit_by_bit_from_under_a_wrong_slope(save: SaveImage) -> None:
    result = converted(save, WAYS["slope spoils radians"], Units="rad")
    np.testing.assert_allclose(result.data, PHASE, rtol=3e-7)
    assert "slope of 0.00116959 was ignored" in result.rule
    assert any("phase.nii" in warning and "0.00367" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", ["siemens, slope applied", "siemens, slope lost", "siemens with its slope"])
def test_a_crop_without_wraps_is_scaled_by_the_vendor_not_by_its_extremes(save: SaveImage, name: str) -> None:
    whole = WAYS[name]
    narrow = steps(0.4 * PHASE, 0, 4096).astype(whole.values.dtype)
    values = (2 * narrow - 4096).astype(np.int16) if name == "siemens, slope applied" else narrow
    result = converted(save, Stored(values, whole.scaling, "Siemens", STEP))
    assert circular_error(result.data, 0.4 * PHASE) < 1.1 * STEP
    assert any("check its scale" in warning for warning in result.warnings) == (whole.scaling is None)


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.scaling is None])
def test_a_constant_outside_the_head_does_not_change_the_scale(save: SaveImage, name: str) -> None:
    way = WAYS[name]
    dtype = np.int32 if way.values.dtype.kind in "iu" else np.float32
    values = way.values.astype(dtype)
    values[:2] = -4096 if values.min() > -4000 and values.max() < 5000 else -99999
    result = converted(save, Stored(values, None, way.vendor, way.step))
    assert circular_error(result.data[2:], PHASE[2:]) < 1.1 * way.step + 2e-6
    assert np.all(result.data[:2] == 0)
    assert any("set to 0" in warning for warning in result.warnings)


def test_a_filling_that_is_a_phase_stays(save: SaveImage) -> None:
    values = np.where(PHASE > 2.5, PHASE, 0).astype(np.float32)
    for unwrapped in (values, 20 * values):
        result = converted(save, Stored(unwrapped, None, "", 0), Units="rad")
        assert np.array_equal(result.data, unwrapped)


def test_the_lowest_siemens_value_outside_the_head_is_minus_pi(save: SaveImage) -> None:
    values = SIGNED.copy()
    values[:3] = -4096
    result = converted(save, Stored(values, None, "Siemens", STEP))
    np.testing.assert_allclose(result.data[:3], -np.pi, rtol=1e-6)
    assert circular_error(result.data[3:], PHASE[3:]) < 1.1 * STEP


def test_the_unit_of_the_sidecar_decides(save: SaveImage) -> None:
    small = 0.2 * PHASE
    for unit, factor in (("deg", 180 / np.pi), ("mrad", 1000.0), ("rad", 1.0)):
        result = converted(save, Stored((factor * small).astype(np.float32), None, "Siemens", 0), Units=unit)
        np.testing.assert_allclose(result.data, small, atol=1e-6)


def test_a_sidecar_that_calls_whole_numbers_radians_is_contradicted(save: SaveImage) -> None:
    result = converted(save, WAYS["siemens, slope applied"], Units="rad")
    assert circular_error(result.data, PHASE) < 1.1 * STEP
    assert any("states radians" in warning for warning in result.warnings)


@pytest.mark.parametrize("vendor", ["", "Siemens", "Philips", "GE MEDICAL SYSTEMS"])
@pytest.mark.parametrize("sidecar", [{}, {"Units": "rad"}])
def test_unwrapped_phase_is_returned_as_it_is_and_flagged(
    save: SaveImage, vendor: str, sidecar: dict[str, str]
) -> None:
    unwrapped = 6 * PHASE + 11
    result = converted(save, Stored(unwrapped, None, vendor, 0), **sidecar)
    assert np.array_equal(result.data, unwrapped)
    assert result.unwrapped
    assert any("unwrapped before" in warning for warning in result.warnings)


def test_nan_and_infinity_survive_and_do_not_change_the_scale(save: SaveImage) -> None:
    values = SIGNED.astype(np.float32)
    values[3, 3, 3], values[4, 4, 4], values[5, 5, 1] = np.nan, np.inf, -np.inf
    result = converted(save, Stored(values, None, "", STEP))
    assert np.isnan(result.data[3, 3, 3])
    assert result.data[4, 4, 4] == np.inf
    assert result.data[5, 5, 1] == -np.inf
    finite = np.isfinite(values)
    assert circular_error(result.data[finite], PHASE[finite]) < 1.1 * STEP


@pytest.mark.parametrize("value", [0.0, 2.5, -4096.0])
def test_constant_phase_is_left_to_the_checks_of_the_field(save: SaveImage, value: float) -> None:
    result = converted(save, Stored(np.full(SHAPE, value, np.float32), None, "Siemens", 0))
    assert np.all(result.data == value)
    assert "everywhere" in result.rule


def test_tiny_phase_is_questioned(save: SaveImage) -> None:
    result = converted(save, Stored(1e-3 * PHASE, None, "", 0))
    assert np.array_equal(result.data, 1e-3 * PHASE)
    assert any("check that it is in radians" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("values", "scaling", "message"),
    [
        (0.3 * PHASE, (0.001, 0.0), r"set that slope \(scl_slope\) to 1"),
        (np.rint(PHASE).astype(np.int16), None, "rounded radians"),
        ((0.7 * SIGNED).astype(np.int16), None, "no known way of storing phase"),
        (1e5 * PHASE, None, "no known way of storing phase"),
        (np.full(SHAPE, np.nan, np.float32), None, "no finite value"),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_remedy(
    save: SaveImage, values: np.ndarray, scaling: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(ScanError, match=message) as caught:
        converted(save, Stored(values, scaling, "", 0))
    assert "phase.nii" in str(caught.value)


def test_echoes_in_files_of_differing_slopes_are_scaled_together(save: SaveImage) -> None:
    first = save("e1.nii", TWELVE_BITS, scaling=(2, -4096))
    second = save("e2.nii", SIGNED)
    result = to_radians(nifti.stack([first, second]))
    assert circular_error(result.data[..., 0], PHASE) < 1.1 * STEP
    assert circular_error(result.data[..., 1], PHASE) < 1.1 * STEP


def test_the_crop_whose_slope_hides_the_radians(shared_data: Path) -> None:
    image = nifti.stack([shared_data / "gre_crop_3echo/Phase.nii"])
    assert np.abs(image.data).max() < 0.004
    result = to_radians(image)
    np.testing.assert_allclose([result.data.min(), result.data.max()], [-np.pi, np.pi], atol=1e-5)
    assert len(result.warnings) == 1


def test_a_real_siemens_phase_difference(shared_data: Path) -> None:
    folder = shared_data / "siemens_b0_b1_brain/gre_field_mapping_1acq_rl_0006"
    image = nifti.read(next(folder.glob("*.nii")))
    result = to_radians(image, {"Manufacturer": "Siemens"})
    np.testing.assert_allclose(result.data, image.data * np.pi / 4096, atol=1e-5)
    assert result.warnings == ()


def test_a_real_phase_with_nan(shared_data: Path) -> None:
    image = nifti.read(shared_data / "gre_crop_3echo/phase_with_nan.nii")
    result = to_radians(image)
    assert int(np.isnan(result.data).sum()) == 1280
    assert result.unwrapped
