"""Diffusion-weighted images of a BIDS dataset, and the same from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mensura.cli import main
from mensura.io import nifti
from mensura.scan import Grid

GRID = Grid.from_voxel_size((6, 5, 4), (2.0, 2.0, 2.0))
EIGENVALUES = np.array([1.7e-3, 0.3e-3, 0.2e-3])
RNG = np.random.default_rng(0)
AXES = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
TENSOR = AXES @ np.diag(EIGENVALUES) @ AXES.T


def unit(count: int) -> np.ndarray:
    vectors = RNG.standard_normal((count, 3))
    made: np.ndarray = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return made


def dataset(root: Path, vectors: np.ndarray, name: str = "sub-01_dwi", tables: str = "sub-01/dwi/") -> Path:
    """One image without weighting, and one along each vector."""
    bids, b = root / "bids", np.array([0.0, *[1000.0] * len(vectors)])
    every = np.concatenate([np.zeros((1, 3)), vectors])
    folder = bids / "sub-01" / "dwi"
    folder.mkdir(parents=True)
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    signal = 1000 * np.exp(-b * np.einsum("mi,ij,mj->m", every, TENSOR, every))
    data = np.broadcast_to(signal.astype(np.float32), (*GRID.shape, len(b)))
    nifti.write(folder / f"{name}.nii.gz", np.ascontiguousarray(data), GRID)
    (folder / f"{name}.json").write_text(json.dumps({"EchoTime": 0.08}))
    table = name if tables else "dwi"
    (bids / tables / f"{table}.bval").write_text(" ".join(map(str, b)) + "\n")
    (bids / tables / f"{table}.bvec").write_text("\n".join(" ".join(map(str, row)) for row in every.T) + "\n")
    return bids


def read(folder: Path, name: str) -> np.ndarray:
    return nifti.read(folder / f"{name}.nii.gz").data


def checked(folder: Path, front: str = "") -> None:
    mean = EIGENVALUES.mean()
    fa = np.sqrt(1.5 * ((EIGENVALUES - mean) ** 2).sum() / (EIGENVALUES**2).sum())
    for name, true in {"fa": fa, "md": mean, "ad": EIGENVALUES[0], "rd": EIGENVALUES[1:].mean()}.items():
        np.testing.assert_allclose(read(folder, f"{front}model-DTI_param-{name}_dwimap"), true, rtol=1e-3)


@pytest.mark.parametrize("tables", ["sub-01/dwi/", ""])
def test_tensors_of_a_dataset(tmp_path: Path, tables: str) -> None:
    bids = dataset(tmp_path, unit(20), tables=tables)
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 0
    folder = tmp_path / "maps" / "sub-01" / "dwi"
    checked(folder, "sub-01_")
    record = json.loads((folder / "sub-01_model-DTI_param-md_dwimap.json").read_text())
    assert record["Units"] == "mm^2/s"
    assert sorted(Path(source).suffix for source in record["Sources"]) == [".bval", ".bvec", ".gz"]
    assert (folder / "sub-01_model-DTI_param-fa_desc-std_dwimap.nii.gz").is_file()
    before = (folder / "sub-01_model-DTI_param-md_dwimap.nii.gz").stat().st_mtime_ns
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 0
    assert (folder / "sub-01_model-DTI_param-md_dwimap.nii.gz").stat().st_mtime_ns == before


def test_three_directions_make_a_coefficient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bids = dataset(tmp_path, np.eye(3), "sub-01_acq-trace_dwi")
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 0
    folder = tmp_path / "maps" / "sub-01" / "dwi"
    found = read(folder, "sub-01_acq-trace_model-monoexponential_param-adc_dwimap")
    np.testing.assert_allclose(found, EIGENVALUES.mean(), rtol=1e-3)
    assert "do not tell a tensor" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("vectors", ["none", "all zero"])
def test_images_without_directions_make_a_coefficient(tmp_path: Path, vectors: str) -> None:
    bids = dataset(tmp_path, unit(6))
    table = bids / "sub-01" / "dwi" / "sub-01_dwi.bvec"
    table.unlink() if vectors == "none" else table.write_text("\n".join(["0 " * 7] * 3))
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 0
    folder = tmp_path / "maps" / "sub-01" / "dwi"
    assert (folder / "sub-01_model-monoexponential_param-adc_dwimap.nii.gz").is_file()
    assert not list(folder.glob("*model-DTI*"))


def test_the_same_from_plain_files(tmp_path: Path) -> None:
    folder = dataset(tmp_path, unit(20)) / "sub-01" / "dwi"
    stem = str(folder / "sub-01_dwi")
    words = ["--images", f"{stem}.nii.gz", "--b-values", f"{stem}.bval"]
    assert main(["fit", "dti", *words, "--b-vectors", f"{stem}.bvec", "-o", str(tmp_path / "dti")]) == 0
    checked(tmp_path / "dti")
    assert main(["fit", "adc", *words, "-o", str(tmp_path / "adc")]) == 0
    assert (tmp_path / "adc" / "model-monoexponential_param-adc_dwimap.nii.gz").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "has no .bval file"), ("0 1000", "has 2 numbers"), ("0 x", "something else than")],
)
def test_a_table_that_does_not_fit_is_named(
    tmp_path: Path, text: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = dataset(tmp_path, unit(20))
    table = bids / "sub-01" / "dwi" / "sub-01_dwi.bval"
    table.unlink() if text is None else table.write_text(text)
    assert main(["run", str(bids), str(tmp_path / "maps"), "participant"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
