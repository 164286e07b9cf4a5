"""What numbers stand for: multi-frame files taken apart, private scale slopes applied, phase in radians."""

from __future__ import annotations

import copy
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import XA_PARTS, image, save, xa_file
from pydicom import dcmread
from pydicom.dataset import Dataset

from mensura.cli import main
from mensura.io import find_runs, load, nifti
from mensura.io.files import read_json
from mensura.pipeline.prepare import prepare

SCALE_SLOPE, KIND, NESTED = 0x2005100E, 0x20051011, 0x2005140F


def converted(source: Path) -> dict[str, Path]:
    out = source.parent / "bids"
    assert main(["convert", str(source), str(out)]) == 0
    return {path.name.removeprefix("sub-01_").removesuffix(".nii.gz"): path for path in out.rglob("*.nii.gz")}


def as_stored(image: nifti.Image) -> np.ndarray:
    """A converted image of rows that run up → its slices as DICOM stores them (row, column, slice)."""
    return image.data[:, ::-1].transpose(1, 0, 2)


def test_mixed_magnitude_and_phase_in_one_file_of_siemens_xa(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "siemens_fieldmap_dicom" / "xa30_enhanced"
    files = sorted(folder.rglob("*.dcm"))
    mixed = dcmread(files[0])
    for path in files[1:]:
        other = dcmread(path)
        mixed.PerFrameFunctionalGroupsSequence.extend(other.PerFrameFunctionalGroupsSequence)
        mixed.PixelData += other.PixelData
    mixed.NumberOfFrames = len(mixed.PerFrameFunctionalGroupsSequence)
    mixed.ComplexImageComponent = "MIXED"
    apart, together = tmp_path / "a" / "d", tmp_path / "b" / "d"
    for target in (apart, together):
        target.mkdir(parents=True)
    for n, path in enumerate(files):
        (apart / f"{n}.dcm").write_bytes(path.read_bytes())
    mixed.save_as(together / "mixed.dcm")
    expected, made = converted(apart), converted(together)
    assert set(made) == set(expected) == {"magnitude1", "magnitude2", "phasediff"}
    for name, path in made.items():
        one, other = nifti.read(path), nifti.read(expected[name])
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_allclose(one.grid.affine, other.grid.affine, atol=1e-4)
        for key in (
            "EchoTime",
            "EchoTime1",
            "EchoTime2",
            "Units",
            "RepetitionTime",
            "NonlinearGradientCorrection",
        ):
            assert read_json(path.with_name(path.name.replace(".nii.gz", ".json"))).get(key) == read_json(
                expected[name].with_name(path.name.replace(".nii.gz", ".json"))
            ).get(key)


@pytest.mark.parametrize("parts", [("mag", "phase"), ("real", "imag"), ("mag", "real", "imag")])
def test_echoes_and_complex_parts_in_one_file_of_siemens_xa(
    parts: tuple[str, ...], shared_data: Path, tmp_path: Path
) -> None:
    template = min((shared_data / "siemens_fieldmap_dicom" / "xa30_enhanced").rglob("*.dcm"))
    pixels = np.random.default_rng(3).integers(1, 4095, (3, len(parts), 5, 16, 20))
    pixels[..., 0, 0], pixels[..., 0, 1] = 0, 4095
    (tmp_path / "d").mkdir()
    xa_file(template, parts, pixels).save_as(tmp_path / "d" / "mixed.dcm")
    made = converted(tmp_path / "d")
    assert set(made) == {f"echo-{e}_part-{part}_MEGRE" for e in (1, 2, 3) for part in parts}
    for (echo, part), _ in np.ndenumerate(np.empty((3, len(parts)))):
        slope, intercept = XA_PARTS[parts[part]][2]
        expected = pixels[echo, part] * slope + intercept
        path = made[f"echo-{echo + 1}_part-{parts[part]}_MEGRE"]
        _assert_slices(nifti.read(path), expected * (np.pi / 4096 if parts[part] == "phase" else 1), 1e-3)
        record = read_json(path.with_name(path.name.replace(".nii.gz", ".json")))
        assert record["EchoTime"] == pytest.approx(0.004 * (echo + 1))


@pytest.fixture
def enhanced(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """The header of a real multi-frame file of Philips with magnitude and phase frames of two echoes; its frames
    (echo, kind, slice), as stored, and their scale slopes."""
    template = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "philips_mprage.dcm.gz"
    if not template.is_file():
        pytest.skip("nibabel came without its test data")
    data = dcmread(io.BytesIO(gzip.decompress(template.read_bytes())))
    groups, random = data.PerFrameFunctionalGroupsSequence, np.random.default_rng(1)
    frames, slopes = [], random.uniform(0.01, 0.02, (2, 2, 5))
    pixels = random.integers(0, 4096, (2, 2, 5, 16, 20))
    pixels[:, 1, :, 0, 0], pixels[:, 1, :, 0, 1] = 0, 4095
    for echo in (0, 1):
        for kind in (0, 1):
            for z in range(5):
                slopes[:, 1] = 651.7395
                frames.append(_philips(copy.deepcopy(groups[z]), echo, kind, float(slopes[echo, kind, z])))
    data.PerFrameFunctionalGroupsSequence = frames
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), 16, 20
    data.PixelData = pixels.astype("<u2").tobytes()
    data.ComplexImageComponent = "MIXED"
    data[0x20011018].value = 5
    folder = tmp_path / "philips"
    folder.mkdir()
    data.save_as(folder / "mixed.dcm")
    return folder, pixels, slopes


RESCALE = ((2.1, 0.0), (1.53455433455433, -3142.0))


def _philips(group: Dataset, echo: int, kind: int, slope: float) -> Dataset:
    words = (["ORIGINAL", "PRIMARY", "M", "NONE"], ["ORIGINAL", "PRIMARY", "P", "NONE"])[kind]
    group.MREchoSequence[0].EffectiveEchoTime = (2.3, 4.6)[echo]
    frame_type = group.MRImageFrameTypeSequence[0]
    frame_type.FrameType, frame_type.ComplexImageComponent = words, ("MAGNITUDE", "PHASE")[kind]
    for where in (group.PixelValueTransformationSequence[0], group[NESTED].value[0]):
        where.RescaleSlope, where.RescaleIntercept = RESCALE[kind]
    nested = group[NESTED].value[0]
    nested.EchoTime, nested.EchoNumbers = (2.3, 4.6)[echo], echo + 1
    nested.ImageType = (
        ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
        ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"],
    )[kind]
    nested[SCALE_SLOPE].value, nested[KIND].value = slope, "MP"[kind]
    nested[0x2005100D].value = -RESCALE[kind][1] / RESCALE[kind][0]
    group.FrameContentSequence[0].DimensionIndexValues = [
        1,
        group.FrameContentSequence[0].InStackPositionNumber,
    ]
    return group


def test_philips_enhanced_with_a_scale_slope_for_each_frame(
    enhanced: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    folder, pixels, slopes = enhanced
    made = converted(folder)
    assert set(made) == {f"echo-{e}_part-{p}_MEGRE" for e in (1, 2) for p in ("mag", "phase")}
    for echo in (0, 1):
        phase = nifti.read(made[f"echo-{echo + 1}_part-phase_MEGRE"])
        expected = pixels[echo, 1] * 2 * np.pi / 4095 - np.pi
        _assert_slices(phase, expected, 2e-3)
        _assert_slices(
            nifti.read(made[f"echo-{echo + 1}_part-mag_MEGRE"]),
            pixels[echo, 0] / slopes[echo, 0, :, None, None],
            1e-4,
        )


def _assert_slices(image: nifti.Image, expected: np.ndarray, near: float) -> None:
    """Slices (slice, row, column) are those of the image, in one order or the other."""
    found = as_stored(image).transpose(2, 0, 1)
    errors = [np.abs(found[::step] - expected).max() / np.abs(expected).max() for step in (1, -1)]
    assert min(errors) < near


def test_scale_slopes_that_differ_within_a_series_of_philips(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (4, 24, 32))
    slopes, images = [], []
    for z in range(4):
        slopes.append(0.01 * (1 + z))
        told = {
            0x20050010: ("LO", "Philips MR Imaging DD 001"),
            0x2005100D: ("FL", 0.0),
            SCALE_SLOPE: ("FL", slopes[-1]),
        }
        for te in (5, 15):
            images.append(_classic(z, te, pixels[z], told))
    made = converted(save(tmp_path / "d", images))
    for path in made.values():
        _assert_slices(nifti.read(path), pixels / np.array(slopes)[:, None, None], 1e-4)


def _classic(z: int, te: float, pixels: np.ndarray, told: dict[int, tuple[str, Any]]) -> Dataset:
    return image(
        z, EchoTime=te, pixels=pixels, private=told, Manufacturer="Philips Medical Systems", RescaleSlope=1.7 + z,
        RescaleIntercept=0, ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
    )  # fmt: skip


def stored_12(phase: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((phase + np.pi) * 4096 / (2 * np.pi)), 0, 4095).astype(int)


def milliradians(phase: np.ndarray) -> np.ndarray:
    return np.rint(phase * 1000).astype(int)


GE_PHASE = {0x00430010: ("LO", "GEMS_PARM_01"), 0x0043102F: ("SS", 1)}
SIEMENS = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}
GE = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    "private": GE_PHASE,
}
STORED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "siemens": (stored_12, {"RescaleSlope": 2, "RescaleIntercept": -4096, **SIEMENS}),
    "siemens, no slope": (stored_12, SIEMENS),
    "ge": (milliradians, GE),
    "uih": (stored_12, {"Manufacturer": "UIH", "ImageType": ["ORIGINAL", "PRIMARY", "PHASE"]}),
}


@pytest.mark.parametrize("vendor", STORED)
def test_phase_comes_out_in_radians_with_its_sign(vendor: str, tmp_path: Path) -> None:
    store, fields = STORED[vendor]
    phase = np.random.default_rng(2).uniform(-np.pi, np.pi, (3, 24, 32))
    phase[:, 0, 0], phase[:, 0, 1] = -np.pi + 1e-4, np.pi - 2e-3
    images = []
    for te in (5, 15):
        images += [image(z, EchoTime=te, pixels=store(phase[z]), **fields) for z in range(3)]
        magnitude = {k: v for k, v in fields.items() if k == "Manufacturer"}
        images += [image(z, EchoTime=te, SeriesNumber=2, **magnitude) for z in range(3)]
    made = converted(save(tmp_path / "d", images))
    for echo in (1, 2):
        path = made[f"echo-{echo}_part-phase_MEGRE"]
        _assert_slices(nifti.read(path), phase, 2e-3)
        assert read_json(path.with_name(path.name.replace(".nii.gz", ".json")))["Units"] == "rad"


@pytest.mark.parametrize("stored", ["real and imaginary", "phase"])
def test_chopped_images_of_ge_come_out_as_the_phase_they_are(stored: str, tmp_path: Path) -> None:
    """Images that change their sign from slice to slice, as GE stores them, with the sign of the phase as the scanner
    has it: kept in BIDS, made level before maps are made."""
    z, y, x = np.meshgrid(np.arange(12), np.arange(24), np.arange(32), indexing="ij")
    images, phases = [], []
    for te in (5, 10):
        phases.append(te * (0.05 * (z - 5) + 0.02 * (y - 12) - 0.01 * (x - 16)))
        signal = 900 * np.exp(1j * phases[-1]) * (-1) ** z
        parts = {2: signal.real, 3: signal.imag}
        if stored == "phase":
            parts = {0: np.abs(signal), 1: 1000 * np.angle(signal)}
        for number, part in parts.items():
            ge = {**GE, "private": {**GE_PHASE, 0x0043102F: ("SS", number)}}
            images += [image(n, EchoTime=te, pixels=np.rint(part[n]).astype(int), **ge) for n in range(12)]
    converted(save(tmp_path / "d", images))
    (run,) = find_runs(tmp_path / "bids")
    raw = load(run)
    scan = prepare(raw)
    assert any("flipped by π" in words for words in scan.warnings)
    assert scan.phase is not None
    for echo in (0, 1):
        expected = np.angle(np.exp(1j * phases[echo]))
        found = scan.phase[..., echo][:, ::-1].transpose(2, 1, 0)
        apart = [
            np.abs(np.angle(np.exp(1j * (found[::step] - expected - shift)))).max()
            for step in (1, -1)
            for shift in (0, np.pi)
        ]
        assert min(apart) < 0.01


def test_mosaics_lie_where_the_siemens_header_puts_them(tmp_path: Path) -> None:
    """A mosaic holds its slices as tiles: it is converted and lies where nibabel reads it to lie."""
    folder = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
    if not (folder / "1.dcm").is_file():
        pytest.skip("nibabel came without its test data")
    source = tmp_path / "d"
    source.mkdir()
    (source / "1.dcm").write_bytes((folder / "1.dcm").read_bytes())
    (path,) = converted(source).values()
    assert nifti.read(path).grid.shape == (36, 36, 48)
    assert path.with_name("sub-01_dwi.bval").read_text() == "0\n", (
        "a volume without weighting has its tables too"
    )
