"""What of a BIDS dataset can be processed, what stands in the way, and what its protocol is to be minded for.

Names, sidecars and headers are read, and of a gradient echo the first phase image; nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from mensura.io import bids, nifti
from mensura.io.acquisition import merge
from mensura.io.bids_series import ImageSeries
from mensura.io.dicom.sidecar import CORRECTIONS
from mensura.io.phase_scale import to_radians
from mensura.pipeline import dataset_fits, fit_rules
from mensura.qmri.models import MODELS
from mensura.scan import GradientEcho, Grid, ScanError

Level = Literal["good", "look", "bad"]
Record = Mapping[str, Any]
STEEP = 0.1
"""ppm/mm: how steep the field becomes in the brain, above the sinuses (about 300 µT/m at 3 T)."""
FAINT_PHASE = 0.5
"""rad that 0.1 ppm should make by the last echo."""
NONLINEARITY = {"none": "none", "2D": "in the plane", "3D": "in all directions"}
"""How sidecars of `mensura convert` say that the gradients' nonlinearity was corrected."""


@dataclass(frozen=True)
class Finding:
    """A sentence: all is well, worth a look, or in the way."""

    level: Level
    text: str


@dataclass(frozen=True, eq=False)
class Acquisition:
    """One run or series: what it makes, what was found, and the record and grid that its table is made of."""

    name: str
    makes: tuple[str, ...]
    findings: tuple[Finding, ...]
    record: Record = field(default_factory=dict)
    grid: Grid | None = None
    gradient_echo: bool = False

    @property
    def usable(self) -> bool:
        return all(finding.level != "bad" for finding in self.findings)


def acquisitions(
    dataset: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()
) -> list[Acquisition]:
    """A BIDS dataset → everything in it that `mensura run` looks at. ScanError where there is nothing.

    A file that cannot be read is a finding of its subject.
    """
    root, found = dataset.absolute(), list[Acquisition]()
    folders = bids.session_folders(root, participants, sessions)
    names = dict.fromkeys(
        part for folder in folders for part in folder.relative_to(root).parts if part.startswith("sub-")
    )
    for name in names:
        try:
            found += _of_subject(root, name, sessions)
        except ScanError as error:
            found.append(Acquisition(name, (), (Finding("bad", str(error)),)))
    if not found:
        known = ", ".join([*(s for suffixes in bids.SUFFIXES.values() for s in suffixes), *fit_rules.RULES])
        raise ScanError(f"{dataset} holds nothing that can be mapped ({known}); check the file names")
    return found


def _of_subject(root: Path, name: str, sessions: Sequence[str]) -> list[Acquisition]:
    runs = bids.every_run(root, participants=[name], sessions=sessions)
    series = dataset_fits.find(root, [name], sessions)
    fields = {one.place for one in series if one.suffix.startswith("TB1")}
    fitted = [_series(one, one.place in fields) for one in series if one.suffix in fit_rules.RULES]
    return [*(_run(run) for run in runs if not run.decay_alone), *fitted]


def _run(run: bids.MultiEchoRun) -> Acquisition:
    """A gradient echo: what keeps it from being mapped, else how it suits."""
    name, makes = run.full_name, ("Chimap", "R2starmap", "T2starmap", "fieldmap")
    record = merge([bids.sidecar_of(run.dataset, path) for path in run.files])
    try:
        acquisition, doubts = bids.acquisition_of(run)
        grid = _one_grid(run.files)
        _check_phase(run)
    except ScanError as error:
        return Acquisition(name, makes, (Finding("bad", str(error)), *_absent(record)), record, None, True)
    told = {**record, "EchoTime": list(acquisition.echo_times), "Readout": acquisition.readout}
    found = [Finding("look", doubt) for doubt in doubts]
    for judge in JUDGES:
        found += judge(acquisition, told, grid)
    found += [*_absent(record), *_filters([bids.sidecar_of(run.dataset, path) for path in run.files])]
    made = makes if len(acquisition.echo_times) > 1 else ("Chimap", "fieldmap")
    return Acquisition(name, made, tuple(found), told, grid, True)


def _one_grid(paths: Sequence[Path]) -> Grid:
    """The grid that all images share; ScanError names one that differs."""
    first = nifti.read_grid(paths[0])
    for path in paths[1:]:
        if nifti.read_shape(path)[:3] != first.shape:
            raise ScanError(f"{path} has another shape than {paths[0].name}; give images of one scan")
    return first


def _check_phase(run: bids.MultiEchoRun) -> None:
    if run.phase:
        to_radians(nifti.read(run.phase[0]), bids.sidecar_of(run.dataset, run.phase[0]))


def _unwrapping(acquisition: GradientEcho, record: Record, grid: Grid) -> list[Finding]:
    """Whether phase steps between neighbours stay below half a turn where the field is steep."""
    times = acquisition.echo_times
    spans = {"the first echo": times[0]}
    if len(times) > 1:
        spans["the longest echo spacing"] = max(b - a for a, b in pairwise(times))
    steepest = STEEP * max(grid.voxel_size)
    found = []
    for what, span in spans.items():
        limit = 1 / (2 * span * acquisition.hz_per_ppm)
        words = (
            f"{what} ({span * 1e3:.3g} ms at {acquisition.field_strength:g} T) bears steps of {limit:.2g} ppm"
        )
        if limit < steepest:
            text = f"{words} between voxels, but near air they reach {steepest:.2g} ppm: wraps may stay there"
            found.append(Finding("look", text))
        else:
            found.append(Finding("good", f"{words} between voxels: it can be unwrapped"))
    return found


def _last_echo(acquisition: GradientEcho, record: Record, grid: Grid) -> list[Finding]:
    phase = 2 * math.pi * acquisition.hz_per_ppm * 0.1 * acquisition.echo_times[-1]
    words = f"0.1 ppm makes {phase:.2g} rad by the last echo ({acquisition.echo_times[-1] * 1e3:.3g} ms)"
    return [Finding("look", f"{words}, which is little: χ will be noisy")] if phase < FAINT_PHASE else []


def _readout(acquisition: GradientEcho, record: Record, grid: Grid) -> list[Finding]:
    count = len(acquisition.echo_times)
    if count < 2:
        return []
    if acquisition.readout == "monopolar":
        return [Finding("good", "the readout is monopolar")]
    if acquisition.readout == "bipolar":
        text = "the readout is bipolar: even and odd echoes are brought together, but are distorted to opposite sides"
        return [Finding("look", text)]
    how = "the phase will tell" if count > 2 else "two echoes cannot tell; ask the protocol"
    return [
        Finding("look", f"whether the readout is monopolar or bipolar is not recorded (ReadoutMode): {how}")
    ]


def _sampling(acquisition: GradientEcho, record: Record, grid: Grid) -> list[Finding]:
    """What blurs the images or leaves gaps."""
    found = []
    factor = record.get("PartialFourier")
    if isinstance(factor, int | float) and factor < 1:
        way = str(record.get("PartialFourierDirection", ""))
        echo = any(word in way.upper() for word in ("READ", "FREQ"))
        what = "partial echo" if echo else "partial Fourier"
        found.append(
            Finding(
                "look",
                f"{what} of {factor:g} {way.lower()}".rstrip() + ": phase is blurred where it is steep",
            )
        )
    gap = _numbers(record, "SpacingBetweenSlices", "SliceThickness")
    if gap and gap[0] > 1.01 * gap[1]:
        found.append(
            Finding("look", f"gaps of {gap[0] - gap[1]:.2g} mm between slices: χ takes them for tissue")
        )
    if record.get("MRAcquisitionType") == "2D":
        found.append(Finding("look", "slices were excited one by one (2D): the phase may jump between them"))
    return found


def _numbers(record: Record, *keys: str) -> list[float]:
    """All of these fields as numbers, or none."""
    values = [record.get(key) for key in keys]
    return (
        [float(v) for v in values if isinstance(v, int | float)]
        if all(isinstance(v, int | float) for v in values)
        else []
    )


JUDGES: tuple[Callable[[GradientEcho, Record, Grid], list[Finding]], ...] = (
    _unwrapping,
    _last_echo,
    _readout,
    _sampling,
)

PREVENTS = {
    "EchoTime": "no field, no R2*, no χ",
    "MagneticFieldStrength": "no field in ppm, no χ",
    "RepetitionTime": "saturation cannot be judged; a paper must state it",
    "FlipAngle": "saturation cannot be judged",
    "Manufacturer": "how phase is coded is told by its values alone; a paper must state it",
    "PixelBandwidth|ReceiverBandwidth|BandwidthPerPixel": "chemical shift and distortion cannot be judged",
}
"""What a field of a gradient echo's sidecar is for; of several, one does."""


def _absent(record: Record) -> list[Finding]:
    """What each missing field of a gradient echo prevents; those without which nothing goes are in the way."""
    needed = ("EchoTime", "MagneticFieldStrength")
    return [
        Finding("bad" if keys in needed else "look", f"{keys.replace('|', ' or ')} is missing: {what}")
        for keys, what in PREVENTS.items()
        if all(record.get(key) in (None, "", []) for key in keys.split("|"))
    ]


def _filters(records: Sequence[Record]) -> Iterator[Finding]:
    """Distortion correction and normalisation, as told, and whether all images had the same."""
    corrected = {_correction(record) for record in records}
    if corrected == {""}:
        text = (
            "whether the gradients' nonlinearity was corrected is not recorded (NonlinearGradientCorrection)"
        )
        yield Finding("look", f"{text}: sizes and flip angles far from the centre cannot be judged")
    elif len(corrected) > 1:
        listed = ", ".join(sorted(word or "not recorded" for word in corrected))
        yield Finding(
            "look", f"the images differ in the correction of the gradients' nonlinearity ({listed})"
        )
    else:
        yield Finding("good", f"correction of the gradients' nonlinearity: {corrected.pop()}")
    normalised = {"NORM" in _image_type(record) for record in records if _image_type(record)}
    if len(normalised) > 1:
        yield Finding(
            "look", "some images are normalised (NORM) and some are not: their ratios are not the tissue's"
        )
    elif normalised == {True}:
        yield Finding("look", "the magnitude is normalised (NORM): its noise differs from place to place")


def _correction(record: Record) -> str:
    """How the gradients' nonlinearity was corrected, in words; "" where it is not told."""
    stored = [kind for word, kind in CORRECTIONS.items() if word in _image_type(record)]
    kinds = [str(record.get("GradientDistortionCorrection")), *stored]
    kinds = [NONLINEARITY[kind] for kind in kinds if kind in NONLINEARITY]
    told = record.get("NonlinearGradientCorrection")
    return kinds[0] if kinds else "" if told is None else ("applied" if told else "none")


def _image_type(record: Record) -> Sequence[str]:
    kind = record.get("ImageType", ())
    return (
        [str(part).upper() for part in kind]
        if isinstance(kind, Sequence) and not isinstance(kind, str)
        else []
    )


def _series(series: ImageSeries, has_field: bool) -> Acquisition:
    """A series for a model: what keeps it from being fitted, else how it suits."""
    rule, hindered = fit_rules.suited(series)
    model = MODELS.get(rule.model)
    record, makes = _together(series.sidecars), tuple(model.produces) if model else (rule.model,)
    found = list(_lacking(series, rule, makes))
    if hindered and not any(finding.level == "bad" for finding in found):
        found.insert(0, Finding("bad", hindered))
    try:
        grid = _one_grid(series.images)
    except ScanError as error:
        return Acquisition(series.name, makes, (Finding("bad", str(error)), *found), record)
    if model and model.takes_b1 and not has_field and "TB1map" not in makes:
        text = "there is no B1 map in the session: flip angles are taken as nominal, and the map leans by their error"
        found.append(Finding("look", text))
    if series.suffix in bids.SUFFIXES["anat"]:
        text = "there is no phase: R2* is made, but no susceptibility; a field map frees it of the field's gradient"
        found.append(Finding("look", text))
    found += _filters(series.sidecars)
    return Acquisition(series.name, makes, tuple(found), record, grid)


def _lacking(series: ImageSeries, rule: fit_rules.Rule, makes: Sequence[str]) -> Iterator[Finding]:
    """What each missing field of a series prevents."""
    needed = dict.fromkeys([rule.varies, *rule.parameters.values(), *rule.order])
    total = len(series.sidecars)
    for told in dict.fromkeys(key.removeprefix("-") for key in needed if key):
        keys = told.removesuffix("?").split("|")
        missing = sum(all(record.get(key) is None for key in keys) for record in series.sidecars)
        if not missing:
            continue
        words = f"{' or '.join(keys)} is missing in {missing} of {total} sidecars"
        if told.endswith("?"):
            yield Finding("look", f"{words}: the model {rule.model} does without it")
        else:
            yield Finding("bad", f"{words}: no {', '.join(makes)}")


def _together(records: Sequence[Record]) -> dict[str, Any]:
    """Sidecars of a series → one record; what differs from image to image becomes a list."""
    found: dict[str, Any] = {}
    for key, value in merge(records).items():
        values = [record.get(key) for record in records]
        found[key] = value if all(one == value for one in values) or isinstance(value, list) else values
    return found
