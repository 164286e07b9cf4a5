"""The chosen voxels on disk: chosen by rule, true to the maps, with rejected points and the fitted curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.fit import Status
from mensura.io import nifti
from mensura.io.files import read_json
from mensura.pipeline.relaxometry import Request, fit_files
from mensura.qmri import equations
from mensura.qmri.t1 import inversion_recovery
from mensura.scan import Grid

SHAPE = (10, 9, 8)
GRID = Grid.from_voxel_size(SHAPE, (2.0, 2.0, 3.0))
TIMES = (0.05, 0.2, 0.5, 0.9, 1.5, 2.4, 4.0)
ANGLES = (2.0, 5.0, 10.0, 16.0, 24.0)


def write(folder: Path, name: str, signals: np.ndarray) -> Path:
    path = folder / f"{name}.nii.gz"
    nifti.write(path, signals.astype(np.float32), GRID)
    return path


def spread(low: float, high: float) -> np.ndarray:
    """Values that rise from voxel to voxel, (x, y, z, 1)."""
    return np.linspace(low, high, int(np.prod(SHAPE))).reshape(*SHAPE, 1)


@pytest.fixture
def recovery(tmp_path: Path) -> Path:
    """Magnitudes of an inversion recovery with noise, one voxel in ten spiked, one plane without recovery."""
    rng = np.random.default_rng(2)
    signals = 1000 * (1 - 1.9 * np.exp(-np.asarray(TIMES) / spread(0.3, 2.0)))
    signals = np.abs(signals + 8 * rng.standard_normal(signals.shape))
    flat = signals.reshape(-1, len(TIMES))
    flat[::10, 5] += 900
    signals[-1] = 500 + 8 * rng.standard_normal(signals[-1].shape)
    images = write(tmp_path, "ir", signals)
    mask = write(tmp_path, "mask", np.ones(SHAPE))
    fit_files(
        Request("inversion_recovery", [images], TIMES, {"loss": "tukey", "repetition_time": 6.0}, mask=mask),
        tmp_path / "out",
    )
    return tmp_path


def voxels(folder: Path, name: str = "T1map") -> dict[str, Any]:
    return read_json(folder / "out" / f"desc-voxels_{name}.json")


def by_reason(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {why: voxel for voxel in record["Voxels"] for why in voxel["Why"].split(", ")}


def test_numbers_are_those_of_the_maps(recovery: Path) -> None:
    out = recovery / "out"
    status = nifti.read(out / "desc-status_T1map.nii.gz").data
    found = voxels(recovery)["Voxels"]
    assert len(found) == 6
    for voxel in found:
        at = tuple(voxel["Index"])
        assert voxel["Status"] == status[at]
        for name in ("T1map", "M0map", "IEmap"):
            value, error = (nifti.read(out / f"{d}{name}.nii.gz").data[at] for d in ("", "desc-std_"))
            told = (voxel["Values"][name], voxel["StandardDeviations"][name])
            if status[at] == Status.OK:
                np.testing.assert_allclose(told, (value, error), rtol=1e-6)
            else:
                assert told == (None, None)
                assert np.isnan(value)


def test_data_are_those_of_the_images_but_for_the_sign(recovery: Path) -> None:
    images = nifti.read(recovery / "ir.nii.gz").data
    record = voxels(recovery)
    assert record["Points"] == pytest.approx(TIMES)
    assert record["Varied"] == {"Name": "inversion times", "Units": "s"}
    for voxel in record["Voxels"]:
        np.testing.assert_allclose(np.abs(voxel["Data"]), images[tuple(voxel["Index"])], rtol=1e-5)
    assert by_reason(record)["median of T1map"]["Data"][0] < 0


def test_quantiles_are_quantiles_and_the_median_is_in_the_middle(recovery: Path) -> None:
    t1 = nifti.read(recovery / "out" / "T1map.nii.gz").data
    known = t1[np.isfinite(t1) & (t1 != 0)]
    chosen = by_reason(voxels(recovery))
    for why, share in (
        ("10 % quantile of T1map", 0.1),
        ("median of T1map", 0.5),
        ("90 % quantile of T1map", 0.9),
    ):
        assert chosen[why]["Values"]["T1map"] == pytest.approx(np.quantile(known, share), rel=0.02)


def test_the_spike_is_what_was_rejected(recovery: Path) -> None:
    voxel = by_reason(voxels(recovery))["with rejected points"]
    assert np.ravel_multi_index(voxel["Index"], SHAPE) % 10 == 0
    assert voxel["Weights"][5] == 0
    curve = voxel["Curve"]
    at_spike = np.interp(TIMES[5], curve["Points"], curve["High"])
    assert voxel["Data"][5] > at_spike + 500


def test_no_point_is_rejected_for_its_sign(recovery: Path) -> None:
    """With a loss, a point near the null that was turned wrongly would be rejected, and the rest agree without it."""
    data = nifti.read(recovery / "ir.nii.gz").data.reshape(-1, len(TIMES))
    good = np.setdiff1d(np.arange(int(np.prod(SHAPE[1:])) * (SHAPE[0] - 1)), np.arange(0, data.shape[0], 10))
    made = inversion_recovery(data[good], TIMES, loss="tukey").fit
    assert made is not None
    assert made.weights is not None
    assert np.mean(made.weights == 0) < 0.002


def test_a_failed_voxel_has_data_but_no_curve(recovery: Path) -> None:
    failed = next(v for why, v in by_reason(voxels(recovery)).items() if why.startswith("no value"))
    assert "Curve" not in failed
    assert failed["Ended"] in failed["Why"]
    assert np.isfinite(failed["Data"]).all()


def test_the_choice_is_the_same_every_time(recovery: Path) -> None:
    """But for the time at which it was made."""
    first = voxels(recovery)
    fit_files(
        Request(
            "inversion_recovery", [recovery / "ir.nii.gz"], TIMES,
            {"loss": "tukey", "repetition_time": 6.0}, mask=recovery / "mask.nii.gz",
        ),
        recovery / "out",
    )  # fmt: skip
    again = voxels(recovery)
    for record in (first, again):
        del record["Mensura"]["Created"]
    assert again == first


def test_angles_are_in_degrees_and_the_curve_is_at_the_voxels_b1(tmp_path: Path) -> None:
    b1 = spread(0.7, 1.3)
    protocol = {"repetition_time": 0.015}
    signals = equations.spoiled_gradient_echo(
        np.deg2rad(ANGLES), np.full((*SHAPE, 1), 1000.0), 1.2, b1=b1, **protocol
    )
    images, field = write(tmp_path, "vfa", np.asarray(signals)), write(tmp_path, "b1", b1[..., 0])
    fit_files(Request("variable_flip_angle", [images], ANGLES, protocol, b1=field), tmp_path / "out")
    record = voxels(tmp_path)
    assert record["Points"] == pytest.approx(ANGLES)
    assert record["Varied"]["Units"] == "deg"
    for voxel in record["Voxels"]:
        points = np.asarray(voxel["Curve"]["Points"])
        own = float(b1[tuple(voxel["Index"])][0])
        true = equations.spoiled_gradient_echo(np.deg2rad(points), 1000.0, 1.2, b1=own, **protocol)
        np.testing.assert_allclose(voxel["Curve"]["Signal"], true, rtol=2e-3)
        assert points.max() > 24


def test_a_closed_form_has_its_data_alone(tmp_path: Path) -> None:
    signals = np.concatenate([spread(500, 900), spread(300, 600)], axis=3)
    fit_files(Request("mt_ratio", [write(tmp_path, "mt", signals)]), tmp_path / "out")
    record = voxels(tmp_path, "MTRmap")
    assert record["Points"] == [1, 2]
    assert record["Varied"]["Name"] == "image"
    for voxel in record["Voxels"]:
        assert "Curve" not in voxel
        np.testing.assert_allclose(voxel["Data"], signals[tuple(voxel["Index"])], rtol=1e-6)


def test_the_scanner_is_passed_on_from_the_images_sidecars(tmp_path: Path) -> None:
    """What all images agree in; a field strength that is given goes before theirs."""
    from mensura.io.files import write_json

    files = []
    for i in (0, 1):
        files.append(write(tmp_path, f"mt{i}", spread(500, 900)[..., 0]))
        write_json(
            tmp_path / f"mt{i}.json", {"MagneticFieldStrength": 2.89, "EchoTime": i, "Manufacturer": "A"}
        )
    fit_files(Request("mt_ratio", files), tmp_path / "out")
    assert read_json(tmp_path / "out" / "MTRmap.json")["Acquisition"] == {
        "MagneticFieldStrength": 2.89,
        "Manufacturer": "A",
    }
    fit_files(Request("mt_ratio", files, field_strength=7.0), tmp_path / "out")
    assert read_json(tmp_path / "out" / "MTRmap.json")["Acquisition"]["MagneticFieldStrength"] == 7
