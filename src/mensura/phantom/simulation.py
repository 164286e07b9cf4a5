"""A multi-echo gradient echo of any anatomy with its truth, as arrays: the short way to data for QSM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.acquire import Signals
from mensura.phantom.scanner import Scanner, Series, scan
from mensura.phantom.scene import Anatomy, Texture, build_scene
from mensura.phantom.sequences.echoes import megre
from mensura.phantom.truth import TrueMap, true_maps
from mensura.scan import BoolArray, FloatArray, GradientEcho, Grid


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated gradient-echo scan with its `truth` (true maps by BIDS name, BIDS units), all on `grid`.

    `chi_reference` is the mean susceptibility over the mask, relative to water (ppm).
    """

    grid: Grid
    acquisition: GradientEcho
    scanner: Scanner
    series: Series
    truth: dict[str, TrueMap]
    chi_reference: float

    @property
    def echoes(self) -> Signals:
        """Complex echoes with noise, (x, y, z, echo)."""
        return self.series.images

    @property
    def magnitude(self) -> FloatArray:
        """|echoes|, (x, y, z, echo)."""
        return np.abs(self.echoes)

    @property
    def phase(self) -> FloatArray:
        """Wrapped phase of the echoes (rad), (x, y, z, echo)."""
        return np.angle(self.echoes).astype(np.float32, copy=False)

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise per channel."""
        return self.series.sigma

    @property
    def mask(self) -> BoolArray:
        """The brain."""
        mask: BoolArray = self.truth["desc-brain_mask"].data
        return mask

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The tissue that fills most of a voxel."""
        return self.truth["dseg"].data

    @property
    def chi(self) -> FloatArray:
        """Mean susceptibility of a voxel relative to the mean over the mask (ppm, 0 outside)."""
        return self.truth["Chimap"].data

    @property
    def total_field(self) -> FloatArray:
        """Field after shimming (ppm), everywhere."""
        return self._in_ppm("desc-total_fieldmap")

    @property
    def local_field(self) -> FloatArray:
        """Field of `chi` alone (ppm), inside the mask."""
        return self._in_ppm("desc-local_fieldmap")

    @property
    def r2star(self) -> FloatArray:
        """Mean R2* weighted with proton density (1/s)."""
        return self.truth["R2starmap"].data

    @property
    def phase_offset(self) -> FloatArray:
        """Receive phase (rad)."""
        return self.truth["desc-receive_phase"].data

    def _in_ppm(self, name: str) -> FloatArray:
        return np.asarray(self.truth[name].data / np.float32(self.acquisition.hz_per_ppm), np.float32)


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

    `supersampling`: how much finer the anatomy is sampled along each axis than the voxels (`build_scene`). `snr`:
    mean magnitude of the first echo in the brain over the noise's standard deviation per channel (inf: no
    noise). `phase_offset`: standard deviation (rad) of the smooth receive phase. Raises ScanError where no brain
    lies on the grid.
    """
    scanner = Scanner.draw(acquisition.field_strength, seed, phase_offset=phase_offset)
    scene = build_scene(anatomy, grid, supersampling=supersampling, texture=Texture.draw(seed))
    given = {"repetition_time": acquisition.repetition_time, "readout": acquisition.readout}
    if acquisition.flip_angle is not None:
        given["flip_angle"] = round(float(np.degrees(acquisition.flip_angle)), 6)
    protocol = megre(
        echo_times=acquisition.echo_times,
        **{k: v for k, v in given.items() if v is not None},  # type: ignore[arg-type]
    )
    series = scan(scene, scanner, protocol, snr=snr, seed=seed)
    return Simulation(grid, acquisition, scanner, series, true_maps(scene, scanner), scene.chi_reference)
