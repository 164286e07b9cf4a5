"""The example in the README runs as it stands, and is as short as promised."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from mensura.pipeline.config import stages

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


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


def test_the_guide_names_the_defaults() -> None:
    guide = (ROOT / "docs" / "stages.md").read_text("utf-8")
    told = dict(re.findall(r"^\| ([\w+]+) \| `(\w+)` \|", guide, re.MULTILINE))
    assert told == {name: stage.default for name, stage in stages().items()}


def test_the_guide_knows_every_method() -> None:
    guide = (ROOT / "docs" / "stages.md").read_text("utf-8")
    assert not [m for stage in stages().values() for m in stage.methods if f"`{m}`" not in guide]


def test_links_lead_somewhere() -> None:
    for page in (README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
