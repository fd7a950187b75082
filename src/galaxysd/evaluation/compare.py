"""Two reports side by side: which generator is better, metric by metric, and is the difference more than chance?

In: two report folders. Out: a `Comparison`, a page and a few lines. Differences are only formed where both reports
compare with the same real galaxies in features of the same encoder and judge equally many images. Their 95 % intervals
join those of the two scores as if they were independent (MOVER, Zou and Donner 2008, Stat. Med. 27, 1693, eq. 7); the
shared real galaxies make them a little wide.
"""

import json
from pathlib import Path

import numpy as np
from pydantic import Field, FiniteFloat

from galaxysd.errors import InputError
from galaxysd.evaluation.evaluate import GENERATED, Report
from galaxysd.evaluation.report import QUESTIONS, low_is_good, number, sheet_of
from galaxysd.reports.html import Figure, Part, Section, Table, build_page
from galaxysd.settings import FrozenModel
from galaxysd.stats import Estimate, Score


class Difference(FrozenModel):
    """One metric of two generators."""

    axis: str
    metric: str
    first: FiniteFloat | None
    second: FiniteFloat | None
    real_baseline: FiniteFloat | None = Field(description="of the first report: what real galaxies reach")
    difference: Estimate | None = Field(description="second minus first; null where the reports cannot be compared")
    better: int | None = Field(description="1 or 2; null: the interval of the difference holds 0, or there is none")


class Comparison(FrozenModel):
    """Two generators."""

    models: tuple[str, str]
    comparable: bool = Field(description="same real galaxies, encoder and number of images")
    why_not: str | None = Field(description="what differs")
    differences: tuple[Difference, ...]


def read_report(folder: str | Path) -> Report:
    """The finished report of a folder.

    Raises:
        InputError: there is none.
    """
    path = Path(folder) / "report.json"
    try:
        return Report.parse(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not the report of a finished `galaxysd evaluate` ({error})") from None


def difference(first: Score, second: Score) -> Estimate | None:
    """Second minus first with the interval of Zou and Donner (2008); None where one was not measured."""
    values = (first.value, first.low, first.high, second.value, second.low, second.high)
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    a, a_low, a_high, b, b_low, b_high = known
    return Estimate(
        value=b - a,
        low=b - a - float(np.hypot(b - b_low, a_high - a)),
        high=b - a + float(np.hypot(b_high - b, a - a_low)),
        n=max(1, min(first.n, second.n)),
    )


def compare(first: Report, second: Report) -> Comparison:
    """Hold two reports against each other."""
    pairs = {
        "real galaxies": (first.halves, second.halves),
        "encoder": (first.encoder_hash, second.encoder_hash),
        "number of images": (first.images, second.images),
    }
    differ = [name for name, (one, other) in pairs.items() if one != other]
    found = []
    for axis, scores in first.scores.items():
        for metric, one in scores.items():
            other = second.scores.get(axis, {}).get(metric)
            if other is None:
                continue
            apart = None if differ else difference(one, other)
            better = None
            if apart is not None and (apart.low > 0 or apart.high < 0):
                better = 2 if (apart.value < 0) == low_is_good(axis, metric) else 1
            found.append(
                Difference(
                    axis=axis,
                    metric=metric,
                    first=one.value,
                    second=other.value,
                    real_baseline=one.real_baseline.value if one.real_baseline else None,
                    difference=apart,
                    better=better,
                )
            )
    return Comparison(
        models=(f"{first.model} ({first.model_hash})", f"{second.model} ({second.model_hash})"),
        comparable=not differ,
        why_not=None if not differ else f"the reports differ in {', '.join(differ)}",
        differences=tuple(found),
    )


def comparison_summary(comparison: Comparison) -> str:
    """Plain words: where one is better, an axis a line."""
    lines = [f"1: {comparison.models[0]}", f"2: {comparison.models[1]}"]
    if comparison.why_not is not None:
        lines.append(f"not comparable: {comparison.why_not}; the values are shown, no differences")
    for axis in dict.fromkeys(one.axis for one in comparison.differences):
        rows = [one for one in comparison.differences if one.axis == axis]
        for which in (1, 2):
            won = [one.metric for one in rows if one.better == which]
            if won:
                lines.append(f"{axis}: {which} is better in {', '.join(won)}")
        if comparison.comparable and not any(one.better for one in rows):
            lines.append(f"{axis}: no difference beyond chance")
    return "\n".join(lines)


def write_comparison(folders: tuple[str | Path, str | Path], path: str | Path) -> Comparison:
    """Compare the reports of two folders and write the page.

    Args:
        folders: of finished reports; their generated galaxies are shown.
        path: the HTML file.

    Raises:
        InputError: a folder holds no finished report, or the page cannot be written.
    """
    reports = [read_report(folder) for folder in folders]
    comparison = compare(*reports)
    summary: list[Part] = list(comparison_summary(comparison).splitlines())
    for folder, report, name in zip(folders, reports, comparison.models, strict=True):
        sheet = sheet_of(np.load(Path(folder) / GENERATED, allow_pickle=False), f"{name}, seed {report.seed}")
        summary.append(Figure(sheet, f"galaxies of {name}", name))
    sections = [Section("Which one?", summary)]
    for axis in dict.fromkeys(one.axis for one in comparison.differences):
        rows = [_cells(one) for one in comparison.differences if one.axis == axis]
        table = Table(("", "1", "2", "2 - 1", "real (floor of 1)", "better"), rows, "in brackets: 95 %")
        verdicts = [
            f"{number_of}: {one.text}"
            for number_of, report in enumerate(reports, start=1)
            for one in report.verdicts
            if one.axis == axis
        ]
        sections.append(Section(QUESTIONS[axis], [*verdicts, table]))
    build_page(
        path,
        title="Two generators side by side",
        lead=f"1: {comparison.models[0]}; 2: {comparison.models[1]}.",
        sections=sections,
        footer="differences: second minus first, intervals joined after Zou and Donner (2008)",
    )
    return comparison


def _cells(one: Difference) -> list[str]:
    apart = one.difference
    between = "-" if apart is None else f"{number(apart.value)} [{number(apart.low)}, {number(apart.high)}]"
    return [
        one.metric,
        number(one.first),
        number(one.second),
        between,
        number(one.real_baseline),
        "-" if one.better is None else str(one.better),
    ]
