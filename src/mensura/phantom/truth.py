"""The true maps of a scene, in BIDS units: what an estimate is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.acquire import B1_NODES, TEXTURE_NODES, Pool, sum_spins
from mensura.phantom.forward import block_mean
from mensura.phantom.materials import varied
from mensura.phantom.scanner import Scanner
from mensura.phantom.scene import Scene, on_grid
from mensura.phantom.threads import each
from mensura.scan import GAMMA_BAR, FloatArray


@dataclass(frozen=True, eq=False)
class TrueMap:
    """A map with its unit, what it is, whether it is zero outside the brain, and its BIDS datatype."""

    data: NDArray[Any]
    unit: str
    description: str
    stripped: bool = False
    datatype: str = "anat"


MEANS: dict[str, tuple[str, str, str, float]] = {
    "R1map": ("r1", "1/s", "R1", 1.0),
    "R2map": ("r2", "1/s", "R2", 1.0),
    "R2starmap": ("r2star", "1/s", "R2* = R2 + R2′, without the field's gradient", 1.0),
    "R2primemap": ("r2prime", "1/s", "R2′", 1.0),
    "MTsat": ("mt_saturation", "percent", "MT saturation by one pulse where B1 is nominal", 100.0),
    "PDFFmap": ("fat_fraction", "percent", "proton-density fat fraction", 100.0),
    "Ktransmap": ("ktrans", "1/min", "transfer constant of the contrast agent", 60.0),
    "vemap": ("ve", "1", "extravascular, extracellular volume fraction", 1.0),
    "vpmap": ("vp", "1", "plasma volume fraction", 1.0),
}
"""Name of a map → the property, the unit, what it is, and the factor to that unit. All are means over a voxel,
weighted with proton density."""
TIMES = {"T1map": "R1map", "T2map": "R2map", "T2starmap": "R2starmap"}
"""Maps of times → those of the rates that they are the inverse of, in mixed voxels too: there, the mean rate is that of
the summed signal at the outset, and lasting where water exchanges fast (10.1021/j150556a015)."""
INVERSE = {"r1": "t1", "r2": "t2"}


def true_maps(scene: Scene, scanner: Scanner) -> dict[str, TrueMap]:
    """Scene and scanner → true maps by the end of their BIDS name."""
    hz = np.float32(GAMMA_BAR * scanner.field_strength * 1e-6)
    labels, purity = dominant(scene)
    tissues = dict(scene.anatomy.tissues)
    density, means = _weighted_means(scene, scanner.field_strength)
    plus, minus = (
        varied(name, tissues, scanner.field_strength, np.zeros(1)) for name in ("chi_plus", "chi_minus")
    )
    positive, negative = _averages(scene, [plus, minus])
    reference = (
        f"susceptibility relative to its mean over the brain mask, which is {scene.chi_reference:.5f} ppm "
        "relative to water"
    )
    maps = {
        "Chimap": TrueMap(scene.chi, "ppm", reference, True),
        "desc-positive_Chimap": TrueMap(
            positive, "ppm", "susceptibility of the paramagnetic sources, to water"
        ),
        "desc-negative_Chimap": TrueMap(
            negative, "ppm", "susceptibility of the diamagnetic sources, to water"
        ),
        "PDmap": TrueMap(100 * density, "percent", "proton density, of water's"),
    }
    for name, (_, unit, what, factor) in MEANS.items():
        maps[name] = TrueMap(means[name] * np.float32(factor), unit, what)
    for name, rate in TIMES.items():
        maps[name] = TrueMap(
            _inverse(means[rate]), "s", f"{name.removesuffix('map')} = 1/{rate.removesuffix('map')}"
        )
    total = (block_mean(scene.field, scene.factor) + scanner.inhomogeneity(scene.grid)) * hz
    local = scene.local_field * hz
    brain = np.where(scene.mask, local, np.float32(0))
    return maps | {
        "desc-total_fieldmap": TrueMap(total, "Hz", "field after shimming"),
        "desc-local_fieldmap": TrueMap(
            brain, "Hz", "field of the susceptibility inside the brain mask", True
        ),
        "TB1map": TrueMap(
            scanner.transmit(scene.grid), "1", "relative transmit field B1+ (1: nominal)", False, "fmap"
        ),
        "RB1map": TrueMap(
            np.abs(scanner.receive(scene.grid)), "arbitrary", "receive sensitivity", False, "fmap"
        ),
        "desc-receive_phase": TrueMap(scanner.phase(scene.grid), "rad", "receive phase", False, "fmap"),
        "desc-brain_mask": TrueMap(scene.mask, "1", "brain", True),
        "dseg": TrueMap(labels, "1", "tissue that fills most of the voxel; see dseg.tsv"),
        "purity": TrueMap(purity, "1", "share of the voxel that this tissue fills"),
    }


def dominant(scene: Scene) -> tuple[NDArray[np.uint8], FloatArray]:
    """The label that fills most of each voxel (the lowest of those that tie), and its share."""
    factor, shape = scene.factor, scene.grid.shape
    kinds = int(scene.labels.max()) + 1
    out, share = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    place = np.arange(shape[1] * shape[2]).reshape(shape[1], 1, shape[2], 1) * kinds

    def slab(i: int) -> None:
        block = scene.labels[i * factor : (i + 1) * factor]
        block = block.reshape(factor, shape[1], factor, shape[2], factor)
        counts = np.bincount((block + place).ravel(), minlength=shape[1] * shape[2] * kinds)
        counts = counts.reshape(shape[1], shape[2], kinds)
        out[i], share[i] = counts.argmax(axis=-1), counts.max(axis=-1) / factor**3

    each(slab, shape[0])
    return out, share


def _weighted_means(scene: Scene, field_strength: float) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Proton density, and the mean of each property of `MEANS` weighted with it; zero where there is none."""
    tissues = dict(scene.anatomy.tissues)

    def at_nodes(name: str) -> NDArray[np.float64]:
        if name in INVERSE:
            return 1 / np.maximum(at_nodes(INVERSE[name]), 1e-4)
        if name == "r2star":
            return at_nodes("r2") + at_nodes("r2prime")
        return varied(name, tissues, field_strength, TEXTURE_NODES)

    weight = at_nodes("density")
    density, *totals = _averages(scene, [weight, *(weight * at_nodes(key) for key, *_ in MEANS.values())])
    means = {
        name: np.divide(total, density, out=np.zeros_like(total), where=density > 0)
        for name, total in zip(MEANS, totals, strict=True)
    }
    return density, means


def _inverse(rates: FloatArray) -> FloatArray:
    """Rates → times; zero where there is no rate."""
    times: FloatArray = np.divide(np.float32(1), rates, out=np.zeros_like(rates), where=rates > 0)
    return times


def _averages(scene: Scene, properties: Sequence[NDArray[np.float64]], at_once: int = 4) -> list[FloatArray]:
    """Properties (label, texture) → their means over the fine voxels of each voxel; two ride in a complex number."""
    texture = on_grid(scene.texture.relaxation, scene.body)
    flat = np.full(scene.grid.shape, B1_NODES[0], np.float32)
    pairs = [np.array([*properties[i : i + 2], *properties[-1:]][:2]) for i in range(0, len(properties), 2)]
    found: list[FloatArray] = []
    for start in range(0, len(pairs), at_once):
        chunk = np.array([first + 1j * second for first, second in pairs[start : start + at_once]])
        table = np.repeat(chunk[..., None], 2, axis=3).astype(np.complex64)
        pool = Pool(table, np.zeros(len(chunk), np.int64))
        sums = sum_spins(pool, scene.labels, scene.field, texture, flat, np.zeros(len(chunk)))
        for v in range(len(chunk)):
            found += [sums[..., v].real.copy(), sums[..., v].imag.copy()]
    return found[: len(properties)]
