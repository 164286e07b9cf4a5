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


@pytest.fixture(scope="session")
def small_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BIDS dataset with a small digital head (4 mm, three echoes) and its truth; not to be written to."""
    from mensura.phantom.study import write_study

    folder = tmp_path_factory.mktemp("head")
    settings = {"MEGRE": {"echo_times": (0.004, 0.012, 0.020)}}
    write_study(folder, shape=(40, 44, 40), voxel_size=(4.0,), supersampling=1, settings=settings)
    return folder
