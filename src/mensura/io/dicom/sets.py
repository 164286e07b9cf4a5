"""Stacks → sets: what was measured to be used together, whatever series its images lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mensura.io.dicom.headers import ANGLES
from mensura.io.dicom.stacks import Stack, repeated

Words = frozenset[str]


@dataclass(frozen=True)
class Family:
    """A kind of sequence: how it is told from scan words and names, and what may vary within a set of it."""

    name: str
    test: Callable[[Stack], bool]
    varies: tuple[str, ...] = ()
    timed: bool = False


def _words(*needed: str, without: Iterable[str] = ()) -> Callable[[Stack], bool]:
    return lambda s: set(needed) <= s.series.words and not set(without) & s.series.words


def _inverted(stack: Stack) -> bool:
    return stack.first.inversion_time is not None and (
        "IR" in stack.series.words or "tfl" in stack.series.sequence
    )


def _spin_echo_planar(stack: Stack) -> bool:
    """Siemens writes EP for both kinds of echo, and tells them apart by its name of the sequence."""
    return "EP" in stack.series.words and ("SE" in stack.series.words or "epse" in stack.series.sequence)


FAMILIES = (
    Family("localizer", lambda s: "LOCALIZER" in s.first.image_type),
    Family("field map in Hz", lambda s: s.kind == "field" or "b0map" in s.series.sequence),
    Family("scanner's own map", lambda s: s.kind == "made"),
    Family("stimulated echo", lambda s: "seste" in s.series.sequence, ("echo_time", "repeat")),
    Family("diffusion", lambda s: max(s.b_values) > 0 or "DIFFUSION" in s.first.image_type, timed=True),
    Family("spin echo planar", _spin_echo_planar, ("direction",), timed=True),
    Family("echo planar", _words("EP"), timed=True),
    Family(
        "inversion gradient echo",
        lambda s: _inverted(s) and "GR" in s.series.words,
        ("inversion_time", "flip_angle"),
    ),
    Family("inversion spin echo", lambda s: _inverted(s) and "GR" not in s.series.words, ("inversion_time",)),
    Family("spin echo", _words("SE", without=["GR"]), ("echo_time",)),
    Family("balanced", _words("GR", "SS", without=["SP"])),
    Family(
        "gradient echo", _words("GR"), ("echo_time", "flip_angle", "transfer", "repetition_time"), timed=True
    ),
    Family("unknown", lambda s: True),
)
"""Tried from the top; names of protocols play no part."""
REPEAT, DIRECTION = "repeat", "direction"
VARIED = ("echo_time", "inversion_time", "flip_angle", "transfer", "repetition_time", DIRECTION)


@dataclass(frozen=True, eq=False)
class Set:
    """Images that belong together: what the rules look at. `run` counts equal sets, `rec` tells corrections apart."""

    family: Family
    stacks: tuple[Stack, ...]
    run: int = 0
    rec: str = ""
    notes: tuple[str, ...] = ()

    def values(self, field: str, kind: str | None = None) -> list[Any]:
        """The different values of what is varied, in order; of images of one kind if asked for."""
        found = {value_of(s, field) for s in self.stacks if kind is None or s.kind == kind}
        return sorted(value for value in found if value is not None)

    def count(self, field: str) -> int:
        return len(self.values(field))

    @property
    def kinds(self) -> set[str]:
        return {stack.kind for stack in self.stacks}

    @property
    def first(self) -> Stack:
        return self.stacks[0]

    @property
    def times(self) -> int:
        return max(stack.times for stack in self.stacks)

    @property
    def has_phase(self) -> bool:
        return "phase" in self.kinds or {"real", "imag"} <= self.kinds


def value_of(stack: Stack, field: str) -> Any:
    """What was varied, of one image: of its frames or series, or the how-manieth of equal images it is."""
    if field == DIRECTION:
        return stack.series.direction or None
    return stack.repeat if field == REPEAT else getattr(stack.first, field)


def family_of(stack: Stack) -> Family:
    return next(family for family in FAMILIES if family.test(stack))


def sets_of(stacks: Sequence[Stack]) -> list[Set]:
    """The stacks of one session → sets, in the order of the series.

    Images of one family and place, equal in all that the family does not vary, belong together until one would
    be there twice. Corrections (ND, DIS2D, normalised) that a scanner stores side by side make two sets; those
    that replace one another stay one set, with a note.
    """
    buckets: dict[Hashable, list[Stack]] = defaultdict(list)
    for stack in stacks:
        family = family_of(stack)
        for one in [stack] if family.timed else repeated(stack):
            buckets[_bucket(one, family, stacks)].append(one)
    made = [one for members in buckets.values() for one in _divided(family_of(members[0]), members)]
    made = _with_magnitudes(made)
    made.sort(key=lambda one: (one.first.series.number, one.first.coil, one.first.key))
    return _with_differences(made)


def _bucket(stack: Stack, family: Family, stacks: Sequence[Stack]) -> Hashable:
    """What all stacks of a set share."""
    series = stack.series
    together = (family.varies and stack.times == 1) or family.name in ("field map in Hz", "spin echo planar")
    alone = () if together else (series.uid, stack.first.image_type)
    fixed = tuple((name, _fixed(stack, name, stacks)) for name in VARIED if name not in _free(family))
    return (family.name, stack.place, series.dimensions, series.sequence.rstrip("0123456789"), stack.coil,
            stack.times, fixed, alone)  # fmt: skip


def _with_magnitudes(sets: Sequence[Set]) -> list[Set]:
    """Sets; a map of angles or B0 together with the magnitude image of the same scan, the nearest by its series."""
    free = [one for one in sets if len(one.stacks) == 1 and one.kinds == {"mag"}]
    beside: dict[int, Stack] = {}
    for one in filter(_mapped, sets):
        alike = [s for s in free if _same_scan(s.first, one.first)]
        if alike:
            near = min(alike, key=lambda s: abs(s.first.series.number - one.first.series.number))
            free.remove(near)
            beside[id(one)] = near.first
    taken = set(map(id, beside.values()))
    return [
        replace(one, stacks=(*one.stacks, beside[id(one)])) if id(one) in beside else one
        for one in sets
        if id(one.first) not in taken
    ]


def _mapped(one: Set) -> bool:
    """Whether a set is one map of flip angles or of B0 alone."""
    words = {ANGLES, "B0", "B0 MAP"}
    return (
        len(one.stacks) == 1
        and one.kinds <= {"made", "field"}
        and bool(words & set(one.first.first.image_type))
    )


def _same_scan(one: Stack, other: Stack) -> bool:
    """Whether two images have place, sequence, angle and repetition time in common."""
    first, second = one.first, other.first
    told = (first.flip_angle, first.repetition_time) == (second.flip_angle, second.repetition_time)
    same = (one.times, one.series.study, one.series.sequence) == (
        other.times,
        other.series.study,
        other.series.sequence,
    )
    return told and same and one.place == other.place


def _free(family: Family) -> tuple[str, ...]:
    """What may differ within a set. Repetition times of inversion recoveries follow the inversion times; those of
    gradient echoes may differ within one series only (actual flip angle imaging)."""
    if family.name == "gradient echo":
        return ("echo_time", "flip_angle", "transfer")
    return (*family.varies, *(("repetition_time",) if "inversion" in family.name else ()))


def _fixed(stack: Stack, name: str, stacks: Sequence[Stack]) -> Any:
    if name != "repetition_time":
        return value_of(stack, name)
    same = {value_of(s, name) for s in stacks if s.series is stack.series}
    return tuple(sorted(round(value or 0.0, 4) for value in same))


def _divided(family: Family, stacks: Sequence[Stack]) -> list[Set]:
    """Stacks of one bucket → sets in which no image is there twice."""
    echoes = _by_echo_times(family, stacks)
    return [one for members in echoes for one in _by_correction(family, members)]


def _by_echo_times(family: Family, stacks: Sequence[Stack]) -> list[list[Stack]]:
    """Gradient echoes whose series have the same echo times; a phase at one of another's times stays with it, and
    series of one echo each belong together."""
    if "echo_time" not in family.varies or family.name == "spin echo":
        return [list(stacks)]
    groups: dict[tuple[Any, ...], list[Stack]] = defaultdict(list)
    for stack in stacks:
        alike = [s for s in stacks if s.series is stack.series and s.kind == stack.kind]
        groups[tuple(sorted({s.first.echo_time or 0.0 for s in alike}))].append(stack)
    whole: dict[tuple[Any, ...], list[Stack]] = {}
    for times in sorted(groups, key=len, reverse=True):
        kinds = {s.kind for s in groups[times]}
        host = next((t for t in whole if set(times) < set(t)), None) if kinds == {"phase"} else None
        whole.setdefault(host or times, []).extend(groups[times])
    alone = [times for times in whole if len(times) == 1]
    if len(alone) > 1:
        whole[()] = [stack for times in alone for stack in whole.pop(times)]
    return list(whole.values())


def _by_correction(family: Family, stacks: Sequence[Stack]) -> list[Set]:
    """Sets for each way of correction where these repeat the same images; one set where they complete each other."""
    ways: dict[str, list[Stack]] = defaultdict(list)
    for stack in stacks:
        ways[correction(stack)].append(stack)
    slots = [{_slot(stack) for stack in members} for members in ways.values()]
    if len(ways) > 1 and any(a & b for n, a in enumerate(slots) for b in slots[:n]):
        return [one for way, members in ways.items() for one in _runs(family, members, way)]
    return _runs(family, list(stacks), "")


def correction(stack: Stack) -> str:
    """The images' corrections as a label: ND, DIS2D, DIS2DNORM …; empty where nothing is stated."""
    return stack.first.corrected + ("NORM" if stack.first.normalised else "")


def _slot(stack: Stack, counted: bool = False) -> tuple[Any, ...]:
    """The place of an image in its set; `counted`: equal images have places of their own."""
    return (stack.kind, stack.coil, stack.first.image_type if stack.kind == "made" else (),
            stack.repeat if counted else 0, *(value_of(stack, name) for name in VARIED))  # fmt: skip


def _runs(family: Family, stacks: list[Stack], rec: str) -> list[Set]:
    """Fills a set until an image would be in it twice; then the next begins."""
    runs: list[dict[Any, Stack]] = []
    for stack in sorted(stacks, key=lambda s: (s.repeat, s.series.number)):
        counted = REPEAT in family.varies
        slot = _slot(stack, counted)
        room = next((r for r in runs if slot not in r and (counted or not _began_anew(r, stack))), None)
        if room is None:
            runs.append(room := {})
        room[slot] = stack
    numbered = [((n + 1 if len(runs) > 1 else 0, len(runs[0])), run) for n, run in enumerate(runs)]
    return [_run(family, [s for s in stacks if s in run.values()], rec, place) for place, run in numbered]


def _run(family: Family, stacks: Sequence[Stack], rec: str, place: tuple[int, int]) -> Set:
    """One of several runs, by its place among them and the size of the first."""
    number, most = place
    short = (
        "some images of the run before are there again, as of a scan that was repeated or exported twice",
    )
    return Set(family, tuple(stacks), number, rec, short if number > 1 and len(stacks) < most else ())


def _began_anew(run: Mapping[Any, Stack], stack: Stack) -> bool:
    """Whether a stack's series has already begun a later run, so that it must not fill an earlier one; what is there
    once is of the first run."""
    return bool(run) and max(stack.repeat, 1) not in {max(other.repeat, 1) for other in run.values()}


def _with_differences(sets: list[Set]) -> list[Set]:
    return [replace(one, notes=(*one.notes, *differences(one))) for one in sets]


def differences(one: Set) -> tuple[str, ...]:
    """What makes the images of a set hard to compare."""
    found = []
    if len({s.first.corrected for s in one.stacks if s.kind != "made"}) > 1:
        ways = " and ".join(sorted({s.first.corrected or "not stated" for s in one.stacks}))
        found.append(f"MIXED distortion correction ({ways}): images do not lie on one another")
    if len({s.first.normalised for s in one.stacks if s.kind == "mag"}) > 1:
        found.append("MIXED normalisation (NORM and without): signals cannot be compared")
    coils = {s.first.coil for s in one.stacks if s.first.coil and not s.coil}
    if len(coils) > 1:
        found.append(f"receive coils differ ({', '.join(sorted(coils))})")
    return tuple(found)
