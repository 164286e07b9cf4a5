"""The traffic light: what is good, what needs a look, what is wrong, in plain words; and the key numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mensura.report.naming import stage_title
from mensura.report.results import Record, Run
from mensura.report.text import duration, mean_sd, number, percent, plain

Level = Literal["good", "look", "bad"]
SEVERITY: dict[Level, int] = {"good": 0, "look": 1, "bad": 2}

HEADLINES: dict[Level, str] = {
    "good": "Nothing unusual was found.",
    "look": "Worth a look before these maps are used.",
    "bad": "Something is wrong; do not use these maps before it is understood.",
}


@dataclass(frozen=True)
class Check:
    level: Level
    text: str


@dataclass(frozen=True)
class Facts:
    """What the checks judge: the run's records, and what was measured from its maps (shares in %)."""

    run: Run
    coverage: float | None = None
    failed: Mapping[str, float] = field(
        default_factory=dict
    )  # title of a map → share of voxels without a value
    high_residual: float | None = None
    jumps: float | None = None
    constant: tuple[str, ...] = ()  # titles of maps that hold one value only
    noise: Mapping[str, float] = field(
        default_factory=dict
    )  # unit → median standard deviation of χ (ppm) and field (Hz)


@dataclass(frozen=True)
class KeyNumber:
    label: str
    value: str
    unit: str = ""
    note: str = ""


def checks(facts: Facts) -> list[Check]:
    """Facts → a sentence for each check that applies, the gravest first, the recorded warnings included."""
    found = [check for judge in JUDGES for check in judge(facts)]
    return sorted(found, key=lambda check: -SEVERITY[check.level])


def overall(found: list[Check]) -> Level:
    """The gravest level."""
    return max((check.level for check in found), key=lambda level: SEVERITY[level], default="good")


def _chi(facts: Facts) -> list[Check]:
    if "Chimap" in facts.run.images:
        return []
    return [
        Check("bad", "There is no susceptibility map: the run ended before its last stage, or left it out.")
    ]


def _constant(facts: Facts) -> list[Check]:
    return [Check("bad", f"{title}: every voxel has the same value.") for title in facts.constant]


def _coverage(facts: Facts) -> list[Check]:
    if facts.coverage is None:
        return []
    level: Level = "good" if facts.coverage >= 95 else "look" if facts.coverage >= 80 else "bad"
    missing = " The rest was lost to the background removal or excluded." if level != "good" else ""
    return [Check(level, f"{percent(facts.coverage)} of the mask has a susceptibility value.{missing}")]


def _failed(facts: Facts) -> list[Check]:
    found = []
    for title, share in facts.failed.items():
        level: Level = "bad" if share > 20 else "look"
        if share > 0.5:
            text = f"{title}: {percent(share)} of the voxels in the mask have no value (shown in pink)."
            found.append(Check(level, text))
    return found


def _residual(facts: Facts) -> list[Check]:
    share = facts.high_residual
    if share is None:
        return []
    if share <= 10:
        return [
            Check(
                "good", f"The echoes agree with one field (residual above 0.3 in {percent(share)} of voxels)."
            )
        ]
    text = (
        f"In {percent(share)} of the mask the echoes disagree (residual above 0.3): motion, flow or bad mask."
    )
    return [Check("bad" if share > 40 else "look", text)]


def _jumps(facts: Facts) -> list[Check]:
    share = facts.jumps
    if share is None:
        return []
    if share <= 1:
        text = f"The unwrapped phase is smooth: {percent(share)} of neighbours differ by more than π."
        return [Check("good", text)]
    text = (
        f"{percent(share)} of neighbouring voxels differ by more than π after unwrapping: wraps may be left."
    )
    return [Check("look", text)]


def _convergence(facts: Facts) -> list[Check]:
    """Of the maps' own solvers: a standard deviation need not converge as far as what it belongs to."""
    steps = [step for step in facts.run.steps if step.get("Step") != "uncertainty"]
    records = [(step, step.get("Convergence") or {}) for step in steps]
    return [_converged(step, record) for step, record in records if record.get("Converged") is not None]


def _converged(step: Record, record: Record) -> Check:
    """Whether a solver converged, or stopped at its limit near its tolerance, or far from it."""
    who = f"{stage_title(step.get('Step'))} ({step.get('Method', '?')})"
    if record["Converged"]:
        return Check("good", f"{who} converged after {plain(record.get('Iterations'))} iterations.")
    last = (record.get("History") or [None])[-1]
    tolerance = (step.get("Parameters") or {}).get("tol")
    stopped = f"{who} stopped at its limit of {plain(record.get('MaxIterations'))} iterations"
    if last is not None and tolerance is not None and last <= 2 * tolerance:
        return Check("good", f"{stopped}, close to its tolerance ({number(last)} of {number(tolerance)}).")
    return Check("look", f"{stopped}, still changing by {number(last)} in the last one.")


def _warnings(facts: Facts) -> list[Check]:
    sentences = [str(text) for block in facts.run.ours.values() for text in block.get("Warnings") or ()]
    return [Check("look", text) for text in dict.fromkeys(sentences)]


JUDGES: tuple[Callable[[Facts], list[Check]], ...] = (
    _chi,
    _constant,
    _warnings,
    _coverage,
    _failed,
    _residual,
    _jumps,
    _convergence,
)


def key_numbers(facts: Facts) -> list[KeyNumber]:
    """Facts → the figures at the top of the page; what is not recorded is left out."""
    run, noise = facts.run, facts.noise
    seconds = [entry["Seconds"] for entry in run.processing if entry.get("Seconds") is not None]
    peak = run.noted("PeakMemoryBytes")
    found = [
        _figure("Coverage", facts.coverage, "%", "of the mask has a χ value"),
        _zero(run),
        _figure("Noise of χ", noise.get("ppm"), "ppm", "median standard deviation"),
        _figure("Noise of the field", noise.get("Hz"), "Hz", "median standard deviation"),
        KeyNumber("Computing", duration(sum(seconds)), "", "all stages together") if seconds else None,
        _figure("Peak memory", None if peak is None else peak / 1e9, "GB", ""),
    ]
    return [figure for figure in found if figure is not None]


def _zero(run: Run) -> KeyNumber | None:
    if run.zero is None:
        return None
    value = mean_sd(run.zero.mean, run.zero.sd, 2)
    return KeyNumber("χ of the reference", value, "ppm", f"{run.zero.region}, before subtraction")


def _figure(label: str, value: Any, unit: str, note: str) -> KeyNumber | None:
    return None if value is None else KeyNumber(label, number(value), unit, note)
