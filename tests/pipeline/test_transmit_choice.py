"""`mensura run` takes the B1 map that is meant for the images, and refuses one that cannot serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.qmri import equations
from mensura.scan import Grid

T1, B1, TR = 1.2, 0.8, 0.02
ANGLES = (3.0, 10.0, 20.0)
GRID = Grid.from_voxel_size((12, 12, 10), (4.0, 4.0, 4.0))
SIGNAL = equations.spoiled_gradient_echo(np.deg2rad(ANGLES), 1000.0, T1, repetition_time=TR, b1=B1)


class Dataset:
    """Flip-angle series of one T1, taken at a B1 of 0.8, and the B1 maps that are added to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root / "bids", root / "maps"
        self.root.mkdir()
        (self.root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')

    def image(self, path: str, values: Any, grid: Grid = GRID, **sidecar: Any) -> None:
        target = self.root / "sub-01" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(target.with_name(f"{target.name}.nii.gz"), np.broadcast_to(values, grid.shape), grid)
        target.with_name(f"{target.name}.json").write_text(json.dumps(sidecar))

    def series(self, session: str = "", label: str = "", **sidecar: Any) -> None:
        name = f"sub-01{f'_{session}' if session else ''}{f'_{label}' if label else ''}"
        for n, (angle, value) in enumerate(zip(ANGLES, SIGNAL, strict=True)):
            told = {"FlipAngle": angle, "RepetitionTimeExcitation": TR, **sidecar}
            self.image(str(Path(session, "anat", f"{name}_flip-{n + 1}_VFA")), np.float32(value), **told)

    def mapped(self, name: str = "sub-01_T1map") -> tuple[float, str]:
        """Median T1, and what is said of it."""
        assert main(["run", str(self.root), str(self.out), "participant"]) == 0
        path = next(self.out.rglob(f"{name}.nii.gz"))
        record = json.loads(path.with_name(f"{name}.json").read_text())
        values = nifti.read(path).data
        return float(np.nanmedian(values)), " ".join(record["Mensura"]["Warnings"])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


INTENDED = [
    "bids::sub-01/anat/sub-01_flip-1_VFA.nii.gz",
    ["bids::sub-01/anat/sub-01_flip-1_VFA.nii.gz", "bids::sub-01/anat/sub-01_T1w.nii.gz"],
    "anat/sub-01_flip-2_VFA.nii.gz",
    ["anat/sub-01_T1w.nii.gz", "anat/sub-01_flip-2_VFA.nii.gz"],
]


@pytest.mark.parametrize("intended", INTENDED)
def test_the_map_that_is_meant_goes_before_the_others(dataset: Dataset, intended: Any) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_acq-a_TB1map", 1.1)
    dataset.image("fmap/sub-01_acq-b_TB1map", B1, IntendedFor=intended)
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "corrected by sub-01_acq-b_TB1map.nii.gz, meant for these images" in said


def test_a_field_identifier_links_as_well(dataset: Dataset) -> None:
    dataset.series(B0FieldSource=["other", "transmit0"])
    dataset.image("fmap/sub-01_acq-a_TB1map", 1.1)
    dataset.image("fmap/sub-01_acq-b_TB1map", B1, B0FieldIdentifier="transmit0")
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "acq-b_TB1map.nii.gz, meant for these images" in said


@pytest.mark.parametrize(
    "intended",
    ["bids::sub-01/anat/sub-01_inv-1_IRT1.nii.gz", ["bids:other:sub-01/anat/sub-01_flip-1_VFA.nii.gz"]],
)
def test_a_map_that_is_meant_for_others_is_not_taken(dataset: Dataset, intended: Any) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_TB1map", B1, IntendedFor=intended)
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1 * B1**2, rel=0.02)
    assert "meant for other images: flip angles are taken as nominal" in said


def test_a_map_of_another_session_is_taken_only_if_it_is_meant(dataset: Dataset) -> None:
    dataset.series("ses-1")
    dataset.series("ses-2")
    dataset.image(
        "ses-2/fmap/sub-01_ses-2_TB1map", B1, IntendedFor="ses-1/anat/sub-01_ses-1_flip-1_VFA.nii.gz"
    )
    t1, said = dataset.mapped("sub-01_ses-1_T1map")
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "meant for these images" in said
    assert "nominal" in dataset.mapped("sub-01_ses-2_T1map")[1]
    assert main(["rerun", str(next(dataset.out.rglob("sub-01_ses-1_T1map.json")))]) == 0


def test_of_several_the_nearest_in_time_is_taken(dataset: Dataset) -> None:
    dataset.series(AcquisitionTime="10:30:00.5")
    dataset.image("fmap/sub-01_acq-a_TB1map", 1.1, AcquisitionTime="10:00:00")
    dataset.image("fmap/sub-01_acq-b_TB1map", B1, AcquisitionTime="10:40:00")
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "acq-b_TB1map.nii.gz, of the same session, of 2 the nearest in time" in said


def test_times_may_stand_in_the_table_of_scans(dataset: Dataset) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_acq-a_TB1map", 1.1)
    dataset.image("fmap/sub-01_acq-b_TB1map", B1)
    rows = ["filename\tacq_time", "anat/sub-01_flip-1_VFA.nii.gz\t2020-01-01T23:59:00",
            "fmap/sub-01_acq-a_TB1map.nii.gz\t2020-01-01T22:00:00",
            "fmap/sub-01_acq-b_TB1map.nii.gz\t2020-01-02T00:01:00"]  # fmt: skip
    (dataset.root / "sub-01" / "sub-01_scans.tsv").write_text("\n".join(rows) + "\n")
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "acq-b_TB1map.nii.gz, of the same session, of 2 the nearest in time" in said


def test_without_times_the_same_labels_decide(dataset: Dataset) -> None:
    dataset.series(label="run-2")
    dataset.image("fmap/sub-01_run-1_TB1map", 1.1)
    dataset.image("fmap/sub-01_run-2_TB1map", B1)
    t1, said = dataset.mapped("sub-01_run-2_T1map")
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "run-2_TB1map.nii.gz, of the same session, of 2 that with the same labels" in said


def test_percent_is_recognised_and_said(dataset: Dataset) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_TB1map", 100 * B1)
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "median of 80: taken as percent of nominal" in said


@pytest.mark.parametrize("value", [0.05, 7.0, 800.0, np.nan])
def test_a_map_that_cannot_be_one_is_refused_and_not_used(
    dataset: Dataset, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_TB1map", np.float32(value))
    assert main(["run", str(dataset.root), str(dataset.out), "participant"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "sub-01_TB1map.nii.gz: B1 has a median of" in said
    assert "no B1 map in the session that can be used" in said


def moved(millimetres: float) -> Grid:
    shift = np.eye(4)
    shift[0, 3] = millimetres
    return Grid(GRID.shape, shift @ GRID.affine)


def test_another_grid_is_brought_over_by_the_headers_and_what_it_misses_has_no_value(
    dataset: Dataset,
) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_TB1map", B1, moved(16.0))
    t1, said = dataset.mapped()
    assert t1 == pytest.approx(T1, rel=1e-3)
    assert "of the voxels: they have no value" in said
    values = nifti.read(next(dataset.out.rglob("sub-01_T1map.nii.gz"))).data
    status = nifti.read(next(dataset.out.rglob("sub-01_desc-status_T1map.nii.gz"))).data
    assert np.isnan(values[0]).all()
    assert (status[0] == 1).all()
    np.testing.assert_allclose(values[6:], T1, rtol=1e-3)


def test_a_map_of_another_place_is_refused(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.series()
    dataset.image("fmap/sub-01_TB1map", B1, moved(30.0))
    assert main(["run", str(dataset.root), str(dataset.out), "participant"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "this B1 map covers only" in said
    assert "IntendedFor" in said
    assert not list(dataset.out.rglob("*_T1map.nii.gz"))


def without_orientation(path: Path) -> None:
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)
    stripped = nibabel.Nifti1Image(data, None)
    stripped.header.set_zooms(image.header.get_zooms())
    nibabel.save(stripped, path)


def test_without_an_orientation_only_the_same_shape_will_do(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.series()
    path = dataset.root / "sub-01" / "fmap" / "sub-01_TB1map.nii.gz"
    dataset.image("fmap/sub-01_TB1map", B1)
    without_orientation(path)
    assert dataset.mapped()[0] == pytest.approx(T1, rel=1e-3)
    dataset.image("fmap/sub-01_TB1map", B1, Grid.from_voxel_size((24, 24, 20), (2.0, 2.0, 2.0)))
    without_orientation(path)
    assert main(["run", str(dataset.root), str(dataset.out), "participant"]) == 1
    assert "does not state its orientation" in " ".join(capsys.readouterr().err.split())
