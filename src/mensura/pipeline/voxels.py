"""A few voxels of a fit, chosen by fixed rules, with all that a plot of each needs: data, curve, interval, weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Fit, Status, curve
from mensura.fit.curve import LEVEL
from mensura.qmri.estimates import Estimates
from mensura.scan import BoolArray, FloatArray

MOST = 6
DEGREES = "deg"
QUANTILES = (0.5, 0.1, 0.9)
FURTHER = (0.25, 0.75, 0.02, 0.98)
"""Of the first map: voxels that are always shown, and those that fill up where there is none of another kind."""

Where = NDArray[np.intp]


def words(status: int) -> str:
    """A code of `Status` → "not converged"."""
    return Status(status).name.lower().replace("_", " ")


@dataclass(frozen=True)
class Axis:
    """What varies from image to image, its unit as people write it, and its values in the order of the images."""

    name: str
    unit: str
    values: Sequence[float]

    def of(self, fit: Fit | None, images: int) -> tuple[Axis, float]:
        """The axis in the order of the fit's points, and what these are to be multiplied by for it.

        Where what varies tells no place (it is the same in two images, or not what was fitted over): their numbers.
        """
        factor = 180 / np.pi if self.unit == DEGREES else 1.0
        counted = [float(i + 1) for i in range(images)]
        if fit is None or fit.design is None:
            told = len(self.values) == images == len(set(self.values))
            return (self if told else Axis("image", "", counted)), factor
        own = np.atleast_2d(fit.design.points * factor)[0]
        if np.isclose(own[:, None], np.asarray(self.values)[None]).any(axis=1).all():
            return Axis(self.name, self.unit, own.tolist()), factor
        return Axis("point", "", counted), factor


def voxels(
    estimates: Estimates, images: tuple[FloatArray, BoolArray], axis: Axis, record: Mapping[str, Any]
) -> dict[str, Any]:
    """What was estimated in the mask of the images → the record of the chosen voxels.

    Data are those that were fitted, in the order of the fit; a weight of 0 is a rejected point, null a missing one.
    """
    data, mask = images
    chosen = choice(estimates)
    which = np.array(list(chosen), dtype=np.intp)
    fit = _fit_of(estimates, which)
    signals = data[mask][which] if fit is None or fit.data is None else fit.data
    places = np.argwhere(mask)[which].tolist()
    shown, factor = axis.of(fit, signals.shape[1])
    found = [
        {"Why": why, "Index": place, **_estimated(estimates, one), "Data": signals[row]}
        for row, ((one, why), place) in enumerate(zip(chosen.items(), places, strict=True))
    ]
    if fit is not None and len(chosen):
        for one, more in zip(found, _fitted(fit, shown, factor), strict=True):
            one |= more
    return {
        "Description": "Chosen voxels: data as fitted, and the fitted curve with its interval",
        "Varied": {"Name": shown.name.replace("_", " "), "Units": shown.unit},
        "Points": shown.values,
        "Interval": LEVEL,
        "Voxels": found,
        **record,
    }


def _fit_of(estimates: Estimates, which: Where) -> Fit | None:
    """The fit of some voxels; None for closed forms, or where the fit was of something else than these voxels."""
    fit = estimates.fit
    if fit is None or fit.design is None or len(fit.values) != len(estimates.status):
        return None
    return fit.part(which)


def choice(estimates: Estimates) -> dict[int, str]:
    """Which of the fitted voxels are shown → why, each once, with all its reasons.

    Quantiles of the first map, the worst fit, one with rejected points, and one without a value; further quantiles
    where some of these do not exist.
    """
    name = next(iter(estimates.maps))
    values = np.asarray(estimates.maps[name][0], float)
    good = np.flatnonzero((estimates.status == Status.OK) & np.isfinite(values))
    found: dict[int, str] = {}
    for why, one in (*_at_quantiles(name, values, good, QUANTILES), *_special(estimates, good)):
        found[one] = f"{found[one]}, {why}" if one in found else why
    for why, one in _at_quantiles(name, values, good, FURTHER):
        if len(found) < MOST:
            found.setdefault(one, why)
    return found


def _at_quantiles(
    name: str, values: NDArray[Any], good: Where, shares: Sequence[float]
) -> Iterator[tuple[str, int]]:
    """The first voxels whose values are these quantiles."""
    if not good.size:
        return
    ranks = [round(share * (good.size - 1)) for share in shares]
    ordered = np.partition(values[good], ranks)
    for share, rank in zip(shares, ranks, strict=True):
        which = "median" if share == 0.5 else f"{100 * share:g} % quantile"
        yield f"{which} of {name}", int(good[np.argmax(values[good] == ordered[rank])])


def _special(estimates: Estimates, good: Where) -> Iterator[tuple[str, int]]:
    """The worst fit, the middle one of those with rejected points, and one of those that most often have no value."""
    fit = estimates.fit
    if fit is not None and fit.r_squared is not None and fit.freedom is not None:
        judged = good[fit.freedom[good] > 0]
        if judged.size:
            yield (
                "worst fit (smallest R²)",
                int(judged[np.argmin(np.nan_to_num(fit.r_squared[judged], nan=1))]),
            )
    if fit is not None and good.size and fit.weights is not None and fit.data is not None:
        some = good[_rejected(fit)[good]]
        if some.size:
            values = next(iter(estimates.maps.values()))[0][some]
            yield "with rejected points", int(some[np.argsort(values, kind="stable")[some.size // 2]])
    failed = np.flatnonzero(estimates.status != Status.OK)
    if failed.size:
        counts = np.bincount(estimates.status[failed], minlength=len(Status))
        counts[Status.NO_SIGNAL] = min(counts[Status.NO_SIGNAL], 1)
        worst = int(np.argmax(counts))
        same = failed[estimates.status[failed] == worst]
        yield f"no value: {words(worst)}", int(same[same.size // 2])


def _rejected(fit: Fit) -> BoolArray:
    """Whether any point of a voxel was rejected."""
    assert fit.weights is not None
    assert fit.data is not None
    rejected: BoolArray = np.any((fit.weights == 0) & np.isfinite(fit.data), axis=1)
    return rejected


def _estimated(estimates: Estimates, one: int) -> dict[str, Any]:
    """Values and standard deviations of a voxel, by map, and how its fit ended."""
    status = int(estimates.status[one])
    return {
        "Status": status,
        "Ended": words(status),
        "Values": {name: pair[0][one] for name, pair in estimates.maps.items()},
        "StandardDeviations": {name: pair[1][one] for name, pair in estimates.maps.items()},
    }


def _fitted(fit: Fit, axis: Axis, factor: float) -> Iterator[dict[str, Any]]:
    """Weights and curve of each voxel; no curve where there is no value."""
    assert fit.weights is not None
    drawn = curve(fit)
    between = drawn.points.ndim == 1 and drawn.points.size != len(axis.values)
    points = _short(drawn.points * factor) if between else list(axis.values)
    for weights, signal, low, high in zip(fit.weights, drawn.signal, drawn.low, drawn.high, strict=True):
        there = np.isfinite(signal).all()
        shown = {"Points": points, "Signal": _short(signal), "Low": _short(low), "High": _short(high)}
        yield {"Weights": weights} | ({"Curve": shown} if there else {})


def _short(values: NDArray[Any]) -> list[float]:
    """Numbers of seven digits, as many as single precision holds."""
    return [float(f"{value:.7g}") for value in values.tolist()]
