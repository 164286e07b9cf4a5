"""A scanner and what it records: transmit and receive fields, noise, motion between and corruption of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mensura.phantom.acquire import Pool, Signals, sum_spins
from mensura.phantom.forward import add_noise
from mensura.phantom.materials import Material, materials
from mensura.phantom.scene import Pose, Scene, build_scene, on_grid, plane_points, turned
from mensura.phantom.sequences.protocol import Protocol
from mensura.phantom.shapes import Waves, random_waves
from mensura.phantom.threads import each
from mensura.scan import GAMMA_BAR, FloatArray, Grid, ScanError

SCALE = 1e4
"""Signal of fully relaxed water at 90°, in the arbitrary unit of the magnitude."""
FAT_SHIFT = -3.4
"""Chemical shift of the main fat peak against water, ppm."""
B1_SPREAD = {0.55: 0.02, 1.5: 0.05, 3.0: 0.14, 7.0: 0.30}
"""How far B1+ falls from the middle of a head to its surface, by field strength (T)."""
STILL = np.eye(4)


@dataclass(frozen=True, eq=False)
class Scanner:
    """One scanner (a site): its main field (T), the gain of its receiver, its transmit and receive fields.

    `b1_spread` is the fall of the relative transmit field 80 mm from the isocentre; `bias` the standard deviation
    of the receive sensitivity's logarithm, `phase_offset` that of its phase (rad) and `b0_spread` that of the
    main field that is left of the magnet's own (ppm).
    """

    field_strength: float
    gain: float
    b1_spread: float
    bias: float
    phase_offset: float
    b0_spread: float
    b1_waves: Waves
    bias_waves: Waves
    phase_waves: Waves
    b0_waves: Waves
    constant_phase: float

    @classmethod
    def draw(
        cls,
        field_strength: float,
        seed: int = 0,
        *,
        gain: float = 1.0,
        b1_spread: float | None = None,
        bias: float = 0.2,
        phase_offset: float = 1.5,
        b0_spread: float = 0.0,
    ) -> Scanner:
        """Field strength (T) and seed → a scanner; without `b1_spread`, that typical of a head at this field."""
        random = np.random.default_rng([seed, 2])
        if b1_spread is None:
            b1_spread = float(np.interp(field_strength, list(B1_SPREAD), list(B1_SPREAD.values())))
        return cls(
            field_strength,
            gain,
            b1_spread,
            bias,
            phase_offset,
            b0_spread,
            random_waves(random, 5, (150, 350)),
            random_waves(random, 5, (180, 400)),
            random_waves(random, 6, (160, 400)),
            random_waves(np.random.default_rng([seed, 5]), 5, (150, 400)),
            float(random.uniform(-np.pi, np.pi)),
        )

    def transmit(self, grid: Grid) -> FloatArray:
        """Grid → relative transmit field B1+ (1 = nominal flip angle): high in the middle, low at the surface."""
        b1 = np.empty(grid.shape, np.float32)

        def plane(i: int) -> None:
            x, y, z = plane_points(grid, i)
            fall = (x * x + y * y + z * z) / np.float32(80.0**2)
            waves = np.float32(0.25) * self.b1_waves.on_plane(grid.affine, i, grid.shape[1:])
            b1[i] = 1 + np.float32(self.b1_spread) * (np.float32(0.5) - np.minimum(fall, 2) + waves)

        each(plane, grid.shape[0])
        return b1

    def phase(self, grid: Grid) -> FloatArray:
        """Grid → receive phase (rad)."""
        constant = self.constant_phase if self.phase_offset else 0.0
        return np.float32(constant) + np.float32(self.phase_offset) * on_grid(self.phase_waves, grid)

    def inhomogeneity(self, grid: Grid) -> FloatArray:
        """Grid → the magnet's own deviation from its main field (ppm), constant inside a voxel."""
        return np.float32(self.b0_spread) * on_grid(self.b0_waves, grid)

    def receive(self, grid: Grid) -> Signals:
        """Grid → complex receive sensitivity times gain and scale."""
        size = np.float32(SCALE * self.gain) * np.exp(np.float32(self.bias) * on_grid(self.bias_waves, grid))
        received: Signals = (size * np.exp(1j * self.phase(grid))).astype(np.complex64)
        return received


@dataclass(frozen=True, eq=False)
class Series:
    """What a sequence recorded: complex `images` (x, y, z, volume); the noise's standard deviation per channel;
    the pose of the body in each volume; and which volumes are corrupted."""

    protocol: Protocol
    images: Signals
    sigma: float
    poses: tuple[Pose, ...]
    corrupted: tuple[bool, ...]


def scan(
    scene: Scene,
    scanner: Scanner,
    protocol: Protocol,
    *,
    snr: float = 50.0,
    seed: int = 0,
    motion: float = 0.0,
    corrupted: int = 0,
) -> Series:
    """Scene, scanner, sequence → its complex images with noise.

    `snr` is the mean magnitude over the brain in the brightest volume over the noise's standard deviation per
    channel (inf: none). With `motion`, the body lies elsewhere in each shot after the first: every translation
    (mm) and rotation (degrees) is drawn with that standard deviation, and the field of the moved body computed
    anew under the shim of the first. `corrupted` volumes get the ghosts of a jerk while they were acquired. All
    drawn from `seed`.
    """
    random = np.random.default_rng([seed, 3])
    poses = [STILL, *(random_pose(random, motion) for _ in range(max(protocol.shots)))]
    images = np.empty((*scene.grid.shape, len(protocol.shots)), np.complex64)
    pools = _pools(scene, scanner, protocol)
    for shot, volumes in _batches(protocol.shots, motion > 0):
        now = _again(scene, poses[shot]) if shot else scene
        images[..., volumes] = _recorded(now, scanner, protocol, pools, volumes)
    sigma = noise_sigma(images, snr, scene)
    spoiled = _chosen(random, len(protocol.shots), corrupted)
    for v in np.flatnonzero(spoiled):
        _jerk(images[..., v], scene.grid, random)
    add_noise(images, sigma, seed)
    return Series(protocol, images, sigma, tuple(poses[s] for s in protocol.shots), spoiled)


def acquire(scene: Scene, scanner: Scanner, protocol: Protocol) -> Signals:
    """Scene, scanner, sequence → its noise-free complex images (x, y, z, volume)."""
    every = list(range(len(protocol.shots)))
    return _recorded(scene, scanner, protocol, _pools(scene, scanner, protocol), every)


def _recorded(
    scene: Scene, scanner: Scanner, protocol: Protocol, pools: Sequence[Pool], volumes: list[int]
) -> Signals:
    """The noise-free images of some volumes, from what all volumes' pools send."""
    hz_per_ppm = GAMMA_BAR * scanner.field_strength * 1e-6
    times = np.array([protocol.phase_times[v] for v in volumes])
    texture, b1 = on_grid(scene.texture.relaxation, scene.body), scanner.transmit(scene.grid)
    images = np.zeros((*scene.grid.shape, len(volumes)), np.complex64)
    for pool in pools:
        part = Pool(pool.table[volumes], pool.displacement[volumes])
        images += sum_spins(part, scene.labels, scene.field, texture, b1, 2 * np.pi * hz_per_ppm * times)
    images *= scanner.receive(scene.grid)[..., None]
    if scanner.b0_spread:
        cycles = hz_per_ppm * scanner.inhomogeneity(scene.grid)[..., None] * times.astype(np.float32)
        images *= np.exp(2j * np.pi * cycles).astype(np.complex64)
    if protocol.bipolar:
        images *= _eddy_currents(scene.grid, volumes)
    return images


def _batches(shots: Sequence[int], moving: bool, at_once: int = 8) -> list[tuple[int, list[int]]]:
    """The shot whose pose counts, and the volumes to compute together: those of a shot, or a handful at rest."""
    if moving:
        return [(shot, [v for v, when in enumerate(shots) if when == shot]) for shot in range(max(shots) + 1)]
    every = list(range(len(shots)))
    return [(0, every[i : i + at_once]) for i in range(0, len(every), at_once)]


def noise_sigma(images: Signals, snr: float, scene: Scene) -> float:
    """Noise-free images → the noise's standard deviation per channel: brightest mean magnitude / SNR."""
    check_snr(snr)
    means = [
        float(np.abs(images[..., v][scene.mask]).mean(dtype=np.float64)) for v in range(images.shape[-1])
    ]
    return max(means) / snr


def check_snr(snr: float) -> None:
    """ScanError for a signal-to-noise ratio that cannot be meant."""
    if not snr > 0:
        raise ScanError(f"the signal-to-noise ratio {snr:g} must be positive (inf for no noise)")


def random_pose(random: np.random.Generator, spread: float) -> Pose:
    """A rigid motion: translations (mm) and rotations (degrees) about each axis with this standard deviation."""
    shift, angles = spread * random.standard_normal(3), np.radians(spread) * random.standard_normal(3)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turned(angles), shift
    return pose


def _pools(scene: Scene, scanner: Scanner, protocol: Protocol) -> list[Pool]:
    """Water and fat; fat lands where the readout puts its frequency, and not at all where there is none."""
    water, fat = materials(dict(scene.anatomy.tissues), scanner.field_strength)
    count = len(protocol.shots)
    pools = [Pool(_tabulated(protocol, water), np.zeros(count, np.int64))]
    if fat is not None:
        voxels = 0.0
        if protocol.pixel_bandwidth:
            voxels = FAT_SHIFT * GAMMA_BAR * scanner.field_strength * 1e-6 / protocol.pixel_bandwidth
        signs = np.array([(-1) ** v if protocol.bipolar else 1 for v in range(count)])
        pools.append(Pool(_tabulated(protocol, fat), np.rint(signs * voxels * scene.factor).astype(np.int64)))
    return pools


def _tabulated(protocol: Protocol, material: Material) -> Signals:
    return np.asarray(protocol.signal(material), np.complex64)


def _again(scene: Scene, pose: Pose) -> Scene:
    """The scene with the body in another pose, under the same shim."""
    return build_scene(
        scene.anatomy,
        scene.grid,
        supersampling=scene.factor,
        texture=scene.texture,
        pose=pose,
        shim=scene.shim,
    )


def _eddy_currents(grid: Grid, volumes: list[int]) -> Signals:
    """Phase factors that alternate between the echoes of a bipolar readout: constant and linear along it."""
    along = np.arange(grid.shape[0], dtype=np.float32) / grid.shape[0] - np.float32(0.5)
    line = np.float32(0.25) + np.float32(1.6) * along
    signs = np.array([(-1) ** v for v in volumes], np.float32)
    factors: Signals = np.exp(1j * line[:, None, None, None] * signs).astype(np.complex64)
    return factors


def _chosen(random: np.random.Generator, volumes: int, count: int) -> tuple[bool, ...]:
    """Which volumes are to be corrupted: `count` of them, at random."""
    if not 0 <= count <= volumes:
        raise ScanError(f"{count} corrupted volumes were asked for, of {volumes}; ask for fewer")
    hit = set(random.permutation(volumes)[:count].tolist())
    return tuple(v in hit for v in range(volumes))


def _jerk(image: Signals, grid: Grid, random: np.random.Generator) -> None:
    """Ghosts, in place: a block of phase-encoding lines (second axis) was acquired 3 to 8 mm off."""
    lines = np.fft.fftfreq(grid.shape[1])
    start, width = random.uniform(-0.12, 0.05), random.uniform(0.08, 0.2)
    hit = (lines > start) & (lines < start + width)
    ramp = np.exp(-2j * np.pi * lines * random.uniform(3, 8) / grid.voxel_size[1])
    spectrum = np.fft.fft(image, axis=1)
    spectrum *= np.where(hit, ramp, 1)[None, :, None]
    image[...] = np.fft.ifft(spectrum, axis=1).astype(np.complex64)
