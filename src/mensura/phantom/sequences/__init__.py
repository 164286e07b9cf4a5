"""The sequences: what each records of a material, under which names and with which sidecar. One table.

A sequence is a function of its settings that returns a `Protocol`; its keyword-only arguments are its parameters
on the command line and in the configuration. A new sequence is a function and a line in `SEQUENCES`. The signals
themselves are the equations of `mensura.qmri`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mensura.methods import Method
from mensura.phantom.sequences.protocol import Protocol
from mensura.scan import ScanError

SEQUENCES: Mapping[str, Method] = {
    "MEGRE": Method("mensura.phantom.sequences.echoes:megre", "10.1063/1.1719961"),
    "VFA": Method("mensura.phantom.sequences.longitudinal:vfa", "10.1063/1.1719961"),
    "IRT1": Method("mensura.phantom.sequences.longitudinal:irt1", "10.1002/mrm.22497"),
    "LookLocker": Method("mensura.phantom.sequences.longitudinal:look_locker", "10.1063/1.1684482"),
    "MP2RAGE": Method("mensura.phantom.sequences.longitudinal:mp2rage", "10.1016/j.neuroimage.2009.10.002"),
    "MESE": Method("mensura.phantom.sequences.echoes:mese", "10.1002/jmri.24619"),
    "MTR": Method("mensura.phantom.sequences.transfer:mtr", "10.1002/mrm.21732"),
    "MTS": Method("mensura.phantom.sequences.transfer:mts", "10.1002/mrm.21732"),
    "MPM": Method("mensura.phantom.sequences.transfer:mpm", "10.3389/fnins.2013.00095"),
    "TB1DAM": Method("mensura.phantom.sequences.transmit:tb1dam", "10.1006/jmra.1993.1133"),
    "TB1AFI": Method("mensura.phantom.sequences.transmit:tb1afi", "10.1002/mrm.21120"),
    "TB1EPI": Method("mensura.phantom.sequences.transmit:tb1epi", "10.1002/mrm.21083"),
    "fieldmap": Method("mensura.phantom.sequences.echoes:fieldmap", "10.1063/1.1719961"),
    "Dixon": Method("mensura.phantom.sequences.echoes:dixon", "10.1002/nbm.1622"),
    "DCE": Method("mensura.phantom.sequences.perfusion:dce", "10.1002/mrm.21066"),
}
"""Every sequence by its name (the BIDS suffix where there is one)."""


def protocol(name: str, settings: Mapping[str, Any] | None = None) -> Protocol:
    """Name out of `SEQUENCES` and settings → the sequence; ScanError for what it does not know."""
    if name not in SEQUENCES:
        raise ScanError(f"there is no sequence {name!r}; choose from {', '.join(SEQUENCES)}")
    made: Protocol = SEQUENCES[name].function(**SEQUENCES[name].resolve(settings or {}))
    return made
