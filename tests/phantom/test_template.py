"""The head with real folds: cortex, nuclei, skull and tracts are where and what they are in a person."""

import numpy as np
import pytest
from scipy import ndimage

from mensura.phantom import template
from mensura.phantom.fields import Field, random_warp
from mensura.phantom.head import head_anatomy, head_around, head_grid
from mensura.phantom.labels import ABDOMINAL, BRAIN, Label
from mensura.phantom.scene import each, plane_points
from mensura.phantom.template import PACKAGED
from mensura.scan import Grid, ScanError

ABOVE = frozenset({Label.CAUDATE, Label.PUTAMEN, Label.PALLIDUM, Label.THALAMUS, Label.CORPUS_CALLOSUM})
CEREBRAL_WHITE = {Label.WHITE_MATTER, Label.CORPUS_CALLOSUM}
SOLID = BRAIN - {Label.CSF, Label.VEIN, Label.SINUS, Label.ARTERY}


def sampled(anatomy, grid):
    labels, inside = np.empty(grid.shape, np.uint8), np.empty(grid.shape, bool)

    def plane(i):
        labels[i], inside[i] = anatomy.tissue_at(plane_points(grid, i))

    each(plane, grid.shape[0])
    return labels, inside


def share_of_largest(mask):
    counts = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    return counts.max() / counts.sum()


def among(labels, chosen):
    return np.isin(labels, [int(label) for label in chosen])


@pytest.fixture(scope="module")
def grid():
    return head_grid((176, 220, 210), (1, 1, 1))


@pytest.fixture(scope="module")
def head(grid):
    return sampled(head_anatomy(0), grid)


def distance_to(chosen):
    return ndimage.distance_transform_edt(~chosen)


@pytest.fixture(scope="module")
def from_fluid(head):
    """Distance from the nearest CSF, mm."""
    return distance_to(head[0] == Label.CSF)


def test_cortex_covers_connected_white_matter_and_is_as_thick_as_cortex(head, from_fluid):
    """Across the convexity: pial surface to white matter and back, 2 to 4 mm."""
    labels, _ = head
    white = among(labels, CEREBRAL_WHITE)
    assert share_of_largest(white | among(labels, ABOVE)) > 0.995
    assert share_of_largest(among(labels, SOLID)) > 0.995
    below, crown = (
        115,
        slice(135, None),
    )  # above 30 mm: no nuclei, no hippocampus; 20 mm more tell what is near
    cortex, fluid = (labels == Label.CORTEX)[:, :, crown], from_fluid[:, :, crown]
    from_white = distance_to(white[:, :, below:])[:, :, crown.start - below :]
    through = from_white[cortex] + fluid[cortex] - 1
    assert 2.0 < np.median(through) < 4.0
    assert np.mean((through > 1) & (through < 5.5)) > 0.9
    exposed = white[:, :, crown] & (fluid < 1.5)
    assert exposed.sum() < 0.02 * white[:, :, crown].sum()


def test_it_is_folded(head, from_fluid):
    """Most of the cortex is hidden in sulci: far more of it is near CSF than lies on the hull."""
    labels, inside = head
    surface = (labels == Label.CORTEX) & (from_fluid < 1.1)
    depth = ndimage.distance_transform_edt(inside)
    assert np.mean(depth[surface] > 4) > 0.5
    sulcal = (labels == Label.CSF) & (depth > 4)
    assert 0.03 < sulcal.sum() / inside.sum() < 0.2


def test_volumes_are_those_of_adults(head):
    """Millilitres, both sides; ranges wide enough for any healthy adult."""
    labels, inside = head
    assert 1100 < (among(labels, SOLID) & inside).sum() / 1000 < 1500
    expected = {
        Label.CORTEX: (420, 680),
        Label.WHITE_MATTER: (380, 600),
        Label.CAUDATE: (5, 11),
        Label.PUTAMEN: (7, 13),
        Label.PALLIDUM: (2, 5),
        Label.THALAMUS: (9, 18),
        Label.RED_NUCLEUS: (0.2, 0.9),
        Label.SUBSTANTIA_NIGRA: (0.3, 1.3),
        Label.DENTATE: (0.8, 3),
        Label.BRAINSTEM: (18, 38),
        Label.CEREBELLAR_CORTEX: (70, 130),
    }
    for label, (low, high) in expected.items():
        assert low < (labels == label).sum() / 1000 < high, label


def test_nothing_of_the_brain_touches_the_skull_and_nothing_floats(head, grid):
    labels, inside = head
    z = plane_points(grid, 0)[2]
    brain = among(labels, SOLID) & inside
    hard = among(labels, {Label.BONE, Label.MARROW, Label.AIR})
    near = brain & (distance_to(hard) < 1.5)
    assert near.sum() < 1e-4 * brain.sum()
    assert share_of_largest(labels != Label.AIR) > 0.9999
    assert share_of_largest((labels == Label.SKIN)[:, :, z[0] > -40]) > 0.95


def test_it_is_the_right_way_round(head, grid):
    """x right, y front, z up: eyes in front, cerebellum behind and below, the head wider below than the vertex."""
    labels, _ = head
    centre = {
        label: grid.affine[:3, :3] @ np.argwhere(labels == label).mean(axis=0) + grid.affine[:3, 3]
        for label in (Label.EYE, Label.CEREBELLAR_CORTEX, Label.CORTEX, Label.BRAINSTEM)
    }
    assert centre[Label.EYE][1] > 40
    assert centre[Label.CEREBELLAR_CORTEX][1] < -45
    assert centre[Label.CEREBELLAR_CORTEX][2] < centre[Label.CORTEX][2] - 30
    assert all(abs(c[0]) < 5 for c in centre.values())


def test_nuclei_lie_where_the_template_has_them():
    """Centroids on the right in MNI coordinates (mm), of any standard atlas, within 4 mm."""
    expected = {
        "caudate": (13.5, 10, 10),
        "putamen": (26, 3, 1),
        "pallidum": (20, -4, 0),
        "thalamus": (11, -18, 8),
    }
    around = Grid((50, 100, 60), np.array([[1.0, 0, 0, 1], [0, 1, 0, -60], [0, 0, 1, -20], [0, 0, 0, 1]]))
    points = np.stack([np.stack(plane_points(around, i)) for i in range(50)], axis=1)
    for name, where in expected.items():
        inside = template.template().parts[name]((points[0], points[1], points[2])) > 0
        assert np.linalg.norm(points[:, inside].mean(axis=1) - where) < 4, name


def test_every_seed_is_a_head_of_its_own():
    grid = head_grid((88, 110, 105), (2, 2, 2))
    labels, again, other = (sampled(head_anatomy(seed), grid)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(again, labels)
    inside = among(labels, SOLID) & among(other, SOLID)
    assert 0.5 < np.mean(labels[inside] == other[inside]) < 0.85
    mirror = labels[::-1]
    both = among(labels, SOLID) & among(mirror, SOLID)
    assert np.mean(labels[both] == mirror[both]) < 0.9, "nobody is his own mirror image"


def test_a_segmentation_of_the_template_gives_its_folds_back(grid):
    """The head around the template's own tissues has them, at the same places."""
    brain = template.template()
    whole = Grid((176, 220, 170), np.array([[1.0, 0, 0, -88], [0, 1, 0, -120], [0, 0, 1, -74], [0, 0, 0, 1]]))
    points = np.stack([np.stack(plane_points(whole, i)) for i in range(176)], axis=1)
    at = (points[0], points[1], points[2])
    tissue, white = brain.tissue(at) > 0, brain.white(at) > 0
    segmentation = np.where(tissue & white, 2, np.where(tissue, 1, 0)).astype(np.uint8)
    labels, inside = sampled(head_around(segmentation, whole), whole)
    assert np.mean(among(labels, SOLID)[inside] == tissue[inside]) > 0.99
    assert np.mean(labels[segmentation == 2] == Label.CORTEX) < 0.01
    assert among(labels, {Label.CEREBELLAR_CORTEX, Label.BRAINSTEM, Label.PUTAMEN}).sum() > 50_000


def test_no_head_has_a_liver_and_the_analytic_head_remains(head, grid):
    assert not among(head[0], ABDOMINAL).any()
    labels, inside = sampled(head_anatomy(0, base="analytic"), head_grid((60, 74, 70), (3, 3, 3)))
    assert 1.2 < inside.sum() * 27e-6 < 1.7
    assert among(labels, {Label.CORTEX}).any()
    with pytest.raises(ScanError, match="no base 'spherical' of a head; choose template or analytic"):
        head_anatomy(0, base="spherical")


def test_tracts_have_directions_in_white_matter_and_nowhere_else(head):
    anatomy = head_anatomy(0, tracts=True)
    coarse = head_grid((44, 55, 52), (4, 4, 4))
    points = np.stack([np.stack(plane_points(coarse, i)) for i in range(44)], axis=1)
    at = (points[0], points[1], points[2])
    labels, _ = anatomy.tissue_at(at)
    along = np.stack(anatomy.fibres(at))
    length = np.linalg.norm(along, axis=0)
    white = CEREBRAL_WHITE | {Label.CEREBELLAR_WHITE, Label.BRAINSTEM}
    np.testing.assert_allclose(length, among(labels, white), atol=1e-5)
    callosal = (labels == Label.CORPUS_CALLOSUM) & (np.abs(points[0]) < 6)
    assert np.abs(along[0, callosal]).mean() > 0.9
    stem = labels == Label.BRAINSTEM
    assert np.abs(along[2, stem]).mean() > 0.75
    assert head_anatomy(0).fibres is None


def test_a_field_is_exact_where_it_is_linear():
    """On any affine grid; beyond it the value that was asked for, or that of the edge."""
    random = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([2.0, 1.5, 3.0]) @ np.linalg.qr(random.standard_normal((3, 3)))[0]
    affine[:3, 3] = (5, -7, 11)
    index = np.indices((6, 7, 5)).reshape(3, -1)
    slope = np.array([0.3, -1.2, 0.7])
    places = affine[:3, :3] @ index + affine[:3, 3:]
    values = (slope @ places).reshape(6, 7, 5).astype(np.float32)
    inverse = np.linalg.inv(affine)[:3]
    inside = random.uniform(0, 1, (3, 200)) * np.array([[5], [6], [4]])
    points = (affine[:3, :3] @ inside + affine[:3, 3:]).astype(np.float32)
    at = (points[0], points[1], points[2])
    np.testing.assert_allclose(Field(values, inverse)(at), slope @ points, atol=2e-4)
    far = tuple(np.full(3, v, np.float32) for v in affine[:3, :3] @ [50, 3, 2] + affine[:3, 3])
    np.testing.assert_array_equal(Field(values, inverse, -1.0)(far), -1)
    np.testing.assert_allclose(Field(values, inverse)(far), values[5, 3, 2], atol=1e-4)


def test_a_warp_can_be_undone_everywhere():
    """It folds nowhere: its Jacobian stays positive, so that no tissue is turned inside out."""
    warp = random_warp(np.random.default_rng(3), [(1.8, 6, (70.0, 180.0)), (0.5, 10, (28.0, 50.0))])
    axes = [np.arange(-80, 81, 4, dtype=np.float32)] * 3
    moved = np.stack(warp(tuple(np.meshgrid(*axes, indexing="ij"))))
    jacobian = np.stack([np.stack(np.gradient(component, 4.0)) for component in moved])
    assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0.3


def test_the_licence_travels_with_the_template():
    notice = PACKAGED.with_name("LICENCE.txt").read_text("utf-8")
    assert "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre" in notice
    assert PACKAGED.stat().st_size < 1.2e6
