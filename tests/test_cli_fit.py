"""`mensura fit` and `mensura models`: files in, maps out, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.qmri import equations
from mensura.qmri.models import MODELS
from mensura.qmri.slices import Pulses, sliced_trains
from mensura.scan import Grid

GRID = Grid.from_voxel_size((7, 6, 5), (2.0, 2.0, 3.0))
ANGLES = (3.0, 10.0, 20.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three flip angles as files of their own, in one 4D file, B1 in percent, a mask; T1 of 1.2 s, B1 of 0.9."""
    signal = equations.spoiled_gradient_echo(
        np.deg2rad(ANGLES), np.full((*GRID.shape, 1), 1000.0), 1.2, repetition_time=0.02, b1=0.9
    )
    mask = np.zeros(GRID.shape, bool)
    mask[1:-1, 1:-1, 1:-1] = True
    for i in range(3):
        nifti.write(tmp_path / f"fa{i}.nii.gz", (signal[..., i] * mask).astype(np.float32), GRID)
    nifti.write(tmp_path / "all.nii.gz", signal.astype(np.float32), GRID)
    nifti.write(tmp_path / "b1.nii.gz", np.full(GRID.shape, 90.0, np.float32), GRID)
    nifti.write(tmp_path / "hz.nii.gz", np.full(GRID.shape, 400.0, np.float32), GRID)
    nifti.write(tmp_path / "mask.nii.gz", mask, GRID)
    nifti.write(tmp_path / "negative.nii.gz", -signal[..., 0].astype(np.float32), GRID)
    afi = equations.actual_flip_angle(1000.0, 1.2, flip_angle=1.0, repetition_times=(0.02, 0.1))
    for name, value in zip(("tr1", "tr2"), afi, strict=True):
        nifti.write(tmp_path / f"{name}.nii.gz", np.full(GRID.shape, value, np.float32), GRID)
    nifti.write(
        tmp_path / "other.nii.gz", np.ones((7, 6, 4), np.float32), Grid.from_voxel_size((7, 6, 4), (2, 2, 3))
    )
    return tmp_path


def fit(folder: Path, *more: str, images: tuple[str, ...] = ("fa0", "fa1", "fa2"), model: str = "") -> int:
    files = [str(folder / f"{name}.nii.gz") for name in images]
    words = ["fit", model or "variable_flip_angle", "--images", *files, *more, "-o", str(folder / "out")]
    return main([word.replace("@", str(folder)) for word in words])


PROTOCOL = ("--flip-angles", "3", "10", "20", "--repetition-time", "0.02")


def test_files_become_maps_with_their_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, *PROTOCOL, "--b1", "@/b1.nii.gz", "--mask", "@/mask.nii.gz") == 0
    assert "percent" in capsys.readouterr().out
    out = folder / "out"
    t1 = nifti.read(out / "T1map.nii.gz")
    mask = nifti.read(folder / "mask.nii.gz").data > 0
    assert np.allclose(t1.data[mask], 1.2, rtol=1e-4)
    assert not t1.data[~mask].any()
    assert np.allclose(t1.grid.affine, GRID.affine)
    made = {path.name for path in out.iterdir()}
    assert {"desc-std_T1map.nii.gz", "desc-status_T1map.nii.gz", "M0map.nii.gz"} <= made
    assert {"report.html", "T1map.html", "M0map.html"} <= made
    record = json.loads((out / "T1map.json").read_text())
    assert record["Units"] == "s"
    assert record["Mensura"]["Parameters"]["b1"] == "map"
    assert record["Mensura"]["Parameters"]["flip_angles"] == pytest.approx(np.deg2rad(ANGLES))
    assert "10.1002/mrm.21669" in record["EstimationReference"]


def test_spoiling_is_told_in_degrees(folder: Path) -> None:
    assert fit(folder, *PROTOCOL, "--b1", "@/b1.nii.gz", "--spoiling-increment", "50") == 0
    record = json.loads((folder / "out" / "T1map.json").read_text())["Mensura"]["Parameters"]
    assert record["spoiling_increment"] == pytest.approx(np.deg2rad(50))
    assert (nifti.read(folder / "out" / "T1map.nii.gz").data[2:-2, 2:-2, 2:-2] < 1.19).all()


TI = (0.1, 0.4, 0.8, 2.0)


@pytest.fixture
def recovering(folder: Path) -> Path:
    """Magnitude and phase (whole numbers, as Siemens stores them) of an inversion recovery, T1 of 1.2 s."""
    signal = equations.inversion_recovery(
        np.asarray(TI), np.full((*GRID.shape, 1), 1000.0), 1.2, efficiency=0.9
    )
    turn = np.exp(1j * np.linspace(-3, 3, GRID.shape[0]))[:, None, None, None]
    phase = np.angle(signal * turn)
    phase.flat[:2] = -np.pi, np.pi
    nifti.write(folder / "size.nii.gz", np.abs(signal).astype(np.float32), GRID)
    nifti.write(folder / "phase.nii.gz", np.rint(phase / np.pi * 2047.5 + 2047.5).astype(np.float32), GRID)
    nifti.write(folder / "real.nii.gz", (signal * turn).real.astype(np.float32), GRID)
    nifti.write(folder / "imaginary.nii.gz", (signal * turn).imag.astype(np.float32), GRID)
    nifti.write(folder / "few.nii.gz", phase[..., :3].astype(np.float32), GRID)
    return folder


TIMES = ("--inversion-times", *map(str, TI))


@pytest.mark.parametrize(("images", "part"), [("size", "phase"), ("real", "imaginary")])
def test_phase_makes_the_images_complex(
    recovering: Path, images: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = (*TIMES, f"--{part}", f"@/{part}.nii.gz", "--polarity", "complex", "--mask", "@/mask.nii.gz")
    assert fit(recovering, *more, images=(images,), model="inversion_recovery") == 0
    assert ("one full circle" in capsys.readouterr().out) == (part == "phase")
    mask = nifti.read(recovering / "mask.nii.gz").data > 0
    for name, true in (("T1map", 1.2), ("IEmap", 0.9)):
        assert np.allclose(nifti.read(recovering / "out" / f"{name}.nii.gz").data[mask], true, rtol=3e-3)
    record = json.loads((recovering / "out" / "T1map.json").read_text())
    assert any(source.endswith(f"{part}.nii.gz") for source in record["Sources"])


def test_phase_that_does_not_fit_is_told(recovering: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for phase, says in (("few", "4 images but 3 of --phase"), ("other", "has shape")):
        more = (*TIMES, "--phase", f"@/{phase}.nii.gz")
        assert fit(recovering, *more, images=("size",), model="inversion_recovery") == 2
        assert says in capsys.readouterr().err
    both = ("--phase", "@/phase.nii.gz", "--imaginary", "@/phase.nii.gz")
    assert fit(recovering, *TIMES, *both, images=("size",), model="inversion_recovery") == 2
    assert "leave one out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fit(recovering, *PROTOCOL, "--phase", "@/phase.nii.gz")


def test_inversion_times_of_some_images(folder: Path) -> None:
    how = {"inversion_time": 0.4, "repetition_time": 0.02, "excitations": (0, 40), "b1": 0.9}
    prepared = equations.inversion_prepared_gradient_echo(np.deg2rad(10), 1000.0, 1.2, **how)
    nifti.write(folder / "ir.nii.gz", np.full(GRID.shape, prepared, np.float32), GRID)
    more = ("--flip-angles", "3", "10", "20", "10", "--inversion-times", "0", "0", "0", "0.4", "--excitations", "0",
            "40", "--repetition-time", "0.02", "--polarity", "signed", "--mask", "@/mask.nii.gz")  # fmt: skip
    assert fit(folder, *more, model="despot1_hifi", images=("fa0", "fa1", "fa2", "ir")) == 0
    mask = nifti.read(folder / "mask.nii.gz").data > 0
    for name, true in (("T1map", 1.2), ("TB1map", 0.9)):
        assert np.allclose(nifti.read(folder / "out" / f"{name}.nii.gz").data[mask], true, rtol=1e-3)


def test_a_train_of_a_slice(folder: Path) -> None:
    echoes = sliced_trains(np.array([0.08]), np.array([0.8]), Pulses((4.0, 3.0), 1.1), (10, 0.01, 1.0))[0]
    nifti.write(
        folder / "train.nii.gz", np.broadcast_to(1e3 * echoes, (*GRID.shape, 10)).astype(np.float32), GRID
    )
    more = ("--echo-times", *(f"{0.01 * n:g}" for n in range(1, 11)), "--slice-profile", "sinc",
            "--time-bandwidth", "4", "3", "--refocusing-width", "1.1", "--mask", "@/mask.nii.gz")  # fmt: skip
    assert fit(folder, *more, model="spin_echo_train", images=("train",)) == 0
    mask = nifti.read(folder / "mask.nii.gz").data > 0
    for name, true in (("T2map", 0.08), ("TB1map", 0.8)):
        assert np.allclose(nifti.read(folder / "out" / f"{name}.nii.gz").data[mask], true, rtol=1e-3)
    record = json.loads((folder / "out" / "T2map.json").read_text())["Mensura"]["Parameters"]
    assert (record["slice_profile"], record["time_bandwidth"]) == ("sinc", [4, 3])


def test_one_4d_file_without_a_mask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, *PROTOCOL, images=("all",)) == 0
    assert "no mask" in capsys.readouterr().out
    without_b1 = nifti.read(folder / "out" / "T1map.nii.gz").data
    assert np.allclose(without_b1, 1.2 * 0.81, rtol=0.02)


def test_the_field_strength_and_no_report(folder: Path) -> None:
    assert fit(folder, *PROTOCOL, "--field-strength", "7", "--no-report") == 0
    record = json.loads((folder / "out" / "T1map.json").read_text())
    assert record["Acquisition"]["MagneticFieldStrength"] == 7
    assert not list((folder / "out").glob("*.html"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--flip-angles", "3", "10", "--repetition-time", "0.02"), "3 images but 2 flip angles"),
        (("--flip-angles", "0.05", "0.17", "0.35", "--repetition-time", "0.02"), "radians"),
        (("--flip-angles", "3", "10", "20", "--repetition-time", "900"), "milliseconds"),
        (("--flip-angles", "3", "10", "20", "--repetition-time", "20"), "no voxel has a value"),
        (("--flip-angles", "10", "10", "10", "--repetition-time", "0.02"), "two different"),
        ((*PROTOCOL, "--b1", "@/other.nii.gz"), "has shape"),
        ((*PROTOCOL, "--b1", "@/nothing.nii.gz"), "nothing.nii.gz"),
        ((*PROTOCOL, "--mask", "@/other.nii.gz"), "has shape"),
        ((*PROTOCOL, "--b1", "@/hz.nii.gz"), "median"),
        ((*PROTOCOL, "--loss", "cauchy"), "one of none"),
        ((*PROTOCOL, "--likelihood", "rician"), "noise"),
        ((*PROTOCOL, "--noise", "-1"), "cannot be meant"),
        ((*PROTOCOL, "--field-strength", "0"), "tesla"),
        ((*PROTOCOL, "--segmentation", "@/nothing.nii.gz"), "nothing.nii.gz"),
    ],
)
def test_wrong_input_gets_a_sentence_and_leaves_nothing(
    folder: Path, more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, *more) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (folder / "out").exists()


def test_a_missing_protocol_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(folder, "--flip-angles", "3", "10", "20")
    assert stop.value.code == 2
    assert "--repetition-time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("mt_ratio", ()),
        ("mt_saturation", ("--flip-angles", "6", "6", "--repetition-times", "0.02")),
        ("double_angle", ("--flip-angles", "60", "120", "90")),
        ("actual_flip_angle", ("--repetition-times", "0.02", "0.1", "--flip-angle", "60")),
    ],
)
def test_a_wrong_number_of_images_is_told(
    folder: Path, model: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    images = ("fa0", "fa1") if model == "mt_saturation" else ("fa0", "fa1", "fa2")
    assert fit(folder, *more, model=model, images=images) == 2
    assert "images" in capsys.readouterr().err


def test_images_that_are_no_magnitudes_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, *PROTOCOL, images=("fa0", "negative", "fa2")) == 2
    error = capsys.readouterr().err
    assert "negative.nii.gz" in error
    assert "magnitudes" in error


def test_swapped_images_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = ("--repetition-times", "0.02", "0.1", "--flip-angle", "57.3")
    assert fit(folder, *protocol, model="actual_flip_angle", images=("tr1", "tr2")) == 0
    assert fit(folder, *protocol, model="actual_flip_angle", images=("tr2", "tr1")) == 2
    assert "swapped" in capsys.readouterr().err


def test_an_unknown_model_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(folder, model="inversion_recovry") == 2
    assert "inversion_recovery" in capsys.readouterr().err


def test_models_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    for name, model in MODELS.items():
        assert name in told
        assert model.doi in told
    assert main(["models", *MODELS]) == 0
    assert (
        "--refocusing-angle nominal angle of the refocusing pulses (°; default 180)"
        in capsys.readouterr().out
    )


def test_an_interrupted_fit_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped when the first chunk of voxels is told as done."""
    monkeypatch.setattr("mensura.pipeline.screen.Screen.iteration", interrupted)
    assert fit(folder, *PROTOCOL) == 130
    assert not (folder / "out").exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_writing_leaves_the_maps_of_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, *PROTOCOL) == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    write, seen = nifti.write, []

    def third(*given: object) -> None:
        seen.append(given)
        if len(seen) == 3:
            raise KeyboardInterrupt
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("mensura.pipeline.record.write", third)
    assert fit(folder, *PROTOCOL, "--b1", str(folder / "b1.nii.gz")) == 130
    assert "interrupted" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_errors_by_bootstrap_are_a_flag_and_told_in_the_record(folder: Path) -> None:
    assert fit(folder, *PROTOCOL, "--errors", "bootstrap", "--bootstraps", "30", "--seed", "2") == 0
    told = json.loads((folder / "out" / "T1map.json").read_text())["Mensura"]["Parameters"]
    assert (told["errors"], told["bootstraps"], told["seed"]) == ("bootstrap", 30, 2)
    assert "monitor" not in told


def test_a_field_map_frees_r2star_of_the_gradient(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times, rise = (0.005, 0.012, 0.02, 0.03), 11.0
    signal = 1000 * np.exp(-25 * np.asarray(times)) * np.sinc(rise * np.asarray(times))
    nifti.write(folder / "echoes.nii.gz", np.broadcast_to(signal, (*GRID.shape, 4)).astype(np.float32), GRID)
    field = rise * (np.indices(GRID.shape)[1] + 1)
    nifti.write(folder / "field.nii.gz", field.astype(np.float32), GRID)
    nifti.write(folder / "hertz.nii.gz", (1e6 * field).astype(np.float32), GRID)
    protocol = ("--echo-times", *map(str, times))
    rates = []
    for more in ((), ("--field-map", "@/field.nii.gz")):
        assert fit(folder, *protocol, *more, model="r2star", images=("echoes",)) == 0
        rates.append(float(np.median(nifti.read(folder / "out" / "R2starmap.nii.gz").data)))
    assert rates[0] > 26
    assert rates[1] == pytest.approx(25, rel=1e-4)
    assert "no field map was given" in capsys.readouterr().out
    record = json.loads((folder / "out" / "R2starmap.json").read_text())
    assert any(source.endswith("field.nii.gz") for source in record["Sources"])
    for name, says in (("hertz", "give it in Hz"), ("other", "has shape")):
        more = (*protocol, "--field-map", f"@/{name}.nii.gz")
        assert fit(folder, *more, model="r2star", images=("echoes",)) == 2
        assert says in " ".join(capsys.readouterr().err.split())


def test_complex_files_are_fitted_or_refused_in_a_sentence(
    recovering: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All in one file, or one for each inversion time; a model of magnitudes names the file."""
    parts = [nifti.read(recovering / f"{name}.nii.gz").data for name in ("real", "imaginary")]
    whole = (parts[0] + 1j * parts[1]).astype(np.complex64)
    nibabel.save(nibabel.Nifti1Image(whole, GRID.affine), recovering / "whole.nii.gz")
    for n in range(len(TI)):
        nibabel.save(nibabel.Nifti1Image(whole[..., n], GRID.affine), recovering / f"c{n}.nii.gz")
    mask = nifti.read(recovering / "mask.nii.gz").data > 0
    for images in (("whole",), ("c0", "c1", "c2", "c3")):
        how = (*TIMES, "--polarity", "complex", "--mask", "@/mask.nii.gz")
        assert fit(recovering, *how, images=images, model="inversion_recovery") == 0
        for name, true in (("T1map", 1.2), ("IEmap", 0.9)):
            assert np.allclose(nifti.read(recovering / "out" / f"{name}.nii.gz").data[mask], true, rtol=1e-3)
    capsys.readouterr()
    for model, images, more, says in (
        (
            "variable_flip_angle",
            ("fa0", "c1", "fa2"),
            PROTOCOL,
            "c1.nii.gz holds complex values, but the model",
        ),
        ("inversion_recovery", ("c0", "c1", "c2", "fa0"), TIMES, "give images of one kind"),
        (
            "inversion_recovery",
            ("whole",),
            (*TIMES, "--phase", "@/phase.nii.gz"),
            "holds complex values already",
        ),
    ):
        assert fit(recovering, *more, images=images, model=model) == 2
        assert says in " ".join(capsys.readouterr().err.split())
