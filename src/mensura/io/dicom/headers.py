"""DICOM files → frames: classic images and multi-frame ones, from their headers alone."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mensura.io.dicom.attributes import (
    KEPT,
    Look,
    flat,
    flat_groups,
    floats,
    listed,
    look_in,
    plain,
    tags,
    to_number,
    to_text,
)
from mensura.io.dicom.frames import Frame, Kind, Problem, Series, vendor
from mensura.io.dicom.gradients import averaged, b_value, direction
from mensura.io.dicom.privacy import IDENTIFIERS
from mensura.io.dicom.sources import Source, unzipped
from mensura.scan import ScanError

IMAGES = {
    "1.2.840.10008.5.1.4.1.1.4": "MR image",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR image",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy converted enhanced MR image",
}
YES = {"InversionRecovery": "IR", "EchoPlanarPulseSequence": "EP", "SaturationRecovery": "SR"}
"""Attributes of multi-frame images that say YES → the scanning sequence of classic ones."""
ANGLES = "FLIP ANGLE MAP"
"""A word of the image type; older Siemens software begins the comments with it instead."""
DIRECTORY = "1.2.840.10008.1.3.10"
GE_KINDS: Mapping[int, Kind] = {0: "mag", 1: "phase", 2: "real", 3: "imag"}
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("M", "MAGNITUDE"), "mag"),
    **dict.fromkeys(("P", "PHASE", "PHASE MAP"), "phase"),
    **dict.fromkeys(("R", "REAL"), "real"),
    **dict.fromkeys(("I", "IMAGINARY"), "imag"),
}
"""Words of the image type, also before an underscore (M_FFE)."""
MADE = {
    *(
        "DERIVED",
        "UNI",
        "T1 MAP",
        "T2 MAP",
        "T2STAR MAP",
        "R2 MAP",
        "R2STAR MAP",
        "R2",
        "R2_STAR",
        "ADC",
        "FA",
    ),
    *("TRACE", "TRACEW", "TENSOR", "EADC", "COLFA", "SWI", "MNIP", "MINIP", "MIN_IP", "MIP", "MAX_IP", "MPR"),
    *(ANGLES, "B1", "B1 MAP", "B0 MAP", "B0", "SUBTRACTION"),
    *("WATER", "FAT", "W", "F", "IP", "OP", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "FAT_FRACTION", "FF"),
    *("LOCALIZER", "PROJECTION IMAGE", "CSA MPR", "MEAN", "DIXON_WATER", "DIXON_FAT"),
}
"""Words of the image type that a scanner gives to what it computed of other images."""


def read_frames(sources: Iterable[Source], tell: Callable[[int], None] = lambda count: None) -> Any:
    """Files → (frames, problems, how many files are of another kind by reason); only headers are kept."""
    frames: list[Frame] = []
    problems: list[Problem] = []
    others: dict[str, list[str]] = {}
    known: dict[str, Series] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count, source in enumerate(sources):
            tell(count)
            try:
                frames += _frames_of(source, known)
            except _OtherFile as other:
                others.setdefault(str(other), []).append(source.name)
            except ScanError as error:
                problems.append(Problem(source.name, str(error)))
            except Exception as error:
                reason = f"its header cannot be read ({type(error).__name__}); copy or export it again"
                problems.append(Problem(source.name, reason))
    return frames, problems, others


class _OtherFile(Exception):
    """A file that is no MR image, and what it is."""


def _frames_of(source: Source, known: dict[str, Series]) -> list[Frame]:
    data, left = _header(source)
    kind = str(data.get("SOPClassUID", ""))
    if kind == DIRECTORY or "DirectoryRecordSequence" in data:
        raise _OtherFile("DICOM directory")
    if kind not in IMAGES:
        raise _OtherFile(_class_name(kind))
    if data.get("Rows") is None or data.get("Columns") is None:
        raise ScanError("it has no pixels; export it again")
    _check_length(data, left)
    if data.get("NumberOfFrames") is not None and "PerFrameFunctionalGroupsSequence" in data:
        return _multiframe(source, data, known)
    look = look_in([flat(data)])
    return [_frame(source, 0, look, _series(data, look, known))]


def _header(source: Source) -> tuple[Any, int]:
    """The header without pixels, and the bytes that follow it."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with unzipped(source.path) as file:
            content: Any = io.BytesIO(file.read()) if hasattr(file, "fileobj") else file
            size = content.seek(0, io.SEEK_END)
            content.seek(0)
            if size == 0:
                raise _OtherFile("empty file")
            data = dcmread(content, stop_before_pixels=True, specific_tags=tags())
            return data, size - content.tell()
    except InvalidDicomError:
        raise _OtherFile("no DICOM") from None
    except EOFError:
        raise ScanError("it is truncated; copy or export it again") from None


def _check_length(data: Any, left: int) -> None:
    """ScanError if fewer bytes follow the header than the image needs."""
    if data.file_meta.TransferSyntaxUID.is_compressed:
        if left < 20:
            raise ScanError("it is truncated: its pixels are missing; copy or export it again")
        return
    if left == 0 and str(data.file_meta.TransferSyntaxUID) == "1.2.840.10008.1.2.1.99":
        return
    count = int(data.get("NumberOfFrames") or 1) * int(data.get("SamplesPerPixel") or 1)
    needed = int(data.Rows) * int(data.Columns) * count * int(data.get("BitsAllocated") or 16) // 8
    if left < needed:
        raise ScanError(f"it is truncated ({left} of {needed} bytes of pixels); copy or export it again")


def _multiframe(source: Source, data: Any, known: dict[str, Series]) -> list[Frame]:
    whole = flat(data)
    shared = flat_groups(data.get("SharedFunctionalGroupsSequence"))
    own = [flat(item) for item in data.PerFrameFunctionalGroupsSequence]
    if len(own) != int(data.NumberOfFrames):
        raise ScanError(f"it says {data.NumberOfFrames} frames but describes {len(own)}; export it again")
    series = _series(data, look_in([own[0], shared, whole] if own else [shared, whole]), known)
    return [_frame(source, n, look_in([item, shared, whole]), series) for n, item in enumerate(own)]


def _series(data: Any, look: Look, known: dict[str, Series]) -> Series:
    uid = str(data.get("SeriesInstanceUID") or "")
    if not uid or not data.get("StudyInstanceUID"):
        raise ScanError("it has no series or study identifier; export it again")
    identifiers = {key: text for key in IDENTIFIERS if (text := to_text(data.get(key)))}
    key = f"{uid} {identifiers.get('PatientID')} {identifiers.get('PatientName')}"
    if key in known:
        return known[key]
    patient = "|".join(identifiers.get(name, "").strip(" ^").lower() for name in ("PatientID", "PatientName"))
    words = _words(look)
    series = Series(
        uid=uid,
        study=str(data.StudyInstanceUID),
        patient=patient,
        number=int(look("SeriesNumber") or 0),
        description=to_text(look("SeriesDescription")),
        protocol=to_text(look("ProtocolName")),
        manufacturer=to_text(look("Manufacturer")),
        model=to_text(data.get("ManufacturerModelName")),
        words=words,
        sequence=to_text(look("SequenceName") or look("PulseSequenceName") or look("ge_sequence")).lower(),
        dimensions=to_text(look("MRAcquisitionType")),
        began=f"{to_text(look('StudyDate'))}{to_text(look('StudyTime'))}",
        contrast_agent=bool(to_text(look("ContrastBolusAgent"))),
        times=int(look("NumberOfTemporalPositions") or 1),
        syntax=str(data.file_meta.TransferSyntaxUID),
        identifiers=identifiers,
        record=_record(look),
        multiframe="PerFrameFunctionalGroupsSequence" in data,
        direction=direction(look) if "EP" in words else "",
    )
    known[key] = series
    return series


def _record(look: Look) -> dict[str, Any]:
    """What sidecars take over, the field strength (T) as a number or not at all."""
    found = {field: value for key, field in KEPT.items() if (value := plain(look(key)))}
    found["MagneticFieldStrength"] = to_number(look("MagneticFieldStrength"))
    return {field: value for field, value in found.items() if value}


def _words(look: Look) -> frozenset[str]:
    """Scanning sequence, variant and options; those of multi-frame images in the words of classic ones."""
    found = {
        w.upper()
        for name in ("ScanningSequence", "SequenceVariant", "ScanOptions")
        for w in listed(look(name))
    }
    echo = to_text(look("EchoPulseSequence")).upper()
    found |= {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}.get(echo, set())
    for name, word in YES.items():
        if to_text(look(name)).upper() == "YES":
            found.add(word)
    if to_text(look("MagnetizationTransfer")).upper() in ("ON_RESONANCE", "OFF_RESONANCE"):
        found.add("MTC")
    steady = to_text(look("SteadyStatePulseSequence")).upper()
    found |= {"FREE_PRECESSION": {"SS"}, "LONGITUDINAL": {"SP"}}.get(steady, set())
    return frozenset(found)


def _frame(source: Source, number: int, look: Look, series: Series) -> Frame:
    position, orientation = floats(look("ImagePositionPatient")), floats(look("ImageOrientationPatient"))
    spacing = floats(look("PixelSpacing"))
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
        raise ScanError("it does not say where its image lies (position, orientation or pixel spacing)")
    words = _image_type(look)
    return Frame(
        path=source.path,
        name=source.name,
        number=number,
        instance_uid=str(look("SOPInstanceUID")),
        series=series,
        kind=_kind(look, words, series),
        image_type=words,
        instance=int(look("InstanceNumber") or 0),
        order=_order(look),
        echo_time=_seconds(look("EffectiveEchoTime") or look("EchoTime")),
        inversion_time=_seconds(look("InversionTime") or look("InversionTimes")),
        repetition_time=_seconds(look("RepetitionTime")),
        flip_angle=to_number(look("FlipAngle")),
        transfer=_transfer(look, series),
        coil=to_text(look("siemens_xa_coil") or look("siemens_coil")),
        position=position,
        orientation=orientation,
        spacing=spacing,
        shape=(int(look("Rows")), int(look("Columns"))),
        scaling=(to_number(look("RescaleSlope")) or 1.0, to_number(look("RescaleIntercept")) or 0.0),
        scale_slope=to_number(look("philips_slope")) or None,
        b_value=b_value(look),
    )


def _image_type(look: Look) -> tuple[str, ...]:
    """The words of the image type, of the frame first, with those that newer Siemens software hides."""
    words = [
        w.upper()
        for w in (*listed(look("FrameType")), *listed(look("ImageType")), *listed(look("siemens_type")))
    ]
    if to_text(look("ImageComments")).upper().startswith(ANGLES):
        words.append(ANGLES)
    if averaged(look):
        words.append("TRACE")
    return tuple(dict.fromkeys(words))


def _kind(look: Look, words: tuple[str, ...], series: Series) -> Kind:
    """What the numbers are, by the vendor's own attribute first, then the standard's, then the image type."""
    if vendor(series.manufacturer) == "ge":
        if look("ge_sequence") in ("B0map", "b0map", "fgremap") and look("ge_flag") == 0:
            return "field"
        stated: Kind = GE_KINDS.get(int(look("ge_kind") or 0), "mag")
        if stated != "mag":
            return stated
    rest = [word for word in words if word not in ("ORIGINAL", "PRIMARY", "SECONDARY")]
    if _in_hertz(look, rest, series):
        return "field"
    if set(rest) & MADE or words[:1] == ("DERIVED",):
        return "made"
    stated_by = [to_text(look(name)).upper() for name in ("philips_kind", "ComplexImageComponent")]
    for word in (*stated_by, *rest):
        if found := KINDS.get(word) or KINDS.get(word.split("_")[0]):
            return found
    return "mag"


def _in_hertz(look: Look, words: list[str], series: Series) -> bool:
    """Whether an image of Philips is a map of B0; the magnitude beside it says M, and lies in the same series."""
    own = to_text(look("philips_kind")).upper()
    told = own == "B0" if own else bool({"B0", "B0 MAP"} & set(words))
    return told and vendor(series.manufacturer) == "philips"


def _transfer(look: Look, series: Series) -> bool | None:
    told = to_text(look("MagnetizationTransfer")).upper()
    if told:
        return told != "NONE"
    return any(word == "MTC" or word.startswith("MT_") or word == "MT" for word in series.words)


def _order(look: Look) -> tuple[float, ...]:
    """What puts images of one place into the order of time."""
    names = ("TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime")
    times = (_clock(to_text(look("FrameAcquisitionDateTime") or look("AcquisitionTime"))),)
    return (
        *(to_number(look(name)) or 0.0 for name in names),
        *times,
        to_number(look("InstanceNumber")) or 0.0,
    )


def _clock(text: str) -> float:
    digits = text[8:] if len(text.split(".")[0]) > 8 else text
    try:
        return float(digits or 0)
    except ValueError:
        return 0.0


def _seconds(value: Any) -> float | None:
    """Milliseconds → seconds, to a tenth of a microsecond; 0 means not stated."""
    number = to_number(listed(value)[0] if listed(value) else None)
    return round(number / 1000, 7) if number else None


def _class_name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name if uid else "no DICOM image"
