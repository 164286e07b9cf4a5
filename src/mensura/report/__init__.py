"""Reports: a self-contained HTML page for each run and each fitted map, built from the files of the results alone."""

from mensura.report.page import build, build_subject

__all__ = ["build", "build_subject"]
