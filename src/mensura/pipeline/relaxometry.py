"""Images of a series, and what varies from one to the next → maps on disk, each with its error, status and sidecar."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mensura import __version__
from mensura.fit import Status
from mensura.io import nifti
from mensura.io.files import digest, write_json
from mensura.pipeline.config import convert, nearest
from mensura.pipeline.record import called, code_digest, versions
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import MODELS, Model
from mensura.scan import BoolArray, FloatArray, ScanError

FAINT = 0.08
"""Voxels below this share of the bright ones are left out, where no mask is given."""
PERCENT = 10.0
"""A median B1 above this is in percent."""
LABELS = {
    "T1map": "Longitudinal relaxation time",
    "T1starmap": "Apparent longitudinal relaxation time under readouts",
    "T2map": "Transverse relaxation time",
    "M0map": "Signal at full magnetization, all other factors included",
    "IEmap": "Efficiency of the inversion",
    "offsetmap": "Constant below the decay",
    "MWFmap": "Myelin water fraction",
    "TB1map": "Transmit field relative to nominal",
    "MTRmap": "Magnetization transfer ratio",
    "MTsat": "Magnetization transfer saturation",
}


@dataclass(frozen=True)
class Request:
    """Images (a file each, or one 4D file), what varies (angles in degrees, times in s), maps, mask and parameters."""

    model: str
    images: Sequence[Path]
    varied: Sequence[float] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    b1: Path | None = None
    mask: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was made: the files, of each map its median and quartiles, how many voxels ended how, and remarks."""

    files: Sequence[Path]
    quartiles: Mapping[str, tuple[float, float, float]]
    ended: Mapping[str, int]
    remarks: Sequence[str]
    seconds: float

    @property
    def voxels(self) -> str:
        """How many ended how, in words."""
        return ", ".join(f"{count} {name}" for name, count in self.ended.items())


def fit_files(request: Request, out_dir: Path) -> Outcome:
    """Fits the model in every voxel of the mask and writes its maps. ScanError for what cannot be used."""
    began = time.perf_counter()
    model = entry(request.model)
    image = nifti.stack(list(request.images))
    remarks: list[str] = []
    mask = _mask(request, image, remarks)
    given: dict[str, Any] = _parameters(model, request.parameters)
    positional = [_varied(model, request.varied, image.data.shape[3])] if model.varied else []
    if request.b1 is not None:
        given["b1"] = _b1(request, model, image, mask, remarks)
    estimates: Estimates = model.method.function(image.data[mask], *positional, **given)
    varied = {model.varied: positional[0]} if positional else {}
    sources = [*request.images, *(p for p in (request.b1, request.mask) if p is not None)]
    facts = {
        **called(request.command),
        "Digests": {str(path.resolve()): digest(path) for path in sources},
        "Warnings": remarks,
    }
    record = described(request.model, {**given, **varied}, facts)
    record |= {"Sources": [str(path) for path in sources], "SkullStripped": request.mask is not None}

    def path(name: str, desc: str | None, extension: str) -> Path:
        return out_dir / f"{f'desc-{desc}_' if desc else ''}{name}{extension}"

    files = write_maps(estimates, model.produces, (image, mask), record, path)
    return outcome(estimates, files, remarks, began)


def entry(name: str) -> Model:
    """The model of that name; ScanError if there is none."""
    if name not in MODELS:
        raise ScanError(f"there is no model {name!r}{nearest(name, MODELS)}; see `mensura models`")
    return MODELS[name]


def in_degrees(name: str) -> bool:
    """Whether an argument is an angle, which people give in degrees."""
    return name.endswith(("flip_angle", "flip_angles", "refocusing_angle"))


def required(model: Model) -> list[str]:
    """The parameters that have no default."""
    return [n for n, p in model.method.parameters.items() if p.default is inspect.Parameter.empty]


def _parameters(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    known = model.method.parameters
    unknown = next((name for name in given if name not in known), None)
    if unknown:
        raise ScanError(
            f"{unknown} is no parameter of the model{nearest(unknown, known)}; see `mensura models`"
        )
    missing = [name for name in required(model) if name not in given]
    if missing:
        raise ScanError(
            f"the {missing[0].replace('_', ' ')} is missing; give --{missing[0].replace('_', '-')}"
        )
    made = {name: convert(known[name], value, name) for name, value in given.items()}
    return {name: _radians(name, value) if in_degrees(name) else value for name, value in made.items()}


def _varied(model: Model, values: Sequence[float], images: int) -> tuple[float, ...]:
    words = model.varied.replace("_", " ")
    if len(values) != images and model.path.partition(":")[2] != "actual_flip_angle":
        raise ScanError(f"there are {images} images but {len(values)} {words}; give one for each")
    return _radians(model.varied, tuple(values)) if in_degrees(model.varied) else tuple(map(float, values))


def _radians(name: str, degrees: Any) -> Any:
    """Angles in degrees → rad. ScanError where they look like radians."""
    angles = np.atleast_1d(np.asarray(degrees, float))
    if np.max(np.abs(angles)) < 1.6:
        raise ScanError(f"the {name.replace('_', ' ')} {angles.tolist()} look like radians; give degrees")
    return tuple(np.deg2rad(angles).tolist()) if np.ndim(degrees) else float(np.deg2rad(degrees))


def _mask(request: Request, image: nifti.Image, remarks: list[str]) -> BoolArray:
    if request.mask is not None:
        given = nifti.read(request.mask)
        nifti.check_same_grid(given, image)
        mask: BoolArray = given.data.reshape(image.grid.shape) > 0
        if not mask.any():
            raise ScanError(f"{request.mask}: the mask is empty; give one with voxels above 0")
        return mask
    remarks.append(f"no mask was given: voxels above {FAINT:.0%} of the bright ones are fitted")
    return bright(image.data)


def bright(data: FloatArray) -> BoolArray:
    """Images (x, y, z, images) → the voxels with signal."""
    size = np.nanmax(np.abs(data), axis=3)
    found: BoolArray = size > FAINT * np.nanquantile(size, 0.98)
    return found


def _b1(
    request: Request, model: Model, image: nifti.Image, mask: BoolArray, remarks: list[str]
) -> FloatArray:
    assert request.b1 is not None
    if not model.takes_b1:
        raise ScanError(f"the model {request.model} takes no B1 map; leave out --b1")
    given = nifti.read(request.b1)
    nifti.check_same_grid(given, image)
    values = given.data.reshape(image.grid.shape)[mask]
    typical = float(np.nanmedian(values))
    if typical > PERCENT:
        remarks.append(f"the B1 map has a median of {typical:.3g}: taken as percent of nominal")
        values, typical = values / np.float32(100), typical / 100
    if not 0.2 < typical < 3:
        raise ScanError(
            f"{request.b1}: B1 has a median of {typical:.3g} in the mask; "
            "give it relative to nominal (around 1), or in percent"
        )
    return np.where(values > 0, values, np.nan).astype(np.float32)


def _quartiles(values: FloatArray) -> tuple[float, float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (float("nan"),) * 3
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75]).tolist()
    return low, middle, high


def _ended(estimates: Estimates) -> dict[str, int]:
    counts = np.bincount(estimates.status, minlength=len(Status))
    return {status.name.lower().replace("_", " "): int(counts[status]) for status in Status if counts[status]}


def described(name: str, parameters: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What every sidecar of a model's maps tells: where it was published, and with which parameters it was fitted."""
    model = entry(name)
    defaults = {n: p.default for n, p in model.method.parameters.items() if n not in parameters}
    plain = {n: "map" if isinstance(v, np.ndarray) else v for n, v in {**defaults, **parameters}.items()}
    return {
        "EstimationReference": f"https://doi.org/{model.doi}",
        "EstimationAlgorithm": f"mensura {name}",
        "Mensura": {
            "Version": __version__,
            "Model": name,
            "Parameters": {n: v if v != np.inf else "inf" for n, v in plain.items()},
            "Versions": versions(),
            "Code": code_digest(),
            "Created": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        },
    }


def write_maps(
    estimates: Estimates,
    units: Mapping[str, str],
    where: tuple[nifti.Image, BoolArray],
    record: Mapping[str, Any],
    path: Callable[[str, str | None, str], Path],
) -> list[Path]:
    """Every map with its error, and one status for all, each with its sidecar; `path`(map, desc, extension)."""
    image, mask = where
    files = []

    def save(name: str, desc: str | None, values: Any, about: tuple[str, str]) -> None:
        volume = np.zeros(mask.shape, np.float32 if desc != "status" else np.uint8)
        volume[mask] = values
        files.append(path(name, desc, ".nii.gz"))
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        nifti.write(files[-1], volume, image.grid, image.header)
        ours = {**record["Mensura"], "Digest": digest(files[-1])}
        told = {"Description": about[0], "Units": about[1], **record, "Mensura": ours}
        write_json(path(name, desc, ".json"), told)

    for name, (values, errors) in estimates.maps.items():
        words = LABELS[name]
        if np.isfinite(errors).any():
            save(
                name, "std", errors, (f"Standard deviation of the {words[0].lower()}{words[1:]}", units[name])
            )
        save(name, None, values, (words, units[name]))
    codes = "; ".join(f"{s.value}: {s.name.lower().replace('_', ' ')}" for s in Status)
    save(next(iter(estimates.maps)), "status", estimates.status, (f"How the fit ended ({codes})", "1"))
    return files


def outcome(estimates: Estimates, files: Sequence[Path], remarks: Sequence[str], began: float) -> Outcome:
    """What is to be said of a fit."""
    quartiles = {name: _quartiles(values) for name, (values, _) in estimates.maps.items()}
    return Outcome(files, quartiles, _ended(estimates), remarks, time.perf_counter() - began)
