"""Field maps and spin and stimulated echoes of a real head: what BIDS tells suffices, and the maps are consistent.

The scans of a head at 3 T beside the repository; skipped, loudly, without them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.pipeline.relaxometry import bright
from mensura.qmri.b1 import spin_and_stimulated_echo

ANGLES = 115.0 - 5 * np.arange(11)
MIXING, INTERVAL = 0.0338, 0.00246


@pytest.fixture(scope="module")
def scans(shared_data: Path) -> Path:
    return shared_data / "siemens_b0_b1_brain"


def echoes(scans: Path) -> list[Path]:
    return sorted(scans.glob("mfc_seste_b1map*/*.nii"))


def test_b1_of_half_of_the_angles_is_that_of_the_others(scans: Path) -> None:
    images = nifti.stack(echoes(scans))
    data, angles = images.data[bright(images.data)], np.repeat(np.deg2rad(ANGLES), 2)
    found = []
    for start in (0, 1):
        which = [n for pair in range(start, 11, 2) for n in (2 * pair, 2 * pair + 1)]
        made = spin_and_stimulated_echo(data[:, which], tuple(angles[which]), mixing_time=MIXING)
        found.append(made.maps["TB1map"][0])
    apart = np.abs(found[0] - found[1])
    assert np.isfinite(apart).mean() > 0.95
    assert np.nanmedian(apart) < 0.015
    assert 0.85 < np.nanmedian(found[0]) < 1.05


def dataset(scans: Path, folder: Path) -> Path:
    """The phase difference with its magnitudes, named as BIDS has it."""
    target = folder / "bids" / "sub-01" / "fmap"
    target.mkdir(parents=True)
    (folder / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    one, two = sorted(scans.glob("gre*0005/*.nii"))
    told = {"Manufacturer": "Siemens", "EchoTime1": 0.010, "EchoTime2": 0.010 + INTERVAL}
    named = {"magnitude1": one, "magnitude2": two, "phasediff": next(scans.glob("gre*0006/*.nii"))}
    files = {name: (path, told) for name, path in named.items()}
    for name, (path, record) in files.items():
        image = nifti.read(path)
        nifti.write(target / f"sub-01_{name}.nii.gz", image.data, image.grid, image.header)
        (target / f"sub-01_{name}.json").write_text(json.dumps(record))
    return folder / "bids"


def test_a_phase_difference_becomes_a_field_without_wraps(scans: Path, tmp_path: Path) -> None:
    bids, out = dataset(scans, tmp_path), tmp_path / "maps" / "sub-01" / "fmap"
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 0
    image = nifti.read(out / "sub-01_fieldmap.nii.gz")
    field, spread = image.data, nifti.read(out / "sub-01_desc-std_fieldmap.nii.gz").data
    inside = np.isfinite(field) & (field != 0)
    assert 1.0 < inside.sum() * np.prod(image.grid.voxel_size) / 1e6 < 1.8  # litres
    stored = nifti.read(bids / "sub-01" / "fmap" / "sub-01_phasediff.nii.gz").data
    turns = field * INTERVAL - stored / 8192
    assert np.abs(turns - np.rint(turns))[inside].max() < 2e-3
    assert abs(np.median(field[inside])) < 30
    assert 0.2 < np.median(spread[inside]) < 2
    steps = [np.abs(np.diff(np.where(inside, field, np.nan), axis=axis)) for axis in range(3)]
    assert max(float(np.nanquantile(step, 0.999)) for step in steps) < 0.5 / INTERVAL
