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


RATE, RISE = 30.0, (9.0, -6.0, 5.0)
ECHOES = (0.005, 0.010, 0.015, 0.020, 0.025)


def plane(grid: Grid = GRID, rise: tuple[float, ...] = RISE) -> np.ndarray:
    """A field (Hz) that rises so from voxel to voxel of GRID, on any grid that lies along it."""
    steps = np.diag(grid.affine)[:3] / np.diag(GRID.affine)[:3]
    start = (grid.affine - GRID.affine)[:3, 3] / np.diag(GRID.affine)[:3]
    at = np.indices(grid.shape) * steps[:, None, None, None] + start[:, None, None, None]
    field: np.ndarray = (np.einsum("i,i...->...", np.asarray(rise), at) + 3.3).astype(np.float32)
    return field


def decaying(dataset: Dataset, suffix: str = "MEGRE", **sidecar: Any) -> None:
    """Magnitudes of gradient echoes under that plane."""
    for n, time in enumerate(ECHOES):
        size = 1000 * np.exp(-RATE * time) * np.prod(np.sinc(np.array(RISE) * time))
        name = f"anat/sub-01_echo-{n + 1}{'' if suffix == 'MEGRE' else '_part-mag'}_{suffix}"
        dataset.image(name, np.float32(size), EchoTime=time, **sidecar)


def rate(dataset: Dataset) -> tuple[float, str, dict[str, Any]]:
    value, said = dataset.mapped("sub-01_R2starmap")
    record = json.loads(next(dataset.out.rglob("sub-01_R2starmap.json")).read_text())
    return value, said, record


@pytest.mark.parametrize("suffix", ["MEGRE", "T2starw"])
def test_a_field_map_frees_the_r2star_of_magnitudes_of_its_gradient(dataset: Dataset, suffix: str) -> None:
    decaying(dataset, suffix)
    plain, said, _ = rate(dataset)
    assert plain > 1.15 * RATE
    assert (
        "no field map in the session that can be used: what the field's gradient dephases is left in R2*"
        in said
    )
    dataset.image("fmap/sub-01_fieldmap", plane(), Units="Hz")
    freed, said, record = rate(dataset)
    assert freed == pytest.approx(RATE, rel=1e-3)
    assert "corrected for the gradient of the field in sub-01_fieldmap.nii.gz, of the same session" in said
    assert record["Mensura"]["Parameters"]["field_rises"] == "map"
    assert any(source.endswith("sub-01_fieldmap.nii.gz") for source in record["Sources"])
    times = nifti.read(next(dataset.out.rglob("sub-01_T2starmap.nii.gz"))).data
    np.testing.assert_allclose(times[times != 0], 1 / RATE, rtol=2e-3)


def test_the_field_map_may_be_coarser_and_is_brought_over_by_the_headers(dataset: Dataset) -> None:
    coarse = np.diag([8.0, 6.0, 5.0, 1.0])
    coarse[:3, 3] = GRID.affine[:3, 3] - 2
    grid = Grid((7, 9, 9), coarse)
    decaying(dataset)
    dataset.image("fmap/sub-01_fieldmap", plane(grid), grid, Units="Hz")
    assert rate(dataset)[0] == pytest.approx(RATE, rel=1e-3)


def test_of_field_maps_the_one_that_is_meant_is_taken(dataset: Dataset) -> None:
    decaying(dataset, B0FieldSource="b0")
    dataset.image("fmap/sub-01_acq-a_fieldmap", plane(rise=(0, 0, 1)), Units="Hz")
    dataset.image("fmap/sub-01_acq-b_fieldmap", plane(), Units="Hz", B0FieldIdentifier="b0")
    value, said, _ = rate(dataset)
    assert value == pytest.approx(RATE, rel=1e-3)
    assert "sub-01_acq-b_fieldmap.nii.gz, meant for these images" in said


def test_a_field_map_meant_for_others_or_of_another_place_is_not_taken(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    decaying(dataset)
    dataset.image(
        "fmap/sub-01_fieldmap", plane(), Units="Hz", IntendedFor="func/sub-01_task-rest_bold.nii.gz"
    )
    value, said, _ = rate(dataset)
    assert value > 1.15 * RATE
    assert "the field maps of the session are meant for other images" in said
    dataset.image("fmap/sub-01_fieldmap", plane(), moved(30.0), Units="Hz")
    assert main(["run", str(dataset.root), str(dataset.out), "participant"]) == 1
    assert "this field map covers only" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("phase", [True, False])
def test_r2star_of_multi_parameter_maps_is_freed_by_their_own_phase_or_a_field_map(
    dataset: Dataset, phase: bool
) -> None:
    for flip, (angle, size) in enumerate(((6.0, 1000.0), (20.0, 700.0)), 1):
        for n, time in enumerate(ECHOES):
            told = {"EchoTime": time, "FlipAngle": angle, "RepetitionTimeExcitation": 0.03, "MTState": False}
            left = size * np.exp(-RATE * time) * np.prod(np.sinc(np.array(RISE) * time))
            stem = f"anat/sub-01_echo-{n + 1}_flip-{flip}_mt-off"
            dataset.image(f"{stem}_part-mag_MPM", np.float32(left), **told)
            if phase:
                turned = np.angle(np.exp(2j * np.pi * plane() * time + 0.5j * (-1) ** n))
                dataset.image(f"{stem}_part-phase_MPM", turned.astype(np.float32), Units="rad", **told)
    if not phase:
        assert rate(dataset)[0] > 1.15 * RATE
        dataset.image("fmap/sub-01_fieldmap", plane(), Units="Hz")
    value, said, record = rate(dataset)
    assert value == pytest.approx(RATE, rel=1e-3)
    words = "the field in the phase of sub-01_echo-1_flip-1_mt-off_part-phase_MPM.nii.gz and sub-01_echo-3"
    assert (words if phase else "the field in sub-01_fieldmap.nii.gz") in said
    assert record["Mensura"]["Parameters"]["field_rises"] == ("of its own phase" if phase else "map")
    assert any("part-phase" in source for source in record["Sources"]) == phase
