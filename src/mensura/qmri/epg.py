"""Echo trains with imperfect refocusing, by extended phase graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from mensura.qmri.broadcast import doubles
from mensura.scan import ScanError

Array = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]


@njit(cache=True)
def one_train(start: float, angles: tuple[float, float], left1: float, left2: float, echoes: Doubles) -> None:
    """Magnetization after the excitation, angles of the first and of the other pulses, E1 and E2 → `echoes`.

    States just before a pulse have odd order 2j+1: `rising`[j] = F₊, `falling`[j] = conj F₋ and
    `stored`[j] = −i Z, all real under the CPMG condition. Between pulses F moves up by two orders.
    Only states that can still reach an echo are followed. E1 and E2 are those of one echo spacing.
    """
    n = echoes.size
    rising, falling, stored = np.zeros(n + 2), np.zeros(n + 2), np.zeros(n + 2)
    half = np.sqrt(left2)
    rising[0] = start * half
    sine = cosine = kept = turned = 0.0
    for e in range(n):
        if e < 2:
            sine, cosine = np.sin(angles[e]), np.cos(angles[e])
            kept, turned = (1 + cosine) / 2, (1 - cosine) / 2
        carried = 0.0  # F₊ on its way from order 2j−1 to 2j+1
        for j in range(min(e + 1, n - e)):
            up, down, z = rising[j], falling[j], stored[j]
            moved = left2 * (kept * up + turned * down + sine * z)
            back = turned * up + kept * down - sine * z
            stored[j] = left1 * (cosine * z - sine * (up - down) / 2)
            if j == 0:
                echoes[e] = half * back
                carried = left2 * back
            else:
                falling[j - 1] = left2 * back
            rising[j] = carried
            carried = moved
        top = min(e + 1, n - e)
        rising[top] = carried
        falling[top - 1] = 0.0


@njit(cache=True, parallel=True)
def _trains(
    starts: Doubles, angles: Doubles, t1: Doubles, t2: Doubles, spacing: float, echoes: NDArray[Any]
) -> None:
    """Fill `echoes` (voxels, n), angles (2, voxels); every voxel stands alone, whatever the number of threads."""
    n = echoes.shape[1]
    for v in prange(starts.size):
        train = np.empty(n)
        both = (angles[0, v], angles[1, v])
        one_train(starts[v], both, np.exp(-spacing / t1[v]), np.exp(-spacing / t2[v]), train)
        for e in range(n):
            echoes[v, e] = train[e]


def spin_echo_train(
    m0: ArrayLike,
    t2: ArrayLike,
    *,
    t1: ArrayLike,
    echo_spacing: float,
    echoes: int,
    refocusing_angle: ArrayLike = np.pi,
    first_angle: ArrayLike | None = None,
    excitation_angle: ArrayLike = np.pi / 2,
    b1: ArrayLike = 1.0,
) -> Array:
    """m0, T2, T1 (s), angles (rad) → amplitudes of `echoes` spin echoes, (…, echoes) (unit of m0).

    Extended phase graph of a CPMG train from full relaxation: excitation, then pulses of equal angle (the first of
    `first_angle`, if it is given) `echo_spacing` (s) apart, dephasing between them complete; b1 multiplies all. What
    recovers during the train stays in even orders at the pulses and never refocuses at an echo.
    Tissue, angles and b1 broadcast; double precision inside, float32 kept.
    Hennig 1991, DOI 10.1002/cmr.1820030302; Weigel 2015, DOI 10.1002/jmri.24619.
    """
    if echoes < 1 or not echo_spacing > 0:
        raise ScanError(
            f"{echoes} echoes every {echo_spacing} s are no train; give 1 or more and a spacing in s"
        )
    first = refocusing_angle if first_angle is None else first_angle
    shape, kind, tissue = doubles(m0, t2, t1, first, refocusing_angle, excitation_angle, b1)
    amplitude, fast, slow, first, refocusing, excitation, relative = tissue
    signals = np.empty((amplitude.size, echoes), kind)
    starts = amplitude * np.sin(relative * excitation)
    _trains(starts, relative * np.stack([first, refocusing]), slow, fast, float(echo_spacing), signals)
    return signals.reshape(*shape, echoes)


def trains(
    m0: Doubles,
    t2: Doubles,
    b1: Doubles,
    protocol: tuple[int, float, float, float],
    *,
    first: float | None = None,
) -> Doubles:
    """m0, T2 (s), B1, all (n, 1) → echoes (n, m), in one thread; protocol: echoes, spacing (s), angle (rad), T1 (s).

    `first`: angle of the first refocusing pulse, if it is not that of the others.
    """
    shape = np.broadcast_shapes(np.shape(m0), np.shape(t2), np.shape(b1))
    each = [np.broadcast_to(a, shape).ravel().astype(np.float64) for a in (m0, t2, b1)]
    count, spacing, angle, t1 = protocol
    echoes = np.empty((each[0].size, count))
    angles = (float(angle if first is None else first), float(angle))
    _fill(each[0], each[1], each[2], spacing, angles, t1, echoes)
    return echoes


@njit(cache=True, nogil=True)
def _fill(
    m0: Doubles,
    t2: Doubles,
    b1: Doubles,
    spacing: float,
    angles: tuple[float, float],
    t1: float,
    echoes: Doubles,
) -> None:
    left1 = np.exp(-spacing / t1)
    for v in range(m0.size):
        start = m0[v] * np.sin(b1[v] * np.pi / 2)
        both = (b1[v] * angles[0], b1[v] * angles[1])
        one_train(start, both, left1, np.exp(-spacing / t2[v]), echoes[v])
