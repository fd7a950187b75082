"""The galaxies that are searched, in chunks: a dataset folder, a folder or tar of images, or Parquet files.

In: one path, or a list of Parquet files in the Hugging Face image layout (`image` {bytes, path} or plain bytes, `id`
if there is one). Out: `Chunk`s, small descriptions of a few hundred to a few thousand images that any process can read
by itself, and their pixels, framed alike. Only one chunk is in memory. A broken image is listed, never raised.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from galaxysd.catalog.catalog import Catalog
from galaxysd.data.dataset import BATCH, INFO, Dataset
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel
from galaxysd.types import Pixels

CHUNK = 1024  # images, about; a Parquet chunk holds whole row groups


class Chunk(FrozenModel):
    """Some images of one file or folder."""

    index: int = Field(ge=0, description="place among the chunks of the survey")
    kind: Literal["parquet", "files"]
    path: str
    groups: tuple[int, ...] = Field(default=(), description="row groups of a Parquet file")
    first: int = Field(ge=0, description="first row of the Parquet file, or first of the sorted names")
    count: int = Field(ge=1, description="images")


@dataclass(frozen=True)
class Shown:
    """Images of a chunk that could be read, and those that could not.

    Attributes:
        ids: of the readable images [B].
        pixels: uint8 [B, S, S, 3].
        broken: id and reason of the others.
    """

    ids: list[str]
    pixels: Pixels
    broken: list[tuple[str, str]]


class Survey:
    """A survey that has been listed.

    Attributes:
        name: for messages and records.
        chunks: of its images.
        framing: crop and size of every image.
        hash: identity: files, sizes, framing and number.
        catalog: positions and labels, where the survey is a dataset folder.
        token: survey token of a dataset, else None.
    """

    def __init__(
        self,
        name: str,
        chunks: Sequence[Chunk],
        framing: Framing,
        parts: Iterable[object],
        catalog: Catalog | None = None,
    ) -> None:
        self.name, self.chunks, self.framing, self.catalog = name, list(chunks), framing, catalog
        self.token = None if catalog is None else catalog.survey
        if not self.chunks:
            raise InputError(f"survey {name}: holds no images")
        text = "\n".join(str(part) for part in (*parts, framing.content_hash(), len(self)))
        self.hash = hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def open(
        cls, source: str | Path | Sequence[str | Path], *, framing: Framing | None = None, limit: int | None = None
    ) -> "Survey":
        """List the images of a dataset folder, of a folder or tar of images, or of Parquet files.

        Args:
            source: one path or several Parquet files.
            framing: of images that are not a dataset's; by default the largest central square at 64 px.
            limit: only the first chunks that hold at least so many images.

        Raises:
            InputError: nothing there, not readable as a whole, or a framing for a dataset, which has its own.
        """
        paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
        if not paths:
            raise InputError("survey: no path is given")
        name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        if limit is not None and limit < 1:
            raise InputError(f"limit {limit}: expected at least 1 image")
        if len(paths) == 1 and (paths[0] / INFO).is_file():
            if framing is not None:
                raise InputError(f"survey {name}: a dataset has its own framing; leave it out")
            dataset = Dataset.open(paths[0])
            shards = [paths[0] / shard for shard in dataset.info.shards]
            sums = [dataset.info.files[path.name].sha256 for path in shards]
            square = Framing(size=dataset.info.size)
            return cls(name, _limited(_parquet_chunks(shards), limit), square, sums, dataset.catalog)
        framing = framing or Framing()
        if all(path.suffix == ".parquet" for path in paths):
            for path in paths:
                if not path.is_file():
                    raise InputError(f"survey {path}: no such Parquet file")
            sizes = [f"{path.name}:{path.stat().st_size}" for path in paths]
            return cls(name, _limited(_parquet_chunks(paths), limit), framing, sizes)
        if len(paths) > 1:
            odd = next(path for path in paths if path.suffix != ".parquet")
            raise InputError(f"survey {odd}: several paths must all be Parquet files of images")
        names = _files(str(paths[0])).names()
        chunks = [
            Chunk(index=index, kind="files", path=str(paths[0]), first=first, count=min(CHUNK, len(names) - first))
            for index, first in enumerate(range(0, len(names), CHUNK))
        ]
        return cls(name, _limited(chunks, limit), framing, names)

    def __len__(self) -> int:
        return sum(chunk.count for chunk in self.chunks)

    def ids(self) -> Iterator[tuple[Chunk, list[str]]]:
        """The ids of each chunk, without its pixels."""
        for chunk in self.chunks:
            yield chunk, chunk_ids(chunk)

    def positions(self) -> dict[str, tuple[float | None, float | None]]:
        """Right ascension and declination (deg) by id, where they are known."""
        if self.catalog is None:
            return {}
        frame = self.catalog.frame
        return {name: (ra, dec) for name, ra, dec in frame.select("id", "ra", "dec").iter_rows()}

    def pixels(self, wanted: Sequence[str]) -> dict[str, Pixels]:
        """Images by id, uint8 [S, S, 3]; chunks without any of them are not read, broken images are left out."""
        left = set(wanted)
        found: dict[str, Pixels] = {}
        for chunk, names in self.ids():
            if not left:
                break
            here = left.intersection(names)
            if here:
                for shown in read_chunk(chunk, self.framing, only=here):
                    found.update(zip(shown.ids, shown.pixels, strict=True))
                left -= here
        return found

    def sample(self, n: int, *, seed: int, without: frozenset[str] = frozenset()) -> tuple[list[str], Pixels]:
        """At most `n` random galaxies: all rows of random chunks where the survey is small, of some where it is large.

        Args:
            n: how many.
            seed: of the draw.
            without: ids that are not to be drawn.

        Returns:
            Ids and uint8 [N, S, S, 3].
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.chunks))[: max(1, -(-8 * n // CHUNK))]
        groups = [
            (name, chunk) for chunk in sorted(order) for name in chunk_ids(self.chunks[chunk]) if name not in without
        ]
        drawn = [groups[place][0] for place in sorted(rng.permutation(len(groups))[:n])]
        found = self.pixels(drawn)
        ids = [name for name in drawn if name in found]
        if not ids:
            raise InputError(f"survey {self.name}: none of {len(drawn)} images drawn from it can be read")
        return ids, np.stack([found[name] for name in ids])


def read_chunk(chunk: Chunk, framing: Framing, *, only: set[str] | None = None) -> Iterator[Shown]:
    """The images of a chunk, at most `BATCH` at a time.

    Args:
        chunk: which.
        framing: crop and size.
        only: ids to decode; None: all.

    Raises:
        InputError: the file itself, not an image in it, cannot be read.
    """
    for rows in _rows(chunk):
        ids, pixels, broken = [], [], []
        for name, data, problem in rows:
            if only is not None and name not in only:
                continue
            try:
                if data is None:
                    raise BadImage(problem)
                pixels.append(framing.apply(decode(data, name)))
                ids.append(name)
            except BadImage as error:
                broken.append((name, error.reason))
        images = np.stack(pixels) if pixels else np.empty((0, framing.size, framing.size, 3), np.uint8)
        yield Shown(ids, images, broken)


def chunk_ids(chunk: Chunk) -> list[str]:
    """Ids of all images of a chunk, broken ones included."""
    if chunk.kind == "files":
        return [_stem(name) for name in _chunk_names(chunk)]
    return [name for rows in _parquet_rows(chunk, pixels=False) for name, _, _ in rows]


def _rows(chunk: Chunk) -> Iterator[list[tuple[str, bytes | None, str]]]:
    """Id, bytes (None: cannot be had) and reason of the images of a chunk, in batches."""
    if chunk.kind == "parquet":
        yield from _parquet_rows(chunk, pixels=True)
        return
    files = _files(chunk.path)
    names = _chunk_names(chunk)
    for start in range(0, len(names), BATCH):
        rows: list[tuple[str, bytes | None, str]] = []
        for name in names[start : start + BATCH]:
            try:
                rows.append((_stem(name), files.read(name), ""))
            except BadImage as error:
                rows.append((_stem(name), None, error.reason))
        yield rows


@lru_cache(maxsize=4)
def _files(path: str) -> ImageSource:
    """A folder or archive, listed once per process."""
    return ImageSource(path)


def _chunk_names(chunk: Chunk) -> list[str]:
    return _files(chunk.path).names()[chunk.first : chunk.first + chunk.count]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _parquet_chunks(paths: Sequence[Path]) -> list[Chunk]:
    """Whole row groups, together about `CHUNK` images."""
    chunks: list[Chunk] = []
    for path in paths:
        metadata = _opened(path).metadata
        names = metadata.schema.to_arrow_schema().names
        if "image" not in names:
            raise InputError(f"survey {path}: has no column 'image' (it has {', '.join(names[:6])})")
        groups: list[int] = []
        first = count = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            count += metadata.row_group(group).num_rows
            if count >= CHUNK or (group == metadata.num_row_groups - 1 and count):
                chunks.append(
                    Chunk(
                        index=len(chunks),
                        kind="parquet",
                        path=str(path),
                        groups=tuple(groups),
                        first=first,
                        count=count,
                    )
                )
                first, groups, count = first + count, [], 0
    return chunks


def _opened(path: Path | str) -> Any:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"survey {path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None


def _parquet_rows(chunk: Chunk, *, pixels: bool) -> Iterator[list[tuple[str, bytes | None, str]]]:
    row = chunk.first
    with _opened(chunk.path) as file:
        named = "id" in file.schema_arrow.names
        columns = [*(["id"] if named else []), *(["image"] if pixels or not named else [])]
        try:
            for batch in file.iter_batches(batch_size=BATCH, row_groups=list(chunk.groups), columns=columns):
                rows: list[tuple[str, bytes | None, str]] = []
                for value in batch.to_pylist():
                    image = value.get("image")
                    data = image.get("bytes") if isinstance(image, dict) else image
                    path = image.get("path") if isinstance(image, dict) else None
                    name = value.get("id") if named else _stem(path) if path else None
                    own = str(name) if name is not None else f"{Path(chunk.path).stem}:{row}"
                    rows.append((own, data, "the row holds no image bytes"))
                    row += 1
                yield rows
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"survey {chunk.path}: cannot be read ({str(error).splitlines()[0]})") from None


def _limited(chunks: list[Chunk], limit: int | None) -> list[Chunk]:
    """The first chunks with at least `limit` images together."""
    if limit is None:
        return chunks
    ends = np.cumsum([chunk.count for chunk in chunks])
    return chunks[: int(np.searchsorted(ends, limit)) + 1]
