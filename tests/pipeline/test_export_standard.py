"""What `mensura export` writes, as dicom3tools judges it: no error, no warning but those that are explained here."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import dicom_source as scan
import numpy as np
import pydicom
import pytest

from mensura.cli import main
from mensura.io.dicom.geometry import LPS
from mensura.io.dicom.source import read_series
from mensura.scan import Grid

EXPLAINED = {
    r"/\(0099,1001,\"MENSURA\"\)": "the record of the map, which is private",
    r"<99MENSURA>": "the scheme of quantities that DICOM has no code for",
    r"/(Image|Frame)Type.*<QUANTITY>": "a word of the standard, younger than the checker",
    r"/Rescale(Slope|Intercept|Type)\(": "MR images with a slope extend the standard's, as those of vendors do",
    r"/PatientName.*Retired Person Name form": "of the source",
    r"/ScanOptions.*Unrecognized defined term": "of the source: vendors have words of their own",
    r"/RequestingService\(.*not present": "of the source; in the general study since 2023",
    r"/Laterality.*only permitted to be empty when actually unknown": "it is, where no body part is told",
    r"present in one instance but not the other": "empty in the map where the source lacks what DICOM asks for",
    r"needed to build DICOMDIR": "of the source, which was stripped of it",
}


def judged(program: str, *files: Path) -> list[str]:
    """What the checker says of files, without what is explained; skips where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(
            f"{program.upper()} ABSENT: apt install dicom3tools, else nothing judges the exported DICOM"
        )
    options = ["-new"] if program == "dciodvfy" else []
    said = [
        subprocess.run([path, *options, *group], capture_output=True, text=True, errors="replace")
        for group in ([[f] for f in files] if program == "dciodvfy" else [files])
    ]
    lines = [line for one in said for line in (one.stdout + one.stderr).splitlines()]
    kept = [line for line in lines if line.startswith(("Error", "Warning", "Abort"))]
    return sorted({line for line in kept if not any(re.search(pattern, line) for pattern in EXPLAINED)})


def exported(folder: Path, source: Path) -> list[Path]:
    """A map and its standard deviation on the planes of a source → the first and last file of each series."""
    frames = read_series(source)[0].frames
    assert frames is not None
    where = Grid((frames.shape[1], frames.shape[0], len(frames.positions)), LPS @ frames.affine)
    for name, unit in (("T1map", "s"), ("desc-std_T1map", "s"), ("M0map", "arbitrary"), ("Chimap", "ppm")):
        scan.write_map(folder / "maps", name, where, Units=unit)
    assert (
        main(["export", str(folder / "maps"), "--dicom", str(folder / "dicom"), "--source", str(source)]) == 0
    )
    series = sorted({path.parent for path in (folder / "dicom").rglob("*.dcm")})
    return [path for one in series for path in {min(one.iterdir()), max(one.iterdir())}]


def two_echoes(shared: Path, folder: Path) -> Path:
    scan.write_scan(folder / "scan")
    return folder / "scan"


def gated_recovery(shared: Path, folder: Path) -> Path:
    """Inversion times that differ, and a trigger: what images of this kind must say, if only emptily."""
    source = two_echoes(shared, folder)
    for path in source.glob("*.dcm"):
        image = pydicom.dcmread(path)
        image.ScanningSequence, image.ScanOptions = ["SE", "IR"], "CG"
        image.InversionTime, image.TriggerTime = 100 * float(image.EchoTime), 3
        image.save_as(path)
    return source


SOURCES: dict[str, Callable[[Path, Path], Path]] = {
    "written": two_echoes,
    "gated recovery": gated_recovery,
    **{
        f"phantom {site}": lambda shared, _, site=site: shared / "nist_phantom_dicom" / "T1" / site / "plate5"
        for site in ("site1_20200218", "site3_ge", "site4_philips")
    },
    "enhanced": lambda shared, _: shared / "siemens_fieldmap_dicom" / "xa30_enhanced",
    "GE field": lambda shared, _: shared / "ge_fieldmap_dicom",
    "brain": lambda shared, _: shared / "philips_brain_2echo" / "dicom",
}


@pytest.mark.parametrize("source", SOURCES)
def test_dicom3tools_finds_no_fault(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    written = source in ("written", "gated recovery")
    shared = tmp_path if written else request.getfixturevalue("shared_data")
    place = SOURCES[source](shared, tmp_path)
    files = exported(tmp_path, place)
    assert len(files) >= 8
    assert judged("dciodvfy", *files) == []
    sources = [path for path in place.rglob("*.dcm")][:20]
    assert judged("dcentvfy", *files, *sources) == []


def test_the_checkers_do_find_faults(tmp_path: Path) -> None:
    files = exported(tmp_path, gated_recovery(tmp_path, tmp_path))
    image = next(path for path in files if path.parent.name == "mr")
    data = pydicom.dcmread(image)
    del data.InversionTime
    data.PatientSex, data.FrameOfReferenceUID = "M", "1.2.3"
    data.save_as(image)
    assert any("InversionTime" in line for line in judged("dciodvfy", image))
    assert any("Patient" in line for line in judged("dcentvfy", *files))


def test_every_file_can_be_read_and_written_as_it_is(tmp_path: Path) -> None:
    """pydicom's own checks, on reading as on writing."""
    settings = pydicom.config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.RAISE
    try:
        for path in exported(tmp_path, gated_recovery(tmp_path, tmp_path)):
            image = pydicom.dcmread(path)
            assert np.isfinite(sum(element.tag for element in image.iterall()))
            image.save_as(tmp_path / "again.dcm", enforce_file_format=True)
            assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before
