"""What the scanner records, recovered from its images by other means: phase, fat, noise, B1, motion."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import FAT, TUMOUR, WATER, egg, scene_of
from scipy import ndimage, stats

from mensura.phantom.scanner import Scanner, acquire, random_pose, scan
from mensura.phantom.scene import ANISOTROPY, Texture, build_scene, moved, refined, rotation
from mensura.phantom.sequences import SEQUENCES, protocol
from mensura.phantom.truth import true_maps
from mensura.scan import GAMMA_BAR, Grid, ScanError

HZ = GAMMA_BAR * 3e-6


@pytest.fixture(scope="module")
def scene():
    return scene_of(WATER)


@pytest.fixture(scope="module")
def scanner():
    return Scanner.draw(3.0, seed=4)


def pure(scene):
    """Voxels wholly of one material, off the surface."""
    return true_maps(scene, Scanner.draw(3.0))["purity"].data == 1


def with_field(scene, field):
    return replace(scene, field=np.broadcast_to(field, scene.fine.shape).astype(np.float32))


def test_phase_grows_with_gamma_field_and_echo_time(scene, scanner):
    """Exactly so for a field that is linear inside a voxel, whatever the receive phase."""
    x, y, z = (np.linspace(-0.2, 0.3, n, dtype=np.float32) for n in scene.fine.shape)
    linear = with_field(scene, x[:, None, None] - 0.5 * y[None, :, None] + 0.8 * z[None, None, :])
    megre = protocol("MEGRE", {"echo_times": (0.004, 0.011, 0.02)})
    images = acquire(linear, scanner, megre)
    mean = linear.field.reshape(24, 2, 24, 2, 24, 2).mean(axis=(1, 3, 5), dtype=np.float64)
    inside = pure(scene) & scene.mask
    for n in (1, 2):
        interval = megre.phase_times[n] - megre.phase_times[0]
        turned = images[..., n] * np.conj(images[..., 0]) * np.exp(-2j * np.pi * HZ * interval * mean)
        assert np.abs(np.angle(turned[inside])).max() < 1e-4
    start = images[..., 0] * np.exp(-2j * np.pi * HZ * 0.004 * mean - 1j * scanner.phase(scene.grid))
    assert np.abs(np.angle(start[inside])).max() < 1e-4


@pytest.mark.parametrize("supersampling", [1, 2, 3])
def test_a_gradient_dephases_a_voxel_like_a_sinc(scanner, supersampling):
    scene = scene_of(WATER, shape=(12, 12, 12), voxel_size=8.0, supersampling=supersampling)
    slope = 0.06 / supersampling  # ppm from fine voxel to fine voxel: 0.06 across a voxel
    steep = with_field(scene, slope * np.arange(scene.fine.shape[0])[:, None, None])
    megre = protocol("MEGRE", {"echo_times": (0.004, 0.03, 0.09), "repetition_time": 0.1})
    inside = pure(scene) & scene.mask
    dephased, full = (np.abs(acquire(s, scanner, megre))[inside] for s in (steep, with_field(scene, 0.0)))
    for n, time in enumerate(megre.phase_times):
        expected = np.abs(np.sinc(HZ * 0.06 * time))
        np.testing.assert_allclose((dephased / full)[:, n], expected, atol=2e-3)


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_pure_voxel_sends_what_the_equation_says(name, scene, scanner):
    """The table of signals between its nodes, against the sequence evaluated at the voxel's own B1."""
    from mensura.phantom.materials import materials

    flat = with_field(scene_of(TUMOUR), 0.0)
    sequence = protocol(name)
    images = acquire(flat, scanner, sequence) / scanner.receive(flat.grid)[..., None]
    inside = pure(flat) & flat.mask
    b1 = scanner.transmit(flat.grid)[inside].astype(np.float64)
    assert np.ptp(b1) > 0.02
    water, fat = materials(dict(flat.anatomy.tissues), 3.0)
    assert fat is None
    exact = np.asarray(sequence.signal(replace(water, b1=b1[None, None, :])))[:, 1, 0]
    np.testing.assert_allclose(images[inside].T, exact, atol=3e-4 * np.abs(exact).max())


def test_fat_lands_where_the_readout_puts_its_frequency():
    """At 3 T, −3.4 ppm are −434 Hz: at 217 Hz a voxel, two voxels to the left; to the right in even echoes."""
    scene = with_field(scene_of(FAT, supersampling=1), 0.0)
    flat = Scanner.draw(3.0, b1_spread=0.0, bias=0.0, phase_offset=0.0)
    settings = {"echo_times": (0.002, 0.004), "pixel_bandwidth": 217.0, "readout": "bipolar"}
    images = np.abs(acquire(scene, flat, protocol("MEGRE", settings)))
    still = np.abs(acquire(scene, flat, protocol("MEGRE", {**settings, "pixel_bandwidth": 0.0})))
    np.testing.assert_allclose(np.roll(images[..., 0], 2, axis=0), still[..., 0], rtol=1e-5)
    np.testing.assert_allclose(np.roll(images[..., 1], -2, axis=0), still[..., 1], rtol=1e-5)


def test_water_and_fat_beat_against_each_other():
    """Half and half, they cancel where the main peak has turned by half a circle (TE = 1.15 ms at 3 T), nearly."""
    half = replace(FAT, fat_fraction=0.5, t1=0.38, t2=0.07)
    scene = with_field(scene_of(half), 0.0)
    flat = Scanner.draw(3.0, b1_spread=0.0, phase_offset=0.0)
    times = tuple(np.round(np.arange(1, 47) * 1e-4, 6))
    images = np.abs(acquire(scene, flat, protocol("Dixon", {"echo_times": times, "pixel_bandwidth": 0.0})))
    curve = images[pure(scene) & scene.mask].mean(axis=0)
    period = 1 / (3.4 * HZ)
    assert times[int(curve[:20].argmin())] == pytest.approx(period / 2, abs=1.5e-4)
    assert times[15 + int(curve[15:35].argmax())] == pytest.approx(period, abs=1.5e-4)


def test_noise_is_complex_gaussian_of_the_stated_snr(scene, scanner):
    megre = protocol("MEGRE")
    clean, noisy = acquire(scene, scanner, megre), scan(scene, scanner, megre, snr=40, seed=5)
    added = noisy.images - clean
    assert noisy.sigma == pytest.approx(np.abs(clean[..., 0][scene.mask]).mean() / 40, rel=1e-5)
    for part in (added.real, added.imag):
        assert part.std() == pytest.approx(noisy.sigma, rel=0.01)
        assert stats.kstest(part[::3, ::3, ::3].ravel() / noisy.sigma, "norm").pvalue > 1e-3
    air = np.abs(noisy.images[..., 0])[np.abs(clean[..., 0]) == 0]
    assert air.size > 1000
    assert stats.kstest(air / noisy.sigma, "rayleigh").pvalue > 1e-3  # Rician without a signal
    bright = np.abs(noisy.images[..., 3])[pure(scene) & scene.mask]
    expected = np.abs(clean[..., 3])[pure(scene) & scene.mask]
    raised = np.mean(bright**2 - expected**2)
    assert raised == pytest.approx(2 * noisy.sigma**2, rel=0.5)  # second moment of the Rice distribution


def test_the_transmit_field_is_recovered_three_ways(scene, scanner):
    b1, inside = scanner.transmit(scene.grid), pure(scene) & scene.mask
    assert 0.8 < b1[inside].min() < b1[inside].max() < 1.3
    b1 = b1[inside]
    first, second = acquire(scene, scanner, protocol("TB1DAM"))[inside].T
    ratio = (second / first).real / 2
    np.testing.assert_allclose(np.arccos(ratio) / np.radians(60), b1, atol=1e-3)
    afi = protocol("TB1AFI", {"repetition_times": (0.01, 0.05)})
    first, second = np.abs(acquire(scene, scanner, afi))[inside].T
    ratio = second / first
    found = np.arccos(np.clip((5 * ratio - 1) / (5 - ratio), -1, 1)) / np.radians(60)
    np.testing.assert_allclose(found, b1, atol=0.02)  # its own approximation: TR << T1
    epi = protocol("TB1EPI", {"flip_angles": (60.0,), "mixing_time": 0.034})
    spin, stimulated = acquire(scene, scanner, epi)[inside].T
    ratio = (stimulated / spin).real * np.exp(0.034 / 1.1)
    np.testing.assert_allclose(np.arccos(ratio) / np.radians(60), b1, atol=1e-3)


def test_a_magnet_adds_its_own_field(scene):
    """The difference of two scanners that differ in nothing else, by the phase between two echoes."""
    even, uneven = Scanner.draw(3.0, seed=6), Scanner.draw(3.0, seed=6, b0_spread=0.5)
    megre = protocol("MEGRE", {"echo_times": (0.004, 0.010)})
    first, second = (acquire(scene, machine, megre) for machine in (even, uneven))
    turned = (second[..., 1] * np.conj(second[..., 0])) * np.conj(first[..., 1] * np.conj(first[..., 0]))
    found = np.angle(turned)[scene.mask] / (2 * np.pi * 0.006 * HZ)
    expected = uneven.inhomogeneity(scene.grid)[scene.mask]
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)
    fields = [true_maps(scene, machine)["desc-total_fieldmap"].data for machine in (even, uneven)]
    np.testing.assert_allclose((fields[1] - fields[0])[scene.mask] / HZ, expected, atol=1e-4)


def test_motion_is_recovered_from_the_images(scene):
    """Centre and axes of the bright body follow the pose; the first volume lies still."""
    flat = Scanner.draw(3.0, b1_spread=0.0, bias=0.0)
    spin_echoes = protocol("TB1EPI", {"flip_angles": (60.0, 70.0, 80.0)})  # no field dephases these
    series = scan(scene, flat, spin_echoes, snr=np.inf, seed=2, motion=4.0)
    grid = scene.grid
    places = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    places = places @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    for v, pose in enumerate(series.poses):
        weight = np.abs(series.images[..., v])
        centre = np.average(places, axis=(0, 1, 2), weights=np.repeat(weight[..., None], 3, axis=-1))
        np.testing.assert_allclose(centre, pose[:3, 3], atol=0.25)
        offset = (places - centre).reshape(-1, 3)
        tensor = (offset * weight.reshape(-1, 1)).T @ offset / weight.sum()
        expected = pose[:3, :3] @ np.diag(np.array([26.0, 34.0, 20.0]) ** 2 / 5) @ pose[:3, :3].T
        assert np.abs(tensor - expected).max() < 0.02 * np.trace(expected)
    np.testing.assert_array_equal(series.poses[1], np.eye(4))  # the second echo of the first shot
    assert all(np.linalg.norm(pose[:3, 3]) > 0.5 for pose in series.poses[2:])


def test_a_moved_body_keeps_the_main_field_along_the_scanner():
    grid = Grid.from_voxel_size((6, 7, 8), (1, 2, 3))
    pose = random_pose(np.random.default_rng(1), 10.0)
    body = moved(grid, pose)
    point = np.array([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose(pose @ body.affine @ point, grid.affine @ point, atol=1e-9)
    assert body.b0_direction == pytest.approx(grid.b0_direction)
    assert moved(grid, None) is grid
    fine = refined(grid, 2)
    np.testing.assert_allclose(fine.affine @ [0.5, 0.5, 0.5, 1], grid.affine @ [0, 0, 0, 1], atol=1e-12)


def test_a_corrupted_volume_has_ghosts_and_the_others_none(scene, scanner):
    clean = scan(scene, scanner, protocol("VFA"), seed=3)
    spoiled = scan(scene, scanner, protocol("VFA"), seed=3, corrupted=2)
    assert sum(spoiled.corrupted) == 2
    assert sum(clean.corrupted) == 0
    air = ~ndimage.binary_dilation(scene.mask, iterations=2) & scene.mask.any(axis=1, keepdims=True)
    for v, hit in enumerate(spoiled.corrupted):
        if hit:
            ghosts = np.abs(spoiled.images[..., v])[air].std()
            assert ghosts > 1.3 * np.abs(clean.images[..., v])[air].std()
        else:
            np.testing.assert_array_equal(spoiled.images[..., v], clean.images[..., v])


def test_fibres_along_the_main_field_are_less_diamagnetic():
    """Also when the body turns: the fibres turn with it, B0 stays."""
    fibres = lambda points: tuple(np.full_like(points[0], c) for c in (0.0, 0.0, 1.0))  # noqa: E731
    grid = Grid.from_voxel_size((16, 20, 14), (4, 4, 4))
    turned = np.eye(4)
    turned[:3, :3] = rotation((1, 0, 0), np.radians(40))
    for pose, angle in ((None, 0.0), (turned, 40.0)):
        straight, bundle = (
            build_scene(replace(egg(WATER), fibres=f), grid, texture=Texture.draw(0), pose=pose)
            for f in (None, fibres)
        )
        added = bundle.chi_reference - straight.chi_reference
        assert added == pytest.approx(ANISOTROPY * (np.cos(np.radians(angle)) ** 2 - 1 / 3), abs=1e-6)


def test_scanners_differ_by_seed_and_field(scene):
    one, two = Scanner.draw(3.0, seed=1), Scanner.draw(3.0, seed=2, gain=2.5)
    ratio = np.abs(two.receive(scene.grid)) / np.abs(one.receive(scene.grid))
    assert np.log(ratio).std() > 0.05
    assert (
        np.exp(np.log(np.abs(two.receive(scene.grid)).mean())) > 1.5 * np.abs(one.receive(scene.grid)).mean()
    )
    spread = [np.ptp(Scanner.draw(b0, seed=1).transmit(scene.grid)) for b0 in (0.55, 1.5, 3.0, 7.0)]
    assert spread == sorted(spread)


def test_failures_are_told_in_one_sentence(scene, scanner):
    with pytest.raises(ScanError, match="signal-to-noise ratio -1 must be positive"):
        scan(scene, scanner, protocol("VFA"), snr=-1)
    with pytest.raises(ScanError, match="9 corrupted volumes were asked for, of 4"):
        scan(scene, scanner, protocol("VFA"), corrupted=9)
    with pytest.raises(ScanError, match="no sequence 'EPI'; choose from MEGRE"):
        protocol("EPI")
    with pytest.raises(ScanError, match="has no parameter echo_tims"):
        protocol("MEGRE", {"echo_tims": (1,)})
    with pytest.raises(ScanError, match=r"repetition time 0\.01 s must be longer than the last echo time"):
        protocol("MEGRE", {"repetition_time": 0.01})
    with pytest.raises(ScanError, match="two flip angles are needed, not 3"):
        protocol("MTS", {"flip_angles": (1, 2, 3)})
