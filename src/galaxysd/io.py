"""Files and folders that appear under their name only when they are complete, or not at all; checksums; a progress bar.

`replacing(path)` hands out a temporary neighbour of `path`; it takes the place of `path` when the block ends well, and
is removed when it does not. A full disk becomes an `InputError` that says so.
"""

import errno
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from galaxysd.errors import InputError

B = TypeVar("B", bound=tuple[Sized, *tuple[Any, ...]])


@contextmanager
def replacing(path: str | Path, *, folder: bool = False) -> Iterator[Path]:
    """Temporary path beside `path` that replaces it at the end of the block.

    Args:
        path: final name; its parent folders are created.
        folder: hand out an empty folder instead of a file name; then `path` must not exist yet.

    Raises:
        InputError: the disk is full or the place cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _readable(path, error) from None
    partial = holder / path.name
    try:
        if folder:
            partial.mkdir()
        yield partial
        partial.replace(path)
    except OSError as error:
        raise _readable(path, error) from None
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` through a temporary name: the file is whole or not there."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, 64 hex digits.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _readable(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"{path}: the disk is full; free some space or choose another folder (nothing was written)")
    return InputError(f"{path}: cannot be written ({error.strerror or error})")


def progress(batches: Iterable[B], count: int, title: str) -> Iterator[B]:
    """Batches whose first part has a length, with a progress bar where someone watches.

    Args:
        batches: to pass on.
        count: length of all of them together.
        title: of the bar.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(title, total=count)
        for batch in batches:
            yield batch
            progress.advance(bar, len(batch[0]))
