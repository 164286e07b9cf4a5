"""The digital head: anatomy, truth and signal fit together, at any tilt, voxel size and field of view."""

import numba
import numpy as np
import pytest
from scipy import fft, ndimage
from scipy.ndimage import binary_erosion

from mensura.phantom.head import anatomy_from_labels, head_anatomy, head_around, head_grid, simulate_head
from mensura.phantom.scene import plane_points
from mensura.phantom.simulation import simulate
from mensura.phantom.tissues import ABDOMINAL, LESIONAL, TISSUES, Label, properties
from mensura.scan import GAMMA_BAR, GradientEcho, Grid, ScanError

COARSE = {"shape": (40, 48, 42), "voxel_size": (4.5, 4.5, 4.5)}


@pytest.fixture(scope="module")
def head():
    return simulate_head(**COARSE, snr=float("inf"), phase_offset=0.0)


def eroded(mask, times):
    return ndimage.binary_erosion(mask, iterations=times)


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


def laplacian(x):
    return sum(np.roll(x, s, a) for s in (-1, 1) for a in range(3)) - 6 * x


def test_it_has_a_brain_of_human_size_in_a_head(head):
    litres = head.mask.sum() * np.prod(head.grid.voxel_size) * 1e-6
    assert 1.2 < litres < 1.7
    assert set(np.unique(head.labels[head.mask])) >= {
        Label.CSF,
        Label.CORTEX,
        Label.WHITE_MATTER,
        Label.THALAMUS,
    }
    assert ndimage.label(head.mask)[1] == 1
    around = ndimage.binary_dilation(head.mask, iterations=4) & ~head.mask
    assert set(np.unique(head.labels[around])) >= {Label.BONE, Label.MUSCLE, Label.FAT, Label.AIR}


def test_every_tissue_is_found_at_a_millimetre():
    """Sampled without simulating: nuclei and veins that a coarse voxel would swallow are there."""
    anatomy, grid = head_anatomy(0), head_grid((160, 190, 1), (1, 1, 1))
    found = set()
    for height in range(-70, 90, 2):
        lifted = Grid(grid.shape, grid.affine + np.outer([0, 0, height - 6, 0], [0, 0, 0, 1]))
        planes = np.stack([np.stack(plane_points(lifted, i)) for i in range(0, 160, 2)], axis=1)
        found |= set(np.unique(anatomy.tissue_at((planes[0], planes[1], planes[2]))[0]))
    drawn = {vessel.label for vessel in anatomy.vessels}
    assert found | drawn >= set(Label) - LESIONAL - ABDOMINAL - {Label.SKIN}


def test_the_signs_are_those_of_a_brain():
    head = simulate_head((58, 68, 56), (3, 3, 3), snr=float("inf"), lesions=("calcification", "haemorrhage"))
    mean = {
        label: head.chi[(head.labels == label) & head.mask].mean()
        for label in np.unique(head.labels[head.mask])
    }
    assert mean[Label.PALLIDUM] > mean[Label.PUTAMEN] > mean[Label.CORTEX] > mean[Label.WHITE_MATTER]
    assert mean[Label.SINUS] > 0.15
    assert mean[Label.CALCIFICATION] < -0.8
    assert mean[Label.HAEMORRHAGE] > 0.4
    assert 0.02 < head.chi[head.mask].std() < 0.12
    inner = eroded(head.labels == Label.WHITE_MATTER, 2)
    assert head.chi[inner].std() > 0.004, "tissue without texture would flatter sparse priors"


def test_truth_is_referenced_to_the_mask_and_masked(head):
    assert abs(head.chi[head.mask].mean(dtype=float)) < 1e-5
    assert not head.chi[~head.mask].any()
    assert abs(head.chi_reference) < 0.03


def test_what_is_not_local_is_harmonic_in_the_brain(head):
    """The background field, shim included, obeys Laplace's equation where its sources are far."""
    inner = eroded(head.mask, 4)
    assert inner.sum() > 500
    background = head.total_field - head.local_field
    assert (
        np.abs(laplacian(background)[inner]).std() < 0.05 * np.abs(laplacian(head.local_field)[inner]).std()
    )
    assert background[head.mask].std() > 3 * head.local_field[head.mask].std()


def test_the_shim_leaves_no_second_order(head):
    x, y, z = (
        np.stack([np.stack(plane_points(head.grid, i)) for i in range(head.grid.shape[0])], axis=1) * 0.01
    )
    terms = np.stack(
        [np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 2 * z * z - x * x - y * y]
    )
    weights = np.linalg.lstsq(terms[:, head.mask].T, head.total_field[head.mask], rcond=None)[0]
    assert np.abs(weights).max() < 2e-3


def test_phase_grows_with_the_field(head):
    """Between two echoes, where the field is smooth: γ·ΔTE·B0·δ, positive for a higher field."""
    first, second = head.acquisition.echo_times[:2]
    phase = np.angle(head.echoes[..., 1] * np.conj(head.echoes[..., 0]))
    expected = 2 * np.pi * GAMMA_BAR * 3e-6 * (second - first) * head.total_field
    gradient = np.sqrt(sum(g**2 for g in np.gradient(head.total_field)))
    smooth = eroded(head.mask, 1) & (gradient < 0.03)
    assert smooth.sum() > 1000
    error = np.angle(np.exp(1j * (phase - expected)))[smooth]
    assert np.abs(np.median(error)) < 2e-3
    assert np.percentile(np.abs(error), 90) < 0.05


def test_magnitude_decays_with_r2star_and_dephasing(head):
    """Nowhere slower than R2*; near air faster, as spins dephase inside the voxel."""
    first, last = head.acquisition.echo_times[0], head.acquisition.echo_times[-1]
    inside = head.magnitude[head.mask]
    decay = np.log(inside[:, 0] / inside[:, -1]) / (last - first)
    extra = decay - head.r2star[head.mask]
    flat = np.linalg.norm(np.gradient(head.total_field), axis=0)[head.mask] < 0.01
    assert np.median(np.abs(extra[flat])) < 1
    assert np.percentile(extra, 99.5) > 10


def test_noise_is_as_stated():
    quiet, noisy = (simulate_head((24, 28, 24), (8, 8, 8), snr=snr, seed=5) for snr in (float("inf"), 25))
    noise = noisy.echoes - quiet.echoes
    expected = quiet.magnitude[..., 0][quiet.mask].mean() / 25
    assert noisy.sigma == pytest.approx(expected, rel=1e-5)
    assert noise.real.std() == pytest.approx(expected, rel=0.01)
    assert noise.imag.std() == pytest.approx(expected, rel=0.01)


def test_the_seed_draws_everything_whatever_the_threads():
    small = {"shape": (23, 29, 25), "voxel_size": (8, 8, 8), "lesions": ("haemorrhage",)}
    threads = numba.get_num_threads()
    first = simulate_head(**small, seed=1)
    try:
        numba.set_num_threads(1)
        again, other = simulate_head(**small, seed=1), simulate_head(**small, seed=2)
    finally:
        numba.set_num_threads(threads)
    for name in ("labels", "chi", "total_field", "local_field", "r2star", "echoes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert correlation(first.chi[first.mask], other.chi[first.mask]) < 0.95
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "angle"), [((44, 52, 46), (4.5, 4.5, 4.5), 30), ((49, 57, 33), (3.7, 3.7, 6), 0)]
)
def test_the_same_head_on_another_grid_has_the_same_field(head, shape, voxel_size, angle):
    """Sampled on a tilted or an anisotropic grid, the field at one point of the scanner stays what it is."""
    other = simulate_head(shape, voxel_size, b0_angle=angle, snr=float("inf"), phase_offset=0.0)
    cosine = other.grid.b0_direction[2]
    assert np.degrees(np.arccos(cosine)) == pytest.approx(angle, abs=1e-4)
    onto = np.linalg.inv(head.grid.affine) @ other.grid.affine
    for name, least in (("total_field", 0.99), ("local_field", 0.85)):
        mapped = ndimage.affine_transform(getattr(head, name), onto, output_shape=other.grid.shape, order=1)
        inner = eroded(other.mask, 2)
        assert correlation(mapped[inner], getattr(other, name)[inner]) > least
        assert other.local_field[inner].std() == pytest.approx(
            head.local_field[eroded(head.mask, 2)].std(), rel=0.2
        )


def test_the_field_does_not_depend_on_the_field_of_view(head):
    """What is cut off by a tighter box keeps acting from outside."""
    tight = simulate_head((36, 44, 38), COARSE["voxel_size"], snr=float("inf"), phase_offset=0.0)
    inside = head.mask[2:-2, 2:-2, 2:-2]
    np.testing.assert_array_equal(inside, tight.mask)
    difference = (tight.total_field - head.total_field[2:-2, 2:-2, 2:-2])[tight.mask]
    assert difference.std() < 0.01 * head.total_field[head.mask].std()


def test_bipolar_echoes_carry_an_alternating_linear_phase():
    small = {"shape": (24, 28, 24), "voxel_size": (8, 8, 8), "snr": float("inf")}
    plain, bipolar = simulate_head(**small), simulate_head(**small, readout="bipolar")
    assert bipolar.acquisition.readout == "bipolar"
    added = np.angle(bipolar.echoes * np.conj(plain.echoes))
    row = binary_erosion(plain.mask, iterations=3)[:, 14, 14]  # where no displaced fat lies
    x = np.arange(24)[row]
    for n in range(4):
        slope, constant = np.polyfit(x, added[row, 14, 14, n], 1)
        assert slope * (-1) ** n == pytest.approx(1.6 / 24, rel=0.02)
        np.testing.assert_allclose(added[row, 14, 14, n], slope * x + constant, atol=0.04)


def test_the_receive_phase_is_smooth_and_some_radians_wide():
    small = {"shape": (24, 28, 24), "voxel_size": (8, 8, 8), "snr": float("inf")}
    plain, offset = simulate_head(**small, phase_offset=0.0), simulate_head(**small)
    added = np.angle(
        offset.echoes[..., 0] * np.conj(plain.echoes[..., 0]) * np.exp(-1j * offset.phase_offset)
    )
    assert np.abs(added[plain.mask]).max() < 0.06
    assert 1 < np.ptp(offset.phase_offset[offset.mask]) < 12
    assert np.abs(laplacian(offset.phase_offset)[eroded(offset.mask, 1)]).max() < 0.25


def test_an_anatomy_can_be_made_of_labels():
    grid = Grid.from_voxel_size((20, 20, 20), (2, 2, 2))
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:16, 4:16, 4:16] = Label.WHITE_MATTER
    labels[8:12, 8:12, 8:12] = Label.PALLIDUM
    brain = labels > 0
    plain = {label: TISSUES[label] for label in (Label.AIR, Label.WHITE_MATTER, Label.PALLIDUM)}
    scan = GradientEcho((0.005, 0.010), 3.0, 0.03, 0.2)
    result = simulate(anatomy_from_labels(labels, grid, plain, brain), grid, scan, snr=float("inf"))
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.mask, brain)
    contrast = result.chi[labels == Label.PALLIDUM].mean() - result.chi[labels == Label.WHITE_MATTER].mean()
    assert contrast == pytest.approx(0.131 + 0.030, abs=0.04)
    with pytest.raises(ScanError, match="label 12 has no entry"):
        anatomy_from_labels(labels, grid, {0: TISSUES[0], 8: TISSUES[8]}, brain)
    with pytest.raises(ScanError, match="must have the grid's shape"):
        anatomy_from_labels(labels[:-1], grid, plain, brain)


def test_tissue_properties_follow_the_field_strength():
    """At 1.5, 3 and 7 T, R2* (1/s) is within 10 % of what was measured and T1 within 15 %."""
    measured = {
        Label.WHITE_MATTER: ((1.5, 15.2, 0.646), (3, 18.9, 0.838), (7, 37.0, 1.126)),
        Label.CORTEX: ((1.5, 11.9, 1.197), (3, 15.2, 1.607), (7, 30.3, 1.939)),
    }
    for label, rows in measured.items():
        for field_strength, r2star, t1 in rows:
            assert properties("r2star", TISSUES, field_strength)[label] == pytest.approx(r2star, rel=0.1)
            assert properties("t1", TISSUES, field_strength)[label] == pytest.approx(t1, rel=0.15)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lesions": ("cyst",)}, "no lesion 'cyst'; choose from calcification, haemorrhage, plaque, tumour"),
        ({"repetition_time": 0.02}, "must be longer than the last echo time"),
        ({"echo_times": (4, 12)}, "look like milliseconds"),
        ({"shape": (8, 8)}, "three sizes"),
        ({"voxel_size": (2, 2, -2)}, "three lengths"),
        ({"supersampling": 0}, "supersampling"),
        ({"snr": -3.0}, "signal-to-noise"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, message):
    with pytest.raises(ScanError, match=message):
        simulate_head(**{"shape": (12, 14, 12), "voxel_size": (16, 16, 16), **wrong})


def test_a_field_of_view_without_brain_is_refused():
    grid = Grid.from_voxel_size((4, 4, 4), (4, 4, 4))
    beside = Grid(grid.shape, grid.affine + np.outer([300, 0, 0, 0], [0, 0, 0, 1]))
    with pytest.raises(ScanError, match="no brain lies in the field of view"):
        simulate(head_anatomy(0), beside, GradientEcho((0.005,), 3.0, 0.03, 0.2))


@pytest.mark.parametrize(("voxel_size", "angle"), [((5.0, 5.0, 5.0), 30.0), ((4.0, 4.0, 7.0), 0.0)])
def test_the_truth_obeys_the_dipole_law_of_the_inversions(voxel_size, angle):
    """Below the finest scales, local field = D(k)·χ with D = 1/3 − (k·b)²/k², though not made with it."""
    shape = tuple(int(n / v) for n, v in zip((184, 212, 188), voxel_size, strict=True))
    head = simulate_head(shape, voxel_size, b0_angle=angle, snr=float("inf"))
    sampled = [np.fft.fftfreq(2 * n, v) for n, v in zip(shape, voxel_size, strict=True)]
    k = np.stack(np.meshgrid(*sampled, indexing="ij"), -1)
    kernel = 1 / 3 - (k @ np.array(head.grid.b0_direction)) ** 2 / np.maximum(np.sum(k**2, axis=-1), 1e-12)
    spectrum = fft.fftn(head.chi, [2 * n for n in shape])
    field = fft.ifftn(kernel * spectrum).real[tuple(slice(n) for n in shape)]
    field, local = (ndimage.gaussian_filter(f, 1.5) for f in (field, head.local_field))
    inner = eroded(head.mask, 2)
    assert np.std((field - local)[inner]) < 0.12 * local[inner].std()


def test_a_segmented_brain_gets_a_head():
    """Around a ball of white matter with a grey rim: CSF, skull and air outside, nuclei and veins inside."""
    grid = head_grid((30, 36, 32), (5, 5, 5))
    x, y, z = np.stack([np.stack(plane_points(grid, i)) for i in range(30)], axis=1)
    radius = np.sqrt((x / 66) ** 2 + ((y + 17) / 86) ** 2 + ((z - 12) / 60) ** 2)
    segmentation = np.where(radius < 0.88, 2, np.where(radius < 1, 1, 0)).astype(np.uint8)
    head = simulate(head_around(segmentation, grid), grid, GradientEcho((0.005, 0.01), 3.0, 0.03, 0.2))
    inside = segmentation > 0
    assert (head.mask == inside).mean() > 0.97
    assert (head.labels[eroded(inside, 2)] != Label.CSF).mean() > 0.98
    assert set(np.unique(head.labels[inside])) >= {
        Label.CORTEX,
        Label.WHITE_MATTER,
        Label.PUTAMEN,
        Label.THALAMUS,
    }
    rim = ndimage.binary_dilation(inside, iterations=2) & ~ndimage.binary_dilation(inside)
    assert np.isin(head.labels[rim], (Label.BONE, Label.MARROW)).mean() > 0.4
    assert (head.labels[:, :, :4] == Label.AIR).any()
    with pytest.raises(ScanError, match="grey matter"):
        head_around(np.where(inside, 2, 0), grid)
