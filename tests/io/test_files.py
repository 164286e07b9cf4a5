"""Files are written whole or not at all; JSON errors name file and line."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mensura.io import files
from mensura.scan import ScanError


class Interrupted:
    """Stands in for the moment at which writing stops."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("solver"), MemoryError()])
def test_interrupted_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "map.json"
    path.write_text("old")

    def write_half() -> None:
        with files.atomic(path) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["map.json"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "no space is left"), (errno.EACCES, "permission denied"), (errno.EROFS, "read-only")],
)
def test_a_full_or_forbidden_disk_is_one_sentence_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    path = tmp_path / "out" / "map.json"
    files.write_text(path, "old")
    monkeypatch.setattr(os, "replace", Interrupted(OSError(code, os.strerror(code))))
    with pytest.raises(ScanError, match=remedy) as caught:
        files.write_text(path, "new")
    assert str(path.parent) in str(caught.value)
    assert "choose another output folder" in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["map.json"]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ScanError, match="is a file, not a folder"):
        files.write_text(tmp_path / "out" / "map.json", "new")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o500)
    with pytest.raises(ScanError, match="permission denied"):
        files.write_text(folder / "map.json", "new")


def test_new_files_get_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    files.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_keeps_order_and_numbers_and_writes_nan_as_null(tmp_path: Path) -> None:
    record = {
        "b": np.float32(0.5),
        "a": np.arange(3),
        "list": (1, np.nan, float("inf")),
        "path": Path("x") / "y",
        "nested": {"flag": np.bool_(True), "text": "χ in ppm", "none": None},
    }
    files.write_json(tmp_path / "r.json", record)
    back = files.read_json(tmp_path / "r.json")
    assert list(back) == ["b", "a", "list", "path", "nested"]
    assert back == {
        "b": 0.5,
        "a": [0, 1, 2],
        "list": [1, None, None],
        "path": "x/y",
        "nested": {"flag": True, "text": "χ in ppm", "none": None},
    }


def test_unreadable_json_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{\n  "EchoTime": 0.004,\n  "FlipAngle" 15\n}')
    with pytest.raises(ScanError, match=r"bad\.json is not valid JSON: .* in line 3"):
        files.read_json(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"[1, 2]", "must hold a JSON object"), (b"\xff\xfe{}", "not text in UTF-8")]
)
def test_json_that_is_no_record_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(ScanError, match=message):
        files.read_json(tmp_path / "odd.json")


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"EchoTime": 0.004}).encode())
    assert files.read_json(tmp_path / "bom.json") == {"EchoTime": 0.004}


def test_missing_files_folders_and_dangling_links_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "annex")
    for name, message in (("nothing", "does not exist"), (".", "is a folder"), ("link", "links to content")):
        with pytest.raises(ScanError, match=message):
            files.read_bytes(tmp_path / name)


def test_the_digest_follows_the_content_not_the_name(tmp_path: Path) -> None:
    for name, content in (("a", b"1" * 1000), ("b", b"1" * 1000), ("c", b"1" * 999 + b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (files.digest(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 32


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ScanError("full")])
def test_files_that_belong_together_are_all_new_or_all_old(
    tmp_path: Path, error: BaseException | None
) -> None:
    paths = [tmp_path / "maps" / name for name in ("a.txt", "b.txt", "c.txt")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text("old")

    def write() -> None:
        with files.staged(tmp_path / "maps") as folder:
            files.write_text(folder / "a.txt", "new")
            assert paths[0].read_text() == "old"
            if error is not None:
                raise error
            files.write_text(folder / "b.txt", "new")

    if error is None:
        write()
    else:
        with pytest.raises(type(error)):
            write()
    word = "new" if error is None else "old"
    assert [path.read_text() for path in paths] == [word, word, "old"]
    assert os.listdir(tmp_path) == ["maps"]
    assert sorted(os.listdir(tmp_path / "maps")) == ["a.txt", "b.txt", "c.txt"]
