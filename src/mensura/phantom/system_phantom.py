"""Reference values of the NIST/ISMRM system phantom: T1 and T2 of its spheres, by version, field and temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.phantom.solutions import ROOM, heavy_water_share, water_rates
from mensura.scan import ScanError

Array = NDArray[np.float64]
Plate = Literal["Ni", "Mn", "PD"]
Quantity = Literal["t1", "t2"]
Basis = Literal["table", "interpolated", "extrapolated", "model"]
FIELDS = (0.5, 7.0)
"""Field strengths (T) that rates are extrapolated to."""


def _numbers(text: str, unit: float = 1.0) -> Array:
    values = np.array(text.split(), float) * unit
    values.setflags(write=False)
    return values


def _ms(text: str) -> Array:
    return _numbers(text, 1e-3)


TIMES: dict[tuple[Plate, int], dict[Quantity, dict[float, Array]]] = {
    ("Ni", 1): {
        "t1": {
            1.5: _ms("2033 1489 1012 730.8 514.1 367.9 260.1 184.6 132.7 92.7 65.4 46.32 32.45 22.859"),
            3.0: _ms("1989 1454 984.1 706 496.7 351.5 247.13 175.3 125.9 89.0 62.7 44.53 30.84 21.719"),
        },
        "t2": {
            1.5: _ms("1669 1244 859.3 628.5 446.3 321.2 227.7 161.9 117.1 81.9 57.7 41.0 28.7 20.2"),
            3.0: _ms("1465 1077 717.9 510.1 359.6 255.5 180.8 127.3 90.3 64.3 45.7 31.86 22.38 15.83"),
        },
    },
    ("Mn", 1): {
        "t1": {
            1.5: _ms("2376 2183 1870 1539 1237 1030 752.2 550.2 413.4 292.9 194.9 160.2 106.4 83.33"),
            3.0: _ms("2480 2173 1907 1604 1332 1044 801.7 608.6 458.4 336.5 244.2 176.6 126.9 90.9"),
        },
        "t2": {
            1.5: _ms("939.4 594.3 416.5 267.0 184.9 140.6 91.76 64.84 45.28 30.62 19.76 15.99 10.47 8.15"),
            3.0: _ms(
                "581.3 403.5 278.1 190.94 133.27 96.89 64.07 46.42 31.97 22.56 15.813 11.237 7.911 5.592"
            ),
        },
    },
    ("Ni", 2): {
        "t1": {
            3.0: _ms(
                "1883.97 1330.16 987.27 690.08 484.97 341.58 240.86 174.95 121.08 85.75 60.21 42.89 30.40 21.44"
            )
        },
        "t2": {3.0: _ms("1489.4 1026.8 737.0 521.3 354.4 248.0 175.0 126.3 86.9 60.9 42.4 30.7 21.8 15.3")},
    },
    ("Mn", 2): {
        "t1": {
            3.0: _ms(
                "2478.2 2185.5 1901.3 1550.0 1197.6 1026.4 805.1 600.0 431.2 292.9 226.5 158.2 116.7 82.5"
            )
        },
        "t2": {3.0: _ms("552.7 379.5 267.3 175.1 112.7 88.9 63.4 44.2 29.9 19.4 14.7 10.5 7.27 5.10")},
    },
}
"""(plate, version) → quantity → field (T) → spheres 1 … 14, at 20 °C. Version 1 is the phantom with serial
numbers up to 0041 or 0042 (accounts differ), version 2 what came later, measured at 3 T only. Stupic 2021
(10.1002/mrm.28779), supporting tables; about 1.5 % uncertain."""

CONCENTRATIONS: dict[Plate, Array] = {
    "Ni": _numbers(".268 .556 1.053 1.683 2.579 3.835 5.674 8.142 11.716 16.83 23.827 33.922 48.609 68.884"),
    "Mn": _numbers(".012 .019 .028 .042 .062 .091 .131 .187 .267 .381 .54 .762 1.08 1.527"),
}
"""Of version 1, mM (10.1002/mrm.28779). Those of version 2 are not published: see `concentrations`."""

PROTON_DENSITY = _numbers("5 10 15 20 25 30 35 40 50 60 70 80 90 100", 0.01)
"""H2O in D2O of the proton-density spheres 1 … 14, as in NIST's own PhantomViewer."""

LAW: dict[Plate, dict[Quantity, dict[float, tuple[float, float]]]] = {
    "Ni": {
        "t1": {1.5: (0.325, 0.625), 3.0: (0.325, 0.655)},
        "t2": {1.5: (0.411, 0.706), 3.0: (0.435, 0.906)},
    },
    "Mn": {"t1": {1.5: (0.311, 8.005), 3.0: (0.324, 6.99)}, "t2": {1.5: (0.065, 83.97), 3.0: (0.320, 115.5)}},
}
"""1/T = R0 + r·C at 20 °C (1/s, 1/s/mM), which holds version 1 within 1.7 % except MnCl2's T2 at 3 T (4.7 %) and
MnCl2 at 1.5 T (11.5 %), whose line is our least-squares fit of relative errors to its table."""

TEMPERATURES = _numbers("16 18 20 22 24 26")
NICKEL_T1 = np.stack(
    [
        _ms("1766.68 1830.34 1883.97 1937.34 1987.50 2066.95"),
        _ms("1274.07 1317.71 1330.16 1355.29 1367.79 1395.94"),
        _ms("950.71 963.56 987.27 1000.81 1015.70 1030.78"),
        _ms("675.07 686.88 690.08 695.01 701.06 709.48"),
        _ms("483.91 482.91 484.97 486.92 490.24 494.55"),
        _ms("343.00 341.53 341.58 342.58 344.23 346.67"),
        _ms("243.77 241.84 240.86 240.75 241.31 242.45"),
        _ms("177.68 175.94 174.95 174.59 174.78 175.48"),
        _ms("122.99 121.79 121.08 120.80 120.90 121.34"),
        _ms("87.47 86.41 85.75 85.03 85.01 85.28"),
        _ms("61.49 60.70 60.21 59.97 60.00 60.17"),
        _ms("43.79 43.24 42.89 42.72 42.70 42.80"),
        _ms("31.05 30.65 30.40 30.27 30.25 30.31"),
        _ms("21.94 21.62 21.44 21.28 21.26 21.31"),
    ]
)
"""T1 (s) of the nickel spheres of version 2 at 3 T, at TEMPERATURES (°C): the manufacturer's table, as published
with the reproducibility challenge of 2020 (github.com/rrsg2020/analysis, src/nist.py)."""
MANGANESE_WARMING: dict[Quantity, float] = {"t1": 0.027, "t2": 0.016}
"""Relative growth per °C at 3 T (10.1002/mrm.28779)."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The 14 spheres of a plate: `t1`, `t2` (s), `density` relative to water, `concentration` (mM), and how the
    times are known. `table`: measured at this field and temperature; `interpolated` between such;
    `extrapolated` by relaxivities or coefficients of temperature; `model`: not measured at all.
    """

    t1: Array
    t2: Array
    density: Array
    concentration: Array
    t1_basis: Basis
    t2_basis: Basis


def reference(
    plate: Plate, version: int = 2, field_strength: float = 3.0, temperature: float = ROOM
) -> Reference:
    """Plate, version (1, 2), field (T), temperature (°C) → reference values of its spheres 1 … 14.

    Between and beyond the fields of the table each sphere's rates follow a power of the field, through 1.5
    and 3 T, with R2 ≥ R1; version 2 takes its 1.5 T from `relaxivity_law`. Temperature: nickel by its table,
    linear between the entries, in relation to 20 °C (T2 like T1, and so at all fields and in version 1:
    assumptions); manganese by its coefficients. Raises ScanError outside 0.5 … 7 T, 16 … 26 °C.
    """
    _check(plate, version, field_strength, temperature)
    if plate == "PD":
        return _proton_density(field_strength, temperature)
    t1, t2 = (
        _times(plate, version, q, field_strength) * _warming(plate, q, temperature) for q in _QUANTITIES
    )
    where = (version, field_strength, temperature)
    return Reference(
        t1,
        np.minimum(t1, t2),
        np.ones(14),
        concentrations(plate, version),
        _basis(plate, "t1", where),
        _basis(plate, "t2", where),
    )


def relaxivity_law(
    plate: Plate, concentration: ArrayLike, field_strength: float = 3.0
) -> tuple[Array, Array]:
    """Plate, concentration (mM), field (T) → T1, T2 (s) at 20 °C by 1/T = R0 + r·C.

    At fields other than 1.5 and 3 T the rates follow a power of the field through both, with R2 ≥ R1.
    """
    values = np.asarray(concentration, float)
    t1, t2 = (
        1 / _power({b: r0 + r * values for b, (r0, r) in LAW[plate][q].items()}, field_strength)
        for q in _QUANTITIES
    )
    return t1, np.minimum(t1, t2)


def concentrations(plate: Plate, version: int = 2) -> Array:
    """Plate and version → mM of NiCl2 or MnCl2 in spheres 1 … 14 (0 for PD).

    For version 2 those at which the relaxivity law has the table's value at 3 T: T1 of Ni, T2 of Mn.
    """
    if plate == "PD":
        return np.zeros(14)
    if version == 1:
        return CONCENTRATIONS[plate]
    quantity: Quantity = "t1" if plate == "Ni" else "t2"
    intercept, relaxivity = LAW[plate][quantity][3.0]
    return (1 / TIMES[plate, 2][quantity][3.0] - intercept) / relaxivity


_QUANTITIES: tuple[Quantity, Quantity] = ("t1", "t2")


def _check(plate: str, version: int, field_strength: float, temperature: float) -> None:
    if plate not in get_args(Plate):
        raise ScanError(f"there is no plate {plate!r}; choose one of {', '.join(get_args(Plate))}")
    if version not in (1, 2):
        raise ScanError(f"there is no version {version} of the system phantom; choose 1 or 2")
    if not FIELDS[0] <= field_strength <= FIELDS[1]:
        raise ScanError(
            f"a field of {field_strength:g} T is beyond what relaxivities tell; choose 0.5 to 7 T"
        )
    low, high = TEMPERATURES[0], TEMPERATURES[-1]
    if not low <= temperature <= high:
        raise ScanError(f"no values are known at {temperature:g} °C; choose {low:g} to {high:g} °C")


def _power(rates: dict[float, Array], field_strength: float) -> Array:
    """Rates at 1.5 and 3 T → at a field (T), by a power of the field; the given values at the given fields."""
    if field_strength in rates:
        return rates[field_strength]
    slope = np.log2(rates[3.0] / rates[1.5])
    powered: Array = rates[3.0] * (field_strength / 3.0) ** slope
    return powered


def _times(plate: Plate, version: int, quantity: Quantity, field_strength: float) -> Array:
    """Relaxation times (s) at 20 °C and a field (T)."""
    rates = {b: 1 / times for b, times in TIMES[plate, version][quantity].items()}
    if version == 2:
        high, low = (1 / _law_time(plate, quantity, b) for b in (3.0, 1.5))
        rates[1.5] = rates[3.0] * low / high
    return 1 / _power(rates, field_strength)


def _law_time(plate: Plate, quantity: Quantity, field_strength: float) -> Array:
    times = relaxivity_law(plate, concentrations(plate), field_strength)
    return times[_QUANTITIES.index(quantity)]


def _warming(plate: Plate, quantity: Quantity, temperature: float) -> Array:
    """Relaxation time at a temperature (°C) over that at 20 °C, for each sphere."""
    if plate == "Mn":
        return np.full(14, 1 + MANGANESE_WARMING[quantity] * (temperature - ROOM))
    return np.array([np.interp(temperature, TEMPERATURES, row / row[2]) for row in NICKEL_T1])


def _basis(plate: Plate, quantity: Quantity, where: tuple[int, float, float]) -> Basis:
    version, field_strength, temperature = where
    if version == 2 and field_strength == 3 and plate == "Ni" and quantity == "t1":
        return "table" if temperature in TEMPERATURES else "interpolated"
    if temperature != ROOM:
        return "extrapolated"
    if field_strength in TIMES[plate, version][quantity]:
        return "table"
    return "interpolated" if version == 1 and 1.5 < field_strength < 3 else "extrapolated"


def _proton_density(field_strength: float, temperature: float) -> Reference:
    """H2O in D2O; the relaxation times are those of `heavy_water_share`."""
    share = np.array([heavy_water_share(float(x)) for x in PROTON_DENSITY])
    r1, r2 = water_rates(field_strength, temperature)
    return Reference(
        1 / (r1 * share), 1 / (r2 * share), PROTON_DENSITY, concentrations("PD"), "model", "model"
    )
