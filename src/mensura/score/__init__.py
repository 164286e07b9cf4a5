"""How far an estimate is from the truth, and over how much of the mask it has a value."""

from mensura.score.agreement import bias, correlation, coverage, nrmse, nrmse_detrended, rmse
from mensura.score.calcification import Calcification, calcification
from mensura.score.calibration import Calibration, calibration
from mensura.score.record import Score
from mensura.score.regions import Segmentation, groups, rim_mask
from mensura.score.relaxometry import limits_of_agreement, relative_bias, relaxometry, within_cv, within_sd
from mensura.score.structure import gradient_error, hfen, xsim
from mensura.score.susceptibility import linearity, susceptibility

__all__ = [
    "Calcification",
    "Calibration",
    "Score",
    "Segmentation",
    "bias",
    "calcification",
    "calibration",
    "correlation",
    "coverage",
    "gradient_error",
    "groups",
    "hfen",
    "limits_of_agreement",
    "linearity",
    "nrmse",
    "nrmse_detrended",
    "relative_bias",
    "relaxometry",
    "rim_mask",
    "rmse",
    "susceptibility",
    "within_cv",
    "within_sd",
    "xsim",
]
