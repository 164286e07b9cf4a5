"""The choices that all fitted models share, as they appear on the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mensura.fit import Bootstrap
from mensura.methods import Monitor, Tunable
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
Errors = Annotated[
    Literal["analytic", "bootstrap"],
    Tunable(
        "", "of the maps: Cramér and Rao's bound, or refits to residuals, right where noise differs by point"
    ),
]
Bootstraps = Annotated[int, Tunable("1", "refits of errors by bootstrap")]
Seed = Annotated[int, Tunable("1", "of the signs of errors by bootstrap")]


def keywords(
    noise: float, loss: str, errors: tuple[str, int, int], monitor: Monitor | None
) -> dict[str, Any]:
    """What every fit is told, as `fit_voxels` takes it; `errors`: how they are told, repeats and seed.

    ScanError for a choice of errors that there is not.
    """
    kind, *how = errors
    if kind not in ("analytic", "bootstrap"):
        raise ScanError(f"there are no errors {kind}; choose from analytic, bootstrap")
    bootstrap = Bootstrap(*how) if kind == "bootstrap" else None
    return {"noise": known_noise(noise), "loss": loss, "monitor": monitor, "bootstrap": bootstrap}


def known_noise(noise: float) -> float | None:
    """The noise as a fit takes it. ScanError for a negative one."""
    if noise < 0:
        raise ScanError(
            f"a noise of {noise:g} cannot be meant; give its standard deviation, or 0 if you do not know"
        )
    return noise or None
