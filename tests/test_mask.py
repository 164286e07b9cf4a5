"""Masks: what must be in and what out, on drawn heads, on real scans and on input that cannot be used."""

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

import mensura.mask as masks
from mensura.mask.intensity import equalise, levels
from mensura.mask.surface import icosphere, inside, refine
from mensura.methods import call
from mensura.scan import BoolArray, FloatArray, Grid, ScanError, Volume, bounding_box
from mensura.score import coverage

ECHO_TIMES = (0.004, 0.012, 0.020, 0.028)
METHODS = tuple(masks.MASKS.methods)


def dice(a: BoolArray, b: BoolArray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def turned(angle: float) -> NDArray[np.float64]:
    """Rotation by `angle` degrees about an axis between left-right and front-back."""
    axis, a = np.array([0.8, 0.6, 0.0]), np.deg2rad(angle)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(a) * cross.T + (1 - np.cos(a)) * cross.T @ cross.T


def grid_of(shape: tuple[int, int, int], size: tuple[float, float, float], angle: float = 0.0) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = turned(angle) @ np.diag(size)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + [0, -5, -12]
    return Grid(shape, affine)


@dataclass
class Head:
    magnitude: FloatArray
    phase: FloatArray
    grid: Grid
    brain: BoolArray
    parts: dict[str, BoolArray]


def draw_head(grid: Grid, snr: float = 40.0, seed: int = 0) -> Head:
    """Ellipsoids in scanner axes: brain, dark fissures, CSF, skull, skin, neck, eyes, air; coil shading."""
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    x, y, z = np.moveaxis(voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3], -1, 0)

    def ball(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> BoolArray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1

    def nested(grow: float) -> BoolArray:
        cerebrum = ball(0, 0, 8, 66 + grow, 84 + grow, 60 + grow) & (z > -22 - grow)
        return cerebrum | ball(0, -42, -28, 48 + grow, 34 + grow, 28 + grow)

    cord = ((x / 6) ** 2 + ((y + 12) / 6) ** 2 < 1) & (z < -20)
    neck = ((x / 52) ** 2 + ((y + 10) / 62) ** 2 < 1) & (z < -20)
    eyes = ball(-30, 78, -32, 13, 13, 13) | ball(30, 78, -32, 13, 13, 13)
    sinus = ball(0, 72, -32, 14, 16, 10)
    brain = nested(0) | (cord & (z > -50))
    fissures = ((np.abs(x) < 1.5) & (z > 10)) | ball(-14, -5, 12, 6, 22, 9) | ball(14, -5, 12, 6, 22, 9)
    nuclei = ball(-24, 5, 4, 6, 9, 8) | ball(24, 5, 4, 6, 9, 8)
    signal, rate = np.zeros(grid.shape), np.full(grid.shape, 20.0)
    paint = [
        (nested(16), 2.2, 25.0),
        (neck, 1.2, 30.0),
        (eyes, 0.7, 10.0),
        (nested(10) | sinus, 0.05, 100.0),
        (sinus, 0.0, 0.0),
        (nested(3) | ((x / 10) ** 2 + ((y + 12) / 10) ** 2 < 1) & (z < -20), 0.5, 4.0),
        (brain | cord, 1.0, 20.0),
        (brain & fissures, 0.5, 4.0),
        (brain & nuclei, 0.9, 45.0),
    ]
    for where, level, decay in paint:
        signal[where], rate[where] = level, decay
    rate = rate + 250 * np.exp(-((x / 20) ** 2) - ((y - 72) / 20) ** 2 - ((z + 32) / 14) ** 2)
    shading = np.exp(0.5 * ((x / 80) ** 2 + (y / 95) ** 2 + (z / 80) ** 2 - 0.5)).clip(0, 4)
    frequency = 40 * (y / 80) ** 2 + 30 * z / 80 + 12 * np.sin(x / 18)
    random = np.random.default_rng(seed)
    times = np.array(ECHO_TIMES)
    clean = (signal * shading)[..., None] * np.exp((2j * np.pi * frequency - rate)[..., None] * times + 1j)
    noise = random.normal(size=(2, *clean.shape)) / snr
    noisy = clean + noise[0] + 1j * noise[1]
    parts = {
        "eyes": eyes & ~nested(10),
        "skin": nested(16) & ~nested(10) & ~neck,
        "neck": neck & (z < -65),
        "nuclei": brain & nuclei,
        "ventricles": brain & fissures & ~((np.abs(x) < 1.5) & (z > 10)),
    }
    magnitude, phase = np.abs(noisy).astype(np.float32), np.angle(noisy).astype(np.float32)
    return Head(magnitude, phase, grid, brain, parts)


GRIDS = {
    "isotropic, odd": grid_of((61, 73, 63), (3.0, 3.0, 3.0)),
    "thick slices": grid_of((96, 116, 41), (1.9, 1.9, 4.6)),
    "sagittal slices": grid_of((46, 109, 95), (4.0, 2.0, 2.0)),
    "oblique": grid_of((66, 77, 71), (3.0, 3.0, 3.0), angle=30),
}


@pytest.fixture(scope="module", params=list(GRIDS))
def head(request: pytest.FixtureRequest) -> Head:
    return draw_head(GRIDS[request.param])


@pytest.fixture(scope="module")
def plain() -> Head:
    return draw_head(grid_of((47, 55, 49), (4.0, 4.0, 4.0)))


# --- brain and robust on drawn heads


@pytest.mark.parametrize("method", ["brain", "robust"])
def test_the_brain_is_in_and_the_rest_of_the_head_is_out(head: Head, method: str) -> None:
    mask = getattr(masks, method)(head.magnitude, head.phase, head.grid)
    assert mask.dtype == bool
    assert dice(mask, head.brain) >= 0.93
    assert np.count_nonzero(mask & head.brain) >= 0.97 * np.count_nonzero(head.brain)
    for part in ("eyes", "skin", "neck"):
        assert np.count_nonzero(mask & head.parts[part]) <= 0.02 * np.count_nonzero(head.parts[part]), part


def test_the_robust_mask_keeps_dark_and_incoherent_spots_inside_the_brain(plain: Head) -> None:
    random = np.random.default_rng(5)
    magnitude, phase = plain.magnitude.copy(), plain.phase.copy()
    magnitude[plain.parts["nuclei"]] *= 0.02
    phase[plain.parts["nuclei"]] = random.uniform(-np.pi, np.pi, phase[plain.parts["nuclei"]].shape)
    mask = masks.robust(magnitude, phase, plain.grid)
    assert mask[plain.parts["nuclei"]].all()
    assert mask[plain.parts["ventricles"]].all()


def test_the_robust_mask_leaves_out_incoherent_phase_at_the_edge(plain: Head) -> None:
    random = np.random.default_rng(6)
    top = plain.brain & (np.arange(plain.grid.shape[2]) > 33)
    phase = plain.phase.copy()
    phase[top] = random.uniform(-np.pi, np.pi, phase[top].shape)
    before = masks.robust(plain.magnitude, plain.phase, plain.grid)
    after = masks.robust(plain.magnitude, phase, plain.grid)
    assert np.count_nonzero(before & top) > 0.97 * np.count_nonzero(top)
    assert np.count_nonzero(after & top) < 0.2 * np.count_nonzero(top)
    assert np.count_nonzero(after & ~top) > 0.93 * np.count_nonzero(before & ~top)


def test_dropout_in_later_echoes_does_not_shrink_the_brain(plain: Head) -> None:
    front = np.arange(plain.grid.shape[1])[:, None, None] > 37
    dropped = np.where(front & (np.arange(4) > 0), np.float32(0.02), plain.magnitude)
    full, less = (masks.brain(m, None, plain.grid) for m in (plain.magnitude, dropped))
    np.testing.assert_array_equal(full, less)


def test_a_larger_fractional_intensity_gives_a_smaller_brain(plain: Head) -> None:
    sizes = [
        np.count_nonzero(masks.brain(plain.magnitude, None, plain.grid, fractional_intensity=f))
        for f in (0.35, 0.55, 0.75)
    ]
    assert sizes[0] > sizes[1] > sizes[2] > 0.6 * sizes[1]


def test_a_slab_of_the_head(plain: Head) -> None:
    slab = np.s_[:, :, 23:35]
    grid = plain.grid.with_shape((*plain.grid.shape[:2], 12))
    mask = masks.robust(plain.magnitude[slab], plain.phase[slab], grid)
    assert dice(mask, plain.brain[slab]) >= 0.93


def test_a_crop_without_any_edge_is_kept_whole(plain: Head) -> None:
    crop = np.s_[15:31, 19:37, 21:33]
    grid = plain.grid.with_shape((16, 18, 12))
    mask = masks.robust(plain.magnitude[crop], plain.phase[crop], grid)
    assert coverage(mask, np.ones(grid.shape, bool)) >= 99


@pytest.mark.parametrize("method", ["brain", "robust"])
def test_an_extracted_brain_is_kept_as_it_is(plain: Head, method: str) -> None:
    brain = plain.brain[..., None]
    mask = getattr(masks, method)(plain.magnitude * brain, plain.phase * brain, plain.grid)
    assert dice(mask, plain.brain) >= 0.999


@pytest.mark.parametrize("size", [0.5, 1.5, 4.0])
def test_a_ball_of_water(size: float) -> None:
    grid = Grid.from_voxel_size((52, 49, 51), (size, size, size))
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in grid.shape), indexing="ij")
    ball = x**2 + y**2 + z**2 < 18**2
    random = np.random.default_rng(1)
    noise = random.normal(size=(2, *grid.shape, 3)) / 30
    signal = ball[..., None] * np.exp(0.1j * (x + y)[..., None] * np.arange(1, 4)) + noise[0] + 1j * noise[1]
    mask = masks.robust(np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32), grid)
    assert dice(mask, ball) >= 0.99


# --- what every method promises


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_unit_of_the_magnitude_does_not_matter(plain: Head, method: str, scale: float) -> None:
    function = masks.MASKS.methods[method].function
    one, other = (
        function(m, plain.phase, plain.grid) for m in (plain.magnitude, plain.magnitude * np.float32(scale))
    )
    assert np.count_nonzero(one != other) <= 1e-4 * np.count_nonzero(one)


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_threads_give_the_same_mask(plain: Head, method: str) -> None:
    function = masks.MASKS.methods[method].function
    found = []
    for threads in (1, 2, 2):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        found.append(function(plain.magnitude, plain.phase, plain.grid))
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.parametrize("method", METHODS)
def test_every_mask_is_one_part_without_holes_and_leaves_its_input_alone(plain: Head, method: str) -> None:
    magnitude, phase = plain.magnitude.copy(), plain.phase.copy()
    mask = masks.MASKS.methods[method].function(magnitude, phase, plain.grid)
    assert mask.any()
    np.testing.assert_array_equal(mask, masks.largest_component(mask))
    np.testing.assert_array_equal(mask, masks.fill_holes(mask))
    np.testing.assert_array_equal(magnitude, plain.magnitude)
    np.testing.assert_array_equal(phase, plain.phase)


@pytest.mark.parametrize("method", METHODS)
def test_not_a_number_stays_where_it_is(plain: Head, method: str) -> None:
    function = masks.MASKS.methods[method].function
    magnitude, phase = plain.magnitude.copy(), plain.phase.copy()
    magnitude[2:5, 2:5, 40:43] = np.nan
    phase[23, 27, 31] = np.nan
    clean, dirty = function(plain.magnitude, plain.phase, plain.grid), function(magnitude, phase, plain.grid)
    assert dice(clean, dirty) > 0.999


def test_the_table_calls_every_method_with_what_there_is(plain: Head) -> None:
    magnitude = Volume(plain.magnitude, plain.grid, "arbitrary")
    phase = Volume(plain.phase, plain.grid, "rad")
    assert METHODS[0] == "robust"
    for method, given in [("robust", {"magnitude": magnitude}), ("phase_quality", {"phase": phase})]:
        mask = call(masks.MASKS, method, given)["mask"]
        assert mask.unit == "1"
        assert 0.02 < mask.data.mean() < 0.6


# --- real scans


@pytest.fixture(scope="module")
def philips(shared_data: Path) -> tuple[FloatArray, FloatArray, Grid]:
    import nibabel as nib

    folder = shared_data / "philips_brain_2echo" / "bids" / "sub-01" / "anat"
    read = {
        part: [nib.load(folder / f"sub-01_echo-{e}_part-{part}_MEGRE.nii.gz") for e in (1, 2)]
        for part in ("mag", "phase")
    }
    magnitude, phase = (
        np.stack([np.asarray(i.dataobj, dtype=np.float32) for i in read[p]], -1) for p in ("mag", "phase")
    )
    return magnitude, phase, Grid(magnitude.shape[:3], read["mag"][0].affine)


def test_a_real_head_at_3_mm(philips: tuple[FloatArray, FloatArray, Grid]) -> None:
    mask = masks.robust(*philips)
    litres = np.count_nonzero(mask) * 27e-6
    assert 1.35 < litres < 1.75
    brain = {
        "frontal": (40, 60, 35),
        "occipital": (40, 14, 30),
        "vertex": (36, 32, 49),
        "left temporal pole": (26, 48, 17),
        "right temporal pole": (54, 48, 17),
        "cerebellum": (32, 22, 12),
        "brain stem": (40, 36, 14),
        "ventricle": (43, 40, 33),
    }
    others = {
        "left eye": (29, 62, 20),
        "right eye": (50, 62, 20),
        "neck": (40, 20, 2),
        "jaw": (25, 55, 6),
        "nose": (40, 70, 14),
        "forehead": (40, 69, 30),
        "crown": (40, 10, 48),
        "frontal sinus": (40, 66, 24),
    }
    assert [name for name, voxel in brain.items() if not mask[voxel]] == []
    assert [name for name, voxel in others.items() if mask[voxel]] == []


def test_phase_quality_of_a_real_head_ignores_painted_background(
    philips: tuple[FloatArray, FloatArray, Grid],
) -> None:
    mask = masks.phase_quality(*philips)
    assert not mask[:8, :8].any()
    assert not mask[-8:, :8].any()
    assert mask[40, 30, 30]
    assert np.count_nonzero(mask & masks.brain(*philips)) > 0.97 * np.count_nonzero(masks.brain(*philips))


def test_a_real_crop_of_the_midline_with_veins(shared_data: Path) -> None:
    import nibabel as nib

    image = nib.load(shared_data / "gre_crop_3echo" / "Mag.nii")
    magnitude = np.asarray(image.dataobj, dtype=np.float32)
    stored = np.asarray(nib.load(shared_data / "gre_crop_3echo" / "Phase.nii").dataobj, dtype=np.float32)
    phase = stored * np.float32(np.pi / np.abs(stored).max())
    mask = masks.robust(magnitude, phase, Grid(magnitude.shape[:3], image.affine))
    assert coverage(mask, np.ones(mask.shape, bool)) > 99


def test_a_head_made_of_a_real_label_map(shared_data: Path) -> None:
    import nibabel as nib

    data = np.asarray(
        nib.load(shared_data / "head_labels_hrgt" / "hrgt_icbm_2009a_nls_3t.nii.gz").dataobj, dtype=np.float32
    )[::3, ::3, ::3, 0]
    data = np.pad(data, [(5, 5), (5, 5), (5, 5), (0, 0)])
    grid = Grid.from_voxel_size(data.shape[:3], (3.0, 3.0, 3.0))
    t1, t2_star, m0, label = data[..., 2], data[..., 4], data[..., 5], data[..., 6]
    brain = masks.fill_holes(masks.closing(label > 0, grid, 6.0))
    shells = [masks.dilate(brain, grid, r) for r in (3.0, 9.0, 15.0)]
    decay = np.exp(-0.035 / np.where(label > 0, t1, 3.0))
    signal = np.where(label > 0, m0, 75) * np.sin(0.26) * (1 - decay) / (1 - np.cos(0.26) * decay) / 15
    signal = np.where(shells[0], signal, np.where(shells[1], 0.05, np.where(shells[2], 2.0, 0.0)))
    rate = 1 / np.where(label > 0, t2_star, 0.1)
    random = np.random.default_rng(3)
    echoes = signal[..., None] * np.exp(-rate[..., None] * np.array(ECHO_TIMES))
    noise = random.normal(size=(2, *echoes.shape)) * 0.02
    magnitude = np.hypot(echoes + noise[0], noise[1]).astype(np.float32)
    assert dice(masks.brain(magnitude, None, grid), brain) >= 0.93


# --- phase quality, threshold


def test_coherence_tells_a_steep_field_from_noise() -> None:
    random = np.random.default_rng(0)
    shape = (24, 25, 26)
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    ramp = np.angle(np.exp(1j * (2.6 * x - 1.9 * y + 1.1 * z))).astype(np.float32)
    noise = random.uniform(-np.pi, np.pi, shape).astype(np.float32)
    assert masks.coherence(ramp).min() > 0.999
    assert masks.coherence(noise).mean() < 0.1
    assert np.quantile(masks.coherence(noise), 0.999) < 0.4
    assert (masks.coherence(np.full(shape, -np.pi, np.float32)) == 0).all()


def test_an_echo_without_signal_has_no_say_in_the_coherence() -> None:
    random = np.random.default_rng(0)
    x = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((20, 20, 20), np.float32)
    phase = np.stack([0.1 * x, random.uniform(-np.pi, np.pi, x.shape).astype(np.float32)], -1)
    equal = np.ones_like(phase)
    faded = equal * np.array([1.0, 0.05], np.float32)
    assert np.median(masks.coherence(phase, equal)) == pytest.approx(0.5, abs=0.05)
    assert np.median(masks.coherence(phase, faded)) > 0.99


def test_the_mean_coherence_follows_the_noise() -> None:
    random = np.random.default_rng(2)
    sigma = 0.1
    noisy = (random.normal(size=(40, 40, 40)) * sigma).astype(np.float32)
    expected = (
        1 - 2 / np.pi * np.sqrt(6 * 2 / np.pi) * sigma
    )  # second difference: variance 6σ², mean |x| = σ√(2/π)
    assert masks.coherence(noisy)[2:-2, 2:-2, 2:-2].mean() == pytest.approx(expected, abs=1e-3)


def test_levels_and_threshold_of_two_known_classes() -> None:
    random = np.random.default_rng(0)
    image = np.full((40, 40, 40), 0.02, np.float32)
    image[10:30, 10:30, 10:30] = 1.0
    image += 0.01 * random.random(image.shape, dtype=np.float32)
    low, high = levels(image)
    assert low == pytest.approx(0.025, abs=0.002)
    assert high == pytest.approx(1.005, abs=0.005)
    mask = masks.threshold(image, None, Grid.from_voxel_size(image.shape), fraction=0.5, radius=0.0)
    np.testing.assert_array_equal(mask, image > 0.5)


def test_shading_is_taken_out() -> None:
    grid = Grid.from_voxel_size((40, 42, 44), (4.0, 4.0, 4.0))
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    tissue = x**2 + y**2 + z**2 < 0.8
    shaded = (tissue * np.exp(0.8 * x - 0.5 * y**2)).astype(np.float32)
    even = equalise(shaded, tissue, grid, 30.0)[tissue]
    assert even.std() / even.mean() < 0.45 * shaded[tissue].std() / shaded[tissue].mean()
    assert even.mean() == pytest.approx(1, abs=0.05)


# --- shapes


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.0), (2.0, 1.3, 0.9)])
@pytest.mark.parametrize("radius", [0.0, 1.0, 2.7, 4.0])
def test_erosion_and_dilation_are_by_a_ball_in_mm(size: tuple[float, float, float], radius: float) -> None:
    random = np.random.default_rng(4)
    grid = Grid.from_voxel_size((13, 14, 15), size)
    mask = random.random(grid.shape) > 0.97
    where = np.argwhere(np.ones(grid.shape)) * size
    distance = np.linalg.norm(where[:, None] - where[mask.ravel()][None], axis=-1).min(1).reshape(grid.shape)
    np.testing.assert_array_equal(masks.dilate(mask, grid, radius), distance <= radius + 1e-6)
    np.testing.assert_array_equal(masks.erode(~mask, grid, radius), distance > radius + 1e-6)


def test_a_cut_side_is_not_eroded_and_opening_and_closing_do_what_they_say() -> None:
    grid = Grid.from_voxel_size((20, 20, 20))
    half = np.zeros(grid.shape, bool)
    half[:, :, 8:] = True
    assert masks.erode(half, grid, 2.0).sum() == 20 * 20 * 10
    bridge = half.copy()
    bridge[9:11, 9:11, :] = True
    opened = masks.opening(bridge, grid, 2.0)
    np.testing.assert_array_equal(opened[:, :, :7], half[:, :, :7])
    np.testing.assert_array_equal(opened[:, :, 8:], half[:, :, 8:])
    slit = half.copy()
    slit[:, :, 12] = False
    np.testing.assert_array_equal(masks.closing(slit, grid, 2.0), half)


def test_holes_parts_boxes_and_coverage() -> None:
    mask = np.zeros((12, 13, 14), bool)
    mask[2:9, 2:9, 2:9] = True
    solid = mask.copy()
    mask[4:6, 4:6, 4:6] = False
    np.testing.assert_array_equal(masks.fill_holes(mask), solid)
    dented = solid.copy()
    dented[4:6, 4:6, 2:6] = False
    np.testing.assert_array_equal(masks.fill_holes(dented), dented)
    touching = np.ones((5, 5, 5), bool)
    touching[2, 2, :3] = False
    np.testing.assert_array_equal(masks.fill_holes(touching), touching)
    two = solid.copy()
    two[10:12, 10:13, 10:14] = True
    np.testing.assert_array_equal(masks.largest_component(two), solid)
    assert bounding_box(solid) == np.s_[2:9, 2:9, 2:9]
    assert bounding_box(solid, 4) == np.s_[0:12, 0:13, 0:13]
    assert coverage(mask, solid) == pytest.approx(100 * (343 - 8) / 343)


@pytest.mark.parametrize("subdivisions", [0, 2, 3])
def test_the_sphere_is_closed_and_encloses_its_volume(subdivisions: int) -> None:
    ball = icosphere(subdivisions)
    faces = ball.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(faces) == 20 * 4**subdivisions
    assert len(np.unique(edges, axis=0)) == len(edges), "each edge runs once each way"
    assert len(np.unique(np.sort(edges, axis=1), axis=0)) * 2 == len(edges)
    corners = ball.vertices[faces]
    volume = np.linalg.det(corners).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi, rel=[0.4, 0.15, 0.04, 0.01][subdivisions])
    np.testing.assert_allclose(refine(ball).vertices[: len(ball.vertices)], ball.vertices)
    centre, size = np.array([30.0, 31.5, 29.3]), (1.0, 1.5, 2.0)
    moved = type(ball)(centre + 24 * ball.vertices, faces, ball.rings)
    mask = inside(moved, (61, 43, 31), size)
    assert np.count_nonzero(mask) * np.prod(size) == pytest.approx(volume * 24**3, rel=0.01)
    assert np.argwhere(mask).mean(0) * size == pytest.approx(centre, abs=0.1)


# --- input that cannot be used


def test_no_signal_no_phase_no_mask(plain: Head) -> None:
    zero = np.zeros_like(plain.magnitude)
    for method in ("robust", "brain", "threshold"):
        with pytest.raises(ScanError, match="magnitude is zero everywhere; give the magnitude"):
            masks.MASKS.methods[method].function(zero, plain.phase, plain.grid)
    with pytest.raises(ScanError, match="take the mask method phase_quality"):
        masks.brain(None, plain.phase, plain.grid)
    with pytest.raises(ScanError, match="needs a magnitude or a phase"):
        masks.robust(None, None, plain.grid)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, plain.phase.shape).astype(np.float32)
    for method in ("robust", "phase_quality"):
        with pytest.raises(ScanError, match=r"nowhere .*coherent enough.* lower the quality"):
            masks.MASKS.methods[method].function(plain.magnitude, noise, plain.grid)
    with pytest.raises(ScanError, match="lower the fraction or the radius"):
        masks.threshold(plain.magnitude, None, plain.grid, fraction=50.0)


def test_an_empty_mask_is_told_apart_from_a_small_one() -> None:
    empty = np.zeros((4, 5, 6), bool)
    grid = Grid.from_voxel_size(empty.shape)
    for ask in (lambda: bounding_box(empty), lambda: coverage(~empty, empty)):
        with pytest.raises(ScanError, match="mask is empty; give another mask"):
            ask()
    assert not masks.dilate(empty, grid, 3.0).any()
    assert not masks.largest_component(empty).any()
    with pytest.raises(ScanError, match="radius of -1 mm cannot be meant"):
        masks.dilate(empty, grid, -1.0)
