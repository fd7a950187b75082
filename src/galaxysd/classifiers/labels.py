"""Galaxies with a class each: what classifiers are trained and tested on.

In: dataset folders with rules (class_rules.py), or somebody's own table of two columns (file, class) beside a folder of
images. Out: a `GalaxySet`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from galaxysd.catalog.catalog import SPLITS
from galaxysd.catalog.source import SourceTable
from galaxysd.catalog.splits import check_disjoint
from galaxysd.classifiers.class_rules import ClassRules, label
from galaxysd.data.dataset import Dataset
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.framing import Framing
from galaxysd.data.galaxy_set import UNLABELLED, GalaxySet
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.types import Floats


def labelled_examples(
    datasets: Sequence[Dataset], split: str, rules: ClassRules, *, limit: int | None = None
) -> GalaxySet:
    """The galaxies of one split that a rule gives a class to.

    Args:
        datasets: dataset folders, opened, with images of one size.
        split: `train`, `val` or `test`.
        rules: the classes.
        limit: at most so many of each dataset.

    Raises:
        InputError: no dataset, no such split, no galaxy has a class, image sizes differ, or a galaxy lies in different
            splits of two datasets.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    if not datasets:
        raise InputError("no dataset is given; name a folder that `galaxysd catalog build` made")
    check_disjoint([dataset.catalog for dataset in datasets])
    sizes = sorted({dataset.info.size for dataset in datasets})
    if len(sizes) != 1:
        raise InputError(f"datasets have images of different sizes ({sizes}); build them with the same --size")
    parts = [_of_dataset(dataset, split, rules, limit) for dataset in datasets]
    found = GalaxySet.join(*parts)
    if not len(found):
        where = ", ".join(str(dataset.folder) for dataset in datasets)
        raise InputError(f"{where}: no galaxy of split {split!r} meets a condition of the rules {rules.name!r}")
    return found


def _of_dataset(dataset: Dataset, split: str, rules: ClassRules, limit: int | None) -> GalaxySet:
    labels = label(dataset.catalog, rules)
    rows = np.flatnonzero((dataset.catalog.frame["split"] == split).to_numpy() & (labels != UNLABELLED))[:limit]
    frame = dataset.catalog.frame.select("id", "ra", "dec")[rows]
    ids: list[str] = frame["id"].to_list()
    images = np.empty((len(ids), dataset.info.size, dataset.info.size, 3), np.uint8)
    start = 0
    for names, block in dataset.pixels(ids):
        images[start : start + len(names)] = block
        start += len(names)
    return GalaxySet(
        images,
        [f"{dataset.survey}:{name}" for name in ids],
        labels=labels[rows],
        ra=_degrees(frame["ra"]),
        dec=_degrees(frame["dec"]),
    )


def read_labels(
    table: str | Path,
    images: str | Path,
    size: int,
    *,
    classes: Sequence[str] | None = None,
    survey: str = "own",
) -> tuple[GalaxySet, tuple[str, ...]]:
    """Somebody's own labels: a table of two columns, image file and class, and the images.

    Args:
        table: CSV, Parquet, FITS or VOTable with the columns `file` and `class`; `ra` and `dec` (deg) are used where
            they are there, so that a galaxy is recognised by its position.
        images: folder or tar of JPEG, PNG or FITS images; the largest central square of each is used.
        size: side to bring them to, px.
        classes: names that are allowed, in order; None: those of the table, sorted.
        survey: what their ids begin with.

    Returns:
        The galaxies, and the names of their classes.

    Raises:
        InputError: a column, class or image is missing, a class is not one of `classes`, a file is named twice, or
            there is only one class. The message names the first row (the header is row 1).
    """
    source = SourceTable(table)
    for name in ("file", "class"):
        if name not in source.names:
            raise InputError(f"{table}: has no column {name!r} ({', '.join(source.names)}); expected file and class")
    place = ("ra", "dec") if {"ra", "dec"} <= set(source.names) else ()
    schema = {"file": pl.String(), "class": pl.String(), **dict.fromkeys(place, pl.Float64())}
    frame = source.collect(source.scan(schema)).with_row_index("row", offset=2)
    if not frame.height:
        raise InputError(f"{table}: has no rows")
    text = frame.with_columns(pl.col("file", "class").str.strip_chars())
    for name in ("file", "class"):
        empty = text.filter(pl.col(name).is_null() | pl.col(name).str.to_lowercase().is_in(["", "nan", "null"]))
        if empty.height:
            raise InputError(f"{table}: row {empty['row'][0]}: no {name}; fill it in or take the row out")
    twice = text.filter(~pl.col("file").is_first_distinct())
    if twice.height:
        raise InputError(f"{table}: row {twice['row'][0]}: {twice['file'][0]} is there more than once")
    names = tuple(classes) if classes is not None else tuple(sorted(set(text["class"])))
    unknown = text.filter(~pl.col("class").is_in(list(names)))
    if unknown.height:
        raise InputError(
            f"{table}: row {unknown['row'][0]}: class {unknown['class'][0]!r} is not one of {', '.join(names)}"
        )
    if len(set(text["class"])) < 2:
        raise InputError(f"{table}: every row is of class {text['class'][0]!r}; a classifier needs two classes")
    files, framing = ImageSource(images), Framing(size=size)
    pixels = np.empty((text.height, size, size, 3), np.uint8)
    for number, (row, file) in enumerate(text.select("row", "file").iter_rows()):
        try:
            pixels[number] = framing.apply(decode(files.read(file), file))
        except BadImage as error:
            raise InputError(f"{table}: row {row}: {file}: {error.reason}") from None
    found = GalaxySet(
        pixels,
        [f"{survey}:{file.rpartition('.')[0] or file}" for file in text["file"]],
        labels=[names.index(one) for one in text["class"]],
        ra=_degrees(text["ra"]) if place else None,
        dec=_degrees(text["dec"]) if place else None,
    )
    return found, names


def _degrees(column: pl.Series) -> Floats:
    """A column of angles, NaN where there is none."""
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
