"""The system phantom straight from DICOM: without their own scale slopes, images of Philips give no T1."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spheres
from dicom_table import Converted

from mensura.fit import Status
from mensura.io import nifti
from mensura.io.files import read_json
from mensura.phantom.system_phantom import TIMES
from mensura.qmri.t1 import inversion_recovery
from mensura.qmri.t2 import spin_echo_train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dicom.md"
PLATES = {"ge": ("Ni", "Mn"), "philips": ("Ni", "Mn"), "siemens": ("Mn",)}
"""By vendor, the plates in the slices of the multi-echo scans, from the back to the front."""
PLACES = {"Ni": 0, "Mn": 1}
"""The same of inversion recovery."""


class Phantom:
    """The mean of each sphere of a plate in each image, the corners' noise, the protocol, and the true times."""

    def __init__(self, one: Converted, kind: str, plate: str, place: int) -> None:
        rows = sorted(one.rows, key=lambda r: r.stack.first.inversion_time or r.stack.first.echo_time or 0.0)
        images = [nifti.read(one.path(row)) for row in rows]
        records = [read_json(one.bids / f"{row.name}.json") for row in rows]
        series = np.stack([image.data[:, :, place] for image in images], axis=-1)
        spacing = images[0].grid.voxel_size[0]
        corners = [
            series[x][:, y] for x in (slice(12), slice(-12, None)) for y in (slice(12), slice(-12, None))
        ]
        self.noise = float(np.sqrt(np.mean(np.square(corners)) / 2))
        shown = (series / series.mean(axis=(0, 1))).max(axis=-1) if kind == "t1" else series[..., 0]
        centres = spheres.found(shown, spacing)
        self.means, self.boxes = spheres.means(series, centres, spacing), boxed(series, centres)
        self.times = [record["InversionTime" if kind == "t1" else "EchoTime"] for record in records]
        self.factors = np.array(
            [r.get("PhilipsRescaleSlope", 1) * r.get("PhilipsScaleSlope", 1) for r in records]
        )
        self.repetition_times = tuple(record["RepetitionTime"] for record in records)
        self.truth = TIMES[plate, 1][kind][1.5]  # type: ignore[index]

    def t1(self, factors: Any = 1.0, *, boxes: bool = False, **how: Any) -> tuple[np.ndarray, np.ndarray]:
        """T1 (s) by mensura, and whether there is one."""
        means = ((self.boxes if boxes else self.means) * factors).astype(np.float32)
        fit = inversion_recovery(means, self.times, repetition_time=self.repetition_times, **how)
        return np.asarray(fit.maps["T1map"][0]), fit.status == Status.OK

    def floored(self) -> float:
        """Error of T1 where the noise of the corners tells how large a point at the null is."""
        return self.error(np.sort(self.t1(likelihood="noise_floor", noise=self.noise)[0])[::-1])

    def in_boxes(self) -> float:
        """Error of T1 from the pixels that hazen takes."""
        return self.error(np.sort(self.t1(boxes=True)[0])[::-1])

    def error(self, found: np.ndarray) -> float:
        """Mean error in percent. A sphere's number is its rank: from 1, the longest time, to 14."""
        return float(100 * np.mean(np.abs(found - self.truth) / self.truth))


def boxed(series: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Means over the 5 × 5 pixels about each centre, in each image."""
    corners = np.floor(centres + 0.5).astype(int) - 2
    return np.array([series[x : x + 5, y : y + 5].mean(axis=(0, 1)) for x, y in corners])


def plain_t1(means: np.ndarray, times: list[float]) -> np.ndarray:
    """The best of 3000 T1 from 5 ms to 10 s, in least squares, whichever early points are turned: always a value."""
    grid = np.geomspace(0.005, 10, 3000)
    decay = np.exp(-np.array(times)[:, None] / grid)
    decay = decay - decay.mean(axis=0)
    found = []
    for signal in means:
        misfits = []
        for turned in range(len(times) + 1):
            signed = np.where(np.arange(len(times)) < turned, -signal, signal)
            signed = signed - signed.mean()
            misfits.append((signed**2).sum() - (decay.T @ signed) ** 2 / (decay**2).sum(axis=0))
        found.append(grid[np.unravel_index(np.argmin(misfits), (len(times) + 1, grid.size))[1]])
    return np.array(found)


def stated(name: str) -> list[float]:
    """The numbers of a row of the page."""
    match = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", PAGE.read_text("utf-8"), re.M)
    assert match, name
    return [float(number) for number in re.findall(r"[\d.]+", match[1])]


@pytest.mark.parametrize(("plate", "place", "wrong", "right"), [("Ni", 0, 100, 5), ("Mn", 1, 30, 9)])
def test_t1_of_philips_needs_the_scale_slope_of_each_image(
    plate: str, place: int, wrong: float, right: float, sets: dict[str, Converted]
) -> None:
    philips = Phantom(sets["nist_phantom T1 philips"], "t1", plate, place)
    order = np.argsort(-plain_t1(philips.means, philips.times))
    before = philips.error(plain_t1(philips.means * philips.factors, philips.times)[order])
    after = philips.error(philips.t1()[0][order])
    assert before > wrong
    assert after < right
    assert philips.t1()[1].all()
    assert np.sum(philips.t1(philips.factors)[1]) <= 7, "most spheres have no T1 then"
    level, floor, boxes = {}, [philips.floored()], [philips.in_boxes()]
    for vendor in ("ge", "siemens") if plate == "Ni" else ("ge",):
        other = Phantom(sets[f"nist_phantom T1 {vendor}"], "t1", plate, place)
        level[vendor] = other.error(np.sort(other.t1()[0])[::-1])
        floor.append(other.floored())
        boxes.append(other.in_boxes())
    assert after < max(level.values()) + 1, "the level of the other vendors"
    assert [before, after, *level.values()] == pytest.approx(stated(f"T1 {plate}"), rel=0.1, abs=0.6)
    assert boxes == pytest.approx(stated(f"T1 {plate}, boxes"), rel=0.05, abs=0.2)
    assert floor == pytest.approx(stated(f"T1 {plate}, noise told"), rel=0.1, abs=0.6)


@pytest.mark.parametrize("plate", ["Ni", "Mn"])
def test_t2_of_philips_is_at_the_level_of_the_other_vendors(plate: str, sets: dict[str, Converted]) -> None:
    """T1 taken as 1 s, and as it was measured: what it does not do in tissue it does in nickel."""
    blind, known = {}, {}
    for vendor, plates in PLATES.items():
        if plate not in plates:
            continue
        scan = Phantom(sets[f"nist_phantom T2 {vendor}"], "t2", plate, plates.index(plate))
        means = scan.means.astype(np.float32)
        found = np.asarray(spin_echo_train(means, scan.times).maps["T2map"][0])
        blind[vendor] = scan.error(np.sort(found)[::-1])
        if f"{vendor} {plate}" != "siemens Mn":
            recovery = Phantom(sets[f"nist_phantom T1 {vendor}"], "t1", plate, PLACES[plate])
            times = np.empty(len(found), np.float32)
            times[np.argsort(found)] = np.sort(recovery.t1()[0])
            again = np.asarray(spin_echo_train(means, scan.times, t1_map=times).maps["T2map"][0])
            known[vendor] = scan.error(np.sort(again)[::-1])
    assert blind["philips"] < blind["ge"] + 6
    assert known["philips"] < {"Ni": 4, "Mn": 12}[plate]
    assert list(blind.values()) == pytest.approx(stated(f"T2 {plate}"), rel=0.1, abs=0.6)
    assert list(known.values()) == pytest.approx(stated(f"T2 {plate}, T1 as measured"), rel=0.1, abs=0.6)
