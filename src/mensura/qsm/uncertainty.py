"""What a susceptibility map implies, and how sure it is: the field it explains, and its standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.methods import Monitor, Tunable
from mensura.qsm import edges, kernels
from mensura.qsm.box import on_box
from mensura.qsm.probing import centred, level, local_std, total_variation, white_noise
from mensura.scan import BoolArray, FloatArray, Grid, ScanError, Volume

LINEARISED = ("tfi", "smv_tv", "smv_medi")
"""Methods whose response to noise is that of total variation with the dipole as its data term: what a one-step method
filters from the field besides is smooth, and hardly changes the noise."""

Images = Mapping[str, FloatArray | BoolArray | None]


def explained_field(chi: FloatArray, mask: BoolArray, grid: Grid) -> FloatArray:
    """Susceptibility (ppm) → the field of these sources (ppm), f = d ∗ χ, zero outside the mask.

    d is the unit dipole; the volume is padded by half its size. Not-a-number counts as 0.
    """
    shape = _padded(grid)
    source = np.where(mask & np.isfinite(chi), chi, np.float32(0))
    return crop(irfft(rfft(pad(source, shape)) * kernels.dipole(shape, grid), shape[2]), mask.shape) * mask


@dataclass(frozen=True)
class Inversion:
    """How a susceptibility map was made: stage, method (default: that of the stage), and its parameters."""

    stage: str = "background+dipole"
    method: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.method or self._stage().default

    @property
    def resolved(self) -> Mapping[str, Any]:
        return self._stage().method(self.name).resolve(self.parameters)  # type: ignore[no-any-return]

    def of(self, images: Images, grid: Grid, noise: FloatArray) -> FloatArray:
        """Everything that the method takes (ppm), and noise to add to its field (ppm) → χ (ppm)."""
        from mensura.methods import call

        units = self._stage().consumes
        given = {name: image for name, image in images.items() if name in units and image is not None}
        source = next(iter(units))
        if source not in given:
            words = source.replace("_", " ")
            raise ScanError(f"the noise goes through {self.name} itself, from the {words}; provide it")
        given[source] = given[source] + noise
        volumes = {name: Volume(image, grid, units[name]) for name, image in given.items()}
        return np.asarray(call(self._stage(), self.name, volumes, self.parameters)["chi"].data)

    def _stage(self) -> Any:
        from mensura.qsm.stages import STAGES

        return STAGES[self.stage]


@on_box
def probed(
    field_std: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    chi: FloatArray,
    total_field: FloatArray | None = None,
    local_field: FloatArray | None = None,
    magnitude: FloatArray | None = None,
    inversion: Inversion | None = None,
    probes: Annotated[int, Tunable("1", "noise fields carried through the linearised inversion")] = 2,
    width: Annotated[float, Tunable("mm", "width of the neighbourhood that shares its noise")] = 3.0,
    seed: Annotated[int, Tunable("", "of the random numbers")] = 0,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Standard deviation of the field and χ (ppm) → standard deviation of χ (ppm), zero outside the mask.

    Fields of random noise σ·n are carried to χ through the inversion linearised at the map: for total variation in
    one step (`tfi`, `smv_medi`, `smv_tv`) by a few conjugate gradient steps (see `probing`), for any other method,
    whose derivative is not at hand, by making the map once more from a field with more noise. Their size is
    averaged over a neighbourhood of `width`. Errors of the model (background, motion) are not in it.

    ScanError if no voxel has a finite standard deviation, and where a method needs its field and does not have it.
    """
    made = inversion or Inversion()
    noise = level(field_std, mask)
    if made.name in LINEARISED:
        prior = _prior(made, magnitude, mask, grid)
        carry = total_variation(chi, field_std, mask, grid, **prior, monitor=monitor)
        changes = [carry(noise * white_noise(grid, seed, draw)) for draw in range(max(probes, 1))]
    else:
        images = _images(mask, field_std, total_field, local_field, magnitude)
        again = made.of(images, grid, noise * white_noise(grid, seed, 0))
        changes = [centred(again - chi, mask)]
    return local_std(changes, mask, grid, width)


@on_box
def resampled(
    field_std: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    total_field: FloatArray | None = None,
    local_field: FloatArray | None = None,
    magnitude: FloatArray | None = None,
    inversion: Inversion | None = None,
    runs: Annotated[int, Tunable("1", "maps made of the field with noise added")] = 4,
    width: Annotated[float, Tunable("mm", "width of the neighbourhood that shares its noise")] = 3.0,
    seed: Annotated[int, Tunable("", "of the random numbers")] = 0,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Field and its standard deviation (ppm) → standard deviation of χ (ppm), zero outside the mask.

    The method that made χ is run again and again on the field plus noise of its standard deviation; what its maps
    scatter by, over `runs` and a neighbourhood of `width`, is the answer. Nothing is assumed of the method, and
    it takes `runs` times as long. Errors of the model (background, motion) are not in it.
    Robson et al. 2008, doi:10.1002/mrm.21728; there noise is added to k-space, here to the field.

    ScanError for fewer than 2 runs, if no voxel has a finite standard deviation, or if the method's field is missing.
    """
    if runs < 2:
        raise ScanError(f"a scatter needs at least 2 runs, not {runs}")
    made, noise = inversion or Inversion(), level(field_std, mask)
    images = _images(mask, field_std, total_field, local_field, magnitude)
    maps = []
    for draw in range(runs):
        maps.append(centred(made.of(images, grid, noise * white_noise(grid, seed, draw)), mask))
        if monitor is not None:
            monitor(draw + 1, runs, 1 / (draw + 1))
    mean = np.mean(maps, axis=0, dtype=np.float64).astype(np.float32)
    unbiased = np.float32(np.sqrt(runs / (runs - 1)))
    return local_std([(one - mean) * unbiased for one in maps], mask, grid, width)


def closed_form(
    field_std: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    weight: Annotated[
        float, Tunable("1", "Tikhonov weight of the linear inverse that carries the noise")
    ] = 0.02,
) -> FloatArray:
    """Standard deviation of the field (ppm) → standard deviation of χ (ppm), zero outside the mask.

    Var χ = h² ∗ σ² for independent noise σ in each voxel, with the kernel h of the linear inverse
    D / (D² + weight). For a linear inversion with this kernel this is exact; a map that knows its edges is
    quieter in flat regions and noisier at edges. Errors of the model (background, motion) are not in it.

    ScanError if no voxel has a finite standard deviation. Kressler et al. 2010, doi:10.1109/TMI.2009.2023787.
    """
    variance = np.square(level(field_std, mask)).astype(np.float32)
    shape = _padded(grid)
    dipole = kernels.dipole(shape, grid)
    kernel = irfft((dipole / (dipole * dipole + np.float32(weight))).astype(np.complex64), shape[2])
    spread = irfft(rfft(kernel * kernel) * rfft(pad(variance, shape)), shape[2])
    return np.sqrt(np.maximum(crop(spread, mask.shape), 0)) * mask


def _prior(made: Inversion, magnitude: FloatArray | None, mask: BoolArray, grid: Grid) -> dict[str, Any]:
    """The weight of the total variation and what a slope costs, as the method has them."""
    weight = float(made.resolved["weight"])
    if made.name == "smv_tv":
        return {"weight": weight}
    return {"weight": weight, "edges": edges.graded(magnitude, mask, grid)}


def _images(mask: BoolArray, field_std: FloatArray, *rest: FloatArray | None) -> Images:
    names = ("total_field", "local_field", "magnitude")
    return {"mask": mask, "field_std": field_std, **dict(zip(names, rest, strict=True))}


def _padded(grid: Grid) -> tuple[int, int, int]:
    return fast_shape(grid.shape, [int(np.ceil(n / 2)) for n in grid.shape])
