"""The scan of an anatomy: labels on a fine grid → χ → field → shim → complex echoes; and the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mensura.phantom.forward import add_noise, block_mean, gradient_echo, noise_sigma
from mensura.phantom.freespace import convolve, dipole_spectrum
from mensura.phantom.shapes import Points, Waves, random_waves
from mensura.phantom.surroundings import add_surroundings
from mensura.phantom.tissues import AIR_CHI, Tissue, properties, spoiled_signal
from mensura.phantom.vessels import Vessel, paint
from mensura.scan import BoolArray, FloatArray, GradientEcho, Grid, ScanError

Labels = NDArray[np.uint8]
SCALE = 1e4
"""Signal of fully relaxed water at 90°, in the arbitrary unit of the magnitude."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Anything that can be scanned.

    `tissue_at` takes points (mm, scanner axes) to labels and to whether each point lies in the brain; it
    must answer anywhere. `tissues` is the property table that the labels index; `vessels` are drawn over the
    labels in `covered`.
    """

    tissue_at: Callable[[Points], tuple[Labels, BoolArray]]
    tissues: Mapping[int, Tissue]
    vessels: Sequence[Vessel] = ()
    covered: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated scan and its truth, all on `grid`.

    `echoes` complex (x, y, z, echo); `mask` the brain; `labels` the tissue that fills most of a voxel; `chi`
    the mean susceptibility of a voxel relative to the mean over the mask (ppm, 0 outside), `chi_reference`
    that mean relative to water (ppm); `total_field` after shimming and `local_field`, the field of `chi`
    alone (both ppm, everywhere); `r2star` the signal-weighted mean (1/s); `phase_offset` (rad); `sigma` the
    noise's standard deviation per channel.
    """

    grid: Grid
    acquisition: GradientEcho
    echoes: NDArray[np.complex64]
    mask: BoolArray
    labels: Labels
    chi: FloatArray
    chi_reference: float
    total_field: FloatArray
    local_field: FloatArray
    r2star: FloatArray
    phase_offset: FloatArray
    sigma: float

    @property
    def magnitude(self) -> FloatArray:
        """|echoes|, (x, y, z, echo)."""
        return np.abs(self.echoes)

    @property
    def phase(self) -> FloatArray:
        """Wrapped phase of the echoes (rad), (x, y, z, echo)."""
        return np.angle(self.echoes).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class _Flaws:
    """Smooth random functions of position: receive bias and phase, texture of χ and of R2*."""

    bias: Waves
    phase: Waves
    texture: Waves
    decay: Waves
    constant: float

    @classmethod
    def draw(cls, seed: int) -> _Flaws:
        random = np.random.default_rng([seed, 1])
        return cls(
            random_waves(random, 5, (180, 400)),
            random_waves(random, 6, (160, 400)),
            random_waves(random, 140, (3, 40)),
            random_waves(random, 60, (5, 40)),
            float(random.uniform(-np.pi, np.pi)),
        )


@dataclass(frozen=True, eq=False)
class _Scene:
    """What stands in the scanner, on the fine grid: labels and (shimmed) field."""

    labels: Labels
    field: FloatArray
    grid: Grid
    tissues: dict[int, Tissue]


def simulate(
    anatomy: Anatomy,
    grid: Grid,
    acquisition: GradientEcho,
    *,
    snr: float = 50.0,
    seed: int = 0,
    supersampling: int = 2,
    phase_offset: float = 1.5,
) -> Simulation:
    """Anatomy, grid, acquisition → complex echoes with noise, and the truth.

    Labels are sampled `supersampling` times finer along each axis than the output; χ, field and signal are
    simulated on that grid, in free space with all that lies outside the field of view, and the complex signal
    is averaged over blocks. The field is shimmed up to second order over the brain. `snr` is the mean
    magnitude of the first echo in the brain over the noise's standard deviation per channel (inf: no noise);
    `phase_offset` the standard deviation (rad) of the smooth receive phase. With a bipolar readout the echoes
    carry an eddy-current phase of alternating sign, linear along the first axis. Raises ScanError where no
    brain lies on the grid.
    """
    flaws = _Flaws.draw(seed)
    fine = refined(grid, supersampling)
    labels, mask = _sample(anatomy, fine, supersampling)
    chi = _susceptibility(labels, dict(anatomy.tissues), fine, flaws)
    reference = float(chi[_repeat(mask, supersampling)].mean(dtype=np.float64))
    field, local = _fields(anatomy, chi, reference, mask, fine)
    chi = np.where(mask, block_mean(chi, supersampling) - np.float32(reference), np.float32(0))
    _remove_shim(field, mask, fine, grid)
    scene = _Scene(labels, field, fine, dict(anatomy.tissues))
    echoes, r2star, offset = _acquire(scene, acquisition, flaws, supersampling, phase_offset)
    sigma = noise_sigma(echoes[..., 0], snr, mask)
    add_noise(echoes, sigma, seed)
    return Simulation(
        grid=grid,
        acquisition=acquisition,
        echoes=echoes,
        mask=mask,
        labels=_most_frequent(labels, supersampling),
        chi=chi,
        chi_reference=reference,
        total_field=block_mean(field, supersampling),
        local_field=local,
        r2star=r2star,
        phase_offset=offset,
        sigma=sigma,
    )


def refined(grid: Grid, factor: int) -> Grid:
    """The grid whose blocks of `factor`³ voxels are the voxels of `grid`."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (1 / factor - 1) / 2)
    affine[:3, :3] /= factor
    nx, ny, nz = (n * factor for n in grid.shape)
    return Grid((nx, ny, nz), affine, grid.b0_override)


def plane_points(grid: Grid, i: int) -> Points:
    """Scanner coordinates (mm) of the voxels of plane `i` along the first axis."""
    a = grid.affine
    j, k = (np.arange(n, dtype=np.float64) for n in grid.shape[1:])
    rows = [(a[r, 0] * i + a[r, 3] + a[r, 1] * j)[:, None] + (a[r, 2] * k)[None, :] for r in range(3)]
    x, y, z = (row.astype(np.float32) for row in rows)
    return x, y, z


def _sample(anatomy: Anatomy, fine: Grid, factor: int) -> tuple[Labels, BoolArray]:
    """Labels on the fine grid, and the mask of those coarse voxels more than half of which are brain."""
    labels = np.empty(fine.shape, np.uint8)
    mask = np.empty([n // factor for n in fine.shape], bool)

    def plane(i: int) -> None:
        brain = np.empty((factor, *fine.shape[1:]), np.float32)
        for j in range(factor):
            labels[i * factor + j], brain[j] = anatomy.tissue_at(plane_points(fine, i * factor + j))
        mask[i] = block_mean(brain, factor)[0] > 0.5

    _each(plane, mask.shape[0])
    if not mask.any():
        raise ScanError("no brain lies in the field of view; choose a larger shape or voxel size")
    covered = np.isin(np.arange(256), list(anatomy.covered))
    paint(labels, fine.affine, anatomy.vessels, covered)
    return labels, mask


def _susceptibility(labels: Labels, tissues: dict[int, Tissue], fine: Grid, flaws: _Flaws) -> FloatArray:
    """χ relative to water (ppm) with texture, on the fine grid."""
    mean, spread = properties("chi", tissues), properties("texture", tissues)
    chi = np.empty(fine.shape, np.float32)
    for i in range(fine.shape[0]):  # matrix products have threads of their own
        texture = flaws.texture.on_plane(fine.affine, i, fine.shape[1:])
        chi[i] = mean[labels[i]] + spread[labels[i]] * texture
    return chi


def _fields(
    anatomy: Anatomy, chi: FloatArray, reference: float, mask: BoolArray, fine: Grid
) -> tuple[FloatArray, FloatArray]:
    """Total field on the fine grid, and the local field (of the mask's sources alone) on the coarse one."""
    spectrum, factor = dipole_spectrum(fine), fine.shape[0] // mask.shape[0]
    inside = np.where(_repeat(mask, factor), chi - np.float32(reference), np.float32(0))
    local = block_mean(convolve(inside, spectrum, fine), factor)
    del inside
    field = convolve(chi - np.float32(AIR_CHI), spectrum, fine)
    table = properties("chi", dict(anatomy.tissues)) - np.float32(AIR_CHI)
    add_surroundings(field, lambda points: table[anatomy.tissue_at(points)[0]], fine)
    return field, local


def _remove_shim(field: FloatArray, mask: BoolArray, fine: Grid, grid: Grid) -> None:
    """Takes the least-squares fit of harmonics up to second order over the mask out of `field`, in place."""
    factor = fine.shape[0] // grid.shape[0]
    coarse = block_mean(field, factor)
    planes = [i for i in range(grid.shape[0]) if mask[i].any()]
    terms = np.concatenate([_harmonics(plane_points(grid, i))[:, mask[i]] for i in planes], axis=1)
    weights = np.linalg.lstsq(terms.T.astype(np.float64), coarse[mask].astype(np.float64), rcond=None)[0]

    def plane(i: int) -> None:
        field[i] -= np.tensordot(weights.astype(np.float32), _harmonics(plane_points(fine, i)), axes=1)

    _each(plane, fine.shape[0])


def _harmonics(points: Points) -> FloatArray:
    """Solid harmonics of order 0 to 2 at points, lengths in units of 100 mm."""
    x, y, z = (p * np.float32(0.01) for p in points)
    terms = [np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 2 * z * z - x * x - y * y]
    return np.stack(terms)


def _acquire(
    scene: _Scene, acquisition: GradientEcho, flaws: _Flaws, factor: int, phase_offset: float
) -> tuple[NDArray[np.complex64], FloatArray, FloatArray]:
    """Noise-free echoes, signal-weighted R2* (1/s) and receive phase (rad) on the coarse grid."""
    shape = tuple(n // factor for n in scene.labels.shape)
    echoes = np.empty((*shape, len(acquisition.echo_times)), np.complex64)
    r2star, offset = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    tables = _tables(scene.tissues, acquisition)

    for i in range(shape[0]):
        planes = range(i * factor, (i + 1) * factor)
        bias, phase, decay = (_stack(w, scene.grid, planes) for w in (flaws.bias, flaws.phase, flaws.decay))
        labels = scene.labels[planes.start : planes.stop]
        signal = tables["signal"][labels] * np.exp(np.float32(0.2) * bias)
        rate = tables["r2star"][labels] * np.maximum(1 + np.float32(0.06) * decay, 0)
        phase = np.float32(phase_offset) * phase + np.float32(flaws.constant if phase_offset else 0)
        field = scene.field[planes.start : planes.stop] + tables["shift"][labels]
        echoes[i] = gradient_echo(
            field,
            signal,
            rate,
            echo_times=acquisition.echo_times,
            field_strength=acquisition.field_strength,
            phase_offset=phase,
            bipolar_phase=_eddy_phase(scene.grid, planes, acquisition),
            supersampling=factor,
        )[0]
        weight = block_mean(signal, factor)[0]
        np.divide(block_mean(signal * rate, factor)[0], weight, out=r2star[i], where=weight > 0)
        offset[i] = block_mean(phase, factor)[0]
    return echoes, r2star, offset


def _tables(tissues: dict[int, Tissue], acquisition: GradientEcho) -> dict[str, FloatArray]:
    """Signal at TE = 0, R2* (1/s) and chemical shift (ppm) of each label."""
    field_strength = acquisition.field_strength
    flip, tr = acquisition.flip_angle or np.radians(15), acquisition.repetition_time or 0.035
    return {
        "signal": np.float32(SCALE) * spoiled_signal(tissues, field_strength, flip, tr),
        "r2star": properties("r2star", tissues, field_strength),
        "shift": properties("shift", tissues),
    }


def _eddy_phase(grid: Grid, planes: range, acquisition: GradientEcho) -> FloatArray | None:
    """Phase (rad) that alternates between the echoes of a bipolar readout: constant and linear part."""
    if acquisition.readout != "bipolar":
        return None
    along = np.array(planes, np.float32) / grid.shape[0] - np.float32(0.5)
    line = np.float32(0.25) + np.float32(1.6) * along
    return np.broadcast_to(line[:, None, None], (len(planes), *grid.shape[1:]))


def _stack(waves: Waves, grid: Grid, planes: range) -> FloatArray:
    return np.stack([waves.on_plane(grid.affine, i, grid.shape[1:]) for i in planes])


def _most_frequent(labels: Labels, factor: int) -> Labels:
    """The label that fills most of each block (the lowest of those that tie)."""
    shape = tuple(n // factor for n in labels.shape)
    kinds = int(labels.max()) + 1
    out = np.empty(shape, np.uint8)
    place = np.arange(shape[1] * shape[2]).reshape(shape[1], 1, shape[2], 1) * kinds

    def slab(i: int) -> None:
        block = labels[i * factor : (i + 1) * factor].reshape(factor, shape[1], factor, shape[2], factor)
        counts = np.bincount((block + place).ravel(), minlength=shape[1] * shape[2] * kinds)
        out[i] = counts.reshape(shape[1], shape[2], kinds).argmax(axis=-1)

    _each(slab, shape[0])
    return out


def _repeat(mask: BoolArray, factor: int) -> BoolArray:
    """Each voxel as a block of `factor`³ voxels."""
    return mask.repeat(factor, axis=0).repeat(factor, axis=1).repeat(factor, axis=2)


def _each(task: Callable[[int], None], count: int) -> None:
    """Runs task(0), task(1), … on as many threads as numba uses; each writes its own part of the result."""
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        list(pool.map(task, range(count)))
