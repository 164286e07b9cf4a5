"""The example in the README runs as it stands, and is as short as promised."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 25
    script = tmp_path / "example.py"
    script.write_text(example, "utf-8")
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(script))
    said = re.search(r"χ is (\d+) % off the truth", capsys.readouterr().out)
    assert said is not None
    assert int(said[1]) < 60
    assert np.std(found["other"]["chi"].data[found["inside"]]) > 0.005
    assert (tmp_path / "chi.nii.gz").is_file()
