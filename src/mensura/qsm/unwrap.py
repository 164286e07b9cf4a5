"""Wrapped → unwrapped phase: on the best path through a volume and across the echoes, or by the Laplacian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.methods import Tunable
from mensura.qsm.quality import (
    HALF,
    PER_TURN,
    TURN,
    TWO_PI,
    WEIGHTS,
    Costs,
    echo_pair,
    edge_costs,
    volume,
    wrap,
)
from mensura.scan import BoolArray, FloatArray, Grid, ScanError, bounding_box

Wraps = NDArray[np.int16]
Labels = NDArray[np.int32]
Images = tuple[FloatArray, BoolArray, FloatArray | None]
Box = tuple[slice, slice, slice]
MOST_TURNS = 4
PRICE_OF_A_TURN = 0.1
SAMPLES = 4096


def romeo(
    phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    echo_times: Sequence[float] | None = None,
    template: Annotated[int, Tunable("1", "echo that is unwrapped in space, counted from 1")] = 1,
    individual: Annotated[
        bool, Tunable("", "unwrap every echo in space instead of predicting it in time")
    ] = False,
    weights: Annotated[
        str,
        Tunable(
            "", "1 or 0: coherence, gradient, linearity, magnitude's coherence, low magnitude, high magnitude"
        ),
    ] = WEIGHTS,
) -> FloatArray:
    """Wrapped phase (rad; 3D, or 4D with `echo_times` in s) → unwrapped phase (rad), zero outside the mask.

    Every voxel differs from the input by a multiple of 2π, chosen along the minimum spanning forest of the
    edge costs (`mensura.qsm.quality`). The `template` echo is unwrapped so; the others follow from
    phase ∝ TE, each from its neighbouring unwrapped echo (or, if `individual`, they are unwrapped in space
    too and shifted by whole turns). The phase must therefore be free of an offset at TE = 0. Each
    disconnected region is shifted by the whole turns that make its echoes agree best; if the echoes do not
    tell, or there is one only, so that its median is nearest to 0. A voxel whose phase is NaN stays so and
    is bridged by nothing.

    Raises ScanError for an empty or misshapen mask, missing echo times, or a template that does not exist.
    Dymerska et al. 2021, doi:10.1002/mrm.28563. Differs from the paper in that the spanning forest is built
    edge by edge (Kruskal) rather than grown from a seed (the same tree, and no region needs a seed of its
    own), and that voxels too noisy for their own temporal prediction go by that of their neighbourhood.
    """
    box = _mask_box(mask, grid.shape, phase.shape[:3])
    stack = volume(phase[box] if phase.ndim == 4 else phase[box][..., None])
    inside = np.ascontiguousarray(mask[box], dtype=np.bool_)
    mag = None if magnitude is None else magnitude[box].reshape(stack.shape)
    count = stack.shape[3]
    if not 1 <= template <= count:
        raise ScanError(f"echo {template} cannot be the template of {count} echoes; choose 1 to {count}")
    first = template - 1
    start, labels, regions = _unwrap_echo((stack, inside, mag), echo_times, first, weights)
    times = np.ones(1) if count == 1 else np.array(echo_times, dtype=np.float64)
    _settle_regions(stack, start, labels, regions, first, times)
    if individual:
        unwrapped = _each_in_space((stack, inside, mag), times.tolist(), (first, start), weights)
    else:
        unwrapped = _follow_echoes(stack, inside, times.tolist(), (first, start))
    out = np.zeros(phase.shape, np.float32)
    out[box] = unwrapped.reshape(out[box].shape)
    return out


def unwrap_spatial(phase: FloatArray, mask: BoolArray, *, magnitude: FloatArray | None = None) -> FloatArray:
    """One wrapped phase volume (rad) → unwrapped phase (rad), zero outside the mask; regions' medians in ±π.

    The spatial part of `romeo`, for one volume (for example the phase of a Hermitian inner product).
    """
    return romeo(phase, mask, Grid.from_voxel_size(phase.shape), magnitude=magnitude)


def laplacian(
    phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    padding: Annotated[float, Tunable("mm", "zero margin that keeps the periodic images apart")] = 32.0,
) -> FloatArray:
    """Wrapped phase (rad; 3D or 4D) → phase without wraps (rad), zero outside the mask, its mean inside zero.

    Solves ∇²u = ∇²φ, with ∇²φ from the wrapped differences between neighbours, at the voxels whose six
    neighbours lie in the mask, and ∇²u = 0 elsewhere. This is NOT exact: u does not differ from the phase by
    multiples of 2π, and a harmonic field (the background of sources outside the mask) is lost.

    Schofield and Zhu 2003, doi:10.1364/OL.28.001194. Differs from the paper in that the Laplacian is a
    finite difference of wrapped steps (exact for steps below π, where sine and cosine flatten steep ones),
    taken only inside the mask, and that the volume is padded with zeros rather than mirrored.
    """
    _mask_box(mask, grid.shape, phase.shape[:3])
    inside = np.ascontiguousarray(mask, dtype=np.bool_)
    sizes = np.array(grid.voxel_size)
    shape = fast_shape(grid.shape, [int(np.ceil(padding / h)) for h in sizes])
    inverse = _inverse_laplacian(shape, sizes)
    echoes = phase if phase.ndim == 4 else phase[..., None]
    out = np.zeros(echoes.shape, np.float32)
    for echo in range(echoes.shape[3]):
        source = _wrapped_laplacian(volume(echoes[..., echo]), inside, (1 / sizes**2).astype(np.float32))
        solution = crop(irfft(rfft(pad(source, shape)) * inverse, shape[2]), grid.shape)
        out[inside, echo] = solution[inside] - solution[inside].mean(dtype=np.float64)
    return out.reshape(phase.shape)


def _mask_box(mask: BoolArray, *shapes: tuple[int, ...]) -> Box:
    """The slices that hold the mask."""
    if any(mask.shape != shape for shape in shapes):
        raise ScanError(
            f"the mask of shape {mask.shape} does not fit the phase; make it on the grid of the phase"
        )
    return bounding_box(mask)


def _unwrap_echo(
    images: Images, echo_times: Sequence[float] | None, echo: int, weights: str
) -> tuple[Wraps, Labels, int]:
    """One echo → whole turns per voxel, the label of its region (−1 outside the mask), number of regions."""
    stack, inside, magnitude = images
    one, mag, other, ratio = echo_pair(stack, magnitude, echo_times, echo)
    costs = edge_costs(one, inside, magnitude=mag, other=other, ratio=ratio, weights=weights)
    return _spanning_forest(one, inside, costs)


def _settle_regions(
    stack: FloatArray, wraps: Wraps, labels: Labels, regions: int, echo: int, times: NDArray[np.float64]
) -> None:
    """Shift the template's regions by whole turns, in place: median nearest 0, then what the echoes say."""
    middle = _region_medians(_turned(stack, wraps, echo), labels, regions)
    _shift(wraps, labels, -np.rint(middle / TWO_PI))
    if times.size > 1:
        ratios = times / times[echo]
        _shift(wraps, labels, _best_turns(_misfits(stack, wraps, labels, echo, ratios), echo, ratios))


def _best_turns(
    misfits: NDArray[np.complex128], echo: int, ratios: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Per region, the m = −4 … 4 turns of the template that agree best with φ ∝ TE; the fewest that will do.

    Largest mean of cos(φₖ − (φ + 2πm)·TEₖ/TE) over the region and the other echoes k, less 0.1·|m|.
    """
    turns = np.arange(-MOST_TURNS, MOST_TURNS + 1)
    others = np.delete(misfits, echo, axis=1) @ np.exp(
        -1j * TWO_PI * np.outer(np.delete(ratios, echo), turns)
    )
    scale = np.maximum(misfits[:, echo].real, 1) * (ratios.size - 1)
    scores = others.real / scale[:, None] - PRICE_OF_A_TURN * np.abs(turns)
    return np.asarray(turns[np.argmax(scores, axis=1)], dtype=np.float64)


def _shift(wraps: Wraps, labels: Labels, turns: NDArray[np.float64]) -> None:
    """Add each region's turns to its voxels, in place (label −1 picks the last entry: none)."""
    wraps += np.append(turns, 0).astype(np.int16)[labels]


def _follow_echoes(
    stack: FloatArray, inside: BoolArray, times: Sequence[float], template: tuple[int, Wraps]
) -> FloatArray:
    """From the unwrapped template outwards, each echo by the prediction of its neighbour."""
    first, start = template
    out = np.zeros_like(stack)
    out[..., first] = np.where(inside, _turned(stack, start, first), np.float32(0))
    steps = [(e - 1, e) for e in range(first + 1, len(times))] + [(e + 1, e) for e in range(first)[::-1]]
    for near, this in steps:
        _next_echo(out, stack, inside, (near, this), times[this] / times[near])
    return out


def _each_in_space(
    images: Images, times: Sequence[float], template: tuple[int, Wraps], weights: str
) -> FloatArray:
    """Every echo unwrapped by itself, its regions shifted by the turns that bring them to the template."""
    first, start = template
    stack, inside = images[:2]
    out = np.empty_like(stack)
    reference = _turned(stack, start, first)
    out[..., first] = reference
    for echo in (e for e in range(len(times)) if e != first):
        wraps, labels, regions = _unwrap_echo(images, times, echo, weights)
        gap = reference * np.float32(times[echo] / times[first]) - _turned(stack, wraps, echo)
        _shift(wraps, labels, np.rint(_region_medians(gap, labels, regions) / TWO_PI))
        out[..., echo] = _turned(stack, wraps, echo)
    out[~inside] = 0
    return out


def _turned(stack: FloatArray, wraps: Wraps, echo: int) -> FloatArray:
    """φ + 2πn of one echo, rounded once to single precision."""
    return (stack[..., echo] + TWO_PI * wraps).astype(np.float32)


@njit(cache=True)
def _find(parent: Labels, turns: Wraps, voxel: int) -> tuple[int, int]:
    """The root of a voxel's tree and the voxel's turns relative to it; halves the path on the way."""
    total = 0
    while parent[voxel] >= 0:
        above = parent[voxel]
        if parent[above] >= 0:
            turns[voxel] += turns[above]
            parent[voxel] = parent[above]
        total += turns[voxel]
        voxel = parent[voxel]
    return voxel, total


@njit(cache=True)
def _sorted_edges(costs: Costs) -> Labels:
    """The edges (3·voxel + axis) from the most to the least trusted, equal ones in the voxels' order."""
    flat = costs.ravel()
    position = np.zeros(257, np.int64)
    for cost in flat:
        position[cost + 1] += 1
    absent = position[1]
    position[1] = 0
    position = np.cumsum(position)
    order = np.empty(flat.size - absent, np.int32)
    for edge in range(flat.size):
        cost = flat[edge]
        if cost:
            order[position[cost]] = edge
            position[cost] += 1
    return order


@njit(cache=True)
def _spanning_forest(phase: FloatArray, mask: BoolArray, costs: Costs) -> tuple[Wraps, Labels, int]:
    """Join voxels along the most trusted edges until every region is one tree → turns, labels, regions."""
    values = phase.ravel()
    parent = np.full(values.size, -1, np.int32)  # a root holds minus the size of its tree
    turns = np.zeros(values.size, np.int16)
    steps = (mask.shape[1] * mask.shape[2], mask.shape[2], 1)
    for edge in _sorted_edges(costs):
        a = edge // 3
        b = a + steps[edge - 3 * a]
        root_a, turns_a = _find(parent, turns, a)
        root_b, turns_b = _find(parent, turns, b)
        if root_a == root_b:
            continue
        gap = turns_a - turns_b + int(np.floor((values[a] - values[b]) * PER_TURN + HALF))
        if parent[root_a] > parent[root_b]:
            root_a, root_b, gap = root_b, root_a, -gap
        parent[root_a] += parent[root_b]
        parent[root_b] = root_a
        turns[root_b] = gap
    return _labelled(mask, parent, turns)


@njit(cache=True)
def _labelled(mask: BoolArray, parent: Labels, turns: Wraps) -> tuple[Wraps, Labels, int]:
    """Trees → turns relative to the root, region labels in the order of the voxels (−1 outside), regions."""
    inside = mask.ravel()
    labels = np.full(parent.size, -1, np.int32)
    name = np.full(parent.size, -1, np.int32)
    wraps = np.zeros(parent.size, np.int16)
    regions = 0
    for voxel in range(parent.size):
        if inside[voxel]:
            root, wraps[voxel] = _find(parent, turns, voxel)
            if name[root] < 0:
                name[root] = regions
                regions += 1
            labels[voxel] = name[root]
    return wraps.reshape(mask.shape), labels.reshape(mask.shape), regions


@njit(cache=True)
def _region_medians(values: FloatArray, labels: Labels, regions: int) -> NDArray[np.float64]:
    """The median of each region's finite values (0 if it has none)."""
    ends = np.zeros(regions + 1, np.int64)
    for value, label in zip(values.flat, labels.flat):  # noqa: B905 (numba has no strict)
        if label >= 0 and np.isfinite(value):
            ends[label + 1] += 1
    ends = np.cumsum(ends)
    held = np.empty(ends[-1], np.float32)
    fill = ends[:-1].copy()
    for value, label in zip(values.flat, labels.flat):  # noqa: B905
        if label >= 0 and np.isfinite(value):
            held[fill[label]] = value
            fill[label] += 1
    medians = np.zeros(regions)
    for region in range(regions):
        if ends[region + 1] > ends[region]:
            medians[region] = np.median(held[ends[region] : ends[region + 1]])
    return medians


@njit(cache=True)
def _misfits(
    stack: FloatArray, wraps: Wraps, labels: Labels, echo: int, ratios: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Per region and echo k: the sum of exp(i(φₖ − φ·TEₖ/TE)) over at most about 8000 of its voxels."""
    flat, turns, phases = labels.ravel(), wraps.ravel(), stack.reshape(-1, ratios.size)
    sizes = np.zeros(labels.max() + 1, np.int64)
    for label in flat:
        if label >= 0:
            sizes[label] += 1
    seen = np.zeros(sizes.size, np.int64)
    sums = np.zeros((sizes.size, ratios.size), np.complex128)
    for voxel in range(flat.size):
        label = flat[voxel]
        if label < 0:
            continue
        seen[label] += 1
        if seen[label] % (1 + sizes[label] // SAMPLES) == 0:
            base = phases[voxel, echo] + TURN * turns[voxel]
            for k in range(ratios.size):
                misfit = phases[voxel, k] - base * ratios[k]
                if np.isfinite(misfit):
                    sums[label, k] += np.exp(1j * misfit)
    return sums


@njit(cache=True)
def _local_mean(stack: FloatArray, mask: BoolArray, voxel: tuple[int, int, int], echo: int) -> float:
    """The mean of one echo over a voxel and those of its 26 neighbours that lie in the mask."""
    total, count = 0.0, 0
    for i in range(max(voxel[0] - 1, 0), min(voxel[0] + 2, mask.shape[0])):
        for j in range(max(voxel[1] - 1, 0), min(voxel[1] + 2, mask.shape[1])):
            for k in range(max(voxel[2] - 1, 0), min(voxel[2] + 2, mask.shape[2])):
                if mask[i, j, k] and np.isfinite(stack[i, j, k, echo]):
                    total += stack[i, j, k, echo]
                    count += 1
    return total / max(count, 1)


@njit(cache=True, parallel=True)
def _next_echo(
    out: FloatArray, stack: FloatArray, mask: BoolArray, echoes: tuple[int, int], ratio: float
) -> None:
    """Write one echo of `out`: within half a turn of its neighbour (echoes = near, this) times the TE ratio.

    A voxel more than a quarter turn away from that prediction, or without one (not a number), goes by the
    prediction of its neighbourhood.
    """
    near, this = echoes
    for i in prange(mask.shape[0]):
        for j in range(mask.shape[1]):
            for k in range(mask.shape[2]):
                if mask[i, j, k]:
                    value = float(stack[i, j, k, this])
                    away = (out[i, j, k, near] * ratio - value) / TWO_PI
                    if not abs(away - np.floor(away + 0.5)) <= 0.25:
                        away = (_local_mean(out, mask, (i, j, k), near) * ratio - value) / TWO_PI
                    out[i, j, k, this] = value + TWO_PI * np.floor(away + 0.5)


def _inverse_laplacian(shape: Sequence[int], sizes: NDArray[np.float64]) -> FloatArray:
    """The half spectrum that inverts the periodic 7-point Laplacian (1/mm² taken back), 0 at the origin."""
    k = [np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])]
    x, y, z = ((2 * np.cos(2 * np.pi * q) - 2) / h**2 for q, h in zip(k, sizes, strict=True))
    spectrum = x[:, None, None] + y[:, None] + z
    spectrum[0, 0, 0] = np.inf
    return (1 / spectrum).astype(np.float32)  # type: ignore[no-any-return]


@njit(cache=True, parallel=True)
def _wrapped_laplacian(phase: FloatArray, mask: BoolArray, weights: FloatArray) -> FloatArray:
    """Σ of wrapped steps to the six neighbours, weighted per axis (1/mm²); 0 where one is not in the mask."""
    out = np.zeros_like(phase)
    nx, ny, nz = phase.shape
    for i in prange(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                full = mask[i, j, k] and mask[i - 1, j, k] and mask[i + 1, j, k] and mask[i, j - 1, k]
                if full and mask[i, j + 1, k] and mask[i, j, k - 1] and mask[i, j, k + 1]:
                    here = phase[i, j, k]
                    x = wrap(phase[i - 1, j, k] - here) + wrap(phase[i + 1, j, k] - here)
                    y = wrap(phase[i, j - 1, k] - here) + wrap(phase[i, j + 1, k] - here)
                    z = wrap(phase[i, j, k - 1] - here) + wrap(phase[i, j, k + 1] - here)
                    out[i, j, k] = weights[0] * x + weights[1] * y + weights[2] * z
    return out
