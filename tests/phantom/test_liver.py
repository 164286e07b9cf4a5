"""The abdomen: iron and fat change the liver as published, and it looks like a trunk."""

import numpy as np
import pytest
from scipy import ndimage

from mensura.phantom.labels import Label
from mensura.phantom.liver import (
    BODY_BOX,
    NORMAL_FAT,
    NORMAL_IRON,
    liver_anatomy,
    liver_iron,
    liver_r2star,
    liver_tissue,
)
from mensura.phantom.scene import field_of_view
from mensura.phantom.simulation import simulate
from mensura.phantom.tissues import TISSUES, properties
from mensura.phantom.tubes import paint
from mensura.scan import GradientEcho, ScanError

STEP = 4.0
LOADS = (0.5, 0.6, 1.5, 5.0, 12.0, 40.0)


@pytest.fixture(scope="module")
def trunk():
    """Labels and organ on a grid of 4 mm, and the coordinates."""
    axes = [np.arange(a, b, STEP, dtype=np.float32) for a, b in ((-200, 200), (-140, 140), (-110, 120))]
    points = tuple(np.meshgrid(*axes, indexing="ij"))
    labels, organ = liver_anatomy(0).tissue_at(points)
    return labels, organ, points


def at(name, tissue, field_strength):
    return float(properties(name, {0: tissue}, field_strength)[0])


def test_r2star_is_the_published_calibration():
    """At 1.5 T: iron = −0.16 + 0.02603·R2* (10.1148/radiol.213256); about twice that at 3 T."""
    for r2star in (25.0, 100.0, 400.0, 1000.0):
        assert liver_r2star(-0.16 + 0.02603 * r2star, 1.5) == pytest.approx(r2star)
    ratios = [liver_r2star(iron, 3.0) / liver_r2star(iron, 1.5) for iron in LOADS]
    assert min(ratios) > 1.5
    assert max(ratios) < 2.0
    assert ratios[-1] > 1.95


def test_iron_and_r2star_are_each_others_inverse():
    for field_strength in (0.55, 1.5, 3.0, 7.0):
        for iron in LOADS:
            rate = liver_r2star(iron, field_strength)
            assert liver_iron(rate, field_strength) == pytest.approx(iron, rel=1e-12)


def test_a_healthy_liver_relaxes_as_measured():
    """R2* 28.7 ± 2.7 1/s at 1.5 T (10.1038/s41598-020-74968-z); T1 809 ± 71, T2 34 ± 4 ms at 3 T."""
    healthy = liver_tissue()
    assert at("r2star", healthy, 1.5) == pytest.approx(28.7, abs=2.7)
    assert at("t1", healthy, 3.0) == pytest.approx(0.809, abs=0.071)
    assert at("t2", healthy, 3.0) == pytest.approx(0.034, abs=0.004)


def test_the_table_holds_a_healthy_liver():
    healthy = liver_tissue(NORMAL_IRON, NORMAL_FAT)
    for name in ("chi", "t1", "t2", "r2star", "fat_fraction", "density"):
        for field_strength in (0.55, 1.5, 3.0, 7.0):
            expected = at(name, healthy, field_strength)
            assert at(name, TISSUES[Label.LIVER], field_strength) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("field_strength", [0.55, 1.5, 3.0, 7.0])
def test_the_more_iron_the_faster_everything_relaxes(field_strength):
    livers = [liver_tissue(iron) for iron in LOADS]
    for name, sign in (("t1", -1), ("t2", -1), ("r2star", 1), ("chi", 1)):
        assert np.all(sign * np.diff([at(name, liver, field_strength) for liver in livers]) > 0)
    for iron, liver in zip(LOADS, livers, strict=True):
        assert at("r2star", liver, field_strength) == pytest.approx(
            liver_r2star(iron, field_strength), rel=1e-5
        )
        assert at("r2prime", liver, field_strength) > 0


def test_susceptibility_is_linear_in_iron_and_fat():
    """1.6 ppm per mg/ml of stored iron, wet over dry weight 4.1: 0.41 ppm per mg/g."""
    slope = (liver_tissue(11.0).chi - liver_tissue(1.0).chi) / 10
    assert slope == pytest.approx(0.41, abs=0.005)
    fatty = liver_tissue(1.0, 0.4).chi - liver_tissue(1.0, 0.0).chi
    assert fatty == pytest.approx(0.4 * TISSUES[Label.FAT].chi)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iron": 0.1}, "liver's iron of 0.1 mg per g of dry weight is not known; choose 0.5 to 40"),
        ({"iron": 60.0}, "iron of 60"),
        ({"fat_fraction": 0.8}, "fat fraction of 0.8"),
        ({"iron": float("nan")}, "iron of nan"),
    ],
)
def test_what_no_liver_holds_is_refused(given, message):
    with pytest.raises(ScanError, match=message):
        liver_anatomy(0, **given)


def test_organs_have_human_sizes(trunk):
    labels, organ, _ = trunk
    litres = {label: (labels == label).sum() * STEP**3 * 1e-6 for label in np.unique(labels)}
    assert 1.2 < organ.sum() * STEP**3 * 1e-6 < 2.2
    assert 0.06 < litres[Label.SPLEEN] < 0.4
    assert 0.1 < litres[Label.VERTEBRA] < 0.4
    assert litres[Label.LUNG] > 1.0
    assert set(litres) >= {
        Label.SKIN,
        Label.FAT,
        Label.MUSCLE,
        Label.BONE,
        Label.MARROW,
        Label.CSF,
        Label.AIR,
    }


def test_the_liver_is_one_piece_and_what_is_scored(trunk):
    labels, organ, _ = trunk
    np.testing.assert_array_equal(organ, labels == Label.LIVER)
    parts, count = ndimage.label(organ)
    assert ndimage.sum(organ, parts, range(1, count + 1)).max() > 0.995 * organ.sum()


def test_organs_lie_where_they_belong(trunk):
    """Liver right, spleen left; lungs above both; spine behind."""
    labels, _, (x, y, z) = trunk
    middle = {k: [c[labels == k].mean() for c in (x, y, z)] for k in np.unique(labels)}
    assert middle[Label.LIVER][0] > 40
    assert middle[Label.SPLEEN][0] < -60
    assert middle[Label.VERTEBRA][1] < min(middle[Label.LIVER][1], middle[Label.SPLEEN][1])
    assert middle[Label.LUNG][2] > middle[Label.LIVER][2] + 50
    dome = z[labels == Label.LIVER].max()
    assert not ((labels == Label.LUNG) & (z < 0)).any()
    assert 40 < dome < 70


def test_under_the_skin_lies_a_ring_of_fat():
    """From outside towards the middle at the height of the liver: air, skin, fat, muscle or spine."""
    anatomy = liver_anatomy(3)
    for angle in np.radians(np.arange(0, 360, 30)):
        along = np.arange(190, 60, -0.5, dtype=np.float32)
        points = (along * np.float32(np.cos(angle)), along * np.float32(np.sin(angle)), 0 * along)
        labels, _ = anatomy.tissue_at(points)
        order = [int(v) for i, v in enumerate(labels) if i == 0 or v != labels[i - 1]]
        assert order[:3] == [Label.AIR, Label.SKIN, Label.FAT]
        assert order[3] in (Label.MUSCLE, Label.BONE)
        skin, wall = (np.flatnonzero(np.isin(labels, k))[0] for k in (Label.FAT, order[3:4]))
        assert 5 < 0.5 * (wall - skin) < 40


def test_the_body_ends_inside_its_box(trunk):
    labels, _, (x, y, _) = trunk
    (left, right), (back, front), _ = BODY_BOX
    assert not labels[(x < left) | (x > right) | (y < back) | (y > front)].any()
    assert labels.any()


def test_vessels_run_through_the_liver():
    """About three per cent of it, thin ones more often than thick ones."""
    anatomy, step = liver_anatomy(0), 2.0
    axes = [np.arange(a, b, step, dtype=np.float32) for a, b in ((-60, 160), (-90, 100), (-110, 70))]
    labels, organ = anatomy.tissue_at(tuple(np.meshgrid(*axes, indexing="ij")))
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    paint(labels, affine, anatomy.vessels, np.isin(np.arange(256), list(anatomy.covered)))
    assert 0.01 < (labels[organ] == Label.VEIN).mean() < 0.08
    assert np.isin(labels[organ], (Label.LIVER, Label.VEIN)).all()
    radii = np.array([v.radius for v in anatomy.vessels if v.over == frozenset({Label.LIVER})])
    assert (radii < 1.5).sum() > 3 * (radii > 3).sum()


def test_every_seed_is_another_body():
    axes = [np.arange(a, b, 8, dtype=np.float32) for a, b in ((-180, 180), (-120, 120), (-60, 60))]
    points = tuple(np.meshgrid(*axes, indexing="ij"))
    first, again, other = (liver_anatomy(seed).tissue_at(points)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert 0.02 < (first != other).mean() < 0.5


def test_a_scan_of_it_has_its_iron():
    """The truth's R2* and χ in the liver are those of the load; a healthy one stands out less."""
    scan = GradientEcho((0.0012, 0.0024, 0.0036), 1.5, 0.02, 0.15)
    grid = field_of_view((46, 34, 16), (8.0, 8.0, 8.0), (0, 0, 0))
    loaded, healthy = (
        simulate(liver_anatomy(0, iron=iron, fat_fraction=0.05), grid, scan, snr=float("inf"))
        for iron in (8.0, 0.6)
    )
    for result, iron in ((loaded, 8.0), (healthy, 0.6)):
        pure = ndimage.binary_erosion(result.mask & (result.labels == Label.LIVER))
        assert np.median(result.r2star[pure]) == pytest.approx(liver_r2star(iron, 1.5), rel=0.05)
        assert liver_iron(float(np.median(result.r2star[pure])), 1.5) == pytest.approx(iron, rel=0.1, abs=0.1)
    assert loaded.chi_reference - healthy.chi_reference == pytest.approx(0.41 * 7.4, rel=0.1)
    assert loaded.local_field[loaded.mask].std() > 3 * healthy.local_field[healthy.mask].std()


def test_the_slab_is_centred():
    grid = field_of_view((128, 96, 40), (3.0, 3.0, 5.0), (0, 0, 0))
    middle = grid.affine @ np.array([*((n - 1) / 2 for n in grid.shape), 1])
    np.testing.assert_allclose(middle[:3], 0, atol=1e-9)
