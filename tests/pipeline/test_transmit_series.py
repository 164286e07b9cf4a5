"""`mensura run` makes B1 maps of every series that BIDS defines for them, as far as it reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.qmri import equations
from mensura.scan import Grid

GRID = Grid.from_voxel_size((12, 10, 8), (4.0, 4.0, 4.0))
B1 = np.broadcast_to(np.linspace(0.7, 1.3, 12, dtype=np.float32)[:, None, None], GRID.shape)
INSIDE = np.zeros(GRID.shape, bool)
INSIDE[:, 2:-2, 2:-2] = True


def image(root: Path, name: str, values: Any, **sidecar: Any) -> None:
    folder = root / "sub-01" / "fmap"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    nifti.write(folder / f"{name}.nii.gz", np.asarray(values, np.float32), GRID)
    (folder / f"{name}.json").write_text(json.dumps(sidecar))


def made(root: Path, name: str = "sub-01_TB1map") -> tuple[np.ndarray, dict[str, Any]]:
    out = root.parent / "maps"
    assert main(["run", str(root), str(out), "participant"]) == 0
    path = out / "sub-01" / "fmap" / f"{name}.nii.gz"
    return nifti.read(path).data, json.loads(path.with_name(f"{name}.json").read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bids"


def test_echoes_at_several_angles_make_one_map(root: Path) -> None:
    angles = (80.0, 40.0, 60.0)  # of the magnitudes at 80°, those beyond 90° are folded
    for n, angle in enumerate(angles):
        echoes = equations.spin_and_stimulated_echo(np.deg2rad(angle), 1000.0, 1.0, mixing_time=0.034, b1=B1)
        for echo, time in ((2, 0.064), (1, 0.030)):
            told = {"FlipAngle": angle, "EchoTime": time, "MixingTime": 0.034}
            values = np.where(INSIDE, np.abs(echoes[..., echo - 1]), 0)
            image(root, f"sub-01_echo-{echo}_flip-{n + 1}_TB1EPI", values, **told)
    values, record = made(root)
    np.testing.assert_allclose(values[INSIDE], B1[INSIDE], rtol=1e-3)
    assert record["Mensura"]["Model"] == "spin_and_stimulated_echo"
    assert len(record["Sources"]) == 6


@pytest.mark.parametrize(
    ("suffix", "stored", "told"),
    [
        ("TB1TFL", 10 * 80 * B1, {"FlipAngle": 80}),
        ("TB1RFM", 2048 + 90 * B1 * 2048 / 180, {}),
    ],
)
def test_a_scanners_map_is_scaled_as_it_is_stored(root: Path, suffix: str, stored: Any, told: Any) -> None:
    image(root, f"sub-01_acq-anat_{suffix}", np.where(INSIDE, 500, 3), **told)
    image(root, f"sub-01_acq-famp_{suffix}", np.round(stored), **told)
    values, record = made(root)
    np.testing.assert_allclose(values[INSIDE], B1[INSIDE], atol=1e-3)
    assert (values[~INSIDE] == 0).all()
    assert "as stored by Siemens'" in " ".join(record["Mensura"]["Warnings"])


def test_the_angle_of_the_readout_is_not_taken_for_that_of_the_pulse(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(root, "sub-01_acq-anat_TB1TFL", np.full(GRID.shape, 500), FlipAngle=8)
    image(root, "sub-01_acq-famp_TB1TFL", 800 * B1, FlipAngle=8)
    assert main(["run", str(root), str(root.parent / "maps"), "participant"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "FlipAngle may be the readout's" in said
    assert not list((root.parent / "maps").rglob("*_TB1map.nii.gz"))


def test_a_scan_and_its_repeat_are_two_series(root: Path) -> None:
    for label, factor in (("Test", 1.0), ("Retest", 0.9)):
        echoes = equations.actual_flip_angle(
            1000.0, 1.0, flip_angle=np.deg2rad(60), repetition_times=(0.02, 0.1), b1=factor * B1
        )
        for n, time in enumerate((0.02, 0.1)):
            name = f"sub-01_acq-tr{n + 1}{label}_TB1AFI"
            image(root, name, echoes[..., n], RepetitionTime=time, FlipAngle=60)
    again, _ = made(root, "sub-01_acq-Retest_TB1map")
    first, _ = made(root, "sub-01_acq-Test_TB1map")
    np.testing.assert_allclose(again / first, 0.9, rtol=0.01)
    np.testing.assert_allclose(first, B1, rtol=0.02)


def test_saturations_are_read_by_their_timings_and_the_phase(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times, angles = (0.1, 1.8), (4.0, 10.0)
    signal = equations.mp2rage(
        1000.0, 1.5, flip_angles=tuple(np.deg2rad(angles)), inversion_times=times, excitation_interval=0.00275,
        excitations=(22, 28), cycle_time=2.4, efficiency=-np.cos(B1 * np.pi / 2), b1=B1,
    )  # fmt: skip
    for n, (time, angle) in enumerate(zip(times, angles, strict=True)):
        told = {"InversionTime": time, "FlipAngle": angle, "RepetitionTimeExcitation": 0.00275}
        told |= {"RepetitionTimePreparation": 2.4, "NumberShots": [22, 28]}
        name, turned = f"sub-01_flip-{n + 1}_inv-{n + 1}", signal[..., n] * np.exp(0.7j)
        image(root, f"{name}_part-mag_TB1SRGE", np.abs(turned), **told)
        image(root, f"{name}_part-phase_TB1SRGE", np.angle(turned), Units="rad", **told)
    values, record = made(root)
    np.testing.assert_allclose(values, B1, rtol=1e-3)
    assert "taken as of nominally 90°" in " ".join(record["Mensura"]["Warnings"])
    for path in (root / "sub-01" / "fmap").glob("*part-phase*"):
        path.unlink()
    assert main(["run", str(root), str(root.parent / "other"), "participant"]) == 2
    assert "the signs are not known" in " ".join(capsys.readouterr().err.split())
