"""The page: complete, self-contained, escaped, written whole or not at all, and true to the records."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from derivatives import PROCESSING, WARNING, head, sidecar, tilted_grid, write_map, write_results
from drawings import Drawn

from mensura.io.files import read_json, write_json
from mensura.report import build, build_subject
from mensura.report.maps import MAPS
from mensura.report.references import dois
from mensura.scan import ScanError


def text_of(html: str) -> str:
    """What a reader sees, without the drawings."""
    bare = re.sub(r"<(style|svg|head)\b.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", bare)))


def change(path: Path, **fields: object) -> None:
    """Replace fields of a sidecar, and of its `Mensura` block those that are there."""
    record = read_json(path)
    for name, value in fields.items():
        block = record["Mensura"] if name in record["Mensura"] or name == "Command" else record
        block[name] = value
    write_json(path, record)


def test_every_map_is_on_the_page(results: Path) -> None:
    page = build(results)
    assert page == results / "report.html"
    html = page.read_text("utf-8")
    for kind in MAPS:
        assert len(Drawn(html, kind.key).rasters) == 3
        assert kind.title in unescape(html)


def test_nothing_is_loaded_from_elsewhere(results: Path) -> None:
    html = build(results).read_text("utf-8")
    links = re.findall(r'(\w[\w:-]*)\s*=\s*"\s*(?:https?:)?//([^"]*)"', html)
    assert links
    assert all(name == "href" and link.startswith("doi.org/10.") for name, link in links)
    for image in re.findall(r'(?:src|xlink:href|<image[^>]* href)="([^"]{0,30})', html):
        assert image.startswith("data:image/png;base64,")
    assert not re.search(r"<(script|link|iframe|object|embed|base|form)\b|@import|@font-face", html)
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html


def test_text_from_sidecars_is_escaped(results: Path) -> None:
    evil = "<script>alert(1)</script>"
    record = sidecar("Chimap")
    record["Description"] = evil
    record["Acquisition"] = {**record["Acquisition"], "Manufacturer": evil, "ProtocolName": '"><img src=x>'}
    record["Mensura"] |= {
        "Warnings": [evil],
        "Command": evil,
        "Inputs": {evil: evil},
        "Versions": {evil: evil},
    }
    record["Processing"][0] |= {"Method": evil, "Parameters": {evil: evil}}
    write_json(results / "Chimap.json", record)
    html = build(results).read_text("utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;") >= 8


def test_the_pages_name_and_place_in_a_bids_folder(derivatives: Path) -> None:
    pages = build_subject(derivatives, "01", "1")
    assert pages == (derivatives / "sub-01_ses-1.html",)
    assert "Subject 01, session 1" in text_of(pages[0].read_text("utf-8"))


def test_several_runs_get_a_page_each(tmp_path: Path) -> None:
    for run in ("sub-02_run-1", "sub-02_run-2"):
        write_results(tmp_path / "sub-02" / "anat", run, shape=(16, 16, 10))
    pages = build_subject(tmp_path, "02")
    assert [page.name for page in pages] == ["sub-02_run-1.html", "sub-02_run-2.html"]
    one = build(tmp_path / "sub-02" / "anat" / "sub-02_run-2", tmp_path / "two.html")
    assert one.read_text("utf-8") == pages[1].read_text("utf-8")


def test_a_folder_with_several_runs_must_be_told_which(tmp_path: Path) -> None:
    for run in ("sub-02_run-1", "sub-02_run-2"):
        write_map(tmp_path, run, "Chimap", np.ones((4, 4, 4)), tilted_grid((4, 4, 4), (1, 1, 1)))
    with pytest.raises(ScanError, match=r"several runs .*sub-02_run-1, sub-02_run-2"):
        build(tmp_path)


def test_the_page_depends_on_the_files_alone(results: Path, tmp_path: Path) -> None:
    first = build(results, tmp_path / "a.html").read_bytes()
    assert build(results, tmp_path / "b.html").read_bytes() == first


@pytest.mark.parametrize(
    "missing", sorted({kind.name for kind in MAPS} | {"desc-brain_mask", "desc-local_mask"})
)
def test_any_map_may_be_missing(results: Path, missing: str) -> None:
    for ending in (".nii.gz", ".json"):
        (results / f"{missing}{ending}").unlink()
    html = build(results).read_text("utf-8")
    shown = set(re.findall(r'<article class="map" id="(\w+)"', html))
    assert shown == {kind.key for kind in MAPS if kind.name != missing}


def test_a_lone_map_without_a_sidecar_is_reported_honestly(tmp_path: Path) -> None:
    grid = tilted_grid((16, 18, 12), (1, 1, 2))
    write_map(tmp_path, "", "R2starmap", head(grid)["R2starmap"], grid)
    (tmp_path / "R2starmap.json").unlink()
    text = text_of(build(tmp_path).read_text("utf-8"))
    assert "There is no susceptibility map" in text
    assert "Vendor •not recorded" in text
    assert "Reference region not recorded" in text.replace("regionnot", "region not")


def test_no_maps_at_all(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="holds no maps to report on"):
        build(tmp_path)
    with pytest.raises(ScanError, match=r"sub-07.*run `mensura run`"):
        build_subject(tmp_path, "07")


def test_a_broken_map_leaves_the_earlier_page_untouched(results: Path) -> None:
    page = build(results)
    before = page.read_bytes()
    path = results / "R2starmap.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ScanError, match=re.escape(path.name)):
        build(results)
    assert page.read_bytes() == before
    assert not [p for p in results.iterdir() if p.name.startswith(".")]


def test_a_page_that_cannot_be_written_whole_is_not_written(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = build(results)
    before = page.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(results)
    assert page.read_bytes() == before
    assert not [p for p in results.iterdir() if p.name.startswith(".")]


def test_a_map_on_another_grid_is_refused(results: Path) -> None:
    grid = tilted_grid((10, 12, 8), (1, 1, 2))
    write_map(results, "", "T2starmap", np.ones(grid.shape), grid)
    with pytest.raises(ScanError, match="T2starmap"):
        build(results)


def test_warnings_are_shown_once_and_set_the_light(results: Path) -> None:
    text = text_of(build(results).read_text("utf-8"))
    assert text.count(WARNING) == 1
    assert "Worth a look before these maps are used." in text


def test_the_methods_paragraph_cites_exactly_what_ran(results: Path) -> None:
    html = build(results).read_text("utf-8")
    ran = list(dict.fromkeys(doi for entry in PROCESSING for doi in dois(entry["EstimationReference"])))
    section = html[html.index('<section id="methods"') : html.index('<section id="provenance"')]
    assert re.findall(r"doi:(10\.[^<]+)<", section) == ran
    assert re.findall(r'href="https://doi\.org/([^"]+)"', html) == ran
    quote = section[: section.index("</blockquote>")]
    cited = re.findall(r'href="#ref-(\d+)"', quote)
    assert sorted(map(int, cited)) == list(range(1, len(ran) + 1))
    assert set(re.findall(r'id="ref-(\d+)"', section)) == set(cited)


def test_every_parameter_that_ran_is_in_the_table_with_its_unit(results: Path) -> None:
    text = text_of(build(results).read_text("utf-8"))
    for row in (
        "radius_max 12 mm",
        "sigma 7 mm",
        "weight 0.0002",
        "max_iter 100",
        "individual no",
        "fractional_intensity 0.5",
    ):
        assert row in text


def test_the_header_says_when_with_what_and_how(results: Path) -> None:
    change(results / "Chimap.json", Command="mensura qsm --phase p.nii.gz -o results")
    text = text_of(build(results).read_text("utf-8"))
    assert "Processed2026-05-04 10:11:12 UTC" in text.replace("Processed ", "Processed")
    assert "mensura 0.1.0" in text
    assert "mensura qsm --phase p.nii.gz -o results" in text


def test_the_phase_is_wrapped_again_exactly(results: Path) -> None:
    html = build(results).read_text("utf-8")
    grid = tilted_grid((40, 48, 24), (1.0, 1.0, 2.0))
    maps = head(grid)
    inside = maps["desc-brain_mask"]
    wrapped = np.angle(np.exp(1j * maps["part-phase_desc-unwrapped_MEGRE"][..., -1]))
    shown = np.concatenate([r.ravel() for r in Drawn(html, "wrapped").rasters])
    assert np.abs(wrapped[inside]).max() > 3.0
    levels = np.unique(shown[shown > 1])
    assert levels.min() >= 2
    expected = np.unique(((wrapped[inside] + np.pi) / (2 * np.pi) * 253 + 2.5).astype(int))
    assert set(levels.tolist()) <= set(range(expected.min() - 1, expected.max() + 2))
    assert levels.size > 60


def test_field_scales_grow_with_the_field_strength(results: Path) -> None:
    at_3_tesla = text_of(build(results).read_text("utf-8"))
    for path in results.glob("*.json"):
        record = read_json(path)
        record["Acquisition"]["MagneticFieldStrength"] = 7.0
        write_json(path, record)
    at_7_tesla = text_of(build(results).read_text("utf-8"))
    assert "±0.78 ppm at 3 T" in at_3_tesla
    assert "±0.77 ppm at 7 T" in at_7_tesla


def test_importing_the_report_loads_nothing_heavy() -> None:
    heavy = "jinja2", "matplotlib", "nibabel", "numba", "scipy"
    code = f"import sys, mensura.report; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_page_stays_small(results: Path) -> None:
    assert build(results).stat().st_size < 6e6
