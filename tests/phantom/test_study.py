"""`mensura simulate`: every sequence of every body on disk, valid BIDS, with the truth that the maps must meet."""

import json

import numpy as np
import pytest

from bids_validator import validator_errors
from mensura.cli import main
from mensura.io import nifti
from mensura.phantom.sequences import SEQUENCES
from mensura.phantom.study import BODIES, write_study
from mensura.scan import ScanError

TINY = ("--shape", "22", "26", "24", "--voxel-size", "8", "--supersampling", "1")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """All sequences of a head at two sites, with motion and a corrupted volume in every series."""
    folder = tmp_path_factory.mktemp("study") / "raw"
    flags = ["--sequences", "all", "--sites", "2", "--motion", "1", "--corrupted", "1", "--seed", "3"]
    quick = ["--DCE.volumes", "3", "--MESE.echoes", "4", "--VFA.flip-angles", "3", "15"]
    assert main(["simulate", "head", str(folder), *TINY, *flags, *quick]) == 0
    return folder


def test_the_validator_finds_no_error(study):
    assert validator_errors(study) == []
    assert validator_errors(study / "derivatives" / "truth") == []


def test_every_sequence_has_its_files_and_fields(study):
    """The metadata that BIDS requires of each suffix, and what multicentre work needs."""
    required = {
        "VFA": {"FlipAngle", "PulseSequenceType", "RepetitionTimeExcitation"},
        "IRT1": {"InversionTime"},
        "MP2RAGE": {
            *("FlipAngle", "InversionTime", "RepetitionTimeExcitation", "RepetitionTimePreparation"),
            *("NumberShots", "MagneticFieldStrength"),
        },
        "MESE": {"EchoTime"},
        "MEGRE": {"EchoTime"},
        "MTR": {"MTState"},
        "MTS": {"FlipAngle", "MTState", "RepetitionTimeExcitation"},
        "MPM": {"FlipAngle", "MTState", "RepetitionTimeExcitation", "EchoTime"},
        "TB1DAM": {"FlipAngle"},
        "TB1AFI": {"RepetitionTime"},
        "TB1EPI": {"FlipAngle", "EchoTime"},
        "phase1": {"EchoTime"},
        "phase2": {"EchoTime"},
        "magnitude1": set(),
        "DCE": {"RepetitionTime"},
        "UNIT1": set(),
    }
    everywhere = {
        *("Manufacturer", "ManufacturersModelName", "DeviceSerialNumber", "StationName", "SoftwareVersions"),
        *("MagneticFieldStrength", "ReceiveCoilName", "ReceiveCoilActiveElements", "MRTransmitCoilSequence"),
        *("CoilCombinationMethod", "NonlinearGradientCorrection", "B0ShimmingTechnique"),
    }
    for suffix, fields in required.items():
        paths = sorted((study / "sub-01" / "ses-site1").glob(f"*/*_{suffix}.json"))
        assert paths, suffix
        for path in paths:
            assert fields | everywhere <= set(json.loads(path.read_text())), path.name
            assert path.with_suffix("").with_suffix(".nii.gz").is_file()


def test_sites_are_sessions_with_scanners_of_their_own(study):
    images, records = [], []
    for site in ("site1", "site2"):
        path = study / "sub-01" / f"ses-{site}" / "anat" / f"sub-01_ses-{site}_flip-1_VFA.nii.gz"
        images.append(nifti.read(path).data)
        records.append(json.loads(path.with_suffix("").with_suffix(".json").read_text()))
    assert records[0]["InstitutionName"] == "site1"
    assert records[0]["DeviceSerialNumber"] != records[1]["DeviceSerialNumber"]
    truth = study / "derivatives" / "truth" / "sub-01"
    t1 = [
        nifti.read(truth / f"ses-{s}" / "anat" / f"sub-01_ses-{s}_T1map.nii.gz").data
        for s in ("site1", "site2")
    ]
    b1 = [
        nifti.read(truth / f"ses-{s}" / "fmap" / f"sub-01_ses-{s}_TB1map.nii.gz").data
        for s in ("site1", "site2")
    ]
    np.testing.assert_array_equal(*t1)  # one head
    assert np.abs(b1[0] - b1[1]).max() > 0.01
    assert abs(np.log(images[1].mean() / images[0].mean())) > 0.05


def test_true_motion_and_corruption_are_on_record(study):
    folder = study / "derivatives" / "truth" / "sub-01" / "ses-site1" / "anat"
    rows = (folder / "sub-01_ses-site1_desc-IRT1_motion.tsv").read_text().splitlines()
    assert rows[0].split("\t") == [*("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "corrupted")]
    table = np.array([row.split("\t") for row in rows[1:]], float)
    assert table.shape == (6, 7)
    assert not table[0, :6].any()
    assert (np.abs(table[1:, :6]).max(axis=1) > 0.2).all()
    assert table[:, 6].sum() == 1


def test_the_time_series_is_one_file(study):
    image = nifti.read(study / "sub-01" / "ses-site1" / "perf" / "sub-01_ses-site1_DCE.nii.gz")
    assert image.data.shape == (22, 26, 24, 3)


@pytest.mark.parametrize("body", BODIES)
def test_every_body_is_simulated_from_a_configuration(body, tmp_path):
    config = tmp_path / "study.toml"
    config.write_text(
        'seed = 2\nsequences = ["VFA"]\nsnr = 20\n[VFA]\nflip_angles = [4, 12]\nrepetition_time = 0.02\n'
    )
    out = tmp_path / "raw"
    assert main(["simulate", body, str(out), *TINY, "--config", str(config), "--VFA.flip-angles", "7"]) == 0
    (path,) = out.glob("sub-01/anat/*_VFA.json")
    record = json.loads(path.read_text())
    assert record["FlipAngle"] == 7  # flags go first
    assert record["RepetitionTime"] == 0.02
    truth = json.loads((out / "derivatives/truth/sub-01/anat/sub-01_T1map.json").read_text())
    assert truth["Simulation"]["snr"] == 20
    assert truth["Units"] == "s"
    labels = nifti.read(out / "derivatives/truth/sub-01/anat/sub-01_dseg.nii.gz").data
    rows = (out / "derivatives/truth/dseg.tsv").read_text().splitlines()
    assert rows[0] == "index\tname"
    assert {int(row.split("\t")[0]) for row in rows[1:]} >= set(np.unique(labels).astype(int).tolist())


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_study(
            tmp_path / name, shape=(12, 14, 12), voxel_size=(16.0,), sequences=("VFA",), supersampling=1
        )
    for path in sorted((tmp_path / "a").rglob("*.nii.gz")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--sequences", "EPI"], "there is no sequence 'EPI'"),
        (["--snr", "0"], "must be positive"),
        (["--supersampling", "20"], "choose 1 to 8"),
        (["--field-strength", "3000"], "choose 0.1 to 12"),
        (["--subject", "a_b"], "letters and digits"),
        (["--MEGRE.echo-times", "30", "4"], "must be positive and increase"),
        (["--VFA.echo-time", "short"], "not a valid value"),
        (["--shape", "3"], "three sizes"),
        (["--field-strength", "3", "7"], "2 field strengths do not fit 1 sites"),
    ],
)
def test_bad_input_gets_one_sentence_and_writes_nothing(flags, sentence, tmp_path, capsys):
    sequences = [] if "--sequences" in flags else ["--sequences", "MEGRE", "VFA"]
    assert main(["simulate", "head", str(tmp_path / "raw"), *TINY, *sequences, *flags]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in last
    assert last.startswith("mensura: ")
    assert not (tmp_path / "raw").exists()


def test_sites_may_differ_in_field_strength(tmp_path):
    flags = ["--sites", "2", "--field-strength", "1.5", "3", "--sequences", "VFA", "--VFA.flip-angles", "5"]
    assert main(["simulate", "head", str(tmp_path / "raw"), *TINY, *flags]) == 0
    means = []
    for site, strength in (("site1", 1.5), ("site2", 3)):
        stem = tmp_path / "raw/sub-01" / f"ses-{site}" / "anat" / f"sub-01_ses-{site}_flip-1_VFA.json"
        assert json.loads(stem.read_text())["MagneticFieldStrength"] == strength
        truth = tmp_path / "raw/derivatives/truth/sub-01" / f"ses-{site}" / "anat"
        means.append(nifti.read(truth / f"sub-01_ses-{site}_T1map.nii.gz").data.mean())
    assert means[1] > 1.15 * means[0]


def test_an_unknown_key_of_a_configuration_is_named(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("[VFA]\nflip_angle = [3]\n")
    assert main(["simulate", "head", str(tmp_path / "raw"), "--config", str(tmp_path / "c.toml")]) == 2
    assert "VFA.flip_angle" in (said := capsys.readouterr().err)
    assert "did you mean 'VFA.flip_angles'" in said


@pytest.mark.parametrize("words", [[], *([body] for body in BODIES)])
def test_help_names_every_parameter(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["simulate", *words, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    if words:
        own = BODIES[words[0]].anatomy.parameters
        flags = [*own, *(f"{name}.{p}" for name, method in SEQUENCES.items() for p in method.parameters)]
        assert all(f"--{flag.replace('_', '-')}" in said for flag in flags)
    else:
        assert all(body in said for body in BODIES)


def test_larger_voxels_keep_the_field_of_view():
    assert BODIES["head"].shape_of((1.0, 1.0, 1.0)) == (164, 205, 205)
    assert BODIES["head"].shape_of((2.0, 0.7, 3.0)) == (82, 293, 69)
    assert BODIES["liver"].shape_of((1.5, 1.5, 5.0)) == (256, 192, 40)


def test_unknown_bodies_are_refused(tmp_path):
    with pytest.raises(ScanError, match="no body 'foot'; choose from head"):
        write_study(tmp_path, "foot")
    assert set(SEQUENCES) >= {"MEGRE", "VFA", "IRT1"}
