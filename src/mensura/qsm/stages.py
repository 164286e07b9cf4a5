"""The stages of susceptibility mapping, the methods that do them, and the one door to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mensura.methods import Method, Monitor, Stage, call
from mensura.scan import ScanError, Volume

STAGES: Mapping[str, Stage] = {
    "offset": Stage(
        "remove the receive coils' phase offset, so that the phase is proportional to the echo time",
        {"phase": "rad", "mask": "1", "magnitude": "arbitrary", "echo_times": "s"},
        {"phase": "rad"},
        {
            "mcpc3ds": Method("mensura.qsm.offset:mcpc3ds", "10.1002/mrm.26963"),
            "none": Method("mensura.qsm.offset:none", ""),
        },
    ),
    "unwrap": Stage(
        "remove the wraps, consistently over the echoes",
        {"phase": "rad", "mask": "1", "magnitude": "arbitrary", "echo_times": "s"},
        {"unwrapped_phase": "rad"},
        {
            "romeo": Method("mensura.qsm.unwrap:romeo", "10.1002/mrm.28563"),
            "laplacian": Method("mensura.qsm.unwrap:laplacian", "10.1364/OL.28.001194"),
        },
    ),
    "field": Stage(
        "fit the total field to the phase of all echoes, with its noise",
        {
            "unwrapped_phase": "rad",
            "mask": "1",
            "magnitude": "arbitrary",
            "echo_times": "s",
            "hz_per_ppm": "Hz",
        },
        {"total_field": "ppm", "field_std": "ppm", "field_error": "ppm", "residual": "1"},
        {
            "nonlinear": Method("mensura.qsm.field:nonlinear", "10.1002/mrm.24272"),
            "weighted": Method("mensura.qsm.field:weighted", "10.1016/j.neuroimage.2011.07.019"),
            "linear": Method("mensura.qsm.field:linear", ""),
        },
    ),
    "background": Stage(
        "remove the field of sources outside the mask",
        {"total_field": "ppm", "mask": "1", "field_std": "ppm"},
        {"local_field": "ppm", "mask": "1"},
        {
            "joint": Method("mensura.qsm.background.pdf:joint", "10.1002/mrm.26331"),
            "vsharp": Method("mensura.qsm.background.sharp:vsharp", "10.1002/mrm.23000"),
            "pdf": Method("mensura.qsm.background.pdf:pdf", "10.1002/nbm.1670"),
            "lbv": Method("mensura.qsm.background.lbv:lbv", "10.1002/nbm.3064"),
            "sharp": Method("mensura.qsm.background.sharp:sharp", "10.1016/j.neuroimage.2010.10.070"),
            "resharp": Method("mensura.qsm.background.sharp:resharp", "10.1002/mrm.24765"),
            "ismv": Method("mensura.qsm.background.sharp:ismv", "10.1002/mrm.24998"),
            "harperella": Method("mensura.qsm.background.harperella:harperella", "10.1002/nbm.3056"),
        },
    ),
    "dipole": Stage(
        "invert the local field to susceptibility",
        {
            "local_field": "ppm",
            "mask": "1",
            "field_std": "ppm",
            "magnitude": "arbitrary",
            "r2star": "1/s",
        },
        {"chi": "ppm"},
        {
            "tv": Method("mensura.qsm.dipole.tv:tv", "10.1002/mrm.25029"),
            "tgv": Method("mensura.qsm.dipole.tgv:tgv", "10.1137/090769521"),
            "nonlinear_tv": Method("mensura.qsm.dipole.nonlinear:nonlinear_tv", "10.1002/mrm.27073"),
            "nonlinear_tgv": Method("mensura.qsm.dipole.nonlinear:nonlinear_tgv", "10.1002/mrm.27073"),
            "l1_tv": Method("mensura.qsm.dipole.l1:l1_tv", "10.1002/mrm.28957"),
            "hd_qsm": Method("mensura.qsm.dipole.hd:hd_qsm", "10.1002/mrm.29218"),
            "wh_qsm": Method("mensura.qsm.dipole.wh:wh_qsm", "10.1002/mrm.27483"),
            "medi": Method("mensura.qsm.dipole.medi:medi", "10.1002/mrm.24272"),
            "medi0": Method("mensura.qsm.dipole.medi:medi0", "10.1002/mrm.26946"),
            "ndi": Method("mensura.qsm.dipole.ndi:ndi", "10.1002/nbm.4271"),
            "ilsqr": Method("mensura.qsm.dipole.ilsqr:ilsqr", "10.1016/j.neuroimage.2014.12.043"),
            "star": Method("mensura.qsm.dipole.star:star", "10.1002/nbm.3383"),
            "rts": Method("mensura.qsm.dipole.rts:rts", "10.1016/j.neuroimage.2017.11.018"),
            "tikhonov": Method("mensura.qsm.dipole.direct:tikhonov", "10.1002/mrm.25029"),
            "tsvd": Method("mensura.qsm.dipole.direct:tsvd", "10.1002/mrm.22334"),
            "tkd": Method("mensura.qsm.dipole.direct:tkd", "10.1002/mrm.22135"),
        },
    ),
    "background+dipole": Stage(
        "from the total field to susceptibility in one step",
        {"total_field": "ppm", "mask": "1", "field_std": "ppm", "magnitude": "arbitrary"},
        {"chi": "ppm"},
        {
            "tfi": Method("mensura.qsm.single_step.tfi:tfi", "10.1002/mrm.26331"),
            "smv_medi": Method("mensura.qsm.single_step.smv:smv_medi", "10.1016/j.neuroimage.2011.08.082"),
            "smv_tv": Method("mensura.qsm.single_step.smv:smv_tv", "10.1002/nbm.3570"),
            "smv_tgv": Method("mensura.qsm.single_step.smv:smv_tgv", "10.1137/090769521"),
            "tgv_qsm": Method("mensura.qsm.single_step.tgv_qsm:tgv_qsm", "10.1016/j.neuroimage.2015.02.041"),
        },
    ),
    "reference": Stage(
        "set the zero of susceptibility",
        {"chi": "ppm", "mask": "1", "r2star": "1/s", "reference_region": "1"},
        {"chi": "ppm", "reference_region": "1"},
        {
            "whole_mask": Method("mensura.qsm.reference:whole_mask", "10.1002/mrm.30006"),
            "csf": Method("mensura.qsm.reference:csf", "10.1002/mrm.26946"),
            "region": Method("mensura.qsm.reference:region", "10.1002/mrm.30006"),
            "none": Method("mensura.qsm.reference:none", ""),
        },
    ),
    "uncertainty": Stage(
        "carry the noise of the field through to susceptibility",
        {
            "field_std": "ppm",
            "mask": "1",
            "chi": "ppm",
            "total_field": "ppm",
            "local_field": "ppm",
            "magnitude": "arbitrary",
            "inversion": "",
        },
        {"chi_std": "ppm"},
        {
            "probed": Method("mensura.qsm.uncertainty:probed", ""),
            "resampled": Method("mensura.qsm.uncertainty:resampled", "10.1002/mrm.21728"),
            "closed_form": Method("mensura.qsm.uncertainty:closed_form", "10.1109/TMI.2009.2023787"),
        },
    ),
}
"""Every stage with what it consumes and produces (artifact: unit); its first method is the default."""


def run(
    stage: str,
    method: str,
    artifacts: Mapping[str, Volume | Any],
    *,
    monitor: Monitor | None = None,
    **parameters: Any,
) -> dict[str, Volume]:
    """A stage, a method and volumes by artifact name → the volumes that the stage produces.

    Acquisition values (`echo_times`, `hz_per_ppm`) go among the artifacts as they are. ScanError for an
    unknown stage, method or parameter, a missing artifact, and units or grids that do not fit.
    """
    if stage not in STAGES:
        raise ScanError(f"there is no stage {stage!r}; choose from {', '.join(STAGES)}")
    return call(STAGES[stage], method, artifacts, parameters, monitor)
