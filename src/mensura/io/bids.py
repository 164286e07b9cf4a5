"""BIDS datasets: the gradient-echo runs in them, what their sidecars say, and reading one run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mensura.io.acquisition import Sidecar, gradient_echo, merge
from mensura.io.bids_names import IMAGE_EXTENSIONS, Name, bids_uri, join, output_path, parse, subject_folder
from mensura.io.bids_write import DESCRIPTION, write_bidsignore, write_dataset_description
from mensura.io.comparable import differences
from mensura.io.files import read_json
from mensura.io.nifti import FilePath, read_shape
from mensura.io.scans import Scan, assemble
from mensura.io.series import SERIES_PARTS, SeriesScan, assemble_series
from mensura.scan import GradientEcho, ScanError

__all__ = [
    "MultiEchoRun",
    "acquisition_of",
    "bids_uri",
    "every_run",
    "find_runs",
    "is_series",
    "load",
    "load_run",
    "load_series",
    "output_path",
    "session_folders",
    "shape",
    "sidecar_of",
    "sidecars_of",
    "subject_folder",
    "write_bidsignore",
    "write_dataset_description",
]

SUFFIXES = {"anat": ("MEGRE", "T2starw"), "func": ("bold",)}
"""What is looked for, by the folder that it lies in."""
PARTS = {"mag": "magnitude", "phase": "phase", "real": "real", "imag": "imaginary"}
WITHIN_RUN = ("echo", "part", "coil")
"""Entities that tell the files of one run apart."""


@dataclass(frozen=True)
class MultiEchoRun:
    """One gradient-echo run of a dataset: its files in the order of the echoes; nothing has been read.

    `entities` are those that all files share, in BIDS order (`sub`, `ses`, `acq` …); they name the outputs.
    """

    dataset: Path
    suffix: str
    entities: Mapping[str, str]
    magnitude: tuple[Path, ...] = ()
    phase: tuple[Path, ...] = ()
    real: tuple[Path, ...] = ()
    imaginary: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The entities as in a file name: sub-01_ses-1_acq-fine."""
        return join(self.entities)

    @property
    def subject(self) -> str:
        return self.entities["sub"]

    @property
    def session(self) -> str | None:
        return self.entities.get("ses")

    @property
    def datatype(self) -> str:
        """The folder it lies in: anat, or func."""
        return next(folder for folder, suffixes in SUFFIXES.items() if self.suffix in suffixes)

    @property
    def parts(self) -> dict[str, tuple[Path, ...]]:
        """The files of each part that there is, phase first."""
        found = {
            "phase": self.phase,
            "magnitude": self.magnitude,
            "real": self.real,
            "imaginary": self.imaginary,
        }
        return {name: paths for name, paths in found.items() if paths}

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files."""
        return tuple(path for paths in self.parts.values() for path in paths)

    @property
    def full_name(self) -> str:
        """With the suffix: sub-01_ses-1_acq-fine_MEGRE."""
        return f"{self.name}_{self.suffix}"

    @property
    def decay_alone(self) -> bool:
        """Whether there is nothing but the magnitude of several echoes: R2*, but no susceptibility."""
        several = len(self.magnitude) > 1 or self.suffix == "MEGRE"
        coils = any("coil" in _name(path).entities for path in self.magnitude)
        return list(self.parts) == ["magnitude"] and several and not coils and self.suffix in SUFFIXES["anat"]

    @property
    def has_phase(self) -> bool:
        return bool(self.phase or (self.real and self.imaginary))

    def sidecars(self) -> tuple[Path, ...]:
        """Every JSON file that applies to any image of the run."""
        return tuple(dict.fromkeys(path for image in self.files for path in sidecars_of(self.dataset, image)))


def find_runs(
    dataset: FilePath,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    needed: bool = True,
) -> list[MultiEchoRun]:
    """A BIDS dataset → its gradient-echo runs: every MEGRE, and every T2starw and bold that has phase.

    `participants` and `sessions` are labels, with or without sub- and ses-; none means all. ScanError where
    the folder is no BIDS dataset, a label is unknown, or nothing is found although it is `needed`.
    """
    root = Path(dataset).absolute()
    runs = every_run(root, participants=participants, sessions=sessions)
    usable = [run for run in runs if run.suffix == "MEGRE" or run.has_phase]
    if usable or not needed:
        return _told_apart(usable)
    if runs:
        raise ScanError(
            f"{runs[0].files[0]} has no phase with it; export the phase images of the scan as well"
        )
    raise ScanError(
        f"{root} has no gradient-echo images (anat/*_MEGRE.nii.gz, or *_T2starw.nii.gz with phase) and no series "
        "to fit (as IRT1, VFA, MP2RAGE, MESE, MTR, MTS, dwi, TB1AFI or phasediff) for these participants and sessions; "
        "check the file names"
    )


def every_run(
    root: Path, *, participants: Sequence[str] = (), sessions: Sequence[str] = ()
) -> list[MultiEchoRun]:
    """A BIDS dataset → all gradient-echo images in it, with phase or without. ScanError as `find_runs`."""
    folders = session_folders(root, participants, sessions)
    return [run for folder in folders for kind in SUFFIXES for run in _runs_in(root, folder / kind)]


def acquisition_of(run: MultiEchoRun) -> tuple[GradientEcho, tuple[str, ...]]:
    """A run → how it was acquired, and doubts, from its names and sidecars alone. ScanError as `load`."""
    _check_complete(run)
    return gradient_echo(_echo_sidecars(run))


def session_folders(root: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[Path]:
    """A BIDS dataset → the folders of its subjects and sessions, or of those asked for.

    ScanError where the folder is no BIDS dataset or a label is unknown.
    """
    _check_dataset(root)
    subjects = _chosen(root, [root], "sub", participants)
    if sessions:
        _chosen(root, subjects, "ses", sessions)
    return [folder for subject in subjects for folder in _session_folders(root, subject, sessions)]


def load(
    run: MultiEchoRun, *, mask: FilePath | None = None, b0_direction: Sequence[float] | None = None
) -> Scan:
    """A run → its images (phase in rad), acquisition and warnings.

    ScanError, naming the file, the field and the remedy, where phase, an echo, a part or a sidecar field
    is missing or does not fit.
    """
    _check_complete(run)
    sidecars = _echo_sidecars(run)
    acquisition, doubts = gradient_echo(sidecars)
    sources = dict(run.parts)
    if mask is not None:
        sources["mask"] = (Path(mask),)
    record = merge([sidecar.record for sidecar in sidecars])
    scan = assemble(sources, acquisition, sidecar=record, b0_direction=b0_direction)
    return replace(scan, warnings=_differences(run) + doubts + scan.warnings)


def _differences(run: MultiEchoRun) -> tuple[str, ...]:
    """What makes the echoes of a part hard to compare."""
    told = (differences([sidecar_of(run.dataset, path) for path in paths]) for paths in run.parts.values())
    return tuple(dict.fromkeys(sentence for sentences in told for sentence in sentences))


def load_run(run: MultiEchoRun) -> Scan | SeriesScan:
    """A run → its images at once (`load`), or one after the other in time (`load_series`)."""
    return load_series(run) if is_series(run) else load(run)


def load_series(run: MultiEchoRun) -> SeriesScan:
    """A run whose files hold one volume for each time → the series. ScanError as in `load`."""
    _check_complete(run)
    if not run.phase:
        raise ScanError(f"{run.files[0]}: a time series needs phase images; convert real and imaginary parts")
    sidecars = _echo_sidecars(run)
    acquisition, doubts = gradient_echo(sidecars)
    parts = {name: paths for name, paths in run.parts.items() if name in SERIES_PARTS}
    record = merge([sidecar.record for sidecar in sidecars])
    series = assemble_series(parts, acquisition, sidecar=record)
    if run.suffix != "bold":
        doubts += (f"{series.count} volumes with one echo time were taken as points in time, not as coils",)
    return replace(series, first=replace(series.first, warnings=doubts + series.first.warnings))


def is_series(run: MultiEchoRun) -> bool:
    """Whether the volumes of a file are points in time: a bold, or a T2starw with one echo time for them all."""
    if run.suffix != "T2starw":
        return run.suffix == "bold"
    return all(
        len(read_shape(path)) > 3 and isinstance(sidecar_of(run.dataset, path).get("EchoTime"), int | float)
        for path in run.phase or run.real
    )


def shape(run: MultiEchoRun) -> tuple[int, int, int, int]:
    """A run → the shape of its 4D images, from the header of one file."""
    _check_complete(run)
    files = run.phase or run.real
    if is_series(run):
        x, y, z = read_shape(files[0])[:3]
        return x, y, z, len(files)
    sizes = read_shape(files[0])
    echoes = len(files) if len(files) > 1 or len(sizes) < 4 else sizes[3]
    return sizes[0], sizes[1], sizes[2], echoes


def sidecar_of(dataset: Path, image: Path) -> dict[str, Any]:
    """An image → the fields of all JSON files that apply to it, the nearest and most specific deciding."""
    return merge([read_json(path) for path in reversed(sidecars_of(dataset, image))])


def sidecars_of(dataset: Path, image: Path, extension: str = ".json") -> tuple[Path, ...]:
    """An image → the JSON (or .bval, .bvec) files that apply to it (BIDS inheritance), the most general first."""
    name = parse(image)
    if name is None:
        return ()
    inside = image.relative_to(dataset).parent
    folders = [
        dataset,
        *(dataset / parent for parent in reversed(inside.parents) if parent != Path()),
        image.parent,
    ]
    return tuple(path for folder in dict.fromkeys(folders) for path in _applicable(folder, name, extension))


def _applicable(folder: Path, image: Name, extension: str) -> list[Path]:
    """The files of that kind in one folder whose suffix is the image's and whose entities the image all has."""
    found = []
    for path in sorted(folder.glob(f"*{image.suffix}{extension}")):
        name = parse(path)
        if name and name.suffix == image.suffix and name.entities.items() <= image.entities.items():
            found.append((len(name.entities), path))
    return [path for _, path in sorted(found)]


def _check_dataset(root: Path) -> None:
    if not root.is_dir():
        raise ScanError(f"{root} is not a folder; give the folder of a BIDS dataset")
    if not (root / DESCRIPTION).is_file():
        raise ScanError(
            f"{root} is not a BIDS dataset: it has no {DESCRIPTION}; give the folder that holds it, or use "
            "mensura qsm for single NIfTI files"
        )


def _chosen(root: Path, parents: Iterable[Path], key: str, labels: Sequence[str]) -> list[Path]:
    """The folders sub-… or ses-… that were asked for, all without labels; ScanError for an unknown label."""
    found = [folder for parent in parents for folder in sorted(parent.glob(f"{key}-*")) if folder.is_dir()]
    if not labels:
        return found
    names = {f"{key}-{label.removeprefix(f'{key}-')}" for label in labels}
    unknown = sorted(names - {folder.name for folder in found})
    if unknown:
        known = ", ".join(dict.fromkeys(folder.name for folder in found[:10])) or "none"
        raise ScanError(f"{root} has no {', '.join(unknown)}; it has: {known}")
    return [folder for folder in found if folder.name in names]


def _session_folders(root: Path, subject: Path, sessions: Sequence[str]) -> list[Path]:
    """The folders of a subject that may hold anat/: its sessions, and itself unless some were asked for."""
    names = {f"ses-{label.removeprefix('ses-')}" for label in sessions}
    folders = [folder for folder in sorted(subject.glob("ses-*")) if not names or folder.name in names]
    return folders if names else [subject, *folders]


def _runs_in(root: Path, folder: Path) -> list[MultiEchoRun]:
    """The files of one anat/ or func/ folder, grouped into runs."""
    groups: dict[tuple[str, str], dict[str, list[tuple[int, Path]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("sub-*")):
        name = parse(path)
        if name is None or name.extension not in IMAGE_EXTENSIONS or name.suffix not in SUFFIXES[folder.name]:
            continue
        part = PARTS.get(name.entities.get("part", "mag"))
        if part:
            shared = {key: value for key, value in name.entities.items() if key not in WITHIN_RUN}
            groups[join(shared), name.suffix][part].append((_echo(path, name), path))
    return [
        MultiEchoRun(
            root, suffix, _entities(shared), **{part: _in_order(files) for part, files in parts.items()}
        )
        for (shared, suffix), parts in groups.items()
    ]


def _entities(joined: str) -> dict[str, str]:
    return dict(pair.split("-", 1) for pair in joined.split("_"))


def _echo(path: Path, name: Name) -> int:
    label = name.entities.get("echo", "1")
    if not label.isdigit():
        raise ScanError(
            f"{path}: the echo must be a number, not {label!r}; rename the file to echo-1, echo-2 …"
        )
    return int(label)


def _in_order(files: list[tuple[int, Path]]) -> tuple[Path, ...]:
    return tuple(path for _, path in sorted(files))


def _told_apart(runs: list[MultiEchoRun]) -> list[MultiEchoRun]:
    """A T2starw run that shares all entities with a MEGRE run gets `mod`, so that their outputs differ."""
    taken = {run.name for run in runs if run.suffix == "MEGRE"}
    return [
        replace(run, entities=_entities(join({**run.entities, "mod": run.suffix})))
        if run.suffix != "MEGRE" and run.name in taken
        else run
        for run in runs
    ]


def _check_complete(run: MultiEchoRun) -> None:
    """Every part has every echo once, and there is phase."""
    if not run.has_phase:
        lone = next((part for part in ("real", "imaginary") if part in run.parts), None)
        lacking = {"real": "imaginary part", "imaginary": "real part"}.get(lone or "", "phase")
        remedy = (
            "add the part-imag or part-real" if lone else "export the phase images of the scan as part-phase"
        )
        raise ScanError(f"{run.files[0]} has no {lacking} with it; {remedy} files")
    echoes = {part: [_echo(path, _name(path)) for path in paths] for part, paths in run.parts.items()}
    for part, paths in run.parts.items():
        for path, before, after in zip(paths[1:], echoes[part], echoes[part][1:], strict=False):
            if before == after:
                raise ScanError(
                    f"{path} is a second {part} image of echo {after}; combine coil images first, and keep "
                    "one file per echo"
                )
    every = sorted({echo for found in echoes.values() for echo in found})
    for part, found in echoes.items():
        missing = [str(echo) for echo in every if echo not in found]
        if missing:
            raise ScanError(
                f"{run.parts[part][0]}: the {part} of echo {', '.join(missing)} is missing; add its file"
            )


def _name(path: Path) -> Name:
    name = parse(path)
    if name is None:
        raise ScanError(f"{path} is not named as BIDS asks; rename it")
    return name


def _echo_sidecars(run: MultiEchoRun) -> list[Sidecar]:
    """One record per phase file, completed by the magnitude's; ScanError if their echo times disagree."""
    main = run.phase or run.real
    sidecars = []
    for index, path in enumerate(main):
        record = sidecar_of(run.dataset, path)
        if run.magnitude:
            record = _completed(run, record, path, run.magnitude[index])
        sidecars.append(Sidecar(str(path), record))
    return sidecars


def _completed(run: MultiEchoRun, record: dict[str, Any], path: Path, magnitude: Path) -> dict[str, Any]:
    other = sidecar_of(run.dataset, magnitude)
    ours, theirs = record.get("EchoTime"), other.get("EchoTime")
    if ours is not None and theirs is not None and ours != theirs:
        raise ScanError(
            f"{path} has EchoTime {ours} but {magnitude.name} has {theirs}; correct the JSON files"
        )
    other = {key: value for key, value in other.items() if key not in ("Units", "ImageType")}
    return merge([record, other])
