"""The guide: its pictures are there and its links lead somewhere; the page on susceptibility says what was measured."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
sys.path.insert(0, str(FIGURES))
pytest.importorskip("matplotlib", reason="figures need the extra `docs`")

import chi_measured as measured  # noqa: E402
import chi_scene as scene  # noqa: E402
import susceptibility as script  # noqa: E402
from drawing import cut, window  # noqa: E402
from PIL import Image  # noqa: E402

from mensura.qsm.dipole.direct import tkd  # noqa: E402
from mensura.scan import Grid  # noqa: E402


@pytest.fixture(scope="module")
def case() -> scene.Case:
    """A head so coarse that everything takes a second."""
    return scene.scanned_head((40, 46, 40), (4.5, 4.5, 4.5))


@pytest.fixture(scope="module")
def numbers() -> script.Numbers:
    """The numbers that the committed page was made from."""
    found: script.Numbers = json.loads(script.NUMBERS.read_text("utf-8"))
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pictures_and_links_of_a_page_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not re.match(r"[a-z]+:", target):
            assert (path.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("path", sorted(FIGURES.glob("susceptibility-*.png")), ids=lambda p: p.name)
def test_pictures_are_small_sharp_and_used(path: Path) -> None:
    assert path.stat().st_size <= 250_000
    with Image.open(path) as picture:
        assert picture.width >= 1800
    assert f"figures/{path.name}" in script.PAGE.read_text("utf-8")


def test_the_page_says_what_was_measured(numbers: script.Numbers) -> None:
    assert script.PAGE.read_text("utf-8") == script.page(numbers)


def test_the_numbers_bear_out_the_words(numbers: script.Numbers) -> None:
    assert script.unmet(numbers) == []


def test_a_claim_that_no_longer_holds_is_named(numbers: script.Numbers) -> None:
    changed = json.loads(json.dumps(numbers))
    changed["background"]["after"] = changed["background"]["before"]
    assert script.unmet(changed) == ["a ball's mean takes the background away and little of the local field"]


def test_every_paper_of_the_page_is_one_that_the_package_cites() -> None:
    sources = "".join(p.read_text("utf-8") for p in (ROOT / "src").rglob("*.py"))
    papers = re.findall(r"\[(10\.[^\]]+)\]\(https://doi\.org/([^)]+)\)", script.PAGE.read_text("utf-8"))
    assert papers
    for shown, linked in papers:
        assert shown == linked
        assert shown in sources


def test_all_figures_are_made_at_a_tiny_size(
    case: scene.Case, numbers: script.Numbers, tmp_path: Path
) -> None:
    made = {
        "forward": script.make_forward(case, tmp_path),
        "dipole": script.make_dipole(tmp_path, size=33),
        "shapes": script.make_shapes(tmp_path, scale=0.5),
        "noise": script.make_noise(tmp_path, size=24, draws=1),
        "inversions": script.make_inversions(case, tmp_path),
        "path": script.make_path(case, tmp_path, np.array([0.2, 1.0, 5.0])),
        "background": script.make_background(case, tmp_path, np.array([0.0, 6, 12, 24])),
        "one_step": script.make_one_step(case, tmp_path),
    }
    for name, part in made.items():
        assert part.keys() == numbers[name].keys()
    assert {p.name for p in tmp_path.glob("*.png")} == {p.name for p in FIGURES.glob("susceptibility-*.png")}


def test_slices_are_radiological_with_the_nose_up() -> None:
    """A mark at the right, front and top of the head is at the upper left of every slice that shows it."""
    marked = np.zeros((6, 7, 8))
    marked[5, 6, 7] = 1
    for plane, index in (("sagittal", 5), ("coronal", 6), ("axial", 7)):
        assert cut(marked, plane, index)[0, 0] == 1
        assert window(marked > 0, plane, margin=0) == (slice(0, 1), slice(0, 1))


def test_voxels_of_a_sphere_and_a_cylinder_have_the_closed_forms_field() -> None:
    angle = np.radians([0.0, 30, 60, 90])
    np.testing.assert_allclose(scene.measured_sphere(angle, 1.5), scene.sphere_field(angle, 1.5), atol=2e-3)
    inside, beside = scene.measured_cylinder(angle, 2.0, size=40, length=160)
    np.testing.assert_allclose(inside, scene.cylinder_field(angle), atol=5e-3)
    np.testing.assert_allclose(beside, scene.cylinder_outside(angle, 2.0), atol=5e-3)


def test_the_cone_is_where_the_kernel_vanishes() -> None:
    plane = scene.kernel_plane(65)
    assert plane.shape == (65, 65)
    assert plane[32, 40] == pytest.approx(-2 / 3, abs=0.02)
    assert plane[40, 32] == pytest.approx(1 / 3, abs=0.02)
    assert measured.closed_gain(np.radians([scene.MAGIC]), 0.1) == pytest.approx(
        measured.closed_gain(np.radians([scene.MAGIC + 2]), 0.1)
    )
    assert measured.cone_share(2 / 3) == pytest.approx(100)


def test_errors_in_and_off_the_cone_add_up() -> None:
    grid = Grid.from_voxel_size((17, 20, 22))
    mask = np.ones(grid.shape, bool)
    error = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    inside, off = measured.cone_parts(error, mask, grid)
    assert np.hypot(inside, off) == pytest.approx(1e3 * np.sqrt(np.mean(error**2)), rel=1e-4)
    nothing, all_of_it = measured.cone_parts(error, mask, grid, limit=0)
    assert nothing == 0
    assert all_of_it == pytest.approx(np.hypot(inside, off), rel=1e-6)


def test_a_perfect_map_has_perfect_scores(case: scene.Case) -> None:
    found = measured.scores(case, case.scan.chi)
    assert (found.error, found.cone, found.rest) == pytest.approx((0, 0, 0), abs=1e-3)
    assert (found.slope, found.total) == pytest.approx((1, 100), rel=1e-4)


def test_noise_gains_what_the_closed_form_says() -> None:
    found = measured.noise_by_angle([0.2], size=32, draws=2)
    away = np.abs(found.angle - scene.MAGIC) > 15
    ratio = found.power[0.2][away][5:] / found.closed[0.2][away][5:]
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    chi = tkd(found.maps[0.2], np.ones((32, 32, 32), bool), Grid.from_voxel_size((32, 32, 32)))
    assert np.std(chi) > np.std(found.maps[0.2])


def test_a_ball_s_mean_takes_a_harmonic_field_away() -> None:
    grid = Grid.from_voxel_size((30, 30, 30), (2.0, 2.0, 2.0))
    x, y, z = (np.arange(30, dtype=np.float32)[s] * 2 - 29 for s in np.ix_(*3 * [np.arange(30)]))
    field = (x * y + z * z - (x * x + y * y) / 2).astype(np.float32)
    left = measured.less_ball_mean(field, grid, 8.0)[8:-8, 8:-8, 8:-8]
    assert np.abs(left).max() < 1e-3 * np.abs(field).max()


def test_root_mean_square_by_depth() -> None:
    depth = np.array([0.5, 0.5, 1.5, 9.0], np.float32)
    values = np.array([3, 4, 2, 7], np.float32)
    found = measured.by_depth(values, np.ones(4, bool), depth, np.array([0.0, 1, 2, 3]))
    np.testing.assert_allclose(found, [np.sqrt(12.5), 2, np.nan])
