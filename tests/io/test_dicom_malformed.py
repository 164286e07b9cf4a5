"""Folders as they come: what is wrong with one is said clearly, and nothing is half-written or written elsewhere."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_files import RECOVERY, image, save, series
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, RLELossless

from mensura.cli import main
from mensura.io import nifti
from mensura.io.dicom.headers import read_frames
from mensura.io.dicom.sources import Source, opened
from mensura.io.files import read_json
from mensura.scan import ScanError

ECHOES = (5, 10, 15)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Three echoes of four slices."""
    return save(tmp_path / "dicom", [one for te in ECHOES for one in series(EchoTime=te)])


def convert(source: Path, *options: str) -> int:
    return main(["convert", str(source), str(source.parent / "bids"), *options])


def images_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "bids").rglob("*.nii.gz"))


def left(folder: Path) -> list[str]:
    """What lies beside the source after a conversion."""
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


ALL = [f"sub-01_echo-{n}_MEGRE.nii.gz" for n in (1, 2, 3)]


def test_a_good_folder(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(scan) == 0
    assert images_in(scan) == ALL
    assert left(scan) == ["bids"]
    told = capsys.readouterr().err
    assert "3 images are in" in told
    assert "PatientName, PatientID, PatientBirthDate" in told
    files = list((scan.parent / "bids").rglob("*.*"))
    for secret in (b"Doe", b"Jane", b"4711-0815", b"19700229", b"20200102"):
        assert not any(secret in _content(path) for path in files if path.is_file())


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_a_name_in_the_description_does_not_get_through(tmp_path: Path) -> None:
    scan = save(
        tmp_path / "d",
        [one for te in ECHOES for one in series(EchoTime=te, SeriesDescription="GRE DOE repeat")],
    )
    assert convert(scan) == 0
    for path in (tmp_path / "bids").rglob("*.*"):
        assert b"doe" not in _content(path).lower()


def test_identifiers_of_series_are_kept_on_demand_only(scan: Path) -> None:
    assert convert(scan) == 0
    sidecar = scan.parent / "bids" / "sub-01" / "anat" / "sub-01_echo-1_MEGRE.json"
    assert "SeriesInstanceUID" not in read_json(sidecar)
    assert convert(scan, "--keep-uids", "--force") == 0
    first = dcmread(next(scan.iterdir()))
    assert read_json(sidecar)["SeriesInstanceUID"] == first.SeriesInstanceUID
    assert read_json(sidecar)["FrameOfReferenceUID"] == first.FrameOfReferenceUID


def test_gzipped_files_and_archives_give_the_same(scan: Path, tmp_path: Path) -> None:
    assert convert(scan) == 0
    expected = {p.name: p.read_bytes() for p in (tmp_path / "bids").rglob("*.nii.gz")}
    zipped = tmp_path / "gz" / "dicom"
    zipped.mkdir(parents=True)
    for path in scan.iterdir():
        (zipped / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    archive = tmp_path / "zip" / "scan.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in scan.iterdir():
            file.write(path, f"a/b/{path.name}")
    for source in (zipped, archive):
        assert convert(source) == 0
        assert {p.name: p.read_bytes() for p in (source.parent / "bids").rglob("*.nii.gz")} == expected


def test_truncated_files_cost_their_set_alone(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(scan, [one for fa in (3, 20) for one in series(SeriesNumber=5, FlipAngle=fa, PixelSpacing=[1, 1])])
    victim = scan / "im00006.dcm"
    victim.write_bytes(victim.read_bytes()[:-400])
    assert convert(scan) == 1
    told = capsys.readouterr().err
    assert "im00006.dcm: it is truncated" in told
    assert "slices are missing" in told
    assert images_in(scan) == ["sub-01_flip-1_VFA.nii.gz", "sub-01_flip-2_VFA.nii.gz"]


def test_files_of_other_kinds_are_left_out(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scan / "notes.txt").write_text("hello")
    (scan / "empty.dcm").touch()
    (scan / "fake.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish" * 9)
    report = image()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    save(scan, [report], "sr")
    assert convert(scan) == 0
    told = capsys.readouterr().err
    assert "1 no DICOM (notes.txt)" in told
    assert "1 Basic Text SR Storage" in told
    assert "1 no DICOM image (fake.dcm)" in told
    assert images_in(scan) == ALL


def test_duplicates_are_taken_once(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(scan / "im00000.dcm", scan / "again.dcm")
    assert convert(scan) == 0
    assert "1 images are there twice" in capsys.readouterr().err
    assert images_in(scan) == ALL


@pytest.mark.parametrize("lost", [5, 7])
def test_missing_slices_are_refused(lost: int, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scan / f"im{lost:05d}.dcm").unlink()
    assert convert(scan) == 2
    assert "slices are missing" in capsys.readouterr().err
    assert left(scan) == []


@pytest.mark.parametrize("times", [ECHOES, (10,)])
def test_a_slice_with_another_echo_time_is_told(
    times: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one image with a gap and another of one slice it would look; also where a single echo waits for a name."""
    images = [image(z, EchoTime=te + (te == 10 and z == 2)) for te in times for z in range(5)]
    scan = save(tmp_path / "d", images)
    assert convert(scan) == 2
    told = capsys.readouterr().err
    name = f"im{5 * times.index(10) + 2:05d}.dcm"
    assert (
        f"faulty: series 1: 1 of 5 slices, such as {name}, state the echo time 11 ms, the others 10 ms"
        in told
    )


def test_an_image_exported_twice_under_two_identifiers_costs_nothing(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inversion times in a series each, of which one has its slices twice: it counts once, the rest waits."""
    shutil.rmtree(scan)
    for number, ti in enumerate((50, 400, 900)):
        save(scan, series(SeriesNumber=1 + number, InversionTime=ti, **RECOVERY))
    again = {"SeriesNumber": 2, "InversionTime": 400, **RECOVERY}
    save(scan, [image(z, SOPInstanceUID=f"1.2.9.{z}", **again) for z in range(4)])
    assert convert(scan) == 0
    assert images_in(scan) == [f"sub-01_inv-{n}_IRT1.nii.gz" for n in (1, 2, 3)]
    told = " ".join(capsys.readouterr().err.split())
    assert "some images of the run before are there again" in told


def test_two_persons_are_told_apart_without_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [one for te in ECHOES for one in series(EchoTime=te)]
    images += [
        one
        for te in ECHOES
        for one in series(EchoTime=te, PatientName="Roe^R", PatientID="99", StudyInstanceUID="1.2.3")
    ]
    scan = save(tmp_path / "d", images)
    assert convert(scan) == 2
    told = capsys.readouterr().err
    assert "2 persons" in told
    assert "Roe" not in told
    assert "Doe" not in told
    assert convert(scan, "--participant-label", "a") == 2
    assert convert(scan, "--participant-label", "a", "a") == 2
    assert convert(scan, "--participant-label", "a", "b") == 0
    assert len(images_in(scan)) == 6
    assert (tmp_path / "bids" / "participants.tsv").read_text().split() == [
        "participant_id",
        "sub-a",
        "sub-b",
    ]


def test_two_studies_of_a_person_are_two_sessions(tmp_path: Path) -> None:
    images = [
        one
        for te in ECHOES
        for day in ("20200105", "20200101")
        for one in series(EchoTime=te, StudyDate=day, StudyInstanceUID=f"1.2.{day}")
    ]
    scan = save(tmp_path / "d", images)
    assert convert(scan, "--session-label", "only") == 2
    assert convert(scan, "--session-label", "before", "after") == 0
    assert {p.parent.parent.name for p in (tmp_path / "bids").rglob("*.nii.gz")} == {
        "ses-before",
        "ses-after",
    }
    assert not any("2020" in p.read_text() for p in (tmp_path / "bids").rglob("*.json"))


def test_pixels_that_nothing_decodes_are_told_before_converting(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in scan.iterdir():
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.101"
        data["PixelData"].is_undefined_length = True
        data.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" + b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd"
        data.save_as(path)
    assert convert(scan) == 2
    assert "MPEG2" in capsys.readouterr().err
    assert left(scan) == []


def test_damaged_pixels_are_told_by_series_and_file(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in scan.iterdir():
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        data.PixelData = encapsulate([b"no picture" * 50])
        data["PixelData"].is_undefined_length = True
        data.save_as(path)
    assert convert(scan) == 2
    told = capsys.readouterr().err
    assert "dcm2niix made no image of series 1 (im00000.dcm and others)" in told
    assert "export the series again, uncompressed" in told
    assert "nothing could be converted" in told
    assert left(scan) == []


def test_compressed_images_have_the_same_values(scan: Path, tmp_path: Path) -> None:
    small = tmp_path / "c" / "dicom"
    small.mkdir(parents=True)
    for path in scan.iterdir():
        data = dcmread(path)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(small / path.name)
    assert convert(scan) == convert(small) == 0
    for path in (tmp_path / "bids").rglob("*.nii.gz"):
        other = nifti.read(tmp_path / "c" / path.relative_to(tmp_path))
        np.testing.assert_array_equal(nifti.read(path).data, other.data)


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "/evil.dcm", "a/../../evil.dcm", "..\\evil.dcm", "C:/evil.dcm"]
)
def test_archives_that_reach_outside_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "in" / "scan.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.dcm", b"x")
        file.writestr(zipfile.ZipInfo(name), b"x")
    assert convert(archive) == 2
    assert "reaches outside the archive" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*evil*"))
    assert left(archive) == []


def test_damaged_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04rubbish")
    (tmp_path / "y.zip").write_bytes(b"rubbish")
    assert convert(tmp_path / "x.zip") == 2
    assert convert(tmp_path / "y.zip") == 2
    assert convert(tmp_path / "nowhere") == 2
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / "empty") == 2
    told = capsys.readouterr().err
    assert "x.zip is a zip archive that was cut off" in told
    assert "y.zip is neither a folder nor a zip" in told
    assert "does not exist" in told
    assert "holds no file" in told
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    assert convert(tmp_path / "text") == 2
    assert "(1 of 1 files no DICOM); give the folder that the scanner exported" in capsys.readouterr().err


def test_links_out_of_the_folder_are_not_followed(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = save(tmp_path / "elsewhere", series(2, SeriesNumber=9, FlipAngle=40))
    (scan / "link.dcm").symlink_to(outside / "im00000.dcm")
    (scan / "folder").symlink_to(outside)
    (scan / "inside.dcm").symlink_to(scan / "im00000.dcm")
    assert convert(scan) == 0
    told = capsys.readouterr().err
    assert "1 links that lead out of the folder" in told
    assert "1 links to folders" in told
    assert "there twice" in told
    assert images_in(scan) == ALL


def test_a_converter_that_fails_leaves_nothing(
    scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcm2niix.bin", "/bin/false")
    assert convert(scan) == 2
    assert "dcm2niix made no image" in capsys.readouterr().err
    assert left(scan) == []
    monkeypatch.setattr("dcm2niix.bin", "/nowhere/dcm2niix")
    assert convert(scan) == 2
    assert "pip install dcm2niix" in capsys.readouterr().err


def test_an_interruption_leaves_nothing(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mensura.io.dicom.convert.write_json", stop)
    assert convert(scan) == 130
    assert left(scan) == []


def test_what_is_there_is_not_touched(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(scan) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "bids").rglob("*") if p.is_file()}
    assert convert(scan) == 2
    assert "holds images of sub-01 already" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in before} == before
    assert convert(scan, "--participant-label", "02") == 0
    assert {p: p.read_bytes() for p in before if "sub-01" in str(p)} == {
        p: c for p, c in before.items() if "sub-01" in str(p)
    }
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    assert main(["convert", str(scan), str(other)]) == 2
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]


def test_sources_that_cannot_be_read(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        monkeypatch.setattr("mensura.io.dicom.sources.reading", _refuse)
        with opened(scan) as found:
            frames, problems, _ = read_frames(found.files)
        assert not frames
        assert "permission" in problems[0].reason


def _refuse(path: Path) -> None:
    raise ScanError(f"{path} cannot be read (permission denied); check its permissions")


def test_many_files_are_sorted_quickly_and_in_little_memory(tmp_path: Path) -> None:
    """A thousand files in a tenth of the time and memory that ten thousand may take (60 s, some 60 MB)."""
    template = save(tmp_path / "one", [image(private={0x00291010: ("OB", b"x" * 20000)})]) / "im00000.dcm"
    many = [Source(template, f"{n}.dcm") for n in range(1000)]
    read_frames(many[:10])
    began = time.process_time()
    frames, problems, _ = read_frames(many)
    took = time.process_time() - began
    tracemalloc.start()
    read_frames(many[:100])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(frames) == 1000
    assert not problems
    assert took < 6
    assert peak < 100 * 6000


@pytest.mark.parametrize("seed", range(30))
def test_damaged_headers_never_end_in_a_traceback(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes of the header are changed, dropped or repeated at random."""
    random_ = random.Random(seed)
    scan = save(tmp_path / "d", [one for te in (5, 10) for one in series(2, EchoTime=te)])
    for path in sorted(scan.iterdir()):
        if random_.random() < 0.7:
            path.write_bytes(_damaged(path.read_bytes(), random_))
    assert convert(scan) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert set(left(scan)) <= {"bids"}


def _damaged(content: bytes, random_: random.Random) -> bytes:
    data = bytearray(content)
    end = len(data) - 2 * 24 * 32
    for _ in range(random_.choice((1, 3, 20))):
        at = random_.randrange(128, end)
        change = random_.randrange(4)
        if change == 0:
            data[at] = random_.randrange(256)
        elif change == 1:
            del data[at : at + random_.randrange(1, 9)]
        elif change == 2:
            data[at:at] = data[at : at + random_.randrange(1, 9)]
        else:
            data[at : at + 4] = random_.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"9e99")
            )
    return bytes(data)
