"""Signals of many voxels → the parameters of a model in each: the one door of the fitter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.fit.bootstrap import Bootstrap, bootstrapped
from mensura.fit.descent import Report, in_chunks, solve, solved
from mensura.fit.likelihood import LIKELIHOODS
from mensura.fit.model import SignalModel
from mensura.fit.result import Design, Fit, Status
from mensura.fit.robust import LOSSES, rejecting
from mensura.fit.summary import Bounds, Columns, Summed, summarise, variances
from mensura.fit.task import Asked, Found, Task
from mensura.scan import ScanError

Doubles = NDArray[np.float64]

FEWEST = 20
"""Bootstraps: the standard deviation of fewer is known to worse than a sixth."""


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

    Signals that bend with one or two coordinates are read from a table of splines where there are voxels enough to be
    worth one (`mensura.fit.table`), exact to 1e-8 or 1e-6 of the largest point; else from the equation. Every voxel
    stands alone (with a loss they share the scale of the noise), so that the result does not depend on the number of
    threads. Raises ScanError for shapes that do not fit, too few points, and choices that there are not.

    Golub & Pereyra 1973, doi:10.1137/0710036; Kaufman 1975, doi:10.1007/BF01932995.
    """
    _check(likelihood, loss, noise)
    asked = Asked.of(model, points, data, known, weights, noise)
    if bootstrap is not None:
        _check_bootstrap(bootstrap, asked.whole, likelihood)
    if loss == "none" and bootstrap is None:
        fit = _least_squares(asked, likelihood, monitor)
    elif loss == "none" and bootstrap is not None:
        task = asked.task()
        fit = _fit(task, *bootstrapped(task, solve(task, monitor=monitor), bootstrap, monitor))
    else:
        fit = _robust(asked.task(), loss, bootstrap, monitor)
    told = noise is not None and loss == "none" and bootstrap is None
    return replace(fit, design=Design(model, asked.whole.points, asked.whole.known, told))


def _least_squares(asked: Asked, likelihood: str, monitor: Report | None) -> Fit:
    """All of it chunk by chunk."""
    n, m = asked.whole.data.shape
    columns = Columns.empty(n, m, len(asked.whole.model.parameters))

    def one(which: slice) -> None:
        task = asked.task(which)
        found = solved(task, likelihood)
        _summarise(task, found, _variance(task, found), columns.part(which))

    in_chunks(n, one, monitor)
    return Fit(**columns._asdict())


def _robust(task: Task, loss: str, bootstrap: Bootstrap | None, monitor: Report | None) -> Fit:
    kept, found, weight, variance = rejecting(task, LOSSES[loss], monitor)
    if bootstrap is not None:
        found, variance = bootstrapped(kept, found, bootstrap, monitor)
    measured = np.where(task.weight > 0, task.data, np.nan).astype(np.float32)
    fit = replace(_fit(kept, found, variance), weights=weight.astype(np.float32), data=measured)
    corrupted = (fit.status == Status.NO_SIGNAL) & np.any(task.data, axis=1)
    return replace(fit, status=np.where(corrupted, np.uint8(Status.CORRUPTED), fit.status))


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


def _fit(task: Task, found: Found, variance: Doubles) -> Fit:
    n, m = task.data.shape
    columns = Columns.empty(n, m, found.values.shape[1])
    _summarise(task, found, variance, columns)
    return Fit(**columns._asdict())


def _variance(task: Task, found: Found) -> Doubles:
    """The noise's variance, as known or from the residuals; not a number without more points than parameters."""
    if task.noise is not None:
        return np.square(task.noise)
    return variances(task.weight, found.cost, found.values.shape[1])


def _summarise(task: Task, found: Found, variance: Doubles, columns: Columns) -> None:
    """What was found, with errors for the noise's variance, into the columns."""
    noise = np.full(len(found.values), np.nan) if task.noise is None else task.noise
    told = found.values, found.cost, found.inverse, found.converged
    summarise(Summed(task.data, task.weight, *told, variance, noise), Bounds.of(task.model), columns)
