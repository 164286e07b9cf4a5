"""MP2RAGE of a BIDS dataset: T1 by the scanner's uniform image, or by magnitude and phase, at the B1 of the voxel."""

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


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(
        folder, sequences=("MP2RAGE", "TB1DAM"), shape=(40, 44, 40), voxel_size=(4.0,), snr=200, supersampling=1,
        field_strength=(7.0,),
    )  # fmt: skip
    return folder


@pytest.fixture
def dataset(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "bids"))


def anat(dataset: Path, pattern: str) -> list[Path]:
    return sorted((dataset / "sub-01" / "anat").glob(pattern))


def edited(dataset: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for path in anat(dataset, "*_MP2RAGE.json"):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


def without(dataset: Path, pattern: str) -> None:
    found = anat(dataset, pattern)
    assert found
    for path in found:
        path.unlink()


def mapped(dataset: Path) -> tuple[np.ndarray, str]:
    """T1 over its truth, in voxels of one tissue where there is a value, and what is said."""
    out = dataset.parent / "maps"
    assert main(["run", str(dataset), str(out), "participant"]) == 0
    truth = {n: next((dataset / "derivatives").rglob(f"sub-01_{n}.nii.gz")) for n in ("T1map", "purity")}
    true, pure = (nifti.read(path).data for path in truth.values())
    found = nifti.read(out / "sub-01" / "anat" / "sub-01_T1map.nii.gz").data
    record = json.loads((out / "sub-01" / "anat" / "sub-01_T1map.json").read_text())
    inside = (pure > 0.99) & (true > 0.5) & (true < 3) & np.isfinite(found) & (found > 0)
    assert inside.sum() > 3000
    return found[inside] / true[inside], " ".join(record["Mensura"]["Warnings"])


def test_the_scanners_uniform_image_is_taken_first(dataset: Path) -> None:
    ratio, said = mapped(dataset)
    assert abs(np.median(ratio) - 1) < 0.005
    assert np.median(np.abs(ratio - 1)) < 0.015
    assert "the scanner's uniform image sub-01_UNIT1.nii.gz was taken" in said
    assert "corrected by sub-01_TB1map.nii.gz" in said


def test_the_signs_come_from_the_phase(dataset: Path) -> None:
    uniform = nifti.read(anat(dataset, "*_UNIT1.nii.gz")[0]).data
    without(dataset, "*_UNIT1.*")
    ratio, said = mapped(dataset)
    assert abs(np.median(ratio) - 1) < 0.005
    assert np.median(np.abs(ratio - 1)) < 0.015
    assert "the signs come from the phase" in said
    made = nifti.read(dataset.parent / "maps" / "sub-01" / "anat" / "sub-01_UNIT1.nii.gz").data
    inside = nifti.read(next((dataset / "derivatives").rglob("*_desc-brain_mask.nii.gz"))).data > 0
    assert np.nanmedian(np.abs(made - uniform)[inside]) < 1e-3
    assert np.corrcoef(made[inside], uniform[inside])[0, 1] > 0.999


def test_b1_is_what_makes_it_right(dataset: Path) -> None:
    corrected, _ = mapped(dataset)
    shutil.rmtree(dataset / "sub-01" / "fmap")
    ratio, said = mapped(dataset)
    assert "nominal" in said
    print(
        np.median(np.abs(ratio - 1)), np.median(np.abs(corrected - 1)), np.median(ratio), np.median(corrected)
    )
    assert np.median(np.abs(ratio - 1)) > 2 * np.median(np.abs(corrected - 1))


def test_a_scanners_whole_numbers_are_recognised(dataset: Path) -> None:
    path = anat(dataset, "*_UNIT1.nii.gz")[0]
    image = nifti.read(path)
    before, _ = mapped(dataset)
    nifti.write(path, np.rint((image.data + 0.5) * 4095).astype(np.float32), image.grid, image.header)
    ratio, _ = mapped(dataset)
    assert np.median(ratio) == pytest.approx(np.median(before), rel=1e-3)
    nifti.write(path, image.data * np.float32(100), image.grid, image.header)
    assert main(["run", str(dataset), str(dataset.parent / "maps"), "participant"]) == 1


def test_a_number_of_shots_is_split_by_partial_fourier(dataset: Path) -> None:
    before, _ = mapped(dataset)

    def alone(record: dict[str, Any]) -> None:
        first, after = record.pop("NumberShots")
        record |= {"NumberShots": 2 * after, "SlicePartialFourier": 0.5 + first / (2 * after)}

    edited(dataset, alone)
    ratio, _ = mapped(dataset)
    np.testing.assert_array_equal(ratio, before)


@pytest.mark.parametrize("key", ["InversionTime", "RepetitionTimePreparation", "NumberShots", "FlipAngle"])
def test_a_missing_timing_is_named(dataset: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    edited(dataset, lambda record: record.pop(key))
    assert main(["run", str(dataset), str(dataset.parent / "maps"), "participant"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"_MP2RAGE.nii.gz: its sidecar has no {key}" in said


def test_magnitudes_alone_are_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without(dataset, "*_UNIT1.*")
    without(dataset, "*_part-phase_MP2RAGE.*")
    assert main(["run", str(dataset), str(dataset.parent / "maps"), "participant"]) == 1
    assert "the signs are not known" in " ".join(capsys.readouterr().err.split())
