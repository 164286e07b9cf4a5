"""`mensura run` and `mensura qsm`: scans to maps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mensura.cli.convert import fill_gradients, undistortion
from mensura.cli.flags import METAVARS, Parser, described
from mensura.pipeline.presets import PRESET, PRESETS
from mensura.scan import ScanError

SCAN_FLAGS = (
    *("phase", "magnitude", "real", "imaginary", "echo_times", "field_strength"),
    *("total_field", "local_field", "field_unit", "b0_direction"),
)
RUN = """\
A BIDS App: finds every MEGRE, T2starw and bold run with phase (or real and imaginary parts), maps each (a bold
volume by volume), and writes BIDS derivatives and one report per subject. Then it fits every other series that it
knows (IRT1 VFA MP2RAGE MESE MTR MTS MPM TB1* phasediff fieldmap dwi, MEGRE without phase), corrected by the B1 map
and the field map that are meant for it, with a page for every map, and makes R2' of a session's R2* and T2. What is
there already and has not changed is not computed again.

examples:
  mensura run bids maps participant --participant-label 01 02
  mensura run bids maps participant --dry-run
  mensura run bids maps participant --background vsharp --dipole medi
  mensura run bids maps participant --config run.toml
  mensura run dicom maps                               # straight from DICOM: `mensura convert` comes first
"""
QSM = """\
The same job for NIfTI files: one 3D file per echo, or one 4D file. Enter later in the chain with a mask, a
total field or a local field. The maps go to the output folder: Chimap.nii.gz (ppm), R2starmap.nii.gz (1/s) …
and report.html.

examples:
  mensura qsm --phase phase.nii.gz --magnitude mag.nii.gz --echo-times 0.004 0.008 0.012 \\
              --field-strength 7 -o maps
  mensura qsm --total-field field.nii.gz --mask mask.nii.gz --field-strength 3 -o maps
  mensura qsm --phase series.nii.gz --magnitude mag.nii.gz --echo-times 0.03 --field-strength 7 \\
              --time-series --preset epi -o maps
  mensura qsm --local-field local.nii.gz --field-unit ppm --mask mask.nii.gz --dipole tv -o maps
"""
STAGE_HELP = """\
By default background removal and dipole inversion are one step (background+dipole); naming --background or
--dipole makes them two. Every parameter can also stand in the TOML file: [dipole] method = "tv", and below
[dipole.tv] weight = 2e-4."""

PRESET_HELP = f"""settings for a kind of data, over which config and flags are laid: {", ".join(PRESETS)} (explained
by mensura methods presets)"""


def fill_run(command: Parser) -> None:
    from mensura.pipeline.recovery_series import CHOICES

    command.add_argument(
        "bids_dir",
        type=Path,
        help="the BIDS dataset; DICOM (folder or zip) is first converted into OUT_DIR/bids",
    )
    command.add_argument("out_dir", type=Path, help="folder for the derivatives")
    command.add_argument(
        "level", choices=["participant"], nargs="?", default="participant", help="level of the analysis"
    )
    command.add_argument(
        "--participant-label", nargs="+", default=[], metavar="01", help="only these subjects"
    )
    command.add_argument("--session-label", nargs="+", default=[], metavar="1", help="only these sessions")
    command.add_argument(
        "--irt1", choices=CHOICES, default=CHOICES[0],
        help="what series of inversion times are: an inversion for each image, or a train of readouts after one "
        "(default: as names, angles and times tell)",
    )  # fmt: skip
    command.set_defaults(action=_run, only="")
    fill_gradients(command)
    _fill_common(command)


def fill_qsm(command: Parser) -> None:
    files: dict[str, Any] = {"nargs": "+", "type": Path, "default": [], "metavar": "FILE"}
    scan = command.add_argument_group("the scan")
    scan.add_argument("--phase", **files, help="phase: a file per echo, or one 4D file")
    scan.add_argument("--magnitude", **files, help="magnitude, the same echoes")
    scan.add_argument("--real", **files, help="real part, instead of magnitude and phase")
    scan.add_argument("--imaginary", **files, help="imaginary part")
    scan.add_argument(
        "--echo-times", nargs="+", type=float, default=[], metavar="S", help="echo times in seconds"
    )
    scan.add_argument("--field-strength", type=float, metavar="T", help="in tesla")
    scan.add_argument(
        "--b0-direction", nargs=3, type=float, metavar=("X", "Y", "Z"), help="of B0 in voxel axes"
    )
    scan.add_argument(
        "--readout", choices=["monopolar", "bipolar"], help="of the echoes (default: found out)"
    )
    scan.add_argument(
        "--time-series", action="store_true", help="the volumes of each file are points in time, not echoes"
    )
    enter = command.add_argument_group("enter later in the chain")
    enter.add_argument(
        "--mask", dest="mask_file", type=Path, metavar="FILE", help="your own mask, instead of one made here"
    )
    enter.add_argument("--total-field", type=Path, metavar="FILE", help="total field, instead of phase")
    enter.add_argument("--local-field", type=Path, metavar="FILE", help="local field, background removed")
    enter.add_argument(
        "--field-unit", choices=["Hz", "ppm"], default="Hz", help="of these fields (default: Hz)"
    )
    region = "voxels whose mean becomes zero (the method region of --reference)"
    enter.add_argument("--reference-region", type=Path, metavar="FILE", help=region)
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the maps")
    command.set_defaults(action=_qsm)
    _fill_common(command)


def _fill_common(command: Parser) -> None:
    how = command.add_argument_group("how to run")
    how.add_argument(
        "--config", type=Path, metavar="TOML", help="methods and parameters from a file; flags go first"
    )
    how.add_argument("--preset", metavar="NAME", default=argparse.SUPPRESS, help=PRESET_HELP)
    how.add_argument("--dry-run", action="store_true", help="say what would be done and the memory it needs")
    how.add_argument("--force", action="store_true", help="compute everything again, replace what is there")
    how.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: all)")
    how.add_argument("--no-report", action="store_true", help="write no HTML report")
    _fill_stages(command)


def _fill_stages(command: Parser) -> None:
    """A flag for each stage's method and for each parameter of each method."""
    from mensura.pipeline.config import flag, stages

    command.add_argument_group("methods and parameters", STAGE_HELP)
    for name, stage in stages().items():
        group = command.add_argument_group(name, stage.summary)
        group.add_argument(flag(name), dest=name, metavar="METHOD", default=argparse.SUPPRESS,
                           help=f"{', '.join(stage.methods)} (default: {stage.default})")  # fmt: skip
        for method, entry in stage.methods.items():
            for key, parameter in entry.parameters.items():
                full = f"{name}.{method}.{key}"
                group.add_argument(
                    f"--{full}",
                    dest=full,
                    metavar=METAVARS.get(parameter.type, "V"),
                    default=argparse.SUPPRESS,
                    help=described(parameter),
                )


def _run(arguments: argparse.Namespace) -> int:
    from mensura.io import bids
    from mensura.pipeline import batch, dataset_fits, fit_rules
    from mensura.pipeline.job import Job

    settings = _prepare(arguments)
    done = _from_dicom(arguments)
    if done is None:
        return 0
    chosen = {"participants": arguments.participant_label, "sessions": arguments.session_label}
    series = dataset_fits.find(arguments.bids_dir, **chosen) if arguments.only != "runs" else []
    fitted = any(one.suffix in fit_rules.RULES for one in series)
    runs = bids.find_runs(arguments.bids_dir, **chosen, needed=not fitted)
    runs = [run for run in runs if not run.decay_alone]
    jobs = [
        Job(
            run.name,
            partial(bids.load_run, run),
            arguments.out_dir,
            run,
            settings,
            arguments.force,
            arguments.command_line,
        )
        for run in (runs if arguments.only != "fits" else ())
    ]
    if arguments.dry_run:
        if jobs:
            _plan(jobs, [bids.shape(run) for run in runs])
        for one in series:
            print(f"{one.name}: {len(one.images)} images")
        return 0
    places = {one.place for one in series if one.suffix in fit_rules.RULES}
    codes = {_execute(arguments, jobs, places)} if jobs else set()
    codes |= {done} if done else set()
    if fitted:
        fitting = dataset_fits.Fitting(
            arguments.out_dir, arguments.command_line, arguments.force, runs=runs, irt1=arguments.irt1
        )
        bids.write_dataset_description(arguments.out_dir, name="mensura maps", raw=series[0].dataset)
        bids.write_bidsignore(arguments.out_dir, ("*.html", *dataset_fits.IGNORED))
        codes.add(dataset_fits.execute(series, fitting))
        sessions = sorted({one.place for one in series})
        _reversible(arguments, sessions)
        if not arguments.no_report:
            report = partial(_subject_report, arguments.out_dir)
            codes |= {batch.report_on(arguments.out_dir, sessions, report)} - {0}
    return codes.pop() if len(codes) == 1 else 1


def converted(arguments: argparse.Namespace) -> Path:
    """Where DICOM in place of a BIDS dataset is converted to."""
    return Path(arguments.out_dir, "bids")


def _from_dicom(arguments: argparse.Namespace) -> int | None:
    """DICOM in place of a BIDS dataset is converted into the output folder, once → exit code of that, None if only
    the plan was to be shown."""
    from mensura.io.dicom.sources import holds_dicom

    source, target = arguments.bids_dir, converted(arguments)
    if not holds_dicom(source):
        if arguments.gradient_coefficients is not None:
            raise ScanError(
                f"--gradient-coefficients is for DICOM, and {source} is none; correct when converting it"
            )
        return 0
    arguments.bids_dir = target
    if (target / "dataset_description.json").is_file():
        print(f"{source} was converted before: {target} is used; remove it to convert again", file=sys.stderr)
        return 0
    from mensura.io.dicom.plan import Labels
    from mensura.pipeline.conversion import Conversion, convert

    labels = Labels(arguments.participant_label, arguments.session_label)
    does = "would be" if arguments.dry_run else "is"
    print(f"{source} is DICOM: it {does} converted into {target}, then mapped", file=sys.stderr)
    how = undistortion(arguments)
    code = convert(Conversion(source, target, labels, show_only=arguments.dry_run, undistortion=how))
    if code == 2:
        raise ScanError(f"nothing of {source} was converted; see above")
    return None if arguments.dry_run else code


def _reversible(arguments: argparse.Namespace, sessions: Collection[tuple[str, str]]) -> None:
    """R2′ where the maps for it have been made."""
    from mensura.pipeline import r2prime

    for words in r2prime.derive(arguments.out_dir, sorted(sessions), arguments.command_line, arguments.force):
        print(words, file=sys.stderr)


def _qsm(arguments: argparse.Namespace) -> int:
    from mensura.io.scans import load_nifti
    from mensura.io.series import load_series
    from mensura.pipeline.job import Job, input_shape, with_readout

    settings = _prepare(arguments)
    given = {name: getattr(arguments, name) for name in SCAN_FLAGS}
    reader = load_series if arguments.time_series else load_nifti
    load = partial(with_readout, partial(reader, **given, mask=arguments.mask_file), arguments.readout)
    job = Job(
        arguments.out.name,
        load,
        arguments.out,
        settings=settings,
        force=arguments.force,
        command=arguments.command_line,
        reference_region=arguments.reference_region,
    )
    if arguments.dry_run:
        return _plan([job], [input_shape(given, arguments.time_series)])
    return _execute(arguments, [job])


def _prepare(arguments: argparse.Namespace) -> Any:
    """Threads set; the settings of the TOML file with the flags laid over them."""
    from mensura.pipeline.config import known_keys, overlaid, read_toml
    from mensura.pipeline.config import settings as checked

    if arguments.threads is not None:
        use_threads(arguments.threads)
    file = read_toml(arguments.config) if arguments.config else {}
    keys = {PRESET, *known_keys()}
    flags = {key: value for key, value in vars(arguments).items() if key in keys}
    if getattr(arguments, "reference_region", None):
        flags.setdefault("reference", "region")
    return checked(overlaid(file, flags), str(arguments.config) if file and not flags else "the settings")


def use_threads(count: int) -> None:
    import numba

    most: int = getattr(numba.config, "NUMBA_NUM_THREADS")  # noqa: B009 (set at run time)
    if not 1 <= count <= most:
        raise ScanError(f"--threads {count} is not possible here; choose 1 to {most}")
    numba.set_num_threads(count)


def _plan(jobs: Sequence[Any], shapes: Sequence[Any]) -> int:
    from mensura.pipeline.listing import show_plan

    show_plan(jobs, shapes)
    return 0


def _execute(arguments: argparse.Namespace, jobs: Sequence[Any], later: Collection[Any] = ()) -> int:
    from mensura.pipeline.batch import execute

    return execute(jobs, None if arguments.no_report else partial(_report, later=later))


def _report(job: Any, later: Collection[tuple[str, str]]) -> Sequence[Path]:
    """The pages of a job's subject, or of its folder; none of those subjects and sessions whose maps come later."""
    from mensura import report

    if job.run is None:
        return [report.build(job.out_dir)]
    if (job.run.subject, job.run.session or "") in later:
        return ()
    return report.build_subject(job.out_dir, job.run.subject, job.run.session)


def _subject_report(out_dir: Path, place: tuple[str, str]) -> Sequence[Path]:
    """The pages of a subject and session."""
    from mensura import report

    return report.build_subject(out_dir, place[0], place[1] or None)
