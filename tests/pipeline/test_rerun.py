"""`mensura rerun`: a map comes out the same, bit for bit, from its record alone; what stands in the way is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bids_validator import validator_errors
from mensura.cli import main
from mensura.io import nifti
from mensura.io.scans import json_of
from mensura.phantom.study import write_study
from mensura.pipeline import rerun
from mensura.scan import Grid


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small head with B1, flip angles and echoes, mapped by `run` with paths and settings given from its folder."""
    folder = tmp_path_factory.mktemp("rerun")
    settings = {"MEGRE": {"echo_times": (0.004, 0.012, 0.020)}}
    sequences = ("MEGRE", "VFA", "TB1AFI")
    write_study(
        folder / "bids",
        sequences=sequences,
        shape=(32, 36, 32),
        voxel_size=(5.0,),
        supersampling=1,
        settings=settings,
    )
    (folder / "run.toml").write_text('[dipole]\nmethod = "tkd"\n[background]\nmethod = "vsharp"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "bids", "maps", "participant", "--config", "run.toml", "--no-report"]) == 0
        bids = Path("bids/sub-01/anat")
        angles = sorted(str(path) for path in bids.glob("*_VFA.nii.gz"))
        fit = ["fit", "variable_flip_angle", "--images", *angles, "--flip-angles"]
        degrees = [json.loads(Path(p.replace(".nii.gz", ".json")).read_text())["FlipAngle"] for p in angles]
        assert main([*fit, *map(str, degrees), "--repetition-time", "0.02", "-o", "fitted"]) == 0
        echoes = {
            part: sorted(str(p) for p in bids.glob(f"*part-{part}_MEGRE.nii.gz")) for part in ("phase", "mag")
        }
        scan = ["--phase", *echoes["phase"], "--magnitude", *echoes["mag"], "--no-report", "--dipole", "tkd"]
        assert main(["qsm", *scan, "-o", "single"]) == 0
    return folder


MAPS = [
    "maps/sub-01/anat/sub-01_Chimap.json",
    "maps/sub-01/anat/sub-01_desc-brain_mask.json",
    "maps/sub-01/anat/sub-01_T1map.json",
    "maps/sub-01/anat/sub-01_desc-std_T1map.json",
    "fitted/T1map.json",
    "single/R2starmap.json",
]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_comes_out_the_same(study: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it is asked for: the record knows where its command was given."""
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}
    assert main(["rerun", str(study / name)]) == 0
    assert capsys.readouterr().out == f"{Path(name).stem}.nii.gz came out the same, bit for bit\n"
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()} == before


def test_the_validator_finds_no_error(study: Path) -> None:
    """Of derivatives that hold the maps of the QSM job beside fitted ones."""
    assert (study / "maps/sub-01/anat/sub-01_desc-total_fieldmap.nii.gz").is_file()
    assert validator_errors(study / "maps") == []


SEQUENCES = ("MEGRE", "VFA", "IRT1", "MP2RAGE", "MESE", "MTR", "MTS", "MPM", "TB1DAM", "TB1EPI", "fieldmap")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small head in every sequence that is mapped, diffusion and gradient echoes over time beside, and its maps."""
    folder = tmp_path_factory.mktemp("everything")
    settings = {"MEGRE": {"echo_times": (0.004, 0.012, 0.020)}, "MESE": {"echoes": 6}}
    write_study(
        folder / "bids",
        sequences=SEQUENCES,
        shape=(32, 36, 32),
        voxel_size=(5.0,),
        supersampling=1,
        settings=settings,
    )
    write_diffusion(folder / "bids" / "sub-01" / "dwi")
    write_series_of(folder / "bids" / "sub-01")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "bids", "maps", "participant", *QUICK]) == 0
    return folder


QUICK = ("--mask-method", "threshold", "--background", "vsharp", "--dipole", "tkd", "--no-report")


def write_diffusion(folder: Path) -> None:
    """Six directions and none of a tensor, and three of its diagonal."""
    grid, axes = Grid.from_voxel_size((6, 5, 4), (2.0, 2.0, 2.0)), np.eye(3)
    turned = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt(2)
    folder.mkdir()
    for name, vectors in {"acq-six": np.concatenate([axes, turned]), "acq-three": axes}.items():
        every = np.concatenate([np.zeros((1, 3)), vectors])
        signal = 1000 * np.exp(-1000 * np.square(every) @ [1.5e-3, 0.5e-3, 0.3e-3])
        stem = folder / f"sub-01_{name}_dwi"
        values = np.broadcast_to(signal.astype(np.float32), (*grid.shape, len(every)))
        nifti.write(stem.with_suffix(".nii.gz"), np.ascontiguousarray(values), grid)
        stem.with_suffix(".json").write_text('{"EchoTime": 0.08}')
        stem.with_suffix(".bval").write_text(" ".join(["0", *["1000"] * len(vectors)]))
        if name == "acq-six":
            rows = "\n".join(" ".join(map(str, row)) for row in every.T)
            stem.with_suffix(".bvec").write_text(rows)


def write_series_of(subject: Path) -> None:
    """The last gradient echo twice, as volumes of a functional scan."""
    (subject / "func").mkdir()
    for part in ("mag", "phase"):
        image = nifti.read(subject / "anat" / f"sub-01_echo-3_part-{part}_MEGRE.nii.gz")
        path = subject / "func" / f"sub-01_task-rest_part-{part}_bold.nii.gz"
        nifti.write(path, np.stack([image.data] * 2, axis=-1), image.grid)
    facts = {"EchoTime": 0.02, "MagneticFieldStrength": 3, "RepetitionTime": 2, "TaskName": "rest"}
    (subject / "func" / "sub-01_task-rest_bold.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("anat/sub-01_mod-MPM_R2starmap", {"fits"}), ("anat/sub-01_R2primemap", {"fits", "runs", ""})],
)
def test_every_map_of_run_comes_out_the_same(
    everything: Path, tmp_path: Path, name: str, kinds: set[str]
) -> None:
    """Each record suffices, and what it makes again is every map of the subject that goes with it."""
    records = records_in(everything / "maps")
    made = {record.image.name.partition(".")[0].rpartition("_")[2] for record in records}
    assert made >= {"T1map", "T2map", "MTRmap", "MTsat", "TB1map", "fieldmap", "Chimap", "T2starmap", "UNIT1"}
    assert made >= {"R2primemap", "PDmap", "dwimap", "mask", "R1map", "M0map", "IEmap"}
    sidecar = everything / "maps" / "sub-01" / f"{name}.json"
    assert main(["rerun", str(sidecar), "-o", str(tmp_path / "new")]) == 0
    compared([record for record in records if record.only in kinds], tmp_path / "new")


@pytest.mark.parametrize("name", ["fitted/T1map.json", "single/Chimap.json"])
def test_every_map_of_fit_and_qsm_comes_out_the_same(study: Path, tmp_path: Path, name: str) -> None:
    assert main(["rerun", str(study / name), "-o", str(tmp_path / "new")]) == 0
    compared(records_in((study / name).parent), tmp_path / "new")


def records_in(folder: Path) -> list[rerun.Record]:
    """Of every image; a record that does not suffice raises."""
    return [rerun.read(json_of(image)) for image in sorted(folder.rglob("*.nii.gz"))]


def compared(records: list[rerun.Record], made: Path) -> None:
    assert records
    for record in records:
        verdict = rerun.compare(record, made)
        assert verdict.same, verdict.words
        assert "bit for bit" in verdict.words
        assert not verdict.remarks, record.image.name


def test_what_belongs_to_no_map_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(study / "fitted" / "desc-voxels_T1map.json")]) == 2
    assert "chosen voxels" in capsys.readouterr().err


@pytest.fixture
def moved(study: Path, tmp_path: Path) -> Path:
    """A copy of the study somewhere else."""
    return Path(shutil.copytree(study, tmp_path / "moved"))


def test_a_moved_study_repeats_with_its_folder_told(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--directory", str(moved), "-o", str(moved / "again")]
    assert main(["rerun", str(moved / "fitted/T1map.json"), *told]) == 0
    assert "the same" in capsys.readouterr().out
    assert (moved / "again" / "T1map.nii.gz").is_file()


@pytest.mark.parametrize("name", ["fitted/T1map.json", "maps/sub-01/anat/sub-01_T1map.json"])
@pytest.mark.parametrize("how", ["missing", "changed"])
def test_a_source_that_is_not_what_it_was_is_told(
    moved: Path, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = moved / "bids/sub-01/anat/sub-01_flip-1_VFA.nii.gz"
    image = nifti.read(source)
    source.unlink()
    if how == "changed":
        nifti.write(source, image.data + 1, image.grid, image.header)
    assert main(["rerun", str(moved / name), "--directory", str(moved)]) == 2
    said = capsys.readouterr().err
    assert "sub-01_flip-1_VFA.nii.gz" in said
    assert how in said
    assert said.count("\n") == 1


def test_changed_settings_are_told(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (moved / "run.toml").write_text('[dipole]\nmethod = "tv"\n')
    assert main(["rerun", str(moved / MAPS[0]), "--directory", str(moved)]) == 2
    assert "run.toml" in capsys.readouterr().err


def test_a_difference_is_measured(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded digest and the map are those of something else: one voxel is off by a tenth."""
    path = moved / "fitted/T1map.nii.gz"
    image = nifti.read(path)
    values = image.data.copy()
    where = tuple(np.argwhere(values > 0.2)[0])
    values[where] += 0.1
    nifti.write(path, values, image.grid, image.header)
    record = json.loads((moved / "fitted/T1map.json").read_text())
    record["Mensura"]["Digest"] = "0" * 32
    record["Mensura"]["Versions"]["numpy"] = "1.0.0"
    (moved / "fitted/T1map.json").write_text(json.dumps(record))
    assert main(["rerun", str(moved / "fitted/T1map.json"), "--directory", str(moved)]) == 1
    said = capsys.readouterr().out
    assert "differs in 1 of" in said
    assert "0.1 s" in said
    assert "numpy was 1.0.0" in said


def test_other_metadata_of_a_source_are_told(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = moved / "bids/sub-01/anat/sub-01_flip-1_VFA.json"
    record = json.loads(path.read_text())
    record["FlipAngle"] *= 1.1
    path.write_text(json.dumps(record))
    assert main(["rerun", str(moved / "maps/sub-01/anat/sub-01_T1map.json"), "--directory", str(moved)]) == 1
    said = capsys.readouterr().out
    assert "differs in" in said
    assert "the parameters read from the JSON files" in said
    assert "sub-01_flip-1_VFA.json has changed" in said


@pytest.mark.parametrize("name", [MAPS[0], MAPS[5]])
def test_words_that_do_not_matter_leave_a_map_the_same(
    moved: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((moved / "bids/sub-01/anat").glob("*echo-1_part-phase_MEGRE.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "Comment": "a good day"}))
    assert main(["rerun", str(moved / name), "--directory", str(moved)]) == 0
    said = capsys.readouterr().out
    assert f"{path.name} has changed" in said
    assert "came out the same" in said
    path.unlink()
    assert main(["rerun", str(moved / name), "--directory", str(moved)]) == 2
    assert f"{path.name}, a source of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ("{}", "not written by mensura"),
        ('{"Mensura": {"Digest": "0", "Digests": {"a": "b"}}}', "no Command"),
        ('{"Mensura": {"Command": "mensura fit x", "Digests": {"a": "b"}}}', "no Digest"),
        ('{"Mensura": {"Command": "mensura fit x", "Digest": "0"}}', "no Digests"),
        ('{"Mensura": {"Command": "mensura fit x", "Digest": "0", "Digests": {"a": "b"}}}', "--directory"),
        (
            '{"Mensura": {"Command": "mensura score a b", "Digest": "0", "Digests": {"a": "b"}, "Directory": "/"}}',
            "no command that makes maps",
        ),
    ],
)
def test_a_record_that_does_not_suffice_gets_a_sentence(
    tmp_path: Path, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "T1map.json").write_text(content)
    assert main(["rerun", str(tmp_path / "T1map.json")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_maps_are_not_repeated_over_themselves(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(study / "fitted/T1map.json"), "-o", str(study / "fitted")]) == 2
    assert "another folder" in capsys.readouterr().err
    assert main(["rerun", str(study / "fitted/T1map.json"), "-o", str(study / "single")]) == 2
    assert "not empty" in capsys.readouterr().err
