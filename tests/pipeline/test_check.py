"""`mensura check`: what can be mapped, what a missing field prevents, and what a protocol is to be minded for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.phantom.study import write_study
from mensura.scan import Grid


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "bids"
    write_study(
        folder,
        sequences=("MEGRE", "VFA", "TB1AFI", "MTR"),
        shape=(22, 26, 24),
        voxel_size=(8.0,),
        supersampling=1,
    )
    return folder


@pytest.fixture
def dataset(source: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(source, tmp_path / "bids"))


def edit(dataset: Path, pattern: str, change: Callable[[dict[str, Any]], Any]) -> None:
    paths = list(dataset.rglob(pattern))
    assert paths
    for path in paths:
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def checked(dataset: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    """What is said in JSON, by the acquisition's suffix."""
    assert main(["check", str(dataset), "--json"]) == code
    found = json.loads(capsys.readouterr().out)["acquisitions"]
    return {one["name"].rpartition("_")[2]: one for one in found}


def texts(one: dict[str, Any], level: str) -> str:
    return "\n".join(finding["text"] for finding in one["findings"] if finding["level"] == level)


def test_a_whole_dataset_can_be_mapped(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    found = checked(source, capsys)
    assert set(found) == {"MEGRE", "VFA", "TB1AFI", "MTR"}
    assert all(one["usable"] for one in found.values())
    assert found["VFA"]["makes"] == ["T1map", "M0map", "PDmap", "MTVmap"]
    table = found["MEGRE"]["table"]
    assert table["Field strength"] == "3 T"
    assert "echoes, TE = " in table["Echoes, TE₁:ΔTE:TEmax"]
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_it_is_told_to_people_with_the_table_last(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(source)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 acquisitions can be processed" in said
    assert said.index("can be processed.") < said.index("Field strength *")
    assert "10.1002/mrm.30006" in said


@pytest.mark.parametrize(
    ("pattern", "key", "suffix", "prevents"),
    [
        ("*_MEGRE.json", "EchoTime", "MEGRE", "no field, no R2*, no χ"),
        ("*_MEGRE.json", "MagneticFieldStrength", "MEGRE", "no χ"),
        ("*flip-1_VFA.json", "FlipAngle", "VFA", "FlipAngle is missing in 1 of"),
        ("*_VFA.json", "RepetitionTimeExcitation", "VFA", "no T1map, M0map"),
        ("*_MTR.json", "MTState", "MTR", "no MTRmap"),
    ],
)
def test_a_needed_field_that_is_missing(
    dataset: Path, pattern: str, key: str, suffix: str, prevents: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(dataset, pattern, lambda record: record.pop(key, None))
    one = checked(dataset, capsys, 1)[suffix]
    assert not one["usable"]
    assert prevents in texts(one, "bad")
    assert key in texts(one, "bad")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.pop("RepetitionTime", None), "RepetitionTime is missing"),
        (lambda r: r.pop("NonlinearGradientCorrection"), "NonlinearGradientCorrection"),
        (lambda r: r.update(ReadoutMode="bipolar"), "the readout is bipolar"),
        (lambda r: r.pop("ReadoutMode"), "not recorded (ReadoutMode)"),
        (
            lambda r: r.update(PartialFourier=0.75, PartialFourierDirection="PHASE"),
            "partial Fourier of 0.75 phase",
        ),
        (
            lambda r: r.update(PartialFourier=0.75, PartialFourierDirection="FREQUENCY"),
            "partial echo of 0.75",
        ),
        (lambda r: r.update(ImageType=["ORIGINAL", "PRIMARY", "P", "NORM"]), "normalised (NORM)"),
        (lambda r: r.update(SliceThickness=2, SpacingBetweenSlices=2.5), "gaps of 0.5 mm"),
        (lambda r: r.update(MRAcquisitionType="2D"), "one by one (2D)"),
    ],
)
def test_what_a_protocol_is_to_be_minded_for(
    dataset: Path, change: Callable[[dict[str, Any]], Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(dataset, "*_MEGRE.json", change)
    one = checked(dataset, capsys)["MEGRE"]
    assert one["usable"]
    assert says in texts(one, "look")


@pytest.mark.parametrize(
    ("how", "words"), [("3D", "in all directions"), ("2D", "in the plane"), ("none", "none")]
)
def test_a_correction_of_our_own_counts_before_the_scanners_words(
    dataset: Path, how: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"GradientDistortionCorrection": how, "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}
    edit(dataset, "*_VFA.json", lambda record: record.update(told))
    said = texts(checked(dataset, capsys)["VFA"], "good")
    assert f"correction of the gradients' nonlinearity: {words}" in said


def test_mixed_corrections_within_a_series(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {"1": ["ORIGINAL", "PRIMARY", "M", "ND"], "2": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]}
    for number, kind in kinds.items():
        edit(dataset, f"*flip-{number}_VFA.json", lambda record, kind=kind: record.update(ImageType=kind))
    said = texts(checked(dataset, capsys)["VFA"], "look")
    assert "differ in the correction" in said
    assert "in the plane" in said
    assert "some images are normalised" in said


def test_echo_times_are_judged_by_field_and_voxel(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1/(2·5 ms) at 7 T is 0.34 ppm: less than 0.1 ppm/mm over 8 mm."""
    times = iter(range(1, 100))
    assert "can be unwrapped" in texts(checked(dataset, capsys)["MEGRE"], "good")
    count = len(list(dataset.rglob("*part-phase_MEGRE.json")))
    for echo in range(1, count + 1):
        time = 0.005 * next(times)
        edit(
            dataset,
            f"*echo-{echo}_*_MEGRE.json",
            lambda record, time=time: record.update(EchoTime=time, MagneticFieldStrength=7),
        )
    said = texts(checked(dataset, capsys)["MEGRE"], "look")
    assert "0.34 ppm between voxels, but near air they reach 0.8 ppm" in said


def test_short_echoes_make_little_phase(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2π·127.7 Hz/ppm·0.1 ppm·2 ms = 0.16 rad."""
    for path in [*dataset.rglob("*_MEGRE.nii.gz"), *dataset.rglob("*_MEGRE.json")]:
        if "echo-1" not in path.name:
            path.unlink()
    edit(dataset, "*_MEGRE.json", lambda record: record.update(EchoTime=0.002))
    one = checked(dataset, capsys)["MEGRE"]
    assert "0.1 ppm makes 0.16 rad" in texts(one, "look")
    assert "R2starmap" not in one["makes"]


def test_images_that_are_missing_or_do_not_fit(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in dataset.rglob("*part-phase_MEGRE.nii.gz"):
        path.unlink()
    next(dataset.rglob("*mt-on_MTR.nii.gz")).unlink()
    path = next(dataset.rglob("*flip-2_VFA.nii.gz"))
    nifti.write(path, np.ones((4, 4, 4), np.float32), Grid.from_voxel_size((4, 4, 4)))
    found = checked(dataset, capsys, 1)
    assert "no phase: R2* is made, but no susceptibility" in texts(found["MEGRE"], "look")
    assert "needs 2 images" in texts(found["MTR"], "bad")
    assert "another shape" in texts(found["VFA"], "bad")
    assert found["TB1AFI"]["usable"]


def test_without_b1_it_is_said(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "B1" not in texts(checked(dataset, capsys)["VFA"], "look")
    for path in dataset.rglob("*TB1AFI*"):
        path.unlink()
    assert "there is no B1 map" in texts(checked(dataset, capsys)["VFA"], "look")


def test_nothing_to_map(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(dataset, "*_MEGRE.json", lambda record: record.pop("EchoTime", None))
    for path in [p for p in dataset.rglob("*.nii.gz") if "MEGRE" not in p.name]:
        path.unlink()
    checked(dataset, capsys, 2)
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty")]) == 2
    assert "not a BIDS dataset" in capsys.readouterr().err
    (tmp_path / "empty" / "dataset_description.json").write_text("{}")
    assert main(["check", str(tmp_path / "empty")]) == 2
    assert "holds nothing that can be mapped" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_told_and_stops_no_one_else(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dataset / "sub-01", dataset / "sub-02")
    for path in list((dataset / "sub-02").rglob("sub-01*")):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    next((dataset / "sub-01").rglob("*flip-1_VFA.json")).write_text("{")
    assert main(["check", str(dataset), "--json"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["acquisitions"]}
    assert "flip-1_VFA.json is not valid JSON" in texts(found["sub-01"], "bad")
    assert found["sub-02_VFA"]["usable"]
    assert main(["check", str(dataset), "--participant-label", "03"]) == 2
    error = capsys.readouterr().err
    assert "has no sub-03" in error
    assert error.count("\n") == 1
