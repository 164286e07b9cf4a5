"""T2 of series of which a tenth of the points is corrupted: found, left out, and hardly missed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mensura.qmri import equations, t2
from mensura.qmri.epg import spin_echo_train
from mensura.qmri.estimates import Estimates

N, NOISE, HIT = 1200, 20.0, 4
ECHOES = tuple(0.012 * np.arange(1, 11))
TRAIN = tuple(0.010 * np.arange(1, 21))
SHORT = np.exp(np.random.default_rng(0).uniform(np.log(0.04), np.log(0.15), N))
B1 = np.random.default_rng(1).uniform(0.6, 0.95, N)
Fitted = Callable[..., Estimates]


def decay() -> tuple[np.ndarray, Fitted]:
    signal = equations.exponential_decay(np.asarray(ECHOES), 1000.0, 1 / SHORT[:, None])
    return signal, lambda s, **how: t2.spin_echo(s, ECHOES, **how)


def train() -> tuple[np.ndarray, Fitted]:
    signal = 1000 * spin_echo_train(1.0, SHORT, t1=1.0, echo_spacing=0.010, echoes=20, b1=B1)
    return signal, lambda s, **how: t2.spin_echo_train(s, TRAIN, **how)


def train_with_b1() -> tuple[np.ndarray, Fitted]:
    return train()[0], lambda s, **how: t2.spin_echo_train(s, TRAIN, b1=B1, **how)


def corrupted(kind: str, data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data spoiled; which points were touched; which of them were moved by six times the noise or more."""
    rng, spoiled, touched = np.random.default_rng(2), data.copy(), np.zeros(data.shape, bool)
    count = data.shape[1] // 10
    if kind == "volumes scaled":
        touched[:, HIT : HIT + count] = True
        spoiled[touched] *= 0.5
    else:
        for row in touched:
            row[rng.choice(data.shape[1], count, replace=False)] = True
        spoiled[touched] += 400 * rng.choice([-1, 1], touched.sum())
    return spoiled, touched, np.abs(spoiled - data) > 6 * NOISE


def off(found: Estimates) -> float:
    """Median error of T2, %."""
    return float(100 * np.nanmedian(np.abs(found.maps["T2map"][0] / SHORT - 1)))


@pytest.mark.parametrize("kind", ["volumes scaled", "spikes"])
@pytest.mark.parametrize("model", [decay, train, train_with_b1], ids=lambda m: m.__name__)
def test_a_tenth_of_the_points_is_found_and_hardly_missed(
    model: Callable[[], tuple[np.ndarray, Fitted]], kind: str
) -> None:
    signal, fitted = model()
    data = signal + NOISE * np.random.default_rng(3).standard_normal(signal.shape)
    spoiled, touched, moved = corrupted(kind, data)
    clean, plain, robust = fitted(data), fitted(spoiled), fitted(spoiled, loss="tukey")
    assert robust.fit is not None
    assert robust.fit.weights is not None
    rejected = robust.fit.weights == 0
    assert off(robust) < off(clean) + 1
    assert off(plain) > off(clean) + 2
    assert np.mean(touched[rejected]) >= 0.9
    assert np.mean(rejected[moved]) >= 0.9
    assert np.mean(np.isfinite(robust.maps["T2map"][0])) > 0.98
