"""Single files become one scan, or one clear sentence."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny_images import OBLIQUE, SHAPE, SaveImage, wrapped_phase

from mensura.io import load_nifti, scans
from mensura.scan import GAMMA_BAR, ScanError

PHASE = wrapped_phase()
MAGNITUDE = np.abs(PHASE) + 1
TIMES = (0.004, 0.008, 0.012)
TESLA = {"echo_times": TIMES, "field_strength": 3.0}


def test_files_per_echo_and_4d_files_give_the_same_scan(save: SaveImage) -> None:
    apart = load_nifti(
        phase=[save(f"p{n}.nii.gz", PHASE[..., n]) for n in range(3)],
        magnitude=[save(f"m{n}.nii.gz", MAGNITUDE[..., n]) for n in range(3)],
        **TESLA,
    )
    together = load_nifti(phase=[save("p.nii.gz", PHASE)], magnitude=[save("m.nii.gz", MAGNITUDE)], **TESLA)
    for scan in (apart, together):
        assert np.array_equal(scan.phase, PHASE)
        assert np.array_equal(scan.magnitude, MAGNITUDE)
        assert scan.acquisition is not None
        assert scan.acquisition.echo_times == TIMES
        assert scan.hz_per_ppm == pytest.approx(GAMMA_BAR * 3e-6)
        assert scan.warnings == ()
        np.testing.assert_allclose(scan.grid.affine, OBLIQUE, atol=1e-5)
    assert [path.name for path in apart.sources["phase"]] == ["p0.nii.gz", "p1.nii.gz", "p2.nii.gz"]


def test_times_and_field_strength_come_from_sidecars_where_not_given(save: SaveImage) -> None:
    paths = [save(f"p{n}.nii.gz", PHASE[..., n]) for n in range(3)]
    for path, time in zip(paths, TIMES, strict=True):
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps({"EchoTime": time, "MagneticFieldStrength": 7, "FlipAngle": 15}))
    scan = load_nifti(phase=paths)
    assert scan.acquisition is not None
    assert (scan.acquisition.echo_times, scan.field_strength) == (TIMES, 7.0)
    assert load_nifti(phase=paths, field_strength=3).field_strength == 3


def test_a_single_echo_is_accepted_and_noted(save: SaveImage) -> None:
    scan = load_nifti(phase=[save("p.nii", PHASE[..., 0])], echo_times=[0.02], field_strength=3)
    assert scan.phase is not None
    assert scan.phase.shape == (*SHAPE, 1)
    assert any("single echo" in warning for warning in scan.warnings)


def test_real_and_imaginary_parts_are_handed_on(save: SaveImage) -> None:
    parts = MAGNITUDE * np.exp(1j * PHASE)
    scan = load_nifti(real=[save("r.nii", parts.real)], imaginary=[save("i.nii", parts.imag)], **TESLA)
    assert scan.phase is None
    assert scan.magnitude is None
    assert scan.real is not None
    assert scan.imaginary is not None
    np.testing.assert_allclose(scan.real + 1j * scan.imaginary, parts, atol=1e-5)
    assert scan.header.orientation_known


@pytest.mark.parametrize("name", ["total_field", "local_field"])
def test_fields_on_disk_become_ppm(save: SaveImage, name: str) -> None:
    hertz = np.random.default_rng(3).normal(0, 20, SHAPE).astype(np.float32)
    hertz[0, 0, 0] = np.nan
    path = save("field.nii.gz", hertz)
    scan = load_nifti(**{name: path}, field_strength=3)
    np.testing.assert_allclose(getattr(scan, name), hertz / 127.732435, rtol=1e-5)
    assert scan.acquisition is None
    assert scan.warnings == ()
    ppm = load_nifti(**{name: path}, field_unit="ppm")
    np.testing.assert_array_equal(getattr(ppm, name), hertz)
    assert ppm.field_strength is None


def test_a_field_too_large_for_ppm_is_questioned(save: SaveImage) -> None:
    scan = load_nifti(total_field=save("f.nii", np.full(SHAPE, -80, np.float32)), field_unit="ppm")
    assert any("f.nii" in warning and "--field-unit" in warning for warning in scan.warnings)


def test_the_field_strength_is_asked_for_when_it_is_needed(save: SaveImage) -> None:
    path = save("f.nii", PHASE[..., 0])
    with pytest.raises(ScanError, match="--field-strength 3"):
        load_nifti(total_field=path)
    with pytest.raises(ScanError, match="--field-strength 3"):
        _ = load_nifti(total_field=path, field_unit="ppm").hz_per_ppm


def test_a_mask_is_every_voxel_that_is_not_zero(save: SaveImage) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[2:5, 2:4], values[0, 0, 0], values[1, 1, 1] = 0.4, np.nan, -1
    scan = load_nifti(phase=[save("p.nii", PHASE)], mask=save("m.nii", values), **TESLA)
    assert scan.mask is not None
    assert scan.mask.dtype == bool
    assert int(scan.mask.sum()) == 3 * 2 * 5 + 1
    assert scan.mask[1, 1, 1]


def test_an_unknown_orientation_is_noted_and_may_be_told(save: SaveImage) -> None:
    unknown = save("p.nii", PHASE, codes=(0, 0))
    scan = load_nifti(phase=[unknown], **TESLA)
    assert any("p.nii does not state its orientation" in warning for warning in scan.warnings)
    assert scan.grid.b0_direction == (0, 0, 1)
    told = load_nifti(phase=[unknown], b0_direction=[0, 2, 0], **TESLA)
    assert told.grid.b0_direction == (0, 1, 0)
    assert told.warnings == ()


def test_an_image_that_knows_its_orientation_gives_it_to_the_others(save: SaveImage) -> None:
    phase = save("p.nii", PHASE, codes=(0, 0))
    scan = load_nifti(phase=[phase], magnitude=[save("m.nii", MAGNITUDE)], **TESLA)
    np.testing.assert_allclose(scan.grid.affine, OBLIQUE, atol=1e-5)
    assert scan.header.orientation_known


def test_a_b0_direction_against_the_header_is_noted(save: SaveImage) -> None:
    phase = save("p.nii", PHASE)
    stated = load_nifti(phase=[phase], **TESLA).grid.b0_direction
    assert load_nifti(phase=[phase], b0_direction=stated, **TESLA).warnings == ()
    scan = load_nifti(phase=[phase], b0_direction=[1, 0, 0], **TESLA)
    assert any("off the one that the header of p.nii states" in warning for warning in scan.warnings)


def test_already_unwrapped_phase_is_flagged(save: SaveImage) -> None:
    scan = load_nifti(phase=[save("p.nii", 5 * PHASE)], **TESLA)
    assert scan.already_unwrapped
    assert "unwrapped" in scan.phase_rule


GOOD = {"phase": ["p.nii"], **TESLA}
WRONG = {
    r"there is no phase \(no image at all\)": TESLA,
    r"there is no phase \(only magnitude\); give phase": {"magnitude": ["m.nii"], **TESLA},
    r"p\.nii has no imaginary part": {"real": ["p.nii"], **TESLA},
    "the echo times are not known": {"phase": ["p.nii"], "field_strength": 3},
    "the field strength is not known; give it in tesla": {"phase": ["p.nii"], "echo_times": TIMES},
    "4, 8, 12 look like milliseconds": GOOD | {"echo_times": (4, 8, 12)},
    "must increase": GOOD | {"echo_times": (0.004, 0.012, 0.008)},
    r"p\.nii: 3 phase volumes but 2 echo times": GOOD | {"echo_times": TIMES[:2]},
    r"coils\.nii: 32 phase volumes but 3 echo times; .* combine coil images": GOOD | {"phase": ["coils.nii"]},
    r"two\.nii: 2 magnitude, 3 phase volumes": GOOD | {"magnitude": ["two.nii"]},
    r"shifted\.nii lies elsewhere than .*p\.nii \(.* up to 3 mm": GOOD | {"magnitude": ["shifted.nii"]},
    r"zeros\.nii is zero everywhere; give a mask": GOOD | {"mask": "zeros.nii"},
    r"small\.nii has shape 6×6×5 but .*p\.nii has 7×6×5": GOOD | {"mask": "small.nii"},
    r"m\.nii holds 3 volumes; give a mask of a single volume": GOOD | {"mask": "m.nii"},
    r"m\.nii holds 3 volumes; give a field map of a single": {"total_field": "m.nii", "field_strength": 3},
    r"zeros\.nii is zero everywhere; give a field map": {"local_field": "zeros.nii", "field_strength": 3},
    "the field unit 'rad' is not known; choose Hz or ppm": {"local_field": "small.nii", "field_unit": "rad"},
    "must be three numbers": GOOD | {"b0_direction": [0, 1]},
    "not all zero": GOOD | {"b0_direction": [0, 0, 0]},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_one_sentence(save: SaveImage, message: str) -> None:
    shifted = OBLIQUE.copy()
    shifted[1, 3] += 3
    save("shifted.nii", MAGNITUDE, shifted)
    arrays = {"p": PHASE, "m": MAGNITUDE, "two": MAGNITUDE[..., :2], "small": PHASE[1:, ..., 0]}
    arrays |= {"zeros": np.zeros(SHAPE, np.uint8), "coils": wrapped_phase((*SHAPE, 32))}
    folder = {save(f"{name}.nii", array).parent for name, array in arrays.items()}.pop()
    with pytest.raises(ScanError, match=message) as caught:
        load_nifti(**{key: in_folder(folder, value) for key, value in WRONG[message].items()})
    assert "\n" not in str(caught.value)


def in_folder(folder: Path, value: object) -> object:
    """File names → paths in the folder; everything else as it is."""
    if isinstance(value, list):
        return [in_folder(folder, item) for item in value]
    return folder / value if str(value).endswith(".nii") else value


def test_a_truncated_echo_is_named(save: SaveImage) -> None:
    paths = [save(f"p{n}.nii.gz", PHASE[..., n]) for n in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    with pytest.raises(ScanError, match=r"p1\.nii\.gz is truncated"):
        load_nifti(phase=paths, **TESLA)


def test_an_unreadable_sidecar_is_named(save: SaveImage) -> None:
    path = save("p.nii.gz", PHASE)
    path.with_name("p.json").write_text('{"EchoTime": [0.004,]\n}')
    with pytest.raises(ScanError, match=r"p\.json is not valid JSON: .* in line 1"):
        load_nifti(phase=[path], **TESLA)


def test_a_scan_can_be_sent_to_another_process(save: SaveImage) -> None:
    scan = load_nifti(
        phase=[save("p.nii", PHASE)],
        total_field=save("f.nii", PHASE[..., 0]),
        field_strength=3,
        echo_times=TIMES,
    )
    back = pickle.loads(pickle.dumps(scan))
    assert isinstance(back, scans.Scan)
    assert np.array_equal(back.phase, scan.phase)
    assert back.sources == scan.sources


def test_the_crop_with_a_wrong_slope_is_read_as_radians(shared_data: Path) -> None:
    folder = shared_data / "gre_crop_3echo"
    scan = load_nifti(
        phase=[folder / "Phase.nii"], magnitude=[folder / "Mag.nii"], echo_times=TIMES, field_strength=7
    )
    assert scan.phase is not None
    assert scan.phase.shape == (51, 51, 41, 3)
    assert scan.phase.max() - scan.phase.min() == pytest.approx(2 * np.pi, abs=1e-3)
    assert not scan.already_unwrapped
