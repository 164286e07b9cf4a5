"""Jobs can be sent to another process, and say beforehand what they need."""

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

from mensura.io import bids
from mensura.pipeline.config import settings
from mensura.pipeline.job import COMPILER_BYTES, Job, attempt, disk_needed, memory_needed


def test_a_job_and_its_result_can_be_pickled(small_head: Path, tmp_path: Path) -> None:
    run = bids.find_runs(small_head)[0]
    chosen = settings({"background+dipole.tfi.max_iter": 2, "mask": "threshold"})
    job = pickle.loads(pickle.dumps(Job(run.name, partial(bids.load, run), tmp_path, run, chosen)))
    result = pickle.loads(pickle.dumps(attempt(job)))
    assert (result.status, result.name) == ("done", "sub-01")
    assert result.computed > 5
    assert (tmp_path / "sub-01" / "anat" / "sub-01_Chimap.nii.gz").is_file()


def test_a_failure_that_nobody_foresaw_is_a_result_too(tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("cosmic ray")

    result = attempt(Job("x", broken, tmp_path))  # type: ignore[arg-type]
    assert result.status == "failed"
    assert "cosmic ray" in result.message
    assert "Traceback" in result.details


def test_the_estimates_bound_what_a_run_takes(small_head: Path, tmp_path: Path) -> None:
    """Memory and disk of the small head, in a process of its own (getrusage would count its parent's memory too)."""
    code = (
        "import sys; from mensura.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) * 1024)\n"
        "sys.exit(code)"
    )
    words = ["run", str(small_head), str(tmp_path), "participant", "--no-report"]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    taken = int(ended.stdout.split()[-1])
    shape = bids.shape(bids.find_runs(small_head)[0])
    assert 0.3 * (memory_needed(shape) - COMPILER_BYTES) < taken < memory_needed(shape)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.nii.gz"))
    assert stored < disk_needed(shape)
