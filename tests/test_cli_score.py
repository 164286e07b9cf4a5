"""`mensura score`: what it prints and writes, how it finds things out, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.scan import Grid
from mensura.score import susceptibility

GRID = Grid.from_voxel_size((12, 10, 8), (1, 1, 2))
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.standard_normal(GRID.shape).astype(np.float32) * 0.05
ESTIMATE = (0.8 * TRUTH + 0.01 * RANDOM.standard_normal(GRID.shape) + 0.02).astype(np.float32)
MASK = np.zeros(GRID.shape, bool)
MASK[1:-1, 1:-1, 1:-1] = True
LABELS = np.zeros(GRID.shape, np.uint8)
LABELS[2:5], LABELS[5:8], LABELS[8:10] = 10, 11, 8
NAMES = "index\tname\n0\tair\n8\twhite matter\n10\tcaudate\n11\tputamen\n"


class Folder:
    """Maps on one grid in a folder, and the words that score them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.put("Chimap", ESTIMATE)
        self.put("truth/Chimap", TRUTH)
        self.put("mask", MASK)

    def put(self, name: str, data: Any, grid: Grid = GRID, **record: Any) -> str:
        path = self.path / f"{name}.nii.gz"
        nifti.write(path, data, grid)
        if record:
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(record))
        return str(path)

    def words(self, estimate: str = "Chimap", truth: str = "truth/Chimap", *more: str) -> list[str]:
        paths = [str(self.path / f"{name}.nii.gz") for name in (estimate, truth, "mask")]
        return ["score", paths[0], paths[1], "--mask", paths[2], *more]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def scored(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def value(record: dict[str, Any], name: str, region: str = "mask") -> float:
    (found,) = (s["value"] for s in record["scores"] if (s["name"], s["region"]) == (name, region))
    return float(found)


def refused(capsys: pytest.CaptureFixture[str], words: list[str], *said: str) -> None:
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mensura: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    for text in said:
        assert text in captured.err, captured.err


# What it says


def test_json_holds_the_scores_of_the_functions(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    record = scored(capsys, folder.words())
    assert (record["kind"], record["why"]) == ("susceptibility", "its name ends in Chimap")
    assert (record["unit"], record["voxels"], record["coverage"]) == ("ppm", MASK.sum(), 100)
    expected = susceptibility(ESTIMATE, TRUTH, MASK, GRID.voxel_size)
    assert [(s["name"], s["region"]) for s in record["scores"]] == [(s.name, s.region) for s in expected]
    assert [s["value"] for s in record["scores"]] == pytest.approx([s.value for s in expected])
    assert {tuple(s) for s in record["scores"]} == {("name", "value", "unit", "region", "coverage", "voxels")}


def test_a_perfect_map_scores_zero(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    record = scored(capsys, folder.words("truth/Chimap"))
    assert value(record, "hfen") == value(record, "nrmse") == value(record, "gradient_error") == 0
    assert value(record, "xsim") == 1


def test_the_table_names_regions_scores_and_coverage(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentation = folder.put("dseg", LABELS)
    (folder.path / "dseg.tsv").write_text(NAMES)
    assert main(folder.words("Chimap", "truth/Chimap", "--segmentation", segmentation)) == 0
    said = capsys.readouterr().out
    for text in ("NRMSE", "detrended", "coverage", "interior", "rim", "deep-grey", "tissue", "HFEN", "XSIM",
                 "1 − slope", "ends in Chimap", f"{MASK.sum()} voxels"):  # fmt: skip
        assert text in said, text


def test_scores_are_written_as_json_and_tsv(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    record = scored(capsys, folder.words())
    for name in ("s.json", "s.tsv"):
        assert main(folder.words("Chimap", "truth/Chimap", "-o", str(folder.path / name))) == 0
    assert json.loads((folder.path / "s.json").read_text()) == record
    head, *rows = (line.split("\t") for line in (folder.path / "s.tsv").read_text().splitlines())
    assert head == ["name", "region", "value", "unit", "coverage", "voxels"]
    assert [(row[0], row[1]) for row in rows] == [(s["name"], s["region"]) for s in record["scores"]]
    assert [float(row[2]) for row in rows] == pytest.approx([s["value"] for s in record["scores"]])


def test_relaxation_maps_are_told_by_their_name_and_judged_by_their_deviation(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = 1 + np.abs(TRUTH)
    folder.put("T1map", truth + 0.1, Units="s")
    folder.put("true_T1map", truth, Units="s")
    std = folder.put("desc-std_T1map", np.full(GRID.shape, 0.1), Units="s")
    words = folder.words("T1map", "true_T1map", "--std", std)
    record = scored(capsys, words)
    assert (record["kind"], record["unit"]) == ("relaxometry", "s")
    assert value(record, "bias") == pytest.approx(0.1)
    assert value(record, "wsd") == pytest.approx(0, abs=1e-6)
    assert (value(record, "interval_coverage"), value(record, "z_mean")) == (100, pytest.approx(1))
    assert sum(record["z_histogram"]["shares"]) == pytest.approx(100)
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "errors over σ" in said
    assert "95 % limits" in said


def test_the_kind_can_be_said(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.put("a", ESTIMATE)
    folder.put("b", TRUTH)
    refused(capsys, folder.words("a", "b"), "b.nii.gz does not tell", "--kind susceptibility")
    record = scored(capsys, folder.words("a", "b", "--kind", "relaxometry"))
    assert (record["kind"], record["why"]) == ("relaxometry", "as asked")
    folder.put("b", TRUTH, Units="ppm")
    assert scored(capsys, folder.words("a", "b"))["why"] == "its unit is ppm"


# Voxels without a value


def test_zeros_of_a_map_are_voxels_without_a_value(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = np.zeros(GRID.shape, bool)
    outside[:4] = True
    folder.put("Chimap", np.where(outside, 0, TRUTH))
    share = 100 * np.sum(MASK & ~outside) / MASK.sum()
    record = scored(capsys, folder.words())
    assert (value(record, "nrmse"), record["coverage"]) == (0, pytest.approx(share))
    assert f"{np.sum(MASK & outside)} voxels of the mask are exactly 0" in record["notes"][0]
    for more in (["--zeros", "value"], ["--missing", "zero"]):
        counted = scored(capsys, folder.words("Chimap", "truth/Chimap", *more))
        assert value(counted, "nrmse") > 10
        assert counted["scores"][0]["voxels"] == MASK.sum()
    assert counted["coverage"] == pytest.approx(share)


def test_a_mask_of_the_estimate_tells_where_it_has_a_value(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    own = folder.put("own", np.where(np.indices(GRID.shape)[0] < 6, 1, 0))
    folder.put("Chimap", np.where(np.indices(GRID.shape)[1] < 5, 0, TRUTH))
    record = scored(capsys, folder.words("Chimap", "truth/Chimap", "--estimate-mask", own))
    assert record["scores"][0]["voxels"] == MASK[:6].sum()
    assert value(record, "nrmse") > 10
    assert record["notes"] == []


def test_voxels_of_unknown_truth_are_not_asked_for(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.put("truth/Chimap", np.where(LABELS == 8, np.nan, TRUTH))
    record = scored(capsys, folder.words())
    assert (record["voxels"], record["coverage"]) == (np.sum(MASK & (LABELS != 8)), 100)
    assert "the truth has no value" in record["notes"][0]


# Regions


def test_names_are_found_above_the_segmentation_in_its_dataset(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentation = folder.put("set/sub-01/anat/sub-01_dseg", LABELS)
    (folder.path / "dseg.tsv").write_text("index\tname\n8\tvein\n")
    (folder.path / "set" / "dataset_description.json").write_text("{}")
    words = folder.words("Chimap", "truth/Chimap", "--segmentation", segmentation)
    refused(capsys, words, "no names of tissues", "--labels", "--regions")
    (folder.path / "set" / "dseg.tsv").write_text(NAMES)
    regions = {s["region"] for s in scored(capsys, words)["scores"]}
    assert regions == {"mask", "interior", "rim", "deep-grey", "tissue"}
    beside = folder.path / "set/sub-01/anat/sub-01_dseg.tsv"
    beside.write_text("index\tname\n8\tvein\n")
    regions = {s["region"] for s in scored(capsys, words)["scores"]}
    assert regions == {"mask", "interior", "rim", "blood"}


def test_labels_may_be_given_and_regions_replaced(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation = folder.put("parts", LABELS)
    table = folder.path / "names.txt"
    table.write_text(NAMES)
    words = folder.words("Chimap", "truth/Chimap", "--segmentation", segmentation)
    named = scored(capsys, [*words, "--labels", str(table), "--regions", "deep-grey=10,8", "mine=11"])
    numbered = scored(capsys, [*words, "--regions", "deep-grey=10,8", "mine=11"])
    counts = {s["region"]: s["voxels"] for s in named["scores"]}
    assert counts["mine"] == np.sum(MASK & (LABELS == 11))
    assert counts["deep-grey"] == np.sum(MASK & np.isin(LABELS, (8, 10)))
    assert counts["tissue"] == np.sum(MASK & (LABELS == 8))
    assert "tissue" not in {s["region"] for s in numbered["scores"]}


def test_every_label_is_a_region_of_a_relaxation_map(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.put("R2starmap", 20 + ESTIMATE)
    folder.put("true_R2starmap", 20 + TRUTH)
    segmentation = folder.put("parts", LABELS)
    words = folder.words("R2starmap", "true_R2starmap", "--segmentation", segmentation)
    record = scored(capsys, [*words, "--regions", "both=10,11"])
    assert record["unit"] == "1/s"
    assert {s["region"] for s in record["scores"]} == {"mask", "label 8", "label 10", "label 11", "both"}
    (folder.path / "parts.tsv").write_text(NAMES)
    assert {s["region"] for s in scored(capsys, words)["scores"]} == {
        "mask", "white matter", "caudate", "putamen"
    }  # fmt: skip


# What it refuses


def test_maps_on_other_grids_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    smaller = Grid.from_voxel_size((11, 10, 8), (1, 1, 2))
    moved = np.array(GRID.affine)
    moved[0, 3] += 0.5
    for name, words in (
        ("other_Chimap", folder.words("other_Chimap")),
        ("other_mask", [*folder.words()[:4], str(folder.path / "other_mask.nii.gz")]),
        ("other_dseg", folder.words("Chimap", "truth/Chimap", "--segmentation",
                                    str(folder.path / "other_dseg.nii.gz"))),
        ("other_std", folder.words("Chimap", "truth/Chimap", "--std", str(folder.path / "other_std.nii.gz"))),
        ("other_own", folder.words("Chimap", "truth/Chimap", "--estimate-mask",
                                   str(folder.path / "other_own.nii.gz"))),
    ):  # fmt: skip
        folder.put(name, np.ones(smaller.shape), smaller)
        refused(capsys, words, name, "11×10×8", "12×10×8")
        folder.put(name, np.ones(GRID.shape), Grid(GRID.shape, moved))
        refused(capsys, words, name, "lies elsewhere", "0.5 mm")


def test_maps_of_other_units_are_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.put("T1map", 1000 * np.abs(TRUTH), Units="ms")
    folder.put("true_T1map", np.abs(TRUTH), Units="s")
    refused(capsys, folder.words("T1map", "true_T1map"), "in ms", "in s", "convert")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-o", "scores.xlsx"], "scores.xlsx"),
        (["--regions", "deep-grey=10"], "--segmentation"),
        (["--regions", "deep-grey"], "deep-grey=10,11,12"),
        (["--regions", "deep-grey=ten"], "deep-grey=ten"),
        (["--rim", "-2"], "-2 mm"),
        (["--std", "nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    refused(capsys, folder.words("Chimap", "truth/Chimap", *more), said)


def test_files_that_are_not_what_they_should_be_are_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.put("series_Chimap", np.stack([TRUTH, TRUTH], axis=-1))
    refused(capsys, folder.words("series_Chimap"), "2 volumes")
    fractions = folder.put("fractions", TRUTH)
    words = folder.words("Chimap", "truth/Chimap", "--segmentation")
    refused(capsys, [*words, fractions, "--regions", "a=1"], "fractions")
    labels = folder.put("parts", LABELS)
    table = folder.path / "parts.tsv"
    table.write_text("label,name\n8,white matter\n")
    refused(capsys, [*words, labels], "parts.tsv", "index and name")
    folder.put("mask", 0 * TRUTH)
    refused(capsys, folder.words(), "inside the mask")


def test_the_mask_is_asked_for(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(folder.words()[:3])
    assert ended.value.code == 2
    assert "--mask" in capsys.readouterr().err
