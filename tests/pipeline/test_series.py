"""A series over time: volume by volume, with one mask and zero; what was done before an interruption is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_validator import validator_errors
from mensura.cli import main
from mensura.io import nifti
from mensura.io.series import volumes_of, write_series
from mensura.pipeline import series
from mensura.qsm.uncertainty import explained_field
from mensura.scan import GAMMA_BAR, Grid

TIME = 0.020
DRIFT = (0.0, 2.0, 4.0, 5.5)
"""Phase (rad) that a drifting field adds to each volume: in the end nearly a turn."""
CHANGE = 0.1
"""ppm, in a ball in the last two volumes."""
FAST = ["--mask-method", "threshold", "--background+dipole.tfi.max_iter", "12", "--no-report"]


class Series:
    """Four volumes of the small head's last echo, whose phase drifts and whose χ changes in a ball."""

    def __init__(self, folder: Path, head: Path) -> None:
        anat = head / "sub-01" / "anat"
        phase = nifti.read(anat / "sub-01_echo-3_part-phase_MEGRE.nii.gz")
        self.folder, self.out, self.grid = folder, folder / "out", phase.grid
        magnitude = nifti.read(anat / "sub-01_echo-3_part-mag_MEGRE.nii.gz").data
        self.ball = _ball(self.grid)
        field = explained_field(np.float32(CHANGE) * self.ball, np.ones_like(self.ball), self.grid)
        extra = field * np.float32(2 * np.pi * TIME * GAMMA_BAR * 3e-6)
        phases = [phase.data + np.float32(d) + (t >= 2) * extra for t, d in enumerate(DRIFT)]
        self.phase = self.save("phase.nii.gz", [p - 2 * np.pi * np.rint(p / (2 * np.pi)) for p in phases])
        self.magnitude = self.save("magnitude.nii.gz", [magnitude] * len(DRIFT))

    def save(self, name: str, volumes: list[NDArray[np.float32]]) -> str:
        nifti.write(self.folder / name, np.stack(volumes, axis=-1), self.grid)
        return str(self.folder / name)

    def flags(self, *more: str) -> list[str]:
        scan = ["--phase", self.phase, "--magnitude", self.magnitude, "--echo-times", str(TIME)]
        return ["qsm", *scan, "--field-strength", "3", "-o", str(self.out), *FAST, *more]


def _ball(grid: Grid) -> NDArray[np.bool_]:
    index = np.indices(grid.shape) - np.array(grid.shape).reshape(3, 1, 1, 1) / 2
    return np.asarray((index**2).sum(axis=0) < 3**2)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, small_head: Path) -> Series:
    """The series, mapped once; not to be written to."""
    done = Series(tmp_path_factory.mktemp("series"), small_head)
    assert main(done.flags("--time-series")) == 0
    return done


def test_what_changes_is_seen_and_nothing_else_moves(mapped: Series) -> None:
    """The drift, which wraps the phase, leaves no trace; the ball's χ rises where and when it did."""
    chi = nifti.read(mapped.out / "desc-series_Chimap.nii.gz").data
    mask = nifti.read(mapped.out / "desc-brain_mask.nii.gz").data > 0
    change = chi[..., 3] - chi[..., 0]
    assert np.abs((chi[..., 1] - chi[..., 0])[mask]).max() < 0.1 * CHANGE
    far = mask & ~mapped.ball
    rise = change[mapped.ball].mean() - change[far].mean()
    assert 0.6 * CHANGE < rise < 1.2 * CHANGE
    assert np.sqrt(np.mean(change[far] ** 2)) < 0.1 * CHANGE
    assert not chi[~mask].any()


def test_mean_and_deviation_over_time_are_those_of_the_series(mapped: Series) -> None:
    chi = nifti.read(mapped.out / "desc-series_Chimap.nii.gz").data
    mean = nifti.read(mapped.out / "Chimap.nii.gz").data
    deviation = nifti.read(mapped.out / "desc-temporalstd_Chimap.nii.gz").data
    np.testing.assert_allclose(mean, chi.mean(axis=-1), atol=1e-6)
    np.testing.assert_allclose(deviation, chi.std(axis=-1, ddof=1), atol=1e-6)
    mask = nifti.read(mapped.out / "desc-brain_mask.nii.gz").data > 0
    assert abs(chi[mask].mean(axis=0)).max() < 1e-5


def test_the_first_volume_is_mapped_like_a_scan_of_its_own(mapped: Series, tmp_path: Path) -> None:
    chi = nifti.read(mapped.out / "desc-series_Chimap.nii.gz").data
    alone = nifti.read(mapped.out / "first-volume" / "Chimap.nii.gz").data
    np.testing.assert_allclose(chi[..., 0], alone, atol=2e-4)


def test_the_record_tells_the_drift_and_the_methods(mapped: Series) -> None:
    record = json.loads((mapped.out / "Chimap.json").read_text())
    assert record["Mensura"]["Statistics"]["Volumes"] == len(DRIFT)
    drift = record["Mensura"]["Statistics"]["PhaseDrift"]
    np.testing.assert_allclose(drift, DRIFT, atol=0.1)
    assert [step["Stage"] for step in record["Processing"]][-1] == "series"
    assert record["Sources"]


def test_an_interrupted_series_goes_on_where_it_was(
    mapped: Series, tmp_path: Path, small_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Series(tmp_path, small_head)
    done: list[int] = []
    whole = series.volume_map

    def stops(*args: object) -> object:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(series, "volume_map", stops)
    assert main(again.flags("--time-series")) == 130
    assert not (again.out / "Chimap.nii.gz").exists()
    counted: list[int] = []

    def counts(*args: object) -> object:
        counted.append(1)
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(series, "volume_map", counts)
    assert main(again.flags("--time-series")) == 0
    assert len(counted) == len(DRIFT) - 2
    for name in ("Chimap", "desc-series_Chimap", "desc-temporalstd_Chimap"):
        assert (again.out / f"{name}.nii.gz").read_bytes() == (mapped.out / f"{name}.nii.gz").read_bytes()
    assert not list(again.out.glob("volumes*"))
    assert main(again.flags("--time-series")) == 0
    assert len(counted) == len(DRIFT) - 2


def test_a_bold_of_a_bids_dataset_is_a_series(mapped: Series, tmp_path: Path) -> None:
    func = tmp_path / "bids" / "sub-01" / "func"
    func.mkdir(parents=True)
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    for part, path in (("phase", mapped.phase), ("mag", mapped.magnitude)):
        shutil.copy(path, func / f"sub-01_task-rest_part-{part}_bold.nii.gz")
    facts = {"EchoTime": TIME, "MagneticFieldStrength": 3, "RepetitionTime": 2, "TaskName": "rest"}
    (func / "sub-01_task-rest_bold.json").write_text(json.dumps(facts))
    out = tmp_path / "out"
    words = ["run", str(tmp_path / "bids"), str(out), "participant", *FAST[:-1]]
    assert main(words) == 0
    made = nifti.read(out / "sub-01" / "func" / "sub-01_task-rest_desc-series_Chimap.nii.gz").data
    np.testing.assert_array_equal(made, nifti.read(mapped.out / "desc-series_Chimap.nii.gz").data)
    assert "over time" in (out / "sub-01.html").read_text()
    assert validator_errors(out) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda words: words[:-1], "--time-series"),
        (lambda words: [*words, "--echo-times", "0.01", "0.02"], "1 phase file but 2 echo times"),
        (lambda words: [*words, "--local-field", "x.nii.gz"], "local field cannot be used"),
    ],
)
def test_echoes_and_times_are_told_apart(
    mapped: Series, capsys: pytest.CaptureFixture[str], change: Callable[[list[str]], list[str]], said: str
) -> None:
    assert main(change(mapped.flags("--time-series"))) == 2
    assert said in capsys.readouterr().err


def test_volumes_that_do_not_match_are_refused(
    mapped: Series, tmp_path: Path, small_head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Series(tmp_path, small_head)
    image = nifti.read(other.magnitude)
    other.save("magnitude.nii.gz", [image.data[..., 0]] * 3)
    assert main(other.flags("--time-series")) == 2
    assert "3 volumes" in capsys.readouterr().err


def test_a_series_is_written_and_read_volume_by_volume(tmp_path: Path) -> None:
    grid = Grid.from_voxel_size((3, 4, 5), (1.0, 2.0, 3.0))
    values = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    write_series(tmp_path / "x.nii.gz", (values[..., t] for t in range(6)), 6, grid)
    nifti.write(tmp_path / "y.nii.gz", values, grid)
    assert (nifti.read(tmp_path / "x.nii.gz").data == values).all()
    for t, image in enumerate(volumes_of([tmp_path / "y.nii.gz", tmp_path / "x.nii.gz"])):
        assert (image.data == values[..., t, None]).all()
        assert image.grid.matches(grid)
