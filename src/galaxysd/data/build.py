"""Catalogue and image files in, a dataset folder (dataset.py) out.

One pass: every row's image is decoded, framed and written as PNG; what cannot be used is skipped, counted and listed.
The folder appears under its name only when it is complete. The same inputs again are a no-op.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track

from galaxysd.catalog.catalog import SPLITS, Catalog
from galaxysd.catalog.splits import assign_splits
from galaxysd.data.dataset import CATALOG, FORMAT, INFO, REJECTED, Dataset, DatasetInfo, FileInfo, write_info
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.duplicates import Thumbnails, dataset_thumbnails, match, thumbnails
from galaxysd.data.export import ParquetImages
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.io import replacing, sha256_of
from galaxysd.types import Pixels

GROUP_ROWS = 250  # of one Parquet row group: what a reader holds in memory
SHARD_ROWS = 8 * GROUP_ROWS


@dataclass(frozen=True)
class BuildReport:
    """What `build_dataset` did.

    Attributes:
        dataset: the dataset, opened.
        built: False if it was already there with the same inputs.
    """

    dataset: Dataset
    built: bool

    @property
    def info(self) -> DatasetInfo:
        """Counts and settings."""
        return self.dataset.info

    @property
    def rejected(self) -> pl.DataFrame:
        """What was left out: `id`, `file`, `reason`."""
        return self.dataset.rejected


@dataclass
class _Pass:
    """State of the one pass over the rows."""

    kept: list[bool]
    rejected: list[tuple[str | None, str | None, str]]
    thumbnails: list[Thumbnails]
    sides: set[int]  # of the crops, source px


def build_dataset(
    catalog: Catalog,
    images: ImageSource,
    *,
    out: str | Path,
    framing: Framing,
    survey: str,
    pixel_scale: float | None = None,
    seed: int = 0,
    like: Sequence[Dataset] = (),
    max_rejected: float = 0.05,
    limit: int | None = None,
    source_files: Sequence[str | Path] = (),
) -> BuildReport:
    """Write a dataset folder.

    Args:
        catalog: galaxies and votes; `file` names their images.
        images: where the image files are.
        out: folder to write; may exist only if it is empty or holds this very dataset.
        framing: crop and size.
        survey: survey token; must be the catalogue's.
        pixel_scale: arcsec per px of the source images, if known and the same for all.
        seed: of the split.
        like: datasets whose splits are handed down to the same galaxies (same id, position or pixels).
        max_rejected: largest share of rows that may be left out.
        limit: use only the first so many rows.
        source_files: files the catalogue was read from; their checksums are recorded.

    Returns:
        The dataset and whether it was built now.

    Raises:
        InputError: the catalogue is of another survey, nothing or too little can be used, the folder exists with other
            content, or the disk is full.
    """
    out = Path(out)
    if catalog.survey != survey:
        raise InputError(f"{out}: the catalogue is of survey {catalog.survey!r}, the dataset was to be of {survey!r}")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: expected at least 1 galaxy")
    if "split" in catalog.frame.columns:  # given anew below, so it must not count as an input
        catalog = catalog.with_frame(catalog.frame.drop("split"))
    sources = {Path(path).name: sha256_of(path) for path in source_files} | {images.path.name: images.checksum()}
    inputs = _hash_inputs(catalog, sources, framing=framing, pixel_scale=pixel_scale, seed=seed, like=like, limit=limit)
    existing = _existing(out, inputs)
    if existing is not None:
        return BuildReport(existing, built=False)
    named = set(catalog.frame["file"])
    orphans = [(None, name, "image without a row in the catalogue") for name in images.names() if name not in named]
    chosen = catalog.frame.head(limit) if limit is not None else catalog.frame
    with replacing(out, folder=True) as folder:
        work = _write_shards(chosen, images, folder, framing, want_thumbnails=bool(like))
        _check_share(out, work, max_rejected)
        # splits are given to the whole catalogue, so that they do not depend on which images were readable
        kept_ids = chosen.filter(pl.Series(work.kept))["id"]
        split = assign_splits(catalog, seed, [other.catalog for other in like], _aliases(kept_ids, work, like))
        kept = split.filter(split.frame["id"].is_in(kept_ids.implode()))
        kept.write(folder / CATALOG)
        rejected = work.rejected + orphans
        pl.DataFrame(
            rejected, schema={"id": pl.String, "file": pl.String, "reason": pl.String}, orient="row"
        ).write_parquet(folder / REJECTED)
        info = DatasetInfo(
            format=FORMAT,
            survey=survey,
            tree_name=catalog.tree.name,
            tree_hash=catalog.tree.content_hash(),
            tree=catalog.tree,
            framing=framing,
            size=framing.size,
            pixel_scale=_framed_scale(pixel_scale, work.sides, framing),
            galaxies=len(kept),
            splits={name: int((kept.frame["split"] == name).sum()) for name in SPLITS},
            answers={name: int((kept.frame[name] > 0.5).sum()) for name in catalog.tree.columns},
            split_seed=seed,
            rejected_rows=len(work.rejected),
            images_without_row=len(orphans),
            sources=sources,
            inputs=inputs,
            files={
                path.name: FileInfo(bytes=path.stat().st_size, sha256=sha256_of(path))
                for path in sorted(folder.iterdir())
            },
        )
        write_info(folder / INFO, info)
    return BuildReport(Dataset.open(out), built=True)


def _write_shards(
    rows: pl.DataFrame, images: ImageSource, folder: Path, framing: Framing, *, want_thumbnails: bool
) -> _Pass:
    """Decode, frame and write every usable image."""
    work = _Pass([], [], [], set())
    users: dict[str, str] = {}
    ids: list[str] = []
    group: list[Pixels] = []
    shard: ParquetImages | None = None
    written = 0
    try:
        for galaxy, file in track(
            rows.select("id", "file").iter_rows(),
            total=rows.height,
            description="images",
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ):
            try:
                if file is None:
                    raise BadImage("the catalogue names no image")
                if file in users:
                    raise BadImage(f"the image is already used by galaxy {users[file]}")
                pixels = decode(images.read(file), file)
                framed = framing.apply(pixels)
            except BadImage as error:
                work.kept.append(False)
                work.rejected.append((galaxy, file, error.reason))
                continue
            users[file] = galaxy
            work.kept.append(True)
            work.sides.add(framing.side(*pixels.shape[:2]))
            if want_thumbnails:
                work.thumbnails.append(thumbnails([framed]))
            if shard is None:
                shard = ParquetImages(folder / f"images-{written // SHARD_ROWS:05d}.parquet")
            ids.append(galaxy)
            group.append(framed)
            written += 1
            if len(ids) == GROUP_ROWS:
                shard.write(ids, group)
                ids, group = [], []
            if written % SHARD_ROWS == 0:
                shard.close()
                shard = None
        if shard is not None and ids:
            shard.write(ids, group)
    finally:
        if shard is not None:
            shard.close()
    return work


def _check_share(out: Path, work: _Pass, max_rejected: float) -> None:
    total, bad = len(work.kept), len(work.rejected)
    if bad == total or bad > max_rejected * total:
        galaxy, file, reason = work.rejected[0]
        raise InputError(
            f"{out}: {bad} of {total} galaxies have no usable image, more than the share of {max_rejected:g} allowed"
            f" (max_rejected); the first is {galaxy} ({file}): {reason}"
        )


def _aliases(ids: pl.Series, work: _Pass, like: Sequence[Dataset]) -> pl.DataFrame | None:
    """Pairs of ids that show the same pixels here and in `like`."""
    if not like:
        return None
    mine = np.concatenate(work.thumbnails)
    pairs = [match(ids.to_list(), mine, *dataset_thumbnails(other)) for other in like]
    return pl.concat(pairs).select("a", "b")


def _framed_scale(pixel_scale: float | None, sides: set[int], framing: Framing) -> float | None:
    """Arcsec per framed px: known only if all crops have the same side."""
    if pixel_scale is None or len(sides) != 1:
        return None
    return pixel_scale * next(iter(sides)) / framing.size


def _existing(out: Path, inputs: str) -> Dataset | None:
    """The dataset that is already at `out`, if it was made from the same inputs."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / INFO).is_file():
        raise InputError(f"{out}: exists and is not a dataset; choose another folder or remove it")
    dataset = Dataset.open(out)
    if dataset.info.inputs != inputs:
        raise InputError(f"{out}: holds a dataset built from other inputs; choose another folder or remove it")
    return dataset


def _hash_inputs(
    catalog: Catalog,
    sources: dict[str, str],
    *,
    framing: Framing,
    pixel_scale: float | None,
    seed: int,
    like: Sequence[Dataset],
    limit: int | None,
) -> str:
    """SHA-256 of everything that determines the dataset."""
    settings = {
        "format": FORMAT,
        "survey": catalog.survey,
        "tree": catalog.tree.content_hash(),
        "sources": sorted(sources.values()),  # not the names: a moved file is the same file
        "framing": framing.content_hash(),
        "pixel_scale": pixel_scale,
        "seed": seed,
        "like": [other.info.inputs for other in like],
        "limit": limit,
    }
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in _as_text(catalog.frame):
        total.update(text)
    return total.hexdigest()


def _as_text(frame: pl.DataFrame) -> Iterator[bytes]:
    for part in frame.iter_slices(50_000):
        yield part.write_csv(null_value="\0").encode()
