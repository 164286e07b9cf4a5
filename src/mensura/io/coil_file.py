"""Files in which a scanner's maker describes its gradient coils → harmonics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mensura.io.files import digest, read_bytes
from mensura.scan import ScanError
from mensura.warp.harmonics import MOST, Harmonics

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
RADIUS = re.compile(rf"^\s*({NUMBER})\s*m\s*=\s*R0\b")
MODE = re.compile(r"^\s*(\d+)\s*=\s*CoSyMode")
TERM = re.compile(rf"^\s*\d+\s+([AB])\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s+({NUMBER})\s+([xyzXYZ])(?:\s.*)?$")
LIKE_TERM = re.compile(r"^\s*\d+\s+[AB]\b|^\s*[AB]\s*\(")
"""The start of a line that is meant as a coefficient."""
RADII = (0.05, 0.6)
"""m, between which the radius of a coil for patients lies."""
LINEAR = 0.5
"""A coefficient of degree 1 from which it is no deviation from a gradient but the gradient itself."""


@dataclass(frozen=True, eq=False)
class Coil:
    """The fields of a scanner's gradient coils, with the name and the digest of the file that told them."""

    harmonics: Harmonics
    name: str
    digest: str


def read_coil(path: Path) -> Coil:
    """A coefficient file of Siemens (.grad) → the harmonics of its three coils.

    Lines of coefficients are numbered: `101 A( 3, 1) -0.0123 x`, a cosine (A) or sine (B) term of degree 3 and order 1
    of the x coil, in units of R0; above them `0.25 m = R0`. They tell what the field has beyond its linear gradient.
    ScanError, with the line, where something is missing or cannot be read, and for magnets other than tunnels.
    """
    path = Path(path)
    lines = read_bytes(path).decode("latin-1").splitlines()
    radius, found = 0.0, dict[tuple[str, int, int, str], float]()
    for number, line in enumerate(lines, start=1):
        if match := RADIUS.match(line):
            radius = _radius(path, match[1])
        elif (match := MODE.match(line)) and int(match[1]) != 0:
            raise ScanError(
                f"{path} is for an open magnet (CoSyMode {match[1]}), whose axes are not known here"
            )
        elif match := TERM.match(line):
            _add(found, match, f"{path}, line {number}")
        elif LIKE_TERM.match(line):
            raise ScanError(
                f"{path}, line {number}: {line.strip()!r} is no coefficient such as '1 A( 3, 0) -0.0123 z'; "
                "get the file from the scanner again"
            )
    if not radius or not found:
        what = (
            "no coefficients such as '1 A( 3, 0) -0.0123 z'" if radius else "no radius such as '0.25 m = R0'"
        )
        raise ScanError(
            f"{path} holds {what}: it is no .grad file of Siemens; give that of this scanner's coil"
        )
    return Coil(Harmonics(radius, *_arrays(found)), path.name, digest(path))


def _radius(path: Path, text: str) -> float:
    """m → mm."""
    radius = _value(text)
    if not RADII[0] <= radius <= RADII[1]:
        raise ScanError(f"{path}: a radius R0 of {text} m is not that of a coil; it must be in metres")
    return 1000 * radius


def _value(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))


def _add(found: dict[tuple[str, int, int, str], float], match: re.Match[str], place: str) -> None:
    kind, n, m, axis = match[1], int(match[2]), int(match[3]), match[5].lower()
    value = _value(match[4])
    name = f"{kind}({n}, {m}) of {axis}"
    if m > n or n > MOST:
        raise ScanError(f"{place}: there is no harmonic {name}; get the file from the scanner again")
    if (kind, n, m, axis) in found:
        raise ScanError(f"{place}: {name} is there twice; get the file from the scanner again")
    if n == 1 and abs(value) > LINEAR:
        raise ScanError(
            f"{place}: {name} is {value:g}, a whole gradient; this file must tell deviations from it alone"
        )
    found[kind, n, m, axis] = value


def _arrays(found: dict[tuple[str, int, int, str], float]) -> tuple[np.ndarray, np.ndarray]:
    degree = max(n for _, n, _, _ in found)
    made = np.zeros((2, 3, degree + 1, degree + 1))
    for (kind, n, m, axis), value in found.items():
        made["AB".index(kind), "xyz".index(axis), n, m] = value
    return made[0], made[1]
