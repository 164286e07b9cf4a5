"""The choices that all fitted models share, as they appear on the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from mensura.methods import Tunable
from mensura.scan import ScanError

Noise = Annotated[
    float, Tunable("signal", "standard deviation of the noise of a channel; 0: the residuals tell")
]
Loss = Annotated[
    Literal["none", "tukey", "huber", "geman_mcclure"],
    Tunable("", "how corrupted points are kept from counting"),
]
Likelihood = Annotated[
    Literal["gaussian", "rician", "noise_floor"],
    Tunable("", "of magnitudes; all but gaussian need the noise"),
]


def known_noise(noise: float) -> float | None:
    """The noise as a fit takes it. ScanError for a negative one."""
    if noise < 0:
        raise ScanError(
            f"a noise of {noise:g} cannot be meant; give its standard deviation, or 0 if you do not know"
        )
    return noise or None
