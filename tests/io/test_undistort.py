"""Images and sidecars corrected for nonlinear gradients, by themselves and while DICOM is converted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coil_text import COIL
from dicom_files import save, series

from mensura.cli import main
from mensura.io import nifti
from mensura.io.coil_file import read_coil
from mensura.io.files import read_json
from mensura.io.undistort import Undistortion, undistort_files
from mensura.scan import Grid, ScanError
from mensura.warp import coil_frame, distortion, undistorted

GRID = Grid.from_voxel_size((26, 28, 24), (8.0, 8.0, 8.0))
RECORD = {"Manufacturer": "Siemens", "PatientPosition": "HFS", "NonlinearGradientCorrection": False,
          "GradientDistortionCorrection": "none", "TablePosition": [0, 0, 15], "Units": "arbitrary"}  # fmt: skip


@pytest.fixture
def grad(tmp_path: Path) -> Path:
    path = tmp_path / "coeff_TEST.grad"
    path.write_text(COIL)
    return path


def put(folder: Path, name: str, data: np.ndarray, **fields: Any) -> Path:
    path = folder / f"{name}.nii.gz"
    nifti.write(path, data.astype(np.float32), GRID)
    record = {key: value for key, value in {**RECORD, **fields}.items() if value is not None}
    (folder / f"{name}.json").write_text(json.dumps(record))
    return path


def sidecar(path: Path) -> dict[str, Any]:
    return read_json(path.with_name(path.name.replace(".nii.gz", ".json")))


def signal(seed: int = 0) -> np.ndarray:
    """Smooth, and with phase that wraps."""
    x, y, z = np.indices(GRID.shape)
    size = 100 + 30 * np.sin(x / 4 + seed) * np.cos(y / 5) * np.cos(z / 4)
    return size * np.exp(1j * (0.7 * x - 0.4 * y + 0.01 * z**2))


def expected(grad: Path, data: np.ndarray, **how: Any) -> np.ndarray:
    frame = coil_frame("HFS", (0, 0, 15))
    return undistorted(data.astype(np.complex64), distortion(read_coil(grad).harmonics, GRID, frame), **how)


PAIRS = {
    "magnitude and phase": ("sub-01_part-mag_T2starw", "sub-01_part-phase_T2starw"),
    "magnitude and phase difference": ("sub-01_magnitude2", "sub-01_phasediff"),
    "real and imaginary part": ("sub-01_part-real_T2starw", "sub-01_part-imag_T2starw"),
}


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "the other way round"])
@pytest.mark.parametrize("what", PAIRS)
def test_parts_are_fetched_as_one_complex_image(what: str, turned: bool, grad: Path, tmp_path: Path) -> None:
    data, is_phase = signal(), "phase" in what
    parts = (np.abs(data), np.angle(data)) if is_phase else (data.real, data.imag)
    units = ("arbitrary", "rad" if is_phase else "arbitrary")
    paths = [put(tmp_path, n, p, Units=u) for n, p, u in zip(PAIRS[what], parts, units, strict=True)]
    undistort_files(paths[::-1] if turned else paths, Undistortion(read_coil(grad)))
    first, second = (nifti.read(path).data for path in paths)
    made = first * np.exp(1j * second) if is_phase else first + 1j * second
    np.testing.assert_allclose(made, expected(grad, data), atol=1e-3)
    told = [sidecar(path)["GradientDistortionCorrectionMethod"] for path in paths]
    assert {t["Interpolation"] for t in told} == {"B-spline of order 5 of complex values"}
    assert [t["IntensityCorrected"] for t in told] == [True, not is_phase]


def test_phase_alone_is_fetched_across_its_wraps(grad: Path, tmp_path: Path) -> None:
    data = signal()
    path = put(tmp_path, "sub-01_part-phase_T2starw", np.angle(data), Units="rad")
    undistort_files([path], Undistortion(read_coil(grad)))
    known = expected(grad, data / np.abs(data), intensity=False)
    made = nifti.read(path).data
    inside = known != 0
    np.testing.assert_allclose(np.exp(1j * made[inside]), known[inside] / np.abs(known[inside]), atol=1e-4)
    assert not made[~inside].any()


def test_a_map_keeps_its_values_and_a_signal_its_amount(grad: Path, tmp_path: Path) -> None:
    paths = [put(tmp_path, f"sub-01_{name}", np.full(GRID.shape, 7.0), Units=unit)
             for name, unit in (("T1w", "arbitrary"), ("T2w", None), ("fieldmap", "Hz"), ("TB1map", None))]  # fmt: skip
    undistort_files(paths, Undistortion(read_coil(grad)))
    image, other, *maps = (nifti.read(path).data for path in paths)
    np.testing.assert_array_equal(other, image)
    inside = maps[0] != 0
    for values in maps:
        np.testing.assert_allclose(values[inside], 7, rtol=1e-6)
    found = distortion(read_coil(grad).harmonics, GRID, coil_frame("HFS", (0, 0, 15)))
    np.testing.assert_allclose(image[inside], 7 * found.determinant[inside], rtol=1e-6)
    assert np.ptp(found.determinant) > 0.1


def test_intensities_are_kept_on_demand(grad: Path, tmp_path: Path) -> None:
    path = put(tmp_path, "sub-01_T1w", np.full(GRID.shape, 7.0))
    undistort_files([path], Undistortion(read_coil(grad), intensity=False))
    data = nifti.read(path).data
    np.testing.assert_allclose(data[data != 0], 7, rtol=1e-6)
    assert sidecar(path)["GradientDistortionCorrectionMethod"]["IntensityCorrected"] is False


def test_every_volume_of_a_series_is_corrected(grad: Path, tmp_path: Path) -> None:
    volumes = [np.abs(signal(seed)) for seed in range(3)]
    path = put(tmp_path, "sub-01_DCE", np.stack(volumes, -1))
    undistort_files([path], Undistortion(read_coil(grad)))
    for n, volume in enumerate(volumes):
        single = put(tmp_path, "sub-01_T1w", volume)
        undistort_files([single], Undistortion(read_coil(grad)))
        np.testing.assert_array_equal(nifti.read(path).data[..., n], nifti.read(single).data)


def test_the_sidecar_says_what_was_done(grad: Path, tmp_path: Path) -> None:
    path = put(tmp_path, "sub-01_T1w", np.abs(signal()), FlipAngle=5)
    undistort_files([path], Undistortion(read_coil(grad)))
    told = sidecar(path)
    assert (told["NonlinearGradientCorrection"], told["GradientDistortionCorrection"]) == (True, "3D")
    assert told["FlipAngle"] == 5
    method = told["GradientDistortionCorrectionMethod"]
    assert method["CoefficientFile"] == "coeff_TEST.grad"
    assert method["CoefficientFileDigest"] == read_coil(grad).digest
    assert method["TablePositionKnown"] is True
    found = distortion(read_coil(grad).harmonics, GRID, coil_frame("HFS", (0, 0, 15)))
    assert method["LargestShift"] == pytest.approx(found.length(GRID), abs=1e-3)


@pytest.mark.parametrize(("shape", "asked"), [((26, 28, 24), "2D"), ((26, 28, 1), "3D")])
def test_slices_alone_are_corrected_within_themselves(
    shape: tuple[int, int, int], asked: Any, grad: Path, tmp_path: Path
) -> None:
    grid = GRID.with_shape(shape)
    path = put(tmp_path, "sub-01_T1w", np.abs(signal()))
    nifti.write(path, nifti.read(path).data[:, :, : shape[2]], grid)
    undistort_files([path], Undistortion(read_coil(grad), asked))
    assert sidecar(path)["GradientDistortionCorrection"] == "2D"


DONE, HOW = "NonlinearGradientCorrection", "GradientDistortionCorrection"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "3D by the scanner": ({DONE: True, HOW: "3D"}, r"\(3D\) already"),
    "2D by the scanner": ({DONE: True, HOW: "2D"}, r"\(2D\) already"),
    "by the scanner": ({DONE: True, HOW: None}, "already"),
    "not stated": ({DONE: None, HOW: None}, "does not tell whether"),
    "another scanner": ({"Manufacturer": "GE"}, "its Manufacturer is 'GE'"),
    "no position": ({"PatientPosition": None}, "how the patient lay"),
    "a position of no kind": ({"PatientPosition": "SITTING"}, "position 'SITTING' is not known"),
    "phase in stored numbers": ({"Units": None}, "must be in radians"),
    "a table of no kind": ({"TablePosition": [1, 2]}, "must be three numbers"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_must_not_be_corrected_stays_as_it_is(what: str, grad: Path, tmp_path: Path) -> None:
    fields, told = REFUSED[what]
    good = put(tmp_path, "sub-01_echo-1_MESE", np.abs(signal()))
    kind = "part-phase_" if "phase" in what else ""
    bad = put(tmp_path, f"sub-01_echo-2_{kind}MESE", np.abs(signal()), **fields)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ScanError, match=told):
        undistort_files([good, bad], Undistortion(read_coil(grad)))
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_parts_on_different_grids_are_refused(grad: Path, tmp_path: Path) -> None:
    paths = [put(tmp_path, name, np.ones(GRID.shape)) for name in PAIRS["real and imaginary part"]]
    nifti.write(paths[1], np.ones((26, 28, 20)), GRID.with_shape((26, 28, 20)))
    with pytest.raises(ScanError, match="lie on different grids"):
        undistort_files(paths, Undistortion(read_coil(grad)))


def test_twice_is_refused(grad: Path, tmp_path: Path) -> None:
    path = put(tmp_path, "sub-01_T1w", np.abs(signal()))
    undistort_files([path], Undistortion(read_coil(grad)))
    with pytest.raises(ScanError, match="cannot be twice"):
        undistort_files([path], Undistortion(read_coil(grad)))


def dicom(folder: Path, **fields: Any) -> Path:
    """Two echoes, magnitude and phase, large voxels so that there is something to correct."""
    place: dict[str, Any] = {
        "PixelSpacing": [9, 9],
        "SliceThickness": 9,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    }
    images = []
    for number, kind in enumerate("MP"):
        for echo in (5, 10):
            stored = {"RescaleSlope": 2, "RescaleIntercept": -4096} if kind == "P" else {}
            told = {"ImageType": ["ORIGINAL", "PRIMARY", kind, "ND"], **stored, **place, **fields}
            for z, one in enumerate(series(8, SeriesNumber=number + 1, EchoTime=echo, **told)):
                one.ImagePositionPatient = [-144, -108, 60 + 9 * z]
                images.append(one)
    return save(folder, images)


def test_dicom_is_corrected_while_it_is_converted(grad: Path, tmp_path: Path) -> None:
    source = dicom(tmp_path / "dicom")
    plain, made = tmp_path / "plain", tmp_path / "made"
    assert main(["convert", str(source), str(plain)]) == 0
    assert main(["convert", str(source), str(made), "--gradient-coefficients", str(grad)]) == 0
    paths = sorted(path.relative_to(made) for path in made.rglob("*.nii.gz"))
    assert len(paths) == 4
    images = [plain / path for path in paths]
    undistort_files(images, Undistortion(read_coil(grad)))
    for path, image in zip(paths, images, strict=True):
        assert (made / path).read_bytes() == image.read_bytes()
        assert sidecar(made / path) == sidecar(image)
    assert sidecar(images[0])["GradientDistortionCorrectionMethod"]["LargestShift"] > 1


def test_what_the_scanner_has_corrected_is_converted_as_it_is(
    grad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = dicom(tmp_path / "dicom", ImageType=["ORIGINAL", "PRIMARY", "M", "DIS3D"])
    shutil.rmtree(tmp_path / "made", ignore_errors=True)
    assert main(["convert", str(source), str(tmp_path / "made"), "--gradient-coefficients", str(grad)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "was not corrected: " in said
    assert "0 images were corrected" in said
    told = [read_json(path) for path in (tmp_path / "made").rglob("sub-*.json")]
    assert {record["GradientDistortionCorrection"] for record in told} == {"3D"}
    assert not any("GradientDistortionCorrectionMethod" in record for record in told)


def test_a_bad_coefficient_file_stops_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = dicom(tmp_path / "dicom")
    bad = tmp_path / "bad.grad"
    bad.write_text("nothing of this kind")
    assert main(["convert", str(source), str(tmp_path / "made"), "--gradient-coefficients", str(bad)]) == 2
    assert "no .grad file of Siemens" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_real_scan_is_corrected(grad: Path, shared_data: Path, tmp_path: Path) -> None:
    """ND images of a Prisma, by a coil that is not its own: echoes stay alike, and the head stays in place."""
    source = shared_data / "siemens_fieldmap_dicom" / "2_me_FieldMap_GRE"
    how = ["--gradient-coefficients", str(grad)]
    assert main(["convert", str(source), str(tmp_path / "plain")]) == 0
    assert main(["convert", str(source), str(tmp_path / "made"), *how]) == 0
    for path in sorted((tmp_path / "made").rglob("*_MEGRE.nii.gz")):
        made, plain = nifti.read(path), nifti.read(tmp_path / "plain" / path.relative_to(tmp_path / "made"))
        assert sidecar(path)["NonlinearGradientCorrection"] is True
        np.testing.assert_array_equal(made.grid.affine, plain.grid.affine)
        near = np.linalg.norm(np.moveaxis(np.indices(made.grid.shape), 0, -1) @ made.grid.affine[:3, :3].T
                              + made.grid.affine[:3, 3], axis=-1) < 30  # fmt: skip
        assert 0 < np.abs(made.data - plain.data)[near].mean() < 0.05 * plain.data[near].mean()
