"""`mensura fit` and `mensura models`: files in, maps out, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.qmri import equations
from mensura.qmri.models import MODELS
from mensura.scan import Grid

GRID = Grid.from_voxel_size((7, 6, 5), (2.0, 2.0, 3.0))
ANGLES = (3.0, 10.0, 20.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three flip angles as files of their own, in one 4D file, B1 in percent, a mask; T1 of 1.2 s, B1 of 0.9."""
    signal = equations.spoiled_gradient_echo(
        np.deg2rad(ANGLES), np.full((*GRID.shape, 1), 1000.0), 1.2, repetition_time=0.02, b1=0.9
    )
    mask = np.zeros(GRID.shape, bool)
    mask[1:-1, 1:-1, 1:-1] = True
    for i in range(3):
        nifti.write(tmp_path / f"fa{i}.nii.gz", (signal[..., i] * mask).astype(np.float32), GRID)
    nifti.write(tmp_path / "all.nii.gz", signal.astype(np.float32), GRID)
    nifti.write(tmp_path / "b1.nii.gz", np.full(GRID.shape, 90.0, np.float32), GRID)
    nifti.write(tmp_path / "hz.nii.gz", np.full(GRID.shape, 400.0, np.float32), GRID)
    nifti.write(tmp_path / "mask.nii.gz", mask, GRID)
    nifti.write(
        tmp_path / "other.nii.gz", np.ones((7, 6, 4), np.float32), Grid.from_voxel_size((7, 6, 4), (2, 2, 3))
    )
    return tmp_path


def fit(folder: Path, *more: str, images: tuple[str, ...] = ("fa0", "fa1", "fa2"), model: str = "") -> int:
    files = [str(folder / f"{name}.nii.gz") for name in images]
    words = ["fit", model or "variable_flip_angle", "--images", *files, *more, "-o", str(folder / "out")]
    return main([word.replace("@", str(folder)) for word in words])


PROTOCOL = ("--flip-angles", "3", "10", "20", "--repetition-time", "0.02")


def test_files_become_maps_with_their_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, *PROTOCOL, "--b1", "@/b1.nii.gz", "--mask", "@/mask.nii.gz") == 0
    assert "percent" in capsys.readouterr().out
    out = folder / "out"
    t1 = nifti.read(out / "T1map.nii.gz")
    mask = nifti.read(folder / "mask.nii.gz").data > 0
    assert np.allclose(t1.data[mask], 1.2, rtol=1e-4)
    assert not t1.data[~mask].any()
    assert np.allclose(t1.grid.affine, GRID.affine)
    made = {path.name for path in out.iterdir()}
    assert {"desc-std_T1map.nii.gz", "desc-status_T1map.nii.gz", "M0map.nii.gz"} <= made
    record = json.loads((out / "T1map.json").read_text())
    assert record["Units"] == "s"
    assert record["Mensura"]["Parameters"]["b1"] == "map"
    assert record["Mensura"]["Parameters"]["flip_angles"] == pytest.approx(np.deg2rad(ANGLES))
    assert "10.1002/mrm.21669" in record["EstimationReference"]


def test_one_4d_file_without_a_mask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, *PROTOCOL, images=("all",)) == 0
    assert "no mask" in capsys.readouterr().out
    without_b1 = nifti.read(folder / "out" / "T1map.nii.gz").data
    assert np.allclose(without_b1, 1.2 * 0.81, rtol=0.02)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--flip-angles", "3", "10", "--repetition-time", "0.02"), "3 images but 2 flip angles"),
        (("--flip-angles", "0.05", "0.17", "0.35", "--repetition-time", "0.02"), "radians"),
        (("--flip-angles", "3", "10", "20", "--repetition-time", "900"), "milliseconds"),
        (("--flip-angles", "10", "10", "10", "--repetition-time", "0.02"), "two different"),
        ((*PROTOCOL, "--b1", "@/other.nii.gz"), "has shape"),
        ((*PROTOCOL, "--b1", "@/nothing.nii.gz"), "nothing.nii.gz"),
        ((*PROTOCOL, "--mask", "@/other.nii.gz"), "has shape"),
        ((*PROTOCOL, "--b1", "@/hz.nii.gz"), "median"),
        ((*PROTOCOL, "--loss", "cauchy"), "one of none"),
        ((*PROTOCOL, "--likelihood", "rician"), "noise"),
        ((*PROTOCOL, "--noise", "-1"), "cannot be meant"),
    ],
)
def test_wrong_input_gets_a_sentence_and_leaves_nothing(
    folder: Path, more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, *more) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_missing_protocol_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(folder, "--flip-angles", "3", "10", "20")
    assert stop.value.code == 2
    assert "--repetition-time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("mt_ratio", ()),
        ("mt_saturation", ("--flip-angles", "6", "6", "--repetition-times", "0.02")),
        ("double_angle", ("--flip-angles", "60", "120", "90")),
        ("actual_flip_angle", ("--repetition-times", "0.02", "0.1", "--flip-angle", "60")),
    ],
)
def test_a_wrong_number_of_images_is_told(
    folder: Path, model: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    images = ("fa0", "fa1") if model == "mt_saturation" else ("fa0", "fa1", "fa2")
    assert fit(folder, *more, model=model, images=images) == 2
    assert "images" in capsys.readouterr().err


def test_an_unknown_model_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, model="inversion_recovry") == 2
    assert "inversion_recovery" in capsys.readouterr().err


def test_models_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    for name, model in MODELS.items():
        assert name in told
        assert model.doi in told
    assert main(["models", *MODELS]) == 0
    assert (
        "--refocusing-angle nominal angle of the refocusing pulses (°; default 180)"
        in capsys.readouterr().out
    )
