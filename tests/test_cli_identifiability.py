"""`mensura identifiability`: from flags, numbers or sidecars to a table, warnings and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.cli import main

IR = ("inversion_recovery", "--inversion-times", "0.035", "0.1", "0.3", "0.8")
VFA = ("variable_flip_angle", "--flip-angles", "3", "20", "--repetition-time", "0.015")


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["identifiability", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_row_for_every_value_and_snr_and_a_line_for_what_lies_outside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["identifiability", *IR, "--t1", "0.3", "2", "--snr", "50", "100"]) == 0
    said = capsys.readouterr().out
    assert said.count("T1 0.3 s") == 2
    assert "outside: T1 2 s" in said
    assert "strongest image" in said
    record = told(capsys, *IR, "--t1", "0.3", "2", "--snr", "50", "100")
    assert [row["snr"] for row in record["rows"]] == [50, 100, 50, 100]
    assert record["units"]["t1"] == "s"
    assert len(record["warnings"]) == 1


def test_without_values_it_tells_brain_tissues_of_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    high, low = (told(capsys, *IR, "--field-strength", field)["rows"] for field in ("3", "1.5"))
    assert [row["truth"]["t1"] for row in high] == pytest.approx([0.838, 1.607, 1.332, 1.395])
    assert low[0]["truth"]["t1"] == pytest.approx(0.646)


def test_spheres_of_the_phantom(capsys: pytest.CaptureFixture[str]) -> None:
    """Inversion times that end at 0.8 s do not tell the spheres above 1 s."""
    record = told(capsys, *IR, "--phantom", "nist")
    assert len(record["rows"]) == 28
    assert record["rows"][0]["truth"]["t1"] == pytest.approx(1.88397)
    outside = {warning.split(" ")[0] for warning in record["warnings"]}
    assert {"Ni-1", "Ni-2", "Mn-1", "Mn-2", "Mn-3", "Mn-4", "Mn-5"} <= outside
    assert not {f"Ni-{i}" for i in range(4, 13)} & outside


def sidecars(folder: Path, **fields: tuple[float, ...]) -> list[str]:
    paths = []
    for place, values in enumerate(zip(*fields.values(), strict=True)):
        path = folder / f"sub-01_flip-{place + 1}_VFA.json"
        path.write_text(json.dumps(dict(zip(fields, values, strict=True))))
        paths.append(str(path))
    return paths


def test_sidecars_flags_and_numbers_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sidecars(tmp_path, FlipAngle=(20, 3), RepetitionTimeExcitation=(0.015, 0.015))
    rows = [
        told(capsys, *words, "--t1", "1")["rows"][0]["std"]["t1"]
        for words in (
            VFA,
            ("variable_flip_angle", "--protocol", *files),
            ("despot1", "--protocol", *files),
            ("variable_flip_angle", "--protocol", "3", "20", "--repetition-time", "0.015"),
        )
    ]
    assert rows == pytest.approx([rows[0]] * 4)


@pytest.mark.parametrize(
    ("model", "fields", "varied"),
    [
        ("inversion_recovery", {"InversionTime": (1.0, 0.1, 0.4)}, [0.1, 0.4, 1.0]),
        ("look_locker", {"InversionTime": (1.0, 0.1, 0.4), "RepetitionTime": (5.0,) * 3}, [0.1, 0.4, 1.0]),
        ("spin_echo", {"EchoTime": (0.01, 0.02, 0.03, 0.04)}, [0.01, 0.02, 0.03, 0.04]),
        (
            "actual_flip_angle",
            {"RepetitionTimeExcitation": (0.1, 0.02), "FlipAngle": (60.0, 60.0)},
            [0.02, 0.1],
        ),
        ("double_angle", {"FlipAngle": (120.0, 60.0)}, np.deg2rad([60, 120]).tolist()),
        ("mt_ratio", {"MTState": (False, True)}, []),
    ],
)
def test_sidecars_of_other_models_are_read_in_their_order(
    model: str,
    fields: dict[str, Any],
    varied: list[float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = told(capsys, model, "--protocol", *sidecars(tmp_path, **fields))
    assert record["varied"] == pytest.approx(varied)
    assert all(std > 0 for row in record["rows"] for std in row["std"].values())


def test_a_flag_goes_before_a_sidecar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sidecars(tmp_path, FlipAngle=(20, 3), RepetitionTimeExcitation=(0.015, 0.015))
    record = told(
        capsys, "variable_flip_angle", "--protocol", *files, "--repetition-time", "0.03", "--t1", "1"
    )
    assert record["parameters"]["repetition_time"] == 0.03
    assert record["varied"] == pytest.approx(np.deg2rad([3, 20]))


def test_b1_is_a_true_value(capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, *VFA, "--t1", "1", "--b1", "0.7", "1")["rows"]
    assert rows[0]["std"]["t1"] != rows[1]["std"]["t1"]
    assert rows[0]["without_noise"]["t1"] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("inversion_recovery",), "inversion times are missing"),
        (("variable_flip_angle", "--flip-angles", "3", "20"), "--repetition-time"),
        (("variable_flip_angle", "--protocol", "0.05", "0.3", "--repetition-time", "0.01"), "radians"),
        ((*IR, "--t1", "1600"), "milliseconds"),
        ((*IR, "--snr", "0"), "above 0"),
        ((*IR, "--tissues", "ham"), "no tissue"),
        (("inversion_recovery", "--inversion-times", "0.1", "0.4"), "measure more"),
        (("inversion_recovry", "--inversion-times", "0.1"), "inversion_recovery"),
        (("spectrum", "--echo-times", "0.01", "0.02"), "no standard deviation"),
        (("mp2rage", "--protocol", "nothing.json"), "sidecars do not tell"),
        (("spin_echo", "--protocol", "nothing.json"), "nothing.json"),
        (("spin_echo", "--protocol", "nothing.json", "0.1"), "not both"),
        (("mt_ratio", "--protocol", "3", "20"), "nothing varies"),
    ],
)
def test_bad_input_gets_one_sentence(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["identifiability", *words])
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
