"""Signals of many voxels → the parameters of a model in each: the one door of the fitter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.fit.bootstrap import Bootstrap, bootstrapped
from mensura.fit.descent import Report, solve
from mensura.fit.likelihood import LIKELIHOODS
from mensura.fit.model import SignalModel
from mensura.fit.result import Design, Fit, Status
from mensura.fit.robust import LOSSES, rejecting
from mensura.fit.task import Found, Task
from mensura.scan import ScanError

Doubles = NDArray[np.float64]

UNKNOWABLE = 1.0
"""Standard error of a logarithm, or of a parameter over its range, from which it is not identified."""
FEWEST = 20
"""Bootstraps: the standard deviation of fewer is known to worse than a sixth."""
LOUD = 3.0
"""Times the noise that the largest point of a voxel must reach."""


def fit_voxels(
    model: SignalModel,
    points: ArrayLike,
    data: ArrayLike,
    *,
    known: Mapping[str, Any] | None = None,
    weights: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    likelihood: str = "gaussian",
    loss: str = "none",
    bootstrap: Bootstrap | None = None,
    monitor: Report | None = None,
) -> Fit:
    """Points (m,), data (n, m) → the model's parameters in every voxel, their standard errors, and why one failed.

    `known`: the equation's keywords; numbers, or an array (n,) where every voxel has its own. `weights` (m,) or
    (n, m): inverse relative variances. `noise`: standard deviation of the data, one or (n,); without it the residuals
    tell. `likelihood`: "gaussian", or for magnitudes "rician" or "noise_floor", which need the noise. `loss`: "none",
    "tukey", "huber", "geman_mcclure". Errors are Cramér and Rao's at the estimate, with a loss Huber's sandwich; with
    `bootstrap` those of refits to residuals under random signs, right for any noise of each point. `monitor` is called
    after every chunk of voxels, round of weights, or repeat: (done, of how many, 0).

    Every voxel stands alone (with a loss they share the scale of the noise), so that the result does not depend on the
    number of threads. Raises ScanError for shapes that do not fit, too few points, and choices that there are not.

    Golub & Pereyra 1973, doi:10.1137/0710036; Kaufman 1975, doi:10.1007/BF01932995.
    """
    _check(likelihood, loss, noise)
    task = Task.of(model, points, data, known, weights, noise)
    if bootstrap is not None:
        _check_bootstrap(bootstrap, task, likelihood)
    if loss == "none":
        found = solve(task, likelihood, monitor=monitor)
        variance = None
        if bootstrap is not None:
            found, variance = bootstrapped(task, found, bootstrap, monitor)
        fit = _fit(task, found, None, variance)
    else:
        kept, found, weight, variance = rejecting(task, LOSSES[loss], monitor)
        if bootstrap is not None:
            found, variance = bootstrapped(kept, found, bootstrap, monitor)
        fit = _fit(kept, found, weight, variance)
        corrupted = (fit.status == Status.NO_SIGNAL) & np.any(task.data, axis=1)
        fit = replace(fit, status=np.where(corrupted, np.uint8(Status.CORRUPTED), fit.status))
    measured = np.where(task.weight > 0, task.data, np.nan).astype(np.float32)
    told = noise is not None and loss == "none"
    return replace(fit, data=measured, design=Design(model, task.points, task.known, told))


def _check(likelihood: str, loss: str, noise: ArrayLike | None) -> None:
    if likelihood not in LIKELIHOODS:
        raise ScanError(f"there is no likelihood {likelihood}; choose from {', '.join(LIKELIHOODS)}")
    if loss not in ("none", *LOSSES):
        raise ScanError(f"there is no loss {loss}; choose from none, {', '.join(LOSSES)}")
    if likelihood != "gaussian" and loss != "none":
        raise ScanError(
            f"the loss {loss} goes with gaussian noise only; leave out one of loss and likelihood"
        )
    if likelihood != "gaussian" and noise is None:
        raise ScanError(f"the likelihood {likelihood} needs the standard deviation of the noise; give it")


def _check_bootstrap(bootstrap: Bootstrap, task: Task, likelihood: str) -> None:
    if likelihood != "gaussian":
        raise ScanError(
            f"errors by bootstrap go with the likelihood gaussian, not {likelihood}; leave out one of both"
        )
    if bootstrap.repeats < FEWEST or bootstrap.seed < 0:
        raise ScanError(
            f"{bootstrap.repeats} bootstraps with the seed {bootstrap.seed} tell no error; give {FEWEST} or more, "
            "and a seed from 0 on"
        )
    if task.data.shape[1] <= len(task.model.parameters):
        raise ScanError(
            f"errors by bootstrap need more points than the {len(task.model.parameters)} parameters of "
            f"{task.model.name}, but there are {task.data.shape[1]}; measure more, or take the analytic errors"
        )


def _fit(task: Task, found: Found, weight: Doubles | None = None, variance: Doubles | None = None) -> Fit:
    """What was found, with errors for the noise's variance: as told, else as known, else from the residuals."""
    if variance is None:
        variance = _variance(task, found)
    diagonal = np.einsum("npp->np", found.inverse)
    status = _status(task, found, np.sqrt(diagonal * variance[:, None]))
    good = status == Status.OK
    scale = np.sqrt(np.where(good[:, None], diagonal, np.nan))
    logarithmic = [p.logarithmic for p in task.model.parameters]
    errors = scale * np.sqrt(variance)[:, None] * np.where(logarithmic, found.values, 1)
    explained, chi_squared, aic = _goodness(task, found)
    return Fit(
        values=_single(found.values, good),
        errors=_single(errors, good),
        status=status,
        residual=_single(np.sqrt(2 * found.cost / np.maximum(task.weight.sum(1), 1e-300)), good),
        weights=(task.weight if weight is None else weight).astype(np.float32),
        correlation=_single(found.inverse / (scale[:, :, None] * scale[:, None, :]), good),
        r_squared=_single(explained, good),
        chi_squared=_single(chi_squared, good),
        aic=_single(aic, good),
        freedom=task.freedom.astype(np.int16),
    )


def _single(values: Doubles, good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """In single precision, not a number where the fit is not good."""
    return np.where(good.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan).astype(np.float32)


def _variance(task: Task, found: Found) -> Doubles:
    """The noise's variance, as known or from the residuals; not a number without more points than parameters."""
    if task.noise is not None:
        return np.square(task.noise)
    return np.where(task.freedom > 0, 2 * found.cost / np.maximum(task.freedom, 1), np.nan)


def _goodness(task: Task, found: Found) -> tuple[Doubles, Doubles, Doubles]:
    """R², χ² (not a number without the noise), and Akaike's criterion, n ln(cost/n) + 2(p + 1)."""
    weight, squares = task.weight, 2 * found.cost
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.sum(weight * task.data, axis=1, keepdims=True) / weight.sum(1, keepdims=True)
        explained = 1 - squares / np.sum(weight * np.square(task.data - mean), axis=1)
        aic = task.counted * np.log(squares / task.counted) + 2 * (len(task.model.parameters) + 1)
    chi_squared = np.full(len(squares), np.nan) if task.noise is None else squares / np.square(task.noise)
    return explained, chi_squared, aic


def _status(task: Task, found: Found, errors: Doubles) -> NDArray[np.uint8]:
    """How each voxel ended; the later reason counts. `errors` are those of the coordinates."""
    status = np.where(found.converged, Status.OK, Status.NOT_CONVERGED).astype(np.uint8)
    status[~np.isfinite(np.einsum("npp->np", found.inverse)).all(axis=1)] = Status.NOT_IDENTIFIABLE
    for i, p in enumerate(task.model.parameters):
        span = np.inf if p.linear else 1.0 if p.logarithmic else p.upper - p.lower
        status[errors[:, i] > UNKNOWABLE * span] = Status.NOT_IDENTIFIABLE
        if not p.linear:
            value = found.values[:, i]
            status[(value <= p.lower) | (value >= p.upper)] = Status.OUT_OF_BOUNDS
    if task.noise is not None:
        loudest = np.max(np.abs(task.data) * (task.weight > 0), axis=1, initial=0)
        status[loudest < LOUD * task.noise] = Status.BELOW_NOISE
    status[(task.freedom < 0) | ~np.any(task.data, axis=1)] = Status.NO_SIGNAL
    return status
