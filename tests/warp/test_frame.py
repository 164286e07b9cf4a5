"""From the patient's axes to the coils': every position of the patient, and a table that has moved."""

import numpy as np
import pytest

from mensura.scan import ScanError
from mensura.warp import coil_frame

RIGHT, FRONT, HEAD = np.eye(3)
POSITIONS = {
    "HFS": ("in", FRONT),
    "HFP": ("in", -FRONT),
    "HFDR": ("in", -RIGHT),
    "HFDL": ("in", RIGHT),
    "FFS": ("out", FRONT),
    "FFP": ("out", -FRONT),
    "FFDR": ("out", -RIGHT),
    "FFDL": ("out", RIGHT),
}
"""Which way the head points in the bore, and what of the patient is up."""


@pytest.mark.parametrize("position", POSITIONS)
def test_the_head_and_what_is_up_are_where_the_position_says(position: str) -> None:
    way, up = POSITIONS[position]
    turn = coil_frame(position)[:3, :3]
    np.testing.assert_allclose(turn @ HEAD, (0, 0, -1 if way == "in" else 1), atol=1e-12)
    np.testing.assert_allclose(turn @ up, (0, 1, 0), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_a_supine_patient_head_first_gives_left_front_feet() -> None:
    np.testing.assert_array_equal(coil_frame(), np.diag([-1.0, 1, -1, 1]))


@pytest.mark.parametrize("position", POSITIONS)
def test_what_lay_in_the_isocentre_has_moved_with_the_table(position: str) -> None:
    """20 mm into the bore, 5 up: the coils' z points out of it."""
    np.testing.assert_allclose(coil_frame(position, (0, 5, 20)) @ (0, 0, 0, 1), (0, 5, -20, 1))


@pytest.mark.parametrize(
    ("position", "table", "words"),
    [
        ("SITTING", (0, 0, 0), "patient position 'SITTING'"),
        ("", (0, 0, 0), "PatientPosition"),
        ("HFS", (1, 2), "three"),
    ],
)
def test_what_is_no_position_is_refused(position: str, table: tuple[float, ...], words: str) -> None:
    with pytest.raises(ScanError, match=words):
        coil_frame(position, table)
