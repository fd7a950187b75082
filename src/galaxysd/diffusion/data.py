"""Training galaxies: several dataset folders behind one `batch` call, with memory that does not grow with their pixels.

In: dataset folders (images/dataset.py), whose trees are united and whose surveys become tokens. Only the `train` split
is drawn from; `val` serves the held-out loss. Pixels lie in flat files and are read at random; labels stay in memory
(a few hundred bytes a galaxy).
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from galaxysd.catalog.labels import read_arm_labels
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.condition import Condition
from galaxysd.errors import InputError
from galaxysd.settings import Settings

if TYPE_CHECKING:  # tables are read by `GalaxyPool` only; a training from a pack does without them
    from galaxysd.catalog.catalog import Catalog
    from galaxysd.data.dataset import Dataset, PixelFile


class DataSettings(Settings):
    """Which galaxies are learned from, and which of their answers are believed."""

    withhold: tuple[str, ...] = Field(
        default=(), description="conditions over dataset columns; a galaxy that meets any of them is never trained on"
    )
    min_votes: int = Field(default=5, ge=0, description="a question with fewer votes counts as unknown")
    min_reach: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="the same where votes are not told: least product of the previous fractions",
    )
    rare_boost: float = Field(
        default=4.0, ge=1, description="how much more often at most a galaxy with a rare answer is drawn"
    )
    arm_labels: bool = Field(
        default=False, description="also use the arm numbers and windings of catalog/labels/arms.csv, told by eye"
    )
    shares: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default={}, description="least share of the draws that galaxies with an answer get, by column"
    )


def believed(catalog: "Catalog", settings: DataSettings) -> npt.NDArray[np.bool_]:
    """[N, Q]: the questions whose fractions rest on enough votes."""
    fractions, votes, reach = catalog.fractions(), catalog.votes(), catalog.reach()
    first = [catalog.tree.columns.index(question.columns[0]) for question in catalog.tree.questions]
    answered = ~np.isnan(fractions[:, first])
    counted = ~np.isnan(votes)
    with np.errstate(invalid="ignore"):
        enough = np.where(counted, votes >= settings.min_votes, ~(reach < settings.min_reach))
    return answered & enough


class Pool(Protocol):
    """What a task looks at to watch its progress: galaxies by number.

    Attributes:
        size: side of the images, px.
        survey: [N] index of the survey token of each.
    """

    size: int
    survey: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """N."""

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Pixels of some galaxies, uint8 [B, 3, S, S]."""

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """Conditions of some galaxies, nothing hidden."""


class GalaxyPool:
    """One split of several datasets, ready for random access.

    Attributes:
        tree: union of the datasets' trees.
        surveys: survey tokens, in the order of the datasets.
        ids: `survey:id` of every galaxy [N].
        fractions: [N, A] float32, 0 where unknown.
        known: [N, Q] bool.
        survey: [N] index into `surveys`.
        withheld: ids left out by `DataSettings.withhold`.
        weights: [N] how often each galaxy is drawn, relative to the others.
        size: side of the images, px.
    """

    def __init__(
        self,
        datasets: "Sequence[Dataset]",
        split: str,
        settings: DataSettings,
        folder: Path,
        *,
        limit: int | None = None,
    ) -> None:
        """Select the galaxies and write their pixels to `folder` (once; later calls find the file).

        Raises:
            InputError: the datasets have no such galaxies, differ in image size, or share galaxies across splits.
        """
        from galaxysd.catalog.selection import withhold
        from galaxysd.catalog.splits import check_disjoint

        check_disjoint([dataset.catalog for dataset in datasets])
        sizes = {dataset.info.size for dataset in datasets}
        if len(sizes) != 1:
            raise InputError(
                f"datasets have images of different sizes ({sorted(sizes)}); build them with the same --size"
            )
        self.tree: DecisionTree = reduce(DecisionTree.union, (dataset.tree for dataset in datasets))
        self.surveys = tuple(dict.fromkeys(dataset.survey for dataset in datasets))
        column = {name: index for index, name in enumerate(self.tree.columns)}
        order = {question.key: index for index, question in enumerate(self.tree.questions)}
        self.ids: list[str] = []
        self.withheld: list[str] = []
        fractions, known, survey = [], [], []
        selected: list[tuple[Dataset, list[str]]] = []
        for dataset in datasets:
            catalog, dropped = withhold(dataset.catalog, settings.withhold)
            self.withheld += [f"{dataset.survey}:{galaxy}" for galaxy in dropped]
            here = catalog.frame["split"] == split
            if not here.any():
                continue  # another dataset may have some
            catalog = catalog.filter(here)
            if limit is not None:
                catalog = catalog.with_frame(catalog.frame.head(limit))
            trusted = believed(catalog, settings)
            values = np.zeros((len(catalog), len(self.tree.columns)), np.float32)
            values[:, [column[name] for name in dataset.tree.columns]] = np.nan_to_num(catalog.fractions())
            flags = np.zeros((len(catalog), len(self.tree.questions)), bool)
            flags[:, [order[question.key] for question in dataset.tree.questions]] = trusted
            ids = catalog.frame["id"].to_list()
            fractions.append(values)
            known.append(flags)
            survey.append(np.full(len(ids), self.surveys.index(dataset.survey)))
            selected.append((dataset, ids))
            self.ids += [f"{dataset.survey}:{galaxy}" for galaxy in ids]
        if not self.ids:
            raise InputError(f"the datasets hold no galaxy in split {split!r}")
        self.fractions, self.known = np.concatenate(fractions), np.concatenate(known)
        self.survey: npt.NDArray[np.int64] = np.concatenate(survey)
        answers = np.array([order[self.tree.question_of[name].key] for name in self.tree.columns])
        self.fractions *= self.known[:, answers]
        if settings.arm_labels:
            self._add_labels(read_arm_labels())
        folder.mkdir(parents=True, exist_ok=True)
        self.files = [
            pixel_file(folder / f"pixels-{split}-{index}.bin", dataset, ids)
            for index, (dataset, ids) in enumerate(selected)
            if ids
        ]
        self.size = self.files[0].size
        self._starts = np.cumsum([0, *(len(ids) for _, ids in selected if ids)])
        self.weights = self._weights(settings)
        self._cumulative = np.cumsum(self.weights)

    def __len__(self) -> int:
        return len(self.ids)

    def _add_labels(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Labels told by eye fill in where votes say nothing: the answer gets 1, its question counts as known."""
        rows = {galaxy: row for row, galaxy in enumerate(self.ids)}
        order = {question.key: index for index, question in enumerate(self.tree.questions)}
        for galaxy, answers in labels.items():
            for answer in answers:
                if galaxy in rows and answer in self.tree.columns:
                    row, question = rows[galaxy], order[self.tree.question_of[answer].key]
                    if not self.known[row, question]:
                        self.fractions[row, self.tree.columns.index(answer)] = 1.0
                        self.known[row, question] = True

    def _weights(self, settings: DataSettings) -> npt.NDArray[np.float64]:
        """Galaxies with a rare answer are drawn more often: weight = sqrt(share of the commonest / share), bounded.

        Those of `settings.shares` are then raised to the share that is asked for.
        """
        holds = self.fractions > 0.5  # [N, A]
        counts = holds.sum(axis=0).clip(min=1)
        rarity = np.sqrt(counts.max() / counts)
        weights: npt.NDArray[np.float64] = np.clip((holds * rarity).max(axis=1), 1.0, settings.rare_boost)
        for name, share in settings.shares.items():
            if name not in self.tree.columns:
                raise InputError(f"data.shares: the trees of the datasets have no answer {name!r}")
            these = holds[:, self.tree.columns.index(name)]
            own, rest = weights[these].sum(), weights[~these].sum()
            if own and own < share * (own + rest):
                weights[these] *= share / (1 - share) * rest / own
        return weights

    def evidence(self) -> dict[str, int]:
        """Galaxies with each answer above one half: what the model knows from how many examples."""
        return {name: int(n) for name, n in zip(self.tree.columns, (self.fractions > 0.5).sum(axis=0), strict=True)}

    def evidence_by_survey(self) -> dict[str, dict[str, int]]:
        """The same for each survey, and the number of all its galaxies under `all`."""
        found = {}
        for index, name in enumerate(self.surveys):
            holds = self.fractions[self.survey == index] > 0.5
            counts = zip(self.tree.columns, holds.sum(axis=0), strict=True)
            found[name] = {"all": len(holds)} | {column: int(n) for column, n in counts if n}
        return found

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """Conditions of some galaxies, nothing hidden."""
        return Condition(
            torch.from_numpy(self.fractions[indices]),
            torch.from_numpy(self.known[indices]),
            torch.from_numpy(self.survey[indices]).long(),
        )

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Pixels of some galaxies, uint8 [B, 3, S, S]."""
        size = self.files[0].size
        images = np.empty((len(indices), 3, size, size), np.uint8)
        source = np.searchsorted(self._starts, indices, side="right") - 1
        for number, file in enumerate(self.files):
            chosen = source == number
            images[chosen] = file.read(indices[chosen] - self._starts[number])
        return torch.from_numpy(images)

    def draw(self, size: int, generator: torch.Generator) -> tuple[npt.NDArray[np.int64], Tensor]:
        """Random galaxies by weight, and an orientation 0..7 for each: indices [B], orientations [B]."""
        place = torch.rand(size, generator=generator, dtype=torch.float64).numpy() * self._cumulative[-1]
        indices = np.searchsorted(self._cumulative, place, side="right").clip(max=len(self) - 1)
        return indices, torch.randint(8, (size,), generator=generator)

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random galaxies in random orientation, drawn by weight (the `Data` protocol of training/fit.py)."""
        indices, orientation = self.draw(size, generator)
        condition = self.condition(indices)
        return {
            "images": dihedral(self.images(indices), orientation),
            "fractions": condition.fractions,
            "known": condition.known,
            "survey": condition.survey,
        }

    def statistics(self, sample: int = 2_000) -> tuple[float, float]:
        """Mean of all pixels in [-1, 1], and the mean over pixels of the deviation between galaxies."""
        indices = np.linspace(0, len(self) - 1, min(sample, len(self))).astype(np.int64)
        values = self.images(indices).double() / 127.5 - 1
        return float(values.mean()), max(float(values.std(dim=0).mean()), 0.05)

    def describe(self) -> dict[str, Any]:
        """Counts for run records and model cards."""
        per_survey = {name: int((self.survey == index).sum()) for index, name in enumerate(self.surveys)}
        return {"galaxies": len(self), "per_survey": per_survey, "withheld": len(self.withheld)}


def pixel_file(path: Path, dataset: "Dataset", ids: list[str]) -> "PixelFile":
    """The pixels of some galaxies as a flat file, written once."""
    from galaxysd.data.dataset import PixelFile

    size = dataset.info.size
    if path.is_file() and path.stat().st_size == len(ids) * 3 * size * size:
        return PixelFile(path, count=len(ids), size=size)
    return dataset.write_pixels(path, ids)
