"""Files and folders that appear under their name only when they are complete, or not at all; checksums; a progress bar.

`replacing(path)` hands out a temporary neighbour of `path`; it takes the place of `path` when the block ends well, and
is removed when it does not. A full disk becomes an `InputError` that says so.
"""

import errno
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from galaxysd.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, dtype
    from torch.nn import Module

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


RECORD = "galaxysd.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")


def save_weights(
    folder: str | Path,
    kind: str,
    weights: Mapping[str, tuple[Mapping[str, "Tensor"], "dtype"]],
    record: Callable[[dict[str, str]], str],
    *,
    texts: Mapping[str, str] | None = None,
    extras: Callable[[Path], None] | None = None,
) -> Path:
    """Write a folder of weights: safetensors, texts, and `galaxysd.json` with the checksum of each.

    The folder appears under its name only when it is complete, and takes the place of an earlier one of its kind.

    Args:
        folder: must not exist, be empty, or hold the same files of weights.
        kind: what it is, for messages: `classifier`, `encoder`, ...
        weights: file name -> tensors by name, and the type they are stored in.
        record: text of `galaxysd.json`, from the checksums of all other files given here.
        texts: further files by name.
        extras: writes what else belongs into the folder, such as a frozen encoder; it is not in the checksums.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder = Path(folder)
    ours = all((folder / name).is_file() for name in weights)
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        article = "an" if kind[0] in "aeiou" else "a"
        raise InputError(f"{folder}: exists and is not {article} {kind} folder; choose another")
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, (tensors, stored) in weights.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            cast = {
                key: (value.to(stored) if value.is_floating_point() else value).detach().cpu().contiguous()
                for key, value in tensors.items()
            }
            save_file(cast, temporary / name, metadata={"format": "pt"})
        for name, text in (texts or {}).items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_text(text, encoding="utf-8")
        if extras is not None:
            extras(temporary)
        sums = {name: sha256_of(temporary / name) for name in (*weights, *(texts or {}))}
        (temporary / RECORD).write_text(record(sums), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{folder}: {kind} cannot be written ({error})") from None
    return folder


def load_weights(path: Path, network: "Module") -> None:
    """Put the weights of a safetensors file into a network, as float32.

    Raises:
        InputError: the file is damaged, belongs to another network, or holds values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
        floats = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
        network.load_state_dict(floats)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:300]})") from None
    own = network.state_dict()
    broken = [
        key
        for key, value in sorted(tensors.items())
        if own[key].is_floating_point() and not (value.is_floating_point() and bool(value.isfinite().all()))
    ]
    if broken:
        raise InputError(f"{path}: {broken[0]} holds values that are not finite; the weights are damaged")


def check_weights(folder: Path, kind: str, needed: Sequence[str], weights: str) -> None:
    """Make sure that a folder of weights has its files and no pickle.

    Args:
        folder: to look at.
        kind: of folder, for the message, with its article.
        needed: names of its files.
        weights: where its weights belong.

    Raises:
        InputError: a file is missing, or may hold a pickle.
    """
    pickled = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickled:
        raise InputError(f"{folder}: {pickled[0]} may hold a pickle, which is never read; weights belong in {weights}")
    for name in needed:
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not {kind} folder, {name} is missing")


def check_sums(folder: Path, sums: Mapping[str, str], names: Sequence[str]) -> None:
    """Compare files with the checksums in the record.

    Raises:
        InputError: a file was changed.
    """
    for name in names:
        if sums.get(name) != sha256_of(folder / name):
            raise InputError(f"{folder / name}: does not match the checksum in {RECORD}; the file was changed")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no text, no JSON, numbers too long, nested too deep
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values
