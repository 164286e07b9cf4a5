"""M0 and the efficiency beside T1: their errors, whatever the repetition time and the phase."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.fit import Status
from mensura.qmri import equations
from mensura.qmri.t1 import inversion_recovery

TI = (0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.3)
N = 4000


def repeated(turn: complex, repetition_time: float) -> np.ndarray:
    clean = equations.inversion_recovery(
        np.asarray(TI), 1000.0, 1.2, efficiency=0.9, repetition_time=repetition_time
    )
    rng = np.random.default_rng(0)
    noise = 5 * rng.standard_normal((N, len(TI)))
    if np.iscomplex(turn):
        return clean * turn + noise + 5j * rng.standard_normal((N, len(TI)))
    return clean * turn + noise


@pytest.mark.parametrize("repetition_time", [1.5, np.inf])
@pytest.mark.parametrize("turn", [1.0, np.exp(2j)], ids=["signed", "complex"])
def test_errors_are_what_repeats_scatter_by(turn: complex, repetition_time: float) -> None:
    """A short repetition time ties M0 and the efficiency to T1."""
    found = inversion_recovery(
        repeated(turn, repetition_time), TI, repetition_time=repetition_time, noise=5.0
    )
    assert (found.status == Status.OK).all()
    for name, true in (("M0map", 1000.0), ("IEmap", 0.9)):
        value, error = found.maps[name]
        assert abs(np.median(value) - true) < 0.1 * np.std(value)
        assert np.std(value) == pytest.approx(np.median(error), rel=0.1), name
        assert 0.93 < np.mean(np.abs(value - true) < 1.96 * error) < 0.97, name


def test_times_of_each_image_say_the_same_as_one_for_all() -> None:
    data = repeated(1.0, 1.5)[:100]
    one, each = (
        inversion_recovery(data, TI, repetition_time=t, noise=5.0) for t in (1.5, (1.5,) * 6 + (1.5 + 1e-9,))
    )
    for name in ("T1map", "M0map", "IEmap"):
        for mine, its in zip(one.maps[name], each.maps[name], strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-3)


def test_a_voxel_without_any_magnetization_does_not_stop_the_others() -> None:
    data = repeated(np.exp(2j), 1.5)[:10]
    data[3] *= 1e-50
    found = inversion_recovery(data, TI, repetition_time=1.5, polarity="complex")
    assert np.isfinite(np.delete(found.maps["M0map"][0], 3)).all()
    assert not np.isfinite(found.maps["IEmap"][0][3])
