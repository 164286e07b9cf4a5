"""Coefficient files: what they say, and every mistake in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coil_text import COIL

from mensura.io.coil_file import read_coil
from mensura.io.files import digest
from mensura.scan import ScanError


def write(folder: Path, text: str) -> Path:
    path = folder / "coeff.grad"
    path.write_text(text, encoding="latin-1")
    return path


def test_radius_and_terms_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, COIL)
    coil = read_coil(path)
    assert (coil.name, coil.digest) == ("coeff.grad", digest(path))
    assert coil.harmonics.radius == 250
    cosine, sine = coil.harmonics.cosine, coil.harmonics.sine
    assert (cosine[2, 3, 0], cosine[2, 5, 0], cosine[0, 3, 1], cosine[0, 3, 3]) == (-0.15, 0.05, -0.12, 0.03)
    assert sine[1, 3, 1] == -0.11
    assert (np.count_nonzero(cosine), np.count_nonzero(sine)) == (4, 1)


@pytest.mark.parametrize(
    "change", [("\n", "\r\n"), ("-0.15000000", "-1.5D-1"), ("A( 3, 0)", "A(3,0)"), ("coil", "Spüle")]
)
def test_other_ways_to_write_it_are_read(change: tuple[str, str], tmp_path: Path) -> None:
    assert read_coil(write(tmp_path, COIL.replace(*change))).harmonics.cosine[2, 3, 0] == -0.15


MISTAKES = {
    "no radius": ("m = R0", "m = R", "no radius such as"),
    "no terms": (COIL[COIL.index("   1  A") :], "", "no coefficients such as"),
    "a radius in mm": ("0.250 m", "250 m", "must be in metres"),
    "an open magnet": ("0 = CoSyMode", "1 = CoSyMode", "open magnet"),
    "a term without axis": ("-0.12000000         x", "-0.12000000", r"line 14: '101 .*' is no coefficient"),
    "a comma": ("-0.12000000", "-0,12000000", "line 14.* is no coefficient"),
    "a line that ends early": ("( 5, 0)         5.0e-2             z", "( 5,", "line 12.* is no coefficient"),
    "an order above the degree": ("A( 3, 3)", "A( 3, 4)", r"line 15: there is no harmonic A\(3, 4\) of x"),
    "a degree beyond reason": ("A( 5, 0)", "A(99, 0)", r"no harmonic A\(99, 0\)"),
    "a term twice": ("A( 3, 3)", "A( 3, 1)", r"line 15: A\(3, 1\) of x is there twice"),
    "the gradient itself": ("A( 3, 3)         0.03", "A( 1, 1)         1.03", "a whole gradient"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(what: str, tmp_path: Path) -> None:
    old, new, told = MISTAKES[what]
    assert old in COIL
    with pytest.raises(ScanError, match=told) as raised:
        read_coil(write(tmp_path, COIL.replace(old, new)))
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "coeff.grad") in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="does not exist"):
        read_coil(tmp_path / "none.grad")
