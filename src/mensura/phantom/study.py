"""A whole study of a digital body: any of its anatomies, at one site or several, through any of the sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zlib import crc32

import numpy as np

from mensura.methods import Method, Tunable
from mensura.scan import ScanError

if TYPE_CHECKING:
    from mensura.phantom.dataset import Place
    from mensura.phantom.scanner import Scanner
    from mensura.phantom.scene import Scene


@dataclass(frozen=True)
class Body:
    """Something to scan: in words, its anatomy (a function of its settings), the names of its labels, and the
    field of view that holds it."""

    summary: str
    anatomy: Method
    names: Method
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]

    def shape_of(self, edges: Sequence[float]) -> tuple[int, int, int]:
        """Edges of a voxel (mm) → voxels in that field of view. Edges that cannot be are left to the grid to refuse."""
        if len(edges) != 3 or not min(edges) > 0:
            return self.shape
        x, y, z = (
            math.ceil(round(n * own / edge, 3))
            for n, own, edge in zip(self.shape, self.voxel_size, edges, strict=True)
        )
        return x, y, z


BODIES: Mapping[str, Body] = {
    "head": Body(
        "a head with the folds of a standard brain, nuclei, vessels, skull and air spaces",
        Method("mensura.phantom.head:head_anatomy", ""),
        Method("mensura.phantom.labels:names", ""),
        (164, 205, 205),
        (1.0, 1.0, 1.0),
    ),
    "liver": Body(
        "an abdomen around a liver with iron and fat",
        Method("mensura.phantom.liver:liver_anatomy", ""),
        Method("mensura.phantom.labels:names", ""),
        (128, 96, 40),
        (3.0, 3.0, 5.0),
    ),
    "vials": Body(
        "vials of known T1, T2, density, fat and susceptibility, after the NIST/ISMRM system phantom",
        Method("mensura.phantom.vials:vials_anatomy", ""),
        Method("mensura.phantom.vials:label_names", ""),
        (112, 112, 112),
        (2.0, 2.0, 2.0),
    ),
}
"""What can be simulated, by its name on the command line."""


def write_study(
    out_dir: Path,
    body: str = "head",
    *,
    subject: Annotated[str, Tunable("", "label of the participant")] = "01",
    sequences: Annotated[Sequence[str], Tunable("", "what to scan with, in this order; or all")] = ("MEGRE",),
    field_strength: Annotated[
        Sequence[float], Tunable("T", "main field; for several sites one number, or one of each")
    ] = (3.0,),
    shape: Annotated[
        Sequence[int], Tunable("voxels", "size of the volume, three numbers; none: the body fits")
    ] = (),
    voxel_size: Annotated[
        Sequence[float], Tunable("mm", "edges of a voxel, one number or three; none: as befits the body")
    ] = (),
    b0_angle: Annotated[float, Tunable("deg", "tilt of the slices against B0")] = 0.0,
    supersampling: Annotated[int, Tunable("", "finer sampling of the anatomy along each axis")] = 2,
    snr: Annotated[
        float, Tunable("", "mean signal of the brightest volume over the noise; inf: none")
    ] = 50.0,
    seed: Annotated[int, Tunable("", "draws the anatomy, the scanner's fields, motion and noise")] = 0,
    phase_offset: Annotated[float, Tunable("rad", "spread of the receive phase")] = 1.5,
    motion: Annotated[float, Tunable("mm, deg", "spread of the pose from shot to shot of a series")] = 0.0,
    corrupted: Annotated[int, Tunable("", "volumes of each series that are spoiled by a jerk")] = 0,
    sites: Annotated[
        int, Tunable("", "scanners, each its own session with its own gain, B0, B1 and bias")
    ] = 1,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Body and scan → a BIDS dataset in `out_dir` with its truth in `derivatives/truth`.

    `settings` are those of the anatomy and of each sequence, by its name: {"MEGRE": {"echo_times": …}}. Another
    subject may be added to the same dataset. `report` is told what is being done. ScanError for parameters that
    cannot be meant or a folder that cannot be written to.
    """
    parameters = {k: v for k, v in locals().items() if k not in ("out_dir", "report", "settings")}
    parameters["settings"] = {name: dict(given) for name, given in (settings or {}).items()}
    _check(parameters)
    strengths = list(field_strength) * (sites if len(field_strength) == 1 else 1)
    scene: Scene | None = None
    for site, strength in enumerate(strengths):
        study = {**parameters, "field_strength": strength}
        place = _place(Path(out_dir), subject, site, sites)
        if scene is None or strength != strengths[site - 1]:
            report("the anatomy and its field")
            scene = _scene(study)
        _scan(place, scene, site, study, report)


def _place(out_dir: Path, subject: str, site: int, sites: int) -> Place:
    """Where the scan of a site goes: a session of its own, if there are several."""
    from mensura.phantom.dataset import Place

    if sites == 1:
        return Place(out_dir, subject)
    name = f"site{site + 1}"
    scanner = {"InstitutionName": name, "StationName": name, "DeviceSerialNumber": f"{site + 1:05d}"}
    return Place(out_dir, subject, name, scanner)


def _scene(study: Mapping[str, Any]) -> Scene:
    """The body in the scanner, at rest."""
    from mensura.phantom import scene

    body = BODIES[study["body"]]
    anatomy = _anatomy(body, study)
    size = tuple(study["voxel_size"]) or body.voxel_size
    edges = size * 3 if len(size) == 1 else size
    shape = study["shape"] or body.shape_of(edges)
    grid = scene.field_of_view(shape, edges, anatomy.middle, study["b0_angle"])
    texture = scene.Texture.draw(study["seed"])
    return scene.build_scene(anatomy, grid, supersampling=study["supersampling"], texture=texture)


def _scan(
    place: Place, scene: Scene, site: int, study: Mapping[str, Any], report: Callable[[str], None]
) -> None:
    """A site's scans of the body, with their truth, on disk."""
    from mensura.phantom import dataset, scanner, truth
    from mensura.phantom.sequences import protocol

    machine = _scanner(study, site)
    dataset.begin(place, f"Digital {study['body']}")
    for name in _names(study["sequences"]):
        report(f"{place.session} {name}".strip())
        series = scanner.scan(
            scene, machine, protocol(name, study["settings"].get(name)), snr=study["snr"],
            seed=crc32(f"{name} {site}".encode()) + study["seed"], motion=study["motion"],
            corrupted=study["corrupted"],
        )  # fmt: skip
        dataset.write_series(place, series, scene.grid, machine.field_strength)
        dataset.write_motion(place, name, series)
    report("the true maps")
    dataset.write_truth(place, truth.true_maps(scene, machine), scene.grid, study)
    dataset.write_names(place, BODIES[study["body"]].names.function())


def _anatomy(body: Body, study: Mapping[str, Any]) -> Any:
    """The anatomy under its settings; seed and field strength are the study's where it asks for them."""
    given = dict(study["settings"].get(study["body"], {}))
    given |= {
        k: study[k] for k in ("seed", "field_strength") if k in body.anatomy.arguments and k not in given
    }
    return body.anatomy.function(**given)


def _scanner(study: Mapping[str, Any], site: int) -> Scanner:
    """The scanner of a site; those after the first differ in gain, bias and what is left of their B0 too."""
    from mensura.phantom.scanner import Scanner

    seed, offset = study["seed"] + 1000 * site, study["phase_offset"]
    if site == 0:
        return Scanner.draw(study["field_strength"], seed, phase_offset=offset)
    random = np.random.default_rng([seed, 4])
    return Scanner.draw(
        study["field_strength"],
        seed,
        phase_offset=offset,
        gain=float(np.exp(0.4 * random.standard_normal())),
        bias=float(random.uniform(0.1, 0.35)),
        b0_spread=0.1,
    )


def _names(sequences: Sequence[str]) -> list[str]:
    from mensura.phantom.sequences import SEQUENCES

    return list(SEQUENCES) if "all" in sequences else list(sequences)


def _check(study: Mapping[str, Any]) -> None:
    """ScanError for what cannot be meant, before anything is computed or written."""
    from mensura.phantom.scanner import check_snr
    from mensura.phantom.scene import check_supersampling
    from mensura.phantom.sequences import protocol

    if study["body"] not in BODIES:
        raise ScanError(f"there is no body {study['body']!r}; choose from {', '.join(BODIES)}")
    for name in _names(study["sequences"]):
        protocol(name, study["settings"].get(name))
    limits = {
        "sites": (1, 100, "a number of sites"),
        "motion": (0, 50, "a motion in mm and degrees"),
    }
    for key, (low, high, words) in limits.items():
        if not low <= study[key] <= high:
            raise ScanError(f"{words} of {study[key]:g} is not possible; choose {low:g} to {high:g}")
    for strength in study["field_strength"]:
        if not 0.1 <= strength <= 12:
            raise ScanError(f"a field strength of {strength:g} T is not possible; choose 0.1 to 12")
    if len(study["field_strength"]) not in (1, study["sites"]):
        raise ScanError(
            f"{len(study['field_strength'])} field strengths do not fit {study['sites']} sites; "
            "give one, or one of each"
        )
    check_supersampling(study["supersampling"])
    check_snr(study["snr"])
