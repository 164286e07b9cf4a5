"""Who imports whom: levels keep their order, rooms of one level stay apart, libraries keep to their rooms."""

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "mensura"
SOURCES = sorted(ROOT.rglob("*.py"))

WORDS = {"scan", "methods"}
"""The vocabulary that every room may speak."""

LEVEL = {
    **dict.fromkeys(("scan", "methods", "inverse", "warp", "fit", "score"), 0),
    **dict.fromkeys(("mask", "qmri", "qsm", "motion", "io"), 1),
    **dict.fromkeys(("phantom", "pipeline", "report"), 2),
    "cli": 3,
    **dict.fromkeys(("__init__", "__main__"), 4),
}
ONLY_IN = {
    "nibabel": {"io"},
    "pydicom": {"io"},
    "highdicom": {"io"},
    "isal": {"io"},
    "dipy": {"qmri"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "rich": {"cli", "pipeline"},
    "rich_argparse": {"cli"},
    "argparse": {"cli"},
}
HEAVY = [
    *("numba", "scipy", "nibabel", "matplotlib", "jinja2", "ducc0", "isal", "llvmlite", "dipy"),
    *("pydicom", "highdicom"),
]


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full name, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they reach into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_used(path: Path) -> set[str]:
    inner = (name.split(".")[1] for name in imported(path) if name.startswith("mensura."))
    return {name for name in inner if name in LEVEL}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below(path: Path) -> None:
    here = room(path)
    assert here in LEVEL, f"the room {here!r} has no level; give it one in this test and in the decision page"
    for other in rooms_used(path) - {here} - WORDS:
        assert LEVEL[other] < LEVEL[here], f"{path.relative_to(ROOT)} ({here}) must not import {other}"
        assert LEVEL[here] > 0, f"{path.relative_to(ROOT)}: {here} may import only scan and methods of ours"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imported(path):
        library = name.split(".")[0]
        assert room(path) in ONLY_IN.get(library, {room(path)}), f"{library} belongs into {ONLY_IN[library]}"


def test_inverse_knows_no_word_of_mri() -> None:
    for path in (ROOT / "inverse").rglob("*.py"):
        names = {n.id for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Name)}
        assert not names & {"chi", "local_field", "total_field", "echo_times", "r2star", "b0", "phase"}, path


def test_importing_mensura_brings_in_nothing_heavy() -> None:
    code = f"import mensura, sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("command", [["-c", "import mensura"], ["-m", "mensura", "--help"]])
def test_starting_takes_less_than_half_a_second(command: list[str]) -> None:
    """Of processor time, which is what it takes on an idle machine; a busy one must not fail the test."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.5


def test_idle_threads_sleep_unless_the_user_says_otherwise() -> None:
    code = "import mensura, os; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": given} if given else {}
        said = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == expected
