"""The weight by rule: between a tried range's ends, larger for more noise, and never far from the best."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_erosion

from mensura.inverse.fft import rfft
from mensura.pipeline.config import convert, stages
from mensura.qsm import automatic, edges, weights
from mensura.qsm.dipole.direct import padded
from mensura.qsm.dipole.medi import medi
from mensura.qsm.variational import DataTerm, Prior, Task, minimise
from mensura.scan import FloatArray, ScanError
from mensura.score import nrmse

USUAL = 2e-4
RULES = get_args(automatic.Rule)
LOGS = np.log(USUAL * automatic.FACTORS)


@cache
def noisy(std: float) -> tuple[automatic.Data, tuple[FloatArray, ...]]:
    """A head's field with noise of `std` ppm, and its maps at the weights that the rules try."""
    scan = head()
    random = np.random.default_rng(8).standard_normal(scan.grid.shape)
    field = ((scan.local_field + std * random) * scan.mask).astype(np.float32)
    noise = weights.noise(np.full(scan.grid.shape, std, np.float32), scan.mask, field)
    shape, dipole = padded(scan.grid)
    terms = [DataTerm(dipole, field, scan.mask.astype(np.float32))]
    prior = Prior(edges=edges.flat(scan.magnitude, scan.mask, scan.grid))

    def solve(weight: float) -> FloatArray:
        stop = (0.0, automatic.ITERATIONS)
        return minimise(terms, Task(scan.mask, scan.grid, shape, prior, weight, noise, stop))

    data = automatic.Data(terms, scan.mask, scan.grid, shape, noise)
    return data, tuple(solve(float(weight)) for weight in USUAL * automatic.FACTORS)


def chosen(rule: str, std: float) -> tuple[float, float]:
    """The weight that the rule chooses from the maps that are there, and what it is with the noise (ppm)."""
    data, maps = noisy(std)
    tried = dict(zip(np.round(LOGS, 6), maps, strict=True))
    weight = automatic.choose(rule, USUAL, lambda w, _: tried[np.round(np.log(w), 6)], data)  # type: ignore[arg-type]
    return weight, weight * data.noise


def test_a_number_is_handed_back_without_a_solve() -> None:
    def never(weight: float, iterations: int) -> FloatArray:
        raise AssertionError

    assert automatic.choose(3e-4, USUAL, never, noisy(5e-4)[0]) == 3e-4


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_stays_within_what_it_tried(rule: str) -> None:
    for std in (5e-4, 4e-3):
        assert USUAL / 8.01 <= chosen(rule, std)[0] <= USUAL * 8.01


@pytest.mark.parametrize("rule", ["discrepancy", "frequency"])
def test_more_noise_means_more_regularisation(rule: str) -> None:
    assert chosen(rule, 5e-4)[1] < chosen(rule, 4e-3)[1]


@pytest.mark.parametrize("std", [5e-4, 4e-3])
def test_the_discrepancy_is_near_the_best(std: float) -> None:
    scan, (_, maps) = head(), noisy(std)
    errors = [nrmse(chi, scan.chi, binary_erosion(scan.mask)) for chi in maps]
    there = np.interp(np.log(chosen("discrepancy", std)[0]), LOGS, errors)
    assert there < min(errors) + 5


def test_misfit_rises_and_variation_falls_with_the_weight() -> None:
    data, maps = noisy(5e-4)
    assert np.all(np.diff([automatic.misfit(chi, data) for chi in maps]) > 0)
    assert np.all(np.diff([automatic.variation(chi, data) for chi in maps]) < 0)


def test_a_strong_source_does_not_change_the_misfit() -> None:
    data, maps = noisy(5e-4)
    field = data.terms[0].data.copy()
    field[28:32, 28:32, 28:32] += 1
    term = DataTerm(data.terms[0].kernel, field, data.terms[0].weight)
    spoilt = automatic.Data([term], data.mask, data.grid, data.shape, data.noise)
    assert automatic.misfit(maps[3], spoilt) == pytest.approx(automatic.misfit(maps[3], data), abs=0.01)


def test_the_regions_of_k_space_are_apart_and_well_conditioned() -> None:
    data = noisy(5e-4)[0]
    near, far = automatic.regions(data)
    assert near.any()
    assert far.any()
    assert not (near & far).any()
    assert near.shape == rfft(np.zeros(data.shape, np.float32)).shape
    assert np.all(data.terms[0].kernel[near | far] > 0.1)


def test_a_rule_can_be_named_on_the_command_line() -> None:
    parameter = stages()["dipole"].methods["medi"].parameters["weight"]
    for rule in RULES:
        assert convert(parameter, rule, "weight") == rule
    assert convert(parameter, "3e-4", "weight") == 3e-4
    with pytest.raises(ScanError, match="weight"):
        convert(parameter, "guess", "weight")


def test_a_method_follows_the_rule_and_refuses_another() -> None:
    scan = head()
    field = (scan.local_field * scan.mask).astype(np.float32)
    made = medi(field, scan.mask, scan.grid, magnitude=scan.magnitude, weight="discrepancy")
    assert nrmse(made, scan.chi, binary_erosion(scan.mask)) < 50
    with pytest.raises(ScanError, match="guess"):
        medi(field, scan.mask, scan.grid, weight="guess")  # type: ignore[arg-type]
