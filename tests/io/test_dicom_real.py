"""Every real DICOM set becomes the right images, in the right place, order and unit; docs/dicom.md tells how it was."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import dicom_table
import numpy as np
import pytest
from dicom_table import Converted
from pydicom import dcmread
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import skew

from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.dicom.frames import Frame
from mensura.io.dicom.rules import RULES
from mensura.io.dicom.sidecar import PROVENANCE
from mensura.io.files import read_json
from mensura.qsm.unwrap import unwrap_spatial

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dicom.md"
EXPECTED = {
    "philips_brain_2echo": {f"echo-{e}_part-{p}_MEGRE" for e in (1, 2) for p in ("mag", "phase")},
    "siemens_fieldmap (classic)": {"magnitude1", "magnitude2", "phasediff"},
    "siemens_fieldmap (XA30)": {"magnitude1", "magnitude2", "phasediff"},
    "ge_fieldmap": {"fieldmap", "magnitude"},
    **{f"nist_phantom T1 {v}": {f"inv-{n}_IRT1" for n in range(1, 7)} for v in ("siemens", "ge", "philips")},
    "nist_phantom T2 siemens": {f"echo-{n}_MESE" for n in range(1, 33)},
    "nist_phantom T2 ge": {f"echo-{n}_MESE" for n in range(1, 9)},
    "nist_phantom T2 philips": {f"echo-{n}_MESE" for n in range(1, 33)},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_images_are_named_by_what_they_are(name: str, sets: dict[str, Converted]) -> None:
    found = {
        p.name.removeprefix("sub-01_").removesuffix(".nii.gz") for p in sets[name].bids.rglob("*.nii.gz")
    }
    assert found == EXPECTED[name]
    for row in sets[name].rows:
        record, first = read_json(sets[name].bids / f"{row.name}.json"), row.stack.first
        for key, value in (("InversionTime", first.inversion_time), ("FlipAngle", first.flip_angle)):
            assert record.get(key) == pytest.approx(value)
        assert row.missing == ()
        if row.suffix == "phasediff":
            assert 0.002 < record["EchoTime2"] - record["EchoTime1"] < 0.003
        elif row.suffix != "fieldmap":
            assert record["EchoTime"] == pytest.approx(first.echo_time)
        assert record["Units"] == {"phase": "rad", "field": "Hz"}.get(row.stack.kind, "arbitrary")


@pytest.mark.parametrize("name", [name for name in EXPECTED if "nist" in name])
def test_times_grow_with_the_numbers(name: str, sets: dict[str, Converted]) -> None:
    key, entity = ("InversionTime", "inv") if "T1" in name else ("EchoTime", "echo")
    images = [(parse(p), read_json(p)) for p in sets[name].bids.rglob("sub-*.json")]
    times = [record[key] for _, record in sorted(images, key=lambda pair: int(pair[0].entities[entity]))]
    assert len(times) > 5
    assert all(b > a for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_corner_is_where_dicom_puts_it(name: str, sets: dict[str, Converted]) -> None:
    assert dicom_table.farthest(sets[name]) < 1e-3


@pytest.mark.parametrize("name", EXPECTED)
def test_voxels_have_the_value_of_the_pixel_that_lies_there(name: str, sets: dict[str, Converted]) -> None:
    """Without any help of the code: pixel, position and orientation straight from the file, LPS turned to RAS."""
    random = np.random.default_rng(0)
    for row in sets[name].rows[:3]:
        image = nifti.read(sets[name].path(row))
        frame = row.stack.frames[random.integers(len(row.stack.frames))]
        data, pixels = _pixels(frame)
        slope, intercept = _scaling(data, frame.number)
        values = pixels * slope + intercept
        private = data.get(0x2005100E)
        if private is not None:
            values = values / (slope * float(private.value))
        if row.stack.kind == "phase" and private is None:
            values = values * np.pi / 4096
        for r, c in random.integers(5, 60, (20, 2)):
            place = np.array(frame.position) + frame.spacing[1] * c * np.array(frame.orientation[:3])
            place = place + frame.spacing[0] * r * np.array(frame.orientation[3:])
            index = np.linalg.solve(np.asarray(image.grid.affine), [-place[0], -place[1], place[2], 1.0])[:3]
            assert np.abs(index - np.rint(index)).max() < 1e-3
            found = image.data[tuple(np.rint(index).astype(int))]
            assert found == pytest.approx(values[r, c], rel=2e-4, abs=1e-3 * np.abs(values).max())


def _pixels(frame: Frame) -> tuple[object, np.ndarray]:
    opener = gzip.open if frame.path.suffix == ".gz" else open
    with opener(frame.path, "rb") as file:
        data = dcmread(file)
        pixels = data.pixel_array
    return data, pixels[frame.number] if pixels.ndim == 3 else pixels


def _scaling(data: object, number: int) -> tuple[float, float]:
    groups = getattr(data, "PerFrameFunctionalGroupsSequence", None)
    where = groups[number].PixelValueTransformationSequence[0] if groups else data
    return float(getattr(where, "RescaleSlope", 1)), float(getattr(where, "RescaleIntercept", 0))


@pytest.mark.parametrize("name", [name for name in EXPECTED if "nist" not in name])
def test_phase_fills_one_turn_and_has_the_right_sign(name: str, sets: dict[str, Converted]) -> None:
    """Above the sinuses, whose air is paramagnetic against tissue, the field is high: well inside the head its values
    and their local deviations lean to the upper end, for all vendors; with the other sign they lean to the lower."""
    one = sets[name]
    shown = next(r for r in one.rows if r.stack.kind in ("phase", "field") and "echo-1" not in r.name)
    magnitude = next(r for r in one.rows if r.stack.kind == "mag")
    image, size = nifti.read(one.path(shown)), nifti.read(one.path(magnitude)).data
    turn = np.pi if shown.stack.kind == "phase" else 1 / (2 * 0.002304)
    assert 0.99 * turn < np.abs(image.data).max() < 1.002 * turn
    head, voxel = size > 0.12 * np.percentile(size, 99), image.grid.voxel_size
    field = unwrap_spatial((image.data * np.pi / turn).astype(np.float32), head, magnitude=size * head)
    fine, coarse = (_smoothed(field, head, [width / edge for edge in voxel]) for width in (4, 15))
    inside = distance_transform_edt(np.pad(head, 1), voxel)[1:-1, 1:-1, 1:-1] > 8
    assert skew(fine[inside]) + skew((fine - coarse)[inside]) > 1


def _smoothed(field: np.ndarray, head: np.ndarray, sigma: list[float]) -> np.ndarray:
    weight = gaussian_filter(head.astype(float), sigma)
    return gaussian_filter(np.where(head, field, 0.0), sigma) / np.maximum(weight, 1e-3)


def test_the_brain_is_what_others_made_of_it(shared_data: Path, sets: dict[str, Converted]) -> None:
    import nibabel

    for path in sorted((shared_data / "philips_brain_2echo" / "bids").rglob("*.nii.gz")):
        theirs = nibabel.as_closest_canonical(nibabel.load(path))
        ours = nibabel.as_closest_canonical(
            nibabel.load(next(sets["philips_brain_2echo"].bids.rglob(path.name)))
        )
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
        np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), rtol=1e-5, atol=1e-5)


def test_provenance_is_recorded_where_the_scanner_told_it(sets: dict[str, Converted]) -> None:
    record = read_json(next(sets["siemens_fieldmap (XA30)"].bids.rglob("*phasediff.json")))
    assert set(PROVENANCE) - set(record) == {"B0ShimmingTechnique", "SpoilingType"}
    assert record["NonlinearGradientCorrection"] is True
    assert record["GradientDistortionCorrection"] == "2D"
    record = read_json(next(sets["siemens_fieldmap (classic)"].bids.rglob("*phasediff.json")))
    assert record["NonlinearGradientCorrection"] is False


@pytest.mark.parametrize("name", EXPECTED)
def test_nothing_identifies_a_person(name: str, sets: dict[str, Converted]) -> None:
    one = sets[name]
    text = "".join(p.read_text() for p in one.bids.rglob("*") if p.suffix in (".json", ".tsv"))
    for series in {row.stack.series for row in one.rows}:
        told = [
            series.identifiers.get(key, "")
            for key in ("PatientName", "PatientID", "StudyDate", "PatientBirthDate")
        ]
        assert not any(part in text for part in told if len(part) > 4)
        assert series.uid not in text
    assert "PatientSex" not in json.dumps(text)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_page_says_what_was_found(name: str, sets: dict[str, Converted]) -> None:
    page = PAGE.read_text("utf-8")
    assert dicom_table.HEADER in page
    assert dicom_table.line(sets[name]) in page


def test_the_page_names_every_suffix() -> None:
    page = PAGE.read_text("utf-8")
    for rule in RULES:
        if rule.suffix not in ("ignored", "unknown"):
            assert f"`{rule.suffix}`" in page, rule.suffix
