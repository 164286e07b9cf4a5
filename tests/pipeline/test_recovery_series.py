"""Series of inversion times: a train of readouts is told from single readouts, or it is said how to decide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.io.bids_series import ImageSeries
from mensura.phantom.study import write_study
from mensura.pipeline.fit_rules import planned
from mensura.pipeline.recovery_series import readouts
from mensura.scan import ScanError

EVENLY = tuple(0.05 + 0.2 * n for n in range(8))
UNEVENLY = (0.05, 0.2, 0.4, 0.8, 1.6, 3.2)


def series(times: tuple[float, ...] = EVENLY, label: str = "", **told: Any) -> ImageSeries:
    """Sidecars alone: nothing here reads an image."""
    entities = {"sub": "01", **({"acq": label} if label else {})}
    images = tuple(Path(f"sub-01_inv-{n + 1}_IRT1.nii.gz") for n in range(len(times)))
    records = tuple({"InversionTime": t, **told} for t in times)
    return ImageSeries(Path(), "IRT1", "anat", entities, images, records)


GRADIENT = {"FlipAngle": 6.0, "RepetitionTimePreparation": 5.0}
TRAINS = [
    (series(label="LookLocker", FlipAngle=6.0), "acq-LookLocker says so"),
    (series(PulseSequenceType="3D Look-Locker TFE"), "PulseSequenceType 3D Look-Locker TFE says so"),
    (series(UNEVENLY, ProtocolName="MOLLI_5b3b3"), "ProtocolName MOLLI_5b3b3 says so"),
    (series(**GRADIENT, RepetitionTimeExcitation=0.2), "as RepetitionTimeExcitation does"),
    (series(**GRADIENT, RepetitionTimeExcitation=0.006, SeriesNumber=7), "one series (SeriesNumber 7)"),
]
SINGLE = [
    series(UNEVENLY, FlipAngle=90.0, RepetitionTime=6.0),
    series(EVENLY, FlipAngle=90.0, RepetitionTime=6.0, SeriesNumber=7),
    series(UNEVENLY, FlipAngle=8.0, RepetitionTimePreparation=5.0, SeriesNumber=7),
    series(EVENLY, FlipAngle=8.0, RepetitionTime=0.5, SeriesNumber=7),
    series((0.1, 0.6, 1.1), FlipAngle=8.0, RepetitionTimePreparation=5.0, SeriesNumber=7),
]
DOUBTFUL = [
    series(**GRADIENT),
    series(**GRADIENT, RepetitionTimeExcitation=0.006),
    series(UNEVENLY, **GRADIENT, RepetitionTimeExcitation=0.006),
]


@pytest.mark.parametrize(("one", "why"), TRAINS)
def test_trains_are_known_by_their_names_or_their_timing(one: ImageSeries, why: str) -> None:
    plan = planned(one)
    assert plan.name == "look_locker"
    assert why in plan.remarks[0]


@pytest.mark.parametrize("one", SINGLE)
def test_single_readouts_are_inversion_recovery_without_a_word(one: ImageSeries) -> None:
    plan = planned(one)
    assert plan.name == "inversion_recovery"
    assert not plan.remarks


@pytest.mark.parametrize("one", DOUBTFUL)
def test_where_it_is_not_sure_it_is_said_how_to_decide(one: ImageSeries) -> None:
    plan = planned(one)
    assert plan.name == "inversion_recovery"
    assert "T1 is that under the readouts" in plan.remarks[0]
    assert "acq-looklocker or add --irt1 look_locker" in plan.remarks[0]
    for choice in ("look_locker", "inversion_recovery"):
        plan = planned(one, choice)
        assert plan.name == choice
        assert f"fitted as {choice}, as was asked for" in plan.remarks
    with pytest.raises(ScanError, match="choose from auto"):
        readouts(one, "looklocker")


def test_the_time_between_inversions_is_that_of_a_single_train() -> None:
    told = {**GRADIENT, "RepetitionTimeExcitation": 0.2}
    plan = planned(series(**told, InversionEfficiency=0.96))
    assert plan.given == {"repetition_time": 5.0, "efficiency": 0.96}
    assert len(plan.remarks) == 1
    plan = planned(series(UNEVENLY, label="molli", **told))
    assert plan.given == {}
    assert plan.remarks[1] == "a perfect inversion and full recovery before each inversion is assumed"


def test_the_simulated_train_gives_its_true_t1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = tmp_path / "bids", tmp_path / "maps"
    how = {"sequences": ("LookLocker",), "shape": (32, 36, 32), "voxel_size": (5.0,), "supersampling": 1}
    write_study(study, snr=200, **how)
    assert main(["run", str(study), str(out), "participant", "--no-report"]) == 0
    assert "taken as a train of readouts after one inversion (acq-looklocker says so)" in " ".join(
        capsys.readouterr().err.split()
    )
    path = out / "sub-01" / "anat" / "sub-01_acq-looklocker_T1map.nii.gz"
    record = json.loads(path.with_name("sub-01_acq-looklocker_T1map.json").read_text())["Mensura"]
    assert record["Model"] == "look_locker"
    assert record["Parameters"]["repetition_time"] == 5.0
    assert any("T1 is freed of the readouts" in words for words in record["Warnings"])
    truth = {
        name: nifti.read(next((study / "derivatives" / "truth").rglob(f"sub-01_{name}.nii.gz"))).data
        for name in ("T1map", "purity", "desc-brain_mask")
    }
    inside = (truth["desc-brain_mask"] > 0) & (truth["purity"] > 0.99) & (truth["T1map"] > 0)
    off = 100 * (nifti.read(path).data[inside] / truth["T1map"][inside] - 1)
    assert abs(np.nanmedian(off)) < 0.7
    assert np.nanmedian(np.abs(off)) < 2.5
    assert (
        main(["run", str(study), str(out), "participant", "--no-report", "--irt1", "inversion_recovery"]) == 0
    )
    star = nifti.read(path).data[inside] / truth["T1map"][inside] - 1
    assert np.nanmedian(star) < -0.02


@pytest.fixture(scope="module")
def recovery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inversion recovery of vials as magnitude and phase, noisy."""
    folder = tmp_path_factory.mktemp("recovery")
    how = {"shape": (20, 20, 20), "voxel_size": (11.0,), "supersampling": 1}
    write_study(folder, "vials", sequences=("IRT1",), snr=40, **how)
    return folder


def in_parts(source: Path, target: Path, parts: str) -> Path:
    """The dataset with magnitudes alone, all parts, real and imaginary ones, or the phase of some images turned."""
    study = Path(shutil.copytree(source, target / parts))
    for size in sorted((study / "sub-01" / "anat").glob("*part-mag_IRT1.nii.gz")):
        phase, names = size.with_name(size.name.replace("part-mag", "part-phase")), ("real", "imag")
        image, turn = nifti.read(size), nifti.read(phase).data
        if parts == "turned":
            place = int(size.name.partition("_inv-")[2][0])
            wrapped = np.angle(np.exp(1j * (turn + 1.1 * place))).astype(np.float32)
            nifti.write(phase, wrapped, image.grid, image.header)
        if parts == "real":
            record = size.with_name(size.name.replace(".nii.gz", ".json"))
            whole = image.data * np.exp(1j * turn)
            for name, data in zip(names, (whole.real, whole.imag), strict=True):
                path = size.with_name(size.name.replace("part-mag", f"part-{name}"))
                nifti.write(path, data.astype(np.float32), image.grid, image.header)
                path.with_name(path.name.replace(".nii.gz", ".json")).write_text(record.read_text())
            size.unlink()
        if parts in ("real", "mag"):
            phase.unlink()
    return study


def t1_of(study: Path, out: Path) -> tuple[np.ndarray, str]:
    assert main(["run", str(study), str(out), "participant", "--no-report"]) == 0
    path = out / "sub-01" / "anat" / "sub-01_T1map.nii.gz"
    record = json.loads(path.with_name("sub-01_T1map.json").read_text())
    return nifti.read(path).data, " ".join(record["Mensura"]["Warnings"]) + " ".join(record["Sources"])


def test_phase_beside_makes_it_complex_as_real_and_imaginary_parts_do(recovery: Path, tmp_path: Path) -> None:
    found = {
        parts: t1_of(in_parts(recovery, tmp_path, parts), tmp_path / f"maps-{parts}")
        for parts in ("both", "real", "mag", "turned")
    }
    inside = np.isfinite(found["both"][0]) & (found["both"][0] > 0) & (found["mag"][0] > 0)
    assert "complex images are fitted: magnitudes and phases are there" in found["both"][1]
    assert "part-phase_IRT1" in found["both"][1]
    assert "real and imaginary parts are there" in found["real"][1]
    assert "complex" not in found["mag"][1]
    np.testing.assert_allclose(found["real"][0][inside], found["both"][0][inside], rtol=1e-3)
    assert np.median(np.abs(found["mag"][0][inside] / found["both"][0][inside] - 1)) > 1e-3
    assert "the phases differ between the images" in found["turned"][1]
    np.testing.assert_allclose(found["turned"][0][inside], found["mag"][0][inside], rtol=1e-3)
