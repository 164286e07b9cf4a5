"""The true maps: what the tissue table says where a voxel is pure, means weighted with protons where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import FAT, TUMOUR, WATER, scene_of

from mensura.phantom.scanner import Scanner
from mensura.phantom.truth import MEANS, dominant, true_maps


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
        assert set(expected) >= set(MEANS)
        for name, value in expected.items():
            np.testing.assert_allclose(truth[name].data[inside], value, rtol=1e-5, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(truth["Chimap"].data[inside], tissue.chi - scene.chi_reference, atol=1e-5)


def test_a_mixed_voxel_has_the_mean_over_its_protons(scene, truth):
    """The slabs of T1 1.1 and 2.2 s meet inside a voxel; the second has half the protons of the first."""
    share = np.stack([(scene.labels.reshape(26, 2, 24, 2, 24, 2) == k).mean(axis=(1, 3, 5)) for k in (1, 2)])
    mixed = (share.sum(axis=0) == 1) & (share[0] > 0) & (share[1] > 0)
    assert mixed.sum() > 10
    first, second = share[:, mixed] * np.array([[0.9], [0.45]])
    expected = (first * 1.1 + second * 2.2) / (first + second)
    np.testing.assert_allclose(truth["T1map"].data[mixed], expected, rtol=1e-5)
    np.testing.assert_allclose(truth["purity"].data[mixed], share[:, mixed].max(axis=0), rtol=1e-6)


def test_air_has_no_relaxation_and_no_protons(truth):
    air = (truth["dseg"].data == 0) & (truth["purity"].data == 1)
    assert air.sum() > 1000
    for name in ("PDmap", "T1map", "R2starmap", "MTsat"):
        assert not truth[name].data[air].any()


def test_the_dominant_label_is_the_most_frequent(scene):
    labels, purity = dominant(scene)
    blocks = scene.labels.reshape(26, 2, 24, 2, 24, 2).transpose(0, 2, 4, 1, 3, 5).reshape(26, 24, 24, 8)
    for i, j, k in np.random.default_rng(0).integers(0, 24, (200, 3)):
        counts = np.bincount(blocks[i, j, k], minlength=5)
        assert labels[i, j, k] == counts.argmax()
        assert purity[i, j, k] == counts.max() / 8
