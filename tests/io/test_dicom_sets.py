"""Series of every kind are recognised by what was varied, whatever they are called."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import GRE, PREPARED, RECOVERY, SPIN_ECHO, image, save, series
from pydicom.dataset import Dataset

from mensura.io.dicom.plan import CONVERT, Labels, Row, planned, replayed
from mensura.io.dicom.reading import contents
from mensura.io.dicom.sidecar import sidecar

PHASE = ["ORIGINAL", "PRIMARY", "P", "ND"]
STORED: dict[str, Any] = {"ImageType": PHASE, "RescaleSlope": 2, "RescaleIntercept": -4096}
SESTE: dict[str, Any] = {
    "ScanningSequence": "RM",
    "SequenceVariant": "SS",
    "SequenceName": "seste1d3d2",
    "FlipAngle": 0,
}
PULSE: dict[str, Any] = {"SequenceVariant": ["SP", "MTC"]}


def rows_of(folder: Path, images: list[Dataset]) -> list[Row]:
    save(folder, images)
    with contents(folder) as found:
        return planned(found.stacks, Labels())


def names(rows: list[Row]) -> list[str]:
    return sorted(
        row.name.rsplit("/", 1)[-1].removeprefix("sub-01_") for row in rows if row.action == CONVERT
    )


def several(number: int, **varied: list[Any]) -> list[Dataset]:
    """A series for each combination of values."""
    keys = list(varied)
    combinations = enumerate(itertools.product(*varied.values()))
    return [
        one
        for n, values in combinations
        for one in series(3, SeriesNumber=number + n, **dict(zip(keys, values, strict=True)))
    ]


def multi_echo(**fields: Any) -> list[Dataset]:
    return [one for te in (5, 10, 15) for one in series(3, EchoTime=te, **fields)]


SETS: dict[str, tuple[list[Dataset], list[str]]] = {
    "echoes, magnitude and phase in two series": (
        multi_echo() + multi_echo(SeriesNumber=2, **STORED),
        [f"echo-{n}_part-{part}_MEGRE" for n in (1, 2, 3) for part in ("mag", "phase")],
    ),
    "inversion recovery": (
        several(1, InversionTime=[800, 50, 200], **{k: [v] for k, v in RECOVERY.items()}),
        ["inv-1_IRT1", "inv-2_IRT1", "inv-3_IRT1"],
    ),
    "flip angles": (several(1, FlipAngle=[20, 4]), ["flip-1_VFA", "flip-2_VFA"]),
    "double angle": (several(1, FlipAngle=[60, 120]), ["flip-1_TB1DAM", "flip-2_TB1DAM"]),
    "spin echoes": (
        [one for te in (20, 10, 30) for one in series(3, EchoTime=te, **SPIN_ECHO)],
        ["echo-1_MESE", "echo-2_MESE", "echo-3_MESE"],
    ),
    "MT ratio": (several(1, SequenceVariant=[["SP"], ["SP", "MTC"]]), ["mt-off_MTR", "mt-on_MTR"]),
    "MT saturation": (
        series(3) + series(3, SeriesNumber=2, **PULSE) + series(3, SeriesNumber=3, FlipAngle=25),
        ["flip-1_mt-off_MTS", "flip-1_mt-on_MTS", "flip-2_mt-off_MTS"],
    ),
    "MPM": (
        multi_echo() + multi_echo(SeriesNumber=2, **PULSE) + multi_echo(SeriesNumber=3, FlipAngle=25),
        [f"echo-{n}_flip-{f}_mt-{m}_MPM" for n in (1, 2, 3) for f, m in ((1, "off"), (1, "on"), (2, "off"))],
    ),
    "MP2RAGE": (
        several(1, InversionTime=[700, 2500], **{k: [v] for k, v in PREPARED.items()}),
        ["inv-1_MP2RAGE", "inv-2_MP2RAGE"],
    ),
    "MPRAGE": (series(3, InversionTime=900, **PREPARED), ["T1w"]),
    "actual flip angle": (
        [one for tr in (20, 100) for one in series(3, RepetitionTime=tr, FlipAngle=60)],
        ["acq-tr1_TB1AFI", "acq-tr2_TB1AFI"],
    ),
    "spin and stimulated echoes at several angles": (
        [one for te in (39, 130) for one in series(3, times=4, EchoTime=te, **SESTE)],
        [f"echo-{e}_flip-{f}_TB1EPI" for e in (1, 2) for f in (1, 2, 3, 4)],
    ),
    "over time": (series(3, times=6, ContrastBolusAgent="Gd"), ["DCE"]),
    "several series over time": (
        series(3, times=6) + series(3, times=6, SeriesNumber=2, FlipAngle=5),
        ["acq-s1_DCE", "acq-s2_DCE"],
    ),
    "phase difference, a series for each image": (
        several(1, EchoTime=[5, 7]) + series(3, SeriesNumber=3, EchoTime=7, **STORED),
        ["magnitude1", "magnitude2", "phasediff"],
    ),
    "echoes in a series each": (
        several(1, EchoTime=[15, 5]) + several(4, EchoTime=[15, 5], **{k: [v] for k, v in STORED.items()}),
        [f"echo-{n}_part-{part}_MEGRE" for n in (1, 2) for part in ("mag", "phase")],
    ),
    "one long echo with phase": (
        series(3, EchoTime=20) + series(3, SeriesNumber=2, EchoTime=20, ImageType=PHASE),
        ["part-mag_T2starw", "part-phase_T2starw"],
    ),
    "a single gradient echo": (series(3), []),
    "echo planar": (series(3, times=6, ScanningSequence=["GR", "EP"]), []),
    "water image": (series(3, ImageType=["DERIVED", "PRIMARY", "DIXON", "WATER"]), []),
}  # fmt: skip
SETS["phase difference"] = (
    [one for te in (5, 7) for one in series(3, EchoTime=te)]
    + series(3, SeriesNumber=2, EchoTime=7, **STORED),
    ["magnitude1", "magnitude2", "phasediff"],
)


@pytest.mark.parametrize("what", SETS)
def test_sets_are_recognised_by_their_parameters(what: str, tmp_path: Path) -> None:
    images, expected = SETS[what]
    rows = rows_of(tmp_path / "d", images)
    assert names(rows) == sorted(expected)
    for row in rows:
        assert row.note, "every row says why"
        assert not row.stack.fault


def test_values_stand_in_the_order_of_the_entities(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d", SETS["inversion recovery"][0])
    by_name = {row.name[-10:]: row.stack.first.inversion_time for row in rows}
    assert by_name == {"inv-1_IRT1": 0.05, "inv-2_IRT1": 0.2, "inv-3_IRT1": 0.8}


def test_equal_scans_become_runs_and_other_protocols_get_another_label(tmp_path: Path) -> None:
    twice = multi_echo() + multi_echo(SeriesNumber=2)
    assert names(rows_of(tmp_path / "a", twice)) == sorted(
        f"run-{r}_echo-{e}_MEGRE" for r in (1, 2) for e in (1, 2, 3)
    )
    other = multi_echo() + multi_echo(SeriesNumber=7, FlipAngle=15, PixelSpacing=[1, 1])
    assert set(names(rows_of(tmp_path / "b", other))) == {
        f"acq-{a}_echo-{e}_MEGRE" for a in ("s1", "s7") for e in (1, 2, 3)
    }


def test_corrections_side_by_side_are_two_sets_and_mixed_ones_are_flagged(tmp_path: Path) -> None:
    corrected = ["ORIGINAL", "PRIMARY", "M", "DIS2D"]
    both = multi_echo() + multi_echo(SeriesNumber=2, ImageType=corrected)
    rows = rows_of(tmp_path / "a", both)
    assert set(names(rows)) == {f"rec-{r}_echo-{e}_MEGRE" for r in ("ND", "DIS2D") for e in (1, 2, 3)}
    assert not any("MIXED" in row.note for row in rows)
    mixed = series(3, FlipAngle=4) + series(3, SeriesNumber=2, FlipAngle=20, ImageType=[*corrected, "NORM"])
    rows = rows_of(tmp_path / "b", mixed)
    assert names(rows) == ["flip-1_VFA", "flip-2_VFA"]
    assert all("MIXED distortion" in row.note and "MIXED normalisation" in row.note for row in rows)


def test_images_of_single_coils_are_not_taken_for_repeats(tmp_path: Path) -> None:
    images = []
    for coil in (1, 2, 3):
        told = {0x00510010: ("LO", "SIEMENS MR HEADER"), 0x0051100F: ("LO", f"H{coil}")}
        images += [image(z, SOPInstanceUID=f"1.2.{coil}.{z}", private=told) for z in range(3)]
    rows = rows_of(tmp_path / "d", images)
    assert [row.stack.coil for row in rows] == [1, 2, 3]
    assert all("single coils" in row.note for row in rows)


@pytest.mark.parametrize("kind", ["mag", "phase", "real", "imag"])
def test_ge_says_in_private_what_its_numbers_are(kind: str, tmp_path: Path) -> None:
    number = ("mag", "phase", "real", "imag").index(kind)
    ge = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], **GRE}
    told = {0x00430010: ("LO", "GEMS_PARM_01"), 0x0043102F: ("SS", number)}
    (row,) = rows_of(tmp_path / "d", series(3, private=told, **ge))
    assert row.stack.kind == kind


def test_real_and_imaginary_parts_of_ge_are_paired(tmp_path: Path) -> None:
    ge = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], **GRE}
    images = []
    for echo, number in itertools.product((5, 10), (0, 2, 3)):
        told = {0x00430010: ("LO", "GEMS_PARM_01"), 0x0043102F: ("SS", number)}
        pixels = np.full((24, 32), -number * 100 if number else 50)
        images += [
            image(
                z, EchoTime=echo, SOPInstanceUID=f"1.2.{echo}.{number}.{z}", private=told, pixels=pixels, **ge
            )
            for z in range(3)
        ]
    assert names(rows_of(tmp_path / "d", images)) == sorted(
        f"echo-{e}_part-{part}_MEGRE" for e in (1, 2) for part in ("mag", "real", "imag")
    )


@pytest.mark.parametrize(
    ("maker", "image_type", "kind"),
    [
        ("UIH", ["ORIGINAL", "PRIMARY", "PHASE"], "phase"),
        ("Canon Medical Systems", ["ORIGINAL", "PRIMARY", "OTHER"], "mag"),
        ("Philips Medical Systems", ["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"], "real"),
        ("Philips Medical Systems", ["ORIGINAL", "PRIMARY", "I_FFE", "I", "FFE"], "imag"),
        ("SIEMENS", ["ORIGINAL", "PRIMARY", "P", "ND", "NORM"], "phase"),
    ],
)
def test_image_types_of_vendors(maker: str, image_type: list[str], kind: str, tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "d", series(2, Manufacturer=maker, ImageType=image_type))
    assert row.stack.kind == kind


def test_what_bids_requires_and_the_header_lacks_is_named(tmp_path: Path) -> None:
    images = SETS["MP2RAGE"][0]
    rows = rows_of(tmp_path / "d", images)
    assert set(rows[0].missing) == {"RepetitionTimePreparation", "NumberShots"}
    json.dumps(rows[0].fields)


def test_no_two_images_get_one_name(tmp_path: Path) -> None:
    """Whatever tells them apart and is not understood: here two series over time, magnitude and again magnitude."""
    images = [one for te in (5, 9) for one in series(3, times=6, EchoTime=te, RepetitionTime=20 + te)]
    rows = rows_of(tmp_path / "d", images)
    assert len(names(rows)) == len(set(names(rows)))


def test_repetition_times_go_by_what_they_are(tmp_path: Path) -> None:
    fast = rows_of(tmp_path / "a", several(1, FlipAngle=[4, 20]))
    slow = several(
        1, InversionTime=[700, 2500], RepetitionTime=[5000], **{k: [v] for k, v in PREPARED.items()}
    )
    for rows, key, value in (
        (fast, "RepetitionTimeExcitation", 0.03),
        (rows_of(tmp_path / "b", slow), "RepetitionTimePreparation", 5.0),
        (rows_of(tmp_path / "c", multi_echo()), "RepetitionTime", 0.03),
    ):
        record = sidecar(rows[0].stack, rows[0].rule, {"RepetitionTime": 9.0}, {})
        assert {k: v for k, v in record.items() if k.startswith("RepetitionTime")} == {key: value}


def test_an_image_named_by_the_user_gets_the_fields_of_its_suffix(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "d", series(3))
    assert rows[0].action == "unknown"
    plan = tmp_path / "plan.tsv"
    plan.write_text(f"image\taction\tname\n{rows[0].stack.key}\tconvert\tsub-01/anat/sub-01_flip-1_VFA\n")
    (row,) = replayed(plan, rows)
    assert row.missing == ()
    assert sidecar(row.stack, row.rule, {}, row.fields)["RepetitionTimeExcitation"] == 0.03
    plan.write_text(plan.read_text().replace("flip-1_VFA", "inv-1_MP2RAGE"))
    assert "NumberShots" in replayed(plan, rows)[0].missing
