"""What gradients did, wherever a vendor writes it: the b-value of an image, and which way it was phase encoded."""

from __future__ import annotations

import warnings
from typing import Any

from mensura.io.dicom.attributes import Look, floats, listed, to_number, to_text
from mensura.io.dicom.frames import vendor

B_VALUES = {"siemens": "siemens_b", "philips": "philips_b", "uih": "uih_b"}
GE_OFFSET = 10**6
"""GE adds a multiple of this (1e9, mostly) to b-values of tensors and several shells; where it uses other pulses, the
attribute means something else."""
OPPOSITE = {"AP": "PA", "PA": "AP", "LR": "RL", "RL": "LR", "HF": "FH", "FH": "HF"}
AXES = (("RL", "LR"), ("AP", "PA"), ("FH", "HF"))
"""From where to where along the patient's axes (left, back, head), forwards and backwards."""


def b_value(look: Look) -> float:
    """Of an image, s/mm²: by the standard's attribute, else that of the vendor; 0 where none is stated."""
    maker = vendor(to_text(look("Manufacturer")))
    for name in ("DiffusionBValue", *([B_VALUES[maker]] if maker in B_VALUES else [])):
        found = floats(look(name))
        if found:
            return max(found[0], 0.0)
    ge = floats(look("ge_b")) if maker == "ge" and "EP" in listed(look("ScanningSequence")) else ()
    return max(ge[0], 0.0) % GE_OFFSET if ge else 0.0


def averaged(look: Look) -> bool:
    """Whether a diffusion-weighted image is the mean over directions (trace) that a scanner stores beside them."""
    return to_text(look("DiffusionDirectionality")).upper() == "ISOTROPIC" and b_value(look) > 0


def direction(look: Look) -> str:
    """Which way an image was phase encoded (AP, PA, LR, RL, HF, FH); empty where the header does not tell the way.

    The standard tells the axis alone. Siemens says whether it is run forwards; GE by the order of the lines. Philips
    does not say it.
    """
    signs, maker = {"siemens": _siemens, "ge": _ge}, vendor(to_text(look("Manufacturer")))
    sign = signs[maker](look) if maker in signs else 0
    orientation = floats(look("ImageOrientationPatient"))
    axis = to_text(look("InPlanePhaseEncodingDirection")).upper()[:3]
    if not sign or len(orientation) != 6 or axis not in ("ROW", "COL"):
        return ""
    way = [sign * part for part in (orientation[:3] if axis == "ROW" else orientation[3:])]
    most = max(range(3), key=lambda n: abs(way[n]))
    return AXES[most][way[most] < 0]


def _siemens(look: Look) -> int:
    """1 forwards, -1 backwards, 0 not told."""
    stated = to_number(look("siemens_forwards"))
    if stated is None:
        stated = to_number(_csa(look("siemens_csa"), "PhaseEncodingDirectionPositive"))
    return 0 if stated is None else 1 if stated else -1


def _ge(look: Look) -> int:
    return {"REVERSE_LINEAR": 1, "LINEAR": -1}.get(
        to_text(look("RectilinearPhaseEncodeReordering")).upper(), 0
    )


def _csa(block: Any, name: str) -> Any:
    """A value of Siemens' own header of an image; None where it is absent or damaged."""
    if not isinstance(block, bytes) or not block:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader

        try:
            found = csareader.read(block)["tags"][name]["items"]  # type: ignore[no-untyped-call]
        except Exception:
            return None
    return next(iter(listed(found)), None)
