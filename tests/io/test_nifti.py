"""What is read is what was stored, and what is written lies where the input lay."""

import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny_images import OBLIQUE, SHAPE, SaveImage, patch

from mensura.io import nifti
from mensura.scan import Grid, ScanError

RANDOM = np.random.default_rng(1)
ASYMMETRIC = RANDOM.standard_normal(SHAPE).astype(np.float32)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2", ">f4"])
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_every_number_type_arrives_as_the_same_float32(
    save: SaveImage, name: str, dtype: str, shape: tuple[int, ...]
) -> None:
    values = RANDOM.integers(0, 200, shape).astype(dtype)
    image = nifti.read(save(name, values))
    assert image.data.dtype == np.float32
    assert image.data.flags.c_contiguous
    np.testing.assert_array_equal(image.data, values.astype(np.float32))
    np.testing.assert_allclose(image.grid.affine, OBLIQUE, atol=1e-5)


def test_slope_and_intercept_are_applied_as_nibabel_does(save: SaveImage) -> None:
    path = save("a.nii", RANDOM.integers(0, 4096, SHAPE).astype(np.int16), scaling=(1.5346, -3142.0))
    expected = nibabel.load(path).get_fdata()
    np.testing.assert_allclose(nifti.read(path).data, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_of_zero_or_nan_means_one(save: SaveImage, slope: float) -> None:
    image = nifti.read(save("a.nii", ASYMMETRIC, scaling=(slope, 5.0)))
    np.testing.assert_array_equal(image.data, ASYMMETRIC)
    assert (image.header.slope, image.header.intercept) == (1.0, 0.0)


def test_nan_and_infinity_survive_reading_and_writing(save: SaveImage, tmp_path: Path) -> None:
    values = ASYMMETRIC.copy()
    values[1, 2, 3], values[0, 0, 0], values[2, 2, 2] = np.nan, np.inf, -np.inf
    image = nifti.read(save("a.nii.gz", values))
    nifti.write(tmp_path / "b.nii.gz", image.data, image.grid, image.header)
    np.testing.assert_array_equal(nifti.read(tmp_path / "b.nii.gz").data, values)


def test_axes_of_one_voxel_beyond_the_third_are_dropped(save: SaveImage) -> None:
    assert nifti.read(save("a.nii", ASYMMETRIC[..., None])).data.shape == SHAPE
    assert nifti.read(save("b.nii", ASYMMETRIC[..., None, None])).data.shape == SHAPE
    assert nifti.read(save("c.nii", ASYMMETRIC[:, :, 0])).data.shape == (7, 6, 1)


def test_a_nifti_2_file_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(ASYMMETRIC, OBLIQUE), tmp_path / "two.nii.gz")
    image = nifti.read(tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(image.data, ASYMMETRIC)
    np.testing.assert_allclose(image.grid.affine, OBLIQUE)


def test_a_file_without_codes_says_that_its_orientation_is_unknown(save: SaveImage) -> None:
    assert not nifti.read(save("none.nii", ASYMMETRIC, codes=(0, 0))).header.orientation_known
    assert nifti.read(save("qform.nii", ASYMMETRIC, codes=(1, 0))).header.orientation_known
    assert nifti.read(save("sform.nii", ASYMMETRIC, codes=(0, 2))).header.orientation_known


@pytest.mark.parametrize("keep", [5, 100, -40])
def test_a_truncated_gzip_file_is_named(save: SaveImage, keep: int) -> None:
    path = save("cut.nii.gz", ASYMMETRIC)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ScanError, match=r"cut\.nii\.gz is truncated or damaged .*copy or convert it again"):
        nifti.read(path)


def test_a_damaged_gzip_file_is_named(save: SaveImage) -> None:
    path = save("flipped.nii.gz", ASYMMETRIC)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"flipped\.nii\.gz is truncated or damaged"):
        nifti.read(path)


def test_a_truncated_uncompressed_file_is_named(save: SaveImage) -> None:
    path = save("cut.nii", ASYMMETRIC)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ScanError, match=r"cut\.nii is truncated \(1191 of the 1192 bytes"):
        nifti.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"DICM" * 200, "is not a NIfTI image"),
        (gzip.compress(b"<html>not an image</html>"), "is not a NIfTI image"),
        (b"\0" * 344 + b"ni1\0", "one half of a .hdr/.img pair"),
    ],
)
def test_what_is_not_an_image_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.nii.gz"
    path.write_bytes(content)
    for reader in (nifti.read, nifti.read_shape):
        with pytest.raises(ScanError, match=message) as caught:
            reader(path)
        assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for reader in (nifti.read, nifti.read_shape):
        with pytest.raises(ScanError, match=r"gone\.nii\.gz does not exist"):
            reader(tmp_path / "gone.nii.gz")


def test_five_dimensions_are_refused(save: SaveImage) -> None:
    with pytest.raises(ScanError, match="has 5 dimensions"):
        nifti.read(save("five.nii", np.zeros((*SHAPE, 2, 3), np.float32)))


def test_complex_values_and_colours_are_refused(save: SaveImage, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="holds complex values; save the real and the imaginary part"):
        nifti.read(save("complex.nii", ASYMMETRIC.astype(np.complex64)))
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ScanError, match="holds colours"):
        nifti.read(save("rgb.nii", colours))


def test_a_header_without_an_affine_is_refused(save: SaveImage) -> None:
    path = save("flat.nii", ASYMMETRIC)
    patch(path, 280, np.zeros(12, dtype="<f4"))
    with pytest.raises(ScanError, match=r"flat\.nii has no usable affine"):
        nifti.read(path)


def test_a_header_with_impossible_sizes_is_refused(save: SaveImage) -> None:
    path = save("size.nii", ASYMMETRIC)
    patch(path, 40, np.array([3, 7, -6, 5], dtype="<i2"))
    with pytest.raises(ScanError, match="damaged header"):
        nifti.read(path)


def test_the_shape_alone_is_read_from_the_header(save: SaveImage) -> None:
    echoes = np.zeros((*SHAPE, 3), np.float32)
    assert nifti.read_shape(save("a.nii.gz", echoes)) == (*SHAPE, 3)
    path = save("a.nii", echoes)
    path.write_bytes(path.read_bytes()[:400])
    assert nifti.read_shape(path) == (*SHAPE, 3)


def test_files_of_single_echoes_and_one_4d_file_give_the_same_stack(save: SaveImage) -> None:
    echoes = RANDOM.standard_normal((*SHAPE, 3)).astype(np.float32)
    apart = nifti.stack([save(f"e{n}.nii.gz", echoes[..., n]) for n in range(3)])
    together = nifti.stack([save("all.nii.gz", echoes)])
    np.testing.assert_array_equal(apart.data, echoes)
    np.testing.assert_array_equal(together.data, echoes)
    assert nifti.stack([save("one.nii", echoes[..., 0])]).data.shape == (*SHAPE, 1)


def test_a_stack_names_the_file_that_does_not_fit(save: SaveImage) -> None:
    good = save("good.nii", ASYMMETRIC)
    shifted = OBLIQUE.copy()
    shifted[0, 3] += 0.5
    turned = OBLIQUE.copy()
    turned[:3, :2] = OBLIQUE[:3, 1::-1]
    for name, array, affine, message in (
        ("smaller.nii", ASYMMETRIC[:-1], OBLIQUE, "has shape 6×6×5 but"),
        ("shifted.nii", ASYMMETRIC, shifted, r"affines differ by up to 0\.5 mm"),
        ("turned.nii", ASYMMETRIC, turned, "affines differ"),
        ("coils.nii", np.stack([ASYMMETRIC] * 4, -1), OBLIQUE, "holds 4 volumes where one echo is expected"),
    ):
        bad = save(name, array, affine)
        with pytest.raises(ScanError, match=message) as caught:
            nifti.stack([good, bad])
        assert str(bad) in str(caught.value)


def test_affines_that_differ_by_rounding_are_the_same(save: SaveImage) -> None:
    nearly = OBLIQUE + 1e-4
    nearly[3] = (0, 0, 0, 1)
    assert nifti.stack([save("a.nii", ASYMMETRIC), save("b.nii", ASYMMETRIC, nearly)]).data.shape == (
        *SHAPE,
        2,
    )


def test_a_stack_of_differing_slopes_is_marked_mixed(save: SaveImage) -> None:
    whole = RANDOM.integers(0, 100, SHAPE).astype(np.int16)
    image = nifti.stack([save("a.nii", whole, scaling=(2, 0)), save("b.nii", whole, scaling=(3, 0))])
    np.testing.assert_array_equal(image.data[..., 1], 3.0 * whole)
    assert (image.header.slope, image.header.stored_type) == (1.0, "mixed")


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (0, 4), (2, 3)])
@pytest.mark.parametrize("units", [("mm", "sec"), ("unknown", "unknown"), ("micron", "msec")])
def test_writing_keeps_affine_codes_and_units(
    save: SaveImage, tmp_path: Path, codes: tuple[int, int], units: tuple[str, str]
) -> None:
    source = nifti.read(save("in.nii.gz", ASYMMETRIC, codes=codes, units=units))
    nifti.write(tmp_path / "out.nii.gz", source.data * 2, source.grid, source.header)
    written = nibabel.load(tmp_path / "out.nii.gz")
    original = nibabel.load(tmp_path / "in.nii.gz")
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-4)
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-4)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == codes
    assert written.header.get_xyzt_units() == units
    np.testing.assert_allclose(written.header.get_zooms(), (0.7, 0.7, 2.0), rtol=1e-5)
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(written.get_fdata(), 2 * ASYMMETRIC.astype(np.float64))


def test_writing_keeps_a_qform_that_differs_from_the_sform(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ASYMMETRIC, OBLIQUE)
    template = np.diag([0.7, 0.7, 2.0, 1.0])
    image.set_qform(OBLIQUE, 1)
    image.set_sform(template, 4)
    nibabel.save(image, tmp_path / "in.nii.gz")
    source = nifti.read(tmp_path / "in.nii.gz")
    nifti.write(tmp_path / "out.nii.gz", source.data, source.grid, source.header)
    written = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(written.get_qform(), OBLIQUE, atol=1e-4)
    np.testing.assert_allclose(written.get_sform(), template)


def test_unknown_orientation_stays_unknown(save: SaveImage, tmp_path: Path) -> None:
    source = nifti.read(save("in.nii", ASYMMETRIC, codes=(0, 0)))
    nifti.write(tmp_path / "out.nii", source.data, source.grid, source.header)
    back = nifti.read(tmp_path / "out.nii")
    assert not back.header.orientation_known
    np.testing.assert_allclose(back.grid.affine, source.grid.affine)


def test_a_grid_other_than_the_input_s_is_written_as_it_is(save: SaveImage, tmp_path: Path) -> None:
    source = nifti.read(save("in.nii", ASYMMETRIC))
    affine = np.array(source.grid.affine)
    affine[:3, 3] += affine[:3, 0] * 2
    nifti.write(tmp_path / "crop.nii.gz", ASYMMETRIC[2:], Grid((5, 6, 5), affine), source.header)
    np.testing.assert_allclose(nifti.read(tmp_path / "crop.nii.gz").grid.affine, affine, atol=1e-5)


def test_without_a_header_the_grid_is_written_in_scanner_coordinates(tmp_path: Path) -> None:
    nifti.write(tmp_path / "new.nii.gz", ASYMMETRIC, Grid(SHAPE, OBLIQUE))
    written = nibabel.load(tmp_path / "new.nii.gz")
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-5)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 1)
    assert written.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ASYMMETRIC > 0, np.uint8),
        (np.full(SHAPE, 255), np.uint8),
        (np.full(SHAPE, 256), np.float32),
        (np.full(SHAPE, -1), np.float32),
        (ASYMMETRIC.astype(np.float64), np.float32),
        (np.stack([ASYMMETRIC] * 2, -1), np.float32),
    ],
)
def test_masks_and_status_are_bytes_and_maps_float32(
    tmp_path: Path, values: np.ndarray, expected: type
) -> None:
    nifti.write(tmp_path / "a.nii.gz", values, Grid(SHAPE, OBLIQUE))
    written = nibabel.load(tmp_path / "a.nii.gz")
    assert written.get_data_dtype() == expected
    np.testing.assert_array_equal(np.asarray(written.dataobj), values.astype(expected))


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nifti.write(tmp_path / "a.nii.gz", ASYMMETRIC, Grid(SHAPE, OBLIQUE))
    monkeypatch.setattr("time.time", lambda: 2e9)
    nifti.write(tmp_path / "other_name.nii.gz", np.asfortranarray(ASYMMETRIC), Grid(SHAPE, OBLIQUE))
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "other_name.nii.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"


def test_interrupted_writing_leaves_the_earlier_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path, grid = tmp_path / "a.nii.gz", Grid(SHAPE, OBLIQUE)
    nifti.write(path, ASYMMETRIC, grid)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nifti.write(path, 2 * ASYMMETRIC, grid)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_an_array_that_does_not_lie_on_the_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="cannot hold an array"):
        nifti.write(tmp_path / "a.nii.gz", ASYMMETRIC[1:], Grid(SHAPE, OBLIQUE))
    assert not (tmp_path / "a.nii.gz").exists()


def test_a_real_oblique_scan_comes_back_with_its_header(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "philips_brain_2echo/bids/sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz"
    image = nifti.read(path)
    nifti.write(tmp_path / "out.nii.gz", image.data, image.grid, image.header)
    original, written = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(written.affine, original.affine)
    np.testing.assert_allclose(written.get_qform(), original.get_qform(), atol=1e-5)
    for key in ("qform_code", "sform_code", "xyzt_units"):
        assert written.header[key] == original.header[key]
    np.testing.assert_allclose(written.get_fdata(), original.get_fdata(), atol=1e-6)
    angle = np.degrees(np.arccos(image.grid.b0_direction[2]))
    assert 3 < angle < 4
