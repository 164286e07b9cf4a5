"""Echo trains against isochromats, closed forms and a published train."""

import numba
import numpy as np
import pytest
from bloch import Spins, echo_train

from mensura.qmri.epg import spin_echo_train
from mensura.scan import ScanError

TIMES = {"t1": 1.0, "echo_spacing": 0.01, "echoes": 12}


@pytest.mark.parametrize("b1", [0.6, 0.8, 1.0])
@pytest.mark.parametrize("refocusing", [np.pi, 2 * np.pi / 3, 0.3])
@pytest.mark.parametrize(("t1", "t2"), [(1.2, 0.08), (0.06, 0.05)])
def test_trains_are_those_of_isochromats(b1: float, refocusing: float, t1: float, t2: float) -> None:
    """With recovery towards equilibrium, which the isochromats have and the graph does not need."""
    spins = Spins(t1, t2, isochromats=64)
    expected = echo_train(spins, b1 * np.pi / 2, b1 * refocusing, 0.011, 14)
    train = spin_echo_train(1.0, t2, t1=t1, echo_spacing=0.011, echoes=14, refocusing_angle=refocusing, b1=b1)
    np.testing.assert_allclose(expected.imag, 0, atol=1e-12)
    np.testing.assert_allclose(train, expected.real, atol=1e-12)


@pytest.mark.parametrize(("first", "others"), [(2.6, 2.1), (np.pi, 1.0), (0.5, 2.8)])
def test_the_first_pulse_may_have_an_angle_of_its_own(first: float, others: float) -> None:
    spins, angles = Spins(0.4, 0.08, isochromats=64), [first, *13 * [others]]
    expected = echo_train(spins, 0.9 * np.pi / 2, [0.9 * a for a in angles], 0.011, 14)
    how = {"refocusing_angle": others, "first_angle": first}
    train = spin_echo_train(1.0, 0.08, t1=0.4, echo_spacing=0.011, echoes=14, b1=0.9, **how)
    np.testing.assert_allclose(train, expected.real, atol=1e-12)


def test_perfect_refocusing_is_an_exponential() -> None:
    train = spin_echo_train(3.0, 0.07, **TIMES)
    np.testing.assert_allclose(train, 3 * np.exp(-0.01 * np.arange(1, 13) / 0.07), rtol=1e-13)


def test_published_train() -> None:
    """T2 0.1 s, B1 0.95, of another implementation; echo spacing 12.9 ms and T1 1.5 s follow from the values."""
    published = [
        0.87087025, 0.7713902, 0.6727603, 0.59694589, 0.51965957,
        0.46200336, 0.40135138, 0.35760991, 0.30993556, 0.27684428,
    ]  # fmt: skip
    train = spin_echo_train(1.0, 0.1, t1=1.5, echo_spacing=0.0129, echoes=10, b1=0.95)
    np.testing.assert_allclose(train, published, atol=1e-8)


def test_first_echoes_in_closed_form() -> None:
    """Without relaxation: sin² (a/2), then that of the direct and the stimulated pathway together."""
    a = 1.9
    train = spin_echo_train(1.0, 1e9, t1=1e9, echo_spacing=0.01, echoes=2, refocusing_angle=a)
    assert train[0] == pytest.approx(np.sin(a / 2) ** 2)
    assert train[1] == pytest.approx(np.sin(a / 2) ** 4 + np.sin(a) ** 2 / 2)


def test_a_shorter_train_is_the_start_of_a_longer_one() -> None:
    long = spin_echo_train(1.0, 0.09, **{**TIMES, "echoes": 31}, refocusing_angle=2.0)
    for echoes in (1, 2, 7):
        short = spin_echo_train(1.0, 0.09, **{**TIMES, "echoes": echoes}, refocusing_angle=2.0)
        np.testing.assert_array_equal(short, long[:echoes])


def test_arguments_broadcast_and_single_precision_is_kept() -> None:
    t2 = np.array([[0.05], [0.1]], np.float32)
    b1 = np.array([0.7, 0.9, 1.0], np.float32)
    train = spin_echo_train(2.0, t2, **TIMES, b1=b1)
    assert train.shape == (2, 3, 12)
    assert train.dtype == np.float32
    alone = spin_echo_train(2.0, float(t2[1, 0]), **TIMES, b1=float(b1[2]))
    assert alone.dtype == np.float64
    np.testing.assert_allclose(train[1, 2], alone, rtol=1e-6)
    assert spin_echo_train(1.0, np.zeros((0,)) + 0.1, **TIMES).shape == (0, 12)


def test_threads_do_not_matter() -> None:
    t2 = np.linspace(0.02, 0.3, 997)
    many = spin_echo_train(1.0, t2, **TIMES, b1=0.8)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    one = spin_echo_train(1.0, t2, **TIMES, b1=0.8)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(one, many)


def test_impossible_trains_are_refused() -> None:
    with pytest.raises(ScanError, match="0 echoes"):
        spin_echo_train(1.0, 0.1, **{**TIMES, "echoes": 0})
    with pytest.raises(ScanError, match=r"-0\.01 s"):
        spin_echo_train(1.0, 0.1, **{**TIMES, "echo_spacing": -0.01})
