"""Sidecars become seconds, teslas and radians; what is missing or cannot be meant names file and field."""

import math
from typing import Any

import pytest

from mensura.io.acquisition import Sidecar, gradient_echo
from mensura.scan import ScanError


def sidecars(*echo_times: Any, **fields: Any) -> list[Sidecar]:
    usual = {"MagneticFieldStrength": 3, "RepetitionTime": 0.03, "FlipAngle": 90, **fields}
    return [Sidecar(f"e{n}.nii.gz", {"EchoTime": time, **usual}) for n, time in enumerate(echo_times, 1)]


def test_fields_arrive_in_seconds_teslas_and_radians() -> None:
    acquisition, warnings = gradient_echo(sidecars(0.004, 0.008, PixelBandwidth=300, Manufacturer="X"))
    assert acquisition.echo_times == (0.004, 0.008)
    assert acquisition.field_strength == 3.0
    assert acquisition.repetition_time == 0.03
    assert acquisition.flip_angle == pytest.approx(math.pi / 2)
    assert dict(acquisition.details) == {"PixelBandwidth": 300, "Manufacturer": "X"}
    assert warnings == ()


def test_a_list_of_echo_times_belongs_to_a_4d_file() -> None:
    acquisition, _ = gradient_echo(sidecars([0.004, 0.008, 0.012]))
    assert acquisition.echo_times == (0.004, 0.008, 0.012)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"BipolarReadout": True}, "bipolar"),
        ({"BipolarReadout": False}, "monopolar"),
        ({"ReadoutMode": "Bipolar"}, "bipolar"),
        ({"MultiEchoReadoutMode": "MONOPOLAR"}, "monopolar"),
        ({"ReadoutMode": "Flyback"}, "monopolar"),
        ({"ReadoutMode": "cartesian"}, None),
    ],
)
def test_the_readout_is_taken_from_what_the_sidecar_says(
    fields: dict[str, Any], expected: str | None
) -> None:
    assert gradient_echo(sidecars(0.004, 0.008, **fields))[0].readout == expected


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (sidecars(0.004, None), r"e2\.nii\.gz has no EchoTime; add it to its JSON file, in seconds"),
        (sidecars([]), r"e1\.nii\.gz has no EchoTime"),
        (sidecars("4 ms"), r"EchoTime of e1\.nii\.gz must be a number, not '4 ms'"),
        (sidecars(True), r"EchoTime of e1\.nii\.gz must be a number"),
        (sidecars(4.0, 8.0), r"e1\.nii\.gz: the echo times 4, 8 look like milliseconds"),
        (sidecars(0.008, 0.004), r"e1\.nii\.gz: the echo times 0\.008, 0\.004 must increase"),
        (sidecars(0.004, 0.004), "must increase"),
        (sidecars(-0.004), "must be positive"),
        (
            sidecars(0.004, MagneticFieldStrength=None),
            r"e1\.nii\.gz has no MagneticFieldStrength; add it .* tesla",
        ),
        (
            sidecars(0.004, MagneticFieldStrength="3T"),
            r"MagneticFieldStrength of e1\.nii\.gz must be a number",
        ),
        (
            sidecars(0.004, MagneticFieldStrength=30000),
            r"e1\.nii\.gz: a field strength of 30000 T is not plausible",
        ),
        ([], r"the echo times are not known; give them in seconds, for example --echo-times"),
    ],
)
def test_what_is_missing_or_cannot_be_meant_is_refused(records: list[Sidecar], message: str) -> None:
    with pytest.raises(ScanError, match=message):
        gradient_echo(records)


def test_a_missing_field_strength_is_guessed_for_the_remedy_only() -> None:
    records = sidecars(0.004, MagneticFieldStrength=None, ImagingFrequency=123.2)
    with pytest.raises(ScanError, match=r"ImagingFrequency 123\.2 MHz suggests 2\.89"):
        gradient_echo(records)


def test_field_strengths_that_disagree_are_refused() -> None:
    records = [*sidecars(0.004), Sidecar("other.nii.gz", {"EchoTime": 0.008, "MagneticFieldStrength": 7})]
    with pytest.raises(ScanError, match=r"3 T \(e1\.nii\.gz\) and 7 T \(other\.nii\.gz\)"):
        gradient_echo(records)


def test_what_is_given_goes_before_the_sidecars_and_is_noted() -> None:
    acquisition, warnings = gradient_echo(sidecars(0.004, 0.008), echo_times=[0.005, 0.009], field_strength=7)
    assert (acquisition.echo_times, acquisition.field_strength) == ((0.005, 0.009), 7)
    assert any("0.004, 0.008 s" in warning for warning in warnings)


def test_a_single_echo_and_an_odd_repetition_time_are_noted() -> None:
    _, warnings = gradient_echo(sidecars(0.02, RepetitionTime=30))
    assert [("single echo" in w, "repetition time of 30 s" in w) for w in warnings] == [
        (False, True),
        (True, False),
    ]


def test_a_field_that_is_no_number_is_left_out_where_it_is_optional() -> None:
    acquisition, _ = gradient_echo(sidecars(0.004, 0.008, FlipAngle=[10, 20], RepetitionTime="n/a"))
    assert (acquisition.flip_angle, acquisition.repetition_time) == (None, None)
