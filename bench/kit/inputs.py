"""What each method is given: the truth, or what the defaults of all stages before it made of the wrapped phase."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from mensura.methods import Stage, call
from mensura.phantom.simulation import Simulation
from mensura.phantom.tissues import Label
from mensura.pipeline.config import stages
from mensura.scan import FloatArray, Volume

TWO_PI = 2 * np.pi
Artifacts = dict[str, Any]


def order(table: Mapping[str, Stage]) -> list[str]:
    """The stages, each after those that make what it consumes; otherwise as in the table."""
    left, done, found = list(table), [], {"phase", "magnitude", "echo_times", "hz_per_ppm"}
    while left:
        waits_for = {
            name: {a for other in left if other != name for a in table[other].produces} - found
            for name in left
        }
        ready = next((n for n in left if not waits_for[n] & set(table[n].consumes)), left[0])
        left.remove(ready)
        done.append(ready)
        found |= set(table[ready].produces)
    return done


def upstream(stage: str) -> list[str]:
    """The stages whose results `stage` builds on; a span (background+dipole) takes the place of its parts."""
    ordered, table = order(stages()), stages()
    before = [name for name in ordered[: ordered.index(stage)] if stage not in name.split("+")]
    replaced = {part for name in (*before, stage) if "+" in name for part in name.split("+")}
    needed, found = set(table[stage].consumes), []
    for name in reversed([name for name in before if name not in replaced]):
        if needed & set(table[name].produces):
            needed |= set(table[name].consumes)
            found.append(name)
    return found[::-1]


class Source(ABC):
    """Where a stage's inputs come from: `given(stage)` → artifacts by name."""

    name: str

    def __init__(self, scan: Simulation) -> None:
        self.scan = scan

    @cached_property
    def measured(self) -> Artifacts:
        """What a scanner would deliver, and a reference region that a user would bring: all fluid in the brain."""
        scan = self.scan
        return {
            "phase": volume(scan, scan.phase, "rad"),
            "magnitude": volume(scan, scan.magnitude, "arbitrary"),
            "reference_region": volume(scan, (scan.labels == Label.CSF) & scan.mask, "1"),
            "echo_times": scan.acquisition.echo_times,
            "hz_per_ppm": scan.acquisition.hz_per_ppm,
        }

    @cached_property
    def noise(self) -> FloatArray:
        """Smallest possible standard deviation of the field (ppm): σ / (2π √Σ(magnitude·TE)²)."""
        lever = np.sqrt(((self.measured["magnitude"].data * times(self.scan)) ** 2).sum(axis=-1))
        scale = self.scan.sigma / (TWO_PI * self.scan.acquisition.hz_per_ppm)
        return np.asarray(scale / np.maximum(lever, 1e-6 * lever.max()), np.float32)

    def given(self, stage: str) -> Artifacts:
        """The measured images and what the stages before made of them, as far as the stage consumes them."""
        found = dict(self.measured)
        for before in upstream(stage):
            found |= self.made(before)
        return {name: value for name, value in found.items() if name in stages()[stage].consumes}

    @abstractmethod
    def made(self, stage: str) -> Artifacts:
        """What the stages after `stage` get of it."""

    @abstractmethod
    def chi_error(self) -> FloatArray:
        """The error of χ (ppm) that its foretold standard deviation is to be compared with."""


class Truth(Source):
    """Inputs as they would be if no stage before had made an error."""

    name = "true"

    @cached_property
    def artifacts(self) -> Artifacts:
        """What every stage should make, by artifact; the phase is the measured one, noise and all."""
        scan, inside = self.scan, self.scan.mask
        phase = wrapped(self.measured["phase"].data - scan.phase_offset[..., None])
        predicted = TWO_PI * scan.acquisition.hz_per_ppm * scan.total_field[..., None] * times(scan)
        unwrapped = phase + TWO_PI * np.rint((predicted - phase) / TWO_PI)
        found = {
            "mask": (inside, "1"),
            "phase": (phase, "rad"),
            "unwrapped_phase": (unwrapped, "rad"),
            "total_field": (scan.total_field, "ppm"),
            "field_std": (self.noise, "ppm"),
            "field_error": (self.noise, "ppm"),
            "local_field": (scan.local_field, "ppm"),
            "chi": (scan.chi, "ppm"),
            "r2star": (scan.r2star, "1/s"),
        }
        return {name: volume(scan, within(data, inside), unit) for name, (data, unit) in found.items()}

    def given(self, stage: str) -> Artifacts:
        """As for every source, but a true field comes without a standard deviation, for it has none."""
        found = super().given(stage)
        exact = {"total_field", "local_field"} & set(found) and stage != "uncertainty"
        without = {"field_std"} if exact else set()
        return {name: value for name, value in found.items() if name not in without}

    def made(self, stage: str) -> Artifacts:
        return {name: self.artifacts[name] for name in stages()[stage].produces if name in self.artifacts}

    def chi_error(self) -> FloatArray:
        """What noise in the total field does to χ (ppm), by the default way from field to χ."""
        stage, true = chi_stage(), self.artifacts["total_field"]
        known = {**super().given(stage), "field_std": self.artifacts["field_std"]}
        noise = np.random.default_rng(0).standard_normal(true.data.shape).astype(np.float32)
        noisy = Volume(true.data + noise * known["field_std"].data, true.grid, true.unit)
        clean, shaken = (by_default(stage, {**known, "total_field": field}) for field in (true, noisy))
        return np.asarray(shaken["chi"].data - clean["chi"].data)


class Chain(Source):
    """Inputs made from the wrapped phase by the default method of every stage before."""

    name = "chain"

    def __init__(self, scan: Simulation) -> None:
        super().__init__(scan)
        self._made: dict[str, Artifacts] = {}

    def made(self, stage: str) -> Artifacts:
        if stage not in self._made:
            self._made[stage] = by_default(stage, self.given(stage))
        return self._made[stage]

    def keep(self, stage: str, outputs: Artifacts) -> None:
        """Remembers what the default method was seen to make."""
        self._made[stage] = outputs

    def chi_error(self) -> FloatArray:
        """χ less the truth (ppm), the free constant taken out: noise and all other errors together."""
        error = self.made(chi_stage())["chi"].data - self.scan.chi
        return np.asarray(error - np.nanmedian(error[self.scan.mask]))


def chi_stage() -> str:
    """The stage that makes χ when every stage is done in its default way."""
    return next(name for name in reversed(upstream("uncertainty")) if "chi" in stages()[name].produces)


def by_default(stage: str, given: Artifacts) -> Artifacts:
    """The stage done by its default method."""
    return dict(apply(stage, stages()[stage].default, given))


def apply(stage: str, method: str, given: Artifacts) -> dict[str, Volume]:
    """The stage done by a method with its default parameters."""
    return call(stages()[stage], method, given)


def wrapped(angle: FloatArray) -> FloatArray:
    """Angles → the same angles in ±π."""
    return np.asarray(angle - TWO_PI * np.rint(angle / TWO_PI), np.float32)


def times(scan: Simulation) -> FloatArray:
    return np.asarray(scan.acquisition.echo_times, np.float32)


def within(data: Any, mask: Any) -> Any:
    """An image with zeros outside the mask."""
    return np.where(mask if data.ndim == 3 else mask[..., None], data, np.zeros((), data.dtype))


def volume(scan: Simulation, data: Any, unit: str) -> Volume:
    """An array as a volume on the scan's grid: bool, or float32."""
    return Volume(data if data.dtype == bool else np.ascontiguousarray(data, np.float32), scan.grid, unit)
