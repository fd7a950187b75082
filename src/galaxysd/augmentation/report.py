"""What the augmentation experiment found: numbers with intervals, a figure, a page and a few lines of plain words.

In: the run folder of experiment.py, finished or not. Out: OUT/report.json (`AugmentReport`) and OUT/report.html. At
every level of shots only the seeds count that all arms of that level have finished.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from galaxysd.augmentation.experiment import AugmentIdentity, finished_runs
from galaxysd.augmentation.experiment_data import ExperimentData
from galaxysd.augmentation.methods import SYNTHETIC, Level, standard_arms
from galaxysd.augmentation.paired_bootstrap import STATISTICS, PairedBootstrap, paired_bootstrap
from galaxysd.errors import InputError
from galaxysd.io import write_atomically
from galaxysd.reports import figures
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.reports.html import Figure, Part, Section, Table, build_page
from galaxysd.runs import Run, versions
from galaxysd.settings import FrozenModel
from galaxysd.stats import Estimate

SHOWN = 16  # synthetic galaxies of each class on the page
WEAKEST = 2  # classes whose completeness and purity are looked at
SERIES = (*figures.COLOURS, "#f2a65a", "#b0b7c9", "#5fa8d3", "#d98cc4", "#a3b86c", "#f4f1bb", "#8d8fe0", "#e5989b")


class ArmScores(FrozenModel):
    """One arm at one level of shots, as mean over the seeds."""

    macro: dict[str, Estimate] = Field(description="mean over the classes; interval over seeds and test galaxies")
    per_class: dict[str, dict[str, Estimate | None]] = Field(description="by class and statistic; null: no test galaxy")
    average_precision: float = Field(description="mean over classes and seeds")
    calibration_error: float = Field(description="mean over classes and seeds")
    synthetic: tuple[int, ...] = Field(
        description="generated galaxies of each class that were learned from, mean over the seeds"
    )
    refused: dict[str, float] = Field(
        description="generated galaxies of the pool refused as copies or doubted, mean over the seeds"
    )
    chosen: dict[str, tuple[float, ...]] = Field(description="what was tuned on the held-out galaxies, by seed")


class LevelReport(FrozenModel):
    """All arms at one level of shots."""

    shots: Level
    seeds: int
    real: tuple[int, ...] = Field(description="real galaxies of each class, validation included")
    arms: dict[str, ArmScores]
    gains: dict[str, dict[str, Estimate]] = Field(
        description="arm with generated galaxies -> arm without -> gain in macro F1"
    )
    weakest: dict[str, dict[str, dict[str, float]]] = Field(
        description="arm with them -> weakest classes of the baseline -> relative rise of completeness and purity"
    )


class AugmentReport(FrozenModel):
    """`report.json`."""

    classes: tuple[str, ...]
    test: tuple[int, ...] = Field(description="test galaxies of each class")
    train: tuple[int, ...] = Field(description="training galaxies of each class to draw from")
    levels: tuple[LevelReport, ...]
    memory: dict[str, dict[str, float | bool]] = Field(description="memory test of each pool of generated galaxies")
    left_out: tuple[str, ...] = Field(description="runs that would repeat the baseline")
    delivered: str | None = Field(description="arm of the classifiers in OUT/classifier")
    hours: float = Field(description="time of all runs, summed over worker processes")
    versions: dict[str, str]


def write_report(out: str | Path) -> AugmentReport:
    """Measure what is finished and write both files.

    Raises:
        InputError: not an experiment, or no level of shots is finished with a seed.
    """
    run = Run(Path(out))
    settings_file = run.folder / "settings.yaml"
    if not settings_file.is_file():
        raise InputError(f"{out}: is not an experiment; `galaxysd augment` makes one")
    identity = AugmentIdentity.read(settings_file)
    data, rows = ExperimentData.load(run.folder / "data"), list(finished_runs(run).values())
    settings = identity.settings
    arms = standard_arms(settings.ratios, settings.gammas, tuple(identity.encoders), explore=settings.explore)
    with_synthetic = {arm.name for arm in arms if arm.ratio}
    lines = run.metrics()
    levels = [
        level
        for shots in settings.shots
        if (level := _level(shots, [row for row in rows if row["shots"] == shots], with_synthetic, data, run))
        is not None
    ]
    if not levels:
        raise InputError(f"{out}: no level of shots has a seed that all arms have finished; run `galaxysd augment` on")
    report = AugmentReport(
        classes=identity.classes,
        test=identity.test,
        train=identity.train,
        levels=tuple(levels),
        memory={
            line["pool"]: {key: line[key] for key in ("synthetic", "copies", "threshold", "share", "alarm")}
            for line in lines
            if "threshold" in line
        },
        left_out=tuple((run.summary or {}).get("left_out", ())),
        delivered=next((line["delivered"] for line in lines if "delivered" in line), None),
        hours=round(sum(row["seconds"] for row in rows) / 3600, 3),
        versions=versions(),
    )
    write_atomically(run.folder / "report.json", report.model_dump_json(indent=1) + "\n")
    _write_page(report, identity, data, run.folder)
    return report


def _level(
    shots: Level, rows: list[dict[str, Any]], with_synthetic: set[str], data: ExperimentData, run: Run
) -> LevelReport | None:
    names = tuple(dict.fromkeys(row["arm"] for row in rows))
    by_seed = {seed: {row["arm"]: row for row in rows if row["seed"] == seed} for seed in {row["seed"] for row in rows}}
    seeds = sorted(seed for seed, found in by_seed.items() if set(found) == set(names))
    if not seeds:
        return None
    called = np.array(
        [[_probabilities(run, by_seed[seed][name]["run"], data).argmax(axis=1) for seed in seeds] for name in names]
    )
    found = paired_bootstrap(names, data.test.labels, called, len(data.classes))
    scored = {name: _arm([by_seed[seed][name] for seed in seeds], name, found, data.classes) for name in names}
    without = [name for name in names if name not in with_synthetic]
    gains = {
        name: {other: gain for other in without if (gain := found.difference(name, other, "F1")) is not None}
        for name in names
        if name in with_synthetic
    }
    return LevelReport(
        shots=shots,
        seeds=len(seeds),
        real=tuple(by_seed[seeds[0]][without[0]]["real"]),
        arms=scored,
        gains=gains,
        weakest={name: _weakest(scored[without[0]], scored[name]) for name in gains},
    )


def _probabilities(run: Run, name: str, data: ExperimentData) -> np.ndarray:
    path = run.folder / "predictions" / f"{name}.npy"
    found: np.ndarray = np.load(path, allow_pickle=False)
    if found.shape != (len(data.test), len(data.classes)):
        raise InputError(f"{path}: holds {list(found.shape)}, expected {[len(data.test), len(data.classes)]}")
    return found


def _arm(rows: list[dict[str, Any]], name: str, found: PairedBootstrap, classes: tuple[str, ...]) -> ArmScores:
    macro = {statistic: one for statistic in STATISTICS if (one := found.of(name, statistic)) is not None}
    tuned = [key for key in ("gamma", "strength") if key in rows[0]]
    return ArmScores(
        macro=macro,
        per_class={
            kind: {statistic: found.of(name, statistic, index) for statistic in STATISTICS}
            for index, kind in enumerate(classes)
        },
        average_precision=float(np.mean([row["AP"] for row in rows])),
        calibration_error=float(np.mean([row["ECE"] for row in rows])),
        synthetic=tuple(int(n) for n in np.mean([row["synthetic"] for row in rows], axis=0).round()),
        refused={
            key: float(np.mean([row[key] for row in rows]))
            for key in ("copies", "label_mismatch", "pool")
            if key in rows[0]
        },
        chosen={key: tuple(row[key] for row in rows) for key in tuned},
    )


def _weakest(baseline: ArmScores, arm: ArmScores) -> dict[str, dict[str, float]]:
    """Relative rise of completeness and purity of the classes with the lowest F1 of the baseline."""
    known = {kind: each["F1"].value for kind, each in baseline.per_class.items() if each["F1"] is not None}
    rise: dict[str, dict[str, float]] = {}
    for kind in sorted(known, key=known.__getitem__)[:WEAKEST]:
        pairs = {name: (baseline.per_class[kind][name], arm.per_class[kind][name]) for name in STATISTICS[:2]}
        rise[kind] = {
            name: new.value / old.value - 1
            for name, (old, new) in pairs.items()
            if old is not None and new is not None and old.value > 0
        }
    return rise


def verdicts(report: AugmentReport) -> list[str]:
    """For each level of shots, in plain words: whether synthetic galaxies pay, and against whom they do not."""
    lines = []
    for level in report.levels:
        if not level.gains:
            continue
        best = max(level.gains, key=lambda name: level.arms[name].macro["F1"].value)
        each = level.gains[best]
        rival = max(each, key=lambda name: level.arms[name].macro["F1"].value)
        gain = each[rival]
        says = "ahead of" if gain.low > 0 else "behind" if gain.high < 0 else "not to be told from"
        reached, against = (level.arms[name].macro["F1"].value for name in (best, rival))
        lines.append(
            f"{level.shots} real galaxies per class: {best} has F1 {reached:.3f}, {says} the best arm without dreams, "
            f"{rival} ({against:.3f}): {_signed(gain)}"
        )
    return lines


def summary(report: AugmentReport) -> str:
    """The verdicts, and where the classifiers are."""
    delivered = f"classifiers of the arm {report.delivered!r} are in OUT/classifier" if report.delivered else ""
    return "\n".join([*verdicts(report), *([delivered] if delivered else [])])


def _signed(one: Estimate) -> str:
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _plain(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def curves(report: AugmentReport, statistic: str) -> bytes:
    """A statistic against the shots, an arm a line with its band, as PNG; arms of few levels are points."""
    names = list(dict.fromkeys(name for level in report.levels for name in level.arms))
    figure = figures.new_figure(560)
    axes = figure.add_axes((0.07, 0.1, 0.62, 0.86), facecolor=figures.GROUND)
    axes.spines[:].set_color(figures.LINE)
    axes.tick_params(which="both", colors=figures.FAINT, labelcolor=figures.FAINT, labelsize=9)
    axes.set_xlabel("real galaxies per class", color=figures.INK)
    axes.set_ylabel(f"{statistic}, mean over the classes", color=figures.INK)
    for number, name in enumerate(names):
        places = [place for place, level in enumerate(report.levels) if name in level.arms]
        found = [report.levels[place].arms[name].macro[statistic] for place in places]
        colour = SERIES[number % len(SERIES)]
        dashed = "--" if name.startswith("synthetic") else "-"
        full = len(places) == len(report.levels)
        axes.plot(
            places, [one.value for one in found], dashed if full else "o", color=colour, linewidth=1.6, label=name
        )
        if full:
            low, high = [one.low for one in found], [one.high for one in found]
            axes.fill_between(places, low, high, color=colour, alpha=0.08, linewidth=0)
    axes.set_xticks(range(len(report.levels)), [str(level.shots) for level in report.levels])
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, labelcolor=figures.INK, fontsize=9)
    return figures.png(figure, tight=False)


def _write_page(report: AugmentReport, identity: AugmentIdentity, data: ExperimentData, folder: Path) -> None:
    pictures = [
        Figure(
            Image.open(io.BytesIO(curves(report, name))), f"{name} against shots", "band: 95 % over seeds and galaxies"
        )
        for name in reversed(STATISTICS)
    ]
    pool = data.synthetic[SYNTHETIC]
    synthetic = [
        (kind, pool.images[np.flatnonzero(pool.labels == index)[:SHOWN]]) for index, kind in enumerate(report.classes)
    ]
    seeds = max(level.seeds for level in report.levels)
    sections = [
        Section("Do dreams pay?", [*verdicts(report), *pictures]),
        *(
            Section(f"{level.shots} real galaxies per class", _level_parts(level, report.classes))
            for level in report.levels
        ),
        Section(
            "The dreams",
            [
                Figure(contact_sheet(synthetic), "dreams of each class", "the first dreams of each class"),
                Table(
                    ("pool", "synthetic", "copies", "share below threshold", "threshold, 8-bit steps", "alarm"),
                    [
                        [
                            name,
                            f"{one['synthetic']:,}",
                            f"{one['copies']:,}",
                            f"{one['share']:.4f}",
                            f"{one['threshold']:.2f}",
                            "yes" if one["alarm"] else "no",
                        ]
                        for name, one in report.memory.items()
                    ],
                    "memory test: nearer to a training galaxy of the generator than 99 % of held-out galaxies are",
                ),
            ],
        ),
        Section("How it was done", _method(report, identity)),
    ]
    build_page(
        folder / "report.html",
        title="When do dreamed galaxies make a better classifier?",
        lead=f"{len(identity.classes)} classes, {sum(report.test):,} test galaxies that no classifier, generator or "
        f"encoder has learned from, {seeds} seeds.",
        sections=sections,
        footer=f"generator {identity.model}; encoders {', '.join(identity.encoders.values()) or 'none'}; "
        f"{report.hours:.1f} h of runs",
    )


def _level_parts(level: LevelReport, classes: tuple[str, ...]) -> list[Part]:
    arms = Table(
        ("arm", *STATISTICS, "AP", "ECE", "synthetic", "refused copies", "refused as doubted", "tuned"),
        [
            [
                name,
                *(_plain(one.macro.get(statistic)) for statistic in STATISTICS),
                f"{one.average_precision:.3f}",
                f"{one.calibration_error:.3f}",
                f"{sum(one.synthetic):,}",
                *(f"{one.refused[key]:,.0f}" if key in one.refused else "-" for key in ("copies", "label_mismatch")),
                "; ".join(f"{key} {', '.join(f'{each:g}' for each in values)}" for key, values in one.chosen.items()),
            ]
            for name, one in level.arms.items()
        ],
        f"mean over the classes and {level.seeds} seeds; in brackets: 95 %",
    )
    per_class = Table(
        ("arm", *classes),
        [[name, *(_plain(one.per_class[kind]["F1"]) for kind in classes)] for name, one in level.arms.items()],
        "F1 of each class",
    )
    parts: list[Part] = [f"Real galaxies: {_counted(level.real, classes)}, a fifth of them held out.", arms, per_class]
    for statistic in STATISTICS[:2]:
        cells = [
            [name, *(_plain(one.per_class[kind][statistic]) for kind in classes)] for name, one in level.arms.items()
        ]
        parts.append(Table(("arm", *classes), cells, f"{statistic} of each class"))
    without = list(next(iter(level.gains.values()), {}))
    if without:
        gains = [[name, *(_signed(each[other]) for other in without)] for name, each in level.gains.items()]
        parts.append(Table(("gain in F1 of", *(f"over {name}" for name in without)), gains, "paired differences, 95 %"))
        rises = [
            [
                name,
                *(
                    f"{kind}: " + ", ".join(f"{key} {rise:+.0%}" for key, rise in each.items())
                    for kind, each in one.items()
                ),
            ]
            for name, one in level.weakest.items()
        ]
        heads = ("arm", *(f"weakest class {number + 1}" for number in range(len(rises[0]) - 1)))
        parts.append(Table(heads, rises, "relative rise over the baseline in its weakest classes"))
    return parts


def _counted(counts: tuple[int, ...], classes: tuple[str, ...]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in zip(classes, counts, strict=True))


def _method(report: AugmentReport, identity: AugmentIdentity) -> list[Part]:
    settings = identity.settings
    told = settings.model_dump(mode="json", include={"shots", "seeds", "ratios", "gammas", "synthetic"})
    left = f" Not run, since equal to the baseline: {', '.join(report.left_out)}." if report.left_out else ""
    return [
        "Validation is no hidden extra: every fifth of the shots is held out, and all that is tuned (the focal loss's "
        "gamma, the probe's penalty, every temperature) is tuned on it alone. The arms of a seed share shots, held-out "
        f"galaxies and first weights, and every network sees {settings.classifier.images:,} images.{left}",
        "What the comparison is about: the generator has learned from the votes of all galaxies of its training split, "
        "and the encoder from their images, while a classifier is told the class of its shots only. Dreams carry over "
        "what the generator knows; whoever has no votes but the shots cannot have such a generator from them.",
        "A dream is refused as a copy if it is nearer to a training galaxy of the generator than 99 % of held-out "
        "galaxies are, and as doubted if five probes on the real shots give its class less than half of chance, of "
        "each class at most the more doubtful half. Dreams fill up the rarest classes first, and are "
        "at most half of what a network is shown.",
        f"Settings: {json.dumps(told)}",
        f"Test galaxies: {_counted(report.test, report.classes)}.",
        f"To draw from: {_counted(report.train, report.classes)}.",
    ]
