"""Spin echoes → T2: plain decay, trains with imperfect refocusing, and the spectrum that holds the myelin water."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Fit, Parameter, SignalModel, Status, fit_voxels
from mensura.methods import Monitor, Tunable
from mensura.qmri import epg, equations
from mensura.qmri.choices import (
    Bootstraps,
    Errors,
    Likelihood,
    Loss,
    Noise,
    Seed,
    keywords,
)
from mensura.qmri.estimates import Estimates, ended
from mensura.qmri.lookup import Lookup
from mensura.qmri.slices import Pulses, tabulated
from mensura.qmri.spectra import spectra
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

SHORTEST, LONGEST = 0.002, 4.0
"""Bounds of T2, s."""
M0 = Parameter("m0", "arbitrary", linear=True)
OFFSET = Parameter("offset", "arbitrary", linear=True)
ASKED = 1500
"""Voxels whose echoes tell how angles vary across the slice."""
CLEARLY = 0.9
"""Share of the residual that the slice's profile must leave to be taken."""
STEP, COARSE = 0.2, 0.6
"""Of the logarithm of T1, between voxels that are fitted with different ones; while the echoes are only asked."""
NEAR = 1.2
"""T1 over T2 where one is near the other, as in nickel."""
T2 = Parameter("t2", "s", SHORTEST, LONGEST, starts=64)
B1 = Parameter("b1", "1", 0.4, 1.001, starts=16)
"""B1 above nominal looks like as much below: the train of 180° − x is that of 180° + x but for its size."""
STEADIED_B1 = (0.6, 1.3)
"""Of trains whose first pulse is larger than the others: range of B1, as far as the others do not exceed 180°."""
ANGLES = np.deg2rad(np.arange(100.0, 170.0, 5.0))
"""That those others may have, if it is not told."""

RefocusingAngle = Annotated[float, Tunable("rad", "nominal angle of the refocusing pulses")]
T1Guess = Annotated[float, Tunable("s", "T1 that is assumed; matters where it is near T2")]


def _decay(times: Any, m0: Any, t2: Any) -> Any:
    return equations.exponential_decay(times, m0, 1 / t2)


def _raised(times: Any, m0: Any, offset: Any, t2: Any) -> Any:
    return _decay(times, m0, t2) + offset


DECAY = SignalModel("decay", _decay, (M0, T2), "10.1103/PhysRev.80.580")
RAISED = SignalModel("decay on an offset", _raised, (M0, OFFSET, T2), "10.1103/PhysRev.80.580")


def spin_echo(
    signals: FloatArray,
    echo_times: Sequence[float],
    *,
    offset: Annotated[
        Literal["none", "fitted"], Tunable("", "a constant below the decay, as of noise or stray signal")
    ] = "none",
    skip: Annotated[int, Tunable("1", "first echoes that are left out, as the first of a CPMG train")] = 0,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m), echo times (s) → T2 (s) and M0, each with its error; M0 e^{−TE/T2}, with or without an offset.

    For single spin echoes, or trains with perfect refocusing; else T2 is too long by a tenth to a third (see
    `spin_echo_train`). Raises ScanError for too few echoes.
    """
    times, data = _checked(signals, echo_times)
    model = RAISED if offset == "fitted" else DECAY
    how = keywords(noise, loss, (errors, bootstraps, seed), monitor)
    fit = fit_voxels(model, times[skip:], data[:, skip:], likelihood=likelihood, **how)
    if offset == "fitted":
        return Estimates.of(fit, T2map=2, M0map=0, offsetmap=1)
    return Estimates.of(fit, T2map=1, M0map=0)


def _train(
    echoes: Any, m0: Any, t2: Any, b1: Any, spacing: float, first: float, angle: float, t1: float
) -> Any:
    return epg.trains(m0, t2, b1, (np.size(echoes), spacing, angle, t1), first=first)


def _sliced(echoes: Any, m0: Any, t2: Any, b1: Any, table: Lookup) -> Any:
    return m0 * table(t2, b1)


TRAIN = SignalModel("spin echo train", _train, (M0, T2, B1), "10.1002/cmr.1820030302", between=False)
SLICED = SignalModel("spin echo train of a slice", _sliced, (M0, T2, B1), "10.1002/mrm.22487", between=False)


def spin_echo_train(
    signals: FloatArray,
    echo_times: Sequence[float],
    *,
    b1: FloatArray | None = None,
    refocusing_angle: RefocusingAngle = np.pi,
    t1: T1Guess = 1.0,
    t1_map: FloatArray | None = None,
    slice_profile: Annotated[
        Literal["auto", "none", "sinc"],
        Tunable(
            "", "how the angles vary across the slice: not, or as of sinc pulses; auto: as the echoes say"
        ),
    ] = "auto",
    first_pulse: Annotated[
        Literal["auto", "same", "halfway"],
        Tunable(
            "",
            "the first refocusing angle: that of the others, or halfway from it to 180°, which steadies the echoes; "
            "auto: as the echoes say",
        ),
    ] = "auto",
    time_bandwidth: Annotated[
        tuple[float, float], Tunable("1", "time-bandwidth products of sinc pulses: excitation, refocusing")
    ] = (2.0, 4.0),
    refocusing_width: Annotated[
        float, Tunable("1", "thickness that sinc pulses refocus, relative to the one they excite")
    ] = 2.0,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m) of a CPMG train, echo times (s, equally spaced) → T2 (s), M0 and B1, each with its error.

    The extended phase graph of the train, so that stimulated echoes do not lengthen T2. B1 multiplies excitation and
    refocusing; it is fitted (0.4 to 1: above 1 it can hardly be told from below), or given for each voxel. Without a
    slice profile it holds what that leaves of the angle, on average. With one it is B1 alone, and the signal is the
    sum over the slice of trains with the angles that the pulses make there (`sliced_trains`); unless it is given, a B1
    above 1 is then found as one below, with a T2 about 3 % too long. Close to 1 the echoes hardly tell B1: where the
    fit fails, it is taken as 1, without an error. The default pulses, of 28 tried, left the least residual in trains of
    two scanners and are wrong for a third: `auto` takes them only where they leave clearly less of the signals than one
    angle does. T1 (s) of each voxel, if it is given, counts to a tenth, and `t1` where it is not known; it matters
    where it is near T2.
    Trains of pulses below 180° (fast spin echo) may begin with one that is halfway to 180° larger. Their echoes hardly
    swing, so that they look like those of perfect pulses, but last longer. Where the angle is not told (180°), it is
    the one of 100°, 105° … 165° that leaves least; by itself it is taken only where it leaves clearly less than equal
    pulses do, be T1 as assumed or near T2. B1 is then 0.6 to 1.3.
    Hennig 1991, doi:10.1002/cmr.1820030302; Lebel & Wilman 2010, doi:10.1002/mrm.22487. Differs from the latter in the
    pulses, which are Hann-windowed sincs, and in interpolating the sums, which are tabulated once per protocol. Larger
    first pulse: Hennig & Scheffler 2000, doi:10.1002/1522-2594(200012)44:6<983::AID-MRM21>3.0.CO;2-9.
    Raises ScanError for unequal spacing.
    """
    times, data = _checked(signals, echo_times)
    spacing = float(times[0])
    if not np.allclose(np.diff(times), spacing, rtol=0.02):
        raise ScanError(
            f"the echoes of a train are equally spaced from the excitation on, not at {times.round(5).tolist()} s;"
            " take spin_echo for single echoes"
        )
    relative = None if b1 is None else np.asarray(b1, np.float64)
    pulses = Pulses(time_bandwidth, refocusing_width, float(refocusing_angle))
    how = {"likelihood": likelihood, **keywords(noise, loss, (errors, bootstraps, seed), monitor)}
    slow = np.full(len(data), float(t1)) if t1_map is None else np.where(t1_map > 0, t1_map, t1)
    trains = _Trains(times, data, relative, slow.astype(np.float64), pulses, how)
    kind, notes = trains.spoken_for(
        _kinds(slice_profile, first_pulse, pulses.refocusing_angle), t1_map is None
    )
    return replace(trains.fitted(kind), notes=notes)


@dataclass(frozen=True)
class _Kind:
    """Of train: the slice's profile, and the angles (rad) of the first and of the other refocusing pulses."""

    profile: str
    first: float
    angle: float

    @property
    def equal(self) -> bool:
        return self.first == self.angle

    def __str__(self) -> str:
        if self.equal:
            return self.profile
        return f"{self.profile}, angles {np.rad2deg(self.first):.4g}° and {np.rad2deg(self.angle):.4g}°"

    @property
    def b1(self) -> Parameter:
        """What B1 there may be."""
        if self.equal:
            return B1
        low, high = STEADIED_B1
        return replace(B1, lower=low, upper=min(high, np.pi / self.angle))


def _kinds(profile: str, first_pulse: str, angle: float) -> list[_Kind]:
    """Those that the echoes are asked about, the plainest first. ScanError for what does not go together."""
    if profile == "sinc" and first_pulse == "halfway":
        raise ScanError(
            "a slice profile goes with equal refocusing pulses only; leave out one of slice profile and first pulse"
        )
    profiles = ["none", "sinc"] if profile == "auto" else [profile]
    same = [] if first_pulse == "halfway" else [_Kind(one, angle, angle) for one in profiles]
    if first_pulse == "same" or (first_pulse == "auto" and profile != "auto"):
        return same
    angles = ANGLES if angle == np.pi else [angle]
    return [*same, *(_Kind("none", float(np.pi + a) / 2, float(a)) for a in angles)]


@dataclass(frozen=True)
class _Trains:
    """Echo times, signals (n, m), B1 (n) or None, T1 (s) (n), the pulses, and how they are to be fitted."""

    times: Doubles
    data: Doubles
    b1: Doubles | None
    t1: Doubles
    pulses: Pulses
    how: dict[str, Any]
    step: float = STEP

    def part(self, which: Any) -> _Trains:
        """Some of the voxels."""
        b1 = None if self.b1 is None else self.b1[which]
        return replace(self, data=self.data[which], b1=b1, t1=self.t1[which])

    def fitted(self, kind: _Kind) -> Estimates:
        """T2, M0 and B1 by trains of a kind."""
        groups = self.groups()
        if len(groups) == 1:
            return self._sharing(kind, groups[0][1])
        return Estimates.joined([(which, self.part(which)._sharing(kind, t1)) for which, t1 in groups])

    def groups(self) -> list[tuple[NDArray[np.intp], float]]:
        """The voxels by their T1 (s), to half a step unless all share it."""
        everyone = np.arange(len(self.data))
        if not everyone.size or np.all(self.t1 == self.t1[0]):
            return [(everyone, float(self.t1[0]) if everyone.size else 1.0)]
        level = np.rint(np.log(np.clip(self.t1, SHORTEST, LONGEST)) / self.step)
        return [(everyone[level == one], float(np.exp(self.step * one))) for one in np.unique(level)]

    def _sharing(self, kind: _Kind, t1: float) -> Estimates:
        """Voxels that share T1 (s)."""
        spacing = float(self.times[0])
        model = replace(TRAIN, parameters=(M0, T2, kind.b1))
        known: dict[str, Any] = {"spacing": spacing, "first": kind.first, "angle": kind.angle, "t1": t1}
        if kind.profile == "sinc":
            model, known = SLICED, {"table": _table(self.pulses, (self.times.size, spacing, t1), self.b1)}
        return _fitted_train((model, known, self.how), self.times, self.data, self.b1)

    def spoken_for(self, kinds: list[_Kind], guessed: bool) -> tuple[_Kind, tuple[str, ...]]:
        """The kind that leaves clearly less of the signals of up to `ASKED` voxels than plainer ones; that in words."""
        there = np.flatnonzero(np.any(np.nan_to_num(self.data), axis=1))
        if not there.size or len(kinds) == 1:
            return kinds[0], ()
        quiet = {**self.how, "bootstrap": None, "monitor": None}
        asked = replace(self.part(there[:: max(1, there.size // ASKED)]), how=quiet, step=COARSE)
        left = {kind: asked.left(kind) for kind in kinds}
        best = asked.clearest(left, guessed)
        told = " and ".join(
            f"{100 * share:.2g} % ({kind})" for kind, share in left.items() if kind.equal or kind == best
        )
        return best, (f"slice profile: {best}; of the first echoes, {told} are left over",)

    def clearest(self, left: dict[_Kind, float], guessed: bool) -> _Kind:
        """The plainest kind, unless another leaves clearly less; unequal pulses less than any equal ones, also if T1 is
        near T2 where it is guessed."""
        equal, others = ([kind for kind in left if kind.equal is so] for so in (True, False))
        if not equal:
            return min(others, key=left.__getitem__)
        best = min(equal, key=left.__getitem__)
        best = best if left[best] < CLEARLY * left[equal[0]] else equal[0]
        other = min(others, key=left.__getitem__, default=best)
        if not left[other] < CLEARLY * left[best]:
            return best
        return best if guessed and not left[other] < CLEARLY * self.near(best) else other

    def near(self, kind: _Kind) -> float:
        """What a kind leaves if T1 is near the T2 that it finds."""
        short = self.fitted(kind).maps["T2map"][0]
        return replace(self, t1=np.where(short > 0, NEAR * short, self.t1).astype(np.float64)).left(kind)

    def left(self, kind: _Kind) -> float:
        """What a kind leaves of the signals of most voxels."""
        left = []
        for which, t1 in self.groups():
            fit = self.part(which)._sharing(kind, t1).fit
            assert fit is not None
            size = np.max(np.abs(np.nan_to_num(self.data[which])), axis=1)
            left.append(np.nan_to_num(fit.residual / size, nan=np.inf))
        return float(np.median(np.concatenate(left)))


def _table(pulses: Pulses, protocol: tuple[int, float, float], b1: Doubles | None) -> Lookup:
    """The slice's trains for all T2, and for all B1 that there are or may be found."""
    there = np.array([B1.lower, B1.upper]) if b1 is None else np.append(b1[np.isfinite(b1)], 1.0)
    low, high = np.clip([there.min(), there.max()], 0.1, 2.5)
    return tabulated(pulses, protocol, (SHORTEST, LONGEST), (low, high))


def _fitted_train(
    how: tuple[SignalModel, dict[str, Any], dict[str, Any]], times: Doubles, data: Doubles, b1: Doubles | None
) -> Estimates:
    """T2, M0 and B1 by the model with what it knows; where B1 is not found, it is 1."""
    model, known, choices = how
    given = replace(model, parameters=(M0, T2))
    if b1 is not None:
        fit = fit_voxels(given, times, data, known={**known, "b1": b1}, **choices)
        return Estimates.of(fit, T2map=1, M0map=0)
    made = Estimates.of(fit_voxels(model, times, data, known=known, **choices), T2map=1, M0map=0, TB1map=2)
    flat = np.isin(made.status, (Status.OUT_OF_BOUNDS, Status.NOT_CONVERGED, Status.NOT_IDENTIFIABLE))
    if not flat.any():
        return made
    ideal = fit_voxels(given, times, data[flat], known={**known, "b1": 1.0}, **choices)
    nominal = (np.where(ideal.status == Status.OK, 1, np.nan), np.full(len(ideal.status), np.nan))
    return made.replaced(flat, Estimates.of(_held(ideal, 1.0), T2map=1, M0map=0).derived("TB1map", *nominal))


def _held(fit: Fit, value: float) -> Fit:
    """A fit with one more parameter, the last, that was held at a value: known without error."""
    ok, correlation = fit.status == Status.OK, fit.correlation
    assert correlation is not None
    wider = np.where(ok[:, None, None], np.eye(correlation.shape[1] + 1, dtype=np.float32), np.nan)
    wider[:, :-1, :-1] = correlation
    values, errors = (
        np.column_stack([old, np.where(ok, new, np.nan)]).astype(np.float32)
        for old, new in ((fit.values, value), (fit.errors, 0.0))
    )
    return replace(fit, values=values, errors=errors, correlation=wider.astype(np.float32))


def spectrum(
    signals: FloatArray,
    echo_times: Sequence[float],
    *,
    b1: FloatArray | None = None,
    refocusing_angle: RefocusingAngle = np.pi,
    t1: T1Guess = 1.0,
    components: Annotated[int, Tunable("1", "T2 values, evenly spaced by their logarithm")] = 40,
    shortest: Annotated[float, Tunable("s", "smallest T2")] = 0.008,
    longest: Annotated[float, Tunable("s", "largest T2")] = 2.0,
    cutoff: Annotated[float, Tunable("s", "T2 below which water is myelin's")] = 0.04,
    misfit: Annotated[float, Tunable("1", "by how much χ² may grow for the sake of smoothness")] = 1.02,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m) of a CPMG train, echo times (s) → myelin water fraction (%) and geometric mean T2 (s).

    Non-negative least squares on a spectrum of T2, with ‖spectrum‖² weighted so that χ² grows by the factor `misfit`;
    B1 is given, or the best of a few, without smoothness. No error is told: the status says where there is no signal.
    Whittall & MacKay 1989, doi:10.1016/0022-2364(89)90011-5; Prasloski et al. 2012, doi:10.1002/mrm.23157.
    """
    times, data = _checked(signals, echo_times)
    grid = np.geomspace(shortest, longest, components)
    status = ended(data, np.ones(len(data), bool))
    relative = None if b1 is None else np.asarray(b1, np.float64)
    protocol = (times.size, float(times[0]), float(refocusing_angle), float(t1))
    weights, found = spectra(
        np.where(status[:, None] == Status.OK, data, 1.0), grid, relative, (protocol, misfit), monitor
    )
    total = np.maximum(weights.sum(axis=1), 1e-300)
    fraction = 100 * weights[:, grid < cutoff].sum(axis=1) / total
    mean = np.exp(weights @ np.log(grid) / total)
    unknown = np.full(len(data), np.nan)
    return Estimates.closed(
        status, MWFmap=(fraction, unknown), T2map=(mean, unknown), TB1map=(found, unknown)
    )


def _checked(signals: FloatArray, echo_times: Sequence[float]) -> tuple[Doubles, Doubles]:
    times, data = np.asarray(echo_times, np.float64), np.asarray(signals, np.float64)
    if data.shape[1] != times.size:
        raise ScanError(f"there are {data.shape[1]} images but {times.size} echo times; give one for each")
    if times.max(initial=0) > 10:
        raise ScanError(f"echo times up to {times.max():g} s look like milliseconds; give seconds")
    if np.any(np.diff(times) <= 0) or np.any(times <= 0):
        raise ScanError(f"echo times rise from above 0, but they are {times.tolist()} s; sort the images")
    return times, data
