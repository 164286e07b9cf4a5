"""What the edge costs promise: smooth phase is cheap, noise is dear, nothing joins what is not there."""

import numpy as np
import pytest

from mensura.qsm.quality import edge_costs, offset_left, voxel_quality
from mensura.scan import ScanError

SHAPE = (12, 11, 10)


def ramp(step):
    phase = step * np.arange(SHAPE[0])[:, None, None] + np.zeros(SHAPE)
    return np.angle(np.exp(1j * phase)).astype(np.float32)


def test_edges_exist_inside_the_mask_only():
    mask = np.zeros(SHAPE, bool)
    mask[3:6, 2:9, 1:4] = True
    mask[4, 5, 2] = False
    costs = edge_costs(ramp(0.1), mask)
    for axis in range(3):
        ahead = np.zeros_like(mask)
        np.moveaxis(ahead, axis, 0)[:-1] = np.moveaxis(mask, axis, 0)[1:]
        np.testing.assert_array_equal(costs[..., axis] > 0, mask & ahead)


def test_each_factor_raises_the_cost_of_a_worse_edge():
    mask = np.ones(SHAPE, bool)
    edge = (5, 5, 5, 0)
    flat, steep = edge_costs(ramp(0.0), mask), edge_costs(ramp(2.5), mask)
    assert flat[edge] == 1
    assert steep[edge] > flat[edge] + 100
    kink = np.abs(np.arange(SHAPE[0]) - 5)[:, None, None] * np.float32(0.6) + np.zeros(SHAPE, np.float32)
    assert edge_costs(kink, mask)[edge] > edge_costs(ramp(0.6), mask)[edge] + 50
    later, wrong = ramp(0.9), ramp(-0.9)
    right = edge_costs(ramp(0.3), mask, other=later, ratio=1 / 3)[edge]
    assert right == edge_costs(ramp(0.3), mask)[edge]
    assert edge_costs(ramp(0.3), mask, other=wrong, ratio=1 / 3)[edge] > right + 50
    fading = np.where(np.arange(SHAPE[0]) > 5, 0.3, 1.0)[:, None, None] + np.zeros(SHAPE)
    assert edge_costs(ramp(0.0), mask, magnitude=fading.astype(np.float32))[edge] > 100


def test_dark_voxels_have_dear_edges():
    mask = np.ones(SHAPE, bool)
    magnitude = np.ones(SHAPE, np.float32)
    magnitude[5:8] = 0
    costs = edge_costs(ramp(0.0), mask, magnitude=magnitude)
    assert costs[4:8, :-1, :, 0].min() > 220
    assert costs[5:8, :-1, :, 1].min() > 220
    assert costs[2, 5, 5].tolist() == [1, 1, 1]


def test_what_is_not_a_number_has_no_edges_and_spoils_none():
    mask = np.ones(SHAPE, bool)
    phase = ramp(0.1)
    phase[5, 5, 5] = np.nan
    costs = edge_costs(phase, mask)
    assert costs[5, 5, 5].tolist() == [0, 0, 0]
    assert (costs[4, 5, 5, 0], costs[5, 4, 5, 1], costs[5, 5, 4, 2]) == (0, 0, 0)
    clean = edge_costs(ramp(0.1), mask)
    there = costs > 0
    assert there.sum() == (clean > 0).sum() - 6
    assert np.abs(costs[there].astype(int) - clean[there]).max() <= 20  # only the linearity is unknown


def test_quality_tells_signal_from_noise():
    rng = np.random.default_rng(1)
    phase = np.stack([ramp(0.2), ramp(0.4)], axis=-1)
    phase[6:] = rng.uniform(-np.pi, np.pi, phase[6:].shape)
    mask = np.ones(SHAPE, bool)
    mask[:, 0] = False
    quality = voxel_quality(phase, mask, echo_times=(0.01, 0.02))
    assert quality.dtype == np.float32
    assert quality[1:4, 2:-1, 1:-1].min() > 0.9
    assert quality[7:].mean() < 0.3
    assert not quality[~mask].any()
    assert quality.max() <= 1


def test_each_weight_can_be_chosen():
    mask = np.ones(SHAPE, bool)
    level = np.linspace(0.05, 1, SHAPE[1])[None, :, None] + np.zeros(SHAPE)
    magnitude = level.astype(np.float32)
    plain = edge_costs(ramp(0.0), mask, weights="000000", magnitude=magnitude)
    assert set(np.unique(plain)) == {0, 1}
    low = edge_costs(ramp(0.0), mask, weights="000010", magnitude=magnitude)[5, :, 5, 0]
    high = edge_costs(ramp(0.0), mask, weights="000001", magnitude=magnitude)[5, :, 5, 0]
    assert low[0] > 100
    assert (np.diff(low.astype(int)) <= 0).all()
    assert low[-1] == high[0] == 1
    assert (np.diff(high.astype(int)) >= 0).all()
    assert high[-1] > 50
    steep = {w: edge_costs(ramp(2.0), mask, weights=w)[5, 5, 5, 0] for w in ("100000", "001000", "110000")}
    assert steep["100000"] > 100
    assert steep["001000"] == 1
    assert steep["110000"] == steep["100000"]  # one echo has no gradient to compare with
    with pytest.raises(ScanError, match="six of 0 and 1"):
        edge_costs(ramp(0.0), mask, weights="1111")


def test_an_offset_left_in_the_echoes_is_told_from_noise_and_dephasing():
    rng = np.random.default_rng(0)
    times = (0.004, 0.012, 0.020)
    x = np.linspace(-1, 1, 24)[:, None, None] + np.zeros((24, 20, 22))
    field, mask = (0.1 * x).astype(np.float32), np.ones(x.shape, bool)
    phase = 2 * np.pi * 127 * field[..., None] * np.array(times)
    known = {"echo_times": times, "hz_per_ppm": 127.0}
    noisy = phase + 0.4 * rng.standard_normal(phase.shape)
    assert not offset_left(phase, field, mask, **known)
    assert not offset_left(noisy, field, mask, **known)
    assert offset_left(noisy + 0.8 + x[..., None], field, mask, **known)
    assert offset_left(phase + 0.4 * x[..., None], field, mask, **known)
    noisy[3, 3, 3] = np.nan
    assert offset_left(noisy + 0.8, field, mask, **known)
    assert not offset_left(phase[..., :1] + 1, field, mask, echo_times=times[:1], hz_per_ppm=127.0)
    assert not offset_left(noisy + 0.8, field, np.zeros_like(mask), **known)
