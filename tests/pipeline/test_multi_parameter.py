"""`mensura run` on multi-parameter maps of a digital head: every map near the truth, proton density without coils."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.io.bids_series import find_series
from mensura.phantom.study import write_study
from mensura.pipeline.fit_rules import planned


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(
        folder, sequences=("MPM", "TB1DAM"), shape=(48, 56, 48), voxel_size=(4.0,), snr=150, supersampling=1
    )
    return folder


@pytest.fixture(scope="module")
def mapped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps")
    assert main(["run", str(dataset), str(out), "participant"]) == 0
    return out


def truth(dataset: Path, name: str) -> np.ndarray:
    return nifti.read(next((dataset / "derivatives" / "truth").rglob(f"sub-01_{name}.nii.gz"))).data


def found(mapped: Path, name: str) -> np.ndarray:
    return nifti.read(mapped / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").data


@pytest.mark.parametrize(
    ("name", "most", "leaning"),
    [("T1map", 1.5, 0.3), ("R1map", 1.5, 0.3), ("MTsat", 2.5, 0.5), ("PDmap", 2.5, 2.5)],
)
def test_maps_are_near_the_truth(dataset: Path, mapped: Path, name: str, most: float, leaning: float) -> None:
    true, values = truth(dataset, name), found(mapped, name)
    inside = (truth(dataset, "desc-brain_mask") > 0) & (true > 0)
    off = 100 * (values[inside] / true[inside] - 1)
    assert np.isfinite(off).mean() > 0.999
    assert np.nanmedian(np.abs(off)) < most
    assert abs(np.nanmedian(off)) < leaning


def test_no_shading_of_the_coils_is_left_in_the_proton_density(dataset: Path, mapped: Path) -> None:
    white = truth(dataset, "dseg") == 8
    density, m0 = (found(mapped, name)[white] for name in ("PDmap", "M0map"))
    assert np.nanstd(np.log(m0)) > 0.08
    assert np.nanstd(np.log(density)) < 0.03
    assert np.nanmean(density) == pytest.approx(69, abs=1)
    np.testing.assert_allclose(found(mapped, "MTVmap")[white], 100 - density, atol=1e-4)


def test_the_sidecar_says_how_the_scale_was_set(mapped: Path) -> None:
    record = json.loads((mapped / "sub-01" / "anat" / "sub-01_PDmap.json").read_text())
    assert record["Units"] == "percent"
    assert "69 %" in record["Mensura"]["Density"][0]
    assert "ventricles have" in record["Mensura"]["Density"][0]
    assert record["Mensura"]["Parameters"]["b1"] == "map"


def test_nothing_is_done_twice(dataset: Path, mapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in mapped.rglob("*.nii.gz")}
    assert main(["run", str(dataset), str(mapped), "participant"]) == 0
    assert {path: path.stat().st_mtime_ns for path in mapped.rglob("*.nii.gz")} == before
    assert capsys.readouterr().err.count("unchanged") == 2


def test_without_a_brain_there_is_no_proton_density(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A corner of the head, mapped from the command line: T1 is there, and the reason why PD is not."""
    images, flags = [], {"echo-times": [], "flip-angles": [], "repetition-times": [], "mt-states": []}
    keys = ("EchoTime", "FlipAngle", "RepetitionTimeExcitation", "MTState")
    for path in sorted((dataset / "sub-01" / "anat").glob("*_MPM.nii.gz")):
        image = nifti.read(path)
        small = image.data[18:24, 20:26, 20:26]
        nifti.write(tmp_path / path.name, small, image.grid.with_shape(small.shape))
        images.append(str(tmp_path / path.name))
        record = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        for flag, key in zip(flags, keys, strict=True):
            flags[flag].append(str(float(record[key]) if key != "MTState" else int(record[key])))
    words = [word for flag, values in flags.items() for word in (f"--{flag}", *values)]
    out = tmp_path / "out"
    assert main(["fit", "mpm", "--images", *images, *words, "-o", str(out)]) == 0
    assert (out / "T1map.nii.gz").exists()
    assert not (out / "PDmap.nii.gz").exists()
    assert "no proton density was made" in " ".join(capsys.readouterr().out.split())


def test_spoiling_is_as_the_sidecars_tell(dataset: Path) -> None:
    (series,) = find_series(dataset, ["MPM"])
    assert "spoiling is taken as ideal" in " ".join(planned(series).remarks)
    told = {"SpoilingRFPhaseIncrement": 50, "SpoilingGradientMoment": 0.03}
    plan = planned(replace(series, sidecars=tuple({**record, **told} for record in series.sidecars)))
    assert plan.given["spoiling_increment"] == pytest.approx(np.deg2rad(50))
    assert plan.given["spoiling_moment"] == 0.03
    assert "corrected for imperfect spoiling: RF phase increment 50°" in " ".join(plan.remarks)
