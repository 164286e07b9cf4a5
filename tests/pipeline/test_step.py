"""Steps are computed once per content, written whole, and read back as they were."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mensura.io import nifti
from mensura.methods import Monitor
from mensura.pipeline import record
from mensura.pipeline.record import Product, Task
from mensura.pipeline.step import Artifact, Frame, Ledger, Outcome, derived, settle, step
from mensura.scan import Grid, ScanError, Volume

GRID = Grid.from_voxel_size((5, 6, 7), (1, 1, 2))
FIELD = Product("fieldmap", "Hz", "a field", desc="total", inside="ppm")
MASK = Product("mask", "1", "a mask", desc="brain", mask=True)


def ledger(folder: Path, **changes: Any) -> Ledger:
    def path(product: Product, extension: str) -> Path:
        return folder / f"desc-{product.desc}_{product.suffix}{extension}"

    return Ledger(path=path, hz_per_ppm=127.7, **changes)


def raw(key: str = "a", value: float = 1.0) -> Artifact:
    data = np.full(GRID.shape, value, np.float32)
    return Artifact(key, lambda: Volume(data, GRID, "ppm"), roots={f"{key}.nii.gz": key})


class Work:
    """Multiplies by `factor`, counts its calls, and iterates for the monitor."""

    def __init__(self, factor: float = 3.0) -> None:
        self.calls, self.factor = 0, factor

    def __call__(self, image: Volume, monitor: Monitor) -> Outcome:
        self.calls += 1
        monitor(1, 10, 0.5)
        monitor(2, 10, 0.01)
        volume = Volume(image.data * np.float32(self.factor), image.grid, "ppm")
        return Outcome({"total_field": volume}, {"Mean": 3.0}, ["look twice"])


def task(**parameters: Any) -> Task:
    return Task("field", "weighted", {"total_field": FIELD}, "a fit", "10.1/x", parameters)


def test_the_second_time_nothing_is_computed_and_the_result_is_the_same(tmp_path: Path) -> None:
    work = Work()
    first = step(ledger(tmp_path), task(a=1), {"image": raw(value=0.123456)}, work)["total_field"]
    again = step(ledger(tmp_path), task(a=1), {"image": raw(value=0.123456)}, work)["total_field"]
    assert work.calls == 1
    assert again.key == first.key
    assert again.history() == first.history()
    np.testing.assert_array_equal(again.value().data, first.value().data)
    np.testing.assert_allclose(first.value().data, 0.370368, rtol=1e-6)


def test_on_disk_the_field_is_in_hz(tmp_path: Path) -> None:
    step(ledger(tmp_path), task(), {"image": raw(value=2.0)}, Work())
    np.testing.assert_allclose(nifti.read(tmp_path / "desc-total_fieldmap.nii.gz").data, 6 * 127.7, rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"a": 2}, "a"), ({"a": 1}, "b"), ({"a": 1, "b": 0}, "a")],
    ids=["value", "input", "name"],
)
def test_another_parameter_or_input_is_computed(tmp_path: Path, changed: dict[str, int], key: str) -> None:
    work = Work()
    step(ledger(tmp_path), task(a=1), {"image": raw("a")}, work)
    step(ledger(tmp_path), task(**changed), {"image": raw(key)}, work)
    assert work.calls == 2


def test_other_code_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    step(ledger(tmp_path), task(), {"image": raw()}, work)
    monkeypatch.setattr(record, "code_digest", lambda: "newer")
    step(ledger(tmp_path), task(), {"image": raw()}, work)
    assert work.calls == 2


def test_force_computes_again(tmp_path: Path) -> None:
    work = Work()
    for _ in range(2):
        step(ledger(tmp_path, force=True), task(), {"image": raw()}, work)
    assert work.calls == 2


@pytest.mark.parametrize("damage", ["image", "sidecar", "gone"])
def test_a_damaged_result_is_computed_again(tmp_path: Path, damage: str) -> None:
    work = Work()
    step(ledger(tmp_path), task(), {"image": raw()}, work)
    image, sidecar = tmp_path / "desc-total_fieldmap.nii.gz", tmp_path / "desc-total_fieldmap.json"
    if damage == "image":
        image.write_bytes(image.read_bytes()[:-20])
    elif damage == "sidecar":
        sidecar.write_text(sidecar.read_text()[:100])
    else:
        image.unlink()
    made = step(ledger(tmp_path), task(), {"image": raw()}, work)["total_field"]
    assert work.calls == 2
    np.testing.assert_allclose(made.value().data, 3.0, rtol=1e-6)
    np.testing.assert_allclose(nifti.read(image).data, 3 * 127.7, rtol=1e-6)


def test_the_sidecar_holds_what_is_needed_to_repeat_it(tmp_path: Path) -> None:
    step(ledger(tmp_path, facts={"Acquisition": {"EchoTime": [0.004]}}), task(a=1), {"image": raw()}, Work())
    sidecar = json.loads((tmp_path / "desc-total_fieldmap.json").read_text())
    ours = sidecar["Mensura"]
    assert (sidecar["Units"], sidecar["Sources"], sidecar["EstimationAlgorithm"]) == (
        "Hz",
        ["a.nii.gz"],
        "a fit",
    )
    assert sidecar["EstimationReference"] == "https://doi.org/10.1/x"
    assert sidecar["Acquisition"] == {"EchoTime": [0.004]}
    assert (ours["Step"], ours["Method"], ours["Parameters"]) == ("field", "weighted", {"a": 1})
    assert ours["Inputs"] == {"a.nii.gz": "a"}
    assert ours["Warnings"] == ["look twice"]
    assert ours["Statistics"] == {"Mean": 3.0}
    assert ours["Convergence"] == {
        "Iterations": 2,
        "MaxIterations": 10,
        "Converged": True,
        "History": [0.5, 0.01],
    }
    assert set(ours["Versions"]) >= {"mensura", "python", "numpy", "numba", "ducc0"}
    assert [line["Stage"] for line in sidecar["Processing"]] == ["field"]


def test_history_is_that_of_all_steps_before_in_order(tmp_path: Path) -> None:
    where = ledger(tmp_path)
    offset = Task("offset", "mcpc3ds", {"total_field": Product("", "ppm", "")})
    before = derived(where, offset, {"image": raw()}, Work(1.0))["total_field"]
    field = step(where, task(), {"image": before}, Work())["total_field"]
    mask = Task("mask", "threshold", {"mask": MASK})
    made = step(where, mask, {"image": field}, lambda image, monitor: Outcome({"mask": _positive(image)}))[
        "mask"
    ]
    assert [line["Stage"] for line in made.history()] == ["offset", "field", "mask"]
    assert made.roots == {"a.nii.gz": "a"}


def _positive(image: Volume) -> Volume:
    return Volume(image.data > 0, image.grid, "1")


def test_warnings_of_what_is_not_written_stand_in_the_next_sidecar(tmp_path: Path) -> None:
    before = derived(ledger(tmp_path), task(), {"image": raw()}, Work())["total_field"]
    step(ledger(tmp_path), task(), {"image": before}, Work())
    warnings = json.loads((tmp_path / "desc-total_fieldmap.json").read_text())["Mensura"]["Warnings"]
    assert warnings == ["look twice"]


def test_derived_is_computed_only_when_asked_for_and_once(tmp_path: Path) -> None:
    work = Work()
    made = derived(ledger(tmp_path), task(), {"image": raw()}, work)["total_field"]
    assert work.calls == 0
    made.value()
    made.value()
    assert work.calls == 1


def test_maps_are_written_on_the_whole_grid_and_read_back_in_the_box(tmp_path: Path) -> None:
    box = (slice(1, 4), slice(2, 5), slice(0, 7))
    frame = Frame(GRID, box)
    small = Artifact("a", lambda: frame.cut(raw(value=2.0).value()))
    where = ledger(tmp_path, frame=lambda: frame)
    work = Work()
    first = step(where, task(), {"image": small}, work)["total_field"].value()
    again = step(where, task(), {"image": small}, work)["total_field"].value()
    whole = nifti.read(tmp_path / "desc-total_fieldmap.nii.gz")
    assert whole.grid.matches(GRID)
    assert first.data.shape == again.data.shape == (3, 3, 7)
    np.testing.assert_array_equal(first.data, again.data)
    assert whole.data[box].all()
    assert np.count_nonzero(whole.data) == first.data.size


def test_a_mask_comes_back_as_truth_values(tmp_path: Path) -> None:
    mask = Task("mask", "given", {"mask": MASK})
    for _ in range(2):
        made = step(
            ledger(tmp_path),
            mask,
            {"image": raw()},
            lambda image, monitor: Outcome({"mask": _positive(image)}),
        )
        assert made["mask"].value().data.dtype == bool
        assert made["mask"].value().data.all()


def test_a_write_that_fails_in_the_background_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ThreadPoolExecutor(1) as writer:
        where = ledger(tmp_path / "file", writer=writer)
        step(where, task(), {"image": raw()}, Work())
        with pytest.raises(ScanError, match="file"):
            settle(where)


def test_an_interrupted_write_leaves_no_file_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(ledger(tmp_path), task(a=1), {"image": raw()}, Work())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr("mensura.io.files.os.replace", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        step(ledger(tmp_path), task(a=2), {"image": raw()}, Work())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def _interrupt(*_: Any) -> Outcome:
    raise KeyboardInterrupt


def test_what_finished_before_the_interrupt_is_reused(tmp_path: Path) -> None:
    work = Work()

    def interrupted_run() -> None:
        with ThreadPoolExecutor(1) as writer:
            where = ledger(tmp_path, writer=writer)
            made = step(where, task(), {"image": raw()}, work)["total_field"]
            step(where, Task("mask", "m", {"mask": MASK}), {"image": made}, lambda **_: _interrupt())

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    step(ledger(tmp_path), task(), {"image": raw()}, work)
    assert work.calls == 1
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".gz", ".json"]
