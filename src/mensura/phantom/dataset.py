"""Simulated scans as BIDS datasets: raw images with complete sidecars, and the true maps as derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import GAMMA_BAR, Grid, ScanError

if TYPE_CHECKING:
    from mensura.phantom.scanner import Series
    from mensura.phantom.simulation import Simulation
    from mensura.phantom.truth import TrueMap

README = """# {name}

Made by mensura; no human data are in it. The images are complex signals with Gaussian noise, stored as magnitude
and, where a sequence needs it, wrapped phase (rad). The true maps (`derivatives/truth`) lie on the same grid.
"""
KNOWN = {
    *("T1map", "R1map", "T2map", "R2map", "T2starmap", "R2starmap", "PDmap", "MTsat", "Chimap"),
    *("TB1map", "RB1map", "mask", "dseg"),
}
"""Suffixes that BIDS has where the truth puts them; all others are named in .bidsignore."""
UNITS = {"mag": "arbitrary", "phase": "rad"}


@dataclass(frozen=True)
class Place:
    """Where a scan goes: the dataset, the labels of participant and session, and what the scanner is called."""

    out_dir: Path
    subject: str = "01"
    session: str = ""
    scanner: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, label in (("subject", self.subject), ("session", self.session or "1")):
            if not label.isalnum():
                raise ScanError(f"the {what} label {label!r} must consist of letters and digits alone")

    @property
    def entities(self) -> dict[str, str]:
        """The entities of every name: participant, and session if there is one."""
        return {"sub": self.subject, **({"ses": self.session} if self.session else {})}

    def path(self, dataset: Path, datatype: str, entities: Mapping[str, str], suffix: str) -> Path:
        """A dataset, a datatype and what a file is → its path, without extension."""
        from mensura.io.bids_names import join

        folders = [f"{key}-{label}" for key, label in self.entities.items()]
        return dataset.joinpath(*folders, datatype, f"{join({**self.entities, **entities})}_{suffix}")


def write_scan(
    out_dir: Path, simulation: Simulation, *, subject: str = "01", parameters: Mapping[str, Any] | None = None
) -> None:
    """A simulated gradient echo → raw BIDS data and `derivatives/truth`; `parameters` go on record."""
    place = Place(Path(out_dir), subject)
    begin(place, "Digital head: simulated multi-echo gradient echo")
    write_series(place, simulation.series, simulation.grid, simulation.acquisition.field_strength)
    record = {**(parameters or {}), "noise_standard_deviation": simulation.sigma}
    write_truth(place, simulation.truth, simulation.grid, record)


def begin(place: Place, name: str) -> None:
    """The files that make two BIDS datasets, raw and truth; what is there of other participants stays."""
    from mensura.io.bids import write_bidsignore, write_dataset_description
    from mensura.io.files import write_text

    truth = place.out_dir / "derivatives" / "truth"
    write_dataset_description(place.out_dir, name=name, dataset_type="raw")
    write_bidsignore(place.out_dir, ("*_DCE.*",))
    write_dataset_description(truth, name=f"{name} (truth)", dataset_type="derivative", raw=place.out_dir)
    for folder in (place.out_dir, truth):
        if not (folder / "README").exists():
            write_text(folder / "README", README.format(name=name))
    _write_participants(place)


def write_series(place: Place, series: Series, grid: Grid, field_strength: float) -> None:
    """What a sequence recorded → images with their sidecars."""
    from mensura.io import nifti
    from mensura.io.files import write_json

    for path, data, part, own in _files(place, series):
        nifti.write(path.with_name(f"{path.name}.nii.gz"), data, grid)
        sidecar = {**_machine(place, field_strength), **series.protocol.sidecar, **own, "Units": UNITS[part]}
        kind = "M" if part == "mag" else "P"
        sidecar["ImageType"] = ["DERIVED", "PRIMARY", kind, "SIMULATED"]
        write_json(path.with_name(f"{path.name}.json"), sidecar)


def write_truth(
    place: Place, truth: Mapping[str, TrueMap], grid: Grid, simulation: Mapping[str, Any]
) -> None:
    """True maps → derivatives with their sidecars; `simulation` is written into each."""
    from mensura.io import nifti
    from mensura.io.bids import bids_uri, write_bidsignore
    from mensura.io.files import write_json

    dataset = place.out_dir / "derivatives" / "truth"
    raw = place.path(place.out_dir, "", {}, "").parent
    sources = sorted(raw.glob("*/*.nii.gz"))[:1]
    for name, true in truth.items():
        *pairs, suffix = name.split("_")
        entities = dict(pair.split("-", 1) for pair in pairs)
        path = place.path(dataset, true.datatype, entities, suffix)
        nifti.write(path.with_name(f"{path.name}.nii.gz"), true.data, grid)
        sidecar = {
            "Description": f"true {true.description}",
            "Units": true.unit,
            "SkullStripped": true.stripped,
            "Sources": [bids_uri(source, place.out_dir) for source in sources],
            "Simulation": dict(simulation),
            **({"Type": "Brain"} if suffix == "mask" else {}),
        }
        write_json(path.with_name(f"{path.name}.json"), sidecar)
    unknown = {name.split("_")[-1] for name in truth} - KNOWN
    write_bidsignore(dataset, (*(f"*_{suffix}.*" for suffix in sorted(unknown)), "*_motion.tsv"))


def write_names(place: Place, names: Mapping[int, str]) -> None:
    """Label → name: the table of the segmentation."""
    from mensura.io.files import write_text

    rows = [f"{label}\t{name}" for label, name in names.items()]
    path = place.out_dir / "derivatives" / "truth" / "dseg.tsv"
    write_text(path, "\n".join(["index\tname", *rows]) + "\n")


def write_motion(place: Place, name: str, series: Series) -> None:
    """The true pose in each volume of a series (translations in mm and rotations in degrees), and whether it is
    corrupted; nothing where neither happened."""
    from mensura.io.files import write_text

    if not any(series.corrupted) and all(np.array_equal(pose, np.eye(4)) for pose in series.poses):
        return
    rows = ["trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\tcorrupted"]
    for pose, corrupted in zip(series.poses, series.corrupted, strict=True):
        r = pose[:3, :3]
        turns = np.degrees([np.arctan2(r[2, 1], r[2, 2]), -np.arcsin(r[2, 0]), np.arctan2(r[1, 0], r[0, 0])])
        numbers = "\t".join(f"{v:.5f}" for v in (*pose[:3, 3], *turns))
        rows.append(f"{numbers}\t{int(corrupted)}")
    path = place.path(place.out_dir / "derivatives" / "truth", "anat", {"desc": name}, "motion.tsv")
    write_text(path, "\n".join(rows) + "\n")


def _files(place: Place, series: Series) -> Iterator[tuple[Path, NDArray[Any], str, Mapping[str, Any]]]:
    """Path without extension, data, part and own sidecar fields of every file of a series."""
    protocol = series.protocol
    if protocol.series:
        yield (
            place.path(place.out_dir, protocol.datatype, {}, protocol.suffix),
            np.abs(series.images),
            "mag",
            {},
        )
        return
    if protocol.suffix == "MP2RAGE":
        from mensura.qmri.equations import mp2rage_uniform

        uniform = mp2rage_uniform(series.images[..., 0], series.images[..., 1])
        yield place.path(place.out_dir, protocol.datatype, {}, "UNIT1"), uniform, "mag", {}
    for v, image in enumerate(protocol.images):
        for part in protocol.parts:
            data = np.abs(series.images[..., v]) if part == "mag" else np.angle(series.images[..., v])
            suffix = image.suffixes.get(part, protocol.suffix)
            entities = dict(image.entities)
            if not image.suffixes and len(protocol.parts) > 1:
                entities["part"] = part
            yield place.path(place.out_dir, protocol.datatype, entities, suffix), data, part, image.sidecar


def _machine(place: Place, field_strength: float) -> dict[str, Any]:
    """What every sidecar says of the scanner."""
    return {
        "Manufacturer": "mensura",
        "ManufacturersModelName": "digital scanner",
        "Modality": "MR",
        "MagneticFieldStrength": field_strength,
        "ImagingFrequency": round(GAMMA_BAR * field_strength * 1e-6, 6),
        "InstitutionName": "nowhere",
        "StationName": "simulator",
        "DeviceSerialNumber": "00001",
        "SoftwareVersions": f"mensura {version('mensura')}",
        "ReceiveCoilName": "simulated",
        "ReceiveCoilActiveElements": "one",
        "CoilCombinationMethod": "none",
        "MRTransmitCoilSequence": "simulated",
        "B0ShimmingTechnique": "second order",
        "NonlinearGradientCorrection": True,
        **place.scanner,
    }


def _write_participants(place: Place) -> None:
    from mensura.io.files import read_bytes, write_json, write_text

    path = place.out_dir / "participants.tsv"
    lines = read_bytes(path).decode().splitlines() if path.is_file() else ["participant_id\tspecies"]
    if not any(line.split("\t")[0] == f"sub-{place.subject}" for line in lines):
        columns = len(lines[0].split("\t"))
        rest = ["n/a"] * (columns - 1)
        write_text(path, "\n".join([*lines, "\t".join([f"sub-{place.subject}", *rest])]) + "\n")
    if not path.with_suffix(".json").exists():
        species = {"Description": "species of the participant; none, for a digital body has none"}
        write_json(path.with_suffix(".json"), {"species": species})
