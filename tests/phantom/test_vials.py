"""The phantom of vials: where they lie, and that what is in them is what the tables say."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from mensura.phantom.scanner import Scanner, scan
from mensura.phantom.scene import build_scene, field_of_view
from mensura.phantom.sequences.longitudinal import irt1
from mensura.phantom.shapes import Points
from mensura.phantom.solutions import added_rates, molar_susceptibility, static_dephasing, water_rates
from mensura.phantom.system_phantom import reference
from mensura.phantom.tissues import AIR_CHI, TISSUES, Label, properties
from mensura.phantom.truth import dominant
from mensura.phantom.vials import (
    AIR,
    CHI_PLATE,
    FAT_FRACTIONS,
    PLANES,
    PLASTIC,
    RADIUS,
    RING,
    SHELL,
    SQUARE,
    VIAL_WALL,
    WATER,
    Vial,
    draw_vials,
    label_names,
    vials_anatomy,
)

CONDITIONS = [(1, 1.5, 20.0), (1, 3.0, 22.0), (2, 3.0, 20.0), (2, 3.0, 16.0), (2, 3.0, 25.0), (2, 7.0, 19.0)]


def of_plate(plate: str, vials: tuple[Vial, ...]) -> list[Vial]:
    return [v for v in vials if v.plate == plate]


@pytest.mark.parametrize(("version", "field", "temperature"), CONDITIONS)
def test_what_is_in_the_vials_is_the_reference(version: int, field: float, temperature: float) -> None:
    where = {"version": version, "field_strength": field, "temperature": temperature}
    tissues, vials = dict(vials_anatomy(**where).tissues), draw_vials(**where)
    table = {name: properties(name, tissues, field) for name in ("t1", "t2", "density", "r2prime", "chi")}
    for plate in ("Ni", "Mn", "PD"):
        known = reference(plate, version, field, temperature)
        labels = [v.label for v in of_plate(plate, vials)]
        for name, values in (("t1", known.t1), ("t2", known.t2), ("density", known.density)):
            np.testing.assert_allclose(table[name][labels], values, rtol=1e-6)
        assert not table["r2prime"][labels].any()
        salt = f"{plate}Cl2"
        curie = molar_susceptibility(salt, temperature) if plate != "PD" else 0.0
        np.testing.assert_allclose(table["chi"][labels], known.concentration * curie, rtol=1e-6)
    assert 1 / np.array([table["t1"][WATER], table["t2"][WATER]]) == pytest.approx(
        water_rates(field, temperature)
    )


def test_plate_of_fat_fractions() -> None:
    vials = of_plate("fat", draw_vials())
    assert tuple(v.tissue.fat_fraction for v in vials) == FAT_FRACTIONS
    for a, b in pairwise(vials):
        assert b.tissue.fat_fraction > a.tissue.fat_fraction
        assert b.tissue.chi > a.tissue.chi
        assert b.tissue.density < a.tissue.density
    empty, full = vials[0].tissue, vials[-1].tissue
    assert (empty.chi, empty.density) == (0.0, 1.0)
    assert (full.chi, full.density) == pytest.approx((TISSUES[Label.FAT].chi, 0.97))


def test_plate_of_susceptibilities_has_its_nominal_values_at_20_degrees() -> None:
    for vial, parts in zip(of_plate("chi", draw_vials()), CHI_PLATE, strict=True):
        assert vial.tissue.chi == pytest.approx(sum(parts.values()), abs=1e-12)
        assert vial.tissue.chi_plus == pytest.approx(sum(c for c in parts.values() if c > 0))
        assert vial.tissue.chi_minus == pytest.approx(sum(c for c in parts.values() if c < 0))
        assert vial.tissue.r2prime == pytest.approx(static_dephasing(parts.get("CaCO3", 0.0), 3.0))


def test_gadolinium_relaxes_as_its_susceptibility_demands() -> None:
    """1.6 ppm need 4.7 mM: with r1 = 3.0 and r2 = 3.6 1/s/mM T1 is 69 ms and T2 57 ms at 3 T."""
    strongest = of_plate("chi", draw_vials())[5]
    amount = 1.6 / molar_susceptibility("gadolinium")
    assert strongest.contents == f"{amount:.3g} mM gadolinium"
    rates = np.array(water_rates(3.0)) + added_rates("gadolinium", amount, 3.0)
    assert (1 / strongest.tissue.t1, 1 / strongest.tissue.t2) == pytest.approx(tuple(rates))
    assert strongest.tissue.t1 == pytest.approx(0.069, rel=0.02)
    assert strongest.tissue.t2 == pytest.approx(0.057, rel=0.02)


def test_paramagnetism_fades_in_the_warmth_and_calcium_does_not_care() -> None:
    cold, warm = (of_plate("chi", draw_vials(temperature=t)) for t in (16.0, 26.0))
    ratio = (16 + 273.15) / (26 + 273.15)
    for a, b in zip(cold, warm, strict=True):
        assert b.tissue.chi_plus == pytest.approx(a.tissue.chi_plus * ratio)
        assert b.tissue.chi_minus == pytest.approx(a.tissue.chi_minus)


def test_more_of_a_substance_relaxes_and_magnetises_more() -> None:
    by_substance: dict[str, list[Vial]] = {}
    for vial, parts in zip(of_plate("chi", draw_vials()), CHI_PLATE, strict=True):
        if len(parts) == 1:
            by_substance.setdefault(next(iter(parts)), []).append(vial)
    for substance, vials in by_substance.items():
        for a, b in pairwise(vials):
            assert abs(b.tissue.chi) > abs(a.tissue.chi)
            assert b.tissue.t2 <= a.tissue.t2
            assert b.tissue.r2prime > a.tissue.r2prime or substance != "CaCO3"
    for plate in ("Ni", "Mn"):
        chi = [v.tissue.chi for v in of_plate(plate, draw_vials())]
        assert (np.diff(chi) > 0).all()


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_vials_lie_apart_and_in_water_on_all_sides(seed: int | None) -> None:
    vials, anatomy = draw_vials(seed=seed), vials_anatomy(seed=seed)
    for a, b in combinations(vials, 2):
        gap = np.linalg.norm(np.subtract(a.centre, b.centre)) - a.radius - b.radius - 2 * VIAL_WALL
        assert gap > -1e-9, f"{a.name} and {b.name}"
    sides = np.concatenate([np.eye(3), -np.eye(3)])
    for v in vials:
        x, y, z = (np.asarray(v.centre) + sides * (v.radius + VIAL_WALL + 0.01)).T.astype(np.float32)
        assert (anatomy.tissue_at((x, y, z))[0] == WATER).all(), v.name


def test_vials_lie_inside_the_sphere() -> None:
    for v in draw_vials():
        assert np.linalg.norm(v.centre) + v.radius + VIAL_WALL < RADIUS


def test_arrangement_of_a_plate() -> None:
    """Ten on a ring from the top on to the patient's left, four in a square from the upper right; nickel in front."""
    plate = np.array([v.centre for v in of_plate("Ni", draw_vials())])
    np.testing.assert_allclose(plate[:, 1], 56.5)
    np.testing.assert_allclose(np.hypot(plate[:10, 0], plate[:10, 2]), RING)
    np.testing.assert_allclose(plate[0, ::2], (0, RING), atol=1e-12)
    assert plate[1, 0] < 0 < plate[1, 2]
    np.testing.assert_allclose(plate[10:, ::2], SQUARE * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]))


def test_placing_is_of_a_hand_and_repeatable() -> None:
    straight, again, other = (np.array([v.centre for v in draw_vials(seed=s)]) for s in (None, 4, 5))
    np.testing.assert_array_equal(again, [v.centre for v in draw_vials(seed=4)])
    for placed in (again, other):
        moved = np.linalg.norm(placed - straight, axis=1)
        assert 0.01 < moved.max() < 20
        np.testing.assert_allclose(  # rigid
            np.linalg.norm(placed[0] - placed, axis=1), np.linalg.norm(straight[0] - straight, axis=1)
        )
    assert not np.allclose(again, other)


def planes(step: float, reach: float) -> Iterator[Points]:
    along = np.arange(-reach + step / 2, reach, step, dtype=np.float32)
    y, z = np.meshgrid(along, along, indexing="ij")
    yield from ((np.full_like(y, x), y, z) for x in along)


@pytest.fixture(scope="module")
def counted() -> tuple[NDArray[np.intp], int]:
    """How many points of a 1 mm grid every label has, and how many count as liquid."""
    anatomy = vials_anatomy()
    labels, liquid = np.zeros(256, np.intp), 0
    for points in planes(1.0, 110.0):
        found, inside = anatomy.tissue_at(points)
        labels += np.bincount(found.ravel(), minlength=256)
        liquid += int(inside.sum())
    return labels, liquid


def test_every_label_has_the_volume_of_its_sphere(counted: tuple[NDArray[np.intp], int]) -> None:
    labels, liquid = counted
    vials = draw_vials()
    for v in vials:
        assert labels[v.label] == pytest.approx(4 / 3 * np.pi * v.radius**3, rel=0.03), v.name
    inner = 4 / 3 * np.pi * RADIUS**3
    walls = len(vials) * 4 / 3 * np.pi * ((vials[0].radius + VIAL_WALL) ** 3 - vials[0].radius ** 3)
    assert liquid == pytest.approx(inner - walls, rel=0.003)
    assert labels[PLASTIC] == pytest.approx(walls + 4 / 3 * np.pi * (RADIUS + SHELL) ** 3 - inner, rel=0.01)
    assert labels.sum() == labels[AIR] + labels[PLASTIC] + liquid
    assert set(np.flatnonzero(labels)) == set(label_names()) == set(vials_anatomy().tissues)


def test_without_walls_there_is_no_plastic_inside() -> None:
    bare = vials_anatomy(wall=0.0)
    inside = 0
    for points in planes(4.0, RADIUS):
        found, liquid = bare.tissue_at(points)
        core = points[0] ** 2 + points[1] ** 2 + points[2] ** 2 < RADIUS**2
        assert not (found[core] == PLASTIC).any()
        assert (liquid == core).all()
        inside += int(core.sum())
    assert inside > 0


def test_answers_anywhere() -> None:
    anatomy = vials_anatomy(seed=1)
    far = np.array([1e4], np.float32)
    assert anatomy.tissue_at((far, far, far)) == (AIR, False)
    nothing = np.empty((0, 3), np.float32)
    found, liquid = anatomy.tissue_at((nothing, nothing, nothing))
    assert found.shape == liquid.shape == (0, 3)
    assert anatomy.tissues[AIR].chi == AIR_CHI
    for low, high in anatomy.box:
        assert -120 < low < -RADIUS + 6 < RADIUS - 6 < high < 120
    assert anatomy.tissues[PLASTIC].density == anatomy.tissues[AIR].density == 0


@pytest.mark.parametrize("seed", [None, 3])
def test_a_vials_centre_has_its_label(seed: int | None) -> None:
    anatomy = vials_anatomy(seed=seed)
    for v in draw_vials(seed=seed):
        x, y, z = (np.array([c], np.float32) for c in v.centre)
        assert anatomy.tissue_at((x, y, z))[0][0] == v.label
        assert anatomy.tissues[v.label] == v.tissue
        assert label_names()[v.label] == v.name


def test_inversion_recovery_of_a_scanned_plate_has_the_reference_t1() -> None:
    """Anatomy, scanner and equation fit together: 21 ms to 1.9 s to 0.1 %, in voxels that one vial fills."""
    grid = field_of_view((36, 3, 36), (3.5, 3.5, 3.5), (0.0, PLANES["Ni"], 0.0))
    stage = build_scene(vials_anatomy(temperature=24.0), grid, supersampling=2)
    times, tr = np.array([0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0]), 10.0
    protocol = irt1(inversion_times=tuple(times), repetition_time=tr, echo_time=0.008)
    images = scan(stage, Scanner.draw(3.0, seed=1), protocol, snr=np.inf).images
    signed = (images * np.exp(-1j * np.angle(images[..., -1:]))).real
    labels, share = dominant(stage)
    for vial, known in zip(of_plate("Ni", draw_vials()), reference("Ni", temperature=24.0).t1, strict=True):
        curve = signed[(labels == vial.label) & (share == 1)].mean(axis=0)
        assert inversion_recovery_t1(times, curve, tr) == pytest.approx(known, rel=1e-3), vial.name


def inversion_recovery_t1(times: NDArray[np.float64], curve: NDArray[np.float64], tr: float) -> float:
    """Signal at inversion times (s) → T1 (s) of the closest curve a(1 − 1.96 e^(−TI/T1) + 0.96 e^(−TR/T1))."""
    t1 = np.geomspace(0.01, 4.0, 30_000)[:, None]
    shape = 1 - 1.96 * np.exp(-times / t1) + 0.96 * np.exp(-tr / t1)
    match = (shape @ curve) ** 2 / (shape**2).sum(axis=1)
    return float(t1[match.argmax(), 0])
