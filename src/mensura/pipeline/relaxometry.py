"""Images of a series, and what varies from one to the next → maps on disk, each with its error, status and sidecar."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mensura import __version__
from mensura.fit import Status
from mensura.io import nifti
from mensura.io.files import digest, staged, write_json
from mensura.io.scans import beside
from mensura.mask import intensity
from mensura.methods import Monitor
from mensura.pipeline.complex_images import joined, stacked
from mensura.pipeline.config import convert, nearest
from mensura.pipeline.density import with_density
from mensura.pipeline.given_maps import given_maps
from mensura.pipeline.plan import Plan
from mensura.pipeline.record import called, code_digest, versions, write_pair
from mensura.pipeline.scanner import scanner
from mensura.pipeline.voxels import DEGREES, Axis, voxels, words
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import MODELS, Model
from mensura.scan import BoolArray, FloatArray, ScanError

FAINT = 0.1
"""Without a mask, voxels are left out below this share of the way from the background's level to the tissue's."""
HIGHEST = 30.0
"""Field strength, T, that no scanner reaches."""
LABELS = {
    "T1map": "Longitudinal relaxation time",
    "UNIT1": "Uniform image of MP2RAGE, from −0.5 to 0.5",
    "R1map": "Longitudinal relaxation rate",
    "T1starmap": "Apparent longitudinal relaxation time under readouts",
    "T2map": "Transverse relaxation time",
    "R2starmap": "Effective transverse relaxation rate",
    "T2starmap": "Effective transverse relaxation time, 1/R2*",
    "S0map": "Signal at echo time 0",
    "PDmap": "Proton density, 69 % in white matter",
    "MTVmap": "Macromolecular tissue volume, 100 % less the proton density",
    "M0map": "Signal at full magnetization, all other factors included",
    "IEmap": "Efficiency of the inversion",
    "offsetmap": "Constant below the decay",
    "MWFmap": "Myelin water fraction",
    "TB1map": "Transmit field relative to nominal",
    "model-monoexponential_param-adc_dwimap": "Apparent diffusion coefficient",
    "model-monoexponential_param-s0_dwimap": "Signal without diffusion weighting",
    "model-DTI_param-fa_dwimap": "Fractional anisotropy of the diffusion tensor",
    "model-DTI_param-md_dwimap": "Mean diffusivity, a third of the diffusion tensor's trace",
    "model-DTI_param-ad_dwimap": "Axial diffusivity, the diffusion tensor's largest eigenvalue",
    "model-DTI_param-rd_dwimap": "Radial diffusivity, the mean of the diffusion tensor's smaller eigenvalues",
    "fieldmap": "Field relative to the frequency of the scanner",
    "MTRmap": "Magnetization transfer ratio",
    "MTsat": "Magnetization transfer saturation",
}


@dataclass(frozen=True)
class Request:
    """Images (a file each, or one 4D file), what varies (angles in degrees, times in s), maps, mask and parameters.

    `phase` or `imaginary` makes the images complex, whose magnitudes or real parts they then are. `field_map` is that
    of the static field, in Hz. `field_strength` (T; else that of the images' sidecars) and `segmentation` are for the
    report alone.
    """

    model: str
    images: Sequence[Path]
    varied: Sequence[float] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    b1: Path | None = None
    mask: Path | None = None
    command: str = ""
    phase: Sequence[Path] = ()
    imaginary: Sequence[Path] = ()
    t1: Path | None = None
    field_map: Path | None = None
    field_strength: float | None = None
    segmentation: Path | None = None


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
        return _counted(self.ended)


def fit_files(request: Request, out_dir: Path, monitor: Monitor | None = None) -> Outcome:
    """Fits the model in every voxel of the mask and writes its maps, all or none. ScanError for what cannot be used."""
    began = time.perf_counter()
    model = entry(request.model)
    remarks: list[str] = []
    image = _complex(request, model, stacked(request.images, request.model, model.takes_phase), remarks)
    mask = _mask(request, image, remarks)
    given: dict[str, Any] = given_parameters(model, request.parameters)
    positional = [_varied(model, request.varied, image.data.shape[3])] if model.varied else []
    maps = {"b1": request.b1, "t1_map": request.t1, "field_map": request.field_map}
    given |= given_maps(request.model, maps, (image, mask), remarks)
    plan = Plan(request.model, model, request.images, lambda: (image, mask), given, positional)
    estimates = plan.estimate(plan.read(), watched(model, monitor))
    estimates, said = with_density(model, estimates, (image, mask), request.mask is not None)
    remarks += [*estimates.notes, *said]
    varied = {model.varied: positional[0]} if positional else {}
    sources = [
        *request.images,
        *request.phase,
        *request.imaginary,
        *(p for p in (*maps.values(), request.mask) if p is not None),
    ]
    facts = {
        **called(request.command),
        "Digests": {str(path.resolve()): digest(path) for path in sources},
        "Warnings": remarks,
    }
    record = described(request.model, {**given, **varied}, facts)
    record |= {"Sources": [str(path) for path in sources], "SkullStripped": request.mask is not None}
    record |= _for_the_report(request)

    def path(name: str, desc: str | None, extension: str) -> Path:
        return out_dir / f"{f'desc-{desc}_' if desc else ''}{name}{extension}"

    files = write_maps(estimates, model.produces, (image, mask), record, path)
    return outcome(estimates, files, remarks, began)


def watched(model: Model, monitor: Monitor | None) -> dict[str, Monitor]:
    """The keyword by which a model tells how far it is, if it does."""
    return {"monitor": monitor} if monitor is not None and "monitor" in model.method.arguments else {}


def _for_the_report(request: Request) -> dict[str, Any]:
    """What is known of the scanner, and the segmentation."""
    field = request.field_strength
    if field is not None and not 0 < field < HIGHEST:
        raise ScanError(f"a field strength of {field:g} cannot be meant; give it in tesla, as 3")
    told = {"MagneticFieldStrength": field} if field is not None else {}
    found: dict[str, Any] = {"Acquisition": scanner([beside(path) for path in request.images]) | told}
    if request.segmentation is not None:
        nifti.read_shape(request.segmentation)
        found["Segmentation"] = str(request.segmentation.resolve())
    return found


def entry(name: str) -> Model:
    """The model of that name; ScanError if there is none."""
    if name not in MODELS:
        raise ScanError(f"there is no model {name!r}{nearest(name, MODELS)}; see `mensura models`")
    return MODELS[name]


def in_degrees(name: str) -> bool:
    """Whether an argument is an angle, which people give in degrees."""
    return name.endswith(("flip_angle", "flip_angles", "refocusing_angle", "spoiling_increment"))


def unit_of(name: str) -> str:
    """In what people give the values that vary from image to image."""
    return "°" if in_degrees(name) else "s/mm²" if name == "b_values" else "s"


def required(model: Model) -> list[str]:
    """The parameters that have no default."""
    return [n for n, p in model.method.parameters.items() if p.default is inspect.Parameter.empty]


def given_parameters(model: Model, given: Mapping[str, Any], told: Collection[str] = ()) -> dict[str, Any]:
    """Parameters as people give them → of their types, angles in rad; ScanError if one is unknown, or needed and
    neither given nor `told` elsewhere."""
    known = model.method.parameters
    unknown = next((name for name in given if name not in known), None)
    if unknown:
        raise ScanError(
            f"{unknown} is no parameter of the model{nearest(unknown, known)}; see `mensura models`"
        )
    missing = [name for name in required(model) if name not in given and name not in told]
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
    return in_radians(model, values)


def in_radians(model: Model, values: Sequence[float]) -> tuple[float, ...]:
    """What varies, in s or degrees → in s or rad."""
    found = tuple(map(float, values))
    return _radians(model.varied, found) if in_degrees(model.varied) else found


def _radians(name: str, degrees: Any) -> Any:
    """Angles in degrees → rad. ScanError where they look like radians."""
    angles = np.atleast_1d(np.asarray(degrees, float))
    if 0 < np.max(np.abs(angles)) < 1.6:
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
    size = np.nanmax(np.abs(data), axis=3).astype(np.float32, copy=False)
    return intensity.bright(size, FAINT) if np.any(size > 0) else np.zeros(size.shape, bool)


def _complex(request: Request, model: Model, image: nifti.Image, remarks: list[str]) -> nifti.Image:
    """The images with their phase or imaginary part. ScanError for one that does not fit the images or the model."""
    more = [*request.phase, *request.imaginary]
    if not more:
        return image
    if request.phase and request.imaginary:
        raise ScanError("phase and imaginary part were both given; leave one out")
    name = "phase" if request.phase else "imaginary"
    if not model.takes_phase:
        raise ScanError(f"the model {request.model} takes no complex images; leave out --{name}")
    if np.iscomplexobj(image.data):
        raise ScanError(f"{image.path} holds complex values already; leave out --{name}")
    made, said = joined(image, more, beside(more[0]) if request.phase else None)
    remarks += said
    return made


def _quartiles(values: FloatArray) -> tuple[float, float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (float("nan"),) * 3
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75]).tolist()
    return low, middle, high


def _ended(estimates: Estimates) -> dict[str, int]:
    counts = np.bincount(estimates.status, minlength=len(Status))
    return {words(status): int(counts[status]) for status in Status if counts[status]}


def _counted(ended: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in ended.items())


def described(
    name: str, parameters: Mapping[str, Any], facts: Mapping[str, Any], model: Model | None = None
) -> dict[str, Any]:
    """What every sidecar of a model's maps tells: where it was published, and with which parameters it was fitted."""
    model = model or entry(name)
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
    """Every map with its error, and one status for all, each with its sidecar; `path`(map, desc, extension).

    ScanError, and nothing is written, where no voxel has a value.
    """
    image, mask = where
    if not any(np.isfinite(values).any() for values, _ in estimates.maps.values()):
        raise ScanError(
            f"no voxel has a value ({_counted(_ended(estimates))}); check the times and angles, their units, "
            "and the order of the images"
        )
    made: list[tuple[Path, Any, Mapping[str, Any]]] = []

    def save(name: str, desc: str | None, values: Any, about: tuple[str, str]) -> None:
        volume = np.zeros(mask.shape, np.float32 if desc != "status" else np.uint8)
        volume[mask] = values
        made.append(
            (path(name, desc, ".nii.gz"), volume, {"Description": about[0], "Units": about[1], **record})
        )

    for name, (values, errors) in estimates.maps.items():
        label = LABELS[name]
        if np.isfinite(errors).any():
            save(
                name, "std", errors, (f"Standard deviation of the {label[0].lower()}{label[1:]}", units[name])
            )
        save(name, None, values, (label, units[name]))
    codes = "; ".join(f"{s.value}: {words(s)}" for s in Status)
    first = next(iter(estimates.maps))
    save(first, "status", estimates.status, (f"How the fit ended ({codes})", "1"))
    chosen = voxels(estimates, (image.data, mask), _axis(record), record)
    beyond = path(first, "voxels", ".json")
    with staged(beyond.parent) as folder:
        for file, volume, told in made:
            write_pair(folder / file.name, volume, image, told)
        write_json(folder / beyond.name, chosen)
    return [file for file, *_ in made]


def _axis(record: Mapping[str, Any]) -> Axis:
    """What varied from image to image, as people write it, from the record of a fit."""
    model = MODELS.get(record["Mensura"]["Model"])
    name = model.varied if model is not None else ""
    values = np.asarray(record["Mensura"]["Parameters"].get(name, ()), float).ravel()
    unit = DEGREES if in_degrees(name) else unit_of(name)
    return Axis(name, unit, (np.rad2deg(values) if unit == DEGREES else values).tolist())


def outcome(estimates: Estimates, files: Sequence[Path], remarks: Sequence[str], began: float) -> Outcome:
    """What is to be said of a fit."""
    quartiles = {name: _quartiles(values) for name, (values, _) in estimates.maps.items()}
    return Outcome(files, quartiles, _ended(estimates), remarks, time.perf_counter() - began)
