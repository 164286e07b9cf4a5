"""Pages of fitted maps: every map has one, and what they draw is what lies on disk."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from derivatives import write_results
from drawings import Drawn
from fits import GRID, SHAPE, labels, write_fit

from mensura.io import nifti
from mensura.io.bids_write import write_dataset_description
from mensura.io.files import read_json, write_json, write_text
from mensura.io.labels import labels_on
from mensura.report import build, build_subject
from mensura.report.colours import CODED, palette
from mensura.report.curves import ROW_WIDTH, Window, voxel_plot
from mensura.report.fitted import series_in
from mensura.report.mosaic import lay_out
from mensura.report.published import SOURCES, published
from mensura.report.ranges import SHOWN, kind_of
from mensura.report.text import with_error
from mensura.scan import Grid, ScanError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_fit(tmp_path_factory.mktemp("fit"))
    build(out)
    return out


@pytest.fixture
def maps(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "maps")
    return tmp_path / "maps"


def text_of(html: str) -> str:
    bare = re.sub(r"<(style|svg|head)\b.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare)))


def page(folder: Path, name: str = "T1map") -> str:
    return (folder / f"{name}.html").read_text("utf-8")


def row(html: str, tissue: str) -> tuple[str, list[str]]:
    """A tissue's drawing and the numbers beside it."""
    line = re.search(rf'<tr><th scope="row">{tissue}</th>(.*?)</tr>', html, flags=re.S)
    assert line is not None, tissue
    cells = re.findall(r'<td class="time">(.*?)</td>', line[1], flags=re.S)
    return line[1], [unescape(cell) for cell in cells]


def test_every_map_has_a_page_that_leads_back(made: Path) -> None:
    report = (made / "report.html").read_text("utf-8")
    for name in ("T1map", "M0map"):
        assert f'href="{name}.html"' in report
        assert 'href="report.html#fitted"' in page(made, name)
        key = f'<article class="map" id="{name}"'
        assert key in page(made, name)
    assert len(Drawn(page(made), "T1map").rasters) == 3
    assert len(Drawn(page(made), "T1map-std").rasters) == 3


def test_nothing_is_loaded_from_elsewhere_and_text_is_escaped(maps: Path) -> None:
    evil = "<script>alert(1)</script>"
    for path in maps.glob("*.json"):
        record = read_json(path)
        record["Description"] = evil
        record["Mensura"] |= {"Warnings": [evil], "Command": evil, "Parameters": {evil: evil}}
        if "Voxels" in record:
            record["Voxels"][0]["Why"] = evil
            record["Varied"]["Name"] = evil
        write_json(path, record)
    build(maps)
    for html in (page(maps), (maps / "report.html").read_text("utf-8")):
        assert "<script" not in html
        assert not re.search(r"url\((?!#)|@import", html)
        for name, link in re.findall(r'(\w[\w:-]*)\s*=\s*"\s*(?:https?:)?//([^"]*)"', html):
            assert name == "href"
            assert link.startswith("doi.org/10.")


def test_the_pages_depend_on_the_maps_alone(maps: Path, made: Path) -> None:
    """Images, mask and all may be gone; the segmentation, which is not copied, is named where it was."""
    before = page(made)
    build(maps)
    assert page(maps).replace("maps: T1map", "out: T1map") == before


def test_the_status_legend_counts_the_voxels(made: Path, maps: Path) -> None:
    path = maps / "desc-status_T1map.nii.gz"
    status = nifti.read(path)
    changed = status.data.copy()
    changed[4, 4, 4:6] = 3
    nifti.write(path, changed.astype(np.uint8), status.grid)
    build(maps)
    text = text_of(page(maps))
    inside = int(np.count_nonzero(labels()))
    assert f"0 ok {inside - 2:,}".replace(",", "\u202f") in text
    assert "3 not converged 2" in text
    shown = np.concatenate([r.ravel() for r in Drawn(page(made), "status").rasters])
    assert set(np.unique(shown)) == {0, 2}
    assert palette("status")[2].tolist() == list(CODED[0])


def test_tissues_have_their_own_medians_and_bands(made: Path) -> None:
    t1 = nifti.read(made / "T1map.nii.gz").data
    for tissue, label in (("white matter", 1), ("cortex", 2)):
        drawing, numbers = row(page(made), tissue)
        own = t1[labels() == label]
        assert float(numbers[0]) == pytest.approx(np.median(own), rel=6e-3)
        assert numbers[3] == f"{own.size}"
        low, high = SOURCES["T1map"].values[tissue][3.0]
        band = re.search(r'class="band" x="([\d.]+)" y="0" width="([\d.]+)"', drawing)
        assert band is not None
        assert float(band[1]) == pytest.approx(low / 3 * ROW_WIDTH, abs=0.1)
        assert float(band[2]) == pytest.approx((high - low) / 3 * ROW_WIDTH, abs=0.1)
    assert "no pass or fail" in text_of(page(made))
    assert 'href="https://doi.org/10.1007/s10334-008-0104-8"' in page(made)


def test_maps_without_published_values_say_so(made: Path) -> None:
    assert "No published values are known" in text_of(page(made, "M0map"))
    assert 'class="band"' not in page(made, "M0map")


def test_without_field_strength_no_band_is_drawn_and_it_is_said(tmp_path: Path) -> None:
    out = write_fit(tmp_path, field=None)
    build(out)
    assert 'class="band"' not in page(out)
    assert "field strength is not recorded" in text_of(page(out))


def test_a_map_without_any_value_has_a_page_that_says_so(maps: Path) -> None:
    for name in ("T1map", "desc-std_T1map"):
        image = nifti.read(maps / f"{name}.nii.gz")
        nifti.write(image.path, np.where(image.data != 0, np.float32(np.nan), 0), image.grid)
    build(maps)
    assert "No voxel has a value" in text_of(page(maps))
    assert "no voxel has a value" in text_of((maps / "report.html").read_text("utf-8"))


def test_without_segmentation_all_bands_lie_behind_all_voxels(tmp_path: Path) -> None:
    out = write_fit(tmp_path, segmented=False)
    build(out)
    drawing, numbers = row(page(out), "all voxels")
    assert drawing.count('class="band"') == len(SOURCES["T1map"].values)
    assert "No segmentation" in text_of(page(out))
    assert int(numbers[3].replace("\u202f", "")) == np.count_nonzero(labels())


@pytest.mark.parametrize(("field", "shown"), [(1.494, 1.5), (2.89, 3.0), (3.0, 3.0), (6.98, 7.0)])
def test_bands_are_those_of_the_field_strength(field: float, shown: float) -> None:
    found = published("T1map", field)
    assert {band.tissue: (band.low, band.high) for band in found.bands} == {
        tissue: values[shown] for tissue, values in SOURCES["T1map"].values.items()
    }
    assert f"{shown:g} T" in found.words
    assert found.doi


@pytest.mark.parametrize(
    ("time", "rate", "sign"), [("T1", "R1", 1), ("T2", "R2", -1), ("T2star", "R2star", -1)]
)
def test_times_change_with_the_field_as_they_do_and_rates_are_their_inverse(
    time: str, rate: str, sign: int
) -> None:
    times, rates = (
        [published(f"{name}map", field).bands for field in (1.5, 3.0, 7.0)] for name in (time, rate)
    )
    for tissue in zip(*times, strict=True):
        middles = [sign * (band.low + band.high) for band in tissue]
        assert middles == sorted(middles)
    for band, inverse in zip(sum(times, ()), sum(rates, ()), strict=True):
        assert (inverse.low, inverse.high) == pytest.approx((1 / band.high, 1 / band.low))


def test_published_t2star_is_shorter_than_t1_and_iron_shortens_it() -> None:
    for field in (1.5, 3.0, 7.0):
        t1, t2star = (published(f"{name}map", field).bands for name in ("T1", "T2star"))
        assert [band.tissue for band in t1] == [band.tissue for band in t2star]
        assert all(short.high < long.low for short, long in zip(t2star, t1, strict=True))
        middle = {band.tissue: band.low + band.high for band in t2star}
        assert middle["putamen"] < middle["caudate"] < middle["white matter"] < middle["cortex"]


def test_at_other_field_strengths_there_are_none() -> None:
    found = published("T1map", 9.4)
    assert not found.bands
    assert "9.4 T" in found.words
    assert not published("MTsat", 3).bands


def test_chosen_voxels_are_drawn_with_their_rejected_points(made: Path) -> None:
    record = read_json(made / "desc-voxels_T1map.json")
    html = page(made)
    figures = re.findall(r'<figure class="voxel">.*?</figure>', html, flags=re.S)
    assert len(figures) == len(record["Voxels"]) == 6
    rejected = 0
    for figure, voxel in zip(figures, record["Voxels"], strict=True):
        none = sum(weight == 0 for weight in voxel["Weights"])
        assert figure.count('class="rejected"') == none
        assert figure.count('class="datum"') == len(voxel["Data"]) - none
        assert 'class="curve"' in figure
        assert 'class="interval"' in figure
        value = with_error(voxel["Values"]["T1map"], voxel["StandardDeviations"]["T1map"])
        assert f"T1 {value} s" in text_of(figure)
        assert "flip angles, °" in figure
        rejected += none
    assert rejected > 0
    assert "Red crosses" in text_of(html)


def test_points_and_curve_lie_where_they_belong(made: Path) -> None:
    """A point on the curve is drawn on the curve: both go through the same axes."""
    record = read_json(made / "desc-voxels_T1map.json")
    figure = re.search(r'<figure class="voxel">.*?</figure>', page(made), flags=re.S)
    assert figure is not None
    dots = np.array(re.findall(r'class="datum" cx="([-\d.]+)" cy="([-\d.]+)"', figure[0]), float)
    drawn = re.search(r'class="curve" d="M([^"]*)"', figure[0])
    assert drawn is not None
    line = np.array([pair.split() for pair in drawn[1].split("L")], float)
    voxel = record["Voxels"][0]
    scale = np.ptp(line[:, 1]) / np.ptp(voxel["Curve"]["Signal"])
    kept = [d for d, w in zip(voxel["Data"], voxel["Weights"], strict=True) if w > 0]
    at = [p for p, w in zip(record["Points"], voxel["Weights"], strict=True) if w > 0]
    off = np.asarray(kept) - np.interp(at, voxel["Curve"]["Points"], voxel["Curve"]["Signal"])
    np.testing.assert_allclose(np.interp(dots[:, 0], *line.T) - dots[:, 1], off * scale, atol=0.5)


def test_parts_of_a_series_have_lines_of_their_own() -> None:
    """Real and imaginary parts, or contrasts, come one after the other, each with its own times."""
    window = Window(0, 1, 0, 1)
    assert window.runs([0.1, 0.5, 0.9, 0.1, 0.5, 0.9]) == [slice(0, 3), slice(3, 6)]
    assert window.runs([0.1, 0.2]) == [slice(0, 2)]
    record = {"Points": [0.1, 0.9, 0.1, 0.9], "Varied": {"Name": "echo times", "Units": "s"}}
    curve = {"Points": record["Points"], "Signal": [9, 5, 4, 2], "Low": [8, 4, 3, 1], "High": [10, 6, 5, 3]}
    voxel = {"Why": "", "Index": [0, 0, 0], "Data": [9, 5, 4, 2], "Weights": [1] * 4, "Curve": curve}
    drawn = voxel_plot({**voxel, "Values": {}, "StandardDeviations": {}, "Ended": "ok"}, record, {})
    assert drawn.curve.count("M") == drawn.interval.count("Z") == 2


def test_maps_that_differ_in_entities_of_their_own_have_pages_of_their_own(
    made: Path, tmp_path: Path
) -> None:
    """As BIDS names those of diffusion; a map of a step of the QSM job is none of them."""
    folder = tmp_path / "sub-01" / "dwi"
    folder.mkdir(parents=True)
    record = read_json(made / "T1map.json") | {"Units": "1"}
    for name in ("fa", "md"):
        stem = f"sub-01_model-DTI_param-{name}"
        shutil.copy(made / "T1map.nii.gz", folder / f"{stem}_dwimap.nii.gz")
        write_json(folder / f"{stem}_dwimap.json", record)
    shutil.copy(made / "T1map.nii.gz", folder / "sub-01_R2starmap.nii.gz")
    write_json(folder / "sub-01_R2starmap.json", {"Mensura": {"Step": "r2star"}})
    build_subject(tmp_path, "01")
    pages = sorted(path.name for path in tmp_path.glob("*.html"))
    assert pages == [
        "sub-01.html",
        *(f"sub-01_model-DTI_param-{name}_dwimap.html" for name in ("fa", "md")),
    ]


@pytest.mark.parametrize(("field", "high"), [(1.5, 2.5), (3.0, 3.0), (7.0, 4.0), (None, 3.0)])
def test_ranges_are_fixed_by_name_and_field_strength(made: Path, field: float | None, high: float) -> None:
    fitted = series_in([made])[0].maps[0]
    for values in (np.array([0.1, 0.2], np.float32), np.array([5.0, 9.0], np.float32)):
        kind, remark = kind_of(fitted, field, values)
        assert (kind.scale.low, kind.scale.high) == (0, high)
        assert ("not recorded" in remark) == (field is None)


def test_every_range_is_one() -> None:
    assert all(low < high for shown in SHOWN.values() for low, high in shown.ranges.values())


def test_a_subject_gets_one_page_that_leads_to_all(made: Path, tmp_path: Path) -> None:
    """Without susceptibility maps an overview, with one run its page, with several an overview beside theirs."""
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for path in made.iterdir():
        if path.suffix != ".html":
            shutil.copy(path, anat / f"sub-01_{path.name}")
    assert build_subject(tmp_path, "01") == (tmp_path / "sub-01.html",)
    assert 'href="sub-01_T1map.html"' in (tmp_path / "sub-01.html").read_text("utf-8")
    write_results(anat, "sub-01", shape=(16, 16, 10))
    assert build_subject(tmp_path, "01") == (tmp_path / "sub-01.html",)
    html = (tmp_path / "sub-01.html").read_text("utf-8")
    assert "Susceptibility" in unescape(html)
    assert 'href="sub-01_T1map.html"' in html
    write_results(anat, "sub-01_run-2", shape=(16, 16, 10))
    pages = build_subject(tmp_path, "01")
    assert [one.name for one in pages] == ["sub-01.html", "sub-01_run-2.html", "sub-01.html"]


def test_the_segmentation_of_a_subject_is_found_in_the_raw_datasets_derivatives(
    made: Path, tmp_path: Path
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    anat, other = out / "sub-01" / "anat", raw / "derivatives" / "segmented" / "sub-01" / "anat"
    for folder in (anat, other):
        folder.mkdir(parents=True)
    write_dataset_description(out, name="maps", raw=raw)
    for path in made.glob("*T1map.*"):
        if path.suffix == ".gz":
            shutil.copy(path, anat / f"sub-01_{path.name}")
        elif path.suffix == ".json":
            record = read_json(path)
            record.pop("Segmentation")
            write_json(anat / f"sub-01_{path.name}", record)
    nifti.write(other / "sub-01_space-MNI152_dseg.nii.gz", labels() * 0 + 1, GRID)
    nifti.write(other / "sub-01_dseg.nii.gz", labels(), GRID)
    write_text(other.parents[1] / "dseg.tsv", "index\tname\n1\tWM\n2\tGM\n")
    build_subject(out, "01")
    html = page(out, "sub-01_T1map")
    assert "anat/sub-01_dseg.nii.gz" in text_of(html)
    assert row(html, "cortex")[1][3] == f"{np.count_nonzero(labels() == 2)}"


def test_labels_come_onto_another_grid_by_geometry(tmp_path: Path) -> None:
    """Twice as fine, flipped, and shifted by one voxel: every voxel of the map keeps the label at its centre."""
    fine = np.repeat(np.repeat(np.repeat(labels(), 2, 0), 2, 1), 2, 2)[::-1]
    affine = np.array(GRID.affine) @ np.diag([-0.5, 0.5, 0.5, 1])
    affine[:3, 3] = (GRID.affine @ [SHAPE[0] - 0.75, -0.25, -0.25, 1])[:3]
    nifti.write(tmp_path / "fine.nii.gz", fine, Grid(fine.shape, affine))
    np.testing.assert_array_equal(labels_on(tmp_path / "fine.nii.gz", GRID), labels())
    nifti.write(tmp_path / "half.nii.gz", labels() * np.float32(0.5), GRID)
    with pytest.raises(ScanError, match="whole numbers"):
        labels_on(tmp_path / "half.nii.gz", GRID)


def test_a_single_slice_is_shown_in_its_own_plane_alone() -> None:
    layout = lay_out(np.ones((20, 24, 1), bool), Grid.from_voxel_size((20, 24, 1), (2.0, 2.0, 5.0)))
    assert [(strip.plane.name, len(strip.slices)) for strip in layout.strips] == [("axial", 1)]
    assert layout.width == pytest.approx(2 * layout.strips[0].tile_width)


def test_values_are_written_to_the_second_digit_of_their_error() -> None:
    assert with_error(1.04872, 0.0381) == "1.049 ± 0.038"
    assert with_error(5192.3, 125.7) == "5190 ± 130"
    assert with_error(0.0713, None) == "0.0713"
    assert with_error(6541.7, None) == "6542"
    assert with_error(None, None) == "–"
