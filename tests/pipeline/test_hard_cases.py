"""Scans as they come, through the command line: each runs, says what is the matter, and spares the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from mensura.cli import main
from mensura.io import bids, nifti
from mensura.scan import BoolArray, FloatArray, Grid

TIMES = ("0.004", "0.012", "0.020")


@dataclass(frozen=True, eq=False)
class Head:
    """Phase (rad), magnitude, true χ (ppm) and true mask of a head on its grid."""

    grid: Grid
    phase: FloatArray
    magnitude: FloatArray
    chi: FloatArray
    mask: BoolArray

    def cropped(self, *parts: slice) -> Head:
        shift = np.eye(4)
        shift[:3, 3] = [part.start or 0 for part in parts]
        phase = np.ascontiguousarray(self.phase[parts])
        grid = Grid(phase.shape[:3], self.grid.affine @ shift)
        return Head(grid, phase, self.magnitude[parts], self.chi[parts], self.mask[parts])


@dataclass(frozen=True, eq=False)
class Mapped:
    """What came out: χ, the mask, and what was said in the sidecars."""

    chi: FloatArray
    mask: BoolArray
    said: str
    facts: Mapping[str, Any]

    def error(self, head: Head, spared: BoolArray | None = None) -> float:
        """NRMSE of χ (demeaned, in %) over the true mask less a voxel, and less what is `spared`."""
        inside = binary_erosion(head.mask) & self.mask
        inside &= True if spared is None else ~spared
        found, true = self.chi[inside], head.chi[inside]
        difference = (found - found.mean()) - (true - true.mean())
        return float(100 * np.sqrt(np.mean(difference**2)) / np.std(true))

    def coverage(self, head: Head) -> float:
        return float(np.mean(self.mask[binary_erosion(head.mask)]))


def read_head(dataset: Path) -> Head:
    scan = bids.load(bids.find_runs(dataset)[0])
    truth = dataset / "derivatives" / "truth" / "sub-01" / "anat"
    chi, mask = (nifti.read(truth / f"sub-01_{name}.nii.gz").data for name in ("Chimap", "desc-brain_mask"))
    assert scan.phase is not None
    assert scan.magnitude is not None
    return Head(scan.grid, scan.phase, scan.magnitude, chi, mask > 0)


def mapped(head: Head, folder: Path, *more: str) -> Mapped:
    folder.mkdir(exist_ok=True)
    wrapped = head.phase - 2 * np.pi * np.rint(head.phase / (2 * np.pi))
    nifti.write(folder / "phase.nii.gz", wrapped.astype(np.float32), head.grid)
    nifti.write(folder / "magnitude.nii.gz", head.magnitude, head.grid)
    images = ["--phase", str(folder / "phase.nii.gz"), "--magnitude", str(folder / "magnitude.nii.gz")]
    out = folder / "out"
    words = ["--echo-times", *TIMES, "--field-strength", "3", "-o", str(out), "--no-report"]
    assert main(["qsm", *images, *words, *more]) == 0
    chi, mask = (nifti.read(out / f"{name}.nii.gz").data for name in ("Chimap", "desc-brain_mask"))
    records = [json.loads(path.read_text())["Mensura"] for path in sorted(out.glob("*.json"))]
    facts = {key: value for record in records for key, value in record["Statistics"].items()}
    return Mapped(chi, mask > 0, " ".join(w for r in records for w in r["Warnings"]), facts)


@pytest.fixture(scope="module")
def head(small_head: Path) -> Head:
    return read_head(small_head)


@pytest.fixture(scope="module")
def clean(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Mapped:
    return mapped(head, tmp_path_factory.mktemp("clean"))


def simulated(folder: Path, **more: Any) -> Head:
    from mensura.phantom.study import write_study

    settings = {"MEGRE": {"echo_times": tuple(map(float, TIMES))}, **more.pop("settings", {})}
    write_study(folder, shape=(40, 44, 40), voxel_size=(4.0,), supersampling=1, settings=settings, **more)
    return read_head(folder)


def test_a_bipolar_readout_costs_nothing(head: Head, clean: Mapped, tmp_path: Path) -> None:
    index = np.arange(head.grid.shape[0], dtype=np.float32)[:, None, None, None]
    alternating = (0.5 + 0.03 * index) * np.array([1, -1, 1], np.float32)
    found = mapped(replace(head, phase=head.phase + alternating), tmp_path)
    assert found.error(head) < 1.1 * clean.error(head)


def test_the_chop_and_sign_of_ge_are_undone(head: Head, clean: Mapped, tmp_path: Path) -> None:
    slices = np.arange(head.grid.shape[2], dtype=np.float32)[:, None] % 2
    found = mapped(replace(head, phase=-head.phase + np.float32(np.pi) * slices), tmp_path)
    assert "slice to slice" in found.said
    assert "was turned" in found.said
    assert found.error(head) < 1.02 * clean.error(head)


def test_constants_of_slices_are_taken_off(head: Head, clean: Mapped, tmp_path: Path) -> None:
    own = np.random.default_rng(3).uniform(-np.pi, np.pi, (head.grid.shape[2], 1)).astype(np.float32)
    found = mapped(replace(head, phase=head.phase + own), tmp_path)
    assert "another constant in every slice" in found.said
    assert "constant" not in clean.said
    assert found.error(head) < 1.05 * clean.error(head)


def test_an_offset_that_was_left_is_noticed(head: Head, clean: Mapped, tmp_path: Path) -> None:
    assert "phase offset was left" not in clean.said
    assert "phase offset was left" in mapped(head, tmp_path, "--offset", "none").said


def test_oblique_slices_cost_little(clean: Mapped, head: Head, tmp_path: Path) -> None:
    oblique = simulated(tmp_path / "bids", b0_angle=30.0)
    assert mapped(oblique, tmp_path / "x").error(oblique) < 1.3 * clean.error(head)


def test_a_slab_of_32_mm(head: Head, clean: Mapped, tmp_path: Path) -> None:
    slab = head.cropped(slice(None), slice(None), slice(17, 25))
    found = mapped(slab, tmp_path)
    whole = replace(clean, chi=clean.chi[:, :, 17:25], mask=clean.mask[:, :, 17:25])
    assert found.coverage(slab) > 0.95
    assert found.error(slab) < 2.0 * whole.error(slab)


def test_odd_sizes(head: Head, clean: Mapped, tmp_path: Path) -> None:
    odd = head.cropped(slice(0, 39), slice(0, 43), slice(1, 40))
    assert mapped(odd, tmp_path).error(odd) < 1.1 * clean.error(head)


def test_a_surgical_cavity_spares_the_rest(head: Head, clean: Mapped, tmp_path: Path) -> None:
    """Air where tissue was taken out (a ball of 12 mm at the brain's side): no signal, phase of noise."""
    centre = np.argwhere(head.mask).mean(axis=0) + np.array([9, 0, 3])
    distance = np.sqrt(((np.indices(head.grid.shape).T - centre) ** 2).sum(axis=-1)).T
    hole = distance <= 3
    noise = np.random.default_rng(1).uniform(-np.pi, np.pi, head.phase.shape).astype(np.float32)
    cut = replace(
        head,
        phase=np.where(hole[..., None], noise, head.phase),
        magnitude=np.where(hole[..., None], np.float32(0.02) * head.magnitude, head.magnitude),
    )
    found = mapped(cut, tmp_path)
    near = distance <= 5
    assert found.error(head, near) < 1.15 * clean.error(head, near)
    assert found.coverage(replace(head, mask=head.mask & ~hole)) > 0.95


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Head, Mapped]:
    folder = tmp_path_factory.mktemp("lesions")
    ill = simulated(folder / "bids", settings={"head": {"lesions": ("calcification", "haemorrhage")}})
    return ill, mapped(ill, folder / "x")


def test_strong_lesions_spare_the_rest_and_keep_their_sign(
    head: Head, clean: Mapped, lesions: tuple[Head, Mapped]
) -> None:
    ill, found = lesions
    sick = np.abs(ill.chi - head.chi) > 0.05
    near = np.asarray(binary_dilation(sick, iterations=3))
    assert found.error(ill, near) < 1.4 * clean.error(ill, near)
    here = sick & found.mask
    zero = found.chi[found.mask & ~near].mean() - ill.chi[found.mask & ~near].mean()
    for sign in (-1, 1):
        strong = here & (sign * (ill.chi - head.chi) > 0.2)
        assert strong.any()
        assert sign * (found.chi[strong] - zero).mean() > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda phase: np.rint(phase * 3), "rad"),
        (lambda phase: np.where(phase > 1, np.float32(0.3), phase) * 0, "same in every voxel"),
    ],
)
def test_phase_that_was_spoilt_is_refused(
    head: Head,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    said: str,
) -> None:
    nifti.write(tmp_path / "phase.nii.gz", change(head.phase).astype(np.float32), head.grid)
    words = ["--phase", str(tmp_path / "phase.nii.gz"), "--echo-times", *TIMES, "--field-strength", "3"]
    assert main(["qsm", *words, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
