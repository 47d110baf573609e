"""Hostile archives leave nothing outside, and nothing inside either."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tao_like.errors import DatasetError
from tao_like.service.files.archives import _bytes_of_list, only_folder, unpack


def tar(path: Path, *members: tuple[str, bytes | bytes | str, bytes]) -> Path:
    """A tar file of members: name, tarfile's type (or a link's target), content."""
    with tarfile.open(path, "w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind if isinstance(kind, bytes) else tarfile.SYMTYPE
            info.linkname = "" if isinstance(kind, bytes) else kind
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str, int, bytes]) -> Path:
    """A zip file of members: name, mode of Unix, content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


FILE = tarfile.REGTYPE
HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "tar upwards": (lambda p: tar(p, ("../../x", FILE, b"1")), "leads upwards"),
    "tar upwards within": (lambda p: tar(p, ("a/../../x", FILE, b"1")), "leads upwards"),
    "tar absolute": (lambda p: tar(p, ("/tmp/tao_like_x", FILE, b"1")), "absolute"),
    "tar symbolic link": (lambda p: tar(p, ("a", "/etc", b""), ("a/x", FILE, b"1")), "link or a device"),
    "tar hard link": (lambda p: tar(p, ("a", tarfile.LNKTYPE, b"")), "link or a device"),
    "tar device": (lambda p: tar(p, ("a", tarfile.CHRTYPE, b"")), "link or a device"),
    "tar pipe": (lambda p: tar(p, ("a", tarfile.FIFOTYPE, b"")), "link or a device"),
    "tar twice": (lambda p: tar(p, ("a", FILE, b"1"), ("a", FILE, b"2")), "twice"),
    "tar file as folder": (lambda p: tar(p, ("a", FILE, b"1"), ("a/b", FILE, b"2")), "twice"),
    "tar large": (lambda p: tar(p, ("a", FILE, b"0" * 2000)), "more than 1000 bytes"),
    "tar many": (lambda p: tar(p, *((str(n), FILE, b"") for n in range(11))), "more than 10 members"),
    "zip upwards": (lambda p: zipped(p, ("../x", 0o644, b"1")), "leads upwards"),
    "zip absolute": (lambda p: zipped(p, ("/tmp/tao_like_x", 0o644, b"1")), "absolute"),
    "zip drive": (lambda p: zipped(p, ("C:/x", 0o644, b"1")), "absolute"),
    "zip backslash": (lambda p: zipped(p, ("..\\x", 0o644, b"1")), "no file can have"),
    "zip link": (lambda p: zipped(p, ("a", stat.S_IFLNK | 0o777, b"/etc")), "link or a device"),
    "zip device": (lambda p: zipped(p, ("a", stat.S_IFBLK | 0o600, b"")), "link or a device"),
    "zip bomb": (lambda p: zipped(p, ("a", 0o644, b"0" * 1_000_000)), "more than 1000 bytes"),
    "zip many": (lambda p: zipped(p, *((str(n), 0o644, b"") for n in range(11))), "more than 10 members"),
    "zip long list": (
        lambda p: zipped(p, *((str(n), 0o644, b"") for n in range(2000))),
        "list of members is longer than 10",
    ),
    "zip deep": (lambda p: zipped(p, ("/".join("a" * 60), 0o644, b"")), "too long"),
    "zip control": (lambda p: zipped(p, ("a\x1bb", 0o644, b"")), "no file can have"),
    "tar long header": (lambda p: tar(p, ("a", tarfile.XHDTYPE, b"0" * 2_000_000)), "header of 2000000"),
    "tar long name": (
        lambda p: tar(p, ("b", FILE, b"1"), ("a", tarfile.GNUTYPE_LONGNAME, b"0" * 2_000_000)),
        "header of 2000000",
    ),
    "no archive": (lambda p: Path(p.write_bytes(b"GIF89a") and p), "neither a zip nor a tar"),
    "half a zip": (lambda p: _cut(zipped(p, ("a", 0o644, bytes(range(256)) * 3))), "neither|damaged"),
}


def _cut(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[40:60] = b"\xff" * 20  # in the midst of what is compressed
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_leave_nothing(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    room = tmp_path / "room"
    room.mkdir()
    archive = make(tmp_path / "archive")
    with pytest.raises(DatasetError, match=message):
        unpack(archive, room / "data", max_members=10, max_bytes=1000)
    assert list(room.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"room", "archive"}
    assert not Path("/tmp/tao_like_x").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_ordinary_archives_are_unpacked(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    if mode == "zip":
        zipped(
            path, ("photos/", stat.S_IFDIR | 0o755, b""), ("photos/cats/1.png", stat.S_IFREG | 0o644, b"12")
        )
    else:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            info = tarfile.TarInfo("photos/cats/1.png")
            info.size, info.mode = 2, 0o4777
            archive.addfile(info, io.BytesIO(b"12"))
    assert unpack(path, tmp_path / "data", max_members=10, max_bytes=10) == 1
    file = tmp_path / "data" / "photos" / "cats" / "1.png"
    assert file.read_bytes() == b"12"
    assert file.stat().st_mode & 0o7111 == 0  # no file can be run, whatever the archive says
    assert only_folder(tmp_path / "data") == tmp_path / "data" / "photos"


def test_a_folder_that_is_a_split_is_not_gone_into(tmp_path: Path) -> None:
    (tmp_path / "train" / "cats").mkdir(parents=True)
    assert only_folder(tmp_path) == tmp_path


def test_the_list_of_a_large_zip_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # From so many members on zipfile writes the record for large files too.
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 20)
    path = zipped(tmp_path / "many.zip", *((str(n), 0o644, b"") for n in range(30)))
    data = bytearray(path.read_bytes())
    size = sum(46 + len(one.filename) for one in zipfile.ZipFile(path).infolist())
    assert _bytes_of_list(path) == size
    assert b"PK\6\6" in data
    data[-10:-6] = b"\xff" * 4  # as it is where the length does not fit into the ordinary one
    path.write_bytes(data)
    assert _bytes_of_list(path) == size
