"""Vessels and lesions: tubes of the right volume, joined to each other, where they belong."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from mensura.phantom import tubes
from mensura.phantom.anatomy import random_head, tissue_at
from mensura.phantom.arteries import PAIRED, SINGLE
from mensura.phantom.labels import BRAIN, Label
from mensura.phantom.tubes import Vessel, paint, rounded, spaced, tapered
from mensura.phantom.vessels import LESIONS, draw_arteries, draw_lesions, draw_veins, draw_vessels
from mensura.scan import ScanError

ANYTHING = np.ones(256, bool)
BACKGROUND = 200
LOW, STEP = (-52, -66, 8), 0.75
ALL_ROUND = np.ones((3, 3, 3), bool)


@pytest.fixture(scope="module")
def head():
    return random_head(np.random.default_rng([0, 0]))


def painted(vessels, low=(-96, -128, -160), high=(96, 96, 100), step=1.0, over=ANYTHING):
    """A volume of nothing but the vessels."""
    shape = [int((b - a) / step) for a, b in zip(low, high, strict=True)]
    labels = np.full(shape, BACKGROUND, np.uint8)
    paint(labels, placed(low, step), [replace(vessel, over=None) for vessel in vessels], over)
    return labels


def placed(low, step):
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return affine


def joined(chosen):
    """Share of the largest connected part."""
    parts, count = ndimage.label(chosen, ALL_ROUND)
    return ndimage.sum(chosen, parts, range(1, count + 1)).max() / chosen.sum()


@pytest.mark.parametrize("radius", [1.3, 4.0])
def test_a_tube_has_the_volume_of_a_cylinder_with_round_ends(radius):
    path = np.array([[-10, 0.2, 0.1], [10, 0.2, 0.1]], np.float32)
    tube = painted([Vessel(path, radius)], (-16, -6, -6), (16, 6, 6), 0.25) == Label.VEIN
    expected = np.pi * radius**2 * 20 + 4 / 3 * np.pi * radius**3
    assert tube.sum() * 0.25**3 == pytest.approx(expected, rel=0.03)


def test_a_tube_is_the_same_in_any_number_of_portions(monkeypatch):
    path = np.array([[-3, -2, 1], [4, 3, 0], [2, 2, 5]], np.float32)
    at_once = painted([Vessel(path, 2.5)], (-8, -8, -8), (8, 8, 8), 0.5)
    monkeypatch.setattr(tubes, "CELLS_AT_ONCE", 1)
    np.testing.assert_array_equal(painted([Vessel(path, 2.5)], (-8, -8, -8), (8, 8, 8), 0.5), at_once)


def test_a_vessel_is_drawn_over_what_it_may_cover():
    path = np.array([[0, 0, 0], [0, 0, 12]], np.float32)
    over = np.arange(256) == Label.CORTEX
    labels = np.full((8, 8, 12), Label.CORTEX, np.uint8)
    labels[..., 6:] = Label.BONE
    paint(labels, placed((-4, -4, 0), 1.0), [Vessel(path, 2.0)], over)
    assert (labels[..., :6] == Label.VEIN).any()
    assert not (labels[..., 6:] == Label.VEIN).any()
    own = Vessel(path, 2.0, Label.ARTERY, frozenset({Label.BONE}))
    paint(labels, placed((-4, -4, 0), 1.0), [own], over)
    assert (labels[..., 6:] == Label.ARTERY).any()
    assert not (labels[..., :6] == Label.ARTERY).any()


def test_nothing_outside_the_volume_is_drawn():
    far = np.array([[500, 0, 0], [500, 40, 0]], np.float32)
    assert (painted([Vessel(far, 3.0)], (-8, -8, -8), (8, 8, 8)) == BACKGROUND).all()


def test_centrelines_are_smooth_dense_and_pass_their_points():
    points = [(0, 0, 0), (10, 4, 0), (14, 12, 3), (20, 12, 8)]
    path = rounded(points, 0.5)
    for point in points:
        assert np.linalg.norm(path - np.array(point), axis=1).min() < 0.3
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.8
    assert np.linalg.norm(np.diff(spaced(path, 0.2), axis=0), axis=1).max() < 0.21
    turns = np.diff(path, axis=0) / np.linalg.norm(np.diff(path, axis=0), axis=1)[:, None]
    assert np.einsum("ij,ij->i", turns[1:], turns[:-1]).min() > np.cos(0.35)


def test_a_tapered_tube_covers_its_path_and_grows_thinner():
    path = rounded([(0, 0, 0), (20, 0, 0), (40, 10, 0)])
    pieces = tapered(Vessel(path, 2.0, Label.ARTERY), 0.5)
    assert [p.radius for p in pieces] == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert np.array_equal(pieces[0].path[0], path[0])
    assert np.array_equal(pieces[-1].path[-1], path[-1])
    for one, two in pairwise(pieces):
        assert np.array_equal(one.path[-1], two.path[0])
    assert {p.label for p in pieces} == {Label.ARTERY}


def test_the_arteries_are_one_tree_on_both_sides(head):
    drawn = draw_arteries(head)
    arteries = painted(drawn, (-50, -80, -152), (50, 60, 44), 0.5) == Label.ARTERY
    assert joined(arteries) == 1
    left, right = arteries[:100].sum(), arteries[100:].sum()
    assert left == pytest.approx(right, rel=0.15)
    assert 3 < arteries.sum() * 0.5**3 * 1e-3 < 10, "ml"


def test_the_circle_of_willis_is_closed():
    """Each course of it begins where another one passes."""
    ends = [
        ("middle cerebral", 0, "internal carotid"),
        ("anterior cerebral", 0, "internal carotid"),
        ("posterior communicating", 0, "internal carotid"),
        ("posterior communicating", -1, "posterior cerebral"),
        ("posterior cerebral", 0, "basilar"),
        ("vertebral", -1, "basilar"),
        ("anterior communicating", -1, "anterior cerebral"),
    ]
    courses = {**PAIRED, **SINGLE}
    for name, end, other in ends:
        points, radius, last = courses[name]
        along = rounded(courses[other][0], 0.5)
        distance = np.linalg.norm(along - np.array(points[end]), axis=1).min()
        assert distance < 0.5 * (radius + last) + courses[other][2]


def test_arteries_keep_to_the_head_and_off_the_air(head):
    """On their way through the neck, the base of the skull and the cisterns."""
    path = np.concatenate([vessel.path for vessel in draw_arteries(head)])
    labels, _ = tissue_at((path[:, 0], path[:, 1], path[:, 2]), head)
    assert (labels == Label.AIR).mean() < 0.02
    outside = np.isin(labels, [Label.CSF, Label.CORTEX, Label.MUSCLE, Label.BONE, Label.MARROW])
    assert outside.mean() > 0.8


def test_veins_drain_into_one_another_and_into_the_sinuses(head):
    veins = draw_veins(np.random.default_rng(3), head)
    wider = [replace(v, radius=max(v.radius, 0.6)) for v in veins]  # none thinner than a voxel
    assert joined(painted(wider, step=0.75) != BACKGROUND) > 0.99
    sinuses = [v for v in veins if v.label == Label.SINUS]
    rest = [v for v in veins if v.label == Label.VEIN]
    assert min(v.radius for v in sinuses) > max(v.radius for v in rest)
    volume = (painted(rest) == Label.VEIN).sum()
    assert 6000 < volume < 20000, "about one per cent of the brain lies in veins that can be seen"


def test_thin_veins_outnumber_thick_ones_and_join_thicker_ones(head):
    veins = [v for v in draw_veins(np.random.default_rng(3), head) if v.label == Label.VEIN]
    radii = np.array([v.radius for v in veins])
    assert (radii < 0.5).sum() > 3 * (radii > 0.8).sum()
    along = np.concatenate([v.path for v in veins])
    owner = np.repeat(np.arange(len(veins)), [len(v.path) for v in veins])
    thin = np.argsort(radii)[:80]
    for i in thin:
        others = owner != i
        nearest = np.linalg.norm(along[others] - veins[i].path[0], axis=1)
        joint = owner[others][nearest.argmin()]
        assert nearest.min() < 0.7
        assert radii[joint] >= radii[i]


def test_a_seed_draws_its_own_vessels(head):
    one, same, other = (draw_vessels(np.random.default_rng(seed), head) for seed in (1, 1, 2))
    assert all(np.array_equal(a.path, b.path) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.path, b.path) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def tissue(head):
    """The labels where lesions are, before there are any."""
    axes = [a + STEP * np.arange(n, dtype=np.float32) for a, n in zip(LOW, (140, 150, 76), strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return tissue_at((x, y, z), head)[0]


def ill(names, tissue, seed=0):
    """The labels with lesions."""
    labels = tissue.copy()
    over = np.isin(np.arange(256), list(BRAIN))
    paint(labels, placed(LOW, STEP), draw_lesions(np.random.default_rng(seed), names), over)
    return labels


def test_lesions_lie_in_the_brain_and_are_of_their_size(tissue):
    after = ill(tuple(LESIONS), tissue)
    volumes = {label: (after == label).sum() * STEP**3 for label in np.unique(after[after != tissue])}
    assert set(volumes) == {
        Label.CALCIFICATION,
        Label.HAEMORRHAGE,
        Label.MS_PLAQUE,
        Label.PLAQUE_RIM,
        Label.TUMOUR,
        Label.TUMOUR_CORE,
        Label.OEDEMA,
    }
    assert 60 < volumes[Label.CALCIFICATION] < 400
    assert 300 < volumes[Label.HAEMORRHAGE] < 1500
    assert 200 < volumes[Label.MS_PLAQUE] < 2000
    assert 2000 < volumes[Label.TUMOUR] + volumes[Label.TUMOUR_CORE] < 12000
    changed = tissue[after != tissue]
    assert np.isin(changed, list(BRAIN)).all()
    assert (changed == Label.WHITE_MATTER).mean() > 0.7


def test_a_tumour_grows_around_its_core_and_oedema_around_it(tissue):
    after = ill(("tumour",), tissue)
    core, rim = after == Label.TUMOUR_CORE, after == Label.TUMOUR
    outside = ndimage.binary_dilation(core, iterations=2) & ~core
    assert rim[outside].all()
    halo = ndimage.binary_dilation(core | rim, iterations=3) & ~(core | rim)
    assert (after[halo] == Label.OEDEMA).mean() > 0.5
    assert joined(core | rim) == 1


def test_some_plaques_have_a_rim(tissue):
    """Whatever borders on the middle of a rimmed plaque is its rim or what no plaque grows over."""
    after = ill(("plaque",), tissue)
    parts, count = ndimage.label((after == Label.MS_PLAQUE) | (after == Label.PLAQUE_RIM), ALL_ROUND)
    rimmed = [i for i in range(1, count + 1) if (after[parts == i] == Label.PLAQUE_RIM).any()]
    assert 1 <= len(rimmed) < count
    middle = (after == Label.MS_PLAQUE) & np.isin(parts, rimmed)
    border = ndimage.binary_dilation(middle) & ~middle
    white = np.isin(tissue, [Label.WHITE_MATTER, Label.CORPUS_CALLOSUM])
    assert (after[border & white] == Label.PLAQUE_RIM).mean() > 0.97


def test_a_lesion_is_the_same_whatever_else_is_asked_for():
    alone = draw_lesions(np.random.default_rng(5), ("plaque",))
    among = draw_lesions(np.random.default_rng(5), ("tumour", "plaque", "calcification"))
    kept = [v for v in among if v.label in (Label.MS_PLAQUE, Label.PLAQUE_RIM)]
    assert all(np.array_equal(a.path, b.path) for a, b in zip(alone, kept, strict=True))
    other = draw_lesions(np.random.default_rng(6), ("plaque",))
    assert not np.array_equal(alone[0].path, other[0].path)
    assert draw_lesions(np.random.default_rng(5), ()) == []


def test_an_unknown_lesion_is_refused():
    with pytest.raises(
        ScanError, match="no lesion 'cyst'; choose from calcification, haemorrhage, plaque, tumour"
    ):
        draw_lesions(np.random.default_rng(0), ("plaque", "cyst"))
