"""On the demonstration slices the closed forms and fits agree with what another implementation found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mensura.qmri import b1, mt, t1, t2
from mensura.qmri.estimates import Estimates

FOLDER = "relaxometry_slices"


class Series:
    """A slice with its protocol, and the values that were published for some voxels."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.about: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        self.data = self.volume(name)

    def volume(self, name: str) -> np.ndarray:
        loaded: Any = nibabel.load(self.folder / f"{name}.nii.gz")
        return np.asarray(loaded.dataobj, np.float32)

    def varied(self, key: str) -> tuple[float, ...]:
        return tuple(volume[key] for volume in self.about["volume_ids"])

    @property
    def at(self) -> tuple[list[int], list[int]]:
        return [p["x"] for p in self.about["probes"]], [p["y"] for p in self.about["probes"]]

    def signals(self) -> np.ndarray:
        return self.data.reshape(*self.data.shape[:2], -1)[self.at]

    def published(self, key: str) -> np.ndarray:
        return np.array([p["expected"][key] for p in self.about["probes"]])

    def own(self, name: str) -> np.ndarray:
        volume = self.volume(name)
        return volume.reshape(volume.shape[:2])[self.at]


def recovery(s: Series) -> Estimates:
    return t1.inversion_recovery(s.signals(), s.varied("InversionTime"))


def angles(s: Series) -> Estimates:
    flip = np.deg2rad(s.varied("FlipAngle"))
    return t1.variable_flip_angle(s.signals(), tuple(flip), repetition_time=0.015, b1=s.own("vfa_t1_B1map"))


def echoes(s: Series) -> Estimates:
    return t2.spin_echo(s.signals(), s.varied("EchoTime"))


def transfer(s: Series) -> Estimates:
    return mt.magnetization_transfer_saturation(
        s.signals(), tuple(np.deg2rad([6, 6, 20])), repetition_times=(0.028, 0.028, 0.018)
    )


def ratio(s: Series) -> Estimates:
    return mt.magnetization_transfer_ratio(s.signals()[:, ::-1])


def two_times(s: Series) -> Estimates:
    return b1.actual_flip_angle(s.signals(), s.varied("RepetitionTimeExcitation"), flip_angle=np.deg2rad(60))


def two_angles(s: Series) -> Estimates:
    return b1.double_angle(s.signals(), tuple(np.deg2rad(s.varied("FlipAngle"))))


@pytest.mark.parametrize(
    ("name", "fitted", "map_", "key", "within"),
    [
        ("inversion_recovery", recovery, "T1map", "T1", 2e-3),
        ("vfa_t1", angles, "T1map", "T1", 1e-4),
        ("mono_t2", echoes, "T2map", "T2", 2e-3),
        ("mt_sat", transfer, "MTsat", "MTSAT", 0.02),
        ("mt_sat", transfer, "T1map", "T1", 0.02),
        ("mt_ratio", ratio, "MTRmap", "MTR", 1e-4),
        ("b1_afi", two_times, "TB1map", "B1", 1e-3),
        ("b1_dam", two_angles, "TB1map", "B1", 1e-3),
    ],
)
def test_published_voxels(
    shared_data: Path, name: str, fitted: Callable[[Series], Estimates], map_: str, key: str, within: float
) -> None:
    """Voxels that the fit leaves out (T1 at the bound of the other's search, say) do not count."""
    series = Series(shared_data / FOLDER, name)
    found, expected = fitted(series).maps[map_][0], series.published(key)
    valued = np.isfinite(found)
    assert valued.mean() > 0.6
    off = np.abs(found[valued] / expected[valued] - 1)
    assert np.max(off) < within, dict(zip(found[valued], expected[valued], strict=True))
