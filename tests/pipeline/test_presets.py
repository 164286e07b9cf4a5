"""Presets lie below config and flags, are recorded, and fit the body that they are named after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mensura
from mensura.cli import main
from mensura.io import bids
from mensura.pipeline.config import SPAN, known_keys, read_toml, settings
from mensura.pipeline.presets import PRESETS
from mensura.scan import GradientEcho, Grid, ScanError, Volume


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_sets_what_there_is_and_says_why(name: str) -> None:
    preset = PRESETS[name]
    chosen = settings({"preset": name})
    assert chosen.preset == name
    assert set(preset.settings) <= set(known_keys())
    methods = {key: value for key, value in preset.settings.items() if "." not in key}
    assert methods.items() <= chosen.methods.items()
    assert preset.why.endswith(".")


def test_what_is_set_lies_over_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    below = {"dipole": "tkd", "dipole.tkd.threshold": 0.3, "background": "vsharp"}
    monkeypatch.setitem(PRESETS, "own", replace(PRESETS["brain"], settings=below))  # type: ignore[arg-type]
    assert settings({"preset": "own"}).resolved("dipole") == {"threshold": 0.3}
    assert settings({"preset": "own", "dipole.tkd.threshold": "0.1"}).resolved("dipole") == {"threshold": 0.1}
    other = settings({"preset": "own", "dipole": "tv"})
    assert other.resolved("dipole") == settings({"dipole": "tv"}).resolved("dipole")
    assert other.method("background") == "vsharp"
    assert not settings({"preset": "own", SPAN: "smv_tv"}).two_steps


def test_every_length_of_the_methods_in_use_shrinks_with_the_rodent() -> None:
    chosen = settings({"preset": "rodent", "background": "vsharp", "background.vsharp.step": 0.2})
    usual = settings({"background": "vsharp"})
    assert chosen.resolved("background")["radius"] == pytest.approx(
        0.1 * usual.resolved("background")["radius"]
    )
    assert chosen.resolved("background")["step"] == 0.2
    assert chosen.resolved("dipole") == usual.resolved("dipole")


def test_a_head_a_tenth_the_size_gives_the_same_map(small_head: Path) -> None:
    """With the preset: no length is left that belongs to humans, in no parameter, weight or penalty."""
    scan = bids.load(bids.find_runs(small_head)[0])
    truth = small_head / "derivatives" / "truth" / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    inside = mensura.io.nifti.read(truth).data > 0
    small = replace(scan, grid=Grid(scan.grid.shape, np.diag([0.1, 0.1, 0.1, 1]) @ scan.grid.affine))
    few = {f"{SPAN}.tfi.max_iter": 5, "uncertainty": "closed_form"}
    human = mensura.qsm(scan, mask=Volume(inside, scan.grid, "1"), settings=few)
    mouse = mensura.qsm(small, mask=Volume(inside, small.grid, "1"), settings={"preset": "rodent", **few})
    scale = np.abs(human["chi"].data).max()
    assert np.abs(mouse["chi"].data - human["chi"].data).max() < 1e-3 * scale
    assert mouse["chi"].grid.matches(small.grid)


def test_with_fat_in_sight_its_bias_is_noted(small_head: Path, tmp_path: Path) -> None:
    words = ["run", str(small_head), str(tmp_path), "participant", "--preset", "body", "--no-report"]
    assert main([*words, f"--{SPAN}.tfi.max_iter", "2", "--uncertainty", "closed_form"]) == 0
    record = json.loads((tmp_path / "sub-01" / "anat" / "sub-01_desc-brain_mask.json").read_text())
    assert any("fat" in warning for warning in record["Mensura"]["Warnings"])


def test_a_phantom_keeps_the_sign_that_it_came_with(small_head: Path) -> None:
    scan = bids.load(bids.find_runs(small_head)[0])
    assert scan.phase is not None
    few = {f"{SPAN}.tfi.max_iter": 2, "uncertainty": "closed_form", "preset": "phantom"}
    fields = [
        mensura.qsm(replace(scan, phase=sign * scan.phase), settings=few)["total_field"].data
        for sign in (1, -1)
    ]
    assert np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1] < -0.99


def test_an_unknown_preset_is_met_with_the_nearest() -> None:
    with pytest.raises(ScanError, match="did you mean 'rodent'"):
        settings({"preset": "rodents"})


def test_a_preset_stands_at_the_top_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('preset = "rodent"\n[dipole]\nmethod = "tkd"\n')
    assert read_toml(file) == {"preset": "rodent", "dipole": "tkd"}


def test_the_preset_is_recorded_and_shown(small_head: Path, tmp_path: Path) -> None:
    words = ["run", str(small_head), str(tmp_path), "participant", "--preset", "phantom"]
    assert main([*words, f"--{SPAN}.tfi.max_iter", "2"]) == 0
    record = json.loads((tmp_path / "sub-01" / "anat" / "sub-01_Chimap.json").read_text())
    assert record["Mensura"]["Preset"] == "phantom"
    assert "preset phantom" in (tmp_path / "sub-01.html").read_text()


def test_one_echo_is_inverted_by_what_bears_its_offset() -> None:
    one, four = (
        GradientEcho(echo_times=times, field_strength=3.0) for times in ((0.02,), (0.005, 0.01, 0.015, 0.02))
    )
    preset = settings({"preset": "single-echo"})
    suited = settings({"mask": "threshold"}).suited(one)
    assert suited.method(SPAN) == preset.method(SPAN) != settings({}).method(SPAN)
    assert suited.resolved(SPAN) == preset.resolved(SPAN)
    assert suited.method("mask") == "threshold"
    for chosen in ({SPAN: "tfi"}, {f"{SPAN}.tfi.max_iter": 3}, {"dipole": "tv"}, {"preset": "rodent"}):
        assert settings(chosen).suited(one) == settings(chosen)
    assert settings({}).suited(four) == settings({}).suited(None) == settings({})
