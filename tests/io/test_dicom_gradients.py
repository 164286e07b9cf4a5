"""Diffusion, echo-planar series and scanners' maps: no public DICOM of most vendors' exists, so that files are written
as dcm2niix reads them and vendors' documents describe them; two real images of Siemens come with nibabel."""

from __future__ import annotations

import gzip
import importlib
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import PREPARED, image, save, series, xa_file
from pydicom import dcmread
from pydicom.dataset import Dataset

from mensura.cli import main
from mensura.io import nifti
from mensura.io.dicom.diffusion import tables
from mensura.io.dicom.plan import Labels, Row, planned
from mensura.io.dicom.reading import contents
from mensura.io.files import read_json
from mensura.scan import ScanError

EPI = {"ScanningSequence": ["EP"], "SequenceVariant": "SK", "MRAcquisitionType": "2D", "EchoTime": 60}
B_VALUES = (0, 1000, 1000, 500)
WAYS = ((0, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0))
Told = tuple[dict[int, tuple[str, Any]], dict[str, Any]]


def siemens(b: int, way: tuple[float, ...]) -> Told:
    private: dict[int, tuple[str, Any]] = {0x00190010: ("LO", "SIEMENS MR HEADER"), 0x0019100C: ("IS", b)}
    private |= {0x0019100E: ("FD", list(way))} if b else {}
    return private, {
        "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND"],
        "SequenceName": f"*ep_b{b}",
    }


def philips(b: int, way: tuple[float, ...]) -> Told:
    tags = {0x20010010: ("LO", "Philips Imaging DD 001"), 0x20011003: ("FL", b)}
    tags |= {0x20050010: ("LO", "Philips MR Imaging DD 001")}
    tags |= {0x200510B0 + n: ("FL", part) for n, part in enumerate(way)}
    image_type = ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]
    return tags, {"Manufacturer": "Philips Medical Systems", "ImageType": image_type}


def ge(b: int, way: tuple[float, ...]) -> Told:
    tags: dict[int, tuple[str, Any]] = {
        0x00190010: ("LO", "GEMS_ACQU_01"),
        0x00430010: ("LO", "GEMS_PARM_01"),
    }
    tags |= {0x001910BB + n: ("DS", part) for n, part in enumerate(way)}
    tags |= {0x00431039: ("IS", [b + 1000000000, 8, 0, 0])}
    return tags, {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}


def uih(b: int, way: tuple[float, ...]) -> Told:
    tags = {0x00650010: ("LO", "Image Private Header"), 0x00651009: ("FD", b), 0x00651037: ("FD", list(way))}
    return tags, {"Manufacturer": "UIH", "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"]}


def standard(b: int, way: tuple[float, ...]) -> Told:
    fields = {"DiffusionBValue": b, "DiffusionGradientOrientation": list(way)}
    return {}, {
        "Manufacturer": "Canon Medical Systems",
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        **fields,
    }


VENDORS: dict[str, Callable[[int, tuple[float, ...]], Told]] = {
    one.__name__: one for one in (siemens, philips, ge, uih, standard)
}


def weighted(
    vendor: str, values: np.ndarray, order: tuple[int, ...] = (0, 1, 2, 3), **more: Any
) -> list[Dataset]:
    """Volumes (volume, slice, row, column) of a diffusion scan, in the order in which they were acquired."""
    images = []
    for time, volume in enumerate(order):
        tags, fields = VENDORS[vendor](B_VALUES[volume], WAYS[volume])
        for z in range(values.shape[1]):
            given = {**EPI, **fields, **more, "InstanceNumber": 1 + time * values.shape[1] + z}
            images.append(image(z, time, private=tags, pixels=values[volume, z], **given))
    return images


def pixels(volumes: int = 4, slices: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4095, (volumes, slices, 24, 32))


def rows_of(folder: Path, images: list[Dataset]) -> list[Row]:
    with contents(save(folder, images)) as found:
        return planned(found.stacks, Labels())


def converted(source: Path, code: int = 0) -> Path:
    out = source.parent / "bids"
    assert main(["convert", str(source), str(out)]) == code
    return out / "sub-01"


def table(path: Path) -> np.ndarray:
    return np.array([[float(word) for word in line.split()] for line in path.read_text().splitlines()])


def in_image(way: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A direction along the patient's axes (LPS) → as FSL has it: along the axes of the image, the first one turned
    round where they are right-handed."""
    turned = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).T @ (np.array([-1, -1, 1]) * way)
    return turned * [-1 if np.linalg.det(affine[:3, :3]) > 0 else 1, 1, 1]


@pytest.mark.parametrize("vendor", VENDORS)
def test_diffusion_keeps_its_tables(vendor: str, tmp_path: Path) -> None:
    values = pixels()
    folder = converted(save(tmp_path / "d", weighted(vendor, values))) / "dwi"
    assert sorted(p.name.split(".", 1)[1] for p in folder.iterdir()) == ["bval", "bvec", "json", "nii.gz"]
    made = nifti.read(folder / "sub-01_dwi.nii.gz")
    np.testing.assert_array_equal(table(folder / "sub-01_dwi.bval"), [B_VALUES])
    vectors = table(folder / "sub-01_dwi.bvec").T
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 1, 1], atol=1e-6)
    for volume in range(4):
        found = made.data[..., volume].transpose(2, 1, 0)
        assert any(np.array_equal(found[::z, ::y], values[volume]) for z in (1, -1) for y in (1, -1))
        if vendor in ("siemens", "philips", "standard"):
            expected = in_image(np.array(WAYS[volume], float), np.asarray(made.grid.affine))
            np.testing.assert_allclose(vectors[volume], expected, atol=1e-5)


def test_values_of_volumes_go_with_their_b_values_in_any_order(tmp_path: Path) -> None:
    """Scale slopes that differ from volume to volume, which are numbered in another order than acquired: the converter
    goes by the numbers."""
    values, images = pixels(), weighted("philips", pixels(), order=(2, 0, 3, 1))
    for one in images:
        one.InstanceNumber = 13 - one.InstanceNumber
        one.add_new(0x2005100E, "FL", 1 + float(one[0x20011003].value) / 500)
        one.RescaleSlope, one.RescaleIntercept = 2, 0
    folder = converted(save(tmp_path / "d", images)) / "dwi"
    made, found = nifti.read(folder / "sub-01_dwi.nii.gz"), table(folder / "sub-01_dwi.bval")[0]
    assert sorted(found) == sorted(B_VALUES)
    vectors = table(folder / "sub-01_dwi.bvec").T
    for place, b in enumerate(found):
        ways = [in_image(np.array(way, float), np.asarray(made.grid.affine)) for way in WAYS]
        volume = int(np.argmin([np.linalg.norm(vectors[place] - way) for way in ways]))
        assert B_VALUES[volume] == b
        there = made.data[..., place].transpose(2, 1, 0)
        true = values[volume] / (1 + b / 500)
        assert min(np.abs(there[::z, ::y] - true).max() for z in (1, -1) for y in (1, -1)) < 1e-3


def test_a_real_mosaic_of_siemens(tmp_path: Path) -> None:
    """Two images of Siemens that come with nibabel, whose reading of their headers is another one."""
    folder = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
    names = ("siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz")
    if not all((folder / name).is_file() for name in names):
        pytest.skip("NIBABEL CAME WITHOUT ITS TEST DATA: no real diffusion-weighted image was read")
    source = tmp_path / "d"
    source.mkdir()
    for name in names:
        (source / name).write_bytes((folder / name).read_bytes())
    made = converted(source) / "dwi" / "sub-01_dwi.nii.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        csareader = importlib.import_module("nibabel.nicom.csareader")
    with gzip.open(folder / names[1]) as file:
        way = csareader.get_g_vector(csareader.get_csa_header(dcmread(file)))
    vectors, affine = table(made.with_name("sub-01_dwi.bvec")).T, np.asarray(nifti.read(made).grid.affine)
    np.testing.assert_array_equal(table(made.with_name("sub-01_dwi.bval")), [[0, 1000]])
    np.testing.assert_allclose(vectors[1], in_image(np.asarray(way), affine), atol=1e-4)
    record = read_json(made.with_name("sub-01_dwi.json"))
    with contents(source) as found:
        encoded = found.stacks[0].series.direction
    assert (encoded, record["PhaseEncodingDirection"]) in (("AP", "j-"), ("PA", "j"))


def test_diffusion_in_one_file_of_siemens_xa(shared_data: Path, tmp_path: Path) -> None:
    template = min((shared_data / "siemens_fieldmap_dicom" / "xa30_enhanced").rglob("*.dcm"))
    values = np.random.default_rng(3).integers(1, 4095, (4, 1, 5, 16, 20))
    data = xa_file(template, ("mag",), values)
    for n, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        volume, told, way = n // 5, Dataset(), Dataset()
        told.DiffusionBValue, way.DiffusionGradientOrientation = (
            float(B_VALUES[volume]),
            list(map(float, WAYS[volume])),
        )
        told.DiffusionDirectionality = "DIRECTIONAL" if B_VALUES[volume] else "NONE"
        told.DiffusionGradientDirectionSequence = [way] if B_VALUES[volume] else []
        group.MRDiffusionSequence, group.MREchoSequence[0].EffectiveEchoTime = [told], 60.0
        group.MRImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
        content = group.FrameContentSequence[0]
        content.TemporalPositionIndex, content.DimensionIndexValues = volume + 1, [1, n % 5 + 1, volume + 1]
    data.ImageType, data.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], "MAGNITUDE"
    (tmp_path / "d").mkdir()
    data.save_as(tmp_path / "d" / "enhanced.dcm")
    folder = converted(tmp_path / "d") / "dwi"
    made, vectors = nifti.read(folder / "sub-01_dwi.nii.gz"), table(folder / "sub-01_dwi.bvec").T
    np.testing.assert_array_equal(table(folder / "sub-01_dwi.bval"), [B_VALUES])
    for volume in range(4):
        there = made.data[..., volume].transpose(2, 1, 0)
        assert any(np.array_equal(there[::z, ::y], values[volume, 0]) for z in (1, -1) for y in (1, -1))
        expected = in_image(np.array(WAYS[volume], float), np.asarray(made.grid.affine))
        np.testing.assert_allclose(vectors[volume], expected, atol=1e-3)


@pytest.mark.parametrize("word", ["ADC", "FA", "TRACEW", "TENSOR"])
def test_what_the_scanner_makes_of_diffusion_is_left_with_the_reason(word: str, tmp_path: Path) -> None:
    kind = ["DERIVED", "PRIMARY", "DIFFUSION", word, "ND"]
    rows = rows_of(
        tmp_path / "d",
        weighted("siemens", pixels()) + series(3, SeriesNumber=2, **{**EPI, "ImageType": kind}),
    )
    assert [row.action for row in rows] == ["convert", "ignored"]
    assert "which the scanner computed" in rows[1].note


def test_the_trace_among_the_directions_of_philips_is_set_apart(tmp_path: Path) -> None:
    images = weighted("philips", pixels())
    extra = image(
        0,
        9,
        private=philips(1000, (0, 0, 0))[0],
        **{**EPI, **philips(0, ())[1]},
        DiffusionDirectionality="ISOTROPIC",
    )
    rows = rows_of(tmp_path / "d", [*images, extra])
    assert {(row.action, row.stack.times) for row in rows} == {("convert", 4), ("ignored", 1)}


@pytest.mark.parametrize("vendor", ["standard", "siemens", "ge"])
def test_directions_that_no_header_tells(
    vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of GE, the converter then gives up the b-values as well."""
    images = weighted(vendor, pixels())
    for one in images:
        for tag in ("DiffusionGradientOrientation", 0x0019100E, 0x001910BB, 0x001910BC, 0x001910BD):
            if tag in one:
                del one[tag]
    folder = converted(save(tmp_path / "d", images)) / "dwi"
    np.testing.assert_array_equal(table(folder / "sub-01_dwi.bval"), [B_VALUES])
    assert not table(folder / "sub-01_dwi.bvec").any()
    assert "no header tells its directions" in capsys.readouterr().err


def test_a_table_of_another_length_is_refused(tmp_path: Path) -> None:
    with contents(save(tmp_path / "d", weighted("siemens", pixels()))) as found:
        (stack,) = found.stacks
    path = tmp_path / "image.nii"
    path.with_suffix(".bval").write_text("0 1000 1000\n")
    with pytest.raises(ScanError, match=r"3 numbers into its \.bval for 4 volumes"):
        tables(stack, path)
    path.with_suffix(".bval").write_text("0 1000 1000 700\n")
    assert "the b-value 700 of dcm2niix is not that of the header" in tables(stack, path)[1][0]
    path.with_suffix(".bval").unlink()
    with pytest.raises(ScanError, match="found no b-values"):
        tables(stack, path)


def csa(**values: int) -> bytes:
    """Siemens' own header of an image: numbers by name."""
    parts = [b"SV10\4\3\2\1", struct.pack("<II", len(values), 77)]
    for name, value in values.items():
        text = str(value).encode().ljust(4, b"\0")
        parts.append(name.encode().ljust(64, b"\0") + struct.pack("<i4siii", 1, b"IS\0\0", 0, 6, 77))
        parts.append(struct.pack("<4i", 4, 4, 77, 4) + text + struct.pack("<4i", 0, 0, 77, 0) * 5)
    return b"".join(parts)


def old_siemens(forwards: bool) -> Told:
    block = csa(PhaseEncodingDirectionPositive=int(forwards), BandwidthPerPixelPhaseEncode=20)
    return {0x00290010: ("LO", "SIEMENS CSA HEADER"), 0x00291010: ("OB", block)}, {}


def new_siemens(forwards: bool) -> Told:
    return {0x00210010: ("LO", "SIEMENS MR SDR 01"), 0x0021111C: ("IS", int(forwards))}, {}


def lines_of_ge(forwards: bool) -> Told:
    order = "REVERSE_LINEAR" if forwards else "LINEAR"
    fields = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
    return {}, {**fields, "ScanOptions": "EPI_GEMS", "RectilinearPhaseEncodeReordering": order}


SPIN = {**EPI, "ScanningSequence": ["EP", "SE"], "InPlanePhaseEncodingDirection": "COL"}


def pair(told: Callable[[bool], Told], axis: str = "COL", **more: Any) -> list[Dataset]:
    """Two series of two volumes with opposite phase encoding."""
    found = []
    for number, forwards in enumerate((True, False)):
        tags, fields = told(forwards)
        given = {**SPIN, "InPlanePhaseEncodingDirection": axis, "SeriesNumber": 1 + number, **fields, **more}
        found += [
            image(z, t, private=tags, InstanceNumber=1 + 3 * t + z, **given) for t in (0, 1) for z in range(3)
        ]
    return found


@pytest.mark.parametrize("told", [old_siemens, new_siemens, lines_of_ge])
@pytest.mark.parametrize(
    ("axis", "ways"), [("COL", {"AP": "j-", "PA": "j"}), ("ROW", {"RL": "i", "LR": "i-"})]
)
def test_opposite_phase_encoding_is_a_field_map(
    told: Callable[[bool], Told], axis: str, ways: dict[str, str], tmp_path: Path
) -> None:
    """Our reading of the header, and the converter's, whose sign is along the axes of its image."""
    folder = converted(save(tmp_path / "d", pair(told, axis))) / "fmap"
    assert {p.name for p in folder.glob("*.nii.gz")} == {f"sub-01_dir-{way}_epi.nii.gz" for way in ways}
    for way, expected in ways.items():
        record = read_json(folder / f"sub-01_dir-{way}_epi.json")
        assert record["PhaseEncodingDirection"] == expected
        assert "VolumeTiming" not in record


def test_siemens_names_spin_echoes_by_the_sequence(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d", pair(new_siemens, ScanningSequence="EP", SequenceName="*epse2d1_64"))
    assert [row.suffix for row in rows] == ["epi", "epi"]
    rows = rows_of(tmp_path / "e", pair(new_siemens, ScanningSequence="EP", SequenceName="*epfid2d1_64"))
    assert [row.action for row in rows] == ["unknown", "unknown"]


def test_a_direction_that_is_not_told_is_not_guessed(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d", pair(lambda forwards: ({}, philips(0, ())[1])))
    assert [row.action for row in rows] == ["unknown", "unknown"]
    assert "that the header does not tell" in rows[0].note
    (row,) = rows_of(tmp_path / "e", pair(new_siemens)[:6])
    assert row.action == "unknown"
    assert "phase encoded AP, and no other" in row.note


def test_diffusion_of_both_directions_is_told_apart_by_them(tmp_path: Path) -> None:
    images = []
    for number, forwards in enumerate((1, 0)):
        way = {"InPlanePhaseEncodingDirection": "COL", "SeriesNumber": 1 + number}
        for one in weighted("siemens", pixels(seed=number), **way):
            one.add_new(0x00210010, "LO", "SIEMENS MR SDR 01")
            one.add_new(0x0021111C, "IS", forwards)
            images.append(one)
    rows = rows_of(tmp_path / "d", images)
    assert {row.name for row in rows} == {f"sub-01/dwi/sub-01_dir-{way}_dwi" for way in ("AP", "PA")}


BOLD = {**EPI, "ScanningSequence": ["EP", "GR"], "EchoTime": 30, "RepetitionTime": 2000}


def over_time(numbered: bool = True) -> list[Dataset]:
    """Six volumes, with a gradient echo at two times beside them."""
    numbers = {True: lambda t, z: 1 + 3 * t + z, False: lambda t, z: 1 + z}[numbered]
    images = [
        image(z, t, InstanceNumber=numbers(t, z), AcquisitionTime=f"1020{2 * t:02d}", **BOLD)
        for t in range(6)
        for z in range(3)
    ]
    return images + series(3, SeriesNumber=2, EchoTime=4) + series(3, SeriesNumber=3)


def named(source: Path, name: str) -> Path:
    """The plan of a folder, in which the planar series has a name."""
    plan = source.parent / "plan.tsv"
    assert main(["convert", str(source), str(source.parent / "bids"), "--plan-only", str(plan)]) == 0
    line = next(line for line in plan.read_text().splitlines() if "6 gradient-echo planar volumes" in line)
    assert "no header tells the task" in line
    assert "\tunknown\tn/a" in line
    plan.write_text(plan.read_text().replace(line, line.replace("\tunknown\tn/a", f"\tconvert\t{name}")))
    return plan


def test_a_task_comes_from_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = save(tmp_path / "d", over_time()), tmp_path / "bids"
    plan = named(source, "sub-01/func/sub-01_bold")
    assert main(["convert", str(source), str(out), "--plan", str(plan)]) == 2
    assert "names no task" in capsys.readouterr().err
    plan = named(source, "sub-01/func/sub-01_task-rest_bold")
    assert main(["convert", str(source), str(out), "--plan", str(plan)]) == 0
    record = read_json(out / "sub-01" / "func" / "sub-01_task-rest_bold.json")
    assert (record["TaskName"], record["RepetitionTime"]) == ("rest", 2.0)
    assert "VolumeTiming" not in record


def test_what_the_converter_garbles_is_told_by_its_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Volumes whose images have the same numbers: dcm2niix writes a record that is no JSON."""
    source = save(tmp_path / "d", over_time(numbered=False))
    plan = named(source, "sub-01/func/sub-01_task-rest_bold")
    assert main(["convert", str(source), str(tmp_path / "bids"), "--plan", str(plan)]) == 1
    assert "series 1: dcm2niix made something unreadable of im00000.dcm" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["SWI", "MNIP", "MPR", "MIP"])
def test_pictures_are_ignored_with_the_reason(word: str, tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "d", series(3, ImageType=["ORIGINAL", "PRIMARY", "M", word, "NORM"]))
    assert row.action == "ignored"
    assert "a picture that the scanner made" in row.note


def test_saturation_and_two_trains_are_no_mp2rage(tmp_path: Path) -> None:
    images = []
    for number, (delay, angle) in enumerate(((47, 4), (1800, 10))):
        images += series(
            3, SeriesNumber=1 + number, InversionTime=delay, FlipAngle=angle, RepetitionTime=2400, **PREPARED
        )
    rows = rows_of(tmp_path / "d", images)
    assert {row.name for row in rows} == {f"sub-01/fmap/sub-01_flip-{n}_inv-{n}_TB1SRGE" for n in (1, 2)}
    assert rows[0].missing == ("RepetitionTimeExcitation", "NumberShots")


FLASH = {"SequenceName": "*tfl2d1_16", "MRAcquisitionType": "2D", "FlipAngle": 8, "RepetitionTime": 5000}


@pytest.mark.parametrize(
    ("map_type", "fields", "suffix"),
    [
        (["ORIGINAL", "PRIMARY", "FLIP ANGLE MAP", "ND"], FLASH, "TB1TFL"),
        (
            ["ORIGINAL", "PRIMARY", "M", "ND"],
            {**FLASH, "ImageComments": "flip angle map, TraRefAmpl: 225.0 V"},
            "TB1TFL",
        ),
        (["ORIGINAL", "PRIMARY", "FLIP ANGLE MAP", "ND"], {**FLASH, "SequenceName": "*rf2d1"}, "TB1RFM"),
    ],
)
def test_maps_of_angles_go_with_their_anatomy(
    map_type: list[str], fields: dict[str, Any], suffix: str, tmp_path: Path
) -> None:
    anatomy = {key: value for key, value in fields.items() if key != "ImageComments"}
    images = series(3, SeriesNumber=4, **anatomy) + series(
        3, SeriesNumber=5, **{**fields, "ImageType": map_type}
    )
    rows = rows_of(tmp_path / "d", images)
    assert {row.stack.series.number: row.name for row in rows} == {
        4: f"sub-01/fmap/sub-01_acq-anat_{suffix}",
        5: f"sub-01/fmap/sub-01_acq-famp_{suffix}",
    }


def test_a_map_of_angles_by_no_named_sequence_waits(tmp_path: Path) -> None:
    kind = ["ORIGINAL", "PRIMARY", "FLIP ANGLE MAP", "ND"]
    for number, other in enumerate(({}, {"SequenceName": "xyz", "Manufacturer": "Canon Medical Systems"})):
        (row,) = rows_of(tmp_path / str(number), series(3, ImageType=kind, **other))
        assert row.action == "unknown"
        assert "TB1TFL (tfl_b1map) and TB1RFM (rf_map)" in row.note


def of_philips(kind: str, words: list[str], values: np.ndarray, **fields: Any) -> list[Dataset]:
    """Images with the private words and slopes of Philips."""
    tags: dict[int, tuple[str, Any]] = {
        0x20050010: ("LO", "Philips MR Imaging DD 001"),
        0x2005100E: ("FL", 7.0),
    }
    tags |= {0x2005100D: ("FL", 0.0), 0x20051011: ("CS", kind)}
    given = {
        "Manufacturer": "Philips Medical Systems",
        "RescaleSlope": 0.25,
        "RescaleIntercept": -500,
        **fields,
    }
    return [
        image(z, private=tags, ImageType=["ORIGINAL", "PRIMARY", *words], pixels=values[z], **given)
        for z in range(3)
    ]


@pytest.mark.parametrize("words", [["B0 MAP", "B0", "UNSPECIFIED"], ["B0", "B0", "UNSPECIFIED"]])
def test_the_field_of_philips_is_in_hertz(words: list[str], tmp_path: Path) -> None:
    """Whatever the scale slope says, which holds for signals: the rescaled values are those that the console shows."""
    field, size = pixels(2)
    images = of_philips("B0", words, field) + of_philips("M", ["M_FFE", "M", "FFE"], size, InstanceNumber=9)
    folder = converted(save(tmp_path / "d", images)) / "fmap"
    assert {p.name for p in folder.glob("*.nii.gz")} == {"sub-01_fieldmap.nii.gz", "sub-01_magnitude.nii.gz"}
    there = nifti.read(folder / "sub-01_fieldmap.nii.gz").data.transpose(2, 1, 0)
    true = field * 0.25 - 500
    assert min(np.abs(there[::z, ::y] - true).max() for z in (1, -1) for y in (1, -1)) < 1e-3
    assert read_json(folder / "sub-01_fieldmap.json")["Units"] == "Hz"


def test_the_b1_map_of_philips_lies_beside_its_two_repetition_times(tmp_path: Path) -> None:
    first, second, b1 = pixels(3)
    signal = {"RescaleSlope": 0.25, "RescaleIntercept": 0}
    images = [
        one
        for time, values in ((30, first), (150, second))
        for one in of_philips("M", ["M_FFE", "M", "FFE"], values, RepetitionTime=time, FlipAngle=60, **signal)
    ]
    images += of_philips("B1", ["B1 MAP", "B1", "UNSPECIFIED"], b1, RepetitionTime=30, FlipAngle=60, **signal)
    folder = converted(save(tmp_path / "d", images)) / "fmap"
    assert {p.name.removeprefix("sub-01_") for p in folder.glob("*.nii.gz")} == {
        *("acq-tr1_TB1AFI.nii.gz", "acq-tr2_TB1AFI.nii.gz", "TB1map.nii.gz"),
    }
    assert read_json(folder / "sub-01_TB1map.json")["Units"] == "percent"
    there = nifti.read(folder / "sub-01_TB1map.nii.gz").data.transpose(2, 1, 0)
    assert min(np.abs(there[::z, ::y] - 0.25 * b1).max() for z in (1, -1) for y in (1, -1)) < 1e-3


def test_what_is_converted_is_valid_bids(tmp_path: Path) -> None:
    images = weighted("siemens", pixels(), SeriesNumber=20, InPlanePhaseEncodingDirection="COL") + pair(
        old_siemens
    )
    map_type = ["ORIGINAL", "PRIMARY", "FLIP ANGLE MAP", "ND"]
    images += series(3, SeriesNumber=4, **FLASH) + series(
        3, SeriesNumber=5, **{**FLASH, "ImageType": map_type}
    )
    source = save(tmp_path / "d", images)
    converted(source)
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    assert validator, "bids-validator-deno is not installed; pip install --editable '.[dev]'"
    done = subprocess.run(
        [validator, str(tmp_path / "bids"), "--ignoreWarnings"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
