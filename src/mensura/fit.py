"""What every voxel-wise fit returns, and how a voxel's fit may end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mensura.scan import BoolArray, FloatArray


class Status(IntEnum):
    """How the fit of a voxel ended; every code but OK goes with a value that is not a number."""

    OK = 0
    """Fitted (also: outside the mask)."""
    NO_SIGNAL = 1
    """The data are missing, not finite, or zero."""
    OUT_OF_BOUNDS = 2
    """The estimate lies where the data cannot tell it from infinity."""
    NOT_CONVERGED = 3
    """The iteration did not come to rest."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit of `n` voxels by `p` parameters.

    `values` and their standard deviations `errors` (n, p) are NaN where `status` (n, codes of `Status`) is not
    OK; `residual` (n) is the root mean square of data minus model, in the data's unit.
    """

    values: FloatArray
    errors: FloatArray
    status: NDArray[np.uint8]
    residual: FloatArray

    def maps(self, mask: BoolArray, parameter: int) -> tuple[FloatArray, FloatArray, NDArray[np.uint8]]:
        """The mask whose voxels were fitted → volumes of one parameter, its standard deviation and the status.

        All three are zero outside the mask.
        """
        value, error = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
        status = np.zeros(mask.shape, np.uint8)
        value[mask], error[mask] = self.values[:, parameter], self.errors[:, parameter]
        status[mask] = self.status
        return value, error, status
