"""`mensura export`: the same numbers at the same place, in the patient's study, with codes that say what they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dicom_source as scan
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from mensura.cli import main
from mensura.io import nifti
from mensura.io.dicom.quantities import OWN, QUANTITIES, UNITS, key_of
from mensura.pipeline.products import PRODUCTS
from mensura.pipeline.relaxometry import LABELS
from mensura.qmri.models import MODELS
from mensura.scan import Grid

STANDARD = Path(highdicom.__file__).parent / "_standard"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    scan.write_scan(folder / "scan")
    scan.write_map(folder / "maps", "T1map")
    scan.write_map(folder / "maps", "desc-std_T1map", Description="Standard deviation of the T1")
    scan.write_map(
        folder / "maps", "Chimap", Units="ppm", Mensura={"Method": "whole_mask", "Step": "reference"}
    )
    scan.write_map(folder / "maps", "desc-status_T1map", Units="1")
    assert export(folder, "dicom") == 0
    return folder


def export(folder: Path, out: str, *more: str, maps: str = "maps", source: str = "scan") -> int:
    words = [str(folder / maps), "--dicom", str(folder / out), "--source", str(folder / source)]
    return main(["export", *words, *more])


def placed(values: np.ndarray, affine: np.ndarray, where: Grid, data: np.ndarray, atol: float = 0) -> float:
    """Voxels on another grid → the largest distance to the map's voxels (in voxels); values asserted to be its own."""
    index = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), -1).reshape(-1, 3)
    moved = np.linalg.inv(where.affine) @ affine
    there = index @ moved[:3, :3].T + moved[:3, 3]
    nearest = np.rint(there).astype(int)
    assert len({tuple(place) for place in nearest}) == data.size == values.size
    np.testing.assert_allclose(values.ravel(), data[tuple(nearest.T)], rtol=0, atol=atol)
    return float(np.abs(there - nearest).max())


@pytest.mark.parametrize("name", ["T1map", "desc-std_T1map", "Chimap"])
def test_a_parametric_map_holds_the_same_numbers_at_the_same_place(written: Path, name: str) -> None:
    image = highdicom.imread(written / "dicom" / name / "pm" / "0001.dcm")
    volume = image.get_volume(apply_real_world_transform=True, dtype=np.float32)
    source = nifti.read(written / "maps" / f"{name}.nii.gz")
    flip = np.diag([-1, -1, 1, 1])
    assert placed(volume.array, flip @ volume.affine, source.grid, source.data) < 1e-6


def test_positions_are_those_of_the_source(written: Path) -> None:
    """As they are written there, and the same in both kinds."""
    sources = {p.name: pydicom.dcmread(p) for p in (written / "scan").glob("0*.dcm")}
    there = {tuple(map(float, one.ImagePositionPatient)) for one in sources.values()}
    image = pydicom.dcmread(written / "dicom" / "T1map" / "pm" / "0001.dcm")
    frames = image.PerFrameFunctionalGroupsSequence
    assert {tuple(map(float, f.PlanePositionSequence[0].ImagePositionPatient)) for f in frames} == there
    slices = [pydicom.dcmread(p) for p in sorted((written / "dicom" / "T1map" / "mr").iterdir())]
    assert {tuple(map(float, one.ImagePositionPatient)) for one in slices} == there
    for one in slices:
        assert one.ImageOrientationPatient == sources["00.dcm"].ImageOrientationPatient
        assert one.PixelSpacing == sources["00.dcm"].PixelSpacing


@pytest.mark.parametrize("kind", ["pm", "mr"])
def test_patient_study_and_frame_are_those_of_the_source(written: Path, kind: str) -> None:
    head = pydicom.dcmread(written / "scan" / "00.dcm")
    series = set()
    for name in ("T1map", "desc-std_T1map"):
        for path in (written / "dicom" / name / kind).iterdir():
            image = pydicom.dcmread(path)
            for key in ("PatientID", "PatientName", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyID"):
                assert image[key].value == head[key].value
            assert image.FrameOfReferenceUID == head.FrameOfReferenceUID
            assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID
            series.add(image.SeriesInstanceUID)
    assert len(series) == 2
    assert head.SeriesInstanceUID not in series


@pytest.mark.parametrize("kind", ["pm", "mr"])
def test_the_record_travels_with_the_map(written: Path, kind: str) -> None:
    path = next((written / "dicom" / "T1map" / kind).iterdir())
    image = pydicom.dcmread(path)
    told = json.loads(image.private_block(0x0099, "MENSURA")[0x01].value)
    assert told == json.loads((written / "maps" / "T1map.json").read_text())
    assert "repetition_time" in image.ImageComments
    assert image.SoftwareVersions == "0.1.0"
    referred = {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence}
    every = {pydicom.dcmread(p).SOPInstanceUID for p in (written / "scan").glob("0*.dcm")}
    every |= {pydicom.dcmread(p).SOPInstanceUID for p in (written / "scan").glob("1*.dcm")}
    assert referred == every if kind == "pm" else (referred < every and len(referred) == 2)
    assert image.ContributingEquipmentSequence[0].Manufacturer == "Maker"


def quantity(image: Any) -> dict[str, Any]:
    """Concept name → code of the real-world value mapping."""
    block = image.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in image else image
    mapped = block.RealWorldValueMappingSequence[0]
    items = {
        i.ConceptNameCodeSequence[0].CodeMeaning: i.ConceptCodeSequence[0]
        for i in mapped.QuantityDefinitionSequence
    }
    return {**items, "unit": mapped.MeasurementUnitsCodeSequence[0]}


@pytest.mark.parametrize("kind", ["pm", "mr"])
@pytest.mark.parametrize(
    ("name", "code", "unit"),
    [("T1map", "113063", "s"), ("Chimap", "126396", "ppm"), ("desc-std_T1map", "113063", "s")],
)
def test_quantity_unit_and_method_are_coded(
    written: Path, kind: str, name: str, code: str, unit: str
) -> None:
    found = quantity(pydicom.dcmread(next((written / "dicom" / name / kind).iterdir())))
    assert (found["Quantity"].CodeValue, found["Quantity"].CodingSchemeDesignator) == (code, "DCM")
    assert (found["unit"].CodeValue, found["unit"].CodingSchemeDesignator) == (unit, "UCUM")
    assert found["Measurement Method"].CodeValue == ("WHOLE_MASK" if name == "Chimap" else "126350")
    assert ("Derivation" in found) == ("std" in name)
    if "std" in name:
        assert found["Derivation"].CodeValue == "113061"


def test_every_map_has_a_code_and_every_unit_too() -> None:
    """Whatever a model or a step of the chain makes can be written; codes are those of DICOM's dictionary."""
    names = {*LABELS, *(name for model in MODELS.values() for name in model.produces)}
    chain = {p for step in PRODUCTS.values() for p in step.values() if p.suffix.endswith("map")}
    assert {key_of(name) for name in names} | {p.suffix for p in chain} <= set(QUANTITIES)
    units = {unit for model in MODELS.values() for unit in model.produces.values()} | {p.unit for p in chain}
    assert units <= set(UNITS)
    known = {c.value: c.meaning for c in (getattr(codes.DCM, k) for k in codes.DCM.dir())}
    for concept in QUANTITIES.values():
        assert concept.scheme == OWN or known[concept.value] == concept.meaning
        assert len(concept.value) <= 16
    ucum = {getattr(codes.UCUM, key).value for key in codes.UCUM.dir()}
    assert {unit.value for unit in UNITS.values()} <= ucum


def test_mr_images_are_right_to_half_a_step_and_say_what_is_missing(written: Path) -> None:
    source = nifti.read(written / "maps" / "T1map.nii.gz")
    files = sorted((written / "dicom" / "T1map" / "mr").iterdir())
    slices = [pydicom.dcmread(path) for path in files]
    stored = np.stack([one.pixel_array for one in slices])
    true = source.data[:, ::-1].transpose(2, 1, 0)
    slope = float(slices[0].RescaleSlope)
    missing = stored == slices[0].PixelPaddingValue
    np.testing.assert_array_equal(missing, np.isnan(true))
    assert np.abs(stored * slope - true)[~missing].max() <= 0.5001 * slope
    assert slope < 1.01 * np.nanmax(np.abs(true)) / 32767
    assert (stored[true == 0] == 0).all()
    assert float(slices[0].RescaleIntercept) == 0


GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def items(image: Any, path: list[str]) -> list[Any]:
    """The datasets at the end of a path of sequences; none where one of them is absent."""
    if not path:
        return [image]
    return [end for item in image.get(path[0], ()) for end in items(item, path[1:])]


def missing_attributes(image: Any, iod: str) -> list[str]:
    """What an object ought to hold and does not (types 1 and 2): its mandatory modules, and all sequences that it has.

    Each functional group stands in one of two sequences, or is optional, so that these are looked at inside only.
    """
    modules = json.loads((STANDARD / "iod_module_map.json").read_text())[iod]
    attributes = json.loads((STANDARD / "module_attribute_map.json").read_text())
    lacking = []
    for module in modules:
        for one in attributes[module["key"]]:
            key, kind, path = one["keyword"], one["type"], one["path"]
            if (
                kind not in ("1", "2")
                or path in ([GROUPS[0]], [GROUPS[1]])
                or not (path or module["usage"] == "M")
            ):
                continue
            for item in items(image, path):
                if key not in item or (kind == "1" and item[key].value in (None, "")):
                    lacking.append(f"{module['key']}: {'/'.join([*path, key])}")
    return lacking


@pytest.mark.parametrize(("kind", "iod"), [("pm", "parametric-map"), ("mr", "mr-image")])
def test_nothing_that_the_standard_asks_for_is_missing(written: Path, kind: str, iod: str) -> None:
    image = pydicom.dcmread(next((written / "dicom" / "T1map" / kind).iterdir()))
    assert missing_attributes(image, iod) == []
    if kind == "pm":
        shared, frames = (image[key].value for key in GROUPS)
        once = (
            "PixelMeasures",
            "PlaneOrientation",
            "FrameVOILUT",
            "PixelValueTransformation",
            "ParametricMapFrameType",
        )
        assert all(f"{name}Sequence" in shared[0] for name in (*once, "RealWorldValueMapping"))
        each = ("FrameContent", "PlanePosition", "DerivationImage")
        assert all(f"{name}Sequence" in frame for name in each for frame in frames)


def test_dcm2niix_reads_the_same(written: Path, tmp_path: Path) -> None:
    program = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or shutil.which("dcm2niix")
    if program is None:
        pytest.skip("DCM2NIIX ABSENT: the second reader of the images did not run")
    source = nifti.read(written / "maps" / "T1map.nii.gz")
    for kind in ("mr", "pm"):
        folder = written / "dicom" / "T1map" / kind
        subprocess.run(
            [program, "-z", "n", "-f", kind, "-o", str(tmp_path), str(folder)], capture_output=True
        )
        image = nifti.read(tmp_path / f"{kind}.nii")
        there = np.isfinite(source.data)
        if kind == "pm":
            assert placed(image.data, image.grid.affine, source.grid, source.data) < 1e-5
        else:
            step = np.nanmax(np.abs(source.data)) / 32767
            rounded = np.where(there, np.rint(source.data / step) * step, -32768 * step)
            assert placed(image.data, image.grid.affine, source.grid, rounded, step) < 1e-5


def test_the_same_maps_of_the_same_images_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "maps", tmp_path / "maps")
    for path in (tmp_path / "maps").glob("*.json"):
        record = json.loads(path.read_text())
        record["Mensura"]["Created"] = "2025-01-02T03:04:05+00:00"
        path.write_text(json.dumps(record))
    shutil.copytree(written / "scan", tmp_path / "scan")
    assert export(tmp_path, "once") == export(tmp_path, "again") == 0
    for path in (tmp_path / "once").rglob("*.dcm"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "once")).read_bytes()
    (tmp_path / "scan" / "13.dcm").unlink()
    assert export(tmp_path, "other", "--maps", "T1map") == 0
    for path in (tmp_path / "other").rglob("0001.dcm"):
        before = pydicom.dcmread(tmp_path / "once" / path.relative_to(tmp_path / "other"))
        assert pydicom.dcmread(path).SOPInstanceUID != before.SOPInstanceUID


def test_a_map_on_another_grid_is_written_where_it_lies(written: Path, tmp_path: Path) -> None:
    affine = scan.grid().affine.copy()
    affine[:3, :3] *= [0.9, 0.8, 1.1]
    where = Grid((5, 6, 3), affine)
    values = scan.write_map(tmp_path / "maps", "T1map", where)
    assert export(tmp_path, "dicom", "--as", "pm", source=str(written / "scan")) == 0
    image = highdicom.imread(tmp_path / "dicom" / "T1map" / "pm" / "0001.dcm")
    volume = image.get_volume(dtype=np.float32)
    assert placed(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine, where, values) < 1e-5
    assert image.FrameOfReferenceUID == "1.2.3.4.9"
    assert not (tmp_path / "dicom" / "T1map" / "mr").exists()


def elsewhere(folder: Path) -> None:
    affine = scan.grid().affine.copy()
    affine[:3, 3] += 500
    scan.write_map(folder / "maps", "T1map", Grid(scan.grid().shape, affine))


def two_subjects(folder: Path) -> None:
    for name in ("01", "02"):
        scan.write_map(folder / "maps" / f"sub-{name}" / "anat", f"sub-{name}_T1map")


def without_record(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    (folder / "maps" / "T1map.json").unlink()


def with_unit(folder: Path, unit: str = "furlong") -> None:
    scan.write_map(folder / "maps", "T1map", Units=unit)


def damaged(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    content = (folder / "scan" / "00.dcm").read_bytes()
    (folder / "scan" / "00.dcm").write_bytes(content[:140] + content[141:300])


def two_studies(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    scan.write_scan(folder / "scan" / "other", study="1.2.3.5")


def no_frame(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    shutil.rmtree(folder / "scan")
    scan.write_scan(folder / "scan", frame=None)


def no_value(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    nifti.write(folder / "maps" / "T1map.nii.gz", np.full(scan.grid().shape, np.nan, np.float32), scan.grid())


def no_dicom(folder: Path) -> None:
    scan.write_map(folder / "maps", "T1map")
    shutil.rmtree(folder / "scan")
    (folder / "scan").mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (elsewhere, "lies on no series"),
        (two_subjects, "--participant-label"),
        (without_record, "T1map.json does not exist"),
        (with_unit, "furlong"),
        (damaged, "00.dcm is damaged"),
        (two_studies, "2 studies"),
        (no_frame, "no frame of reference"),
        (no_value, "no value at all"),
        (no_dicom, "holds no DICOM"),
        (lambda folder: (folder / "maps").mkdir(), "holds no map"),
        (lambda folder: None, "is not a folder"),
    ],
)
def test_what_cannot_be_written_gets_a_sentence_and_leaves_nothing(
    tmp_path: Path, spoil: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scan.write_scan(tmp_path / "scan")
    spoil(tmp_path)
    assert export(tmp_path, "dicom") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"scan", "maps"}


def test_a_subject_of_several_is_chosen(tmp_path: Path) -> None:
    scan.write_scan(tmp_path / "scan")
    two_subjects(tmp_path)
    assert export(tmp_path, "dicom", "--participant-label", "02", "--as", "mr") == 0
    assert {path.name for path in (tmp_path / "dicom").iterdir()} == {"sub-02_T1map"}


def test_maps_of_one_name_are_not_mixed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first volume of a series over time has the series' names; other folders must be told apart by the user."""
    scan.write_scan(tmp_path / "scan")
    for place in ("", "first-volume"):
        scan.write_map(tmp_path / "maps" / place, "Chimap", Units="ppm")
    assert export(tmp_path, "dicom", "--as", "pm") == 0
    scan.write_map(tmp_path / "maps" / "other", "Chimap", Units="ppm")
    assert export(tmp_path, "again") == 2
    assert "have the same name" in capsys.readouterr().err


def test_a_map_of_a_tensor_is_told_by_its_parameter(written: Path, tmp_path: Path) -> None:
    scan.write_map(tmp_path / "maps", "sub-01_model-DTI_param-fa_desc-std_dwimap", Units="1")
    assert export(tmp_path, "dicom", source=str(written / "scan")) == 0
    found = quantity(pydicom.dcmread(next((tmp_path / "dicom").rglob("pm/*.dcm"))))
    assert (found["Quantity"].CodeValue, found["Derivation"].CodeValue) == ("110808", "113061")


def test_a_second_export_replaces_its_own_and_nothing_else(written: Path, tmp_path: Path) -> None:
    scan.write_map(tmp_path / "maps", "T1map")
    (tmp_path / "dicom" / "notes").mkdir(parents=True)
    source = str(written / "scan")
    assert export(tmp_path, "dicom", "--as", "mr", "pm", source=source) == 0
    assert export(tmp_path, "dicom", "--as", "pm", source=source) == 0
    assert {path.name for path in (tmp_path / "dicom").iterdir()} == {"notes", "T1map"}
    assert {path.name for path in (tmp_path / "dicom" / "T1map").iterdir()} == {"pm"}


def test_an_outlier_does_not_cost_the_others_their_digits(written: Path, tmp_path: Path) -> None:
    """A value a billion times too large is left out of the MR images, which say so, and is in the Parametric Map."""
    values = scan.write_map(tmp_path / "maps", "M0map", Units="arbitrary")
    values[2, 2, 2] = 1e9
    nifti.write(tmp_path / "maps" / "M0map.nii.gz", values, scan.grid())
    assert export(tmp_path, "dicom", source=str(written / "scan")) == 0
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom" / "M0map" / "mr").iterdir())]
    stored = np.stack([one.pixel_array for one in slices])
    slope, true = float(slices[0].RescaleSlope), values[:, ::-1].transpose(2, 1, 0)
    missing = stored == slices[0].PixelPaddingValue
    np.testing.assert_array_equal(missing, np.isnan(true) | (true == 1e9))
    assert np.abs(stored * slope - true)[~missing].max() < 1e-3
    assert "1 values are too large" in slices[0].ImageComments
    image = highdicom.imread(tmp_path / "dicom" / "M0map" / "pm" / "0001.dcm")
    assert np.nanmax(image.get_volume(dtype=np.float32).array) == np.float32(1e9)


def test_words_that_dicom_does_not_allow_are_not_copied(tmp_path: Path) -> None:
    """As scanners and anonymisers write them: a sex of 0, a code in small letters, a date in words."""
    scan.write_scan(tmp_path / "scan")
    with pydicom.config.disable_value_validation():
        for path in (tmp_path / "scan").glob("*.dcm"):
            image = pydicom.dcmread(path)
            image.PatientSex, image.BodyPartExamined, image.StudyDate = "0", "Brain", "yesterday"
            image.save_as(path)
    scan.write_map(tmp_path / "maps", "T1map")
    assert export(tmp_path, "dicom") == 0
    made = pydicom.dcmread(tmp_path / "dicom" / "T1map" / "pm" / "0001.dcm")
    assert (made.PatientID, made.PatientSex, made.StudyDate) == ("P-1", "", "")
    assert "BodyPartExamined" not in made


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen"),
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (None, "Doe^Jane"),
    ],
)
def test_names_of_every_alphabet_are_kept(tmp_path: Path, charset: Any, name: str) -> None:
    scan.write_scan(tmp_path / "scan")
    for path in (tmp_path / "scan").glob("*.dcm"):
        image = pydicom.dcmread(path)
        if charset:
            image.SpecificCharacterSet = charset
        image.PatientName = name
        image.save_as(path)
    scan.write_map(tmp_path / "maps", "T1map")
    assert export(tmp_path, "dicom") == 0
    for path in (tmp_path / "dicom").rglob("0001.dcm"):
        assert pydicom.dcmread(path).PatientName == name


def test_what_was_written_is_no_source(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "scan", tmp_path / "scan")
    shutil.copytree(written / "dicom", tmp_path / "scan" / "maps")
    scan.write_map(tmp_path / "maps", "T1map")
    assert export(tmp_path, "dicom", "--as", "pm") == 0
    image = pydicom.dcmread(tmp_path / "dicom" / "T1map" / "pm" / "0001.dcm")
    assert {item.SeriesInstanceUID for item in image.ReferencedSeriesSequence} == {"1.2.3.4.7"}


def test_a_philips_scan_and_its_conversion(shared_data: Path, tmp_path: Path) -> None:
    """The affine that a converter wrote, and the planes of the DICOM images, which are compressed with gzip."""
    folder = shared_data / "philips_brain_2echo"
    image = nifti.read(folder / "bids" / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    scan.write_map(tmp_path / "maps", "R2starmap", image.grid, Units="1/s")
    assert export(tmp_path, "dicom", "--as", "pm", source=str(folder / "dicom")) == 0
    made = highdicom.imread(tmp_path / "dicom" / "R2starmap" / "pm" / "0001.dcm")
    volume = made.get_volume(dtype=np.float32)
    true = nifti.read(tmp_path / "maps" / "R2starmap.nii.gz")
    assert placed(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine, true.grid, true.data) < 1e-4
    assert len(made.SourceImageSequence) == 212


def test_an_enhanced_scan_is_a_source(shared_data: Path, tmp_path: Path) -> None:
    from mensura.io.dicom.source import read_series

    folder = shared_data / "siemens_fieldmap_dicom" / "xa30_enhanced"
    affine = np.diag([-1, -1, 1, 1]) @ read_series(folder)[0].frames.affine
    frames = read_series(folder)[0].frames
    where = Grid((frames.shape[1], frames.shape[0], len(frames.positions)), affine)
    values = scan.write_map(tmp_path / "maps", "desc-total_fieldmap", where, Units="Hz")
    assert export(tmp_path, "dicom", source=str(folder)) == 0
    image = highdicom.imread(tmp_path / "dicom" / "desc-total_fieldmap" / "pm" / "0001.dcm")
    volume = image.get_volume(dtype=np.float32)
    assert placed(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine, where, values) < 1e-4
    assert len(list((tmp_path / "dicom" / "desc-total_fieldmap" / "mr").iterdir())) == len(frames.positions)
