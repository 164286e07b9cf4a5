"""Settings: text becomes what the parameter is, unknown keys are met with the nearest known one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from mensura.methods import Parameter
from mensura.pipeline.config import SPAN, Settings, convert, known_keys, overlaid, read_toml, settings, stages
from mensura.scan import ScanError


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (float, "2e-4", 2e-4),
        (float, 3, 3.0),
        (int, "5", 5),
        (int, "1e3", 1000),
        (bool, "yes", True),
        (bool, False, False),
        (str, "identity", "identity"),
        (tuple[float, ...], "8, 4 2", (8.0, 4.0, 2.0)),
        (tuple[float, ...], [8, 4], (8.0, 4.0)),
        (Sequence[int], ["64", "72", "64"], (64, 72, 64)),
        (tuple[int, float], "2 3.5", (2, 3.5)),
        (float | None, "none", None),
        (float | None, "1.5", 1.5),
        (Literal["a", "b"], "b", "b"),
        (float | Literal["l-curve", "discrepancy"], "l-curve", "l-curve"),
        (float | Literal["l-curve", "discrepancy"], "2e-4", 2e-4),
    ],
)
def test_values_become_the_parameters_type(kind: Any, given: Any, expected: Any) -> None:
    value = convert(Parameter("p", kind, None, "", ""), given, "p")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (float, "much", "a number"),
        (int, "2.5", "a whole number"),
        (bool, "maybe", "true or false"),
        (float, True, "a number"),
        (Literal["a", "b"], "c", "one of a, b"),
        (float | Literal["l-curve", "discrepancy"], "x", "a number, or one of l-curve, discrepancy"),
        (tuple[int, float], "1 2 3", "tuple"),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: Any, given: Any, said: str) -> None:
    with pytest.raises(ScanError, match=f"p = .*{said}"):
        convert(Parameter("p", kind, None, "", ""), given, "p")


def test_every_default_is_taken_as_it_is_written() -> None:
    """What `mensura methods` shows can be given back as a flag and means the same."""
    for stage in stages().values():
        for method in stage.methods.values():
            for parameter in method.parameters.values():
                default = parameter.default
                text = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
                assert convert(parameter, text, parameter.name) == default, parameter


def test_naming_background_or_dipole_makes_two_steps() -> None:
    assert not settings({}).two_steps
    assert settings({"dipole": "tkd"}).two_steps
    assert settings({"background.vsharp.radius": 10}).two_steps
    with pytest.raises(ScanError, match="not both"):
        settings({SPAN: "smv_tv", "dipole": "tv"})


def test_a_parameter_chooses_its_method_and_the_rest_keeps_its_default() -> None:
    chosen = settings({"dipole.tkd.threshold": "0.3"})
    assert chosen.method("dipole") == "tkd"
    assert chosen.resolved("dipole") == {"threshold": 0.3}
    assert chosen.method("unwrap") == stages()["unwrap"].default
    assert Settings().resolved("dipole") == stages()["dipole"].method("tv").resolve({})


def test_flags_lie_over_the_file() -> None:
    file = {"dipole": "tv", "dipole.tv.weight": 1e-3, "background": "pdf", "background.pdf.tol": 1e-2}
    assert overlaid(file, {"dipole.tv.weight": 2e-3}) == {**file, "dipole.tv.weight": 2e-3}
    replaced = overlaid(file, {"dipole": "tkd"})
    assert replaced == {"dipole": "tkd", "background": "pdf", "background.pdf.tol": 1e-2}
    assert overlaid(file, {SPAN: "smv_tv"}) == {SPAN: "smv_tv"}
    assert overlaid({SPAN: "smv_tv"}, {"dipole": "tv"}) == {"dipole": "tv"}


def test_toml_becomes_the_same_keys(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        '[dipole]\nmethod = "tv"\n[dipole.tv]\nweight = 2e-4\n["background+dipole".smv_tv]\ntol = 0.1\n'
    )
    assert read_toml(file) == {"dipole": "tv", "dipole.tv.weight": 2e-4, f"{SPAN}.smv_tv.tol": 0.1}


@pytest.mark.parametrize("content", ["threads = 2", "[dipole]\nmethod = 'tv'\nweight = 2"])
def test_toml_keys_outside_their_section_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    with pytest.raises(ScanError, match=r"run\.toml"):
        read_toml(file)


def test_every_key_leads_to_a_setting() -> None:
    for key in known_keys():
        if "." in key:
            stage, method, name = key.split(".")
            parameter = stages()[stage].methods[method].parameters[name]
            assert settings({key: parameter.default}).resolved(stage)[name] == parameter.default
