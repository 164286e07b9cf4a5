"""`mensura convert`, its plan edited and replayed, and `mensura run` straight from DICOM."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.io.files import read_json


@pytest.fixture
def dicom(shared_data: Path, tmp_path: Path) -> Path:
    """The nickel plate: six inversion times."""
    source = tmp_path / "dicom"
    shutil.copytree(shared_data / "nist_phantom_dicom" / "T1" / "site4_philips" / "plate5", source)
    return source


def plan_of(dicom: Path) -> tuple[Path, list[str]]:
    plan = dicom.parent / "plan.tsv"
    assert main(["convert", str(dicom), str(dicom.parent / "bids"), "--plan-only", str(plan)]) == 0
    assert not (dicom.parent / "bids").exists()
    return plan, plan.read_text().splitlines()


def names(bids: Path) -> list[str]:
    return sorted(path.name for path in bids.rglob("*.nii.gz"))


def test_a_plan_is_replayed_as_it_is(dicom: Path, tmp_path: Path) -> None:
    plan, _ = plan_of(dicom)
    assert main(["convert", str(dicom), str(tmp_path / "a"), "--plan", str(plan)]) == 0
    assert main(["convert", str(dicom), str(tmp_path / "b")]) == 0
    ours = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*.nii.gz")}
    assert ours == {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*.nii.gz")}
    assert len(ours) == 6


def test_a_plan_is_edited(dicom: Path, tmp_path: Path) -> None:
    plan, lines = plan_of(dicom)
    header = next(line for line in lines if line.startswith("image"))
    rows = [line for line in lines if line[0] != "#" and line != header]
    rows[0] = rows[0].replace("inv-1_IRT1", "acq-short_T1w")
    rows[1] = rows[1].replace("convert", "ignored")
    cells = rows[2].split("\t")
    cells[header.split("\t").index("fields")] = '{"Instructions": "lie still", "MTState": false}'
    rows[2] = "\t".join(cells)
    plan.write_text("\n".join([header, *rows[:5]]) + "\n")
    out = tmp_path / "out"
    assert main(["convert", str(dicom), str(out), "--plan", str(plan)]) == 0
    assert names(out) == ["sub-01_acq-short_T1w.nii.gz", *(f"sub-01_inv-{n}_IRT1.nii.gz" for n in (3, 4, 5))]
    assert read_json(out / "sub-01" / "anat" / "sub-01_inv-3_IRT1.json")["Instructions"] == "lie still"
    assert "not in the plan" in next((out / "code").iterdir()).read_text()


def test_coefficients_of_gradients_are_for_dicom(
    small_head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = ["--gradient-coefficients", str(tmp_path / "coil.grad")]
    assert main(["run", str(small_head), str(tmp_path / "maps"), "participant", *flag]) == 2
    assert "is for DICOM" in capsys.readouterr().err


WRONG = {
    "an action": ("\tconvert\t", "\tperhaps\t", "none of convert"),
    "a name elsewhere": ("sub-01/anat/sub-01_inv-1", "../sub-01/anat/sub-01_inv-1", "no name of a BIDS image"),
    "an absolute name": ("sub-01/anat/sub-01_inv-1", "/tmp/sub-01_inv-1", "no name of a BIDS image"),
    "another subject's folder": ("sub-01/anat/sub-01_inv-1", "sub-02/anat/sub-01_inv-1", "no name of a BIDS image"),
    "a name twice": ("sub-01_inv-2_IRT1", "sub-01_inv-1_IRT1", "gives two images the name"),
    "an image that is not there": ("301-", "302-", "not among these DICOM files"),
    "a column": ("action\t", "verb\t", "no column action"),
    "JSON": ("\tn/a\tn/a\tinversion", "\tn/a\t{oops\tinversion", "fields must be JSON"),
    "tabs": ("\tn/a\tn/a\tinversion", "\tn/a\tn/a\tx\ty\tinversion", "check the tabs"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_plan_with_a_mistake_is_refused(what: str, dicom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, _ = plan_of(dicom)
    old, new, told = WRONG[what]
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new, 1))
    out = dicom.parent / "bids"
    assert main(["convert", str(dicom), str(out), "--plan", str(plan)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_t1_straight_from_dicom(dicom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "maps"
    assert main(["run", str(dicom), str(out), "--dry-run"]) == 0
    assert "inv-{1…6}_IRT1" in capsys.readouterr().err
    assert not out.exists()
    assert main(["run", str(dicom), str(out), "--no-report"]) == 0
    assert f"is DICOM: it is converted into {out}/bids" in capsys.readouterr().err
    t1 = nifti.read(out / "sub-01" / "anat" / "sub-01_T1map.nii.gz").data
    low, middle = np.nanpercentile(t1[t1 > 0], [1, 50])
    assert 0.02 < low < 0.3, "the spheres of short T1"
    assert 1.2 < middle < 2.5, "the water around them"
    assert main(["run", str(dicom), str(out), "--no-report"]) == 0
    assert "was converted before" in capsys.readouterr().err
    assert main(["rerun", str(out / "sub-01" / "anat" / "sub-01_T1map.json")]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_mixed_corrections_are_told_by_run(dicom: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    assert main(["convert", str(dicom), str(out / "bids")]) == 0
    sidecars = sorted((out / "bids").rglob("*_IRT1.json"))
    for path, done in zip(sidecars, itertools.cycle(("true", "false"))):
        path.write_text(path.read_text().replace("{", f'{{"NonlinearGradientCorrection": {done},', 1))
    assert main(["run", str(out / "bids"), str(out), "--no-report"]) == 0
    told = read_json(out / "sub-01" / "anat" / "sub-01_T1map.json")["Mensura"]["Warnings"]
    assert any("NonlinearGradientCorrection is mixed" in words for words in told)


def test_converted_datasets_are_valid_bids(dicom: Path, tmp_path: Path) -> None:
    out = tmp_path / "bids"
    assert main(["convert", str(dicom), str(out)]) == 0
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    assert validator, "bids-validator-deno is not installed; pip install --editable '.[dev]'"
    done = subprocess.run(
        [validator, str(out), "--ignoreWarnings"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
