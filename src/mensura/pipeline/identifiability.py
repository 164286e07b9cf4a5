"""A protocol and true values → what standard deviation it can reach, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Status
from mensura.fit.bound import cramer_rao
from mensura.pipeline.config import nearest
from mensura.pipeline.fit_rules import told_by
from mensura.pipeline.relaxometry import entry, given_parameters, in_degrees, in_radians
from mensura.qmri.diffusion import FASTEST
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import Model
from mensura.qmri.signals import MAPS, SIGNALS, UNTOLD, Images
from mensura.scan import ScanError

Doubles = NDArray[np.float64]
Truth = Mapping[str, float]

MOST = 0.2
"""Standard deviation, relative to the value, beyond which a protocol does not tell it."""
LEANS = 0.05
"""Error of the fit without any noise, relative to the value, that is worth a word."""
WORTH = 0.8
"""Of the standard deviation: what one more image must bring it down to, to be proposed."""
ENOUGH = 1.25
"""Times the least standard deviation that one more image can reach: as good as that."""
MOST_OF = {
    **dict.fromkeys(("t1", "t2"), (60.0, "beyond 60 s it looks like milliseconds; give seconds")),
    **dict.fromkeys(("adc", "md"), (FASTEST, "water diffuses no faster than 0.003 mm²/s; give mm²/s")),
    "fa": (0.999, "it lies below 1; give a smaller one"),
}
"""Beyond which a true value cannot be meant, and why."""
LOUDEST = 2000
"""SNR that nobody has."""
SOUGHT = ("t1", "t2", "r2star", "mtsat", "mtr", "md")
"""What is worth a warning beside the first map of a model."""
UNITS = {"s": " s", "1/s": " 1/s", "percent": " %", "mm^2/s": " mm²/s"}
SNR = "signal of the strongest image over the standard deviation of the noise"
SNR_OF_PHASES = "1 over the standard deviation of the phase, rad"


@dataclass(frozen=True)
class Question:
    """A model; what varies and its parameters (s, rad); samples by name; SNRs; what of the truth is known already."""

    model: str
    varied: tuple[float, ...]
    parameters: Mapping[str, Any]
    samples: Mapping[str, Truth]
    snrs: Sequence[float] = (50.0,)
    known: Sequence[str] = ()


@dataclass(frozen=True)
class Reach:
    """What is reached of one sample at one SNR: standard deviations by the truth's name (infinite: not told), what the
    fit makes of signals without noise, and how it ends there."""

    sample: str
    truth: Truth
    snr: float
    std: Mapping[str, float]
    found: Mapping[str, float]
    status: Status

    def relative(self, name: str) -> float:
        """Standard deviation over the value."""
        return self.std[name] / abs(self.truth[name]) if self.truth[name] else np.inf

    def leaning(self, name: str) -> float:
        """By how much the fit is off without noise, relative to the value."""
        return self.found.get(name, np.nan) / self.truth[name] - 1 if self.truth[name] else np.nan


@dataclass(frozen=True)
class Answer:
    """The rows, a warning for each value that lies outside, and the units of what is told."""

    question: Question
    rows: Sequence[Reach]
    warnings: Sequence[str]
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def snr(self) -> str:
        """What SNR means here."""
        return SNR_OF_PHASES if SIGNALS[self.question.model].phases else SNR


def images_of(name: str) -> Images:
    """How a model's images come about; ScanError if nothing is told of it."""
    entry(name)
    if name not in SIGNALS:
        raise ScanError(
            f"{name} tells no standard deviation: {UNTOLD[name]}; choose from {', '.join(SIGNALS)}"
        )
    return SIGNALS[name]


def combined(
    name: str, given: Mapping[str, Sequence[float]], own: Truth | None = None, sample: str = ""
) -> dict[str, Truth]:
    """Values of the truth, some or none for each name, and those that a sample has of its `own` → every combination,
    by a name of its own."""
    images, own = images_of(name), own or {}
    unknown = next((n for n in given if n not in images.truth), None)
    if unknown:
        raise ScanError(
            f"{unknown} is no value of {name}{nearest(unknown, images.truth)}; it has {_list(images)}"
        )
    several = {n: (own[n],) if n in own else tuple(given.get(n, usual)) for n, usual in images.truth.items()}
    told = [n for n, values in several.items() if len(values) > 1 or n in given or n in own]
    made: dict[str, Truth] = {}
    for values in product(*several.values()):
        truth = dict(zip(several, values, strict=True))
        words = ", ".join(_value(name, n, truth[n]) for n in told)
        made[f"{sample} ({words})" if sample else words or "usual"] = truth
    return made


def within(name: str, samples: Mapping[str, Truth], given: Mapping[str, Sequence[float]]) -> dict[str, Truth]:
    """Named samples, values given of the rest → every combination; none if the model finds nothing that they have."""
    images, made = images_of(name), dict[str, Truth]()
    for sample, truth in samples.items():
        if any(n in images.truth and n not in images.given for n in truth):
            made |= combined(name, given, truth, sample)
    return made


def question_of(
    name: str, protocol: Sequence[str], varied: Sequence[float], given: Mapping[str, Any]
) -> tuple[tuple[float, ...], dict[str, Any]]:
    """What varies and the parameters (s, rad), from numbers or sidecars, and flags (s, degrees), which go first."""
    model, files = entry(name), [Path(word) for word in protocol if not _number(word)]
    numbers = [float(word) for word in protocol if _number(word)]
    if files and numbers:
        raise ScanError("--protocol takes numbers or sidecars, not both; leave out one of them")
    told, found = told_by(name, files) if files else ({}, ())
    if numbers and not model.varied:
        raise ScanError(f"nothing varies from image to image of {name}; leave out the numbers of --protocol")
    if varied or numbers:
        found = in_radians(model, varied or numbers)
    return found, {**told, **given_parameters(model, given, told)}


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def answer(question: Question) -> Answer:
    """The standard deviations that can be reached, sample by sample. ScanError for what cannot be meant."""
    images, model = images_of(question.model), entry(question.model)
    _check(question, images, model)
    unknown = _unknown(question, images)
    shown = [n for n in unknown if n != "m0" and MAPS.get(n) in model.produces]
    if not shown:
        raise ScanError(f"nothing of {question.model} is left to be found; know less beforehand (--known)")
    rows = [_reach(question, item, snr, shown) for item in question.samples.items() for snr in question.snrs]
    groups = [[r for r in rows if r.sample == sample] for sample in question.samples]
    warnings = [w for group in groups if (w := _warning(question, group)) is not None]
    return Answer(question, rows, warnings, {n: model.produces[MAPS[n]] for n in shown})


def _check(question: Question, images: Images, model: Model) -> None:
    if model.varied and not question.varied:
        raise ScanError(
            f"the {model.varied.replace('_', ' ')} are missing; give --{model.varied.replace('_', '-')}"
        )
    wrong = next((n for n in question.known if n not in images.truth), None)
    if wrong:
        raise ScanError(
            f"{wrong} is no value of {question.model}{nearest(wrong, images.truth)}; it has {_list(images)}"
        )
    bad = next((snr for snr in question.snrs if not snr > 0), None)
    if bad is not None:
        raise ScanError(f"an SNR of {bad:g} cannot be meant; give one above 0")
    for sample, truth in question.samples.items():
        name = next((n for n, v in truth.items() if not (v > 0 or n == "offset")), None)
        if name:
            raise ScanError(f"{sample}: {name} is {truth[name]:g}; give a value above 0")
        name = next((n for n, (most, _) in MOST_OF.items() if truth.get(n, 0) > most), None)
        if name:
            raise ScanError(f"{sample}: {name} is {truth[name]:g}; {MOST_OF[name][1]}")


def _unknown(question: Question, images: Images) -> list[str]:
    """What is to be found, of the truth."""
    told = {n for n in images.given if question.parameters.get(n) != "fitted"} | set(question.known)
    return [name for name in images.truth if name not in told]


def _reach(question: Question, item: tuple[str, Truth], snr: float, shown: Sequence[str]) -> Reach:
    name, truth = item
    noise = _noise(question, truth, snr)
    std = _deviations(question, truth, noise)
    found, status = _without_noise(question, truth)
    return Reach(
        name, truth, snr, {n: std[n] for n in shown}, {n: found[n] for n in shown if n in found}, status
    )


def _noise(question: Question, truth: Truth, snr: float) -> float:
    images = SIGNALS[question.model]
    if images.phases:
        return 1 / snr
    return float(np.max(np.abs(_signals(question, truth)))) / snr


def _signals(question: Question, truth: Mapping[str, Any], points: Doubles | None = None) -> Doubles:
    at = np.asarray(question.varied, np.float64) if points is None else points
    return SIGNALS[question.model].signals(at, truth, _all_parameters(question))


def _all_parameters(question: Question) -> dict[str, Any]:
    """Those that are given over the model's defaults."""
    return entry(question.model).method.resolve(question.parameters)


def _deviations(
    question: Question, truth: Truth, noise: float, points: Doubles | None = None
) -> dict[str, float]:
    """Cramér and Rao's bound of everything unknown."""
    images = SIGNALS[question.model]
    names = [*_unknown(question, images), *images.beside]

    def signal(values: Doubles) -> Doubles:
        return _signals(question, {**truth, **dict(zip(names, values.T, strict=True))}, points)

    values = np.array([[truth.get(n, 0.0) for n in names]])
    likelihood = str(question.parameters.get("likelihood", "gaussian"))
    return dict(zip(names, cramer_rao(signal, values, noise, likelihood)[0].tolist(), strict=True))


def _without_noise(question: Question, truth: Truth) -> tuple[dict[str, float], Status]:
    """What the model makes of its own images, and how that ends."""
    model, images = entry(question.model), SIGNALS[question.model]
    given = {n: v for n, v in question.parameters.items() if n != "likelihood"}
    if "b1" in truth and model.takes_b1 and "b1" not in _unknown(question, images):
        given["b1"] = np.array([truth["b1"]])
    positional = [question.varied] if model.varied else []
    made: Estimates = model.method.function(_signals(question, truth), *positional, **given)
    found = {n: float(made.maps[key][0][0]) for n, key in MAPS.items() if key in made.maps}
    return found, Status(int(made.status[0]))


def _warning(question: Question, rows: Sequence[Reach]) -> str | None:
    """A line for a sample that lies outside, in the words of its highest SNR that fails; None if it does not."""
    for row in sorted(rows, key=lambda r: -r.snr):
        reason = next(_reasons(question, row), None)
        if reason is not None:
            return f"{row.sample}: {reason}"
    return None


def _reasons(question: Question, row: Reach) -> Iterator[str]:
    first = next(iter(entry(question.model).produces))
    for name in (n for n in row.std if n in SOUGHT or MAPS[n] == first):
        if not np.isfinite(row.std[name]):
            yield (
                f"{word(name)} is not told by this protocol at any SNR; measure more different points, or give "
                "what is known beforehand (--known)"
            )
        elif row.relative(name) > MOST:
            yield (
                f"{word(name)} is told to {percent(row.relative(name))} at an SNR of {row.snr:g}"
                f"{_short(question, row, name)}; {_remedy(question, row, name)}"
            )
        elif row.status != Status.OK:
            yield (
                f"the fit gives no value even without noise ({row.status.name.lower().replace('_', ' ')}): "
                "it lies beyond what the model can tell; take another protocol or model"
            )
        elif abs(row.leaning(name)) > LEANS:
            yield (
                f"{word(name)} comes out {'+' if row.leaning(name) > 0 else ''}{percent(row.leaning(name))} off even "
                "without noise, where the model's approximation fails; take another protocol or model"
            )


def percent(share: float) -> str:
    """A share in words: 3.2 %, 140 %."""
    return f"{100 * share:.0f} %" if abs(share) > 0.1 else f"{100 * share:.2g} %"


def _short(question: Question, row: Reach, name: str) -> str:
    """That the points end before the time that is sought."""
    model = entry(question.model)
    timed = model.varied.endswith("times") and SIGNALS[question.model].more
    if name not in ("t1", "t2") or not timed or not question.varied:
        return ""
    longest = max(question.varied)
    words = model.varied.removesuffix("s").replace("_", " ")
    return (
        f": the longest {words}, {longest:g} s, is {longest / row.truth[name]:.2g} of it"
        if longest < row.truth[name]
        else ""
    )


def _remedy(question: Question, row: Reach, name: str) -> str:
    """What would help: the first of the images that could be added that helps about as much as any, and the SNR."""
    noise, value = _noise(question, row.truth, row.snr), row.truth[name]
    tried = [
        (words, _deviations(question, row.truth, noise, points)[name])
        for words, points in _more(question, value)
    ]
    least = min((std for _, std in tried), default=np.inf)
    enough = row.snr * row.relative(name) / MOST
    louder = f"an SNR of {enough:.0f} would do" if enough < LOUDEST else "no SNR that is to be had would do"
    if least > WORTH * row.std[name]:
        return louder
    words, std = next(pair for pair in tried if pair[1] <= ENOUGH * least)
    return f"{words} would make it {percent(std / abs(value))}, or {louder}"


def _more(question: Question, value: float) -> Iterator[tuple[str, Doubles]]:
    """The protocol with one more image, or with a longer train."""
    images, varied = SIGNALS[question.model], np.asarray(question.varied, np.float64)
    model = entry(question.model)
    if images.more == "train":
        for factor in (1.5, 2, 3, 4):
            count = round(factor * varied.size)
            yield f"a train of {count} echoes", varied[0] * np.arange(1, count + 1)
    elif images.more == "one" and in_degrees(model.varied):
        for angle in range(1, 91):
            yield f"one more image at {angle}°", np.append(varied, np.deg2rad(angle))
    elif images.more == "one" and model.varied == "b_values":
        for b in range(100, int(_all_parameters(question)["largest"]) + 1, 100):
            yield f"one more image at {b} s/mm²", np.append(varied, b)
    elif images.more == "one" and np.ndim(question.parameters.get("repetition_time", np.inf)) == 0:
        end = min(max(varied.max(), 5 * value), 0.999 * question.parameters.get("repetition_time", np.inf))
        for time in np.geomspace(varied.min() / 2, end, 60):
            yield f"one more image at {time:.2g} s", np.append(varied, time)


def _list(images: Images) -> str:
    return ", ".join(images.truth)


def word(name: str) -> str:
    """As people write it: T1, R2*, MTsat, FA."""
    if MAPS.get(name, "").endswith("_dwimap"):
        return name.upper()
    plain = MAPS.get(name, name).removesuffix("map").removeprefix("T" if name == "b1" else "")
    return plain.replace("star", "*")


def _value(model: str, name: str, value: float) -> str:
    unit = "s" if name in ("t1", "t2") else entry(model).produces.get(MAPS.get(name, ""), "1")
    return f"{word(name)} {value:.4g}{UNITS.get(unit, '')}"
