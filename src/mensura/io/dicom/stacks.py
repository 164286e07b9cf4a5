"""Frames → stacks: the slices that make one image, in order, repeated over time or not; and what is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.dicom.frames import Frame, Kind, Series

UNEVEN = 0.05
"""Part of the slice distance by which distances may differ; scanners round positions."""
STATED = {
    "echo_time": ("echo time", 1000.0, "ms"),
    "inversion_time": ("inversion time", 1000.0, "ms"),
    "repetition_time": ("repetition time", 1000.0, "ms"),
    "flip_angle": ("flip angle", 1.0, "°"),
}
"""What slices of one image must agree in, as it is told of."""


@dataclass(frozen=True, eq=False)
class Stack:
    """One image of a series: `times` volumes of slices, from the first slice on; `fault` says why it is unusable.

    `coil` is 1, 2 … where images of single coils lie in one series, else 0. `repeat` counts equal images. `home` is
    the place of a stack that this one, having lost slices, belongs to.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    fault: str = ""
    notes: tuple[str, ...] = ()
    coil: int = 0
    repeat: int = 0
    home: tuple[Any, ...] = ()

    @property
    def first(self) -> Frame:
        return self.volumes[0][0]

    @property
    def series(self) -> Series:
        return self.first.series

    @property
    def kind(self) -> Kind:
        return self.first.kind

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(frame for volume in self.volumes for frame in volume)

    @property
    def times(self) -> int:
        return len(self.volumes)

    @cached_property
    def b_values(self) -> tuple[float, ...]:
        """Of its volumes, s/mm²."""
        return tuple(volume[0].b_value for volume in self.volumes)

    @cached_property
    def place(self) -> tuple[Any, ...]:
        """What images of one set share: matrix, pixels and where they lie, to a hundredth of a millimetre or so."""
        if self.home:
            return self.home
        ends = [self.volumes[0][0], self.volumes[0][-1]]
        return (
            self.first.shape,
            len(self.volumes[0]),
            _rounded(self.first.spacing, 3),
            _rounded(self.first.orientation, 3),
            *(_rounded(frame.position, 1) for frame in ends),
        )

    @cached_property
    def key(self) -> str:
        """A name for the stack that stays the same when the files are read again: series number and digest."""
        from hashlib import blake2b

        told = (self.series.uid, *_apart(self.first), self.coil, self.repeat)
        return f"{self.series.number}-{blake2b(repr(told).encode(), digest_size=5).hexdigest()}"

    def affine(self) -> NDArray[np.float64]:
        """Column, row and slice of the DICOM image → mm in RAS axes, from positions and orientation alone."""
        return affine_of(self.volumes[0])


def affine_of(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """The slices of a volume, in order → column, row, slice → mm (RAS)."""
    first, last = frames[0], frames[-1]
    along_row, down_column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    step = np.cross(along_row, down_column)
    if len(frames) > 1:
        step = (np.array(last.position) - np.array(first.position)) / (len(frames) - 1)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * first.spacing[1], down_column * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, first.position
    return np.diag([-1.0, -1, 1, 1]) @ affine


def stacks_of(frames: Iterable[Frame]) -> tuple[list[Stack], list[str]]:
    """Frames → stacks, series by series in the order of their numbers, and what was noticed on the way."""
    kept, notes = _once(frames)
    groups: dict[Any, list[Frame]] = defaultdict(list)
    for frame in kept:
        groups[(id(frame.series), *_apart(frame))].append(frame)
    stacks = [stack for members in groups.values() for stack in _stacked(members)]
    stacks.sort(key=lambda s: (s.series.study, s.series.number, s.series.uid, _rank(s)))
    return _compared(stacks), notes


def _rank(stack: Stack) -> tuple[Any, ...]:
    first = stack.first
    values = (first.echo_time, first.inversion_time, first.flip_angle, first.repetition_time)
    return (*(value or 0.0 for value in values), stack.kind, stack.coil, stack.repeat, stack.key)


def _apart(frame: Frame) -> tuple[Any, ...]:
    """What tells the images of one series apart."""
    return (
        frame.kind,
        frame.echo_time,
        frame.inversion_time,
        frame.flip_angle,
        None if frame.repetition_time is None else round(frame.repetition_time, 5),
        frame.transfer,
        frame.corrected,
        frame.normalised,
        frame.image_type if frame.kind == "made" else (),
        frame.shape,
        _rounded(frame.spacing, 4),
        _rounded(frame.orientation, 3),
    )


def _rounded(values: Iterable[float], digits: int) -> tuple[float, ...]:
    return tuple(round(value, digits) + 0.0 for value in values)


def _once(frames: Iterable[Frame]) -> tuple[list[Frame], list[str]]:
    """Every instance once: a second copy of a file changes nothing."""
    seen: dict[tuple[Any, ...], str] = {}
    kept, twice = [], []
    for frame in frames:
        key = (frame.instance_uid, frame.number, frame.position, _apart(frame))
        if frame.instance_uid and key in seen:
            twice.append((frame.name, seen[key]))
        else:
            seen[key] = frame.name
            kept.append(frame)
    if not twice:
        return kept, []
    count, (name, other) = len(twice), twice[0]
    return kept, [f"{count} images are there twice and were taken once ({name} is the same as {other})"]


def _stacked(frames: list[Frame]) -> list[Stack]:
    """Frames that agree in all that is measured → one stack, or one for each coil."""
    normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
    places: dict[float, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda f: f.order):
        places[round(float(np.dot(frame.position, normal)), 2)].append(frame)
    columns = [places[depth] for depth in sorted(places)]
    counts = {len(column) for column in columns}
    if len(counts) > 1:
        most = max(counts)
        short = sum(len(column) < most for column in columns)
        fault = f"{short} of {len(columns)} slices lack images: some places have {min(counts)}, others {most}"
        return [Stack((tuple(column[0] for column in columns),), fault)]
    coils = list(dict.fromkeys(frame.coil for frame in columns[0]))
    if len(coils) == len(columns[0]) > 1:
        by_coil = [[[f for f in column if f.coil == coil] for column in columns] for coil in coils]
        return [_checked(columns, coil=n + 1) for n, columns in enumerate(by_coil)]
    return [_checked(columns)]


def _checked(columns: list[list[Frame]], coil: int = 0) -> Stack:
    if any(len(column) != len(columns[0]) or not column for column in columns):
        return Stack((tuple(column[0] for column in columns if column),), "coils differ from slice to slice")
    volumes = tuple(tuple(column[time] for column in columns) for time in range(len(columns[0])))
    return Stack(volumes, _gap(volumes[0]), _doubts(volumes), coil)


def _gap(frames: Sequence[Frame]) -> str:
    """What is wrong with the distances between slices, if anything."""
    if len(frames) < 3:
        return ""
    positions = np.array([frame.position for frame in frames])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > usual * (1 + UNEVEN))
    if wide.size:
        step, after = steps[wide[0]], frames[int(wide[0])]
        return (
            f"slices are missing: {step:.2f} mm after slice {wide[0] + 1} ({after.name}), elsewhere {usual:.2f} mm; "
            "export the series again"
        )
    if np.any(steps < usual * (1 - UNEVEN)):
        return f"slices lie unevenly ({steps.min():.2f} to {usual:.2f} mm apart)"
    return ""


def _doubts(volumes: Sequence[Sequence[Frame]]) -> tuple[str, ...]:
    slopes = {frame.scale_slope for volume in volumes for frame in volume}
    return ("scale slopes differ from slice to slice: each was applied",) if len(slopes) > 1 else ()


def _compared(stacks: list[Stack]) -> list[Stack]:
    """Stacks that have lost slices are known by others of their series, or their study, that have them all."""
    return [_at_home(stack, stacks) for stack in stacks]


def _at_home(stack: Stack, stacks: Sequence[Stack]) -> Stack:
    """The stack, with the place of the fullest stack that holds all its slices and more."""
    if stack.kind == "made":
        return stack
    contrary = _contrary(stack, stacks)
    stack = replace(stack, fault=contrary) if contrary else stack
    fuller = [
        other
        for other in stacks
        if _holds_more(other, stack) and (stack.fault or other.series is stack.series)
    ]
    if not fuller:
        return stack
    most = max(fuller, key=lambda other: len(other.volumes[0]))
    count, of = len(stack.volumes[0]), len(most.volumes[0])
    time = f" at an echo time of {1000 * stack.first.echo_time:g} ms" if stack.first.echo_time else ""
    fault = (
        f"{count} of {of} slices{time}: slices are missing, or their times differ from the others'; "
        "export the series again"
    )
    return replace(stack, fault=stack.fault or fault, home=most.place)


def _contrary(stack: Stack, stacks: Sequence[Stack]) -> str:
    """What some slices of a series state otherwise than the rest, so that they look like another image with the slices
    that are missing here; empty where there is no such thing."""
    found = [told for other in stacks if _complete(stack, other) for told in _told_otherwise(stack, other)]
    return min(found)[1] if found else ""


def _complete(stack: Stack, other: Stack) -> bool:
    """Whether two stacks of a series, of which one has gaps, make a whole one together."""
    one, two = ((s.series, s.kind, s.coil, s.times) for s in (stack, other))
    if other is stack or one != two or not (stack.fault or other.fault):
        return False
    normal = np.cross(stack.first.orientation[:3], stack.first.orientation[3:])
    both = sorted(
        (*stack.volumes[0], *other.volumes[0]), key=lambda frame: float(np.dot(frame.position, normal))
    )
    return len(both) > 2 and not _gap(both)


def _told_otherwise(stack: Stack, other: Stack) -> list[tuple[float, str]]:
    """By how much two stacks differ in what images of one series must agree in, and the words for it."""
    few, rest = sorted((stack, other), key=lambda one: len(one.volumes[0]))
    count, of = len(few.volumes[0]), len(few.volumes[0]) + len(rest.volumes[0])
    found = []
    for field, (name, scale, unit) in STATED.items():
        odd, usual = ((getattr(one.first, field) or 0.0) * scale for one in (few, rest))
        if odd != usual:
            told = f"{count} of {of} slices, such as {few.first.name}, state the {name} {odd:g} {unit}"
            found.append((abs(odd - usual), f"{told}, the others {usual:g} {unit}; export the series again"))
    return found


def _holds_more(other: Stack, stack: Stack) -> bool:
    a, b = other.first, stack.first
    if len(other.volumes[0]) <= len(stack.volumes[0]) or other.series.study != stack.series.study:
        return False
    if (
        a.shape != b.shape
        or other.kind == "made"
        or _rounded((*a.orientation, *a.spacing), 3) != _rounded((*b.orientation, *b.spacing), 3)
    ):
        return False
    there = {_rounded(frame.position, 1) for frame in other.volumes[0]}
    return all(_rounded(frame.position, 1) in there for frame in stack.volumes[0])


def repeated(stack: Stack) -> list[Stack]:
    """A stack of several volumes that are no series in time → one stack for each."""
    if stack.times == 1:
        return [stack]
    return [replace(stack, volumes=(volume,), repeat=n + 1) for n, volume in enumerate(stack.volumes)]
