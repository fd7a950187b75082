"""Features of many images as a table.

In: a dataset folder, or a folder (or tar) of image files, and an encoder. Out:

    OUT/features.parquet   `id`, `split` (null for plain images), `features` (float32 list of fixed length D); the
                           file's metadata `galaxysd` says which encoder and images, by hash
    OUT/rejected.parquet   `id`, `file`, `reason` of images that cannot be used, if there are any

Images are read and written in batches, so memory does not grow with the survey. The same command again reads the table;
a table of other images or of another encoder is never mistaken for it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from galaxysd.data.dataset import BATCH, INFO, REJECTED, Dataset
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.errors import InputError
from galaxysd.io import progress, replacing
from galaxysd.settings import FrozenModel
from galaxysd.types import Features, Pixels

TABLE = "features.parquet"
METADATA = b"galaxysd"

Batches = Iterator[tuple[list[str], list[str | None], Pixels]]  # ids, splits, uint8 [B, S, S, 3]


class EmbedReport(FrozenModel):
    """What `embed` did."""

    file: str = Field(description="the table")
    galaxies: int = Field(description="rows of the table")
    dimension: int = Field(description="D, length of a feature vector")
    encoder: str = Field(description="name of the encoder")
    encoder_hash: str = Field(description="identity of its weights and preprocessing")
    images_hash: str = Field(description="identity of the images, their framing and number")
    rejected: int = Field(description="images left out, listed in rejected.parquet")
    seconds: float = Field(description="time it took when it was computed, s")
    already_done: bool = Field(default=False, description="the table was there already")


class TableInfo(FrozenModel):
    """What the metadata of a table says."""

    encoder: str
    encoder_hash: str
    images_hash: str
    rejected: int
    seconds: float


@dataclass(frozen=True)
class FeatureTable:
    """A table of features in memory.

    Attributes:
        ids: [N].
        splits: [N], None for plain images.
        features: float32 [N, D].
        info: which encoder, which images.
    """

    ids: list[str]
    splits: list[str | None]
    features: Features
    info: TableInfo

    @classmethod
    def read(cls, out: str | Path) -> "FeatureTable":
        """Read what `embed` wrote to the folder `out`.

        Raises:
            InputError: no such table, or it is damaged.
        """
        path = Path(out) / TABLE
        info = _info(path)
        table = _parquet(path, pq.read_table)
        column = table.column("features").combine_chunks()
        features = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        return cls(table.column("id").to_pylist(), table.column("split").to_pylist(), features, info)


def embed(
    images_or_dataset: str | Path,
    encoder: Encoder,
    out: str | Path,
    *,
    limit: int | None = None,
    framing: Framing | None = None,
    max_rejected: float = 0.05,
) -> EmbedReport:
    """Write the features of all images of a dataset or folder.

    Args:
        images_or_dataset: dataset folder, or folder or tar of JPEG, PNG and FITS images.
        encoder: what to compute (`load_encoder`).
        out: folder for the table.
        limit: the first so many only.
        framing: crop and size of plain images, by default the largest central square at 64 px; a dataset has its own.
        max_rejected: largest share of plain images that may be unusable.

    Raises:
        InputError: no images, too many unusable ones, `out` holds something else, or the disk is full.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: expected at least 1 image")
    source, out = Path(images_or_dataset), Path(out)
    images: DatasetImages | PlainImages
    if (source / INFO).is_file():
        if framing is not None:
            raise InputError(f"{source}: a dataset has its own framing; leave it out")
        images = DatasetImages(source, limit)
    else:
        images = PlainImages(source, framing or Framing(), limit)
    path = out / TABLE
    if path.is_file():
        info = _info(path)
        if info.encoder_hash != encoder.hash:
            raise InputError(f"{path}: holds features of another encoder ({info.encoder}); choose another folder")
        if info.images_hash != images.hash:
            raise InputError(f"{path}: holds features of other images; choose another folder")
        return _report(path, encoder.dimension, info, already_done=True)
    if out.exists() and (not out.is_dir() or any(not _ours(path) for path in out.iterdir())):
        raise InputError(f"{out}: exists and holds no table of features; choose another folder")
    schema = pa.schema(
        [("id", pa.string()), ("split", pa.string()), ("features", pa.list_(pa.float32(), encoder.dimension))]
    )
    began = time.monotonic()
    with replacing(path) as partial:
        with pq.ParquetWriter(partial, schema) as writer:
            for ids, splits, pixels in progress(images.batches(), images.count, "features"):
                found = encoder.features(pixels)
                if not np.isfinite(found).all():
                    worst = ids[int((~np.isfinite(found)).any(axis=1).argmax())]
                    raise InputError(f"encoder {encoder.name}: gives features that are not finite, first for {worst}")
                values = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), encoder.dimension)
                writer.write_table(pa.table([ids, splits, values], schema=schema))
            rejected = images.rejected
            if len(rejected) == images.count or len(rejected) > max_rejected * images.count:
                name, _, reason = rejected[0]
                raise InputError(
                    f"{source}: {len(rejected)} of {images.count} images cannot be used, more than the share of "
                    f"{max_rejected:g} allowed (max_rejected); the first is {name}: {reason}"
                )
            info = TableInfo(
                encoder=encoder.name,
                encoder_hash=encoder.hash,
                images_hash=images.hash,
                rejected=len(rejected),
                seconds=round(time.monotonic() - began, 2),
            )
            writer.add_key_value_metadata({METADATA: info.model_dump_json().encode()})
        if rejected:
            columns = {"id": pl.String, "file": pl.String, "reason": pl.String}
            with replacing(out / REJECTED) as list_of_rejected:
                pl.DataFrame(rejected, schema=columns, orient="row").write_parquet(list_of_rejected)
    return _report(path, encoder.dimension, info, already_done=False)


class DatasetImages:
    """Images of a dataset folder, in catalogue order."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._dataset = Dataset.open(folder)
        frame = self._dataset.catalog.frame.select("id", "split")
        self._splits = dict((frame if limit is None else frame.head(limit)).iter_rows())
        self.count = len(self._splits)
        self.rejected: list[tuple[str, str, str]] = []
        # The shards rather than the inputs: two datasets with equal pixels have equal features.
        shards = [self._dataset.info.files[name].sha256 for name in self._dataset.info.shards]
        self.hash = _hash("dataset", *shards, self.count)

    def batches(self) -> Batches:
        """Ids, splits and pixels, a batch at a time."""
        for ids, pixels in self._dataset.pixels(list(self._splits), batch=BATCH):
            yield ids, [self._splits[name] for name in ids], pixels


class PlainImages:
    """Image files of a folder or archive, in order of their names; an image's id is its path without the suffix."""

    def __init__(self, source: Path, framing: Framing, limit: int | None) -> None:
        self._source, self._framing = ImageSource(source), framing
        self._files: dict[str, str] = {}
        for file in self._source.names()[:limit]:
            if (name := file.rpartition(".")[0] or file) in self._files:
                raise InputError(
                    f"{source}: {file} and {self._files[name]} would have the same id {name!r}; rename one"
                )
            self._files[name] = file
        self.count = len(self._files)
        if not self.count:
            raise InputError(f"{source}: holds neither a dataset nor images")
        self.rejected: list[tuple[str, str, str]] = []
        self.hash = _hash("images", self._source.checksum(), framing.content_hash(), self.count)

    def batches(self) -> Batches:
        """Ids, no splits, and pixels, a batch at a time; images that cannot be used go to `rejected`."""
        ids: list[str] = []
        pixels: list[Pixels] = []
        for name, file in self._files.items():
            try:
                pixels.append(self._framing.apply(decode(self._source.read(file), file)))
            except BadImage as error:
                self.rejected.append((name, file, error.reason))
                continue
            ids.append(name)
            if len(ids) == BATCH:
                yield ids, [None] * len(ids), np.stack(pixels)
                ids, pixels = [], []
        if ids:
            yield ids, [None] * len(ids), np.stack(pixels)


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:16]


def _report(path: Path, dimension: int, info: TableInfo, *, already_done: bool) -> EmbedReport:
    rows = _parquet(path, pq.read_metadata).num_rows
    values = {**info.model_dump(), "file": str(path), "galaxies": rows, "dimension": dimension}
    return EmbedReport(**values, already_done=already_done)


def _info(path: Path) -> TableInfo:
    metadata = (_parquet(path, pq.read_metadata).metadata or {}).get(METADATA)
    if metadata is None:
        raise InputError(f"{path}: is not a table of features written by `galaxysd embed`")
    return TableInfo.parse(json.loads(metadata), str(path))


def _ours(path: Path) -> bool:
    """Whether a file beside a missing table may be what an interrupted `embed` left behind."""
    return path.name == REJECTED or path.name.startswith(".")


def _parquet(path: Path, read: Callable[[Path], Any]) -> Any:
    """What `read` finds in a Parquet file."""
    try:
        return read(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
