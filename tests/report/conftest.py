"""Results on disk to report on."""

from __future__ import annotations

from pathlib import Path

import pytest
from derivatives import write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A plain folder of results, as `mensura qsm -o` leaves it."""
    folder = tmp_path / "results"
    write_results(folder)
    return folder


@pytest.fixture
def derivatives(tmp_path: Path) -> Path:
    """A BIDS derivatives folder with one subject and session."""
    write_results(tmp_path / "out" / "sub-01" / "ses-1" / "anat", "sub-01_ses-1")
    return tmp_path / "out"
