"""What a classifier gets right and wrong, as numbers and as a page.

In: a classifier and galaxies whose classes are known. Out: RUN/report.json (`ClassificationScores`) and
RUN/report.html: values per class with intervals, confusion matrix, reliability curves, and the galaxies it was surest
about and wrong.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from galaxysd.classifiers.metrics import METRICS, ClassificationScores, Measure, measure
from galaxysd.classifiers.train import GalaxyClassifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.io import write_atomically
from galaxysd.metrics.calibration import Reliability, reliability
from galaxysd.reports import figures
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.reports.html import Figure, Section, Table, build_page
from galaxysd.types import Floats

REPORT = "report.json"
WRONG = 24  # galaxies shown


def write_report(
    folder: str | Path, classifier: GalaxyClassifier, test: GalaxySet, *, seed: int
) -> ClassificationScores:
    """Measure a classifier on test galaxies and write both files.

    Args:
        folder: where to.
        classifier: what to judge.
        test: galaxies it has not learned from.
        seed: of the bootstrap.

    Returns:
        What was measured.
    """
    folder = Path(folder)
    probabilities = classifier.probabilities(test.images)
    scores = measure(test.labels, probabilities, classifier.classes, seed=seed)
    sections = [
        Section("Class by class", [_table(scores), "In brackets: 95 % by bootstrap over the test galaxies."]),
        Section("What is taken for what", [_picture(confusion_matrix(scores), "confusion matrix", CONFUSION)]),
        Section(
            "Do the probabilities mean what they say?",
            [
                _picture(reliability_curves(test.labels, probabilities, classifier.classes), "reliability", RELIABLE),
                f"Temperature {classifier.temperature:.3f}, chosen on held-out galaxies.",
            ],
        ),
        *_mistakes(test, probabilities, classifier.classes),
    ]
    build_page(
        folder / "report.html",
        title="Report on a classifier",
        lead=f"{len(test):,} galaxies that neither training nor calibration has seen. Accuracy "
        f"{_text(scores.accuracy)}, F1 {_text(scores.macro['F1'])} in the mean over the classes.",
        sections=sections,
        footer=f"classifier {classifier.hash}; {classifier.record.network.architecture}; seed {seed}",
    )
    write_atomically(folder / REPORT, scores.model_dump_json(indent=1) + "\n")
    return scores


CONFUSION = "rows: true class; columns: what it was called; in each cell the galaxies, coloured by share of the row"
RELIABLE = "mean probability of a class against the share of galaxies that are of it, in bins of a tenth"


def _text(one: Measure | None) -> str:
    if one is None:
        return "-"
    return f"{one.value:.3f}" + ("" if one.low is None else f" [{one.low:.3f}, {one.high:.3f}]")


def _table(scores: ClassificationScores) -> Table:
    rows = [
        [name, *(_text(scores.per_class[name][metric]) for metric in METRICS), f"{n:,}"]
        for name, n in zip(scores.classes, scores.n, strict=True)
    ]
    rows.append(["mean over classes", *(_text(scores.macro[metric]) for metric in METRICS), f"{sum(scores.n):,}"])
    return Table(("class", *METRICS, "galaxies"), rows)


def _picture(png: bytes, alt: str, caption: str) -> Figure:
    return Figure(Image.open(io.BytesIO(png)), alt, caption)


def confusion_matrix(scores: ClassificationScores) -> bytes:
    """The confusion matrix as PNG."""
    table = np.array(scores.confusion)
    share = table / table.sum(axis=1, keepdims=True).clip(min=1)
    count = len(scores.classes)
    figure = figures.new_figure(90 + 62 * count, width=260 + 84 * count)
    axes = figures.panel(figure, 1, 1, 1, xlabel="called", ylabel="is")
    axes.imshow(share, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(count), scores.classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), scores.classes)
    for row, column in np.ndindex(table.shape):
        colour = figures.GROUND if share[row, column] > 0.6 else figures.INK
        axes.text(column, row, f"{table[row, column]:,}", ha="center", va="center", color=colour, fontsize=9)
    return figures.png(figure)


def reliability_curves(labels: npt.NDArray[np.int64], probabilities: Floats, classes: Sequence[str]) -> bytes:
    """One panel per class with galaxies: predicted probability against what is true, as PNG."""
    found: dict[str, Reliability] = {
        name: reliability(probabilities[:, index], labels == index)
        for index, name in enumerate(classes)
        if (labels == index).any()
    }
    rows = -(-len(found) // 4)
    figure = figures.new_figure(255 * rows + 20)
    for place, (name, one) in enumerate(found.items()):
        axes = figures.panel(figure, rows, 4, place + 1, xlabel=f"probability of {name}")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.plot([0, 1], [0, 1], color=figures.FAINT, linestyle="--", linewidth=1)
        axes.plot(one.predicted, one.observed, color=figures.REAL, linewidth=1.5)
        size = 10 + 120 * one.n / one.n.max()
        axes.scatter(one.predicted, one.observed, s=size, color=figures.REAL, alpha=0.6, linewidth=0)
        axes.text(0.05, 0.88, f"error {one.error:.3f}", color=figures.FAINT, fontsize=9)
    return figures.png(figure)


def _mistakes(test: GalaxySet, probabilities: Floats, classes: Sequence[str]) -> list[Section]:
    """The galaxies called something else with the highest probability, if there are any."""
    called, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(called != test.labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:WRONG]
    if not len(worst):
        return []
    images = test.images[worst]
    rows = [("", images[start : start + 8]) for start in range(0, len(images), 8)]
    lines = [
        [test.ids[index], classes[test.labels[index]], classes[called[index]], f"{sure[index]:.3f}"] for index in worst
    ]
    sheet = Figure(contact_sheet(rows), "galaxies it was surest about and wrong", "in the order of the table below")
    return [Section("Surest mistakes", [sheet, Table(("id", "is", "called", "probability"), lines)])]
