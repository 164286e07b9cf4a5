"""Contrast agent: the reference cases of OSIPI, quadrature, limits."""

import csv
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from mensura.qmri.equations import spoiled_gradient_echo
from mensura.qmri.kinetics import extended_tofts, parker_aif, patlak, shortened_t1, tofts
from mensura.scan import ScanError

UNEVEN = np.array([0.0, 3.0, 3.5, 10.0, 31.0, 32.0, 60.0, 200.0])
CURVE = np.array([0.0, 4.0, 6.0, 1.5, 1.2, 2.0, 0.9, 0.4])
MODELS = {
    "dce_DRO_data_tofts.csv": (tofts, ("Ktrans", "ve"), "ca", "C"),
    "dce_DRO_data_extended_tofts.csv": (extended_tofts, ("Ktrans", "ve", "vp"), "ca", "C"),
    "patlak_sd_0.02_delay_0.csv": (patlak, ("ps", "vp"), "cp_aif", "C_t"),
}
TOLERANCES = {"Ktrans": (0.005, 0.1), "ps": (0.005, 0.1), "ve": (0.05, 0.0), "vp": (0.025, 0.0)}
"""What OSIPI accepts: absolute plus relative."""


def cases(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "osipi" / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(word) for word in text.split()])


def integrated(ktrans: float, ve: float, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """dC/dt = Ktrans Cp − (Ktrans/ve) C by an adaptive solver that stops at every kink of the plasma curve."""
    held, out = 0.0, [0.0]
    for start, end in pairwise(times):
        solved = solve_ivp(
            lambda t, c: ktrans * np.interp(t, UNEVEN, CURVE) - ktrans / ve * c,
            (start, end),
            [held],
            rtol=1e-11,
            atol=1e-13,
        )
        held = solved.y[0, -1]
        out.append(held)
    return np.array(out)


@pytest.mark.parametrize("name", ["ParkerAIF_ref.csv", "ParkerAIF_ref_with_delay.csv"])
def test_arterial_input_is_that_of_osipi(shared_data: Path, name: str) -> None:
    for case in cases(shared_data, name):
        blood = parker_aif(60 * float(case["time"]), delay=float(case["delay"]), haematocrit=0.0)
        assert blood == pytest.approx(float(case["Cb"]), abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_fitted_parameters_of_the_osipi_cases(shared_data: Path, name: str) -> None:
    """Plain least squares: within a tenth of OSIPI's tolerances, and three standard errors where there is noise."""
    model, names, plasma, tissue = MODELS[name]
    for case in cases(shared_data, name):
        times, curve, measured = (numbers(case[key]) for key in ("t", plasma, tissue))
        truth = np.array([float(case[key]) for key in names])
        units = np.array([60.0, 1.0, 1.0])[: truth.size]  # rates per minute there

        def misfit(
            p: NDArray[np.float64], *, times=times, curve=curve, measured=measured, units=units
        ) -> NDArray[np.float64]:
            return model(times, *(p / units), plasma=curve) - measured

        fit = least_squares(misfit, [0.1, 0.2, 0.02][: truth.size], x_scale=0.1, xtol=1e-12, ftol=1e-12)
        variance = 2 * fit.cost / (measured.size - truth.size)
        error = np.sqrt(variance * np.linalg.inv(fit.jac.T @ fit.jac).diagonal())
        allowed = [a + b * t for (a, b), t in zip((TOLERANCES[key] for key in names), truth, strict=True)]
        noise = 0 if case["label"].endswith("highSNR") else 3 * error
        assert (np.abs(fit.x - truth) <= np.array(allowed) / 10 + noise).all(), case["label"]


@pytest.mark.parametrize("name", [name for name in MODELS if "DRO" in name])
def test_reference_parameters_give_the_osipi_curves(shared_data: Path, name: str) -> None:
    """No fit at all: the cases of high SNR from OSIPI's own parameters, to 0.3 % of the peak at every time."""
    model, names, plasma, tissue = MODELS[name]
    for case in cases(shared_data, name):
        if case["label"].endswith("highSNR"):
            times, curve, measured = (numbers(case[key]) for key in ("t", plasma, tissue))
            rate, *volumes = (float(case[key]) for key in names)
            predicted = model(times, rate / 60, *volumes, plasma=curve)
            np.testing.assert_allclose(predicted, measured, atol=3e-3 * measured.max(), err_msg=case["label"])


def test_signal_of_a_concentration_is_that_of_osipi(shared_data: Path) -> None:
    """Their concentrations, made into T1 and a gradient echo, give their signals relative to the baseline."""
    for case in cases(shared_data, "SI2Conc_data.csv"):
        signal, concentration = numbers(case["s"]), numbers(case["conc"])
        baseline = int(float(case["numbaselinepts"]))
        t1 = shortened_t1(float(case["T1base"]), concentration, relaxivity=float(case["r1"]))
        angle, tr = np.deg2rad(float(case["FA"])), float(case["TR"])
        with_agent = spoiled_gradient_echo(angle, 1.0, t1, repetition_time=tr)
        without = spoiled_gradient_echo(angle, 1.0, float(case["T1base"]), repetition_time=tr)
        relative = signal / signal[1:baseline].mean()
        np.testing.assert_allclose(with_agent / without, relative, rtol=1e-6)


@pytest.mark.parametrize(("ktrans", "ve"), [(0.004, 0.3), (0.05, 0.05), (1e-6, 0.5), (2.0, 0.1)])
def test_convolution_is_exact_on_uneven_times(ktrans: float, ve: float) -> None:
    expected = integrated(ktrans, ve, UNEVEN)
    np.testing.assert_allclose(tofts(UNEVEN, ktrans, ve, plasma=CURVE), expected, rtol=1e-8, atol=1e-11)


def test_finer_times_on_straight_pieces_change_nothing() -> None:
    """Exactness: splitting the intervals of a piecewise straight curve leaves the tissue curve as it was."""
    finer = np.unique(np.concatenate([UNEVEN, np.linspace(0, 200, 977)]))
    curve = np.interp(finer, UNEVEN, CURVE)
    for washout in (1e-5, 0.02, 0.4, 3.0):
        coarse = tofts(UNEVEN, 0.01, 0.01 / washout, plasma=CURVE)
        fine = tofts(finer, 0.01, 0.01 / washout, plasma=curve)[np.searchsorted(finer, UNEVEN)]
        np.testing.assert_allclose(fine, coarse, rtol=1e-11, atol=1e-13)


def test_weights_pass_smoothly_from_series_to_closed_form() -> None:
    """Step × rate around 1, where the series ends: a straight plasma curve t has (kt − 1 + e^{−kt})/k²."""
    times = np.array([0.0, 1.0])
    rates = np.array([1e-9, 1e-3, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 2.0, 40.0])
    with np.errstate(all="ignore"):
        closed = (rates - 1 + np.exp(-rates)) / rates**2
    closed[:2] = 0.5 - rates[:2] / 6 + rates[:2] ** 2 / 24 - rates[:2] ** 3 / 120
    held = tofts(times, 1.0, 1 / rates, plasma=times)[:, 1]
    np.testing.assert_allclose(held, closed, rtol=1e-12)


def test_constant_plasma_fills_the_space() -> None:
    times = np.linspace(0, 600, 61)
    curve = np.full(61, 2.0)
    np.testing.assert_allclose(
        tofts(times, 0.01, 0.3, plasma=curve), 0.3 * 2 * (1 - np.exp(-0.01 / 0.3 * times)), rtol=1e-12
    )
    np.testing.assert_allclose(
        patlak(times, 0.01, 0.05, plasma=curve), 0.05 * 2 + 0.01 * 2 * times, rtol=1e-12
    )


def test_models_nest() -> None:
    extended = extended_tofts(UNEVEN, 0.005, 0.2, 0.03, plasma=CURVE)
    np.testing.assert_allclose(extended, tofts(UNEVEN, 0.005, 0.2, plasma=CURVE) + 0.03 * CURVE)
    no_return = extended_tofts(UNEVEN, 0.005, 1e9, 0.03, plasma=CURVE)
    np.testing.assert_allclose(no_return, patlak(UNEVEN, 0.005, 0.03, plasma=CURVE), rtol=1e-7)
    fast = tofts(UNEVEN, 1e6, 0.2, plasma=CURVE)
    np.testing.assert_allclose(fast, 0.2 * CURVE, atol=1e-6)


def test_tissue_without_leakage_holds_nothing() -> None:
    assert (tofts(UNEVEN, 0.0, 0.0, plasma=CURVE) == 0).all()
    assert (tofts(UNEVEN, 0.01, 0.0, plasma=CURVE) == 0).all()
    np.testing.assert_array_equal(extended_tofts(UNEVEN, 0.0, 0.0, 0.04, plasma=CURVE), 0.04 * CURVE)


def test_plasma_and_blood() -> None:
    times = np.linspace(-20, 300, 400)
    blood, plasma = parker_aif(times, delay=15.0, haematocrit=0.0), parker_aif(times, delay=15.0)
    np.testing.assert_allclose(blood, 0.58 * plasma)
    assert (blood[times < 15] == 0).all()
    assert abs(times[blood.argmax()] - 15 - 60 * 0.17046) < 1


def test_agent_shortens_t1() -> None:
    assert shortened_t1(1.4, 0.0, relaxivity=4.5) == 1.4
    assert 1 / shortened_t1(1.4, 0.7, relaxivity=4.5) == pytest.approx(1 / 1.4 + 4.5 * 0.7)


def test_parameters_broadcast_and_single_precision_is_kept() -> None:
    ktrans = np.array([[0.001], [0.01]], np.float32)
    ve = np.array([0.1, 0.2, 0.4], np.float32)
    curves = extended_tofts(UNEVEN, ktrans, ve, 0.02, plasma=CURVE)
    assert curves.shape == (2, 3, 8)
    assert curves.dtype == np.float32
    alone = extended_tofts(UNEVEN, float(ktrans[1, 0]), float(ve[2]), 0.02, plasma=CURVE)
    assert alone.dtype == np.float64
    np.testing.assert_allclose(curves[1, 2], alone, rtol=1e-6)
    assert shortened_t1(ktrans, ve, relaxivity=4.5).dtype == np.float32


def test_threads_do_not_matter() -> None:
    ktrans = np.linspace(0, 0.02, 997)
    many = tofts(UNEVEN, ktrans, 0.3, plasma=CURVE)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    one = tofts(UNEVEN, ktrans, 0.3, plasma=CURVE)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(one, many)


def test_curves_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ScanError, match="one of each"):
        tofts(UNEVEN, 0.01, 0.2, plasma=CURVE[:-1])
    with pytest.raises(ScanError, match="rise"):
        tofts(UNEVEN[::-1], 0.01, 0.2, plasma=CURVE)
    with pytest.raises(ScanError, match=r"1\.2"):
        parker_aif(UNEVEN, haematocrit=1.2)
