"""The files that make a folder a BIDS dataset: its description and what validators are to ignore."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mensura.io.files import read_bytes, read_json, write_json, write_text
from mensura.scan import ScanError

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"


def write_dataset_description(
    out_dir: Path, *, name: str, dataset_type: str = "derivative", raw: Path | None = None
) -> None:
    """A name and the raw dataset → dataset_description.json of a dataset of derivatives (or raw data).

    Other fields and other programs of a description that is there already stay. ScanError where the folder
    is a dataset of the other type, so that no raw dataset is turned into a derivative.
    """
    path = Path(out_dir) / DESCRIPTION
    before = read_json(path) if path.is_file() else {}
    found = before.get("DatasetType", "raw" if before else dataset_type)
    if found != dataset_type:
        raise ScanError(f"{out_dir} holds a {found} BIDS dataset; choose another output folder")
    record: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": dataset_type,
        **before,
        "GeneratedBy": _generators(before.get("GeneratedBy")),
    }
    if raw is not None:
        link = Path(os.path.relpath(Path(raw).resolve(), Path(out_dir).resolve())).as_posix()
        record["SourceDatasets"] = [{"URL": link}]
        record["DatasetLinks"] = {**before.get("DatasetLinks", {}), "raw": link}
    if record != before:
        write_json(path, record)


def write_bidsignore(out_dir: Path, patterns: Sequence[str] = ("*.html",)) -> None:
    """Patterns → .bidsignore, added to what is there."""
    path = Path(out_dir) / ".bidsignore"
    lines = read_bytes(path).decode().splitlines() if path.is_file() else []
    missing = [pattern for pattern in patterns if pattern not in lines]
    if missing:
        write_text(path, "\n".join([*lines, *missing]) + "\n")


def _generators(before: Any) -> list[Any]:
    """Those of other programs, and this one."""
    others = [g for g in before if not (isinstance(g, dict) and g.get("Name") == "mensura")] if before else []
    return [*others, {"Name": "mensura", "Version": version("mensura")}]
