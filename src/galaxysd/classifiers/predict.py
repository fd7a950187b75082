"""Predictions for many galaxies as a table, from one classifier or an ensemble of them.

In: classifier folders, and a dataset folder or a folder (or tar) of images. Out: a Parquet file, a row per galaxy:

    classes  `id`, `split`, `class` (the most likely), then per class `p_<class>` and `spread_<class>`
    votes    `id`, `split`, then per answer of the tree `<answer>` (expected fraction) and `spread_<answer>`

`spread` is one standard deviation: of classes, between the members of the ensemble (0 for one); of votes, of the
fraction itself under the predicted distribution, members included. Images are read and written in batches, so memory
does not grow with the survey.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from galaxysd.classifiers.checkpoint import read_record
from galaxysd.classifiers.train import GalaxyClassifier
from galaxysd.classifiers.votes import VoteClassifier
from galaxysd.data.dataset import INFO, Dataset
from galaxysd.data.framing import Framing
from galaxysd.encoders.feature_table import METADATA, DatasetImages, PlainImages
from galaxysd.errors import InputError
from galaxysd.io import progress, replacing
from galaxysd.settings import FrozenModel
from galaxysd.types import Floats, Pixels


class Predictor(Protocol):
    """What a table is made with."""

    @property
    def hash(self) -> str:
        """16 hex digits: equal hashes mean equal predictions."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K classes or answers."""

    @property
    def size(self) -> int:
        """Side of the images, px."""

    def predict(self, images: Pixels, orientations: int = 8) -> tuple[Floats, Floats]:
        """uint8 [N, S, S, 3] -> mean and spread, both [N, K]."""


class Ensemble:
    """Classifiers of the same classes that vote together.

    Args:
        members: one or more.

    Raises:
        InputError: none, or they differ in classes or image size.
    """

    def __init__(self, members: Sequence[GalaxyClassifier]) -> None:
        if not members:
            raise InputError("ensemble: there is no classifier")
        for one in members[1:]:
            if one.classes != members[0].classes or one.record.size != members[0].record.size:
                raise InputError("ensemble: the classifiers have different classes or image sizes")
        self.members = tuple(members)
        self.names, self.size = members[0].classes, members[0].record.size
        self.hash = "-".join(one.hash for one in members)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.names

    def predict(self, images: Pixels, orientations: int = 8) -> tuple[Floats, Floats]:
        """Mean of the members' probabilities, and their standard deviation (0 for one member).

        Args:
            images: uint8 [N, S, S, 3].
            orientations: 1 to 8, see `GalaxyClassifier.probabilities`.

        Returns:
            [N, K] and [N, K].
        """
        each = np.stack([one.probabilities(images, orientations) for one in self.members])
        return each.mean(axis=0), each.std(axis=0)


class VoteEnsemble:
    """Vote classifiers of the same tree together; members as in `Ensemble`."""

    def __init__(self, members: Sequence[VoteClassifier]) -> None:
        for one in members[1:]:
            if one.record.outputs != members[0].record.outputs or one.record.size != members[0].record.size:
                raise InputError("ensemble: the classifiers have different trees or image sizes")
        self.members = tuple(members)
        self.names, self.size = members[0].record.outputs, members[0].record.size
        self.hash = "-".join(one.hash for one in members)

    def predict(self, images: Pixels, orientations: int = 8) -> tuple[Floats, Floats]:
        """Expected fractions, and the deviation of a fraction about them (law of total variance), both [N, A]."""
        pairs = [one.fractions(images, orientations) for one in self.members]
        means = np.stack([mean for mean, _ in pairs])
        within = np.stack([deviation for _, deviation in pairs])
        return means.mean(axis=0), np.sqrt(np.square(within).mean(axis=0) + means.var(axis=0))


def load_predictor(folders: Sequence[str | Path], device: torch.device | None = None) -> Predictor:
    """The classifiers of one or more folders as one.

    Raises:
        InputError: a folder is not a classifier, or they do not belong together.
    """
    if not folders:
        raise InputError("classify: name the folder of a classifier")
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(f"classifier {str(folder)!r}: no such folder; train one with --recipe classifier")
    targets = {read_record(Path(folder)).target for folder in folders}
    if len(targets) > 1:
        raise InputError("ensemble: classifiers of classes and of votes do not mix")
    if targets == {"classes"}:
        return Ensemble([GalaxyClassifier.load(folder, device) for folder in folders])
    return VoteEnsemble([VoteClassifier.load(folder, device) for folder in folders])


class PredictionReport(FrozenModel):
    """What `predict_table` did."""

    file: str = Field(description="the table")
    galaxies: int = Field(description="its rows")
    counts: dict[str, int] = Field(description="galaxies per class; empty for votes")
    rejected: int = Field(description="images that cannot be used, listed beside the table")
    seconds: float = Field(description="time it took when it was computed, s")
    already_done: bool = False


def predict_table(
    images: str | Path,
    classifiers: Sequence[str | Path],
    out: str | Path,
    *,
    orientations: int = 8,
    limit: int | None = None,
    max_rejected: float = 0.05,
    device: torch.device | None = None,
) -> PredictionReport:
    """Classify all images of a dataset or folder. The same command again finds the table.

    Args:
        images: dataset folder, or folder or tar of JPEG, PNG and FITS images, of which the largest central square is
            used.
        classifiers: folders; several are an ensemble.
        out: Parquet file; images that cannot be used are listed in `<out>.rejected.parquet`.
        orientations: turns and flips of each image to average over, 1 to 8.
        limit: the first so many only.
        max_rejected: largest share of plain images that may be unusable.
        device: where to compute.

    Raises:
        InputError: no images, too many unusable ones, images of another size than the classifier's, or `out` holds
            something else.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: expected at least 1 image")
    predictor, out, folder = load_predictor(classifiers, device), Path(out), Path(images)
    if out.suffix != ".parquet":
        raise InputError(f"{out}: the table is a Parquet file; let its name end in .parquet")
    source: DatasetImages | PlainImages
    if (folder / INFO).is_file():
        if (side := Dataset.open(folder).info.size) != predictor.size:
            raise InputError(f"{folder}: images of {side} px, but the classifier was trained at {predictor.size} px")
        source = DatasetImages(folder, limit)
    else:
        source = PlainImages(folder, Framing(size=predictor.size), limit)
    identity = {"predictor": predictor.hash, "images": source.hash, "orientations": orientations}
    if out.exists():
        return _earlier(out, identity)
    hard = isinstance(predictor, Ensemble)
    columns = [f"p_{name}" if hard else name for name in predictor.names]
    columns += [f"spread_{name}" for name in predictor.names]
    text = ["id", "split", *(["class"] if hard else [])]
    schema = pa.schema([*((name, pa.string()) for name in text), *((name, pa.float32()) for name in columns)])
    counts = np.zeros(len(predictor.names), np.int64)
    began, rows = time.monotonic(), 0
    with replacing(out) as partial, pq.ParquetWriter(partial, schema) as writer:
        for ids, splits, pixels in progress(source.batches(), source.count, "classifying"):
            mean, spread = predictor.predict(pixels, orientations)
            best = mean.argmax(axis=1)
            counts += np.bincount(best, minlength=len(counts))
            chosen = [[predictor.names[index] for index in best]] if hard else []
            numbers = [pa.array(column) for column in np.concatenate([mean, spread], axis=1).astype(np.float32).T]
            writer.write_table(pa.table([pa.array(ids), pa.array(splits, pa.string()), *chosen, *numbers], schema))
            rows += len(ids)
        rejected = source.rejected
        if rejected and (rows == 0 or len(rejected) > max_rejected * source.count):
            name, _, reason = rejected[0]
            raise InputError(
                f"{images}: {len(rejected)} of {source.count} images cannot be used, more than the share of "
                f"{max_rejected:g} allowed; the first is {name}: {reason}"
            )
        report = PredictionReport(
            file=str(out),
            galaxies=rows,
            counts=dict(zip(predictor.names, counts.tolist(), strict=True)) if hard else {},
            rejected=len(rejected),
            seconds=round(time.monotonic() - began, 2),
        )
        values = report.model_dump(include={"counts", "rejected", "seconds"})
        writer.add_key_value_metadata({METADATA: json.dumps({**identity, **values}).encode()})
    if rejected:
        with replacing(out.with_suffix(".rejected.parquet")) as partial:
            listed = {"id": pl.String, "file": pl.String, "reason": pl.String}
            pl.DataFrame(rejected, schema=listed, orient="row").write_parquet(partial)
    return report


def _earlier(out: Path, identity: dict[str, object]) -> PredictionReport:
    """The report of a table that is there already."""
    try:
        found = pq.read_metadata(out)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{out}: exists and cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    values = json.loads((found.metadata or {}).get(METADATA, b"{}"))
    if {key: values.pop(key, None) for key in identity} != identity:
        raise InputError(f"{out}: holds something else than predictions of these images by this classifier")
    return PredictionReport(file=str(out), galaxies=found.num_rows, already_done=True, **values)
