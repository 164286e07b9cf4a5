"""A simulated head on disk: read back by the readers, complete sidecars, truth in BIDS units."""

import json
import os

import numpy as np
import pytest

from mensura.io import bids, nifti
from mensura.phantom.dataset import write_scan
from mensura.phantom.head import simulate_head
from mensura.scan import ScanError

SMALL = {"shape": (14, 16, 15), "voxel_size": (13.0, 13.0, 13.0), "echo_times": (0.005, 0.011)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "raw"
    head = simulate_head(**SMALL, b0_angle=20.0, readout="bipolar", seed=3)
    write_scan(folder, head, parameters={"seed": 3})
    return folder, head


def test_the_readers_get_back_what_was_simulated(written):
    folder, head = written
    (run,) = bids.find_runs(folder)
    scan = bids.load(run)
    assert scan.acquisition.echo_times == SMALL["echo_times"]
    assert scan.acquisition.field_strength == 3.0
    assert scan.acquisition.readout == "bipolar"
    assert scan.acquisition.flip_angle == pytest.approx(np.radians(15))
    assert scan.acquisition.repetition_time == 0.035
    assert scan.grid.matches(head.grid, 1e-3)
    assert scan.grid.b0_direction == pytest.approx(head.grid.b0_direction, abs=1e-5)
    np.testing.assert_allclose(scan.magnitude, head.magnitude, rtol=1e-6)
    np.testing.assert_allclose(scan.phase, head.phase, atol=1e-6)
    assert not scan.warnings


def test_sidecars_have_what_a_scan_needs(written):
    folder, _ = written
    sidecars = sorted(folder.glob("sub-01/anat/*_MEGRE.json"))
    assert len(sidecars) == len(list(folder.glob("sub-01/anat/*_MEGRE.nii.gz"))) == 4
    needed = {
        "EchoTime",
        "EchoNumber",
        "RepetitionTime",
        "FlipAngle",
        "MagneticFieldStrength",
        "Manufacturer",
    }
    for path in sidecars:
        record = json.loads(path.read_text())
        assert needed <= set(record)
        assert record["Units"] == ("rad" if "part-phase" in path.name else "arbitrary")
        assert record["EchoTime"] == SMALL["echo_times"][record["EchoNumber"] - 1]
        assert f"echo-{record['EchoNumber']}_" in path.name


def test_both_datasets_are_described(written):
    folder, _ = written
    for place, kind in ((folder, "raw"), (folder / "derivatives" / "truth", "derivative")):
        record = json.loads((place / "dataset_description.json").read_text())
        assert record["DatasetType"] == kind
        assert record["GeneratedBy"][0]["Name"] == "mensura"
        assert record["BIDSVersion"]
        assert (place / "README").stat().st_size > 100
    assert (folder / "participants.tsv").read_text().splitlines()[1].startswith("sub-01\t")


@pytest.mark.parametrize(
    ("name", "unit", "true"),
    [
        ("Chimap", "ppm", lambda s: s.chi),
        ("R2starmap", "1/s", lambda s: s.r2star),
        ("desc-total_fieldmap", "Hz", lambda s: s.total_field * s.acquisition.hz_per_ppm),
        ("desc-local_fieldmap", "Hz", lambda s: s.local_field * s.acquisition.hz_per_ppm * s.mask),
        ("desc-brain_mask", "1", lambda s: s.mask),
        ("dseg", "1", lambda s: s.labels),
    ],
)
def test_the_truth_is_on_disk_in_bids_units(written, name, unit, true):
    folder, head = written
    path = folder / "derivatives" / "truth" / "sub-01" / "anat" / f"sub-01_{name}.nii.gz"
    image = nifti.read(path)
    assert image.grid.matches(head.grid, 1e-3)
    np.testing.assert_allclose(image.data, true(head), rtol=1e-6, atol=1e-7)
    record = json.loads(path.with_name(f"sub-01_{name}.json").read_text())
    assert record["Units"] == unit
    assert record["Simulation"]["seed"] == 3
    (source,) = record["Sources"]
    assert (folder / source.removeprefix("bids:raw:")).is_file()


def test_a_second_subject_joins_the_dataset(written, tmp_path):
    _, head = written
    write_scan(tmp_path, head, subject="01")
    first = (tmp_path / "participants.tsv").read_text()
    write_scan(tmp_path, head, subject="01")
    assert (tmp_path / "participants.tsv").read_text() == first
    write_scan(tmp_path, head, subject="02")
    assert [run.subject for run in bids.find_runs(tmp_path)] == ["01", "02"]
    assert (tmp_path / "participants.tsv").read_text().count("sub-02") == 1


def test_the_same_seed_writes_the_same_bytes(written, tmp_path):
    folder, head = written
    write_scan(tmp_path, head)
    name = "sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_failures_are_told_in_one_sentence(written, tmp_path):
    _, head = written
    with pytest.raises(ScanError, match="letters and digits"):
        write_scan(tmp_path, head, subject="a_b")
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(ScanError, match="choose another output folder"):
        write_scan(tmp_path, head)
    (tmp_path / "file").write_text("")
    with pytest.raises(ScanError, match="choose another output folder"):
        write_scan(tmp_path / "file" / "inside", head)
    assert os.listdir(tmp_path) == ["dataset_description.json", "file"] or len(os.listdir(tmp_path)) == 2
