"""What the protons of every tissue are, laid out on the lattice on which signals are tabulated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.acquire import B1_NODES, TEXTURE_NODES
from mensura.phantom.dispersion import at_field
from mensura.phantom.labels import Label
from mensura.phantom.tissues import TISSUES, Tissue, properties

Lattice = NDArray[np.float64]
VARIATION = {"density": 0.015, "t1": 0.03, "t2": 0.03, "r2prime": 0.08, "mt_saturation": 0.03, "ktrans": 0.1}
"""Relative change of a property where the texture is one standard deviation up (density, T1, T2, Ktrans grow
together, R2′ and MT shrink, as where there is more water)."""
FALLING = {"r2prime", "mt_saturation"}
UNIFORM_BELOW = 0.005
"""Tissues whose χ varies by less (ppm), fluids and vials, do not vary in their other properties either."""


@dataclass(frozen=True, eq=False)
class Material:
    """One kind of proton (water or fat) in every tissue: arrays (label, texture, 1) that broadcast with `b1` (B1).

    `density` relative to water, `t1`, `t2` in s, `r2prime` in 1/s, `mt_saturation` the fraction that one
    reference MT pulse removes, `ktrans` in 1/s, `ve`, `vp`; `field_strength` in T; `is_fat`.
    """

    density: Lattice
    t1: Lattice
    t2: Lattice
    r2prime: Lattice
    mt_saturation: Lattice
    ktrans: Lattice
    ve: Lattice
    vp: Lattice
    b1: Lattice
    field_strength: float
    is_fat: bool = False

    @property
    def r2star(self) -> Lattice:
        """1/T2 + R2′, 1/s."""
        return 1 / self.t2 + self.r2prime


def varied(name: str, tissues: dict[int, Tissue], field_strength: float, nodes: Lattice) -> Lattice:
    """A property at the nodes of the tissues' texture (standard deviations): (label, texture)."""
    value = properties(name, tissues, field_strength).astype(np.float64)
    uneven = properties("texture", tissues).astype(np.float64) >= UNIFORM_BELOW
    change = VARIATION.get(name, 0.0) * (-1 if name in FALLING else 1)
    return np.asarray(value[:, None] * np.exp(change * np.where(uneven, 1.0, 0.0)[:, None] * nodes))


def materials(tissues: dict[int, Tissue], field_strength: float) -> tuple[Material, Material | None]:
    """Property table, field strength (T) → the water and the fat of every tissue (None where nothing is fatty).

    The fat of any tissue relaxes as adipose tissue does.
    """
    uneven = bool((properties("texture", tissues) >= UNIFORM_BELOW).any())
    nodes = TEXTURE_NODES if uneven else np.zeros(1)

    def lattice(name: str) -> Lattice:
        return varied(name, tissues, field_strength, nodes)[..., None]

    fatty, density = lattice("fat_fraction"), lattice("density")
    t1, t2 = np.maximum(lattice("t1"), 1e-3), np.maximum(lattice("t2"), 1e-4)
    b1 = B1_NODES[None, None, :]
    water = Material(
        density=density * (1 - fatty),
        t1=t1,
        t2=t2,
        r2prime=lattice("r2prime"),
        mt_saturation=lattice("mt_saturation"),
        ktrans=lattice("ktrans"),
        ve=lattice("ve"),
        vp=lattice("vp"),
        b1=b1,
        field_strength=field_strength,
    )
    if not fatty.any():
        return water, None
    pure, none = TISSUES[Label.FAT], np.zeros_like(t1)
    fat = replace(
        water,
        density=density * fatty,
        t1=np.full_like(t1, at_field(pure.t1, field_strength)),
        t2=np.full_like(t2, at_field(pure.t2, field_strength)),
        mt_saturation=none,
        ktrans=none,
        ve=none,
        vp=none,
        is_fat=True,
    )
    return water, fat
