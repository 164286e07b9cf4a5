"""Small scans written by nibabel to a temporary folder: the reader is checked against another writer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_table
import nibabel
import numpy as np
import pytest
from tiny_images import OBLIQUE, SHAPE, SaveImage, patch, wrapped_phase


@pytest.fixture
def save(tmp_path: Path) -> SaveImage:
    """Writes an array as NIfTI with nibabel; slope and intercept are set without rescaling (.nii only)."""

    def writer(
        name: str,
        array: np.ndarray,
        affine: np.ndarray = OBLIQUE,
        *,
        scaling: tuple[float, float] | None = None,
        codes: tuple[int, int] = (1, 1),
        units: tuple[str, str] = ("mm", "sec"),
    ) -> Path:
        image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
        image.set_qform(affine, codes[0])
        image.set_sform(affine, codes[1])
        image.header.set_xyzt_units(*units)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)
        if scaling is not None:
            patch(path, 112, np.array(scaling, dtype="<f4"))
        return path

    return writer


@pytest.fixture
def dataset(tmp_path: Path, save: SaveImage) -> Callable[..., Path]:
    """Writes a run of three echoes into a BIDS dataset; `changes` go into all sidecars, None removes."""

    def writer(
        stem: str = "sub-01/anat/sub-01", *, suffix: str = "MEGRE", echoes: int = 3, **changes: Any
    ) -> Path:
        root = tmp_path / "bids"
        for echo in range(1, echoes + 1):
            phase = wrapped_phase(SHAPE, seed=echo)
            usual = {
                "EchoTime": 0.004 * echo,
                "MagneticFieldStrength": 3,
                "RepetitionTime": 0.03,
                "FlipAngle": 15,
            }
            record = {key: value for key, value in {**usual, **changes}.items() if value is not None}
            for part, data in (("mag", np.abs(phase) + 1), ("phase", phase)):
                path = save(f"bids/{stem}_echo-{echo}_part-{part}_{suffix}.nii.gz", data)
                path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(record))
        (root / "dataset_description.json").write_text('{"Name": "test", "BIDSVersion": "1.10.0"}')
        return root

    return writer


@pytest.fixture(scope="session")
def sets(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dicom_table.Converted]:
    """Every real DICOM set, converted; not to be written to."""
    folder = tmp_path_factory.mktemp("dicom")
    return {one.name: one for one in dicom_table.convert_all(shared_data, folder)}
