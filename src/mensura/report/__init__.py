"""Reports: one self-contained HTML page for each run, built from the files of its results alone."""

from mensura.report.page import build, build_subject

__all__ = ["build", "build_subject"]
