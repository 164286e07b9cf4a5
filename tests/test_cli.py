"""The command line: what it does, and that bad input ends in one sentence, code 2, and nothing touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.scan import Grid

TIMES = ["0.004", "0.012", "0.020"]
FAST = ["--background+dipole.tfi.max_iter", "3", "--mask-method", "threshold", "--no-report"]


class Scan:
    """The small head as plain NIfTI files in a folder of its own, and the flags that go with it."""

    def __init__(self, folder: Path, head: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        anat = head / "sub-01" / "anat"
        for path in anat.glob("*.nii.gz"):
            shutil.copy(path, folder / path.name.replace("sub-01_", ""))

    def files(self, part: str) -> list[str]:
        return sorted(map(str, self.folder.glob(f"echo-*_part-{part}_MEGRE.nii.gz")))

    def flags(self, **changes: list[str] | None) -> list[str]:
        """The flags of `mensura qsm`; a flag that is changed to None is left out."""
        flags = {"phase": self.files("phase"), "magnitude": self.files("mag"), "echo-times": TIMES}
        flags |= {"field-strength": ["3"], "out": [str(self.out)]}
        flags |= {name.replace("_", "-"): values for name, values in changes.items()}
        given = [(f"--{name}", *values) for name, values in flags.items() if values is not None]
        return ["qsm", *chain.from_iterable(given), *FAST]

    def edit(self, name: str, change: Callable[[Any], Any], affine: Any = None) -> str:
        """An image with its data changed; its path."""
        path = self.folder / name
        image = nifti.read(path)
        data = change(image.data)
        moved = Grid(data.shape[:3], image.grid.affine if affine is None else affine)
        nifti.write(path, np.ascontiguousarray(data), moved)
        return str(path)


@pytest.fixture
def scan(tmp_path: Path, small_head: Path) -> Scan:
    return Scan(tmp_path, small_head)


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory, small_head: Path) -> Scan:
    """The small head, mapped once; not to be written to."""
    done = Scan(tmp_path_factory.mktemp("mapped"), small_head)
    assert main(done.flags()) == 0
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capsys: pytest.CaptureFixture[str], words: list[str], *said: str) -> str:
    """Exit code 2, one sentence on stderr that holds all of `said`, no traceback."""
    capsys.readouterr()
    assert main(words) == 2
    errors = capsys.readouterr().err.strip()
    assert errors.startswith("mensura: ")
    assert "\n" not in errors, errors
    assert "Traceback" not in errors
    for text in said:
        assert text in errors, errors
    return errors


# What it does


def test_qsm_writes_every_map_with_its_sidecar(mapped: Scan) -> None:
    names = {path.name for path in mapped.out.iterdir()}
    stems = [
        "Chimap",
        "desc-std_Chimap",
        "R2starmap",
        "desc-std_R2starmap",
        "desc-status_R2starmap",
        "T2starmap",
    ]
    stems += ["desc-total_fieldmap", "desc-std_fieldmap", "desc-residual_fieldmap", "desc-local_fieldmap"]
    stems += [
        "desc-brain_mask",
        "desc-local_mask",
        "part-phase_desc-unwrapped_MEGRE",
        "part-mag_desc-combined_MEGRE",
    ]
    assert {f"{stem}{end}" for stem in stems for end in (".nii.gz", ".json")} <= names


def test_maps_keep_grid_and_units(mapped: Scan) -> None:
    raw = nifti.read(mapped.files("mag")[0])
    units = {"Chimap": "ppm", "R2starmap": "1/s", "T2starmap": "s", "desc-total_fieldmap": "Hz"}
    for stem, unit in units.items():
        image = nifti.read(mapped.out / f"{stem}.nii.gz")
        assert image.grid.matches(raw.grid)
        assert image.header.sform_code == raw.header.sform_code
        assert json.loads((mapped.out / f"{stem}.json").read_text())["Units"] == unit


def test_the_sidecar_of_chi_tells_the_whole_story(mapped: Scan) -> None:
    record = json.loads((mapped.out / "Chimap.json").read_text())
    stages = [line["Stage"] for line in record["Processing"]]
    assert [s for s in stages if s != "bipolar"] == [
        "mask", "offset", "unwrap", "field", "background+dipole", "explained field", "r2star", "reference"
    ]  # fmt: skip
    assert all("Parameters" in line and "Seconds" in line for line in record["Processing"])
    assert record["Acquisition"]["EchoTime"] == [0.004, 0.012, 0.020]
    assert set(record["Mensura"]["Inputs"]) == {
        str(Path(p).resolve()) for p in mapped.files("phase") + mapped.files("mag")
    }
    assert record["Mensura"]["Statistics"]["ReferenceVoxels"] > 0


def test_total_field_is_that_of_the_head(mapped: Scan, small_head: Path) -> None:
    """To 2 Hz in the median voxel: echo times, γ̄ and the unit on disk are right."""
    truth = nifti.read(small_head / "derivatives/truth/sub-01/anat/sub-01_desc-total_fieldmap.nii.gz").data
    mine = nifti.read(mapped.out / "desc-total_fieldmap.nii.gz").data
    inside = nifti.read(small_head / "derivatives/truth/sub-01/anat/sub-01_desc-brain_mask.nii.gz").data > 0
    inside &= nifti.read(mapped.out / "desc-brain_mask.nii.gz").data > 0
    assert np.median(np.abs(mine - truth)[inside]) < 2.0


def test_run_writes_bids_derivatives_and_a_report(tmp_path: Path, small_head: Path) -> None:
    words = ["run", str(small_head), str(tmp_path), "participant", *FAST[:-1]]
    assert main(words) == 0
    assert (tmp_path / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").is_file()
    assert (tmp_path / "sub-01.html").is_file()
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "mensura"
    sidecar = json.loads((tmp_path / "sub-01" / "anat" / "sub-01_Chimap.json").read_text())
    assert "bids:raw:sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz" in sidecar["Sources"]


def test_a_broken_subject_is_a_row_and_the_others_are_mapped(
    tmp_path: Path, small_head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = tmp_path / "bids"
    shutil.copytree(small_head, bids, ignore=shutil.ignore_patterns("derivatives"))
    shutil.copytree(bids / "sub-01", bids / "sub-02")
    for path in (bids / "sub-02" / "anat").iterdir():
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    broken = bids / "sub-02" / "anat" / "sub-02_echo-2_part-phase_MEGRE.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    assert main(["run", str(bids), str(tmp_path / "out"), "participant", *FAST]) == 1
    assert (tmp_path / "out/sub-01/anat/sub-01_Chimap.nii.gz").is_file()
    assert not (tmp_path / "out/sub-02").exists()
    errors = capsys.readouterr().err
    assert broken.name in errors
    assert "bad input" in errors
    assert "Traceback" not in errors


def test_methods_lists_every_parameter_with_default_unit_and_doi(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    romeo = table["unwrap"]["methods"]["romeo"]
    assert romeo["doi"] == "10.1002/mrm.28563"
    assert table["background"]["methods"]["vsharp"]["parameters"]["radius"]["unit"] == "mm"
    assert main(["methods", "all"]) == 0
    shown = capsys.readouterr().out
    presets = table.pop("presets")
    assert all(facts["why"] in " ".join(shown.split()) for facts in presets.values())
    for stage, entry in table.items():
        for method, facts in entry["methods"].items():
            assert method in shown
            assert facts["doi"] in shown
            assert all(
                f"--{stage}.{method}.{name}" in shown.replace("\n", "") for name in facts["parameters"]
            )


def test_methods_are_a_line_each_and_told_in_full_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    assert "--dipole.tkd.threshold" not in shown
    assert main(["methods", "dipole.tkd", "rodent"]) == 0
    shown = capsys.readouterr().out
    assert "--dipole.tkd.threshold" in shown
    assert "--dipole.tv" not in shown
    assert "10.1002/mrm.22135" in shown
    assert "× 0.1" in shown
    refused(capsys, ["methods", "dipole.tkt"], "dipole.tkd")


def test_flags_and_the_config_file_mean_the_same(scan: Scan, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        '[dipole]\nmethod = "tkd"\n[dipole.tkd]\nthreshold = 0.25\n[mask]\nmethod = "threshold"\n'
    )
    flags = ["--dipole", "tkd", "--dipole.tkd.threshold", "0.25", "--mask-method", "threshold"]
    scan.out = tmp_path / "a"
    assert main([*scan.flags()[: -len(FAST)], *flags, "--no-report"]) == 0
    scan.out = tmp_path / "b"
    assert main([*scan.flags()[: -len(FAST)], "--config", str(config), "--no-report"]) == 0
    one, other = (json.loads((tmp_path / x / "Chimap.json").read_text())["Mensura"] for x in "ab")
    assert one["Key"] == other["Key"]
    assert one["Digest"] == other["Digest"]


# Running again


def test_what_is_unchanged_is_reused_and_force_redoes_it(
    mapped: Scan, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in mapped.out.iterdir()}
    assert main(mapped.flags()) == 0
    assert {p: p.stat().st_mtime_ns for p in mapped.out.iterdir()} == before
    maps = {name: data for name, data in contents(mapped.out).items() if name.endswith(".gz")}
    assert main([*mapped.flags(), "--force"]) == 0
    assert all(p.stat().st_mtime_ns != time for p, time in before.items())
    assert {name: data for name, data in contents(mapped.out).items() if name.endswith(".gz")} == maps


def test_a_changed_parameter_recomputes_what_depends_on_it_only(scan: Scan, mapped: Scan) -> None:
    shutil.copytree(mapped.out, scan.out)
    before = {p.name: p.stat().st_mtime_ns for p in scan.out.iterdir()}
    assert main([*scan.flags(), "--background+dipole.tfi.weight", "1e-3"]) == 0
    changed = {p.name for p in scan.out.iterdir() if p.stat().st_mtime_ns != before.get(p.name)}
    stems = {f"{desc}Chimap" for desc in ("", "desc-unreferenced_", "desc-std_", "desc-prior_")}
    stems |= {"desc-local_fieldmap", "desc-local_mask"}
    assert {name for name in changed if name.endswith(".gz")} == {f"{stem}.nii.gz" for stem in stems}


def test_an_interrupted_run_leaves_whole_files_and_goes_on(scan: Scan, mapped: Scan) -> None:
    """Stopped while the inversion iterates: what was done stays, the next run ends with the same bits."""
    code = (
        "import sys, mensura.pipeline.batch as b; from mensura.cli import main\n"
        "def stop(self, i, n, c): raise KeyboardInterrupt\n"
        "b.Screen.iteration = stop\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    ended = subprocess.run([sys.executable, "-c", code, *scan.flags()], capture_output=True, text=True)
    assert ended.returncode == 130
    assert "interrupted" in ended.stderr
    names = {p.name for p in scan.out.iterdir()}
    assert "desc-total_fieldmap.json" in names
    assert not any("Chimap" in name or name.startswith(".") for name in names)
    before = (scan.out / "desc-total_fieldmap.nii.gz").stat().st_mtime_ns
    assert main(scan.flags()) == 0
    assert (scan.out / "desc-total_fieldmap.nii.gz").stat().st_mtime_ns == before
    for name in ("Chimap.nii.gz", "R2starmap.nii.gz"):
        assert (scan.out / name).read_bytes() == (mapped.out / name).read_bytes()


def test_the_maps_do_not_depend_on_the_number_of_threads(scan: Scan, mapped: Scan) -> None:
    """Every map of the chain, bit for bit: one thread in a process of its own, all threads here."""
    run = subprocess.run(
        [sys.executable, "-m", "mensura", *scan.flags(), "--threads", "1"], capture_output=True
    )
    assert run.returncode == 0
    for path in mapped.out.glob("*.nii.gz"):
        assert (scan.out / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_scan_into_the_same_folder_is_refused(
    scan: Scan, mapped: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(mapped.out, scan.out)
    before = contents(scan.out)
    other = tmp_path / "other"
    other.mkdir()
    for part in ("phase", "mag"):
        for path in scan.files(part):
            image = nifti.read(path)
            nifti.write(other / Path(path).name, image.data * np.float32(0.99), image.grid)
    moved = {part: [str(other / Path(p).name) for p in scan.files(part)] for part in ("phase", "mag")}
    words = scan.flags(phase=moved["phase"], magnitude=moved["mag"])
    refused(capsys, words, str(scan.out), "another scan", "--force")
    assert contents(scan.out) == before


def test_dry_run_tells_the_plan_and_writes_nothing(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(scan.folder)
    assert main([*scan.flags(), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "40×44×40" in shown
    assert "GB" in shown
    assert "tfi" in shown
    assert contents(scan.folder) == before


# Bad input


def test_no_phase(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, scan.flags(phase=None), "no phase")
    assert not scan.out.exists()


def test_magnitude_of_another_shape(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    path = scan.edit("echo-1_part-mag_MEGRE.nii.gz", lambda data: data[:-1])
    refused(capsys, scan.flags(), Path(path).name, "39×44×40")


def test_magnitude_of_another_affine(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    for path in scan.files("mag"):
        affine = nifti.read(path).grid.affine.copy()
        affine[0, 3] += 7
        scan.edit(Path(path).name, lambda data: data, affine)
    refused(capsys, scan.flags(), "part-mag_MEGRE.nii.gz")


@pytest.mark.parametrize(
    ("flag", "said"), [("echo_times", "echo times"), ("field_strength", "field strength")]
)
def test_missing_acquisition(scan: Scan, capsys: pytest.CaptureFixture[str], flag: str, said: str) -> None:
    lowered = refused(capsys, scan.flags(**{flag: None}), "--").lower()
    assert said in lowered or flag.replace("_", "") in lowered


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["4", "12", "20"], "milliseconds"),
        (["0.004", "0.020", "0.012"], "increase"),
        (["0.004", "0.012"], "echo time"),
        (["0.004", "-0.012", "0.020"], "positive"),
    ],
)
def test_echo_times_that_cannot_be_meant(
    scan: Scan, capsys: pytest.CaptureFixture[str], times: list[str], said: str
) -> None:
    refused(capsys, scan.flags(echo_times=times), said)


@pytest.mark.parametrize("key", ["EchoTime", "MagneticFieldStrength"])
def test_sidecar_field_missing_in_bids(
    tmp_path: Path, small_head: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    bids = tmp_path / "bids"
    shutil.copytree(small_head, bids, ignore=shutil.ignore_patterns("derivatives"))
    for path in bids.rglob("*MEGRE.json"):
        record = json.loads(path.read_text())
        record.pop(key)
        path.write_text(json.dumps(record))
    refused(capsys, ["run", str(bids), str(tmp_path / "out"), "participant"], key, "MEGRE")
    assert not (tmp_path / "out").exists()


def test_one_echo_is_mapped_with_a_note(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    words = scan.flags(phase=scan.files("phase")[-1:], magnitude=scan.files("mag")[-1:], echo_times=["0.020"])
    assert main(words) == 0
    assert "single echo" in capsys.readouterr().err
    assert (scan.out / "Chimap.nii.gz").is_file()
    assert not (scan.out / "R2starmap.nii.gz").exists()


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_constant_phase(scan: Scan, capsys: pytest.CaptureFixture[str], value: float) -> None:
    for path in scan.files("phase"):
        scan.edit(Path(path).name, lambda data: np.full_like(data, value))
    refused(capsys, scan.flags(), "part-phase_MEGRE.nii.gz")
    assert not scan.out.exists()


def test_unwrapped_phase_is_noted(scan: Scan, mapped: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    unwrapped = str(mapped.out / "part-phase_desc-unwrapped_MEGRE.nii.gz")
    assert main(scan.flags(phase=[unwrapped])) == 0
    assert "unwrapped before" in capsys.readouterr().err


def test_filtered_phase_is_noted(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    for path in scan.files("phase"):
        scan.edit(Path(path).name, lambda data: 0.05 * np.sin(3 * data))
    assert main(scan.flags()) in (0, 2)
    assert "filtered" in capsys.readouterr().err


def test_nan_is_counted_and_does_not_spread(
    scan: Scan, mapped: Scan, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(data: Any) -> Any:
        data[20, 22, 20] = np.nan
        return data

    scan.edit("echo-2_part-phase_MEGRE.nii.gz", spoil)
    assert main(scan.flags()) == 0
    assert "1 value of the phase not finite" in capsys.readouterr().err
    chi, before = (nifti.read(s.out / "Chimap.nii.gz").data for s in (scan, mapped))
    assert np.isfinite(chi).all()
    far = np.abs(chi - before)
    far[14:27, 16:29, 14:27] = 0
    assert far.max() < 0.02


def test_mask_of_zeros(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    mask = scan.folder / "mask.nii.gz"
    nifti.write(mask, np.zeros((40, 44, 40), np.uint8), nifti.read(scan.files("mag")[0]).grid)
    refused(capsys, scan.flags(mask=[str(mask)]), "mask.nii.gz", "zero")


def test_mask_of_another_shape(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    mask = scan.folder / "mask.nii.gz"
    nifti.write(mask, np.ones((40, 44, 39), np.uint8), Grid.from_voxel_size((40, 44, 39), (4, 4, 4)))
    refused(capsys, scan.flags(mask=[str(mask)]), "mask.nii.gz", "40×44×39")


def test_coils_are_not_echoes(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    image = nifti.read(scan.files("phase")[0])
    for part in ("phase", "mag"):
        path = scan.folder / f"{part}_coils.nii.gz"
        nifti.write(
            path, np.repeat(image.data[:20, :20, :20, None], 32, 3), Grid.from_voxel_size((20, 20, 20))
        )
    files = {
        name: [str(scan.folder / f"{part}_coils.nii.gz")]
        for name, part in (("phase", "phase"), ("magnitude", "mag"))
    }
    refused(capsys, scan.flags(**files, echo_times=["0.004", "0.012"]), "32", "coil", "coils.nii.gz")


def test_truncated_image(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(scan.files("phase")[1])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(capsys, scan.flags(), path.name)
    assert not scan.out.exists()


def test_unreadable_json(tmp_path: Path, small_head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bids = tmp_path / "bids"
    shutil.copytree(small_head, bids, ignore=shutil.ignore_patterns("derivatives"))
    sidecar = bids / "sub-01" / "anat" / "sub-01_echo-2_part-phase_MEGRE.json"
    sidecar.write_text('{"EchoTime": 0.004,')
    refused(capsys, ["run", str(bids), str(tmp_path / "out"), "participant"], sidecar.name)


def test_missing_file(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, scan.flags(phase=["nowhere.nii.gz"]), "nowhere.nii.gz")


def test_no_space_left(
    scan: Scan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    refused(capsys, scan.flags(), str(scan.folder), "space")
    assert not scan.out.exists()


def test_the_disk_fills_up_while_writing(
    scan: Scan, mapped: Scan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mapped.out, scan.out)
    before = contents(scan.out)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mensura.io.files.os.replace", full)
    assert main([*scan.flags(), "--force"]) == 2
    assert "no space is left" in capsys.readouterr().err
    assert contents(scan.out) == before


def test_output_folder_is_a_file(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    scan.out.write_text("mine")
    refused(capsys, scan.flags(), str(scan.out), "not a folder")
    assert scan.out.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    scan.folder.chmod(0o500)
    try:
        refused(capsys, scan.flags(), "permission")
    finally:
        scan.folder.chmod(0o700)


def test_no_bids_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["run", str(tmp_path), str(tmp_path / "out"), "participant"], str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[dipol]\nmethod = "tv"', "'dipole'"),
        ('[dipole]\nmethod = "tvv"', "'tv'"),
        ("[dipole.tv]\nweigth = 1", "'dipole.tv.weight'"),
        ('[dipole.tv]\nweight = "much"', "a number"),
        ('[dipole]\nmethod = "tv"\n[dipole.tkd]\nthreshold = 0.1', "tkd"),
        ('[dipole]\nmethod = "tv"\n["background+dipole"]\nmethod = "smv_tv"', "not both"),
        ("[dipole", "TOML"),
    ],
)
def test_config_with_a_mistake(
    scan: Scan, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    config = scan.folder / "run.toml"
    config.write_text(content)
    refused(capsys, [*scan.flags()[: -len(FAST)], "--config", str(config)], said, "run.toml")
    assert not scan.out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", "0"], "--threads 0"),
        (["--b0-direction", "0", "0", "0"], "B0 direction"),
        (["--dipole", "tkd", "--dipole.tv.weight", "1"], "tkd"),
    ],
)
def test_flags_that_cannot_be_meant(
    scan: Scan, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    refused(capsys, [*scan.flags()[: -len(FAST)], *words], said)


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["qsm"], ["qsm", "--fase", "x"], ["run", "a", "b", "group"]]
)
def test_usage_errors_end_with_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["qsm", "--help"], ["methods", "--help"]])
def test_help_shows_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "mensura" in shown
    assert "example" in shown or words[0] == "methods"
