"""R2′ of a session's gradient and spin echoes: the truth of a digital head, its error, and refusals to guess."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.fit import Status
from mensura.io import nifti
from mensura.phantom.study import write_study
from mensura.pipeline.r2prime import derive, reversible
from mensura.scan import Grid

QUICK = ("--no-report", "--background", "vsharp", "--dipole", "tkd")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    echoes = {"echo_times": tuple(0.004 + 0.005 * n for n in range(8)), "repetition_time": 0.05}
    write_study(
        folder, sequences=("MEGRE", "MESE", "MPM"), shape=(36, 42, 36), voxel_size=(5.0,), snr=200,
        settings={"MEGRE": echoes, "MESE": {"echoes": 8}},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def mapped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps")
    assert main(["run", str(dataset), str(out), "participant", *QUICK]) == 0
    return out


def read(folder: Path, name: str) -> np.ndarray:
    return nifti.read(folder / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").data


def test_the_reversible_part_of_a_head_comes_back(dataset: Path, mapped: Path) -> None:
    truth = dataset / "derivatives" / "truth"
    true, found = read(truth, "R2primemap"), read(mapped, "R2primemap")
    inside = (found != 0) & np.isfinite(found) & (read(truth, "dseg") == 8) & (read(truth, "purity") > 0.99)
    assert inside.sum() > 500
    off = (found - true)[inside]
    assert np.median(true[inside]) > 4
    assert abs(np.median(off)) < 0.3
    assert np.median(np.abs(off)) < 0.5
    assert "*_R2primemap.*" in (mapped / ".bidsignore").read_text()


def test_the_record_names_both_maps(mapped: Path) -> None:
    record = json.loads((mapped / "sub-01" / "anat" / "sub-01_R2primemap.json").read_text())
    assert record["Units"] == "1/s"
    assert record["Sources"] == [
        "bids::sub-01/anat/sub-01_R2starmap.nii.gz",
        "bids::sub-01/anat/sub-01_T2map.nii.gz",
    ]


def test_maps_of_the_gradient_echo_keep_their_names_beside_multi_parameter_maps(mapped: Path) -> None:
    made = {
        name: json.loads((mapped / "sub-01" / "anat" / f"sub-01_{name}.json").read_text())["Mensura"]
        for name in ("R2starmap", "mod-MPM_R2starmap")
    }
    assert made["R2starmap"]["Step"] == "r2star"
    assert made["R2starmap"]["Statistics"]["FieldGradientKnown"] is True
    assert made["mod-MPM_R2starmap"]["Model"] == "mpm"


def test_what_is_there_is_left_alone_and_what_changed_is_made_again(mapped: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    shutil.copytree(mapped, out)
    assert derive(out, [("01", "")]) == []
    path = out / "sub-01" / "anat" / "sub-01_T2map.nii.gz"
    image = nifti.read(path)
    nifti.write(path, image.data * np.float32(1.1), image.grid, image.header)
    assert "R2′ of sub-01_R2starmap.nii.gz and sub-01_T2map.nii.gz" in derive(out, [("01", "")])[0]


def test_other_grids_and_several_maps_are_said_not_guessed(mapped: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    shutil.copytree(mapped, out)
    folder = out / "sub-01" / "anat"
    for path in folder.glob("*_R2primemap.*"):
        path.unlink()
    image = nifti.read(folder / "sub-01_T2map.nii.gz")
    affine = image.grid.affine.copy()
    affine[0, 3] += 3
    nifti.write(folder / "sub-01_T2map.nii.gz", image.data, Grid(image.grid.shape, affine))
    assert "different grids" in derive(out, [("01", "")])[0]
    for kind in (".nii.gz", ".json"):
        shutil.copy(folder / f"sub-01_T2map{kind}", folder / f"sub-01_run-2_T2map{kind}")
    assert "1 R2* and 2 T2 maps" in derive(out, [("01", "")])[0]
    assert not list(folder.glob("*_R2primemap.*"))


def test_errors_are_propagated_and_a_missing_half_is_no_number() -> None:
    rng = np.random.default_rng(0)
    r2star, t2 = 25 + 0.8 * rng.standard_normal(20_000), 0.07 + 0.002 * rng.standard_normal(20_000)
    r2star[0], t2[1], r2star[2] = np.nan, np.nan, 0
    status = np.zeros(20_000)
    failed = status.copy()
    failed[0] = Status.OUT_OF_BOUNDS
    value, error, why = reversible(
        (r2star, np.full(20_000, 0.8), failed), (t2, np.full(20_000, 0.002), status)
    )
    assert np.std(value[3:]) == pytest.approx(np.median(error[3:]), rel=0.03)
    assert np.mean(value[3:]) == pytest.approx(25 - 1 / 0.07, abs=0.05)
    assert np.isnan(value[:2]).all()
    assert value[2] == 0
    assert why[:4].tolist() == [Status.OUT_OF_BOUNDS, Status.NO_SIGNAL, 0, 0]
