"""Sets → BIDS names: a table of rules on what was varied in the sequence, tried from the top."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

from mensura.io.dicom.gradients import OPPOSITE
from mensura.io.dicom.headers import ANGLES
from mensura.io.dicom.sets import Set, value_of
from mensura.io.dicom.stacks import Stack
from mensura.scan import GAMMA_BAR

IGNORED, UNKNOWN = "ignored", "unknown"


@dataclass(frozen=True)
class Rule:
    """Sets of a family that pass `when` become `suffix` in `datatype`, told apart by `entities`.

    `suffixes` renames single images by kind and place in the order of echoes ("phase": "phasediff"). `needs` are
    sidecar fields that BIDS requires, `later` those of them that only the converter finds; `why` says in words what was
    recognised, or why nothing is made of it. `counted`: BIDS wants every entity, even where its values are equal.
    """

    suffix: str
    family: str
    when: Callable[[Set], bool]
    why: str
    datatype: str = "anat"
    entities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    suffixes: Mapping[str, tuple[str, ...]] | None = None
    later: tuple[str, ...] = ()
    counted: bool = False


def _many(field: str, least: int = 2) -> Callable[[Set], bool]:
    return lambda s: s.count(field) >= least


def _difference(s: Set) -> bool:
    """Two echoes of magnitude and one phase: the difference between them."""
    echoes = [len(s.values("echo_time", kind)) for kind in ("mag", "phase")]
    return s.kinds == {"mag", "phase"} and echoes == [2, 1]


def _dixon(s: Set) -> bool:
    """A few echoes that are not much more than half a turn of fat against water apart."""
    times, strength = s.values("echo_time"), s.first.series.record.get("MagneticFieldStrength")
    turn = 1 / (GAMMA_BAR * float(strength) * FAT_SHIFT) if strength else 0.0
    return 2 <= len(times) <= 6 and max(b - a for a, b in itertools.pairwise(times)) <= 0.6 * turn


def _double_angle(s: Set) -> bool:
    angles = s.values("flip_angle")
    return len(angles) == 2 and abs(angles[1] / angles[0] - 2) < 0.05 and angles[1] >= LARGE_ANGLE


def _afi(s: Set) -> bool:
    times = s.values("repetition_time")
    return len(times) == 2 and times[1] / times[0] >= 2 and s.count("flip_angle") == 1


def _uncombined(s: Set) -> bool:
    return any(stack.coil for stack in s.stacks)


def _image(*words: str) -> Callable[[Set], bool]:
    return lambda s: bool(set(words) & set(s.first.first.image_type))


def _transfer(s: Set) -> bool:
    return s.count("transfer") == 2


def _angles(turbo: bool) -> Callable[[Set], bool]:
    """A map of flip angles by a sequence of Siemens that is a turbo-FLASH, or another."""
    return lambda s: (
        s.first.series.vendor == "siemens"
        and ANGLES in s.first.first.image_type
        and s.first.series.sequence != ""
        and ("tfl" in s.first.series.sequence) == turbo
    )


def _saturated(s: Set) -> bool:
    times = s.values("inversion_time")
    return len(times) == 2 and times[0] <= SHORT_DELAY


def _opposite(s: Set) -> bool:
    directions = s.values("direction")
    return len(directions) == 2 and OPPOSITE[directions[0]] == directions[1]


FAT_SHIFT = 3.4e-6
"""Of fat against water, relative to B0."""
DIXON = ("WATER", "FAT", "W", "F", "IP", "OP", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "DIXON_WATER", "DIXON_FAT",
         "FF", "FAT_FRACTION")  # fmt: skip
LARGE_ANGLE = 60.0
"""Degrees: twice the angle beyond which a pair of flip angles is for mapping B1, not T1."""
LONG_ECHO = 0.008
"""s: a single gradient echo with phase from here on is T2*-weighted."""
SHORT_DELAY = 0.2
"""s: no train of gradient echoes has its centre so soon after an inversion; after a saturation it has."""
DIFFUSION = ("ADC", "EADC", "FA", "COLFA", "TRACE", "TRACEW", "TENSOR")
PICTURES = ("SWI", "MNIP", "MINIP", "MIN_IP", "MIP", "MAX_IP", "MPR", "CSA MPR", "PROJECTION IMAGE")
MANY_TIMES = 5
EXCITATION, PREPARATION = "RepetitionTimeExcitation", "RepetitionTimePreparation"
VFA_NEEDS = ("FlipAngle", "PulseSequenceType", EXCITATION)
MP2RAGE_NEEDS = (
    *("FlipAngle", "InversionTime", EXCITATION, PREPARATION, "NumberShots"),
    "MagneticFieldStrength",
)
RULES = (
    Rule(IGNORED, "localizer", lambda s: True, "a localizer"),
    Rule("fieldmap", "field map in Hz", lambda s: "field" in s.kinds, "a field map in Hz", "fmap",
         needs=("Units",), suffixes={"mag": ("magnitude",)}),
    Rule("UNIT1", "scanner's own map", _image("UNI"), "the uniform image of an MP2RAGE"),
    Rule("TB1TFL", "scanner's own map", _angles(turbo=True),
         "a map of flip angles by a turbo-FLASH of Siemens, in tenths of a degree", "fmap", ("famp",), ("FlipAngle",)),
    Rule("TB1RFM", "scanner's own map", _angles(turbo=False), "a map of flip angles by Siemens' rf_map", "fmap",
         ("famp",)),
    Rule(UNKNOWN, "scanner's own map", _image(ANGLES), "a map of flip angles by no sequence of Siemens that is named: "
         "what its numbers are is not known; Siemens' are TB1TFL (tfl_b1map) and TB1RFM (rf_map)"),
    Rule("TB1map", "scanner's own map", _image("B1 MAP", "B1"), "a B1 map made by the scanner", "fmap"),
    Rule(UNKNOWN, "scanner's own map", _image(*DIXON),
         "Dixon: water, fat or phase images that the scanner made of the echoes; the echoes themselves are mapped"),
    Rule(IGNORED, "scanner's own map", _image(*DIFFUSION),
         "ADC, FA, trace or tensor, which the scanner computed of diffusion-weighted images"),
    Rule(IGNORED, "scanner's own map", _image(*PICTURES),
         "susceptibility-weighted image, projection or reformat: a picture that the scanner made of other images"),
    Rule(UNKNOWN, "scanner's own map", lambda s: True, "computed by the scanner from other images"),
    Rule("TB1EPI", "stimulated echo", _many("echo_time"), "spin and stimulated echoes for mapping B1; the header does "
         "not tell their flip angles and mixing time", "fmap", ("echo", "nth", "part"),
         ("EchoTime", "FlipAngle", "MixingTime")),
    Rule(UNKNOWN, "stimulated echo", lambda s: True, "a single spin or stimulated echo"),
    Rule("dwi", "diffusion", lambda s: True, "{times} diffusion-weighted volumes, b = {b_values} s/mm²", "dwi",
         ("part",)),
    Rule("epi", "spin echo planar", _opposite, "spin-echo planar images of opposite phase encoding, for a field map",
         "fmap", ("dir", "part"), later=("PhaseEncodingDirection", "TotalReadoutTime")),
    Rule(UNKNOWN, "spin echo planar", lambda s: True, "spin-echo planar, phase encoded {direction}, and no other the "
         "opposite way: name it in a plan, fmap/sub-01_dir-AP_epi or func/sub-01_task-rest_bold"),
    Rule(UNKNOWN, "echo planar", lambda s: s.times >= MANY_TIMES, "{times} gradient-echo planar volumes over time: no "
         "header tells the task; if it is BOLD, name it in a plan, func/sub-01_task-rest_bold with your task"),
    Rule(UNKNOWN, "echo planar", lambda s: True, "{times} gradient-echo planar volume, a reference of a series over "
         "time? Name it in a plan, func/sub-01_task-rest_sbref with your task"),
    Rule("TB1SRGE", "inversion gradient echo", _saturated, "gradient echoes at two delays, the first too short to "
         "follow an inversion: SA2RAGE", "fmap", ("flip", "inv", "part"), MP2RAGE_NEEDS, counted=True),
    Rule("MP2RAGE", "inversion gradient echo", _many("inversion_time"),
         "gradient echoes at {inversion_time} inversion times", entities=("inv", "part"), needs=MP2RAGE_NEEDS),
    Rule("T1w", "inversion gradient echo", lambda s: True, "a gradient echo after one inversion (MPRAGE)",
         entities=("part",)),
    Rule("IRT1", "inversion spin echo", _many("inversion_time"),
         "inversion recovery at {inversion_time} inversion times", entities=("inv", "part"), needs=("InversionTime",)),
    Rule(UNKNOWN, "inversion spin echo", lambda s: True, "a single inversion time: FLAIR or STIR?"),
    Rule("TB1DAM", "spin echo", _double_angle, "two flip angles, one twice the other", "fmap", ("flip", "part"),
         ("FlipAngle",)),
    Rule("MESE", "spin echo", _many("echo_time"), "spin echoes at {echo_time} echo times",
         entities=("echo", "part"), needs=("EchoTime",)),
    Rule(UNKNOWN, "spin echo", lambda s: True, "a single spin echo: T1w, T2w or PDw?"),
    Rule(UNKNOWN, "balanced", lambda s: True, "balanced steady state"),
    Rule(UNKNOWN, "gradient echo", _uncombined, "images of single coils: combine them first"),
    Rule("TB1AFI", "gradient echo", _afi, "two repetition times in one scan (actual flip angle)", "fmap",
         ("acq", "part"), ("FlipAngle", EXCITATION)),
    Rule("TB1DAM", "gradient echo", _double_angle, "two flip angles, one twice the other", "fmap",
         ("flip", "part"), ("FlipAngle",)),
    Rule("DCE", "gradient echo", lambda s: s.times >= MANY_TIMES, "{times} volumes over time", "perf",
         ("echo", "part"), ("FlipAngle", "RepetitionTime")),
    Rule("phasediff", "gradient echo", _difference, "two echoes and the difference of their phases", "fmap",
         needs=("EchoTime1", "EchoTime2"), suffixes={"mag": ("magnitude1", "magnitude2")}),
    Rule("MPM", "gradient echo", lambda s: _transfer(s) and s.count("flip_angle") > 1 and s.count("echo_time") > 1,
         "echoes at several flip angles, with and without MT pulse", entities=("echo", "flip", "mt", "part"),
         needs=("FlipAngle", "MTState", EXCITATION)),
    Rule("MTS", "gradient echo", lambda s: _transfer(s) and s.count("flip_angle") > 1,
         "several flip angles, with and without MT pulse", entities=("flip", "mt", "part"),
         needs=("FlipAngle", "MTState", EXCITATION)),
    Rule("MTR", "gradient echo", _transfer, "with and without MT pulse", entities=("echo", "mt", "part"),
         needs=("MTState",)),
    Rule("VFA", "gradient echo", _many("flip_angle"), "gradient echoes at {flip_angle} flip angles",
         entities=("echo", "flip", "part"), needs=VFA_NEEDS),
    Rule("MEGRE", "gradient echo", _dixon, "gradient echoes at {echo_time} echo times, close enough for Dixon",
         entities=("echo", "part"), needs=("EchoTime",)),
    Rule("MEGRE", "gradient echo", _many("echo_time"), "gradient echoes at {echo_time} echo times",
         entities=("echo", "part"), needs=("EchoTime",)),
    Rule("T2starw", "gradient echo", lambda s: s.has_phase and (s.values("echo_time") or [0])[0] >= LONG_ECHO,
         "one long gradient echo with phase", entities=("part",), needs=("EchoTime",)),
    Rule(UNKNOWN, "gradient echo", lambda s: True, "a single gradient echo: T1w, PDw or T2starw?"),
    Rule(UNKNOWN, "unknown", lambda s: True, "no sequence that is known"),
)  # fmt: skip
VARIES: Mapping[str, tuple[str, str]] = {
    "inv": ("inv", "inversion_time"),
    "echo": ("echo", "echo_time"),
    "flip": ("flip", "flip_angle"),
    "nth": ("flip", "repeat"),
}
"""What counts the values of something varied → the entity, and what is varied. `nth`: no header tells the angle."""


def rule_for(one: Set) -> Rule:
    return next(rule for rule in RULES if rule.family == one.family.name and rule.when(one))


def rule_of(suffix: str, otherwise: Rule | None) -> Rule | None:
    """The rule that makes images of this suffix, as a user may name them; else the one that was found."""
    if otherwise is not None and suffix in (
        otherwise.suffix,
        *chain.from_iterable((otherwise.suffixes or {}).values()),
    ):
        return otherwise
    return next((rule for rule in RULES if rule.suffix == suffix), otherwise)


def reason(rule: Rule, one: Set) -> str:
    """The rule's words with the numbers of this set."""
    counts = {name: one.count(name) for name in ("inversion_time", "echo_time", "flip_angle")}
    shells = sorted({round(b) for stack in one.stacks for b in stack.b_values})
    told = ", ".join(map(str, shells[:5])) + (f" … {shells[-1]}" if len(shells) > 5 else "")
    way = one.first.series.direction or "in a way that the header does not tell"
    return rule.why.format(**counts, times=one.times, b_values=told, direction=way)


def suffix_of(rule: Rule, one: Set, stack: Stack) -> str:
    """The suffix of one image of a set."""
    names = (rule.suffixes or {}).get(stack.kind)
    if not names:
        return rule.suffix
    echoes = one.values("echo_time", stack.kind)
    return names[min(echoes.index(stack.first.echo_time), len(names) - 1)] if len(names) > 1 else names[0]


def entities_of(rule: Rule, one: Set, stack: Stack) -> dict[str, str]:
    """What tells one image of a set from the others: inv-2, part-phase …"""
    found: dict[str, str] = {}
    for entity in rule.entities:
        if entity in VARIES:
            name, varied = VARIES[entity]
            values = one.values(varied)
            if len(values) > 1 or rule.counted:
                found[name] = str(values.index(value_of(stack, varied)) + 1)
        elif entity == "mt":
            found["mt"] = "on" if stack.first.transfer else "off"
        elif entity == "famp":
            found["acq"] = entity if stack.kind == "made" else "anat"
        elif entity == "dir":
            found["dir"] = stack.series.direction
        elif entity == "acq":
            found["acq"] = f"tr{one.values('repetition_time').index(stack.first.repetition_time) + 1}"
        elif entity == "part" and (len(one.kinds) > 1 or stack.kind != "mag"):
            found["part"] = stack.kind
    return found


def label(text: str) -> str:
    """Any text → letters and digits, as an entity's label."""
    return re.sub(r"[^A-Za-z0-9]", "", text)
