"""The tables of a diffusion-weighted image: taken from the converter, and held against the headers."""

from __future__ import annotations

from pathlib import Path

from mensura.io.dicom.stacks import Stack
from mensura.scan import ScanError

HEIGHT = {".bval": 1, ".bvec": 3}
"""Rows of each table."""
APART = 0.1
"""Part by which b-values may differ from those of the headers, which round them."""
LEAST = 50
"""s/mm²: of smaller b-values, the part of this."""


def tables(stack: Stack, path: Path) -> tuple[dict[str, str], list[str]]:
    """A stack and its converted image → the text of .bval and .bvec by extension, and what is to be said of them.

    Images that are all without weighting have zeros. ScanError where the converter found no b-values, or other numbers
    of them than the image has volumes.
    """
    count, name = stack.times, f"series {stack.series.number}"
    rows = {end: _rows(path.with_suffix(end)) for end in HEIGHT}
    if not rows[".bval"] and not any(stack.b_values):
        return {".bval": _text([[0.0] * count]), ".bvec": _text([[0.0] * count] * 3)}, []
    if not rows[".bval"]:
        raise ScanError(
            f"{name}: dcm2niix found no b-values; export the series again with its private attributes"
        )
    for end, numbers in rows.items():
        wrong = [len(row) for row in numbers if len(row) != count]
        if wrong or len(numbers) not in (0, HEIGHT[end]):
            many = f"{wrong[0]} numbers" if wrong else f"{len(numbers)} rows"
            raise ScanError(
                f"{name}: dcm2niix wrote {many} into its {end} for {count} volumes; look at these files"
            )
    remarks = _doubts(rows, stack.b_values)
    if any(stack.b_values) and not any(rows[".bval"][0]):
        rows[".bval"] = [list(stack.b_values)]
    return {end: _text(numbers) for end, numbers in rows.items() if numbers}, remarks


def _doubts(rows: dict[str, list[list[float]]], own: tuple[float, ...]) -> list[str]:
    """What is to be said of tables, where the headers state these b-values."""
    b_values, remarks = rows[".bval"][0], []
    wrong = [b for b, stated in zip(b_values, own, strict=True) if _apart(b, stated)]
    if any(own) and not any(b_values):
        remarks.append("its b-values are those of the headers, for dcm2niix had none")
    elif any(own) and wrong:
        remarks.append(
            f"the b-value {wrong[0]:g} of dcm2niix is not that of the header; check the .bval file"
        )
    if not any(map(any, rows[".bvec"])):
        remarks.append("no header tells its directions: no tensor can be fitted")
    return remarks


def _apart(b: float, own: float) -> bool:
    return abs(b - own) > APART * max(own, LEAST)


def _rows(path: Path) -> list[list[float]]:
    if not path.is_file():
        return []
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()]


def _text(rows: list[list[float]]) -> str:
    return "".join(" ".join(f"{number:.8g}" for number in row) + "\n" for row in rows)
