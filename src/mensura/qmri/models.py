"""The tables of relaxometry: the methods of the QSM job's R2*, and every model that is fitted to a series of images."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mensura.methods import Method, Stage

R2STAR = Stage(
    "estimate the effective transverse relaxation rate from the decay of the magnitude over the echoes",
    {"magnitude": "arbitrary", "mask": "1", "echo_times": "s", "total_field": "ppm", "hz_per_ppm": "Hz"},
    {"r2star": "1/s", "r2star_std": "1/s", "status": "1"},
    {
        "noise_floor": Method("mensura.qmri.estimators:noise_floor", "10.1002/mrm.1910360216"),
        "arlo": Method("mensura.qmri.estimators:arlo", "10.1002/mrm.25137"),
        "loglinear": Method("mensura.qmri.estimators:loglinear", "10.1002/hbm.20076"),
    },
)
"""The R2* methods, each f(magnitude, mask, grid, *, echo_times, total_field, hz_per_ppm, tunables) → (r2star,
r2star_std, status)."""

STAGES: Mapping[str, Stage] = {"r2star": R2STAR}


@dataclass(frozen=True)
class Model:
    """A function f(signals (n, images), what varies, *, …) → `Estimates`, and the maps that it makes.

    `path` and `doi` as of a method; `produces`: map (BIDS suffix) → unit; `signed`: signals may be negative.
    """

    path: str
    doi: str
    produces: Mapping[str, str]
    signed: bool = False

    @property
    def method(self) -> Method:
        return Method(self.path, self.doi)

    @property
    def varied(self) -> str:
        """What differs from image to image (an argument), or "" where the order of the images tells."""
        names = list(inspect.signature(self.method.function).parameters.values())
        second = names[1] if len(names) > 1 else None
        return second.name if second and second.kind is not inspect.Parameter.KEYWORD_ONLY else ""

    @property
    def takes_b1(self) -> bool:
        """Whether it can be corrected by a map of the transmit field."""
        return "b1" in self.method.arguments

    @property
    def takes_t1(self) -> bool:
        """Whether it can be told the T1 of each voxel."""
        return "t1_map" in self.method.arguments

    @property
    def of_field(self) -> str:
        """The argument that tells it of the static field: "b0" (Hz) or "field_rises" (Hz across the voxel, by axis);
        "" if that does not enter its signals."""
        return next((name for name in FIELD if name in self.method.arguments), "")

    @property
    def takes_phase(self) -> bool:
        """Whether its signals may be complex."""
        first = next(iter(inspect.signature(self.method.function).parameters.values()))
        return "Complex" in str(first.annotation)


def _model(function: str, doi: str, **produces: str) -> Model:
    return Model(f"mensura.qmri.{function}", doi, produces)


def _signed(function: str, doi: str, **produces: str) -> Model:
    return replace(_model(function, doi, **produces), signed=True)


FIELD = ("b0", "field_rises")
"""What the static field is to a model that takes it."""
A = "arbitrary"
DENSITY = {"PDmap": "percent", "MTVmap": "percent"}
"""What the pipeline makes of M0 and T1 where there is a brain (`qmri.density`)."""
MODELS: Mapping[str, Model] = {
    "inversion_recovery": _signed(
        "t1:inversion_recovery", "10.1002/mrm.22497", T1map="s", M0map=A, IEmap="1"
    ),
    "saturation_recovery": _model("t1:saturation_recovery", "10.1002/mrm.22497", T1map="s", M0map=A),
    "look_locker": _signed("t1:look_locker", "10.1016/0022-2364(92)90347-A", T1map="s", T1starmap="s"),
    "variable_flip_angle": _model(
        "t1:variable_flip_angle", "10.1002/mrm.21669", T1map="s", M0map=A, **DENSITY
    ),
    "despot1": _model("despot1:despot1", "10.1002/mrm.10407", T1map="s", M0map=A),
    "despot1_hifi": _signed("hifi:despot1_hifi", "10.1002/jmri.21130", T1map="s", M0map=A, TB1map="1"),
    "mp2rage": _signed("mp2rage:mp2rage", "10.1016/j.neuroimage.2009.10.002", T1map="s", UNIT1="1"),
    "spin_echo": _model("t2:spin_echo", "10.1103/PhysRev.80.580", T2map="s", M0map=A, offsetmap=A),
    "spin_echo_train": _model("t2:spin_echo_train", "10.1002/mrm.22487", T2map="s", M0map=A, TB1map="1"),
    "spectrum": _model(
        "t2:spectrum", "10.1016/0022-2364(89)90011-5", MWFmap="percent", T2map="s", TB1map="1"
    ),
    "r2star": _model("t2star:effective_decay", "10.1002/mrm.23306", R2starmap="1/s", T2starmap="s", S0map=A),
    "double_angle": _model("b1:double_angle", "10.1006/jmra.1993.1133", TB1map="1"),
    "actual_flip_angle": _model("b1:actual_flip_angle", "10.1002/mrm.21120", TB1map="1"),
    "bloch_siegert": _signed("b1:bloch_siegert", "10.1002/mrm.22357", TB1map="1"),
    "spin_and_stimulated_echo": _model("b1:spin_and_stimulated_echo", "10.1002/mrm.21083", TB1map="1"),
    "sa2rage": _signed("mp2rage:sa2rage", "10.1002/mrm.23145", TB1map="1"),
    "flip_angle_map": _signed("b1:flip_angle_map", "10.1002/mrm.22423", TB1map="1"),
    "mt_ratio": _model("mt:magnetization_transfer_ratio", "10.1002/nbm.683", MTRmap="percent"),
    "mt_saturation": _model(
        "mt:magnetization_transfer_saturation",
        "10.1002/mrm.21732",
        MTsat="percent",
        T1map="s",
        M0map=A,
        **DENSITY,
    ),
    "adc": Model(
        "mensura.qmri.diffusion:apparent_diffusion",
        "10.1148/radiology.161.2.3763909",
        {"model-monoexponential_param-adc_dwimap": "mm^2/s", "model-monoexponential_param-s0_dwimap": A},
    ),
    "dti": Model(
        "mensura.qmri.diffusion:diffusion_tensor",
        "10.1006/jmrb.1994.1037",
        {
            f"model-DTI_param-{name}_dwimap": unit
            for name, unit in {"fa": "1", "md": "mm^2/s", "ad": "mm^2/s", "rd": "mm^2/s"}.items()
        },
    ),
    "mpm": _model(
        "mpm:multi_parameter",
        "10.1016/j.neuroimage.2019.01.029",
        R1map="1/s",
        T1map="s",
        R2starmap="1/s",
        MTsat="percent",
        M0map=A,
        **DENSITY,
    ),
}
"""Every model of a series of images, by the name that the command line knows."""
