"""Image sources and downloads: what can be read, what is refused, and what a broken archive says."""

import gzip
import io
import tarfile
import threading
from pathlib import Path

import pytest

from galaxysd.data.decode import BadImage
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.io import sha256_of

FILES = {"a.jpg": b"first", "sub/b.png": b"second" * 300, "c.fits": b""}


def write_tar(path: Path, mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in extra:
            archive.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
    return path


@pytest.fixture(params=["folder", "tar", "tar.gz"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        for name, data in FILES.items():
            file = tmp_path / "images" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        (tmp_path / "images" / ".hidden").write_bytes(b"x")
        return tmp_path / "images"
    return write_tar(tmp_path / f"images.{request.param}", "w:gz" if request.param == "tar.gz" else "w")


def test_names_and_bytes(place: Path) -> None:
    with ImageSource(place) as source:
        assert source.names() == sorted(FILES)
        assert {name: source.read(name) for name in FILES} == FILES
        with pytest.raises(BadImage, match=r"no image of this name"):
            source.read("../../etc/passwd")


def test_many_threads_read_the_same_archive(place: Path) -> None:
    with ImageSource(place) as source:
        results: list[bool] = []

        def work() -> None:
            for _ in range(50):
                results.append(all(source.read(name) == data for name, data in FILES.items()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 200
        assert all(results)


def test_byte_limit(place: Path) -> None:
    with ImageSource(place, max_bytes=1000) as source:
        assert source.read("a.jpg") == b"first"
        with pytest.raises(BadImage, match="larger than"):
            source.read("sub/b.png")


def test_checksum_follows_content(place: Path) -> None:
    with ImageSource(place) as source:
        before = source.checksum()
        assert source.checksum() == before
    if place.is_dir():
        (place / "a.jpg").write_bytes(b"other")
        assert ImageSource(place).checksum() != before
    else:
        assert before == sha256_of(place)


def dangerous() -> tuple[tarfile.TarInfo, ...]:
    link, device, absolute, above, twice = (
        tarfile.TarInfo(name) for name in ("link.jpg", "device.jpg", "/etc/absolute.jpg", "x/../../above.jpg", "a.jpg")
    )
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    return link, device, absolute, above, twice


def test_dangerous_members_are_refused_with_a_reason(tmp_path: Path) -> None:
    with ImageSource(write_tar(tmp_path / "bad.tar", extra=dangerous())) as source:
        assert source.names() == ["c.fits", "sub/b.png"]
        reasons = {"link.jpg": "link", "device.jpg": "device", "/etc/absolute.jpg": "out of the archive"}
        reasons |= {"x/../../above.jpg": "out of the archive", "a.jpg": "several files"}
        assert source.refused.keys() == reasons.keys()
        for name, reason in reasons.items():
            with pytest.raises(BadImage, match=reason):
                source.read(name)


def test_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: no such folder or tar archive"):
        ImageSource(tmp_path / "missing")
    (tmp_path / "text.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(InputError, match=r"text\.tar: not a whole tar"):
        ImageSource(tmp_path / "text.tar")
    packed = write_tar(tmp_path / "whole.tar.gz", "w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"cut\.tar\.gz: not a whole tar"):
        ImageSource(tmp_path / "cut.tar.gz")


def test_archive_that_ends_inside_a_member(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar")
    with ImageSource(whole) as source:
        place = whole.read_bytes().index(b"second")
        assert source.read("sub/b.png") == FILES["sub/b.png"]
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[: place + 100])
    with (
        pytest.raises((InputError, BadImage), match=r"not a whole tar|ends inside"),
        ImageSource(tmp_path / "cut.tar") as source,
    ):
        source.read("sub/b.png")


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galaxysd.data.sources._BOMB_FLOOR", 1000)
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(bytes(20_000_000))
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        ImageSource(tmp_path / "bomb.tar.gz")
