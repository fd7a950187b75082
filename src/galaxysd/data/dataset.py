"""The dataset folder: framed images in Parquet shards beside their catalogue, opened, checked and streamed.

    DATASET/dataset.json          what it is (`DatasetInfo`) and the SHA-256 of every other file
    DATASET/catalog.parquet       the `Catalog`, with splits, one row per image, in the same order
    DATASET/images-NNNNN.parquet  `id`, `image` {bytes, path}: the Hugging Face image layout, PNG
    DATASET/rejected.parquet      `id`, `file`, `reason` of what is not in it

`build.py` writes it. Everything here reads a few hundred images at a time, so memory does not grow with the dataset.
"""

import json
import os
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from galaxysd.catalog.catalog import SPLITS, Catalog
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.io import replacing, sha256_of
from galaxysd.settings import FrozenModel
from galaxysd.types import Pixels

FORMAT = 1
INFO, CATALOG, REJECTED = "dataset.json", "catalog.parquet", "rejected.parquet"
BATCH = 256  # images read at once


class FileInfo(FrozenModel):
    """Size and checksum of one file of the dataset."""

    bytes: int = Field(ge=0, description="size, bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content")


class DatasetInfo(FrozenModel):
    """Content of `dataset.json`."""

    format: int = Field(description="version of this layout")
    survey: str = Field(description="survey token, the first word of a prompt")
    tree_name: str = Field(description="name of the decision tree")
    tree_hash: str = Field(description="content hash of the decision tree")
    tree: DecisionTree = Field(description="the decision tree itself")
    framing: Framing = Field(description="crop and size")
    size: int = Field(description="side of the images, px")
    pixel_scale: float | None = Field(
        gt=0, description="arcsec per px of the framed images; null if unknown or varying"
    )
    galaxies: int = Field(ge=1, description="number of images")
    splits: dict[str, int] = Field(description="galaxies per split")
    answers: dict[str, int] = Field(description="galaxies with a fraction above 0.5, per answer")
    split_seed: int = Field(description="seed of the split hash")
    rejected_rows: int = Field(ge=0, description="catalogue rows left out, listed in rejected.parquet")
    images_without_row: int = Field(ge=0, description="image files without a catalogue row, listed in rejected.parquet")
    sources: dict[str, str] = Field(description="SHA-256 of the source files, by name")
    inputs: str = Field(description="SHA-256 of everything that determines this dataset")
    files: dict[str, FileInfo] = Field(description="every other file of the folder")

    @property
    def shards(self) -> list[str]:
        """Names of the image shards, in order."""
        return sorted(name for name in self.files if name.startswith("images-"))


class Dataset:
    """A dataset folder that has been opened and found whole.

    Attributes:
        folder: where it is.
        info: content of `dataset.json`.
    """

    def __init__(self, folder: Path, info: DatasetInfo) -> None:
        self.folder = folder
        self.info = info
        self._checked: set[str] = set()

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder that `build_dataset` wrote. Checksums of shards are compared when a shard is first read.

        Raises:
            InputError: not a dataset, or a file is missing or was changed.
        """
        folder = Path(folder)
        dataset = cls(folder, _read_info(folder / INFO))
        for name, expected in dataset.info.files.items():
            if not (folder / name).is_file():
                raise InputError(f"{folder / name}: missing; build the dataset again")
            if (folder / name).stat().st_size != expected.bytes:
                raise InputError(f"{folder / name}: was changed after the dataset was built; build it again")
        return dataset

    @property
    def tree(self) -> DecisionTree:
        """The decision tree."""
        return self.info.tree

    @property
    def survey(self) -> str:
        """The survey token."""
        return self.info.survey

    def __len__(self) -> int:
        return self.info.galaxies

    @cached_property
    def catalog(self) -> Catalog:
        """The votes, with splits, one row per image in the order of the shards.

        Raises:
            InputError: the file was changed.
        """
        catalog = Catalog.read(self._checked_file(CATALOG))
        if catalog.tree.content_hash() != self.info.tree_hash or len(catalog) != len(self):
            raise InputError(f"{self.folder / CATALOG}: does not belong to {INFO} beside it")
        return catalog

    @property
    def rejected(self) -> pl.DataFrame:
        """What was left out: columns `id` (null: image without a row), `file`, `reason`."""
        return pl.read_parquet(self._checked_file(REJECTED))

    def ids(self, split: str | None = None) -> list[str]:
        """Ids of a split, or of all galaxies, in catalogue order.

        Raises:
            InputError: no such split.
        """
        frame = self.catalog.frame
        if split is None:
            return frame["id"].to_list()
        if split not in SPLITS:
            raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        return frame.filter(pl.col("split") == split)["id"].to_list()

    def pixels(
        self, which: str | Sequence[str] | None = None, *, batch: int = BATCH
    ) -> Iterator[tuple[list[str], Pixels]]:
        """Stream images in catalogue order.

        Args:
            which: a split, ids, or None for all.
            batch: images at a time.

        Yields:
            ids and uint8 `[B, size, size, 3]`, B = `batch` except for the last.

        Raises:
            InputError: an unknown split or id, or a changed shard.
        """
        wanted = self._wanted(which)
        ids: list[str] = []
        images: list[Pixels] = []
        for name, image in self._stream(wanted):
            ids.append(name)
            images.append(image)
            if len(ids) == batch:
                yield ids, np.stack(images)
                ids, images = [], []
        if ids:
            yield ids, np.stack(images)

    def write_pixels(self, path: str | Path, which: str | Sequence[str] | None = None) -> "PixelFile":
        """Stream images into one flat file for random access.

        Args:
            path: file to write; appears when complete.
            which: a split, ids (the file then follows their order), or None for all.

        Returns:
            The file, uint8 `[N, 3, size, size]`, opened.

        Raises:
            InputError: as `pixels`, or the disk is full.
        """
        order = self.ids(which) if which is None or isinstance(which, str) else list(which)
        place = {name: index for index, name in enumerate(order)}
        if len(place) != len(order):
            raise InputError(f"{path}: an id is asked for twice; store each galaxy once and read it as often as needed")
        size = self.info.size
        with replacing(path) as partial, partial.open("wb") as file:
            os.truncate(file.fileno(), len(order) * 3 * size * size)
            for ids, images in self.pixels(order):
                planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
                for name, image in zip(ids, planes, strict=True):
                    file.seek(place[name] * image.nbytes)
                    file.write(image.data)
        return PixelFile(path, count=len(order), size=size)

    def _wanted(self, which: str | Sequence[str] | None) -> set[str] | None:
        if which is None:
            return None
        if isinstance(which, str):
            return set(self.ids(which))
        wanted = set(which)
        unknown = wanted - set(self.ids())
        if unknown:
            raise InputError(f"{self.folder}: no galaxy with id {min(unknown)!r} ({len(unknown)} ids are unknown)")
        return wanted

    def _stream(self, wanted: set[str] | None) -> Iterator[tuple[str, Pixels]]:
        left = len(self) if wanted is None else len(wanted)
        for shard in self.info.shards:
            if not left:
                return
            with pq.ParquetFile(self._checked_file(shard)) as file:
                for rows in file.iter_batches(batch_size=BATCH):
                    for name, image in self._decoded(shard, rows, wanted):
                        left -= 1
                        yield name, image

    def _decoded(self, shard: str, rows: pa.RecordBatch, wanted: set[str] | None) -> Iterator[tuple[str, Pixels]]:
        files = rows.column("image").field("bytes")
        for index, name in enumerate(rows.column("id").to_pylist()):
            if wanted is None or name in wanted:
                try:
                    image = decode(files[index].as_py(), name)
                except BadImage as error:
                    raise InputError(f"{self.folder / shard}: image {error}") from None
                yield name, image

    def _checked_file(self, name: str) -> Path:
        """Path of a file of the dataset after its checksum has been compared once."""
        path = self.folder / name
        if name not in self._checked:
            if sha256_of(path) != self.info.files[name].sha256:
                raise InputError(f"{path}: was changed after the dataset was built; build it again")
            self._checked.add(name)
        return path


class PixelFile:
    """Random access to N images in one flat file; reads with `pread`, so nothing is held in memory, and is thread-safe.

    Args:
        path: file of uint8 `[count, 3, size, size]`.
        count: number of images.
        size: side, px.

    Attributes:
        close: closes the file; also happens when the object goes away.

    Raises:
        InputError: the file is missing or has another length.
    """

    def __init__(self, path: str | Path, count: int, size: int) -> None:
        self.path, self.count, self.size = Path(path), count, size
        self._image_bytes = 3 * size * size
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        self.close = weakref.finalize(self, os.close, self._file)
        found, expected = os.fstat(self._file).st_size, count * self._image_bytes
        if found != expected:
            self.close()
            raise InputError(f"{path}: {found} bytes; expected {expected} for {count} images of {size} x {size} px")

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Pixels:
        """Images by row number: uint8 `[B, 3, size, size]`.

        Raises:
            IndexError: a row number is outside [0, count).
        """
        images = np.empty((len(indices), 3, self.size, self.size), dtype=np.uint8)
        for image, index in zip(images, indices, strict=True):
            if not 0 <= index < self.count:
                raise IndexError(f"image {index} of {self.count}")
            if os.preadv(self._file, [image.data], int(index) * self._image_bytes) != self._image_bytes:
                raise InputError(f"{self.path}: ends inside image {index}; it was changed while in use")
        return images


def write_info(path: Path, info: DatasetInfo) -> None:
    """Write `dataset.json` with a checksum of itself."""
    text = json.dumps({**info.model_dump(mode="json"), "hash": info.content_hash()}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _read_info(path: Path) -> DatasetInfo:
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such dataset folder; `galaxysd catalog build` makes one")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; this folder is not a dataset") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{path}: is not a dataset description of format {FORMAT}; build the dataset again")
    written = values.pop("hash", None)
    info = DatasetInfo.parse(values, str(path))
    if info.content_hash() != written or info.tree.content_hash() != info.tree_hash:
        raise InputError(f"{path}: was changed after the dataset was built; build it again")
    if any(Path(name).name != name for name in info.files):
        raise InputError(f"{path}: names a file outside the dataset folder")
    return info
