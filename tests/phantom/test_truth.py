"""The true maps: what the tissue table says where a voxel is pure, means weighted with protons where it is not, of
rates and not of times."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import FAT, TUMOUR, WATER, scene_of

from mensura.phantom.scanner import Scanner, acquire
from mensura.phantom.sequences import protocol
from mensura.phantom.truth import MEANS, TIMES, dominant, true_maps
from mensura.qmri.t1 import variable_flip_angle


@pytest.fixture(scope="module")
def scene():
    return scene_of(WATER, replace(WATER, t1=2.2, density=0.45), TUMOUR, FAT, shape=(26, 24, 24))


@pytest.fixture(scope="module")
def truth(scene):
    return true_maps(scene, Scanner.draw(3.0, seed=1))


def test_a_pure_voxel_has_the_properties_of_its_tissue(scene, truth):
    for label, tissue in ((1, WATER), (3, TUMOUR), (4, FAT)):
        inside = (truth["dseg"].data == label) & (truth["purity"].data == 1) & scene.mask
        assert inside.sum() > 50
        r2prime = tissue.r2prime[3.0]
        expected = {
            "T1map": tissue.t1,
            "R1map": 1 / tissue.t1,
            "T2map": tissue.t2,
            "R2map": 1 / tissue.t2,
            "R2starmap": 1 / tissue.t2 + r2prime,
            "T2starmap": 1 / (1 / tissue.t2 + r2prime),
            "R2primemap": r2prime,
            "MTsat": 100 * tissue.mt_saturation,
            "PDFFmap": 100 * tissue.fat_fraction,
            "Ktransmap": 60 * tissue.ktrans,
            "vemap": tissue.ve,
            "vpmap": tissue.vp,
            "PDmap": 100 * tissue.density,
            "desc-positive_Chimap": tissue.chi_plus,
            "desc-negative_Chimap": tissue.chi_minus,
        }
        assert set(expected) >= {*MEANS, *TIMES}
        for name, value in expected.items():
            np.testing.assert_allclose(truth[name].data[inside], value, rtol=1e-5, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(truth["Chimap"].data[inside], tissue.chi - scene.chi_reference, atol=1e-5)


def slabs(scene):
    """Shares of the first two slabs in every voxel, and the voxels that hold both and nothing else."""
    share = np.stack([(scene.labels.reshape(26, 2, 24, 2, 24, 2) == k).mean(axis=(1, 3, 5)) for k in (1, 2)])
    mixed = (share.sum(axis=0) == 1) & (share[0] > 0) & (share[1] > 0)
    assert mixed.sum() > 10
    return share, mixed


def test_a_mixed_voxel_has_the_mean_over_its_protons(scene, truth):
    """The slabs of T1 1.1 and 2.2 s meet inside a voxel; the second has half the protons of the first."""
    share, mixed = slabs(scene)
    first, second = share[:, mixed] * np.array([[0.9], [0.45]])
    expected = (first / 1.1 + second / 2.2) / (first + second)
    np.testing.assert_allclose(truth["R1map"].data[mixed], expected, rtol=1e-5)
    np.testing.assert_allclose(truth["purity"].data[mixed], share[:, mixed].max(axis=0), rtol=1e-6)


def test_times_are_the_inverse_of_rates_in_mixed_voxels_too(truth):
    some = truth["PDmap"].data > 0
    assert (truth["purity"].data[some] < 1).sum() > 100
    for name in ("T1", "T2", "T2star"):
        times, rates = (truth[f"{kind}map"].data[some] for kind in (name, name.replace("T", "R", 1)))
        np.testing.assert_allclose(times * rates, 1, rtol=1e-5, err_msg=name)
    assert truth["T2starmap"].description == "T2star = 1/R2star"


def test_flip_angles_find_the_t1_of_a_mixed_voxel(scene, truth):
    """Of small angles the sum of signals tells the protons, of large ones these times their rate: the mean rate. The
    mean time is 10 % longer. No echo time, so that the field's jumps do not weigh the slabs."""
    scanner, angles = Scanner.draw(3.0, seed=1), (2.0, 5.0, 10.0, 18.0)
    settings = {"flip_angles": angles, "repetition_time": 0.015, "echo_time": 1e-5}
    images = np.abs(acquire(scene, scanner, protocol("VFA", settings)))
    _, mixed = slabs(scene)
    found = variable_flip_angle(
        images[mixed], np.deg2rad(angles), repetition_time=0.015, b1=scanner.transmit(scene.grid)[mixed]
    )
    np.testing.assert_allclose(found.maps["T1map"][0], truth["T1map"].data[mixed], rtol=0.005)


def test_air_has_no_relaxation_and_no_protons(truth):
    air = (truth["dseg"].data == 0) & (truth["purity"].data == 1)
    assert air.sum() > 1000
    for name in ("PDmap", "T1map", "T2starmap", "R2starmap", "MTsat"):
        assert not truth[name].data[air].any()


def test_the_dominant_label_is_the_most_frequent(scene):
    labels, purity = dominant(scene)
    blocks = scene.labels.reshape(26, 2, 24, 2, 24, 2).transpose(0, 2, 4, 1, 3, 5).reshape(26, 24, 24, 8)
    for i, j, k in np.random.default_rng(0).integers(0, 24, (200, 3)):
        counts = np.bincount(blocks[i, j, k], minlength=5)
        assert labels[i, j, k] == counts.argmax()
        assert purity[i, j, k] == counts.max() / 8
