"""Simulated scans as BIDS datasets: raw echoes with complete sidecars, and the true maps as derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from mensura.methods import Tunable
from mensura.scan import GAMMA_BAR, ScanError

if TYPE_CHECKING:
    from mensura.phantom.scanner import Simulation

NAME = "Digital head: simulated multi-echo gradient echo"
README = """# Simulated multi-echo gradient echo of a digital head

Made by mensura; no human data are in it. The echoes are complex signals with Gaussian noise, stored as
magnitude and wrapped phase (rad). The true maps (`derivatives/truth`) lie on the same grid: susceptibility
(relative to its mean over the brain), total field after shimming, local field (that of the sources inside the
brain mask), R2*, brain mask and tissue labels.
"""


def write_head(
    out_dir: Path,
    *,
    subject: Annotated[str, Tunable("", "label of the participant")] = "01",
    seed: Annotated[int, Tunable("", "draws the head, the receive coil and the noise")] = 0,
    shape: Annotated[Sequence[int], Tunable("voxels", "size of the volume, three numbers")] = (96, 112, 96),
    voxel_size: Annotated[Sequence[float], Tunable("mm", "edges of a voxel, three numbers")] = (
        2.0,
        2.0,
        2.0,
    ),
    field_strength: Annotated[float, Tunable("T", "main field")] = 3.0,
    echo_times: Annotated[Sequence[float], Tunable("s", "echo times")] = (0.004, 0.012, 0.020, 0.028),
    repetition_time: Annotated[float, Tunable("s", "repetition time")] = 0.035,
    flip_angle: Annotated[float, Tunable("deg", "flip angle")] = 15.0,
    readout: Annotated[
        Literal["monopolar", "bipolar"], Tunable("", "polarity of the readouts")
    ] = "monopolar",
    snr: Annotated[
        float, Tunable("", "mean brain signal of the first echo over the noise; inf: none")
    ] = 50.0,
    b0_angle: Annotated[float, Tunable("deg", "tilt of the slices against B0")] = 0.0,
    lesions: Annotated[Sequence[str], Tunable("", "any of calcification, haemorrhage")] = (),
    supersampling: Annotated[int, Tunable("", "finer sampling of the anatomy along each axis")] = 2,
    phase_offset: Annotated[float, Tunable("rad", "spread of the receive phase")] = 1.5,
) -> Simulation:
    """Parameters of a head and its scan → a BIDS dataset in `out_dir` with the truth; the simulation itself.

    Another subject or seed may be added to the same dataset. ScanError for parameters that cannot be meant
    or a folder that cannot be written to.
    """
    from mensura.phantom.head import simulate_head

    parameters = {name: value for name, value in locals().items() if name not in ("out_dir", "simulate_head")}
    label = parameters.pop("subject")
    simulation = simulate_head(**parameters)
    write_scan(out_dir, simulation, subject=label, parameters=parameters)
    return simulation


def write_scan(
    out_dir: Path, simulation: Simulation, *, subject: str = "01", parameters: Mapping[str, Any] | None = None
) -> None:
    """A simulated scan → raw BIDS data and `derivatives/truth` in `out_dir`; `parameters` go on record."""
    from mensura.io.bids import write_bidsignore, write_dataset_description
    from mensura.io.files import write_text

    if not subject.isalnum():
        raise ScanError(f"the subject label {subject!r} must consist of letters and digits alone")
    out_dir, truth = Path(out_dir), Path(out_dir) / "derivatives" / "truth"
    write_dataset_description(out_dir, name=NAME, dataset_type="raw")
    _write_raw(out_dir, simulation, subject)
    _write_participants(out_dir, subject)
    write_dataset_description(truth, name=f"{NAME} (truth)", dataset_type="derivative", raw=out_dir)
    write_bidsignore(truth, ("*_fieldmap.*",))  # BIDS knows field maps beside their magnitude, in fmap/, only
    for folder in (out_dir, truth):
        if not (folder / "README").exists():
            write_text(folder / "README", README)
    _write_truth(truth, simulation, subject, dict(parameters or {}))


def _write_raw(out_dir: Path, simulation: Simulation, subject: str) -> None:
    from mensura.io import nifti
    from mensura.io.files import write_json

    for n in range(len(simulation.acquisition.echo_times)):
        echo = simulation.echoes[..., n]
        for part, data in (("mag", np.abs(echo)), ("phase", np.angle(echo))):
            stem = f"sub-{subject}_echo-{n + 1}_part-{part}_MEGRE"
            path = out_dir / f"sub-{subject}" / "anat" / stem
            nifti.write(path.with_name(f"{stem}.nii.gz"), data, simulation.grid)
            write_json(path.with_name(f"{stem}.json"), _sidecar(simulation, n, part))


def _sidecar(simulation: Simulation, n: int, part: str) -> dict[str, Any]:
    """What a scanner would say about one echo."""
    scan = simulation.acquisition
    record: dict[str, Any] = {
        "Manufacturer": "mensura",
        "ManufacturersModelName": "digital head",
        "Modality": "MR",
        "MagneticFieldStrength": scan.field_strength,
        "ImagingFrequency": round(GAMMA_BAR * scan.field_strength * 1e-6, 6),
        "MRAcquisitionType": "3D",
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "PulseSequenceType": "multi-echo spoiled gradient echo",
        "SpoilingState": True,
        "EchoNumber": n + 1,
        "EchoTime": scan.echo_times[n],
        "ReadoutMode": scan.readout,
        "ReceiveCoilName": "simulated",
        "ImageType": ["DERIVED", "PRIMARY", "M" if part == "mag" else "P", "SIMULATED"],
        "Units": "arbitrary" if part == "mag" else "rad",
    }
    if scan.repetition_time is not None:
        record["RepetitionTime"] = record["RepetitionTimeExcitation"] = scan.repetition_time
    if scan.flip_angle is not None:
        record["FlipAngle"] = round(float(np.degrees(scan.flip_angle)), 6)
    return record


def _write_participants(out_dir: Path, subject: str) -> None:
    from mensura.io.files import read_bytes, write_json, write_text

    path = out_dir / "participants.tsv"
    lines = read_bytes(path).decode().splitlines() if path.is_file() else ["participant_id\tspecies"]
    if not any(line.split("\t")[0] == f"sub-{subject}" for line in lines):
        columns = len(lines[0].split("\t"))
        rest = ["n/a"] * (columns - 1)
        write_text(path, "\n".join([*lines, "\t".join([f"sub-{subject}", *rest])]) + "\n")
    if not path.with_suffix(".json").exists():
        species = {"Description": "species of the participant; none, for a digital head has none"}
        write_json(path.with_suffix(".json"), {"species": species})


def _write_truth(truth: Path, simulation: Simulation, subject: str, parameters: dict[str, Any]) -> None:
    from mensura.io import nifti
    from mensura.io.files import write_json, write_text
    from mensura.phantom.tissues import names

    folder = truth / f"sub-{subject}" / "anat"
    origin = [f"bids:raw:sub-{subject}/anat/sub-{subject}_echo-1_part-phase_MEGRE.nii.gz"]
    simulated = {**parameters, "noise_standard_deviation": simulation.sigma}
    for name, (data, record) in _maps(simulation).items():
        path = folder / f"sub-{subject}_{name}"
        nifti.write(path.with_name(f"{path.name}.nii.gz"), data, simulation.grid)
        full = {**record, "Sources": origin, "Simulation": simulated}
        write_json(path.with_name(f"{path.name}.json"), full)
    rows = [f"{label}\t{name}" for label, name in names().items()]
    write_text(truth / "dseg.tsv", "\n".join(["index\tname", *rows]) + "\n")


def _maps(simulation: Simulation) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name of each true map → its values in BIDS units and what its sidecar says."""
    hz = np.float32(simulation.acquisition.hz_per_ppm)
    reference = (
        f"true susceptibility relative to its mean over the brain mask, which is "
        f"{simulation.chi_reference:.5f} ppm relative to water"
    )
    return {
        "Chimap": (simulation.chi, _record(reference, "ppm", True)),
        "R2starmap": (
            simulation.r2star,
            _record("true R2*, signal-weighted mean of the voxel", "1/s", False),
        ),
        "desc-total_fieldmap": (
            simulation.total_field * hz,
            _record("true field after shimming, mean of the voxel", "Hz", False),
        ),
        "desc-local_fieldmap": (
            np.where(simulation.mask, simulation.local_field * hz, np.float32(0)),
            _record("true field of the susceptibility inside the brain mask", "Hz", True),
        ),
        "desc-brain_mask": (simulation.mask, {**_record("true brain mask", "1", True), "Type": "Brain"}),
        "dseg": (simulation.labels, _record("tissue that fills most of the voxel; see dseg.tsv", "1", False)),
    }


def _record(description: str, units: str, stripped: bool) -> dict[str, Any]:
    return {"Description": description, "Units": units, "SkullStripped": stripped}
