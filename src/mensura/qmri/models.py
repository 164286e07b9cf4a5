"""The table of relaxometry methods."""

from __future__ import annotations

from collections.abc import Mapping

from mensura.methods import Method, Stage

R2STAR = Stage(
    "estimate the effective transverse relaxation rate from the decay of the magnitude over the echoes",
    {"magnitude": "arbitrary", "mask": "1", "echo_times": "s"},
    {"r2star": "1/s", "r2star_std": "1/s", "status": "1"},
    {
        "noise_floor": Method("mensura.qmri.estimators:noise_floor", "10.1002/mrm.1910360216"),
        "arlo": Method("mensura.qmri.estimators:arlo", "10.1002/mrm.25137"),
        "loglinear": Method("mensura.qmri.estimators:loglinear", "10.1002/hbm.20076"),
    },
)
"""The R2* methods, each f(magnitude, mask, grid, *, echo_times, tunables) → (r2star, r2star_std, status)."""

STAGES: Mapping[str, Stage] = {"r2star": R2STAR}
