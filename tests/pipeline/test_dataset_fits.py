"""`mensura run` finds the series of a BIDS dataset, corrects them by the session's B1, and writes derivatives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.phantom.study import write_study

SEQUENCES = ("IRT1", "VFA", "MESE", "TB1AFI", "TB1DAM", "MTS", "MTR")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, sequences=SEQUENCES, shape=(40, 44, 40), voxel_size=(4.0,), snr=150, supersampling=1)
    return folder


@pytest.fixture(scope="module")
def mapped(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps")
    assert main(["run", str(dataset), str(out), "participant"]) == 0
    return out


def truth(dataset: Path, name: str) -> np.ndarray:
    return nifti.read(next((dataset / "derivatives" / "truth").rglob(f"sub-01_{name}.nii.gz"))).data


def error(dataset: Path, mapped: Path, file: str, name: str) -> tuple[float, float]:
    """Median error and bias (%) in voxels of one tissue."""
    found, true = nifti.read(mapped / "sub-01" / file).data, truth(dataset, name)
    inside = (truth(dataset, "desc-brain_mask") > 0) & (truth(dataset, "purity") > 0.99) & (true > 0)
    off = 100 * (found[inside] / true[inside] - 1)
    return float(np.nanmedian(np.abs(off))), float(np.nanmedian(off))


@pytest.mark.parametrize(
    ("file", "name", "most"),
    [
        ("anat/sub-01_T1map.nii.gz", "T1map", 2.0),
        ("anat/sub-01_mod-VFA_T1map.nii.gz", "T1map", 2.0),
        ("anat/sub-01_T2map.nii.gz", "T2map", 2.0),
        ("fmap/sub-01_TB1map.nii.gz", "TB1map", 1.0),
        ("fmap/sub-01_mod-TB1AFI_TB1map.nii.gz", "TB1map", 1.0),
    ],
)
def test_maps_are_near_the_truth_and_lean_to_no_side(
    dataset: Path, mapped: Path, file: str, name: str, most: float
) -> None:
    size, bias = error(dataset, mapped, file, name)
    assert size < most
    assert abs(bias) < 0.5


def test_b1_is_used_and_said_so(mapped: Path) -> None:
    record = json.loads((mapped / "sub-01" / "anat" / "sub-01_mod-VFA_T1map.json").read_text())
    assert any("corrected by sub-01_TB1map" in words for words in record["Mensura"]["Warnings"])
    assert record["Mensura"]["Parameters"]["b1"] == "map"
    assert any(source.endswith("flip-1_VFA.nii.gz") for source in record["Sources"])


def test_every_series_keeps_its_own_maps(mapped: Path) -> None:
    """Three series make a T1 map; none overwrites another's."""
    models = {
        json.loads(path.read_text())["Mensura"]["Model"]
        for path in (mapped / "sub-01" / "anat").glob("*_T1map.json")
        if "desc" not in path.name
    }
    assert models == {"inversion_recovery", "variable_flip_angle", "mt_saturation"}


def test_nothing_is_done_twice(dataset: Path, mapped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in mapped.rglob("*.nii.gz")}
    assert main(["run", str(dataset), str(mapped), "participant"]) == 0
    assert {path: path.stat().st_mtime_ns for path in mapped.rglob("*.nii.gz")} == before
    assert capsys.readouterr().err.count("unchanged") == len(SEQUENCES)


def broken(dataset: Path, tmp_path: Path, key: str) -> Path:
    """The flip-angle series alone, one sidecar without a field."""
    folder = tmp_path / "bids" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for path in (dataset / "sub-01" / "anat").glob("*_VFA.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    sidecar = folder / "sub-01_flip-2_VFA.json"
    record = json.loads(sidecar.read_text())
    del record[key]
    sidecar.write_text(json.dumps(record))
    return tmp_path / "bids"


@pytest.mark.parametrize("key", ["FlipAngle", "RepetitionTimeExcitation"])
def test_a_missing_field_is_named(
    dataset: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(broken(dataset, tmp_path, key)), str(tmp_path / "out"), "participant"]) == 2
    said = capsys.readouterr().err
    assert key in said
    assert "VFA" in said
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_without_b1_it_is_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = broken(dataset, tmp_path, "EchoTime")
    assert main(["run", str(folder), str(tmp_path / "out"), "participant"]) == 0
    assert "no B1 map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            {"SpoilingRFPhaseIncrement": 50, "SpoilingGradientMoment": 0.03},
            "increment 50°, gradient moment 0.03 mT s/m",
        ),
        ({}, "no SpoilingRFPhaseIncrement"),
        ({"SpoilingState": False}, "SpoilingState is false"),
    ],
)
def test_spoiling_is_as_the_sidecars_tell(
    dataset: Path, tmp_path: Path, told: dict[str, float], says: str
) -> None:
    folder = broken(dataset, tmp_path, "EchoTime")
    for sidecar in (folder / "sub-01" / "anat").glob("*.json"):
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | told))
    assert main(["run", str(folder), str(tmp_path / "out"), "participant"]) == 0
    record = json.loads(next((tmp_path / "out").rglob("sub-01_T1map.json")).read_text())["Mensura"]
    assert any(says in words for words in record["Warnings"])
    assert record["Parameters"]["spoiling_increment"] == pytest.approx(
        np.deg2rad(told.get("SpoilingRFPhaseIncrement", 0))
    )


def test_a_b1_map_alone_is_nothing_to_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bids" / "sub-01" / "fmap"
    folder.mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (folder / "sub-01_TB1map.nii.gz").write_bytes(b"")
    assert main(["run", str(tmp_path / "bids"), str(tmp_path / "out"), "participant"]) == 2
    assert "no gradient-echo images" in capsys.readouterr().err


def test_a_dry_run_lists_the_series(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(dataset), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    assert "sub-01_VFA: 4 images" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_every_map_has_a_page_to_which_that_of_the_subject_leads(mapped: Path) -> None:
    html = (mapped / "sub-01.html").read_text("utf-8")
    maps = [path for path in mapped.rglob("sub-01_*.nii.gz") if "desc-" not in path.name]
    assert len(maps) >= 10
    for path in maps:
        page = path.name.removesuffix(".nii.gz") + ".html"
        assert f'href="{page}"' in html
        assert "white matter" in (mapped / page).read_text("utf-8")
    assert 'class="band"' in (mapped / "sub-01_mod-VFA_T1map.html").read_text("utf-8")


def test_the_scanner_stands_in_the_maps_records(mapped: Path) -> None:
    record = json.loads((mapped / "sub-01" / "anat" / "sub-01_T2map.json").read_text())
    assert record["Acquisition"]["MagneticFieldStrength"] == 3
    assert record["Acquisition"]["Manufacturer"] == "mensura"


def test_without_report_no_page_is_written(dataset: Path, tmp_path: Path) -> None:
    folder = broken(dataset, tmp_path, "EchoTime")
    assert main(["run", str(folder), str(tmp_path / "out"), "participant", "--no-report"]) == 0
    assert not list((tmp_path / "out").glob("*.html"))


def test_flip_angles_and_mt_give_proton_density_too(dataset: Path, mapped: Path) -> None:
    """But for the decay up to the echo, which is left in and said so."""
    for kind in ("VFA", "MTS"):
        record = next(
            (mapped / "sub-01" / "anat").glob(f"sub-01*{'mod-MTS_' if kind == 'MTS' else ''}PDmap.json")
        )
        told = json.loads(record.read_text())
        assert "decay up to the echo is left in" in told["Mensura"]["Density"][0]
        found = nifti.read(record.with_name(record.name.replace(".json", ".nii.gz"))).data
        true = truth(dataset, "PDmap")
        inside = (truth(dataset, "desc-brain_mask") > 0) & (truth(dataset, "purity") > 0.99) & (true > 60)
        off = 100 * (found[inside] / true[inside] - 1)
        assert np.nanmedian(np.abs(off)) < 4


def test_readouts_that_shorten_t1_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Look-Locker and inversion recovery both are IRT1; the timings tell them apart."""
    write_study(
        tmp_path / "bids",
        "vials",
        sequences=("IRT1",),
        shape=(16, 16, 16),
        voxel_size=(14.0,),
        supersampling=1,
    )
    assert main(["run", str(tmp_path / "bids"), str(tmp_path / "maps"), "participant"]) == 0
    assert "under the readouts" not in " ".join(capsys.readouterr().err.split())
    for path in (tmp_path / "bids" / "sub-01" / "anat").glob("*_IRT1.json"):
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps({**record, "RepetitionTimeExcitation": 0.2, "RepetitionTimePreparation": 5.0})
        )
    assert main(["run", str(tmp_path / "bids"), str(tmp_path / "maps"), "participant"]) == 0
    assert "T1 is that under the readouts" in " ".join(capsys.readouterr().err.split())
