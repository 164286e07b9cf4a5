"""Real scans, end to end: no wraps left in the field, veins and iron positive, the grid kept."""

import json
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti


def largest_step(field: np.ndarray, mask: np.ndarray, percentile: float) -> float:
    """The given percentile of the steps between neighbours inside the mask."""
    steps = []
    for axis in range(3):
        both = np.logical_and(*(np.delete(mask, end, axis) for end in (0, -1)))
        steps.append(np.abs(np.diff(field, axis=axis))[both])
    return float(np.percentile(np.concatenate(steps), percentile))


@pytest.fixture(scope="module")
def philips(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("philips")
    assert main(["run", str(shared_data / "philips_brain_2echo" / "bids"), str(out), "participant"]) == 0
    return out


def test_philips_head(philips: Path) -> None:
    stem = str(philips / "sub-01" / "anat" / "sub-01_")
    mask = nifti.read(stem + "desc-brain_mask.nii.gz").data > 0
    field = nifti.read(stem + "desc-total_fieldmap.nii.gz").data
    assert (
        900
        < json.loads(Path(stem + "desc-brain_mask.json").read_text())["Mensura"]["Statistics"]["MaskVolume"]
        < 1900
    )
    assert largest_step(field, mask, 99.9) < 0.5 / 0.0023, "a wrap left over is a step of 1/ΔTE = 435 Hz"
    record = json.loads(Path(stem + "Chimap.json").read_text())
    assert record["Mensura"]["Statistics"]["IronAboveMedian"] > 55
    assert record["Acquisition"]["EchoTime"] == pytest.approx([0.0023, 0.0046], abs=1e-6)
    assert (philips / "sub-01.html").stat().st_size > 100_000


def test_crop_with_veins_at_7_tesla(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "gre_crop_3echo"
    words = [
        "--phase",
        str(folder / "Phase.nii"),
        "--magnitude",
        str(folder / "Mag.nii"),
        "-o",
        str(tmp_path),
    ]
    assert main(["qsm", *words, "--echo-times", "0.004", "0.008", "0.012", "--field-strength", "7"]) == 0
    raw, chi = nifti.read(folder / "Mag.nii"), nifti.read(tmp_path / "Chimap.nii.gz")
    assert chi.grid.matches(raw.grid)
    mask = nifti.read(tmp_path / "desc-brain_mask.nii.gz").data > 0
    assert largest_step(nifti.read(tmp_path / "desc-total_fieldmap.nii.gz").data, mask, 99.9) < 0.5 / 0.004
    dark = mask & (raw.data[..., -1] < np.percentile(raw.data[..., -1][mask], 1))
    assert chi.data[dark].mean() > 0.01, "veins: dark at the last echo, paramagnetic"
