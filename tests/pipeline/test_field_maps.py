"""Field maps of a BIDS dataset, in any of the ways that BIDS has, come out in Hz with an error that holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.phantom.study import write_study
from mensura.scan import GAMMA_BAR


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(
        folder, sequences=("fieldmap",), shape=(64, 72, 64), voxel_size=(2.5,), snr=60, supersampling=1
    )
    return folder


@pytest.fixture
def dataset(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "bids"))


def fmap(dataset: Path, suffix: str) -> Path:
    return dataset / "sub-01" / "fmap" / f"sub-01_{suffix}.nii.gz"


def mapped(dataset: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Field, its truth (Hz) and where there is a field; the constant of the whole brain is left out."""
    out = dataset.parent / "maps"
    assert main(["run", str(dataset), str(out), "participant"]) == 0
    found = nifti.read(out / "sub-01" / "fmap" / "sub-01_fieldmap.nii.gz").data
    true = nifti.read(next((dataset / "derivatives").rglob("*_desc-total_fieldmap.nii.gz"))).data
    brain = nifti.read(next((dataset / "derivatives").rglob("*_desc-brain_mask.nii.gz"))).data > 0
    return found, true, brain & (found != 0) & np.isfinite(found)


def as_difference(dataset: Path) -> None:
    """phase1 and phase2 → phasediff."""
    images, records = [], []
    for n in (1, 2):
        path = fmap(dataset, f"phase{n}")
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        images.append(nifti.read(path))
        records.append(json.loads(sidecar.read_text()))
        path.unlink()
        sidecar.unlink()
    wrapped = np.angle(np.exp(1j * (images[1].data.astype(float) - images[0].data)))
    nifti.write(fmap(dataset, "phasediff"), wrapped.astype(np.float32), images[0].grid, images[0].header)
    record = {**records[0], "EchoTime1": records[0]["EchoTime"], "EchoTime2": records[1]["EchoTime"]}
    del record["EchoTime"]
    fmap(dataset, "phasediff").with_name("sub-01_phasediff.json").write_text(json.dumps(record))


def checked(dataset: Path) -> None:
    found, true, inside = mapped(dataset)
    assert inside.mean() > 0.1
    spread = nifti.read(dataset.parent / "maps" / "sub-01" / "fmap" / "sub-01_desc-std_fieldmap.nii.gz").data
    z = (found - true)[inside] / spread[inside]
    assert abs(np.median(found[inside] - true[inside])) < 0.3
    assert np.median(np.abs(z)) == pytest.approx(0.6745, rel=0.15)
    assert np.mean(np.abs(z) < 1.96) > 0.9


def test_two_phases(dataset: Path) -> None:
    checked(dataset)


def test_a_difference_and_two_magnitudes(dataset: Path) -> None:
    as_difference(dataset)
    checked(dataset)


def test_a_difference_and_one_magnitude(dataset: Path) -> None:
    as_difference(dataset)
    fmap(dataset, "magnitude2").unlink()
    checked(dataset)


@pytest.mark.parametrize(("unit", "scale"), [("Hz", 1.0), ("rad/s", 2 * np.pi), ("T", 1 / GAMMA_BAR)])
def test_a_given_map_is_brought_into_hz(dataset: Path, unit: str, scale: float) -> None:
    for name in ("phase1", "phase2", "magnitude2"):
        fmap(dataset, name).unlink()
    fmap(dataset, "magnitude1").rename(fmap(dataset, "magnitude"))
    image = nifti.read(next((dataset / "derivatives").rglob("*_desc-total_fieldmap.nii.gz")))
    nifti.write(fmap(dataset, "fieldmap"), (image.data * scale).astype(np.float32), image.grid)
    told: dict[str, Any] = {"Units": unit}
    fmap(dataset, "fieldmap").with_name("sub-01_fieldmap.json").write_text(json.dumps(told))
    found, true, inside = mapped(dataset)
    assert inside.sum() > 20_000
    np.testing.assert_allclose(found[inside], true[inside], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"EchoTime": 0.002}, "must rise"),
        ({"EchoTime": 7.38}, "in seconds"),
        ({"EchoTime": None}, "its sidecar has no EchoTime"),
    ],
)
def test_echo_times_that_cannot_be_are_refused(
    dataset: Path, change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fmap(dataset, "phase2").with_name("sub-01_phase2.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert main(["run", str(dataset), str(dataset.parent / "maps"), "participant"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_lone_phase_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fmap(dataset, "phase2").unlink()
    assert main(["run", str(dataset), str(dataset.parent / "maps"), "participant"]) == 2
    assert "there is no phase2 beside it" in " ".join(capsys.readouterr().err.split())
