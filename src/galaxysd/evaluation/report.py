"""A report for people: one HTML page and a few lines of plain words, from what `evaluate` measured.

In: a `Report` and its folder (with the generated galaxies). Out: REPORT/report.html, and a summary for the terminal.
"""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from galaxysd.evaluation.evaluate import FIGURES, GENERATED, Report
from galaxysd.evaluation.sweep import Sweep, front
from galaxysd.evaluation.two_models import TwoModelTest
from galaxysd.reports import figures
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.reports.html import Figure, Part, Section, Table, build_page
from galaxysd.stats import Score

SHOWN = 32  # generated galaxies on the page
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


CLASSES = (
    "Galaxies whose request (or votes) gives one answer clearly. Spread is that of features within the kind over that "
    "of real galaxies: 1 is right, 0 the same galaxy again and again."
)
FRONT = (
    "Consistency (accuracy of the readers), diversity (coverage) and realism (precision) of {n} galaxies at each "
    "guidance, highest noise level with guidance, and number of steps; the settings of the model are marked."
)


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3g}"


def low_is_good(axis: str, name: str) -> bool:
    """Whether a metric is better the lower it is."""
    return axis in DISTANCES or name in BETTER_LOW


def sheet_of(images: npt.NDArray[np.uint8], footer: str) -> Image.Image:
    """Some of the images as a sheet."""
    rows = [("generated", images[start : start + 8]) for start in range(0, min(len(images), SHOWN), 8)]
    return contact_sheet(rows, footer=footer)


def _value(score: Score) -> str:
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]" if score.value is not None else "-"


def verdict(axis: str, name: str, score: Score) -> str:
    """One line in plain words: where the value stands between real galaxies and the negative controls."""
    if score.value is None:
        return f"{name}: not measured, {score.note}"
    if score.real_baseline is None:
        return f"{name}: {_value(score)}"
    low = low_is_good(axis, name)
    apart = score.value - score.real_baseline.value if low else score.real_baseline.value - score.value
    inside = score.real_baseline.low <= score.value <= score.real_baseline.high
    says = "like real galaxies" if apart <= 0 or inside else "short of real galaxies"
    straw = [value for value in score.negative_controls.values() if value is not None]
    beaten = [value > score.value if low else value < score.value for value in straw]
    if beaten and not all(beaten):
        says += ", and no better than a straw man"
    return f"{name}: {number(score.value)} where real galaxies have {number(score.real_baseline.value)}: {says}"


def summary(report: Report, two_models: TwoModelTest | None = None) -> str:
    """All verdicts, an axis a paragraph, the goals first."""
    lines = [f"{report.model} ({report.model_hash}) in features of {report.encoder}"]
    lines += [one.text for one in report.verdicts]
    if report.rejected:
        lines.append(f"left out: {report.rejected} images that cannot be used, listed in rejected.parquet")
    for axis, scores in report.scores.items():
        lines.append(f"{axis}: {QUESTIONS[axis]}")
        lines += [f"  {verdict(axis, name, score)}" for name, score in scores.items()]
        if axis == "memory" and two_models is not None:
            lines.append(f"  {two_models_verdict(two_models)}")
    return "\n".join(lines)


def two_models_verdict(two_models: TwoModelTest) -> str:
    """One line on the two-model test."""
    chance = two_models.agreement.negative_controls["other noise"]
    same = two_models.agreement.low is not None and chance is not None and two_models.agreement.low > chance
    says = (
        "they agree on what noise becomes, as models do that generalise" if same else "they agree no more than chance"
    )
    return (
        f"two models ({', '.join(two_models.models)}): agreement {_value(two_models.agreement)} where other noise "
        f"gives {number(chance)}: {says}"
    )


def _table(scores: dict[str, Score]) -> Table:
    straw = sorted({name for score in scores.values() for name in score.negative_controls})
    rows = []
    for name, score in scores.items():
        real_baseline = score.real_baseline
        rows.append(
            [
                name,
                _value(score),
                "-"
                if real_baseline is None
                else f"{number(real_baseline.value)} [{number(real_baseline.low)}, {number(real_baseline.high)}]",
                *(number(score.negative_controls.get(man)) for man in straw),
                f"{score.n:,}",
            ]
        )
    return Table(("", "generated", "real (floor)", *straw, "n"), rows, "in brackets: 95 %")


def write_page(
    report: Report, folder: str | Path, *, swept: Sweep | None = None, two_models: TwoModelTest | None = None
) -> Path:
    """Write REPORT/report.html.

    Args:
        report: what was measured.
        folder: of the report; its `generated.npy` is shown.
        swept: the front over sampling settings, if it was drawn.
        two_models: the two-model test, if it was made.

    Returns:
        The page.
    """
    folder = Path(folder)
    sheet = sheet_of(
        np.load(folder / GENERATED, allow_pickle=False), f"{report.model} {report.model_hash}, seed {report.seed}"
    )
    caption = "of the morphologies of held-out real galaxies" if report.sampling else "drawn at random from those given"
    opening: list[Part] = [Figure(sheet, "dreamed galaxies", caption)]
    if report.rejected:
        opening.append(f"{report.rejected} images cannot be used; they are listed in rejected.parquet.")
    goals = [
        [one.axis, {True: "met", False: "not met", None: "not measured"}[one.met], one.text] for one in report.verdicts
    ]
    opening.append(Table(("axis", "goals", "in words"), goals, "goals"))
    sections = [Section("The dreams", opening)]
    for axis, scores in report.scores.items():
        parts: list[Part] = [verdict(axis, name, score) for name, score in scores.items()]
        known = {name: one for name, one in scores.items() if one.value is not None}
        if known:
            chart = Image.open(io.BytesIO(figures.strip_chart(known)))
            parts += [Figure(chart, f"scores of {axis}"), _table(scores)]
        if axis == "memory" and two_models is not None:
            parts += [two_models_verdict(two_models), _table({"agreement of two models": two_models.agreement})]
        for name, text in PICTURES.get(axis, {}).items():
            if (folder / FIGURES / f"{name}.png").is_file():
                parts.append(Figure(Image.open(folder / FIGURES / f"{name}.png"), text, text))
        sections.append(Section(QUESTIONS[axis], parts))
    if report.per_class:
        sections.append(Section("And kind by kind?", [CLASSES, _kinds_table(report)]))
    if swept is not None:
        picture = Image.open(io.BytesIO(front(swept)))
        sections.append(
            Section("Guidance and steps", [Figure(picture, "front", FRONT.format(n=swept.n)), _sweep_table(swept)])
        )
    sampling = report.sampling
    how = "images as given"
    if sampling is not None:
        how = f"{sampling.sampler}, {sampling.steps} steps, guidance {sampling.guidance.scale:g}"
    return build_page(
        folder / "report.html",
        title=f"Report on {report.model}",
        lead="Every score stands beside what real galaxies reach (the floor) and what must fail (straw men).",
        sections=sections,
        footer=f"model {report.model_hash}; encoder {report.encoder} {report.encoder_hash}; {how}; seed {report.seed}",
    )


def _kinds_table(report: Report) -> Table:
    rows = []
    for kind, scores in report.per_class.items():
        cells = [kind, f"{scores['spread'].n:,}"]
        for score in scores.values():
            cells += [_value(score), number(score.real_baseline.value if score.real_baseline else None)]
            cells.append(number(score.negative_controls["any kind"]))
        rows.append(cells)
    names = ("Fréchet distance", "kernel distance", "spread")
    columns = [part for name in names for part in (name, "real", "dreams of all kinds")]
    return Table(("kind", "generated", *columns), rows, "in brackets: 95 %; a dash: too few galaxies")


def _sweep_table(swept: Sweep) -> Table:
    rows = [
        [
            one.label,
            *(f"{number(x.value)} [{number(x.low)}, {number(x.high)}]" for x in (one.consistency, one.diversity)),
            *(f"{number(x.value)} [{number(x.low)}, {number(x.high)}]" for x in (one.realism, one.kernel)),
            number(None if one.seconds is None else one.seconds / swept.n),
        ]
        for one in swept.points
    ]
    columns = (
        "guidance / to level / steps",
        "consistency",
        "diversity",
        "realism",
        "kernel distance",
        "s per galaxy",
    )
    return Table(columns, rows, "in brackets: 95 %")
