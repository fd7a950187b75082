"""Images made by any generator, as a sample that can be judged.

In: a folder or tar of JPEG, PNG or FITS images, or a table that names them. Out: `ExternalSample`: images of the size
of the real ones, what they were asked to show where that is known, and a list of those that cannot be used.

The table is `manifest.parquet` in the folder (as `galaxysd generate` writes it), or any CSV or Parquet file; it may be
given instead of the folder it lies in. Its column `file` names the images. What an image was asked to show is read from
the answer columns of the decision tree, else from `morphology` (JSON), else from `prompt`. Files that the table does
not name are left alone. Without a table all images count, and nothing is known of what they were asked to show.

Images of another size or shape are brought to that of the real ones by the one rule of data/framing.py: the largest
central square, Lanczos filter.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from galaxysd.catalog.source import SourceTable
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.decode import BadImage, decode
from galaxysd.data.framing import Framing
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.sources import ImageSource
from galaxysd.diffusion.condition import encode
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.prompts import Morphology, Vocabulary, parse
from galaxysd.types import Pixels

MANIFEST = "manifest.parquet"
TABLES = (".parquet", ".csv")
MAX_REJECTED = 0.05  # share of images that may be unusable

Row = dict[str, Any]


@dataclass(frozen=True)
class ExternalSample:
    """Images with what is known of them.

    Attributes:
        sample: the images; nothing is known of what they show if not `told`.
        told: whether a table said what they were asked to show.
        rejected: `file`, `reason` of images that were chosen and cannot be used.
    """

    sample: GalaxySet
    told: bool
    rejected: pl.DataFrame


class ExternalImages:
    """A folder or table of images that has been opened.

    Attributes:
        path: as given.
        hash: 16 hex digits of images and table.
    """

    def __init__(self, path: str | Path) -> None:
        """Open it.

        Raises:
            InputError: neither images nor a table of them.
        """
        self.path = Path(path)
        is_table = self.path.is_file() and self.path.suffix in TABLES
        folder = self.path.parent if is_table else self.path
        table = self.path if is_table else self.path / MANIFEST
        self._source = ImageSource(folder)
        self._table = SourceTable(table) if table.is_file() else None
        if self._table is None:
            self._rows: list[Row] = [{"file": name} for name in self._source.names()]
        else:
            self._rows = _rows(self._table)
        if not self._rows:
            raise InputError(f"{path}: holds no images")
        parts = [self._source.checksum(), *([] if self._table is None else [sha256_of(table)])]
        self.hash = "-".join(one[:8] for one in parts)

    def read(self, n: int, tree: DecisionTree, surveys: Sequence[str], *, size: int, seed: int) -> ExternalSample:
        """At most n images, drawn at random.

        Args:
            n: how many.
            tree: whose answers the conditions are read in.
            surveys: tokens that they may name.
            size: side of the images, px.
            seed: of the draw.

        Raises:
            InputError: a condition makes no sense, or more than `MAX_REJECTED` of the images cannot be used.
        """
        order = np.random.default_rng(seed).permutation(len(self._rows))[:n]
        chosen = [self._rows[index] for index in np.sort(order)]
        told = list(self._conditions(chosen, tree, surveys))
        framing = Framing(size=size)
        images: list[Pixels] = []
        kept: list[Morphology] = []
        names: list[str] = []
        rejected: list[tuple[str, str]] = []
        for row, morphology in zip(chosen, told or [Morphology()] * len(chosen), strict=True):
            try:
                images.append(framing.apply(decode(self._source.read(row["file"]), row["file"])))
                kept.append(morphology)
                names.append(row["file"])
            except BadImage as error:
                rejected.append((row["file"], error.reason))
        if not images or len(rejected) > MAX_REJECTED * len(chosen):
            name, reason = rejected[0]
            raise InputError(
                f"{self.path}: {len(rejected)} of {len(chosen)} images cannot be used, more than the share of "
                f"{MAX_REJECTED:g} allowed; the first is {name}: {reason}"
            )
        asked = encode(kept, tree, surveys)
        sample = GalaxySet(
            np.stack(images),
            names,
            fractions=asked.fractions.double().numpy(),
            known=asked.known.numpy(),
            survey=asked.survey.numpy(),
            synthetic=True,
        )
        listed = pl.DataFrame(rejected, schema={"file": pl.String, "reason": pl.String}, orient="row")
        return ExternalSample(sample, bool(told), listed)

    def _conditions(self, rows: list[Row], tree: DecisionTree, surveys: Sequence[str]) -> Iterator[Morphology]:
        """What each image was asked to show; nothing at all if the table does not say."""
        names = [] if self._table is None else self._table.names
        if any(column in names for column in tree.columns):
            for row in rows:
                told = {name: _number(row, name, self.path) for name in tree.columns if name in row}
                yield _known_survey(
                    Morphology.from_row({"id": row["file"], **told}, tree, row.get("survey")), surveys, row
                )
        elif "morphology" in names:
            for row in rows:
                try:
                    values = json.loads(row["morphology"])
                except (TypeError, ValueError):
                    raise InputError(f"{self.path}: {row['file']}: the morphology is not valid JSON") from None
                morphology = Morphology.parse(values, f"{self.path}: {row['file']}")
                yield _known_survey(_within(morphology, tree), surveys, row)
        elif "prompt" in names:
            vocabulary = Vocabulary.load(tree, surveys)
            for row in rows:
                try:
                    yield parse(row["prompt"] or "", vocabulary)
                except InputError as error:
                    raise InputError(f"{self.path}: {row['file']}: {error}") from None


def _rows(table: SourceTable) -> list[Row]:
    if "file" not in table.names:
        raise InputError(f"{table.path}: no column 'file' that names the images; it has {', '.join(table.names[:6])}")
    frame = table.collect(table.scan(dict.fromkeys(table.names, pl.String())))
    missing = frame["file"].is_null()
    if missing.any():
        raise InputError(f"{table.path}: row {int(missing.arg_true()[0]) + 1}: no file is named")
    return frame.to_dicts()


def _number(row: Row, name: str, path: Path) -> float | None:
    text = row[name]
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: {row['file']}: {name} is {text!r}; expected a fraction from 0 to 1") from None


def _within(morphology: Morphology, tree: DecisionTree) -> Morphology:
    """What the tree has questions for: a generator may know more trees than the real galaxies were asked."""
    kept = {name: value for name, value in morphology.fractions.items() if name in tree.question_of}
    return Morphology(survey=morphology.survey, fractions=kept)


def _known_survey(morphology: Morphology, surveys: Sequence[str], row: Row) -> Morphology:
    if morphology.survey in (None, *surveys):
        return morphology
    raise InputError(
        f"{row['file']}: survey {morphology.survey!r} is not among those of the real galaxies ({', '.join(surveys)})"
    )
