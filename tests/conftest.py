"""Fixtures that every test may use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository; tests that need it are skipped, loudly, without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"REAL SCANS ABSENT: {SHARED_DATA} not found, so this test on real data did not run")
    return SHARED_DATA
