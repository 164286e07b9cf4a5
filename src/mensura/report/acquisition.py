"""The acquisition table that the QSM consensus asks for (its Tables 3 and 4), from what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mensura.report.orient import describe_orientation
from mensura.report.text import number, plain
from mensura.scan import Grid

NO_FIELD_FOR = (
    "k-space trajectory, flow compensation, partial echo, elliptical shutter and phase stabilisation have no "
    "field in BIDS: take them from the protocol."
)

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """An item of the table: its value (None: not recorded), and whether a paper must state it."""

    item: str
    value: str | None
    essential: bool = False


def acquisition_rows(record: Record, grid: Grid | None) -> list[Row]:
    """The recorded acquisition and the maps' grid → the rows of the table."""
    return [Row(item, found(record, grid), essential) for item, essential, found in ITEMS]


def echo_summary(times: Sequence[float]) -> str:
    """Echo times in s → "4 echoes, TE = 4:8:28 ms" (first : spacing : last), or all if unevenly spaced."""
    ms = [t * 1e3 for t in times]
    if len(ms) == 1:
        return f"1 echo, TE = {number(ms[0], 4)} ms"
    steps = [b - a for a, b in pairwise(ms)]
    if max(steps) - min(steps) > 0.02 * max(steps):
        return f"{len(ms)} echoes, TE = {', '.join(number(t, 4) for t in ms)} ms"
    spacing = number(sum(steps) / len(steps), 4)
    return f"{len(ms)} echoes, TE = {number(ms[0], 4)}:{spacing}:{number(ms[-1], 4)} ms"


Finder = Callable[[Record, Grid | None], str | None]


def _field(*names: str, unit: str = "", scale: float = 1.0) -> Finder:
    """The first recorded of these fields, with a unit."""

    def find(record: Record, _: Grid | None) -> str | None:
        value = next((record[n] for n in names if record.get(n) not in (None, "", [])), None)
        if value is None:
            return None
        shown = number(value * scale, 6) if scale != 1.0 and isinstance(value, int | float) else plain(value)
        return f"{shown} {unit}".strip()

    return find


def _all(*names: str) -> Finder:
    """All recorded of these fields, side by side."""

    def find(record: Record, _: Grid | None) -> str | None:
        values = [plain(record[n]) for n in names if record.get(n) not in (None, "", [])]
        return ", ".join(dict.fromkeys(values)) or None

    return find


def _labelled(**names: str) -> Finder:
    """All recorded of these fields, each with a word before it: `phase="ParallelReductionFactorInPlane"`."""

    def find(record: Record, _: Grid | None) -> str | None:
        values = {label: record.get(name) for label, name in names.items()}
        shown = [
            f"{label.replace('_', ' ')} {plain(v)}".strip() for label, v in values.items() if v is not None
        ]
        return ", ".join(shown) or None

    return find


def _echoes(record: Record, _: Grid | None) -> str | None:
    times = record.get("EchoTime")
    if times is None:
        return None
    return echo_summary(times if isinstance(times, Sequence) else [times])


def _orientation(_: Record, grid: Grid | None) -> str | None:
    return None if grid is None else describe_orientation(grid)


def _matrix(record: Record, grid: Grid | None) -> str | None:
    if grid is None:
        return None
    extent = [n * size for n, size in zip(grid.shape, grid.voxel_size, strict=True)]
    view = "×".join(number(round(e, 1), 4) for e in extent)
    return f"{'×'.join(map(str, grid.shape))}, field of view {view} mm³ (as reconstructed)"


def _voxel(_: Record, grid: Grid | None) -> str | None:
    return None if grid is None else "×".join(number(round(v, 3), 4) for v in grid.voxel_size) + " mm³"


ITEMS: tuple[tuple[str, bool, Finder], ...] = (
    ("Field strength", True, _field("MagneticFieldStrength", unit="T")),
    ("Vendor", True, _field("Manufacturer")),
    ("Scanner model", False, _field("ManufacturersModelName")),
    ("Software release", False, _field("SoftwareVersions")),
    ("Coil", False, _all("ReceiveCoilName", "ReceiveCoilActiveElements", "MatrixCoilMode")),
    ("Gradient system", False, _field("GradientSetType")),
    (
        "Sequence type",
        True,
        _all("MRAcquisitionType", "PulseSequenceType", "ScanningSequence", "SequenceVariant"),
    ),
    ("Sequence name", False, _all("PulseSequenceDetails", "SequenceName", "ProtocolName")),
    ("Orientation", False, _orientation),
    ("Echoes, TE₁:ΔTE:TEmax", True, _echoes),
    ("Repetition time TR", True, _field("RepetitionTime", "RepetitionTimeExcitation", unit="ms", scale=1e3)),
    ("Flip angle", False, _field("FlipAngle", unit="°")),
    ("Bandwidth", False, _field("PixelBandwidth", "ReceiverBandwidth", "BandwidthPerPixel", unit="Hz/pixel")),
    ("Matrix and coverage", True, _matrix),
    ("Voxel size", True, _voxel),
    ("Readout polarity", False, _field("Readout")),
    ("Centre frequency", False, _field("ImagingFrequency", unit="MHz")),
    (
        "Acceleration",
        True,
        _labelled(
            **{
                "": "ParallelAcquisitionTechnique",
                "phase": "ParallelReductionFactorInPlane",
                "slice": "ParallelReductionFactorOutOfPlane",
                "compressed sensing": "CompressedSensingFactor",
            }
        ),
    ),
    ("Partial Fourier", False, _labelled(factor="PartialFourier", direction="PartialFourierDirection")),
    ("Coil combination", False, _field("CoilCombinationMethod")),
)
