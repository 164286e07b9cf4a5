"""What each model's images would be: truth and protocol → signals without noise, for all that asks before a scan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.qmri import diffusion, epg, equations, estatics, hifi, mpm

Doubles = NDArray[np.float64]

MAPS: Mapping[str, str] = {
    "m0": "M0map",
    "t1": "T1map",
    "t2": "T2map",
    "b1": "TB1map",
    "efficiency": "IEmap",
    "offset": "offsetmap",
    "mtr": "MTRmap",
    "mtsat": "MTsat",
    "r2star": "R2starmap",
    "adc": diffusion.ADC,
    "fa": diffusion.FA,
    "md": diffusion.MD,
}
"""A true value, as equations name it, and the map that it becomes."""


@dataclass(frozen=True)
class Images:
    """`equation`(what varies, *, truth and protocol by name) → signals; the truth's names with usual values.

    Of the truth, a model is told what is `given` (as a B1 map) and finds the rest; a choice of the model of the same
    name that is "fitted" makes it find that as well. `beside`: what it finds too, 0 in truth, and nobody asks for.
    `more`: images may be added one by one, as a longer train, or not. `phases`: its images are phases, whose noise is
    1/SNR. The equation's other keywords are the model's parameters.
    """

    equation: Callable[..., Any]
    truth: Mapping[str, tuple[float, ...]]
    given: tuple[str, ...] = ()
    more: Literal["one", "train", ""] = "one"
    phases: bool = False
    beside: tuple[str, ...] = ()

    @property
    def protocol(self) -> list[str]:
        """The model's parameters that the equation needs."""
        named = inspect.signature(self.equation).parameters.values()
        told = {*self.truth, *self.beside}
        return [p.name for p in named if p.kind is p.KEYWORD_ONLY and p.name not in told]

    def signals(self, points: Doubles, truth: Mapping[str, Any], parameters: Mapping[str, Any]) -> Doubles:
        """Points (m), truth (numbers or (n)), the model's parameters → signals (n, m)."""
        every = {**dict.fromkeys(self.beside, 0.0), **truth}
        columns = {name: np.atleast_1d(np.asarray(v, np.float64))[:, None] for name, v in every.items()}
        protocol = {name: parameters[name] for name in self.protocol}
        made = np.asarray(self.equation(points, **columns, **protocol), np.float64)
        n = max(len(column) for column in columns.values())
        return np.broadcast_to(made.reshape(len(made), -1), (n, made.size // len(made)))


def _inversion(times: Any, *, m0: Any, t1: Any, efficiency: Any, repetition_time: Any) -> Any:
    return equations.inversion_recovery(times, m0, t1, efficiency=efficiency, repetition_time=repetition_time)


def _saturation(times: Any, *, m0: Any, t1: Any, efficiency: Any) -> Any:
    return equations.saturation_recovery(times, m0, t1, efficiency=efficiency)


def _look_locker(times: Any, *, m0: Any, t1: Any, t1star_share: Any) -> Any:
    """M0 (f − (1 + f)e^{−t/T1*}), f = T1*/T1: a perfect inversion, then recovery to M0·f under the readouts."""
    return m0 * (t1star_share - (1 + t1star_share) * np.exp(-times / (t1star_share * t1)))


def _angles(angles: Any, *, m0: Any, t1: Any, b1: Any, repetition_time: float) -> Any:
    return equations.spoiled_gradient_echo(angles, m0, t1, repetition_time=repetition_time, b1=b1)


def _inversion_and_angles(
    angles: Any, *, m0: Any, t1: Any, b1: Any, inversion_times: Any, repetition_time: float, excitations: Any,
    cycle_time: float, inversion: str, efficiency: float,
) -> Any:  # fmt: skip
    protocol = hifi.Protocol(repetition_time, excitations, cycle_time, efficiency, inversion == "hard", False)
    return hifi.images(hifi.points_of(angles, inversion_times), m0, t1, b1, protocol)


def _mp2rage(
    _: Any, *, m0: Any, t1: Any, b1: Any, inversion_times: Any, flip_angles: Any,
    excitation_interval: float, excitations: Any, cycle_time: float, efficiency: float,
) -> Any:  # fmt: skip
    return equations.mp2rage(
        m0, t1, b1=b1, inversion_times=inversion_times, flip_angles=flip_angles,
        excitation_interval=excitation_interval, excitations=excitations, cycle_time=cycle_time,
        efficiency=efficiency,
    )  # fmt: skip


def _sa2rage(
    _: Any, *, m0: Any, b1: Any, inversion_times: Any, flip_angles: Any, excitation_interval: float,
    excitations: Any, cycle_time: float, saturation_flip_angle: float, t1: float,
) -> Any:  # fmt: skip
    return equations.mp2rage(
        m0, t1, b1=b1, inversion_times=inversion_times, flip_angles=flip_angles,
        excitation_interval=excitation_interval, excitations=excitations, cycle_time=cycle_time,
        efficiency=-np.cos(b1 * saturation_flip_angle),
    )  # fmt: skip


def _decay(times: Any, *, m0: Any, t2: Any, offset: Any, skip: int) -> Any:
    """Echoes that are left out are 0 whatever the truth."""
    return (equations.exponential_decay(times, m0, 1 / t2) + offset) * (np.arange(np.size(times)) >= skip)


def _effective_decay(times: Any, *, m0: Any, r2star: Any) -> Any:
    return equations.exponential_decay(times, m0, r2star)


def _train(times: Any, *, m0: Any, t2: Any, b1: Any, refocusing_angle: float, t1: float) -> Any:
    return epg.trains(m0, t2, b1, (np.size(times), float(times[0]), refocusing_angle, t1))


def _double_angle(angles: Any, *, m0: Any, b1: Any) -> Any:
    return equations.double_angle(angles, m0, b1=b1)


def _actual_angle(times: Any, *, m0: Any, b1: Any, t1: Any, flip_angle: float) -> Any:
    return equations.actual_flip_angle(m0, t1, flip_angle=flip_angle, repetition_times=tuple(times), b1=b1)


def _bloch_siegert(_: Any, *, b1: Any, offset: Any, constant: float) -> Any:
    return offset + constant * b1**2 * np.array([1.0, -1.0])


def _stimulated(angles: Any, *, m0: Any, b1: Any, mixing_time: float, t1: float) -> Any:
    """Angles are given for each image; every two images are a pair."""
    pairs = [
        equations.spin_and_stimulated_echo(angle, m0, t1, mixing_time=mixing_time, b1=b1)
        for angle in np.asarray(angles)[::2]
    ]
    return np.concatenate(pairs, axis=-1)


def _ratio(_: Any, *, m0: Any, mtr: Any) -> Any:
    return m0 * (1 - mtr / 100 * np.array([0.0, 1.0]))


def _saturated(angles: Any, *, m0: Any, t1: Any, mtsat: Any, b1: Any, repetition_times: Any) -> Any:
    times = np.broadcast_to(np.asarray(repetition_times, np.float64), (3,))
    images = [
        equations.mt_spoiled_gradient_echo(
            angle, m0, t1, mtsat / 100 if place == 0 else 0.0, repetition_time=time, b1=b1
        )
        for place, (angle, time) in enumerate(zip(angles, times, strict=True))
    ]
    return np.concatenate(np.broadcast_arrays(*images), axis=1)


def _multi_parameter(
    times: Any, *, m0: Any, t1: Any, r2star: Any, mtsat: Any, b1: Any, flip_angles: Any, repetition_times: Any,
    mt_states: Any, b1_dependence: float,
) -> Any:  # fmt: skip
    contrasts, which = mpm.contrasts_of((times, flip_angles, repetition_times, mt_states))
    steady = [
        equations.mt_spoiled_gradient_echo(
            c.flip_angle, m0, t1, mtsat / 100 if c.saturated else 0.0, repetition_time=c.repetition_time,
            b1=b1, b1_dependence=b1_dependence,
        )
        for c in contrasts
    ]  # fmt: skip
    return estatics.decays(tuple(which), times, *np.broadcast_arrays(*steady), r2star)


def _diffusion(b_values: Any, *, m0: Any, adc: Any, largest: float) -> Any:
    """Images that are left out are 0 whatever the truth."""
    return equations.exponential_decay(b_values, m0, adc) * diffusion.counted(b_values, largest)


def _tensor(
    b_values: Any, *, m0: Any, fa: Any, md: Any, skew: Any, cross: Any, tilt_x: Any, tilt_y: Any,
    b_vectors: Any, largest: float,
) -> Any:  # fmt: skip
    """A fibre along z: D/MD = [[r + skew, cross, tilt_x], [cross, r − skew, tilt_y], [tilt_x, tilt_y, a]].

    a = 1 + 2s, r = 1 − s, s = FA/√(3 − 2FA²): FA and MD hang on the other four only in second order.
    """
    share = fa / np.sqrt(3 - 2 * fa**2)
    across, along = 1 - share, 1 + 2 * share
    elements = np.broadcast_arrays(across + skew, across - skew, along, cross, tilt_x, tilt_y)
    design, _ = diffusion.design_of(b_values, diffusion.directions(b_values, b_vectors))
    weighted = np.exp((md * np.concatenate(elements, axis=1)) @ design[:, :6].T)
    return m0 * weighted * diffusion.counted(b_values, largest)


M0, B1 = {"m0": (1.0,)}, (0.6, 0.8, 1.0, 1.2)
T1, T2 = {"t1": (0.5, 1.0, 2.0)}, {"t2": (0.03, 0.08, 0.2)}
FULL, NOMINAL = {"efficiency": (1.0,)}, {"b1": (1.0,)}
SIGNALS: Mapping[str, Images] = {
    "inversion_recovery": Images(_inversion, {**M0, **T1, **FULL}),
    "saturation_recovery": Images(_saturation, {**M0, **T1, **FULL}),
    "look_locker": Images(_look_locker, {**M0, **T1, "t1star_share": (0.8,)}),
    "variable_flip_angle": Images(_angles, {**M0, **T1, **NOMINAL}, ("b1",)),
    "despot1": Images(_angles, {**M0, **T1, **NOMINAL}, ("b1",)),
    "despot1_hifi": Images(_inversion_and_angles, {**M0, **T1, **NOMINAL}, more=""),
    "mp2rage": Images(_mp2rage, {**M0, **T1, **NOMINAL}, ("b1",), more=""),
    "spin_echo": Images(_decay, {**M0, **T2, "offset": (0.0,)}, ("offset",)),
    "spin_echo_train": Images(_train, {**M0, **T2, "b1": (0.9,)}, more="train"),
    "r2star": Images(_effective_decay, {**M0, "r2star": (20.0, 50.0)}),
    "double_angle": Images(_double_angle, {**M0, "b1": B1}, more=""),
    "actual_flip_angle": Images(_actual_angle, {**M0, "b1": B1, "t1": (1.0,)}, ("t1",), more=""),
    "bloch_siegert": Images(_bloch_siegert, {"b1": B1, "offset": (0.0,)}, more="", phases=True),
    "spin_and_stimulated_echo": Images(_stimulated, {**M0, "b1": B1}, more=""),
    "sa2rage": Images(_sa2rage, {**M0, "b1": B1}, more=""),
    "mt_ratio": Images(_ratio, {**M0, "mtr": (10.0, 30.0, 50.0)}, more=""),
    "mt_saturation": Images(
        _saturated, {**M0, "t1": (1.0,), "mtsat": (0.8, 1.8), **NOMINAL}, ("b1",), more=""
    ),
    "mpm": Images(
        _multi_parameter,
        {**M0, "t1": (1.0,), "r2star": (20.0,), "mtsat": (0.8, 1.8), **NOMINAL},
        ("b1",),
        more="",
    ),
    "adc": Images(_diffusion, {**M0, "adc": (0.7e-3, 3e-3)}),
    "dti": Images(
        _tensor,
        {**M0, "fa": (0.2, 0.5, 0.8), "md": (0.7e-3,)},
        more="",
        beside=("skew", "cross", "tilt_x", "tilt_y"),
    ),
}
"""By the name of the model."""
UNTOLD: Mapping[str, str] = {
    "spectrum": "its regularisation leans on purpose, so that no bound of unbiased fits holds for it",
    "flip_angle_map": "it only rescales a map that the scanner made, whose error no signal tells",
}
"""Why the other models are missing."""
