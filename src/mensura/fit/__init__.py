"""One batched, bounded fitter of any signal model to every voxel, with standard errors and the reason of a failure."""

from __future__ import annotations

from mensura.fit.bootstrap import Bootstrap
from mensura.fit.curve import Curve, curve
from mensura.fit.model import Parameter, SignalModel
from mensura.fit.result import Fit, Status
from mensura.fit.voxels import fit_voxels

__all__ = ["Bootstrap", "Curve", "Fit", "Parameter", "SignalModel", "Status", "curve", "fit_voxels"]
