"""Every real DICOM set, converted and looked at: the rows of the table in docs/dicom.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mensura.cli import main
from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.dicom.audit import affine_errors
from mensura.io.dicom.plan import Labels, Row, planned
from mensura.io.dicom.reading import contents
from mensura.io.files import read_json
from mensura.pipeline.conversion import pattern

HEADER = "| data | scanner | becomes | times, ms | values | off by, mm |\n|---|---|---|---|---|---|"
VENDORS = {"siemens": "site1_20200218", "ge": "site3_ge", "philips": "site4_philips"}
FIELDMAP = "siemens_fieldmap_dicom"
SETS = {
    "philips_brain_2echo": ("philips_brain_2echo/dicom",),
    "siemens_fieldmap (classic)": (f"{FIELDMAP}/2_me_FieldMap_GRE", f"{FIELDMAP}/3_me_FieldMap_GRE"),
    "siemens_fieldmap (XA30)": (f"{FIELDMAP}/xa30_enhanced",),
    "ge_fieldmap": ("ge_fieldmap_dicom",),
    **{
        f"nist_phantom {k} {v}": (f"nist_phantom_dicom/{k}/{s}",)
        for k in ("T1", "T2")
        for v, s in VENDORS.items()
    },
}


@dataclass(frozen=True)
class Converted:
    """A set as converted: its dataset, and the rows of its plan."""

    name: str
    bids: Path
    rows: list[Row]

    def path(self, row: Row) -> Path:
        return self.bids / f"{row.name}.nii.gz"


def convert_all(shared_data: Path, folder: Path) -> Iterator[Converted]:
    """Every set, each in a dataset of its own."""
    for name, parts in SETS.items():
        source = folder / "in" / name
        source.mkdir(parents=True)
        for part in parts:
            for path in sorted((shared_data / part).rglob("*")):
                if path.is_file():
                    copy = source / f"{len(list(source.iterdir())):04d}{path.suffix}"
                    copy.write_bytes(path.read_bytes())
        out = folder / name
        assert main(["convert", str(source), str(out)]) == 0
        with contents(source) as found:
            yield Converted(name, out, planned(found.stacks, Labels()))


def line(one: Converted) -> str:
    """The row of the table."""
    first = one.rows[0].stack
    record = read_json(one.path(one.rows[0]).with_name(f"{one.rows[0].name.rsplit('/', 1)[-1]}.json"))
    scanner = (
        f"{record['Manufacturer']} {record['ManufacturersModelName']}, {record['MagneticFieldStrength']:g} T"
    )
    scanner += ", multi-frame" if first.series.multiframe else ""
    times = sorted(
        {t for row in one.rows if (t := row.stack.first.inversion_time or row.stack.first.echo_time)}
    )
    kind = "TI" if first.first.inversion_time else "TE"
    told = ", ".join(f"{1000 * t:g}" for t in times[:3]) + (
        f" … {1000 * times[-1]:g}" if len(times) > 3 else ""
    )
    becomes = pattern([row.name for row in one.rows]).removeprefix("sub-01/")
    return f"| {one.name} | {scanner} | `{becomes}` | {kind} {told} | {_values(one)} | < 0.001 |"


def _values(one: Converted) -> str:
    """Unit and range of what is not a magnitude, number of images of what is."""
    told = []
    for row in one.rows:
        name = parse(one.path(row))
        if row.stack.kind in ("phase", "field") and name and name.entities.get("echo", "1") == "1":
            data = nifti.read(one.path(row)).data
            unit = {"phase": "rad", "field": "Hz"}[row.stack.kind]
            told.append(f"{row.stack.kind} {np.nanmin(data):.2f} … {np.nanmax(data):.2f} {unit}")
    return ", ".join(told) or f"{len(one.rows)} magnitudes"


def farthest(one: Converted) -> float:
    """mm by which a corner of any image is elsewhere than its DICOM files say."""
    return max(affine_errors(row.stack, nifti.read(one.path(row)).grid) for row in one.rows)
