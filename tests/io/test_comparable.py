"""Images that were corrected in different ways are told apart, those that were not are left in peace."""

from mensura.io.comparable import differences


def test_mixed_corrections_are_told_once() -> None:
    flat = {
        "NonlinearGradientCorrection": True,
        "GradientDistortionCorrection": "2D",
        "PrescanNormalize": False,
    }
    bent = {
        "NonlinearGradientCorrection": False,
        "GradientDistortionCorrection": "none",
        "PrescanNormalize": False,
    }
    (told,) = differences([flat, bent])
    assert "2D and none" in told
    assert differences([flat, flat]) == differences([{}, {}]) == differences([]) == ()


def test_correction_in_plane_is_not_that_in_space() -> None:
    told = [{"NonlinearGradientCorrection": True, "GradientDistortionCorrection": d} for d in ("2D", "3D")]
    assert len(differences(told)) == 1


def test_what_one_sidecar_states_and_another_does_not_is_a_difference() -> None:
    assert "not stated" in differences([{"PrescanNormalize": True}, {}])[0]
