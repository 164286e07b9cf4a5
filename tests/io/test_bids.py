"""Runs are found with all echoes and parts, sidecars are inherited, and outputs are named as BIDS asks."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_images import OBLIQUE, SHAPE, SaveImage, wrapped_phase

from mensura.io import bids
from mensura.io.bids_names import parse
from mensura.scan import ScanError

Dataset = Callable[..., Path]


def edit(path: Path, **changes: Any) -> None:
    """Changes fields of a JSON file; None removes one."""
    record = {**json.loads(path.read_text()), **changes} if path.exists() else changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))


def only_run(root: Path) -> bids.MultiEchoRun:
    (run,) = bids.find_runs(root)
    return run


def image(root: Path, echo: int, part: str, extension: str = ".nii.gz") -> Path:
    return root / f"sub-01/anat/sub-01_echo-{echo}_part-{part}_MEGRE{extension}"


def test_a_run_is_found_and_read_with_its_echoes_in_order(dataset: Dataset) -> None:
    run = only_run(dataset(echoes=11, RepetitionTime=0.06))
    assert [parse(path).entities["echo"] for path in run.phase] == [str(n) for n in range(1, 12)]
    assert (run.name, run.subject, run.session, run.suffix) == ("sub-01", "01", None, "MEGRE")
    scan = bids.load(run)
    assert scan.phase is not None
    assert scan.magnitude is not None
    for echo in range(11):
        np.testing.assert_array_equal(scan.phase[..., echo], wrapped_phase(SHAPE, seed=echo + 1))
    np.testing.assert_array_equal(scan.magnitude, np.abs(scan.phase) + 1)
    assert scan.acquisition is not None
    assert scan.acquisition.echo_times == pytest.approx([0.004 * n for n in range(1, 12)])
    assert scan.acquisition.flip_angle == pytest.approx(np.radians(15))
    np.testing.assert_allclose(scan.grid.affine, OBLIQUE, atol=1e-5)
    assert bids.shape(run) == (*SHAPE, 11)
    assert scan.warnings == ()


def test_runs_differ_by_every_entity_but_echo_and_part(dataset: Dataset) -> None:
    for stem in (
        "sub-01/ses-a/anat/sub-01_ses-a_acq-fine_run-1",
        "sub-01/ses-a/anat/sub-01_ses-a_acq-fine_run-2",
        "sub-01/ses-b/anat/sub-01_ses-b",
        "sub-02/anat/sub-02_dir-AP",
    ):
        root = dataset(stem)
    names = ["sub-01_ses-a_acq-fine_run-1", "sub-01_ses-a_acq-fine_run-2", "sub-01_ses-b", "sub-02_dir-AP"]
    assert [run.name for run in bids.find_runs(root)] == names
    assert [run.name for run in bids.find_runs(root, participants=["01"])] == names[:3]
    assert [run.name for run in bids.find_runs(root, participants=["sub-02", "01"])] == names
    assert [run.name for run in bids.find_runs(root, sessions=["b"])] == names[2:3]
    assert [run.name for run in bids.find_runs(root, participants=["sub-01"], sessions=["ses-a"])] == names[
        :2
    ]


def test_labels_that_do_not_exist_are_refused_with_those_that_do(dataset: Dataset) -> None:
    root = dataset("sub-01/ses-a/anat/sub-01_ses-a")
    with pytest.raises(ScanError, match=r"has no sub-1; it has: sub-01"):
        bids.find_runs(root, participants=["1"])
    with pytest.raises(ScanError, match=r"has no ses-b; it has: ses-a"):
        bids.find_runs(root, sessions=["a", "b"])


def test_a_folder_that_is_no_dataset_or_holds_no_runs_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="is not a folder"):
        bids.find_runs(tmp_path / "nothing")
    with pytest.raises(ScanError, match=r"is not a BIDS dataset: it has no dataset_description\.json"):
        bids.find_runs(tmp_path)
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(ScanError, match="has no gradient-echo images"):
        bids.find_runs(tmp_path)


def test_magnitude_of_a_clinical_t2starw_is_not_taken_for_a_run(dataset: Dataset, save: SaveImage) -> None:
    save("bids/sub-02/anat/sub-02_T2starw.nii.gz", np.ones(SHAPE, np.float32))
    root = dataset()
    assert [run.name for run in bids.find_runs(root)] == ["sub-01"]
    with pytest.raises(ScanError, match=r"sub-02_T2starw\.nii\.gz has no phase with it"):
        bids.find_runs(root, participants=["02"])


def test_a_single_echo_t2starw_with_phase_is_a_run_with_outputs_of_its_own(
    dataset: Dataset, save: SaveImage
) -> None:
    root = dataset()
    for part, data in (("mag", np.ones(SHAPE, np.float32)), ("phase", wrapped_phase(SHAPE))):
        path = save(f"bids/sub-01/anat/sub-01_part-{part}_T2starw.nii.gz", data)
        edit(path.with_name(path.name.replace(".nii.gz", ".json")), EchoTime=0.02, MagneticFieldStrength=3)
    multi, single = bids.find_runs(root)
    assert (multi.name, single.name) == ("sub-01", "sub-01_mod-T2starw")
    scan = bids.load(single)
    assert scan.phase is not None
    assert scan.phase.shape == (*SHAPE, 1)
    assert any("single echo" in warning for warning in scan.warnings)
    assert bids.output_path("out", single, "Chimap") != bids.output_path("out", multi, "Chimap")


def test_an_image_without_a_part_is_the_magnitude(dataset: Dataset) -> None:
    root = dataset()
    for echo in (1, 2, 3):
        for extension in (".nii.gz", ".json"):
            path = image(root, echo, "mag", extension)
            path.rename(path.with_name(path.name.replace("_part-mag", "")))
    run = only_run(root)
    assert len(run.magnitude) == len(run.phase) == 3


def test_real_and_imaginary_parts_make_a_run(dataset: Dataset) -> None:
    root = dataset()
    for path in sorted(root.glob("sub-01/anat/*")):
        path.rename(
            path.with_name(path.name.replace("part-mag", "part-real").replace("part-phase", "part-imag"))
        )
    scan = bids.load(only_run(root))
    assert scan.phase is None
    assert scan.real is not None
    assert scan.imaginary is not None
    assert set(scan.sources) == {"real", "imaginary"}
    for path in root.glob("sub-01/anat/*part-imag*"):
        path.unlink()
    with pytest.raises(ScanError, match="has no imaginary part with it"):
        bids.load(only_run(root))


def test_a_4d_file_with_a_list_of_echo_times_is_a_run(tmp_path: Path, save: SaveImage) -> None:
    for part, data in (("mag", np.abs(wrapped_phase())), ("phase", wrapped_phase())):
        path = save(f"sub-01/anat/sub-01_part-{part}_MEGRE.nii.gz", data)
        edit(path.with_name(path.name.replace(".nii.gz", ".json")), EchoTime=[0.004, 0.008, 0.012])
    edit(tmp_path / "MEGRE.json", MagneticFieldStrength=7)
    edit(tmp_path / "dataset_description.json", Name="test")
    run = only_run(tmp_path)
    assert bids.shape(run) == (*SHAPE, 3)
    scan = bids.load(run)
    np.testing.assert_array_equal(scan.phase, wrapped_phase())
    assert scan.acquisition is not None
    assert scan.acquisition.echo_times == (0.004, 0.008, 0.012)


def test_sidecars_are_inherited_the_nearest_and_most_specific_deciding(dataset: Dataset) -> None:
    root = dataset("sub-01/ses-a/anat/sub-01_ses-a_acq-x", MagneticFieldStrength=None, FlipAngle=None)
    folder = root / "sub-01/ses-a/anat"
    edit(root / "MEGRE.json", MagneticFieldStrength=1.5, A=1, B=1, C=1, D=1)
    edit(root / "acq-x_MEGRE.json", A=2, B=2)
    edit(root / "acq-y_MEGRE.json", A=-1, FlipAngle=99)
    edit(root / "T2starw.json", A=-1)
    edit(root / "sub-01/sub-01_MEGRE.json", MagneticFieldStrength=3, B=3)
    edit(root / "sub-01/ses-a/sub-01_ses-a_part-phase_MEGRE.json", C=4)
    edit(folder / "sub-01_ses-a_acq-x_echo-1_MEGRE.json", D=5)
    run = only_run(root)
    record = bids.sidecar_of(root, run.phase[0])
    assert {key: record[key] for key in "ABCD"} == {"A": 2, "B": 3, "C": 4, "D": 5}
    assert record["MagneticFieldStrength"] == 3
    assert "FlipAngle" not in record
    assert bids.sidecar_of(root, run.magnitude[1])["C"] == 1
    names = [path.name for path in bids.sidecars_of(root, run.phase[0])]
    assert names == [
        "MEGRE.json",
        "acq-x_MEGRE.json",
        "sub-01_MEGRE.json",
        "sub-01_ses-a_part-phase_MEGRE.json",
        "sub-01_ses-a_acq-x_echo-1_MEGRE.json",
        "sub-01_ses-a_acq-x_echo-1_part-phase_MEGRE.json",
    ]
    assert set(run.sidecars()) >= {
        root / "MEGRE.json",
        folder / run.phase[2].name.replace(".nii.gz", ".json"),
    }
    assert bids.load(run).field_strength == 3


def test_the_magnitude_s_sidecar_completes_that_of_the_phase(dataset: Dataset) -> None:
    root = dataset(Units="arbitrary")
    for echo in (1, 2, 3):
        edit(image(root, echo, "phase", ".json"), MagneticFieldStrength=None, EchoTime=None, Units="rad")
    scan = bids.load(only_run(root))
    assert scan.acquisition is not None
    assert scan.acquisition.echo_times == pytest.approx((0.004, 0.008, 0.012))
    assert "states radians" in scan.phase_rule


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"EchoTime": None}, r"echo-1_part-phase_MEGRE\.nii\.gz has no EchoTime; add it to its JSON file"),
        ({"EchoTime": "soon"}, r"EchoTime of .*echo-1_part-phase_MEGRE\.nii\.gz must be a number"),
        ({"EchoTime": 0.004}, "must increase from echo to echo"),
        ({"MagneticFieldStrength": None}, r"_MEGRE\.nii\.gz has no MagneticFieldStrength; .* in tesla"),
        ({"MagneticFieldStrength": 3000}, "field strength of 3000 T is not plausible"),
    ],
)
def test_fields_that_are_missing_or_cannot_be_meant_are_named(
    dataset: Dataset, changes: dict[str, Any], message: str
) -> None:
    run = only_run(dataset(**changes))
    with pytest.raises(ScanError, match=message):
        bids.load(run)


def test_echo_times_in_milliseconds_are_refused(dataset: Dataset) -> None:
    root = dataset()
    for path in root.glob("sub-01/anat/*.json"):
        edit(path, EchoTime=1000 * json.loads(path.read_text())["EchoTime"])
    with pytest.raises(ScanError, match=r"_MEGRE\.nii\.gz: the echo times 4, 8, 12 look like milliseconds"):
        bids.load(only_run(root))


def test_magnitude_and_phase_of_other_echo_times_are_refused(dataset: Dataset) -> None:
    root = dataset()
    edit(image(root, 2, "mag", ".json"), EchoTime=0.0085)
    with pytest.raises(
        ScanError, match=r"echo-2_part-phase.* has EchoTime 0\.008 but .*echo-2_part-mag.* 0\.0085"
    ):
        bids.load(only_run(root))


def test_magnitudes_of_several_echoes_are_a_decay_unless_coils_are_apart(tmp_path: Path) -> None:
    def run(suffix: str, *names: str, **more: tuple[Path, ...]) -> bids.MultiEchoRun:
        paths = tuple(tmp_path / "sub-01" / "anat" / f"sub-01_{name}_{suffix}.nii.gz" for name in names)
        return bids.MultiEchoRun(tmp_path, suffix, {"sub": "01"}, magnitude=paths, **more)

    assert run("MEGRE", "echo-1", "echo-2").decay_alone
    assert run("T2starw", "echo-1", "echo-2").decay_alone
    assert not run("T2starw", "run-1").decay_alone
    assert not run("bold", "echo-1", "echo-2").decay_alone
    assert not run("MEGRE", "echo-1_coil-1", "echo-1_coil-2").decay_alone
    assert not run(
        "MEGRE", "echo-1", "echo-2", phase=(tmp_path / "sub-01_echo-1_part-phase_MEGRE.nii",)
    ).decay_alone


def test_a_run_without_phase_is_refused(dataset: Dataset) -> None:
    root = dataset()
    dataset("sub-02/anat/sub-02")
    for echo in (1, 2, 3):
        image(root, echo, "phase").unlink()
    lacking, complete = bids.find_runs(root)
    with pytest.raises(
        ScanError, match=r"sub-01_echo-1_part-mag_MEGRE\.nii\.gz has no phase with it; export"
    ):
        bids.load(lacking)
    assert bids.load(complete).phase is not None


@pytest.mark.parametrize(("part", "name"), [("phase", "phase"), ("mag", "magnitude")])
def test_an_echo_without_one_of_its_parts_is_named(dataset: Dataset, part: str, name: str) -> None:
    root = dataset()
    image(root, 2, part).unlink()
    with pytest.raises(ScanError, match=f"the {name} of echo 2 is missing; add its file"):
        bids.load(only_run(root))


def test_coil_images_are_not_taken_for_echoes(dataset: Dataset, save: SaveImage) -> None:
    root = dataset()
    stem = "bids/sub-02/anat/sub-02"
    for part in ("mag", "phase"):
        path = save(f"{stem}_part-{part}_MEGRE.nii.gz", wrapped_phase((*SHAPE, 32)))
        edit(path.with_name(path.name.replace(".nii.gz", ".json")), EchoTime=0.004, MagneticFieldStrength=3)
        for coil in (1, 2):
            save(f"bids/sub-03/anat/sub-03_echo-1_coil-{coil}_part-{part}_MEGRE.nii.gz", wrapped_phase(SHAPE))
    _, volumes, files = bids.find_runs(root)
    with pytest.raises(ScanError, match=r"32 phase volumes but 1 echo time; .* combine coil images first"):
        bids.load(volumes)
    with pytest.raises(ScanError, match=r"coil-2.* is a second phase image of echo 1; combine coil images"):
        bids.load(files)
    save("bids/sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz", wrapped_phase((*SHAPE, 32)))
    with pytest.raises(ScanError, match=r"echo-2.* holds 32 volumes where one echo is expected"):
        bids.load(bids.find_runs(root)[0])


def test_images_that_do_not_lie_alike_are_refused(dataset: Dataset, save: SaveImage) -> None:
    root = dataset()
    turned = OBLIQUE.copy()
    turned[:3, 0] *= -1
    for echo in (1, 2, 3):
        save(f"bids/sub-01/anat/{image(root, echo, 'mag').name}", np.ones(SHAPE, np.float32), turned)
    with pytest.raises(ScanError, match=r"part-mag_MEGRE\.nii\.gz lies elsewhere than .*part-phase"):
        bids.load(only_run(root))
    save(f"bids/sub-01/anat/{image(root, 3, 'phase').name}", np.ones((7, 6, 4), np.float32))
    with pytest.raises(ScanError, match=r"echo-3_part-phase_MEGRE\.nii\.gz has shape 7×6×4 but"):
        bids.load(only_run(root))


def test_damaged_files_are_named(dataset: Dataset) -> None:
    root = dataset()
    sidecar, phase = image(root, 3, "mag", ".json"), image(root, 2, "phase")
    text = sidecar.read_text()
    sidecar.write_text(text[:-1])
    with pytest.raises(ScanError, match=r"echo-3_part-mag_MEGRE\.json is not valid JSON: .* in line 1"):
        bids.load(only_run(root))
    sidecar.write_text(text)
    phase.write_bytes(phase.read_bytes()[:200])
    with pytest.raises(ScanError, match=r"echo-2_part-phase_MEGRE\.nii\.gz is truncated"):
        bids.load(only_run(root))
    phase.unlink()
    phase.symlink_to(root / ".git" / "annex")
    with pytest.raises(ScanError, match="links to content that is not here"):
        bids.load(only_run(root))


def test_an_own_mask_goes_with_the_run(dataset: Dataset, save: SaveImage) -> None:
    run = only_run(dataset())
    inside = np.zeros(SHAPE, np.uint8)
    inside[2:4] = 1
    scan = bids.load(run, mask=save("mask.nii.gz", inside))
    np.testing.assert_array_equal(scan.mask, inside == 1)
    with pytest.raises(ScanError, match=r"empty\.nii\.gz is zero everywhere"):
        bids.load(run, mask=save("empty.nii.gz", np.zeros(SHAPE, np.uint8)))


def test_a_run_can_be_sent_to_another_process(dataset: Dataset) -> None:
    run = only_run(dataset())
    assert pickle.loads(pickle.dumps(run)) == run


def test_outputs_are_named_and_placed_by_the_entities(dataset: Dataset) -> None:
    root = dataset("sub-01/ses-a/anat/sub-01_ses-a_acq-fine_rec-b_run-2")
    run, out = only_run(root), Path("out")
    stem = "out/sub-01/ses-a/anat/sub-01_ses-a_acq-fine_rec-b_run-2"
    assert bids.output_path(out, run, "Chimap") == Path(f"{stem}_Chimap.nii.gz")
    assert bids.output_path(out, run, "mask", desc="brain", extension=".json") == Path(
        f"{stem}_desc-brain_mask.json"
    )
    path = bids.output_path(out, run, "MEGRE", part="phase", desc="unwrapped")
    assert path == Path(f"{stem}_part-phase_desc-unwrapped_MEGRE.nii.gz")
    assert bids.output_path(out, None, "Chimap") == out / "Chimap.nii.gz"
    assert bids.output_path(out, None, "fieldmap", desc="total") == out / "desc-total_fieldmap.nii.gz"
    assert bids.bids_uri(run.phase[0], root) == (
        "bids:raw:sub-01/ses-a/anat/sub-01_ses-a_acq-fine_rec-b_run-2_echo-1_part-phase_MEGRE.nii.gz"
    )
    assert bids.bids_uri("/elsewhere/mask.nii.gz", root) == "/elsewhere/mask.nii.gz"


@pytest.mark.parametrize("name", ["sub-01.nii.gz.tmp_x-y", "MEGRE-x.nii.gz", "sub-01_loose_MEGRE.nii.gz"])
def test_names_that_are_not_bids_are_left_alone(name: str) -> None:
    assert parse(name) is None


def test_a_derivative_dataset_describes_itself_and_its_source(dataset: Dataset, tmp_path: Path) -> None:
    root, out = dataset(), tmp_path / "derivatives" / "mensura"
    bids.write_dataset_description(out, name="maps", raw=root)
    record = json.loads((out / "dataset_description.json").read_text())
    assert record["DatasetType"] == "derivative"
    assert record["GeneratedBy"][0]["Name"] == "mensura"
    assert (out / record["DatasetLinks"]["raw"]).resolve() == root.resolve()
    assert record["SourceDatasets"] == [{"URL": record["DatasetLinks"]["raw"]}]


def test_describing_again_keeps_what_others_wrote(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bids.write_dataset_description(out, name="maps", raw=dataset())
    edit(
        out / "dataset_description.json", Authors=["A"], GeneratedBy=[{"Name": "other"}, {"Name": "mensura"}]
    )
    bids.write_dataset_description(out, name="maps", raw=tmp_path / "bids")
    record = json.loads((out / "dataset_description.json").read_text())
    assert record["Authors"] == ["A"]
    assert [generator["Name"] for generator in record["GeneratedBy"]] == ["other", "mensura"]
    before = os.stat(out / "dataset_description.json").st_mtime_ns
    bids.write_dataset_description(out, name="maps", raw=tmp_path / "bids")
    assert os.stat(out / "dataset_description.json").st_mtime_ns == before


def test_a_raw_dataset_is_never_turned_into_a_derivative(dataset: Dataset, tmp_path: Path) -> None:
    root = dataset()
    before = (root / "dataset_description.json").read_text()
    with pytest.raises(ScanError, match="holds a raw BIDS dataset; choose another output folder"):
        bids.write_dataset_description(root, name="maps", raw=root)
    assert (root / "dataset_description.json").read_text() == before
    bids.write_dataset_description(tmp_path / "new", name="head", dataset_type="raw")
    assert json.loads((tmp_path / "new/dataset_description.json").read_text())["DatasetType"] == "raw"


def test_bidsignore_gains_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / ".bidsignore").write_text("extra/")
    bids.write_bidsignore(tmp_path, ["*.html", "extra/"])
    bids.write_bidsignore(tmp_path)
    assert (tmp_path / ".bidsignore").read_text() == "extra/\n*.html\n"


def test_the_real_philips_head(shared_data: Path) -> None:
    run = only_run(shared_data / "philips_brain_2echo/bids")
    scan = bids.load(run)
    assert scan.phase is not None
    assert scan.magnitude is not None
    assert scan.phase.shape == scan.magnitude.shape == (80, 80, 53, 2) == bids.shape(run)
    assert np.abs(scan.phase).max() <= np.pi + 1e-6
    assert scan.phase.min() < -3.141
    assert scan.phase.max() > 3.139
    assert scan.magnitude.min() == 0
    assert scan.acquisition is not None
    assert scan.acquisition.echo_times == (0.0023, 0.0046)
    assert scan.acquisition.repetition_time == 0.02
    assert scan.acquisition.flip_angle == pytest.approx(np.radians(10))
    assert scan.acquisition.details["Manufacturer"] == "Philips"
    assert scan.field_strength == 3
    np.testing.assert_allclose(scan.grid.voxel_size, (3, 3, 3), rtol=1e-4)
    np.testing.assert_allclose(scan.grid.b0_direction, (-0.060815, 0.0023542, 0.998146), atol=1e-5)
    assert not scan.already_unwrapped
    assert scan.warnings == ()
