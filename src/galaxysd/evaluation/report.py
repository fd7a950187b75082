"""A report for people: one HTML page and a few lines of plain words, from what `evaluate` measured.

In: a `Report` and its folder (with the dreams). Out: REPORT/report.html, and a summary for the terminal.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from galaxysd.evaluation import plots
from galaxysd.evaluation.evaluate import FIGURES, Report
from galaxysd.evaluation.intervals import Score
from galaxysd.generation.page import Figure, Part, Section, Table, build_page
from galaxysd.images.sheet import contact_sheet

SHOWN = 32  # dreams on the page
DISTANCES = ("appearance", "morphology")  # axes whose scores are all distances
BETTER_LOW = {
    "Fréchet distance",
    "kernel distance",
    "two-sample AUC",
    "fraction error",
    "nearer than 1 % of real",
    "duplicates",
}
PICTURES = {  # axis -> files in the folder of figures, what they show
    "appearance": {
        "spectra": "mean power spectra, and their ratio to that of real galaxies",
        "histograms": "share of the pixels at each value",
    },
    "morphology": {
        "distributions": "distributions of the measured parameters",
        "corner": "pairs of parameters",
    },
    "consistency": {"reliability": "fractions asked for (or voted) against fractions read"},
}
QUESTIONS = {
    "realism": "Do the dreams look like galaxies?",
    "appearance": "Have the pictures the texture and light of real ones?",
    "morphology": "Are sizes, shapes and colours distributed as those of real galaxies?",
    "consistency": "Do they show what was asked for?",
    "diversity": "Are they as many-sided as real galaxies?",
    "memory": "Are they copies of training galaxies?",
    "usefulness": "Can one learn from them?",
}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _value(score: Score) -> str:
    return f"{_number(score.value)} [{_number(score.low)}, {_number(score.high)}]" if score.value is not None else "-"


def verdict(axis: str, name: str, score: Score) -> str:
    """One line in plain words: where the value stands between real galaxies and the straw men."""
    if score.value is None:
        return f"{name}: not measured, {score.note}"
    if score.floor is None:
        return f"{name}: {_value(score)}"
    low_is_good = axis in DISTANCES or name in BETTER_LOW
    apart = score.value - score.floor.value if low_is_good else score.floor.value - score.value
    inside = score.floor.low <= score.value <= score.floor.high
    says = "like real galaxies" if apart <= 0 or inside else "short of real galaxies"
    straw = [value for value in score.straw_men.values() if value is not None]
    beaten = [value > score.value if low_is_good else value < score.value for value in straw]
    if beaten and not all(beaten):
        says += ", and no better than a straw man"
    return f"{name}: {_number(score.value)} where real galaxies have {_number(score.floor.value)}: {says}"


def summary(report: Report) -> str:
    """All verdicts, an axis a paragraph."""
    lines = [f"{report.model} ({report.model_hash}) in features of {report.encoder}"]
    for axis, scores in report.axes.items():
        lines.append(f"{axis}: {QUESTIONS[axis]}")
        lines += [f"  {verdict(axis, name, score)}" for name, score in scores.items()]
    return "\n".join(lines)


def _table(scores: dict[str, Score]) -> Table:
    straw = sorted({name for score in scores.values() for name in score.straw_men})
    rows = []
    for name, score in scores.items():
        floor = score.floor
        rows.append(
            [
                name,
                _value(score),
                "-" if floor is None else f"{_number(floor.value)} [{_number(floor.low)}, {_number(floor.high)}]",
                *(_number(score.straw_men.get(man)) for man in straw),
                f"{score.n:,}",
            ]
        )
    return Table(("", "dreamed", "real (floor)", *straw, "n"), rows, "in brackets: 95 %")


def write_page(report: Report, folder: str | Path) -> Path:
    """Write REPORT/report.html.

    Args:
        report: what was measured.
        folder: of the report; its `dreamed.npy` is shown.

    Returns:
        The page.
    """
    folder = Path(folder)
    dreamed = np.load(folder / "dreamed.npy", allow_pickle=False)[:SHOWN]
    rows = [("dreamed", dreamed[start : start + 8]) for start in range(0, len(dreamed), 8)]
    sheet = contact_sheet(rows, footer=f"{report.model} {report.model_hash}, seed {report.seed}")
    sections = [Section("The dreams", [Figure(sheet, "dreamed galaxies", "morphologies of held-out real galaxies")])]
    for axis, scores in report.axes.items():
        figures = [
            Figure(Image.open(folder / FIGURES / f"{name}.png"), text, text)
            for name, text in PICTURES.get(axis, {}).items()
        ]
        chart = Image.open(io.BytesIO(plots.strip_chart({name: one for name, one in scores.items() if one.value})))
        lines = [verdict(axis, name, score) for name, score in scores.items()]
        parts: list[Part] = [*lines, Figure(chart, f"scores of {axis}"), _table(scores), *figures]
        sections.append(Section(QUESTIONS[axis], parts))
    sampling = report.sampling
    return build_page(
        folder / "report.html",
        title=f"Report on {report.model}",
        lead="Every score stands beside what real galaxies reach (the floor) and what must fail (straw men).",
        sections=sections,
        footer=f"model {report.model_hash}; encoder {report.encoder} {report.encoder_hash}; {sampling.sampler}, "
        f"{sampling.steps} steps, guidance {sampling.guidance.scale:g}; seed {report.seed}",
    )
