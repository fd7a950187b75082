"""Where image files come from: a folder or a tar archive, read by name and one at a time.

In goes a path, out come the bytes of single files. An archive is never unpacked, and
members that a hostile archive could use (links, devices, names that leave the folder) are refused with a reason.
"""

import contextlib
import gzip
import hashlib
import os
import tarfile
import tempfile
import weakref
import zlib
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Self

from galaxysd.data.decode import BadImage
from galaxysd.errors import InputError
from galaxysd.io import sha256_of

MAX_BYTES = 64 * 2**20  # of one image file

_CHUNK = 2**20
_BOMB_RATIO = 100  # image archives shrink by a factor of a few; more is an archive made to fill the disk
_BOMB_FLOOR = 64 * 2**20  # bytes that any archive may unpack to


class ImageSource:
    """The image files of a folder (with its subfolders; hidden files are left out) or of a `.tar` / `.tar.gz` archive.

    Names are paths inside the folder or archive with forward slashes. Reading is thread-safe.

    Args:
        path: folder or archive.
        max_bytes: larger files are refused.

    Attributes:
        refused: names that will not be read, with the reason.

    Raises:
        InputError: nothing there, or not a folder or tar archive.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = Path(path)
        self.refused: dict[str, str] = {}
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None  # the uncompressed archive
        self._places: dict[str, tuple[int, int]] = {}  # archive: name -> offset, size
        self._files: dict[str, Path] = {}  # folder: name -> file
        if self.path.is_dir():
            self._list_folder()
        elif self.path.is_file():
            self._list_archive()
        else:
            raise InputError(f"{self.path}: no such folder or tar archive of images")
        for name in self.refused:
            self._places.pop(name, None)

    def names(self) -> list[str]:
        """All readable names, sorted."""
        return sorted(self._places or self._files)

    def read(self, name: str) -> bytes:
        """Bytes of one file.

        Raises:
            BadImage: no such file, refused, larger than the limit, or unreadable.
        """
        if name in self.refused:
            raise BadImage(self.refused[name], name)
        if name in self._files:
            return self._read_file(name)
        if name not in self._places:
            raise BadImage(f"no image of this name in {self.path.name}", name)
        assert self._file is not None
        offset, size = self._places[name]
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) < size:
            raise BadImage("the archive ends inside this file", name)
        return data

    def checksum(self) -> str:
        """SHA-256: of the archive file, or of the names and contents of a folder."""
        if not self._files:
            return sha256_of(self.path)
        total = hashlib.sha256()
        for name in self.names():
            total.update(f"{name}\0{sha256_of(self._files[name])}\n".encode())
        return total.hexdigest()

    def close(self) -> None:
        """Close the archive."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_file(self, name: str) -> bytes:
        try:
            with self._files[name].open("rb") as file:
                data = file.read(self._max_bytes + 1)
        except OSError as error:
            raise BadImage(f"cannot be read ({error.strerror})", name) from None
        if len(data) > self._max_bytes:
            raise BadImage(_too_many_bytes(self._max_bytes), name)
        return data

    def _list_folder(self) -> None:
        for folder, subfolders, files in os.walk(self.path):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for file in files:
                if not file.startswith("."):
                    full = Path(folder, file)
                    self._files[full.relative_to(self.path).as_posix()] = full

    def _list_archive(self) -> None:
        try:
            self._file = _uncompressed(self.path)
            weakref.finalize(self, self._file.close)
            total = os.fstat(self._file.fileno()).st_size
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for member in archive:
                    self._list_member(member, total)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            self.close()
            raise InputError(f"{self.path}: not a whole tar or tar.gz archive ({error})") from None
        except InputError:
            self.close()
            raise

    def _list_member(self, member: tarfile.TarInfo, total: int) -> None:
        name = PurePosixPath(member.name).as_posix()  # "./a.jpg" and "a.jpg" are the same file
        if member.isdir():
            return
        if not member.isreg() or member.issparse():
            self.refused[name] = "not a plain file but a link, device or sparse file"
        elif member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
            self.refused[name] = "the name leads out of the archive"
        elif member.size > self._max_bytes:
            self.refused[name] = _too_many_bytes(self._max_bytes)
        elif member.offset_data + member.size > total:
            self.refused[name] = "the archive ends inside this file"
        elif name in self._places:
            self.refused[name] = "the archive holds several files of this name"
        elif not PurePosixPath(name).name.startswith("."):
            self._places[name] = (member.offset_data, member.size)


def _uncompressed(path: Path) -> IO[bytes]:
    """The archive as a seekable file; a gzip one is unpacked into a nameless temporary file, since gzip cannot seek."""
    file = path.open("rb")
    if file.read(2) != b"\x1f\x8b":
        file.seek(0)
        return file
    limit = max(_BOMB_FLOOR, _BOMB_RATIO * path.stat().st_size)
    with file, gzip.open(path) as packed, contextlib.ExitStack() as on_failure:
        unpacked = on_failure.enter_context(tempfile.TemporaryFile())
        written = 0
        while chunk := packed.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise InputError(
                    f"{path}: unpacks to more than {_BOMB_RATIO} times its size; that is not an image archive"
                )
            unpacked.write(chunk)
        unpacked.seek(0)
        on_failure.pop_all()
    return unpacked


def _too_many_bytes(limit: int) -> str:
    return f"larger than {limit / 2**20:g} MiB"
