"""What the BIDS validator says of a dataset."""

import json
import shutil
import subprocess
import sys
from pathlib import Path


def validator_errors(folder: Path) -> list[str]:
    """What it says is wrong."""
    program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    assert program, "bids-validator-deno is not installed; pip install --editable '.[dev]'"
    said = subprocess.run([program, "--format", "json", str(folder)], capture_output=True, text=True)
    issues = json.loads(said.stdout)["issues"]["issues"]
    assert issues, "even a perfect dataset gets a warning; nothing was read"
    wrong = [issue for issue in issues if issue["severity"] == "error"]
    return [f"{issue['code']} {issue.get('subCode', '')} {issue['location']}" for issue in wrong]
