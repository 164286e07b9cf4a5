"""Complex images are fitted as such only if their phases belong together, whatever the noise."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.qmri import equations, t1
from mensura.qmri.phases import together

TI = (0.05, 0.2, 0.4, 0.8, 1.6, 3.2)
TRUE = np.random.default_rng(0).uniform(0.5, 2, 2000)
TURN = np.exp(1j * np.random.default_rng(1).uniform(-np.pi, np.pi, (2000, 1)))


def recovery(drift: float = 0.0, snr: float = 40.0) -> np.ndarray:
    """A phase of every voxel's own, images turned by −drift, drift, 0 … (rad), noise."""
    clean = equations.inversion_recovery(np.asarray(TI), 1000.0, TRUE[:, None], repetition_time=6.0)
    noise = np.random.default_rng(2).standard_normal((2, *clean.shape)) * 1000 / snr
    made: np.ndarray = (
        clean * TURN * np.exp(1j * drift * np.array([-1, 1, 0, 1, -1, 0])) + noise[0] + 1j * noise[1]
    )
    return made


@pytest.mark.parametrize("snr", [8.0, 40.0])
def test_noise_and_a_little_drift_are_no_reason(snr: float) -> None:
    for drift in (0.0, 0.05):
        data = recovery(drift, snr)
        same, said = together(data)
        assert same is data
        assert not said
    real = np.abs(recovery())
    assert together(real)[0] is real


def test_images_that_drifted_are_fitted_as_magnitudes_which_they_do_not_hurt() -> None:
    data = recovery(0.4)
    chosen, forced = (t1.inversion_recovery(data, TI, polarity=p) for p in ("auto", "complex"))
    plain = t1.inversion_recovery(np.abs(data), TI)
    assert "the phases differ between the images (by 0.3" in chosen.notes[0]
    np.testing.assert_array_equal(chosen.maps["T1map"][0], plain.maps["T1map"][0])
    off = [np.nanmedian(np.abs(found.maps["T1map"][0] / TRUE - 1)) for found in (chosen, forced)]
    assert off[0] < 0.7 * off[1]


def test_phases_without_order_are_seen() -> None:
    data = np.abs(recovery()) * np.exp(1j * np.random.default_rng(3).uniform(-np.pi, np.pi, (2000, 6)))
    magnitudes, said = together(data)
    np.testing.assert_allclose(magnitudes, np.abs(data))
    assert "magnitudes are fitted" in said[0]
    assert t1.look_locker(data, TI, noise=25.0).notes == said
