"""From the axes of the patient to those of the gradient coils."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mensura.scan import ScanError

UP, IN = np.array([0.0, 1, 0]), np.array([0.0, 0, 1])
ALONG = {"HF": IN, "FF": -IN}
"""Where the patient's head points, head first or feet first."""
LYING = {"S": ("front", UP), "P": ("front", -UP), "DR": ("right", -UP), "DL": ("right", UP)}
"""Which side of a patient is up or down: supine, prone, on the right or left side."""
COILS = np.diag([-1.0, 1, -1])
"""Axes of Siemens' coils in those of the room: x to the right of who looks into the bore, y up, z out of it."""


def coil_frame(
    patient_position: str = "HFS", table_position: Sequence[float] = (0.0, 0.0, 0.0)
) -> NDArray[np.float64]:
    """How the patient lies (DICOM: HFS, FFP …) and where the table stands (mm; BIDS TablePosition) → a 4×4 matrix from
    mm in the patient's axes (right, front, head: those of an image's affine) to mm in those of the coils.

    The room's axes, as BIDS has them, point to the left of who looks into the bore, up, and into it. The origin of the
    image is the isocentre when the table stands at 0. For a patient HFS the coils' axes point to the patient's left,
    front and feet. ScanError for another position, or what is none.
    """
    along, lying = ALONG.get(patient_position[:2]), LYING.get(patient_position[2:])
    if along is None or lying is None:
        raise ScanError(
            f"the patient position {patient_position!r} is not known here; state PatientPosition as one of "
            f"{', '.join(a + b for a in ALONG for b in LYING)}"
        )
    table = np.asarray(table_position, np.float64)
    if table.shape != (3,) or not np.isfinite(table).all():
        raise ScanError(f"the table position {table_position!r} must be three numbers (TablePosition, mm)")
    side, axis = lying
    right = np.cross(axis, along) if side == "front" else axis
    to_room = np.column_stack([right, np.cross(along, right), along])
    found = np.eye(4)
    found[:3, :3] = COILS @ to_room
    found[:3, 3] = COILS @ table
    return found
