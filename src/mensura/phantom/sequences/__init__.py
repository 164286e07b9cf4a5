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
    "MEGRE": Method("mensura.phantom.sequences.echoes:megre", ""),
    "VFA": Method("mensura.phantom.sequences.longitudinal:vfa", ""),
    "IRT1": Method("mensura.phantom.sequences.longitudinal:irt1", ""),
    "LookLocker": Method("mensura.phantom.sequences.longitudinal:look_locker", ""),
    "MP2RAGE": Method("mensura.phantom.sequences.longitudinal:mp2rage", ""),
    "MESE": Method("mensura.phantom.sequences.echoes:mese", ""),
    "MTR": Method("mensura.phantom.sequences.transfer:mtr", ""),
    "MTS": Method("mensura.phantom.sequences.transfer:mts", ""),
    "MPM": Method("mensura.phantom.sequences.transfer:mpm", ""),
    "TB1DAM": Method("mensura.phantom.sequences.transmit:tb1dam", ""),
    "TB1AFI": Method("mensura.phantom.sequences.transmit:tb1afi", ""),
    "TB1EPI": Method("mensura.phantom.sequences.transmit:tb1epi", ""),
    "fieldmap": Method("mensura.phantom.sequences.echoes:fieldmap", ""),
    "Dixon": Method("mensura.phantom.sequences.echoes:dixon", ""),
    "DCE": Method("mensura.phantom.sequences.perfusion:dce", ""),
}
"""Every sequence by its name (the BIDS suffix where there is one)."""


def protocol(name: str, settings: Mapping[str, Any] | None = None) -> Protocol:
    """Name out of `SEQUENCES` and settings → the sequence; ScanError for what it does not know."""
    if name not in SEQUENCES:
        raise ScanError(f"there is no sequence {name!r}; choose from {', '.join(SEQUENCES)}")
    made: Protocol = SEQUENCES[name].function(**SEQUENCES[name].resolve(settings or {}))
    return made
