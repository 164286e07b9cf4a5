"""How far an estimate is from the truth, and over how much of the mask it has a value."""

from mensura.score.agreement import bias, correlation, coverage, nrmse, nrmse_detrended, rmse

__all__ = ["bias", "correlation", "coverage", "nrmse", "nrmse_detrended", "rmse"]
